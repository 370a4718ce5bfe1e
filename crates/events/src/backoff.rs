//! How long to wait before trying again.

use std::time::Duration;

use rand::{Rng, RngCore};

/// Exponential back-off with jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub base: Duration,
    /// The longest wait.
    pub cap: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row: between half and all of `base * 2^(failures - 1)`, at most `cap`.
    ///
    /// The jitter keeps replicas that failed together from trying again together.
    pub fn delay(&self, failures: u32, rng: &mut dyn RngCore) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        let full = self.base.saturating_mul(1 << doublings).min(self.cap);
        full.mul_f64(rng.random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn it_doubles_up_to_the_cap() {
        let backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(5) };
        let mut rng = StdRng::seed_from_u64(7);
        for (failures, full_ms) in [(1, 100), (2, 200), (3, 400), (6, 3_200), (7, 5_000), (u32::MAX, 5_000)] {
            let delay = backoff.delay(failures, &mut rng).as_millis();
            assert!((full_ms / 2..=full_ms).contains(&delay), "{failures}: {delay}");
        }
    }
}
