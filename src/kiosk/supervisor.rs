//! What systemd is told of the run, if it started the program and wants to know (`sd_notify(3)`).
//!
//! - Ready, once the source has brought anything: a frame that was processed, or that the camera is
//!   lost and being opened again, as one of broken frames only is. A kiosk without a camera waits for it and is not to be
//!   restarted for that.
//! - Alive (`WATCHDOG=1`), only from the main loop, and only while the source [makes
//!   progress](Watchdog). A loop that hangs, on the disk say, says nothing.
//! - What it is about, and that it stops.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::condition::Condition;

/// A live source that brings nothing for so long, not even that it is lost, hangs in its driver: a
/// lost one is tried every half minute, and each try takes some seconds.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// Tells systemd; without it, nobody.
#[derive(Debug)]
pub struct Supervisor {
    ready: bool,
    /// As told last.
    about: Option<(Condition, bool)>,
    watchdog: Option<Watchdog>,
    /// A failure is logged once.
    failing: bool,
}

impl Supervisor {
    /// The one that the environment names.
    pub fn from_environment() -> Self {
        let now = Instant::now();
        let watchdog = sd_notify::watchdog_enabled().map(|period| Watchdog::new(period, now));
        Self { ready: false, about: None, watchdog, failing: false }
    }

    /// The source has brought something, or waits because it was told to.
    pub fn progress(&mut self) {
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.progress(Instant::now());
        }
        if !std::mem::replace(&mut self.ready, true) {
            self.tell(&[NotifyState::Ready]);
        }
    }

    /// To be called often: what the kiosk is about, and whether its journal's disk refuses.
    pub fn keep_up(&mut self, condition: Condition, journal_failing: bool) {
        if self.watchdog.as_mut().is_some_and(|watchdog| watchdog.is_due(Instant::now())) {
            self.tell(&[NotifyState::Watchdog]);
        }
        let about = (condition, journal_failing);
        if self.about.replace(about) != Some(about) {
            let disk = if journal_failing { "; the journal's disk refuses" } else { "" };
            self.tell(&[NotifyState::Status(&format!("{}{disk}", condition.text()))]);
        }
    }

    /// The program is about to end.
    pub fn stopping(&mut self) {
        self.tell(&[NotifyState::Stopping]);
    }

    fn tell(&mut self, states: &[NotifyState]) {
        let told = sd_notify::notify(states);
        if let (Err(error), false) = (&told, self.failing) {
            log::warn!("can't tell systemd how it goes: {error}; does the unit allow AF_UNIX?");
        }
        self.failing = told.is_err();
    }
}

/// When to say that all is alive.
#[derive(Debug)]
struct Watchdog {
    /// Half of what systemd waits.
    period: Duration,
    told: Option<Instant>,
    progress: Instant,
}

impl Watchdog {
    fn new(patience: Duration, now: Instant) -> Self {
        Self { period: patience / 2, told: None, progress: now }
    }

    fn progress(&mut self, now: Instant) {
        self.progress = now;
    }

    /// Whether it is time to; it is then taken to have been done.
    fn is_due(&mut self, now: Instant) -> bool {
        let silent = now.saturating_duration_since(self.progress) > LONGEST_SILENCE;
        let over = |told: Instant| now.saturating_duration_since(told) >= self.period;
        let due = !silent && self.told.is_none_or(over);
        if due {
            self.told = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_twice_in_the_time_that_systemd_waits() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(Duration::from_secs(10), start);
        let mut due = |second| watchdog.is_due(start + Duration::from_secs(second));
        assert_eq!(
            [0, 1, 4, 5, 9, 10, 20].map(&mut due),
            [true, false, false, true, false, true, true]
        );
    }

    #[test]
    fn a_source_that_hangs_is_not_alive_and_one_that_is_tried_again_is() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(Duration::from_secs(10), start);
        let at = |second| start + Duration::from_secs(second);
        // The longest time from one try to the next.
        watchdog.progress(at(40));
        assert!(watchdog.is_due(at(41)));
        assert!(watchdog.is_due(at(99)));
        assert!(!watchdog.is_due(at(101)));
        assert!(!watchdog.is_due(at(1000)));
        watchdog.progress(at(1001));
        assert!(watchdog.is_due(at(1002)), "it came back");
    }
}
