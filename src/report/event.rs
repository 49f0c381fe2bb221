//! What is worth telling, and how it is told: a topic and a JSON payload.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::classifier::Scores;
use crate::expression::{Expression, Gender, answer_name};
use crate::face::tracker::Track;
use crate::image::Rect;
use crate::report::journal::Delivery;

/// The mood of an empty room.
pub const NO_MOOD: &str = "none";

/// A change of state, as journaled.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A face appeared, changed its shown expression, or left.
    Face(FaceEvent),
    /// What the room shows.
    Room(RoomEvent),
    /// The kiosk itself.
    Status(StatusEvent),
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
    /// The greatest of the shares; none in an empty room.
    pub mood: Option<Expression>,
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
    /// It starts to read `source` with `model`.
    Started { version: &'static str, source: String, model: String },
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

impl Event {
    /// Whether it tells of a face not seen before.
    pub fn is_appearance(&self) -> bool {
        matches!(self, Event::Face(FaceEvent { change: FaceChange::Appeared, .. }))
    }

    /// Its topic: `mien/<device>/face/<track>`, `mien/<device>/room` or `mien/<device>/status`.
    pub fn topic(&self, device: &str) -> String {
        match self {
            Event::Face(face) => format!("mien/{device}/face/{}", face.track.id),
            Event::Room(_) => format!("mien/{device}/room"),
            Event::Status(_) => format!("mien/{device}/status"),
        }
    }

    /// How to publish it: a broker keeps the room for whoever subscribes later.
    pub fn delivery(&self) -> Delivery {
        Delivery { retain: matches!(self, Event::Room(_)), ..Delivery::default() }
    }

    /// Its payload, short for the card's sake: shares are rounded to 2 decimals, the box to pixels,
    /// times to 10 ms.
    pub fn payload(&self) -> Value {
        match self {
            Event::Face(face) => face.payload(),
            Event::Room(room) => json!({
                "faces": room.faces(),
                "expressions": by_name(Expression::ALL.map(Expression::name), &room.counts),
                "unsure": room.unsure,
                "mood": room.mood.map_or(NO_MOOD, Expression::name),
                "percent": room.shares.map(|shares| percent_json(&shares)),
                "time_s": seconds(room.time),
            }),
            Event::Status(status) => json!(status),
        }
    }
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
    (time.as_secs_f64() * 100.0).round() / 100.0
}
