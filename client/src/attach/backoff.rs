//! How long a client waits before it dials again. Knows no clock and no reason: it is told whether
//! the next dial may be immediate, and given a die.

/// The first pause is at most this long, in milliseconds.
const FIRST_MILLIS: u64 = 500;

/// No pause is longer, in milliseconds.
const LONGEST_MILLIS: u64 = 30_000;

/// A client that comes back in good order spreads over this long, in milliseconds, so that a
/// gateway's leaving does not bring all of its clients to the next one in the same instant.
const RETURN_JITTER_MILLIS: u64 = 500;

/// A small generator of dice (SplitMix64): reproducible from its seed, and good enough to spread
/// clients over time.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 up to and with `most`.
    fn roll(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % (most + 1)
    }
}

/// Counts dials that came to nothing.
#[derive(Debug, Clone)]
pub(crate) struct BackOff {
    pauses: u32,
    at_once_is_spent: bool,
    dice: Dice,
}

impl BackOff {
    pub(crate) fn new(seed: u64) -> Self {
        Self { pauses: 0, at_once_is_spent: false, dice: Dice::new(seed) }
    }

    /// The last connection did some good: the next break starts from the beginning.
    pub(crate) fn forget(&mut self) {
        self.pauses = 0;
        self.at_once_is_spent = false;
    }

    /// Milliseconds until the next dial after a break that allows one at once.
    pub(crate) fn at_once_then_pause(&mut self) -> u64 {
        if self.at_once_is_spent {
            return self.pause();
        }
        self.at_once_is_spent = true;
        0
    }

    /// Milliseconds until the next dial after a gateway left in good order.
    pub(crate) fn at_once_with_jitter(&mut self) -> u64 {
        if self.at_once_is_spent {
            return self.pause();
        }
        self.at_once_is_spent = true;
        self.dice.roll(RETURN_JITTER_MILLIS)
    }

    /// Milliseconds until the next dial where none may be immediate: full jitter below a ceiling
    /// that doubles from 0.5 s to 30 s.
    pub(crate) fn pause(&mut self) -> u64 {
        self.at_once_is_spent = true;
        let ceiling = FIRST_MILLIS.saturating_mul(1 << self.pauses.min(16)).min(LONGEST_MILLIS);
        self.pauses += 1;
        self.dice.roll(ceiling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_dial_is_at_once_and_later_ones_spread_below_a_growing_ceiling() {
        for seed in 0..200 {
            let mut back_off = BackOff::new(seed);
            assert_eq!(back_off.at_once_then_pause(), 0);
            for ceiling in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000] {
                let pause = back_off.at_once_then_pause();
                assert!(pause <= ceiling, "{pause} > {ceiling}");
            }
            back_off.forget();
            assert_eq!(back_off.at_once_then_pause(), 0);
        }
    }

    #[test]
    fn pauses_use_the_whole_range() {
        let mut dice = Dice::new(7);
        let rolls: Vec<_> = (0..1000).map(|_| dice.roll(500)).collect();
        assert!(rolls.iter().any(|roll| *roll < 25) && rolls.iter().any(|roll| *roll > 475));
    }
}
