//! Why a model can't be loaded or run.

use std::path::PathBuf;

use super::test_vector::TEST_CODES;

/// An entry of a model's metadata that says nothing usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its metadata has {entry} = {text:?}, which must be {needed}")]
pub struct MetadataError {
    /// Its name.
    pub entry: &'static str,
    /// What it holds.
    pub text: String,
    /// What it may hold.
    pub needed: &'static str,
}

/// Why a model can't be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file can't be read.
    #[error(
        "can't read model {}: {source}; name a file that this user may read, or none for the \
         bundled one",
        path.display()
    )]
    Read { path: PathBuf, source: std::io::Error },
    /// It is no `.tflite` file, or one cut short.
    #[error("{name} is not a whole .tflite file: {why}; `mien-lab quantize` makes one")]
    Format { name: String, why: String },
    /// A part of the file contradicts the rest, or is more than this engine runs.
    #[error("model {name}: {part} {why}; `mien-lab quantize` makes files that run")]
    Unfit { name: String, part: String, why: String },
    /// It is a network for another task.
    #[error(
        "model {name}: its {side} is {found}, but this program needs {needed}; \
         use a model made by `mien-lab quantize`"
    )]
    Interface { name: String, side: &'static str, found: String, needed: &'static str },
    /// Its metadata tells nothing usable of its input or its logits.
    #[error("model {name}: {source}; `mien-lab quantize` writes it")]
    Metadata { name: String, source: MetadataError },
    /// Neither the engine nor its reference gives the codes that the file says.
    #[error(
        "model {name}: of the test picture it gives other codes than its metadata says \
         ({}): it was changed since `mien-lab quantize` wrote it, or this CPU is not to be trusted",
        TEST_CODES
    )]
    TestCodes { name: String },
    /// tract refuses it.
    #[error("model {name}: {why}")]
    Engine { name: String, why: String },
    /// A face of another size was given.
    #[error("a face is {}×{} pixels, not {needed}×{needed}; crop it first", found.1, found.0)]
    FaceSize { found: (usize, usize), needed: usize },
    /// Raw input that is no whole number of pictures.
    #[error("{found} input codes are no whole number of pictures of {needed}")]
    InputLength { found: usize, needed: usize },
}
