//! What is wrong with a configuration: which key, what about it, what is allowed, and where it
//! was written. Knows no key by itself.

use std::fmt;
use std::path::PathBuf;

/// Where a setting was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// On a line of the file, from 1.
    Line {
        /// The file as it was named.
        file: PathBuf,
        /// The line.
        line: usize,
    },
    /// The file as a whole.
    File(PathBuf),
    /// An environment variable, by its name.
    Variable(String),
    /// Nowhere: the setting has its default, or is missing.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line } => write!(f, "{}:{line}", file.display()),
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Default => f.write_str("not set"),
        }
    }
}

/// Characters of a fault's own words: enough for any sentence, too few for a value that is a book.
const WORDS_MAX: usize = 240;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key, with its sections: `listen.client`. Empty where it is the file itself.
    pub key: String,
    /// What is wrong. Never holds a secret.
    pub wrong: String,
    /// What is allowed there.
    pub allowed: String,
    /// Where it was written.
    pub origin: Origin,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        match self.wrong.char_indices().nth(WORDS_MAX) {
            Some((end, _)) => write!(f, "{}…", &self.wrong[..end])?,
            None => f.write_str(&self.wrong)?,
        }
        if !self.allowed.is_empty() {
            write!(f, " (allowed: {})", self.allowed)?;
        }
        Ok(())
    }
}

impl Fault {
    /// Whether it is that something is not there, which a file that was read in part may well have.
    pub(super) fn is_absence(&self) -> bool {
        self.wrong.ends_with(MISSING)
    }
}

/// What is said last of something that is not there.
pub(super) const MISSING: &str = "is missing";

/// Everything that is wrong, one line each: never empty. The gateway exits with code 64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// The process's exit code for a configuration that is wrong (`EX_USAGE` of sysexits.h).
    pub const EXIT_CODE: u8 = 64;

    /// The faults, if there are any.
    #[must_use]
    pub fn among(faults: Vec<Fault>) -> Option<Self> {
        (!faults.is_empty()).then_some(Self(faults))
    }

    /// A fault, and others.
    #[must_use]
    pub fn of(first: Fault, others: impl IntoIterator<Item = Fault>) -> Self {
        Self(std::iter::once(first).chain(others).collect())
    }

    /// Each of them, in the order in which they were found.
    #[must_use]
    pub fn all(&self) -> &[Fault] {
        &self.0
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// The known name that somebody who wrote `wrong` most likely meant.
pub(super) fn did_you_mean<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // One slip in a short word, three in a long one: beyond that a guess misleads.
    let tolerated = (wrong.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (distance(wrong, name), name))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Insertions, deletions and replacements between two words (Levenshtein's distance).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    // A name longer than any key is none of them; its row need not be worked out.
    for (i, letter) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_a_foreign_word_is_not() {
        let known = ["client", "admin", "origins", "max_connections"];
        assert_eq!(did_you_mean("cleint", known), Some("client"));
        assert_eq!(did_you_mean("origin", known), Some("origins"));
        assert_eq!(did_you_mean("max_conections", known), Some("max_connections"));
        assert_eq!(did_you_mean("banana", known), None);
        assert_eq!(did_you_mean("", known), None);
    }

    #[test]
    fn a_fault_is_one_line_that_says_where_which_what_and_what_else() {
        let fault = Fault {
            key: "listen.client".into(),
            wrong: "\"x\" is no address".into(),
            allowed: "IP:PORT".into(),
            origin: Origin::Line { file: "gateway.toml".into(), line: 3 },
        };
        assert_eq!(
            fault.to_string(),
            "gateway.toml:3: listen.client: \"x\" is no address (allowed: IP:PORT)"
        );
    }
}
