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

use super::super::float::{FloatGraph, Kernel, Op};
use super::super::network::Shape;
use super::super::tflite::{Filter, Int8Network, Int8Op, Step, Value};
use super::calibrate::Channel;
use crate::engine::Quantization;

/// Greatest weight code; −128 is left out so that kernels may pair products in int16.
const WEIGHT_MAX: f32 = 127.0;
/// Biases stay below this many steps: 2 bits short of int32, so that sums can't overflow.
const BIAS_MAX: f32 = (1u32 << 29) as f32;

/// Builds the int8 network of a graph. `codes` and `channels` are by node.
pub fn integer_network(
    graph: &FloatGraph,
    codes: &[Quantization],
    channels: &[Vec<Channel>],
    metadata: BTreeMap<String, String>,
) -> Int8Network {
    let values = graph.nodes.iter().zip(codes).map(|(node, &quantization)| Value {
        name: node.name.clone(),
        shape: node.shape,
        quantization,
    });
    let operation = |op: &Op, input: usize| {
        let filter = |kernel: &Kernel| {
            let scale = codes[input].scale;
            filter(kernel, scale, &channels[input], graph.nodes[input].shape)
        };
        Some(match op {
            Op::Input => return None,
            Op::Conv(kernel) => Int8Op::Conv(filter(kernel)),
            Op::Depthwise(kernel) => Int8Op::Depthwise(filter(kernel)),
            Op::MaxPool(window) => Int8Op::MaxPool(*window),
            Op::Add(activation) => Int8Op::Add(*activation),
            Op::Concat => Int8Op::Concat,
        })
    };
    let steps = graph.nodes.iter().enumerate().filter_map(|(output, node)| {
        let op = operation(&node.op, *node.inputs.first().unwrap_or(&0))?;
        Some(Step { op, inputs: node.inputs.clone(), output })
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

/// Quantizes the weights of a convolution that reads a value of this scale, shape, and channels.
///
/// Rounding the weights shifts the output's mean; the bias takes back the shift expected from the
/// input channels' means (bias correction, Nagel et al. 2019, arXiv 1906.04721).
fn filter(kernel: &Kernel, input_scale: f32, channels: &[Channel], shape: Shape) -> Filter {
    let coverage = coverage(kernel, shape);
    let outputs = kernel.bias.len();
    let mut greatest = vec![0f32; outputs];
    for (i, weight) in kernel.weights.iter().enumerate() {
        let greatest = &mut greatest[kernel.channel_of(i)];
        *greatest = greatest.max(weight.abs());
    }
    // A channel of hardly any weight still needs a scale that its bias fits.
    let scales: Vec<f32> = (greatest.iter().zip(&kernel.bias))
        .map(|(greatest, bias)| {
            let least = (bias.abs() / (input_scale * BIAS_MAX)).max(f32::MIN_POSITIVE * 1e9);
            (greatest / WEIGHT_MAX).max(least)
        })
        .collect();
    let mut lost = vec![0.0; outputs];
    let mut weights = Vec::with_capacity(kernel.weights.len());
    for (i, weight) in kernel.weights.iter().enumerate() {
        let channel = kernel.channel_of(i);
        let code = (weight / scales[channel]).round_ties_even();
        weights.push(code as i8);
        let mean = channels[i % kernel.shape[3]].mean;
        lost[channel] += (weight - code * scales[channel]) * mean * coverage[kernel.tap_of(i)];
    }
    let bias = (kernel.bias.iter().zip(lost).zip(&scales))
        .map(|((bias, lost), scale)| {
            ((bias + lost) / (input_scale * scale)).round_ties_even() as i32
        })
        .collect();
    Filter {
        shape: kernel.shape,
        weights,
        scales,
        bias,
        window: kernel.window,
        activation: kernel.activation,
    }
}

/// For each place in the window, at what share of the output's pixels it lies on the picture (and
/// not on the zeros around).
fn coverage(kernel: &Kernel, [h, w, _]: Shape) -> Vec<f32> {
    let window = &kernel.window;
    let [out_h, out_w] = window.output([h, w]).expect("the graph's shapes fit");
    let mut hits = vec![0usize; window.kernel[0] * window.kernel[1]];
    for output in 0..out_h * out_w {
        for (tap, _, _) in window.taps([h, w], [output / out_w, output % out_w]) {
            hits[tap] += 1;
        }
    }
    hits.into_iter().map(|hits| hits as f32 / (out_h * out_w) as f32).collect()
}
