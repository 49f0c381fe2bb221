//! LEDs and journal, whose failures the service outlives.

use embedded_hal::digital::OutputPin;

use crate::face::tracker::Track;
use crate::report::event::Event;
use crate::report::journal::{Journal, JournalError};
use crate::report::leds::{LedError, Leds};

use super::trouble::Trouble;

/// Passes on to the LEDs and the journal what is seen.
pub struct Reporter<'a, P: OutputPin> {
    device: &'a str,
    leds: &'a mut Leds<P>,
    journal: &'a mut Journal,
    led_trouble: Trouble<LedError>,
    journal_trouble: Trouble<JournalError>,
    /// Records that the journal took.
    pub records: u64,
}

impl<'a, P: OutputPin> Reporter<'a, P> {
    /// Reports as `device`.
    pub fn new(device: &'a str, leds: &'a mut Leds<P>, journal: &'a mut Journal) -> Self {
        let led_trouble = Trouble::new("LEDs");
        let journal_trouble = Trouble::new("journal");
        Self { device, leds, journal, led_trouble, journal_trouble, records: 0 }
    }

    /// Lights what the faces show.
    pub fn show(&mut self, tracks: &[Track]) {
        self.led_trouble.note(self.leds.show(tracks));
    }

    /// Writes an event to the journal.
    pub fn append(&mut self, event: &Event) {
        let appended = self.journal.append(&event.topic(self.device), &event.payload());
        self.records += u64::from(self.journal_trouble.note(appended).is_some());
    }

    /// Syncs the journal if its period is over.
    pub fn sync_if_due(&mut self) {
        if let Err(error) = self.journal.sync_if_due() {
            self.journal_trouble.note::<()>(Err(error));
        }
    }

    /// Darkens the LEDs and syncs the journal.
    pub fn close(&mut self) {
        self.led_trouble.note(self.leds.off());
        self.journal_trouble.note(self.journal.sync());
    }
}
