//! The host's workshop: from labelled pictures to the int8 file a kiosk carries.
//!
//! In the order of use: [`network`] defines the family, [`checkpoint`] keeps its weights.

pub mod checkpoint;
pub mod dataset;
pub mod executor;
pub mod framing;
pub mod kernels;
pub mod network;
pub mod quantize;
pub mod reference;
pub mod tflite;
