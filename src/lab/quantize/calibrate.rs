//! What values the network takes on real faces, and the codes that hold them best.

use super::super::float::{FloatGraph, Op};
use super::ranges::{Histogram, Ranges, code_of_range};
use super::ties::Ties;
use super::watched::Watched;
use crate::engine::Quantization;

/// Pictures on which [`Ranges::Auto`] compares outputs.
const FELT_PICTURES: usize = 64;
/// Values of a network that can be used stay below this by far; their squares' sums are still finite.
const GREATEST_VALUE: f32 = 1e12;

/// A layer whose values no code can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "layer `{layer}`: on the calibration pictures its values grow beyond all measure; look at its weights, and \
     whether --normalization and the pictures are those of its training"
)]
pub struct Unbounded {
    /// Its name, in the lowered graph.
    pub layer: String,
}

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

/// Least, greatest and mean value of each channel of each node's output; an error where they are not
/// finite, or beyond all measure.
pub fn channels(
    graph: &FloatGraph,
    pictures: &mut Watched,
) -> Result<Vec<Vec<Channel>>, Unbounded> {
    let empty = Channel { min: 0.0, max: 0.0, mean: 0.0 };
    let mut all: Vec<Vec<Channel>> =
        graph.nodes.iter().map(|node| vec![empty; node.shape[2]]).collect();
    let total = pictures.count(graph) as f32;
    pictures.for_each_batch(graph, |values| {
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
    let usable = |channel: &Channel| {
        // A value that is no number shows in the mean alone.
        [channel.min, channel.max, channel.mean].iter().all(|v| v.abs() <= GREATEST_VALUE)
    };
    match all.iter().position(|channels| !channels.iter().all(usable)) {
        Some(node) => Err(Unbounded { layer: graph.nodes[node].name.clone() }),
        None => Ok(all),
    }
}

/// The code of each value: the input's holds all that its normalization may give, `input_bounds`; else one
/// per group of tied values.
pub fn codes(
    graph: &FloatGraph,
    ties: &Ties,
    channels: &[Vec<Channel>],
    ranges: Ranges,
    input_bounds: [f32; 2],
    pictures: &mut Watched,
) -> Vec<Quantization> {
    let mut histograms: Vec<Histogram> = (ties.groups().iter())
        .map(|group| Histogram::over(bounds(group.iter().flat_map(|&value| &channels[value]))))
        .collect();
    pictures.for_each_batch(graph, |values| {
        for (value, numbers) in values.iter().enumerate() {
            histograms[ties.group_of(value)].add(numbers);
        }
    });
    let codes = match ranges {
        Ranges::Auto => least_felt(graph, ties, &histograms, pictures.pictures),
        ranges => histograms.iter().map(|histogram| histogram.code(ranges)).collect(),
    };
    let code = |value: usize| match graph.nodes[value].op {
        Op::Input => code_of_range(input_bounds[0].min(0.0), input_bounds[1].max(0.0)),
        _ => codes[ties.group_of(value)],
    };
    (0..graph.nodes.len()).map(code).collect()
}

fn bounds<'c>(channels: impl Iterator<Item = &'c Channel>) -> [f32; 2] {
    channels.fold([0.0, 0.0], |[min, max], channel| [min.min(channel.min), max.max(channel.max)])
}

/// For each group the code that, alone rounding an otherwise float network, moves its outputs
/// least.
fn least_felt(
    graph: &FloatGraph,
    ties: &Ties,
    histograms: &[Histogram],
    pictures: &[f32],
) -> Vec<Quantization> {
    let few = &pictures[..pictures.len().min(FELT_PICTURES * graph.input_len())];
    let exact = graph.values(few);
    let outputs = exact.last().map_or(&[][..], |outputs| outputs);
    let felt = |group: &[usize], code: Quantization| -> f64 {
        let rounded = graph.values_after(&exact, group[0], |value, numbers| {
            if group.contains(&value) {
                numbers.iter_mut().for_each(|x| *x = code.dequantize(code.quantize(*x)));
            }
        });
        let moved = rounded.last().map_or(&[][..], |outputs| outputs);
        outputs.iter().zip(moved).map(|(a, b)| f64::from(a - b).powi(2)).sum()
    };
    (ties.groups().iter().zip(histograms))
        .map(|(group, histogram)| {
            let codes = Ranges::PLAIN.map(|ranges| histogram.code(ranges));
            let costs = codes.map(|code| (felt(group, code), code));
            let best = costs.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
            best.expect("there are several ways").1
        })
        .collect()
}
