//! Grey pictures, 8 bits a pixel, row-major `[height, width]`: decode, resample.

mod decode;
pub(crate) mod jpeg;
mod resample;

use ndarray::Array2;
use serde::Serialize;

pub use decode::{ImageError, decode, read};
pub use resample::{resample, resize};

/// A grey picture, `[height, width]`, 0 black to 255 white.
pub type Grey = Array2<u8>;

/// An axis-aligned rectangle in pixels of its picture; it may reach over the picture's edge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rect {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

impl Rect {
    /// Area in square pixels.
    pub fn area(&self) -> f32 {
        self.w.max(0.0) * self.h.max(0.0)
    }

    /// Its middle, `(x, y)`.
    pub fn centre(&self) -> (f32, f32) {
        (self.x + self.w / 2.0, self.y + self.h / 2.0)
    }

    /// The same rectangle in a picture scaled by `(fx, fy)`.
    pub fn scaled(&self, fx: f32, fy: f32) -> Rect {
        Rect { x: self.x * fx, y: self.y * fy, w: self.w * fx, h: self.h * fy }
    }

    /// Intersection over union with another rectangle, 0 (apart) to 1 (the same).
    pub fn iou(&self, other: &Rect) -> f32 {
        let w = (self.x + self.w).min(other.x + other.w) - self.x.max(other.x);
        let h = (self.y + self.h).min(other.y + other.h) - self.y.max(other.y);
        let intersection = w.max(0.0) * h.max(0.0);
        let union = self.area() + other.area() - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    }
}
