//! Tokens that stand in for a database's password: an AWS role signs in with them, where the database
//! lets it (docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html). Knows no
//! database.

use std::time::{Duration, SystemTime};

use aws_sdk_ssm::config::{Credentials, ProvideCredentials};
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;

use super::{Aws, AwsError, AwsErrorKind, plain};

/// What IAM calls it.
const ACTION: &str = "rds-db:connect";

/// How long a token is good for: AWS takes no other value.
const GOOD_FOR: Duration = Duration::from_secs(900);

impl Aws {
    /// A token by which this role signs in as `user`, within 15 minutes. Made here: AWS is asked for
    /// credentials at most.
    ///
    /// # Errors
    /// [`AwsError`] where there is no region, or there are no credentials.
    pub async fn database_token(
        &self,
        host: &str,
        port: u32,
        user: &str,
    ) -> Result<String, AwsError> {
        let no = |kind, message: String| {
            let (code, request_id) = (String::new(), None);
            AwsError { action: ACTION, kind, code, message: plain(&message), request_id }
        };
        let Some(region) = self.region() else {
            return Err(no(AwsErrorKind::Refused, "no region is known: set aws.region".into()));
        };
        let Some(provider) = self.config.credentials_provider() else {
            return Err(no(AwsErrorKind::Refused, "there are no credentials".into()));
        };
        let credentials = provider.provide_credentials().await.map_err(|error| {
            no(AwsErrorKind::Unreachable, format!("there are no credentials: {error}"))
        })?;
        token(credentials, region, host, port, user, SystemTime::now())
            .map_err(|why| no(AwsErrorKind::Refused, format!("no token can be made: {why}")))
    }
}

/// The URL, without its scheme, of a call that would connect; signed at this time.
fn token(
    credentials: Credentials,
    region: &str,
    host: &str,
    port: u32,
    user: &str,
    now: SystemTime,
) -> Result<String, String> {
    let mut settings = SigningSettings::default();
    settings.expires_in = Some(GOOD_FOR);
    settings.signature_location = SignatureLocation::QueryParams;
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("rds-db")
        .time(now)
        .settings(settings)
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let user: String = user.bytes().map(escaped).collect();
    let url = format!("https://{host}:{port}/?Action=connect&DBUser={user}");
    let body = SignableBody::Bytes(&[]);
    let call = SignableRequest::new("GET", &url, std::iter::empty(), body)
        .map_err(|error| error.to_string())?;
    let (signed, _) = sign(call, &params).map_err(|error| error.to_string())?.into_parts();
    let (_, added) = signed.into_parts();
    let mut token = url.trim_start_matches("https://").to_owned();
    for (name, value) in added {
        token.push('&');
        token.push_str(name);
        token.push('=');
        token.extend(value.bytes().map(escaped));
    }
    Ok(token)
}

/// A byte as it stands in a query (RFC 3986, section 2.3).
fn escaped(byte: u8) -> String {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "db.cluster-abc.eu-central-1.rds.amazonaws.com";

    /// 2026-01-31T12:00:00Z.
    const THEN: Duration = Duration::from_secs(1_769_860_800);

    fn made(session: Option<&str>, user: &str) -> Vec<String> {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let session = session.map(str::to_owned);
        let credentials = Credentials::new("AKIDEXAMPLE", secret, session, None, "test");
        let then = SystemTime::UNIX_EPOCH + THEN;
        let token = token(credentials, "eu-central-1", HOST, 5432, user, then).unwrap();
        let (place, query) = token.split_once('?').unwrap();
        assert_eq!(place, format!("{HOST}:5432/"));
        let mut parts: Vec<String> = query.split('&').map(str::to_owned).collect();
        parts.sort();
        parts
    }

    /// What botocore 1.44.8 makes of the same by `generate_db_auth_token`.
    fn expected(session: Option<&str>, signature: &str) -> Vec<String> {
        let mut parts = vec![
            "Action=connect".to_owned(),
            "DBUser=gateway".to_owned(),
            "X-Amz-Algorithm=AWS4-HMAC-SHA256".to_owned(),
            "X-Amz-Credential=AKIDEXAMPLE%2F20260131%2Feu-central-1%2Frds-db%2Faws4_request".into(),
            "X-Amz-Date=20260131T120000Z".to_owned(),
            "X-Amz-Expires=900".to_owned(),
            "X-Amz-SignedHeaders=host".to_owned(),
            format!("X-Amz-Signature={signature}"),
        ];
        parts.extend(session.map(|token| format!("X-Amz-Security-Token={token}")));
        parts.sort();
        parts
    }

    #[test]
    fn a_token_is_the_one_that_others_make() {
        let signature = "81eed404c032e8923a17271ad2249c7ac260fc0d2a74b263eddd02e58310a8aa";
        assert_eq!(made(None, "gateway"), expected(None, signature));
        let signature = "7c3b7e252cd2f1a4b3eef8f343fe234ff1f3105d34b4833d2637527fb7cc43fc";
        let of_a_role = made(Some("a/token+with=signs"), "gateway");
        assert_eq!(of_a_role, expected(Some("a%2Ftoken%2Bwith%3Dsigns"), signature));
    }

    #[test]
    fn a_users_name_adds_nothing_to_the_call() {
        let parts = made(None, "a&X-Amz-Expires=1/?");
        assert!(parts.contains(&"DBUser=a%26X-Amz-Expires%3D1%2F%3F".to_owned()), "{parts:?}");
        assert!(parts.contains(&"X-Amz-Expires=900".to_owned()), "{parts:?}");
    }
}
