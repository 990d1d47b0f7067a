//! A JSON Web Token as text: its form, before any key is looked at, and its claims against the
//! time, after. Pure; knows no keys, no issuers and no cryptography.
//!
//! Verifying libraries let much of what is refused here pass: it is harmless to them, and not to
//! the next parser of the same token.

use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use shellgate_protocol::limits::TOKEN_MAX;

use super::identity::{Scopes, UserId};
use super::key::Algorithm;
use super::refused::AuthError;
use super::strict_json::{self, NotStrict};

/// Largest `kid`, in bytes.
pub const KEY_ID_MAX: usize = 256;

/// Largest `jti`, in bytes.
const TOKEN_ID_MAX: usize = 255;

/// Most audiences of one token.
const AUDIENCES_MAX: usize = 64;

/// The last second of the year 9999, in seconds since 1970: beyond lie mistaken units and attacks
/// on date arithmetic.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// Header members that are refused: keys that come with the token they shall verify (RFC 7515,
/// sections 4.1.2 to 4.1.6), extensions (4.1.11, RFC 7797), compression, and nested tokens.
/// `x5t` is only a key's name, which widespread issuers send: it is ignored.
const HEADER_REFUSED: [&str; 9] = ["jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "cty", "enc"];

/// Types of token that are accepted: RFC 7519, section 5.1, and RFC 9068, section 2.1.
const TYPES: [&str; 4] = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];

/// A token's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The first.
    Header,
    /// The second.
    Claims,
    /// The third.
    Signature,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Claims => "claims",
            Self::Signature => "signature",
        })
    }
}

/// What is wrong with a token's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It is longer than [`TOKEN_MAX`]; nothing of it was looked at.
    #[error("is over its size limit")]
    TooLong,
    /// It is not three parts with something in each.
    #[error("is not three parts")]
    Parts,
    /// A part is not base64url without padding, or not the one spelling of its bytes.
    #[error("has no unpadded, canonical base64url as its {0}")]
    Base64(Part),
    /// A part is not a JSON object.
    #[error("has no JSON object as its {0}")]
    Json(Part),
    /// A member stands twice.
    #[error("has a member twice in its {0}")]
    Duplicate(Part),
    /// A member is missing, has another type or range than it must, or must not be there.
    #[error("has a {0} whose member `{1}` is missing, malformed or not accepted")]
    Member(Part, &'static str),
}

/// A token of a form that is accepted; nothing in it is verified.
#[derive(Clone)]
pub struct Inspected<'a> {
    /// The algorithm of its signature.
    pub algorithm: Algorithm,
    /// The name of its key.
    pub key_id: Option<String>,
    /// What it claims.
    pub claims: Claims,
    /// What is signed: header and claims as they came.
    pub message: &'a str,
    /// The signature in base64url.
    pub signature: &'a str,
}

/// What a token claims, each claim of its right type and range.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// `iss` and `sub`.
    pub user: UserId,
    /// `aud`.
    pub audiences: Vec<String>,
    /// `exp`.
    pub expires_at: SystemTime,
    /// `nbf`.
    pub not_before: Option<SystemTime>,
    /// `iat`.
    pub issued_at: Option<SystemTime>,
    /// `scope` and `scp`.
    pub scopes: Scopes,
}

/// Looks at a token's form. Every error comes before any cryptography.
///
/// # Errors
/// [`AuthError::Malformed`], or [`AuthError::Algorithm`] for an algorithm that is not known here
/// (`none` is not).
pub fn inspect(token: &str) -> Result<Inspected<'_>, AuthError> {
    if token.len() > TOKEN_MAX {
        return Err(Flaw::TooLong.into());
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Flaw::Parts)?;
    let (header, claims) = message.split_once('.').ok_or(Flaw::Parts)?;
    if header.is_empty() || claims.is_empty() || signature.is_empty() || claims.contains('.') {
        return Err(Flaw::Parts.into());
    }
    let header = object(header, Part::Header)?;
    let claims = object(claims, Part::Claims)?;
    decode(signature, Part::Signature)?;

    let (algorithm, key_id) = read_header(&header)?;
    Ok(Inspected { algorithm, key_id, claims: read_claims(&claims)?, message, signature })
}

fn decode(text: &str, part: Part) -> Result<Vec<u8>, Flaw> {
    // This engine refuses padding and bits that no byte needs: a token has one spelling.
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Flaw::Base64(part))
}

fn object(text: &str, part: Part) -> Result<Map<String, Value>, Flaw> {
    strict_json::object(&decode(text, part)?).map_err(|error| match error {
        NotStrict::NotAnObject => Flaw::Json(part),
        NotStrict::Duplicate => Flaw::Duplicate(part),
    })
}

fn read_header(header: &Map<String, Value>) -> Result<(Algorithm, Option<String>), AuthError> {
    let wrong = |name| Flaw::Member(Part::Header, name);
    if let Some(name) = HEADER_REFUSED.into_iter().find(|name| header.contains_key(*name)) {
        return Err(wrong(name).into());
    }
    match header.get("typ") {
        None => {}
        Some(Value::String(kind)) if TYPES.iter().any(|t| kind.eq_ignore_ascii_case(t)) => {}
        Some(_) => return Err(wrong("typ").into()),
    }
    let key_id = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if (1..=KEY_ID_MAX).contains(&kid.len()) => Some(kid.clone()),
        Some(_) => return Err(wrong("kid").into()),
    };
    let Some(Value::String(name)) = header.get("alg") else { return Err(wrong("alg").into()) };
    Ok((Algorithm::parse(name).ok_or(AuthError::Algorithm)?, key_id))
}

fn read_claims(claims: &Map<String, Value>) -> Result<Claims, Flaw> {
    let wrong = |name| Flaw::Member(Part::Claims, name);
    let text = |name| match claims.get(name) {
        Some(Value::String(text)) => Ok(text.as_str()),
        _ => Err(wrong(name)),
    };
    let (issuer, subject) = (text("iss")?, text("sub")?);
    // A pair that is no user although its issuer is a text has a subject that is none.
    let user = UserId::new(issuer, subject)
        .ok_or_else(|| wrong(if UserId::new(issuer, "-").is_some() { "sub" } else { "iss" }))?;
    let audiences = match claims.get("aud") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(several)) if (1..=AUDIENCES_MAX).contains(&several.len()) => {
            let texts = several.iter().map(|one| one.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().ok_or_else(|| wrong("aud"))?
        }
        _ => return Err(wrong("aud")),
    };
    let expires_at = date(claims, "exp")?.ok_or_else(|| wrong("exp"))?;
    let is_id = |id: &str| id.len() <= TOKEN_ID_MAX && !id.chars().any(char::is_control);
    if !claims.get("jti").is_none_or(|id| id.as_str().is_some_and(is_id)) {
        return Err(wrong("jti"));
    }
    Ok(Claims {
        user,
        audiences,
        expires_at,
        not_before: date(claims, "nbf")?,
        issued_at: date(claims, "iat")?,
        scopes: read_scopes(claims)?,
    })
}

/// A NumericDate (RFC 7519, section 2): seconds since 1970, whole or not, up to the year 9999.
fn date(claims: &Map<String, Value>, name: &'static str) -> Result<Option<SystemTime>, Flaw> {
    let wrong = Flaw::Member(Part::Claims, name);
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            let seconds =
                number.as_f64().filter(|s| (0.0..=LAST_SECOND).contains(s)).ok_or(wrong)?;
            Ok(Some(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)))
        }
        Some(_) => Err(wrong),
    }
}

fn read_scopes(claims: &Map<String, Value>) -> Result<Scopes, Flaw> {
    let mut scopes = match claims.get("scope") {
        None => Scopes::OWN,
        Some(Value::String(words)) => Scopes::parse(words),
        Some(_) => return Err(Flaw::Member(Part::Claims, "scope")),
    };
    let wrong = Flaw::Member(Part::Claims, "scp");
    match claims.get("scp") {
        None => {}
        Some(Value::String(words)) => words.split(' ').for_each(|word| scopes.grant(word)),
        Some(Value::Array(words)) => {
            for word in words {
                scopes.grant(word.as_str().ok_or(wrong)?);
            }
        }
        Some(_) => return Err(wrong),
    }
    Ok(scopes)
}

/// What a token's claims are held against.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The names that this gateway goes by: one of them must be in `aud`.
    pub audiences: Vec<String>,
    /// How far this machine's clock and the issuer's may lie apart.
    pub leeway: Duration,
    /// The longest time from `iat` (from now, where there is none) to `exp`.
    pub max_lifetime: Duration,
}

impl Claims {
    /// Holds the claims of a token whose signature is verified against the rules.
    ///
    /// # Errors
    /// [`AuthError::Audience`], [`AuthError::Expired`], [`AuthError::NotYetValid`] or
    /// [`AuthError::Times`].
    pub fn check(&self, rules: &Rules, now: SystemTime) -> Result<(), AuthError> {
        if !self.audiences.iter().any(|theirs| rules.audiences.contains(theirs)) {
            return Err(AuthError::Audience);
        }
        if self.not_before.is_some_and(|start| start >= self.expires_at)
            || self.issued_at.is_some_and(|start| start >= self.expires_at)
        {
            return Err(AuthError::Times("end before they begin"));
        }
        if self.expires_at + rules.leeway <= now {
            return Err(AuthError::Expired);
        }
        let latest_start = now + rules.leeway;
        if self.not_before.is_some_and(|start| start > latest_start)
            || self.issued_at.is_some_and(|start| start > latest_start)
        {
            return Err(AuthError::NotYetValid);
        }
        let life = self.expires_at.duration_since(self.issued_at.unwrap_or(now));
        if life.is_ok_and(|life| life > rules.max_lifetime) {
            return Err(AuthError::Times("span more than the longest life"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_operator_reads_what_is_wrong_with_a_token_s_form() {
        let flaw = |token: &str| inspect(token).err();
        for token in ["", "a", "a.b", "a.b.c.d", "a..c", ".b.c", "a.b."] {
            assert_eq!(flaw(token), Some(Flaw::Parts.into()), "{token:?}");
        }
        let object = URL_SAFE_NO_PAD.encode("{}");
        let list = URL_SAFE_NO_PAD.encode("[]");
        for (token, expected) in [
            (format!("!.{object}.AA"), Flaw::Base64(Part::Header)),
            (format!("{object}.!.AA"), Flaw::Base64(Part::Claims)),
            (format!("{object}.{object}.!"), Flaw::Base64(Part::Signature)),
            (format!("{list}.{object}.AA"), Flaw::Json(Part::Header)),
            (format!("{object}.{list}.AA"), Flaw::Json(Part::Claims)),
            (format!("{object}.{object}.AA"), Flaw::Member(Part::Header, "alg")),
            ("x".repeat(TOKEN_MAX + 1), Flaw::TooLong),
        ] {
            assert_eq!(flaw(&token), Some(expected.into()), "{token:?}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(token in "\\PC{0,200}") {
            let _ = inspect(&token);
        }

        #[test]
        fn garbage_in_three_parts_never_panics(
            header in proptest::collection::vec(any::<u8>(), 0..60),
            claims in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            let token = [part(&header), part(&claims), "AAAA".to_owned()].join(".");
            prop_assert!(inspect(&token).is_err());
        }

        #[test]
        fn any_json_as_claims_never_panics(
            name in prop::sample::select(vec!["exp", "nbf", "iat", "aud", "sub", "scp", "scope", "jti"]),
            value in prop::sample::select(vec![
                "null", "[]", "{}", "\"\"", "-1", "1e308", "-0.0", "1.5", "[null]", "[\"a\"]", "true",
                "18446744073709551615", "1e-320", "\"\\u0000\"",
            ]),
            now in 0u64..300_000_000_000,
        ) {
            let mut claims: Map<String, Value> = serde_json::from_str(
                r#"{"iss":"i","sub":"s","aud":"a","exp":99}"#).unwrap();
            claims.insert(name.into(), serde_json::from_str(value).unwrap());
            let rules = Rules {
                audiences: vec!["a".into()],
                leeway: Duration::from_secs(5),
                max_lifetime: Duration::from_secs(3600),
            };
            if let Ok(claims) = read_claims(&claims) {
                let _ = claims.check(&rules, SystemTime::UNIX_EPOCH + Duration::from_secs(now));
            }
        }
    }
}
