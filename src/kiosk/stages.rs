//! How long each stage of a frame takes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

/// Latest durations kept per stage for the percentiles: some minutes of a camera, 32 KiB.
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
    stages: [Durations; Stage::ALL.len()],
}

#[derive(Debug, Default)]
struct Durations {
    count: u64,
    total: Duration,
    latest: VecDeque<f32>,
}

impl Stages {
    /// Notes that a frame spent `took` in `stage`.
    pub fn add(&mut self, stage: Stage, took: Duration) {
        let durations = &mut self.stages[stage as usize];
        durations.count += 1;
        durations.total += took;
        if durations.latest.len() == KEPT {
            durations.latest.pop_front();
        }
        durations.latest.push_back(took.as_secs_f32() * 1e3);
    }

    /// Runs `work` and notes its time under `stage`.
    pub fn time<T>(&mut self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add(stage, start.elapsed());
        result
    }

    /// Mean and percentiles of each stage, in a frame's order; zeros where no frame came.
    pub fn times(&self) -> [StageTime; Stage::ALL.len()] {
        Stage::ALL.map(|stage| {
            let durations = &self.stages[stage as usize];
            let mut sorted: Vec<f32> = durations.latest.iter().copied().collect();
            sorted.sort_by(f32::total_cmp);
            StageTime {
                stage,
                frames: durations.count,
                mean_ms: durations.total.as_secs_f64() * 1e3 / durations.count.max(1) as f64,
                p50_ms: nearest_rank(&sorted, 0.50),
                p95_ms: nearest_rank(&sorted, 0.95),
            }
        })
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
        let crop = &stages.stages[Stage::Crop as usize];
        assert_eq!((crop.count, crop.latest.len()), (2 * KEPT as u64, KEPT));
    }
}
