//! Reads a journal back, also while another process writes it.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use super::JournalError;
use super::directory::{self, Segment};
use super::format::{Found, Record, Scan};

/// All records of the journal in `dir`, oldest first; needs no lock.
///
/// What can't be read is an `Err` in its place, and the records after it still follow.
pub fn read(dir: &Path) -> impl Iterator<Item = Result<Record, JournalError>> + use<> {
    let (segments, failed) = match directory::list(dir) {
        Ok(segments) => (segments.into(), None),
        Err(source) => (VecDeque::new(), Some(JournalError::Io { path: dir.into(), source })),
    };
    let segments = Segments { segments, next_sequence: 0 };
    failed.map(Err).into_iter().chain(segments.flatten())
}

/// Yields each segment's records. One segment is in memory at a time.
struct Segments {
    segments: VecDeque<Segment>,
    /// Records below have been given.
    next_sequence: u64,
}

impl Iterator for Segments {
    type Item = Vec<Result<Record, JournalError>>;

    fn next(&mut self) -> Option<Self::Item> {
        let Segment { path, .. } = self.segments.pop_front()?;
        let (bytes, header) = match directory::read(&path) {
            Ok(read) => read,
            // The writer has deleted it since it was listed: it was the oldest.
            Err(JournalError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Some(Vec::new());
            }
            Err(error) => return Some(vec![Err(error)]),
        };
        let last = self.segments.is_empty();
        let found = Scan::new(&bytes, header).filter_map(|found| match found {
            Found::Record(record, _) if record.sequence < self.next_sequence => None,
            Found::Record(record, _) => {
                self.next_sequence = record.sequence.saturating_add(1);
                Some(Ok(record))
            }
            Found::Damaged { offset, bytes: damaged } => {
                let at_end = last && offset + damaged == bytes.len();
                Some(Err(unreadable(path.clone(), offset as u64, damaged as u64, at_end)))
            }
        });
        Some(found.collect())
    }
}

fn unreadable(path: PathBuf, offset: u64, bytes: u64, at_end: bool) -> JournalError {
    if at_end {
        JournalError::Torn { path, offset, bytes }
    } else {
        JournalError::Damaged { path, offset, bytes }
    }
}
