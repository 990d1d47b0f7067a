//! Who a verified credential says is calling. Knows neither how it was verified nor what it opens.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// Label under which a user's key is derived.
const KEY_LABEL: &[u8] = b"shellgate user key v1\0";

/// Largest issuer, in bytes.
const ISSUER_MAX: usize = 1024;

/// Largest subject, in bytes: OpenID Connect Core 1.0, section 2.
const SUBJECT_MAX: usize = 255;

/// A user: the pair of an issuer and its name for them. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "(String, String)", into = "(String, String)")]
pub struct UserId {
    issuer: Arc<str>,
    subject: Arc<str>,
}

impl UserId {
    /// A user; `None` where one of the two is empty, too long, or has control characters.
    #[must_use]
    pub fn new(issuer: &str, subject: &str) -> Option<Self> {
        let legal = |text: &str, max: usize| {
            (1..=max).contains(&text.len()) && !text.chars().any(char::is_control)
        };
        (legal(issuer, ISSUER_MAX) && legal(subject, SUBJECT_MAX))
            .then(|| Self { issuer: issuer.into(), subject: subject.into() })
    }

    /// Who vouches for the user: the token's `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What the issuer calls the user: the token's `sub`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// A name for the user's things, 64 of `0-9a-f`: a SHA-256 of both parts. It stays the same
    /// for ever, and no two users share one.
    #[must_use]
    pub fn key(&self) -> String {
        let mut bytes = Vec::with_capacity(64 + self.issuer.len() + self.subject.len());
        bytes.extend_from_slice(KEY_LABEL);
        // The length keeps (`a`, `bc`) from (`ab`, `c`).
        bytes.extend_from_slice(&(self.issuer.len() as u64).to_be_bytes());
        bytes.extend_from_slice(self.issuer.as_bytes());
        bytes.extend_from_slice(self.subject.as_bytes());
        let mut key = String::with_capacity(64);
        for byte in digest(&SHA256, &bytes).as_ref() {
            for nibble in [byte >> 4, byte & 15] {
                key.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        key
    }
}

impl From<UserId> for (String, String) {
    fn from(user: UserId) -> Self {
        (user.issuer.as_ref().to_owned(), user.subject.as_ref().to_owned())
    }
}

impl TryFrom<(String, String)> for UserId {
    type Error = &'static str;

    fn try_from((issuer, subject): (String, String)) -> Result<Self, &'static str> {
        Self::new(&issuer, &subject).ok_or("not an issuer and a subject")
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.subject, self.issuer)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a user may do besides using sessions of their own, which everybody may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Scopes {
    /// `sessions:read`: list and see everybody's sessions.
    pub read: bool,
    /// `sessions:observe`: see and watch everybody's sessions.
    pub observe: bool,
    /// `sessions:admin`: list, see, watch and stop everybody's sessions.
    pub admin: bool,
}

impl Scopes {
    /// Own sessions only.
    pub const OWN: Self = Self { read: false, observe: false, admin: false };

    /// Whether this is an operator, who sees everybody's sessions, and whose they are.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.read || self.observe || self.admin
    }

    /// Whether this operator may list everybody's sessions.
    #[must_use]
    pub fn lists_everybodys(&self) -> bool {
        self.read || self.admin
    }

    /// Adds what one word grants. Words that belong to others are nothing to us.
    pub fn grant(&mut self, word: &str) {
        match word {
            "sessions:read" => self.read = true,
            "sessions:observe" => self.observe = true,
            "sessions:admin" => self.admin = true,
            _ => {}
        }
    }

    /// The scopes in a list of words with spaces between (RFC 6749, section 3.3).
    #[must_use]
    pub fn parse(words: &str) -> Self {
        let mut scopes = Self::OWN;
        words.split(' ').for_each(|word| scopes.grant(word));
        scopes
    }
}

impl fmt::Display for Scopes {
    /// A list of words as [`Scopes::parse`] reads it; empty for own sessions only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.read, "sessions:read"),
            (self.observe, "sessions:observe"),
            (self.admin, "sessions:admin"),
        ];
        let mut first = true;
        for (_, word) in words.into_iter().filter(|(granted, _)| *granted) {
            f.write_str(if first { "" } else { " " })?;
            f.write_str(word)?;
            first = false;
        }
        Ok(())
    }
}

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// What they may do.
    pub scopes: Scopes,
    /// When the credential runs out: the token's `exp`, the leeway not counted.
    pub expires_at: SystemTime,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn user(issuer: &str, subject: &str) -> UserId {
        UserId::new(issuer, subject).unwrap()
    }

    #[test]
    fn a_user_s_key_never_changes() {
        // A change of this text would give every user an empty home.
        assert_eq!(
            user("https://issuer.example", "ada").key(),
            "b530bc52a497a4af971978da728525d6c484735386abe71ea7f57003c99a5d73"
        );
    }

    #[test]
    fn the_same_text_cut_elsewhere_is_another_user() {
        let keys = [user("a", "bc").key(), user("ab", "c").key(), user("abc", "a").key()];
        assert_ne!(keys[0], keys[1]);
        assert_ne!(keys[1], keys[2]);
    }

    proptest! {
        #[test]
        fn every_user_s_key_names_a_volume(issuer in "[^\\p{Cc}]{1,40}", subject in "[^\\p{Cc}]{1,40}") {
            let key = user(&issuer, &subject).key();
            prop_assert!(shellgate_infra::volumes::VolumeKey::new(key).is_some());
        }
    }

    #[test]
    fn empty_long_and_invisible_names_are_nobody() {
        let long = "x".repeat(256);
        for (issuer, subject) in [("", "a"), ("a", ""), ("a", &long), ("a", "b\n"), ("a", "\u{85}")]
        {
            assert_eq!(UserId::new(issuer, subject), None, "{issuer:?} {subject:?}");
        }
        assert!(UserId::new("a", &long[1..]).is_some());
    }

    #[test]
    fn scopes_round_trip_and_only_whole_words_count() {
        let all = Scopes { read: true, observe: true, admin: true };
        assert_eq!(Scopes::parse(&all.to_string()), all);
        assert_eq!(Scopes::OWN.to_string(), "");
        let none = "sessions:administrator SESSIONS:ADMIN xsessions:read sessions:read\tsessions:";
        assert_eq!(Scopes::parse(none), Scopes::OWN);
        assert!(Scopes::parse("openid  sessions:read").read);
    }
}
