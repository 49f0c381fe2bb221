//! Convolutions and max pooling with TensorFlow's `SAME` padding on burn's operations, forward
//! and backward.

use burn_tensor::backend::Backend;
use burn_tensor::ops::{ConvOptions, PadMode, PaddedConvOptions};
use burn_tensor::{Int, Slice, Tensor, TensorPrimitive, module};

use super::{Value, batch_sum};
use crate::lab::network::{Graph, Op, same_pad_before};

/// What pooling pads with: below every value.
const LOWEST: f32 = f32::MIN;
const UNDILATED: [usize; 2] = [1, 1];

/// The geometry of a node that reads windows of its input.
pub struct Windowed {
    kernel: usize,
    stride: usize,
    /// Height and width of the input and of the output.
    input: [usize; 2],
    output: [usize; 2],
    channels_in: usize,
    channels_out: usize,
    depthwise: bool,
}

impl Windowed {
    /// That of the convolution or max pooling `index`.
    pub fn of(graph: &Graph, index: usize) -> Self {
        let node = &graph.nodes[index];
        let (kernel, stride) = match node.op {
            Op::Conv { kernel, stride, .. } | Op::Depthwise { kernel, stride, .. } => {
                (kernel, stride)
            }
            Op::MaxPool => (3, 2),
            _ => unreachable!("{} reads no windows", node.name),
        };
        let [in_h, in_w, channels_in] = graph.nodes[node.inputs[0]].shape;
        let [out_h, out_w, channels_out] = node.shape;
        let depthwise = matches!(node.op, Op::Depthwise { .. });
        let (input, output) = ([in_h, in_w], [out_h, out_w]);
        Self { kernel, stride, input, output, channels_in, channels_out, depthwise }
    }

    /// Convolves `x`; `weight` and `bias` are flat, in the graph's order.
    pub fn convolve<B: Backend>(
        &self,
        x: Value<B>,
        weight: Tensor<B, 1>,
        bias: Option<Tensor<B, 1>>,
    ) -> Value<B> {
        let (x, options) = self.conv_arguments(x);
        to_nhwc(module::conv2d(
            x,
            self.burns_weight(weight),
            bias,
            PaddedConvOptions::from(options),
        ))
    }

    /// The gradient of [`Self::convolve`]'s `x`.
    pub fn convolve_backward_input<B: Backend>(
        &self,
        x: Value<B>,
        weight: Tensor<B, 1>,
        dy: Value<B>,
    ) -> Value<B> {
        let (x, options) = self.conv_arguments(x);
        let weight = self.burns_weight(weight);
        let dx = B::conv2d_x_backward(float(x), float(weight), float(to_nchw(dy)), options);
        self.unpadded(to_nhwc(from_float(dx)))
    }

    /// The gradient of [`Self::convolve`]'s `weight`, flat.
    pub fn convolve_backward_weight<B: Backend>(
        &self,
        x: Value<B>,
        weight: Tensor<B, 1>,
        dy: Value<B>,
    ) -> Tensor<B, 1> {
        if self.depthwise {
            return self.depthwise_backward_weight(x, dy);
        }
        let (x, options) = self.conv_arguments(x);
        let weight = self.burns_weight(weight);
        let dweight =
            B::conv2d_weight_backward(float(x), float(weight), float(to_nchw(dy)), options);
        to_nhwc(from_float(dweight)).flatten(0, 3)
    }

    /// A depthwise weight meets each output's gradient with one pixel of its window, so a tap's
    /// gradient is the sum of a product: nine sums in place of a convolution a channel.
    fn depthwise_backward_weight<B: Backend>(&self, x: Value<B>, dy: Value<B>) -> Tensor<B, 1> {
        let x = pad(x, self.padding(0), self.padding(1), 0.0);
        let reach = |tap: usize, side: usize| {
            let end = tap + (side - 1) * self.stride + 1;
            Slice::new(tap as isize, Some(end as isize), self.stride as isize)
        };
        let taps = (0..self.kernel * self.kernel).map(|tap| {
            let rows = reach(tap / self.kernel, self.output[0]);
            let columns = reach(tap % self.kernel, self.output[1]);
            let under_tap = x.clone().slice([Slice::full(), rows, columns, Slice::full()]);
            batch_sum(under_tap * dy.clone())
        });
        Tensor::cat(taps.collect(), 0)
    }

    /// Max-pools `x`; also gives the positions of the maxima.
    pub fn max_pool<B: Backend>(&self, x: Value<B>) -> (Value<B>, Tensor<B, 4, Int>) {
        let (x, padding) = self.padded(x, LOWEST);
        let (kernel, stride) = ([self.kernel; 2], [self.stride; 2]);
        let (y, positions) =
            module::max_pool2d_with_indices(to_nchw(x), kernel, stride, padding, UNDILATED, false);
        (to_nhwc(y), positions)
    }

    /// The gradient of [`Self::max_pool`]'s `x`.
    pub fn max_pool_backward<B: Backend>(
        &self,
        x: Value<B>,
        positions: Tensor<B, 4, Int>,
        dy: Value<B>,
    ) -> Value<B> {
        let (x, padding) = self.padded(x, LOWEST);
        let gradient = B::max_pool2d_with_indices_backward(
            float(to_nchw(x)),
            [self.kernel; 2],
            [self.stride; 2],
            padding,
            UNDILATED,
            false,
            float(to_nchw(dy)),
            positions.into_primitive(),
        );
        self.unpadded(to_nhwc(from_float(gradient.x_grad)))
    }

    /// Input and options of a burn convolution.
    fn conv_arguments<B: Backend>(&self, x: Value<B>) -> (Tensor<B, 4>, ConvOptions<2>) {
        let (x, padding) = self.padded(x, 0.0);
        let groups = if self.depthwise { self.channels_in } else { 1 };
        (to_nchw(x), ConvOptions::new([self.stride; 2], padding, UNDILATED, groups))
    }

    /// A flat weight in burn's order: [out, in, kernel, kernel], or [channels, 1, kernel, kernel].
    fn burns_weight<B: Backend>(&self, weight: Tensor<B, 1>) -> Tensor<B, 4> {
        let k = self.kernel;
        if self.depthwise {
            weight.reshape([1, k, k, self.channels_out]).permute([3, 0, 1, 2])
        } else {
            to_nchw(weight.reshape([self.channels_out, k, k, self.channels_in]))
        }
    }

    /// `SAME` padding before and after along an axis.
    fn padding(&self, axis: usize) -> (usize, usize) {
        let before = same_pad_before(self.input[axis], self.kernel, self.stride);
        let covered = (self.output[axis] - 1) * self.stride + self.kernel;
        (before, covered.saturating_sub(self.input[axis] + before))
    }

    fn is_symmetric(&self) -> bool {
        (0..2).all(|axis| self.padding(axis).0 == self.padding(axis).1)
    }

    /// `x` and the padding left for burn's operation, which pads both sides alike: all of it, or
    /// none because `x` was padded here.
    fn padded<B: Backend>(&self, x: Value<B>, fill: f32) -> (Value<B>, [usize; 2]) {
        let (rows, columns) = (self.padding(0), self.padding(1));
        if self.is_symmetric() {
            (x, [rows.0, columns.0])
        } else {
            (pad(x, rows, columns, fill), [0, 0])
        }
    }

    /// The gradient of `x` from that of what [`Self::padded`] made of it.
    fn unpadded<B: Backend>(&self, dx: Value<B>) -> Value<B> {
        if self.is_symmetric() {
            return dx;
        }
        let inside = |axis: usize| {
            let before = self.padding(axis).0;
            Slice::from(before..before + self.input[axis])
        };
        dx.slice([Slice::full(), inside(0), inside(1), Slice::full()])
    }
}

fn pad<B: Backend>(
    x: Value<B>,
    rows: (usize, usize),
    columns: (usize, usize),
    fill: f32,
) -> Value<B> {
    x.pad([(0, 0), rows, columns, (0, 0)], PadMode::Constant(fill))
}

fn to_nchw<B: Backend>(value: Tensor<B, 4>) -> Tensor<B, 4> {
    value.permute([0, 3, 1, 2])
}

fn to_nhwc<B: Backend>(value: Tensor<B, 4>) -> Tensor<B, 4> {
    value.permute([0, 2, 3, 1])
}

fn float<B: Backend>(tensor: Tensor<B, 4>) -> B::FloatTensorPrimitive {
    tensor.into_primitive().tensor()
}

fn from_float<B: Backend>(tensor: B::FloatTensorPrimitive) -> Tensor<B, 4> {
    Tensor::from_primitive(TensorPrimitive::Float(tensor))
}
