//! How much work every metric does: the numbers, each with its unit. Knows no system.

use std::path::PathBuf;

/// What a session has printed once its shell waits for a command.
pub const PROMPTS: [&str; 2] = ["$ ", "# "];

/// A file in every session's home: lines of letters and digits, no two in a row the same.
pub const PRINT_FILE: &str = "print";

/// Bytes of [`PRINT_FILE`]: 120 to the line.
pub const PRINT_BYTES: usize = (32 << 20) / 120 * 120;

/// A file in every session's home: numbered lines of [`LINE`] bytes.
pub const LINES_FILE: &str = "lines";

/// Bytes of a numbered line, its end included.
pub const LINE: usize = 64;

/// Bytes of [`LINES_FILE`].
pub const LINES_BYTES: usize = 16 << 20;

/// How much of everything.
#[derive(Debug, Clone)]
pub struct Work {
    /// Scratch directory.
    pub place: PathBuf,
    /// Sessions that are opened at the same time.
    pub at_once: usize,
    /// Sessions, and keys a second for each of them.
    pub echo: Vec<(usize, f64)>,
    /// Seconds of typing that are not counted.
    pub echo_warm_s: f64,
    /// Seconds of typing that are.
    pub echo_s: f64,
    /// Sessions that print at the same time.
    pub throughput: Vec<usize>,
    /// Times that [`PRINT_FILE`] is printed, all sessions together.
    pub prints: usize,
    /// Longest that printing may take, in seconds.
    pub throughput_s: f64,
    /// Idle sessions.
    pub memory: Vec<usize>,
    /// Idle sessions with a simulated bridge.
    pub crowd: Vec<usize>,
    /// Before memory is looked at, in seconds.
    pub settle_s: f64,
    /// Starts.
    pub prompts: usize,
    /// Sessions that type while one stalls.
    pub others: usize,
    /// Seconds that they type with nobody else there, and beside a flood that is read.
    pub calm_s: f64,
    /// Seconds that one client stalls: with what comes before and after them less than the ten after
    /// which a driver counts as absent, and its program runs on.
    pub stall_s: f64,
    /// KiB that are printed while a client is away.
    pub away: Vec<usize>,
    /// Seconds that it is away.
    pub away_s: f64,
}

impl Work {
    /// The work behind the figures of `docs/performance.md`.
    pub fn full(place: PathBuf) -> Self {
        Self {
            place,
            at_once: 8,
            echo: vec![(1, 100.0), (100, 10.0), (500, 10.0)],
            echo_warm_s: 1.0,
            echo_s: 6.0,
            throughput: vec![1, 8],
            prints: 8,
            throughput_s: 15.0,
            memory: vec![100, 1000],
            crowd: vec![1000, 3500, 5000],
            settle_s: 2.0,
            prompts: 30,
            others: 20,
            calm_s: 5.0,
            stall_s: 9.0,
            away: vec![64, 1024, 16 * 1024],
            away_s: 2.5,
        }
    }

    /// Just enough to see that everything works.
    pub fn smoke(place: PathBuf) -> Self {
        Self {
            echo: vec![(1, 50.0), (3, 10.0)],
            echo_warm_s: 0.2,
            echo_s: 1.0,
            throughput: vec![1, 2],
            prints: 2,
            memory: vec![2],
            crowd: vec![3],
            settle_s: 0.2,
            prompts: 3,
            others: 3,
            calm_s: 1.0,
            stall_s: 2.0,
            away: vec![64, 1024],
            away_s: 1.0,
            ..Self::full(place)
        }
    }

    /// The directory with the files that sessions print.
    pub fn files(&self) -> PathBuf {
        self.place.join("files")
    }

    /// Makes the files that sessions print.
    pub fn write_files(&self) -> std::io::Result<()> {
        let files = self.files();
        std::fs::create_dir_all(&files)?;
        let mut print = Vec::with_capacity(PRINT_BYTES);
        for number in 0..PRINT_BYTES / 120 {
            let words = format!("{number:012} the quick brown fox jumps over the lazy dog ");
            print.extend(words.bytes().cycle().take(119));
            print.push(b'\n');
        }
        std::fs::write(files.join(PRINT_FILE), print)?;
        let lines: String = (0..LINES_BYTES / LINE).map(line).collect();
        std::fs::write(files.join(LINES_FILE), lines)
    }
}

/// A numbered line, with its end.
pub fn line(number: usize) -> String {
    format!("L{number:010} {}\n", &"abcdefghij".repeat(6)[..LINE - 13])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_have_the_bytes_that_they_are_said_to_have() {
        let place = tempfile::tempdir().unwrap();
        let work = Work::smoke(place.path().into());
        work.write_files().unwrap();
        let len = |name| work.files().join(name).metadata().unwrap().len() as usize;
        assert_eq!((len(PRINT_FILE), len(LINES_FILE)), (PRINT_BYTES, LINES_BYTES));
        assert_eq!(line(7).len(), LINE);
    }
}
