//! Resampling: the mean over each target pixel's area when shrinking, bilinear when growing.
//!
//! Separable, in f32 with fixed order of additions, so every machine gets the same pixels.

use ndarray::{Array1, Array2, s};

use super::{Grey, Rect};

/// Resizes a whole picture to `height` × `width`.
pub fn resize(picture: &Grey, height: usize, width: usize) -> Grey {
    if picture.dim() == (height, width) {
        return picture.clone();
    }
    let (h, w) = picture.dim();
    resample(picture, Rect { x: 0.0, y: 0.0, w: w as f32, h: h as f32 }, height, width)
}

/// Scales the part `region` of a picture to `height` × `width`. Outside of the picture its edge
/// pixels go on; an empty picture gives black.
///
/// Along each axis with a step of `s` source pixels per target pixel: for `s ≥ 1` the mean of the
/// `s` pixels under it, the outer ones by their share; for `s < 1` linear between the two nearest
/// pixel centres.
pub fn resample(picture: &Grey, region: Rect, height: usize, width: usize) -> Grey {
    let (source_height, source_width) = picture.dim();
    if picture.is_empty() {
        return Grey::zeros((height, width));
    }
    let rows = taps(region.y, region.h, height, source_height);
    let columns = taps(region.x, region.w, width, source_width);
    // Only the columns that some tap reads.
    let left = columns.iter().map(|t| t.first).min().unwrap_or(0);
    let right = columns.iter().map(|t| t.first + t.weights.len()).max().unwrap_or(0);
    let mut target = Array2::zeros((height, width));
    let mut row_mean = Array1::<f32>::zeros(right - left);
    for (tap, mut target_row) in rows.iter().zip(target.rows_mut()) {
        row_mean.fill(0.0);
        for (i, &weight) in tap.weights.iter().enumerate() {
            let source_row = picture.slice(s![tap.first + i, left..right]);
            for (mean, &p) in row_mean.iter_mut().zip(source_row) {
                *mean += weight * f32::from(p);
            }
        }
        for (tap, pixel) in columns.iter().zip(&mut target_row) {
            let source = row_mean.iter().skip(tap.first - left);
            let mean: f32 = tap.weights.iter().zip(source).map(|(w, p)| w * p).sum();
            *pixel = (mean + 0.5) as u8;
        }
    }
    target
}

/// The neighbouring source pixels that make one target pixel; the weights sum to 1.
struct Tap {
    first: usize,
    weights: Vec<f32>,
}

/// Taps along one axis, for `n` target pixels over `start..start + length` of `size` source
/// pixels.
fn taps(start: f32, length: f32, n: usize, size: usize) -> Vec<Tap> {
    let step = length / n as f32;
    let clamp = |i: f32| (i.max(0.0) as usize).min(size - 1);
    let tap = |i: usize| {
        let (low, high) = if step >= 1.0 {
            (start + i as f32 * step, start + (i + 1) as f32 * step)
        } else {
            // A window of one pixel around the target's centre weighs as bilinear does.
            let centre = start + (i as f32 + 0.5) * step;
            (centre - 0.5, centre + 0.5)
        };
        let (first, last) = (clamp(low.floor()), clamp(high.ceil() - 1.0));
        let mut weights = vec![0.0; last.max(first) - first + 1];
        for (j, weight) in weights.iter_mut().enumerate() {
            // The outermost pixels stand also for everything beyond the picture.
            let pixel = (first + j) as f32;
            let from = if first + j == 0 { low } else { low.max(pixel) };
            let to = if first + j == size - 1 { high } else { high.min(pixel + 1.0) };
            *weight = (to - from).max(0.0);
        }
        normalize(&mut weights);
        Tap { first, weights }
    };
    (0..n).map(tap).collect()
}

/// Makes the weights sum to 1; if rounding left them without any, the first takes all.
fn normalize(weights: &mut [f32]) {
    let sum: f32 = weights.iter().sum();
    if sum > 0.0 && sum.is_finite() {
        weights.iter_mut().for_each(|w| *w /= sum);
    } else {
        weights.fill(0.0);
        weights[0] = 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(height: usize, width: usize) -> Grey {
        Array2::from_shape_fn((height, width), |(y, x)| (x * 10 + y) as u8)
    }

    #[test]
    fn shrinking_takes_the_mean_of_the_area() {
        let small = resize(&ramp(4, 6), 2, 3);
        // Mean of columns (0, 10) and rows (0, 1) is 5.5, rounded up.
        assert_eq!(small, Array2::from_shape_vec((2, 3), vec![6, 26, 46, 8, 28, 48]).unwrap());
    }

    #[test]
    fn shrinking_by_a_fraction_shares_pixels() {
        let row = Array2::from_shape_vec((1, 3), vec![0, 90, 30]).unwrap();
        // Each of two target pixels covers 1.5: (0 + 90/2) / 1.5 and (90/2 + 30) / 1.5.
        assert_eq!(resize(&row, 1, 2), Array2::from_shape_vec((1, 2), vec![30, 50]).unwrap());
    }

    #[test]
    fn growing_is_bilinear_at_pixel_centres() {
        let row = Array2::from_shape_vec((1, 2), vec![0, 100]).unwrap();
        let wide = resize(&row, 1, 4);
        assert_eq!(wide, Array2::from_shape_vec((1, 4), vec![0, 25, 75, 100]).unwrap());
    }

    #[test]
    fn outside_the_picture_its_edge_goes_on() {
        let picture = ramp(3, 3);
        let region = Rect { x: -2.0, y: 1.0, w: 7.0, h: 1.0 };
        let row = resample(&picture, region, 1, 7);
        assert_eq!(row.as_slice().unwrap(), [1, 1, 1, 11, 21, 21, 21]);
        let far = resample(&picture, Rect { x: 50.0, y: -90.0, w: 9.0, h: 9.0 }, 2, 2);
        assert_eq!(far, Grey::from_elem((2, 2), 20));
    }

    #[test]
    fn a_flat_picture_stays_flat_at_every_size_and_region() {
        let picture = Grey::from_elem((11, 7), 201);
        for n in 1..40 {
            let region = Rect { x: n as f32 * 0.37 - 5.0, y: -3.3, w: n as f32 * 0.7, h: 13.1 };
            assert!(resample(&picture, region, n, 41 - n).iter().all(|&p| p == 201));
        }
    }

    #[test]
    fn degenerate_regions_do_not_panic() {
        for side in [0.0, -4.0, f32::NAN, f32::INFINITY, 1e30] {
            let region = Rect { x: side, y: side, w: side, h: side };
            assert_eq!(resample(&ramp(3, 3), region, 4, 4).dim(), (4, 4));
        }
        assert_eq!(resize(&Grey::zeros((0, 5)), 2, 2), Grey::zeros((2, 2)));
    }
}
