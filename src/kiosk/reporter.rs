//! LEDs and journal, whose failures the service outlives.

use std::time::{Duration, Instant};

use crate::face::tracker::Track;
use crate::report::event::{Event, StatusEvent};
use crate::report::journal::{Journal, JournalError};
use crate::report::leds::{LedError, Leds};

use super::controls::Controls;
use super::trouble::Trouble;

/// How long a test lights all LEDs.
const LED_TEST: Duration = Duration::from_secs(2);
/// While the journal's disk refuses, all LEDs flash once in this time …
const FLASH_PERIOD_MS: u128 = 2000;
/// … for so long.
const FLASH_MS: u128 = 500;

/// Passes on to the LEDs and the journal what is seen.
pub struct Reporter<'a> {
    device: &'a str,
    leds: &'a mut Leds,
    journal: &'a mut Journal,
    trouble: Trouble<JournalError>,
    controls: &'a Controls,
    /// A test of the LEDs lasts until then.
    test_until: Option<Instant>,
    outage: Option<Outage>,
    /// Records deleted undelivered, as told.
    deleted: u64,
    /// Records that the journal took.
    pub records: u64,
}

/// The journal's disk refuses.
struct Outage {
    since: Instant,
    /// Records dropped before it.
    dropped_before: u64,
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
        let (test_until, outage) = (None, None);
        Self {
            device,
            leds,
            journal,
            trouble,
            controls,
            test_until,
            outage,
            deleted: 0,
            records: 0,
        }
    }

    /// Lights what the nearest face shows, which is taken to be the largest; while that is unsure,
    /// no expression's LED.
    pub fn show(&mut self, tracks: &[Track]) {
        let nearest = tracks.iter().max_by(|a, b| a.rect.area().total_cmp(&b.rect.area()));
        let shown = nearest.and_then(|track| {
            let expression = track.expression?;
            Some((expression, track.scores.expression[expression as usize]))
        });
        warn_of_leds(self.leds.show(shown, !tracks.is_empty()));
    }

    /// Lights all LEDs for a moment.
    pub fn test_leds(&mut self) {
        self.test_until = Some(Instant::now() + LED_TEST);
    }

    /// Writes an event to the journal.
    pub fn append(&mut self, event: &Event) {
        let (topic, payload) = (event.topic(self.device), event.payload());
        let appended = self.journal.append_with(&topic, &payload, event.delivery());
        let sequence = self.trouble.note(appended);
        self.records += u64::from(sequence.is_some());
        let records = self.records;
        self.controls.update(|health| {
            health.records = records;
            health.journal_end = sequence.map(|sequence| sequence + 1).or(health.journal_end);
        });
    }

    /// To be called often: syncs the journal if its period is over, and tells how its disk does.
    pub fn keep_up(&mut self) {
        if let Some(below) = self.controls.delivered() {
            self.journal.set_acknowledged(below);
        }
        // Why it fails is told below.
        let _ = self.journal.sync_if_due();
        self.tell_outage();
        self.tell_deleted();
        let failing = self.outage.is_some();
        self.controls.update(|health| health.journal_failing = failing);
    }

    fn tell_outage(&mut self) {
        match (self.journal.refusal(), &self.outage) {
            (Some(why), None) => {
                log::warn!(
                    "the journal's disk refuses: {why}; going on, with records in memory and \
                     all LEDs flashing, until it takes them"
                );
                let dropped_before = self.journal.dropped();
                self.outage = Some(Outage { since: Instant::now(), dropped_before });
            }
            (None, Some(Outage { since, dropped_before })) => {
                let refused_s = since.elapsed().as_secs();
                let dropped = self.journal.dropped() - dropped_before;
                log::info!(
                    "the journal's disk takes records again, after {refused_s} s; {dropped} were lost"
                );
                self.outage = None;
                self.append(&Event::Status(StatusEvent::JournalBack { refused_s, dropped }));
            }
            _ => {}
        }
        let flash = self.outage.as_ref().is_some_and(|outage| flashes(outage.since.elapsed()));
        self.test_until = self.test_until.filter(|until| Instant::now() < *until);
        warn_of_leds(self.leds.all(flash || self.test_until.is_some()));
    }

    /// The journal itself has warned.
    fn tell_deleted(&mut self) {
        let deleted = self.journal.unsent_deleted();
        let records = deleted - std::mem::replace(&mut self.deleted, deleted);
        if records > 0 {
            self.append(&Event::Status(StatusEvent::UndeliveredDeleted { records }));
        }
    }

    /// Darkens the LEDs and syncs the journal.
    pub fn close(&mut self) {
        if let Err(error) = self.leds.off() {
            log::warn!("{error}");
        }
        let waiting = self.journal.waiting();
        if self.trouble.note(self.journal.sync()).is_none() && waiting > 0 {
            log::error!("{waiting} records are lost with memory");
        }
    }
}

/// Whether all LEDs are lit at this moment of an outage.
fn flashes(outage: Duration) -> bool {
    outage.as_millis() % FLASH_PERIOD_MS < FLASH_MS
}

/// The LEDs tell each failing line once.
fn warn_of_leds(shown: Result<(), LedError>) {
    if let Err(error) = shown {
        log::warn!("{error}; going on without");
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use embedded_hal::digital::{ErrorType, OutputPin};

    use super::*;
    use crate::expression::Expression;
    use crate::report::journal::tests::TestDisk;
    use crate::report::leds::Led;

    #[derive(Clone, Default)]
    struct Pin(Arc<AtomicBool>);

    impl ErrorType for Pin {
        type Error = Infallible;
    }

    impl OutputPin for Pin {
        fn set_low(&mut self) -> Result<(), Infallible> {
            self.0.store(false, Ordering::Relaxed);
            Ok(())
        }

        fn set_high(&mut self) -> Result<(), Infallible> {
            self.0.store(true, Ordering::Relaxed);
            Ok(())
        }
    }

    #[test]
    fn a_disk_that_refuses_makes_all_leds_flash_and_loses_no_event() {
        let pin = Pin::default();
        let mut leds = Leds::on_pins(vec![(Led::Showing(Expression::Sad), 1, pin.clone())], false);
        let (disk, controls) = (TestDisk::new(), Controls::default());
        let mut journal = disk.journal();
        let mut reporter = Reporter::new("hall", &mut leds, &mut journal, &controls);
        let event = Event::Status(StatusEvent::CameraBack);
        reporter.append(&event);
        reporter.keep_up();
        assert!(!pin.0.load(Ordering::Relaxed));

        disk.refuse(true);
        reporter.append(&event);
        disk.pass_s(6.0);
        reporter.keep_up();
        assert!(reporter.outage.is_some() && pin.0.load(Ordering::Relaxed), "no flash");

        disk.refuse(false);
        disk.pass_s(6.0);
        reporter.keep_up();
        assert!(reporter.outage.is_none() && !pin.0.load(Ordering::Relaxed), "still flashing");
        assert_eq!(reporter.records, 3);
        reporter.close();
        let payloads = disk.payloads();
        assert_eq!(payloads.len(), 3);
        assert_eq!(payloads[2], r#"{"state":"journal_back","refused_s":0,"dropped":0}"#);
    }

    #[test]
    fn a_flash_is_short() {
        let lit = (0..40).filter(|i| flashes(Duration::from_millis(i * 100))).count();
        assert_eq!(lit, 10);
    }
}
