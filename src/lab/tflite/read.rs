//! Reads a file back: as the engine runs it, and as the network it holds.

use super::Int8Network;
use crate::engine::{self, Model, ModelError};

/// Why a file's network can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The engine does not accept it.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// It holds something that this reader does not know.
    #[error("{name}: {part} can't be read")]
    Unknown { name: String, part: String },
}

/// The model in a file's bytes and its network; `name` is what errors call it.
pub fn read(name: &str, bytes: &[u8]) -> Result<(Model, Int8Network), ReadError> {
    let model = Model::from_bytes(name, bytes)?;
    let network = engine::read::read(bytes, model.all_metadata().clone())
        .map_err(|part| ReadError::Unknown { name: name.into(), part })?;
    Ok((model, network))
}
