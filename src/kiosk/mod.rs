//! The main loop: a source's frames → faces → tracks → LEDs and journal.
//!
//! - [`mailbox`] captures in a thread, so that the newest frame wins when the CPU is late.
//! - [`finder`] finds the faces in a second thread, while the main loop reads those of the frame before
//!   (both by [`reader`]); [`still`] spares it frames that show no change, [`night`] those that show nothing.
//! - `condition` is what it is about, which its LEDs and its `supervisor` (systemd) are told.
//! - [`controls`] is how other threads pause, test and ask it.
//! - [`teller`] picks the changes worth telling, [`room`] is what the room shows on the whole;
//!   [`discretion`] keeps back what is of too few faces; [`trouble`] tells failures without flooding.
//! - [`stages`] keeps the time that each stage took; [`vitals`] sums up each minute with it, and with
//!   what [`machine`] tells.
//!
//! Time is the frames' own ([`Frame::time`]), so a replay gives the same events on any machine.

mod condition;
pub mod controls;
mod discretion;
pub mod finder;
pub mod machine;
pub mod mailbox;
pub mod night;
pub mod reader;
mod reporter;
mod room;
pub mod stages;
pub mod still;
mod supervisor;
mod teller;
pub(crate) mod trouble;
pub mod vitals;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::camera::CameraError;
use crate::classifier::Classifier;
use crate::cores::Cores;
use crate::deployment::Deployment;
use crate::engine::ModelError;
use crate::face::detector::{DetectorError, DetectorOptions};
use crate::face::tracker::{Track, Tracker};
use crate::report::event::{Event, StatusEvent};
use crate::report::journal::Journal;
use crate::report::leds::Leds;

use condition::Condition;
use controls::Controls;
use discretion::Discretion;
use finder::{Ask, Finder, FinderOptions, Found, Look};
use mailbox::{Arrival, Mailbox};
use night::NightOptions;
use reporter::Reporter;
use stages::{Stage, StageTime, Stages};
use still::StillOptions;
use supervisor::Supervisor;
use teller::Teller;
use trouble::BrokenFrames;
use vitals::{Counts, Vitals};

/// A paused recording looks at the stop flag so often.
const PATIENCE: Duration = Duration::from_millis(100);
/// A live source silent for longer shows no faces: its last frame is no longer true.
const STALE: Duration = Duration::from_secs(2);
/// Why a run ends that is begun anew.
const NEW_CONFIGURATION: &str = "new configuration";

/// What a run is told besides its parts.
#[derive(Clone, Debug)]
pub struct Options {
    /// This kiosk's name in topics.
    pub device: String,
    /// Name of the source, for the journal.
    pub source: String,
    /// Name of the model, for the journal.
    pub model: String,
    /// What is stated of its use, for the journal.
    pub deployment: Option<Deployment>,
    /// Least time between two summaries of the room, s.
    pub room_period_s: f32,
    /// What the detector finds.
    pub detector: DetectorOptions,
    /// When a frame counts as still.
    pub still: StillOptions,
    /// When it is night.
    pub night: NightOptions,
    /// Nothing of single faces is told, and the room only while it has at least so many; none: all
    /// is told.
    pub only_rooms_of_at_least: Option<u32>,
    /// What the kiosk does is summed up in the journal so often; 0: never. Seconds.
    pub vitals_period_s: u32,
    /// Called with what the faces do, if it is journaled.
    pub on_event: fn(&Event),
    /// By which other threads pause and ask it.
    pub controls: Arc<Controls>,
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Frames and faces.
    #[serde(flatten)]
    pub counts: Counts,
    /// Different faces followed.
    pub tracks: u64,
    /// Records written to the journal.
    pub records: u64,
    /// From the first frame's request to the end, s.
    pub elapsed_s: f64,
    /// What each stage took.
    pub stages: Vec<StageTime>,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum KioskError {
    /// The source failed for good.
    #[error(transparent)]
    Camera(#[from] CameraError),
    /// There is no detector.
    #[error(transparent)]
    Detector(#[from] DetectorError),
    /// The network refused a crop.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Reads `source` to its end, or until `stop` is set, and tells what it sees by `leds` and
/// `journal`. At its end, good or bad, the LEDs are off and the journal is synced.
///
/// A failing LED or journal is warned about and the run goes on; a broken frame is skipped.
pub fn run(
    source: Mailbox,
    classifier: Classifier,
    tracker: Tracker,
    leds: &mut Leds,
    journal: &mut Journal,
    options: &Options,
    stop: &AtomicBool,
) -> Result<Summary, KioskError> {
    let start = Instant::now();
    let vitals_period = match options.vitals_period_s {
        0 => None,
        seconds => Some(Duration::from_secs(seconds.into())),
    };
    // A recording is there; a camera may take seconds, or be unplugged.
    let started = source.is_recording();
    let finder_options = FinderOptions {
        detector: options.detector,
        side: classifier.side(),
        still: options.still.clone(),
        night: options.night.clone(),
    };
    let mut finder = Finder::start(source, finder_options)?;
    let mut kiosk = Kiosk {
        classifier,
        tracker,
        cores: Cores::available(),
        afresh: false,
        is_night: false,
        teller: Teller::new(
            Duration::from_secs_f32(options.room_period_s),
            options.only_rooms_of_at_least.unwrap_or_default() as usize,
        ),
        now: Duration::ZERO,
        last_frame: Duration::ZERO,
        started,
        camera_lost: None,
        supervisor: Supervisor::from_environment(),
        reporter: Reporter::new(&options.device, leds, journal, &options.controls),
        controls: &options.controls,
        paused: false,
        on_event: options.on_event,
        discretion: Discretion::new(options.only_rooms_of_at_least),
        stages: Stages::default(),
        vitals: Vitals::new(vitals_period, options.only_rooms_of_at_least.is_none(), start),
        summary: Summary::default(),
        broken: BrokenFrames::default(),
    };
    kiosk.reporter.append(&Event::Status(StatusEvent::Started {
        version: env!("CARGO_PKG_VERSION"),
        source: options.source.clone(),
        model: options.model.clone(),
        deployment: options.deployment.clone(),
    }));
    let ended = kiosk.watch(&mut finder, stop);
    // Before the threads end, which may take as long as a camera that hangs is waited for.
    kiosk.finish(ended.as_ref().copied().unwrap_or("failure"));
    ended?;
    Ok(Summary {
        counts: kiosk.counts(),
        records: kiosk.reporter.records,
        elapsed_s: start.elapsed().as_secs_f64(),
        stages: kiosk.stages.times().to_vec(),
        ..kiosk.summary
    })
}

struct Kiosk<'a> {
    classifier: Classifier,
    tracker: Tracker,
    cores: Cores,
    /// What was seen before says nothing of what is there now: the next frame is a new one.
    afresh: bool,
    is_night: bool,
    teller: Teller,
    /// The source's time; never goes back.
    now: Duration,
    /// When the last frame came.
    last_frame: Duration,
    /// The source has brought something, good or bad.
    started: bool,
    /// Why it gives no frames.
    camera_lost: Option<String>,
    supervisor: Supervisor,
    reporter: Reporter<'a>,
    controls: &'a Controls,
    paused: bool,
    on_event: fn(&Event),
    discretion: Discretion,
    stages: Stages,
    vitals: Vitals,
    summary: Summary,
    broken: BrokenFrames,
}

impl Kiosk<'_> {
    /// Handles what the source brings; why it ended.
    fn watch(
        &mut self,
        finder: &mut Finder,
        stop: &AtomicBool,
    ) -> Result<&'static str, KioskError> {
        while !stop.load(Ordering::Relaxed) {
            if self.controls.is_restarting() {
                return Ok(NEW_CONFIGURATION);
            }
            self.obey();
            self.tell_vitals();
            let condition = self.condition();
            self.reporter.keep_up(condition);
            self.supervisor.keep_up(condition, self.reporter.is_failing());
            if self.paused && finder.is_recording() {
                // A recording waits.
                thread::sleep(PATIENCE);
                self.supervisor.progress();
                continue;
            }
            self.ask(finder);
            let Some(arrival) = finder.answer() else { continue };
            match arrival {
                Arrival::Nothing => {
                    self.silence(finder);
                    continue;
                }
                Arrival::Broken { count, latest } => {
                    self.broken.note(count, &latest);
                    self.silence(finder);
                    self.started = true;
                    continue;
                }
                Arrival::Frame { frame: found, late } => {
                    self.summary.counts.late += late;
                    self.camera_works();
                    if !self.paused {
                        self.frame(found, finder)?;
                    }
                }
                Arrival::Lost(error) => self.lost(&error),
                Arrival::End(None) => {
                    if self.paused {
                        return Ok("end of source");
                    }
                    // Who was found in the last frame only is told too: it may be the only one.
                    self.report(Tracker::hold);
                    return Ok("end of source");
                }
                Arrival::End(Some(error)) => return Err(error.into()),
            }
            self.started = true;
            self.supervisor.progress();
        }
        Ok("signal")
    }

    /// Asks for the next frame, unless that was done already. Who is paused looks away.
    fn ask(&mut self, finder: &mut Finder) {
        finder.ask(|| Ask { look: !self.paused, afresh: std::mem::take(&mut self.afresh) });
    }

    fn condition(&self) -> Condition {
        match () {
            () if self.paused => Condition::Paused,
            () if self.camera_lost.is_some() => Condition::CameraLost,
            () if !self.started => Condition::Starting,
            () if self.is_night => Condition::Night,
            () => Condition::Watching,
        }
    }

    /// Does what other threads ask.
    fn obey(&mut self) {
        if self.controls.take_led_test() {
            self.reporter.test_leds();
        }
        if self.controls.take_stage_times() {
            let stages = self.stages.times().to_vec();
            self.controls.update(|health| health.stages = stages);
        }
        let paused = self.controls.is_paused();
        if std::mem::replace(&mut self.paused, paused) != paused {
            self.controls.update(|health| health.paused = paused);
            if paused {
                self.everyone_left();
                // Who comes after is not who was there before.
                self.tracker.clear();
                self.reporter.show(&[]);
            } else {
                self.afresh = true;
            }
            let status = if paused { StatusEvent::Paused } else { StatusEvent::Resumed };
            self.reporter.append(&Event::Status(status));
            log::info!("{}", if paused { "paused" } else { "watching again" });
        }
    }

    /// Sums the last period up, if it is over.
    fn tell_vitals(&mut self) {
        let counts = self.counts();
        if let Some(vitals) = self.vitals.take(Instant::now(), counts, &mut self.stages) {
            self.reporter.append(&Event::Vitals(vitals));
        }
    }

    fn counts(&self) -> Counts {
        Counts { broken: self.broken.count, ..self.summary.counts }
    }

    fn everyone_left(&mut self) {
        let mut events = self.teller.everyone_left(self.now);
        self.discretion.apply(&mut events);
        for event in events {
            (self.on_event)(&event);
            self.reporter.append(&event);
        }
    }

    fn frame(&mut self, found: Found, finder: &mut Finder) -> Result<(), ModelError> {
        self.summary.counts.frames += 1;
        for (stage, took) in found.took {
            self.stages.add(stage, took);
        }
        self.now = self.now.max(found.time);
        let frames = self.summary.counts.frames;
        if frames == 1 {
            log::info!("the first frame came");
        }
        self.controls.update(|health| health.frames = frames);
        self.last_frame = self.now;
        if !matches!(found.look, Look::Away) {
            self.darkness(matches!(found.look, Look::Night));
        }
        match found.look {
            Look::Night => {
                self.summary.counts.dark += 1;
                self.report(|tracker, now| tracker.update(now, &[]));
            }
            // Asked while it was paused.
            Look::Away => {}
            Look::Still => {
                self.summary.counts.still += 1;
                self.report(Tracker::hold);
            }
            Look::Faces(faces) => {
                if self.cores.find_beside(faces.len()) {
                    self.ask(finder);
                }
                let mut note = |stage, took| self.stages.add(stage, took);
                let read = reader::read(&self.classifier, faces, &mut note)?;
                self.summary.counts.faces += read.len() as u64;
                self.report(|tracker, now| tracker.update(now, &read));
            }
        }
        Ok(())
    }

    fn camera_works(&mut self) {
        if self.camera_lost.take().is_some() {
            log::info!("the camera gives frames again");
            self.controls.update(|health| health.camera_lost = false);
            self.reporter.append(&Event::Status(StatusEvent::CameraBack));
        }
    }

    /// Tells when the night comes or goes.
    fn darkness(&mut self, is_night: bool) {
        if std::mem::replace(&mut self.is_night, is_night) != is_night {
            let event = if is_night { StatusEvent::Night } else { StatusEvent::Day };
            self.reporter.append(&Event::Status(event));
        }
    }

    /// Tells once that the camera is lost, and of each try only what is new.
    fn lost(&mut self, error: &CameraError) {
        let why = error.to_string();
        let before = self.camera_lost.replace(why.clone());
        if before.as_ref() != Some(&why) {
            log::warn!("{why}; opening it again until it is there");
        }
        if before.is_none() {
            self.controls.update(|health| health.camera_lost = true);
            self.reporter.append(&Event::Status(StatusEvent::CameraLost { why }));
        }
    }

    /// No frame of a camera: after [`STALE`], as if frames without faces came.
    fn silence(&mut self, finder: &Finder) {
        let elapsed = finder.elapsed();
        let is_stale = elapsed.saturating_sub(self.last_frame) > STALE;
        if is_stale && !self.paused && !finder.is_recording() {
            self.now = self.now.max(elapsed);
            self.afresh = true;
            self.report(|tracker, now| tracker.update(now, &[]));
        }
    }

    /// Follows the faces and tells what changed.
    fn report(&mut self, follow: impl FnOnce(&mut Tracker, Duration) -> &[Track]) {
        let start = Instant::now();
        let tracks = follow(&mut self.tracker, self.now);
        let mut events = self.teller.tell(self.now, tracks);
        self.summary.tracks += events.iter().filter(|event| event.is_appearance()).count() as u64;
        self.discretion.apply(&mut events);
        // Before the LEDs, whose drawing keeps to the terminal's last line.
        events.iter().for_each(self.on_event);
        self.reporter.show(tracks);
        for event in &events {
            self.reporter.append(event);
        }
        self.stages.add(Stage::Report, start.elapsed());
    }

    /// All faces leave, the LEDs go off, the journal is synced.
    fn finish(&mut self, why: &'static str) {
        if why != NEW_CONFIGURATION {
            self.supervisor.stopping();
        }
        self.everyone_left();
        let frames = self.summary.counts.frames;
        self.reporter.append(&Event::Status(StatusEvent::Stopped { why, frames }));
        self.reporter.close();
    }
}
