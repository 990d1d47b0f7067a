//! Times and reasons as people say them. Knows no clock: now is an argument.

use shellgate_protocol::client_leg::{EndReason, Phase};

/// A number of seconds, in its two largest units.
pub fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min"),
        3600..36_000 if minutes % 60 > 0 => format!("{hours} h {} min", minutes % 60),
        3600..86_400 => format!("{hours} h"),
        _ if days < 10 && hours % 24 > 0 => format!("{days} d {} h", hours % 24),
        _ => format!("{days} d"),
    }
}

/// How long ago an RFC 3339 time is, or how far ahead; the text itself where it is no such time.
pub fn distance(at: &str, now: u64) -> String {
    match seconds_since_1970(at) {
        Some(at) if at <= now => format!("{} ago", duration(now - at)),
        Some(at) => format!("in {}", duration(at - now)),
        None => at.to_owned(),
    }
}

/// How long something has lasted that began at an RFC 3339 time.
pub fn age(began: &str, now: u64) -> String {
    seconds_since_1970(began)
        .map_or_else(|| began.to_owned(), |began| duration(now.saturating_sub(began)))
}

/// Reads `2026-01-02T03:04:05Z`, with a fraction or another offset where there is one.
pub fn seconds_since_1970(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let punctuation = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    if !punctuation.into_iter().all(|(at, mark)| text.get(at..at + 1) == Some(mark)) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let rest = text.get(19..)?;
    let zone =
        rest.strip_prefix('.').map_or(rest, |r| r.trim_start_matches(|c: char| c.is_ascii_digit()));
    let offset = match zone.as_bytes() {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]
            if [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()) =>
        {
            let two = |a: u8, b: u8| i64::from(a - b'0') * 10 + i64::from(b - b'0');
            let minutes = two(*h1, *h2) * 60 + two(*m1, *m2);
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    // Days since 1970 in the Gregorian calendar, with years that begin in March.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let day_of_year = (153 * m + 2) / 5 + day - 1;
    let days = y.div_euclid(400) * 146_097 + y.rem_euclid(400) * 365 + y.rem_euclid(400) / 4
        - y.rem_euclid(400) / 100
        + day_of_year
        - 719_468;
    u64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second - offset * 60).ok()
}

/// The time of this machine, in seconds since 1970.
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// What a session waits for.
pub fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Queued => "waiting for its turn",
        Phase::Volume => "preparing your files",
        Phase::Secrets => "fetching your secrets",
        Phase::Task => "starting its sandbox",
        Phase::Dialling => "waiting for its first call",
        Phase::Reconnecting => "waiting for it to call again",
    }
}

/// Why a session ended.
pub fn reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Exited => "its program ended",
        EndReason::Stopped => "it was stopped",
        EndReason::Idle => "it was stopped because nobody worked in it",
        EndReason::Lifetime => "it reached the longest life that it may have",
        EndReason::StartFailed => "it could not be started",
        EndReason::Lost => "its task is gone and nobody knows why",
        EndReason::Compromised => "somebody else used its enrolment token",
        EndReason::Shutdown => "the gateway was told to stop, and its sessions with it",
    }
}

/// The same in a column: a program's own end by its status.
pub fn end(reason: EndReason, code: Option<i32>, signal: Option<&str>) -> String {
    match (reason, code, signal) {
        (EndReason::Exited, _, Some(signal)) => format!("signal {signal}"),
        (EndReason::Exited, Some(code), None) => format!("status {code}"),
        (EndReason::Exited, None, None) => "exited".to_owned(),
        (EndReason::Stopped, _, _) => "stopped".to_owned(),
        (EndReason::Idle, _, _) => "idle".to_owned(),
        (EndReason::Lifetime, _, _) => "longest life".to_owned(),
        (EndReason::StartFailed, _, _) => "not started".to_owned(),
        (EndReason::Lost, _, _) => "lost".to_owned(),
        (EndReason::Compromised, _, _) => "compromised".to_owned(),
        (EndReason::Shutdown, _, _) => "shutdown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_rfc_3339_has_them() {
        assert_eq!(seconds_since_1970("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds_since_1970("2026-01-02T03:04:05Z"), Some(1_767_323_045));
        assert_eq!(seconds_since_1970("2000-02-29T23:59:59.123456Z"), Some(951_868_799));
        assert_eq!(seconds_since_1970("2026-01-02T03:04:05+01:30"), Some(1_767_317_645));
        for wrong in [
            "",
            "now",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05é",
            "1é70-01-01T00:00:00Z",
        ] {
            assert_eq!(seconds_since_1970(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_have_at_most_two_units() {
        let said: Vec<_> =
            [0, 59, 60, 3599, 3600, 5400, 40_000, 90_000, 1_000_000].map(duration).into();
        assert_eq!(
            said,
            ["0 s", "59 s", "1 min", "59 min", "1 h", "1 h 30 min", "11 h", "1 d 1 h", "11 d"]
        );
    }

    #[test]
    fn distances_look_both_ways() {
        assert_eq!(distance("1970-01-01T00:01:40Z", 160), "1 min ago");
        assert_eq!(distance("1970-01-01T00:01:40Z", 90), "in 10 s");
        assert_eq!(distance("soon", 90), "soon");
    }
}
