//! The durable log: an append-only journal of records on disk.
//!
//! Power cuts are normal on a Pi. The journal's promises, argued for in `docs/journal.md`:
//!
//! - a record is on disk at the latest [`JournalOptions::sync_period_s`] after it was appended
//!   (or when [`Journal::sync`] returns), provided [`Journal::sync_if_due`] is called often;
//! - a killed process loses no appended record, a power cut none that was synced;
//! - opening drops at most the unfinished end, says so, and goes on with the next sequence;
//! - reading never gives a record that was not written, whatever bits have flipped;
//! - the directory stays within [`JournalOptions::max_total_bytes`], oldest records going first.
//!
//! One process writes; any number may [`read`].

mod directory;
pub mod follow;
mod format;
pub mod position;
mod reader;
mod segment;

use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

pub use format::{Delivery, Qos, Record};
pub use reader::read;

use directory::Contents;
use format::{MAX_PAYLOAD, MAX_TOPIC, SEGMENT_HEADER_LEN};
use segment::Tail;

const LOCK_NAME: &str = "lock";

/// Bytes that may wait for a sync, whatever the period: they are kept in memory too.
const MAX_UNSYNCED: usize = 1 << 20;

/// Least size of a segment: below, the card would see more directory updates than records.
const MIN_SEGMENT_BYTES: u64 = 4 << 10;
/// Greatest size of a segment: a reader holds one in memory.
const MAX_SEGMENT_BYTES: u64 = 16 << 20;
const MAX_SYNC_PERIOD_S: f64 = 3600.0;

/// How the journal is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalOptions {
    /// Seconds after which a power cut can no longer take a record.
    pub sync_period_s: f64,
    /// Size in bytes at which a new segment file is begun.
    pub max_segment_bytes: u64,
    /// Size in bytes of all segments; above it the oldest are deleted.
    pub max_total_bytes: u64,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { sync_period_s: 5.0, max_segment_bytes: 4 << 20, max_total_bytes: 256 << 20 }
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
        Ok(())
    }
}

/// What opening a journal found in its last segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Sound records in it.
    pub records: u64,
    /// Bytes of an unfinished record cut off its end.
    pub dropped_bytes: u64,
    /// Bytes in its middle that are no sound record; left in place, passed over by readers.
    pub damaged_bytes: u64,
    /// The sequence that the next record will get.
    pub next_sequence: u64,
}

/// Why the journal could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum JournalError {
    /// The directory can't be made or written to.
    #[error(
        "can't write the journal in {}: {source}; give this user write access there (`chown`, \
         `chmod u+rwx`), or name another directory in the config: `directory` under `[journal]`",
        dir.display()
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
    /// The segment was written by a later version of this program.
    #[error(
        "journal {} has format version {version}, this program knows {supported}; use the \
         version that wrote it, or move the file away",
        path.display()
    )]
    Newer { path: PathBuf, version: u16, supported: u16 },
    /// Bytes in the middle are no record; those after them are still read.
    #[error("journal {}: {bytes} damaged bytes at offset {offset} passed over", path.display())]
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

/// Writes a journal. Syncs when dropped.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    options: JournalOptions,
    tail: Tail<File>,
    tail_path: PathBuf,
    /// Paths and lengths of finished segments, oldest first.
    finished: VecDeque<(PathBuf, u64)>,
    next_sequence: u64,
    opened: Instant,
    last_sync: Instant,
    /// Its lock goes with it.
    _lock: File,
}

impl Journal {
    /// Opens the journal in `dir`, making it if need be, and repairs its end.
    pub fn open(dir: &Path, options: JournalOptions) -> Result<(Self, Recovery), JournalError> {
        options.validate()?;
        let lock = prepare(dir)?;
        let unwritable = |source| JournalError::Unwritable { dir: dir.into(), source };
        let mut segments = directory::list(dir).map_err(unwritable)?;
        let contents = match segments.last() {
            Some(last) => directory::examine(last)?,
            None => Contents::default(),
        };
        let (tail, tail_path) = match segments.last().cloned() {
            Some(last) if contents.header_whole => {
                segments.pop();
                (reopen(&last.path, contents.end).map_err(unwritable)?, last.path)
            }
            _ => {
                if contents.records == 0 {
                    // A segment without a header or a record is written over.
                    segments.pop();
                }
                let path = directory::path(dir, contents.next_sequence);
                (new_tail(&path, contents.next_sequence).map_err(unwritable)?, path)
            }
        };
        let Contents { records, damaged_bytes, torn_bytes: dropped_bytes, next_sequence, .. } =
            contents;
        let recovery = Recovery { records, dropped_bytes, damaged_bytes, next_sequence };
        let now = Instant::now();
        let mut journal = Self {
            dir: dir.into(),
            options,
            tail,
            tail_path,
            finished: segments.into_iter().map(|segment| (segment.path, segment.len)).collect(),
            next_sequence,
            opened: now,
            last_sync: now,
            _lock: lock,
        };
        journal.delete_oldest();
        Ok((journal, recovery))
    }

    /// Appends a record to be delivered in the default way, and gives its sequence.
    ///
    /// After an error the record was not taken, all earlier ones are as they were, and appending
    /// can be tried again. The bytes are with the kernel on return, on disk with the next sync.
    pub fn append(
        &mut self,
        topic: &str,
        payload: &serde_json::Value,
    ) -> Result<u64, JournalError> {
        self.append_with(topic, payload, Delivery::default())
    }

    /// The same, with a wish for its delivery.
    pub fn append_with(
        &mut self,
        topic: &str,
        payload: &serde_json::Value,
        delivery: Delivery,
    ) -> Result<u64, JournalError> {
        let payload = payload.to_string();
        for (part, bytes, limit) in
            [("topic", topic.len(), MAX_TOPIC), ("payload", payload.len(), MAX_PAYLOAD)]
        {
            if bytes > limit {
                return Err(JournalError::TooLong { part, bytes, limit });
            }
        }
        let sequence = self.next_sequence;
        let topic = topic.to_string();
        let (time, monotonic) = (SystemTime::now(), self.opened.elapsed());
        let record = Record { sequence, time, monotonic, topic, payload, delivery };
        let mut bytes = Vec::new();
        format::encode(&record, &mut bytes);
        self.make_room(bytes.len())?;
        self.tail.append(&bytes).map_err(|source| self.io(source))?;
        self.next_sequence += 1;
        Ok(sequence)
    }

    /// Returns when the disk has all records. After an error it can be tried again.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.tail.sync().map_err(|source| self.io(source))?;
        self.last_sync = Instant::now();
        Ok(())
    }

    /// Syncs if the period is over: to be called regularly, also when there is nothing to append.
    pub fn sync_if_due(&mut self) -> Result<(), JournalError> {
        let period = Duration::from_secs_f64(self.options.sync_period_s);
        if self.last_sync.elapsed() >= period { self.sync() } else { Ok(()) }
    }

    /// Syncs, and begins a new segment, as far as they are due before `len` bytes more.
    fn make_room(&mut self, len: usize) -> Result<(), JournalError> {
        let full = self.tail.len() + len as u64 > self.options.max_segment_bytes;
        if full && self.tail.len() > SEGMENT_HEADER_LEN as u64 {
            return self.rotate();
        }
        if self.tail.unsynced_len() + len > MAX_UNSYNCED { self.sync() } else { self.sync_if_due() }
    }

    fn rotate(&mut self) -> Result<(), JournalError> {
        self.sync()?;
        let path = directory::path(&self.dir, self.next_sequence);
        match new_tail(&path, self.next_sequence) {
            Ok(tail) => {
                let len = std::mem::replace(&mut self.tail, tail).len();
                let path = std::mem::replace(&mut self.tail_path, path);
                self.finished.push_back((path, len));
            }
            Err(source) => return Err(JournalError::Io { path, source }),
        }
        self.delete_oldest();
        Ok(())
    }

    /// Deletes finished segments until the total, with a full segment to come, is within bounds.
    /// A file that can't be deleted is no reason to refuse records.
    fn delete_oldest(&mut self) {
        let finished: u64 = self.finished.iter().map(|(_, len)| len).sum();
        let mut total = finished + self.options.max_segment_bytes;
        while total > self.options.max_total_bytes {
            let Some((path, len)) = self.finished.pop_front() else { return };
            total -= len;
            if let Err(error) = fs::remove_file(&path) {
                log::warn!("can't delete old journal {}: {error}", path.display());
            }
        }
    }

    fn io(&self, source: io::Error) -> JournalError {
        JournalError::Io { path: self.tail_path.clone(), source }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Err(error) = self.sync() {
            log::error!("the journal's last records may be lost: {error}");
        }
    }
}

/// Makes the directory and locks it.
fn prepare(dir: &Path) -> Result<File, JournalError> {
    let unwritable = |source| JournalError::Unwritable { dir: dir.into(), source };
    if !dir.is_dir() {
        fs::create_dir_all(dir).map_err(unwritable)?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            directory::sync_directory(parent).map_err(unwritable)?;
        }
    }
    let lock = File::options().write(true).create(true).truncate(false).open(dir.join(LOCK_NAME));
    let lock = lock.map_err(unwritable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked { dir: dir.into() }),
        Err(TryLockError::Error(source)) => Err(unwritable(source)),
    }
}

/// Goes on with a segment after its first `len` bytes; what follows them is cut off.
fn reopen(path: &Path, len: u64) -> io::Result<Tail<File>> {
    let file = File::options().write(true).open(path)?;
    file.set_len(len)?;
    file.sync_all()?;
    Ok(Tail::new(file, len))
}

fn new_tail(path: &Path, first: u64) -> io::Result<Tail<File>> {
    Ok(Tail::new(directory::create(path, first)?, SEGMENT_HEADER_LEN as u64))
}
