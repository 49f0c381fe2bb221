//! What a kiosk is about, as its LEDs and its supervisor tell.

/// What it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Its source has not shown yet whether it gives frames.
    Starting,
    /// It looks for faces.
    Watching,
    /// It is too dark to.
    Night,
    /// Its camera gives no frames and is being opened again.
    CameraLost,
    /// Somebody wants it to look at nothing.
    Paused,
}

impl Condition {
    /// In a few words.
    pub fn text(self) -> &'static str {
        match self {
            Condition::Starting => "waiting for the first frame",
            Condition::Watching => "watching",
            Condition::Night => "too dark to look for faces",
            Condition::CameraLost => "no camera, opening it again",
            Condition::Paused => "paused",
        }
    }
}
