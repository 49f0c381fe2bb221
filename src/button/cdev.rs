//! The button on a line of the Linux GPIO character device. Crate `gpio-cdev` can't ask for a pull-up:
//! the board or the Pi's `config.txt` has it.

use super::{Level, level_of};
use crate::gpio::{GpioError, Use, cdev};

pub(super) fn open(line: u32, chip_label: Option<&str>, of: Use) -> Result<Level, GpioError> {
    let mut chip = cdev::chip(chip_label)?;
    Ok(level_of(cdev::input(&mut chip, line, of)?))
}
