//! Segments as files: their names, and what a writer finds in the last one.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::JournalError;
use super::format::{self, Found, Header, MIN_RECORD_LEN, SEGMENT_HEADER_LEN, Scan, VERSION};
use crate::disk::Disk;

const EXTENSION: &str = "journal";
/// Digits of a segment's name, its first sequence: names sort as numbers, and no name's number
/// comes near overflowing.
pub(super) const NAME_DIGITS: usize = 18;

/// A segment's file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Segment {
    pub path: PathBuf,
    /// Its first record's sequence, from its name.
    pub first: u64,
    pub len: u64,
}

/// What a segment holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Contents {
    pub records: u64,
    /// That are neither a record nor the beginning of the last; the header included.
    pub damaged_bytes: u64,
    /// Where the last record ends.
    pub end: u64,
    /// Of an unfinished record, or of an unfinished header, at the end.
    pub torn_bytes: u64,
    /// Above every record that it holds, and above every one that the bytes after the last sound
    /// record may have been: a sequence is not given twice, though its record is damaged.
    pub next_sequence: u64,
    /// Above every sound record; the least that it can hold if there is none.
    pub after_last: u64,
    /// Sequences that are missing between its records, or before the first.
    pub missing: u64,
    /// The last record's wall clock.
    pub last_time: Option<SystemTime>,
    /// The first record's wall clock.
    pub first_time: Option<SystemTime>,
    /// Nothing but a header and sound records, so that it can be appended to.
    pub is_whole: bool,
}

impl Contents {
    /// What must be assumed of a segment that can't be read: as many records as it has room for.
    pub(super) fn unreadable(segment: &Segment) -> Self {
        let next_sequence = segment.first + room(segment.len);
        Self { damaged_bytes: segment.len, next_sequence, ..Self::default() }
    }
}

/// Most records that so many bytes can have been.
fn room(bytes: u64) -> u64 {
    bytes.div_ceil(MIN_RECORD_LEN)
}

/// The journal's segments, oldest first. Other files are not touched.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<Segment>> {
    let files = disk.list(dir)?.into_iter();
    let mut segments: Vec<Segment> = files
        .filter_map(|(name, len)| {
            let first = first_sequence(&name)?;
            Some(Segment { path: dir.join(name), first, len })
        })
        .collect();
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

/// Reads the sequence in a segment's name; `None` for any other name.
pub(super) fn first_sequence(name: &str) -> Option<u64> {
    let (stem, extension) = name.split_once('.')?;
    let digits = stem.len() == NAME_DIGITS && stem.bytes().all(|b| b.is_ascii_digit());
    if !digits || extension != EXTENSION {
        return None;
    }
    stem.parse().ok().filter(|first| *first < format::MAX_SEQUENCE)
}

/// Path of the segment whose first record has this sequence.
pub(super) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:0NAME_DIGITS$}.{EXTENSION}"))
}

/// Reads a segment whole; refuses one of another version, which must not be touched.
pub(super) fn read(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, JournalError> {
    let bytes = disk.read(path).map_err(|source| JournalError::Io { path: path.into(), source })?;
    match format::check_header(&bytes) {
        Header::Other(version) => {
            Err(JournalError::OtherVersion { path: path.into(), version, supported: VERSION })
        }
        Header::Whole | Header::Damaged => Ok(bytes),
    }
}

/// Looks through a segment's bytes.
pub(super) fn examine(first: u64, bytes: &[u8]) -> Contents {
    const HEADER: u64 = SEGMENT_HEADER_LEN as u64;
    let len = bytes.len() as u64;
    let mut contents = Contents { next_sequence: first, after_last: first, ..Contents::default() };
    if format::check_header(bytes) == Header::Whole {
        contents.end = HEADER;
    } else if len <= HEADER {
        // No record was written: the header and the name are on disk before.
        return Contents { torn_bytes: len, ..contents };
    }
    for found in Scan::new(bytes, first) {
        match found {
            Found::Record(record, end) => {
                contents.records += 1;
                contents.missing += record.sequence - contents.after_last;
                contents.after_last = record.sequence.saturating_add(1);
                contents.end = end as u64;
                contents.first_time.get_or_insert(record.time);
                contents.last_time = Some(record.time);
            }
            Found::Damaged { bytes, .. } | Found::Unfinished { offset: 0, bytes } => {
                contents.damaged_bytes += bytes as u64;
            }
            Found::Unfinished { bytes, .. } => contents.torn_bytes = bytes as u64,
        }
    }
    contents.next_sequence = contents.after_last + room(len - contents.end.max(HEADER));
    contents.is_whole = contents.damaged_bytes + contents.torn_bytes == 0;
    contents
}
