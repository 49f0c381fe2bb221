//! A slope below zero that is a tensor of its own, as TensorFlow Lite's own kernel has it (PRELU).

use super::super::Quantization;
use super::fixed_point::Factor;

/// How a code and that of its slope become one.
#[derive(Clone, Copy, Debug)]
pub struct Prelu {
    zeros: [i32; 2],
    above: Factor,
    below: Factor,
    zero: i32,
}

impl Prelu {
    /// None for codes too far apart.
    pub fn new([x, slope]: [Quantization; 2], output: Quantization) -> Option<Self> {
        let [of_x, of_slope, scale] = [x.scale, slope.scale, output.scale].map(f64::from);
        Some(Self {
            zeros: [x.zero_point.into(), slope.zero_point.into()],
            above: Factor::new(of_x / scale)?,
            below: Factor::new(of_x * of_slope / scale)?,
            zero: output.zero_point.into(),
        })
    }

    /// The code of what `x` becomes.
    #[inline(always)]
    pub fn of(&self, x: i8, slope: i8) -> i8 {
        let [x, slope] = [i32::from(x) - self.zeros[0], i32::from(slope) - self.zeros[1]];
        let steps = if x >= 0 { self.above.times(x) } else { self.below.times(x * slope) };
        (steps + self.zero).clamp(i8::MIN.into(), i8::MAX.into()) as i8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_nearest_to_the_product_is_given_below_zero() {
        let inputs = [(0.03, 5), (0.01, -128)];
        let inputs = inputs.map(|(scale, zero_point)| Quantization { scale, zero_point });
        let output = Quantization { scale: 0.07, zero_point: 9 };
        let prelu = Prelu::new(inputs, output).unwrap();
        for a in i8::MIN..=i8::MAX {
            for b in i8::MIN..=i8::MAX {
                let x = inputs[0].dequantize(a);
                let exact = if x < 0.0 { x * inputs[1].dequantize(b) } else { x };
                let [low, high] = [i8::MIN, i8::MAX].map(|code| output.dequantize(code));
                let off = output.dequantize(prelu.of(a, b)) - exact.clamp(low, high);
                assert!(off.abs() <= 0.76 * output.scale, "{a} {b}");
            }
        }
        let far = Quantization { scale: 1e9, zero_point: 0 };
        assert!(Prelu::new([far; 2], output).is_none());
    }
}
