//! Where frames come from: [`Camera`], and its implementations.

pub mod controls;
pub mod devices;
pub mod mjpeg;
pub mod pace;
pub mod quality;
pub mod replay;
#[cfg(feature = "v4l")]
pub mod v4l;
pub mod view;

use std::path::PathBuf;
use std::time::Duration;

use crate::image::Grey;

/// One picture of the source.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Counts the source's frames from 0; a frame that was broken or dropped leaves a gap.
    pub sequence: u64,
    /// Time since the source started: a camera's monotonic clock, a replay's nominal rate.
    pub time: Duration,
    /// Time spent decoding it to grey.
    pub decode_time: Duration,
    /// The picture.
    pub image: Grey,
}

/// A source of frames.
pub trait Camera: Send {
    /// Waits for the next frame; `None` at the end of a replay.
    ///
    /// After [`CameraError::BrokenFrame`] the next call goes on with the frame after it; after any
    /// other error the source must be opened again.
    fn next_frame(&mut self) -> Result<Option<Frame>, CameraError>;
}

/// Why a source gave no frame.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// The source can't be opened.
    #[error("can't open {}: {why}", source_name.display())]
    Open { source_name: PathBuf, why: String },
    /// One frame could not be decoded; the source goes on.
    #[error("{}: frame {sequence} is broken: {why}", source_name.display())]
    BrokenFrame { source_name: PathBuf, sequence: u64, why: String },
    /// The source failed for good.
    #[error("{}: {why}", source_name.display())]
    Lost { source_name: PathBuf, why: String },
}
