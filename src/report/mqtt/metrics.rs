//! What a kiosk tells of itself, once in a while.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::kiosk::controls::Health;
use crate::kiosk::machine;

/// Turns a kiosk's state into a message.
#[derive(Debug)]
pub struct Metrics {
    started: Instant,
    /// Whether anything is told of how many faces there were: crops and classification take longer of
    /// more.
    faces_told: bool,
    /// When it was told last, and the frames read until then.
    last: (Instant, u64),
    frames_per_s: f64,
}

impl Metrics {
    /// Of a kiosk that starts now.
    pub fn new(faces_told: bool) -> Self {
        let now = Instant::now();
        Self { started: now, faces_told, last: (now, 0), frames_per_s: 0.0 }
    }

    /// The payload; `backlog` is how many records the broker has not acknowledged.
    pub fn payload(&mut self, health: &Health, backlog: u64) -> Value {
        let since = self.last.0.elapsed();
        // A shorter time would make the rate jump.
        if since >= Duration::from_secs(1) {
            let frames = health.frames.saturating_sub(self.last.1);
            self.frames_per_s = frames as f64 / since.as_secs_f64();
            self.last = (Instant::now(), health.frames);
        }
        let stages: Map<String, Value> = health
            .stages
            .iter()
            .filter(|time| self.faces_told || !time.stage.tells_of_faces())
            .map(|stage| {
                let times = json!({ "p50_ms": round(stage.p50_ms), "p95_ms": round(stage.p95_ms) });
                (stage.stage.name().to_owned(), times)
            })
            .collect();
        json!({
            "uptime_s": self.started.elapsed().as_secs(),
            "frames": health.frames,
            "fps": round(self.frames_per_s),
            "stages": stages,
            "records": health.records,
            "backlog": backlog,
            "cpu_celsius": machine::cpu_celsius(),
            "paused": health.paused,
            "problem": health.has_problem(),
            "camera_lost": health.camera_lost,
            "journal_failing": health.journal_failing,
        })
    }
}

/// To thousandths.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kiosk::stages::Stages;

    #[test]
    fn a_lost_camera_is_a_problem() {
        let mut metrics = Metrics::new(true);
        let lost = Health { camera_lost: true, frames: 3, ..Health::default() };
        let payload = metrics.payload(&lost, 5);
        assert_eq!((&payload["problem"], &payload["frames"]), (&true.into(), &3.into()));
        assert_eq!(payload["backlog"], 5);
        assert_eq!(metrics.payload(&Health::default(), 0)["problem"], false);
    }

    #[test]
    fn where_nothing_is_told_of_faces_the_stages_keep_silent_too() {
        let stages = Stages::default().times().to_vec();
        let health = Health { stages, ..Health::default() };
        let told = |faces| Metrics::new(faces).payload(&health, 0)["stages"].clone();
        let names = |stages: Value| -> Vec<String> {
            stages.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(names(told(true)), ["decode", "detect", "crop", "classify", "report"]);
        assert_eq!(names(told(false)), ["decode", "detect", "report"]);
    }
}
