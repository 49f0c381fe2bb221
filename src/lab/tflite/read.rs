//! Reads a file that the engine accepts back into the network it holds.

use super::Int8Network;
use crate::engine::{self, ModelError};

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

/// The network in a file's bytes; `name` is what errors call it.
pub fn read(name: &str, bytes: &[u8]) -> Result<Int8Network, ReadError> {
    let checked = engine::Model::from_bytes(name, bytes)?;
    engine::read::read(bytes, checked.into_metadata())
        .map_err(|part| ReadError::Unknown { name: name.into(), part })
}
