//! Where a gateway is: its base URL, and the addresses below it. Knows no request.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;
use shellgate_protocol::SessionId;

/// Why a text is not a gateway's URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a gateway's URL: {why}")]
pub struct BadEndpoint {
    given: String,
    why: String,
}

/// A gateway's base URL: `http` or `https`, without user, query or fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// The address of `path`, whose segments need no escaping, below the base.
    #[must_use]
    pub fn at(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path()));
        url
    }

    /// The address where a session is attached to.
    #[must_use]
    pub fn attach(&self, session: SessionId) -> String {
        let url = self.at(&format!("v1/sessions/{session}/attach"));
        // `http` is `ws` and `https` is `wss`; nothing else parses.
        format!("ws{}", url.as_str().trim_start_matches("http"))
    }

    /// The origin of its pages, as browsers name it: scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// Whether TLS is spoken there.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether what is sent there can be read on the way: not encrypted, and not to this machine.
    #[must_use]
    pub fn is_readable_on_the_way(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let is_local = host == "localhost"
            || host.ends_with(".localhost")
            || address.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        !self.is_encrypted() && !is_local
    }
}

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        let bad = |why: &str| BadEndpoint { given: text.to_owned(), why: why.to_owned() };
        let begins = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        // The host of `host:port` would be read as a scheme.
        if !matches!(begins.as_deref(), Some("http" | "https")) {
            return Err(bad("begin it with http:// or https://"));
        }
        let mut url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadEndpoint {
                given: "…".to_owned(),
                why: "a credential does not belong in it".to_owned(),
            });
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("it has no ? and no #"));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lie_below_the_base() {
        let endpoint: Endpoint = "https://example.org/shell".parse().unwrap();
        assert_eq!(endpoint.at("v1/sessions").as_str(), "https://example.org/shell/v1/sessions");
        let session = SessionId::generate();
        assert_eq!(
            endpoint.attach(session),
            format!("wss://example.org/shell/v1/sessions/{session}/attach")
        );
        assert_eq!(endpoint.to_string(), "https://example.org/shell");
        assert_eq!(endpoint.origin(), "https://example.org");
    }

    #[test]
    fn what_is_no_gateway_is_refused_without_showing_a_password() {
        for wrong in ["", "example.org", "ftp://example.org", "http://h/?a", "http://h/#a"] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
        for bare in ["127.0.0.1:7800", "localhost:7800", "example.org"] {
            let error = bare.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains("begin it with http://"), "{error}");
        }
        let error = "http://me:hunter2@h/".parse::<Endpoint>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn only_this_machine_may_be_talked_to_in_the_clear() {
        let readable = |text: &str| text.parse::<Endpoint>().unwrap().is_readable_on_the_way();
        assert!(!readable("http://127.0.0.1:7800") && !readable("http://localhost:7800"));
        assert!(!readable("http://[::1]:7800") && !readable("https://example.org"));
        assert!(readable("http://example.org") && readable("http://10.0.0.1"));
        assert!(readable("http://127.evil.example"));
    }
}
