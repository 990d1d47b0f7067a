//! What the bridge is told when it starts: the only place that reads its environment.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use shellgate_protocol::limits::TOKEN_MAX;
use shellgate_protocol::{Launch, SessionId};

use crate::trust::trusting;

/// Where the gateway is.
#[derive(Debug, Clone)]
pub enum DialTo {
    /// A Unix socket bound into the task.
    Unix(PathBuf),
    /// A network, where only TLS is spoken.
    Network(Remote),
}

/// A gateway at the other end of a network.
#[derive(Debug, Clone)]
pub struct Remote {
    /// `host:port`.
    pub address: String,
    /// The host, which its certificate must be for.
    pub name: ServerName<'static>,
    /// Whom the bridge takes for it: the authorities of `SHELLGATE_CA`.
    pub trust: Arc<ClientConfig>,
}

/// Where programs find programs, where neither the template nor the place says it.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The secret with which this bridge introduces itself, once. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Everything that the bridge is told.
#[derive(Debug)]
pub struct Config {
    /// Where the gateway is: `SHELLGATE_DIAL`.
    pub dial: DialTo,
    /// Whose task this is: `SHELLGATE_SESSION`.
    pub session: SessionId,
    /// The how-many-th task of it: `SHELLGATE_LAUNCH`.
    pub launch: Launch,
    /// Introduces this bridge: `SHELLGATE_TOKEN_FD` or `SHELLGATE_TOKEN`.
    pub token: Token,
    /// An unlinked file on real disk: `SHELLGATE_SPILL_FD`.
    pub spill: Option<File>,
    /// Where programs start: `SHELLGATE_HOME`.
    pub home: PathBuf,
    /// What programs have where the template says nothing: the bridge's own `PATH` and `LANG`, which
    /// whoever made the place that it runs in knows best.
    pub defaults: [(&'static str, String); 2],
    /// A private memory-backed directory for secrets: `SHELLGATE_SECRETS_DIR`.
    pub secrets: PathBuf,
}

/// Why the bridge cannot start as it was told.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A setting is not there.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// A setting has a value that it cannot have.
    #[error("{name} is wrong: {why}")]
    Wrong {
        /// Which.
        name: &'static str,
        /// Why.
        why: String,
    },
}

impl Config {
    /// Reads the process's environment, and the descriptors that it names. To be called once, and
    /// before anything else is opened: it takes those descriptors for its own.
    ///
    /// # Errors
    /// Where a setting is missing or wrong.
    #[allow(clippy::disallowed_methods)]
    pub fn from_environment() -> Result<Self, ConfigError> {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(get: impl Fn(&'static str) -> Option<String>) -> Result<Self, ConfigError> {
        let need = |name| get(name).ok_or(ConfigError::Missing(name));
        let dial = need("SHELLGATE_DIAL")?;
        let dial = match dial.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
            Some(path) => DialTo::Unix(path.into()),
            None => {
                let (address, name) = place(&dial)?;
                let trust = trusting(&need("SHELLGATE_CA")?)
                    .map_err(|error| wrong("SHELLGATE_CA", error))?;
                DialTo::Network(Remote { address, name, trust })
            }
        };
        let session = need("SHELLGATE_SESSION")?
            .parse()
            .map_err(|error| wrong("SHELLGATE_SESSION", error))?;
        let launch = need("SHELLGATE_LAUNCH")?
            .parse()
            .map(Launch)
            .map_err(|error| wrong("SHELLGATE_LAUNCH", error))?;
        let token = match get("SHELLGATE_TOKEN_FD") {
            Some(number) => token_from(descriptor("SHELLGATE_TOKEN_FD", &number)?)?,
            None => need("SHELLGATE_TOKEN")?,
        };
        let printable = |b: u8| (0x21..0x7f).contains(&b);
        if token.is_empty() || token.len() > TOKEN_MAX || !token.bytes().all(printable) {
            return Err(wrong("the enrolment token", "not 1 to 8192 printable characters"));
        }
        let spill = match get("SHELLGATE_SPILL_FD") {
            Some(number) => Some(descriptor("SHELLGATE_SPILL_FD", &number)?),
            None => None,
        };
        let or = |name, default: &str| get(name).unwrap_or(default.to_owned());
        Ok(Self {
            dial,
            session,
            launch,
            token: Token(token),
            spill,
            home: or("SHELLGATE_HOME", "/home/agent").into(),
            // Without a locale that knows UTF-8, shells take each byte for a character.
            defaults: [("PATH", PATH), ("LANG", "C.UTF-8")]
                .map(|(name, usual)| (name, or(name, usual))),
            secrets: or("SHELLGATE_SECRETS_DIR", "/run/secrets").into(),
        })
    }
}

fn wrong(name: &'static str, why: impl fmt::Display) -> ConfigError {
    ConfigError::Wrong { name, why: why.to_string() }
}

/// The `host:port` and the host of `wss://host:port`.
fn place(text: &str) -> Result<(String, ServerName<'static>), ConfigError> {
    let address = text.strip_prefix("wss://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let place = address.and_then(|address| {
        let (host, port) = address.rsplit_once(':')?;
        port.parse::<u16>().ok().filter(|port| *port > 0)?;
        // The brackets of `[::1]` are the address's, not the host's.
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some((address.to_owned(), ServerName::try_from(bare.to_owned()).ok()?))
    });
    let expected = "expected unix:/absolute/path or wss://host:port";
    place.ok_or_else(|| wrong("SHELLGATE_DIAL", expected))
}

fn descriptor(name: &'static str, number: &str) -> Result<File, ConfigError> {
    let number: i32 = number.parse().map_err(|error| wrong(name, error))?;
    if number < 3 {
        return Err(wrong(name, "a descriptor from 3 on is expected"));
    }
    take_descriptor(number).map(File::from).map_err(|error| wrong(name, error))
}

/// Takes an inherited descriptor for the bridge's own, and keeps it from its children.
#[allow(unsafe_code)]
fn take_descriptor(number: i32) -> std::io::Result<OwnedFd> {
    // SAFETY: fcntl on a number that is no open descriptor fails with EBADF and does nothing.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: it is open (fcntl just said so), whoever started the bridge gave it away by naming
    // it, and configuration is read once, before the bridge opens anything of its own.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn token_from(file: File) -> Result<String, ConfigError> {
    let mut token = String::new();
    file.take(TOKEN_MAX as u64 + 1)
        .read_to_string(&mut token)
        .map_err(|error| wrong("SHELLGATE_TOKEN_FD", error))?;
    Ok(token.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;

    use super::*;

    fn settings(name: &'static str) -> Option<String> {
        Some(match name {
            "SHELLGATE_DIAL" => "unix:/run/gw/dial.sock".into(),
            "SHELLGATE_SESSION" => "ses_0198c7000000700080000000000000ff".into(),
            "SHELLGATE_LAUNCH" => "3".into(),
            "SHELLGATE_TOKEN" => "secret".into(),
            _ => return None,
        })
    }

    #[test]
    fn the_least_that_is_needed_is_enough() {
        let config = Config::read(settings).unwrap();
        assert!(matches!(&config.dial, DialTo::Unix(path) if path.ends_with("gw/dial.sock")));
        assert_eq!((config.launch, config.token.0.as_str()), (Launch(3), "secret"));
        assert_eq!(config.home, PathBuf::from("/home/agent"));
        assert_eq!(config.defaults.each_ref().map(|(_, value)| value.as_str()), [PATH, "C.UTF-8"]);
        assert!(!format!("{config:?}").contains("secret\""));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (name, value) in [
            ("SHELLGATE_DIAL", None),
            ("SHELLGATE_DIAL", Some("unix:relative")),
            ("SHELLGATE_DIAL", Some("ws://host:1")),
            ("SHELLGATE_DIAL", Some("wss://host")),
            ("SHELLGATE_DIAL", Some("wss://host:0")),
            ("SHELLGATE_DIAL", Some("wss://host:1/path")),
            ("SHELLGATE_DIAL", Some("wss://somebody@host:1")),
            ("SHELLGATE_DIAL", Some("wss://ho st:1")),
            ("SHELLGATE_DIAL", Some("wss://:1")),
            ("SHELLGATE_SESSION", Some("ses_1")),
            ("SHELLGATE_LAUNCH", Some("-1")),
            ("SHELLGATE_SPILL_FD", Some("999999")),
        ] {
            let read = |asked| {
                if asked == name { value.map(str::to_owned) } else { settings(asked) }
            };
            let error = Config::read(read).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        for token in ["", "two words", "line\nbreak"] {
            let read = |asked| {
                if asked == "SHELLGATE_TOKEN" { Some(token.into()) } else { settings(asked) }
            };
            assert!(Config::read(read).is_err());
        }
    }

    #[test]
    fn over_a_network_a_host_a_port_and_an_authority_are_needed() {
        let read = |dial: &'static str, authority: Option<&'static str>| {
            Config::read(move |asked| match asked {
                "SHELLGATE_DIAL" => Some(dial.into()),
                "SHELLGATE_CA" => authority.map(str::to_owned),
                _ => settings(asked),
            })
        };
        let authority = Some(include_str!("../tests/authority.pem"));
        for (dial, address, name) in [
            ("wss://gateway.example:7802", "gateway.example:7802", "gateway.example"),
            ("wss://10.0.0.7:7802/", "10.0.0.7:7802", "10.0.0.7"),
            ("wss://[2001:db8::7]:7802", "[2001:db8::7]:7802", "2001:db8::7"),
        ] {
            let DialTo::Network(remote) = read(dial, authority).unwrap().dial else { panic!() };
            assert_eq!((remote.address.as_str(), &*remote.name.to_str()), (address, name));
        }
        for nobody in [None, Some(""), Some("-----BEGIN CERTIFICATE-----")] {
            let error = read("wss://gateway.example:7802", nobody).unwrap_err().to_string();
            assert!(error.contains("SHELLGATE_CA"), "{error}");
        }
    }

    #[test]
    fn a_token_comes_from_a_descriptor_and_the_descriptor_is_closed() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, b"by-descriptor\n").unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let number = file.into_raw_fd().to_string();
        let read = |asked| match asked {
            "SHELLGATE_TOKEN_FD" => Some(number.clone()),
            _ => settings(asked),
        };
        assert_eq!(Config::read(read).unwrap().token.0, "by-descriptor");
    }
}
