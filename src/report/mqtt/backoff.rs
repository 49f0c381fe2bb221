//! How long to wait before the next try: longer each time, and never all kiosks at once.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Doubles with each failure, with jitter.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// No failure yet.
    pub fn new() -> Self {
        Self { next: FIRST }
    }

    /// It works: the next failure is a first one again.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The wait after one more failure: half of it is fixed, half by chance.
    pub fn wait(&mut self) -> Duration {
        let longest = self.next;
        self.next = (2 * self.next).min(LONGEST);
        longest.mul_f64(0.5 + 0.5 * fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_differ() {
        let mut backoff = Backoff::new();
        for nominal_s in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
            let wait_s = backoff.wait().as_secs_f64();
            assert!((nominal_s / 2.0..=nominal_s).contains(&wait_s), "{wait_s} of {nominal_s}");
        }
        assert_ne!(backoff.wait(), backoff.wait());
        backoff.reset();
        assert!(backoff.wait() <= FIRST);
    }
}
