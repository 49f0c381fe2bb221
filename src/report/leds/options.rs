//! What a user may set about the LEDs.

use serde::{Deserialize, Serialize};

use super::{Led, LedError};
use crate::expression::Expression;

/// What the LEDs are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// GPIO if lines are set and the machine has any, else the terminal.
    #[default]
    Auto,
    /// A line drawn in the terminal; nothing if standard output is none.
    Terminal,
    /// The Linux GPIO character device, any board (feature `gpio-cdev`).
    Cdev,
    /// A Raspberry Pi's GPIO registers (feature `gpio-rppal`).
    Rppal,
    /// No LEDs.
    None,
}

/// Where the LEDs are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LedOptions {
    /// What they are.
    pub backend: Backend,
    /// Label of the GPIO chip, as `gpiodetect` prints it in brackets; unset looks for a
    /// Raspberry Pi's. Only for [`Backend::Cdev`].
    pub chip_label: Option<String>,
    /// Whether an LED lights when its line is low.
    pub active_low: bool,
    /// Whether the expression's LED is as bright as the answer is sure. Only for
    /// [`Backend::Rppal`].
    pub dim: bool,
    /// Each LED's line.
    pub lines: LedLines,
}

/// Each LED's line: its offset on the chip, on a Raspberry Pi the number in "GPIO17". An LED
/// without a line is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct LedLines {
    pub angry: Option<u32>,
    pub disgust: Option<u32>,
    pub fear: Option<u32>,
    pub happy: Option<u32>,
    pub sad: Option<u32>,
    pub surprise: Option<u32>,
    pub neutral: Option<u32>,
    pub face_seen: Option<u32>,
}

impl LedLines {
    /// The LED's line.
    pub fn of(&self, led: Led) -> Option<u32> {
        match led {
            Led::Showing(Expression::Angry) => self.angry,
            Led::Showing(Expression::Disgust) => self.disgust,
            Led::Showing(Expression::Fear) => self.fear,
            Led::Showing(Expression::Happy) => self.happy,
            Led::Showing(Expression::Sad) => self.sad,
            Led::Showing(Expression::Surprise) => self.surprise,
            Led::Showing(Expression::Neutral) => self.neutral,
            Led::FaceSeen => self.face_seen,
        }
    }

    /// The LEDs that have a line, with it.
    pub fn named(&self) -> impl Iterator<Item = (Led, u32)> {
        Led::ALL.into_iter().filter_map(|led| Some((led, self.of(led)?)))
    }
}

impl LedOptions {
    /// Refuses lines that are shared, and a GPIO back end without lines.
    pub fn validate(&self) -> Result<(), LedError> {
        let named: Vec<(Led, u32)> = self.lines.named().collect();
        for (i, &(second, line)) in named.iter().enumerate() {
            if let Some(&(first, _)) = named[..i].iter().find(|(_, other)| *other == line) {
                return Err(LedError::SharedLine { line, first, second });
            }
        }
        match self.backend {
            Backend::Cdev if named.is_empty() => Err(LedError::NoLines { backend: "cdev" }),
            Backend::Rppal if named.is_empty() => Err(LedError::NoLines { backend: "rppal" }),
            _ => Ok(()),
        }
    }
}
