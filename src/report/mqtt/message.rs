//! From a journal's record to what goes out.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::kiosk::vitals::Counts;
use crate::report::journal::{CLOCK_TOLERANCE, Record, Run, is_clock_set};

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

/// Why a record is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// No broker takes its topic.
    Topic,
    /// It tells more than is to be told.
    Withheld,
}

/// Turns records into messages.
#[derive(Debug)]
pub struct Writer {
    /// This kiosk's name, with which identifiers begin.
    pub device: String,
    /// Whether gender is told. Records of before it was switched off may have it.
    pub gender: bool,
    /// See [`crate::kiosk::Options::only_rooms_of_at_least`]. Records of before may tell more.
    pub only_rooms_of_at_least: Option<u32>,
    /// The journal's present writer.
    pub run: Run,
}

impl Writer {
    /// The record's message; `now` is the wall clock.
    pub fn message(&self, record: &Record, now: SystemTime) -> Result<Message, Unsent> {
        // A topic `…/status` says whether the kiosk is connected; what happens to it goes beside.
        let topic = match record.topic.strip_suffix("/status") {
            Some(kiosk) => format!("{kiosk}/kiosk"),
            None => record.topic.clone(),
        };
        if topic.is_empty() || topic.contains(['+', '#', '\0']) {
            return Err(Unsent::Topic);
        }
        let mut fields = match serde_json::from_str(&record.payload) {
            Ok(Value::Object(fields)) => fields,
            Ok(other) => Map::from_iter([("value".to_owned(), other)]),
            Err(_) => Map::from_iter([("value".to_owned(), record.payload.clone().into())]),
        };
        if self.is_withheld(&topic, &fields) {
            return Err(Unsent::Withheld);
        }
        if !self.gender {
            remove_gender(&mut fields);
        }
        fields.insert("id".into(), id(&self.device, record).into());
        let corrected = self.corrected(record, now);
        fields.insert("time".into(), time(corrected.unwrap_or(record.time)).into());
        if corrected.is_some() {
            fields.insert("time_corrected".into(), true.into());
        }
        let payload = Value::Object(fields).to_string();
        Ok(Message { topic, payload, retain: record.delivery.retain })
    }

    /// Whether it tells of fewer faces than is to be told.
    fn is_withheld(&self, topic: &str, fields: &Map<String, Value>) -> bool {
        let Some(least) = self.only_rooms_of_at_least else { return false };
        match topic.split('/').nth(2) {
            Some("face") => true,
            Some("room") => {
                fields.get("faces").and_then(Value::as_u64).is_some_and(|n| n < least.into())
            }
            Some("vitals") => fields.get("counts").is_some_and(|all| all[Counts::FACES].is_u64()),
            _ => false,
        }
    }

    /// When a record of the present run was written, by a wall clock that was set since.
    fn corrected(&self, record: &Record, now: SystemTime) -> Option<SystemTime> {
        if record.sequence < self.run.first || !is_clock_set(now) {
            return None;
        }
        let age = self.run.since.elapsed().saturating_sub(record.monotonic);
        let time = now.checked_sub(age)?;
        let wrong_by = match time.duration_since(record.time) {
            Ok(late) => late,
            Err(early) => early.duration(),
        };
        (wrong_by > CLOCK_TOLERANCE).then_some(time)
    }
}

fn remove_gender(fields: &mut Map<String, Value>) {
    fields.shift_remove("gender");
    fields.shift_remove("gender_share");
    if let Some(Value::Object(percent)) = fields.get_mut("percent") {
        percent.shift_remove("gender");
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

/// RFC 3339, UTC, to the millisecond; null if no calendar has it.
fn time(time: SystemTime) -> Option<String> {
    let time = Timestamp::try_from(time).ok()?;
    Some(format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

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

    fn writer() -> Writer {
        let run = Run { first: 100, since: Instant::now() };
        Writer { device: "hall".into(), gender: true, only_rooms_of_at_least: None, run }
    }

    fn message(writer: &Writer, record: &Record) -> Result<Message, Unsent> {
        writer.message(record, SystemTime::now())
    }

    fn fields(message: Message) -> Value {
        serde_json::from_str(&message.payload).unwrap()
    }

    #[test]
    fn a_record_gets_an_id_and_a_time() {
        let message = message(&writer(), &record("mien/hall/room", r#"{"faces":2}"#)).unwrap();
        assert_eq!(message.topic, "mien/hall/room");
        let start = r#"{"faces":2,"id":"hall-7-"#;
        assert!(message.payload.starts_with(start), "{}", message.payload);
        let end = r#"","time":"2023-11-14T22:13:20.123Z"}"#;
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
        let told = message(&writer(), &record).unwrap().payload;
        assert_eq!(told.matches("male").count(), 2);
        let discreet = Writer { gender: false, ..writer() };
        let untold = message(&discreet, &record).unwrap().payload;
        assert!(!untold.contains("male") && !untold.contains("gender"), "{untold}");
        assert!(untold.contains(r#""percent":{"expression":{"sad":100}}"#));
    }

    #[test]
    fn what_happens_to_the_kiosk_does_not_overwrite_its_status() {
        let started = record("mien/hall/status", r#"{"state":"started"}"#);
        assert_eq!(message(&writer(), &started).unwrap().topic, "mien/hall/kiosk");
    }

    #[test]
    fn a_topic_that_no_broker_takes_is_refused_and_any_payload_is_json() {
        for topic in ["", "mien/+/room", "mien/#", "mien/\0"] {
            assert_eq!(message(&writer(), &record(topic, "{}")), Err(Unsent::Topic));
        }
        for payload in ["no json", "[1]", "\"text\""] {
            let fields = fields(message(&writer(), &record("mien/hall/room", payload)).unwrap());
            assert!(!fields["value"].is_null() && !fields["id"].is_null());
        }
    }

    /// Those of before it was so wished.
    #[test]
    fn of_a_few_faces_nothing_is_sent_if_so_wished() {
        let discreet = Writer { only_rooms_of_at_least: Some(3), ..writer() };
        for (topic, payload, sent) in [
            ("face/1", r#"{"state":"left"}"#, false),
            ("room", r#"{"faces":2}"#, false),
            ("room", r#"{"faces":3}"#, true),
            ("room", r#"{"faces":null,"fewer_than":3}"#, true),
            ("vitals", r#"{"counts":[1,2,3,4,5,6]}"#, false),
            ("vitals", r#"{"counts":[1,2,3,4,5,null]}"#, true),
            ("status", r#"{"state":"started"}"#, true),
        ] {
            let record = record(&format!("mien/hall/{topic}"), payload);
            assert!(message(&writer(), &record).is_ok());
            let result = message(&discreet, &record);
            assert_eq!(result.err(), (!sent).then_some(Unsent::Withheld), "{topic} {payload}");
        }
    }

    /// A Pi boots in 1970, or where it was shut down, and learns the time later.
    #[test]
    fn the_time_of_a_record_from_before_the_clock_was_set_is_corrected_in_its_run() {
        let (writer, now) = (writer(), UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        for boot_s in [0, 1_700_000_000] {
            let early = Record {
                sequence: 100,
                time: UNIX_EPOCH + Duration::from_secs(boot_s),
                monotonic: Duration::ZERO,
                ..record("mien/hall/room", "{}")
            };
            let fields_of = |record, now| fields(writer.message(record, now).unwrap());
            let corrected = fields_of(&early, now);
            assert!(corrected["time"].as_str().unwrap().starts_with("2027-01-15T0"), "{corrected}");
            assert_eq!(corrected["time_corrected"], true);
            // Not by a clock that is not set, nor one of another run, nor one that is right.
            let right = Record { time: now, ..early.clone() };
            let before = Record { sequence: 99, ..early.clone() };
            for (record, now) in [(&early, UNIX_EPOCH), (&before, now), (&right, now)] {
                let told = fields_of(record, now);
                assert_eq!(told["time"], time(record.time).unwrap());
                assert_eq!(told["time_corrected"], Value::Null);
            }
            // A repeat is still one.
            assert_eq!(corrected["id"], fields_of(&early, UNIX_EPOCH)["id"]);
        }
    }
}
