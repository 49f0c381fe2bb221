//! What a user may set about the journal.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::JournalError;

/// Least size of a segment: below, the card would see more directory updates than records.
const MIN_SEGMENT_BYTES: u64 = 4 << 10;
/// Greatest size of a segment: a reader holds one in memory.
const MAX_SEGMENT_BYTES: u64 = 16 << 20;
const MAX_SYNC_PERIOD_S: f64 = 3600.0;
const MAX_AGE_DAYS: f64 = 36_500.0;
const DAY_S: f64 = 86_400.0;

/// How the journal is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalOptions {
    /// Seconds after which a power cut can no longer take a record.
    pub sync_period_s: f64,
    /// Size in bytes at which a new segment file is begun.
    pub max_segment_bytes: u64,
    /// Size in bytes of all files; above it the oldest are deleted.
    pub max_total_bytes: u64,
    /// Days after which records are deleted, a segment at a time; 0 keeps them for as long as they
    /// fit.
    pub max_age_days: f64,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            sync_period_s: 5.0,
            max_segment_bytes: 4 << 20,
            max_total_bytes: 256 << 20,
            max_age_days: 0.0,
        }
    }
}

impl JournalOptions {
    /// Checks every option's range.
    pub fn validate(&self) -> Result<(), JournalError> {
        let refuse = |key, value, allowed| Err(JournalError::Option { key, value, allowed });
        if !(0.0..=MAX_SYNC_PERIOD_S).contains(&self.sync_period_s) {
            let allowed = format!("0 to {MAX_SYNC_PERIOD_S} seconds");
            return refuse("sync_period_s", self.sync_period_s.to_string(), allowed);
        }
        if !(MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&self.max_segment_bytes) {
            let allowed = format!("{MIN_SEGMENT_BYTES} to {MAX_SEGMENT_BYTES} bytes");
            return refuse("max_segment_bytes", self.max_segment_bytes.to_string(), allowed);
        }
        if self.max_total_bytes < 2 * self.max_segment_bytes {
            let allowed = "at least twice max_segment_bytes".into();
            return refuse("max_total_bytes", self.max_total_bytes.to_string(), allowed);
        }
        if !(self.max_age_days == 0.0 || (1.0..=MAX_AGE_DAYS).contains(&self.max_age_days)) {
            let allowed = format!("0 (no limit) or 1 to {MAX_AGE_DAYS} days");
            return refuse("max_age_days", self.max_age_days.to_string(), allowed);
        }
        Ok(())
    }

    pub(super) fn sync_period(&self) -> Duration {
        Duration::from_secs_f64(self.sync_period_s)
    }

    /// None: no limit.
    pub(super) fn max_age(&self) -> Option<Duration> {
        (self.max_age_days > 0.0).then(|| Duration::from_secs_f64(self.max_age_days * DAY_S))
    }
}
