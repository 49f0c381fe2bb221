//! LEDs on a Raspberry Pi's GPIO registers, dimmed if wished by rppal's pulses from a thread a line.

use std::time::Duration;

use ::rppal::gpio::{self, Level, OutputPin};

use super::pins::{Driver, Pins, Switched};
use super::{LedError, LedOptions, Panel, section_use};
use crate::gpio::rppal;

/// From one pulse to the next: the eye sees no flicker, and a thread that is late by a tenth of a
/// millisecond makes no difference to it.
const PULSE_PERIOD: Duration = Duration::from_millis(10);

/// Takes the lines as dark outputs. A line is its BCM number.
pub(super) fn open(options: &LedOptions) -> Result<Box<dyn Panel>, LedError> {
    let gpio = rppal::open()?;
    let mut pins = Vec::new();
    for (led, line) in options.lines.named() {
        let pin = rppal::pin(&gpio, line, section_use(&led.in_words()))?;
        let pin = match Level::from(options.active_low) {
            Level::Low => pin.into_output_low(),
            Level::High => pin.into_output_high(),
        };
        pins.push((led, line, pin));
    }
    Ok(match options.dim {
        true => Box::new(panel(pins, Pulsed, options)),
        false => Box::new(panel(pins, Switched, options)),
    })
}

fn panel<D: Driver>(
    pins: Vec<(super::Led, u32, OutputPin)>,
    driver: fn(OutputPin) -> D,
    options: &LedOptions,
) -> Pins<D> {
    let pins = pins.into_iter().map(|(led, line, pin)| (led, line, driver(pin)));
    Pins::new(pins.collect(), options.active_low)
}

/// A line that is high for a part of the time.
struct Pulsed(OutputPin);

impl Driver for Pulsed {
    type Error = gpio::Error;
    const DIMS: bool = true;

    fn set(&mut self, high: f32) -> Result<(), gpio::Error> {
        if high > 0.0 && high < 1.0 {
            return self.0.set_pwm(PULSE_PERIOD, PULSE_PERIOD.mul_f32(high));
        }
        // Without pulses there is no thread to be late.
        self.0.clear_pwm()?;
        self.0.write(Level::from(high >= 1.0));
        Ok(())
    }
}
