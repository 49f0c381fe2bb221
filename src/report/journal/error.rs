//! What can go wrong with a journal.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

/// Why the journal could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum JournalError {
    /// The directory can't be made or written to.
    #[error(
        "can't write the journal in {}: {source}; {}, or name another directory in the config: \
         `directory` under `[journal]`",
        dir.display(),
        way_out(source)
    )]
    Unwritable { dir: PathBuf, source: io::Error },
    /// Another process writes this journal.
    #[error(
        "the journal in {} is being written by another process; stop that one, or name another \
         directory in the config: `directory` under `[journal]`",
        dir.display()
    )]
    Locked { dir: PathBuf },
    /// Writing or reading failed.
    #[error("journal {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The segment was written by another version of this program.
    #[error(
        "journal {} has format version {version}, this program knows {supported}; use the \
         version that wrote it, or move the file away",
        path.display()
    )]
    OtherVersion { path: PathBuf, version: u16, supported: u16 },
    /// Bytes in the middle are no record; those after them are still read.
    #[error(
        "journal {}: {bytes} damaged bytes at offset {offset} passed over; `mien journal repair` \
         puts them aside",
        path.display()
    )]
    Damaged { path: PathBuf, offset: u64, bytes: u64 },
    /// The journal ends in an unfinished record: cut off by a kill, or just being written.
    #[error("journal {}: ends in an unfinished record, {bytes} bytes at offset {offset}", path.display())]
    Torn { path: PathBuf, offset: u64, bytes: u64 },
    /// Topic or payload is too long to be a record.
    #[error("a record's {part} of {bytes} bytes is longer than {limit}")]
    TooLong { part: &'static str, bytes: usize, limit: usize },
    /// An option is out of its range.
    #[error("journal option {key} = {value}: must be {allowed}")]
    Option { key: &'static str, value: String, allowed: String },
}

/// What lets a directory be written to.
fn way_out(why: &io::Error) -> &'static str {
    match why.kind() {
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "move the file away that is in its place"
        }
        ErrorKind::ReadOnlyFilesystem => "mount that file system for writing",
        ErrorKind::StorageFull => "make room there",
        _ => "give this user write access there (`chown`, `chmod u+rwx`)",
    }
}
