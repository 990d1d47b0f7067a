//! Where tasks dial over a network. Knows no socket.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use rustls::pki_types::ServerName;

/// `wss://host:port`, and nothing behind it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DialUrl {
    host: String,
    port: u16,
}

impl DialUrl {
    /// The host, without brackets: the name that a certificate is for.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for DialUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<Ipv6Addr>() {
            Ok(host) => write!(f, "wss://[{host}]:{}", self.port),
            Err(_) => write!(f, "wss://{}:{}", self.host, self.port),
        }
    }
}

/// Why a text is not where tasks dial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not wss://host:port")]
pub struct BadDialUrl(String);

impl FromStr for DialUrl {
    type Err = BadDialUrl;

    fn from_str(text: &str) -> Result<Self, BadDialUrl> {
        let parsed = text.strip_prefix("wss://").and_then(|rest| {
            let (host, port) = rest.strip_suffix('/').unwrap_or(rest).rsplit_once(':')?;
            let port = port.parse().ok().filter(|port| *port > 0)?;
            let bare = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
                Some(bare) => bare.parse::<Ipv6Addr>().ok()?.to_string(),
                None => host.to_ascii_lowercase(),
            };
            ServerName::try_from(bare.as_str()).ok()?;
            // Without brackets nobody can tell where it ends.
            (host.starts_with('[') || !bare.contains(':')).then_some(Self { host: bare, port })
        });
        parsed.ok_or_else(|| BadDialUrl(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dial_url_is_a_host_and_a_port_and_nothing_else() {
        for (text, shown, host) in [
            ("wss://Gateway.internal:7802", "wss://gateway.internal:7802", "gateway.internal"),
            ("wss://10.0.0.7:7802/", "wss://10.0.0.7:7802", "10.0.0.7"),
            ("wss://[2001:DB8::7]:7802", "wss://[2001:db8::7]:7802", "2001:db8::7"),
        ] {
            let url: DialUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.host()), (shown, host));
            assert_eq!(url.to_string().parse(), Ok(url));
        }
        for wrong in [
            "",
            "ws://host:1",
            "wss://host",
            "wss://host:0",
            "wss://host:1/path",
            "wss://somebody@host:1",
            "wss://2001:db8::7:1",
            "wss://[host]:1",
            "wss://ho st:1",
            "wss://:1",
        ] {
            assert!(wrong.parse::<DialUrl>().is_err(), "{wrong}");
        }
    }
}
