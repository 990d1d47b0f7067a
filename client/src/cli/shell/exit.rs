//! Exit statuses: the remote program's as this process's own. Knows no connection.

use shellgate_client::session::Ended;

/// The connection was lost, or refused, or never stood, before the program had ended.
pub const CONNECTION_LOST: u8 = 255;

/// Names of signals, at their Linux numbers from 1.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The status of a program that a signal ended, as shells have it.
pub fn of_signal(number: i32) -> u8 {
    u8::try_from(128 + number).unwrap_or(CONNECTION_LOST)
}

/// The status of a program that ended so.
pub fn of_program(code: Option<i32>, signal: Option<&str>) -> u8 {
    if let Some(signal) = signal {
        let name = signal.strip_prefix("SIG").unwrap_or(signal);
        let number = SIGNALS.iter().position(|known| *known == name).map(|at| at + 1);
        // 31 signals have numbers that fit.
        return number.and_then(|n| i32::try_from(n).ok()).map_or(CONNECTION_LOST, of_signal);
    }
    // As a parent sees it: the low eight bits.
    code.map_or(CONNECTION_LOST, |code| (code & 0xff) as u8)
}

/// The status of a session that ended so.
pub fn of_ended(ended: &Ended) -> u8 {
    of_program(ended.code, ended.signal.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_s_end_is_this_process_s_end() {
        assert_eq!(of_program(Some(0), None), 0);
        assert_eq!(of_program(Some(3), None), 3);
        assert_eq!(of_program(None, Some("KILL")), 137);
        assert_eq!(of_program(None, Some("SIGTERM")), 143);
        assert_eq!(of_program(None, Some("HUP")), 129);
        assert_eq!(of_program(None, None), 255);
        assert_eq!(of_program(None, Some("?")), 255);
    }
}
