//! What values the network takes on real faces, and the codes that hold them best.

use super::super::float::{FloatGraph, Op};
use super::ties::Ties;
use crate::engine::Quantization;
use crate::face::crop::INPUT_STEP;

/// Bins of a histogram between a group's least and greatest value; 8 to each code.
const BINS: usize = 2048;
/// Clipped ranges that are tried, as shares of the observed range.
const CLIP_STEP: f32 = 0.02;
const CLIP_LEAST: f32 = 0.3;
/// Codes of an int8 value less one.
const CODE_STEPS: f32 = 255.0;

/// One channel's values.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    /// Least value, at most 0.
    pub min: f32,
    /// Greatest value, at least 0.
    pub max: f32,
    /// Mean.
    pub mean: f32,
}

/// Least, greatest and mean value of each channel of each node's output.
pub fn channels(graph: &FloatGraph, pictures: &[f32]) -> Vec<Vec<Channel>> {
    let empty = Channel { min: 0.0, max: 0.0, mean: 0.0 };
    let mut all: Vec<Vec<Channel>> =
        graph.nodes.iter().map(|node| vec![empty; node.shape[2]]).collect();
    let total = (pictures.len() / graph.input_len()) as f32;
    graph.for_each_batch(pictures, |values| {
        for ((channels, value), node) in all.iter_mut().zip(values).zip(&graph.nodes) {
            let pixels = total * (node.shape[0] * node.shape[1]) as f32;
            for pixel in value.chunks_exact(channels.len()) {
                for (channel, &v) in channels.iter_mut().zip(pixel) {
                    channel.min = channel.min.min(v);
                    channel.max = channel.max.max(v);
                    channel.mean += v / pixels;
                }
            }
        }
    });
    all
}

/// The code of each value. The input's is that of standardization; else, per group of tied values,
/// the range that codes all its values with the least mean squared error, clipping included.
pub fn codes(
    graph: &FloatGraph,
    ties: &Ties,
    channels: &[Vec<Channel>],
    pictures: &[f32],
) -> Vec<Quantization> {
    let mut histograms: Vec<Histogram> = (ties.groups().iter())
        .map(|group| Histogram::over(group.iter().flat_map(|&value| &channels[value])))
        .collect();
    graph.for_each_batch(pictures, |values| {
        for (value, numbers) in values.iter().enumerate() {
            histograms[ties.group_of(value)].add(numbers);
        }
    });
    let codes: Vec<Quantization> = histograms.iter().map(Histogram::best_code).collect();
    let code = |value: usize| match graph.nodes[value].op {
        Op::Input => Quantization { scale: INPUT_STEP, zero_point: 0 },
        _ => codes[ties.group_of(value)],
    };
    (0..graph.nodes.len()).map(code).collect()
}

/// How often values fall into [`BINS`] equal parts of a range that holds 0.
struct Histogram {
    min: f32,
    max: f32,
    counts: Vec<u64>,
}

impl Histogram {
    fn over<'c>(channels: impl Iterator<Item = &'c Channel>) -> Self {
        let (min, max) = channels
            .fold((0f32, 0f32), |(min, max), channel| (min.min(channel.min), max.max(channel.max)));
        // A group that is always 0 still needs a code.
        let max = if max > min { max } else { min + 1.0 };
        Self { min, max, counts: vec![0; BINS] }
    }

    fn add(&mut self, values: &[f32]) {
        let bins_per_unit = BINS as f32 / (self.max - self.min);
        for value in values {
            let bin = ((value - self.min) * bins_per_unit) as usize;
            self.counts[bin.min(BINS - 1)] += 1;
        }
    }

    /// The code of least mean squared error among clipped ranges.
    fn best_code(&self) -> Quantization {
        let shares = || {
            let steps = ((1.0 - CLIP_LEAST) / CLIP_STEP) as usize;
            (0..=steps).map(|i| 1.0 - i as f32 * CLIP_STEP)
        };
        let lows = || shares().take(if self.min < 0.0 { usize::MAX } else { 1 });
        let candidates = lows().flat_map(|low| {
            shares().map(move |high| code_of_range(self.min * low, self.max * high))
        });
        let best =
            candidates.map(|code| (self.error(code), code)).min_by(|a, b| a.0.total_cmp(&b.0));
        best.expect("the whole range is always a candidate").1
    }

    /// Sum of squared errors under a code, each bin's values taken at its middle.
    fn error(&self, code: Quantization) -> f64 {
        let width = (self.max - self.min) / BINS as f32;
        let low = code.dequantize(i8::MIN);
        let high = code.dequantize(i8::MAX);
        // Inside the range the error is uniform over a step.
        let inside = f64::from(code.scale).powi(2) / 12.0;
        (self.counts.iter().enumerate().filter(|(_, count)| **count > 0))
            .map(|(bin, &count)| {
                let middle = self.min + (bin as f32 + 0.5) * width;
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
        let channel = Channel { min: 0.0, max: 10.0, mean: 0.0 };
        let mut rare = Histogram::over([channel].iter());
        rare.add(&[10.0]);
        rare.add(&(0..1_000_000).map(|i| (i % 1000) as f32 / 500.0).collect::<Vec<_>>());
        assert!(rare.best_code().scale < 0.8 * 10.0 / CODE_STEPS);
        let mut even = Histogram::over([channel].iter());
        even.add(&(0..=100_000).map(|i| i as f32 / 10_000.0).collect::<Vec<_>>());
        assert_eq!(even.best_code(), code_of_range(0.0, 10.0));
    }
}
