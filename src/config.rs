//! What a user may set: a TOML file to a validated [`Config`].

use std::fmt::Display;
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::button::ButtonOptions;
use crate::camera::controls::{ControlOptions, PowerLine, Setting};
use crate::camera::view::ViewOptions;
use crate::deployment::{self, Deployment, DeploymentContext};
use crate::face::detector::DetectorOptions;
use crate::face::tracker::TrackerOptions;
use crate::kiosk::night::NightOptions;
use crate::kiosk::still::StillOptions;
use crate::report::journal::JournalOptions;
use crate::report::leds::LedOptions;
use crate::report::mqtt::options::MqttOptions;
use crate::update::UpdateOptions;

/// A commented configuration that states every default.
pub const SAMPLE: &str = include_str!("../deploy/config.toml");

/// The least likeness of an unknown key to a known one for this to be suggested (Jaro-Winkler,
/// 0…1).
const SUGGEST_FROM: f64 = 0.7;

/// Where updates are kept in the journal's directory.
const UPDATES: &str = "updates";

/// Longest device name in bytes; a topic stays short.
const MAX_DEVICE_NAME: usize = 64;

/// All settings; what a file leaves out keeps its default.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// This kiosk's name in the journal's topics, `mien/<device>/…`.
    pub device: String,
    /// Where it watches people; unset, it does so before no camera.
    pub deployment_context: Option<DeploymentContext>,
    /// By which law it may, as a sentence.
    pub legal_basis: Option<String>,
    /// Who answers for it, for the notice to the people before it.
    pub contact: Option<String>,
    /// Least time between two summaries of the room in the journal, s.
    pub room_period_s: f32,
    /// How a source is read.
    pub camera: CameraOptions,
    /// How its pictures are seen.
    pub view: ViewOptions,
    /// When it is too dark.
    pub night: NightOptions,
    /// Which frames are spared.
    pub still: StillOptions,
    /// How faces are found.
    pub detector: DetectorOptions,
    /// What is said of them.
    pub expression: ExpressionOptions,
    /// How they are followed.
    pub tracker: TrackerOptions,
    /// Which LED shows what.
    pub leds: LedOptions,
    /// What pauses it.
    pub button: ButtonOptions,
    /// Where and how the journal is kept.
    pub journal: JournalConfig,
    /// Which broker gets the journal; without it, none.
    pub mqtt: Option<MqttOptions>,
    /// Whose programs and models are taken; without it, none's.
    pub update: Option<UpdateOptions>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            device: "kiosk".into(),
            deployment_context: None,
            legal_basis: None,
            contact: None,
            room_period_s: 10.0,
            camera: CameraOptions::default(),
            view: ViewOptions::default(),
            night: NightOptions::default(),
            still: StillOptions::default(),
            detector: DetectorOptions::default(),
            expression: ExpressionOptions::default(),
            tracker: TrackerOptions::default(),
            leds: LedOptions::default(),
            button: ButtonOptions::default(),
            journal: JournalConfig::default(),
            mqtt: None,
            update: None,
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
    /// Frames of a camera above this rate are dropped.
    pub max_fps: Option<f32>,
    /// See [`ControlOptions::exposure_ms`].
    pub exposure_ms: Option<Setting>,
    /// See [`ControlOptions::gain`].
    pub gain: Option<Setting>,
    /// See [`ControlOptions::power_line_hz`].
    pub power_line_hz: Option<PowerLine>,
}

impl Default for CameraOptions {
    fn default() -> Self {
        Self {
            width: 640,
            height: 480,
            fps: 10.0,
            max_fps: None,
            exposure_ms: None,
            gain: None,
            power_line_hz: None,
        }
    }
}

/// What is said of a face.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpressionOptions {
    /// Least smoothed share (0…1) of an expression to be shown; below, the face shows "unsure".
    /// Unset, the model's own threshold counts.
    pub unsure_below: Option<f32>,
    /// Whether apparent gender is told. If not, the network's answer is dropped at once.
    pub gender: bool,
}

impl Default for ExpressionOptions {
    fn default() -> Self {
        Self { unsure_below: None, gender: true }
    }
}

/// Where and how the journal is kept.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalConfig {
    /// Its directory, made if missing.
    pub directory: PathBuf,
    /// See [`JournalOptions::sync_period_s`].
    pub sync_period_s: f64,
    /// See [`JournalOptions::max_segment_bytes`].
    pub max_segment_bytes: u64,
    /// See [`JournalOptions::max_total_bytes`].
    pub max_total_bytes: u64,
    /// See [`JournalOptions::max_age_days`].
    pub max_age_days: f64,
    /// See [`crate::kiosk::Options::only_rooms_of_at_least`].
    pub only_rooms_of_at_least: Option<u32>,
    /// See [`crate::kiosk::Options::vitals_period_s`].
    pub vitals_period_s: u32,
}

impl JournalConfig {
    /// What [`crate::report::journal::Journal::open`] wants besides the directory.
    pub fn options(&self) -> JournalOptions {
        let Self { sync_period_s, max_segment_bytes, max_total_bytes, max_age_days, .. } = *self;
        JournalOptions { sync_period_s, max_segment_bytes, max_total_bytes, max_age_days }
    }

    fn validate(&self) -> Result<(), String> {
        self.options().validate().map_err(|error| error.to_string())?;
        in_range("vitals_period_s", self.vitals_period_s, 0..=86_400)?;
        let least_faces = self.only_rooms_of_at_least;
        least_faces.map_or(Ok(()), |k| in_range("only_rooms_of_at_least", k, 1..=1000))
    }
}

impl Default for JournalConfig {
    fn default() -> Self {
        let JournalOptions { sync_period_s, max_segment_bytes, max_total_bytes, max_age_days } =
            JournalOptions::default();
        Self {
            directory: "mien-log".into(),
            sync_period_s,
            max_segment_bytes,
            max_total_bytes,
            max_age_days,
            only_rooms_of_at_least: None,
            vitals_period_s: 60,
        }
    }
}

/// Why a configuration does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read config {}: {source}; {}", path.display(), help(source.kind()))]
    Read { path: PathBuf, source: std::io::Error },
    /// It is no TOML, or has an unknown key or a value of another type.
    #[error("config {}: {text}\n{hint}`mien config` prints a sample", path.display())]
    Syntax { path: PathBuf, text: String, hint: String },
    /// A value is out of its range.
    #[error("config {}: in {section}: {why}", path.display())]
    Value { path: PathBuf, section: &'static str, why: String },
    /// A camera is to be watched, but not said where.
    #[error(
        "{config} where this kiosk watches people, and before a camera it runs only \
         where that is said: set `deployment_context` to one of {}; \"work\" and \"education\" \
         need `legal_basis` too",
        DeploymentContext::names()
    )]
    NoContext { config: String },
}

/// What to do about a file that can't be read.
fn help(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::PermissionDenied => "let this user read it",
        ErrorKind::IsADirectory => "name the file in it",
        ErrorKind::InvalidData => "save it as UTF-8",
        _ => "`mien config` prints a sample",
    }
}

impl Config {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// What a file says of updates, whatever else stands in it: a newer program may know more than this
    /// one. None where nothing usable is said.
    pub fn updates(path: &Path) -> Option<UpdateOptions> {
        let table: toml::Table = std::fs::read_to_string(path).ok()?.parse().ok()?;
        let text = |section: &str, key: &str| table.get(section)?.get(key)?.as_str();
        let key = text("update", "key")?.to_owned();
        let journal =
            text("journal", "directory").map_or(Self::default().journal.directory, PathBuf::from);
        let directory = text("update", "directory").map_or(journal.join(UPDATES), PathBuf::from);
        // A key that is none is told where the whole configuration is judged.
        Some(UpdateOptions { directory, key }).filter(|options| options.validate().is_ok())
    }

    /// Parses and checks a file's text; `path` is what errors call it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|error| {
            let text = error.to_string().trim_end().replace('\n', "\n  ");
            let hint = suggestion(error.message()).unwrap_or_default();
            ConfigError::Syntax { path: path.to_owned(), text, hint }
        })?;
        config.validate().map_err(|(section, why)| ConfigError::Value {
            path: path.to_owned(),
            section,
            why,
        })?;
        if let Some(update) = &mut config.update
            && update.directory.as_os_str().is_empty()
        {
            update.directory = config.journal.directory.join(UPDATES);
        }
        Ok(config)
    }

    /// Who answers for it, if that is said.
    pub fn who_answers(&self) -> Option<&str> {
        self.contact.as_deref().map(str::trim).filter(|contact| !contact.is_empty())
    }

    /// What is stated of its use; an error without, as a kiosk before a camera needs it. `file` is
    /// what the error calls this configuration.
    pub fn deployment(&self, file: Option<&Path>) -> Result<Deployment, ConfigError> {
        let context = self.deployment_context.ok_or_else(|| ConfigError::NoContext {
            config: match file {
                Some(path) => format!("config {} does not say", path.display()),
                None => "without --config nothing says".into(),
            },
        })?;
        Ok(Deployment { context, legal_basis: self.legal_basis.clone() })
    }

    /// Checks every value's range; the section at fault and what is wrong there.
    fn validate(&self) -> Result<(), (&'static str, String)> {
        let at = |section| move |error: &dyn ToString| (section, error.to_string());
        let Self { device, room_period_s, camera, view, night, still, detector, .. } = self;
        let Self { expression, tracker, leds, button, journal, mqtt, update, .. } = self;
        let device_fits = !device.is_empty()
            && device.len() <= MAX_DEVICE_NAME
            && !device.contains(['/', '+', '#', '\0']);
        if !device_fits {
            let why = format!(
                "device = {device:?}: must be 1 to {MAX_DEVICE_NAME} bytes without /, + and #, \
                 as it is a level of a topic"
            );
            return Err(("the top level", why));
        }
        let top = at("the top level");
        deployment::validate(self.deployment_context, self.legal_basis.as_deref())
            .map_err(|e| top(&e))?;
        in_range("room_period_s", *room_period_s, 1.0..=86_400.0).map_err(|e| top(&e))?;
        camera.validate().map_err(|e| at("[camera]")(&e))?;
        view.validate().map_err(|e| at("[view]")(&e))?;
        night.validate().map_err(|e| at("[night]")(&e))?;
        still.validate().map_err(|e| at("[still]")(&e))?;
        detector.validate().map_err(|e| at("[detector]")(&e))?;
        expression.validate().map_err(|e| at("[expression]")(&e))?;
        tracker.validate().map_err(|e| at("[tracker]")(&e))?;
        leds.validate().map_err(|e| at("[leds]")(&e))?;
        button.validate(leds).map_err(|e| at("[button]")(&e))?;
        journal.validate().map_err(|e| at("[journal]")(&e))?;
        mqtt.as_ref().map_or(Ok(()), MqttOptions::validate).map_err(|e| at("[mqtt]")(&e))?;
        update.as_ref().map_or(Ok(()), UpdateOptions::validate).map_err(|e| at("[update]")(&e))
    }
}

impl CameraOptions {
    /// What its controls are set to.
    pub fn controls(&self) -> ControlOptions {
        let Self { exposure_ms, gain, power_line_hz, .. } = *self;
        ControlOptions { exposure_ms, gain, power_line_hz }
    }

    fn validate(&self) -> Result<(), String> {
        // Pictures below have no face the detector sees; above, no camera on a Pi.
        in_range("width", self.width, 40..=8192)?;
        in_range("height", self.height, 40..=8192)?;
        in_range("fps", self.fps, 1.0..=240.0)?;
        self.max_fps.map_or(Ok(()), |fps| in_range("max_fps", fps, 1.0..=240.0))?;
        self.controls().validate()
    }
}

impl NightOptions {
    fn validate(&self) -> Result<(), String> {
        in_range("dark_below", self.dark_below, 0.0..=255.0)?;
        in_range("after_s", self.after_s, 0.0..=3600.0)
    }
}

impl ExpressionOptions {
    fn validate(&self) -> Result<(), String> {
        self.unsure_below.map_or(Ok(()), |share| in_range("unsure_below", share, 0.0..=1.0))
    }
}

impl StillOptions {
    fn validate(&self) -> Result<(), String> {
        in_range("max_change", self.max_change, 0.0..=255.0)?;
        in_range("max_hold_s", self.max_hold_s, 0.0..=3600.0)
    }
}

fn in_range<T>(key: &str, value: T, allowed: RangeInclusive<T>) -> Result<(), String>
where
    T: PartialOrd + Display,
{
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(format!("{key} = {value}: must be {} to {}", allowed.start(), allowed.end()))
}

/// The known key most like the unknown one that serde's `message` names, as an addition to it.
fn suggestion(message: &str) -> Option<String> {
    let (unknown, known) = message.strip_prefix("unknown field `")?.split_once('`')?;
    let likeness = |key: &str| strsim::jaro_winkler(unknown, key);
    let nearest =
        known.split('`').skip(1).step_by(2).max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(nearest) >= SUGGEST_FROM).then(|| format!("did you mean `{nearest}`? "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Config::parse(Path::new("kiosk.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn the_sample_states_every_default() {
        let sample: toml::Table = SAMPLE.parse().unwrap();
        let config = Config::parse(Path::new("sample"), SAMPLE).unwrap();
        assert_eq!(config, Config::default());
        let keys = ["device", "room_period_s", "camera", "still", "detector", "tracker", "leds"];
        for key in keys.iter().chain(&["expression", "journal"]) {
            assert!(sample.contains_key(*key), "{key} is missing");
        }
    }

    /// What is commented out there, as it is off by default.
    #[test]
    fn the_sample_states_every_default_of_mqtt() {
        let (_, section) = SAMPLE.split_once("# [mqtt]\n").expect("a section");
        let keys: String = section
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')))
            .map(|line| format!("{line}\n"))
            .collect();
        let config = Config::parse(Path::new("sample"), &format!("[mqtt]\n{keys}")).unwrap();
        let stated: toml::Table = keys.parse().unwrap();
        // Those without a default are stated as examples.
        let examples = ["port", "user", "password_file", "ca_file"];
        let own = ["client_cert_file", "client_key_file"];
        assert!(examples.iter().chain(&own).all(|key| stated.contains_key(*key)), "{keys}");
        let mqtt = MqttOptions {
            port: None,
            user: None,
            password_file: None,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            ..config.mqtt.unwrap()
        };
        assert_eq!(mqtt, MqttOptions::default());
        assert_eq!(stated.len(), 14, "every key of MqttOptions, commented: {keys}");
    }

    #[test]
    fn mqtt_is_off_unless_it_is_there() {
        let config = |text| Config::parse(Path::new("kiosk.toml"), text).unwrap();
        assert_eq!(config("").mqtt, None);
        let mqtt = config("[mqtt]").mqtt.unwrap();
        assert_eq!((mqtt.host.as_str(), mqtt.port()), ("localhost", 1883));
        assert!(!mqtt.commands && !mqtt.home_assistant);
        assert_eq!(config("[mqtt]\nca_file = 'ca.pem'").mqtt.unwrap().port(), 8883);
    }

    #[test]
    fn nothing_set_is_the_default() {
        assert_eq!(Config::parse(Path::new("empty"), "").unwrap(), Config::default());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_likely_one() {
        let text = error("device = \"hall\"\n\n[tracker]\nmin_overlop = 0.3\n");
        for part in ["kiosk.toml", "line 4", "`min_overlop`", "did you mean `min_overlap`?"] {
            assert!(text.contains(part), "{part} not in: {text}");
        }
        assert!(!error("zzz = 1").contains("did you mean"));
    }

    #[test]
    fn values_out_of_range_are_named_with_what_is_allowed() {
        for (text, parts) in [
            ("deployment_context = 'office'", ["line 1", "`office`"]),
            ("deployment_context = 'work'", ["\"work\" needs legal_basis", "Art. 5(1)(f)"]),
            ("legal_basis = 'yes'", ["legal_basis = \"yes\"", "a sentence"]),
            ("room_period_s = 0", ["room_period_s = 0", "1 to 86400"]),
            ("device = 'a/b'", ["\"a/b\"", "without /"]),
            ("[camera]\nfps = nan", ["[camera]", "fps = NaN: must be 1 to 240"]),
            ("[camera]\nmax_fps = 0", ["[camera]", "max_fps = 0: must be 1 to 240"]),
            ("[camera]\nexposure_ms = 0", ["[camera]", "exposure_ms = 0: must be"]),
            ("[camera]\nexposure_ms = 'aut'", ["line 2", "expected \"auto\" or a number"]),
            ("[camera]\ngain = -1", ["[camera]", "gain = -1: must be \"auto\", or 0 or more"]),
            ("[camera]\npower_line_hz = 55", ["[camera]", "must be 50, 60, \"auto\" or \"off\""]),
            ("[camera]\nwidth = 0", ["[camera]", "width = 0: must be 40 to 8192"]),
            ("[still]\nmax_change = -1.0", ["[still]", "max_change = -1: must be 0 to 255"]),
            ("[tracker]\nmin_overlap = 2.0", ["[tracker]", "min_overlap = 2"]),
            ("[expression]\nunsure_below = 1.5", ["[expression]", "unsure_below = 1.5"]),
            ("[detector]\nmin_face_px = 1", ["[detector]", "min_face_px"]),
            ("[leds.lines]\nsad = 4\n[button]\nline = 4", ["[button]", "LED sad is on this line"]),
            ("[journal]\nsync_period_s = -1.0", ["[journal]", "sync_period_s"]),
            ("[journal]\nmax_age_days = 0.5", ["[journal]", "max_age_days = 0.5: must be 0"]),
            ("[journal]\nonly_rooms_of_at_least = 0", ["[journal]", "must be 1 to 1000"]),
            ("[journal]\nvitals_period_s = 86401", ["[journal]", "must be 0 to 86400"]),
            ("[update]\nkey = 'RW'", ["[update]", "no public key as minisign prints it"]),
            ("[mqtt]\nhost = ''", ["[mqtt]", "host"]),
            ("[mqtt]\nport = 0", ["[mqtt]", "port = 0: must be 1 to 65535"]),
            ("[mqtt]\nin_flight = 0", ["[mqtt]", "in_flight = 0: must be 1 to 1000"]),
            ("[mqtt]\nclient_cert_file = 'a'", ["client_key_file", "both or none"]),
            ("[mqtt]\npassword_file = 'a'", ["[mqtt]", "password_file needs user"]),
            ("[mqtt]\npasword_file = 'a'", ["line 2", "did you mean `password_file`"]),
        ] {
            let error = error(text);
            for part in parts {
                assert!(error.contains(part), "{part} not in: {error}");
            }
        }
    }
}
