//! LEDs on lines of the Linux GPIO character device. They can't be dimmed: a line is set by a call to
//! the kernel, too slow and too uneven for that.

use super::pins::{Pins, Switched};
use super::{LedError, LedOptions, Panel, section_use};
use crate::gpio::cdev;

/// Takes the lines as dark outputs.
pub(super) fn open(options: &LedOptions) -> Result<Box<dyn Panel>, LedError> {
    let mut chip = cdev::chip(options.chip_label.as_deref())?;
    let mut pins = Vec::new();
    for (led, line) in options.lines.named() {
        // The panel inverts active-low lines itself, the kernel need not.
        let dark_is_high = options.active_low;
        let name = led.in_words();
        let pin = cdev::output(&mut chip, line, dark_is_high, section_use(&name))?;
        pins.push((led, line, Switched(pin)));
    }
    if options.dim {
        log::warn!("LEDs of back end \"cdev\" can't be dimmed; `backend = \"rppal\"` can");
    }
    Ok(Box::new(Pins::new(pins, options.active_low)))
}
