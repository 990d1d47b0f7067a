//! Which web pages may use this gateway. Knows no tokens: only whether there is a bearer header.

use http::HeaderMap;
use http::header::ORIGIN;
use serde::{Deserialize, Serialize};

use super::refused::AuthError;

/// A web origin (RFC 6454): scheme, host and port in the one spelling that browsers send.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(String);

impl Origin {
    /// An origin as a browser writes it: `scheme://host`, with `:port` where it is not the
    /// scheme's own. `None` for anything else, `null` and wildcards among it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let url = reqwest::Url::parse(text).ok()?;
        let is_web = matches!(url.scheme(), "http" | "https") && !text.contains('*');
        // Whoever writes a path, a default port or capitals means something else than a browser.
        (is_web && url.origin().ascii_serialization() == text).then(|| Self(text.to_owned()))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.0
    }
}

impl TryFrom<String> for Origin {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        Self::parse(&text).ok_or("not an origin")
    }
}

/// What a request proves itself with, besides its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// An `Authorization` header: no browser adds one by itself.
    Bearer,
    /// A ticket, or nothing yet.
    Other,
}

/// The origins that may use this gateway.
#[derive(Debug, Clone, Default)]
pub struct AllowedOrigins(Vec<Origin>);

impl AllowedOrigins {
    /// A list of origins, each as [`Origin::parse`] takes it.
    ///
    /// # Errors
    /// All that are not origins, each in a sentence.
    pub fn new<T: AsRef<str>>(origins: impl IntoIterator<Item = T>) -> Result<Self, Vec<String>> {
        let (mut allowed, mut faults) = (Vec::new(), Vec::new());
        for text in origins {
            let text = text.as_ref();
            match Origin::parse(text) {
                Some(origin) => allowed.push(origin),
                None => faults.push(format!(
                    "{text:?} is no origin: write scheme://host or scheme://host:port in lower case, \
                     without a path, without the scheme's own port"
                )),
            }
        }
        if faults.is_empty() { Ok(Self(allowed)) } else { Err(faults) }
    }

    /// The origin on the list that a program names on a page's behalf.
    ///
    /// # Errors
    /// [`AuthError::Origin`] for one that is not on the list.
    pub fn named(&self, text: &str) -> Result<Origin, AuthError> {
        Origin::parse(text)
            .filter(|origin| self.0.contains(origin))
            .ok_or(AuthError::Origin("is not on the list"))
    }

    /// Decides over a request: the origin it comes from, `None` for one that is no web page's.
    ///
    /// # Errors
    /// [`AuthError::Origin`] for an origin that is not on the list, more than one, or none without
    /// a bearer header.
    pub fn decide(
        &self,
        headers: &HeaderMap,
        credential: Credential,
    ) -> Result<Option<Origin>, AuthError> {
        let mut values = headers.get_all(ORIGIN).iter();
        let value = match (values.next(), values.next(), credential) {
            (None, _, Credential::Bearer) => return Ok(None),
            (None, _, Credential::Other) => return Err(AuthError::Origin("is missing")),
            (Some(_), Some(_), _) => return Err(AuthError::Origin("stands twice")),
            (Some(value), None, _) => value,
        };
        let origin = value.to_str().ok().and_then(Origin::parse);
        match origin.filter(|origin| self.0.contains(origin)) {
            Some(origin) => Ok(Some(origin)),
            None => Err(AuthError::Origin("is not on the list")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ORIGIN, value.parse().unwrap());
        }
        headers
    }

    fn list() -> AllowedOrigins {
        AllowedOrigins::new(["https://shell.example", "http://127.0.0.1:8080"]).unwrap()
    }

    #[test]
    fn a_page_on_the_list_may_and_no_page_at_all_may_with_a_bearer_header() {
        for credential in [Credential::Bearer, Credential::Other] {
            let origin = list().decide(&from(&["https://shell.example"]), credential);
            assert_eq!(origin.unwrap().unwrap().as_str(), "https://shell.example");
        }
        assert_eq!(list().decide(&from(&[]), Credential::Bearer), Ok(None));
        assert!(list().decide(&from(&[]), Credential::Other).is_err());
    }

    #[test]
    fn every_other_page_may_not() {
        let others: [&[&str]; 12] = [
            &["null"],
            &[""],
            &["https://shell.example:443"],
            &["https://shell.example/"],
            &["https://shell.example.evil"],
            &["https://evil.shell.example"],
            &["http://shell.example"],
            &["HTTPS://SHELL.EXAMPLE"],
            &["https://user@shell.example"],
            &["http://127.0.0.1:8081"],
            &["https://shell.example http://127.0.0.1:8080"],
            &["https://shell.example", "https://shell.example"],
        ];
        for values in others {
            let answer = list().decide(&from(values), Credential::Bearer);
            assert!(matches!(answer, Err(AuthError::Origin(_))), "{values:?}");
        }
    }

    #[test]
    fn all_wrong_entries_of_a_list_are_named_at_once() {
        let faults =
            AllowedOrigins::new(["*", "https://*.example", "https://a/b", "a", "file:///x"]);
        assert_eq!(faults.unwrap_err().len(), 5);
    }
}
