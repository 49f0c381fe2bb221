//! How much is recorded, from when to when, and what it costs the card.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use mien::report::journal::{self, JournalOptions};

use super::Reader;
use super::print::rfc3339;

/// What a sync with something to write makes the card write at least: a block of data and about
/// three of the file system's own, 4 KiB each. See docs/journal.md, "Wear".
const SYNC_BYTES: f64 = 4.0 * 4096.0;
const DAY_S: f64 = 86_400.0;

/// What a walk through the records counts.
#[derive(Default)]
struct Counts {
    records: u64,
    /// Of each kind, the topic's third level: face, room, status.
    kinds: BTreeMap<String, u64>,
    corrected: u64,
    /// Sync periods in which something was recorded.
    syncs: u64,
    /// The latest of these, and the monotonic time it is of.
    period: u64,
    first: Option<SystemTime>,
    last: Option<SystemTime>,
}

/// Prints it.
pub fn stats(dir: &Path) -> anyhow::Result<()> {
    let segments = journal::check(dir)?;
    let sync_period_s = JournalOptions::default().sync_period_s;
    let mut reader = Reader::new(dir);
    let mut counts = Counts::default();
    reader.each(|dated| {
        counts.records += 1;
        let kind = dated.record.topic.split('/').nth(2).unwrap_or("other");
        *counts.kinds.entry(kind.to_owned()).or_default() += 1;
        counts.corrected += u64::from(dated.corrected);
        let period = (dated.record.monotonic.as_secs_f64() / sync_period_s) as u64;
        if dated.record.starts_run || counts.syncs == 0 || period != counts.period {
            counts.syncs += 1;
        }
        counts.period = period;
        counts.first.get_or_insert(dated.time);
        counts.last = Some(dated.time);
        Ok(())
    })?;

    let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let missing: u64 = segments.iter().map(|segment| segment.missing).sum();
    let damaged: u64 = segments.iter().map(|segment| segment.damaged_bytes).sum();
    let kinds: Vec<String> =
        counts.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let mut out = io::stdout().lock();
    writeln!(out, "records        {} ({})", counts.records, kinds.join(", "))?;
    writeln!(out, "missing        {missing} sequences")?;
    writeln!(out, "bytes          {bytes} in {} segments, {damaged} damaged", segments.len())?;
    let (Some(first), Some(last)) = (counts.first, counts.last) else { return Ok(()) };
    writeln!(out, "period         {} to {}", rfc3339(first), rfc3339(last))?;
    writeln!(out, "corrected      {} records' times", counts.corrected)?;
    let days = last.duration_since(first).unwrap_or_default().as_secs_f64() / DAY_S;
    if days > 0.0 {
        writeln!(out, "bytes a day    {:.0}", bytes as f64 / days)?;
        let blocks = counts.syncs as f64 * SYNC_BYTES;
        writeln!(
            out,
            "card a day     about {:.0} bytes in whole blocks, synced every {sync_period_s} s",
            blocks / days
        )?;
    }
    Ok(())
}
