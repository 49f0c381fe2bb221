//! A trained float network of any source, in the form that pruning and quantization work on.
//!
//! A reader describes what its file holds as [`Layers`]: operations as frameworks have them, each
//! checked as it is added. [`lower`] turns these into a [`FloatGraph`] of what an int8 file may
//! hold: convolutions, depthwise convolutions, max pools, additions and concatenations. It computes
//! the same function: batch norm is folded away, zero padding and flattening go into the
//! convolutions' windows, averages become convolutions, a softmax at the end goes.

mod family;
pub mod graph;
pub mod layers;
pub mod lower;
pub mod run;

pub use crate::engine::window::{self, Activation, Padding, Window};
pub use graph::{FloatGraph, Kernel, Node, Op};
pub use layers::{Layer, LayerError, Layers};
pub use lower::lower;
