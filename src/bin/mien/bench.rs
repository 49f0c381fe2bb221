//! `mien bench`: what each stage of a frame takes.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use anyhow::Context;
use mien::camera::replay::Replay;
use mien::camera::{Camera, CameraError, Frame};
use mien::config::Config;
use mien::face::tracker::Tracker;
use mien::kiosk::mailbox::Mailbox;
use mien::kiosk::still::StillOptions;
use mien::kiosk::vitals::Counts;
use mien::kiosk::{self, Options, Summary};
use mien::report::journal::Journal;
use mien::report::leds::{Backend, LedOptions, Leds};
use serde_json::{Map, Value, json};

use crate::args::BenchArgs;
use crate::{bundled, parts, watch};

/// Runs the main loop over a source with every frame looked at, its journal in a temporary
/// directory and its LEDs nowhere.
pub fn bench(args: &BenchArgs, model: Option<&Path>) -> anyhow::Result<()> {
    let config = Config::default();
    let stop = parts::stop_flag()?;
    let reader = parts::reader(model, true)?;
    let open = opener(args.source.clone(), config.camera.fps);
    let name = match &args.source {
        Some(path) => path.to_string_lossy().into_owned(),
        None => bundled::CLIP_NAME.to_owned(),
    };
    let camera = Repeated::new(open, args.repeat)?;
    let options = Options {
        device: config.device,
        source: name,
        model: reader.model,
        deployment: None,
        room_period_s: config.room_period_s,
        detector: config.detector,
        still: StillOptions { max_change: 0.0, ..config.still },
        night: config.night,
        only_rooms_of_at_least: None,
        vitals_period_s: 0,
        on_event: |_| (),
        controls: Default::default(),
    };
    let directory = TemporaryDirectory::new()?;
    let (mut journal, _) = Journal::open(&directory.0, config.journal.options())?;
    let summary = kiosk::run(
        Mailbox::recording(camera),
        reader.classifier,
        Tracker::new(config.tracker, reader.unsure_below),
        &mut Leds::open(&LedOptions { backend: Backend::None, ..config.leds })?,
        &mut journal,
        &options,
        &stop,
    )?;
    let text = if args.json {
        format!("{}\n", report(&options, &summary))
    } else {
        let Summary { counts: Counts { frames, faces, .. }, elapsed_s, .. } = summary;
        let table = watch::table(&summary.stages);
        format!("{table}\n{frames} frames with {faces} faces in {elapsed_s:.2} s\n")
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn report(options: &Options, summary: &Summary) -> Value {
    let stages: Map<String, Value> = summary
        .stages
        .iter()
        .map(|time| {
            let took = json!({
                "frames": time.frames,
                "mean_ms": time.mean_ms,
                "p50_ms": time.p50_ms,
                "p95_ms": time.p95_ms,
            });
            (time.stage.name().to_owned(), took)
        })
        .collect();
    json!({
        "source": options.source,
        "model": options.model,
        "frames": summary.counts.frames,
        "faces": summary.counts.faces,
        "elapsed_s": summary.elapsed_s,
        "stages": stages,
    })
}

type Opener = Box<dyn FnMut() -> Result<Replay, CameraError> + Send>;

fn opener(source: Option<PathBuf>, fps: f32) -> Opener {
    match source {
        Some(path) => Box::new(move || Replay::open(&path, fps)),
        None => Box::new(|| Ok(bundled::clip(bundled::CLIP_FPS))),
    }
}

/// A replay that starts again, its time and sequence going on.
struct Repeated {
    open: Opener,
    replay: Replay,
    rounds_left: u32,
    /// Time and sequence at which this round began.
    began: (Duration, u64),
    /// Time and sequence at which the next would begin.
    next: (Duration, u64),
}

impl Repeated {
    fn new(mut open: Opener, rounds: u32) -> Result<Self, CameraError> {
        let replay = open()?;
        let start = (Duration::ZERO, 0);
        Ok(Self { open, replay, rounds_left: rounds - 1, began: start, next: start })
    }
}

impl Camera for Repeated {
    fn next_frame(&mut self) -> Result<Option<Frame>, CameraError> {
        loop {
            if let Some(mut frame) = self.replay.next_frame()? {
                frame.time += self.began.0;
                frame.sequence += self.began.1;
                self.next = (frame.time, frame.sequence + 1);
                return Ok(Some(frame));
            }
            if self.rounds_left == 0 {
                return Ok(None);
            }
            self.rounds_left -= 1;
            self.replay = (self.open)()?;
            self.began = self.next;
        }
    }
}

/// Removed with all in it when dropped.
struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("mien-bench-{}", process::id()));
        fs::create_dir(&path)
            .with_context(|| format!("can't make {}; set TMPDIR", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("can't remove {}: {error}", self.0.display());
            }
            _ => {}
        }
    }
}
