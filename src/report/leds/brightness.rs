//! How bright an expression's LED is, by how sure the answer is.

/// Steps of brightness: the eye tells few more apart, and a line is not set anew with every frame.
const STEPS: u8 = 16;
/// The least brightness of an LED that is lit, of the full one's, as the eye sees it.
const LEAST: f32 = 0.2;

/// A brightness in steps, 0 to [`STEPS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Brightness(u8);

impl Default for Brightness {
    /// The full one.
    fn default() -> Self {
        Self(STEPS)
    }
}

impl Brightness {
    /// By a share (0…1).
    pub(super) fn of_share(share: f32) -> Self {
        // What is no number is 0 as an integer.
        Self((share.clamp(0.0, 1.0) * f32::from(STEPS)).round() as u8)
    }

    /// The share of the time that the LED is to be lit. The eye sees its square root, nearly: half
    /// as bright takes a quarter of the light.
    pub(super) fn duty(self) -> f32 {
        let seen = LEAST + (1.0 - LEAST) * f32::from(self.0) / f32::from(STEPS);
        seen * seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_surer_answer_is_brighter_and_none_is_dark() {
        let duty = |share| Brightness::of_share(share).duty();
        assert_eq!(duty(1.0), 1.0);
        assert!((duty(0.0) - 0.04).abs() < 1e-6, "an LED that is lit can be seen");
        assert!((duty(0.5) - 0.36).abs() < 1e-6, "0.2 + 0.8 / 2, squared");
        let duties: Vec<f32> = (0..=16).map(|i| duty(i as f32 / 16.0)).collect();
        assert!(duties.is_sorted_by(|a, b| a < b), "{duties:?}");
        assert_eq!(duty(f32::NAN), duty(0.0));
        assert_eq!([duty(-1.0), duty(9.0)], [duty(0.0), 1.0]);
        assert_eq!(Brightness::of_share(0.70), Brightness::of_share(0.71), "one step");
    }
}
