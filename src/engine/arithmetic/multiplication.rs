//! The product of two values of any codes, as XNNPACK has it (its `vmul` kernels): that of the codes
//! less their zero points, requantized as a convolution's sum.

use super::super::Quantization;
use super::super::kernels::{Code, requantize};
use super::super::window::Activation;

/// How two codes become that of their product.
#[derive(Clone, Copy, Debug)]
pub struct Multiplication {
    zeros: [i32; 2],
    factor: f32,
    code: Code,
}

impl Multiplication {
    /// None if the inputs' scales together are less than 2⁻¹⁶ or 2⁸ times and more that of the output:
    /// LiteRT multiplies such otherwise.
    pub fn new(
        inputs: [Quantization; 2],
        output: Quantization,
        activation: Activation,
    ) -> Option<Self> {
        let factor = inputs[0].scale * inputs[1].scale / output.scale;
        if !(1.0 / 65536.0..256.0).contains(&factor) {
            return None;
        }
        let [low, high] = activation.limits(output);
        let code = Code { zero: output.zero_point.into(), low, high };
        Some(Self { zeros: inputs.map(|input| input.zero_point.into()), factor, code })
    }

    /// The code of the product.
    #[inline(always)]
    pub fn of(&self, a: i8, b: i8) -> i8 {
        let product = (i32::from(a) - self.zeros[0]) * (i32::from(b) - self.zeros[1]);
        requantize(product, self.factor, self.code) as i8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_nearest_to_the_product_is_given() {
        let inputs = [(0.03, 5), (0.01, -128)];
        let inputs = inputs.map(|(scale, zero_point)| Quantization { scale, zero_point });
        let output = Quantization { scale: 0.07, zero_point: 9 };
        let product = Multiplication::new(inputs, output, Activation::None).unwrap();
        for a in i8::MIN..=i8::MAX {
            for b in i8::MIN..=i8::MAX {
                let exact = inputs[0].dequantize(a) * inputs[1].dequantize(b);
                let [low, high] = [i8::MIN, i8::MAX].map(|code| output.dequantize(code));
                let given = output.dequantize(product.of(a, b));
                assert!((given - exact.clamp(low, high)).abs() <= 0.0351, "{a} {b}");
            }
        }
        let far = Quantization { scale: 16.0, zero_point: 0 };
        let one = Quantization { scale: 1.0, zero_point: 0 };
        assert!(Multiplication::new([far; 2], one, Activation::None).is_none());
    }
}
