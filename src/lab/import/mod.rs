//! Networks that other frameworks trained, as [`Layers`](super::float::Layers).

use std::path::PathBuf;

use super::float::LayerError;

pub mod keras;

/// Why a model could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file could not be read.
    #[error("model {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is damaged, or no such model.
    #[error("model {}: {why}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// One of its layers can't be used.
    #[error("model {}: {source}", path.display())]
    Layer {
        /// The file.
        path: PathBuf,
        /// Which one, and why.
        source: LayerError,
    },
}
