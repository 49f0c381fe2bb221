//! Stands in for CUDA in a build without feature `cuda`.

use super::{DeviceError, Passes};
use crate::lab::network::Graph;

/// Says how to get a build that can use a GPU.
pub fn find() -> Result<(), DeviceError> {
    Err(DeviceError::NotBuilt)
}

/// As [`find`] says, there is none.
pub fn passes(_: Graph) -> Result<Box<dyn Passes>, DeviceError> {
    Err(DeviceError::NotBuilt)
}
