//! A button by which whoever is before the kiosk pauses it, and lets it go on.
//!
//! A thread looks at its line 50 times a second, so that a press counts also while the main loop is
//! busy with a frame, and whichever way the machine's GPIO is reached.

#[cfg(feature = "gpio-cdev")]
mod cdev;
#[cfg(not(feature = "gpio-cdev"))]
#[path = "button/cdev_absent.rs"]
mod cdev;
mod debounce;
#[cfg(feature = "gpio-rppal")]
mod rppal;
#[cfg(not(feature = "gpio-rppal"))]
#[path = "button/rppal_absent.rs"]
mod rppal;

use std::fmt::Debug;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use embedded_hal::digital::InputPin;
use serde::Deserialize;

use crate::gpio::{GpioError, Use};
use crate::report::leds::{Backend, LedOptions};

use debounce::Debounce;

/// From one look at the line to the next: the shortest press of a finger takes three.
const LOOK_PERIOD: Duration = Duration::from_millis(20);

/// Where the button is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ButtonOptions {
    /// Its line, on the chip and by the back end of the LEDs; none: there is no button.
    pub line: Option<u32>,
    /// Whether the line is low while it is pressed.
    pub active_low: bool,
    /// A level counts once it has been the same for so long, ms.
    pub debounce_ms: u32,
}

impl Default for ButtonOptions {
    fn default() -> Self {
        Self { line: None, active_low: true, debounce_ms: 50 }
    }
}

impl ButtonOptions {
    /// Longest time that a press may have to last, ms.
    const MAX_DEBOUNCE_MS: u32 = 2000;

    /// Refuses an LED's line, and a press that takes too long.
    pub fn validate(&self, leds: &LedOptions) -> Result<(), String> {
        if self.debounce_ms > Self::MAX_DEBOUNCE_MS {
            let most = Self::MAX_DEBOUNCE_MS;
            return Err(format!("debounce_ms = {}: must be 0 to {most}", self.debounce_ms));
        }
        match leds.lines.named().find(|(_, line)| Some(*line) == self.line) {
            Some((led, line)) => {
                Err(format!("line = {line}: LED {} is on this line; give each its own", led.name()))
            }
            None => Ok(()),
        }
    }
}

/// Why there is no button.
#[derive(Debug, thiserror::Error)]
pub enum ButtonError {
    /// Its line can't be had.
    #[error(transparent)]
    Gpio(#[from] GpioError),
    /// Nor a thread to look at it.
    #[error("can't start the button's thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// A button that is looked at until this is dropped.
#[derive(Debug)]
pub struct Button {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Button {
    /// Takes the button's line, if it has one, and calls `on_press` for each press.
    pub fn open(
        options: &ButtonOptions,
        leds: &LedOptions,
        on_press: impl FnMut() + Send + 'static,
    ) -> Result<Option<Self>, ButtonError> {
        let Some(line) = options.line else { return Ok(None) };
        Self::watch(take(line, options, leds)?, options, on_press).map(Some)
    }

    /// Looks at a pin of any board.
    pub fn on_pin(
        pin: impl InputPin + Send + 'static,
        options: &ButtonOptions,
        on_press: impl FnMut() + Send + 'static,
    ) -> Result<Self, ButtonError> {
        Self::watch(level_of(pin), options, on_press)
    }

    fn watch(
        mut level: Level,
        options: &ButtonOptions,
        mut on_press: impl FnMut() + Send + 'static,
    ) -> Result<Self, ButtonError> {
        let (stop, stopped) = channel();
        let active_low = options.active_low;
        let stable = Duration::from_millis(options.debounce_ms.into());
        let look = move || {
            let mut debounce = Debounce::new(stable);
            let mut failing = false;
            while stopped.recv_timeout(LOOK_PERIOD) == Err(RecvTimeoutError::Timeout) {
                match level() {
                    Ok(high) => {
                        failing = false;
                        if debounce.is_pressed_anew(high != active_low, Instant::now()) {
                            on_press();
                        }
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut failing, true) {
                            log::warn!("the button can't be read: {error}");
                        }
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("button".into()).spawn(look)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Button {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the button's thread had panicked");
        }
    }
}

/// Tells whether a line is high.
type Level = Box<dyn FnMut() -> Result<bool, String> + Send>;

fn level_of<P>(mut pin: P) -> Level
where
    P: InputPin + Send + 'static,
    P::Error: Debug,
{
    Box::new(move || pin.is_high().map_err(|error| format!("{error:?}")))
}

const USE: Use<'static> = Use { user: "the button", section: "[button]" };

/// Takes the line by the back end of the LEDs; where they are none, by what there is.
fn take(line: u32, options: &ButtonOptions, leds: &LedOptions) -> Result<Level, GpioError> {
    let by_cdev = || cdev::open(line, leds.chip_label.as_deref(), USE);
    let by_rppal = || rppal::open(line, options.active_low, USE);
    match leds.backend {
        Backend::Cdev => by_cdev(),
        Backend::Rppal => by_rppal(),
        // In the order in which the LEDs try them.
        Backend::Auto if leds.dim => by_rppal().or_else(|error| absent(error, by_cdev)),
        Backend::Auto | Backend::Terminal | Backend::None => {
            by_cdev().or_else(|error| absent(error, by_rppal))
        }
    }
}

/// Tries the other back end if the first is not there.
fn absent(
    error: GpioError,
    other: impl FnOnce() -> Result<Level, GpioError>,
) -> Result<Level, GpioError> {
    if error.is_absent() { other() } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::sync::mpsc::channel;

    use embedded_hal::digital::ErrorType;

    use super::*;

    /// A line, and how often it was looked at.
    #[derive(Clone, Default)]
    struct Line(Arc<(AtomicBool, AtomicU32)>);

    impl ErrorType for Line {
        type Error = Infallible;
    }

    impl InputPin for Line {
        fn is_high(&mut self) -> Result<bool, Infallible> {
            self.0.1.fetch_add(1, Ordering::Relaxed);
            Ok(self.0.0.load(Ordering::Relaxed))
        }

        fn is_low(&mut self) -> Result<bool, Infallible> {
            self.is_high().map(|high| !high)
        }
    }

    impl Line {
        fn set(&self, high: bool) {
            self.0.0.store(high, Ordering::Relaxed);
            self.await_looks();
        }

        fn await_looks(&self) {
            let before = self.0.1.load(Ordering::Relaxed);
            while self.0.1.load(Ordering::Relaxed) < before + 3 {
                thread::sleep(LOOK_PERIOD / 4);
            }
        }
    }

    #[test]
    fn each_press_counts_once_and_none_does_after_the_drop() {
        for active_low in [true, false] {
            let line = Line::default();
            line.0.0.store(active_low, Ordering::Relaxed);
            let (send, presses) = channel();
            let options = ButtonOptions { active_low, debounce_ms: 0, ..ButtonOptions::default() };
            let button = Button::on_pin(line.clone(), &options, move || send.send(()).unwrap());
            line.await_looks();
            for _ in 0..2 {
                line.set(!active_low);
                line.set(active_low);
            }
            drop(button.unwrap());
            assert_eq!(presses.iter().count(), 2, "the thread is gone, with its sender");
        }
    }

    #[test]
    fn a_button_without_a_line_is_none() {
        let (options, leds) = (ButtonOptions::default(), LedOptions::default());
        assert!(Button::open(&options, &leds, || ()).unwrap().is_none());
    }

    #[test]
    fn a_line_of_an_led_is_refused_by_name() {
        let leds: LedOptions = toml::from_str("lines.happy = 17").unwrap();
        let button = |text: &str| toml::from_str::<ButtonOptions>(text).unwrap().validate(&leds);
        let why = button("line = 17").unwrap_err();
        assert!(why.contains("line = 17") && why.contains("LED happy"), "{why}");
        assert!(button("line = 18").is_ok() && button("").is_ok());
        assert!(button("debounce_ms = 2001").unwrap_err().contains("0 to 2000"));
    }
}
