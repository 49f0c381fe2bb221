//! HDF5 files: attributes of texts, tensors of numbers.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hdf5_reader::{Attribute, Hdf5File, OpenOptions};

use super::MAX_LEN;

/// Largest unpacked part of a tensor. Keras doesn't pack them; tools that do take 4 MiB at most.
const MAX_CHUNK_LEN: usize = 16 << 20;

/// Calls a foreign decoder, and takes its panic for damage of the file.
///
/// Such a panic leaves nothing behind: the decoders have no state but that of the file they read,
/// which is given up at the first error, and neither has code that relies on its values after one.
pub fn guarded<T>(decode: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(decode)).map_err(|_| "it is damaged".into())
}

/// An HDF5 file.
pub struct Hdf5(Hdf5File);

impl Hdf5 {
    /// Opens one.
    pub fn open(bytes: Vec<u8>) -> Result<Self, String> {
        let options = OpenOptions::default()
            .with_chunk_cache_bytes(0)
            .with_max_chunk_bytes(MAX_CHUNK_LEN)
            .with_max_read_bytes(MAX_LEN);
        let file = guarded(|| Hdf5File::from_vec_with_options(bytes, options))?;
        Ok(Self(file.map_err(|e| format!("it can't be read as HDF5: {e}"))?))
    }

    /// An attribute of texts; none if the group or the attribute is missing.
    pub fn texts(&self, group: &str, attribute: &str) -> Result<Option<Vec<String>>, String> {
        let read = || {
            let attributes = self.0.group(group).ok()?.attributes().ok()?;
            let attribute = attributes.into_iter().find(|a| a.name == attribute)?;
            Some(texts_of(&attribute))
        };
        guarded(read)?.transpose()
    }

    /// Whether there is a group of this path.
    pub fn has_group(&self, path: &str) -> Result<bool, String> {
        guarded(|| self.0.group(path).is_ok())
    }

    /// Row-major values of a tensor that has one of these shapes.
    pub fn tensor(&self, path: &str, shapes: &[&[usize]]) -> Result<Vec<f32>, String> {
        guarded(|| {
            let dataset = self.0.dataset(path).map_err(|e| e.to_string())?;
            let same = |shape: &&&[usize]| {
                let (found, shape) = (dataset.shape(), **shape);
                found.len() == shape.len() && found.iter().zip(shape).all(|(a, b)| *a == *b as u64)
            };
            if shapes.iter().find(same).is_none() {
                let expected = shapes.last().copied().unwrap_or_default();
                return Err(format!("its shape is {:?}, not {expected:?}", dataset.shape()));
            }
            let values = dataset.read_array::<f32>();
            let values = values.map_err(|e| format!("{e} (only float32 is understood)"))?;
            Ok(values.iter().copied().collect())
        })?
    }
}

fn texts_of(attribute: &Attribute) -> Result<Vec<String>, String> {
    // An empty list has the type of numbers.
    if attribute.num_elements().is_ok_and(|n| n == 0) {
        return Ok(Vec::new());
    }
    let texts = match attribute.shape.is_empty() {
        true => attribute.read_string().map(|text| vec![text]),
        false => attribute.read_strings(),
    };
    texts.map_err(|e| format!("attribute `{}` can't be read: {e}", attribute.name))
}
