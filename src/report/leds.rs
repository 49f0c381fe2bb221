//! Eight LEDs: one for each expression, and one for "a face is seen".
//!
//! [`Leds::open`] picks what they are: GPIO lines of the Linux character device (feature
//! `gpio-cdev`) or of a Raspberry Pi's registers (feature `gpio-rppal`), both through
//! embedded-hal's `OutputPin`; or a line drawn in the terminal; or nothing.

mod brightness;
#[cfg(feature = "gpio-cdev")]
mod cdev;
#[cfg(not(feature = "gpio-cdev"))]
#[path = "leds/cdev_absent.rs"]
mod cdev;
mod options;
pub mod pattern;
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
use crate::gpio::{GpioError, Use};

pub use options::{Backend, LedLines, LedOptions};

use brightness::Brightness;
use pins::{Pins, Switched};
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

    /// As in "LED happy".
    #[cfg_attr(not(any(feature = "gpio-cdev", feature = "gpio-rppal")), allow(dead_code))]
    fn in_words(self) -> String {
        format!("LED {}", self.name())
    }
}

/// What is to be lit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Lit {
    expression: Option<Expression>,
    /// Of the expression's LED.
    brightness: Brightness,
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

    /// The share of the time that it is to be lit.
    fn duty(self, led: Led) -> f32 {
        match led {
            _ if !self.includes(led) => 0.0,
            Led::Showing(_) if !self.all => self.brightness.duty(),
            _ => 1.0,
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
    /// A line can't be had.
    #[error(transparent)]
    Gpio(#[from] GpioError),
    /// Lines do not obey; the other LEDs go on.
    #[error("LEDs failed: {}", failed.join("; "))]
    Failed { failed: Vec<String> },
}

/// What an LED's line is for.
#[cfg_attr(not(any(feature = "gpio-cdev", feature = "gpio-rppal")), allow(dead_code))]
fn section_use(led: &str) -> Use<'_> {
    Use { user: led, section: "[leds.lines]" }
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
        let pins = pins.into_iter().map(|(led, line, pin)| (led, line, Switched(pin)));
        Self::dark(Some(Box::new(Pins::new(pins.collect(), active_low))))
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

    /// Lights the LED of the expression shown, or none, and the "face seen" LED or not. Where LEDs
    /// can be dimmed, the expression's is as bright as its share (0…1) is large.
    ///
    /// An error names the lines that fail, once until they work again; the others are set.
    pub fn show(
        &mut self,
        shown: Option<(Expression, f32)>,
        face_seen: bool,
    ) -> Result<(), LedError> {
        let expression = shown.map(|(expression, _)| expression);
        let brightness =
            shown.map_or_else(Brightness::default, |(_, share)| Brightness::of_share(share));
        self.wanted = Lit { expression, brightness, face_seen, ..self.wanted };
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
        // Of the two only the registers can dim.
        let backends = match options.dim {
            true => [rppal::open, cdev::open],
            false => [cdev::open, rppal::open],
        };
        for open in backends {
            match open(options) {
                Err(LedError::Gpio(error)) if error.is_absent() => {}
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
