//! What a file holds: the description of a model, and its weights.

use std::io::{Cursor, Read};

use serde_json::Value;
use zip::ZipArchive;

use super::MAX_LEN;
use super::hdf5::{Hdf5, guarded};
use super::weights::{Naming, Weights};

/// Largest description.
const MAX_DESCRIPTION_LEN: usize = 8 << 20;
const ZIP_START: &[u8] = b"PK\x03\x04";
/// Starts a record that only a zip of 4 GiB or of 65535 files needs.
const ZIP64_LOCATOR: &[u8] = b"PK\x06\x07";
/// How far from its end a zip may have that record: its length, that of the end record, and the
/// longest comment.
const ZIP_END_LEN: usize = 20 + 22 + u16::MAX as usize;

/// An opened file.
pub struct Container {
    /// The model's class and configuration.
    pub description: Value,
    /// Its weights.
    pub weights: Weights,
}

impl Container {
    /// Opens either kind of file, told by its first bytes.
    pub fn open(bytes: Vec<u8>) -> Result<Self, String> {
        if bytes.starts_with(ZIP_START) { Self::of_zip(bytes) } else { Self::of_hdf5(bytes) }
    }

    fn of_zip(bytes: Vec<u8>) -> Result<Self, String> {
        // Its count of files would be believed, and memory asked for.
        let end = &bytes[bytes.len().saturating_sub(ZIP_END_LEN)..];
        if end.windows(ZIP64_LOCATOR.len()).any(|window| window == ZIP64_LOCATOR) {
            return Err("it is a zip64 archive; save the model anew".into());
        }
        let damaged = |e| format!("its zip archive can't be read: {e}");
        let mut archive = guarded(|| ZipArchive::new(Cursor::new(&bytes)))?.map_err(damaged)?;
        let mut part = |name: &str, limit: usize| guarded(|| unpacked(&mut archive, name, limit))?;
        let description = parsed(&part("config.json", MAX_DESCRIPTION_LEN)?)?;
        let file = Hdf5::open(part("model.weights.h5", MAX_LEN)?)?;
        Ok(Self { description, weights: Weights::new(file, Naming::ByClass) })
    }

    fn of_hdf5(bytes: Vec<u8>) -> Result<Self, String> {
        let file = Hdf5::open(bytes)?;
        let texts = file.texts("/", "model_config");
        let texts = texts.map_err(|why| format!("{why}; is the file whole?"))?;
        let description = match &texts.as_deref() {
            Some([text]) if text.len() <= MAX_DESCRIPTION_LEN => parsed(text.as_bytes())?,
            Some([_]) => return Err("its description is too long".into()),
            _ => {
                return Err("it holds no description of a model, perhaps only weights; save it \
                            with `model.save`"
                    .into());
            }
        };
        Ok(Self { description, weights: Weights::new(file, Naming::ByName) })
    }
}

fn parsed(description: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(description).map_err(|e| format!("its description can't be read: {e}"))
}

/// A file of an archive.
fn unpacked(
    archive: &mut ZipArchive<Cursor<&Vec<u8>>>,
    name: &str,
    limit: usize,
) -> Result<Vec<u8>, String> {
    let wrong = |why: String| format!("`{name}` in it can't be read: {why}");
    let part = archive.by_name(name).map_err(|e| wrong(e.to_string()))?;
    let mut bytes = Vec::new();
    part.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|e| wrong(e.to_string()))?;
    if bytes.len() > limit {
        return Err(wrong(format!("it is larger than {} MiB", limit >> 20)));
    }
    Ok(bytes)
}
