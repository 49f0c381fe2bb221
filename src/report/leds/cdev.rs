//! LEDs on lines of the Linux GPIO character device (`/dev/gpiochip*`).

use linux_embedded_hal::CdevPin;
use linux_embedded_hal::gpio_cdev::{Chip, LineRequestFlags, chips};

use super::pins::Pins;
use super::{Led, LedError, LedOptions, Panel};

/// Labels of the chip behind a Raspberry Pi's header: up to the 3, the 4, the 5. By label, since
/// a Pi 5's moved from gpiochip4 to gpiochip0 between kernels.
const RASPBERRY_PI_LABELS: [&str; 3] = ["pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1"];

/// Who uses a line, as `gpioinfo` shows it.
const CONSUMER: &str = "mien";

/// Takes the lines as dark outputs.
pub(super) fn open(options: &LedOptions) -> Result<Box<dyn Panel>, LedError> {
    let mut chip = match &options.chip_label {
        Some(label) => find_chip(&[label])?,
        None => find_chip(&RASPBERRY_PI_LABELS)?,
    };
    let mut pins = Vec::new();
    for (led, line) in options.lines.named() {
        pins.push((led, line, take(&mut chip, led, line, options.active_low)?));
    }
    Ok(Box::new(Pins::new(pins, options.active_low)))
}

/// The first chip with one of the labels. One that can't be opened is the error if none has.
fn find_chip(labels: &[&str]) -> Result<Chip, LedError> {
    let refuse = |why: String| LedError::Open { device: "/dev/gpiochip*".into(), why };
    let mut refused = None;
    for chip in chips().map_err(|error| refuse(error.to_string()))? {
        match chip {
            Ok(chip) if labels.contains(&chip.label()) => return Ok(chip),
            Ok(_) => {}
            Err(error) => refused = Some(refuse(error.to_string())),
        }
    }
    let looked_for = format!("a chip labelled {}", labels.join(" or "));
    Err(refused.unwrap_or(LedError::NoHardware { looked_for }))
}

fn take(chip: &mut Chip, led: Led, line: u32, active_low: bool) -> Result<CdevPin, LedError> {
    // The panel inverts active-low lines itself, the kernel need not.
    let dark = u8::from(active_low);
    chip.get_line(line)
        .and_then(|taken| taken.request(LineRequestFlags::OUTPUT, dark, CONSUMER))
        .and_then(CdevPin::new)
        .map_err(|error| LedError::Line { led, line, why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_chip_is_named() {
        let options: LedOptions =
            toml::from_str("chip_label = \"no-such-chip\"\nlines.happy = 1").unwrap();
        match open(&options).err().unwrap() {
            LedError::NoHardware { looked_for } => assert!(looked_for.contains("no-such-chip")),
            // Chips that this user may not open might be the one.
            LedError::Open { device, .. } => assert_eq!(device, "/dev/gpiochip*"),
            error => panic!("{error}"),
        }
    }
}
