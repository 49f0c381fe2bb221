//! Which segments must go: those beyond the bound in bytes, and those beyond the bound in age.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::clock::is_plausible;
use super::directory::{self, Segment};
use super::format::Scan;
use super::repair;
use crate::disk::Disk;

/// What is to be kept within bounds: the journal's finished segments, oldest first, and what lies in
/// quarantine. The segment being written never goes.
pub(super) struct Keeper<'a> {
    pub disk: &'a dyn Disk,
    pub dir: &'a Path,
    pub finished: &'a mut VecDeque<Segment>,
    /// The one being written.
    pub tail: Segment,
    /// All consumers have the records below this sequence; none if there is no consumer.
    pub acknowledged: Option<u64>,
}

impl Keeper<'_> {
    /// Deletes the oldest until at most `max_bytes` are left, first what is in quarantine. Gives
    /// how many records went that a consumer did not have yet.
    pub(super) fn keep_bytes(&mut self, max_bytes: u64) -> u64 {
        let mut quarantined = VecDeque::from(repair::quarantined(self.disk, self.dir));
        let len = |segments: &VecDeque<Segment>| segments.iter().map(|s| s.len).sum::<u64>();
        let mut total = len(self.finished) + len(&quarantined);
        let mut unsent = 0;
        while total > max_bytes {
            if let Some(segment) = quarantined.pop_front() {
                total -= segment.len;
                self.delete(&segment.path);
            } else if let Some(segment) = self.finished.front() {
                if !self.delete(&segment.path) {
                    break;
                }
                total -= segment.len;
                unsent += self.unsent(segment.first, self.next_after(0).first);
                self.finished.pop_front();
            } else {
                break;
            }
        }
        unsent
    }

    /// Deletes segments whose records all are of before `oldest`, but none with records that a
    /// consumer does not have yet.
    pub(super) fn keep_age(&mut self, oldest: SystemTime) {
        for _ in 0..self.outdated(oldest) {
            let Some(segment) = self.finished.front() else { break };
            if self.unsent(segment.first, self.next_after(0).first) > 0 {
                break;
            }
            if !self.delete(&segment.path) {
                break;
            }
            self.finished.pop_front();
        }
        let kept = self.finished.front().unwrap_or(&self.tail).first;
        for aside in repair::quarantined(self.disk, self.dir) {
            if aside.first < kept {
                self.delete(&aside.path);
            }
        }
    }

    /// How many segments are older: their successor begins before. A successor that begins while
    /// the clock was not set tells nothing, but those after it may.
    fn outdated(&self, oldest: SystemTime) -> usize {
        let mut outdated = 0;
        for i in 0..self.finished.len() {
            match self.first_time(self.next_after(i)).filter(|time| is_plausible(*time)) {
                Some(time) if time < oldest => outdated = i + 1,
                Some(_) => break,
                None => {}
            }
        }
        outdated
    }

    fn next_after(&self, i: usize) -> &Segment {
        self.finished.get(i + 1).unwrap_or(&self.tail)
    }

    fn first_time(&self, segment: &Segment) -> Option<SystemTime> {
        let bytes = directory::read(self.disk, &segment.path).ok()?;
        Scan::new(&bytes, segment.first).records().next().map(|record| record.time)
    }

    /// How many of the sequences from `first` to before `end` a consumer does not have.
    fn unsent(&self, first: u64, end: u64) -> u64 {
        let Some(acknowledged) = self.acknowledged else { return 0 };
        end.saturating_sub(first.max(acknowledged))
    }

    /// Whether the file is gone. One that can't be deleted is no reason to refuse records.
    fn delete(&self, path: &Path) -> bool {
        match self.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("can't delete old journal {}: {error}", path.display());
                false
            }
            _ => true,
        }
    }
}
