//! Where a client's token comes from, and how a newer one is got. Knows no gateway: a refresh is
//! the caller's function.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use shellgate_protocol::client_leg::Token;
use shellgate_protocol::limits::TOKEN_MAX;
use tokio::io::AsyncReadExt;

/// Getting a token may take this long.
const DEADLINE: Duration = Duration::from_secs(20);

/// Why there is no token. Fit for a person; never shows the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Its file cannot be read.
    #[error("the token's file {path} cannot be read: {why}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        why: String,
    },
    /// It is empty, too long, or has characters that no token has.
    #[error("that is not a token: one is up to {TOKEN_MAX} letters, digits, dots, `-` and `_`")]
    Malformed,
    /// It is some token, and no JSON Web Token.
    #[error("that is not a JSON Web Token: one has three parts with dots between them")]
    NoWebToken,
    /// The old one was refused and there is no newer one.
    #[error("the token was refused and there is no newer one")]
    NoNewer,
    /// The caller's function failed.
    #[error("{0}")]
    Refresh(String),
    /// Whoever gives tokens does not answer now.
    #[error("there is no newer token for now: {0}")]
    Unavailable(String),
    /// It took too long.
    #[error("getting a token took longer than {} s", DEADLINE.as_secs())]
    Deadline,
}

impl TokenError {
    /// Whether there may be a token a moment later, without anybody doing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Deadline => true,
            Self::File { .. }
            | Self::Malformed
            | Self::NoWebToken
            | Self::NoNewer
            | Self::Refresh(_) => false,
        }
    }
}

/// Takes a text for a token if it can be one.
///
/// # Errors
/// [`TokenError::Malformed`].
pub fn checked(text: &str) -> Result<Token, TokenError> {
    let text = text.trim();
    let fits = (1..=TOKEN_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~+/=".contains(&b));
    if fits { Ok(Token(text.to_owned())) } else { Err(TokenError::Malformed) }
}

/// Takes a text for a JSON Web Token if it has the shape of one: three parts, of which the first two
/// can be read. Who signed it, and for how long, is the gateway's to judge.
///
/// # Errors
/// [`TokenError::Malformed`], [`TokenError::NoWebToken`].
pub fn web_token(text: &str) -> Result<Token, TokenError> {
    let token = checked(text)?;
    let parts: Vec<&str> = token.0.split('.').collect();
    let is_object = |part: &&str| {
        let decoded = URL_SAFE_NO_PAD.decode(part).ok();
        decoded.is_some_and(|json| serde_json::from_slice::<Map<String, Value>>(&json).is_ok())
    };
    let [header, claims, signature] = &parts[..] else { return Err(TokenError::NoWebToken) };
    let is_signed = !signature.is_empty() && URL_SAFE_NO_PAD.decode(signature).is_ok();
    if is_object(header) && is_object(claims) && is_signed {
        Ok(token)
    } else {
        Err(TokenError::NoWebToken)
    }
}

type Refreshed = Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send>>;
type Refresh = dyn Fn(Option<Token>) -> Refreshed + Send + Sync;

/// Where a token comes from. Cloning is cheap and shares what was got.
#[derive(Clone)]
pub struct TokenSource(Arc<Source>);

enum Source {
    Fixed(Token),
    File(PathBuf),
    Refresh { newest: Mutex<Option<Token>>, refresh: Box<Refresh> },
}

impl TokenSource {
    /// One token, for as long as it holds.
    #[must_use]
    pub fn fixed(token: Token) -> Self {
        Self(Arc::new(Source::Fixed(token)))
    }

    /// A file that somebody else keeps up to date; read each time.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Arc::new(Source::File(path.into())))
    }

    /// A function that gets a token. It is given the one that was refused or is about to run out,
    /// and nothing the first time; what it gave last is used until then.
    #[must_use]
    pub fn refresh<F, Fut>(refresh: F) -> Self
    where
        F: Fn(Option<Token>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Token, TokenError>> + Send + 'static,
    {
        let refresh = Box::new(move |old| Box::pin(refresh(old)) as Refreshed);
        Self(Arc::new(Source::Refresh { newest: Mutex::new(None), refresh }))
    }

    /// The token to use now.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn current(&self) -> Result<Token, TokenError> {
        within_deadline(async {
            match &*self.0 {
                Source::Fixed(token) => Ok(token.clone()),
                Source::File(path) => read(path).await,
                Source::Refresh { newest, refresh } => {
                    let known = newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    match known {
                        Some(token) => Ok(token),
                        None => keep(newest, refresh(None).await),
                    }
                }
            }
        })
        .await
    }

    /// A newer token than `used`, which was refused or is about to run out.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn renew(&self, used: &Token) -> Result<Token, TokenError> {
        within_deadline(async {
            match &*self.0 {
                Source::Fixed(_) => Err(TokenError::NoNewer),
                Source::File(path) => match read(path).await? {
                    same if same == *used => Err(TokenError::NoNewer),
                    newer => Ok(newer),
                },
                Source::Refresh { newest, refresh } => {
                    let known = newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    match known {
                        // Another attachment has renewed it meanwhile.
                        Some(newer) if newer != *used => Ok(newer),
                        _ => keep(newest, refresh(Some(used.clone())).await),
                    }
                }
            }
        })
        .await
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*self.0 {
            Source::Fixed(_) => "TokenSource::fixed(…)",
            Source::File(_) => "TokenSource::file(…)",
            Source::Refresh { .. } => "TokenSource::refresh(…)",
        })
    }
}

fn keep(
    newest: &Mutex<Option<Token>>,
    got: Result<Token, TokenError>,
) -> Result<Token, TokenError> {
    if let Ok(token) = &got {
        *newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
    }
    got
}

async fn within_deadline(
    got: impl Future<Output = Result<Token, TokenError>>,
) -> Result<Token, TokenError> {
    tokio::time::timeout(DEADLINE, got).await.unwrap_or(Err(TokenError::Deadline))
}

async fn read(path: &PathBuf) -> Result<Token, TokenError> {
    let failed = |why: std::io::Error| TokenError::File {
        path: path.display().to_string(),
        why: why.to_string(),
    };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut text = String::new();
    // One byte more than a token and its line end may have shows that it is too long.
    file.take(TOKEN_MAX as u64 + 3).read_to_string(&mut text).await.map_err(failed)?;
    checked(&text)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_web_token_has_a_header_claims_and_a_signature() {
        // `{}`, `{"sub":"ada"}`, `sig`.
        assert!(web_token("e30.eyJzdWIiOiJhZGEifQ.c2ln\n").is_ok());
        for wrong in ["nonsense", "a.b.c", "e30.e30", "e30.e30.", "e30.W10.c2ln", "e30.e30.c2ln.x"]
        {
            assert_eq!(web_token(wrong), Err(TokenError::NoWebToken), "{wrong}");
        }
        assert_eq!(web_token("no spaces"), Err(TokenError::Malformed));
    }

    #[tokio::test]
    async fn a_file_is_read_again_and_only_a_newer_token_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "old\n").unwrap();
        let source = TokenSource::file(&path);
        let old = source.current().await.unwrap();
        assert_eq!(source.renew(&old).await, Err(TokenError::NoNewer));
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(source.renew(&old).await, Ok(Token("new".into())));
        std::fs::write(&path, "x".repeat(9000)).unwrap();
        assert_eq!(source.current().await, Err(TokenError::Malformed));
    }

    #[tokio::test]
    async fn a_refreshed_token_is_kept_until_it_is_refused() {
        let calls = Arc::new(AtomicU32::new(0));
        let source = TokenSource::refresh({
            let calls = calls.clone();
            move |_| {
                let n = calls.fetch_add(1, Ordering::Relaxed);
                async move { Ok(Token(format!("t{n}"))) }
            }
        });
        let first = source.current().await.unwrap();
        assert_eq!(source.current().await.unwrap(), first);
        let second = source.renew(&first).await.unwrap();
        assert_eq!(source.renew(&first).await.unwrap(), second, "somebody else renewed it");
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn neither_line_ends_nor_spaces_get_into_a_header() {
        for wrong in ["", "a b", "a\r\nX-Evil: 1", "é"] {
            assert_eq!(checked(wrong), Err(TokenError::Malformed), "{wrong:?}");
        }
        assert_eq!(checked(" a.b-c_d \n").unwrap().0, "a.b-c_d");
    }
}
