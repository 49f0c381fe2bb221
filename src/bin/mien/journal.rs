//! `mien journal`: what is in a journal, and whether it is sound.

mod print;
mod stats;

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::bail;
use jiff::Timestamp;
use mien::report::journal::{self, Checked, JournalError, Record, Runs};

use crate::args::{ExportFormat, JournalCommand, Selection};
use print::Printer;

/// How often `tail -f` looks for more.
const POLL_PERIOD: Duration = Duration::from_secs(1);

/// Does what the command says.
pub fn run(command: &JournalCommand) -> anyhow::Result<()> {
    match command {
        JournalCommand::Cat(selection) => export(selection, ExportFormat::Jsonl),
        JournalCommand::Export { selection, format } => export(selection, *format),
        JournalCommand::Tail { selection, records, follow } => tail(selection, *records, *follow),
        JournalCommand::Check(directory) => check(&directory.dir),
        JournalCommand::Repair(directory) => repair(&directory.dir),
        JournalCommand::Stats(directory) => stats::stats(&directory.dir),
    }
}

/// A record, and when it was written: corrected where that is known.
pub struct Dated {
    record: Record,
    time: SystemTime,
    corrected: bool,
}

/// Reads a journal twice: the end of a run tells how wrong the clock was at its beginning.
pub struct Reader<'a> {
    dir: &'a Path,
    runs: Runs,
    /// Records below are in `runs`.
    noted: u64,
    /// Records below were given.
    next: u64,
    /// Places that could not be read.
    pub unread: u64,
}

impl<'a> Reader<'a> {
    pub fn new(dir: &'a Path) -> Self {
        let mut reader = Self { dir, runs: Runs::default(), noted: 0, next: 0, unread: 0 };
        // What can't be read is told by the second pass.
        journal::read(dir).flatten().for_each(|record| reader.note(&record));
        reader
    }

    fn note(&mut self, record: &Record) {
        if record.sequence >= self.noted {
            self.noted = record.sequence + 1;
            self.runs.note(record);
        }
    }

    /// Gives the records that were not given yet. What can't be read is named, and the rest follows.
    pub fn each(&mut self, mut take: impl FnMut(Dated) -> io::Result<()>) -> io::Result<()> {
        for record in journal::read_from(self.dir, self.next) {
            match record {
                Ok(record) => {
                    self.note(&record);
                    let missing = record.sequence - self.next;
                    // The oldest were deleted for the sake of the bounds.
                    if missing > 0 && self.next > 0 {
                        eprintln!(
                            "note: up to {missing} records before record {} are missing: they were \
                             never written, or deleted, or damaged",
                            record.sequence
                        );
                    }
                    self.next = record.sequence + 1;
                    let corrected = self.runs.corrected(&record);
                    let time = corrected.unwrap_or(record.time);
                    take(Dated { record, time, corrected: corrected.is_some() })?;
                }
                // Its writer may be at work, or was killed and will drop it.
                Err(error @ JournalError::Torn { .. }) => log::info!("{error}"),
                Err(error) => {
                    eprintln!("error: {error}");
                    self.unread += 1;
                }
            }
        }
        Ok(())
    }

    fn finish(&self) -> anyhow::Result<()> {
        if self.unread > 0 {
            bail!("not all of the journal in {} could be read", self.dir.display());
        }
        Ok(())
    }
}

impl Selection {
    fn includes(&self, dated: &Dated) -> bool {
        let after = |time: &Timestamp| dated.time >= SystemTime::from(*time);
        self.since.as_ref().is_none_or(after)
            && self.until.as_ref().is_none_or(|time| !after(time))
            && self.topic.as_ref().is_none_or(|filter| filter.matches(&dated.record.topic))
    }
}

fn export(selection: &Selection, format: ExportFormat) -> anyhow::Result<()> {
    let mut printer = Printer::new(format)?;
    let mut reader = Reader::new(&selection.directory.dir);
    reader.each(|dated| if selection.includes(&dated) { printer.print(&dated) } else { Ok(()) })?;
    printer.flush()?;
    reader.finish()
}

fn tail(selection: &Selection, records: usize, follow: bool) -> anyhow::Result<()> {
    let dir = &selection.directory.dir;
    let mut printer = Printer::new(ExportFormat::Jsonl)?;
    let mut size = follow.then(|| size(dir)).transpose()?;
    let mut reader = Reader::new(dir);
    let mut last = VecDeque::new();
    reader.each(|dated| {
        if selection.includes(&dated) {
            last.push_back(dated);
            if last.len() > records {
                last.pop_front();
            }
        }
        Ok(())
    })?;
    last.iter().try_for_each(|dated| printer.print(dated))?;
    printer.flush()?;
    while let Some(known) = size {
        thread::sleep(POLL_PERIOD);
        let now = self::size(dir)?;
        if now != known {
            reader.each(
                |dated| {
                    if selection.includes(&dated) { printer.print(&dated) } else { Ok(()) }
                },
            )?;
            printer.flush()?;
        }
        size = Some(now);
    }
    reader.finish()
}

/// Changes whenever something is written: cheaper to look at than the records.
fn size(dir: &Path) -> anyhow::Result<(u64, u64)> {
    let read = |source| JournalError::Io { path: dir.into(), source };
    let (mut files, mut bytes) = (0, 0);
    let entries = match fs::read_dir(dir) {
        // Its writer makes it again when it has something to write.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        entries => entries.map_err(read)?,
    };
    for entry in entries {
        // One deleted meanwhile is none.
        let Ok(metadata) = entry.map_err(read)?.metadata() else { continue };
        files += 1;
        bytes += metadata.len();
    }
    Ok((files, bytes))
}

fn check(dir: &Path) -> anyhow::Result<()> {
    let checked = journal::check(dir)?;
    tell(&checked)?;
    let damaged = checked.iter().filter(|segment| segment.is_damaged()).count();
    if damaged > 0 {
        bail!(
            "{damaged} of {} segments damaged; stop the service and `mien journal repair --dir {}`",
            checked.len(),
            dir.display()
        );
    }
    Ok(())
}

fn repair(dir: &Path) -> anyhow::Result<()> {
    Ok(tell(&journal::repair(dir)?)?)
}

fn tell(checked: &[Checked]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for segment in checked {
        let Checked { path, bytes, records, damaged_bytes, torn_bytes, missing, .. } = segment;
        write!(out, "{}: {records} sound records in {bytes} bytes", path.display())?;
        for (count, what) in [
            (damaged_bytes, "damaged bytes"),
            (torn_bytes, "bytes of an unfinished record"),
            (missing, "sequences missing"),
        ] {
            if *count > 0 {
                write!(out, ", {count} {what}")?;
            }
        }
        match &segment.quarantined {
            Some(aside) => writeln!(out, "; as it was it is now {}", aside.display())?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}
