//! Reads a journal back, also while another process writes it.

use std::io;
use std::path::Path;

use super::JournalError;
use super::directory::{self, Segment};
use super::format::{Found, Record, Scan};
use crate::disk::{Disk, RealDisk};

/// All records of the journal in `dir`, oldest first; needs no lock.
///
/// What can't be read is an `Err` in its place, and the records after it still follow.
pub fn read(dir: &Path) -> impl Iterator<Item = Result<Record, JournalError>> + use<> {
    read_from(dir, 0)
}

/// The same, but only records of this sequence or a later one, and damage where they are.
pub fn read_from(
    dir: &Path,
    sequence: u64,
) -> impl Iterator<Item = Result<Record, JournalError>> + use<> {
    read_on(RealDisk, dir, sequence)
}

/// The records of one segment's bytes, as if its name said that it begins with sequence `first`;
/// damage is passed over.
pub fn read_segment(bytes: &[u8], first: u64) -> impl Iterator<Item = Record> {
    Scan::new(bytes, first).records()
}

pub(super) fn read_on<D: Disk>(
    disk: D,
    dir: &Path,
    sequence: u64,
) -> impl Iterator<Item = Result<Record, JournalError>> + use<D> {
    let (mut segments, failed) = match directory::list(&disk, dir) {
        Ok(segments) => (segments, None),
        Err(source) => (Vec::new(), Some(JournalError::Io { path: dir.into(), source })),
    };
    // The last that begins at or before it, and those after.
    let before = segments.partition_point(|segment| segment.first <= sequence);
    segments.drain(..before.saturating_sub(1));
    segments.reverse();
    let segments = Segments { disk, segments, next_sequence: sequence };
    failed.map(Err).into_iter().chain(segments.flatten())
}

/// Yields each segment's records. One segment is in memory at a time.
struct Segments<D> {
    disk: D,
    /// The next one last.
    segments: Vec<Segment>,
    /// Records below have been given, or are not wanted.
    next_sequence: u64,
}

impl<D: Disk> Iterator for Segments<D> {
    type Item = Vec<Result<Record, JournalError>>;

    fn next(&mut self) -> Option<Self::Item> {
        let Segment { path, first, .. } = self.segments.pop()?;
        let bytes = match directory::read(&self.disk, &path) {
            Ok(bytes) => bytes,
            // The writer has deleted it since it was listed: it was the oldest.
            Err(JournalError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Some(Vec::new());
            }
            Err(error) => return Some(vec![Err(error)]),
        };
        let is_last = self.segments.is_empty();
        let found = Scan::new(&bytes, first).filter_map(|found| match found {
            Found::Record(record, _) if record.sequence < self.next_sequence => None,
            Found::Record(record, _) => {
                self.next_sequence = record.sequence.saturating_add(1);
                Some(Ok(record))
            }
            Found::Unfinished { offset, bytes } if is_last => {
                let (offset, bytes) = (offset as u64, bytes as u64);
                Some(Err(JournalError::Torn { path: path.clone(), offset, bytes }))
            }
            Found::Damaged { offset, bytes } | Found::Unfinished { offset, bytes } => {
                let (offset, bytes) = (offset as u64, bytes as u64);
                Some(Err(JournalError::Damaged { path: path.clone(), offset, bytes }))
            }
        });
        Some(found.collect())
    }
}
