//! At most so many frames a second, of a camera that gives more than it was asked for.

use std::time::Duration;

/// A frame may come so much of the distance early: clocks jitter, and of a camera that keeps to the
/// rate none is to be lost.
const EARLY: f32 = 0.1;

/// Says which frames are too many.
#[derive(Debug)]
pub struct Pace {
    /// From one frame to the next; none: all are wanted.
    distance: Option<Duration>,
    /// When the next frame is due.
    due: Duration,
}

impl Pace {
    /// At most `max_fps` frames a second.
    pub fn new(max_fps: Option<f32>) -> Self {
        let distance = max_fps.map(|fps| Duration::from_secs_f32(1.0 / fps));
        Self { distance, due: Duration::ZERO }
    }

    /// Whether the frame of this time is wanted; it then counts as had.
    pub fn wants(&mut self, time: Duration) -> bool {
        let Some(distance) = self.distance else { return true };
        if time + distance.mul_f32(EARLY) < self.due {
            return false;
        }
        // From when it was due, so that the rate is kept on average; after a gap, from now.
        let gap = time.saturating_sub(self.due) >= distance;
        self.due = if gap { time } else { self.due } + distance;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of frames at these times, ms, how many are wanted.
    fn wanted(max_fps: f32, times_ms: impl Iterator<Item = u64>) -> usize {
        let mut pace = Pace::new(Some(max_fps));
        times_ms.filter(|&ms| pace.wants(Duration::from_millis(ms))).count()
    }

    #[test]
    fn a_fast_camera_is_held_to_the_rate_whatever_its_own() {
        for fps in [11, 15, 24, 25, 30, 60, 120] {
            let frames = wanted(10.0, (0..10 * fps).map(|i| 1000 * i / fps));
            assert!((98..=101).contains(&frames), "{frames} frames in 10 s at {fps} fps");
        }
    }

    #[test]
    fn a_camera_that_keeps_to_the_rate_loses_nothing_by_jitter() {
        let jitter = [0, 9, 5, 8, 1].iter().cycle();
        let times = (0..100).zip(jitter).map(|(i, jitter)| 100 * i + jitter);
        assert_eq!(wanted(10.0, times), 100);
        assert_eq!(wanted(10.0, (0..50).map(|i| 200 * i)), 50, "nor a slower one");
    }

    #[test]
    fn after_a_gap_frames_do_not_come_in_a_burst() {
        let gap = (0..140).map(|i| 60_000 + 7 * i);
        // One before the gap; then the first after 0, 90, 190 … 890 ms.
        assert_eq!(wanted(10.0, [0].into_iter().chain(gap)), 1 + 10);
    }

    #[test]
    fn without_a_limit_all_are_wanted() {
        let mut pace = Pace::new(None);
        assert!((0..9).all(|_| pace.wants(Duration::ZERO)));
    }
}
