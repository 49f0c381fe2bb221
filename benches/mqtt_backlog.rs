//! How fast a backlog drains to a broker on this machine, and what that costs live frames.
//!
//! `cargo run --release --features mqtt --example mqtt_backlog -- PORT [RECORDS]`, with mosquitto
//! (`mosquitto -p PORT`) already there. Frames are read from the bundled clip at a camera's rate, in turn
//! alone and while a backlog drains; their times are compared by stage.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mien::camera::replay::Replay;
use mien::camera::{Camera, CameraError, Frame};
use mien::classifier::Classifier;
use mien::config::Config;
use mien::engine::Model;
use mien::face::tracker::Tracker;
use mien::kiosk::controls::Controls;
use mien::kiosk::mailbox::Mailbox;
use mien::kiosk::stages::StageTime;
use mien::kiosk::still::StillOptions;
use mien::kiosk::{self, Options};
use mien::report::journal::{Journal, JournalOptions, Run};
use mien::report::leds::{Backend, LedOptions, Leds};
use mien::report::mqtt::options::MqttOptions;
use mien::report::mqtt::{Forwarder, Setup};
use serde_json::json;

const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo.mjpeg");
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/mien-slim.tflite");

/// Each measures frames alone and beside a backlog.
const ROUNDS: u32 = 3;
/// How long frames are timed alone.
const ALONE: Duration = Duration::from_secs(10);
/// More than a backlog may take.
const LONGEST: Duration = Duration::from_secs(300);

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let port = args.next().context("which port does the broker listen on?")?.parse()?;
    let records = args.next().map_or(Ok(100_000), |records| records.parse())?;
    let dir = tempfile::tempdir()?;

    // In turn, so that whatever else the machine does falls on both.
    for round in 1..=ROUNDS {
        let stop = AtomicBool::new(false);
        let alone = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(ALONE);
                stop.store(true, Ordering::Relaxed);
            });
            watch(dir.path(), &stop)
        })?;
        println!("round {round}, frames alone:");
        print(&alone);

        let backlog = dir.path().join(format!("backlog-{round}"));
        fill(&backlog, records)?;
        let stop = AtomicBool::new(false);
        let (beside, drained_s) = thread::scope(|scope| {
            let draining = scope.spawn(|| {
                let drained_s = drain(&backlog, port, records);
                stop.store(true, Ordering::Relaxed);
                drained_s
            });
            let beside = watch(dir.path(), &stop);
            (beside, draining.join().expect("it does not panic"))
        });
        let per_s = records as f64 / drained_s?;
        println!("round {round}, frames while a backlog drains, {per_s:.0} records a second:");
        print(&beside?);
    }
    Ok(())
}

/// A journal as a room of faces leaves it.
fn fill(dir: &Path, records: u64) -> anyhow::Result<()> {
    let (mut journal, _) = Journal::open(dir, JournalOptions::default())?;
    for i in 0..records {
        let payload = json!({
            "state": "changed", "expression": "happy", "share": 0.87, "gender": "male",
            "gender_share": 0.69, "box": [100, 80, 96, 96], "time_s": i as f64 / 10.0,
        });
        journal.append(&format!("mien/bench/face/{}", i % 7), &payload)?;
    }
    Ok(())
}

/// Seconds until the broker has acknowledged all.
fn drain(dir: &Path, port: u16, records: u64) -> anyhow::Result<f64> {
    let start = Instant::now();
    let forwarder = Forwarder::start(Setup {
        device: "bench".into(),
        options: MqttOptions { port: Some(port), ..MqttOptions::default() },
        journal_dir: dir.into(),
        run: Run { first: records, since: Instant::now() },
        journal_sync_period: Duration::ZERO,
        gender: true,
        only_rooms_of_at_least: None,
        controls: Arc::new(Controls::default()),
        obey: Box::new(|_| Ok(())),
    })?;
    while forwarder.acked() < records {
        ensure!(start.elapsed() < LONGEST, "the backlog does not drain");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Watches the clip at a camera's rate, every frame searched, until `stop` is set.
fn watch(dir: &Path, stop: &AtomicBool) -> anyhow::Result<Vec<StageTime>> {
    let config = Config::default();
    let classifier = Classifier::new(Model::read(Path::new(MODEL))?);
    let camera = Looped { replay: Replay::open(Path::new(CLIP), config.camera.fps)?, frames: 0 };
    let (mut journal, _) = Journal::open(&dir.join("live"), JournalOptions::default())?;
    let mut leds = Leds::open(&LedOptions { backend: Backend::None, ..config.leds })?;
    let options = Options {
        night: Default::default(),
        detector: config.detector,
        only_rooms_of_at_least: None,
        vitals_period_s: 0,
        device: "bench".into(),
        source: CLIP.into(),
        model: MODEL.into(),
        deployment: None,
        room_period_s: config.room_period_s,
        still: StillOptions { max_change: 0.0, ..config.still },
        on_event: |_| (),
        controls: Arc::default(),
    };
    let tracker = Tracker::new(config.tracker, 0.5);
    let source = Mailbox::paced(camera);
    let summary = kiosk::run(source, classifier, tracker, &mut leds, &mut journal, &options, stop)?;
    println!("  {} frames, {} dropped late", summary.counts.frames, summary.counts.late);
    Ok(summary.stages)
}

fn print(stages: &[StageTime]) {
    for StageTime { stage, mean_ms, p50_ms, p95_ms, .. } in stages {
        let name = stage.name();
        println!("  {name:<9} mean {mean_ms:7.3} ms  p50 {p50_ms:7.3} ms  p95 {p95_ms:7.3} ms");
    }
}

/// The clip without end.
struct Looped {
    replay: Replay,
    frames: u64,
}

impl Camera for Looped {
    fn next_frame(&mut self) -> Result<Option<Frame>, CameraError> {
        let fps = Config::default().camera.fps;
        let frame = match self.replay.next_frame()? {
            Some(frame) => Some(frame),
            None => {
                self.replay = Replay::open(Path::new(CLIP), fps)?;
                self.replay.next_frame()?
            }
        };
        Ok(frame.map(|frame| {
            self.frames += 1;
            let time = Duration::from_secs_f64(self.frames as f64 / f64::from(fps));
            Frame { sequence: self.frames, time, ..frame }
        }))
    }
}
