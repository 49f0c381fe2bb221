//! The folded float network and its codes, as int8 operations.
//!
//! A convolution with input `x`, weights `w` of output channel `o`, bias `b` and output `y`, codes
//! `q` and zero points `z`:
//!
//! ```text
//! y = s_y (q_y − z_y),  x = s_x (q_x − z_x),  w = s_o q_w,  |q_w| ≤ 127
//! q_y = z_y + round( s_x s_o / s_y · ( Σ (q_x − z_x) q_w + round(b / (s_x s_o)) ) )
//! ```

use std::collections::BTreeMap;

use super::super::float::{Activation, FloatGraph, Kernel, Op};
use super::super::tflite::{Filter, Int8Network, Int8Op, Step, Value};
use super::Settings;
use super::rounding::{Patches, Seen};
use crate::engine::Quantization;

/// Greatest weight code; −128 is left out so that kernels may pair products in int16.
pub const WEIGHT_MAX: f32 = 127.0;
/// Biases stay below this many steps: 2 bits short of int32, so that sums can't overflow.
const BIAS_MAX: f32 = (1u32 << 29) as f32;

/// Builds the int8 network of a graph. `codes` and `patches` are by node.
pub fn integer_network(
    graph: &FloatGraph,
    codes: &[Quantization],
    patches: &Patches,
    settings: Settings,
    metadata: BTreeMap<String, String>,
) -> Int8Network {
    let values = graph.nodes.iter().zip(codes).map(|(node, &quantization)| Value {
        name: node.name.clone(),
        shape: node.shape,
        quantization,
    });
    let operation = |index: usize| {
        let node = &graph.nodes[index];
        let filter = |kernel: &Kernel| {
            filter(kernel, codes[node.inputs[0]].scale, patches.seen(index), settings)
        };
        Some(match &node.op {
            Op::Input => return None,
            Op::Conv(kernel) => Int8Op::Conv(filter(kernel)),
            Op::Depthwise(kernel) => Int8Op::Depthwise(filter(kernel)),
            Op::MaxPool(window) => Int8Op::MaxPool(*window, Activation::None),
            Op::AveragePool(window) => Int8Op::AveragePool(*window, Activation::None),
            Op::Pad(margins) => Int8Op::Pad(*margins),
            Op::Add(activation) => Int8Op::Add(*activation),
            Op::Concat => Int8Op::Concat,
        })
    };
    let steps = graph.nodes.iter().enumerate().filter_map(|(output, node)| {
        Some(Step { op: operation(output)?, inputs: node.inputs.clone(), output })
    });
    let steps = steps.collect();
    Int8Network {
        values: values.collect(),
        steps,
        input: 0,
        output: graph.nodes.len() - 1,
        metadata,
    }
}

/// Quantizes the weights of a convolution whose input has this scale.
///
/// Rounding the weights shifts the output's mean; the bias takes back the shift expected from the
/// means of what the filters see (bias correction, Nagel et al. 2019, arXiv 1906.04721).
fn filter(kernel: &Kernel, input_scale: f32, seen: Option<&Seen>, settings: Settings) -> Filter {
    let mut filter = Filter {
        shape: kernel.shape,
        weights: vec![0; kernel.weights.len()],
        scales: scales(kernel, input_scale),
        bias: Vec::with_capacity(kernel.bias.len()),
        window: kernel.window,
        activation: kernel.activation,
    };
    for (channel, &bias) in kernel.bias.iter().enumerate() {
        let scale = filter.scales[channel];
        let places: Vec<usize> = kernel.weights_of(channel).collect();
        let exact: Vec<f32> = places.iter().map(|&i| kernel.weights[i] / scale).collect();
        let mut codes: Vec<i8> = exact.iter().map(|w| w.round_ties_even() as i8).collect();
        let mut lost = 0.0;
        if let Some(seen) = seen {
            seen.adapt(channel, &exact, &mut codes);
            let errors = exact.iter().zip(&codes).map(|(w, q)| w - f32::from(*q));
            let means = places.iter().map(|&i| seen.mean[i % seen.mean.len()]);
            lost = scale * errors.zip(means).map(|(e, mean)| e * mean).sum::<f32>();
        }
        let bias = if settings.correct_bias { bias + lost } else { bias };
        filter.bias.push((bias / (input_scale * scale)).round_ties_even() as i32);
        places.into_iter().zip(codes).for_each(|(i, code)| filter.weights[i] = code);
    }
    filter
}

/// The scale of each output channel's weights.
fn scales(kernel: &Kernel, input_scale: f32) -> Vec<f32> {
    let of_channel = |(channel, bias): (usize, &f32)| {
        let greatest = kernel.weights_of(channel).map(|i| kernel.weights[i].abs());
        // A channel of hardly any weight still needs a scale that its bias fits.
        let least = (bias.abs() / (input_scale * BIAS_MAX)).max(f32::MIN_POSITIVE * 1e9);
        (greatest.fold(0.0, f32::max) / WEIGHT_MAX).max(least)
    };
    kernel.bias.iter().enumerate().map(of_channel).collect()
}
