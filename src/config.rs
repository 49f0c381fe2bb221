//! What a user may set: a TOML file to a validated [`Config`].

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::face::detector::DetectorOptions;
use crate::face::tracker::TrackerOptions;
use crate::kiosk::still::StillOptions;
use crate::report::journal::JournalOptions;
use crate::report::leds::LedOptions;

/// A commented configuration that states every default.
pub const SAMPLE: &str = include_str!("../deploy/config.toml");

/// The least likeness of an unknown key to a known one for this to be suggested (Jaro-Winkler,
/// 0…1).
const SUGGEST_FROM: f64 = 0.7;

/// All settings; what a file leaves out keeps its default.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// This kiosk's name in the journal's topics, `mien/<device>/…`.
    pub device: String,
    /// Journal directory, made if missing.
    pub journal_dir: PathBuf,
    /// Least time between two summaries of the room in the journal, s.
    pub room_period_s: f32,
    /// How a source is read.
    pub camera: CameraOptions,
    /// Which frames are spared.
    pub still: StillOptions,
    /// How faces are found.
    pub detector: DetectorOptions,
    /// How they are followed.
    pub tracker: TrackerOptions,
    /// Which LED shows what.
    pub leds: LedOptions,
    /// How the journal is kept.
    pub journal: JournalOptions,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            device: "kiosk".into(),
            journal_dir: "mien-log".into(),
            room_period_s: 30.0,
            camera: CameraOptions::default(),
            still: StillOptions::default(),
            detector: DetectorOptions::default(),
            tracker: TrackerOptions::default(),
            leds: LedOptions::default(),
            journal: JournalOptions::default(),
        }
    }
}

/// How a source is read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CameraOptions {
    /// Width asked of a camera, pixels; it may give another.
    pub width: u32,
    /// Height asked of a camera, pixels.
    pub height: u32,
    /// Frames a second asked of a camera, and the rate of recordings.
    pub fps: f32,
}

impl Default for CameraOptions {
    fn default() -> Self {
        Self { width: 640, height: 480, fps: 10.0 }
    }
}

/// Why a configuration does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read config {}: {source}; `mien config` prints a sample", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// It is no TOML, or has an unknown key or a value of another type.
    #[error("config {}: {text}\n{hint}; `mien config` prints a sample", path.display())]
    Syntax { path: PathBuf, text: String, hint: String },
    /// A value is out of its range.
    #[error("config {}: {key} = {value}: must be {allowed}", path.display())]
    Value { path: PathBuf, key: String, value: String, allowed: String },
}

impl Config {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Parses and checks a file's text; `path` is what errors call it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            text: error.to_string().trim_end().to_owned(),
            hint: suggestion(error.message()),
        })?;
        match config.first_fault() {
            None => Ok(config),
            Some(Fault { key, value, allowed }) => {
                Err(ConfigError::Value { path: path.to_owned(), key, value, allowed })
            }
        }
    }
}

struct Fault {
    key: String,
    value: String,
    allowed: String,
}
