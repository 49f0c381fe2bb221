//! Tells nothing of a few faces, where that is wished.

use crate::report::event::Event;

/// What is told of events: all, or nothing of single faces and only rooms that are large enough.
#[derive(Debug)]
pub struct Discretion {
    /// Faces that a room told of has at least; none: all is told.
    least: Option<u32>,
    /// It was told that the room is too small; unknown at first, as a broker may still have one.
    small: Option<bool>,
}

impl Discretion {
    /// A room told of has `least` faces at least; with none all is told.
    pub fn new(least: Option<u32>) -> Self {
        Self { least, small: None }
    }

    /// Takes out of the events what may not be told. A room that becomes too small is told once as
    /// that, so that nobody takes the last one for the present.
    pub fn apply(&mut self, events: &mut Vec<Event>) {
        let Some(least) = self.least else { return };
        events.retain_mut(|event| match event {
            Event::Status(_) | Event::Vitals(_) => true,
            Event::Face(_) => false,
            Event::Room(room) => {
                let small = room.faces() < least;
                let was_small = self.small.replace(small);
                if small {
                    *event = Event::SmallRoom { least, time: room.time };
                }
                !small || was_small != Some(true)
            }
            Event::SmallRoom { .. } => true,
        });
    }
}
