//! One key that verifies tokens, checked when it is loaded. Knows no issuer and no claims.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::jwt::KEY_ID_MAX;
use super::strict_json;

/// Sizes of RSA keys, in bits: less is weak, and more only costs time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Least length of an HMAC secret, in bytes: its hash's (RFC 7518, section 3.2).
const SECRET_MIN: usize = 32;

/// The algorithms that are known here (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSASSA-PSS with SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA on P-384 with SHA-384.
    #[serde(rename = "ES384")]
    Es384,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Hs256, Self::Rs256, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// The algorithm of this name, which has one spelling.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Its name in tokens and keys.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Whether who can verify can also sign.
    #[must_use]
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256)
    }

    const fn library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Ps256 => jsonwebtoken::Algorithm::PS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Es384 => jsonwebtoken::Algorithm::ES384,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a key is not taken. Each text continues "the key …" and shows nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// What it is can't be made out.
    #[error("can't be read: {0}")]
    Unreadable(&'static str),
    /// Of a type, a curve or an algorithm that is not known here.
    #[error("is of a kind that is not supported: {0}")]
    Unsupported(&'static str),
    /// A secret where a public key must be.
    #[error("is not public")]
    NotPublic,
    /// Too small to be safe, or too large to be of use.
    #[error("has a size outside what is safe: RSA 2048 to 8192 bits, HMAC at least 32 bytes")]
    Size,
    /// Made for something else than verifying signatures, by its `use` or its `key_ops`.
    #[error("is not meant for verifying signatures")]
    Purpose,
    /// Its `alg` does not belong to its type.
    #[error("names an algorithm that is not its type's")]
    Algorithm,
}

/// A key that verifies tokens.
#[derive(Clone)]
pub struct Key {
    id: Option<String>,
    /// What it verifies: its type's algorithms, or the one that it names itself.
    algorithms: Vec<Algorithm>,
    material: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

impl Key {
    /// An HMAC secret for HS256.
    ///
    /// # Errors
    /// A secret shorter than its hash, or one that is a public key's text: with such a "secret"
    /// everybody who knows the public key signs tokens.
    pub fn from_secret(id: Option<String>, secret: &[u8]) -> Result<Self, KeyFault> {
        if secret.len() < SECRET_MIN {
            return Err(KeyFault::Size);
        }
        if secret.trim_ascii_start().starts_with(b"-----BEGIN ") {
            return Err(KeyFault::Unsupported("a PEM text as an HMAC secret"));
        }
        Self::new(id, vec![Algorithm::Hs256], DecodingKey::from_secret(secret))
    }

    /// A public key in PEM: RSA, P-256, P-384 or Ed25519, as SubjectPublicKeyInfo (`PUBLIC KEY`)
    /// or PKCS #1 (`RSA PUBLIC KEY`).
    ///
    /// # Errors
    /// Another kind of PEM (private keys and certificates among them), more than one, or a weak key.
    pub fn from_pem(id: Option<String>, pem: &str) -> Result<Self, KeyFault> {
        let pem = pem.trim();
        if pem.matches("-----BEGIN ").count() != 1 {
            return Err(KeyFault::Unreadable("not exactly one PEM block"));
        }
        let is_pkcs1 = pem.starts_with("-----BEGIN RSA PUBLIC KEY-----");
        if pem.contains("PRIVATE KEY") {
            return Err(KeyFault::NotPublic);
        }
        if !is_pkcs1 && !pem.starts_with("-----BEGIN PUBLIC KEY-----") {
            return Err(KeyFault::Unsupported("a PEM block other than a public key"));
        }
        if let Ok(material) = DecodingKey::from_ed_pem(pem.as_bytes()) {
            check_point(&ED25519, &material)?;
            return Self::new(id, vec![Algorithm::EdDsa], material);
        }
        if let Ok(material) = DecodingKey::from_ec_pem(pem.as_bytes()) {
            let bytes = material.try_get_as_bytes().map_err(|_| unreadable())?;
            let algorithm = match bytes.len() {
                65 => Algorithm::Es256,
                97 => Algorithm::Es384,
                _ => return Err(KeyFault::Unsupported("its curve")),
            };
            check_curve(algorithm, &material)?;
            return Self::new(id, vec![algorithm], material);
        }
        let material = DecodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| unreadable())?;
        let der = material.try_get_as_bytes().map_err(|_| unreadable())?;
        let bits = RsaParameters::public_modulus_len(der).map_err(|_| unreadable())?;
        if !RSA_BITS.contains(&(bits as usize)) {
            return Err(KeyFault::Size);
        }
        Self::new(id, vec![Algorithm::Rs256, Algorithm::Ps256], material)
    }

    /// A public key as a JSON Web Key (RFC 7517).
    ///
    /// # Errors
    /// See [`KeyFault`].
    pub fn from_jwk_text(jwk: &str) -> Result<Self, KeyFault> {
        let members = strict_json::object(jwk.as_bytes())
            .map_err(|_| KeyFault::Unreadable("not a JSON object, or with a member twice"))?;
        Self::from_jwk(&members)
    }

    /// As [`Key::from_jwk_text`], from the parsed object.
    ///
    /// # Errors
    /// See [`KeyFault`].
    pub fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, KeyFault> {
        let kind = text(jwk, "kty")?.ok_or(KeyFault::Unreadable("no kty"))?;
        // `k` is a symmetric key, `d` the private part of every other type (RFC 7518, section 6).
        if kind == "oct" || ["k", "d"].iter().any(|name| jwk.contains_key(*name)) {
            return Err(KeyFault::NotPublic);
        }
        check_purpose(jwk)?;
        let id = match text(jwk, "kid")? {
            Some(id) if !(1..=KEY_ID_MAX).contains(&id.len()) => {
                return Err(KeyFault::Unreadable("its kid has a length out of range"));
            }
            id => id.map(str::to_owned),
        };
        let (algorithms, material) = match (kind, text(jwk, "crv")?) {
            ("RSA", None) => (vec![Algorithm::Rs256, Algorithm::Ps256], rsa_material(jwk)?),
            ("EC", Some("P-256")) => (vec![Algorithm::Es256], ec_material(jwk, Algorithm::Es256)?),
            ("EC", Some("P-384")) => (vec![Algorithm::Es384], ec_material(jwk, Algorithm::Es384)?),
            ("OKP", Some("Ed25519")) => {
                let material = DecodingKey::from_ed_der(&bytes(jwk, "x")?);
                check_point(&ED25519, &material)?;
                (vec![Algorithm::EdDsa], material)
            }
            ("RSA" | "EC" | "OKP", _) => return Err(KeyFault::Unsupported("its crv")),
            _ => return Err(KeyFault::Unsupported("its kty")),
        };
        let key = Self::new(id, algorithms, material)?;
        match text(jwk, "alg")? {
            Some(name) => key.only(Algorithm::parse(name).ok_or(KeyFault::Algorithm)?),
            None => Ok(key),
        }
    }

    fn new(
        id: Option<String>,
        algorithms: Vec<Algorithm>,
        material: DecodingKey,
    ) -> Result<Self, KeyFault> {
        if id.as_ref().is_some_and(|id| !(1..=KEY_ID_MAX).contains(&id.len())) {
            return Err(KeyFault::Unreadable("its kid has a length out of range"));
        }
        Ok(Self { id, algorithms, material })
    }

    /// The same key for one of its algorithms only.
    ///
    /// # Errors
    /// [`KeyFault::Algorithm`] where it is not one of them.
    pub fn only(self, algorithm: Algorithm) -> Result<Self, KeyFault> {
        if self.algorithms.contains(&algorithm) {
            Ok(Self { algorithms: vec![algorithm], ..self })
        } else {
            Err(KeyFault::Algorithm)
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What it verifies.
    #[must_use]
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// Whether `signature` (base64url) is this key's signature of `message`.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, message: &str, signature: &str) -> bool {
        self.algorithms.contains(&algorithm)
            && jsonwebtoken::crypto::verify(
                signature,
                message.as_bytes(),
                &self.material,
                algorithm.library(),
            )
            .unwrap_or(false)
    }
}

fn unreadable() -> KeyFault {
    KeyFault::Unreadable("not a key of its type")
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, KeyFault> {
    match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(KeyFault::Unreadable("a member is not a string")),
    }
}

fn bytes(jwk: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, KeyFault> {
    let text = text(jwk, name)?.ok_or(KeyFault::Unreadable("a member is missing"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyFault::Unreadable("a member is not base64url"))
}

/// A key that says what it is for must be for this (RFC 7517, sections 4.2 and 4.3).
fn check_purpose(jwk: &Map<String, Value>) -> Result<(), KeyFault> {
    if !matches!(text(jwk, "use")?, None | Some("sig")) {
        return Err(KeyFault::Purpose);
    }
    match jwk.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) => {
            let texts: Option<Vec<_>> = operations.iter().map(Value::as_str).collect();
            let texts = texts.ok_or(KeyFault::Unreadable("its key_ops are not strings"))?;
            if texts.contains(&"verify") { Ok(()) } else { Err(KeyFault::Purpose) }
        }
        Some(_) => Err(KeyFault::Unreadable("its key_ops are not a list")),
    }
}

fn rsa_material(jwk: &Map<String, Value>) -> Result<DecodingKey, KeyFault> {
    let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err(KeyFault::Size);
    }
    let components = RsaPublicKeyComponents { n: &n, e: &e };
    let parsed =
        components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).map_err(|_| unreadable())?;
    // Parsing its encoding is what checks the numbers, an even or tiny exponent among them.
    let der = aws_lc_rs::encoding::AsDer::as_der(&parsed).map_err(|_| unreadable())?;
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der.as_ref()).map_err(|_| unreadable())?;
    Ok(DecodingKey::from_rsa_raw_components(&n, &e))
}

fn ec_material(jwk: &Map<String, Value>, algorithm: Algorithm) -> Result<DecodingKey, KeyFault> {
    let edge = if algorithm == Algorithm::Es256 { 32 } else { 48 };
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != edge || y.len() != edge {
        return Err(unreadable());
    }
    // An uncompressed point: SEC 1, section 2.3.3.
    let point = [&[4][..], &x, &y].concat();
    let material = DecodingKey::from_ec_der(&point);
    check_curve(algorithm, &material)?;
    Ok(material)
}

fn check_curve(algorithm: Algorithm, material: &DecodingKey) -> Result<(), KeyFault> {
    if algorithm == Algorithm::Es256 {
        check_point(&ECDSA_P256_SHA256_FIXED, material)
    } else {
        check_point(&ECDSA_P384_SHA384_FIXED, material)
    }
}

/// The point must lie on its curve.
fn check_point(
    algorithm: &'static dyn VerificationAlgorithm,
    material: &DecodingKey,
) -> Result<(), KeyFault> {
    let bytes = material.try_get_as_bytes().map_err(|_| unreadable())?;
    ParsedPublicKey::new(algorithm, bytes).map(|_| ()).map_err(|_| unreadable())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Claims of the examples in RFC 7515.
    const RFC_CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                              cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

    #[test]
    fn the_examples_of_the_rfcs_hold() {
        // RFC 7515, appendix A.1.
        let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjA\
                      zZr1Z9CAow";
        let key = Key::from_secret(None, &URL_SAFE_NO_PAD.decode(secret).unwrap()).unwrap();
        let message = format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{RFC_CLAIMS}");
        let signature = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert!(key.verifies(Algorithm::Hs256, &message, signature));
        assert!(!key.verifies(Algorithm::Hs256, &message[1..], signature));

        // RFC 7515, appendix A.3.
        let key = Key::from_jwk_text(
            r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
        );
        let message = format!("eyJhbGciOiJFUzI1NiJ9.{RFC_CLAIMS}");
        let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKT\
                         UJqPP3-Kg6NU1Q";
        assert!(key.unwrap().verifies(Algorithm::Es256, &message, signature));

        // RFC 8037, appendix A.4.
        let key = Key::from_jwk_text(
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        );
        let message = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7\
                         sVvpAr_MuM0KAg";
        assert!(key.unwrap().verifies(Algorithm::EdDsa, message, signature));
    }
}
