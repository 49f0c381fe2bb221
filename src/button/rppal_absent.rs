//! Stands in for rppal where its feature is off.

use super::Level;
use crate::gpio::{GpioError, Use};

pub(super) fn open(_: u32, _: bool, _: Use) -> Result<Level, GpioError> {
    Err(GpioError::NotBuilt { backend: "rppal", feature: "gpio-rppal" })
}
