//! Which changes between one frame and the next are worth telling.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::expression::Expression;
use crate::face::tracker::Track;
use crate::report::event::{Event, FaceChange, FaceEvent, RoomEvent};

/// Remembers what was told last, and tells what differs.
#[derive(Debug)]
pub struct Teller {
    room_period: Duration,
    /// Faces as last seen, by track. The expression is the one last told.
    known: BTreeMap<u64, Track>,
    /// As told last.
    room: RoomEvent,
}

impl Teller {
    /// A teller that starts with an empty room and sums it up at most every `room_period`.
    pub fn new(room_period: Duration) -> Self {
        let room =
            RoomEvent { counts: [0; Expression::ALL.len()], unsure: 0, time: Duration::ZERO };
        Self { room_period, known: BTreeMap::new(), room }
    }

    /// What the tracks of the frame at `time` change: faces that appeared, show another
    /// expression, or left, by number; then the room, if its period is over and it differs from
    /// what was told last.
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
        let period_over = time.saturating_sub(self.room.time) >= self.room_period;
        if !period_over || (counts, unsure) == (self.room.counts, self.room.unsure) {
            return None;
        }
        self.room = RoomEvent { counts, unsure, time };
        Some(Event::Room(self.room.clone()))
    }
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
        let mut teller = Teller::new(seconds(1000));
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
        let mut teller = Teller::new(seconds(10));
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
    fn unsure_is_told_like_an_expression_and_counted_apart() {
        let mut teller = Teller::new(seconds(0));
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
                r#""gender_share":0.75,"box":[0,1,2,3],"time_s":1.23}"#
            )
        );
    }
}
