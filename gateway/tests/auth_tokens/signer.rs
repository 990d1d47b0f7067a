//! An issuer's key as a test holds it: made at run time, signs whatever it is given.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};
use shellgate_gateway::auth::verifier::{LEEWAY_DEFAULT, StaticKey};
use shellgate_gateway::auth::{Algorithm, IssuerConfig, KeySource, Verifier, VerifierConfig};

pub const ISSUER: &str = "https://issuer.example";
pub const AUDIENCE: &str = "shellgate";

/// The moment at which the tests play, in seconds since 1970.
pub const NOW: u64 = 1_800_000_000;

pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

/// A key that signs.
pub struct Signer {
    pub algorithm: Algorithm,
    private: EncodingKey,
    /// The public half in PEM; for HMAC the secret itself.
    pub public: String,
}

static RSA: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

impl Signer {
    pub fn new(algorithm: Algorithm) -> Self {
        let (private, public) = match algorithm {
            Algorithm::Hs256 => {
                let secret = shellgate_protocol::ClientId::random().to_string();
                (EncodingKey::from_secret(secret.as_bytes()), secret)
            }
            Algorithm::Rs256 | Algorithm::Ps256 => rsa(&RSA),
            Algorithm::Es256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::Es384 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::generate().unwrap();
                let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
                let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
                let public = pem("PUBLIC KEY", public.as_ref());
                (EncodingKey::from_ed_der(private.as_ref()), public)
            }
        };
        Self { algorithm, private, public }
    }

    /// An RSA key of a size that nobody should use any more.
    pub fn weak_rsa_pem() -> &'static str {
        // Made with `openssl genrsa 1024`; aws-lc-rs makes none so small.
        "-----BEGIN PUBLIC KEY-----\n\
         MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCqxrko2aNJhy0yINC8z6Kb8cie\n\
         xUVmxWfe2lN5lddeJtf0VE7a1p0MQE3K24PQ27REEdD5FtcTsRgf8iWrKWgETT0R\n\
         zuFGkcwf7Vd+Y7ChmFYpDmRCVhAIYj/TJjGhYAvPrFouRsAAroHlzuJI9xqUbx2z\n\
         JC/rVg/h4VQs7HbHPQIDAQAB\n\
         -----END PUBLIC KEY-----\n"
    }

    /// The public half as a JSON Web Key with this name.
    pub fn jwk(&self, id: &str) -> Value {
        let library = self.algorithm.name().parse().unwrap();
        let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&self.private, library).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = json!(id);
        jwk["use"] = json!("sig");
        jwk
    }

    pub fn static_key(&self, id: Option<&str>) -> StaticKey {
        let id = id.map(str::to_owned);
        match self.algorithm {
            Algorithm::Hs256 => StaticKey::Secret { id, secret: self.public.clone().into_bytes() },
            _ => StaticKey::Pem { id, pem: self.public.clone() },
        }
    }

    /// A verifier that accepts this key's tokens of its algorithm, and a key without a name.
    pub fn verifier(&self) -> Verifier {
        verifier(vec![self.algorithm], KeySource::Static(vec![self.static_key(None)]))
    }

    pub fn header(&self) -> Value {
        json!({"alg": self.algorithm.name(), "typ": "JWT"})
    }

    pub fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    /// Signs a header and claims as they are, JSON or not.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        self.sign_parts(&part(header), &part(claims))
    }

    /// Signs two parts that are encoded already, well or badly.
    pub fn sign_parts(&self, header: &str, claims: &str) -> String {
        let message = format!("{header}.{claims}");
        let library = self.algorithm.name().parse().unwrap();
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &self.private, library).unwrap();
        format!("{message}.{signature}")
    }
}

pub fn verifier(algorithms: Vec<Algorithm>, keys: KeySource) -> Verifier {
    Verifier::new(VerifierConfig {
        issuers: vec![issuer(ISSUER, algorithms, keys)],
        leeway: LEEWAY_DEFAULT,
        max_lifetime: Duration::from_secs(31 * 86_400),
    })
    .unwrap()
}

pub fn issuer(name: &str, algorithms: Vec<Algorithm>, keys: KeySource) -> IssuerConfig {
    IssuerConfig { issuer: name.into(), audiences: vec![AUDIENCE.into()], algorithms, keys }
}

/// Claims that are accepted.
pub fn claims() -> Value {
    json!({"iss": ISSUER, "sub": "ada", "aud": AUDIENCE, "iat": NOW - 60, "exp": NOW + 600})
}

pub fn part(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn rsa(pair: &RsaKeyPair) -> (EncodingKey, String) {
    let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let private = pem("PRIVATE KEY", private.as_ref());
    let private = EncodingKey::from_rsa_pem(private.as_bytes()).unwrap();
    (private, pem("PUBLIC KEY", public.as_ref()))
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> (EncodingKey, String) {
    let pair = EcdsaKeyPair::generate(algorithm).unwrap();
    let private = pair.to_pkcs8v1().unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    (EncodingKey::from_ec_der(private.as_ref()), pem("PUBLIC KEY", public.as_ref()))
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
