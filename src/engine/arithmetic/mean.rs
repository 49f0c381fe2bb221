//! Means of codes, as LiteRT has them: of a window divided in integers, of a whole picture requantized.

use super::super::network::Value;

/// The mean of `count` codes, halves away from zero (TensorFlow Lite's AVERAGE_POOL_2D).
pub fn of_window(sum: i32, count: i32) -> i32 {
    let half = if sum > 0 { count / 2 } else { -(count / 2) };
    (sum + half) / count.max(1)
}

/// The mean of a channel in another code (XNNPACK's MEAN): the sum of the codes as they are, times a
/// factor, plus all that the zero points come to, in single precision; then rounded to even.
pub struct Mean {
    factor: f32,
    offset: f32,
}

impl Mean {
    /// Of all pixels of `input`.
    pub fn new(input: &Value, output: &Value) -> Self {
        let [x, y] = [input.quantization, output.quantization];
        let pixels = (input.shape[0] * input.shape[1]) as f32;
        let factor = x.scale / y.scale * (1.0 / pixels);
        let zeros = f32::from(x.zero_point) * pixels;
        Self { factor, offset: f32::from(y.zero_point) - zeros * factor }
    }

    /// The code of the mean of codes that add up to `sum`.
    pub fn of(&self, sum: i32) -> i8 {
        (sum as f32 * self.factor + self.offset).round_ties_even() as i8
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Quantization;
    use super::*;

    #[test]
    fn halves_of_a_window_go_away_from_zero() {
        let means = [(5, 2), (-5, 2), (3, 4), (-3, 4), (1, 4), (0, 9), (-254, 2)];
        assert_eq!(means.map(|(sum, count)| of_window(sum, count)), [3, -3, 1, -1, 0, 0, -127]);
    }

    #[test]
    fn halves_of_all_go_to_the_even_code() {
        let value = |shape, zero_point| Value {
            name: String::new(),
            shape,
            quantization: Quantization { scale: 0.5, zero_point },
        };
        for (zero_point, expected) in [(0, [0, 2, 2]), (1, [2, 2, 4])] {
            let mean = Mean::new(&value([1, 2, 1], 0), &value([1, 1, 1], zero_point));
            assert_eq!([1, 3, 5].map(|sum| mean.of(sum)), expected, "{zero_point}");
        }
    }

    /// Codes of LiteRT 2.3, each other than if the zero points were taken off the sum first: scale, pixels,
    /// the output's zero point, sum less the input's zero points, code.
    #[test]
    #[allow(clippy::excessive_precision, reason = "as LiteRT was given them")]
    fn zero_points_come_in_single_precision() {
        for (scale, side, zero_point, steps, expected) in [
            (0.025_230_700_15, 31, -20, 44_754, 98),
            (0.073_323_830_96, 56, -128, 59_663, 12),
            (0.073_323_830_96, 56, -128, 48_543, -14),
            (0.073_323_830_96, 56, -128, 2_780, -122),
            (0.008_411_152_288, 56, -20, 456_727, 102),
            (0.063_879_214_227, 20, 0, 5_166, 82),
        ] {
            let value = |shape, scale, zero_point| Value {
                name: String::new(),
                shape,
                quantization: Quantization { scale, zero_point },
            };
            let mean =
                Mean::new(&value([side, side, 1], scale, -128), &value([1; 3], 0.01, zero_point));
            assert_eq!(mean.of(steps - 128 * (side * side) as i32), expected, "{scale} {steps}");
        }
    }
}
