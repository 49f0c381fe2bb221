//! What a kiosk tells of itself, once in a while.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::kiosk::controls::Health;
use crate::kiosk::machine;

/// Turns a kiosk's state into a message.
#[derive(Debug)]
pub struct Metrics {
    started: Instant,
    /// When it was told last, and the frames read until then.
    last: (Instant, u64),
    frames_per_s: f64,
}

impl Metrics {
    /// Of a kiosk that starts now.
    pub fn new() -> Self {
        let now = Instant::now();
        Self { started: now, last: (now, 0), frames_per_s: 0.0 }
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

    #[test]
    fn a_lost_camera_is_a_problem() {
        let mut metrics = Metrics::new();
        let lost = Health { camera_lost: true, frames: 3, ..Health::default() };
        let payload = metrics.payload(&lost, 5);
        assert_eq!((&payload["problem"], &payload["frames"]), (&true.into(), &3.into()));
        assert_eq!(payload["backlog"], 5);
        assert_eq!(metrics.payload(&Health::default(), 0)["problem"], false);
    }
}
