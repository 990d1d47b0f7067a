//! Tokens that must be accepted.

use std::time::Duration;

use serde_json::json;
use shellgate_gateway::auth::verifier::StaticKey;
use shellgate_gateway::auth::{Algorithm, AuthError, KeySource, Scopes, Verifier, VerifierConfig};

use super::signer::{ISSUER, NOW, Signer, claims, issuer, now, verifier};

#[tokio::test]
async fn a_token_of_every_algorithm_gives_its_user() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(algorithm);
        let verifier = signer.verifier();
        let identity = verifier.verify(&signer.token(&claims()), now()).await.unwrap();
        assert_eq!((identity.user.issuer(), identity.user.subject()), (ISSUER, "ada"));
        assert_eq!(identity.scopes, Scopes::OWN);
        assert_eq!(identity.expires_at, now() + Duration::from_secs(600));
    }
}

#[tokio::test]
async fn a_public_key_serves_as_a_jwk_as_well() {
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| !algorithm.is_symmetric()) {
        let signer = Signer::new(algorithm);
        let key = StaticKey::Jwk(signer.jwk("k1").to_string());
        let verifier = verifier(vec![algorithm], KeySource::Static(vec![key]));
        let header = json!({"alg": algorithm.name(), "kid": "k1"});
        let token = signer.sign(&header.to_string(), &claims().to_string());
        assert!(verifier.verify(&token, now()).await.is_ok(), "{algorithm}");
    }
}

#[tokio::test]
async fn what_real_issuers_write_is_accepted() {
    let signer = Signer::new(Algorithm::Es256);
    let verifier = signer.verifier();
    let alg = "ES256";
    for header in [
        json!({"alg": alg}),
        json!({"alg": alg, "typ": "at+jwt", "kid": "any name will do for a key that has none"}),
        json!({"alg": alg, "typ": "Application/AT+JWT"}),
        json!({"alg": alg, "typ": "jwt", "x5t": "dGh1bWI", "nonce": "n"}),
    ] {
        let token = signer.sign(&header.to_string(), &claims().to_string());
        assert!(verifier.verify(&token, now()).await.is_ok(), "{header}");
    }
    for (name, value) in [
        ("aud", json!(["other", "shellgate"])),
        ("exp", json!(NOW as f64 + 0.5)),
        ("nbf", json!(NOW + 5)),
        ("iat", json!(NOW + 5)),
        ("exp", json!(NOW - 4)),
        ("sub", json!("x".repeat(255))),
        ("sub", json!("auth0|Ada Lovelace é")),
        ("unknown", json!({"nested": [1, 2]})),
    ] {
        let mut claims = claims();
        claims["iat"] = json!(NOW - 60);
        claims[name] = value;
        let answer = verifier.verify(&signer.token(&claims), now()).await;
        assert!(answer.is_ok(), "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn scopes_come_from_scope_and_from_scp() {
    let signer = Signer::new(Algorithm::EdDsa);
    let verifier = signer.verifier();
    for (name, value, expected) in [
        ("scope", json!("openid sessions:read"), "sessions:read"),
        ("scp", json!("sessions:observe sessions:read"), "sessions:read sessions:observe"),
        ("scp", json!(["sessions:admin", "other"]), "sessions:admin"),
        ("scope", json!(""), ""),
        ("scp", json!([]), ""),
        ("scp", json!(["sessions:read sessions:admin"]), ""),
    ] {
        let mut claims = claims();
        claims[name] = value.clone();
        let identity = verifier.verify(&signer.token(&claims), now()).await.unwrap();
        assert_eq!(identity.scopes.to_string(), expected, "{name}: {value}");
    }
}

#[tokio::test]
async fn the_issuer_chooses_the_keys() {
    let (one, two) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::Es256));
    let keys = |signer: &Signer| KeySource::Static(vec![signer.static_key(None)]);
    let verifier = Verifier::new(VerifierConfig {
        issuers: vec![
            issuer("https://one.example", vec![Algorithm::Es256], keys(&one)),
            issuer("https://two.example", vec![Algorithm::Es256], keys(&two)),
        ],
        leeway: Duration::ZERO,
        max_lifetime: Duration::from_secs(31 * 86_400),
    })
    .unwrap();
    let mut claims = claims();
    claims["iss"] = json!("https://one.example");
    let ada_of_one = verifier.verify(&one.token(&claims), now()).await.unwrap();
    assert_eq!(verifier.verify(&two.token(&claims), now()).await, Err(AuthError::Signature));
    claims["iss"] = json!("https://two.example");
    let ada_of_two = verifier.verify(&two.token(&claims), now()).await.unwrap();
    // The same name at another issuer is another person.
    assert_ne!(ada_of_one.user, ada_of_two.user);
    assert_ne!(ada_of_one.user.key(), ada_of_two.user.key());
}

#[tokio::test]
async fn keys_are_told_apart_by_their_names() {
    let (old, new) = (Signer::new(Algorithm::EdDsa), Signer::new(Algorithm::EdDsa));
    let keys = vec![old.static_key(Some("old")), new.static_key(Some("new"))];
    let verifier = verifier(vec![Algorithm::EdDsa], KeySource::Static(keys));
    let token = |signer: &Signer, kid: &str| {
        signer.sign(&json!({"alg": "EdDSA", "kid": kid}).to_string(), &claims().to_string())
    };
    assert!(verifier.verify(&token(&old, "old"), now()).await.is_ok());
    assert!(verifier.verify(&token(&new, "new"), now()).await.is_ok());
    assert_eq!(verifier.verify(&token(&new, "old"), now()).await, Err(AuthError::Signature));
    assert_eq!(verifier.verify(&token(&new, "newer"), now()).await, Err(AuthError::UnknownKey));
    assert_eq!(verifier.verify(&new.token(&claims()), now()).await, Err(AuthError::UnknownKey));
}
