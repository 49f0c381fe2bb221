//! LEDs and journal, whose failures the service outlives.

use crate::face::tracker::Track;
use crate::report::event::Event;
use crate::report::journal::{Journal, JournalError};
use crate::report::leds::Leds;

use super::trouble::Trouble;

/// Passes on to the LEDs and the journal what is seen.
pub struct Reporter<'a> {
    device: &'a str,
    leds: &'a mut Leds,
    journal: &'a mut Journal,
    trouble: Trouble<JournalError>,
    /// Records that the journal took.
    pub records: u64,
}

impl<'a> Reporter<'a> {
    /// Reports as `device`.
    pub fn new(device: &'a str, leds: &'a mut Leds, journal: &'a mut Journal) -> Self {
        Self { device, leds, journal, trouble: Trouble::new("journal"), records: 0 }
    }

    /// Lights what the nearest face shows, which is taken to be the largest; while that is unsure,
    /// no expression's LED.
    pub fn show(&mut self, tracks: &[Track]) {
        let nearest = tracks.iter().max_by(|a, b| a.rect.area().total_cmp(&b.rect.area()));
        let shown = self.leds.show(nearest.and_then(|track| track.expression), !tracks.is_empty());
        // The LEDs tell each failing line once.
        if let Err(error) = shown {
            log::warn!("{error}; going on without");
        }
    }

    /// Writes an event to the journal.
    pub fn append(&mut self, event: &Event) {
        let appended = self.journal.append(&event.topic(self.device), &event.payload());
        self.records += u64::from(self.trouble.note(appended).is_some());
    }

    /// Syncs the journal if its period is over.
    pub fn sync_if_due(&mut self) {
        if let Err(error) = self.journal.sync_if_due() {
            self.trouble.note::<()>(Err(error));
        }
    }

    /// Darkens the LEDs and syncs the journal.
    pub fn close(&mut self) {
        if let Err(error) = self.leds.off() {
            log::warn!("{error}");
        }
        self.trouble.note(self.journal.sync());
    }
}
