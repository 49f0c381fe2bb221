//! LEDs on a Raspberry Pi's GPIO registers (`/dev/gpiomem`). On release a line goes back to what
//! it was before.

use ::rppal::gpio::{Error, Gpio, Level};

use super::pins::Pins;
use super::{LedError, LedOptions, Panel};

/// Takes the lines as dark outputs. A line is its BCM number.
pub(super) fn open(options: &LedOptions) -> Result<Box<dyn Panel>, LedError> {
    let gpio = Gpio::new().map_err(|error| match error {
        Error::UnknownModel => LedError::NoHardware { looked_for: "a Raspberry Pi".into() },
        Error::PermissionDenied(device) => {
            LedError::Open { device, why: "permission denied".into() }
        }
        error => LedError::Open { device: "of the Raspberry Pi".into(), why: error.to_string() },
    })?;
    let mut pins = Vec::new();
    for (led, line) in options.lines.named() {
        let refuse = |why: String| LedError::Line { led, line, why };
        let number = u8::try_from(line).map_err(|_| refuse("there is no such GPIO".into()))?;
        let pin = gpio.get(number).map_err(|error| refuse(error.to_string()))?;
        let pin = match Level::from(options.active_low) {
            Level::Low => pin.into_output_low(),
            Level::High => pin.into_output_high(),
        };
        pins.push((led, line, pin));
    }
    Ok(Box::new(Pins::new(pins, options.active_low)))
}
