//! The development issuer: signs tokens for the person at this machine, so that a first run needs
//! no identity provider. Knows one key and one sign-in code; no sessions, no store.
//!
//! It is no identity provider: whoever has its sign-in code is who the configuration says. So it
//! answers on loopback only and refuses to run beside a listener that others can reach.

pub mod routes;
pub mod sign_in;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{EncodingKey, Header};
use nix::fcntl::OFlag;
use serde::Serialize;
use serde_json::json;
use shellgate_protocol::enrolment::encode;

use crate::auth::verifier::StaticKey;
use crate::auth::{
    Algorithm, AuthError, Identity, IssuerConfig, KeySource, Scopes, UserId, Verifier,
    VerifierConfig,
};
use sign_in::SignIn;

/// The key's file in the state directory.
const KEY_FILE: &str = "dev-issuer.pk8";

/// Largest key file that is read, in bytes; a key takes 48.
const KEY_FILE_MAX: u64 = 4096;

/// Who signs in here, and for how long.
#[derive(Debug, Clone)]
pub struct DevIssuerConfig {
    /// The tokens' `iss`. It stays the same from run to run: under another one everybody is
    /// somebody else, with other files.
    pub issuer: String,
    /// The tokens' `aud`.
    pub audience: String,
    /// The tokens' `sub`.
    pub subject: String,
    /// The tokens' `scope`.
    pub scopes: Scopes,
    /// How long a token holds.
    pub lifetime: Duration,
}

/// Why there is no development issuer. Each text is for the person who started it.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The operating system said no.
    #[error("{}: {what}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Others could have read or replaced the key.
    #[error(
        "{} must be a file of mode 0600 that belongs to you; \
         remove it if somebody else may have seen it: a new one is made", .0.display()
    )]
    Exposed(PathBuf),
    /// What is in the file is no key.
    #[error("{} has no Ed25519 key in it; remove it: a new one is made", .0.display())]
    BadKey(PathBuf),
    /// A listener that others can reach.
    #[error(
        "the development issuer signs in whoever has its code: it does not run beside a listener \
         on {0}, which is not a loopback address; configure an issuer of your own"
    )]
    NotLocal(SocketAddr),
    /// Its issuer, audience or subject is no legal claim.
    #[error("the development issuer's configuration is wrong: {0}")]
    Config(String),
    /// The cryptography failed.
    #[error("the development issuer could not sign: {0}")]
    Sign(&'static str),
}

/// Refuses to run beside a listener that is not on a loopback address.
///
/// # Errors
/// [`IssuerError::NotLocal`] with the first such listener.
pub fn refuse_beside(listeners: &[SocketAddr]) -> Result<(), IssuerError> {
    let reachable = listeners.iter().find(|address| !is_loopback(**address));
    reachable.map_or(Ok(()), |address| Err(IssuerError::NotLocal(*address)))
}

fn is_loopback(address: SocketAddr) -> bool {
    // An IPv4 peer of an IPv6 socket shows as ::ffff:127.0.0.1.
    address.ip().to_canonical().is_loopback()
}

/// A token and what its holder should know of it.
#[derive(Clone, Serialize)]
pub struct Minted {
    /// The token.
    pub token: String,
    /// Seconds until it runs out.
    pub expires_in: u64,
    /// Whose it is: its `sub`.
    pub user: String,
}

/// The development issuer.
pub struct DevIssuer {
    config: DevIssuerConfig,
    key: EncodingKey,
    key_id: String,
    public: [u8; 32],
    verifier: Verifier,
    sign_in: Mutex<SignIn>,
}

impl std::fmt::Debug for DevIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevIssuer")
            .field("config", &self.config)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct MintedClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
    jti: String,
    scope: String,
}

impl DevIssuer {
    /// The issuer whose key lies in this directory; it is made where there is none.
    ///
    /// # Errors
    /// See [`IssuerError`].
    pub fn open(state: &Path, config: DevIssuerConfig) -> Result<Self, IssuerError> {
        let path = state.join(KEY_FILE);
        let pkcs8 = match read_key(&path)? {
            Some(bytes) => bytes,
            None => make_key(&path)?,
        };
        let pair =
            Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| IssuerError::BadKey(path.clone()))?;
        let public: [u8; 32] =
            pair.public_key().as_ref().try_into().map_err(|_| IssuerError::BadKey(path))?;
        if UserId::new(&config.issuer, &config.subject).is_none() || config.lifetime.is_zero() {
            let what = "the issuer and the subject may not be empty, nor the lifetime zero";
            return Err(IssuerError::Config(what.to_owned()));
        }
        let key_id = thumbprint(&public);
        let verifier = Verifier::new(VerifierConfig {
            issuers: vec![issuer_config(&config, &public, &key_id)],
            leeway: Duration::ZERO,
            max_lifetime: Duration::from_secs(31 * 86_400),
        })
        .map_err(|faults| IssuerError::Config(faults.join("; ")))?;
        Ok(Self {
            config,
            key: EncodingKey::from_ed_der(&pkcs8),
            key_id,
            public,
            verifier,
            sign_in: Mutex::default(),
        })
    }

    /// Its entry in the verifier's configuration.
    #[must_use]
    pub fn issuer_config(&self) -> IssuerConfig {
        issuer_config(&self.config, &self.public, &self.key_id)
    }

    /// Its public key as a JSON Web Key.
    #[must_use]
    pub fn jwk(&self) -> String {
        jwk(&self.public, &self.key_id)
    }

    /// Signs a token that holds from `now` for `lifetime`.
    ///
    /// # Errors
    /// [`IssuerError::Sign`]; [`IssuerError::Config`] for a subject that is none.
    pub fn mint(
        &self,
        subject: &str,
        scopes: Scopes,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Minted, IssuerError> {
        if UserId::new(&self.config.issuer, subject).is_none() {
            return Err(IssuerError::Config(
                "a subject is empty, too long or invisible".to_owned(),
            ));
        }
        let since = now.duration_since(UNIX_EPOCH);
        let iat = since.map_err(|_| IssuerError::Sign("the clock is before 1970"))?.as_secs();
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| IssuerError::Sign("no random numbers"))?;
        let claims = MintedClaims {
            iss: &self.config.issuer,
            sub: subject,
            aud: &self.config.audience,
            iat,
            exp: iat.saturating_add(lifetime.as_secs()),
            jti: encode(&id),
            scope: scopes.to_string(),
        };
        let mut header = Header::new(jsonwebtoken::Algorithm::EdDSA);
        header.kid = Some(self.key_id.clone());
        let token = jsonwebtoken::encode(&header, &claims, &self.key)
            .map_err(|_| IssuerError::Sign("the signature failed"))?;
        Ok(Minted { token, expires_in: lifetime.as_secs(), user: subject.to_owned() })
    }

    /// A code that signs in once, within [`sign_in::LIFETIME`]; an earlier one is void from now on.
    /// It belongs into the fragment of a printed URL, which no browser sends anywhere.
    ///
    /// # Errors
    /// [`IssuerError::Sign`].
    pub fn new_sign_in_code(&self, now: SystemTime) -> Result<String, IssuerError> {
        self.lock().renew(now).map_err(|_| IssuerError::Sign("no random numbers"))
    }

    /// A token for the configured subject, for a code that has not been used yet.
    ///
    /// # Errors
    /// `None` for any other code; an error where signing fails.
    pub fn sign_in(&self, code: &str, now: SystemTime) -> Result<Option<Minted>, IssuerError> {
        if !self.lock().redeem(code, now) {
            return Ok(None);
        }
        let DevIssuerConfig { subject, scopes, lifetime, .. } = &self.config;
        self.mint(subject, *scopes, *lifetime, now).map(Some)
    }

    /// Who a token of this issuer speaks for.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, AuthError> {
        self.verifier.verify(token, now).await
    }

    /// A newer token for the holder of one that still holds.
    ///
    /// # Errors
    /// See [`IssuerError`].
    pub fn renew(&self, holder: &Identity, now: SystemTime) -> Result<Minted, IssuerError> {
        self.mint(holder.user.subject(), holder.scopes, self.config.lifetime, now)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, SignIn> {
        // A code is replaced or taken whole, so a panic elsewhere leaves nothing half done.
        self.sign_in.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn issuer_config(config: &DevIssuerConfig, public: &[u8; 32], key_id: &str) -> IssuerConfig {
    IssuerConfig {
        issuer: config.issuer.clone(),
        audiences: vec![config.audience.clone()],
        algorithms: vec![Algorithm::EdDsa],
        keys: KeySource::Static(vec![StaticKey::Jwk(jwk(public, key_id))]),
    }
}

fn jwk(public: &[u8; 32], key_id: &str) -> String {
    json!({
        "kty": "OKP", "crv": "Ed25519", "x": encode(public),
        "kid": key_id, "use": "sig", "alg": "EdDSA",
    })
    .to_string()
}

/// The key's name: its thumbprint (RFC 7638, with the members of RFC 8037, section 2).
fn thumbprint(public: &[u8; 32]) -> String {
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(public));
    encode(digest(&SHA256, members.as_bytes()).as_ref())
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IssuerError {
    let path = path.to_owned();
    move |source| IssuerError::Io { what, path, source }
}

/// The bytes of the key's file; `None` where there is none.
fn read_key(path: &Path) -> Result<Option<Vec<u8>>, IssuerError> {
    // A symlink would be followed to a file that somebody else keeps.
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => {
            return Err(IssuerError::Exposed(path.to_owned()));
        }
        Err(error) => return Err(io_error("can't be opened", path)(error)),
    };
    let status = file.metadata().map_err(io_error("can't be looked at", path))?;
    let is_mine = status.uid() == nix::unistd::geteuid().as_raw();
    if !status.is_file() || !is_mine || status.mode() & 0o077 != 0 {
        return Err(IssuerError::Exposed(path.to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(KEY_FILE_MAX).read_to_end(&mut bytes).map_err(io_error("can't be read", path))?;
    Ok(Some(bytes))
}

/// Makes a key and its file, whole or not at all.
fn make_key(path: &Path) -> Result<Vec<u8>, IssuerError> {
    let pair = Ed25519KeyPair::generate().map_err(|_| IssuerError::Sign("no key can be made"))?;
    let pkcs8 = pair.to_pkcs8v1().map_err(|_| IssuerError::Sign("no key can be made"))?;
    let half = path.with_extension("new");
    // Left over from a run that ended here.
    match fs::remove_file(&half) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("can't be removed", &half)(error));
        }
        Ok(()) | Err(_) => {}
    }
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half)?;
        file.write_all(pkcs8.as_ref())?;
        file.sync_all()?;
        fs::rename(&half, path)?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    };
    write().map_err(io_error("the key can't be written", path))?;
    Ok(pkcs8.as_ref().to_vec())
}
