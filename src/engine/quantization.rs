//! The affine code of int8 values: `real = scale · (code − zero_point)`.

/// How a tensor's int8 codes stand for real numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantization {
    /// Real distance of neighbouring codes, > 0.
    pub scale: f32,
    /// The code that stands for 0.
    pub zero_point: i8,
}

impl Quantization {
    /// The nearest code of a real number, saturating at −128 and 127.
    ///
    /// `round(real / scale) + zero_point`, halves to the even neighbour. Such halves hardly occur
    /// in data; the rule is fixed only so that every build gives the same bytes.
    pub fn quantize(self, real: f32) -> i8 {
        let code = (real / self.scale).round_ties_even() + f32::from(self.zero_point);
        code as i8 // `as` saturates, and makes NaN the code 0
    }

    /// The least and the greatest number that no code saturates: half a step beyond those that the
    /// last codes stand for.
    pub fn reach(self) -> [f32; 2] {
        let half = self.scale / 2.0;
        [self.dequantize(i8::MIN) - half, self.dequantize(i8::MAX) + half]
    }

    /// The real number that a code stands for.
    pub fn dequantize(self, code: i8) -> f32 {
        self.scale * f32::from(i16::from(code) - i16::from(self.zero_point))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_to_nearest_and_saturate() {
        let q = Quantization { scale: 0.5, zero_point: -3 };
        assert_eq!(q.dequantize(q.quantize(1.5)), 1.5);
        assert_eq!(q.quantize(0.24), -3);
        assert_eq!(q.quantize(0.25), -3, "half a step goes to the even quotient");
        assert_eq!(q.quantize(0.75), -1);
        assert_eq!((q.quantize(1e9), q.quantize(-1e9)), (127, -128));
        assert_eq!(q.dequantize(-128), -62.5);
    }
}
