//! From a journal's record to what goes out.

use std::time::UNIX_EPOCH;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::report::journal::Record;

/// A topic and what is published there.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Where to.
    pub topic: String,
    /// What.
    pub payload: String,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
}

/// Turns records into messages.
#[derive(Debug)]
pub struct Writer {
    /// This kiosk's name, with which identifiers begin.
    pub device: String,
    /// Whether gender is told. Records of before it was switched off may have it.
    pub gender: bool,
}

impl Writer {
    /// The record's message; `None` if no broker takes its topic.
    pub fn message(&self, record: &Record) -> Option<Message> {
        // A topic `…/status` says whether the kiosk is connected; what happens to it goes beside.
        let topic = match record.topic.strip_suffix("/status") {
            Some(kiosk) => format!("{kiosk}/kiosk"),
            None => record.topic.clone(),
        };
        let fits = !topic.is_empty() && !topic.contains(['+', '#', '\0']);
        let payload = self.payload(record);
        fits.then_some(Message { topic, payload, retain: record.delivery.retain })
    }

    fn payload(&self, record: &Record) -> String {
        let mut fields = match serde_json::from_str(&record.payload) {
            Ok(Value::Object(fields)) => fields,
            Ok(other) => Map::from_iter([("value".to_owned(), other)]),
            Err(_) => Map::from_iter([("value".to_owned(), record.payload.clone().into())]),
        };
        if !self.gender {
            fields.shift_remove("gender");
            fields.shift_remove("gender_share");
            if let Some(Value::Object(percent)) = fields.get_mut("percent") {
                percent.shift_remove("gender");
            }
        }
        fields.insert("id".into(), id(&self.device, record).into());
        fields.insert("time".into(), time(record).into());
        Value::Object(fields).to_string()
    }
}

/// The same for each repeat of a record, and for no other record: a power cut may take a record
/// that was sent and give its sequence to another, which the checksum then tells apart.
fn id(device: &str, record: &Record) -> String {
    let mut crc = crc32fast::Hasher::new();
    let wall = record.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    crc.update(&wall.as_micros().to_le_bytes());
    crc.update(&record.monotonic.as_micros().to_le_bytes());
    crc.update(record.topic.as_bytes());
    crc.update(record.payload.as_bytes());
    format!("{device}-{}-{:08x}", record.sequence, crc.finalize())
}

/// RFC 3339, UTC, to the microsecond; null if no calendar has it.
fn time(record: &Record) -> Option<String> {
    let time = Timestamp::try_from(record.time).ok()?;
    Some(format!("{time:.6}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::journal::Delivery;

    fn record(topic: &str, payload: &str) -> Record {
        Record {
            starts_run: false,
            sequence: 7,
            time: UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456),
            monotonic: Duration::from_secs(1),
            topic: topic.into(),
            payload: payload.into(),
            delivery: Delivery::default(),
        }
    }

    fn writer(gender: bool) -> Writer {
        Writer { device: "hall".into(), gender }
    }

    #[test]
    fn a_record_gets_an_id_and_a_time() {
        let message = writer(true).message(&record("mien/hall/room", r#"{"faces":2}"#)).unwrap();
        assert_eq!(message.topic, "mien/hall/room");
        let start = r#"{"faces":2,"id":"hall-7-"#;
        assert!(message.payload.starts_with(start), "{}", message.payload);
        let end = r#"","time":"2023-11-14T22:13:20.123456Z"}"#;
        assert!(message.payload.ends_with(end), "{}", message.payload);
    }

    #[test]
    fn ids_are_the_same_for_a_repeat_and_differ_otherwise() {
        let first = record("mien/hall/room", r#"{"faces":2}"#);
        assert_eq!(id("hall", &first), id("hall", &first.clone()));
        let others = [
            Record { sequence: 8, ..first.clone() },
            Record { payload: r#"{"faces":3}"#.into(), ..first.clone() },
            Record { topic: "mien/hall/face/1".into(), ..first.clone() },
            Record { time: first.time + Duration::from_micros(1), ..first.clone() },
        ];
        for other in others {
            assert_ne!(id("hall", &first), id("hall", &other));
        }
    }

    #[test]
    fn gender_is_left_out_where_it_is_switched_off() {
        let payload =
            r#"{"gender":"male","percent":{"expression":{"sad":100},"gender":{"male":100}}}"#;
        let record = record("mien/hall/face/1", payload);
        let told = writer(true).message(&record).unwrap().payload;
        assert_eq!(told.matches("male").count(), 2);
        let untold = writer(false).message(&record).unwrap().payload;
        assert!(!untold.contains("male") && !untold.contains("gender"), "{untold}");
        assert!(untold.contains(r#""percent":{"expression":{"sad":100}}"#));
    }

    #[test]
    fn what_happens_to_the_kiosk_does_not_overwrite_its_status() {
        let started = record("mien/hall/status", r#"{"state":"started"}"#);
        assert_eq!(writer(true).message(&started).unwrap().topic, "mien/hall/kiosk");
    }

    #[test]
    fn a_topic_that_no_broker_takes_is_refused_and_any_payload_is_json() {
        for topic in ["", "mien/+/room", "mien/#", "mien/\0"] {
            assert_eq!(writer(true).message(&record(topic, "{}")), None);
        }
        for payload in ["no json", "[1]", "\"text\""] {
            let message = writer(true).message(&record("mien/hall/room", payload)).unwrap();
            let fields: Value = serde_json::from_str(&message.payload).unwrap();
            assert!(!fields["value"].is_null() && !fields["id"].is_null());
        }
    }
}
