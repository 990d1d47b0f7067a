//! How long to wait before the next dial. Knows neither clock nor random numbers: both come in.

use std::time::Duration;

/// The longest first wait.
const FIRST: Duration = Duration::from_millis(200);

/// The longest wait of all.
const LAST: Duration = Duration::from_secs(15);

/// The wait before the dial that follows `failures` failed ones: none before the first, then up to
/// 0.2 s doubling to 15 s, of which `random` (any 32 bits) picks a part from nothing to all ("full
/// jitter"), so that the bridges of a gateway that died do not all come back at the same instant.
#[must_use]
pub fn wait(failures: u32, random: u32) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
    let longest = FIRST.saturating_mul(1 << doublings.min(16)).min(LAST);
    longest.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_dial_is_made_at_once_and_later_ones_wait_longer_and_longer() {
        assert_eq!(wait(0, u32::MAX), Duration::ZERO);
        let longest: Vec<_> = (1..12).map(|n| wait(n, u32::MAX)).collect();
        assert_eq!(longest[0], FIRST);
        assert_eq!(longest[1], FIRST * 2);
        assert!(longest.is_sorted());
        assert_eq!(longest[10], LAST);
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_the_longest(failures in any::<u32>(), random in any::<u32>()) {
            prop_assert!(wait(failures, random) <= LAST);
            prop_assert_eq!(wait(failures, 0), Duration::ZERO);
        }
    }
}
