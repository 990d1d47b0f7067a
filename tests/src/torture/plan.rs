//! What a run of the torture does: the one place that reads the environment for it.

use std::time::{SystemTime, UNIX_EPOCH};

use super::breaks::Break;
use super::dice::Dice;
use super::doings::Doing;

/// How many breaks a run has.
const BREAKS: &str = "SHELLGATE_TORTURE_BREAKS";

/// The seed of a run that is to be repeated.
const SEED: &str = "SHELLGATE_TORTURE_SEED";

/// The breaks of a run that nobody has wished longer.
const SHORT: u64 = 60;

/// What is known of a run before it begins.
#[derive(Debug, Clone)]
pub struct Plan {
    /// All else follows from it.
    pub seed: u64,
    /// What breaks, in this order.
    pub breaks: Vec<Break>,
    /// What is done before each of them.
    pub doings: Vec<Vec<Doing>>,
}

impl Plan {
    /// The run of a seed.
    #[must_use]
    pub fn new(seed: u64, breaks: u64) -> Self {
        let mut dice = Dice::of(seed, &[4]);
        let breaks: Vec<_> = (0..breaks).map(|_| Break::roll(&mut dice)).collect();
        let doings = Doing::plan(&mut Dice::of(seed, &[7]), breaks.len());
        Self { seed, breaks, doings }
    }

    /// The run that the environment asks for: a short one of a new seed, unless it says otherwise.
    ///
    /// # Panics
    /// Where what it says is no number.
    #[must_use]
    pub fn from_environment() -> Self {
        let number = |name| {
            let text = std::env::var_os(name)?;
            let number = text.to_str().and_then(|text| text.parse().ok());
            Some(number.unwrap_or_else(|| panic!("{name} is a number, not {text:?}")))
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Short enough to be typed again, and to be a number anywhere.
        let new = Dice::of(now.as_secs(), &[u64::from(now.subsec_nanos())]).bits() >> 32;
        Self::new(number(SEED).unwrap_or(new), number(BREAKS).unwrap_or(SHORT))
    }
}
