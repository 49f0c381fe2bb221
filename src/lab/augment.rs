//! Random views of a training face: flip, turn, scale, shift, brightness and contrast, cutout.

use ndarray::ArrayView2;
use rand::RngExt;
use rand_pcg::Pcg64;

use crate::face::FACE_SIDE;

/// Greatest changes that [`augment`] draws, each uniformly from −max to +max.
mod limits {
    /// Turn in radians (14°).
    pub const TURN: f32 = 0.25;
    /// Change of scale.
    pub const SCALE: f32 = 0.15;
    /// Shift along each axis in pixels.
    pub const SHIFT_PX: f32 = 3.0;
    /// Change of contrast (a factor less one) of the standardized picture.
    pub const CONTRAST: f32 = 0.2;
    /// Change of brightness in standard deviations.
    pub const BRIGHTNESS: f32 = 0.2;
    /// Share of pictures with a square cut out.
    pub const CUTOUT_SHARE: f32 = 0.3;
    /// Sides of the square, in pixels.
    pub const CUTOUT_SIDE_PX: std::ops::RangeInclusive<usize> = 6..=14;
}

/// Writes a random view of the standardized `face` [48, 48] to `view` (row-major). Samples are
/// bilinear; outside the face its edge goes on.
pub fn augment(face: ArrayView2<f32>, rng: &mut Pcg64, view: &mut [f32]) {
    let mut within = |max: f32| rng.random_range(-max..=max);
    let turn = within(limits::TURN);
    let scale = 1.0 + within(limits::SCALE);
    let shift = [within(limits::SHIFT_PX), within(limits::SHIFT_PX)];
    let contrast = 1.0 + within(limits::CONTRAST);
    let brightness = within(limits::BRIGHTNESS);
    let flip = if rng.random::<bool>() { -1.0 } else { 1.0 };

    let center = (FACE_SIDE - 1) as f32 / 2.0;
    let (sin, cos) = (turn.sin() * scale, turn.cos() * scale);
    for y in 0..FACE_SIDE {
        for x in 0..FACE_SIDE {
            let (dx, dy) = ((x as f32 - center) * flip, y as f32 - center);
            let from_x = center + shift[0] + cos * dx - sin * dy;
            let from_y = center + shift[1] + sin * dx + cos * dy;
            view[y * FACE_SIDE + x] = contrast * bilinear(face, from_x, from_y) + brightness;
        }
    }
    if rng.random::<f32>() < limits::CUTOUT_SHARE {
        cut_out(rng, view);
    }
}

/// Sets a random square to zero, the standardized mean.
fn cut_out(rng: &mut Pcg64, view: &mut [f32]) {
    let side = rng.random_range(limits::CUTOUT_SIDE_PX);
    let (top, left) =
        (rng.random_range(0..=FACE_SIDE - side), rng.random_range(0..=FACE_SIDE - side));
    for row in view.chunks_exact_mut(FACE_SIDE).skip(top).take(side) {
        row[left..left + side].fill(0.0);
    }
}

fn bilinear(face: ArrayView2<f32>, x: f32, y: f32) -> f32 {
    let last = (FACE_SIDE - 1) as f32;
    let (x, y) = (x.clamp(0.0, last), y.clamp(0.0, last));
    let (left, top) = (x as usize, y as usize);
    let (right, bottom) = ((left + 1).min(FACE_SIDE - 1), (top + 1).min(FACE_SIDE - 1));
    let (fx, fy) = (x - left as f32, y - top as f32);
    let upper = face[[top, left]] + fx * (face[[top, right]] - face[[top, left]]);
    let lower = face[[bottom, left]] + fx * (face[[bottom, right]] - face[[bottom, left]]);
    upper + fy * (lower - upper)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use rand::SeedableRng;

    #[test]
    fn a_view_is_repeatable_and_close_to_its_face() {
        let face = Array2::from_shape_fn((FACE_SIDE, FACE_SIDE), |(y, _)| y as f32 / 24.0 - 1.0);
        let draw = |seed| {
            let mut view = vec![0.0; FACE_SIDE * FACE_SIDE];
            augment(face.view(), &mut Pcg64::seed_from_u64(seed), &mut view);
            view
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        for seed in 0..50 {
            let view = draw(seed);
            let mean = |rows: &[f32]| rows.iter().sum::<f32>() / rows.len() as f32;
            let (upper, lower) = view.split_at(view.len() / 2);
            assert!(mean(upper) < mean(lower), "seed {seed} turned the face upside down");
        }
    }
}
