//! A kiosk as Home Assistant sees it: what it subscribes to, reads and writes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

// Each file uses a part of it.
#[allow(dead_code)]
#[path = "common/broker.rs"]
mod broker;

use broker::{Mosquitto, Received, Subscriber, free_port, wait};

/// The running program, its broker, and Home Assistant.
struct Home {
    kiosk: Child,
    subscriber: Subscriber,
    mosquitto: Mosquitto,
    dir: TempDir,
}

impl Home {
    fn new(mqtt: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mosquitto = Mosquitto::start(dir.path(), free_port(), "allow_anonymous true")?;
        let subscriber = Subscriber::plain(mosquitto.port);
        let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo.mjpeg");
        let clip = fs::read(clip).unwrap();
        // Longer than any test.
        fs::write(dir.path().join("clip.mjpeg"), clip.repeat(30)).unwrap();
        fs::write(dir.path().join("kiosk.toml"), config("hall", mosquitto.port, mqtt)).unwrap();
        let kiosk = Command::new(env!("CARGO_BIN_EXE_mien"))
            .args(["run", "--realtime", "--source", "clip.mjpeg", "--config", "kiosk.toml"])
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { kiosk, subscriber, mosquitto, dir })
    }

    fn remove_discovery(&self) {
        let removed = Command::new(env!("CARGO_BIN_EXE_mien"))
            .args(["mqtt", "remove-discovery", "--config", "kiosk.toml"])
            .current_dir(self.dir.path())
            .status()
            .unwrap();
        assert!(removed.success());
    }

    /// Gives a command; its reply.
    fn command(&self, name: &str, payload: &str) -> Value {
        let before = self.subscriber.count();
        self.subscriber.publish(&format!("mien/hall/set/{name}"), payload, false);
        self.subscriber.wait_for(&format!("mien/hall/reply/{name}"), before, |_| true).json()
    }

    /// States of the kiosk that its journal told.
    fn states(&self) -> Vec<String> {
        let records = mien::report::journal::read(&self.dir.path().join("mien-log"));
        records
            .filter_map(Result::ok)
            .filter(|record| record.topic.ends_with("/status"))
            .map(|record| serde_json::from_str::<Value>(&record.payload).unwrap())
            .map(|payload| payload["state"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.kiosk.try_wait().is_ok_and(|ended| ended.is_none()) {
            broker::signal(&self.kiosk, "TERM");
            let _ = self.kiosk.wait();
        }
    }
}

fn config(device: &str, port: u16, mqtt: &str) -> String {
    format!("device = \"{device}\"\nroom_period_s = 1\n[mqtt]\nport = {port}\n{mqtt}\n")
}

const ALL: &str = "home_assistant = true\ncommands = true\nmetrics_period_s = 2";
const CONFIG: &str = "homeassistant/device/mien_hall/config";

/// What Home Assistant's documentation and schemas know of the entities used here, by their short
/// names: keys that must be there, and keys that may.
const PLATFORMS: [(&str, &[&str], &[&str]); 4] = [
    ("sensor", &["stat_t"], &["val_tpl", "dev_cla", "ops", "unit_of_meas", "stat_cla"]),
    ("binary_sensor", &["stat_t"], &["val_tpl", "dev_cla", "pl_on", "pl_off"]),
    ("switch", &["cmd_t"], &["stat_t", "val_tpl", "dev_cla"]),
    ("button", &["cmd_t"], &["dev_cla"]),
];
/// Keys of every entity.
const COMMON: [&str; 6] = ["p", "unique_id", "name", "avty_t", "ic", "ent_cat"];

fn entities(description: &Value) -> Vec<(&String, &Value)> {
    description["cmps"].as_object().unwrap().iter().collect()
}

#[test]
fn the_description_keeps_to_the_documented_schema() {
    let Some(home) = Home::new(ALL) else { return };
    let message = home.subscriber.wait_for(CONFIG, 0, |_| true);
    let description = message.json();
    let keys: BTreeSet<_> = description.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["cmps", "dev", "o"]));
    assert_eq!(description["o"]["name"], "mien");
    let device = description["dev"].as_object().unwrap();
    assert!(device["ids"].as_array().is_some_and(|ids| !ids.is_empty()));
    let known = ["cns", "cu", "hw", "ids", "mdl", "mf", "name", "sa", "sn", "sw"];
    assert!(device.keys().all(|key| known.contains(&key.as_str())), "{device:?}");

    let mut unique = BTreeSet::new();
    for (key, entity) in entities(&description) {
        let fields = entity.as_object().unwrap();
        let platform = fields["p"].as_str().unwrap();
        let (_, needed, allowed) =
            PLATFORMS.iter().find(|(name, ..)| *name == platform).expect("a known platform");
        assert!(needed.iter().all(|field| fields.contains_key(*field)), "{key}: {entity}");
        for field in fields.keys() {
            let known = COMMON.iter().chain(*needed).chain(*allowed);
            assert!(known.into_iter().any(|known| known == field), "{key} has {field}");
        }
        assert!(unique.insert(fields["unique_id"].as_str().unwrap().to_owned()), "{key}");
        // A list of options makes sense for an enumeration only, which has no unit.
        let is_enum = fields.get("dev_cla").is_some_and(|class| class == "enum");
        assert_eq!(is_enum, fields.contains_key("ops"), "{key}");
        assert!(!is_enum || !fields.contains_key("stat_cla"), "{key}");
    }
    for key in ["shown", "faces", "share_happy", "share_male", "problem", "connectivity", "pause"] {
        assert!(description["cmps"].get(key).is_some(), "{key} is missing");
    }
    // Home Assistant may start later: the broker keeps it.
    let later =
        Subscriber::new(rumqttc::MqttOptions::new("later", "127.0.0.1", home.mosquitto.port));
    assert!(later.wait_for(CONFIG, 0, |_| true).retained);
}

/// Names like `value_json.percent.expression.happy` in a template.
fn fields_of(template: &str) -> Vec<Vec<&str>> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    template
        .split("value_json.")
        .skip(1)
        .map(|rest| &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())])
        .map(|path| path.split('.').collect())
        .collect()
}

fn look_up<'a>(payload: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(payload, |value, key| value.get(key))
}

#[test]
fn every_entity_gets_what_its_template_reads() {
    let Some(home) = Home::new(ALL) else { return };
    let description = home.subscriber.wait_for(CONFIG, 0, |_| true).json();
    for (key, entity) in entities(&description) {
        if let Some(topic) = entity["avty_t"].as_str() {
            home.subscriber.wait_for(topic, 0, |status| status.payload == b"online");
        } else {
            assert_eq!(key, "connectivity");
        }
        let Some(topic) = entity["stat_t"].as_str() else { continue };
        let Some(template) = entity["val_tpl"].as_str() else {
            assert_eq!(
                (&entity["pl_on"], &entity["pl_off"]),
                (&"online".into(), &"offline".into())
            );
            continue;
        };
        let fields = fields_of(template);
        assert!(!fields.is_empty(), "{key}: {template}");
        // With faces in the room, all fields have values.
        let fits = |message: &Received| {
            let payload = message.json();
            let has = |path: &Vec<&str>| look_up(&payload, path).is_some_and(|v| !v.is_null());
            fields.iter().all(has)
        };
        let payload = home.subscriber.wait_for(topic, 0, fits).json();
        if let Some(options) = entity["ops"].as_array() {
            assert!(options.contains(&payload["shown"]), "{payload}");
        }
    }
    // The room and the kiosk's state are there for whoever comes later.
    let later =
        Subscriber::new(rumqttc::MqttOptions::new("later", "127.0.0.1", home.mosquitto.port));
    for topic in ["mien/hall/room", "mien/hall/metrics", "mien/hall/status"] {
        assert!(later.wait_for(topic, 0, |_| true).retained, "{topic}");
    }
    let metrics = home.subscriber.wait_for("mien/hall/metrics", 0, |message| {
        let metrics = message.json();
        metrics["fps"].as_f64().is_some_and(|fps| fps > 1.0)
            && metrics["stages"]["detect"]["p95_ms"].is_number()
    });
    let metrics = metrics.json();
    for key in ["uptime_s", "frames", "records", "backlog"] {
        assert!(metrics[key].is_u64(), "{key}: {metrics}");
    }
    assert_eq!((&metrics["problem"], &metrics["paused"]), (&false.into(), &false.into()));
}

#[test]
fn the_pause_switch_works() {
    let Some(home) = Home::new(ALL) else { return };
    let description = home.subscriber.wait_for(CONFIG, 0, |_| true).json();
    let switch = &description["cmps"]["pause"];
    let (set, state) = (switch["cmd_t"].as_str().unwrap(), switch["stat_t"].as_str().unwrap());
    home.subscriber.wait_for("mien/hall/room", 0, |room| room.json()["faces"] != 0);

    let before = home.subscriber.count();
    home.subscriber.publish(set, "ON", false);
    home.subscriber.wait_for(state, before, |state| state.json()["paused"] == true);
    home.subscriber.wait_for("mien/hall/room", before, |room| room.json()["faces"] == 0);
    home.subscriber.wait_for("mien/hall/kiosk", before, |kiosk| kiosk.json()["state"] == "paused");
    let reply = home.subscriber.wait_for("mien/hall/reply/pause", before, |_| true).json();
    assert_eq!(reply, serde_json::json!({ "ok": true }));

    let before = home.subscriber.count();
    home.subscriber.publish(set, "OFF", false);
    home.subscriber.wait_for(state, before, |state| state.json()["paused"] == false);
    home.subscriber.wait_for("mien/hall/room", before, |room| room.json()["faces"] != 0);
    assert_eq!(home.states(), ["started", "paused", "resumed"]);
}

#[test]
fn other_commands_are_answered() {
    let Some(home) = Home::new(ALL) else { return };
    home.subscriber.wait_for("mien/hall/status", 0, |status| status.payload == b"online");
    assert_eq!(home.command("led_test", "PRESS")["ok"], true);
    let refused = home.command("pause", "perhaps");
    assert_eq!(refused["ok"], false);
    assert!(refused["why"].as_str().unwrap().contains("ON or OFF"));
    assert_eq!(home.command("fly", "")["ok"], false);
    // A retained one would come again with each connection: this waits for the kiosk's next name.
    home.subscriber.publish("mien/attic/set/pause", "ON", true);

    let path = home.dir.path().join("kiosk.toml");
    let port = home.mosquitto.port;
    fs::write(&path, config("hall", port, &format!("{ALL}\nin_flihgt = 5"))).unwrap();
    let refused = home.command("config-reload", "");
    assert_eq!(refused["ok"], false);
    assert!(refused["why"].as_str().unwrap().contains("did you mean `in_flight`"), "{refused}");

    // Who paused it does not want to be seen by the next one either.
    assert_eq!(home.command("pause", "ON")["ok"], true);
    fs::write(&path, config("attic", port, ALL)).unwrap();
    let before = home.subscriber.count();
    assert_eq!(home.command("config-reload", "")["ok"], true);
    home.subscriber.wait_for("mien/hall/status", before, |status| status.payload == b"offline");
    home.subscriber.wait_for("mien/attic/status", before, |status| status.payload == b"online");
    let refused = home.subscriber.wait_for("mien/attic/reply/pause", before, |_| true).json();
    assert!(refused["why"].as_str().unwrap().contains("retain"), "{refused}");
    home.subscriber.wait_for("mien/attic/kiosk", before, |kiosk| kiosk.json()["state"] == "paused");
    home.subscriber.publish("mien/attic/set/pause", "OFF", false);
    home.subscriber.wait_for("mien/attic/room", before, |room| room.json()["faces"] != 0);
}

#[test]
fn it_introduces_itself_again_when_home_assistant_starts_and_goes_when_asked() {
    let Some(home) = Home::new(ALL) else { return };
    let first = home.subscriber.wait_for(CONFIG, 0, |_| true).text();
    let before = home.subscriber.count();
    home.subscriber.publish("homeassistant/status", "offline", false);
    home.subscriber.publish("homeassistant/status", "online", false);
    let again = home.subscriber.wait_for(CONFIG, before, |_| true).text();
    assert_eq!(first, again);
    let told = home.subscriber.received().into_iter().skip(before);
    assert_eq!(told.filter(|message| message.topic == CONFIG).count(), 1);

    let before = home.subscriber.count();
    home.remove_discovery();
    let removed = home.subscriber.wait_for(CONFIG, before, |_| true);
    assert!(removed.payload.is_empty());
    let later =
        Subscriber::new(rumqttc::MqttOptions::new("later", "127.0.0.1", home.mosquitto.port));
    later.wait_for("mien/hall/status", 0, |_| true);
    assert!(later.received().iter().all(|message| message.topic != CONFIG));
}

#[test]
fn by_default_nothing_is_described_and_nothing_obeyed() {
    let Some(home) = Home::new("") else { return };
    home.subscriber.wait_for("mien/hall/room", 0, |room| room.json()["faces"] != 0);
    home.subscriber.publish("homeassistant/status", "online", false);
    home.subscriber.publish("mien/hall/set/pause", "ON", false);
    let before = home.subscriber.count();
    home.subscriber.wait_for("mien/hall/room", before, |_| true);
    let topics: BTreeSet<String> =
        home.subscriber.received().into_iter().map(|message| message.topic).collect();
    for part in ["config", "reply"] {
        assert!(topics.iter().all(|topic| !topic.contains(part)), "{topics:?}");
    }
    wait("some more", || (home.subscriber.count() > before).then_some(()));
    assert_eq!(home.states(), ["started"]);
}
