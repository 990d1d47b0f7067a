//! What the bridge is told when it starts: the only place that reads its environment.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;

use shellgate_protocol::limits::TOKEN_MAX;
use shellgate_protocol::{Launch, SessionId};

/// Where the gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialTo {
    /// A Unix socket bound into the task.
    Unix(PathBuf),
    /// `host:port`, without TLS.
    Tcp(String),
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
        let dial = dial_to(&need("SHELLGATE_DIAL")?)?;
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

fn dial_to(text: &str) -> Result<DialTo, ConfigError> {
    if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
        return Ok(DialTo::Unix(path.into()));
    }
    if let Some(host) = text.strip_prefix("ws://") {
        let host = host.strip_suffix('/').unwrap_or(host);
        let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_some() && !host.contains('/') {
            return Ok(DialTo::Tcp(host.to_owned()));
        }
    }
    Err(wrong("SHELLGATE_DIAL", "expected unix:/absolute/path or ws://host:port"))
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
        assert_eq!(config.dial, DialTo::Unix("/run/gw/dial.sock".into()));
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
            ("SHELLGATE_DIAL", Some("ws://host")),
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
