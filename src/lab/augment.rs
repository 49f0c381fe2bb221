//! Random views of a training face: flip, turn, scale, shift, brightness and contrast, cutout;
//! and mixup of two faces.

use ndarray::ArrayView2;
use rand::RngExt;
use rand_distr::{Beta, Distribution};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::face::FACE_SIDE;

/// Greatest changes that [`Augment::view`] draws, each uniformly from −max to +max; 0 (or false)
/// switches one off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Half of all views are mirrored.
    pub flip: bool,
    /// Turn in degrees.
    pub turn_deg: f32,
    /// Change of scale, as a share.
    pub scale: f32,
    /// Shift along each axis in pixels.
    pub shift_px: f32,
    /// Change of contrast (a factor less one) of the standardized picture.
    pub contrast: f32,
    /// Change of brightness in standard deviations.
    pub brightness: f32,
    /// Share of views with a square cut out (DeVries & Taylor 2017).
    pub cutout_share: f32,
    /// Least and greatest side of that square, in pixels.
    pub cutout_side_px: [usize; 2],
    /// Share of views that another face is mixed into (Zhang et al. 2018).
    pub mixup_share: f32,
    /// Both parameters of the beta distribution that the mixed-in share is drawn from.
    pub mixup_alpha: f32,
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            flip: true,
            turn_deg: 14.0,
            scale: 0.15,
            shift_px: 3.0,
            contrast: 0.2,
            brightness: 0.2,
            cutout_share: 0.3,
            cutout_side_px: [6, 14],
            mixup_share: 0.0,
            mixup_alpha: 0.3,
        }
    }
}

impl Augment {
    /// Every change switched off.
    pub fn none() -> Self {
        Self {
            flip: false,
            turn_deg: 0.0,
            scale: 0.0,
            shift_px: 0.0,
            contrast: 0.0,
            brightness: 0.0,
            cutout_share: 0.0,
            mixup_share: 0.0,
            ..Self::default()
        }
    }

    /// What is wrong with the settings, if anything is.
    pub fn fault(&self) -> Option<String> {
        let Self { cutout_side_px: [least, most], mixup_alpha, mixup_share, .. } = *self;
        if least > most || most > FACE_SIDE {
            return Some(format!(
                "cutout_side_px [{least}, {most}] is not [least, most] of a face"
            ));
        }
        let shares = [self.cutout_share, mixup_share];
        if let Some(share) = shares.into_iter().find(|share| !(0.0..=1.0).contains(share)) {
            return Some(format!("{share} is not a share from 0 to 1"));
        }
        if mixup_share > 0.0 && Beta::new(mixup_alpha, mixup_alpha).is_err() {
            return Some(format!("mixup_alpha {mixup_alpha} is not a number above 0"));
        }
        let amounts = [
            ("turn_deg", self.turn_deg, 180.0),
            ("scale", self.scale, 0.9),
            ("shift_px", self.shift_px, FACE_SIDE as f32),
            ("contrast", self.contrast, 1.0),
            ("brightness", self.brightness, 4.0),
        ];
        let bad = amounts.into_iter().find(|(_, amount, most)| !(0.0..=*most).contains(amount));
        bad.map(|(name, amount, most)| format!("{name} {amount} is not from 0 to {most}"))
    }

    /// Writes a random view of the standardized `face` [48, 48] to `view` (row-major). Samples
    /// are bilinear; outside the face its edge goes on.
    pub fn view(&self, face: ArrayView2<f32>, rng: &mut Pcg64, view: &mut [f32]) {
        let mut within = |max: f32| rng.random_range(-max..=max);
        let turn = within(self.turn_deg).to_radians();
        let scale = 1.0 + within(self.scale);
        let shift = [within(self.shift_px), within(self.shift_px)];
        let contrast = 1.0 + within(self.contrast);
        let brightness = within(self.brightness);
        let flip = if self.flip && rng.random::<bool>() { -1.0 } else { 1.0 };

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
        if rng.random::<f32>() < self.cutout_share {
            self.cut_out(rng, view);
        }
    }

    /// Sets a random square to zero, the standardized mean.
    fn cut_out(&self, rng: &mut Pcg64, view: &mut [f32]) {
        let [least, most] = self.cutout_side_px;
        let side = rng.random_range(least..=most);
        let (top, left) =
            (rng.random_range(0..=FACE_SIDE - side), rng.random_range(0..=FACE_SIDE - side));
        for row in view.chunks_exact_mut(FACE_SIDE).skip(top).take(side) {
            row[left..left + side].fill(0.0);
        }
    }

    /// Which of `count` faces to mix into another, and by what share; mostly none.
    pub fn draw_mix(&self, count: usize, rng: &mut Pcg64) -> Option<(usize, f32)> {
        if count < 2 || rng.random::<f32>() >= self.mixup_share {
            return None;
        }
        let beta = Beta::new(self.mixup_alpha, self.mixup_alpha).ok()?;
        let share: f32 = beta.sample(rng);
        // Of the two faces the mixed-in one has the smaller share.
        Some((rng.random_range(0..count), share.min(1.0 - share)))
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

    fn view(augment: &Augment, face: &Array2<f32>, seed: u64) -> Vec<f32> {
        let mut view = vec![0.0; FACE_SIDE * FACE_SIDE];
        augment.view(face.view(), &mut Pcg64::seed_from_u64(seed), &mut view);
        view
    }

    #[test]
    fn a_view_is_repeatable_and_close_to_its_face() {
        let face = Array2::from_shape_fn((FACE_SIDE, FACE_SIDE), |(y, _)| y as f32 / 24.0 - 1.0);
        let augment = Augment::default();
        assert_eq!(view(&augment, &face, 1), view(&augment, &face, 1));
        assert_ne!(view(&augment, &face, 1), view(&augment, &face, 2));
        for seed in 0..50 {
            let view = view(&augment, &face, seed);
            let mean = |rows: &[f32]| rows.iter().sum::<f32>() / rows.len() as f32;
            let (upper, lower) = view.split_at(view.len() / 2);
            assert!(mean(upper) < mean(lower), "seed {seed} turned the face upside down");
        }
    }

    /// Each switch alone changes the view; all off, the view is the face.
    #[test]
    fn each_change_has_its_switch() {
        let face = Array2::from_shape_fn((FACE_SIDE, FACE_SIDE), |(y, x)| {
            (x as f32 * 0.3).sin() + y as f32 / 40.0
        });
        let off = Augment::none();
        for seed in 0..20 {
            assert_eq!(view(&off, &face, seed), face.as_slice().unwrap());
        }
        let switches: [fn(&mut Augment); 7] = [
            |a| a.flip = true,
            |a| a.turn_deg = 10.0,
            |a| a.scale = 0.2,
            |a| a.shift_px = 3.0,
            |a| a.contrast = 0.2,
            |a| a.brightness = 0.2,
            |a| a.cutout_share = 1.0,
        ];
        for (i, switch) in switches.iter().enumerate() {
            let mut on = Augment::none();
            switch(&mut on);
            let changed = (0..20).any(|seed| view(&on, &face, seed) != face.as_slice().unwrap());
            assert!(changed, "switch {i}");
        }
    }

    #[test]
    fn faces_are_mixed_as_often_as_asked() {
        let mut rng = Pcg64::seed_from_u64(1);
        let augment = Augment { mixup_share: 0.4, ..Augment::none() };
        let mixes: Vec<_> = (0..2000).filter_map(|_| augment.draw_mix(10, &mut rng)).collect();
        assert!((700..900).contains(&mixes.len()), "{}", mixes.len());
        assert!(mixes.iter().all(|(partner, share)| *partner < 10 && *share <= 0.5));
        assert_eq!(Augment::none().draw_mix(10, &mut rng), None);
    }

    #[test]
    fn settings_that_cannot_be_drawn_from_are_told() {
        assert_eq!(Augment::default().fault(), None);
        let sides = Augment { cutout_side_px: [9, 8], ..Augment::default() };
        assert!(sides.fault().unwrap().contains("cutout_side_px"));
        let alpha = Augment { mixup_share: 0.1, mixup_alpha: 0.0, ..Augment::default() };
        assert!(alpha.fault().unwrap().contains("mixup_alpha"));
        assert!(Augment { mixup_share: f32::NAN, ..Augment::default() }.fault().is_some());
        assert!(Augment { turn_deg: -1.0, ..Augment::default() }.fault().is_some());
    }
}
