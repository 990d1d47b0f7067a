//! How many control messages a peer may send: a token bucket. Pure.

/// Seconds of its rate that a peer may use at once.
const BURST_SECONDS: u64 = 10;

/// What is left of a peer's allowance.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    per_second: u64,
    /// In thousandths of a message.
    left: u64,
    at_ms: u64,
}

impl Budget {
    /// A full allowance of `per_second` messages, at `now_ms` of any steady clock.
    #[must_use]
    pub fn new(per_second: u32, now_ms: u64) -> Self {
        let per_second = u64::from(per_second);
        Self { per_second, left: per_second * BURST_SECONDS * 1000, at_ms: now_ms }
    }

    /// Whether nothing was taken of late.
    #[must_use]
    pub fn is_full(&self, now_ms: u64) -> bool {
        self.earned(now_ms) == self.most()
    }

    fn most(&self) -> u64 {
        self.per_second * BURST_SECONDS * 1000
    }

    /// What is left once this much time has passed.
    fn earned(&self, now_ms: u64) -> u64 {
        let earned = now_ms.saturating_sub(self.at_ms).saturating_mul(self.per_second);
        self.left.saturating_add(earned).min(self.most())
    }

    /// Counts a message; `false` where the allowance is used up.
    #[must_use]
    pub fn take(&mut self, now_ms: u64) -> bool {
        self.spend(1, now_ms)
    }

    /// Counts a message that costs as much as `messages` of them; `false` where the allowance does
    /// not cover it.
    #[must_use]
    pub fn spend(&mut self, messages: u32, now_ms: u64) -> bool {
        let cost = u64::from(messages) * 1000;
        self.left = self.earned(now_ms);
        self.at_ms = now_ms;
        let enough = self.left >= cost;
        if enough {
            self.left -= cost;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_fine_and_a_flood_is_not() {
        let mut budget = Budget::new(50, 0);
        assert!((0..500).all(|_| budget.take(0)));
        assert!(!budget.take(0));
        assert!(budget.take(20));
        assert!(!budget.take(20));
        assert!(!budget.is_full(10_000) && budget.is_full(10_020));
        assert!((0..500).all(|_| budget.take(60_000)));
    }
}
