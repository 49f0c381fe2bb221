//! What a user may set of a camera's own controls. What is not set stays as the camera has it.

use serde::Deserialize;

/// A camera's controls.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ControlOptions {
    /// How long a frame is exposed, ms.
    pub exposure_ms: Option<Setting>,
    /// How much the sensor's signal is amplified, in the camera's own unit.
    pub gain: Option<Setting>,
    /// The frequency at which lamps flicker.
    pub power_line_hz: Option<PowerLine>,
}

/// A value, or the camera's own choice.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected \"auto\" or a number")]
pub enum Setting {
    /// The camera chooses.
    Auto(Auto),
    /// This.
    Value(f64),
}

/// The word "auto".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Auto {
    Auto,
}

/// Against which flicker the camera times its exposures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected 50, 60, \"auto\" or \"off\"")]
pub enum PowerLine {
    /// None, or what it finds.
    Word(PowerLineWord),
    /// Lamps on this frequency, Hz.
    Hz(u32),
}

/// "auto" or "off".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum PowerLineWord {
    Auto,
    Off,
}

impl ControlOptions {
    /// Longest exposure, ms: a camera that gives no frame for two seconds is taken to be lost.
    const MAX_EXPOSURE_MS: f64 = 1_000.0;

    /// Says which setting makes no sense with any camera.
    pub fn validate(&self) -> Result<(), String> {
        let Self { exposure_ms, gain, power_line_hz } = *self;
        if let Some(Setting::Value(ms)) = exposure_ms
            && !(0.1..=Self::MAX_EXPOSURE_MS).contains(&ms)
        {
            let most = Self::MAX_EXPOSURE_MS;
            return Err(format!("exposure_ms = {ms}: must be \"auto\" or 0.1 to {most}"));
        }
        if let Some(Setting::Value(gain)) = gain
            && !(0.0..=f64::from(i32::MAX)).contains(&gain)
        {
            return Err(format!("gain = {gain}: must be \"auto\", or 0 or more"));
        }
        match power_line_hz {
            Some(PowerLine::Hz(hz)) if hz != 50 && hz != 60 => {
                Err(format!("power_line_hz = {hz}: must be 50, 60, \"auto\" or \"off\""))
            }
            _ => Ok(()),
        }
    }
}
