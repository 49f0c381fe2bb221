//! Names of what the program carries inside itself.

use std::borrow::Cow;

use mien::bundled;
use mien::camera::replay::Replay;

/// Name of the network in errors and in the journal.
pub const MODEL_NAME: &str = "mien-slim";

/// Rate the clip was made for, frames a second.
pub const CLIP_FPS: f32 = 10.0;
/// Name of the clip in errors and in the journal.
pub const CLIP_NAME: &str = "bundled clip";

/// The bundled clip at `fps` frames a second.
pub fn clip(fps: f32) -> Replay {
    Replay::from_mjpeg_bytes(CLIP_NAME, Cow::Owned(bundled::clip()), fps)
}
