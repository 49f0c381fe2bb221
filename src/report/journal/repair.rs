//! Damaged segments: their sound records are kept under the same name, the bytes as they were are
//! put aside.

use std::io;
use std::path::{Path, PathBuf};

use super::JournalError;
use super::directory::{self, Contents, NAME_DIGITS, Segment};
use super::format::{self, Scan};
use super::position;
use super::segment::Tail;
use crate::disk::{Disk, RealDisk, write_synced};

/// Directory within the journal's for segments as they were found.
pub(super) const QUARANTINE: &str = "quarantine";
/// A clean copy being made.
const UNFINISHED: &str = "unfinished";

/// One segment's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Its file.
    pub path: PathBuf,
    /// Size of the file.
    pub bytes: u64,
    /// Sound records in it.
    pub records: u64,
    /// Bytes, the header's among them, that are no record.
    pub damaged_bytes: u64,
    /// Bytes of an unfinished record at the journal's end: its writer was killed or is at work.
    pub torn_bytes: u64,
    /// Sequences missing before or between its records: they were lost with damaged bytes, or their
    /// records never came to the disk.
    pub missing: u64,
    /// Where its damaged original was put aside.
    pub quarantined: Option<PathBuf>,
}

impl Checked {
    /// Whether it holds bytes that should be records.
    pub fn is_damaged(&self) -> bool {
        self.damaged_bytes > 0
    }
}

/// Looks at every segment of the journal in `dir`, oldest first; needs no lock.
pub fn check(dir: &Path) -> Result<Vec<Checked>, JournalError> {
    check_on(&RealDisk, dir)
}

pub(super) fn check_on(disk: &dyn Disk, dir: &Path) -> Result<Vec<Checked>, JournalError> {
    let segments = directory::list(disk, dir)
        .map_err(|source| JournalError::Io { path: dir.into(), source })?;
    let mut all: Vec<Checked> = Vec::new();
    let mut after_last = None;
    for (i, segment) in segments.iter().enumerate() {
        let bytes = match directory::read(disk, &segment.path) {
            Ok(bytes) => bytes,
            // Its writer has deleted it since it was listed.
            Err(JournalError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                continue;
            }
            Err(error) => return Err(error),
        };
        let contents = directory::examine(segment.first, &bytes);
        let is_last = i + 1 == segments.len();
        let mut checked = checked(segment, &bytes, &contents, is_last);
        if contents.records > 0 {
            checked.missing += segment.first.saturating_sub(after_last.unwrap_or(segment.first));
            after_last = Some(contents.after_last);
        }
        all.push(checked);
    }
    Ok(all)
}

fn checked(segment: &Segment, bytes: &[u8], contents: &Contents, is_last: bool) -> Checked {
    let Contents { records, missing, mut damaged_bytes, mut torn_bytes, .. } = *contents;
    if !is_last {
        // No writer will go on with it.
        damaged_bytes += std::mem::take(&mut torn_bytes);
    }
    let (path, bytes) = (segment.path.clone(), bytes.len() as u64);
    Checked { path, bytes, records, damaged_bytes, torn_bytes, missing, quarantined: None }
}

/// Quarantines every damaged segment and cuts off an unfinished record; the caller has the lock.
pub(super) fn repair_on(disk: &dyn Disk, dir: &Path) -> Result<Vec<Checked>, JournalError> {
    let mut all = check_on(disk, dir)?;
    if all.last().is_some_and(|last| last.is_damaged() || last.torn_bytes > 0) {
        keep_sequences(disk, dir)?;
    }
    for checked in all.iter_mut().filter(|checked| checked.is_damaged() || checked.torn_bytes > 0) {
        let name = checked.path.file_name().and_then(|name| name.to_str());
        let Some(first) = name.and_then(directory::first_sequence) else { continue };
        let mut segment = Segment { path: checked.path.clone(), first, len: checked.bytes };
        checked.quarantined = mend(disk, &mut segment)?.quarantined;
    }
    Ok(all)
}

/// Begins a segment after the last one, so that no record gets a sequence which the bytes that are to go
/// may have had, as its writer does before it mends.
fn keep_sequences(disk: &dyn Disk, dir: &Path) -> Result<(), JournalError> {
    let io = |source| JournalError::Io { path: dir.into(), source };
    let Some(last) = directory::list(disk, dir).map_err(io)?.pop() else { return Ok(()) };
    let contents = directory::examine(last.first, &directory::read(disk, &last.path)?);
    let next = position::next_sequence(disk, dir, &contents);
    Tail::create(disk, dir, next).map(drop).map_err(io)
}

/// What [`mend`] found and did.
pub(super) struct Mended {
    pub contents: Contents,
    pub quarantined: Option<PathBuf>,
}

/// Cuts an unfinished record off a segment, or quarantines it if it is damaged.
pub(super) fn mend(disk: &dyn Disk, segment: &mut Segment) -> Result<Mended, JournalError> {
    let bytes = directory::read(disk, &segment.path)?;
    let contents = directory::examine(segment.first, &bytes);
    let io = |source| JournalError::Io { path: segment.path.clone(), source };
    let dir = segment.path.parent().unwrap_or(Path::new("."));
    let mut quarantined = None;
    if contents.damaged_bytes > 0 {
        quarantined = Some(quarantine(disk, dir, segment.first, &bytes).map_err(io)?);
        segment.len = disk.read(&segment.path).map_err(io)?.len() as u64;
    } else if contents.torn_bytes > 0 {
        let file = disk.open(&segment.path).map_err(io)?;
        file.set_len(contents.end).and_then(|()| file.sync()).map_err(io)?;
        segment.len = contents.end;
    }
    Ok(Mended { contents, quarantined })
}

/// Puts the segment's bytes aside and a clean one of its sound records in its place; where they
/// were put. Whenever the power goes, the name stands for the one or the other, whole.
pub(super) fn quarantine(
    disk: &dyn Disk,
    dir: &Path,
    first: u64,
    bytes: &[u8],
) -> io::Result<PathBuf> {
    let quarantine = dir.join(QUARANTINE);
    disk.create_dir(&quarantine)?;
    disk.sync_dir(dir)?;
    let taken: Vec<String> = disk.list(&quarantine)?.into_iter().map(|(name, _)| name).collect();
    let mut names = (1..).map(|n| format!("{first:0NAME_DIGITS$}.{n}"));
    let aside = quarantine.join(names.find(|name| !taken.contains(name)).unwrap_or_default());
    write_synced(disk, &aside, bytes)?;
    disk.sync_dir(&quarantine)?;

    let mut clean = format::segment_header(first).to_vec();
    for record in Scan::new(bytes, first).records() {
        format::encode(&record, first, &mut clean);
    }
    let unfinished = dir.join(UNFINISHED);
    write_synced(disk, &unfinished, &clean)?;
    disk.rename(&unfinished, &directory::path(dir, first))?;
    disk.sync_dir(dir)?;
    Ok(aside)
}

/// Deletes what a [`quarantine`] that did not come to its end has left.
pub(super) fn remove_unfinished(disk: &dyn Disk, dir: &Path) {
    match disk.remove(&dir.join(UNFINISHED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::debug!("can't delete {UNFINISHED} in {}: {error}", dir.display());
        }
        _ => {}
    }
}

/// What lies in quarantine: paths, the sequence in each name, lengths; oldest segments first.
pub(super) fn quarantined(disk: &dyn Disk, dir: &Path) -> Vec<Segment> {
    let quarantine = dir.join(QUARANTINE);
    // Without any damage so far it is not there.
    let files = disk.list(&quarantine).unwrap_or_default().into_iter();
    let mut all: Vec<Segment> = files
        .filter_map(|(name, len)| {
            let first = name.split_once('.')?.0.parse().ok()?;
            Some(Segment { path: quarantine.join(name), first, len })
        })
        .collect();
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}
