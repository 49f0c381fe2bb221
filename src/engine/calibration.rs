//! What a model's logits are worth, as its metadata says.
//!
//! A network trained on hard labels is surer than it is right. Dividing its logits by one
//! temperature before the softmax mends that and changes no answer (Guo et al. 2017, "On
//! Calibration of Modern Neural Networks"). `mien-lab quantize` fits the temperatures.

use super::error::MetadataError;

/// Names of the metadata's entries.
pub const TEMPERATURE: &str = "mien.temperature";
/// See [`TEMPERATURE`].
pub const GENDER_TEMPERATURE: &str = "mien.gender_temperature";
/// See [`TEMPERATURE`].
pub const UNSURE_BELOW: &str = "mien.unsure_below";

/// How to read a model's logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// What the expressions' logits are divided by, above 0.
    pub temperature: f32,
    /// What the genders' logits are divided by, above 0.
    pub gender_temperature: f32,
    /// Least share (0…1) of the strongest expression for it to be the answer; below, the answer
    /// is "unsure".
    pub unsure_below: f32,
}

impl Default for Calibration {
    /// Of a model that says nothing: logits as they are, always an answer.
    fn default() -> Self {
        Self { temperature: 1.0, gender_temperature: 1.0, unsure_below: 0.0 }
    }
}

impl Calibration {
    /// Reads the metadata, whose texts `entry` gives by name; what it lacks keeps its default.
    pub fn from_metadata<'m>(
        entry: impl Fn(&str) -> Option<&'m str>,
    ) -> Result<Self, MetadataError> {
        let number = |name, default, fits: fn(f32) -> bool, needed| {
            let Some(text) = entry(name) else { return Ok(default) };
            let number = text.trim().parse().ok().filter(|&number| fits(number));
            number.ok_or_else(|| MetadataError { entry: name, text: text.into(), needed })
        };
        let above_zero = |t: f32| t.is_normal() && t > 0.0;
        let temperature = |name| number(name, 1.0, above_zero, "a finite number above 0");
        let share = |s: f32| (0.0..=1.0).contains(&s);
        Ok(Self {
            temperature: temperature(TEMPERATURE)?,
            gender_temperature: temperature(GENDER_TEMPERATURE)?,
            unsure_below: number(UNSURE_BELOW, 0.0, share, "a number from 0 to 1")?,
        })
    }

    /// The entries that say this, by name.
    pub fn to_metadata(self) -> [(&'static str, String); 3] {
        [
            (TEMPERATURE, self.temperature.to_string()),
            (GENDER_TEMPERATURE, self.gender_temperature.to_string()),
            (UNSURE_BELOW, self.unsure_below.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Calibration, MetadataError> {
        Calibration::from_metadata(|entry| (entry == name).then_some(text))
    }

    #[test]
    fn what_is_written_is_read_again() {
        let calibration =
            Calibration { temperature: 1.37, gender_temperature: 0.9, unsure_below: 0.412 };
        let entries = calibration.to_metadata();
        let entry = |name: &str| entries.iter().find(|(n, _)| *n == name).map(|(_, t)| t.as_str());
        assert_eq!(Calibration::from_metadata(entry), Ok(calibration));
        assert_eq!(Calibration::from_metadata(|_| None), Ok(Calibration::default()));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for text in ["0", "-1", "nan", "inf", "", "warm", "1e-40"] {
            for name in [TEMPERATURE, GENDER_TEMPERATURE] {
                let error = read(name, text).unwrap_err().to_string();
                assert!(error.contains(name) && error.contains("above 0"), "{text:?}: {error}");
            }
        }
        for text in ["-0.1", "1.01", "nan"] {
            assert_eq!(read(UNSURE_BELOW, text).unwrap_err().entry, UNSURE_BELOW);
        }
        assert_eq!(read(UNSURE_BELOW, "1").unwrap().unsure_below, 1.0);
    }
}
