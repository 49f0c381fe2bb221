//! What Linux tells of the machine: how warm its CPU is, and whether a Raspberry Pi slows it down.

use std::fs;
use std::path::{Path, PathBuf};

/// Where Linux tells temperatures, each in a folder `thermal_zone<N>`.
const THERMAL: &str = "sys/class/thermal";
/// Where a Raspberry Pi's kernel has the firmware's device, in a folder `soc` or, on a Pi 5, `soc@…`.
const PLATFORM: &str = "sys/devices/platform";
/// Its folder's name ends so.
const FIRMWARE: &str = ":firmware";
/// In there, what `vcgencmd get_throttled` prints, hexadecimal.
const THROTTLED: &str = "get_throttled";
/// Where a kernel without that file tells of under-voltage, in a folder `hwmon<N>`.
const HWMON: &str = "sys/class/hwmon";
const VOLTAGE_MONITOR: &str = "rpi_volt";
/// 1 if there was under-voltage since the start.
const UNDER_VOLTAGE_ALARM: &str = "in0_lcrit_alarm";
/// The firmware's bit for that.
const UNDER_VOLTAGE_SINCE_START: u32 = 1 << 16;

/// The CPU's temperature, °C: that of the zone whose type names the CPU, as a Raspberry Pi's
/// `cpu-thermal` does, else of the first. None where the machine does not tell.
pub fn cpu_celsius() -> Option<f64> {
    cpu_celsius_under(Path::new("/"))
}

/// What slows the CPU down, in the firmware's bits: from 0 on what does now (under-voltage, frequency
/// capped, throttled, soft temperature limit), from 16 on what has since the start. A kernel without the
/// firmware's file tells only of under-voltage since the start, and what is no Raspberry Pi nothing.
pub fn throttled() -> Option<u32> {
    throttled_under(Path::new("/"))
}

fn cpu_celsius_under(root: &Path) -> Option<f64> {
    let zone = |number: u32| root.join(THERMAL).join(format!("thermal_zone{number}"));
    let is_cpu = |number: &u32| {
        let kind = fs::read_to_string(zone(*number).join("type")).unwrap_or_default();
        kind.starts_with("cpu") || kind.starts_with("x86_pkg")
    };
    let cpu = (0..).take_while(|&number| zone(number).exists()).find(is_cpu).unwrap_or(0);
    let thousandths: f64 = text(&zone(cpu).join("temp"))?.parse().ok()?;
    Some(thousandths / 1e3)
}

fn throttled_under(root: &Path) -> Option<u32> {
    let bits = folders(&root.join(PLATFORM), |name| name.starts_with("soc"))
        .flat_map(|soc| folders(&soc, |name| name.ends_with(FIRMWARE)))
        .find_map(|firmware| text(&firmware.join(THROTTLED)));
    match bits {
        Some(bits) => u32::from_str_radix(bits.trim_start_matches("0x"), 16).ok(),
        None => under_voltage_under(root),
    }
}

fn under_voltage_under(root: &Path) -> Option<u32> {
    let monitor = folders(&root.join(HWMON), |_| true)
        .find(|folder| text(&folder.join("name")).is_some_and(|name| name == VOLTAGE_MONITOR))?;
    let alarm = text(&monitor.join(UNDER_VOLTAGE_ALARM))?;
    Some(if alarm == "1" { UNDER_VOLTAGE_SINCE_START } else { 0 })
}

fn folders<F: Fn(&str) -> bool>(of: &Path, wanted: F) -> impl Iterator<Item = PathBuf> + use<F> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    entries
        .filter(move |entry| entry.file_name().to_str().is_some_and(&wanted))
        .map(|entry| entry.path())
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn zone(number: u32, file: &str) -> String {
        format!("{THERMAL}/thermal_zone{number}/{file}")
    }

    #[test]
    fn the_cpu_is_the_zone_that_says_so_else_the_first() {
        let [kind0, temp0, kind1, temp1] =
            [zone(0, "type"), zone(0, "temp"), zone(1, "type"), zone(1, "temp")];
        let first = [(&*kind0, "acpitz\n"), (&*temp0, "27800\n")];
        let celsius = |files: &[(&str, &str)]| cpu_celsius_under(machine(files).path());
        assert_eq!(celsius(&first), Some(27.8));
        let second = [(&*kind1, "cpu-thermal\n"), (&*temp1, "48312\n")];
        assert_eq!(celsius(&[first, second].concat()), Some(48.312));
        assert_eq!(celsius(&[]), None);
        assert_eq!(celsius(&[(&*temp0, "hot")]), None);
    }

    #[test]
    fn the_firmwares_bits_are_hexadecimal() {
        let pi_4 = format!("{PLATFORM}/soc/soc:firmware/{THROTTLED}");
        let throttled = |text| throttled_under(machine(&[(&pi_4, text)]).path());
        assert_eq!(throttled("0\n"), Some(0));
        assert_eq!(throttled("50005\n"), Some(0x50005));
        assert_eq!(throttled("0x80008"), Some(0x80008));
        assert_eq!(throttled("no"), None);
        assert_eq!(throttled_under(machine(&[]).path()), None);
        let pi_5 = format!("{PLATFORM}/soc@107c000000/soc@107c000000:firmware/{THROTTLED}");
        assert_eq!(throttled_under(machine(&[(&pi_5, "50000\n")]).path()), Some(0x50000));
    }

    #[test]
    fn without_the_firmwares_file_its_voltage_monitor_tells() {
        let alarm = |name: &str, text: &str| {
            let file = |file| format!("{HWMON}/hwmon1/{file}");
            let files = [(file("name"), name), (file(UNDER_VOLTAGE_ALARM), text)];
            throttled_under(machine(&files.each_ref().map(|(path, text)| (&**path, *text))).path())
        };
        assert_eq!(alarm("rpi_volt\n", "1\n"), Some(0x10000));
        assert_eq!(alarm("rpi_volt\n", "0\n"), Some(0));
        assert_eq!(alarm("cpu_thermal\n", "1\n"), None);
    }
}
