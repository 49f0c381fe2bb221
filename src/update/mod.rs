//! Another program or model for a kiosk: verified, put in place at once, tried, and taken back if it does
//! not prove itself. `docs/update.md` tells it to who runs a kiosk.
//!
//! - [`signature`] says whether a file is its maker's.
//! - `state` says what is in use, what is on trial and what was before; it alone decides.
//! - [`Updates`] is the directory that holds both. A release's file is named by its SHA-256 and is never
//!   written again; `state.json` is replaced as a whole, after what it names is on the disk. So whenever the
//!   power goes, the one before or the one after is whole.
//! - A start is counted before it begins. A release that has not proved itself after
//!   [`MAX_STARTS`] of them is rejected, whatever became of them.

mod release;
pub mod signature;
mod state;
#[cfg(test)]
mod tests;
mod updates;

pub use release::{Kind, Release};
pub use state::{MAX_STARTS, Rejected, Slot};
pub use updates::{Occupied, UpdateError, Updates};

use std::path::PathBuf;

use serde::Deserialize;

/// Where updates are kept, and whose are taken.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateOptions {
    /// Its directory, made if missing; in a configuration without, `updates` in the journal's.
    #[serde(default)]
    pub directory: PathBuf,
    /// The public key of whom they must be signed by, as minisign prints it.
    pub key: String,
}

impl UpdateOptions {
    /// Checks its values; else says what is wrong.
    pub fn validate(&self) -> Result<(), String> {
        signature::key(&self.key).map(drop).map_err(|why| format!("key = {:?}: {why}", self.key))
    }
}
