//! Starts in a minute, counted for each user: those of the last sixty seconds and those under way.
//! Knows no clock and no task.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::UserKey;
use super::denied::{Denied, Reason};

/// How long a start counts.
const WINDOW: Duration = Duration::from_secs(60);

/// Everybody's starts.
#[derive(Debug)]
pub(super) struct Starts {
    limit: u32,
    of: DashMap<UserKey, Recent>,
    /// When users without a start were last removed, in milliseconds.
    swept: AtomicU64,
}

/// One user's starts.
#[derive(Debug, Default)]
struct Recent {
    /// Nobody knows yet how they end.
    under_way: u32,
    /// When those began that were kept, the oldest first.
    kept: VecDeque<Duration>,
}

impl Recent {
    fn forget_before(&mut self, now: Duration) {
        while self.kept.front().is_some_and(|at| *at + WINDOW <= now) {
            self.kept.pop_front();
        }
    }

    fn is_empty(&self) -> bool {
        self.under_way == 0 && self.kept.is_empty()
    }
}

/// A right to start a session. Dropped, it was never taken; kept, it counts for a minute.
#[derive(Debug)]
pub struct StartPermit {
    starts: Arc<Starts>,
    user: UserKey,
    at: Duration,
    kept: bool,
}

impl Starts {
    pub fn new(limit: u32) -> Self {
        Self { limit, of: DashMap::new(), swept: AtomicU64::new(0) }
    }

    pub fn take(starts: &Arc<Self>, user: &str, now: Duration) -> Result<StartPermit, Denied> {
        starts.sweep(now);
        let mut recent = match starts.of.entry(user.into()) {
            Entry::Occupied(recent) => recent.into_ref(),
            // A user who is refused for a limit of none leaves no trace.
            Entry::Vacant(_) if starts.limit == 0 => return Err(Denied::new(Reason::StartRate)),
            Entry::Vacant(free) => free.insert(Recent::default()),
        };
        recent.forget_before(now);
        let taken = recent.kept.len() as u64 + u64::from(recent.under_way);
        if taken >= u64::from(starts.limit) {
            let mut denied = Denied::new(Reason::StartRate);
            if let Some(oldest) = recent.kept.front() {
                denied.retry_after = Some((*oldest + WINDOW).saturating_sub(now));
            }
            return Err(denied);
        }
        recent.under_way += 1;
        let (starts, user) = (Arc::clone(starts), user.into());
        Ok(StartPermit { starts, user, at: now, kept: false })
    }

    /// Once a minute, removes users whose starts are all older: a table of those of the last two
    /// minutes is all there ever is.
    fn sweep(&self, now: Duration) {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let last = self.swept.load(Ordering::Relaxed);
        let due = now_ms.saturating_sub(last) >= WINDOW.as_millis() as u64;
        let mine = || {
            self.swept.compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if due && mine() {
            self.of.retain(|_, recent| {
                recent.forget_before(now);
                !recent.is_empty()
            });
        }
    }

    /// Users with a start in the last minutes.
    pub fn len(&self) -> usize {
        self.of.len()
    }
}

impl StartPermit {
    /// The start has succeeded: it counts for a minute from when it was taken.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for StartPermit {
    fn drop(&mut self) {
        self.starts.of.remove_if_mut(&self.user, |_, recent| {
            recent.under_way -= 1;
            if self.kept {
                // Starts don't end in the order in which they began.
                let place = recent.kept.partition_point(|at| *at <= self.at);
                recent.kept.insert(place, self.at);
            }
            recent.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_start_that_was_kept_counts_for_a_minute() {
        let starts = Arc::new(Starts::new(2));
        Starts::take(&starts, "ada", secs(0)).unwrap().keep();
        Starts::take(&starts, "ada", secs(10)).unwrap().keep();
        let denied = Starts::take(&starts, "ada", secs(45)).unwrap_err();
        assert_eq!((denied.code, denied.retry_after), ("start_rate", Some(secs(15))));
        Starts::take(&starts, "bob", secs(45)).unwrap().keep();
        assert!(Starts::take(&starts, "ada", secs(60)).is_ok());
    }

    #[test]
    fn a_start_that_failed_was_none() {
        let starts = Arc::new(Starts::new(1));
        for _ in 0..10 {
            let permit = Starts::take(&starts, "ada", secs(0)).unwrap();
            assert!(Starts::take(&starts, "ada", secs(0)).is_err(), "one is under way");
            drop(permit);
        }
        assert_eq!(starts.len(), 0);
    }

    #[test]
    fn users_who_come_once_are_forgotten() {
        let starts = Arc::new(Starts::new(5));
        for n in 0..10_000 {
            Starts::take(&starts, &format!("user {n}"), Duration::from_millis(n * 60))
                .unwrap()
                .keep();
        }
        // Ten minutes of them have passed: at most those of the last two are known.
        assert!(starts.len() <= 2_000, "{} users", starts.len());
    }

    proptest! {
        #[test]
        fn no_minute_has_more_starts_than_are_allowed_and_none_is_refused_without_reason(
            steps in proptest::collection::vec((0u64..30, 0usize..4, any::<bool>()), 1..200),
            limit in 1u32..6,
        ) {
            let starts = Arc::new(Starts::new(limit));
            let (mut now, mut open, mut kept) = (0, Vec::new(), Vec::new());
            for (pause, ended, keep) in steps {
                now += pause;
                let counted = kept.iter().filter(|at| **at + 60 > now).count() + open.len();
                match Starts::take(&starts, "ada", secs(now)) {
                    Ok(permit) => {
                        prop_assert!(counted < limit as usize);
                        open.push((now, permit));
                    }
                    Err(denied) => {
                        prop_assert!(counted >= limit as usize);
                        prop_assert!(denied.retry_after.is_some_and(|after| !after.is_zero()));
                    }
                }
                if ended < open.len() {
                    let (at, permit) = open.remove(ended);
                    if keep {
                        permit.keep();
                        kept.push(at);
                    }
                }
            }
            drop(open);
            drop(Starts::take(&starts, "ada", secs(now + 120)));
            prop_assert_eq!(starts.len(), 0);
        }
    }
}
