//! What is known of an issuer's fetched keys, and when newer ones are wanted. Pure: knows no clock
//! and no network.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::key::{Algorithm, Key};
use super::key_set::{KeySet, Miss};
use super::refused::AuthError;

/// First pause after a fetch that failed; it doubles with each further one.
const BACK_OFF_MIN: Duration = Duration::from_secs(1);

/// Longest pause after fetches that failed.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// How keys are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Keys older than this are fetched again while they still serve; twice as old, a token waits
    /// for the newer ones.
    pub refresh_after: Duration,
    /// Keys older than this serve no more, whatever the key server does.
    pub max_age: Duration,
    /// An unknown `kid` asks for newer keys at most this often.
    pub unknown_interval: Duration,
    /// How long one fetch may take in all.
    pub timeout: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            refresh_after: Duration::from_secs(600),
            max_age: Duration::from_secs(24 * 3600),
            unknown_interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
        }
    }
}

/// What is known of an issuer's keys, and what to do next. Time comes in as an argument.
#[derive(Debug, Default)]
pub struct Cache {
    keys: Option<(Arc<KeySet>, Instant)>,
    in_flight: bool,
    last_fetch: Option<Instant>,
    failures: u32,
    not_before: Option<Instant>,
}

/// What to do for a token.
#[derive(Debug, Clone)]
pub enum Plan {
    /// Use this key.
    Use(Key),
    /// Use this key, and fetch newer ones meanwhile.
    UseAndFetch(Key),
    /// Fetch, wait, and plan again.
    Fetch,
    /// Wait for the fetch that is under way, and plan again.
    Wait,
    /// There is no key for it.
    Refuse(AuthError),
}

/// How a fetch ended, and whether that is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// There are newer keys, as each time.
    Well,
    /// There are newer keys, for the first time since fetches have failed.
    WellAgain,
    /// It failed, for the first time.
    Badly,
    /// It failed, like the one before.
    BadlyAgain,
}

impl Plan {
    /// Whether newer keys are to be fetched.
    #[must_use]
    pub fn fetches(&self) -> bool {
        matches!(self, Self::UseAndFetch(_) | Self::Fetch)
    }
}

impl Cache {
    /// Plans for a token with this `kid` and algorithm.
    #[must_use]
    pub fn plan(
        &self,
        policy: &Policy,
        id: Option<&str>,
        algorithm: Algorithm,
        now: Instant,
    ) -> Plan {
        let may_fetch = !self.in_flight && self.not_before.is_none_or(|start| now >= start);
        let current =
            self.keys.as_ref().map(|(keys, at)| (keys, now.saturating_duration_since(*at)));
        let Some((keys, age)) = current.filter(|(_, age)| *age <= policy.max_age) else {
            return self.fetch_or_wait(may_fetch, AuthError::KeysUnavailable);
        };
        let wait_after = policy.refresh_after.saturating_mul(2);
        match keys.find(id, algorithm) {
            Ok(key) if age <= policy.refresh_after => Plan::Use(key.clone()),
            Ok(key) if age <= wait_after && may_fetch => Plan::UseAndFetch(key.clone()),
            Ok(key) if age <= wait_after => Plan::Use(key.clone()),
            Ok(_) if self.in_flight => Plan::Wait,
            Ok(_) if may_fetch => Plan::Fetch,
            // The key server does not answer, and these are not too old yet.
            Ok(key) => Plan::Use(key.clone()),
            Err(Miss::Unknown) => {
                let recent = self
                    .last_fetch
                    .is_some_and(|at| now.saturating_duration_since(at) < policy.unknown_interval);
                // While fetches fail nobody knows whether the key has come to exist.
                let refusal = if self.failures > 0 {
                    AuthError::KeysUnavailable
                } else {
                    AuthError::UnknownKey
                };
                self.fetch_or_wait(may_fetch && !recent, refusal)
            }
            Err(Miss::Ambiguous) => Plan::Refuse(AuthError::UnknownKey),
            Err(Miss::Algorithm) => Plan::Refuse(AuthError::Algorithm),
        }
    }

    fn fetch_or_wait(&self, may_fetch: bool, refusal: AuthError) -> Plan {
        if self.in_flight {
            Plan::Wait
        } else if may_fetch {
            Plan::Fetch
        } else {
            Plan::Refuse(refusal)
        }
    }

    /// Notes that a fetch begins. False where one is under way already.
    pub fn begin(&mut self, now: Instant) -> bool {
        if self.in_flight {
            return false;
        }
        self.in_flight = true;
        self.last_fetch = Some(now);
        true
    }

    /// Notes how a fetch ended. Keys that were had before stay when it failed.
    pub fn finish(&mut self, fetched: Option<KeySet>, now: Instant) -> Ended {
        self.in_flight = false;
        let (well, failed) = (fetched.is_some(), self.failures > 0);
        match fetched {
            Some(keys) => {
                // Their age counts from the question: the answer may have been under way for long.
                self.keys = Some((Arc::new(keys), self.last_fetch.unwrap_or(now)));
                self.failures = 0;
                self.not_before = None;
            }
            None => {
                self.failures = self.failures.saturating_add(1);
                let doublings = (self.failures - 1).min(16);
                let pause = (BACK_OFF_MIN * 2u32.pow(doublings)).min(BACK_OFF_MAX);
                self.not_before = Some(now + pause);
            }
        }
        match (well, failed) {
            (true, false) => Ended::Well,
            (true, true) => Ended::WellAgain,
            (false, false) => Ended::Badly,
            (false, true) => Ended::BadlyAgain,
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use proptest::prelude::*;
    use shellgate_protocol::enrolment::encode;

    use super::*;

    fn set(ids: &[&str]) -> KeySet {
        let keys = ids.iter().map(|id| {
            let pair = Ed25519KeyPair::generate().unwrap();
            let x = encode(pair.public_key().as_ref());
            let jwk = serde_json::json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": x});
            Key::from_jwk_text(&jwk.to_string()).unwrap()
        });
        KeySet::new(keys.collect()).unwrap()
    }

    #[derive(Debug, Clone)]
    enum Event {
        Token { known: bool },
        Passes { seconds: u64 },
        FetchEnds { well: bool },
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => any::<bool>().prop_map(|known| Event::Token { known }),
            2 => prop_oneof![0u64..40, 0u64..2000, 0u64..100_000]
                .prop_map(|seconds| Event::Passes { seconds }),
            3 => any::<bool>().prop_map(|well| Event::FetchEnds { well }),
        ]
    }

    proptest! {
        #[test]
        fn fetches_stay_rare_and_old_keys_are_never_used(
            events in proptest::collection::vec(event(), 1..200)
        ) {
            let policy = Policy::default();
            let mut cache = Cache::default();
            let mut now = Instant::now();
            // The model: when a fetch began, when keys were last asked for and had, when one failed.
            let (mut flying, mut had, mut failed) = (None::<Instant>, None::<Instant>, None::<Instant>);
            let mut began: Option<Instant> = None;
            for event in events {
                match event {
                    Event::Passes { seconds } => now += Duration::from_secs(seconds),
                    Event::FetchEnds { well } => {
                        let Some(start) = flying.take() else { continue };
                        if well { (had, failed) = (Some(start), None) } else { failed = Some(now) }
                        cache.finish(well.then(|| set(&["known"])), now);
                    }
                    Event::Token { known } => {
                        let id = if known { "known" } else { "unknown" };
                        let plan = cache.plan(&policy, Some(id), Algorithm::EdDsa, now);
                        let age = had.map(|at| now - at);
                        match &plan {
                            Plan::Use(_) | Plan::UseAndFetch(_) => {
                                prop_assert!(known && age.is_some_and(|age| age <= policy.max_age));
                            }
                            Plan::Wait => prop_assert!(flying.is_some()),
                            Plan::Fetch => {}
                            Plan::Refuse(AuthError::UnknownKey) => prop_assert!(!known && failed.is_none()),
                            Plan::Refuse(AuthError::KeysUnavailable) => prop_assert!(failed.is_some()),
                            Plan::Refuse(other) => prop_assert!(false, "{:?}", other),
                        }
                        if plan.fetches() {
                            prop_assert!(flying.is_none(), "two fetches at once");
                            prop_assert!(failed.is_none_or(|at| now - at >= BACK_OFF_MIN));
                            if !known && age.is_some_and(|age| age <= policy.max_age) {
                                prop_assert!(began.is_none_or(|at| now - at >= policy.unknown_interval));
                            }
                            prop_assert!(cache.begin(now) && !cache.begin(now));
                            (flying, began) = (Some(now), Some(now));
                        }
                        // Whatever happens to fetches, keys that are fresh enough serve.
                        if known && age.is_some_and(|age| age <= policy.refresh_after * 2) {
                            prop_assert!(matches!(plan, Plan::Use(_) | Plan::UseAndFetch(_)));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn pauses_after_failures_double_up_to_a_minute() {
        let policy = Policy::default();
        let mut cache = Cache::default();
        let mut now = Instant::now();
        let wants = |cache: &Cache, now| cache.plan(&policy, None, Algorithm::EdDsa, now).fetches();
        for pause in [1, 2, 4, 8, 16, 32, 60, 60, 60].map(Duration::from_secs) {
            assert!(wants(&cache, now));
            assert!(cache.begin(now));
            cache.finish(None, now);
            assert!(!wants(&cache, now + pause - Duration::from_millis(1)), "{pause:?}");
            now += pause;
        }
        assert!(cache.begin(now));
        cache.finish(Some(set(&["known"])), now);
        assert!(matches!(cache.plan(&policy, None, Algorithm::EdDsa, now), Plan::Use(_)));
    }

    #[test]
    fn keys_that_cannot_be_had_are_news_once_and_so_is_that_they_can() {
        use Ended::{Badly, BadlyAgain, Well, WellAgain};

        let mut cache = Cache::default();
        let now = Instant::now();
        let ended = [false, false, true, true, false, true].map(|well| {
            assert!(cache.begin(now));
            cache.finish(well.then(|| set(&["known"])), now)
        });
        assert_eq!(ended, [Badly, BadlyAgain, WellAgain, Well, Badly, WellAgain]);
    }

    #[test]
    fn keys_are_as_old_as_the_question_they_answer() {
        let policy = Policy::default();
        let mut cache = Cache::default();
        let asked = Instant::now();
        assert!(cache.begin(asked));
        cache.finish(Some(set(&["known"])), asked + Duration::from_secs(3600));
        let plan = |at| cache.plan(&policy, Some("known"), Algorithm::EdDsa, at);
        assert!(matches!(plan(asked + policy.max_age), Plan::Fetch));
        let too_old = plan(asked + policy.max_age + Duration::from_secs(1));
        assert!(matches!(too_old, Plan::Fetch));
        assert!(matches!(plan(asked + policy.refresh_after), Plan::Use(_)));
    }
}
