//! The one writer.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::bounds::Keeper;
use super::card::Written;
use super::clock::{Clock, Steadiness, SystemClock, is_plausible};
use super::directory::{self, Contents, Segment};
use super::format::{self, Delivery, MAX_PAYLOAD, MAX_TOPIC, Record, SEGMENT_HEADER_LEN};
use super::lock::{self, Lock};
use super::repair::{self, Mended};
use super::ring::Ring;
use super::segment::Tail;
use super::{JournalError, JournalOptions, position};
use crate::disk::{Disk, RealDisk};

/// Bytes that may wait for a sync, whatever the period: they are kept in memory too.
const MAX_UNSYNCED: usize = 1 << 20;
/// A disk that refused is tried again after so long.
const RETRY_PERIOD: Duration = Duration::from_secs(5);
/// With a bound in age, a segment whose first record is older gets no more records, so that they go
/// at most so much late.
const MAX_SEGMENT_AGE: Duration = Duration::from_secs(86_400);
/// A wall clock that was not set for so long is trusted with deleting what is old.
const TRUST_AFTER: Duration = Duration::from_secs(3600);

/// What opening a journal found in its last segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Sound records in it.
    pub records: u64,
    /// Bytes of an unfinished record at its end, which were cut off.
    pub dropped_bytes: u64,
    /// Other bytes in it that are no sound record.
    pub damaged_bytes: u64,
    /// Where a damaged segment was put, its sound records having been saved; none although there
    /// are damaged bytes: they were left in place, where readers pass over them.
    pub quarantined: Option<PathBuf>,
    /// The sequence that the next record will get.
    pub next_sequence: u64,
}

/// What one writer appends, from its opening of the journal on.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Its first record's sequence.
    pub first: u64,
    /// When its [`Record::monotonic`] is 0.
    pub since: Instant,
}

/// Writes a journal. Syncs when dropped.
#[derive(Debug)]
pub struct Journal {
    disk: Box<dyn Disk>,
    clock: Box<dyn Clock>,
    dir: PathBuf,
    options: JournalOptions,
    /// The segment being written; none while the disk has refused to give one.
    tail: Option<Tail>,
    /// When its first record was written, if the clock was set.
    tail_since: Option<SystemTime>,
    /// Finished segments, oldest first.
    finished: VecDeque<Segment>,
    /// What the disk does not take.
    ring: Ring,
    next_sequence: u64,
    run: Run,
    /// A record was appended.
    running: bool,
    /// Records below are in their segments, unless they were lost.
    taken: u64,
    /// Records below are on disk, unless they were lost.
    synced: u64,
    acknowledged: Option<u64>,
    unsent_deleted: u64,
    /// The bound in bytes was looked at since the journal was opened.
    bounded: bool,
    /// The bound in age is to be looked at as soon as the clock can be trusted.
    age_due: bool,
    steadiness: Steadiness,
    last_sync: Duration,
    last_try: Duration,
    refusal: Option<String>,
    written: Written,
    lock: Lock,
}

impl Journal {
    /// Opens the journal in `dir`, making it if need be, and repairs its end.
    ///
    /// A full or failing disk is no error if the journal can be read: records then wait in memory.
    pub fn open(dir: &Path, options: JournalOptions) -> Result<(Self, Recovery), JournalError> {
        options.validate()?;
        let lock = lock::take(dir)?;
        let clock = Box::new(SystemClock(Instant::now()));
        Self::open_on(Box::new(RealDisk), clock, dir, options, lock)
    }

    pub(super) fn open_on(
        disk: Box<dyn Disk>,
        clock: Box<dyn Clock>,
        dir: &Path,
        options: JournalOptions,
        lock: Lock,
    ) -> Result<(Self, Recovery), JournalError> {
        options.validate()?;
        let now = clock.monotonic();
        let mut journal = Self {
            disk,
            clock,
            dir: dir.into(),
            options,
            tail: None,
            tail_since: None,
            finished: VecDeque::new(),
            ring: Ring::default(),
            next_sequence: 0,
            run: Run { first: 0, since: Instant::now() },
            running: false,
            taken: 0,
            synced: 0,
            acknowledged: None,
            unsent_deleted: 0,
            bounded: false,
            age_due: true,
            steadiness: Steadiness::default(),
            last_sync: now,
            last_try: now,
            refusal: None,
            written: Written::default(),
            lock,
        };
        let unwritable = |source| JournalError::Unwritable { dir: dir.into(), source };
        let (segments, mut contents) = journal.survey().map_err(|error| match error {
            JournalError::Io { source, .. } => unwritable(source),
            error => error,
        })?;
        contents.next_sequence = position::next_sequence(&*journal.disk, dir, &contents);
        journal.next_sequence = contents.next_sequence;
        journal.run.first = contents.next_sequence;
        let recovery = match journal.begin(segments, &contents) {
            Ok(recovery) => recovery,
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                return Err(unwritable(source));
            }
            Err(source) => {
                journal.refuse(&JournalError::Io { path: dir.into(), source });
                Recovery { next_sequence: contents.next_sequence, ..Recovery::default() }
            }
        };
        Ok((journal, recovery))
    }

    /// What the directory and its last segment hold; changes nothing.
    fn survey(&self) -> Result<(Vec<Segment>, Contents), JournalError> {
        let segments = directory::list(&*self.disk, &self.dir)
            .map_err(|source| JournalError::Io { path: self.dir.clone(), source })?;
        let contents = match segments.last() {
            None => Contents::default(),
            Some(last) => match directory::read(&*self.disk, &last.path) {
                Ok(bytes) => directory::examine(last.first, &bytes),
                Err(error @ JournalError::OtherVersion { .. }) => return Err(error),
                Err(error) => {
                    log::warn!("{error}; going on in a new segment");
                    Contents::unreadable(last)
                }
            },
        };
        Ok((segments, contents))
    }

    /// Goes on with the last segment if it is whole, else begins one and mends the last.
    fn begin(&mut self, mut segments: Vec<Segment>, contents: &Contents) -> io::Result<Recovery> {
        let disk = &*self.disk;
        repair::remove_unfinished(disk, &self.dir);
        let tail = match segments.last() {
            Some(last) if contents.is_whole => Tail::reopen(disk, last)?,
            _ => Tail::create(disk, &self.dir, self.first_unwritten())?,
        };
        // Also one that has not come as far as its header, which was written over.
        segments.retain(|segment| segment.path != tail.path());
        self.tail_since =
            contents.first_time.filter(|time| contents.is_whole && is_plausible(*time));
        self.finished = segments.into();
        let quarantined = if tail.is_empty() { self.mend_last() } else { None };
        self.tail = Some(tail);
        self.taken = contents.next_sequence;
        self.synced = contents.next_sequence;
        Ok(Recovery {
            records: contents.records,
            dropped_bytes: contents.torn_bytes,
            damaged_bytes: contents.damaged_bytes,
            quarantined,
            next_sequence: contents.next_sequence,
        })
    }

    /// Mends the last finished segments, down to one with records: where it was put, if damaged.
    ///
    /// Only after the segment that follows is on disk, whose name is above all sequences that the
    /// damaged bytes may have had: a power cut in between must not make them free again. It is then
    /// the next start that mends.
    fn mend_last(&mut self) -> Option<PathBuf> {
        let mut aside = None;
        for segment in self.finished.iter_mut().rev() {
            match repair::mend(&*self.disk, segment) {
                Ok(Mended { contents, quarantined }) => {
                    aside = quarantined.or(aside);
                    if contents.records > 0 {
                        break;
                    }
                }
                Err(error) => {
                    log::warn!("{error}; what is damaged there is left as it is");
                    break;
                }
            }
        }
        aside
    }

    /// Appends a record to be delivered in the default way, and gives its sequence.
    ///
    /// The bytes are with the kernel on return, on disk with the next sync; while the disk refuses
    /// ([`Journal::refusal`]) the record waits in memory. After an error it was not taken.
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
        let record = Record {
            sequence: self.next_sequence,
            time: self.clock.wall(),
            monotonic: self.clock.monotonic(),
            starts_run: !std::mem::replace(&mut self.running, true),
            topic: topic.to_string(),
            payload,
            delivery,
        };
        let sequence = record.sequence;
        self.next_sequence += 1;
        if self.ring.front().is_some() || self.tail.is_none() {
            self.ring.push(record);
        } else if let Err(error) = self.write(&record) {
            self.ring.push(record);
            self.refuse(&error);
        }
        // What fails is told by the next sync, and by `refusal`.
        let _ = self.sync_if_due();
        Ok(sequence)
    }

    /// Returns when the disk has all records. After an error it can be tried again.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        let synced = self.drain().and_then(|()| self.sync_tail());
        match &synced {
            Ok(()) => self.refusal = None,
            Err(error) => self.refuse(error),
        }
        self.last_sync = self.clock.monotonic();
        if synced.is_ok() && !std::mem::replace(&mut self.bounded, true) {
            self.keep_bytes();
        }
        self.keep_age();
        synced
    }

    /// Syncs if the period is over, or a disk that refused is to be tried again: to be called
    /// regularly, also when there is nothing to append.
    pub fn sync_if_due(&mut self) -> Result<(), JournalError> {
        let now = self.clock.monotonic();
        let due = match self.refusal {
            None => now.saturating_sub(self.last_sync) >= self.options.sync_period(),
            Some(_) => now.saturating_sub(self.last_try) >= RETRY_PERIOD,
        };
        if due { self.sync() } else { Ok(()) }
    }

    /// Records with a lower sequence are on disk, but for those that were dropped.
    pub fn synced(&self) -> u64 {
        self.synced
    }

    /// What this writer appends.
    pub fn run(&self) -> Run {
        self.run
    }

    /// Why the disk takes no records at the moment, if so. They wait in memory until it does.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// Records that wait in memory.
    pub fn waiting(&self) -> usize {
        self.ring.len()
    }

    /// Records that were lost because the disk refused for so long that memory was full too.
    pub fn dropped(&self) -> u64 {
        self.ring.dropped
    }

    /// All records below `sequence` have been delivered. Before the first call no record counts as
    /// waiting for delivery.
    ///
    /// Records not delivered go only when the bound in bytes forces it, after all others.
    pub fn set_acknowledged(&mut self, sequence: u64) {
        self.acknowledged = Some(self.acknowledged.map_or(sequence, |known| known.max(sequence)));
    }

    /// Records deleted, for the bound in bytes, before they were delivered.
    pub fn unsent_deleted(&self) -> u64 {
        self.unsent_deleted
    }

    /// What was written to the card since the journal was opened.
    pub fn written(&self) -> Written {
        self.written
    }

    /// Notes that the disk refuses, and when it did.
    fn refuse(&mut self, error: &JournalError) {
        self.refusal = Some(error.to_string());
        self.last_try = self.clock.monotonic();
    }

    /// Writes what waits in memory.
    fn drain(&mut self) -> Result<(), JournalError> {
        if let Some(tail) = self.tail.take_if(|tail| tail.is_gone()) {
            log::warn!(
                "{} was deleted or moved while it was written; going on in a new segment",
                tail.path().display()
            );
            tail.unsynced_records().rev().for_each(|record| self.ring.put_back(record));
        }
        // The directory may have gone too, or the disk have refused it until now.
        self.lock.ensure(&self.dir)?;
        if self.tail.is_none() {
            let (segments, contents) = self.survey()?;
            self.begin(segments, &contents)
                .map_err(|source| JournalError::Io { path: self.dir.clone(), source })?;
        }
        while let Some(record) = self.ring.pop() {
            if let Err(error) = self.write(&record) {
                self.ring.put_back(record);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Hands a record to the kernel, in a new segment if it is time for one.
    fn write(&mut self, record: &Record) -> Result<(), JournalError> {
        let mut bytes = self.encode(record);
        if self.is_full(bytes.len()) || self.is_old() {
            self.rotate(record.sequence)?;
            bytes = self.encode(record);
        } else if self.unsynced_len() + bytes.len() > MAX_UNSYNCED {
            self.sync_tail()?;
        }
        let Some(tail) = &mut self.tail else { return Ok(()) };
        if let Err(source) = tail.append(&bytes) {
            return Err(JournalError::Io { path: tail.path().into(), source });
        }
        self.written.add(bytes.len());
        self.taken = record.sequence + 1;
        if self.tail_since.is_none() && is_plausible(record.time) {
            self.tail_since = Some(record.time);
        }
        Ok(())
    }

    fn encode(&self, record: &Record) -> Vec<u8> {
        let mut bytes = Vec::new();
        let first = self.tail.as_ref().map_or(record.sequence, Tail::first);
        format::encode(record, first, &mut bytes);
        bytes
    }

    /// The sequence of the next record to be written.
    fn first_unwritten(&self) -> u64 {
        self.ring.front().map_or(self.next_sequence, |record| record.sequence)
    }

    fn unsynced_len(&self) -> usize {
        self.tail.as_ref().map_or(0, Tail::unsynced_len)
    }

    /// Whether `len` bytes more do not fit into the segment; an empty one takes any record.
    fn is_full(&self, len: usize) -> bool {
        self.tail.as_ref().is_some_and(|tail| {
            !tail.is_empty() && tail.len() + len as u64 > self.options.max_segment_bytes
        })
    }

    fn is_old(&self) -> bool {
        let age = self.tail_since.and_then(|since| self.clock.wall().duration_since(since).ok());
        self.options.max_age().is_some() && age.is_some_and(|age| age > MAX_SEGMENT_AGE)
    }

    fn sync_tail(&mut self) -> Result<(), JournalError> {
        let Some(tail) = &mut self.tail else { return Ok(()) };
        match tail.sync() {
            Ok(part) => self.written.add_sync(&part),
            Err(source) => return Err(JournalError::Io { path: tail.path().into(), source }),
        }
        self.synced = self.taken;
        Ok(())
    }

    /// Begins a new segment.
    fn rotate(&mut self, first: u64) -> Result<(), JournalError> {
        if let Some(tail) = self.tail.as_ref().filter(|tail| tail.is_gone()) {
            // What it alone has is written again first.
            let source = io::Error::new(io::ErrorKind::NotFound, "it was deleted or moved");
            return Err(JournalError::Io { path: tail.path().into(), source });
        }
        self.sync_tail()?;
        let finished = self.tail.take();
        // After an error the new file may be there or not: `begin` then looks.
        let tail = Tail::create(&*self.disk, &self.dir, first).map_err(|source| {
            JournalError::Io { path: directory::path(&self.dir, first), source }
        })?;
        self.tail = Some(tail);
        self.written.add(SEGMENT_HEADER_LEN);
        self.written.add_sync(&(0..SEGMENT_HEADER_LEN as u64));
        self.finished.extend(finished.as_ref().map(as_segment));
        self.tail_since = None;
        self.keep_bytes();
        self.age_due = true;
        Ok(())
    }

    /// Deletes the oldest until, with a full segment to come, all is within the bound in bytes.
    fn keep_bytes(&mut self) {
        let options = &self.options;
        let room = options.max_total_bytes.checked_sub(options.max_segment_bytes);
        let (Some(mut keeper), Some(room)) = (self.keeper(), room) else { return };
        let unsent = keeper.keep_bytes(room);
        if unsent > 0 {
            self.unsent_deleted += unsent;
            log::warn!(
                "up to {unsent} records were deleted before they were delivered: the journal had \
                 reached `max_total_bytes`"
            );
        }
    }

    /// Deletes what is too old, if that is due and the clock can be trusted.
    fn keep_age(&mut self) {
        let now = self.clock.wall();
        let steady_for = self.steadiness.note(now, self.clock.monotonic());
        let oldest = self.options.max_age().and_then(|age| now.checked_sub(age));
        let trusted = is_plausible(now) && steady_for >= TRUST_AFTER;
        if self.age_due
            && let Some(oldest) = oldest.filter(|_| trusted)
            && let Some(mut keeper) = self.keeper()
        {
            keeper.keep_age(oldest);
            self.age_due = false;
        }
    }

    /// None while there is no segment to go on with.
    fn keeper(&mut self) -> Option<Keeper<'_>> {
        Some(Keeper {
            disk: &*self.disk,
            dir: &self.dir,
            tail: as_segment(self.tail.as_ref()?),
            finished: &mut self.finished,
            acknowledged: self.acknowledged,
        })
    }
}

fn as_segment(tail: &Tail) -> Segment {
    Segment { path: tail.path().into(), first: tail.first(), len: tail.len() }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Err(error) = self.sync() {
            log::error!("the journal's last records may be lost: {error}");
        }
    }
}
