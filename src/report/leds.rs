//! Eight LEDs: one for each expression, and one for "a face is seen".
//!
//! [`Leds::open`] picks what they are: GPIO lines of the Linux character device (feature
//! `gpio-cdev`) or of a Raspberry Pi's registers (feature `gpio-rppal`), both through
//! embedded-hal's `OutputPin`; or a line drawn in the terminal; or nothing.

#[cfg(feature = "gpio-cdev")]
mod cdev;
#[cfg(not(feature = "gpio-cdev"))]
#[path = "leds/cdev_absent.rs"]
mod cdev;
mod options;
mod pins;
#[cfg(feature = "gpio-rppal")]
mod rppal;
#[cfg(not(feature = "gpio-rppal"))]
#[path = "leds/rppal_absent.rs"]
mod rppal;
mod terminal;

use std::io::{IsTerminal, stdout};

use embedded_hal::digital::OutputPin;

use crate::expression::Expression;

pub use options::{Backend, LedLines, LedOptions};

use pins::Pins;
use terminal::Terminal;

/// One of the eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Led {
    /// Lit while this expression is shown.
    Showing(Expression),
    /// Lit while any face is seen.
    FaceSeen,
}

impl Led {
    /// All, in the order they are drawn in.
    pub const ALL: [Led; 8] = [
        Led::Showing(Expression::ALL[0]),
        Led::Showing(Expression::ALL[1]),
        Led::Showing(Expression::ALL[2]),
        Led::Showing(Expression::ALL[3]),
        Led::Showing(Expression::ALL[4]),
        Led::Showing(Expression::ALL[5]),
        Led::Showing(Expression::ALL[6]),
        Led::FaceSeen,
    ];

    /// Its name, as in the config.
    pub fn name(self) -> &'static str {
        match self {
            Led::Showing(expression) => expression.name(),
            Led::FaceSeen => "face_seen",
        }
    }
}

/// What is to be lit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Lit {
    expression: Option<Expression>,
    face_seen: bool,
    /// All, whatever is shown.
    all: bool,
}

impl Lit {
    fn includes(self, led: Led) -> bool {
        self.all
            || match led {
                Led::Showing(expression) => self.expression == Some(expression),
                Led::FaceSeen => self.face_seen,
            }
    }
}

/// Something that can show the eight.
trait Panel: Send {
    /// Sets every LED. The error names those that have failed since they last worked.
    fn set(&mut self, lit: Lit) -> Result<(), LedError>;

    /// Whether it is no more than a drawing.
    fn is_drawing(&self) -> bool {
        false
    }
}

/// Why LEDs could not be had, or did not obey.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LedError {
    /// Two LEDs are on one line.
    #[error(
        "LEDs {} and {} share line {line}; give each its own under `[leds.lines]`",
        first.name(), second.name()
    )]
    SharedLine { line: u32, first: Led, second: Led },
    /// A GPIO back end is asked for, but no LED has a line.
    #[error("LED back end \"{backend}\" needs lines; name them under `[leds.lines]`")]
    NoLines { backend: &'static str },
    /// The back end is not part of this program.
    #[error(
        "this program was built without LED back end \"{backend}\"; build it with `--features \
         {feature}`, or set `backend = \"auto\"` under `[leds]`"
    )]
    NotBuilt { backend: &'static str, feature: &'static str },
    /// This machine has no such GPIO.
    #[error("no GPIO for the LEDs: {looked_for} not found; check `chip_label` under `[leds]`")]
    NoHardware { looked_for: String },
    /// The GPIO is there, but closed to this program.
    #[error("can't use GPIO {device}: {why}; let this user use it (`usermod -aG gpio USER`)")]
    Open { device: String, why: String },
    /// A line can't be had.
    #[error(
        "can't take line {line} for LED {}: {why}; free it, or name another under `[leds.lines]`",
        led.name()
    )]
    Line { led: Led, line: u32, why: String },
    /// Lines do not obey; the other LEDs go on.
    #[error("LEDs failed: {}", failed.join("; "))]
    Failed { failed: Vec<String> },
}

/// The LEDs. They are dark at first, and again when this is dropped, also by a panic.
pub struct Leds {
    panel: Option<Box<dyn Panel>>,
    wanted: Lit,
    /// What was last set; `None` after a failure, so that the next call tries again.
    shown: Option<Lit>,
}

impl Leds {
    /// Checks the options and takes the LEDs they ask for.
    pub fn open(options: &LedOptions) -> Result<Self, LedError> {
        options.validate()?;
        let panel = match options.backend {
            Backend::None => None,
            Backend::Terminal => terminal_panel(),
            Backend::Cdev => Some(cdev::open(options)?),
            Backend::Rppal => Some(rppal::open(options)?),
            Backend::Auto => automatic(options)?,
        };
        Ok(Self::dark(panel))
    }

    /// LEDs on any board's pins, each with its line's number for messages.
    pub fn on_pins<P>(pins: Vec<(Led, u32, P)>, active_low: bool) -> Self
    where
        P: OutputPin + Send + 'static,
    {
        Self::dark(Some(Box::new(Pins::new(pins, active_low))))
    }

    fn dark(panel: Option<Box<dyn Panel>>) -> Self {
        let mut leds = Self { panel, wanted: Lit::default(), shown: None };
        if let Err(error) = leds.off() {
            log::error!("{error}");
        }
        leds
    }

    /// Whether they are only drawn in the terminal, or not even that.
    pub fn are_drawn(&self) -> bool {
        self.panel.as_ref().is_none_or(|panel| panel.is_drawing())
    }

    /// Lights the expression's LED, or none, and the "face seen" LED or not.
    ///
    /// An error names the lines that fail, once until they work again; the others are set.
    pub fn show(
        &mut self,
        expression: Option<Expression>,
        face_seen: bool,
    ) -> Result<(), LedError> {
        self.wanted = Lit { expression, face_seen, ..self.wanted };
        self.update()
    }

    /// Lights all, or goes back to what is to be shown: flashing all says that something is wrong.
    pub fn all(&mut self, lit: bool) -> Result<(), LedError> {
        self.wanted.all = lit;
        self.update()
    }

    /// Darkens all, whatever they showed.
    pub fn off(&mut self) -> Result<(), LedError> {
        self.wanted = Lit::default();
        self.set(self.wanted)
    }

    fn update(&mut self) -> Result<(), LedError> {
        if self.shown == Some(self.wanted) { Ok(()) } else { self.set(self.wanted) }
    }

    fn set(&mut self, lit: Lit) -> Result<(), LedError> {
        self.shown = None;
        if let Some(panel) = &mut self.panel {
            panel.set(lit)?;
        }
        self.shown = Some(lit);
        Ok(())
    }
}

impl Drop for Leds {
    fn drop(&mut self) {
        if let Err(error) = self.off() {
            log::error!("LEDs may still be lit: {error}");
        }
    }
}

/// GPIO if lines are set and there is any, else the terminal.
fn automatic(options: &LedOptions) -> Result<Option<Box<dyn Panel>>, LedError> {
    if options.lines.named().next().is_some() {
        for open in [cdev::open, rppal::open] {
            match open(options) {
                Err(LedError::NotBuilt { .. } | LedError::NoHardware { .. }) => {}
                panel => return panel.map(Some),
            }
        }
        log::info!("no GPIO here that this program can use; its LEDs are drawn instead");
    }
    Ok(terminal_panel())
}

/// A drawing for people only: into a file or pipe nothing is drawn.
fn terminal_panel() -> Option<Box<dyn Panel>> {
    let stdout = stdout();
    if stdout.is_terminal() { Some(Box::new(Terminal::new(stdout))) } else { None }
}

#[cfg(test)]
mod tests;
