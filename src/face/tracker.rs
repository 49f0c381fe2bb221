//! Follows faces from frame to frame and steadies what they show.
//!
//! Three steps, all driven by the frames' own times, so that the answer is the same at any rate:
//!
//! 1. *Assignment*: each found face goes to the track whose predicted rectangle it overlaps most.
//! 2. *Smoothing*: a track's scores `s` move towards the new ones `x`,
//!    `s ← k·s + (1 − k)·x` with `k = 2^(−Δt / half_life)` and Δt since its last scores.
//! 3. *Hysteresis*: the answer shown changes only after another has led by a margin for a while.
//!    An expression is shown from a share of `unsure_below` on; once shown, it stays until its
//!    share has been below that by the margin for a while. In between the face shows "unsure".
//!
//! A clean change between two expressions therefore shows after
//! `half_life · log2(2 / (1 − margin)) + challenge` seconds, rounded up to a frame.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::classifier::{Scores, argmax};
use crate::expression::{Expression, Gender};
use crate::image::Rect;

/// Half-life of a track's measured speed: long enough to average the detector's jitter over a few
/// frames, short against a turn of the head.
const SPEED_HALF_LIFE_S: f32 = 0.1;

/// Numbers start again from 1 each day.
const DAY_S: u64 = 86_400;

/// A face that is not found is expected to go on moving for this long, and then to stay.
const COAST_S: f32 = 0.3;

/// How faces are followed and their answers steadied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrackerOptions {
    /// Least overlap (intersection over union, 0…1) of a found face with the track it belongs to.
    pub min_overlap: f32,
    /// Frames a face must be found in before it is shown; 1 shows it at once.
    pub sightings_to_appear: u32,
    /// Seconds a face may go unfound before its track ends.
    pub forget_after_s: f32,
    /// Half-life in seconds of the expression scores' smoothing; 0 switches it off.
    pub expression_half_life_s: f32,
    /// The same for gender, which does not change: slower.
    pub gender_half_life_s: f32,
    /// Lead in smoothed share (0…1) that another answer needs over the one shown; also how far
    /// below the threshold of "unsure" the one shown must fall to be withdrawn.
    pub challenge_margin: f32,
    /// Seconds that either must last.
    pub challenge_s: f32,
}

impl Default for TrackerOptions {
    fn default() -> Self {
        Self {
            min_overlap: 0.2,
            sightings_to_appear: 2,
            forget_after_s: 1.0,
            expression_half_life_s: 0.4,
            gender_half_life_s: 2.0,
            challenge_margin: 0.1,
            challenge_s: 0.2,
        }
    }
}

/// An option out of its range.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{key} = {value}: must be {allowed}")]
pub struct TrackerOptionError {
    /// Its name.
    pub key: &'static str,
    /// What it was set to.
    pub value: f32,
    /// What it may be.
    pub allowed: &'static str,
}

impl TrackerOptions {
    /// Checks every option's range.
    pub fn validate(&self) -> Result<(), TrackerOptionError> {
        let share = |value: f32| (0.0..1.0).contains(&value);
        let seconds = |value: f32| (0.0..=3600.0).contains(&value);
        let (share_range, seconds_range) = ("at least 0 and less than 1", "0 to 3600 seconds");
        let checks = [
            ("min_overlap", self.min_overlap, share(self.min_overlap), share_range),
            ("challenge_margin", self.challenge_margin, share(self.challenge_margin), share_range),
            ("forget_after_s", self.forget_after_s, seconds(self.forget_after_s), seconds_range),
            (
                "expression_half_life_s",
                self.expression_half_life_s,
                seconds(self.expression_half_life_s),
                seconds_range,
            ),
            (
                "gender_half_life_s",
                self.gender_half_life_s,
                seconds(self.gender_half_life_s),
                seconds_range,
            ),
            ("challenge_s", self.challenge_s, seconds(self.challenge_s), seconds_range),
        ];
        match checks.into_iter().find(|(_, _, good, _)| !good) {
            Some((key, value, _, allowed)) => Err(TrackerOptionError { key, value, allowed }),
            None => Ok(()),
        }
    }
}

/// One face followed through frames.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Counts the faces shown, from 1 again each day of the frames' time: nobody's number of today
    /// says when it was given before. Unique among those shown.
    pub id: u64,
    /// Where it was last found, in frame pixels.
    pub rect: Rect,
    /// Smoothed shares.
    pub scores: Scores,
    /// The expression to show; with hysteresis, so not always the greatest share. None: unsure.
    pub expression: Option<Expression>,
    /// The apparent gender to show, likewise; none if the model does not tell it.
    pub gender: Option<Gender>,
    /// Frames it was found in.
    pub age_frames: u64,
    /// When it was first found.
    pub first_seen: Duration,
    /// When it was last found; earlier than the last update's time while the face is missed.
    pub last_seen: Duration,
}

/// Follows faces; pure logic, told the time.
#[derive(Debug)]
pub struct Tracker {
    options: TrackerOptions,
    unsure_below: f32,
    faces: Vec<Face>,
    shown: Vec<Track>,
    next_id: u64,
    /// Of the last update or hold.
    time: Duration,
    /// The day of the numbers.
    day: u64,
}

/// A track and what is needed to carry it on.
#[derive(Debug)]
struct Face {
    /// Its `id` is 0 until it has been found often enough.
    track: Track,
    /// Pixels per second of its centre, smoothed.
    speed: [f32; 2],
    /// When its scores last moved.
    scored: Duration,
    expression: Answer,
    gender: Option<Answer>,
}

/// The index of the share shown, none if unsure, and since when something else should be.
#[derive(Debug)]
struct Answer {
    shown: Option<usize>,
    /// Least share to be shown.
    least: f32,
    beaten_since: Option<Duration>,
}

impl Tracker {
    /// A tracker that has seen nothing yet. A face whose strongest expression has a smaller
    /// smoothed share than `unsure_below` (0…1) shows none.
    pub fn new(options: TrackerOptions, unsure_below: f32) -> Self {
        let (faces, shown) = (Vec::new(), Vec::new());
        Self { options, unsure_below, faces, shown, next_id: 1, time: Duration::ZERO, day: 0 }
    }

    /// Takes in the faces found in the frame of `time` and gives the tracks to show, oldest first.
    ///
    /// Times must not fall; one that does counts as the last.
    pub fn update(&mut self, time: Duration, found: &[(Rect, Scores)]) -> &[Track] {
        self.time = self.time.max(time);
        let owners = self.assign(found);
        for ((rect, scores), owner) in found.iter().zip(owners) {
            match owner {
                Some(face) => self.faces[face].see(self.time, *rect, scores, &self.options),
                None => {
                    self.faces.push(Face::new(self.time, *rect, *scores, self.unsure_below));
                }
            }
        }
        self.settle()
    }

    /// Forgets all faces, shown or not: none that comes continues one of them.
    pub fn clear(&mut self) {
        self.faces.clear();
        self.shown.clear();
    }

    /// Stands in for [`Tracker::update`] where a frame looks like the last and was not examined:
    /// the faces found in the last frame count as found again, and scores and answers stay.
    /// The next scores then weigh as much as the whole time since the last ones.
    pub fn hold(&mut self, time: Duration) -> &[Track] {
        let last = self.time;
        self.time = self.time.max(time);
        for face in self.faces.iter_mut().filter(|face| face.track.last_seen == last) {
            face.track.last_seen = self.time;
            face.track.age_frames += 1;
            face.speed = [0.0; 2];
        }
        self.settle()
    }

    /// For each found face the index of the face it continues: greedily, greatest overlap first.
    fn assign(&self, found: &[(Rect, Scores)]) -> Vec<Option<usize>> {
        let mut pairs = Vec::new();
        for (face, known) in self.faces.iter().enumerate() {
            let predicted = known.predicted(self.time);
            for (sighting, (rect, _)) in found.iter().enumerate() {
                let overlap = predicted.iou(rect);
                if overlap > 0.0 && overlap >= self.options.min_overlap {
                    pairs.push((overlap, face, sighting));
                }
            }
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut owners = vec![None; found.len()];
        let mut taken = vec![false; self.faces.len()];
        for (_, face, sighting) in pairs {
            if !taken[face] && owners[sighting].is_none() {
                taken[face] = true;
                owners[sighting] = Some(face);
            }
        }
        owners
    }

    /// Forgets faces long unseen, numbers those seen often enough, and lists what to show.
    fn settle(&mut self) -> &[Track] {
        let day = self.time.as_secs() / DAY_S;
        if std::mem::replace(&mut self.day, day) != day {
            self.next_id = 1;
        }
        // Of yesterday's faces some may still be there, or leave now.
        let taken: Vec<u64> = self.faces.iter().map(|face| face.track.id).collect();
        let (time, options) = (self.time, &self.options);
        self.faces
            .retain(|face| seconds_between(face.track.last_seen, time) <= options.forget_after_s);
        for face in &mut self.faces {
            let track = &mut face.track;
            if track.id == 0 && track.age_frames >= u64::from(options.sightings_to_appear) {
                while taken.contains(&self.next_id) {
                    self.next_id += 1;
                }
                track.id = self.next_id;
                self.next_id += 1;
            }
        }
        self.shown.clear();
        self.shown.extend(self.faces.iter().map(|f| &f.track).filter(|t| t.id > 0).cloned());
        self.shown.sort_by_key(|track| track.id);
        &self.shown
    }
}

impl Face {
    fn new(time: Duration, rect: Rect, scores: Scores, unsure_below: f32) -> Self {
        let expression = Answer::new(&scores.expression, unsure_below);
        let gender = scores.gender.map(|shares| Answer::new(&shares, 0.0));
        let track = Track {
            id: 0,
            rect,
            scores,
            expression: expression.shown.map(|i| Expression::ALL[i]),
            gender: scores.top_gender().map(|(gender, _)| gender),
            age_frames: 1,
            first_seen: time,
            last_seen: time,
        };
        Self { track, speed: [0.0; 2], scored: time, expression, gender }
    }

    /// Where it should be now, had it gone on at its speed (for [`COAST_S`] at most).
    fn predicted(&self, time: Duration) -> Rect {
        let dt = seconds_between(self.track.last_seen, time).min(COAST_S);
        let Rect { x, y, w, h } = self.track.rect;
        Rect { x: x + self.speed[0] * dt, y: y + self.speed[1] * dt, w, h }
    }

    fn see(&mut self, time: Duration, rect: Rect, scores: &Scores, options: &TrackerOptions) {
        let dt = seconds_between(self.track.last_seen, time);
        if dt > 0.0 {
            let (old, new) = (centre(&self.track.rect), centre(&rect));
            let speed = [(new[0] - old[0]) / dt, (new[1] - old[1]) / dt];
            smooth(&mut self.speed, &speed, dt, SPEED_HALF_LIFE_S);
        }
        let track = &mut self.track;
        track.rect = rect;
        track.last_seen = time;
        track.age_frames += 1;

        let dt = seconds_between(self.scored, time);
        self.scored = time;
        let smoothed = &mut track.scores;
        smooth(&mut smoothed.expression, &scores.expression, dt, options.expression_half_life_s);
        self.expression.settle(time, &smoothed.expression, options);
        track.expression = self.expression.shown.map(|i| Expression::ALL[i]);
        if let (Some(answer), Some(smoothed), Some(shares)) =
            (&mut self.gender, &mut smoothed.gender, &scores.gender)
        {
            smooth(smoothed, shares, dt, options.gender_half_life_s);
            answer.settle(time, smoothed, options);
            track.gender = answer.shown.map(|i| Gender::ALL[i]);
        }
    }
}

impl Answer {
    fn new(shares: &[f32], least: f32) -> Self {
        let top = argmax(shares);
        Self { shown: (shares[top] >= least).then_some(top), least, beaten_since: None }
    }

    /// Moves on once something else should have been shown for long enough. The time runs
    /// whatever that is, so that two rivals taking turns can't keep an outdated answer up.
    fn settle(&mut self, time: Duration, shares: &[f32], options: &TrackerOptions) {
        let due = self.due(shares, options.challenge_margin);
        if due == self.shown {
            self.beaten_since = None;
            return;
        }
        let since = *self.beaten_since.get_or_insert(time);
        if seconds_between(since, time) >= options.challenge_s {
            (self.shown, self.beaten_since) = (due, None);
        }
    }

    /// What should be shown: the one that is, unless it is led by the margin or its share lies
    /// below the least by the margin; then the strongest, if its share reaches the least.
    fn due(&self, shares: &[f32], margin: f32) -> Option<usize> {
        let top = argmax(shares);
        let stays = |shown: usize| {
            (shown == top || shares[top] - shares[shown] < margin)
                && shares[shown] > self.least - margin
        };
        self.shown.filter(|&shown| stays(shown)).or((shares[top] >= self.least).then_some(top))
    }
}

/// `s ← k·s + (1 − k)·x`, `k = 2^(−dt / half_life)`.
fn smooth(smoothed: &mut [f32], new: &[f32], dt_s: f32, half_life_s: f32) {
    let keep = if half_life_s > 0.0 { (-dt_s / half_life_s).exp2() } else { 0.0 };
    for (s, x) in smoothed.iter_mut().zip(new) {
        *s = keep * *s + (1.0 - keep) * x;
    }
}

fn centre(rect: &Rect) -> [f32; 2] {
    [rect.x + rect.w / 2.0, rect.y + rect.h / 2.0]
}

fn seconds_between(earlier: Duration, later: Duration) -> f32 {
    later.saturating_sub(earlier).as_secs_f32()
}

#[cfg(test)]
mod tests;
