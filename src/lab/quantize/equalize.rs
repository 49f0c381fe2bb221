//! Evens out the channels of a value, exactly, so that one int8 code serves them all.
//!
//! All channels of a value share one code, so a channel that stays small is coded by few steps.
//! Between two convolutions each channel may be scaled at will: the first one's filter by `1/s`,
//! the second one's weights for that channel by `s`. ReLU lets a positive factor through. (Cross-
//! layer equalization, Nagel et al. 2019, arXiv 1906.04721, on the values' ranges.)

use super::super::checkpoint::Params;
use super::super::network::{Graph, Node, Op};
use super::calibrate::Channel;

/// How far channels are evened out before a convolution, whose weights become the more uneven:
/// `s = (range / mean range)^share`. Chosen on Training faces among 0, 0.5, 0.75 and 1.
const CONV_SHARE: f32 = 0.75;
/// The same before a depthwise convolution, whose every channel has a weight scale of its own.
const DEPTHWISE_SHARE: f32 = 1.0;
/// Greatest factor, for channels that are (nearly) always 0.
const MAX_FACTOR: f32 = 20.0;

/// Rescales the channels between every two convolutions of which the second alone reads the
/// first. `channels` are the values' ranges; every convolution has a bias.
pub fn equalize(graph: &Graph, params: &mut Params, channels: &[Vec<Channel>]) {
    for (value, producer) in graph.nodes.iter().enumerate() {
        let mut consumers = graph.nodes.iter().filter(|node| node.inputs.contains(&value));
        let (Some(consumer), None) = (consumers.next(), consumers.next()) else { continue };
        let share = match (producer.op, consumer.op) {
            (Op::Conv { .. } | Op::Depthwise { .. }, Op::Conv { .. }) => CONV_SHARE,
            (Op::Conv { .. } | Op::Depthwise { .. }, Op::Depthwise { .. }) => DEPTHWISE_SHARE,
            _ => continue,
        };
        let factors = factors(&channels[value], share);
        scale_outputs(params, producer, &factors);
        scale_inputs(params, consumer, &factors);
    }
}

/// Each channel's `s`.
fn factors(channels: &[Channel], share: f32) -> Vec<f32> {
    let ranges: Vec<f32> =
        channels.iter().map(|c| c.max.max(-c.min).max(f32::MIN_POSITIVE)).collect();
    let mean_log = ranges.iter().map(|range| range.ln()).sum::<f32>() / ranges.len() as f32;
    let factor = |range: &f32| (share * (range.ln() - mean_log)).exp();
    ranges.iter().map(|range| factor(range).clamp(1.0 / MAX_FACTOR, MAX_FACTOR)).collect()
}

/// Divides a convolution's output channels by `factors`.
fn scale_outputs(params: &mut Params, node: &Node, factors: &[f32]) {
    let weight = &mut tensor(params, node, "weight").data;
    // [out, k, k, in], or depthwise [k, k, channels].
    let per_filter = weight.len() / factors.len();
    for (i, w) in weight.iter_mut().enumerate() {
        *w /= match node.op {
            Op::Depthwise { .. } => factors[i % factors.len()],
            _ => factors[i / per_filter],
        };
    }
    let bias = &mut tensor(params, node, "bias").data;
    bias.iter_mut().zip(factors).for_each(|(b, factor)| *b /= factor);
}

/// Multiplies a convolution's weights for each input channel by its factor.
fn scale_inputs(params: &mut Params, node: &Node, factors: &[f32]) {
    let weight = &mut tensor(params, node, "weight").data;
    // The input channel runs fastest in both layouts.
    weight.iter_mut().enumerate().for_each(|(i, w)| *w *= factors[i % factors.len()]);
}

fn tensor<'p>(
    params: &'p mut Params,
    node: &Node,
    name: &str,
) -> &'p mut super::super::checkpoint::Tensor {
    params.get_mut(&format!("{}.{name}", node.name)).expect("folding gives each its tensors")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, random_checkpoint, random_pictures};
    use super::super::{calibrate, fold};
    use super::*;
    use crate::lab::executor::Weights;
    use crate::lab::network::Preset;
    use crate::lab::reference;

    #[test]
    fn channels_come_closer_and_the_function_stays() {
        for preset in Preset::NAMES {
            let checkpoint = random_checkpoint(Preset::named(preset).unwrap(), 3);
            let (graph, params) = fold::fold(&Graph::build(&checkpoint.preset), &checkpoint.params);
            let pictures = random_pictures(2, 5);
            let ranges = |params: &Params| {
                let weights = Weights::from_params(&graph, params).unwrap();
                calibrate::channels(&graph, &weights, &pictures)
            };
            let before = ranges(&params);
            let mut even = params.clone();
            equalize(&graph, &mut even, &before);

            let logits =
                |params: &Params| reference::activations(&graph, params, &pictures).pop().unwrap();
            assert_close(&logits(&even), &logits(&params), 1e-4);
            let first = graph.nodes.iter().position(|n| n.name == "block1_depthwise1").unwrap();
            let spread = |channels: &[Channel]| {
                let ranges = channels.iter().map(|c| c.max.max(-c.min));
                ranges.clone().fold(0.0, f32::max) / ranges.fold(f32::MAX, f32::min)
            };
            assert!(spread(&ranges(&even)[first]) < 0.9 * spread(&before[first]), "{preset}");
        }
    }
}
