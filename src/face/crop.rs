//! The only preprocessing: the same functions serve training, evaluation and the device.

use ndarray::{Array2, ArrayView2};

use super::FACE_SIDE;
use crate::image::{self, Grey, Rect};

/// How a picture frames its face: a square, relative to the detector's box, in sides of that box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Framing {
    /// The picture's side.
    pub side: f32,
    /// From the box's centre to the picture's, to the right.
    pub right: f32,
    /// From the box's centre to the picture's, downwards.
    pub down: f32,
}

impl Framing {
    /// The square that frames so the face in a detector's box.
    pub fn around(&self, detection: Rect) -> Rect {
        let unit = detection.w.max(detection.h);
        let (x, y) = detection.centre();
        let side = self.side * unit;
        Rect {
            x: x + self.right * unit - side / 2.0,
            y: y + self.down * unit - side / 2.0,
            w: side,
            h: side,
        }
    }
}

/// FER2013's framing, which the network is trained with: medians over its Training pictures
/// (`mien-lab framing`).
pub const TRAINING_FRAMING: Framing = Framing { side: 1.103, right: 0.0, down: 0.0 };

/// The part of a FairFace picture that is framed as FER2013's are, in sides of the picture
/// (`mien-lab framing`).
pub const FAIRFACE_FRAME: Rect = Rect { x: 0.007, y: -0.058, w: 0.979, h: 0.979 };

/// Cuts the face in a detector's box out of its frame, at the training framing: 48×48.
///
/// Where the square reaches over the frame's edge, the edge pixels go on.
pub fn crop(frame: &Grey, detection: Rect) -> Grey {
    image::resample(frame, TRAINING_FRAMING.around(detection), FACE_SIDE, FACE_SIDE)
}

/// Takes a picture that already is a cut-out face, framed as in training: 48×48.
pub fn whole_face(face: &Grey) -> Grey {
    image::resize(face, FACE_SIDE, FACE_SIDE)
}

/// Cuts a FairFace picture to the training framing: 48×48.
pub fn reframe_fairface(face: &Grey) -> Grey {
    let (height, width) = face.dim();
    let frame = FAIRFACE_FRAME.scaled(width as f32, height as f32);
    image::resample(face, frame, FACE_SIDE, FACE_SIDE)
}

/// Added to the standard deviation (of 0…255 pixels), so that a flat picture's noise is not
/// blown up to full contrast.
const DEVIATION_FLOOR: f32 = 8.0;

/// Per-picture standardization: zero mean, about unit deviation, `(p - mean) / (deviation + 8)`.
pub fn standardize(face: ArrayView2<u8>) -> Array2<f32> {
    debug_assert_eq!(face.dim(), (FACE_SIDE, FACE_SIDE));
    let n = face.len() as f32;
    let (sum, squares) = face.iter().fold((0u64, 0u64), |(sum, squares), &p| {
        (sum + u64::from(p), squares + u64::from(p) * u64::from(p))
    });
    let mean = sum as f32 / n;
    let deviation = (squares as f32 / n - mean * mean).max(0.0).sqrt();
    face.map(|&p| (f32::from(p) - mean) / (deviation + DEVIATION_FLOOR))
}
