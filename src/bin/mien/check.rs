//! `mien check`: what a person who sets a kiosk up wants to know, with a way out of each failure.

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use mien::button::Button;
use mien::camera::devices;
use mien::config::Config;
use mien::engine::Model;
use mien::report::journal::{Journal, JournalError};
use mien::report::leds::{Backend, Led, Leds};

use crate::args::CheckArgs;
use crate::watch::SourceKind;
use crate::{bundled, forward, live};

mod clock;
mod machine;
mod service;
mod updates;

use updates::Found;

/// How a part does, from good to bad.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It works.
    Good,
    /// It works, but a person may want to know.
    Note,
    /// It does not work.
    Failed,
}

impl Verdict {
    fn worst(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().max().unwrap_or(Self::Good)
    }
}

/// Checks all parts and prints a line for each; exit code 1 if one fails. Of a configuration that does not
/// hold that is told, and all is checked that it says nothing of.
pub fn check(args: &CheckArgs, model: Option<&Path>) -> anyhow::Result<ExitCode> {
    let file = args.config.as_deref();
    let config = file.map(Config::read).transpose();
    let updates = match &config {
        Ok(config) => config.as_ref().and_then(|config| config.update.clone()),
        Err(_) => file.and_then(Config::updates),
    };
    let updates = updates.as_ref().map(Found::look);
    let mut findings = match config {
        Ok(config) => check_configured(args, file, &config.unwrap_or_default()),
        Err(error) => {
            let text = format!(
                "{error}\nThis program does not start with it. Not checked: use, pins, button, journal, broker; \
                 cameras are opened as by default"
            );
            // A journal that is opened with other bounds than its own would lose records.
            let mut findings = vec![("config", Verdict::Failed, text)];
            findings.extend(check_cameras(args, &Config::default()));
            findings
        }
    };
    let model = model.or_else(|| updates.as_ref().and_then(Found::model));
    findings.insert(0, check_model(model));
    findings.extend(updates.as_ref().map(Found::finding));
    findings.extend([clock::check(), machine::check(), service::check()]);
    let mut out = io::stdout().lock();
    for (part, verdict, text) in &findings {
        let verdict = match verdict {
            Verdict::Good => "ok",
            Verdict::Note => "note",
            Verdict::Failed => "FAILED",
        };
        // What goes on in further lines stays in its column.
        writeln!(out, "{part:<8} {verdict:<7} {}", text.replace('\n', "\n                 "))?;
    }
    Ok(match Verdict::worst(findings.iter().map(|(_, verdict, _)| *verdict)) {
        Verdict::Failed => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

/// A part's name, how it does, and a sentence.
type Finding = (&'static str, Verdict, String);

/// What is checked of what a configuration says.
fn check_configured(args: &CheckArgs, file: Option<&Path>, config: &Config) -> Vec<Finding> {
    let mut findings: Vec<Finding> = file.map(|file| check_use(config, file)).into_iter().collect();
    findings.extend(check_cameras(args, config));
    findings.push(check_leds(config));
    findings.extend(check_button(config));
    findings.push(check_journal(config));
    findings.push(check_broker(config));
    findings
}

/// A model of a file, or the bundled one.
fn check_model(model: Option<&Path>) -> Finding {
    let model = match model {
        Some(path) => Model::read(path),
        None => Model::from_bytes(bundled::MODEL_NAME, &mien::bundled::model()),
    };
    match model {
        // Loading held the engine to stored codes of a test picture, or another's.
        Ok(model) if model.is_planned() => {
            ("model", Verdict::Good, format!("{}, run by {}", model.name(), model.engine()))
        }
        Ok(model) => {
            let (name, by) = (model.name(), model.engine());
            let text = format!("{name}, run by {by}, many times slower; `-v` says why");
            ("model", Verdict::Note, text)
        }
        Err(error) => ("model", Verdict::Failed, error.to_string()),
    }
}

/// What must be stated before a camera, and who answers for it.
fn check_use(config: &Config, file: &Path) -> Finding {
    match (config.deployment(Some(file)), config.who_answers()) {
        (Err(error), _) => ("use", Verdict::Failed, error.to_string()),
        (Ok(stated), None) => {
            let text = format!(
                "{}; for the sign that tells people, set `contact` and run `mien notice`",
                stated.context.name()
            );
            ("use", Verdict::Note, text)
        }
        (Ok(stated), Some(contact)) => {
            let text = format!("{}; who answers: {contact}", stated.context.name());
            ("use", Verdict::Good, text)
        }
    }
}

fn check_cameras(args: &CheckArgs, config: &Config) -> Vec<Finding> {
    let devices = devices::list();
    let mut findings: Vec<Finding> =
        devices.iter().map(|device| ("camera", Verdict::Note, live::describe(device))).collect();
    if let Some(source) = &args.source {
        let is_recording = SourceKind::of(source) == SourceKind::Recording && source.exists();
        let (verdict, text) = match is_recording {
            true => {
                let name = source.display();
                (
                    Verdict::Note,
                    format!("{name}: a recording, `mien run` says whether it can be read"),
                )
            }
            false => live::check(source, config),
        };
        findings.push(("camera", verdict, text));
        return findings;
    }
    // Not a Pi's own video codecs and scalers, nor a camera's further nodes.
    let cameras: Vec<_> = devices.iter().filter(|device| live::is_camera(device)).collect();
    let mut looks: Vec<_> =
        cameras.iter().map(|device| live::check(&device.node, config)).collect();
    let works = looks.iter().any(|(verdict, _)| !matches!(verdict, Verdict::Failed));
    for (verdict, _) in
        looks.iter_mut().filter(|(verdict, _)| works && matches!(verdict, Verdict::Failed))
    {
        *verdict = Verdict::Note;
    }
    findings.extend(looks.into_iter().map(|(verdict, text)| ("camera", verdict, text)));
    if cameras.is_empty() {
        let text = match devices.is_empty() {
            true => "no /dev/video*: is the camera plugged in?",
            false => "none of these is a camera whose pictures this program reads",
        };
        findings.push(("camera", Verdict::Failed, text.into()));
    }
    findings
}

fn check_leds(config: &Config) -> Finding {
    let named: Vec<String> = config
        .leds
        .lines
        .named()
        .map(|(led, line): (Led, u32)| format!("{} {line}", led.name()))
        .collect();
    if matches!(config.leds.backend, Backend::None | Backend::Terminal) {
        return ("pins", Verdict::Note, "none, as configured".into());
    }
    if named.is_empty() {
        let text = "no LED has a line; name them under `[leds.lines]`, see `mien config`";
        return ("pins", Verdict::Note, text.into());
    }
    match Leds::open(&config.leds) {
        Err(error) => ("pins", Verdict::Failed, error.to_string()),
        Ok(leds) if leds.are_drawn() => {
            let text =
                "no GPIO here that this program can use, LEDs would be drawn in the terminal";
            ("pins", Verdict::Note, text.into())
        }
        Ok(_) => ("pins", Verdict::Good, format!("taken and dark: {}", named.join(", "))),
    }
}

fn check_button(config: &Config) -> Option<Finding> {
    let line = config.button.line?;
    Some(match Button::open(&config.button, &config.leds, || ()) {
        Ok(_) => ("button", Verdict::Good, format!("taken: line {line}")),
        Err(error) => ("button", Verdict::Failed, error.to_string()),
    })
}

fn check_broker(config: &Config) -> Finding {
    let Some(options) = &config.mqtt else {
        return ("broker", Verdict::Note, "none, as configured".into());
    };
    let (verdict, text) = forward::check(&config.device, options);
    ("broker", verdict, text)
}

fn check_journal(config: &Config) -> Finding {
    let directory = config.journal.directory.display();
    if is_anothers(&config.journal.directory) {
        let text = format!(
            "{directory}: is another user's, whose it must stay; check it as the service's: \
             `sudo -u mien mien check …`"
        );
        return ("journal", Verdict::Note, text);
    }
    match Journal::open(&config.journal.directory, config.journal.options()) {
        Ok((_, recovery)) => {
            let text = format!("{directory}: writable, next record {}", recovery.next_sequence);
            match recovery.damaged_bytes + recovery.dropped_bytes {
                0 => ("journal", Verdict::Good, text),
                bytes => {
                    let text = format!(
                        "{text}; {bytes} damaged bytes were passed over, their segment is kept as it was \
                         found in {directory}/quarantine, which may be deleted"
                    );
                    ("journal", Verdict::Note, text)
                }
            }
        }
        Err(JournalError::Locked { .. }) => (
            "journal",
            Verdict::Good,
            format!("{directory}: being written, by the service perhaps"),
        ),
        Err(error) => ("journal", Verdict::Failed, error.to_string()),
    }
}

/// Whether a directory is of another user than this program runs as. What this program wrote there,
/// root's say, could be closed to its owner.
pub fn is_anothers(directory: &Path) -> bool {
    let owner = |path: &Path| path.metadata().map(|metadata| metadata.uid());
    match (owner(directory), owner(Path::new("/proc/self"))) {
        (Ok(owner), Ok(own)) => owner != own,
        _ => false,
    }
}
