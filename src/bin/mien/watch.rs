//! `mien` and `mien run`: watch a source.

use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use mien::button::Button;
use mien::camera::devices;
use mien::camera::replay::Replay;
use mien::camera::view::View;
use mien::config::{Config, ConfigError, JournalConfig};
use mien::deployment::Deployment;
use mien::expression::{Expression, UNSURE};
use mien::face::tracker::Tracker;
use mien::kiosk::controls::Controls;
use mien::kiosk::mailbox::Mailbox;
use mien::kiosk::stages::StageTime;
use mien::kiosk::vitals::Counts;
use mien::kiosk::{self, Options, Summary};
use mien::report::event::{Event, FaceChange, FaceEvent};
use mien::report::journal::{Journal, Recovery};
use mien::report::leds::Leds;

use crate::args::RunArgs;
use crate::update::{self, Updated};
use crate::{bundled, forward, live, parts};

/// Watches the bundled clip.
pub fn demo(model: Option<&Path>) -> anyhow::Result<()> {
    let config = Config::default();
    writeln!(io::stdout(), "Watching the bundled clip; `mien --help` tells what else there is.")?;
    let clip = Mailbox::recording(bundled::clip(bundled::CLIP_FPS));
    let stop = parts::stop_flag()?;
    let updated = Updated::choose(&config, model);
    watch(&config, bundled::CLIP_NAME, clip, &updated, &Reload::default(), &stop)
}

/// What `--source` names.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum SourceKind {
    /// Also one that is unplugged.
    Camera,
    /// Whatever happens now may come out of it.
    Pipe,
    /// A file or a folder.
    #[default]
    Recording,
}

impl SourceKind {
    /// By the name, and by what is there.
    pub fn of(path: &Path) -> Self {
        match path.metadata() {
            _ if path.to_string_lossy().starts_with(devices::USB) => Self::Camera,
            Ok(metadata) if metadata.file_type().is_char_device() => Self::Camera,
            Ok(metadata) if metadata.is_file() || metadata.is_dir() => Self::Recording,
            Ok(_) => Self::Pipe,
            // What is missing there is not plugged in, whatever name udev would give it.
            Err(_) if path.starts_with("/dev") => Self::Camera,
            Err(_) => Self::Recording,
        }
    }
}

/// How a running kiosk gets another configuration.
#[derive(Clone, Default)]
pub struct Reload {
    path: Option<PathBuf>,
    source: SourceKind,
    /// From the command line.
    journal: Option<PathBuf>,
    /// The configuration to go on with.
    pub next: Arc<Mutex<Option<Config>>>,
    /// Whether the run before it was paused: whoever paused it still does not want to be seen.
    paused: Arc<AtomicBool>,
}

impl Reload {
    /// Reads and checks the configuration.
    pub fn read(&self) -> anyhow::Result<Config> {
        let path = self.path.as_ref().context("this kiosk was started without --config")?;
        let mut config = Config::read(path)?;
        self.overrule(&mut config);
        self.deployment(&config)?;
        Ok(config)
    }

    /// What `config` states of its use; an error if it must, and doesn't.
    fn deployment(&self, config: &Config) -> Result<Option<Deployment>, ConfigError> {
        // People are watched as they are now.
        let is_live = self.source != SourceKind::Recording;
        is_live.then(|| config.deployment(self.path.as_deref())).transpose()
    }

    /// The command line goes before the file.
    fn overrule(&self, config: &mut Config) {
        if let Some(directory) = &self.journal {
            config.journal.directory = directory.clone();
        }
    }

    fn take(&self) -> Option<Config> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Watches what `args` name; anew from the start if it is told to read its configuration anew.
pub fn run(args: &RunArgs, model: Option<&Path>) -> anyhow::Result<()> {
    update::hand_over(args.config.as_deref());
    let reload = Reload {
        path: args.config.clone(),
        source: SourceKind::of(&args.source),
        journal: args.log.clone(),
        ..Reload::default()
    };
    let mut config = match reload.path {
        Some(_) => reload.read()?,
        None => Config::default(),
    };
    reload.overrule(&mut config);
    let updated = Updated::choose(&config, model);
    tell_deployment(reload.deployment(&config)?.as_ref());
    let stop = parts::stop_flag()?;
    loop {
        let source = open(args, reload.source, &config)?;
        watch(&config, &args.source.to_string_lossy(), source, &updated, &reload, &stop)?;
        match reload.take() {
            Some(next) => config = next,
            None => return Ok(()),
        }
    }
}

fn open(args: &RunArgs, kind: SourceKind, config: &Config) -> anyhow::Result<Mailbox> {
    if kind == SourceKind::Camera {
        return live::open(&args.source, config);
    }
    let replay = Replay::open(&args.source, config.camera.fps)?;
    let replay = View::new(replay, config.view.clone());
    Ok(match args.realtime {
        true => Mailbox::paced(replay),
        false => Mailbox::recording(replay),
    })
}

/// A legal basis stands in the log whatever is logged.
fn tell_deployment(deployment: Option<&Deployment>) {
    let Some(Deployment { context, legal_basis }) = deployment else { return };
    match legal_basis {
        Some(basis) => log::warn!("deployed for {}; legal basis stated: {basis}", context.name()),
        None => log::info!("deployed for {}", context.name()),
    }
}

fn watch(
    config: &Config,
    source_name: &str,
    source: Mailbox,
    updated: &Updated,
    reload: &Reload,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let reader = parts::reader(updated.model.as_deref(), config.expression.gender)?;
    let (mut journal, recovery) =
        Journal::open(&config.journal.directory, config.journal.options())?;
    tell_recovery(&recovery);
    let mut leds = Leds::open(&config.leds)?;
    let controls = Arc::new(Controls::default());
    controls.pause(reload.paused.load(Ordering::Relaxed));
    let theirs = Arc::clone(&controls);
    let _button = Button::open(&config.button, &config.leds, move || theirs.toggle_pause())?;
    // Ends last: while it waits for the broker, the journal and what was printed are already whole.
    let _forwarder = forward::start(config, journal.run(), &controls, reload)?;
    let watched = updated.watch(&controls);
    let options = Options {
        device: config.device.clone(),
        source: source_name.to_owned(),
        model: reader.model,
        deployment: reload.deployment(config)?,
        room_period_s: config.room_period_s,
        detector: config.detector,
        still: config.still.clone(),
        night: config.night.clone(),
        only_rooms_of_at_least: config.journal.only_rooms_of_at_least,
        vitals_period_s: config.journal.vitals_period_s,
        on_event: print_event,
        controls: Arc::clone(&controls),
    };
    let unsure_below = config.expression.unsure_below.unwrap_or(reader.unsure_below);
    let tracker = Tracker::new(config.tracker.clone(), unsure_below);
    log::info!("watching {source_name}; unsure below a share of {unsure_below}");
    let summary =
        kiosk::run(source, reader.classifier, tracker, &mut leds, &mut journal, &options, stop)?;
    drop(watched);
    if reload.source == SourceKind::Recording && summary.counts.frames > 0 {
        updated.prove();
    }
    reload.paused.store(controls.is_paused(), Ordering::Relaxed);
    io::stdout().write_all(text(&summary, &config.journal).as_bytes())?;
    if summary.counts.frames == 0 && summary.counts.broken > 0 {
        anyhow::bail!("none of the pictures in {source_name} could be read");
    }
    Ok(())
}

/// A line for each change, over the LEDs' drawing, which follows below.
fn print_event(event: &Event) {
    let Event::Face(FaceEvent { change, track, time }) = event else { return };
    let percent = |expression: Expression| 100.0 * track.scores.expression[expression as usize];
    let expression = match track.expression {
        Some(expression) => format!("{} {:.0} %", expression.name(), percent(expression)),
        None => UNSURE.to_owned(),
    };
    let gender = track.gender.zip(track.scores.gender).map(|(gender, shares)| {
        format!(", {} {:.0} %", gender.name(), 100.0 * shares[gender as usize])
    });
    let verb = match change {
        FaceChange::Appeared => "appeared:",
        FaceChange::Changed => "now shows",
        FaceChange::Left => "left, last",
    };
    // A reader that has seen enough does not end the watch.
    let _ = writeln!(
        io::stdout(),
        "{}{:6.1} s  face {} {verb} {expression}{}",
        if io::stdout().is_terminal() { "\r\x1b[K" } else { "" },
        time.as_secs_f32(),
        track.id,
        gender.unwrap_or_default(),
    );
}

fn tell_recovery(recovery: &Recovery) {
    let Recovery { dropped_bytes, damaged_bytes, next_sequence, quarantined, .. } = recovery;
    if *dropped_bytes > 0 {
        log::warn!(
            "the journal ended in an unfinished record of {dropped_bytes} bytes, which was \
             dropped; going on with record {next_sequence}"
        );
    }
    match quarantined {
        Some(aside) if *damaged_bytes == 0 => log::warn!(
            "a damaged segment of the journal, which a power cut had kept from being put aside, is \
             now {}, and a clean one with its sound records is in its place",
            aside.display()
        ),
        Some(aside) => log::warn!(
            "the journal's last segment had {damaged_bytes} damaged bytes; it was put aside as {}, \
             and a clean one with its sound records is in its place; going on with record \
             {next_sequence}",
            aside.display()
        ),
        None if *damaged_bytes > 0 => {
            log::warn!("{damaged_bytes} damaged bytes in the journal are passed over");
        }
        None => {}
    }
}

/// Of faces nothing is told where only large rooms are.
fn text(summary: &Summary, config: &JournalConfig) -> String {
    let Summary { counts, tracks, records, elapsed_s, stages } = summary;
    let Counts { frames, still, dark, broken, late, faces } = *counts;
    let rate = frames as f64 / elapsed_s.max(f64::EPSILON);
    let directory = config.directory.display();
    let (mut stages, mut faces) =
        (stages.clone(), format!("{faces} readings of faces, {tracks} faces followed\n"));
    if config.only_rooms_of_at_least.is_some() {
        stages.retain(|time| !time.stage.tells_of_faces());
        faces.clear();
    }
    format!(
        "\n{}\n{frames} frames read in {elapsed_s:.1} s ({rate:.0} a second), {still} of them still, \
         {dark} dark; {broken} broken, {late} dropped late\n\
         {faces}\
         {records} records written to {directory}; read them by `mien journal cat --dir {directory}`\n",
        table(&stages),
    )
}

/// A line a stage.
pub fn table(stages: &[StageTime]) -> String {
    let head = format!(
        "{:<10}{:>8}{:>10}{:>10}{:>10}\n",
        "stage", "frames", "mean ms", "p50 ms", "p95 ms"
    );
    stages.iter().fold(head, |text, stage| {
        let StageTime { stage, frames, mean_ms, p50_ms, p95_ms } = stage;
        let name = stage.name();
        text + &format!("{name:<10}{frames:>8}{mean_ms:>10.3}{p50_ms:>10.3}{p95_ms:>10.3}\n")
    })
}
