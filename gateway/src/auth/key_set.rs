//! The keys of one issuer: which one a token means. Knows no clock and no network.

use serde_json::Value;

use super::jwt::KEY_ID_MAX;
use super::key::{Algorithm, Key, KeyFault};
use super::strict_json;

/// Most keys that one issuer may have.
pub const KEYS_MAX: usize = 64;

/// Keys with distinct names.
#[derive(Debug, Clone)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// Why no key of a set is the one that a token means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// The set has none: a newer one may.
    Unknown,
    /// There is one, and it is for another algorithm.
    Algorithm,
    /// The token names none, and several may be meant.
    Ambiguous,
}

/// Why keys are not a set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetFault {
    /// Not a JSON object with a list `keys`.
    #[error("it is not a JSON Web Key Set")]
    NotASet,
    /// More than [`KEYS_MAX`].
    #[error("it has more than {KEYS_MAX} keys")]
    TooMany,
    /// Two keys of the same name, or two without one for the same algorithm.
    #[error("two of its keys have the same kid, or none and the same algorithm")]
    SameName,
    /// No key is left.
    #[error("it has no key that can be used")]
    Empty,
}

impl KeySet {
    /// A set of keys.
    ///
    /// # Errors
    /// See [`SetFault`].
    pub fn new(keys: Vec<Key>) -> Result<Self, SetFault> {
        if keys.is_empty() {
            return Err(SetFault::Empty);
        }
        if keys.len() > KEYS_MAX {
            return Err(SetFault::TooMany);
        }
        let clash = |a: &Key, b: &Key| {
            a.id() == b.id()
                && (a.id().is_some() || a.algorithms().iter().any(|x| b.algorithms().contains(x)))
        };
        for (at, key) in keys.iter().enumerate() {
            if keys[..at].iter().any(|earlier| clash(earlier, key)) {
                return Err(SetFault::SameName);
            }
        }
        Ok(Self { keys })
    }

    /// Parses a JSON Web Key Set (RFC 7517, section 5). Keys of other kinds, for other purposes,
    /// weak or not public are left out, as the RFC asks, and named with their faults.
    ///
    /// # Errors
    /// See [`SetFault`].
    pub fn parse(json: &[u8]) -> Result<(Self, Vec<(String, KeyFault)>), SetFault> {
        let members = strict_json::object(json).map_err(|_| SetFault::NotASet)?;
        let Some(Value::Array(entries)) = members.get("keys") else {
            return Err(SetFault::NotASet);
        };
        if entries.len() > KEYS_MAX {
            return Err(SetFault::TooMany);
        }
        let (mut keys, mut left_out) = (Vec::new(), Vec::new());
        for entry in entries {
            let Value::Object(entry) = entry else { return Err(SetFault::NotASet) };
            match Key::from_jwk(entry) {
                Ok(key) => keys.push(key),
                Err(fault) => {
                    let name = entry.get("kid").and_then(Value::as_str).unwrap_or("(no kid)");
                    left_out.push((name.chars().take(KEY_ID_MAX).collect(), fault));
                }
            }
        }
        Ok((Self::new(keys)?, left_out))
    }

    /// The key that a token means: the one of its name; else the one without a name for its
    /// algorithm; for a token that names none, the only one for its algorithm.
    ///
    /// # Errors
    /// See [`Miss`].
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, Miss> {
        let fits = |key: &&Key| key.algorithms().contains(&algorithm);
        let Some(id) = id else {
            let mut fitting = self.keys.iter().filter(fits);
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => Ok(key),
                (Some(_), Some(_)) => Err(Miss::Ambiguous),
                (None, _) => Err(Miss::Unknown),
            };
        };
        if let Some(key) = self.keys.iter().find(|key| key.id() == Some(id)) {
            return Some(key).filter(fits).ok_or(Miss::Algorithm);
        }
        self.keys.iter().filter(|key| key.id().is_none()).find(fits).ok_or(Miss::Unknown)
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
}
