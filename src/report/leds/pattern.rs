//! What all LEDs do together when the kiosk has something to tell of itself. It is told by rhythm, so
//! that it can be read from whichever LEDs there are.

use std::time::Duration;

/// What is told.
///
/// | all LEDs | it means |
/// |---|---|
/// | are lit | [`Starting`](Pattern::Starting), or a [test](Pattern::Test) |
/// | flash twice every 3 s | [`NoCamera`](Pattern::NoCamera) |
/// | flash half a second in every two | [`DiskTrouble`](Pattern::DiskTrouble) |
/// | flash shortly every 5 s | [`Paused`](Pattern::Paused) |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// No frame has come yet.
    Starting,
    /// Somebody asked to see all of them.
    Test,
    /// The camera is lost and being opened again.
    NoCamera,
    /// The journal's disk refuses.
    DiskTrouble,
    /// Nothing is looked at.
    Paused,
}

impl Pattern {
    /// The length of a round, and when in it the LEDs are lit, from and to. All in ms, and in steps
    /// that the main loop, which may take 100 ms a round, can keep.
    fn rhythm(self) -> (u128, &'static [(u128, u128)]) {
        match self {
            Pattern::Starting | Pattern::Test => (1, &[(0, 1)]),
            Pattern::NoCamera => (3000, &[(0, 200), (400, 600)]),
            Pattern::DiskTrouble => (2000, &[(0, 500)]),
            Pattern::Paused => (5000, &[(0, 200)]),
        }
    }

    /// Whether all are lit so long after it began; if not, they show what they else would.
    pub fn is_lit(self, elapsed: Duration) -> bool {
        let (round_ms, lit) = self.rhythm();
        let at = elapsed.as_millis() % round_ms;
        lit.iter().any(|&(from, to)| (from..to).contains(&at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lit or not, every 200 ms of 6 s.
    fn drawn(pattern: Pattern) -> String {
        let lit = |step: u64| pattern.is_lit(Duration::from_millis(200 * step));
        (0..30).map(|step| if lit(step) { '#' } else { '.' }).collect()
    }

    #[test]
    fn each_has_its_rhythm() {
        assert_eq!(drawn(Pattern::Starting), "#".repeat(30));
        assert_eq!(drawn(Pattern::Test), "#".repeat(30));
        assert_eq!(drawn(Pattern::NoCamera), "#.#............#.#............");
        assert_eq!(drawn(Pattern::DiskTrouble), "###.......###.......###.......");
        assert_eq!(drawn(Pattern::Paused), "#........................#....");
    }
}
