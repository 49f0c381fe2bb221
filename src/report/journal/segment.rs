//! The end of the segment being written: what the disk surely has, and what came after.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The little that a segment needs of its file. Tests put a disk below it that loses unsynced
/// bytes and fails on demand.
pub(super) trait SegmentFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    fn sync_data(&self) -> io::Result<()>;
}

impl SegmentFile for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }
}

/// Appends to a segment.
///
/// Invariants: the disk has the first `synced_len` bytes; `unsynced` are all that follow, so the
/// segment's end is `synced_len + unsynced.len()` whatever a failed write left in the file.
#[derive(Debug)]
pub(super) struct Tail<F> {
    file: F,
    synced_len: u64,
    unsynced: Vec<u8>,
    /// A sync failed. The kernel may then have dropped the bytes and call the next sync a
    /// success, so they must be written again first.
    rewrite: bool,
}

impl<F: SegmentFile> Tail<F> {
    /// Goes on after the first `synced_len` bytes, which must be on disk.
    pub(super) fn new(file: F, synced_len: u64) -> Self {
        Self { file, synced_len, unsynced: Vec::new(), rewrite: false }
    }

    /// Length in bytes, unsynced ones included.
    pub(super) fn len(&self) -> u64 {
        self.synced_len + self.unsynced.len() as u64
    }

    /// Bytes that a power cut may take.
    pub(super) fn unsynced_len(&self) -> usize {
        self.unsynced.len()
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

    /// Returns when the disk has all bytes. After an error it can be tried again.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.unsynced.is_empty() {
            return Ok(());
        }
        if self.rewrite {
            self.file.write_all_at(&self.unsynced, self.synced_len)?;
        }
        self.rewrite = true;
        self.file.sync_data()?;
        self.rewrite = false;
        self.synced_len = self.len();
        self.unsynced.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::ops::Range;
    use std::rc::Rc;
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::format::{self, Delivery, Found, Header, Record, Scan};
    use super::*;

    /// Keeps written bytes in a cache, and loses them as a kernel does.
    #[derive(Default)]
    struct Disk {
        cache: Vec<u8>,
        dirty: Vec<bool>,
        durable: Vec<u8>,
        /// Bytes that the next write takes before the disk is full.
        room: Option<usize>,
        fail_sync: bool,
    }

    impl Disk {
        fn persist(&mut self, range: Range<usize>) {
            for i in range {
                if self.dirty[i] {
                    self.durable[i] = self.cache[i];
                    self.dirty[i] = false;
                }
            }
        }

        /// Each dirty page may or may not have made it.
        fn power_cut(&mut self, rng: &mut fastrand::Rng) -> Vec<u8> {
            let len = if rng.bool() { self.cache.len() } else { self.durable.len() };
            self.durable.resize(self.cache.len(), 0);
            for start in (0..self.cache.len()).step_by(PAGE) {
                if rng.bool() {
                    self.persist(start..(start + PAGE).min(self.cache.len()));
                }
            }
            self.durable[..len.min(self.durable.len())].to_vec()
        }
    }

    /// Smaller than a record, so that cuts fall inside them.
    const PAGE: usize = 32;

    impl SegmentFile for Rc<RefCell<Disk>> {
        fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
            let mut disk = self.borrow_mut();
            let room = disk.room.take().unwrap_or(bytes.len()).min(bytes.len());
            let (start, end) = (offset as usize, offset as usize + room);
            let len = disk.cache.len().max(end);
            disk.cache.resize(len, 0);
            disk.dirty.resize(len, false);
            disk.cache[start..end].copy_from_slice(&bytes[..room]);
            disk.dirty[start..end].fill(true);
            if room < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            let mut disk = self.borrow_mut();
            disk.cache.truncate(len as usize);
            disk.dirty.truncate(len as usize);
            Ok(())
        }

        fn sync_data(&self) -> io::Result<()> {
            let mut disk = self.borrow_mut();
            if disk.fail_sync {
                disk.dirty.fill(false);
                return Err(io::Error::other("the card is gone"));
            }
            let len = disk.cache.len();
            disk.durable.resize(len, 0);
            disk.persist(0..len);
            Ok(())
        }
    }

    fn record(sequence: u64, rng: &mut fastrand::Rng) -> Record {
        let time = UNIX_EPOCH + Duration::from_micros(rng.u64(0..1 << 50));
        let payload = format!("\"{}\"", "x".repeat(rng.usize(0..200)));
        let (topic, delivery) = ("mien/test".into(), Delivery::default());
        Record { sequence, time, monotonic: Duration::ZERO, topic, payload, delivery }
    }

    /// Whatever fails and whenever the power goes: all synced records are there, and no record is
    /// that was not appended.
    #[test]
    fn no_synced_record_is_lost_and_none_invented() {
        for seed in 0..500 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let disk = Rc::new(RefCell::new(Disk::default()));
            let mut tail = Tail::new(disk.clone(), 0);
            tail.append(&format::segment_header(0)).unwrap();
            let (mut taken, mut synced) = (Vec::new(), 0);
            tail.sync().unwrap();
            for _ in 0..rng.usize(1..60) {
                disk.borrow_mut().room = (rng.u8(..) < 40).then(|| rng.usize(0..100));
                disk.borrow_mut().fail_sync = rng.u8(..) < 60;
                if rng.u8(..) < 60 {
                    if tail.sync().is_ok() {
                        synced = taken.len();
                    }
                    continue;
                }
                let record = record(taken.len() as u64, &mut rng);
                let mut bytes = Vec::new();
                format::encode(&record, &mut bytes);
                if tail.append(&bytes).is_ok() {
                    taken.push(record);
                }
            }
            let bytes = disk.borrow_mut().power_cut(&mut rng);
            let found: Vec<Record> = Scan::new(&bytes, Header::Whole)
                .filter_map(|found| match found {
                    Found::Record(record, _) => Some(record),
                    Found::Damaged { .. } => None,
                })
                .collect();
            assert!(found.len() >= synced, "seed {seed}: {} of {synced}", found.len());
            assert_eq!(found[..synced], taken[..synced], "seed {seed}");
            assert!(found.iter().all(|r| taken[r.sequence as usize] == *r), "seed {seed}");
        }
    }

    #[test]
    fn a_full_disk_is_an_error_and_appending_goes_on_after_it() {
        let disk = Rc::new(RefCell::new(Disk::default()));
        let mut tail = Tail::new(disk.clone(), 0);
        tail.append(b"one").unwrap();
        disk.borrow_mut().room = Some(2);
        assert_eq!(tail.append(b"lost").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.borrow().cache, b"one");
        tail.append(b"two").unwrap();
        tail.sync().unwrap();
        assert_eq!(disk.borrow().durable, b"onetwo");
        assert_eq!((tail.len(), tail.unsynced_len()), (6, 0));
    }

    #[test]
    fn bytes_of_a_failed_sync_are_written_again() {
        let disk = Rc::new(RefCell::new(Disk::default()));
        let mut tail = Tail::new(disk.clone(), 0);
        tail.append(b"precious").unwrap();
        disk.borrow_mut().fail_sync = true;
        tail.sync().unwrap_err();
        disk.borrow_mut().fail_sync = false;
        tail.sync().unwrap();
        assert_eq!(disk.borrow().durable, b"precious");
    }
}
