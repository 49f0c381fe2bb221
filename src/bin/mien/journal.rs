//! `mien journal`: read a journal.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::bail;
use mien::report::journal::{self, JournalError, Record};
use serde_json::{Value, json};

/// Prints the records of the journal in `dir`, oldest first, one JSON object a line. What can't be
/// read is named, and the rest follows.
pub fn cat(dir: &Path) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut unread = 0;
    for record in journal::read(dir) {
        match record {
            Ok(record) => writeln!(out, "{}", line(&record))?,
            // Its writer may be at work, or was killed and will drop it.
            Err(error @ JournalError::Torn { .. }) => log::warn!("{error}"),
            Err(error) => {
                eprintln!("error: {error}");
                unread += 1;
            }
        }
    }
    out.flush()?;
    if unread > 0 {
        bail!("not all of the journal in {} could be read", dir.display());
    }
    Ok(())
}

fn line(record: &Record) -> Value {
    let time = record.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    // The writer encodes JSON; another's text is shown as it is.
    let payload = serde_json::from_str(&record.payload)
        .unwrap_or_else(|_| Value::String(record.payload.clone()));
    json!({
        "sequence": record.sequence,
        "time_unix_s": time.as_micros() as f64 / 1e6,
        "topic": record.topic,
        "payload": payload,
    })
}
