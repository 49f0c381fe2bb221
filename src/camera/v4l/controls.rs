//! A camera's controls, set as the configuration has it.
//!
//! Cameras differ in which they have. What can't be set is warned about, with what the camera offers
//! instead, and the kiosk goes on.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use v4l::Device;
use v4l::control::{Control, Description, Flags, Type, Value};

use super::super::controls::{ControlOptions, PowerLine, PowerLineWord, Setting};

/// V4L2's numbers of the controls in use, from `<linux/v4l2-controls.h>`.
const EXPOSURE_AUTO: u32 = 0x009a_0901;
const EXPOSURE_ABSOLUTE: u32 = 0x009a_0902;
const AUTOGAIN: u32 = 0x0098_0912;
const GAIN: u32 = 0x0098_0913;
const POWER_LINE_FREQUENCY: u32 = 0x0098_0918;
/// Values of [`EXPOSURE_AUTO`]. Webcams call their automatic exposure "aperture priority".
const AUTO: i64 = 0;
const MANUAL: i64 = 1;
const SHUTTER_PRIORITY: i64 = 2;
const APERTURE_PRIORITY: i64 = 3;
/// Units of [`EXPOSURE_ABSOLUTE`] in a millisecond.
const EXPOSURE_UNITS_PER_MS: f64 = 10.0;

/// Sets what is wanted of an open camera.
pub(super) fn apply(device: &Device, path: &Path, wanted: &ControlOptions) {
    if *wanted == ControlOptions::default() {
        return;
    }
    let offered = offered(device);
    for step in steps(wanted) {
        let set = match step.value(offered.as_deref()) {
            Ok(Some(value)) => device
                .set_control(Control { id: step.id, value: Value::Integer(value) })
                .map_err(|error| error.to_string()),
            Ok(None) => Ok(()),
            Err(why) => Err(why),
        };
        if let Err(why) = set {
            log::warn!("{}: {} can't be set: {why}; going on", path.display(), step.setting);
        }
    }
}

/// Those that can be set here, each with what it takes.
pub(super) fn texts(device: &Device) -> Vec<String> {
    let ours = [EXPOSURE_AUTO, EXPOSURE_ABSOLUTE, AUTOGAIN, GAIN, POWER_LINE_FREQUENCY];
    let offered = offered(device).unwrap_or_default();
    offered.iter().filter(|control| ours.contains(&control.id)).map(Offered::text).collect()
}

/// All that a device has; `None` if it can't be asked: crate v4l panics on kinds of control that it
/// does not know.
fn offered(device: &Device) -> Option<Vec<Offered>> {
    let listed = panic::catch_unwind(AssertUnwindSafe(|| device.query_controls()));
    Some(listed.ok()?.ok()?.into_iter().filter_map(Offered::of).collect())
}

/// A control that can be set.
#[derive(Clone, Debug)]
struct Offered {
    id: u32,
    name: String,
    range: (i64, i64),
    /// Of a menu.
    items: Option<Vec<i64>>,
}

impl Offered {
    fn of(description: Description) -> Option<Self> {
        let Description { id, typ, name, minimum, maximum, flags, items, .. } = description;
        let settable = matches!(typ, Type::Integer | Type::Boolean | Type::Menu);
        let closed = flags.intersects(Flags::DISABLED | Flags::READ_ONLY);
        let items = items.map(|items| items.iter().map(|(item, _)| i64::from(*item)).collect());
        (settable && !closed).then_some(Self { id, name, range: (minimum, maximum), items })
    }

    fn takes(&self, value: i64) -> bool {
        let (least, most) = self.range;
        match &self.items {
            Some(items) => items.contains(&value),
            None => (least..=most).contains(&value),
        }
    }

    fn text(&self) -> String {
        let (least, most) = self.range;
        match &self.items {
            Some(items) => format!("{} {items:?}", self.name),
            None => format!("{} {least} to {most}", self.name),
        }
    }
}

/// One control to be set.
#[derive(Debug, PartialEq)]
struct Step {
    /// As the configuration has it.
    setting: String,
    id: u32,
    /// The first of these that the camera offers.
    values: Vec<i64>,
    /// Whether a camera without this control is none the worse.
    optional: bool,
}

impl Step {
    /// What to set it to; none if nothing is to be. Errors are sentences.
    fn value(&self, offered: Option<&[Offered]>) -> Result<Option<i64>, String> {
        // Of a camera that does not tell what it has, the first is tried.
        let Some(offered) = offered else { return Ok(self.values.first().copied()) };
        let Some(control) = offered.iter().find(|control| control.id == self.id) else {
            if self.optional {
                return Ok(None);
            }
            let names: Vec<String> = offered.iter().map(Offered::text).collect();
            let names = if names.is_empty() { "nothing".into() } else { names.join(", ") };
            return Err(format!("the camera has no such control, it offers {names}"));
        };
        let value = self.values.iter().copied().find(|value| control.takes(*value));
        value.map(Some).ok_or_else(|| {
            format!("the camera does not take {:?}, it offers {}", self.values, control.text())
        })
    }
}

/// What to do, in order: automatics are switched off before values are set.
fn steps(wanted: &ControlOptions) -> Vec<Step> {
    let ControlOptions { exposure_ms, gain, power_line_hz } = *wanted;
    let mut steps = Vec::new();
    let mut add = |setting: String, id, values: &[i64], optional| {
        steps.push(Step { setting, id, values: values.to_vec(), optional });
    };
    match exposure_ms {
        Some(Setting::Auto(_)) => {
            let automatic = [APERTURE_PRIORITY, AUTO];
            add("exposure_ms = \"auto\"".into(), EXPOSURE_AUTO, &automatic, false);
        }
        Some(Setting::Value(ms)) => {
            let setting = format!("exposure_ms = {ms}");
            let units = (ms * EXPOSURE_UNITS_PER_MS).round() as i64;
            add(setting.clone(), EXPOSURE_AUTO, &[MANUAL, SHUTTER_PRIORITY], true);
            add(setting, EXPOSURE_ABSOLUTE, &[units], false);
        }
        None => {}
    }
    match gain {
        Some(Setting::Auto(_)) => add("gain = \"auto\"".into(), AUTOGAIN, &[1], false),
        Some(Setting::Value(gain)) => {
            let setting = format!("gain = {gain}");
            add(setting.clone(), AUTOGAIN, &[0], true);
            add(setting, GAIN, &[gain.round() as i64], false);
        }
        None => {}
    }
    if let Some(power_line) = power_line_hz {
        let (text, value) = match power_line {
            PowerLine::Word(PowerLineWord::Off) => ("\"off\"", 0),
            PowerLine::Hz(50) => ("50", 1),
            PowerLine::Hz(_) => ("60", 2),
            PowerLine::Word(PowerLineWord::Auto) => ("\"auto\"", 3),
        };
        add(format!("power_line_hz = {text}"), POWER_LINE_FREQUENCY, &[value], false);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn wanted(camera: &str) -> ControlOptions {
        let text = format!("[camera]\n{camera}");
        Config::parse(Path::new("test"), &text).unwrap().camera.controls()
    }

    /// What a usual webcam has.
    fn webcam() -> Vec<Offered> {
        let control = |id, name: &str, range, items: Option<&[i64]>| Offered {
            id,
            name: name.into(),
            range,
            items: items.map(<[i64]>::to_vec),
        };
        vec![
            control(GAIN, "Gain", (0, 100), None),
            control(POWER_LINE_FREQUENCY, "Power Line Frequency", (0, 2), Some(&[0, 1, 2])),
            control(EXPOSURE_AUTO, "Auto Exposure", (0, 3), Some(&[1, 3])),
            control(EXPOSURE_ABSOLUTE, "Exposure Time, Absolute", (3, 2047), None),
        ]
    }

    /// Which controls of it are set to what, and why others are not.
    fn set(camera: &str) -> (Vec<(u32, i64)>, Vec<String>) {
        let (mut set, mut refused) = (Vec::new(), Vec::new());
        for step in steps(&wanted(camera)) {
            match step.value(Some(&webcam())) {
                Ok(value) => set.extend(value.map(|value| (step.id, value))),
                Err(why) => refused.push(format!("{}: {why}", step.setting)),
            }
        }
        (set, refused)
    }

    #[test]
    fn values_switch_the_automatics_off() {
        let (all, refused) = set("exposure_ms = 12.5\ngain = 40\npower_line_hz = 50");
        let expected =
            [(EXPOSURE_AUTO, 1), (EXPOSURE_ABSOLUTE, 125), (GAIN, 40), (POWER_LINE_FREQUENCY, 1)];
        assert_eq!(all, expected);
        assert!(refused.is_empty(), "a webcam without automatic gain needs none switched off");
        let (all, refused) = set("exposure_ms = \"auto\"\npower_line_hz = \"off\"");
        assert_eq!(all, [(EXPOSURE_AUTO, 3), (POWER_LINE_FREQUENCY, 0)]);
        assert!(refused.is_empty());
        assert!(steps(&wanted("")).is_empty(), "what is not set stays as it is");
    }

    #[test]
    fn what_a_camera_lacks_is_told_with_what_it_offers() {
        let (set, refused) = set("gain = \"auto\"\nexposure_ms = 500\npower_line_hz = \"auto\"");
        assert_eq!(set, [(EXPOSURE_AUTO, 1)]);
        let expected = [
            ["exposure_ms = 500: the camera does not take [5000]", "Absolute 3 to 2047"],
            ["gain = \"auto\": the camera has no such control", "Gain 0 to 100"],
            ["power_line_hz = \"auto\": the camera does not take [3]", "Frequency [0, 1, 2]"],
        ];
        for (refused, parts) in refused.iter().zip(expected) {
            assert!(parts.iter().all(|part| refused.contains(part)), "{refused}");
        }
        assert_eq!(refused.len(), expected.len());
    }

    #[test]
    fn a_camera_that_does_not_tell_what_it_has_is_tried() {
        let [step] = &steps(&wanted("exposure_ms = \"auto\""))[..] else { panic!("one step") };
        assert_eq!(step.value(None), Ok(Some(APERTURE_PRIORITY)));
    }
}
