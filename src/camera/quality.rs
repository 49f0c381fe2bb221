//! How good a camera's pictures are for reading faces: light and focus.

use crate::image::Grey;

/// What a picture is like, all in grey levels (0…255).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Mean level.
    pub brightness: f32,
    /// Standard deviation of the levels.
    pub contrast: f32,
    /// Standard deviation of the Laplacian, high where edges are sharp (Pech-Pacheco et al. 2000).
    pub sharpness: f32,
}

impl Quality {
    /// Means below which a picture is dark, or above which it is too bright.
    const BRIGHTNESS: [f32; 2] = [40.0, 215.0];
    const MIN_CONTRAST: f32 = 15.0;
    const MIN_SHARPNESS: f32 = 3.0;

    /// Of a picture of at least 3 × 3 pixels; all zeros of a smaller one.
    pub fn of(picture: &Grey) -> Self {
        let (brightness, contrast) =
            mean_and_deviation(picture.iter().map(|&level| f32::from(level)));
        let level = |y: usize, x: usize| f32::from(picture[[y, x]]);
        let (height, width) = picture.dim();
        let inside =
            (1..height.max(2) - 1).flat_map(|y| (1..width.max(2) - 1).map(move |x| (y, x)));
        let laplacian = inside.map(|(y, x)| {
            level(y - 1, x) + level(y + 1, x) + level(y, x - 1) + level(y, x + 1)
                - 4.0 * level(y, x)
        });
        let (_, sharpness) = mean_and_deviation(laplacian);
        Self { brightness, contrast, sharpness }
    }

    /// What to do about it; none if it is good enough.
    pub fn advice(&self) -> Option<&'static str> {
        let [dark, bright] = Self::BRIGHTNESS;
        if self.brightness < dark {
            Some("it is dark: more light, or a longer exposure")
        } else if self.brightness > bright {
            Some("it is too bright: turn it away from the window, or expose shorter")
        } else if self.contrast < Self::MIN_CONTRAST {
            Some("it has little contrast: is the lens covered or misted over?")
        } else if self.sharpness < Self::MIN_SHARPNESS {
            Some("it is blurred: clean the lens and focus")
        } else {
            None
        }
    }
}

/// Zeros of nothing.
fn mean_and_deviation(values: impl Iterator<Item = f32>) -> (f32, f32) {
    let (mut count, mut sum, mut squares) = (0_u32, 0.0_f64, 0.0_f64);
    for value in values {
        count += 1;
        sum += f64::from(value);
        squares += f64::from(value).powi(2);
    }
    let count = f64::from(count.max(1));
    let mean = sum / count;
    (mean as f32, (squares / count - mean * mean).max(0.0).sqrt() as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stripes of this period and these levels.
    fn stripes(period: usize, low: u8, high: u8) -> Grey {
        Grey::from_shape_fn(
            (48, 64),
            |(_, x)| if (x / period).is_multiple_of(2) { low } else { high },
        )
    }

    #[test]
    fn light_and_edges_are_measured() {
        let quality = Quality::of(&stripes(8, 60, 140));
        assert_eq!((quality.brightness, quality.contrast), (100.0, 40.0));
        assert_eq!(quality.advice(), None);
        let finer = Quality::of(&stripes(2, 60, 140));
        assert!(finer.sharpness > quality.sharpness);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let advice = |picture: &Grey| Quality::of(picture).advice().unwrap_or_default();
        assert!(advice(&stripes(8, 5, 30)).contains("dark"));
        assert!(advice(&stripes(8, 220, 255)).contains("bright"));
        assert!(advice(&stripes(8, 100, 110)).contains("contrast"));
        let ramp = Grey::from_shape_fn((48, 64), |(_, x)| 40 + 3 * x as u8);
        assert!(advice(&ramp).contains("blurred"));
    }

    #[test]
    fn tiny_pictures_have_no_edges() {
        for dim in [(0, 0), (1, 5), (2, 2)] {
            assert_eq!(Quality::of(&Grey::from_elem(dim, 100)).sharpness, 0.0);
        }
    }
}
