//! From a frame to faces: [`detector`] finds them, [`crop`] cuts them out at the framing the
//! network was trained with, [`tracker`] follows them and smooths what they show.

pub mod crop;
pub mod detector;
pub mod tracker;

/// Side in pixels of the square crop that the network reads, as in FER2013.
pub const FACE_SIDE: usize = 48;
