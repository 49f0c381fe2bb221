//! Reads float networks that other frameworks trained, as [`Layers`].
//!
//! A file is taken for what its name ends in: [`onnx`] (PyTorch, tf2onnx), [`tflite`] (TensorFlow
//! Lite's converter, without quantization), [`keras`] (`.h5`, `.keras`). Files come from anywhere: a
//! reader refuses by its name what it does not understand, and checks sizes before it asks for memory.

mod builder;
pub mod keras;
pub mod onnx;
pub mod tflite;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::float::{LayerError, Layers};

/// Longest file that is read, in bytes.
const MAX_FILE_LEN: u64 = 1 << 28;

/// Why a model can't be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file can't be read.
    #[error("can't read model {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// It is no such file, or holds something else than one float network.
    #[error("can't import {}: {why}", path.display())]
    Format { path: PathBuf, why: String },
    /// One of its layers can't be used.
    #[error("can't import {}: {source}", path.display())]
    Layer { path: PathBuf, source: LayerError },
}

/// Why a file's bytes are no network that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// What is wrong with the file as a whole, and what to do.
    #[error("{0}")]
    Format(String),
    /// What is wrong with one of its layers.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Self::Format(why)
    }
}

impl Fault {
    fn of_file(self, path: &Path) -> ImportError {
        let path = path.into();
        match self {
            Self::Format(why) => ImportError::Format { path, why },
            Self::Layer(source) => ImportError::Layer { path, source },
        }
    }
}

/// Names that [`read`] knows end in one of these.
pub const EXTENSIONS: [&str; 5] = ["onnx", "tflite", "h5", "hdf5", "keras"];

/// What a model file's name ends in, by which its kind is told, in lower case.
pub fn extension(path: &Path) -> String {
    path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase()
}

/// Reads the network in a file, by what the file's name ends in, see [`EXTENSIONS`]. `side` is that
/// of its pictures in pixels, where the file leaves height and width open.
///
/// # Errors
///
/// If the file can't be read, is no whole file of its kind, or has a layer that is not understood.
pub fn read(path: &Path, side: Option<usize>) -> Result<Layers, ImportError> {
    // One line for each kind of file.
    let parse: fn(&[u8], Option<usize>) -> Result<Layers, Fault> = match &extension(path)[..] {
        "onnx" => onnx::parse,
        // These files always tell.
        "tflite" => |bytes, _| tflite::parse(bytes),
        "h5" | "hdf5" | "keras" => keras::parse,
        _ => {
            let known = EXTENSIONS.join(", .");
            let why = format!(
                "its name must end in .safetensors, .{known}; export the network as one of these"
            );
            return Err(ImportError::Format { path: path.into(), why });
        }
    };
    let bytes = read_bytes(path).map_err(|source| ImportError::Io { path: path.into(), source })?;
    parse(&bytes, side).map_err(|fault| fault.of_file(path))
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_LEN + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_LEN {
        let limit = MAX_FILE_LEN >> 20;
        return Err(io::Error::other(format!("it is longer than {limit} MiB; take a smaller one")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(path: &Path) -> String {
        read(path, None).unwrap_err().to_string()
    }

    #[test]
    fn a_file_that_is_no_model_is_refused_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["a.onnx", "b.TFLITE", "d.h5", "e.keras", "f.hdf5"] {
            std::fs::write(at(name), b"not a model at all").unwrap();
            let error = error_of(&at(name));
            assert!(error.starts_with("can't import") && error.contains(name), "{error}");
        }
        let error = error_of(&at("c.pt"));
        assert!(error.contains("c.pt") && error.contains(".onnx, .tflite"), "{error}");
        let error = error_of(&at("missing.onnx"));
        assert!(error.starts_with("can't read model") && error.contains("missing.onnx"), "{error}");
    }
}
