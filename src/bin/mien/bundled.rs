//! What the program carries inside itself.

use std::borrow::Cow;

use mien::camera::replay::Replay;

/// The int8 network; see its card in `models/`.
pub const MODEL: &[u8] = include_bytes!("../../../models/mien-slim.tflite");
/// Name of [`MODEL`] in errors and in the journal.
pub const MODEL_NAME: &str = "mien-slim";

/// Mean faces that move and change; `models/demo.toml` says what they show when.
/// Rate it was made for, frames a second.
pub const CLIP_FPS: f32 = 10.0;

const CLIP: &[u8] = include_bytes!("../../../models/demo.mjpeg");
/// Name of the clip in errors and in the journal.
pub const CLIP_NAME: &str = "bundled clip";

/// The bundled clip at `fps` frames a second.
pub fn clip(fps: f32) -> Replay {
    Replay::from_mjpeg_bytes(CLIP_NAME, Cow::Borrowed(CLIP), fps)
}
