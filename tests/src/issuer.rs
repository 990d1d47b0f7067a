//! An issuer of tokens with a key of its own. Knows no gateway.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use shellgate_protocol::client_leg::Token;

/// What the issuer calls itself.
pub const ISSUER: &str = "https://issuer.example";

/// Whom its tokens are for.
pub const AUDIENCE: &str = "shellgate";

/// How long a token holds that nobody cares about.
const LIFETIME: Duration = Duration::from_secs(3600);

/// An issuer.
pub struct Issuer {
    private: EncodingKey,
    /// Its public key, as a JWK.
    pub jwk: Value,
}

impl Default for Issuer {
    /// An issuer with a new key.
    fn default() -> Self {
        let pair = Ed25519KeyPair::generate().expect("a key");
        let private: Pkcs8V1Der<'_> = pair.as_der().expect("a key has a form");
        let public = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        Self {
            private: EncodingKey::from_ed_der(private.as_ref()),
            jwk: json!({ "kty": "OKP", "crv": "Ed25519", "x": public }),
        }
    }
}

impl Issuer {
    /// A token for a user, with scopes between spaces, that holds for an hour.
    #[must_use]
    pub fn token(&self, user: &str, scopes: &str) -> Token {
        self.token_for(user, scopes, LIFETIME)
    }

    /// A token that holds for so long.
    #[must_use]
    pub fn token_for(&self, user: &str, scopes: &str, lifetime: Duration) -> Token {
        let expires = SystemTime::now() + lifetime;
        self.sign(&claims(user, scopes, expires))
    }

    /// A token that ran out so long ago.
    #[must_use]
    pub fn expired_token(&self, user: &str, ago: Duration) -> Token {
        self.sign(&claims(user, "", SystemTime::now() - ago))
    }

    /// A token that says just this.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> Token {
        let header = Header::new(Algorithm::EdDSA);
        Token(jsonwebtoken::encode(&header, claims, &self.private).expect("signed"))
    }
}

/// What a good token says, to be changed.
#[must_use]
pub fn claims(user: &str, scopes: &str, expires: SystemTime) -> Value {
    let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": user, "scope": scopes,
        "iat": seconds(expires - LIFETIME), "exp": seconds(expires),
    })
}
