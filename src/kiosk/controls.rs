//! What a running kiosk may be asked by other threads, and what it tells them of itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::stages::StageTime;

/// Requests to a kiosk and its state; shared between its loop and whoever commands it.
#[derive(Debug, Default)]
pub struct Controls {
    paused: AtomicBool,
    led_test: AtomicBool,
    restart: AtomicBool,
    stage_times: AtomicBool,
    delivered: Mutex<Option<u64>>,
    health: Mutex<Health>,
}

/// How a kiosk is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// Whether it is paused.
    pub paused: bool,
    /// Its camera gives no frames and is being opened again.
    pub camera_lost: bool,
    /// Its journal's disk refuses, and records wait in memory.
    pub journal_failing: bool,
    /// Frames read since it started.
    pub frames: u64,
    /// Records written since it started.
    pub records: u64,
    /// One above the last record's sequence; none if none was written.
    pub journal_end: Option<u64>,
    /// What each stage took, when last asked for.
    pub stages: Vec<StageTime>,
}

impl Health {
    /// Whether somebody should look after it.
    pub fn has_problem(&self) -> bool {
        self.camera_lost || self.journal_failing
    }
}

impl Controls {
    /// Pauses the kiosk: no frame is looked at, and the LEDs tell that it is paused; or goes on.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// Pauses the kiosk if it is to watch, and has it go on if it is to pause.
    pub fn toggle_pause(&self) {
        self.paused.fetch_not(Ordering::Relaxed);
    }

    /// Whether it is to pause.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Lights all LEDs for a moment.
    pub fn test_leds(&self) {
        self.led_test.store(true, Ordering::Relaxed);
    }

    pub(super) fn take_led_test(&self) -> bool {
        self.led_test.swap(false, Ordering::Relaxed)
    }

    /// Ends the run, so that it can be begun anew.
    pub fn restart(&self) {
        self.restart.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_restarting(&self) -> bool {
        self.restart.load(Ordering::Relaxed)
    }

    /// Has the kiosk put its stages' times into [`Health`] after its next frame.
    pub fn ask_stage_times(&self) {
        self.stage_times.store(true, Ordering::Relaxed);
    }

    pub(super) fn take_stage_times(&self) -> bool {
        self.stage_times.swap(false, Ordering::Relaxed)
    }

    /// Says that a consumer follows the journal, and has got all records below this sequence.
    pub fn deliver(&self, below: u64) {
        *self.delivered.lock().unwrap_or_else(PoisonError::into_inner) = Some(below);
    }

    pub(super) fn delivered(&self) -> Option<u64> {
        *self.delivered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the kiosk is now.
    pub fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Health)) {
        change(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
