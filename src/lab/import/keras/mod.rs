//! Keras models: `.h5` of Keras 2 (or of Keras 3, as it still writes them), `.keras` of either.
//!
//! A container ([`container`]) holds a description as JSON and the weights as HDF5. The description
//! is a list or a graph of layers ([`model`]); each layer ([`layer`], by [`config`]) asks for its
//! weights by name or place ([`weights`]).
//!
//! Sizes are checked before memory is asked for, so that a damaged or forged file is refused.

mod config;
mod container;
mod hdf5;
mod layer;
mod model;
mod network;
mod weights;

use super::super::float::Layers;
use super::{Fault, MAX_FILE_LEN};
use container::Container;

/// Most bytes that a file unpacks to.
const MAX_LEN: usize = MAX_FILE_LEN as usize;

/// Reads a model with its weights. Its input is one picture of fixed height, width and channels
/// (`channels_last`).
///
/// # Errors
///
/// If the file is damaged, or a layer can't be used: the error names it and says what to do.
pub fn parse(bytes: &[u8], side: Option<usize>) -> Result<Layers, Fault> {
    let Container { description, weights } = Container::open(bytes.to_vec())?;
    model::read(&description, &weights, side)
}
