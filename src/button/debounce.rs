//! From a switch's bouncing contacts to presses.

use std::time::{Duration, Instant};

/// Tells presses from bounces.
#[derive(Debug)]
pub(super) struct Debounce {
    /// A level counts once it has been the same for so long.
    stable: Duration,
    /// The last level seen, and since when it has been so.
    seen: Option<(bool, Instant)>,
    /// The level that counts; none before the first: a button that is held from the start on is not
    /// pressed anew.
    counted: Option<bool>,
}

impl Debounce {
    pub(super) fn new(stable: Duration) -> Self {
        Self { stable, seen: None, counted: None }
    }

    /// Whether the button, seen pressed or not, counts as pressed now and did not before.
    pub(super) fn is_pressed_anew(&mut self, pressed: bool, now: Instant) -> bool {
        let since = match self.seen {
            Some((before, since)) if before == pressed => since,
            _ => now,
        };
        self.seen = Some((pressed, since));
        if now.saturating_duration_since(since) < self.stable {
            return false;
        }
        self.counted.replace(pressed) == Some(false) && pressed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At which looks, 10 ms apart, a press counts; `#` is pressed.
    fn presses(stable_ms: u64, looks: &str) -> Vec<usize> {
        let (start, mut debounce) =
            (Instant::now(), Debounce::new(Duration::from_millis(stable_ms)));
        let at = |i: usize| start + Duration::from_millis(10 * i as u64);
        let counts = looks.chars().enumerate();
        let counts = counts.filter(|&(i, look)| debounce.is_pressed_anew(look == '#', at(i)));
        counts.map(|(i, _)| i).collect()
    }

    #[test]
    fn bounces_are_no_presses() {
        assert_eq!(presses(30, "......#.#.####.#.##.......#####"), [13, 29]);
        assert!(presses(30, "....##..##..#..##").is_empty());
    }

    #[test]
    fn a_long_press_counts_once() {
        assert_eq!(presses(30, "....##########....#########"), [7, 21]);
        assert_eq!(presses(0, ".##.#"), [1, 4]);
    }

    #[test]
    fn a_button_held_from_the_start_is_not_pressed() {
        assert_eq!(presses(30, "########....####"), [15]);
    }
}
