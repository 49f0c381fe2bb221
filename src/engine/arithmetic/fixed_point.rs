//! Factors in integers, as TensorFlow Lite's own kernels have them (`MultiplyByQuantizedMultiplier`, after
//! gemmlowp): 31 bits and a shift, rounded once to the left of the shift and once behind it, so that 0.25
//! may become 1.

/// A factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factor {
    /// From 2³⁰ to 2³¹, in steps of 2⁻³¹.
    pub mantissa: i32,
    /// Power of two.
    pub exponent: i32,
}

impl Factor {
    /// None for what no network that was trained has: less than 2⁻³⁰, or 2⁸ and more.
    pub fn new(factor: f64) -> Option<Self> {
        if !(2f64.powi(-30)..256.0).contains(&factor) {
            return None;
        }
        // Of a normal number, which all in this range are.
        let mut exponent = ((factor.to_bits() >> 52) as i32) - 1022;
        let mut mantissa = (factor * 2f64.powi(31 - exponent)).round() as i64;
        if mantissa == 1 << 31 {
            (mantissa, exponent) = (1 << 30, exponent + 1);
        }
        Some(Self { mantissa: mantissa as i32, exponent })
    }

    /// The nearest integer to the product with a number of up to 18 bits.
    pub fn times(self, number: i32) -> i32 {
        let product = (i64::from(number) << self.exponent.max(0)) * i64::from(self.mantissa);
        let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
        // Towards zero.
        let high = (product + nudge) / (1 << 31);
        divided(high as i32, (-self.exponent).max(0))
    }
}

/// By a power of two, halves away from zero (gemmlowp's `RoundingDivideByPOT`).
pub fn divided(number: i32, exponent: i32) -> i32 {
    let number = i64::from(number);
    let half = if exponent == 0 { 0 } else { 1 << (exponent - 1) };
    ((number.abs() + half) >> exponent) as i32 * number.signum() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_near() {
        for factor in [1e-9, 0.1, 0.5, 0.999_999_999_9, 1.0, 3.7, 255.9] {
            let fixed = Factor::new(factor).unwrap();
            for number in [-65_025, -255, -2, -1, 0, 1, 3, 255, 65_025] {
                let off = f64::from(fixed.times(number)) - f64::from(number) * factor;
                assert!(off.abs() <= 0.751, "{number} times {factor}: {off}");
            }
        }
        assert_eq!(Factor::new(256.0), None);
        assert_eq!(Factor::new(f64::NAN), None);
    }

    #[test]
    fn halves_go_away_from_zero_twice() {
        let quarter = Factor::new(0.25).unwrap();
        assert_eq!([1, 2, -1, -2].map(|number| quarter.times(number)), [1, 1, 0, -1]);
    }
}
