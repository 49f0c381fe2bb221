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
    room: Option<RoomEvent>,
}

impl Teller {
    /// A teller that sums up the room every `room_period`.
    pub fn new(room_period: Duration) -> Self {
        Self { room_period, known: BTreeMap::new(), room: None }
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
        let mut counts = [0; Expression::ALL.len()];
        for track in tracks {
            counts[track.expression as usize] += 1;
        }
        if let Some(last) = &self.room
            && (time.saturating_sub(last.time) < self.room_period || last.counts == counts)
        {
            return None;
        }
        let room = RoomEvent { counts, time };
        self.room = Some(room.clone());
        Some(Event::Room(room))
    }
}
