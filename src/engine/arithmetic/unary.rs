//! Functions of one value, as tables of what each code becomes.

mod hard_swish;

use super::super::Quantization;
use super::fixed_point::Factor;

/// Between these, a factor from an input's steps to the output's is XNNPACK's to take.
const MIN_FACTOR: f32 = 1.0 / 256.0;
const MAX_FACTOR: f32 = 128.0;

/// A function of each value by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// `1 / (1 + exp(−x))`; gives codes of 1/256 from 0 on.
    Logistic,
    /// Gives codes of 1/128.
    Tanh,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `min(max(x, 0), 1)`.
    Relu0To1,
    /// `min(max(x, −1), 1)`.
    ReluN1To1,
    /// `|x|`.
    Abs,
    /// `x`, below 0 `exp(x) − 1`.
    Elu,
    /// `x · min(max(x + 3, 0), 6) / 6`.
    HardSwish,
    /// `x`, below 0 times a slope.
    LeakyRelu {
        /// From 0 to 1.
        slope: f32,
    },
    /// `x` in another code.
    Requantize,
}

impl Unary {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Logistic => "logistic",
            Self::Tanh => "tanh",
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::Relu0To1 => "relu 0 to 1",
            Self::ReluN1To1 => "relu -1 to 1",
            Self::Abs => "abs",
            Self::Elu => "elu",
            Self::HardSwish => "hard swish",
            Self::LeakyRelu { .. } => "leaky relu",
            Self::Requantize => "requantize",
        }
    }

    /// By input code from −128 on, the output's; none for codes for which LiteRT computes otherwise, or
    /// nothing.
    pub fn table(self, input: Quantization, output: Quantization) -> Option<[i8; 256]> {
        let ratio = input.scale / output.scale;
        match self {
            Self::Logistic => {
                let fits = output == Quantization { scale: 1.0 / 256.0, zero_point: i8::MIN };
                fits.then(|| rounded(input, output, |x| 1.0 / (1.0 + (-x).exp())))
            }
            Self::Tanh => {
                let fits = output == Quantization { scale: 1.0 / 128.0, zero_point: 0 };
                fits.then(|| rounded(input, output, f64::tanh))
            }
            Self::Relu => limited(input, output, ratio, [0.0, f32::INFINITY]),
            Self::Relu6 => limited(input, output, ratio, [0.0, 6.0]),
            Self::Relu0To1 => limited(input, output, ratio, [0.0, 1.0]),
            Self::ReluN1To1 => limited(input, output, ratio, [-1.0, 1.0]),
            Self::Abs => {
                let factor = factor(ratio)?;
                Some(by_code(|code| {
                    factor.times(steps(input, code).abs()) + i32::from(output.zero_point)
                }))
            }
            Self::Elu => Some(by_code(|code| {
                let x = input.dequantize(code);
                let y = if x < 0.0 { x.exp_m1() } else { x };
                (y * (1.0 / output.scale) + f32::from(output.zero_point)).round_ties_even() as i32
            })),
            Self::HardSwish => hard_swish::table(input, output),
            Self::LeakyRelu { slope } => {
                let of_xnnpack = shifted(input, output, ratio, ratio * slope);
                of_xnnpack.or_else(|| sloping(input, output, ratio, slope))
            }
            Self::Requantize => shifted(input, output, ratio, ratio),
        }
    }
}

fn codes() -> impl Iterator<Item = i8> {
    i8::MIN..=i8::MAX
}

fn by_code(of: impl Fn(i8) -> i32) -> [i8; 256] {
    let mut table = [0; 256];
    for (place, code) in table.iter_mut().zip(codes()) {
        *place = of(code).clamp(i8::MIN.into(), i8::MAX.into()) as i8;
    }
    table
}

/// The nearest code to what `of` gives.
fn rounded(input: Quantization, output: Quantization, of: impl Fn(f64) -> f64) -> [i8; 256] {
    by_code(|code| {
        let steps = of(f64::from(input.dequantize(code))) / f64::from(output.scale);
        steps.round_ties_even() as i32 + i32::from(output.zero_point)
    })
}

/// A code's distance from zero.
fn steps(input: Quantization, code: i8) -> i32 {
    i32::from(code) - i32::from(input.zero_point)
}

/// None for factors no network has.
fn factor(ratio: f32) -> Option<Factor> {
    Factor::new(ratio.into()).filter(|_| (MIN_FACTOR..MAX_FACTOR).contains(&ratio))
}

/// Between two numbers, as TensorFlow Lite's own kernels have it.
fn limited(
    input: Quantization,
    output: Quantization,
    ratio: f32,
    limits: [f32; 2],
) -> Option<[i8; 256]> {
    let factor = factor(ratio)?;
    let [low, high] = limits.map(|limit| (limit / output.scale).round() as i32);
    Some(by_code(|code| {
        factor.times(steps(input, code)).clamp(low, high) + i32::from(output.zero_point)
    }))
}

/// XNNPACK's way: factors above and below zero of 8 bits behind the point, halves up. None for factors
/// that it leaves to others.
fn shifted(input: Quantization, output: Quantization, above: f32, below: f32) -> Option<[i8; 256]> {
    if ![above, below].iter().all(|factor| (MIN_FACTOR..MAX_FACTOR).contains(factor)) {
        return None;
    }
    let [above, below] = [above, below].map(|factor| (factor * 256.0).round_ties_even() as i32);
    Some(by_code(|code| {
        let steps = steps(input, code);
        let factor = if steps < 0 { below } else { above };
        (256 * i32::from(output.zero_point) + 128 + steps * factor) >> 8
    }))
}

/// TensorFlow Lite's own kernel, for slopes that XNNPACK leaves to it.
fn sloping(input: Quantization, output: Quantization, ratio: f32, slope: f32) -> Option<[i8; 256]> {
    let (above, below) = (factor(ratio)?, Factor::new((ratio * slope).into())?);
    Some(by_code(|code| {
        let steps = steps(input, code);
        let factor = if steps < 0 { below } else { above };
        factor.times(steps) + i32::from(output.zero_point)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_near_what_they_stand_for() {
        let input = Quantization { scale: 0.05, zero_point: -20 };
        let wide = Quantization { scale: 0.04, zero_point: 3 };
        let of = |scale, zero_point| Quantization { scale, zero_point };
        type Of = fn(f32) -> f32;
        let functions: [(Unary, Quantization, Of); 11] = [
            (Unary::Logistic, of(1.0 / 256.0, -128), |x| 1.0 / (1.0 + (-x).exp())),
            (Unary::Tanh, of(1.0 / 128.0, 0), f32::tanh),
            (Unary::Relu, wide, |x| x.max(0.0)),
            (Unary::Relu6, wide, |x| x.clamp(0.0, 6.0)),
            (Unary::Relu0To1, wide, |x| x.clamp(0.0, 1.0)),
            (Unary::ReluN1To1, wide, |x| x.clamp(-1.0, 1.0)),
            (Unary::Abs, wide, f32::abs),
            (Unary::Elu, wide, |x| if x < 0.0 { x.exp_m1() } else { x }),
            (Unary::HardSwish, wide, |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
            (Unary::LeakyRelu { slope: 0.3 }, wide, |x| if x < 0.0 { 0.3 * x } else { x }),
            (Unary::Requantize, wide, |x| x),
        ];
        for (unary, output, function) in functions {
            let table = unary.table(input, output).unwrap();
            for (code, given) in codes().zip(table) {
                let [low, high] = [i8::MIN, i8::MAX].map(|code| output.dequantize(code));
                let expected = function(input.dequantize(code)).clamp(low, high);
                let off = (output.dequantize(given) - expected).abs();
                assert!(off <= 0.8 * output.scale, "{unary:?} of {code}: {off}");
            }
        }
        assert_eq!(Unary::Logistic.table(input, wide), None);
        assert_eq!(Unary::Requantize.table(of(1.0, 0), of(0.001, 0)), None);
    }
}
