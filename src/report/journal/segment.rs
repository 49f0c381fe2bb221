//! The end of the segment being written: what the disk surely has, and what came after.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::directory::{self, Segment};
use super::format::{self, Record, SEGMENT_HEADER_LEN, Scan};
use crate::disk::{Disk, DiskFile, write_synced};

/// Appends to a segment.
///
/// Invariants: the disk has the first `synced_len` bytes; `unsynced` are all that follow, so the
/// segment's end is `synced_len + unsynced.len()` whatever a failed write left in the file.
#[derive(Debug)]
pub(super) struct Tail {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    first: u64,
    synced_len: u64,
    unsynced: Vec<u8>,
    /// A sync failed. The kernel may then have dropped the bytes and call the next sync a
    /// success, so they must be written again first.
    rewrite: bool,
}

impl Tail {
    /// Makes an empty segment; returns when disk and directory have it.
    pub(super) fn create(disk: &dyn Disk, dir: &Path, first: u64) -> io::Result<Self> {
        let path = directory::path(dir, first);
        let file = write_synced(disk, &path, &format::segment_header(first))?;
        disk.sync_dir(dir)?;
        Ok(Self::new(file, path, first, SEGMENT_HEADER_LEN as u64))
    }

    /// Goes on at the end of a whole segment. Returns when the disk has all of it.
    pub(super) fn reopen(disk: &dyn Disk, segment: &Segment) -> io::Result<Self> {
        let file = disk.open(&segment.path)?;
        // Its writer may have been killed before it did this.
        file.sync()?;
        disk.sync_dir(segment.path.parent().unwrap_or(Path::new(".")))?;
        Ok(Self::new(file, segment.path.clone(), segment.first, segment.len))
    }

    /// Goes on after the first `synced_len` bytes, which must be on disk.
    fn new(file: Box<dyn DiskFile>, path: PathBuf, first: u64, synced_len: u64) -> Self {
        Self { file, path, first, synced_len, unsynced: Vec::new(), rewrite: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its first record's sequence, from its name.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Length in bytes, unsynced ones included.
    pub(super) fn len(&self) -> u64 {
        self.synced_len + self.unsynced.len() as u64
    }

    /// Whether it has no record.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == SEGMENT_HEADER_LEN as u64
    }

    /// Bytes that a power cut may take.
    pub(super) fn unsynced_len(&self) -> usize {
        self.unsynced.len()
    }

    /// Whether its file was deleted or moved away. One of which that can't be known was not.
    pub(super) fn is_gone(&self) -> bool {
        self.file.is_at(&self.path).is_ok_and(|there| !there)
    }

    /// The records that the disk may not have.
    pub(super) fn unsynced_records(&self) -> impl DoubleEndedIterator<Item = Record> + use<> {
        let records: Vec<Record> = Scan::new(&self.unsynced, self.first).records().collect();
        records.into_iter()
    }

    /// Hands the bytes of whole records to the kernel. After an error they are not part of the
    /// segment, and it can be appended to as before.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(bytes, self.len()) {
            // For the sake of readers only: the next write starts at the same offset anyway.
            let _ = self.file.set_len(self.len());
            return Err(error);
        }
        self.unsynced.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns when the disk has all bytes, with those that it did not have before. After an error
    /// it can be tried again.
    pub(super) fn sync(&mut self) -> io::Result<Range<u64>> {
        let range = self.synced_len..self.len();
        if range.is_empty() {
            return Ok(range);
        }
        if self.rewrite {
            self.file.write_all_at(&self.unsynced, self.synced_len)?;
            // What a failed write left behind them may have come to the disk.
            self.file.set_len(self.len())?;
        }
        self.rewrite = true;
        self.file.sync()?;
        self.rewrite = false;
        self.synced_len = range.end;
        self.unsynced.clear();
        Ok(range)
    }
}
