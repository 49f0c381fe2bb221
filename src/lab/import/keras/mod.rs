//! Keras models: `.h5` of Keras 2 (or of Keras 3, as it still writes them), `.keras` of either.
//!
//! A container ([`container`]) holds a description as JSON and the weights as HDF5. The description
//! is a list or a graph of layers ([`model`]); each layer ([`layer`], by [`config`]) asks for its
//! weights by name or place ([`weights`]).
//!
//! Sizes are checked before memory is asked for, so that a damaged or forged file is refused.

mod config;
mod container;
mod layer;
mod model;
mod weights;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::super::float::{LayerError, Layers};
use super::ImportError;
use container::Container;

/// Largest file, and most bytes that one unpacks to.
const MAX_LEN: usize = 256 << 20;

/// What is wrong with a model, whatever file it is in.
#[derive(Debug)]
enum Fault {
    /// With the file.
    Format(String),
    /// With a layer.
    Layer(LayerError),
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Self::Format(why)
    }
}

impl From<LayerError> for Fault {
    fn from(error: LayerError) -> Self {
        Self::Layer(error)
    }
}

/// Reads a model with its weights. Its input is one picture of fixed height, width and channels
/// (`channels_last`).
///
/// Fails if the file can't be read, is damaged or larger than 256 MiB, or if a layer can't be used:
/// the error names it and says what to do.
pub fn read(path: &Path) -> Result<Layers, ImportError> {
    let bytes = content(path).map_err(|source| ImportError::Io { path: path.into(), source })?;
    of_bytes(bytes).map_err(|fault| match fault {
        Fault::Format(why) => ImportError::Format { path: path.into(), why },
        Fault::Layer(source) => ImportError::Layer { path: path.into(), source },
    })
}

fn content(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_LEN as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn of_bytes(bytes: Vec<u8>) -> Result<Layers, Fault> {
    if bytes.len() > MAX_LEN {
        return Err(Fault::Format(format!("it is larger than {} MiB", MAX_LEN >> 20)));
    }
    let Container { description, weights } = Container::open(bytes)?;
    model::read(&description, &weights)
}
