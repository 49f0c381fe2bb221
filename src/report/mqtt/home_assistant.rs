//! How a kiosk introduces itself to Home Assistant: one message that describes the device and all
//! its entities (MQTT device discovery).

use serde_json::{Map, Value, json};

use crate::expression::{Expression, Gender};
use crate::report::event::NONE_SHOWN;

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
    entities.room();
    entities.genders(gender);
    entities.kiosk();
    entities.commands(obeys);
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

fn share_key(answer: &str) -> String {
    format!("share_{answer}")
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

    /// Home Assistant keeps an entity that is no longer described; one with nothing but its platform
    /// it removes.
    fn remove(&mut self, platform: &str, key: &str) {
        self.all.insert(key.into(), json!({ "p": platform }));
    }

    fn room(&mut self) {
        let mut shown = Expression::ALL.map(Expression::name).to_vec();
        shown.push(NONE_SHOWN);
        let room = self.topics.room();
        self.add(
            "sensor",
            "shown",
            "Expression shown",
            json!({
                "stat_t": room,
                "val_tpl": "{{ value_json.shown }}",
                "dev_cla": "enum",
                "ops": shown,
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
    }

    fn genders(&mut self, told: bool) {
        for gender in Gender::ALL.map(Gender::name) {
            match told {
                true => self.share("gender", gender),
                false => self.remove("sensor", &share_key(gender)),
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
        self.add("sensor", &share_key(answer), &name, entity);
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

    fn commands(&mut self, obeys: bool) {
        if !obeys {
            self.remove("switch", "pause");
            self.remove("button", "led_test");
            return;
        }
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
    fn gender_and_commands_are_removed_unless_they_are_there() {
        let described = |gender, obeys| {
            let description = discovery("hall", gender, obeys);
            let entities = description["cmps"].as_object().unwrap().clone();
            let (removed, there): (Vec<_>, Vec<_>) =
                entities.into_iter().partition(|(_, entity)| entity.get("name").is_none());
            (there.len(), removed)
        };
        assert_eq!(described(true, true), (15, vec![]));
        let (there, removed) = described(false, false);
        assert_eq!(there, 11);
        let platform = |platform| json!({ "p": platform });
        let expected = [
            ("share_female", "sensor"),
            ("share_male", "sensor"),
            ("pause", "switch"),
            ("led_test", "button"),
        ];
        assert_eq!(removed, expected.map(|(key, of)| (key.to_string(), platform(of))));
    }
}
