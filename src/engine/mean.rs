//! Means of codes, as LiteRT has them: of a window divided in integers, of a whole picture requantized.

use super::network::Value;

/// The mean of `count` codes, halves away from zero (TensorFlow Lite's AVERAGE_POOL_2D).
pub fn of_window(sum: i32, count: i32) -> i32 {
    let half = if sum > 0 { count / 2 } else { -(count / 2) };
    (sum + half) / count.max(1)
}

/// The mean of a channel in another code (XNNPACK's MEAN). The output's zero point is added before
/// rounding to even, so that halves go by the code and not by the number that it stands for.
pub struct Mean {
    zero: i32,
    factor: f32,
    output_zero: f32,
}

impl Mean {
    /// Of all pixels of `input`.
    pub fn new(input: &Value, output: &Value) -> Self {
        let [height, width, _] = input.shape;
        let share = 1.0 / (height * width) as f32;
        Self {
            zero: input.quantization.zero_point.into(),
            factor: input.quantization.scale / output.quantization.scale * share,
            output_zero: output.quantization.zero_point.into(),
        }
    }

    /// The code of the mean of `count` codes that add up to `sum`.
    pub fn of(&self, sum: i32, count: i32) -> i8 {
        let steps = sum - self.zero * count;
        (steps as f32 * self.factor + self.output_zero).round_ties_even() as i8
    }
}

#[cfg(test)]
mod tests {
    use super::super::Quantization;
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
            assert_eq!([1, 3, 5].map(|sum| mean.of(sum, 2)), expected, "{zero_point}");
        }
    }
}
