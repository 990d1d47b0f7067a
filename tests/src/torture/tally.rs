//! The figures of a run. Knows no world.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::checker::Faults;
use super::seen::Seen;

const MIB: f64 = 1024.0 * 1024.0;

/// What came of a run.
#[derive(Debug, Default)]
pub struct Tally {
    /// From which everything can be done again.
    pub seed: u64,
    /// How long it took.
    pub took: Duration,
    /// Breaks by their names.
    pub breaks: BTreeMap<&'static str, u64>,
    /// Client processes that followed each other.
    pub clients: u64,
    /// Bytes that the clients saw.
    pub output: u64,
    /// Bytes that the program took.
    pub input: u64,
    /// Observers that came.
    pub observers: u64,
    /// Bytes that they saw.
    pub watched: u64,
    /// Bytes that they were too slow for.
    pub skipped: u64,
    /// Sizes that the terminal was given.
    pub resizes: u64,
    /// Signals that the program took.
    pub signals: u64,
    /// What was wrong with the output.
    pub output_faults: Faults,
    /// What was wrong with the input.
    pub input_faults: Faults,
    /// What was wrong with what the observers saw.
    pub watched_faults: Faults,
    /// What was wrong with the signals, each counted as a byte is.
    pub signal_faults: Faults,
    /// The first things that were wrong, in words.
    pub words: Vec<String>,
    /// From each break to the attachment that stood again.
    pub resumes: Vec<Duration>,
}

impl Tally {
    /// Counts a break.
    pub fn broke(&mut self, name: &'static str) {
        *self.breaks.entry(name).or_default() += 1;
    }

    /// Adds to what is wrong with the output.
    pub fn add_output(&mut self, faults: Faults, words: Option<&str>) {
        add(&mut self.output_faults, faults);
        self.words.extend(words.map(|words| format!("output: {words}")));
    }

    /// Adds to what is wrong with the input.
    pub fn add_input(&mut self, faults: Faults, words: Option<&str>) {
        add(&mut self.input_faults, faults);
        self.words.extend(words.map(|words| format!("input: {words}")));
    }

    /// Adds what an observer saw.
    pub fn add_watched(&mut self, seen: &Seen) {
        self.watched += seen.bytes;
        self.skipped += seen.watch.map_or(0, |watch| watch.skipped);
        add(&mut self.watched_faults, seen.faults());
        let words = seen.first_fault();
        self.words.extend(words.map(|words| format!("watched from {}: {words}", seen.from)));
    }

    /// How many breaks there were.
    #[must_use]
    pub fn breaks(&self) -> u64 {
        self.breaks.values().sum()
    }

    /// Whether nothing at all was wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let none = Faults::default();
        let all = [self.output_faults, self.input_faults, self.watched_faults, self.signal_faults];
        all.iter().all(|faults| *faults == none) && self.words.is_empty()
    }

    /// The time within which so many percent of the breaks were over.
    #[must_use]
    pub fn resume(&self, percent: usize) -> Duration {
        let mut sorted = self.resumes.clone();
        sorted.sort_unstable();
        // The nearest rank.
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }
}

fn add(sum: &mut Faults, more: Faults) {
    sum.lost += more.lost;
    sum.repeated += more.repeated;
    sum.foreign += more.foreign;
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> =
            self.breaks.iter().map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(
            f,
            "torture: {} breaks in {:.0} s with {} client processes, seed {}",
            self.breaks(),
            self.took.as_secs_f64(),
            self.clients,
            self.seed,
        )?;
        writeln!(f, "  breaks   {}", kinds.join(", "))?;
        for (way, bytes, faults) in [
            ("output", self.output, self.output_faults),
            ("input", self.input, self.input_faults),
            ("watched", self.watched, self.watched_faults),
        ] {
            let Faults { lost, repeated, foreign } = faults;
            writeln!(
                f,
                "  {way:<8} {:.1} MiB moved, {lost} lost, {repeated} repeated, {foreign} foreign",
                // Figures for people: a rounded one is right.
                bytes as f64 / MIB,
            )?;
        }
        writeln!(
            f,
            "  besides  {} observers, who skipped {:.1} MiB; {} resizes; {} signals, {} lost, {} \
             repeated",
            self.observers,
            self.skipped as f64 / MIB,
            self.resizes,
            self.signals,
            self.signal_faults.lost,
            self.signal_faults.repeated,
        )?;
        let millis = |percent| self.resume(percent).as_millis();
        write!(
            f,
            "  resume   p50 {} ms, p99 {} ms, longest {} ms, of {}",
            millis(50),
            millis(99),
            millis(100),
            self.resumes.len(),
        )?;
        for words in &self.words {
            write!(f, "\n  wrong    {words}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let resumes = (1..=200).rev().map(Duration::from_millis).collect();
        let tally = Tally { resumes, ..Tally::default() };
        let millis = |percent| tally.resume(percent).as_millis();
        assert_eq!((millis(50), millis(99), millis(100)), (100, 198, 200));
        assert_eq!(Tally::default().resume(99), Duration::ZERO);
    }

    #[test]
    fn one_byte_that_is_wrong_is_not_clean() {
        let mut tally = Tally::default();
        assert!(tally.is_clean());
        tally.add_input(Faults { repeated: 1, ..Faults::default() }, None);
        assert!(!tally.is_clean() && tally.to_string().contains("0 lost, 1 repeated"));
    }
}
