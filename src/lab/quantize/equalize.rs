//! Evens out the channels of a value, exactly, so that one int8 code serves them all.
//!
//! All channels of a value share one code, so a channel that stays small is coded by few steps.
//! Between convolutions each channel may be scaled at will: the filters that give it by `1/f`, the
//! weights that read it by `f`. ReLU, max pools and sums let a positive factor through, so that a
//! whole group of tied values (a chain of residual blocks) takes one factor for each channel.
//! (Cross-layer equalization, Nagel et al. 2019, arXiv 1906.04721.)
//!
//! Before a depthwise convolution, whose channels have a weight scale each, ranges become equal.
//! Another convolution's weights get the more uneven, the more even its input is: there `f` is the
//! root of the channel's range over that of the weights which read it (SmoothQuant, Xiao et al. 2022,
//! arXiv 2211.10438; the root was chosen on Training faces). However a network's channels were scaled
//! before, they come out the same.

use super::super::float::{Activation, FloatGraph, Kernel, Op};
use super::calibrate::Channel;
use super::ties::Ties;

/// Greatest factor either way, for channels that are (nearly) always 0.
const MAX_FACTOR: f32 = 1000.0;

/// Rescales the channels of every group of tied values between convolutions. `channels` are the
/// values' ranges.
pub fn equalize(graph: &mut FloatGraph, ties: &Ties, channels: &[Vec<Channel>]) {
    let ranges: Vec<Vec<f32>> =
        ties.groups().iter().map(|group| group_ranges(group, channels)).collect();
    let of_group = |group: usize| factors(graph, ties, group, &ranges[group]);
    let factors: Vec<Option<Vec<f32>>> = (0..ranges.len()).map(of_group).collect();
    for value in 0..graph.nodes.len() {
        let input = graph.nodes[value].inputs.first().copied();
        let Some(kernel) = graph.nodes[value].op.kernel_mut() else { continue };
        if let Some(factors) = input.and_then(|input| factors[ties.group_of(input)].as_ref()) {
            scale_inputs(kernel, factors);
        }
        if let Some(factors) = &factors[ties.group_of(value)] {
            let smaller: Vec<f32> = factors.iter().map(|factor| 1.0 / factor).collect();
            kernel.rescale(&smaller, &vec![0.0; factors.len()]);
        }
    }
}

/// The greatest size of each channel in any of a group's values; none of values that differ in
/// their number of channels.
fn group_ranges(group: &[usize], channels: &[Vec<Channel>]) -> Vec<f32> {
    let mut ranges = vec![0.0f32; channels[group[0]].len()];
    for channels in group.iter().map(|value| &channels[*value]) {
        for (range, channel) in ranges.iter_mut().zip(channels) {
            *range = range.max(channel.max).max(-channel.min);
        }
    }
    ranges
}

/// Each channel's `f`, if the group's channels may be scaled.
fn factors(graph: &FloatGraph, ties: &Ties, group: usize, ranges: &[f32]) -> Option<Vec<f32>> {
    let members = &ties.groups()[group];
    let scales = |value: &usize| match &graph.nodes[*value].op {
        // A picture's and the logits' scale are given; joined channels stand elsewhere than before.
        Op::Input | Op::Concat => false,
        Op::Conv(Kernel { activation, .. })
        | Op::Depthwise(Kernel { activation, .. })
        | Op::Add(activation) => {
            // A limit is no longer the same when its channel is scaled, but zero is.
            matches!(activation, Activation::None | Activation::Relu)
                && *value + 1 < graph.nodes.len()
        }
        Op::MaxPool(_) | Op::AveragePool(_) | Op::Pad(_) => true,
    };
    if !members.iter().all(scales) {
        return None;
    }
    let readers = (graph.nodes.iter()).filter_map(|node| match &node.op {
        Op::Conv(kernel) if members.contains(&node.inputs[0]) => Some(kernel),
        _ => None,
    });
    let mut weights = vec![0.0f32; ranges.len()];
    for kernel in readers {
        weights_read(kernel, ranges, &mut weights);
    }
    let is_read_by_conv = weights.iter().any(|weight| *weight > 0.0);
    let log = |(range, weight): (&f32, &f32)| match is_read_by_conv {
        true if *range > 0.0 && *weight > 0.0 => Some((range.ln() - weight.ln()) / 2.0),
        false if *range > 0.0 => Some(range.ln()),
        // What is always 0 or never read stays.
        _ => None,
    };
    let logs: Vec<Option<f32>> = ranges.iter().zip(&weights).map(log).collect();
    let known: Vec<f32> = logs.iter().flatten().copied().collect();
    let mean = known.iter().sum::<f32>() / known.len().max(1) as f32;
    let factor = |log: &Option<f32>| log.map_or(1.0, |log| (log - mean).exp());
    let limited = |log| factor(log).clamp(1.0 / MAX_FACTOR, MAX_FACTOR);
    Some(logs.iter().map(limited).collect())
}

/// Raises `weights` to the greatest weight of any filter that reads each channel, as a share of the
/// most that one channel of these `ranges` adds to that filter's sum: so that a filter's own scale
/// does not count.
fn weights_read(kernel: &Kernel, ranges: &[f32], weights: &mut [f32]) {
    let inputs = ranges.len();
    for filter in kernel.weights.chunks_exact(kernel.weights.len() / kernel.bias.len()) {
        let taps = || filter.iter().enumerate().map(|(i, weight)| (i % inputs, weight.abs()));
        let most = taps().map(|(input, weight)| weight * ranges[input]).fold(0.0, f32::max);
        if most > 0.0 {
            taps().for_each(|(input, weight)| weights[input] = weights[input].max(weight / most));
        }
    }
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
    use super::super::watched::Watched;
    use super::*;
    use crate::lab::network::Preset;

    fn channels(graph: &FloatGraph, pictures: &[f32]) -> Vec<Vec<Channel>> {
        let mut pictures = Watched { pictures, watch: &mut |_| () };
        calibrate::channels(graph, &mut pictures).unwrap()
    }

    #[test]
    fn channels_come_closer_and_the_function_stays() {
        for preset in Preset::NAMES {
            let graph = lowered(&random_checkpoint(Preset::named(preset).unwrap(), 3));
            let pictures = random_pictures(2, 5);
            let before = channels(&graph, &pictures);
            let mut even = graph.clone();
            equalize(&mut even, &Ties::of(&graph), &before);

            assert_close(&even.outputs(&pictures), &graph.outputs(&pictures), 1e-4);
            let first = graph.nodes.iter().position(|n| n.name == "block1_depthwise1").unwrap();
            let spread = |channels: &[Channel]| {
                let ranges = channels.iter().map(|c| c.max.max(-c.min));
                ranges.clone().fold(0.0, f32::max) / ranges.fold(f32::MAX, f32::min)
            };
            let after = channels(&even, &pictures);
            assert!(spread(&after[first]) < 0.9 * spread(&before[first]), "{preset}");
        }
    }

    /// Channels that were scaled before come out as if they had not been, but for one factor of all.
    #[test]
    fn an_earlier_scaling_leaves_no_trace() {
        let graph = lowered(&random_checkpoint(Preset::named("slim").unwrap(), 4));
        let at = |name: &str| graph.nodes.iter().position(|n| n.name == name).unwrap();
        let [first, second] = ["block1_depthwise1", "block1_pointwise1"].map(at);
        let mut random = fastrand::Rng::with_seed(2);
        let factors: Vec<f32> =
            (0..graph.nodes[first].shape[2]).map(|_| 100f32.powf(random.f32() - 0.5)).collect();
        let inverse: Vec<f32> = factors.iter().map(|factor| 1.0 / factor).collect();
        let mut scaled = graph.clone();
        let zeros = vec![0.0; factors.len()];
        scaled.nodes[first].op.kernel_mut().unwrap().rescale(&factors, &zeros);
        scale_inputs(scaled.nodes[second].op.kernel_mut().unwrap(), &inverse);

        let pictures = random_pictures(2, 5);
        let ratios = [graph, scaled].map(|mut graph| {
            let channels = channels(&graph, &pictures);
            let ties = Ties::of(&graph);
            equalize(&mut graph, &ties, &channels);
            graph.nodes[second].op.kernel().unwrap().weights.clone()
        });
        let common = ratios[0][0] / ratios[1][0];
        for (plain, scaled) in ratios[0].iter().zip(&ratios[1]) {
            assert!((plain - common * scaled).abs() <= 1e-3 * plain.abs(), "{plain} {scaled}");
        }
    }
}
