//! The configured issuers as the verifier takes them, and whether it would. Knows no tokens.

use crate::auth::jwks::Policy;
use crate::auth::key::KeyFault;
use crate::auth::verifier::StaticKey;
use crate::auth::{Algorithm, IssuerConfig, KeySource, UserId, VerifierConfig};
use crate::config::{self, KeyMaterial};

/// The verifier's configuration.
#[must_use]
pub fn verifier_config(auth: &config::Auth) -> VerifierConfig {
    VerifierConfig {
        issuers: auth.issuers.iter().map(issuer).collect(),
        leeway: auth.times.leeway.get(),
        max_lifetime: auth.times.token_lifetime.get(),
    }
}

/// Whether a key is fit to verify tokens: the same check that the verifier makes when it is given
/// the key, for the configuration's own list of faults.
///
/// # Errors
/// What is wrong with it.
pub fn fitness(configured: &config::StaticKey) -> Result<(), KeyFault> {
    key(configured).load().map(|_| ())
}

/// Whether an issuer can have this name.
#[must_use]
pub fn is_name(issuer: &str) -> bool {
    UserId::new(issuer, "-").is_some()
}

fn issuer(issuer: &config::Issuer) -> IssuerConfig {
    let keys = match &issuer.keys {
        config::KeySource::Jwks { url, refresh, max_age } => KeySource::Jwks {
            url: url.to_string(),
            policy: Policy {
                refresh_after: refresh.get(),
                max_age: max_age.get(),
                ..Policy::default()
            },
        },
        config::KeySource::Static(keys) => KeySource::Static(keys.iter().map(key).collect()),
    };
    IssuerConfig {
        issuer: issuer.issuer.clone(),
        audiences: issuer.audience.clone(),
        algorithms: issuer.algorithms.iter().map(|algorithm| named(*algorithm)).collect(),
        keys,
    }
}

fn named(algorithm: config::Algorithm) -> Algorithm {
    match algorithm {
        config::Algorithm::Hs256 => Algorithm::Hs256,
        config::Algorithm::Rs256 => Algorithm::Rs256,
        config::Algorithm::Ps256 => Algorithm::Ps256,
        config::Algorithm::Es256 => Algorithm::Es256,
        config::Algorithm::Es384 => Algorithm::Es384,
        config::Algorithm::EdDsa => Algorithm::EdDsa,
    }
}

fn key(key: &config::StaticKey) -> StaticKey {
    let id = key.kid.clone();
    let any = match &key.material {
        KeyMaterial::Pem(pem) => {
            StaticKey::Pem { id, pem: String::from_utf8_lossy(pem).into_owned() }
        }
        KeyMaterial::Secret(secret) => StaticKey::Secret { id, secret: secret.clone() },
        KeyMaterial::Jwk(members) => {
            StaticKey::Jwk(serde_json::Value::Object(members.clone()).to_string())
        }
    };
    StaticKey::Only(named(key.alg), Box::new(any))
}
