//! Networks (to know proxies by) and web origins (to know pages by). Knows no socket and no request.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Why a text is not a network or an origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPlace(String);

/// A network: all addresses that share their first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address belongs to it. An IPv4 address in IPv6 clothes counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// The network that one subscriber most likely has: an IPv4 address alone, of IPv6 its /64.
    /// Whoever is given a /64 can send from any address in it.
    #[must_use]
    pub fn of_one_subscriber(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self { address: IpAddr::V4(address), prefix: 32 },
            IpAddr::V6(address) => {
                let bits = address.to_bits() & (u128::MAX << 64);
                Self { address: IpAddr::V6(Ipv6Addr::from_bits(bits)), prefix: 64 }
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Self, BadPlace> {
        let bad = || BadPlace(format!("{text:?} is not a network"));
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => widest,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= widest).ok_or_else(bad)?
            }
            Some(_) => return Err(bad()),
        };
        if address.to_canonical() != address {
            return Err(BadPlace(format!("{text:?} is IPv4 in IPv6 clothes: write it as IPv4")));
        }
        Ok(Self { address, prefix })
    }
}

/// Where a page comes from: scheme, host and port, as a browser's `Origin` header writes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebOrigin(String);

impl WebOrigin {
    /// As the header writes it: lower case, no default port.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for WebOrigin {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Self, BadPlace> {
        let bad = |why: &str| BadPlace(format!("{text:?} is not an origin: {why}"));
        let lower = text.to_ascii_lowercase();
        let (scheme, authority) = lower.split_once("://").ok_or_else(|| bad("no https://"))?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = match authority.rsplit_once(':') {
            // The last colon of `[::1]` is part of the host.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        let is_v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let legal = match is_v6 {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(name),
        };
        if !legal {
            return Err(bad("its host is not a name or an address"));
        }
        let port = match port {
            None => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse::<u16>().map_err(|_| bad("its port is not one"))?)
            }
            Some(_) => return Err(bad("its port is not one")),
        };
        let default_port = match scheme {
            "https" => 443,
            // Browsers treat loopback as safe, and only that.
            "http" if matches!(host, "localhost" | "127.0.0.1" | "[::1]") => 80,
            "http" => return Err(bad("http is for loopback only")),
            _ => return Err(bad("no https://")),
        };
        Ok(Self(match port.filter(|port| *port != default_port) {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_network_contains_what_shares_its_first_bits() {
        let network = |text: &str| text.parse::<Network>().unwrap();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(network("10.0.0.0/8").contains(address("10.255.0.1")));
        assert!(network("10.0.0.0/8").contains(address("::ffff:10.1.2.3")));
        assert!(!network("10.0.0.0/8").contains(address("11.0.0.0")));
        assert!(network("0.0.0.0/0").contains(address("255.255.255.255")));
        assert!(!network("0.0.0.0/0").contains(address("::1")));
        assert!(network("::/0").contains(address("fd00::1")));
        assert!(network("192.0.2.7").contains(address("192.0.2.7")));
        assert!(!network("192.0.2.7").contains(address("192.0.2.8")));
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/+8", "::ffff:1.2.3.4/96"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        let origin = |text: &str| text.parse::<WebOrigin>().map(|origin| origin.to_string());
        assert_eq!(
            origin("HTTPS://Shell.Example.com:443/"),
            Ok("https://shell.example.com".into())
        );
        assert_eq!(origin("https://a:8443"), Ok("https://a:8443".into()));
        assert_eq!(origin("http://localhost:7800"), Ok("http://localhost:7800".into()));
        assert_eq!(origin("http://[::1]:80"), Ok("http://[::1]".into()));
        for wrong in [
            "",
            "*",
            "null",
            "https://",
            "http://example.com",
            "https://a/b",
            "https://u@a",
            "https://a:b",
            "https://a:70000",
            "ftp://a",
            "https://[::g]",
            "https://a:",
        ] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_subscriber_s_network_contains_its_own_addresses(bits: u128, low: u64, four: u32) {
            let six = Network::of_one_subscriber(Ipv6Addr::from_bits(bits).into());
            let neighbour = (bits & (u128::MAX << 64)) | u128::from(low);
            // An IPv4 address in disguise is a subscriber of its own.
            prop_assume!(Ipv6Addr::from_bits(bits).to_ipv4_mapped().is_none());
            prop_assume!(Ipv6Addr::from_bits(neighbour).to_ipv4_mapped().is_none());
            prop_assert!(six.contains(Ipv6Addr::from_bits(neighbour).into()));
            let address = IpAddr::from(four.to_be_bytes());
            let other = IpAddr::from((four ^ 1).to_be_bytes());
            prop_assert!(Network::of_one_subscriber(address).contains(address));
            prop_assert!(!Network::of_one_subscriber(address).contains(other));
        }
    }
}
