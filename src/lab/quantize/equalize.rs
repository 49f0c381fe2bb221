//! Evens out the channels of a value, exactly, so that one int8 code serves them all.
//!
//! All channels of a value share one code, so a channel that stays small is coded by few steps.
//! Between two convolutions each channel may be scaled at will: the first one's filter by `1/s`,
//! the second one's weights for that channel by `s`. ReLU lets a positive factor through. (Cross-
//! layer equalization, Nagel et al. 2019, arXiv 1906.04721, on the values' ranges.)

use super::super::float::{Activation, FloatGraph, Kernel, Op};
use super::calibrate::Channel;

/// How far channels are evened out before a convolution, whose weights become the more uneven:
/// `s = (range / mean range)^share`. Chosen on Training faces among 0, 0.5, 0.75 and 1.
const CONV_SHARE: f32 = 0.75;
/// The same before a depthwise convolution, whose every channel has a weight scale of its own.
const DEPTHWISE_SHARE: f32 = 1.0;
/// Greatest factor, for channels that are (nearly) always 0.
const MAX_FACTOR: f32 = 20.0;

/// Rescales the channels between every two convolutions of which the second alone reads the
/// first. `channels` are the values' ranges.
pub fn equalize(graph: &mut FloatGraph, channels: &[Vec<Channel>]) {
    for (value, channels) in channels.iter().enumerate() {
        let consumers: Vec<usize> =
            (0..graph.nodes.len()).filter(|i| graph.nodes[*i].inputs.contains(&value)).collect();
        let &[consumer] = consumers.as_slice() else { continue };
        let share = match (&graph.nodes[value].op, &graph.nodes[consumer].op) {
            // Six is no longer six when its channel is scaled.
            (Op::Conv(kernel) | Op::Depthwise(kernel), _)
                if kernel.activation == Activation::Relu6 =>
            {
                continue;
            }
            (Op::Conv(_) | Op::Depthwise(_), Op::Conv(_)) => CONV_SHARE,
            (Op::Conv(_) | Op::Depthwise(_), Op::Depthwise(_)) => DEPTHWISE_SHARE,
            _ => continue,
        };
        let factors = factors(channels, share);
        if let Some(producer) = graph.nodes[value].op.kernel_mut() {
            let smaller: Vec<f32> = factors.iter().map(|factor| 1.0 / factor).collect();
            producer.rescale(&smaller, &vec![0.0; factors.len()]);
        }
        if let Some(consumer) = graph.nodes[consumer].op.kernel_mut() {
            scale_inputs(consumer, &factors);
        }
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

/// Multiplies a convolution's weights for each input channel by its factor.
fn scale_inputs(kernel: &mut Kernel, factors: &[f32]) {
    // The input channel runs fastest in both layouts.
    kernel.weights.iter_mut().enumerate().for_each(|(i, w)| *w *= factors[i % factors.len()]);
}

#[cfg(test)]
mod tests {
    use super::super::calibrate;
    use super::super::tests::{assert_close, lowered, random_checkpoint, random_pictures};
    use super::*;
    use crate::lab::network::Preset;

    #[test]
    fn channels_come_closer_and_the_function_stays() {
        for preset in Preset::NAMES {
            let graph = lowered(&random_checkpoint(Preset::named(preset).unwrap(), 3));
            let pictures = random_pictures(2, 5);
            let before = calibrate::channels(&graph, &pictures);
            let mut even = graph.clone();
            equalize(&mut even, &before);

            assert_close(&even.outputs(&pictures), &graph.outputs(&pictures), 1e-4);
            let first = graph.nodes.iter().position(|n| n.name == "block1_depthwise1").unwrap();
            let spread = |channels: &[Channel]| {
                let ranges = channels.iter().map(|c| c.max.max(-c.min));
                ranges.clone().fold(0.0, f32::max) / ranges.fold(f32::MAX, f32::min)
            };
            let after = calibrate::channels(&even, &pictures);
            assert!(spread(&after[first]) < 0.9 * spread(&before[first]), "{preset}");
        }
    }
}
