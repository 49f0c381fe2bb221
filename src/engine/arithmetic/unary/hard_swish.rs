//! `x · min(max(x + 3, 0), 6) / 6` in integers of 16 bits, as TensorFlow Lite's own kernel has it
//! (`reference_ops::HardSwish`).

use super::super::super::Quantization;
use super::super::fixed_point::{Factor, divided};
use super::{by_code, steps};

/// Steps of the input are taken 128 times finer.
const FINER: i32 = 7;
/// Of what grows from 0 at −3 to 2¹⁵ at 3.
const RAMP_SCALE: f32 = 3.0 / 32768.0;

/// By input code; none for codes too far apart.
pub fn table(input: Quantization, output: Quantization) -> Option<[i8; 256]> {
    let fine = input.scale / (1 << FINER) as f32;
    let to_output = Factor::new((fine / output.scale).into())?;
    let to_ramp = Factor::new((fine / RAMP_SCALE).into())?;
    if to_output.exponent > 0 {
        return None;
    }
    Some(by_code(|code| {
        let fine = steps(input, code) << FINER;
        let scaled = multiplied(fine, mantissa(to_output));
        let ramp = ramp(fine, to_ramp);
        let product = (ramp * scaled) / (1 << 15);
        divided(product, -to_output.exponent) + i32::from(output.zero_point)
    }))
}

/// The factor's 16 highest bits.
fn mantissa(factor: Factor) -> i32 {
    ((i64::from(factor.mantissa) + (1 << 15)) >> 16).min(0x7FFF) as i32
}

/// From 0 to 2¹⁵.
fn ramp(fine: i32, factor: Factor) -> i32 {
    let mut ramp = fine;
    // All but one bit to the left before, that one behind.
    if factor.exponent > 0 {
        ramp = saturated(ramp << (factor.exponent - 1));
    }
    ramp = multiplied(ramp, mantissa(factor));
    if factor.exponent > 0 {
        ramp = saturated(ramp << 1);
    }
    ramp = divided(ramp, (-factor.exponent).max(0));
    (ramp + (1 << 15)) >> 1
}

/// The high half of the doubled product of two numbers of 16 bits, halves up.
fn multiplied(a: i32, b: i32) -> i32 {
    let product = a * b;
    let nudge = if product >= 0 { 1 << 14 } else { 1 - (1 << 14) };
    saturated((product + nudge) / (1 << 15))
}

fn saturated(number: i32) -> i32 {
    number.clamp(i16::MIN.into(), i16::MAX.into())
}
