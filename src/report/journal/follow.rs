//! Follows a journal that is being written: each record once, in order.
//!
//! Like `tail -f` over the segments: the offset of the last record given is kept, so that a new
//! record costs its own bytes and not its segment's. Segments that the writer deletes before they
//! were read are gone; their records are counted as missed.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::JournalError;
use super::directory::{self, Segment};
use super::format::{
    self, Found, Header, MAX_PAYLOAD, MAX_TOPIC, Record, SEGMENT_HEADER_LEN, Scan,
};
use crate::disk::{self, RealDisk};

/// No record is longer; a little more than the longest.
const MAX_RECORD_LEN: usize = MAX_PAYLOAD + MAX_TOPIC + 64;
/// Bytes read at a time: any record fits in.
const CHUNK_LEN: usize = 512 << 10;

/// What could not be given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Records deleted before they were read, or lost to damage.
    pub records: u64,
    /// Bytes in finished segments that are no record.
    pub damaged_bytes: u64,
}

/// Reads a journal's records as its writer appends them. Needs no lock.
#[derive(Debug)]
pub struct Follower {
    dir: PathBuf,
    /// Least sequence of the record to give next.
    next: u64,
    /// Whether what is missing before the next record counts; not if any is the first.
    counts: bool,
    open: Option<OpenSegment>,
    /// Read, not yet given.
    ready: VecDeque<Record>,
    missed: Missed,
}

#[derive(Debug)]
struct OpenSegment {
    file: File,
    path: PathBuf,
    first: u64,
    /// Everything before was given or passed over.
    offset: u64,
    /// What was last read, and brought nothing more if it has not changed.
    looked_at: Option<Look>,
}

/// Where a segment was read from, its length and the time of its last change.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Look {
    offset: u64,
    len: u64,
    modified: SystemTime,
}

impl Follower {
    /// Starts with the record of sequence `next`, or with the oldest there is. The journal need
    /// not exist yet.
    pub fn new(dir: &Path, next: Option<u64>) -> Self {
        Self {
            dir: dir.into(),
            next: next.unwrap_or(0),
            counts: next.is_some(),
            open: None,
            ready: VecDeque::new(),
            missed: Missed::default(),
        }
    }

    /// Goes back, or on, to the record of sequence `next`; what was missed stays counted.
    pub fn seek(&mut self, next: Option<u64>) {
        let missed = self.missed;
        *self = Self { missed, ..Self::new(&self.dir, next) };
    }

    /// What could not be given so far.
    pub fn missed(&self) -> Missed {
        self.missed
    }

    /// The next record; `None` while there is none yet. After an error it can be tried again.
    ///
    /// Not an [`Iterator`]: after a `None` more may come.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Record>, JournalError> {
        loop {
            while let Some(record) = self.ready.pop_front() {
                if record.sequence >= self.next {
                    let gap = record.sequence - self.next;
                    self.missed.records += if self.counts { gap } else { 0 };
                    self.counts = true;
                    self.next = record.sequence.saturating_add(1);
                    return Ok(Some(record));
                }
            }
            if !self.read_on()? {
                return Ok(None);
            }
        }
    }

    /// Returns when the disk surely has every record given so far. The segments before the one
    /// being read were synced by their writer.
    pub fn sync(&self) -> Result<(), JournalError> {
        let Some(open) = &self.open else { return Ok(()) };
        open.file.sync_data().map_err(|source| open.io(source))
    }

    /// Reads on, in the next segment if this is finished, or can't be read; whether that brought
    /// anything.
    fn read_on(&mut self) -> Result<bool, JournalError> {
        let mut filled = self.fill();
        if matches!(filled, Ok(true)) {
            return filled;
        }
        // One of the same name may follow a file that was deleted or moved away.
        self.open.take_if(|open| disk::is_at(&open.file, &open.path).is_ok_and(|there| !there));
        let segments = directory::list(&RealDisk, &self.dir)
            .map_err(|source| JournalError::Io { path: self.dir.clone(), source });
        // Perhaps the last one can be read the next time.
        let Some(segment) = self.following(segments?) else { return filled };
        // The writer may have appended after our look and before it began the next segment.
        if filled.is_ok() {
            filled = self.fill();
        }
        match filled {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) => log::warn!("{error}; what else it holds is passed over"),
        }
        if let Some(finished) = self.open.take() {
            let len = finished.file.metadata().map_err(|source| finished.io(source))?.len();
            self.missed.damaged_bytes += len.saturating_sub(finished.offset);
        }
        self.open = OpenSegment::open(segment)?;
        Ok(true)
    }

    /// The segment to read after the open one; at first, that of the next record.
    fn following(&self, segments: Vec<Segment>) -> Option<Segment> {
        let holds_next = segments.iter().rposition(|segment| segment.first <= self.next);
        let start = match &self.open {
            Some(open) => segments.iter().position(|segment| segment.first > open.first)?,
            None => holds_next.unwrap_or(0),
        };
        segments.into_iter().nth(start)
    }

    fn fill(&mut self) -> Result<bool, JournalError> {
        let Some(open) = &mut self.open else { return Ok(false) };
        let Some(passed) = open.read(&mut self.ready)? else { return Ok(false) };
        self.missed.damaged_bytes += passed.damaged_bytes;
        Ok(true)
    }
}

/// What a read went past.
struct Passed {
    damaged_bytes: u64,
}

impl OpenSegment {
    /// `None` if the writer has just deleted it.
    fn open(segment: Segment) -> Result<Option<Self>, JournalError> {
        let Segment { path, first, .. } = segment;
        match File::open(&path) {
            Ok(file) => Ok(Some(Self { file, path, first, offset: 0, looked_at: None })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(JournalError::Io { path, source }),
        }
    }

    /// Puts the next chunk's records into `ready`; `None` if there is nothing new.
    fn read(&mut self, ready: &mut VecDeque<Record>) -> Result<Option<Passed>, JournalError> {
        let (chunk, at_end) = match self.chunk().map_err(|source| self.io(source))? {
            Some(chunk) => chunk,
            None => return Ok(None),
        };
        let header = if self.offset == 0 { format::check_header(&chunk) } else { Header::Damaged };
        if let Header::Other(version) = header {
            let path = self.path.clone();
            return Err(JournalError::OtherVersion { path, version, supported: format::VERSION });
        }
        let mut end = if header == Header::Whole { SEGMENT_HEADER_LEN } else { 0 };
        let (mut damaged, mut passed) = (0, Passed { damaged_bytes: 0 });
        for found in Scan::new(&chunk, self.first) {
            match found {
                Found::Record(record, record_end) => {
                    ready.push_back(record);
                    end = record_end;
                    passed.damaged_bytes += std::mem::take(&mut damaged);
                }
                Found::Damaged { bytes, .. } | Found::Unfinished { bytes, .. } => {
                    damaged += bytes as u64;
                }
            }
        }
        // The rest may be the beginning of a record, unless it is longer than any.
        let skipped = (chunk.len() - end).saturating_sub(MAX_RECORD_LEN);
        passed.damaged_bytes += skipped as u64;
        self.offset += (end + skipped) as u64;
        Ok((end + skipped > 0 || !at_end).then_some(passed))
    }

    /// The bytes from the offset on, at most [`CHUNK_LEN`], and whether the file ends with them;
    /// `None` if nothing changed since the last look.
    fn chunk(&mut self) -> io::Result<Option<(Vec<u8>, bool)>> {
        let metadata = self.file.metadata()?;
        let (len, modified) = (metadata.len(), metadata.modified()?);
        if len < self.offset {
            // Written over from its start, as a segment without a record may be.
            self.offset = 0;
        }
        let now = Look { offset: self.offset, len, modified };
        let left = len - self.offset;
        if left == 0 || self.looked_at == Some(now) {
            return Ok(None);
        }
        let at_end = left <= CHUNK_LEN as u64;
        let mut chunk = vec![0; left.min(CHUNK_LEN as u64) as usize];
        match self.file.read_exact_at(&mut chunk, self.offset) {
            Ok(()) => {}
            // Its writer has just cut it back.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        self.looked_at = Some(now);
        Ok(Some((chunk, at_end)))
    }

    fn io(&self, source: io::Error) -> JournalError {
        JournalError::Io { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::super::{Journal, JournalOptions};
    use super::*;

    const SMALL: JournalOptions = JournalOptions {
        sync_period_s: 60.0,
        max_segment_bytes: 4096,
        max_total_bytes: 16384,
        max_age_days: 0.0,
    };

    fn journal(dir: &Path) -> Journal {
        Journal::open(dir, SMALL).unwrap().0
    }

    fn append(journal: &mut Journal, count: usize) -> u64 {
        let payload = json!({ "padding": "x".repeat(200) });
        (0..count).map(|_| journal.append("mien/test", &payload).unwrap()).last().unwrap()
    }

    fn rest(follower: &mut Follower) -> Vec<u64> {
        std::iter::from_fn(|| follower.next().unwrap()).map(|record| record.sequence).collect()
    }

    #[test]
    fn records_come_once_and_in_order_while_the_writer_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut follower = Follower::new(dir.path(), None);
        assert!(rest(&mut follower).is_empty(), "nothing there yet");
        let mut rng = fastrand::Rng::with_seed(1);
        let mut seen = Vec::new();
        let mut last = 0;
        for _ in 0..50 {
            // Opened again and again, as by a kiosk that restarts.
            let mut journal = journal(dir.path());
            for _ in 0..rng.usize(1..5) {
                last = append(&mut journal, rng.usize(1..4));
                seen.extend(rest(&mut follower));
            }
        }
        assert_eq!(seen, (0..=last).collect::<Vec<_>>());
        assert_eq!(follower.missed(), Missed::default());
    }

    #[test]
    fn it_starts_where_it_is_told_and_seeks() {
        let dir = tempfile::tempdir().unwrap();
        let last = append(&mut journal(dir.path()), 40);
        let mut follower = Follower::new(dir.path(), Some(25));
        assert_eq!(rest(&mut follower), (25..=last).collect::<Vec<_>>());
        follower.seek(Some(last));
        assert_eq!(rest(&mut follower), [last]);
        follower.seek(Some(last + 1));
        assert!(rest(&mut follower).is_empty());
        assert_eq!(follower.missed(), Missed::default());
    }

    #[test]
    fn deleted_segments_are_counted_as_missed() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = journal(dir.path());
        append(&mut journal, 3);
        let mut follower = Follower::new(dir.path(), Some(0));
        assert_eq!(follower.next().unwrap().unwrap().sequence, 0);
        let last = append(&mut journal, 500);
        let seen = rest(&mut follower);
        // The open segment is read to its end though it is deleted; then comes a gap.
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]) && seen.last() == Some(&last));
        let missed = follower.missed();
        assert!(missed.records > 300, "{missed:?}");
        assert_eq!(missed.records + seen.len() as u64, last);
        // Started anew from the oldest there is, nothing counts as missed.
        let mut oldest = Follower::new(dir.path(), None);
        assert!(rest(&mut oldest)[0] > 0);
        assert_eq!(oldest.missed().records, 0);
    }

    #[test]
    fn a_record_half_written_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        append(&mut journal(dir.path()), 2);
        let path = directory::path(dir.path(), 0);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 100]).unwrap();
        let mut follower = Follower::new(dir.path(), None);
        assert_eq!(rest(&mut follower), [0]);
        fs::write(&path, &whole).unwrap();
        assert_eq!(rest(&mut follower), [1]);
        assert_eq!(follower.missed(), Missed::default());
    }

    #[test]
    fn damage_is_passed_over_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = journal(dir.path());
        let last = append(&mut journal, 40);
        let path = directory::path(dir.path(), 0);
        let mut bytes = fs::read(&path).unwrap();
        for i in [600, 610] {
            bytes[i] ^= 0xFF;
        }
        // The last record of the finished segment too.
        let end = bytes.len() - 10;
        bytes[end] ^= 0xFF;
        fs::write(&path, &bytes).unwrap();
        let mut follower = Follower::new(dir.path(), Some(0));
        let seen = rest(&mut follower);
        let missed = follower.missed();
        assert_eq!((missed.records, seen.len() as u64), (2, last - 1));
        assert!(missed.damaged_bytes > 400, "{missed:?}");
    }

    /// As one that the disk can't read.
    #[test]
    fn a_segment_that_can_t_be_read_does_not_hold_up_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let last = append(&mut journal(dir.path()), 60);
        let segments = directory::list(&RealDisk, dir.path()).unwrap();
        let [_, other, next, ..] = &segments[..] else { panic!("too few segments") };
        let mut bytes = fs::read(&other.path).unwrap();
        // The version, and the header's checksum.
        bytes[8] += 1;
        let crc = crc32fast::hash(&bytes[..20]);
        bytes[20..24].copy_from_slice(&crc.to_le_bytes());
        fs::write(&other.path, &bytes).unwrap();
        let mut follower = Follower::new(dir.path(), Some(0));
        let seen = rest(&mut follower);
        let expected: Vec<u64> = (0..other.first).chain(next.first..=last).collect();
        assert_eq!(seen, expected);
        assert_eq!(follower.missed().records, next.first - other.first);
    }

    /// As by someone who tidies up, before and after the segment's first sync, with and without the rest.
    #[test]
    fn what_is_deleted_is_not_waited_for() {
        for (sync, everything) in [(false, true), (true, true), (true, false)] {
            let outer = tempfile::tempdir().unwrap();
            let dir = outer.path().join("journal");
            let mut journal = journal(&dir);
            let mut follower = Follower::new(&dir, Some(0));
            append(&mut journal, 3);
            if sync {
                journal.sync().unwrap();
            }
            assert_eq!(rest(&mut follower), [0, 1, 2]);
            append(&mut journal, 2);
            match everything {
                true => fs::remove_dir_all(&dir).unwrap(),
                false => fs::remove_file(directory::path(&dir, 0)).unwrap(),
            }
            journal.sync().unwrap();
            append(&mut journal, 2);
            // Those of before the deletion may have been read from the file without a name.
            let seen = rest(&mut follower);
            assert_eq!(seen, [3, 4, 5, 6], "{sync} {everything}");
            assert_eq!(follower.missed().records, 0);
        }
    }

    #[test]
    fn a_long_damaged_stretch_ends() {
        let dir = tempfile::tempdir().unwrap();
        let options = JournalOptions { max_segment_bytes: 4 << 20, ..JournalOptions::default() };
        let (mut journal, _) = Journal::open(dir.path(), options).unwrap();
        let payload = json!("x".repeat(200_000));
        for _ in 0..10 {
            journal.append("mien/test", &payload).unwrap();
        }
        let path = directory::path(dir.path(), 0);
        let mut bytes = fs::read(&path).unwrap();
        bytes[100_000..1_500_000].fill(0);
        fs::write(&path, &bytes).unwrap();
        let mut follower = Follower::new(dir.path(), Some(0));
        assert_eq!(rest(&mut follower), [8, 9]);
        assert_eq!(follower.missed().records, 8);
    }

    /// A new record must not cost its segment's length.
    #[test]
    fn only_new_bytes_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = journal(dir.path());
        append(&mut journal, 10);
        let mut follower = Follower::new(dir.path(), None);
        rest(&mut follower);
        append(&mut journal, 1);
        let open = follower.open.as_mut().unwrap();
        let (chunk, _) = open.chunk().unwrap().unwrap();
        assert!((200..400).contains(&chunk.len()), "{}", chunk.len());
        assert!(open.chunk().unwrap().is_none(), "nothing changed");
    }
}
