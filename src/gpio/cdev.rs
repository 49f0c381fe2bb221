//! Lines of the Linux GPIO character device (`/dev/gpiochip*`).

use linux_embedded_hal::CdevPin;
use linux_embedded_hal::gpio_cdev::{Chip, LineRequestFlags, chips};

use super::{GpioError, Use};

/// Labels of the chip behind a Raspberry Pi's header: up to the 3, the 4, the 5. By label, since
/// a Pi 5's moved from gpiochip4 to gpiochip0 between kernels.
const RASPBERRY_PI_LABELS: [&str; 3] = ["pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1"];

/// Who uses a line, as `gpioinfo` shows it.
const CONSUMER: &str = "mien";

/// The chip with this label; without one a Raspberry Pi's.
pub(crate) fn chip(label: Option<&str>) -> Result<Chip, GpioError> {
    match label {
        Some(label) => find_chip(&[label]),
        None => find_chip(&RASPBERRY_PI_LABELS),
    }
}

/// The first chip with one of the labels. One that can't be opened is the error if none has.
fn find_chip(labels: &[&str]) -> Result<Chip, GpioError> {
    let refuse = |why: String| GpioError::Open { device: "/dev/gpiochip*".into(), why };
    let mut refused = None;
    for chip in chips().map_err(|error| refuse(error.to_string()))? {
        match chip {
            Ok(chip) if labels.contains(&chip.label()) => return Ok(chip),
            Ok(_) => {}
            Err(error) => refused = Some(refuse(error.to_string())),
        }
    }
    let looked_for = format!("a chip labelled {}", labels.join(" or "));
    Err(refused.unwrap_or(GpioError::NoHardware { looked_for, key: "chip_label" }))
}

/// Which program has a line of a Raspberry Pi's header, as the kernel knows it; none if none has or nobody
/// tells. Of a line without a consumer's name the Pi's kernel says that it is used, too, once it was.
#[cfg(feature = "gpio-rppal")]
pub(crate) fn consumer(line: u32) -> Option<String> {
    let info = chip(None).ok()?.get_line(line).ok()?.info().ok()?;
    info.consumer().filter(|_| info.is_used()).map(str::to_owned)
}

/// Takes a line as an output that begins high or low.
pub(crate) fn output(
    chip: &mut Chip,
    line: u32,
    high: bool,
    of: Use,
) -> Result<CdevPin, GpioError> {
    take(chip, line, LineRequestFlags::OUTPUT, u8::from(high), of)
}

/// Takes a line as an input.
pub(crate) fn input(chip: &mut Chip, line: u32, of: Use) -> Result<CdevPin, GpioError> {
    take(chip, line, LineRequestFlags::INPUT, 0, of)
}

fn take(
    chip: &mut Chip,
    line: u32,
    flags: LineRequestFlags,
    level: u8,
    of: Use,
) -> Result<CdevPin, GpioError> {
    let taken = chip.get_line(line).map_err(|error| of.refused(line, error.to_string()))?;
    taken.request(flags, level, CONSUMER).and_then(CdevPin::new).map_err(|error| {
        let consumer = taken.info().ok().and_then(|info| info.consumer().map(str::to_owned));
        let used = consumer.map(|consumer| format!(" (it is used by \"{consumer}\")"));
        of.refused(line, format!("{error}{}", used.unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_chip_is_named() {
        match chip(Some("no-such-chip")).err().unwrap() {
            GpioError::NoHardware { looked_for, .. } => {
                assert!(looked_for.contains("no-such-chip"))
            }
            // Chips that this user may not open might be the one.
            GpioError::Open { device, .. } => assert_eq!(device, "/dev/gpiochip*"),
            error => panic!("{error}"),
        }
    }
}
