//! What several tests share.

use std::io::Write;
use std::path::{Path, PathBuf};

/// The data that is not part of the repository: `MIEN_SHARED`, else `../shared` beside the
/// package root. `None`, with the reason printed, if it is not there; under CI that is a failure.
pub fn shared_data() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("MIEN_SHARED").map_or_else(beside, PathBuf::from);
    if shared.join("data").is_dir() {
        return Some(shared);
    }
    let missing = format!("no data in {}; set MIEN_SHARED to it", shared.display());
    assert!(std::env::var_os("CI").is_none(), "{missing}");
    // Not by `println!`, which the test runner keeps to itself.
    let _ = writeln!(std::io::stderr(), "skipped: {missing}");
    None
}
