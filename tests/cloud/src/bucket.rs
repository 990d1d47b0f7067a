//! A token bucket as AWS has them: so many calls at once, then so many a second. Knows no call.

use tokio::time::Instant;

/// A bucket. Time comes in as an argument.
#[derive(Debug, Clone)]
pub struct Bucket {
    burst: f64,
    per_second: f64,
    tokens: f64,
    filled: Option<Instant>,
}

impl Bucket {
    /// A full bucket that holds `burst` tokens and gets `per_second` new ones.
    #[must_use]
    pub fn new(burst: u32, per_second: f64) -> Self {
        let burst = f64::from(burst);
        Self { burst, per_second, tokens: burst, filled: None }
    }

    /// Takes a token; `false` where there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        let since = self.filled.map_or(0.0, |filled| (now - filled).as_secs_f64());
        self.filled = Some(now);
        self.tokens = (self.tokens + since * self.per_second).min(self.burst);
        let has = self.tokens >= 1.0;
        if has {
            self.tokens -= 1.0;
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bucket_gives_its_burst_and_then_only_its_rate() {
        let mut bucket = Bucket::new(5, 10.0);
        let mut taken = 0;
        for _ in 0..100 {
            taken += u32::from(bucket.take(Instant::now()));
        }
        assert_eq!(taken, 5, "the burst");
        for _ in 0..20 {
            tokio::time::advance(Duration::from_millis(50)).await;
            taken += u32::from(bucket.take(Instant::now()));
        }
        assert_eq!(taken, 15, "ten more in a second");
        tokio::time::advance(Duration::from_secs(3600)).await;
        let again = (0..100).filter(|_| bucket.take(Instant::now())).count();
        assert_eq!(again, 5, "no more than it holds, after however long");
    }
}
