//! What is worth telling, and how it is told: a topic and a JSON payload.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::classifier::Scores;
use crate::deployment::Deployment;
use crate::expression::{Expression, Gender, answer_name};
use crate::face::tracker::Track;
use crate::image::Rect;
use crate::kiosk::stages::{Stage, StageTime};
use crate::kiosk::vitals::Counts;
use crate::report::journal::Delivery;

/// What an empty room shows.
pub const NONE_SHOWN: &str = "none";

/// A change of state, as journaled.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A face appeared, changed its shown expression, or left.
    Face(FaceEvent),
    /// What the room shows.
    Room(RoomEvent),
    /// The room has fewer faces than are told of.
    SmallRoom {
        /// So many are told of.
        least: u32,
        /// The frame's time since the source started.
        time: Duration,
    },
    /// The kiosk itself.
    Status(StatusEvent),
    /// What it did lately.
    Vitals(VitalsEvent),
}

/// What happened to a face.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FaceChange {
    /// It is followed from now on.
    Appeared,
    /// It shows another expression.
    Changed,
    /// It is no longer seen.
    Left,
}

/// One face's change.
#[derive(Clone, Debug, PartialEq)]
pub struct FaceEvent {
    /// What happened.
    pub change: FaceChange,
    /// The face; when it left, as last seen.
    pub track: Track,
    /// The frame's time since the source started.
    pub time: Duration,
}

/// How many faces show what.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomEvent {
    /// Faces by [`Expression`].
    pub counts: [u32; Expression::ALL.len()],
    /// Faces that show none clearly.
    pub unsure: u32,
    /// The expression that has the greatest of the shares; none in an empty room.
    pub shown: Option<Expression>,
    /// The faces' mean shares, smoothed over time; none in an empty room.
    pub shares: Option<Scores>,
    /// The frame's time since the source started.
    pub time: Duration,
}

impl RoomEvent {
    /// All faces.
    pub fn faces(&self) -> u32 {
        self.counts.iter().sum::<u32>() + self.unsure
    }
}

/// The kiosk's own state.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StatusEvent {
    /// It starts to read `source` with `model`; before a camera, with what is stated of its use.
    Started {
        version: &'static str,
        source: String,
        model: String,
        #[serde(flatten)]
        deployment: Option<Deployment>,
    },
    /// Its camera is gone.
    CameraLost { why: String },
    /// Its camera gives frames again.
    CameraBack,
    /// It looks at no frame.
    Paused,
    /// It looks at frames again.
    Resumed,
    /// It is too dark to look for faces.
    Night,
    /// It is bright enough again.
    Day,
    /// The journal's disk takes records again after so long; `dropped` were lost meanwhile.
    JournalBack { refused_s: u64, dropped: u64 },
    /// So many records were deleted before they were delivered, for want of room.
    UndeliveredDeleted { records: u64 },
    /// It stops.
    Stopped { why: &'static str, frames: u64 },
}

/// What the kiosk did in the last period, and how its machine is.
#[derive(Clone, Debug, PartialEq)]
pub struct VitalsEvent {
    /// Length of the period.
    pub seconds: u64,
    /// What was counted in it.
    pub counts: Counts,
    /// What the stages took in it, in a frame's order.
    pub stages: [StageTime; Stage::ALL.len()],
    /// Whether anything is told of how many faces there were.
    pub faces_told: bool,
    /// The CPU's temperature, °C, if the machine tells.
    pub cpu_celsius: Option<f64>,
    /// See [`crate::kiosk::machine::throttled`].
    pub throttled: Option<u32>,
}

impl Event {
    /// Whether it tells of a face not seen before.
    pub fn is_appearance(&self) -> bool {
        matches!(self, Event::Face(FaceEvent { change: FaceChange::Appeared, .. }))
    }

    /// Its topic: `mien/<device>/face/<track>`, `mien/<device>/room`, `mien/<device>/status` or
    /// `mien/<device>/vitals`.
    pub fn topic(&self, device: &str) -> String {
        match self {
            Event::Face(face) => format!("mien/{device}/face/{}", face.track.id),
            Event::Room(_) | Event::SmallRoom { .. } => format!("mien/{device}/room"),
            Event::Status(_) => format!("mien/{device}/status"),
            Event::Vitals(_) => format!("mien/{device}/vitals"),
        }
    }

    /// How to publish it: a broker keeps the room for whoever subscribes later.
    pub fn delivery(&self) -> Delivery {
        let retain = matches!(self, Event::Room(_) | Event::SmallRoom { .. });
        Delivery { retain, ..Delivery::default() }
    }

    /// Its payload, short for the card's sake: shares are rounded to 2 decimals, the box to pixels,
    /// times to 1/10 s.
    pub fn payload(&self) -> Value {
        match self {
            Event::Face(face) => face.payload(),
            Event::Room(room) => json!({
                "faces": room.faces(),
                "expressions": by_name(Expression::ALL.map(Expression::name), &room.counts),
                "unsure": room.unsure,
                "shown": room.shown.map_or(NONE_SHOWN, Expression::name),
                "percent": room.shares.map(|shares| percent_json(&shares)),
                "time_s": seconds(room.time),
            }),
            Event::SmallRoom { least, time } => json!({
                "faces": null,
                "fewer_than": least,
                "shown": NONE_SHOWN,
                "percent": null,
                "time_s": seconds(*time),
            }),
            Event::Status(status) => json!(status),
            Event::Vitals(vitals) => vitals.payload(),
        }
    }
}

impl VitalsEvent {
    /// Arrays, for the card's sake: the counts, then p50 and p95 of each stage in ms, 0 where no frame
    /// went through. Milliseconds and degrees are rounded to 1/10. What is not told of faces is null
    /// or 0, what the machine does not tell is left out.
    pub fn payload(&self) -> Value {
        let Self { seconds, counts, stages, faces_told, cpu_celsius, throttled } = self;
        let Counts { frames, still, dark, broken, late, faces } = counts;
        let faces = faces_told.then_some(faces);
        let told = |stage: Stage| *faces_told || !stage.tells_of_faces();
        let times = stages.iter().map(|time| match told(time.stage) {
            true => [tenths(time.p50_ms), tenths(time.p95_ms)],
            false => [json!(0), json!(0)],
        });
        let mut payload = json!({
            "seconds": seconds,
            "counts": [frames, still, dark, broken, late, faces],
            "p50_p95_ms": times.flatten().collect::<Vec<_>>(),
        });
        if let Some(celsius) = cpu_celsius {
            payload["cpu_celsius"] = tenths(*celsius);
        }
        if let Some(bits) = throttled {
            payload["throttled"] = json!(format!("{bits:#x}"));
        }
        payload
    }
}

/// To the nearest 1/10; without a fraction if there is none.
fn tenths(value: f64) -> Value {
    let tenths = (10.0 * value).round() as i64;
    if tenths % 10 == 0 { json!(tenths / 10) } else { json!(tenths as f64 / 10.0) }
}

impl FaceEvent {
    /// The share is that of the expression named; unsure, that of the strongest.
    fn payload(&self) -> Value {
        let Self { change, track, time } = self;
        let Track { rect, scores, expression, gender, .. } = track;
        let shown = expression.unwrap_or(scores.top_expression().0);
        let mut payload = json!({
            "state": change,
            "expression": answer_name(*expression),
            "share": rounded(scores.expression[shown as usize], 100.0),
        });
        if let Some((gender, shares)) = gender.zip(scores.gender) {
            payload["gender"] = json!(gender);
            payload["gender_share"] = json!(rounded(shares[gender as usize], 100.0));
        }
        payload["box"] = json!([rect.x, rect.y, rect.w, rect.h].map(|v| v.round() as i64));
        payload["time_s"] = json!(seconds(*time));
        payload
    }
}

/// `[x, y, w, h]`, to 1/10 pixel.
pub fn box_json(rect: &Rect) -> Value {
    json!([rect.x, rect.y, rect.w, rect.h].map(|v| rounded(v, 10.0)))
}

/// `{"expression": {"angry": 0.013, …}, "gender": {"female": …, "male": …}}` in FER2013's order,
/// shares to the nearest `1 / parts`; no gender if it is not told.
pub fn scores_json(scores: &Scores, parts: f64) -> Value {
    let share = |v: f32| rounded(v, parts);
    let expressions = by_name(Expression::ALL.map(Expression::name), &scores.expression.map(share));
    let mut json = json!({ "expression": expressions });
    if let Some(shares) = scores.gender {
        json["gender"] = by_name(Gender::ALL.map(Gender::name), &shares.map(share));
    }
    json
}

/// As [`scores_json`], in whole per cent.
fn percent_json(scores: &Scores) -> Value {
    let percent = |share: f32| (100.0 * share).round() as u32;
    let expressions =
        by_name(Expression::ALL.map(Expression::name), &scores.expression.map(percent));
    let mut json = json!({ "expression": expressions });
    if let Some(shares) = scores.gender {
        json["gender"] = by_name(Gender::ALL.map(Gender::name), &shares.map(percent));
    }
    json
}

fn by_name<const N: usize, T: Copy + Into<Value>>(names: [&str; N], values: &[T; N]) -> Value {
    let pairs = names.into_iter().zip(values);
    Value::Object(
        pairs.map(|(name, &value)| (name.to_owned(), value.into())).collect::<Map<_, _>>(),
    )
}

/// To the nearest `1 / parts`, in `f64` so that JSON shows 0.1 and not 0.10000000149.
fn rounded(value: f32, parts: f64) -> f64 {
    (f64::from(value) * parts).round() / parts
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vitals_are_short_and_leave_out_what_the_machine_does_not_tell() {
        let time =
            |stage, p50_ms, p95_ms| StageTime { stage, frames: 60, mean_ms: 1.0, p50_ms, p95_ms };
        let [decode, detect, crop, classify, report] = Stage::ALL;
        let vitals = VitalsEvent {
            seconds: 60,
            counts: Counts { frames: 600, still: 540, faces: 31, late: 3, ..Counts::default() },
            stages: [
                time(decode, 1.02, 1.9),
                time(detect, 13.94, 17.26),
                time(crop, 0.1, 0.1),
                time(classify, 0.2, 0.4),
                time(report, 0.01, 0.06),
            ],
            faces_told: true,
            cpu_celsius: None,
            throttled: None,
        };
        let expected = concat!(
            r#"{"seconds":60,"counts":[600,540,0,0,3,31],"#,
            r#""p50_p95_ms":[1,1.9,13.9,17.3,0.1,0.1,0.2,0.4,0,0.1]}"#
        );
        assert_eq!(vitals.payload().to_string(), expected);
        let hot = VitalsEvent { cpu_celsius: Some(81.26), throttled: Some(0x50005), ..vitals };
        let payload = hot.payload();
        assert_eq!(payload["cpu_celsius"], 81.3);
        assert_eq!(payload["throttled"], "0x50005");
        let payload = VitalsEvent { faces_told: false, ..hot }.payload();
        assert_eq!(payload["counts"], json!([600, 540, 0, 0, 3, null]));
        assert_eq!(payload["p50_p95_ms"], json!([1, 1.9, 13.9, 17.3, 0, 0, 0, 0, 0, 0.1]));
    }
}
