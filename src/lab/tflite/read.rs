//! Reads a file back: as the engine runs it, and as the network it holds.

use super::Int8Network;
use crate::engine::{self, Model, ModelError};

/// The model in a file's bytes and its network; `name` is what errors call it.
pub fn read(name: &str, bytes: &[u8]) -> Result<(Model, Int8Network), ModelError> {
    Ok((Model::from_bytes(name, bytes)?, engine::read::read(name, bytes)?.network))
}
