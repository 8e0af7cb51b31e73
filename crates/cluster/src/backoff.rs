//! How long to wait before the next try: twice as long each time, up to a bound, and never all switches at once.

use std::time::Duration;

/// A row of growing delays. Chance is a parameter, so that what it does can be told beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    current: Duration,
}

impl Backoff {
    /// Begins with about `first` and ends with about `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, current: first.min(max) }
    }

    /// The next delay; `random` is from 0 to 1. It takes off up to half, so that a thousand switches whose server comes
    /// back do not ask it in the same second.
    pub fn next(&mut self, random: f64) -> Duration {
        let jitter = (self.current / 2).mul_f64(random.clamp(0.0, 1.0));
        let delay = self.current.saturating_sub(jitter);
        self.current = self.current.saturating_mul(2).min(self.max);
        delay
    }

    /// Begins anew, after something succeeded.
    pub fn reset(&mut self) {
        self.current = self.first.min(self.max);
    }
}

/// A number from 0 to 1 for [`Backoff::next`].
pub fn random() -> f64 {
    let fresh = ring::rand::generate::<[u8; 4]>(&ring::rand::SystemRandom::new());
    // A system without randomness gives no jitter, and everything else works.
    let bytes = fresh.map(ring::rand::Random::expose).unwrap_or_default();
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_to_its_bound_and_begins_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
        let delays: Vec<u64> = (0..9).map(|_| backoff.next(0.0).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.next(1.0), Duration::from_millis(500));
    }

    #[test]
    fn it_stays_within_its_bounds_for_ever() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::MAX);
        for round in 0..200 {
            assert!(backoff.next(f64::from(round % 3) - 0.5) >= Duration::from_millis(500));
        }
        assert_eq!(Backoff::new(Duration::from_secs(9), Duration::from_secs(1)).next(0.0).as_secs(), 1);
    }

    #[test]
    fn chance_is_between_nothing_and_everything() {
        let draws: Vec<f64> = (0..100).map(|_| random()).collect();
        assert!(draws.iter().all(|draw| (0.0..=1.0).contains(draw)));
        assert!(draws.windows(2).any(|pair| (pair[0] - pair[1]).abs() > 0.01), "always the same: {draws:?}");
    }
}
