//! Token buckets: so many calls at once, then so many a second, first come first served. Knows no
//! call and no service.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::config::Rate;

/// Who may stand in line for one bucket. Callers are few; this is the bound that no fault exceeds.
const WAITING_MAX: usize = 20_000;

/// What may be taken, as a pure value; time is an argument, counted from any one origin.
///
/// Kept as the time at which the bucket would be full again, which is exact in whole nanoseconds
/// where a count of tokens would be a fraction.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Allowance {
    /// Between two tokens, where all are this bucket's.
    alone: Duration,
    /// Between two tokens.
    interval: Duration,
    burst: u32,
    full_at: Duration,
}

impl Allowance {
    fn new(rate: Rate) -> Self {
        let interval = Duration::from_secs(1) / rate.per_second.max(1);
        Self { alone: interval, interval, burst: rate.burst.max(1), full_at: Duration::ZERO }
    }

    /// So many draw on what AWS allows, this bucket being one of them. What is missing stays missing.
    fn share(&mut self, now: Duration, among: u32) {
        let interval = self.alone * among.max(1);
        let missing = self.full_at.saturating_sub(now);
        self.full_at = now + missing.mul_f64(interval.as_secs_f64() / self.interval.as_secs_f64());
        self.interval = interval;
    }

    /// Takes a token, where so many others are left; else says how long until it may be so.
    fn take(&mut self, now: Duration, leaving: u32) -> Result<(), Duration> {
        let others = self.interval * (self.burst - 1).saturating_sub(leaving);
        let full_at = self.full_at.max(now);
        match full_at.checked_sub(now + others) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at = full_at + self.interval;
                Ok(())
            }
        }
    }

    /// Whoever counts in earnest says that there was no token: the next one comes after an interval.
    fn empty(&mut self, now: Duration) {
        self.full_at = self.full_at.max(now + self.interval * self.burst);
    }
}

/// A bucket that many take from, in the order in which they came. One who leaves the line, or comes
/// to its head and leaves then, has taken nothing.
#[derive(Debug)]
pub(super) struct Bucket {
    origin: Instant,
    allowance: Mutex<Allowance>,
    /// Held by the head of the line; handed on in order.
    head: tokio::sync::Mutex<()>,
    places: Semaphore,
}

/// More stand in line than ever should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crowded;

impl Bucket {
    /// A full one.
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            origin: Instant::now(),
            allowance: Mutex::new(Allowance::new(rate)),
            head: tokio::sync::Mutex::new(()),
            places: Semaphore::new(WAITING_MAX),
        }
    }

    /// Waits for a token and takes it.
    pub(super) async fn take(&self) -> Result<(), Crowded> {
        let _place = self.places.try_acquire().map_err(|_| Crowded)?;
        let _head = self.head.lock().await;
        self.wait(0).await;
        Ok(())
    }

    /// Waits until there are tokens to spare, half of them, and takes one: for what can wait, beside
    /// the line.
    pub(super) async fn take_spare(&self) {
        let half = self.lock().burst / 2;
        self.wait(half).await;
    }

    /// So many share what AWS allows, this bucket being one of them.
    pub(super) fn share(&self, among: u32) {
        let now = self.origin.elapsed();
        self.lock().share(now, among);
    }

    /// AWS says that there was no token.
    pub(super) fn empty(&self) {
        let now = self.origin.elapsed();
        self.lock().empty(now);
    }

    /// Nothing is awaited between taking a token and returning.
    async fn wait(&self, leaving: u32) {
        loop {
            let now = self.origin.elapsed();
            let Err(wait) = self.lock().take(now, leaving) else { return };
            tokio::time::sleep(wait).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Allowance> {
        self.allowance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Passes(u64),
        Takes,
        IsEmptied,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0..2_000_u64).prop_map(Step::Passes),
            8 => Just(Step::Takes),
            1 => Just(Step::IsEmptied),
        ];
        proptest::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn no_time_sees_more_than_the_burst_and_what_was_refilled(
            burst in 1..30_u32,
            per_second in 1..100_u32,
            steps in steps(),
        ) {
            let mut allowance = Allowance::new(Rate { burst, per_second });
            let (mut now, mut taken) = (Duration::ZERO, Vec::new());
            for step in steps {
                match step {
                    Step::Passes(ms) => now += Duration::from_millis(ms),
                    Step::IsEmptied => allowance.empty(now),
                    Step::Takes => match allowance.take(now, 0) {
                        Ok(()) => taken.push(now),
                        // What it asks for is enough, and not more than is needed.
                        Err(wait) => {
                            let early = now + wait - Duration::from_nanos(1);
                            prop_assert!(allowance.clone().take(early, 0).is_err());
                            prop_assert!(allowance.clone().take(now + wait, 0).is_ok());
                            prop_assert!(wait <= allowance.interval);
                        }
                    },
                }
            }
            for (index, from) in taken.iter().enumerate() {
                for (count, to) in (1_u32..).zip(&taken[index..]) {
                    let refilled = (*to - *from).as_nanos() / allowance.interval.as_nanos();
                    prop_assert!(u128::from(count) <= u128::from(burst) + refilled + 1);
                }
            }
        }

        #[test]
        fn an_emptied_bucket_gives_one_token_after_an_interval(
            burst in 1..30_u32,
            per_second in 1..100_u32,
            taken in 0..40_u32,
            at in 0..5_000_u64,
        ) {
            let mut allowance = Allowance::new(Rate { burst, per_second });
            let now = Duration::from_millis(at);
            for _ in 0..taken {
                let _ = allowance.take(now, 0);
            }
            allowance.empty(now);
            prop_assert_eq!(allowance.take(now, 0), Err(allowance.interval));
            let later = now + allowance.interval;
            prop_assert_eq!(allowance.take(later, 0), Ok(()));
            prop_assert_eq!(allowance.take(later, 0), Err(allowance.interval));
        }

        #[test]
        fn what_is_to_be_left_is_left(burst in 1..30_u32, leaving in 0..40_u32) {
            let mut allowance = Allowance::new(Rate { burst, per_second: 1 });
            let spare = (0..100).filter(|_| allowance.take(Duration::ZERO, leaving).is_ok()).count();
            let left = (0..100).filter(|_| allowance.take(Duration::ZERO, 0).is_ok()).count();
            prop_assert_eq!(spare + left, burst as usize);
            prop_assert_eq!(left, leaving.min(burst - 1) as usize);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_is_served_in_the_order_in_which_it_formed() {
        let bucket = Arc::new(Bucket::new(Rate { burst: 1, per_second: 10 }));
        let (served, mut order) = tokio::sync::mpsc::channel(100);
        let mut line = tokio::task::JoinSet::new();
        for number in 0..50 {
            let (bucket, served) = (bucket.clone(), served.clone());
            line.spawn(async move {
                bucket.take().await.unwrap();
                served.send(number).await.unwrap();
            });
            // Each is in line before the next one comes.
            tokio::task::yield_now().await;
        }
        line.join_all().await;
        for number in 0..50 {
            assert_eq!(order.recv().await, Some(number));
        }
        assert_eq!(bucket.origin.elapsed().as_secs(), 4, "49 tokens at ten a second");
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_the_line_has_taken_nothing() {
        let bucket = Bucket::new(Rate { burst: 1, per_second: 1 });
        bucket.take().await.unwrap();
        for _ in 0..100 {
            let soon = Duration::from_millis(1);
            assert!(tokio::time::timeout(soon, bucket.take()).await.is_err());
        }
        bucket.take().await.unwrap();
        assert_eq!(bucket.origin.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_wait_does_not_stand_in_line() {
        let bucket = Bucket::new(Rate { burst: 10, per_second: 1 });
        for _ in 0..8 {
            bucket.take().await.unwrap();
        }
        tokio::join!(bucket.take_spare(), async {
            bucket.take().await.unwrap();
            assert_eq!(bucket.origin.elapsed(), Duration::ZERO);
        });
        assert_eq!(bucket.origin.elapsed().as_secs(), 5);
    }
}
