//! From a frame to faces: [`detector`] finds them, [`crop`] cuts them out at the framing the
//! network was trained with, [`normalization`] makes them its numbers, [`tracker`] follows them and smooths what they show.

pub mod crop;
pub mod detector;
pub mod normalization;
pub mod tracker;

/// Side in pixels of FER2013's square pictures, and of what this project's networks read.
pub const FACE_SIDE: usize = 48;
