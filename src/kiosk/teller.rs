//! Which changes between one frame and the next are worth telling.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::classifier::Scores;
use crate::expression::Expression;
use crate::face::tracker::Track;
use crate::report::event::{Event, FaceChange, FaceEvent, RoomEvent};

use super::room::RoomShares;

/// A share of the room that moved by this is worth telling.
const SHARE_STEP: f32 = 0.05;

/// Remembers what was told last, and tells what differs.
#[derive(Debug)]
pub struct Teller {
    room_period: Duration,
    /// The shares are those of so many faces at least: of those in a smaller room they keep nothing.
    least_faces: usize,
    /// Faces as last seen, by track. The expression is the one last told.
    known: BTreeMap<u64, Track>,
    shares: RoomShares,
    /// As told last.
    room: Option<RoomEvent>,
}

impl Teller {
    /// A teller that starts with an empty room and sums it up at most every `room_period`, which
    /// is also the half-life of its shares. A room of less than `least_faces` has none.
    pub fn new(room_period: Duration, least_faces: usize) -> Self {
        let (known, shares) = (BTreeMap::new(), RoomShares::new(room_period));
        Self { room_period, least_faces, known, shares, room: None }
    }

    /// What it changes that nobody is seen any more; the room is summed up whatever the period.
    pub fn everyone_left(&mut self, time: Duration) -> Vec<Event> {
        let period = std::mem::take(&mut self.room_period);
        let events = self.tell(time, &[]);
        self.room_period = period;
        events
    }

    /// What the tracks of the frame at `time` change: faces that appeared, show another
    /// expression, or left, by number; then the room, if its period is over and it differs from
    /// what was told last. The first summary is told in any case: a broker may still keep one of
    /// before.
    pub fn tell(&mut self, time: Duration, tracks: &[Track]) -> Vec<Event> {
        let mut events = Vec::new();
        for track in tracks {
            let change = match self.known.insert(track.id, track.clone()) {
                None => FaceChange::Appeared,
                Some(before) if before.expression != track.expression => FaceChange::Changed,
                Some(_) => continue,
            };
            events.push(FaceEvent { change, track: track.clone(), time });
        }
        let gone = |id: &u64, _: &mut Track| tracks.iter().all(|track| track.id != *id);
        for (_, track) in self.known.extract_if(.., gone) {
            events.push(FaceEvent { change: FaceChange::Left, track, time });
        }
        events.sort_by_key(|event| event.track.id);
        events.into_iter().map(Event::Face).chain(self.sum_up(time, tracks)).collect()
    }

    fn sum_up(&mut self, time: Duration, tracks: &[Track]) -> Option<Event> {
        let (mut counts, mut unsure) = ([0; Expression::ALL.len()], 0);
        for track in tracks {
            match track.expression {
                Some(expression) => counts[expression as usize] += 1,
                None => unsure += 1,
            }
        }
        let enough = tracks.len() >= self.least_faces;
        let shares = self.shares.update(time, if enough { tracks } else { &[] });
        let shown = shares.map(|shares| shares.top_expression().0);
        let told_at = self.room.as_ref().map_or(Duration::ZERO, |room| room.time);
        let period_over = time.saturating_sub(told_at) >= self.room_period;
        let now = RoomEvent { counts, unsure, shown, shares, time };
        if !period_over || self.room.as_ref().is_some_and(|told| !differs(told, &now)) {
            return None;
        }
        self.room = Some(now.clone());
        Some(Event::Room(now))
    }
}

fn differs(a: &RoomEvent, b: &RoomEvent) -> bool {
    let moved = |a: &[f32], b: &[f32]| a.iter().zip(b).any(|(a, b)| (a - b).abs() >= SHARE_STEP);
    let scores_moved = |a: &Scores, b: &Scores| {
        let genders = a.gender.zip(b.gender);
        moved(&a.expression, &b.expression) || genders.is_some_and(|(a, b)| moved(&a, &b))
    };
    (a.counts, a.unsure, a.shown) != (b.counts, b.unsure, b.shown)
        || a.shares.zip(b.shares).is_some_and(|(a, b)| scores_moved(&a, &b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::Scores;
    use crate::expression::Gender;
    use crate::image::Rect;

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn track(id: u64, expression: impl Into<Option<Expression>>) -> Track {
        let mut scores = Scores { expression: [0.0; 7], gender: Some([0.25, 0.75]) };
        let expression = expression.into();
        if let Some(expression) = expression {
            scores.expression[expression as usize] = 1.0;
        }
        Track {
            id,
            rect: Rect { x: 0.25, y: 1.0, w: 2.0, h: 3.0 },
            scores,
            expression,
            gender: Some(Gender::Male),
            age_frames: 1,
            first_seen: Duration::ZERO,
            last_seen: Duration::ZERO,
        }
    }

    /// Topic, state and expression of each event; a room's number of faces.
    fn told(events: &[Event]) -> Vec<String> {
        let text = |event: &Event| {
            let payload = event.payload();
            let topic = event.topic("hall");
            match event {
                Event::Room(_) => format!("{topic} {}", payload["faces"]),
                _ => format!("{topic} {} {}", payload["state"], payload["expression"]),
            }
        };
        events.iter().map(text).collect()
    }

    #[test]
    fn only_changes_are_told() {
        use Expression::{Happy, Sad};
        let mut teller = Teller::new(seconds(1000), 0);
        let mut tell = |time, tracks: &[Track]| told(&teller.tell(seconds(time), tracks));
        assert!(tell(0, &[]).is_empty());
        let both = [track(2, Sad), track(1, Happy)];
        assert_eq!(
            tell(1, &both),
            [r#"mien/hall/face/1 "appeared" "happy""#, r#"mien/hall/face/2 "appeared" "sad""#]
        );
        assert!(tell(2, &both).is_empty());
        assert_eq!(
            tell(3, &[track(2, Happy)]),
            [r#"mien/hall/face/1 "left" "happy""#, r#"mien/hall/face/2 "changed" "happy""#]
        );
        assert_eq!(tell(4, &[]), [r#"mien/hall/face/2 "left" "happy""#]);
    }

    #[test]
    fn the_room_is_summed_up_once_a_period_if_it_changed() {
        let mut teller = Teller::new(seconds(10), 0);
        let happy = [track(1, Expression::Happy)];
        let mut rooms = |time, tracks: &[Track]| {
            let events = teller.tell(seconds(time), tracks);
            told(&events).into_iter().filter(|told| told.contains("/room")).collect::<Vec<_>>()
        };
        assert!(rooms(5, &happy).is_empty(), "within the period");
        assert_eq!(rooms(10, &happy), ["mien/hall/room 1"]);
        assert!(rooms(30, &happy).is_empty(), "nothing changed");
        assert_eq!(rooms(31, &[]), ["mien/hall/room 0"]);
    }

    #[test]
    fn the_shares_are_the_mean_of_the_faces_and_slow() {
        let mut teller = Teller::new(seconds(1), 0);
        let mut room = |time, tracks: &[Track]| {
            let events = teller.tell(seconds(time), tracks);
            events.last().filter(|event| matches!(event, Event::Room(_))).map(Event::payload)
        };
        let empty = room(1, &[]).expect("the first is told in any case");
        assert_eq!((&empty["shown"], &empty["percent"]), (&"none".into(), &().into()));
        let both = room(2, &[track(1, Expression::Happy), track(2, Expression::Sad)]).unwrap();
        assert_eq!(both["percent"]["expression"]["happy"], 50);
        assert_eq!(both["percent"]["expression"]["sad"], 50);
        assert_eq!(both["percent"]["gender"]["male"], 75);
        // A half-life later: half of before, half of now.
        let sad = room(3, &[track(1, Expression::Sad), track(2, Expression::Sad)]).unwrap();
        assert_eq!(sad["percent"]["expression"]["sad"], 75);
        assert_eq!(sad["shown"], "sad");
        // Nothing but the shares move, and they are told until they have settled.
        let settling = (4..20)
            .filter_map(|time| room(time, &[track(1, Expression::Sad), track(2, Expression::Sad)]));
        assert!((1..5).contains(&settling.count()));
    }

    /// One face's shares must not show in those of a room which is just large enough.
    #[test]
    fn the_shares_are_not_of_rooms_that_are_too_small() {
        let mut teller = Teller::new(seconds(10), 2);
        let one = teller.tell(seconds(20), &[track(1, Expression::Surprise)]);
        assert!(one.last().unwrap().payload()["percent"].is_null());
        let two = teller.tell(seconds(30), &[track(1, Expression::Sad), track(2, Expression::Sad)]);
        assert_eq!(two.last().unwrap().payload()["percent"]["expression"]["surprise"], 0);
    }

    #[test]
    fn an_empty_room_is_told_at_once_when_the_watch_ends() {
        let mut teller = Teller::new(seconds(1000), 0);
        teller.tell(seconds(1000), &[track(1, Expression::Happy)]);
        let events = told(&teller.everyone_left(seconds(1001)));
        assert_eq!(events, [r#"mien/hall/face/1 "left" "happy""#, "mien/hall/room 0"]);
        assert!(teller.everyone_left(seconds(1002)).is_empty());
        assert_eq!(teller.tell(seconds(1003), &[track(2, Expression::Happy)]).len(), 1);
    }

    #[test]
    fn unsure_is_told_like_an_expression_and_counted_apart() {
        let mut teller = Teller::new(seconds(0), 0);
        let events = teller.tell(seconds(1), &[track(1, None), track(2, Expression::Sad)]);
        assert_eq!(told(&events)[0], r#"mien/hall/face/1 "appeared" "unsure""#);
        let room = events.last().unwrap().payload();
        assert_eq!((&room["faces"], &room["unsure"]), (&2.into(), &1.into()));
        assert_eq!(room["expressions"]["sad"], 1);
        let events = teller.tell(seconds(2), &[track(1, Expression::Happy), track(2, None)]);
        let changes =
            [r#"mien/hall/face/1 "changed" "happy""#, r#"mien/hall/face/2 "changed" "unsure""#];
        assert_eq!(told(&events)[..2], changes);
    }

    #[test]
    fn a_payload_is_rounded_and_in_order() {
        let face = FaceEvent {
            change: FaceChange::Appeared,
            track: track(1, Expression::Happy),
            time: Duration::from_millis(1234),
        };
        assert_eq!(
            Event::Face(face).payload().to_string(),
            concat!(
                r#"{"state":"appeared","expression":"happy","share":1.0,"gender":"male","#,
                r#""gender_share":0.75,"box":[0,1,2,3],"time_s":1.2}"#
            )
        );
    }
}
