//! One account and region, and the one way to call it. Knows no service beyond its client.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ssm::operation::RequestId;
use tracing::Instrument;

use super::{AwsError, AwsErrorKind, plain};

/// Whole, with its repeats.
const CALL: Duration = Duration::from_secs(30);
/// One attempt of it.
const ATTEMPT: Duration = Duration::from_secs(8);
/// Until there is a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// How often the SDK tries what can be tried again: throttled, dropped and stalled calls.
const ATTEMPTS: u32 = 3;

/// Which AWS this is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AwsSettings {
    /// The region. Where it is not set: the environment's, the profile's, the machine's.
    pub region: Option<String>,
    /// Where ECS answers, if not at its public address.
    pub ecs_endpoint: Option<String>,
    /// Likewise for EFS.
    pub efs_endpoint: Option<String>,
    /// Likewise for SSM.
    pub ssm_endpoint: Option<String>,
}

/// One AWS account and region, as all providers see it. Credentials come from where the SDK looks
/// for them: the task's role, the environment, a profile.
#[derive(Debug, Clone)]
pub struct Aws {
    pub(super) config: SdkConfig,
    settings: AwsSettings,
}

impl Aws {
    /// Looks for region and credentials; calls nobody yet but, on AWS, the task's metadata.
    pub async fn new(settings: AwsSettings) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(CALL)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        Self { config: loader.load().await, settings }
    }

    /// The region that was found.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.config.region().map(AsRef::as_ref)
    }

    /// A client of ECS.
    #[must_use]
    pub fn ecs(&self) -> aws_sdk_ecs::Client {
        let mut config = aws_sdk_ecs::config::Builder::from(&self.config);
        config.set_endpoint_url(self.settings.ecs_endpoint.clone().or(self.default_endpoint()));
        aws_sdk_ecs::Client::from_conf(config.build())
    }

    /// A client of EFS.
    #[must_use]
    pub fn efs(&self) -> aws_sdk_efs::Client {
        let mut config = aws_sdk_efs::config::Builder::from(&self.config);
        config.set_endpoint_url(self.settings.efs_endpoint.clone().or(self.default_endpoint()));
        aws_sdk_efs::Client::from_conf(config.build())
    }

    /// A client of SSM.
    #[must_use]
    pub fn ssm(&self) -> aws_sdk_ssm::Client {
        let mut config = aws_sdk_ssm::config::Builder::from(&self.config);
        config.set_endpoint_url(self.settings.ssm_endpoint.clone().or(self.default_endpoint()));
        aws_sdk_ssm::Client::from_conf(config.build())
    }

    fn default_endpoint(&self) -> Option<String> {
        self.config.endpoint_url().map(str::to_owned)
    }
}

/// Makes a call as a span of its own, with its request id, and gives its error its kind.
pub(crate) async fn call<T, E, R>(
    action: &'static str,
    call: impl Future<Output = Result<T, SdkError<E, R>>>,
) -> Result<T, AwsError>
where
    T: RequestId,
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: fmt::Debug,
    SdkError<E, R>: RequestId,
{
    let span = tracing::debug_span!("aws", action, request = tracing::field::Empty);
    let answer = call.instrument(span.clone()).await;
    let id = match &answer {
        Ok(answer) => answer.request_id(),
        Err(error) => error.request_id(),
    };
    span.record("request", id.unwrap_or_default());
    let error = match answer {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    let request_id = error.request_id().map(str::to_owned);
    let (kind, code, message) = match &error {
        SdkError::ServiceError(said) => {
            let code = said.err().code().unwrap_or_default().to_owned();
            let message = said.err().message().unwrap_or("no reason given").to_owned();
            (kind_of(&code), code, message)
        }
        other => {
            let words = match std::error::Error::source(other) {
                Some(source) => format!("{other}: {source}"),
                None => other.to_string(),
            };
            (AwsErrorKind::Unreachable, String::new(), words)
        }
    };
    let error = AwsError { action, kind, code, message: plain(&message), request_id };
    span.in_scope(|| tracing::debug!(%error, "AWS says no"));
    Err(error)
}

/// By the codes that AWS's services have in common
/// (docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html).
fn kind_of(code: &str) -> AwsErrorKind {
    match code {
        "AccessDenied"
        | "AccessDeniedException"
        | "NotAuthorized"
        | "UnauthorizedOperation"
        | "ExpiredTokenException"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "IncompleteSignature"
        | "InvalidSignatureException" => AwsErrorKind::Denied,
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "TooManyRequests" => AwsErrorKind::Throttled,
        "ServerException"
        | "ServiceUnavailable"
        | "InternalServerError"
        | "InternalFailure"
        | "InternalError"
        | "" => AwsErrorKind::Unreachable,
        _ => AwsErrorKind::Refused,
    }
}
