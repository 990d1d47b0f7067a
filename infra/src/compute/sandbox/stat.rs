//! What the kernel says of a process in `/proc/PID/stat`, beside the name that the process chose
//! itself. Knows no sandbox.

/// What `/proc/PID/stat` says, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) state: u8,
    pub(super) parent: i32,
    /// Clock ticks since boot.
    pub(super) start_time: u64,
}

impl Stat {
    pub(super) fn of(pid: i32) -> Option<Self> {
        Self::parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field is the program's name in brackets, and may hold any byte but a zero:
    /// counting starts after the last closing one.
    pub(super) fn parse(stat: &[u8]) -> Option<Self> {
        let after_name = stat.iter().rposition(|&b| b == b')')? + 1;
        let rest = std::str::from_utf8(stat.get(after_name..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        Some(Self {
            state: *fields.first()?.as_bytes().first()?,
            parent: fields.get(1)?.parse().ok()?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }

    pub(super) fn lives(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_brackets_does_not_shift_the_fields() {
        let stat = b"12 (a) R 1 (b) S 7 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        let parsed = Stat::parse(stat).unwrap();
        assert_eq!((parsed.state, parsed.parent, parsed.start_time), (b'S', 7, 4711));
        assert_eq!(Stat::parse(b"12 (a"), None);
        assert_eq!(Stat::parse(b""), None);
    }
}
