//! Dice that fall the same way for the same seed. Knows nothing of what is decided with them.

use std::ops::RangeInclusive;

/// A generator of numbers (SplitMix64): the same seed gives the same numbers for ever.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Dice for one of many uses of a seed: their numbers have nothing to do with each other's.
    #[must_use]
    pub fn of(seed: u64, uses: &[u64]) -> Self {
        let mut dice = Self::new(seed);
        for part in uses {
            dice = Self::new(dice.bits().rotate_left(29) ^ part);
        }
        dice
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of a range that has less than 2^64 of them.
    pub fn roll(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.bits() % (range.end() - range.start() + 1)
    }

    /// Yes, `percent` times out of a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.roll(1..=100) <= percent
    }

    /// A number of a range, small ones far more often: as people and programs make sizes.
    pub fn size(&mut self, range: RangeInclusive<u64>) -> u64 {
        let spread = u64::BITS - (range.end() - range.start()).leading_zeros();
        let most = (1 << self.roll(0..=u64::from(spread))).min(range.end() - range.start() + 1);
        range.start() + self.roll(0..=most - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_falls_the_same_way_and_another_one_does_not() {
        let falls = |mut dice: Dice| (0..8).map(|_| dice.bits()).collect::<Vec<_>>();
        assert_eq!(falls(Dice::of(7, &[1, 2])), falls(Dice::of(7, &[1, 2])));
        assert_ne!(falls(Dice::of(7, &[1, 2])), falls(Dice::of(7, &[2, 1])));
        assert_ne!(falls(Dice::of(7, &[1, 2])), falls(Dice::of(8, &[1, 2])));
    }

    #[test]
    fn numbers_stay_in_their_range_and_reach_both_ends() {
        let mut dice = Dice::new(3);
        let rolls: Vec<_> = (0..1000).map(|_| dice.roll(3..=6)).collect();
        assert_eq!((rolls.iter().min(), rolls.iter().max()), (Some(&3), Some(&6)));
        let sizes: Vec<_> = (0..10_000).map(|_| dice.size(1..=1000)).collect();
        assert!(sizes.iter().all(|size| (1..=1000).contains(size)));
        assert!(sizes.contains(&1) && sizes.iter().any(|size| *size > 900));
    }
}
