//! The sum or the difference of two values of any codes, as XNNPACK has them (its `vadd` kernels): each
//! code times its scale's share of the output's, with 21 bits or less, summed and shifted, halves up.

use super::super::Quantization;
use super::super::window::Activation;

/// Bits that the larger factor has.
const FACTOR_BITS: i32 = 20;

/// How two codes become that of their sum, or of their difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Addition {
    factors: [i32; 2],
    /// Half a step of the output, less what the inputs' zero points come to.
    offset: i32,
    shift: u32,
    zero: i32,
    low: i32,
    high: i32,
}

impl Addition {
    /// None if an input's scale is less than 2⁻¹⁰ or 2⁸ times and more that of the output: LiteRT adds
    /// such otherwise.
    pub fn new(
        inputs: [Quantization; 2],
        output: Quantization,
        activation: Activation,
    ) -> Option<Self> {
        let ratios = inputs.map(|input| input.scale / output.scale);
        if !ratios.iter().all(|ratio| (1.0 / 1024.0..256.0).contains(ratio)) {
            return None;
        }
        let greatest = ratios[0].max(ratios[1]);
        // Of a normal number, which all in this range are.
        let exponent = (greatest.to_bits() >> 23).cast_signed() - 127;
        let shift = FACTOR_BITS - exponent;
        let factors = ratios.map(|ratio| (ratio * 2f32.powi(shift)).round_ties_even() as i32);
        let [low, high] = activation.limits(output);
        let zero = i32::from(output.zero_point);
        let shift = shift.cast_unsigned();
        Some(Self { factors, offset: 0, shift, zero, low, high }.with_offset(inputs))
    }

    /// The same of the first less the second.
    pub fn difference(
        inputs: [Quantization; 2],
        output: Quantization,
        activation: Activation,
    ) -> Option<Self> {
        let mut sum = Self::new(inputs, output, activation)?;
        sum.factors[1] = -sum.factors[1];
        Some(sum.with_offset(inputs))
    }

    /// At most 2 · 2²¹ · 255 and half a step of 2³⁰ beside it: no sum leaves an i32.
    fn with_offset(mut self, inputs: [Quantization; 2]) -> Self {
        let zeros = inputs.map(|input| i32::from(input.zero_point));
        self.offset =
            (1 << (self.shift - 1)) - self.factors[0] * zeros[0] - self.factors[1] * zeros[1];
        self
    }

    /// The code of the sum.
    #[inline(always)]
    pub fn of(&self, a: i8, b: i8) -> i8 {
        let sum = self.offset + self.factors[0] * i32::from(a) + self.factors[1] * i32::from(b);
        ((sum >> self.shift) + self.zero).clamp(self.low, self.high) as i8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_code_sums_are_the_codes_sums() {
        let code = Quantization { scale: 0.037, zero_point: -11 };
        let addition = Addition::new([code; 2], code, Activation::None).unwrap();
        let subtraction = Addition::difference([code; 2], code, Activation::None).unwrap();
        for a in i8::MIN..=i8::MAX {
            for b in i8::MIN..=i8::MAX {
                let sum = i32::from(a) + i32::from(b) + 11;
                assert_eq!(addition.of(a, b), sum.clamp(-128, 127) as i8);
                let difference = i32::from(a) - i32::from(b) - 11;
                assert_eq!(subtraction.of(a, b), difference.clamp(-128, 127) as i8);
            }
        }
    }

    #[test]
    fn the_code_nearest_to_the_sum_is_given() {
        let inputs = [(0.3, 5), (0.001, -128)];
        let inputs = inputs.map(|(scale, zero_point)| Quantization { scale, zero_point });
        let output = Quantization { scale: 0.31, zero_point: 9 };
        let addition = Addition::new(inputs, output, Activation::Relu).unwrap();
        for a in i8::MIN..=i8::MAX {
            for b in i8::MIN..=i8::MAX {
                let sum = inputs[0].dequantize(a) + inputs[1].dequantize(b);
                let given = output.dequantize(addition.of(a, b));
                let reach = output.dequantize(i8::MAX);
                assert!((given - sum.clamp(0.0, reach)).abs() <= 0.1551, "{a} {b}");
            }
        }
    }

    #[test]
    fn the_extremes_fit() {
        for (scale, zero_point) in [(255.9, i8::MIN), (1.0 / 1024.0, i8::MAX), (1.999, i8::MIN)] {
            let code = Quantization { scale, zero_point };
            let output = Quantization { scale: 1.0, zero_point };
            let addition = Addition::new([code; 2], output, Activation::None).unwrap();
            for (a, b) in [(i8::MIN, i8::MIN), (i8::MAX, i8::MAX), (i8::MIN, i8::MAX)] {
                addition.of(a, b);
            }
        }
        let far = Quantization { scale: 256.0, zero_point: 0 };
        let one = Quantization { scale: 1.0, zero_point: 0 };
        assert_eq!(Addition::new([one, far], one, Activation::None), None);
    }
}
