//! Writes quantized networks as `.tflite` files, which tract-tflite and LiteRT run alike, and reads
//! them back.
//!
//! The flatbuffer follows TensorFlow Lite's public schema, version 3, through the tables that
//! tract-tflite generated from it. Int8 rules: weights symmetric with one scale per output
//! channel, biases int32 with scale `input · weight`, activations with one scale per tensor.

pub mod codes;
mod read;
mod write;

pub use read::read;
pub use write::write;

pub use crate::engine::network::{Filter, Int8Network, Int8Op, Step, Value};
