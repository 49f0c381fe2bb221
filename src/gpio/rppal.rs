//! Lines of a Raspberry Pi's GPIO registers (`/dev/gpiomem`). On release a line goes back to what it
//! was before.

use ::rppal::gpio::{Error, Gpio, Pin};

use super::{GpioError, Use};

/// The registers.
pub(crate) fn open() -> Result<Gpio, GpioError> {
    Gpio::new().map_err(|error| match error {
        Error::UnknownModel => {
            GpioError::NoHardware { looked_for: "a Raspberry Pi".into(), key: "backend" }
        }
        Error::PermissionDenied(device) => {
            GpioError::Open { device, why: "permission denied".into() }
        }
        error => GpioError::Open { device: "of the Raspberry Pi".into(), why: error.to_string() },
    })
}

/// A line, by its BCM number, if the kernel has not given it to another program.
pub(crate) fn pin(gpio: &Gpio, line: u32, of: Use) -> Result<Pin, GpioError> {
    let number =
        u8::try_from(line).map_err(|_| of.refused(line, "there is no such GPIO".into()))?;
    #[cfg(feature = "gpio-cdev")]
    if let Some(consumer) = super::cdev::consumer(line) {
        return Err(of.refused(line, format!("it is used by \"{consumer}\"")));
    }
    gpio.get(number).map_err(|error| of.refused(line, error.to_string()))
}
