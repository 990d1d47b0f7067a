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
        // Without one, what the environment or the profile says stays.
        if let Some(endpoint) = &self.settings.ecs_endpoint {
            config = config.endpoint_url(endpoint);
        }
        aws_sdk_ecs::Client::from_conf(config.build())
    }

    /// A client of EFS.
    #[must_use]
    pub fn efs(&self) -> aws_sdk_efs::Client {
        let mut config = aws_sdk_efs::config::Builder::from(&self.config);
        // Without one, what the environment or the profile says stays.
        if let Some(endpoint) = &self.settings.efs_endpoint {
            config = config.endpoint_url(endpoint);
        }
        aws_sdk_efs::Client::from_conf(config.build())
    }

    /// A client of SSM.
    #[must_use]
    pub fn ssm(&self) -> aws_sdk_ssm::Client {
        let mut config = aws_sdk_ssm::config::Builder::from(&self.config);
        // Without one, what the environment or the profile says stays.
        if let Some(endpoint) = &self.settings.ssm_endpoint {
            config = config.endpoint_url(endpoint);
        }
        aws_sdk_ssm::Client::from_conf(config.build())
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
    let span = tracing::info_span!("aws", action, request = tracing::field::Empty);
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
            (kind_of(&code, &message), code, message)
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

/// By the code, or by the one of another service that stands in the words: ECS passes on what EC2
/// says as `InvalidParameterException: … Request limit exceeded. (ErrorCode: RequestLimitExceeded)`.
fn kind_of(code: &str, message: &str) -> AwsErrorKind {
    let kind = of_code(code);
    let inner = message.rsplit_once("(ErrorCode: ").and_then(|(_, rest)| rest.split_once(')'));
    match (kind, inner.map(|(code, _)| of_code(code))) {
        (AwsErrorKind::Refused, Some(AwsErrorKind::Throttled)) => AwsErrorKind::Throttled,
        (AwsErrorKind::Refused, Some(AwsErrorKind::Unreachable)) => AwsErrorKind::Unreachable,
        _ => kind,
    }
}

/// By the codes that AWS's services have in common
/// (docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html).
fn of_code(code: &str) -> AwsErrorKind {
    match code {
        "AccessDenied" | "AccessDeniedException" | "NotAuthorized" | "UnauthorizedOperation" => {
            AwsErrorKind::Denied
        }
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "TooManyRequests" => AwsErrorKind::Throttled,
        // Credentials that have just run out, or a clock that is being set, are right a moment later.
        "ExpiredTokenException"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "IncompleteSignature"
        | "InvalidSignatureException"
        | "ServerException"
        | "ServiceUnavailable"
        | "InternalServerError"
        | "InternalFailure"
        | "InternalError"
        | "" => AwsErrorKind::Unreachable,
        _ => AwsErrorKind::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_service_says_in_the_words_of_the_first_is_heard() {
        let group = "Error retrieving security group information for [sg-1]";
        for (words, kind) in [
            ("Request limit exceeded. (ErrorCode: RequestLimitExceeded)", AwsErrorKind::Throttled),
            ("Rate exceeded (ErrorCode: Throttling)", AwsErrorKind::Throttled),
            ("An internal error occurred. (ErrorCode: InternalError)", AwsErrorKind::Unreachable),
            ("It does not exist (ErrorCode: InvalidGroup.NotFound)", AwsErrorKind::Refused),
            ("It does not exist", AwsErrorKind::Refused),
        ] {
            let message = format!("{group}: {words}");
            assert_eq!(kind_of("InvalidParameterException", &message), kind, "{words}");
        }
        let denied = "no (ErrorCode: Throttling)";
        assert_eq!(kind_of("AccessDeniedException", denied), AwsErrorKind::Denied);
    }
}
