//! The button on a Raspberry Pi's GPIO registers, which pull its line to where it is not pressed.

use super::{Level, level_of};
use crate::gpio::{GpioError, Use, rppal};

pub(super) fn open(line: u32, active_low: bool, of: Use) -> Result<Level, GpioError> {
    let pin = rppal::pin(&rppal::open()?, line, of)?;
    let pin = if active_low { pin.into_input_pullup() } else { pin.into_input_pulldown() };
    Ok(level_of(pin))
}
