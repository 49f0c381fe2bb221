//! What the kiosk did lately and how its machine is, once a period, for the journal.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::report::event::VitalsEvent;

use super::machine;
use super::stages::Stages;

/// What a kiosk counts from its start on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Frames read, those of the next two kinds among them.
    pub frames: u64,
    /// Frames not looked at because they showed no change.
    pub still: u64,
    /// Frames not looked at because it was night.
    pub dark: u64,
    /// Frames that could not be decoded.
    pub broken: u64,
    /// Frames dropped because a newer one was there.
    pub late: u64,
    /// Faces read, in all frames that were looked at.
    pub faces: u64,
}

impl Counts {
    /// Where [`Counts::faces`] is in a record's array.
    pub const FACES: usize = 5;

    fn since(self, before: Self) -> Self {
        Self {
            frames: self.frames - before.frames,
            still: self.still - before.still,
            dark: self.dark - before.dark,
            broken: self.broken - before.broken,
            late: self.late - before.late,
            faces: self.faces - before.faces,
        }
    }
}

/// Sums up each period.
#[derive(Debug)]
pub struct Vitals {
    /// None: nothing is summed up.
    period: Option<Duration>,
    /// Whether anything may be told of how many faces there were.
    faces_told: bool,
    since: Instant,
    before: Counts,
}

impl Vitals {
    /// The first period starts now.
    pub fn new(period: Option<Duration>, faces_told: bool, now: Instant) -> Self {
        Self { period, faces_told, since: now, before: Counts::default() }
    }

    /// What happened since the last time, if the period is over.
    pub fn take(
        &mut self,
        now: Instant,
        counts: Counts,
        stages: &mut Stages,
    ) -> Option<VitalsEvent> {
        let passed = now.saturating_duration_since(self.since);
        if passed < self.period? {
            return None;
        }
        self.since = now;
        let counts = counts.since(std::mem::replace(&mut self.before, counts));
        Some(VitalsEvent {
            seconds: passed.as_secs(),
            counts,
            stages: stages.take_recent(),
            faces_told: self.faces_told,
            cpu_celsius: machine::cpu_celsius(),
            throttled: machine::throttled(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kiosk::stages::Stage;

    #[test]
    fn each_period_tells_only_of_itself() {
        let (start, mut stages) = (Instant::now(), Stages::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut vitals = Vitals::new(Some(Duration::from_secs(60)), true, start);
        let counts = Counts { frames: 600, still: 500, faces: 7, ..Counts::default() };
        stages.add(Stage::Detect, Duration::from_millis(10));
        assert_eq!(vitals.take(at(59), counts, &mut stages), None);
        let first = vitals.take(at(61), counts, &mut stages).unwrap();
        assert_eq!((first.seconds, first.counts), (61, counts));
        let [decode, detect, ..] = first.stages;
        assert_eq!((decode.frames, detect.frames, detect.p50_ms), (0, 1, 10.0));

        let counts = Counts { frames: 1000, still: 500, broken: 2, late: 1, ..counts };
        assert_eq!(vitals.take(at(120), counts, &mut stages), None, "59 s after the first");
        let second = vitals.take(at(121), counts, &mut stages).unwrap();
        let expected = Counts { frames: 400, broken: 2, late: 1, ..Counts::default() };
        assert_eq!((second.counts, second.stages[1].frames), (expected, 0));
    }

    #[test]
    fn without_a_period_nothing_is_told() {
        let now = Instant::now();
        let told = Vitals::new(None, true, now).take(
            now + Duration::from_secs(1 << 20),
            Counts::default(),
            &mut Stages::default(),
        );
        assert_eq!(told, None);
    }
}
