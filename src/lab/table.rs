//! Tables in a run's folder, as CSV with a header; some grow by a row at a time.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::whole;

/// The rows of a table; none if there is no file yet.
pub fn read<T: DeserializeOwned>(path: &Path) -> csv::Result<Vec<T>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    csv::Reader::from_path(path)?.into_deserialize().collect()
}

/// Writes a table whole.
pub fn write<T: Serialize>(path: &Path, rows: &[T]) -> csv::Result<()> {
    whole::written(path, |part| {
        let mut writer = csv::Writer::from_path(part)?;
        rows.iter().try_for_each(|row| writer.serialize(row))?;
        Ok(writer.flush()?)
    })
}
