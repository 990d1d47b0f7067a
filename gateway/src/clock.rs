//! The wall clock, for what is stored and shown, and chance. Deadlines within a process are
//! `tokio::time::Instant`s, which tests can pause.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn unix_millis() -> i64 {
    millis_of(SystemTime::now())
}

/// A wall-clock time as milliseconds since the Unix epoch; negative before it.
#[must_use]
pub fn millis_of(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    }
}

/// The wall-clock time so many milliseconds after the Unix epoch.
#[must_use]
pub fn time_of(unix_ms: i64) -> SystemTime {
    let since = Duration::from_millis(unix_ms.unsigned_abs());
    if unix_ms < 0 { UNIX_EPOCH - since } else { UNIX_EPOCH + since }
}

/// When a wall-clock time will be reached; now, where it has passed.
#[must_use]
pub fn instant_of(unix_ms: i64) -> Instant {
    let left = u64::try_from(unix_ms.saturating_sub(unix_millis())).unwrap_or(0);
    // A century is as good as never, and does not overflow the clock.
    Instant::now() + Duration::from_millis(left.min(100 * 365 * 86_400_000))
}

/// A duration between zero and `longest`, by chance.
#[must_use]
pub fn chance(longest: Duration) -> Duration {
    let mut bytes = [0; 4];
    // Without random numbers everybody waits the longest time: worse, but not wrong.
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        return longest;
    }
    longest.mul_f64(f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX))
}

/// A time of the wall clock as RFC 3339 in UTC, to the second.
#[must_use]
pub fn rfc3339(unix_ms: i64) -> String {
    let seconds = unix_ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Civil date from a day count, by Howard Hinnant's `civil_from_days`: eras of 400 years that
    // begin on 1 March.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_826_271_999), "2000-02-29T12:11:11Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn chance_stays_within_its_bound() {
        let longest = Duration::from_millis(100);
        assert!((0..1000).all(|_| chance(longest) <= longest));
    }
}
