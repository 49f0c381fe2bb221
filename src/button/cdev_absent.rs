//! Stands in for the character device where its feature is off.

use super::Level;
use crate::gpio::{GpioError, Use};

pub(super) fn open(_: u32, _: Option<&str>, _: Use) -> Result<Level, GpioError> {
    Err(GpioError::NotBuilt { backend: "cdev", feature: "gpio-cdev" })
}
