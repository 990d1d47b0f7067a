//! What went wrong for now is tried again, with pauses that grow and differ. Knows no call.

use std::time::Duration;

use tokio::time::Instant;

/// The longest pause after a first failure; it doubles with each further one.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest pause of all.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Tries until it succeeds, fails for good, or would go on for longer than `patience`.
pub(crate) async fn again<T, E, F>(
    patience: Duration,
    attempt: impl Fn() -> F,
    may_pass: impl Fn(&E) -> bool,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: std::fmt::Display,
{
    let until = Instant::now() + patience;
    let mut failures = 0;
    loop {
        let error = match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let pause = pause(failures, random());
        if !may_pass(&error) || Instant::now() + pause >= until {
            return Err(error);
        }
        tracing::debug!(%error, failures, "it is tried again");
        tokio::time::sleep(pause).await;
        failures += 1;
    }
}

/// How long to pause after so many failures before this one: anything up to a bound that doubles,
/// so that those who failed together do not come back together. `random` is any number.
pub(crate) fn pause(failures: u32, random: u64) -> Duration {
    let bound = PAUSE.saturating_mul(1 << failures.min(16)).min(PAUSE_MAX);
    share(bound, random)
}

/// A random share of a time.
pub(crate) fn share(of: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(of.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(random.checked_rem(nanos.saturating_add(1)).unwrap_or(random))
}

/// Any number. Nothing secret depends on it.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without random numbers the pauses are short, which is no reason to fail.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_are_spread_from_nothing_to_it() {
        for (failures, bound) in [(0, 200), (1, 400), (4, 3200), (6, 10_000), (60, 10_000)] {
            let bound = Duration::from_millis(bound);
            let nanos = u64::try_from(bound.as_nanos()).unwrap();
            assert_eq!(pause(failures, 0), Duration::ZERO);
            assert_eq!(pause(failures, nanos), bound);
            assert_eq!(pause(failures, nanos + 1), Duration::ZERO);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_for_so_long_and_nothing_else_is() {
        let patience = Duration::from_secs(60);
        let tries = Cell::new(0);
        let fails = || async {
            tries.set(tries.get() + 1);
            Err::<(), _>("no")
        };
        again(patience, fails, |_| false).await.unwrap_err();
        assert_eq!(tries.get(), 1);
        let began = Instant::now();
        again(patience, fails, |_| true).await.unwrap_err();
        assert!(tries.get() > 8 && began.elapsed() <= patience, "{} tries", tries.get());
        let third =
            || async { if tries.replace(tries.get() + 1) < 3 { Err("no") } else { Ok(()) } };
        tries.set(0);
        again(patience, third, |_| true).await.unwrap();
    }
}
