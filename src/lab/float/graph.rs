//! The lowered form: what an int8 file may hold, with float weights.

use super::super::network::Shape;
use super::window::{Activation, Margins, Window};

/// A float network. Node 0 is the input, the last one gives the logits.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatGraph {
    /// In execution order; node `i` computes value `i`.
    pub nodes: Vec<Node>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique in its graph.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Values it reads, all of earlier nodes.
    pub inputs: Vec<usize>,
    /// Height, width and channels of what it gives.
    pub shape: Shape,
}

/// What a node computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The picture.
    Input,
    /// Convolution over all channels; weights `[out, height, width, in]`.
    Conv(Kernel),
    /// Convolution of each channel alone; weights `[1, height, width, channels]`.
    Depthwise(Kernel),
    /// Greatest value under a window.
    MaxPool(Window),
    /// Mean of what of a window lies within the picture.
    AveragePool(Window),
    /// Zeros around the picture.
    Pad(Margins),
    /// Sum of two values of one shape.
    Add(Activation),
    /// All inputs' channels, one after the other.
    Concat,
}

/// The weights of a convolution. Its window's padding is `Same` or `Valid`.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// See [`Op`].
    pub shape: [usize; 4],
    /// Row-major.
    pub weights: Vec<f32>,
    /// By output channel.
    pub bias: Vec<f32>,
    /// Where it looks.
    pub window: Window,
    /// What follows.
    pub activation: Activation,
}

impl Op {
    /// The weights, if it has any.
    pub fn kernel(&self) -> Option<&Kernel> {
        match self {
            Self::Conv(kernel) | Self::Depthwise(kernel) => Some(kernel),
            _ => None,
        }
    }

    /// The weights, to be changed.
    pub fn kernel_mut(&mut self) -> Option<&mut Kernel> {
        match self {
            Self::Conv(kernel) | Self::Depthwise(kernel) => Some(kernel),
            _ => None,
        }
    }
}

/// Places of one channel's weights among the `len` of a convolution with so many output `channels`:
/// `[out, …]`, or depthwise `[…, channels]`.
pub fn channel_weights(
    is_depthwise: bool,
    len: usize,
    channels: usize,
    channel: usize,
) -> impl Iterator<Item = usize> + use<> {
    let taps = len / channels;
    let (start, step) = if is_depthwise { (channel, channels) } else { (channel * taps, 1) };
    (0..taps).map(move |i| start + i * step)
}

impl Kernel {
    /// Whether each channel has a filter of its own. (A depthwise convolution of one channel is a
    /// convolution too.)
    pub fn is_depthwise(&self) -> bool {
        self.shape[0] == 1 && self.bias.len() == self.shape[3]
    }

    /// Places of an output channel's weights.
    pub fn weights_of(&self, channel: usize) -> impl Iterator<Item = usize> + use<> {
        channel_weights(self.is_depthwise(), self.weights.len(), self.bias.len(), channel)
    }

    /// Multiplies output channel `c` by `scale[c]` and adds `shift[c]`.
    pub fn rescale(&mut self, scale: &[f32], shift: &[f32]) {
        for (channel, scale) in scale.iter().enumerate() {
            for i in self.weights_of(channel) {
                self.weights[i] *= scale;
            }
        }
        for ((bias, scale), shift) in self.bias.iter_mut().zip(scale).zip(shift) {
            *bias = *bias * scale + shift;
        }
    }
}

impl FloatGraph {
    /// Multiply-accumulates of one picture, taps outside it included.
    pub fn macs(&self) -> u64 {
        self.nodes.iter().map(Node::macs).sum()
    }

    /// Whether stock tract is asked what its int8 form computes: not of averages, which it rounds otherwise
    /// than LiteRT, nor of zero padding, which is untried.
    pub fn is_known_to_tract(&self) -> bool {
        !self.nodes.iter().any(|node| matches!(node.op, Op::AveragePool(_) | Op::Pad(_)))
    }
}

impl Node {
    /// Multiply-accumulates of one picture.
    pub fn macs(&self) -> u64 {
        let [h, w, _] = self.shape;
        self.op.kernel().map_or(0, |kernel| (h * w * kernel.weights.len()) as u64)
    }
}
