//! An issuer's keys from a URL: fetches them when [`Cache`] says so. Knows no tokens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::key::{Algorithm, Key};
use super::key_cache::{Cache, Ended, Plan};
use super::key_set::{KeySet, SetFault};
use super::refused::AuthError;

pub use super::key_cache::Policy;

/// Largest key set, in bytes: a hundred RSA keys take less.
pub const BODY_MAX: usize = 64 * 1024;

/// Fetches that one token may wait for: another one's may have begun before its own could.
const WAITS_MAX: usize = 3;

/// Why a fetch failed, for the operator's log.
#[derive(Debug, thiserror::Error)]
enum FetchFault {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("it answers {0}, where only 200 will do")]
    Status(u16),
    #[error("its answer is larger than {BODY_MAX} bytes")]
    TooLarge,
    #[error("its answer is refused: {0}")]
    Set(#[from] SetFault),
    #[error("the fetch was given up")]
    GivenUp,
}

/// An issuer's keys at a URL.
#[derive(Debug)]
pub struct Remote {
    url: reqwest::Url,
    policy: Policy,
    http: reqwest::Client,
    cache: Mutex<Cache>,
    /// Changes after each fetch.
    fetched: watch::Sender<()>,
    tracker: TaskTracker,
}

impl Remote {
    /// Keys at `url`, none of which is fetched yet.
    ///
    /// # Errors
    /// A URL that is not `https` (`http` is for loopback addresses), carries a credential or a
    /// fragment; limits that contradict each other; a machine without root certificates.
    pub fn new(url: &str, policy: Policy, tracker: TaskTracker) -> Result<Arc<Self>, String> {
        let url =
            reqwest::Url::parse(url).map_err(|error| format!("{url:?} is no URL: {error}"))?;
        if !(url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url)) {
            return Err(format!("{url} must be https; http is for loopback addresses only"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("a key URL has neither a user, a password nor a fragment".to_owned());
        }
        if policy.timeout.is_zero() || policy.refresh_after > policy.max_age {
            return Err(format!(
                "for {url}: the timeout must be above zero, and max_age at least refresh_after"
            ));
        }
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // What the environment says of proxies is not part of this gateway's configuration.
            .no_proxy()
            .https_only(url.scheme() == "https")
            .timeout(policy.timeout)
            .referer(false)
            // The next fetch is minutes away.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("shellgate-gateway/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("no HTTP client for {url}: {error}"))?;
        let (fetched, _) = watch::channel(());
        let cache = Mutex::new(Cache::default());
        Ok(Arc::new(Self { url, policy, http, cache, fetched, tracker }))
    }

    /// The key that a token with this `kid` and algorithm means.
    ///
    /// # Errors
    /// [`AuthError::UnknownKey`], [`AuthError::Algorithm`] or [`AuthError::KeysUnavailable`].
    pub async fn key(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
        now: Instant,
    ) -> Result<Key, AuthError> {
        for _ in 0..=WAITS_MAX {
            // Before the plan, so that a fetch that ends in between is not missed.
            let mut fetched = self.fetched.subscribe();
            let (plan, begins) = {
                let mut cache = self.cache();
                let plan = cache.plan(&self.policy, id, algorithm, now);
                let begins = plan.fetches() && cache.begin(now);
                (plan, begins)
            };
            // Not under the lock: on a runtime that stops, the task is dropped here and now.
            if begins {
                self.start_fetch(now);
            }
            match plan {
                Plan::Use(key) | Plan::UseAndFetch(key) => return Ok(key),
                Plan::Refuse(error) => return Err(error),
                Plan::Fetch | Plan::Wait => {
                    // A fetch ends by its own timeout; twice that only where it can't run at all.
                    let wait = tokio::time::timeout(
                        self.policy.timeout.saturating_mul(2),
                        fetched.changed(),
                    );
                    if !matches!(wait.await, Ok(Ok(()))) {
                        return Err(AuthError::KeysUnavailable);
                    }
                }
            }
        }
        Err(AuthError::KeysUnavailable)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // Every change of the cache is complete before anything in it can panic.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task of its own, so that the fetch ends well although the caller who began it hangs up.
    fn start_fetch(self: &Arc<Self>, now: Instant) {
        let mut flight =
            Flight { remote: Arc::clone(self), now, began: Instant::now(), done: false };
        self.tracker.spawn(async move {
            let result = flight.remote.fetch().await;
            flight.land(result);
        });
    }

    async fn fetch(&self) -> Result<KeySet, FetchFault> {
        let mut response =
            self.http.get(self.url.clone()).header("accept", "application/json").send().await?;
        if response.status() != http::StatusCode::OK {
            return Err(FetchFault::Status(response.status().as_u16()));
        }
        if response.content_length().is_some_and(|length| length > BODY_MAX as u64) {
            return Err(FetchFault::TooLarge);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > BODY_MAX {
                return Err(FetchFault::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let (keys, left_out) = KeySet::parse(&body)?;
        for (kid, fault) in left_out {
            tracing::info!(url = %self.url, kid, "a key of the set is left out: it {fault}");
        }
        Ok(keys)
    }
}

/// A fetch under way. Dropped without landing (a panic, a runtime that stops) it counts as failed,
/// so that the next token may try again.
struct Flight {
    remote: Arc<Remote>,
    /// The caller's time when it began; what the fetch takes is added.
    now: Instant,
    began: Instant,
    done: bool,
}

impl Flight {
    fn land(&mut self, result: Result<KeySet, FetchFault>) {
        self.done = true;
        let (keys, fault) = match result {
            Ok(keys) => (Some(keys), None),
            Err(fault) => (None, Some(fault)),
        };
        let (url, why) = (&self.remote.url, fault.map(tracing::field::display));
        let ended = self.remote.cache().finish(keys, self.now + self.began.elapsed());
        match ended {
            Ended::Well => {}
            Ended::WellAgain => tracing::warn!(%url, "signing keys can be fetched again"),
            Ended::Badly => tracing::warn!(%url, why, "signing keys could not be fetched"),
            Ended::BadlyAgain => tracing::debug!(%url, why, "signing keys could not be fetched"),
        }
        self.remote.fetched.send_replace(());
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.done {
            self.land(Err(FetchFault::GivenUp));
        }
    }
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_that_is_dropped_half_way_does_not_stop_the_next_one() {
        let policy = Policy::default();
        let remote = Remote::new("http://127.0.0.1:1/keys", policy, TaskTracker::new()).unwrap();
        let now = Instant::now();
        assert!(remote.cache().begin(now));
        let mut fetched = remote.fetched.subscribe();
        drop(Flight { remote: Arc::clone(&remote), now, began: now, done: false });
        assert!(fetched.has_changed().unwrap(), "who waits is woken");
        fetched.mark_unchanged();
        assert!(remote.cache().begin(now));
    }
}
