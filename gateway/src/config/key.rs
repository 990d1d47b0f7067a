//! An issuer's keys as they stand in the configuration or in files beside it. Knows no cryptography:
//! whether a key is fit to verify tokens it asks of those who use it (`issuers`, which knows nothing
//! of where a key stood).

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::fault::MISSING;
use super::file;
use super::reader::{Context, Reader, section};
use super::setting::{Setting, choice};
use super::source::{Entry, Value};
use crate::auth::key::KeyFault;
use crate::issuers;

/// Fewest bytes of a shared secret: those of the hash (RFC 7518, section 3.2).
const SECRET_MIN: usize = 32;

choice! {
    /// How a token is signed (RFC 7518, section 3.1; RFC 8037).
    pub enum Algorithm {
        /// HMAC with SHA-256: a secret that issuer and gateway share.
        Hs256 = "HS256",
        /// RSA with PKCS #1 v1.5 and SHA-256.
        Rs256 = "RS256",
        /// RSA with PSS and SHA-256.
        Ps256 = "PS256",
        /// ECDSA on P-256 with SHA-256.
        Es256 = "ES256",
        /// ECDSA on P-384 with SHA-384.
        Es384 = "ES384",
        /// Ed25519.
        EdDsa = "EdDSA",
    }
}

/// A key from the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct StaticKey {
    /// Its name in tokens, wherever it was written.
    pub kid: Option<String>,
    /// The one algorithm that it is for.
    pub alg: Algorithm,
    /// The key.
    pub material: KeyMaterial,
    /// Its key in the configuration: `auth.issuers[0].keys[0]`.
    pub place: String,
}

/// A key as it was written. `Debug` shows its form only.
#[derive(Clone, PartialEq)]
pub enum KeyMaterial {
    /// A public key or certificate in PEM (RFC 7468).
    Pem(Vec<u8>),
    /// A shared secret.
    Secret(Vec<u8>),
    /// A JWK (RFC 7517, section 4).
    Jwk(Map<String, Json>),
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pem(_) => "Pem(…)",
            Self::Secret(_) => "Secret(…)",
            Self::Jwk(_) => "Jwk(…)",
        })
    }
}

section! {
    |context|
    /// A key of an issuer that publishes none: `alg`, and one of `pem`, `pem_file`, `secret_file`, `jwk`.
    pub struct KeyKeys {
        /// Its name in tokens.
        kid: Option<String> = None;
        /// The one algorithm that it is for. Required.
        alg: Option<Algorithm> = None;
        /// A public key in PEM.
        pem: Option<String> = None;
        /// A file with a public key in PEM.
        pem_file: Option<PathBuf> = None;
        /// A file with a shared secret of at least 32 bytes, which nobody else may read. A line end at
        /// its end is not part of it.
        secret_file: Option<PathBuf> = None;
        /// A JWK as a table.
        jwk: Option<Jwk> = None;
    }
}

/// A JWK as it was written. `Debug` shows nothing of it.
#[derive(Clone, PartialEq)]
pub(super) struct Jwk(Map<String, Json>);

impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jwk(…)")
    }
}

impl Setting for Jwk {
    fn allowed() -> String {
        "a table, such as { kty = \"OKP\", crv = \"Ed25519\", x = \"…\" }".into()
    }

    fn read(entry: &Entry) -> Result<Self, String> {
        match json(&entry.value) {
            Some(Json::Object(members)) => Ok(Self(members)),
            Some(_) => Err(format!("it is {}", entry.value.kind())),
            None => Err("it holds a value that JSON does not have".into()),
        }
    }

    fn show(&self) -> String {
        "{ kty = \"…\" }".into()
    }
}

fn json(value: &Value) -> Option<Json> {
    Some(match value.plain() {
        Value::Text(text) => Json::String(text.clone()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => Json::Number(serde_json::Number::from_f64(*number)?),
        Value::Boolean(yes) => Json::Bool(*yes),
        Value::List(items) => {
            Json::Array(items.iter().map(|item| json(&item.value)).collect::<Option<_>>()?)
        }
        Value::Table(table) => Json::Object(
            table
                .iter()
                .map(|(key, entry)| Some((key.clone(), json(&entry.value)?)))
                .collect::<Option<_>>()?,
        ),
        Value::Other | Value::Variable { .. } => return None,
    })
}

impl StaticKey {
    /// Makes its name and that in its JWK the same. Where both are there and differ: the two.
    fn take_name(&mut self) -> Result<(), (Json, String)> {
        let KeyMaterial::Jwk(members) = &mut self.material else { return Ok(()) };
        match (members.get("kid"), &self.kid) {
            (None, None) => {}
            (None, Some(name)) => {
                members.insert("kid".into(), Json::String(name.clone()));
            }
            (Some(own), None) => self.kid = own.as_str().map(str::to_owned),
            (Some(own), Some(name)) if own == name => {}
            (Some(own), Some(name)) => return Err((own.clone(), name.clone())),
        }
        Ok(())
    }

    pub(super) fn show(&self) -> String {
        let mut shown = KeyKeys {
            kid: self.kid.clone(),
            alg: Some(self.alg),
            pem: None,
            pem_file: None,
            secret_file: None,
            jwk: None,
        };
        match &self.material {
            KeyMaterial::Pem(_) => shown.pem = Some("…".into()),
            KeyMaterial::Secret(_) => shown.secret_file = Some("…".into()),
            KeyMaterial::Jwk(members) => shown.jwk = Some(Jwk(members.clone())),
        }
        let keys = shown.show().into_iter().filter(|(_, value)| !value.is_empty());
        let keys: Vec<_> = keys.map(|(key, value)| format!("{key} = {value}")).collect();
        format!("{{ {} }}", keys.join(", "))
    }
}

/// Reads one key; none where something is wrong with it, which is then among the faults.
pub(super) fn read(mut table: Reader<'_>, context: &Context) -> Option<StaticKey> {
    let read = KeyKeys::read(&mut table, context);
    if !table.has("alg") {
        table.fault("alg", format!("it {MISSING}"), Algorithm::allowed());
    }
    const FORMS: [&str; 4] = ["pem", "pem_file", "secret_file", "jwk"];
    let forms: Vec<_> = FORMS.into_iter().filter(|form| table.has(form)).collect();
    if forms.len() != 1 {
        let wrong = match forms.is_empty() {
            true => format!("the key itself {MISSING}"),
            false => "it is several keys".to_owned(),
        };
        table.fault("", wrong, FORMS.join(" or "));
        table.finish();
        return None;
    }
    let form = forms[0];
    let symmetric = read.alg == Some(Algorithm::Hs256);
    if read.alg.is_some() && symmetric != (form == "secret_file") {
        let (wrong, allowed) = if symmetric {
            ("HS256 needs a shared secret", "secret_file")
        } else {
            ("a shared secret is for HS256 only", "pem, pem_file or jwk")
        };
        table.fault(form, wrong, allowed);
    }
    let material = match form {
        "pem" => read.pem.map(|pem| KeyMaterial::Pem(pem.into_bytes())),
        "pem_file" => read.pem_file.and_then(|path| match key_file(&path, false) {
            Ok(bytes) => Some(KeyMaterial::Pem(bytes)),
            Err(wrong) => {
                table.fault(form, wrong, "a file that the gateway can read");
                None
            }
        }),
        "secret_file" => read.secret_file.and_then(|path| match key_file(&path, true) {
            Ok(bytes) => Some(KeyMaterial::Secret(bytes)),
            Err(wrong) => {
                let allowed = format!("a file of mode 0600 with at least {SECRET_MIN} bytes");
                table.fault(form, wrong, allowed);
                None
            }
        }),
        _ => read.jwk.map(|Jwk(members)| KeyMaterial::Jwk(members)),
    };
    let place = table.full("").trim_end_matches('.').to_owned();
    let key = read.alg.zip(material).map(|(alg, material)| {
        let mut key = StaticKey { kid: read.kid, alg, material, place };
        if let Err((own, name)) = key.take_name() {
            table.fault("kid", format!("it is {name:?}, and the jwk's own is {own}"), "one kid");
        }
        key
    });
    if let Some(key) = key.as_ref().filter(|_| table.is_good(form))
        && let Err(unfit) = issuers::fitness(key)
    {
        let wrong = match unfit {
            KeyFault::Algorithm => format!("the key is of another kind than {} needs", key.alg),
            unfit => format!("the key {unfit}"),
        };
        let allowed = match &key.material {
            KeyMaterial::Pem(_) => format!("a public key for {} in PEM", key.alg),
            KeyMaterial::Secret(_) => format!("at least {SECRET_MIN} random bytes"),
            KeyMaterial::Jwk(_) => format!("a public key for {} as a JWK", key.alg),
        };
        table.fault(form, wrong, allowed);
    }
    table.finish();
    key
}

/// Reads a key's file. Its content is in no message.
fn key_file(path: &Path, secret: bool) -> Result<Vec<u8>, String> {
    let mut bytes = file::read(path, secret)?;
    if secret {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        if bytes.len() < SECRET_MIN {
            return Err(format!("{} has {} bytes only", path.display(), bytes.len()));
        }
    }
    Ok(bytes)
}
