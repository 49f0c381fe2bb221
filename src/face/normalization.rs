//! From a face's pixels to the numbers that a network reads.

use std::fmt;
use std::str::FromStr;

use ndarray::{Array2, ArrayView2};

/// How a network's pictures are normalized.
///
/// In text, as in a model's metadata: `standardized`, or `MEAN/DEVIATION` in pixels of 0 to 255,
/// each one number or one a channel, as `127.5/127.5` or `124,116,104/58,57,57`. Also read are
/// `0..1`, `-1..1` and `0..255`.
#[derive(Clone, Debug, PartialEq)]
pub enum Normalization {
    /// Each picture by its own mean and deviation: [`standardize`].
    Standardized,
    /// `(pixel − mean) / deviation` by channel, or by one pair for all channels.
    Fixed(Vec<[f32; 2]>),
}

/// A text that names no normalization.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is none of {}", Normalization::FORMS)]
pub struct NormalizationError {
    text: String,
}

/// Greatest value of a pixel.
const WHITE: f32 = 255.0;

impl Normalization {
    /// What its text may be.
    pub const FORMS: &str = "standardized, 0..1, -1..1, 0..255, or MEAN/DEVIATION in pixels";

    /// Whether it says how to normalize pictures of so many channels.
    pub fn fits(&self, channels: usize) -> bool {
        match self {
            Self::Standardized => true,
            Self::Fixed(by_channel) => [1, channels].contains(&by_channel.len()),
        }
    }

    /// The numbers that stand for a grey picture, [height, width, channels]: all channels show the
    /// same.
    pub fn apply(&self, face: ArrayView2<u8>, channels: usize) -> Vec<f32> {
        match self {
            Self::Standardized => {
                let values = standardize(face).into_iter();
                values.flat_map(|value| std::iter::repeat_n(value, channels)).collect()
            }
            Self::Fixed(by_channel) => {
                let of_pixel = |&pixel: &u8| {
                    let by_channel = by_channel.iter().cycle().take(channels);
                    by_channel.map(move |[mean, deviation]| (f32::from(pixel) - mean) / deviation)
                };
                face.iter().flat_map(of_pixel).collect()
            }
        }
    }

    /// The least and the greatest number it may give.
    pub fn bounds(&self) -> [f32; 2] {
        match self {
            Self::Standardized => [-128.0, 127.0].map(|steps| steps * INPUT_STEP),
            Self::Fixed(by_channel) => {
                let ends = by_channel
                    .iter()
                    .map(|[mean, deviation]| [-mean / deviation, (WHITE - mean) / deviation]);
                ends.fold([f32::INFINITY, f32::NEG_INFINITY], |[min, max], [low, high]| {
                    [min.min(low), max.max(high)]
                })
            }
        }
    }
}

impl FromStr for Normalization {
    type Err = NormalizationError;

    fn from_str(text: &str) -> Result<Self, NormalizationError> {
        let numbers = |list: &str| -> Option<Vec<f32>> {
            list.split(',').map(|number| number.trim().parse().ok()).collect()
        };
        let fixed = |text: &str| {
            let (means, deviations) = text.split_once('/')?;
            let (means, deviations) = (numbers(means)?, numbers(deviations)?);
            let usable = means.len() == deviations.len()
                && means.iter().all(|mean| mean.is_finite())
                && deviations.iter().all(|deviation| deviation.is_normal() && *deviation > 0.0);
            let pairs = means.into_iter().zip(deviations);
            usable.then(|| Self::Fixed(pairs.map(|(mean, deviation)| [mean, deviation]).collect()))
        };
        let known = match text.trim() {
            "standardized" => Some(Self::Standardized),
            "0..1" => fixed("0/255"),
            "-1..1" => fixed("127.5/127.5"),
            "0..255" => fixed("0/1"),
            text => fixed(text),
        };
        known.ok_or_else(|| NormalizationError { text: text.into() })
    }
}

impl fmt::Display for Normalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standardized => f.write_str("standardized"),
            Self::Fixed(by_channel) => {
                let list = |part: usize| -> String {
                    let numbers = by_channel.iter().map(|pair| pair[part].to_string());
                    numbers.collect::<Vec<_>>().join(",")
                };
                write!(f, "{}/{}", list(0), list(1))
            }
        }
    }
}

/// Added to the standard deviation (of 0…255 pixels), so that a flat picture's noise is not
/// blown up to full contrast.
const DEVIATION_FLOOR: f32 = 8.0;

/// Step of a standardized picture's values, in standard deviations: they fill 8 bits, −4 to 4, and
/// are the int8 network's input codes. Float networks see the same values, so that nothing is
/// rounded twice.
const INPUT_STEP: f32 = 1.0 / 32.0;

/// Per-picture standardization: zero mean, about unit deviation, `(p - mean) / (deviation + 8)`,
/// to the nearest multiple of 1/32 from -128 to 127 of them.
pub fn standardize(face: ArrayView2<u8>) -> Array2<f32> {
    let n = face.len() as f32;
    let (sum, squares) = face.iter().fold((0u64, 0u64), |(sum, squares), &p| {
        (sum + u64::from(p), squares + u64::from(p) * u64::from(p))
    });
    let mean = sum as f32 / n;
    let deviation = (squares as f32 / n - mean * mean).max(0.0).sqrt();
    let steps_per_grey_level = 1.0 / ((deviation + DEVIATION_FLOOR) * INPUT_STEP);
    let steps = |p: &u8| ((f32::from(*p) - mean) * steps_per_grey_level).round_ties_even();
    face.map(|p| steps(p).clamp(-128.0, 127.0) * INPUT_STEP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Grey;

    #[test]
    fn a_flat_face_standardizes_to_zero_and_others_to_unit_deviation() {
        let flat = standardize(Grey::from_elem((48, 48), 77).view());
        assert!(flat.iter().all(|&v| v == 0.0));
        let face = Grey::from_shape_fn((48, 48), |(y, x)| ((x * 5 + y * 3) % 256) as u8);
        let face = standardize(face.view());
        let deviation = (face.iter().map(|v| v * v).sum::<f32>() / face.len() as f32).sqrt();
        assert!(face.mean().unwrap().abs() < 1e-3 && (0.85..1.0).contains(&deviation));
    }

    #[test]
    fn fixed_normalization_is_by_channel() {
        let face = Grey::from_shape_vec((1, 2), vec![0, 255]).unwrap();
        let apply = |text: &str, channels| {
            text.parse::<Normalization>().unwrap().apply(face.view(), channels)
        };
        assert_eq!(apply("0..1", 1), [0.0, 1.0]);
        assert_eq!(apply("-1..1", 3), [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]);
        assert_eq!(apply("5,55,105/10,20,50", 3), [-0.5, -2.75, -2.1, 25.0, 10.0, 3.0]);
        assert_eq!(apply("standardized", 2)[..2], [-0.9375; 2], "both channels the same");
        let bounds = |text: &str| text.parse::<Normalization>().unwrap().bounds();
        assert_eq!(bounds("5,55,105/10,20,50"), [-2.75, 25.0]);
        assert_eq!(bounds("standardized"), [-4.0, 3.96875]);
    }

    #[test]
    fn its_text_is_read_again_and_nonsense_is_not() {
        for text in ["standardized", "127.5/127.5", "0/255", "5,55,105/10,20,50"] {
            let normalization: Normalization = text.parse().unwrap();
            assert_eq!(normalization.to_string(), text);
        }
        for text in ["", "1", "1/0", "1/-1", "1,2/3", "nan/1", "0/inf", "0..2", "/", "a/b"] {
            let error = text.parse::<Normalization>().unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("-1..1"), "{error}");
        }
        let three: Normalization = "1,2,3/1,2,3".parse().unwrap();
        assert!(three.fits(3) && !three.fits(1));
    }
}
