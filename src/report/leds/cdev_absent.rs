//! Stands in for the character device where its feature is off.

use super::{LedError, LedOptions, Panel};
use crate::gpio::GpioError;

pub(super) fn open(_options: &LedOptions) -> Result<Box<dyn Panel>, LedError> {
    Err(GpioError::NotBuilt { backend: "cdev", feature: "gpio-cdev" }.into())
}
