//! Segments as files: their names, their creation, and what a writer finds on opening one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::JournalError;
use super::format::{self, Found, Header, SEGMENT_HEADER_LEN, Scan, VERSION};

const EXTENSION: &str = "journal";
/// Digits of a segment's name, its first sequence: names sort as numbers, and no name's number
/// comes near overflowing.
const NAME_DIGITS: usize = 18;

/// A segment's file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Segment {
    pub path: PathBuf,
    /// Its first record's sequence, from its name.
    pub first: u64,
    pub len: u64,
}

/// What the last segment holds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Contents {
    pub records: u64,
    /// In the middle, left in place.
    pub damaged_bytes: u64,
    /// Where the last record ends.
    pub end: u64,
    /// After that; to be cut off.
    pub torn_bytes: u64,
    pub next_sequence: u64,
    /// So that the segment can be appended to.
    pub header_whole: bool,
}

/// The journal's segments, oldest first. Other files are not touched.
pub(super) fn list(dir: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(first) = entry.file_name().to_str().and_then(first_sequence) {
            let metadata = entry.metadata()?;
            if metadata.is_file() {
                segments.push(Segment { path: entry.path(), first, len: metadata.len() });
            }
        }
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

/// Reads the sequence in a segment's name; `None` for any other name.
fn first_sequence(name: &str) -> Option<u64> {
    let stem = name.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    let digits = stem.len() == NAME_DIGITS && stem.bytes().all(|b| b.is_ascii_digit());
    if digits { stem.parse().ok() } else { None }
}

/// Path of the segment whose first record has this sequence.
pub(super) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:0NAME_DIGITS$}.{EXTENSION}"))
}

/// Makes an empty segment and returns when disk and directory have it.
pub(super) fn create(path: &Path, first: u64) -> io::Result<File> {
    let mut file = File::create(path)?;
    file.write_all(&format::segment_header(first))?;
    file.sync_all()?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))?;
    Ok(file)
}

/// Returns when the disk has the directory's entries.
pub(super) fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Reads a segment whole; refuses one of a later version, which must not be touched.
pub(super) fn read(path: &Path) -> Result<(Vec<u8>, Header), JournalError> {
    let bytes = fs::read(path).map_err(|source| JournalError::Io { path: path.into(), source })?;
    match format::check_header(&bytes) {
        Header::Newer(version) => {
            Err(JournalError::Newer { path: path.into(), version, supported: VERSION })
        }
        header => Ok((bytes, header)),
    }
}

/// Finds out where writing can go on.
pub(super) fn examine(segment: &Segment) -> Result<Contents, JournalError> {
    let (bytes, header) = read(&segment.path)?;
    let header_whole = header == Header::Whole;
    let mut contents =
        Contents { next_sequence: segment.first, header_whole, ..Contents::default() };
    if header_whole {
        contents.end = SEGMENT_HEADER_LEN as u64;
    }
    let mut damaged = 0;
    for found in Scan::new(&bytes, header) {
        match found {
            Found::Record(record, record_end) => {
                contents.records += 1;
                contents.damaged_bytes += std::mem::take(&mut damaged);
                contents.next_sequence =
                    contents.next_sequence.max(record.sequence.saturating_add(1));
                contents.end = record_end as u64;
            }
            Found::Damaged { bytes, .. } => damaged += bytes as u64,
        }
    }
    contents.torn_bytes = bytes.len() as u64 - contents.end;
    if !header_whole && contents.records > 0 {
        // Nothing is appended here any more, so nothing need be cut off.
        contents.damaged_bytes += std::mem::take(&mut contents.torn_bytes);
    }
    Ok(contents)
}
