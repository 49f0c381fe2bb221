//! Records as JSON lines or CSV.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Dated;
use crate::args::ExportFormat;

const COLUMNS: [&str; 8] =
    ["sequence", "time", "time_corrected", "monotonic_s", "topic", "qos", "retain", "payload"];

/// Prints to standard output.
pub enum Printer {
    Jsonl(BufWriter<StdoutLock<'static>>),
    Csv(Box<csv::Writer<StdoutLock<'static>>>),
}

impl Printer {
    /// Of CSV, the header is printed.
    pub fn new(format: ExportFormat) -> io::Result<Self> {
        let out = io::stdout().lock();
        match format {
            ExportFormat::Jsonl => Ok(Self::Jsonl(BufWriter::new(out))),
            ExportFormat::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(COLUMNS).map_err(io_error)?;
                Ok(Self::Csv(Box::new(writer)))
            }
        }
    }

    pub fn print(&mut self, dated: &Dated) -> io::Result<()> {
        let Dated { record, time, corrected } = dated;
        let qos = record.delivery.qos as u8;
        match self {
            Self::Jsonl(out) => writeln!(out, "{}", line(dated)),
            Self::Csv(writer) => writer
                .write_record([
                    &record.sequence.to_string(),
                    &rfc3339(*time),
                    &corrected.to_string(),
                    &record.monotonic.as_secs_f64().to_string(),
                    &record.topic,
                    &qos.to_string(),
                    &record.delivery.retain.to_string(),
                    &record.payload,
                ])
                .map_err(io_error),
        }
    }

    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Jsonl(out) => out.flush(),
            Self::Csv(writer) => writer.flush(),
        }
    }
}

/// `csv`'s errors here are of writing; a closed pipe must stay one.
fn io_error(error: csv::Error) -> io::Error {
    error.into()
}

/// UTC, to the millisecond.
pub fn rfc3339(time: SystemTime) -> String {
    match Timestamp::try_from(time) {
        Ok(time) => format!("{time:.3}"),
        // Beyond the year 9999: no clock's time.
        Err(_) => String::new(),
    }
}

fn line(dated: &Dated) -> Value {
    let Dated { record, time, corrected } = dated;
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    // The writer encodes JSON; another's text is shown as it is.
    let payload = serde_json::from_str(&record.payload)
        .unwrap_or_else(|_| Value::String(record.payload.clone()));
    let mut line = json!({
        "sequence": record.sequence,
        "time": rfc3339(*time),
        "time_unix_s": since_1970.as_millis() as f64 / 1e3,
    });
    if *corrected {
        line["time_corrected"] = json!(true);
    }
    line["monotonic_s"] = json!(record.monotonic.as_secs_f64());
    line["topic"] = json!(record.topic);
    line["qos"] = json!(record.delivery.qos as u8);
    line["retain"] = json!(record.delivery.retain);
    line["payload"] = payload;
    line
}
