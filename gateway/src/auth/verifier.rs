//! From a token to an identity: which issuer, which key, does it hold, is it in time. Knows no
//! HTTP and no sessions.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::identity::{Identity, UserId};
use super::jwks::{Policy, Remote};
use super::jwt::{self, Rules};
use super::key::{Algorithm, Key, KeyFault};
use super::key_set::{KeySet, Miss};
use super::refused::AuthError;

/// Longest leeway: clocks further apart are to be set right.
const LEEWAY_MAX: Duration = Duration::from_secs(300);

/// The leeway where none is configured.
pub const LEEWAY_DEFAULT: Duration = Duration::from_secs(5);

/// Whose tokens are accepted.
#[derive(Debug, Clone)]
pub struct VerifierConfig {
    /// At least one.
    pub issuers: Vec<IssuerConfig>,
    /// How far this machine's clock and the issuers' may lie apart; at most 5 minutes.
    pub leeway: Duration,
    /// The longest time from a token's `iat` to its `exp`.
    pub max_lifetime: Duration,
}

/// One issuer.
#[derive(Debug, Clone)]
pub struct IssuerConfig {
    /// Its tokens' `iss`, to the letter.
    pub issuer: String,
    /// The names that this gateway goes by there: one of them must be in a token's `aud`.
    pub audiences: Vec<String>,
    /// The algorithms that its tokens may use.
    pub algorithms: Vec<Algorithm>,
    /// Its keys.
    pub keys: KeySource,
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// From the configuration.
    Static(Vec<StaticKey>),
    /// From a JSON Web Key Set.
    Jwks {
        /// `https`, or `http` on a loopback address.
        url: String,
        /// How they are kept.
        policy: Policy,
    },
}

/// One configured key. `Debug` shows no secret.
#[derive(Clone)]
pub enum StaticKey {
    /// A public key in PEM.
    Pem {
        /// The `kid` that names it in tokens; without one it serves all tokens of its algorithms.
        id: Option<String>,
        /// The PEM text.
        pem: String,
    },
    /// A public key as a JSON Web Key.
    Jwk(String),
    /// An HMAC secret of 32 bytes or more.
    Secret {
        /// The `kid` that names it in tokens.
        id: Option<String>,
        /// Its bytes.
        secret: Vec<u8>,
    },
    /// One of the others, for one of its algorithms only.
    Only(Algorithm, Box<StaticKey>),
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem { id, .. } => write!(f, "Pem({id:?})"),
            Self::Jwk(_) => f.write_str("Jwk(…)"),
            Self::Secret { id, .. } => write!(f, "Secret({id:?})"),
            Self::Only(algorithm, key) => write!(f, "Only({algorithm}, {key:?})"),
        }
    }
}

impl StaticKey {
    /// The key itself.
    ///
    /// # Errors
    /// See [`KeyFault`].
    pub fn load(&self) -> Result<Key, KeyFault> {
        match self {
            Self::Pem { id, pem } => Key::from_pem(id.clone(), pem),
            Self::Jwk(text) => Key::from_jwk_text(text),
            Self::Secret { id, secret } => Key::from_secret(id.clone(), secret),
            Self::Only(algorithm, key) => key.load()?.only(*algorithm),
        }
    }
}

/// Verifies tokens.
#[derive(Debug)]
pub struct Verifier {
    issuers: Vec<Issuer>,
    tracker: TaskTracker,
}

#[derive(Debug)]
struct Issuer {
    name: String,
    algorithms: Vec<Algorithm>,
    keys: Keys,
    rules: Rules,
}

#[derive(Debug)]
enum Keys {
    Static(KeySet),
    Remote(Arc<Remote>),
}

impl Verifier {
    /// A verifier. Nothing is fetched yet.
    ///
    /// # Errors
    /// All that is wrong with the configuration, each in a sentence that names the issuer.
    pub fn new(config: VerifierConfig) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        if config.issuers.is_empty() {
            faults.push("no token issuer is configured: nobody could sign in".to_owned());
        }
        if config.leeway > LEEWAY_MAX {
            faults.push(format!("the leeway is over {} seconds", LEEWAY_MAX.as_secs()));
        }
        if config.max_lifetime.is_zero() {
            faults.push("the longest life of a token is zero".to_owned());
        }
        let tracker = TaskTracker::new();
        let mut issuers = Vec::new();
        for (at, issuer) in config.issuers.iter().enumerate() {
            let name = &issuer.issuer;
            if config.issuers[..at].iter().any(|earlier| earlier.issuer == *name) {
                faults.push(format!("issuer {name:?} is configured twice"));
            }
            let rules = Rules {
                audiences: issuer.audiences.clone(),
                leeway: config.leeway,
                max_lifetime: config.max_lifetime,
            };
            match load_issuer(issuer, rules, &tracker) {
                Ok(issuer) => issuers.push(issuer),
                Err(more) => {
                    faults
                        .extend(more.into_iter().map(|fault| format!("issuer {name:?}: {fault}")));
                }
            }
        }
        if faults.is_empty() { Ok(Self { issuers, tracker }) } else { Err(faults) }
    }

    /// Verifies a token.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, AuthError> {
        self.verify_at(token, now, Instant::now()).await
    }

    /// As [`Verifier::verify`], with the time by which the age of fetched keys counts as well: the
    /// wall clock may jump, and keys shall not get younger.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn verify_at(
        &self,
        token: &str,
        now: SystemTime,
        monotonic_now: Instant,
    ) -> Result<Identity, AuthError> {
        let token = jwt::inspect(token)?;
        let claims = &token.claims;
        let issuer = self
            .issuers
            .iter()
            .find(|issuer| issuer.name == claims.user.issuer())
            .ok_or(AuthError::UnknownIssuer)?;
        if !issuer.algorithms.contains(&token.algorithm) {
            return Err(AuthError::Algorithm);
        }
        let id = token.key_id.as_deref();
        let key = match &issuer.keys {
            Keys::Static(keys) => {
                keys.find(id, token.algorithm).cloned().map_err(|miss| match miss {
                    Miss::Unknown | Miss::Ambiguous => AuthError::UnknownKey,
                    Miss::Algorithm => AuthError::Algorithm,
                })?
            }
            Keys::Remote(remote) => remote.key(id, token.algorithm, monotonic_now).await?,
        };
        // Only what is signed is worth an answer about its times.
        if !key.verifies(token.algorithm, token.message, token.signature) {
            return Err(AuthError::Signature);
        }
        claims.check(&issuer.rules, now)?;
        Ok(Identity {
            user: claims.user.clone(),
            scopes: claims.scopes,
            expires_at: claims.expires_at,
        })
    }

    /// Waits until no fetch of keys is under way; each ends by its own timeout.
    pub async fn shutdown(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

fn load_issuer(
    config: &IssuerConfig,
    rules: Rules,
    tracker: &TaskTracker,
) -> Result<Issuer, Vec<String>> {
    let mut faults = Vec::new();
    if UserId::new(&config.issuer, "-").is_none() {
        faults.push("its name is empty, too long, or has control characters".to_owned());
    }
    if config.audiences.is_empty() || config.audiences.iter().any(String::is_empty) {
        faults.push("it needs an audience, and none may be empty".to_owned());
    }
    if config.algorithms.is_empty() {
        faults.push("it needs an algorithm".to_owned());
    }
    let keys = match &config.keys {
        KeySource::Static(keys) => {
            load_static(keys, &config.algorithms, &mut faults).map(Keys::Static)
        }
        KeySource::Jwks { url, policy } => {
            if config.algorithms.iter().any(|algorithm| algorithm.is_symmetric()) {
                faults.push("a key set on the web is public: it can't serve HS256".to_owned());
            }
            match Remote::new(url, *policy, tracker.clone()) {
                Ok(remote) => Some(Keys::Remote(remote)),
                Err(fault) => {
                    faults.push(fault);
                    None
                }
            }
        }
    };
    match keys {
        Some(keys) if faults.is_empty() => Ok(Issuer {
            name: config.issuer.clone(),
            algorithms: config.algorithms.clone(),
            keys,
            rules,
        }),
        _ => Err(faults),
    }
}

fn load_static(
    keys: &[StaticKey],
    allowed: &[Algorithm],
    faults: &mut Vec<String>,
) -> Option<KeySet> {
    let mut loaded = Vec::new();
    for (at, key) in keys.iter().enumerate() {
        let number = at + 1;
        match key.load() {
            Ok(key) if key.algorithms().iter().any(|own| allowed.contains(own)) => loaded.push(key),
            Ok(_) => faults.push(format!("key {number} serves none of its algorithms")),
            Err(fault) => faults.push(format!("key {number} {fault}")),
        }
    }
    // With a key already named as faulty, the set's own complaint would only mislead.
    if loaded.len() < keys.len() {
        return None;
    }
    KeySet::new(loaded).map_err(|fault| faults.push(format!("its keys: {fault}"))).ok()
}
