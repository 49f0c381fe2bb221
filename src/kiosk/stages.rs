//! How long each stage of a frame takes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

/// Latest durations kept per stage for the percentiles: some minutes of a camera, 16 KiB.
const KEPT: usize = 4096;

/// A frame's way, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The source's bytes to a grey frame.
    Decode,
    /// Frame to face boxes.
    Detect,
    /// Boxes to crops, all faces of a frame.
    Crop,
    /// Crops to shares, all faces of a frame.
    Classify,
    /// Tracking, events, LEDs and journal.
    Report,
}

impl Stage {
    /// All, in a frame's order.
    pub const ALL: [Stage; 5] =
        [Stage::Decode, Stage::Detect, Stage::Crop, Stage::Classify, Stage::Report];

    /// Whether how long it takes tells how many faces there were.
    pub fn tells_of_faces(self) -> bool {
        matches!(self, Stage::Crop | Stage::Classify)
    }

    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Decode => "decode",
            Stage::Detect => "detect",
            Stage::Crop => "crop",
            Stage::Classify => "classify",
            Stage::Report => "report",
        }
    }
}

/// What one stage took, per frame that went through it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StageTime {
    /// Which stage.
    pub stage: Stage,
    /// Frames that went through it.
    pub frames: u64,
    /// Mean over all of them, ms.
    pub mean_ms: f64,
    /// Median of the latest 4096, ms.
    pub p50_ms: f64,
    /// 95th percentile of the latest 4096, ms.
    pub p95_ms: f64,
}

/// Collects durations by stage in constant memory.
#[derive(Debug, Default)]
pub struct Stages {
    all: Durations,
    /// Since they were last taken.
    recent: Durations,
}

type Durations = [StageDurations; Stage::ALL.len()];

#[derive(Debug, Default)]
struct StageDurations {
    count: u64,
    total: Duration,
    latest: VecDeque<f32>,
}

impl Stages {
    /// Notes that a frame spent `took` in `stage`.
    pub fn add(&mut self, stage: Stage, took: Duration) {
        for durations in [&mut self.all, &mut self.recent] {
            durations[stage as usize].add(took);
        }
    }

    /// Mean and percentiles of each stage, in a frame's order; zeros where no frame came.
    pub fn times(&self) -> [StageTime; Stage::ALL.len()] {
        times(&self.all)
    }

    /// The same of what came since this was last called.
    pub fn take_recent(&mut self) -> [StageTime; Stage::ALL.len()] {
        times(&std::mem::take(&mut self.recent))
    }
}

/// Runs `work` and notes what it took.
pub(super) fn timed<T>(
    stage: Stage,
    note: &mut dyn FnMut(Stage, Duration),
    work: impl FnOnce() -> T,
) -> T {
    let start = Instant::now();
    let result = work();
    note(stage, start.elapsed());
    result
}

fn times(durations: &Durations) -> [StageTime; Stage::ALL.len()] {
    Stage::ALL.map(|stage| durations[stage as usize].time(stage))
}

impl StageDurations {
    fn add(&mut self, took: Duration) {
        self.count += 1;
        self.total += took;
        if self.latest.len() == KEPT {
            self.latest.pop_front();
        }
        self.latest.push_back(took.as_secs_f32() * 1e3);
    }

    fn time(&self, stage: Stage) -> StageTime {
        let mut sorted: Vec<f32> = self.latest.iter().copied().collect();
        sorted.sort_by(f32::total_cmp);
        StageTime {
            stage,
            frames: self.count,
            mean_ms: self.total.as_secs_f64() * 1e3 / self.count.max(1) as f64,
            p50_ms: nearest_rank(&sorted, 0.50),
            p95_ms: nearest_rank(&sorted, 0.95),
        }
    }
}

/// The smallest value that at least `share` of all values don't exceed; 0 for none.
fn nearest_rank(sorted: &[f32], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().map_or(0.0, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks_of_the_latest_durations() {
        let mut stages = Stages::default();
        for ms in (1..=100).rev() {
            stages.add(Stage::Detect, Duration::from_millis(ms));
        }
        let [decode, detect, ..] = stages.times();
        assert_eq!((decode.frames, decode.mean_ms, decode.p95_ms), (0, 0.0, 0.0));
        assert_eq!((detect.frames, detect.p50_ms, detect.p95_ms), (100, 50.0, 95.0));
        assert!((detect.mean_ms - 50.5).abs() < 1e-9);
    }

    #[test]
    fn memory_stays_bounded() {
        let mut stages = Stages::default();
        for _ in 0..2 * KEPT {
            stages.add(Stage::Crop, Duration::from_millis(1));
        }
        for durations in [&stages.all, &stages.recent] {
            let crop = &durations[Stage::Crop as usize];
            assert_eq!((crop.count, crop.latest.len()), (2 * KEPT as u64, KEPT));
        }
    }

    #[test]
    fn what_was_taken_is_not_told_again() {
        let mut stages = Stages::default();
        stages.add(Stage::Detect, Duration::from_millis(10));
        assert_eq!(stages.take_recent()[1].p95_ms, 10.0);
        stages.add(Stage::Detect, Duration::from_millis(2));
        let [_, recent, ..] = stages.take_recent();
        assert_eq!((recent.frames, recent.p95_ms), (1, 2.0));
        let [_, all, ..] = stages.times();
        assert_eq!((all.frames, all.p95_ms), (2, 10.0));
    }
}
