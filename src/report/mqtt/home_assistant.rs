//! How a kiosk introduces itself to Home Assistant: one message that describes the device and all
//! its entities (MQTT device discovery).

use serde_json::{Map, Value, json};

use crate::expression::{Expression, Gender};
use crate::report::event::NO_MOOD;

use super::commands;
use super::topics::Topics;

/// Home Assistant publishes here when it starts.
pub fn birth_topic(prefix: &str) -> String {
    format!("{prefix}/status")
}

/// What it publishes there.
pub const BIRTH: &[u8] = b"online";

/// Where the kiosk named `device` is described; an empty retained message there removes it.
pub fn discovery_topic(prefix: &str, device: &str) -> String {
    format!("{prefix}/device/{}/config", object_id(device))
}

/// The description.
pub fn discovery(device: &str, gender: bool, obeys: bool) -> Value {
    let topics = Topics::new(device);
    let mut entities = Entities { topics, id: object_id(device), all: Map::new() };
    entities.room(gender);
    entities.kiosk();
    if obeys {
        entities.commands();
    }
    json!({
        "dev": {
            "ids": [entities.id],
            "name": format!("mien {device}"),
            "mf": "mien",
            "mdl": "facial expression kiosk",
            "sw": env!("CARGO_PKG_VERSION"),
        },
        "o": { "name": "mien", "sw": env!("CARGO_PKG_VERSION") },
        "cmps": entities.all,
    })
}

/// An identifier of the letters that Home Assistant allows; two names never share one.
fn object_id(device: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if device.chars().all(allowed) {
        return format!("mien_{device}");
    }
    let replaced: String = device.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    format!("mien_{replaced}_{:08x}", crc32fast::hash(device.as_bytes()))
}

struct Entities {
    topics: Topics,
    id: String,
    all: Map<String, Value>,
}

impl Entities {
    /// Adds an entity that is there while the kiosk is connected.
    fn add(&mut self, platform: &str, key: &str, name: &str, mut entity: Value) {
        entity["avty_t"] = self.topics.status().into();
        self.add_always_there(platform, key, name, entity);
    }

    fn add_always_there(&mut self, platform: &str, key: &str, name: &str, mut entity: Value) {
        entity["p"] = platform.into();
        entity["unique_id"] = format!("{}_{key}", self.id).into();
        entity["name"] = name.into();
        self.all.insert(key.into(), entity);
    }

    fn room(&mut self, gender: bool) {
        let mut moods = Expression::ALL.map(Expression::name).to_vec();
        moods.push(NO_MOOD);
        let room = self.topics.room();
        self.add(
            "sensor",
            "mood",
            "Expression shown",
            json!({
                "stat_t": room,
                "val_tpl": "{{ value_json.mood }}",
                "dev_cla": "enum",
                "ops": moods,
                "ic": "mdi:emoticon-outline",
            }),
        );
        self.add(
            "sensor",
            "faces",
            "Faces",
            json!({
                "stat_t": room,
                "val_tpl": "{{ value_json.faces }}",
                "stat_cla": "measurement",
                "ic": "mdi:account-multiple",
            }),
        );
        for expression in Expression::ALL.map(Expression::name) {
            self.share("expression", expression);
        }
        if gender {
            for gender in Gender::ALL.map(Gender::name) {
                self.share("gender", gender);
            }
        }
    }

    /// A share in per cent; unknown while the room is empty.
    fn share(&mut self, head: &str, answer: &str) {
        let entity = json!({
            "stat_t": self.topics.room(),
            "val_tpl": format!(
                "{{{{ value_json.percent.{head}.{answer} if value_json.percent else none }}}}"
            ),
            "unit_of_meas": "%",
            "stat_cla": "measurement",
        });
        let name = format!("{}{}", answer[..1].to_uppercase(), &answer[1..]);
        self.add("sensor", &format!("share_{answer}"), &name, entity);
    }

    fn kiosk(&mut self) {
        self.add(
            "binary_sensor",
            "problem",
            "Problem",
            json!({
                "stat_t": self.topics.metrics(),
                "val_tpl": "{{ 'ON' if value_json.problem else 'OFF' }}",
                "dev_cla": "problem",
                "ent_cat": "diagnostic",
            }),
        );
        // It must be there to say that the kiosk is not.
        self.add_always_there(
            "binary_sensor",
            "connectivity",
            "Connectivity",
            json!({
                "stat_t": self.topics.status(),
                "pl_on": super::ONLINE,
                "pl_off": super::OFFLINE,
                "dev_cla": "connectivity",
                "ent_cat": "diagnostic",
            }),
        );
    }

    fn commands(&mut self) {
        self.add(
            "switch",
            "pause",
            "Pause",
            json!({
                "cmd_t": self.topics.set(commands::PAUSE),
                "stat_t": self.topics.metrics(),
                "val_tpl": "{{ 'ON' if value_json.paused else 'OFF' }}",
                "ic": "mdi:pause",
            }),
        );
        self.add(
            "button",
            "led_test",
            "LED test",
            json!({ "cmd_t": self.topics.set(commands::LED_TEST), "ent_cat": "diagnostic" }),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_id_has_only_letters_that_are_allowed_and_stays_unique() {
        assert_eq!(object_id("hall-2"), "mien_hall-2");
        let (a, b) = (object_id("Küche"), object_id("K.che"));
        assert_ne!(a, b);
        for id in [a, b] {
            assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
        }
    }

    #[test]
    fn gender_and_commands_are_described_only_if_they_are_there() {
        let keys = |gender, obeys| {
            let description = discovery("hall", gender, obeys);
            description["cmps"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        let (all, least) = (keys(true, true), keys(false, false));
        let more: Vec<_> = all.iter().filter(|key| !least.contains(key)).collect();
        assert_eq!(more, ["share_female", "share_male", "pause", "led_test"]);
        assert_eq!(least.len(), 11);
    }
}
