//! Which gateway, and which token: from the command line, the environment and the token's file.
//! The one place that reads the environment, but for SSL_CERT_FILE, which is the TLS library's. Prints no
//! token.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use shellgate_client::api::CallError;
use shellgate_client::token::{TokenError, checked};
use shellgate_client::{Api, Endpoint, TokenSource};
use shellgate_protocol::client_leg::Token;

use super::Failure;
use super::print::aside;

const DEFAULT_URL: &str = "http://127.0.0.1:7800";

/// A token's file has a token, an address and two line ends, in bytes at most.
const FILE_MAX: u64 = 16 * 1024;

/// What every command needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    pub endpoint: Endpoint,
    token: Option<Token>,
    file: Option<PathBuf>,
    config_home: Option<PathBuf>,
}

impl Settings {
    /// Reads the environment.
    #[allow(clippy::disallowed_methods)] // This is the binary's one configuration file.
    pub fn read(url: Option<String>) -> Result<Self, Failure> {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let url = url.or_else(|| set("SHELLGATE_URL")).unwrap_or_else(|| DEFAULT_URL.to_owned());
        let endpoint: Endpoint = url.parse().map_err(|bad| Failure::usage(format!("{bad}")))?;
        if endpoint.is_readable_on_the_way() {
            aside(&format!(
                "shellgate: warning: {endpoint} is not encrypted: others can read your token\n"
            ));
        }
        let token = set("SHELLGATE_TOKEN").map(|text| checked(&text)).transpose();
        let token = token.map_err(|bad| Failure::usage(format!("SHELLGATE_TOKEN: {bad}")))?;
        let config_home = set("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".config")));
        let file = config_home.as_ref().map(|home| home.join("shellgate/token"));
        Ok(Self { endpoint, token, file, config_home })
    }

    /// The gateway, with whatever token there is, renewed where its development issuer does that.
    pub fn api(&self) -> Result<Api, Failure> {
        let settings = self.clone();
        let tokens = TokenSource::refresh(move |used| {
            let settings = settings.clone();
            async move { settings.newer_than(used).await }
        });
        Ok(Api::new(self.endpoint.clone(), tokens)?)
    }

    async fn newer_than(&self, used: Option<Token>) -> Result<Token, TokenError> {
        let stored = match &self.token {
            Some(token) => token.clone(),
            None => self.stored()?,
        };
        let Some(used) = used.filter(|used| self.token.is_some() || *used == stored) else {
            return Ok(stored);
        };
        let nobody = TokenSource::fixed(used.clone());
        let issuer = Api::new(self.endpoint.clone(), nobody);
        let renewed = match issuer {
            Ok(issuer) => issuer.renew(&used).await,
            Err(error) => return Err(TokenError::Refresh(error.to_string())),
        };
        let renewed = renewed.map_err(no_newer)?.token;
        if self.token.is_none() {
            self.store(&renewed).map_err(|failure| TokenError::Refresh(failure.message))?;
        }
        Ok(renewed)
    }

    fn stored(&self) -> Result<Token, TokenError> {
        let sign_in = |why: &str| {
            TokenError::Refresh(format!(
                "{why}: sign in with `shellgate login`, or set SHELLGATE_TOKEN"
            ))
        };
        let Some(path) = &self.file else { return Err(sign_in("there is no home directory")) };
        let failed = |why: std::io::Error| TokenError::File {
            path: path.display().to_string(),
            why: why.to_string(),
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(sign_in("nobody is signed in"));
            }
            Err(error) => return Err(failed(error)),
        };
        if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
            let path = path.display();
            return Err(TokenError::Refresh(format!(
                "others can read {path}: run `chmod 600 {path}`, and sign in again if they may have"
            )));
        }
        let mut text = String::new();
        file.take(FILE_MAX).read_to_string(&mut text).map_err(failed)?;
        let (token, rest) = text.split_once('\n').unwrap_or((&text, ""));
        // A token goes to the gateway that it was made for, and to no other.
        let of = rest.trim();
        if !of.is_empty() && of != self.endpoint.to_string() {
            return Err(sign_in(&format!("you are signed in at {of}, not at {}", self.endpoint)));
        }
        checked(token)
    }

    /// Stores a token for this gateway, readable by this user alone.
    pub fn store(&self, token: &Token) -> Result<PathBuf, Failure> {
        let (Some(path), Some(config)) = (&self.file, &self.config_home) else {
            return Err(Failure::new("there is no home directory to store the token in"));
        };
        let failed = |why: std::io::Error| {
            Failure::new(format!("{} cannot be written: {why}", path.display()))
        };
        let directory = path.parent().unwrap_or(config);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        // Written beside it and renamed: a reader sees the old token or the new one.
        let fresh = path.with_extension(format!("{}.new", std::process::id()));
        let written = write_private(&fresh, &format!("{}\n{}\n", token.0, self.endpoint))
            .and_then(|()| std::fs::rename(&fresh, path));
        if written.is_err() {
            // What is left of it is nobody's; the error below says what went wrong.
            let _ = std::fs::remove_file(&fresh);
        }
        written.map_err(failed)?;
        Ok(path.clone())
    }
}

/// Why an issuer gave nothing newer: for now, or for good.
fn no_newer(error: CallError) -> TokenError {
    match error {
        CallError::Unreachable { .. } => TokenError::Unavailable(error.to_string()),
        CallError::Refused(ref refused) if refused.status == 429 || refused.status >= 500 => {
            TokenError::Unavailable(error.to_string())
        }
        // Most gateways have no development issuer; then there is nothing newer.
        CallError::Refused(_)
        | CallError::NotThere { .. }
        | CallError::NotAGateway(_)
        | CallError::Token(_) => TokenError::NoNewer,
    }
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// An error's words, and what to do about it.
pub fn advice(error: &CallError) -> String {
    match error {
        CallError::Unreachable { .. } => {
            format!("{error}\n  Does it run? Another address is given by --url or SHELLGATE_URL.")
        }
        CallError::Refused(refused) if refused.code == "sign_in_code" => {
            "that is not the code: it works once; Enter where the gateway runs prints a new one"
                .to_owned()
        }
        CallError::Refused(refused) if refused.code == "origin_refused" => {
            "the gateway lets in no page of that origin: --origin names another".to_owned()
        }
        CallError::Refused(refused) if refused.status == 401 => {
            format!("{error}\n  `shellgate login` signs you in; SHELLGATE_TOKEN goes before it.")
        }
        CallError::NotThere { .. } | CallError::NotAGateway(_) => {
            format!("{error}\n  Is the address right? It is given by --url or SHELLGATE_URL.")
        }
        CallError::Refused(_) | CallError::Token(_) => error.to_string(),
    }
}
