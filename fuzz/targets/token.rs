//! A JSON Web Token before any key is looked at, and its claims against the time.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use shellgate_gateway::auth::jwt::{Rules, inspect};
use shellgate_protocol::limits::TOKEN_MAX;

fuzz_target!(|token: &str| {
    let Ok(inspected) = inspect(token) else { return };
    assert!(token.len() <= TOKEN_MAX);
    assert_eq!(
        format!("{}.{}", inspected.message, inspected.signature),
        token,
        "what is verified is what came"
    );
    let rules = Rules {
        audiences: vec!["shellgate".into()],
        leeway: Duration::from_secs(5),
        max_lifetime: Duration::from_secs(86_400),
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let claims = &inspected.claims;
    if claims.check(&rules, now).is_ok() {
        assert!(claims.audiences.contains(&"shellgate".to_owned()));
        assert!(claims.expires_at + rules.leeway > now, "an expired token was let in");
    }
});
