//! Stands in for rppal where its feature is off.

use super::{LedError, LedOptions, Panel};

pub(super) fn open(_options: &LedOptions) -> Result<Box<dyn Panel>, LedError> {
    Err(LedError::NotBuilt { backend: "rppal", feature: "gpio-rppal" })
}
