//! Ways to prepare a face that were weighed against the one that the device has
//! ([`crate::face::normalization::standardize`] at FER2013's own frame), by `models/compare.sh`. A network
//! trained in another way is for comparing only: it can't be quantized.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::face::FACE_SIDE;
use crate::face::normalization::standardize;
use crate::image::{self, Grey, Rect};

/// What is done to a picture's contrast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Contrast {
    /// Zero mean and unit deviation by picture: what the device does.
    #[default]
    Standardized,
    /// The histogram is flattened first.
    Equalized,
    /// Nothing: `(p − 128) / 64`.
    Plain,
}

/// How faces are prepared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Preprocessing {
    /// What is done to the contrast.
    pub contrast: Contrast,
    /// Side of the square taken of the middle of the picture, in sides of the picture: below 1
    /// frames the face more tightly, above 1 more loosely (the edge pixels go on).
    pub frame_side: f32,
}

impl Default for Preprocessing {
    fn default() -> Self {
        Self { contrast: Contrast::default(), frame_side: 1.0 }
    }
}

impl Preprocessing {
    /// What is wrong with the settings, if anything is.
    pub fn fault(&self) -> Option<String> {
        let side = self.frame_side;
        (!(0.25..=4.0).contains(&side)).then(|| format!("frame_side {side} is not 0.25 to 4"))
    }

    /// Prepares a 48×48 face: [48, 48], about zero mean and unit deviation.
    pub fn prepare(&self, face: &Grey) -> Array2<f32> {
        let framed = if self.frame_side == 1.0 { face.clone() } else { self.frame(face) };
        match self.contrast {
            Contrast::Standardized => standardize(framed.view()),
            Contrast::Equalized => standardize(equalized(&framed).view()),
            Contrast::Plain => framed.map(|p| (f32::from(*p) - 128.0) / 64.0),
        }
    }

    fn frame(&self, face: &Grey) -> Grey {
        let side = self.frame_side * FACE_SIDE as f32;
        let corner = (FACE_SIDE as f32 - side) / 2.0;
        let square = Rect { x: corner, y: corner, w: side, h: side };
        image::resample(face, square, FACE_SIDE, FACE_SIDE)
    }
}

/// Each pixel becomes the share of pixels that are darker or, by half, alike, of 255.
fn equalized(face: &Grey) -> Grey {
    let mut counts = [0usize; 256];
    face.iter().for_each(|p| counts[usize::from(*p)] += 1);
    let mut darker = 0;
    let levels = counts.map(|count| {
        let middle = darker + count / 2;
        darker += count;
        (255 * middle / face.len()) as u8
    });
    face.map(|p| levels[usize::from(*p)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face() -> Grey {
        Grey::from_shape_fn((FACE_SIDE, FACE_SIDE), |(y, x)| (x * x / 12 + y) as u8)
    }

    #[test]
    fn the_default_is_what_the_device_does() {
        assert_eq!(Preprocessing::default().prepare(&face()), standardize(face().view()));
    }

    #[test]
    fn an_equalized_histogram_is_flat() {
        let equal = equalized(&face());
        let below = |level: u8| equal.iter().filter(|p| **p < level).count() as f32 / 2304.0;
        for level in [64, 128, 192] {
            assert!((below(level) - f32::from(level) / 256.0).abs() < 0.03, "{level}");
        }
    }

    #[test]
    fn a_tighter_frame_shows_the_middle_larger() {
        let mut dot = Grey::from_elem((FACE_SIDE, FACE_SIDE), 0);
        dot.slice_mut(ndarray::s![20..28, 20..28]).fill(255);
        let bright = |frame_side| {
            let preprocessing = Preprocessing { contrast: Contrast::Plain, frame_side };
            preprocessing.prepare(&dot).iter().filter(|v| **v > 0.0).count()
        };
        assert_eq!(bright(1.0), 64);
        assert!((230..=280).contains(&bright(0.5)), "{}", bright(0.5));
        assert!((12..=20).contains(&bright(2.0)), "{}", bright(2.0));
    }

    #[test]
    fn settings_out_of_range_are_told() {
        assert_eq!(Preprocessing::default().fault(), None);
        let none = Preprocessing { frame_side: 0.0, ..Default::default() };
        assert!(none.fault().unwrap().contains("frame_side 0"));
    }
}
