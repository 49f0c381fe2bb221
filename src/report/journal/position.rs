//! How far a reader of the journal has come, kept on disk.
//!
//! A line of text in a file of its own, `mien-position 1 NEXT CRC`, replaced as a whole: written
//! beside, synced, renamed. It is written seldom, for the card's sake: after a power cut some
//! records are read again, never one too few.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::directory::Contents;
use super::format::MAX_SEQUENCE;
use crate::disk::{self, Disk, RealDisk};

const EXTENSION: &str = "position";
const MAGIC: &str = "mien-position 1";

/// Why a position could not be read or kept.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum PositionError {
    /// It is no position, or a damaged one.
    #[error(
        "read position {} is damaged; starting from the oldest record, so that some may be sent \
         again",
        path.display()
    )]
    Damaged { path: PathBuf },
    /// Reading or writing failed.
    #[error("read position {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// A read position.
#[derive(Debug)]
pub struct Position {
    path: PathBuf,
    next: Option<u64>,
    saved: Option<u64>,
    last_save: Instant,
    /// Least time between two writes.
    save_period: Duration,
}

impl Position {
    /// The position kept as `NAME.position` in the journal's directory `dir`, written once a
    /// `save_period` at most. One that can't be read is told, and forgotten.
    pub fn open(dir: &Path, name: &str, save_period: Duration) -> (Self, Option<PositionError>) {
        let path = dir.join(name).with_extension(EXTENSION);
        let (next, error) = match load(&path) {
            Ok(next) => (next, None),
            Err(error) => (None, Some(error)),
        };
        (Self { path, next, saved: next, last_save: Instant::now(), save_period }, error)
    }

    /// The first record not read; `None` if none was.
    pub fn next(&self) -> Option<u64> {
        self.next
    }

    /// All records below `next` are done with.
    pub fn advance(&mut self, next: u64) {
        self.next = self.next.max(Some(next));
    }

    /// Whether it is time to save.
    pub fn is_due(&self) -> bool {
        self.next != self.saved && self.last_save.elapsed() >= self.save_period
    }

    /// Returns when the disk has it. The records below must be on disk before, or a power cut
    /// could take them and give their sequences to others.
    pub fn save(&mut self) -> Result<(), PositionError> {
        self.last_save = Instant::now();
        let Some(next) = self.next.filter(|_| self.next != self.saved) else { return Ok(()) };
        disk::replace(&RealDisk, &self.path, line(next).as_bytes())
            .map_err(|source| PositionError::Io { path: self.path.clone(), source })?;
        self.saved = self.next;
        Ok(())
    }
}

fn line(next: u64) -> String {
    let text = format!("{MAGIC} {next}");
    format!("{text} {:08x}\n", crc32fast::hash(text.as_bytes()))
}

/// The sequence in the file, if there is one.
fn load(path: &Path) -> Result<Option<u64>, PositionError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(PositionError::Io { path: path.into(), source }),
    };
    match parse(&bytes) {
        Some(next) => Ok(Some(next)),
        None => Err(PositionError::Damaged { path: path.into() }),
    }
}

fn parse(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let next = text.split(' ').nth(2)?.parse().ok()?;
    (text == line(next)).then_some(next)
}

/// The sequence to go on with after a last segment of these contents: not below what a consumer has, which
/// was in the journal, whatever became of it.
pub(super) fn next_sequence(disk: &dyn Disk, dir: &Path, contents: &Contents) -> u64 {
    contents.next_sequence.max(furthest(disk, dir))
}

/// The furthest of the positions kept in a journal's directory; 0 if there is none. All records below
/// were in the journal once.
fn furthest(disk: &dyn Disk, dir: &Path) -> u64 {
    let names = disk.list(dir).unwrap_or_default().into_iter().map(|(name, _)| dir.join(name));
    let positions = names.filter(|path| path.extension().is_some_and(|e| e == EXTENSION));
    let next = positions.filter_map(|path| parse(&disk.read(&path).ok()?));
    next.max().unwrap_or(0).min(MAX_SEQUENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVE_PERIOD: Duration = Duration::from_secs(5);
    const NAME: &str = "mqtt";

    #[test]
    fn a_position_is_kept_and_never_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (mut position, error) = Position::open(dir.path(), NAME, SAVE_PERIOD);
        assert!(error.is_none() && position.next().is_none());
        position.advance(42);
        position.advance(7);
        position.save().unwrap();
        let (position, error) = Position::open(dir.path(), NAME, SAVE_PERIOD);
        assert!(error.is_none());
        assert_eq!(position.next(), Some(42));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no other file is left");
    }

    #[test]
    fn it_is_written_seldom() {
        let dir = tempfile::tempdir().unwrap();
        let (mut position, _) = Position::open(dir.path(), NAME, SAVE_PERIOD);
        position.advance(1);
        assert!(!position.is_due());
        position.last_save = Instant::now() - SAVE_PERIOD;
        assert!(position.is_due());
        position.save().unwrap();
        position.last_save = Instant::now() - SAVE_PERIOD;
        assert!(!position.is_due(), "nothing new");
    }

    /// The journal then gives no sequence below, whatever became of its segments.
    #[test]
    fn the_furthest_is_found_and_a_damaged_one_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(furthest(&RealDisk, dir.path()), 0);
        for (name, next) in [(NAME, 7), ("other", 12)] {
            let (mut position, _) = Position::open(dir.path(), name, SAVE_PERIOD);
            position.advance(next);
            position.save().unwrap();
        }
        assert_eq!(furthest(&RealDisk, dir.path()), 12);
        fs::write(dir.path().join("other.position"), line(13).replace("13", "31")).unwrap();
        assert_eq!(furthest(&RealDisk, dir.path()), 7);
    }

    /// Every flip of a bit and every cut is seen.
    #[test]
    fn a_damaged_one_starts_from_the_oldest_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let whole = line(1234).into_bytes();
        let flipped = (0..8 * whole.len()).map(|bit| {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        });
        let cut = (0..whole.len()).map(|len| whole[..len].to_vec());
        for bytes in flipped.chain(cut) {
            fs::write(dir.path().join("mqtt.position"), &bytes).unwrap();
            let (position, error) = Position::open(dir.path(), NAME, SAVE_PERIOD);
            assert!(matches!(error, Some(PositionError::Damaged { .. })), "{bytes:?}");
            assert_eq!(position.next(), None);
        }
    }
}
