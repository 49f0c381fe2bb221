//! LEDs and journal, whose failures the service outlives.

use std::time::{Duration, Instant};

use crate::face::tracker::Track;
use crate::report::event::{Event, StatusEvent};
use crate::report::journal::{Journal, JournalError};
use crate::report::leds::pattern::Pattern;
use crate::report::leds::{LedError, Leds};

use super::condition::Condition;
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
    /// A test of the LEDs lasts until then.
    test_until: Option<Instant>,
    /// What all LEDs tell together, and since when.
    pattern: Option<(Pattern, Instant)>,
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
        let (test_until, pattern, outage) = (None, None, None);
        Self {
            device,
            leds,
            journal,
            trouble,
            controls,
            test_until,
            pattern,
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

    /// To be called often: syncs the journal if its period is over, tells how its disk does, and has
    /// the LEDs tell what the kiosk is about.
    pub fn keep_up(&mut self, condition: Condition) {
        if let Some(below) = self.controls.delivered() {
            self.journal.set_acknowledged(below);
        }
        // Why it fails is told below.
        let _ = self.journal.sync_if_due();
        self.tell_outage();
        self.tell_deleted();
        let failing = self.is_failing();
        self.controls.update(|health| health.journal_failing = failing);
        self.show_pattern(condition);
    }

    /// Whether the journal's disk refuses.
    pub fn is_failing(&self) -> bool {
        self.outage.is_some()
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
    }

    fn show_pattern(&mut self, condition: Condition) {
        let now = Instant::now();
        self.test_until = self.test_until.filter(|until| now < *until);
        // People before the kiosk come first, then whoever looks after it.
        let pattern = match condition {
            _ if self.test_until.is_some() => Some(Pattern::Test),
            Condition::Paused => Some(Pattern::Paused),
            _ if self.is_failing() => Some(Pattern::DiskTrouble),
            Condition::CameraLost => Some(Pattern::NoCamera),
            Condition::Starting => Some(Pattern::Starting),
            Condition::Watching | Condition::Night => None,
        };
        if self.pattern.map(|(pattern, _)| pattern) != pattern {
            self.pattern = pattern.map(|pattern| (pattern, now));
        }
        let lit = self.pattern.is_some_and(|(pattern, since)| pattern.is_lit(now - since));
        warn_of_leds(self.leds.all(lit));
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
        reporter.keep_up(Condition::Watching);
        assert!(!pin.0.load(Ordering::Relaxed));

        disk.refuse(true);
        reporter.append(&event);
        disk.pass_s(6.0);
        reporter.keep_up(Condition::Watching);
        assert!(reporter.outage.is_some() && pin.0.load(Ordering::Relaxed), "no flash");

        disk.refuse(false);
        disk.pass_s(6.0);
        reporter.keep_up(Condition::Watching);
        assert!(reporter.outage.is_none() && !pin.0.load(Ordering::Relaxed), "still flashing");
        assert_eq!(reporter.records, 3);
        reporter.close();
        let payloads = disk.payloads();
        assert_eq!(payloads.len(), 3);
        assert_eq!(payloads[2], r#"{"state":"journal_back","refused_s":0,"dropped":0}"#);
    }

    #[test]
    fn the_leds_tell_what_the_kiosk_is_about() {
        let pin = Pin::default();
        let mut leds = Leds::on_pins(vec![(Led::FaceSeen, 1, pin.clone())], false);
        let (disk, controls) = (TestDisk::new(), Controls::default());
        let mut journal = disk.journal();
        let mut reporter = Reporter::new("hall", &mut leds, &mut journal, &controls);
        let pattern = |reporter: &mut Reporter, condition| {
            reporter.keep_up(condition);
            let pattern = reporter.pattern.map(|(pattern, _)| pattern);
            assert_eq!(pin.0.load(Ordering::Relaxed), pattern.is_some(), "each begins lit");
            pattern
        };
        assert_eq!(pattern(&mut reporter, Condition::Starting), Some(Pattern::Starting));
        assert_eq!(pattern(&mut reporter, Condition::Watching), None);
        assert_eq!(pattern(&mut reporter, Condition::CameraLost), Some(Pattern::NoCamera));
        assert_eq!(pattern(&mut reporter, Condition::Night), None);
        disk.refuse(true);
        reporter.append(&Event::Status(StatusEvent::CameraBack));
        disk.pass_s(6.0);
        assert_eq!(pattern(&mut reporter, Condition::Watching), Some(Pattern::DiskTrouble));
        assert_eq!(pattern(&mut reporter, Condition::Paused), Some(Pattern::Paused));
        reporter.test_leds();
        assert_eq!(pattern(&mut reporter, Condition::Paused), Some(Pattern::Test));
    }
}
