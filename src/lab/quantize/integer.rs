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

use super::super::checkpoint::Params;
use super::super::network::{Graph, Node, Op, Shape, same_pad_before};
use super::super::tflite::{Filter, Int8Network, Int8Op, Padding, Step, Value};
use super::calibrate::Channel;
use crate::engine::Quantization;

/// Greatest weight code; −128 is left out so that kernels may pair products in int16.
const WEIGHT_MAX: f32 = 127.0;
/// Biases stay below this many steps: 2 bits short of int32, so that sums can't overflow.
const BIAS_MAX: f32 = (1u32 << 29) as f32;
/// A pooled window up to this many pixels goes into the convolution before it; beyond that its
/// weights would grow too many.
const MAX_FUSED_WINDOW: usize = 9;

/// Builds the int8 network of a folded graph. `codes` and `channels` are by node.
pub fn integer_network(
    graph: &Graph,
    params: &Params,
    codes: &[Quantization],
    channels: &[Vec<Channel>],
    metadata: BTreeMap<String, String>,
) -> Int8Network {
    let mut builder =
        Builder { graph, params, codes, channels, values: Vec::new(), steps: Vec::new() };
    // Where each node's value is in the int8 network; a fused head has none of its own.
    let mut place: Vec<Option<usize>> = Vec::with_capacity(graph.nodes.len());
    for index in 0..graph.nodes.len() {
        let value = builder.node(index, &place);
        place.push(value);
    }
    let output = builder.values.len() - 1;
    let Builder { values, steps, .. } = builder;
    Int8Network { values, steps, input: 0, output, metadata }
}

struct Builder<'g> {
    graph: &'g Graph,
    params: &'g Params,
    codes: &'g [Quantization],
    channels: &'g [Vec<Channel>],
    values: Vec<Value>,
    steps: Vec<Step>,
}

impl Builder<'_> {
    /// Adds a node's operation and value; `None` if it becomes part of the next one.
    fn node(&mut self, index: usize, place: &[Option<usize>]) -> Option<usize> {
        let node = &self.graph.nodes[index];
        let at = |input: usize| place[input].expect("only the pooled head has no value");
        match node.op {
            Op::Input => Some(self.value(index)),
            Op::Conv { .. } if self.is_fused(index) => None,
            Op::Conv { stride, relu, .. } => {
                let kernel = Kernel::of_conv(node, self.params);
                let filter = self.filter(node.inputs[0], &kernel, stride, relu);
                Some(self.push(index, Int8Op::Conv(filter), vec![at(node.inputs[0])]))
            }
            Op::Depthwise { stride, relu, .. } => {
                let kernel = Kernel::of_depthwise(node, self.params);
                let filter = self.filter(node.inputs[0], &kernel, stride, relu);
                Some(self.push(index, Int8Op::Depthwise(filter), vec![at(node.inputs[0])]))
            }
            Op::MaxPool => Some(self.push(index, Int8Op::MaxPool, vec![at(node.inputs[0])])),
            Op::Add => {
                let inputs = node.inputs.iter().map(|&input| at(input)).collect();
                Some(self.push(index, Int8Op::Add, inputs))
            }
            Op::GlobalAveragePool => Some(self.pooled(index, place)),
            Op::BatchNorm { .. } | Op::Dropout { .. } => unreachable!("folded away"),
        }
    }

    fn value(&mut self, index: usize) -> usize {
        let node = &self.graph.nodes[index];
        let quantization = self.codes[index];
        self.values.push(Value { name: node.name.clone(), shape: node.shape, quantization });
        self.values.len() - 1
    }

    fn push(&mut self, index: usize, op: Int8Op, inputs: Vec<usize>) -> usize {
        let output = self.value(index);
        self.steps.push(Step { op, inputs, output });
        output
    }

    /// Whether this convolution is only read by a global average pool small enough to take it in.
    fn is_fused(&self, index: usize) -> bool {
        let [h, w, _] = self.graph.nodes[index].shape;
        let mut readers = self.graph.nodes.iter().filter(|node| node.inputs.contains(&index));
        let pooled = |node: &Node| node.op == Op::GlobalAveragePool;
        readers.next().is_some_and(pooled)
            && readers.next().is_none()
            && h * w <= MAX_FUSED_WINDOW
            && matches!(self.graph.nodes[index].op, Op::Conv { stride: 1, relu: false, .. })
    }

    /// Global average pooling: with the convolution before it as one over the whole picture, or
    /// alone as a depthwise convolution of equal weights (tract's MEAN is wrong, and this way the
    /// mean has a code of its own).
    fn pooled(&mut self, index: usize, place: &[Option<usize>]) -> usize {
        let head = self.graph.nodes[index].inputs[0];
        let node = &self.graph.nodes[head];
        match place[head] {
            None => {
                let x = node.inputs[0];
                let input_shape = self.graph.nodes[x].shape;
                let kernel = Kernel::of_conv(node, self.params).averaged(input_shape);
                let filter = self.filter(x, &kernel, 1, false);
                let input = place[x].expect("the head reads a value");
                self.push(index, Int8Op::Conv(filter), vec![input])
            }
            Some(input) => {
                let filter = self.filter(head, &Kernel::mean(node.shape), 1, false);
                self.push(index, Int8Op::Depthwise(filter), vec![input])
            }
        }
    }

    /// Quantizes the weights of a convolution that reads node `input`.
    ///
    /// Rounding the weights shifts the output's mean; the bias takes back the shift expected from
    /// the input channels' means (bias correction, Nagel et al. 2019, arXiv 1906.04721).
    fn filter(&self, input: usize, kernel: &Kernel, stride: usize, relu: bool) -> Filter {
        let input_scale = self.codes[input].scale;
        let coverage = kernel.coverage(self.graph.nodes[input].shape, stride);
        let mut scales = Vec::with_capacity(kernel.bias.len());
        let mut biases = Vec::with_capacity(kernel.bias.len());
        let mut codes = vec![0i8; kernel.weights.len()];
        for (channel, &bias) in kernel.bias.iter().enumerate() {
            let greatest =
                kernel.taps(channel).map(|i| kernel.weights[i].abs()).fold(0.0, f32::max);
            // A channel of hardly any weight still needs a scale that its bias fits.
            let least = (bias.abs() / (input_scale * BIAS_MAX)).max(f32::MIN_POSITIVE * 1e9);
            let scale = (greatest / WEIGHT_MAX).max(least);
            let mut lost = 0.0;
            for i in kernel.taps(channel) {
                let code = (kernel.weights[i] / scale).round_ties_even();
                codes[i] = code as i8;
                let mean = self.channels[input][i % kernel.inputs()].mean;
                lost += (kernel.weights[i] - code * scale) * mean * coverage[kernel.tap(i)];
            }
            scales.push(scale);
            biases.push(((bias + lost) / (input_scale * scale)).round_ties_even() as i32);
        }
        Filter {
            shape: kernel.shape,
            weights: codes,
            scales,
            bias: biases,
            stride,
            padding: kernel.padding,
            relu,
        }
    }
}

/// A convolution's float weights in the file's order.
struct Kernel {
    depthwise: bool,
    /// `[out, h, w, in]`, or `[1, h, w, channels]` for a depthwise convolution.
    shape: [usize; 4],
    weights: Vec<f32>,
    bias: Vec<f32>,
    padding: Padding,
}

impl Kernel {
    fn of_conv(node: &Node, params: &Params) -> Self {
        let (weight, bias) = tensors(node, params);
        let shape = weight.shape[..].try_into().expect("a convolution's weights are 4-D");
        let (weights, bias) = (weight.data.clone(), bias.data.clone());
        Self { depthwise: false, shape, weights, bias, padding: Padding::Same }
    }

    fn of_depthwise(node: &Node, params: &Params) -> Self {
        let (weight, bias) = tensors(node, params);
        let [h, w, c] = weight.shape[..].try_into().expect("depthwise weights are 3-D");
        let (weights, bias) = (weight.data.clone(), bias.data.clone());
        Self { depthwise: true, shape: [1, h, w, c], weights, bias, padding: Padding::Same }
    }

    /// The mean over a picture.
    fn mean([h, w, c]: Shape) -> Self {
        let weights = vec![1.0 / (h * w) as f32; h * w * c];
        let shape = [1, h, w, c];
        Self { depthwise: true, shape, weights, bias: vec![0.0; c], padding: Padding::Valid }
    }

    /// The mean over the picture of this convolution's (stride 1, `SAME`) output, as one window
    /// over the whole input: each input pixel's weight is the mean of those it had in all outputs.
    fn averaged(&self, [h, w, c]: Shape) -> Self {
        let [out, kernel, _, _] = self.shape;
        let pad = same_pad_before(h, kernel, 1);
        let mut weights = vec![0.0; out * h * w * c];
        for o in 0..out {
            for (oy, ox, ky, kx) in positions([h, w], kernel) {
                let (Some(y), Some(x)) = ((oy + ky).checked_sub(pad), (ox + kx).checked_sub(pad))
                else {
                    continue;
                };
                if y < h && x < w {
                    let from = ((o * kernel + ky) * kernel + kx) * c;
                    let to = ((o * h + y) * w + x) * c;
                    for i in 0..c {
                        weights[to + i] += self.weights[from + i] / (h * w) as f32;
                    }
                }
            }
        }
        let bias = self.bias.clone();
        Self { depthwise: false, shape: [out, h, w, c], weights, bias, padding: Padding::Valid }
    }

    /// Channels of the input that the weights' last axis counts.
    fn inputs(&self) -> usize {
        self.shape[3]
    }

    /// Indices of the weights of an output channel.
    fn taps(&self, channel: usize) -> impl Iterator<Item = usize> + use<> {
        let [_, h, w, c] = self.shape;
        let (start, step, len) =
            if self.depthwise { (channel, c, h * w) } else { (channel * h * w * c, 1, h * w * c) };
        (0..len).map(move |i| start + i * step)
    }

    /// The place in the window of a weight.
    fn tap(&self, index: usize) -> usize {
        let [_, h, w, c] = self.shape;
        index / c % (h * w)
    }

    /// For each place in the window, at what share of the output's pixels it lies on the picture
    /// (and not on the zeros around).
    fn coverage(&self, [in_h, in_w, _]: Shape, stride: usize) -> Vec<f32> {
        let [_, h, w, _] = self.shape;
        if self.padding == Padding::Valid {
            return vec![1.0; h * w];
        }
        let share = |tap: usize, side: usize, kernel: usize| {
            let pad = same_pad_before(side, kernel, stride);
            let outputs = side.div_ceil(stride);
            let inside = (0..outputs)
                .filter(|o| (o * stride + tap).checked_sub(pad).is_some_and(|i| i < side))
                .count();
            inside as f32 / outputs as f32
        };
        (0..h * w).map(|tap| share(tap / w, in_h, h) * share(tap % w, in_w, w)).collect()
    }
}

/// Every output pixel with every place in a square window.
fn positions(
    [h, w]: [usize; 2],
    kernel: usize,
) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    let window = kernel * kernel;
    (0..h * w * window)
        .map(move |i| (i / window / w, i / window % w, i % window / kernel, i % kernel))
}

fn tensors<'p>(
    node: &Node,
    params: &'p Params,
) -> (&'p super::super::checkpoint::Tensor, &'p super::super::checkpoint::Tensor) {
    let tensor = |name: &str| &params[&format!("{}.{name}", node.name)];
    (tensor("weight"), tensor("bias"))
}
