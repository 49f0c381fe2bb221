//! LEDs and journal, whose failures the service outlives.

use std::time::{Duration, Instant};

use crate::expression::Expression;
use crate::face::tracker::Track;
use crate::report::event::Event;
use crate::report::journal::{Journal, JournalError};
use crate::report::leds::{LedError, Leds};

use super::controls::Controls;
use super::trouble::Trouble;

/// How long a test lights all LEDs.
const LED_TEST: Duration = Duration::from_secs(2);

/// Passes on to the LEDs and the journal what is seen.
pub struct Reporter<'a> {
    device: &'a str,
    leds: &'a mut Leds,
    journal: &'a mut Journal,
    trouble: Trouble<JournalError>,
    controls: &'a Controls,
    /// What the LEDs show, but for a test.
    shown: (Option<Expression>, bool),
    /// A test of the LEDs lasts until then.
    test_until: Option<Instant>,
    /// Records that the journal took.
    pub records: u64,
}

impl<'a> Reporter<'a> {
    /// Reports as `device`.
    pub fn new(
        device: &'a str,
        leds: &'a mut Leds,
        journal: &'a mut Journal,
        controls: &'a Controls,
    ) -> Self {
        let trouble = Trouble::new("journal");
        let (shown, test_until) = ((None, false), None);
        Self { device, leds, journal, trouble, controls, shown, test_until, records: 0 }
    }

    /// Lights what the nearest face shows, which is taken to be the largest; while that is unsure,
    /// no expression's LED.
    pub fn show(&mut self, tracks: &[Track]) {
        let nearest = tracks.iter().max_by(|a, b| a.rect.area().total_cmp(&b.rect.area()));
        self.shown = (nearest.and_then(|track| track.expression), !tracks.is_empty());
        if self.test_until.is_none() {
            self.show_again();
        }
    }

    /// Lights all LEDs for a moment.
    pub fn test_leds(&mut self) {
        self.test_until = Some(Instant::now() + LED_TEST);
        warn_of_leds(self.leds.test());
    }

    /// Goes back to what is seen if a test is over.
    pub fn end_led_test(&mut self) {
        if self.test_until.is_some_and(|until| Instant::now() >= until) {
            self.test_until = None;
            self.show_again();
        }
    }

    fn show_again(&mut self) {
        let (expression, face_seen) = self.shown;
        warn_of_leds(self.leds.show(expression, face_seen));
    }

    /// Writes an event to the journal.
    pub fn append(&mut self, event: &Event) {
        let (topic, payload) = (event.topic(self.device), event.payload());
        let appended = self.journal.append_with(&topic, &payload, event.delivery());
        let sequence = self.trouble.note(appended);
        self.records += u64::from(sequence.is_some());
        let records = self.records;
        self.controls.update(|health| {
            health.journal_failing = sequence.is_none();
            health.records = records;
            health.journal_end = sequence.map(|sequence| sequence + 1).or(health.journal_end);
        });
    }

    /// Syncs the journal if its period is over.
    pub fn sync_if_due(&mut self) {
        if let Err(error) = self.journal.sync_if_due() {
            self.trouble.note::<()>(Err(error));
            self.controls.update(|health| health.journal_failing = true);
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

/// The LEDs tell each failing line once.
fn warn_of_leds(shown: Result<(), LedError>) {
    if let Err(error) = shown {
        log::warn!("{error}; going on without");
    }
}
