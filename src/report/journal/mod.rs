//! The durable log: an append-only journal of records on disk.
//!
//! Power cuts are normal on a Pi. The journal's promises, argued for in `docs/journal.md`:
//!
//! - a record is on disk at the latest [`JournalOptions::sync_period_s`] after it was appended
//!   (or when [`Journal::sync`] returns), provided [`Journal::sync_if_due`] is called often;
//! - a killed process loses no record that the disk took, a power cut none that was synced;
//! - while the disk refuses, records wait in memory, and are written once it takes them again;
//! - opening drops at most the unfinished end, quarantines a damaged last segment, says so, and
//!   goes on with the next sequence;
//! - reading never gives a record that was not written, whatever bits have flipped;
//! - the directory stays within [`JournalOptions::max_total_bytes`], oldest records going first.
//!
//! One process writes; any number may [`read`].

mod bounds;
mod card;
mod clock;
mod directory;
mod error;
pub mod follow;
mod format;
mod lock;
mod options;
mod packing;
pub mod position;
mod reader;
mod repair;
mod ring;
mod segment;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use std::path::Path;

use crate::disk::RealDisk;

pub use card::Written;
pub use clock::{CLOCK_TOLERANCE, Runs, is_plausible as is_clock_set};
pub use error::JournalError;
pub use format::{Delivery, Qos, Record};
pub use options::JournalOptions;
pub use reader::{read, read_from, read_segment};
pub use repair::{Checked, check};
pub use writer::{Journal, Recovery, Run};

/// Repairs every segment of the journal in `dir`: what [`check`] finds damaged is put into
/// quarantine and a clean segment with its sound records in its place, under the same sequences; an
/// unfinished record at the end is cut off. Gives what was found.
///
/// Fails if a writer is at work.
pub fn repair(dir: &Path) -> Result<Vec<Checked>, JournalError> {
    let _lock = lock::existing(dir)?;
    repair::repair_on(&RealDisk, dir)
}
