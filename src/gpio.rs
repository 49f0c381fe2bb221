//! The machine's GPIO lines, as far as LEDs and button share it.

#[cfg(feature = "gpio-cdev")]
pub(crate) mod cdev;
#[cfg(feature = "gpio-rppal")]
pub(crate) mod rppal;

/// Why a line can't be had.
#[derive(Debug, thiserror::Error)]
pub enum GpioError {
    /// The back end is not part of this program.
    #[error(
        "this program was built without GPIO back end \"{backend}\"; build it with `--features \
         {feature}`, or set `backend = \"auto\"` under `[leds]`"
    )]
    NotBuilt { backend: &'static str, feature: &'static str },
    /// This machine has no such GPIO.
    #[error("no GPIO: {looked_for} not found; check `{key}` under `[leds]`")]
    NoHardware { looked_for: String, key: &'static str },
    /// The GPIO is there, but closed to this program.
    #[error("can't use GPIO {device}: {why}; let this user use it (`usermod -aG gpio USER`)")]
    Open { device: String, why: String },
    /// One line is refused.
    #[error("can't take line {line} for {user}: {why}; free it, or name another under `{section}`")]
    Line { line: u32, user: String, why: String, section: &'static str },
}

impl GpioError {
    /// Whether this program or this machine has none of it, so that another back end may be tried.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, GpioError::NotBuilt { .. } | GpioError::NoHardware { .. })
    }
}

/// What a line is for, for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Use<'a> {
    /// As in "for LED happy".
    pub user: &'a str,
    /// The section of the configuration that names the line.
    pub section: &'static str,
}

impl Use<'_> {
    /// The line is refused for this reason.
    #[cfg_attr(not(any(feature = "gpio-cdev", feature = "gpio-rppal")), allow(dead_code))]
    pub(crate) fn refused(self, line: u32, why: String) -> GpioError {
        GpioError::Line { line, user: self.user.to_owned(), why, section: self.section }
    }
}
