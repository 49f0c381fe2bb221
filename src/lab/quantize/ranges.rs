//! Ways to choose the range of values that a tensor's 256 codes spread over.

use serde::Serialize;

use crate::engine::Quantization;

/// Bins of a histogram between a tensor's least and greatest value; 8 to each code.
const BINS: usize = 2048;
/// Clipped ranges that are tried, as shares of the observed range.
const CLIP_STEP: f32 = 0.02;
const CLIP_LEAST: f32 = 0.3;
/// Share of the values that [`Ranges::Percentile`] leaves out on either side.
const OUTLIERS: f64 = 1e-4;
/// Codes of an int8 value.
const CODES: usize = 256;
/// Their steps.
const CODE_STEPS: f32 = CODES as f32 - 1.0;

/// A way to choose a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ranges {
    /// From the least to the greatest value seen.
    MinMax,
    /// Without the outermost ten-thousandth on either side.
    Percentile,
    /// The range of least mean squared error, clipping and rounding together.
    Mse,
    /// The range whose codes tell most of how the values are distributed: least Kullback–Leibler
    /// divergence (Migacz 2017, "8-bit inference with TensorRT").
    Entropy,
    /// For each tensor the one of these that changes the network's outputs least.
    Auto,
}

impl Ranges {
    /// Those that look at one tensor alone.
    pub const PLAIN: [Self; 4] = [Self::MinMax, Self::Percentile, Self::Mse, Self::Entropy];
}

/// How often values fall into equal parts of a range that holds 0.
pub struct Histogram {
    min: f32,
    max: f32,
    counts: Vec<u64>,
}

impl Histogram {
    /// An empty one from `min`, at most 0, to `max`, at least 0.
    pub fn over([min, max]: [f32; 2]) -> Self {
        // A group that is always 0 still needs a code.
        let max = if max > min { max } else { min + 1.0 };
        Self { min, max, counts: vec![0; BINS] }
    }

    /// Counts values.
    pub fn add(&mut self, values: &[f32]) {
        let bins_per_unit = BINS as f32 / (self.max - self.min);
        for value in values {
            let bin = ((value - self.min) * bins_per_unit) as usize;
            self.counts[bin.min(BINS - 1)] += 1;
        }
    }

    /// The code that `ranges` chooses; of [`Ranges::Auto`], which needs more than one tensor, that of
    /// [`Ranges::Mse`].
    pub fn code(&self, ranges: Ranges) -> Quantization {
        match ranges {
            Ranges::MinMax => code_of_range(self.min, self.max),
            Ranges::Percentile => self.without_outliers(),
            Ranges::Mse | Ranges::Auto => self.best_code(|code| self.error(code)),
            Ranges::Entropy => self.best_code(|code| self.divergence(code)),
        }
    }

    /// The code of least cost among clipped ranges.
    fn best_code(&self, cost: impl Fn(Quantization) -> f64) -> Quantization {
        let shares = || {
            let steps = ((1.0 - CLIP_LEAST) / CLIP_STEP) as usize;
            (0..=steps).map(|i| 1.0 - i as f32 * CLIP_STEP)
        };
        let lows = || shares().take(if self.min < 0.0 { usize::MAX } else { 1 });
        let candidates = lows().flat_map(|low| {
            shares().map(move |high| code_of_range(self.min * low, self.max * high))
        });
        let best = candidates.map(|code| (cost(code), code)).min_by(|a, b| a.0.total_cmp(&b.0));
        best.expect("the whole range is always a candidate").1
    }

    fn without_outliers(&self) -> Quantization {
        let total: u64 = self.counts.iter().sum();
        let few = (total as f64 * OUTLIERS) as u64;
        let clipped = |counts: &mut dyn Iterator<Item = &u64>| {
            let mut seen = 0;
            let beyond = |count: &&u64| {
                seen += **count;
                seen <= few
            };
            counts.take_while(beyond).count() as f32
        };
        let width = (self.max - self.min) / BINS as f32;
        let min = self.min + width * clipped(&mut self.counts.iter());
        let max = self.max - width * clipped(&mut self.counts.iter().rev());
        // Zero stays inside, and something beside it.
        let (min, max) = (min.min(0.0), max.max(0.0));
        if max > min { code_of_range(min, max) } else { code_of_range(self.min, self.max) }
    }

    /// Divergence of the clipped values' distribution, those beyond the ends counted at the ends, from
    /// what the codes tell of the values inside: each code's share, spread evenly over the occupied
    /// bins it covers.
    fn divergence(&self, code: Quantization) -> f64 {
        let [low, high] = [i8::MIN, i8::MAX].map(|end| code.dequantize(end));
        let width = (self.max - self.min) / BINS as f32;
        let bin_of = |value: f32| (((value - self.min) / width) as usize).min(BINS - 1);
        let (first, last) = (bin_of(low.max(self.min)), bin_of(high.min(self.max)));
        let code_of =
            |bin: usize| (i16::from(code.quantize(self.middle(bin))) - i16::from(i8::MIN)) as usize;
        let (mut shares, mut occupied) = ([0.0; CODES], [0u32; CODES]);
        let inside = first..=last;
        let total: u64 = self.counts.iter().sum();
        let seen: u64 = self.counts[inside.clone()].iter().sum();
        for bin in inside.clone().filter(|bin| self.counts[*bin] > 0) {
            shares[code_of(bin)] += self.counts[bin] as f64 / seen as f64;
            occupied[code_of(bin)] += 1;
        }
        let below: u64 = self.counts[..first].iter().sum();
        let above: u64 = self.counts[last + 1..].iter().sum();
        let own = |bin: usize| {
            let ends = if bin == first { below } else { 0 } + if bin == last { above } else { 0 };
            (self.counts[bin] + ends) as f64 / total as f64
        };
        inside
            .filter(|bin| own(*bin) > 0.0)
            .map(|bin| {
                let left = shares[code_of(bin)] / f64::from(occupied[code_of(bin)].max(1));
                own(bin) * (own(bin) / left.max(f64::MIN_POSITIVE)).ln()
            })
            .sum()
    }

    /// The value in the middle of a bin.
    fn middle(&self, bin: usize) -> f32 {
        self.min + (bin as f32 + 0.5) * (self.max - self.min) / BINS as f32
    }

    /// Sum of squared errors under a code, each bin's values taken at its middle.
    fn error(&self, code: Quantization) -> f64 {
        let low = code.dequantize(i8::MIN);
        let high = code.dequantize(i8::MAX);
        // Inside the range the error is uniform over a step.
        let inside = f64::from(code.scale).powi(2) / 12.0;
        (self.counts.iter().enumerate().filter(|(_, count)| **count > 0))
            .map(|(bin, &count)| {
                let middle = self.middle(bin);
                let clipped = f64::from(middle - middle.clamp(low, high));
                count as f64 * if clipped == 0.0 { inside } else { clipped * clipped }
            })
            .sum()
    }
}

/// The code that spreads 256 steps over `min..=max` and holds 0 exactly.
pub fn code_of_range(min: f32, max: f32) -> Quantization {
    let scale = (max - min) / CODE_STEPS;
    let zero_point = (f32::from(i8::MIN) - min / scale).round() as i8;
    Quantization { scale, zero_point }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_zero_exactly() {
        let code = code_of_range(0.0, 2.55);
        assert_eq!((code.zero_point, code.quantize(2.55)), (-128, 127));
        let code = code_of_range(-1.0, 1.0);
        assert_eq!(code.dequantize(code.quantize(0.0)), 0.0);
    }

    /// One outlier among many small values is not worth coarse steps for all.
    #[test]
    fn rare_outliers_are_clipped_and_uniform_values_are_not() {
        let mut rare = Histogram::over([0.0, 10.0]);
        rare.add(&[10.0]);
        rare.add(&(0..1_000_000).map(|i| (i % 1000) as f32 / 500.0).collect::<Vec<_>>());
        let mut even = Histogram::over([0.0, 10.0]);
        even.add(&(0..=100_000).map(|i| i as f32 / 10_000.0).collect::<Vec<_>>());
        let whole = code_of_range(0.0, 10.0);
        assert_eq!(rare.code(Ranges::MinMax), whole);
        for ranges in [Ranges::Percentile, Ranges::Mse, Ranges::Entropy] {
            assert!(rare.code(ranges).scale < 0.8 * whole.scale, "{ranges:?}");
            assert!(even.code(ranges).scale > 0.99 * whole.scale, "{ranges:?}");
        }
    }

    #[test]
    fn values_of_both_signs_and_no_values_have_a_code() {
        let mut signed = Histogram::over([-4.0, 1.0]);
        signed.add(&(0..1000).map(|i| i as f32 / 200.0 - 4.0).collect::<Vec<_>>());
        for ranges in Ranges::PLAIN {
            let code = signed.code(ranges);
            assert!(code.dequantize(-128) < -3.9 && code.dequantize(127) > 0.9, "{ranges:?}");
            let nothing = Histogram::over([0.0, 0.0]).code(ranges);
            assert!(nothing.scale.is_normal(), "{ranges:?}");
        }
    }
}
