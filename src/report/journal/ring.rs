//! Records that wait in memory while the disk refuses them.

use std::collections::VecDeque;

use super::format::Record;

/// Bytes that may wait: at one event a second some eight hours.
const MAX_BYTES: usize = 8 << 20;
/// What a record takes in memory besides its texts, roughly.
const RECORD_OVERHEAD: usize = size_of::<Record>() + 32;

/// A queue that forgets its oldest records when it is full.
#[derive(Debug, Default)]
pub(super) struct Ring {
    records: VecDeque<Record>,
    bytes: usize,
    /// Forgotten so far.
    pub dropped: u64,
}

fn bytes(record: &Record) -> usize {
    record.topic.len() + record.payload.len() + RECORD_OVERHEAD
}

impl Ring {
    pub(super) fn push(&mut self, record: Record) {
        self.bytes += bytes(&record);
        self.records.push_back(record);
        while self.bytes > MAX_BYTES && self.pop().is_some() {
            self.dropped += 1;
        }
    }

    pub(super) fn front(&self) -> Option<&Record> {
        self.records.front()
    }

    pub(super) fn pop(&mut self) -> Option<Record> {
        let record = self.records.pop_front()?;
        self.bytes -= bytes(&record);
        Some(record)
    }

    /// Undoes the last [`Ring::pop`].
    pub(super) fn put_back(&mut self, record: Record) {
        self.bytes += bytes(&record);
        self.records.push_front(record);
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::format::Delivery;
    use super::*;

    #[test]
    fn a_full_ring_forgets_its_oldest_and_counts_them() {
        let mut ring = Ring::default();
        for sequence in 0..100_000 {
            ring.push(Record {
                sequence,
                time: UNIX_EPOCH,
                monotonic: Duration::ZERO,
                starts_run: false,
                topic: "t".into(),
                payload: "x".repeat(200),
                delivery: Delivery::default(),
            });
        }
        assert!(ring.bytes <= MAX_BYTES && ring.bytes > MAX_BYTES / 2);
        assert!(ring.dropped > 0);
        assert_eq!(ring.len() as u64 + ring.dropped, 100_000);
        assert_eq!(ring.front().unwrap().sequence, ring.dropped);
        while ring.pop().is_some() {}
        assert_eq!(ring.bytes, 0);
    }
}
