//! The host's workshop: from labelled pictures to the int8 file a kiosk carries.
//!
//! In the order of use: [`network`] defines the family, [`checkpoint`] keeps its weights.

pub mod augment;
pub mod checkpoint;
pub mod dataset;
pub mod evaluate;
pub mod executor;
pub mod framing;
pub mod kernels;
pub mod loss;
pub mod network;
pub mod optimizer;
pub mod samples;
pub mod train;
