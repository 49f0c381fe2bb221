//! Mean faces: what hundreds of people show alike when they show one expression. A picture of
//! nobody, so it can be given away.

use ndarray::{Array1, Array2, ArrayView1, Axis, s};

use crate::face::normalization::standardize;
use crate::image::Grey;

/// Faces that make one mean: enough that nobody's features are left.
pub const FACES_IN_A_MEAN: usize = 200;
/// Rounds of choosing the faces nearest to the mean and averaging those.
const ROUNDS: usize = 3;
/// Shade and contrast (standard deviation) of the result in pixel values: a mean is flatter than
/// the faces it is made of.
const SHADE: f32 = 128.0;
const CONTRAST: f32 = 52.0;
/// How much of the detail finer than [`BLUR_PX`] is added to a mean.
const SHARPENING: f32 = 2.0;
const BLUR_PX: f32 = 1.5;

/// The mean of those [`FACES_IN_A_MEAN`] 48×48 faces that look most like the mean; `None` if
/// there are fewer.
///
/// Faces are standardized. A round averages the chosen faces (at first all) with their mirror
/// images, and chooses those that correlate best with the result. The last mean is sharpened.
pub fn mean_face<'a>(faces: impl Iterator<Item = &'a Grey>) -> Option<Grey> {
    let faces: Vec<Array2<f32>> = faces.map(|face| standardize(face.view())).collect();
    if faces.len() < FACES_IN_A_MEAN {
        return None;
    }
    let mut chosen: Vec<&Array2<f32>> = faces.iter().collect();
    for _ in 0..ROUNDS {
        let mean = symmetric_mean(&chosen);
        let mut ranked: Vec<(f32, &Array2<f32>)> =
            faces.iter().map(|face| (correlation(face, &mean), face)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        chosen = ranked[..FACES_IN_A_MEAN].iter().map(|&(_, face)| face).collect();
    }
    Some(to_grey(&sharpen(&symmetric_mean(&chosen))))
}

/// Unsharp masking: averaging blurs what does not lie at the same place in every face.
fn sharpen(face: &Array2<f32>) -> Array2<f32> {
    face + (face - &blur(face)) * SHARPENING
}

/// Gaussian blur of deviation [`BLUR_PX`]; outside the picture its edge goes on.
fn blur(face: &Array2<f32>) -> Array2<f32> {
    let reach = (3.0 * BLUR_PX).ceil() as isize;
    let weights: Vec<f32> =
        (-reach..=reach).map(|d| (-((d * d) as f32) / (2.0 * BLUR_PX * BLUR_PX)).exp()).collect();
    let sum: f32 = weights.iter().sum();
    let along = |lane: ArrayView1<f32>| -> Array1<f32> {
        let at = |i: isize| lane[i.clamp(0, lane.len() as isize - 1) as usize];
        let blurred = |i: isize| (-reach..=reach).zip(&weights).map(|(d, w)| at(i + d) * w).sum();
        (0..lane.len() as isize).map(|i| -> f32 { blurred(i) }).collect::<Array1<f32>>() / sum
    };
    let mut blurred = face.clone();
    for axis in [Axis(0), Axis(1)] {
        for mut lane in blurred.lanes_mut(axis) {
            let smooth = along(lane.view());
            lane.assign(&smooth);
        }
    }
    blurred
}

/// Mean of faces and their mirror images.
fn symmetric_mean(faces: &[&Array2<f32>]) -> Array2<f32> {
    let mut sum = Array2::zeros(faces[0].dim());
    faces.iter().for_each(|face| sum += *face);
    let mirrored = sum.slice(s![.., ..;-1]).to_owned();
    (sum + mirrored) / (2.0 * faces.len() as f32)
}

/// Pearson's correlation of two pictures.
fn correlation(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    let centred = |p: &Array2<f32>| -> Array1<f32> {
        let mean = p.sum() / p.len() as f32;
        p.iter().map(|v| v - mean).collect()
    };
    let (a, b) = (centred(a), centred(b));
    let norm = (a.dot(&a) * b.dot(&b)).sqrt();
    if norm > 0.0 { a.dot(&b) / norm } else { 0.0 }
}

fn to_grey(face: &Array2<f32>) -> Grey {
    let n = face.len() as f32;
    let mean = face.sum() / n;
    let deviation = (face.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt();
    let gain = if deviation > 0.0 { CONTRAST / deviation } else { 0.0 };
    face.map(|v| ((v - mean) * gain + SHADE).round() as u8) // `as` saturates
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bright disc at `x`, brighter than its ground by `contrast`.
    fn disc(x: f32, contrast: u8) -> Grey {
        Grey::from_shape_fn((48, 48), |(i, j)| {
            let (dy, dx) = (i as f32 - 23.5, j as f32 - x);
            if dx * dx + dy * dy < 100.0 { 60 + contrast } else { 60 }
        })
    }

    #[test]
    fn outliers_are_left_out_of_the_mean() {
        let typical = (0..500).map(|i| disc(23.5, 40 + (i % 100) as u8));
        let odd = (0..200).map(|_| disc(8.0, 150));
        let faces: Vec<Grey> = typical.chain(odd).collect();
        let mean = mean_face(faces.iter()).unwrap();
        assert_eq!(mean, mean_face(faces[..500].iter()).unwrap());
        assert!(mean[(24, 24)] > mean[(24, 4)] + 90);
    }

    #[test]
    fn a_few_faces_make_no_mean() {
        let faces = vec![disc(20.0, 90); FACES_IN_A_MEAN - 1];
        assert_eq!(mean_face(faces.iter()), None);
    }
}
