//! The only preprocessing: the same functions serve training, evaluation and the device.

use ndarray::{Array2, ArrayView2};

use super::FACE_SIDE;

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
