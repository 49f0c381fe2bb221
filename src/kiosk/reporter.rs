//! LEDs and journal, whose failures the service outlives.

use std::time::{Duration, Instant};

use crate::face::tracker::Track;
use crate::report::event::{Event, StatusEvent};
use crate::report::journal::{Journal, JournalError};
use crate::report::leds::Leds;

use super::trouble::Trouble;

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
    pub fn new(device: &'a str, leds: &'a mut Leds, journal: &'a mut Journal) -> Self {
        let trouble = Trouble::new("journal");
        Self { device, leds, journal, trouble, outage: None, deleted: 0, records: 0 }
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

    /// To be called often: syncs the journal if its period is over, and tells how its disk does.
    pub fn keep_up(&mut self) {
        // Why it fails is told below.
        let _ = self.journal.sync_if_due();
        self.tell_outage();
        self.tell_deleted();
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
        if let Err(error) = self.leds.all(flash) {
            log::warn!("{error}; going on without");
        }
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
        let disk = TestDisk::new();
        let mut journal = disk.journal();
        let mut reporter = Reporter::new("hall", &mut leds, &mut journal);
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
