//! An int8 network as data: what a `.tflite` file holds, checked and without its encoding.

use std::collections::BTreeMap;

use super::Quantization;
use super::arithmetic::unary::Unary;
use super::tract_operator::TractOperator;
use super::window::{Activation, Margins, Window};

/// Height, width and channels of an activation.
pub type Shape = [usize; 3];

/// An int8 network: values, and the steps that compute them in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8Network {
    /// Activations; step inputs and outputs are indices into this list.
    pub values: Vec<Value>,
    /// Operations in execution order.
    pub steps: Vec<Step>,
    /// The value that the caller fills.
    pub input: usize,
    /// The value that the caller reads.
    pub output: usize,
    /// Entries of the file's metadata table, by name.
    pub metadata: BTreeMap<String, String>,
}

impl Int8Network {
    /// Computes these channels of the output no more: they are made of zeros, whatever the picture.
    /// Whether that can be: they are convolutions', perhaps joined.
    pub fn forget_channels(&mut self, channels: &[usize]) -> bool {
        channels.iter().all(|&channel| self.forget(self.output, channel))
    }

    fn forget(&mut self, value: usize, channel: usize) -> bool {
        let read = self.steps.iter().flat_map(|step| &step.inputs).filter(|&&input| input == value);
        // What others read must stay.
        if read.count() > usize::from(value != self.output) {
            return false;
        }
        let Some(step) = self.steps.iter_mut().rev().find(|step| step.output == value) else {
            return false;
        };
        match &mut step.op {
            Int8Op::Conv(filter) => {
                let weights = filter.weights.len() / filter.shape[0].max(1);
                filter.weights[channel * weights..][..weights].fill(0);
                filter.bias[channel] = 0;
                true
            }
            Int8Op::Concat => {
                let mut channel = channel;
                for input in step.inputs.clone() {
                    let channels = self.values[input].shape[2];
                    match channel.checked_sub(channels) {
                        Some(rest) => channel = rest,
                        None => return self.forget(input, channel),
                    }
                }
                false
            }
            _ => false,
        }
    }
}

/// An int8 activation.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Unique name.
    pub name: String,
    /// Height, width, channels.
    pub shape: Shape,
    /// Its code.
    pub quantization: Quantization,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it computes.
    pub op: Int8Op,
    /// Values it reads.
    pub inputs: Vec<usize>,
    /// The value it gives.
    pub output: usize,
}

/// The operations of the int8 network.
#[derive(Clone, Debug, PartialEq)]
pub enum Int8Op {
    /// Convolution over all input channels: weights `[out, height, width, in]`.
    Conv(Filter),
    /// Convolution of each channel alone: weights `[1, height, width, channels]`.
    Depthwise(Filter),
    /// Max pooling; input and output share their code.
    MaxPool(Window, Activation),
    /// The mean of what of a window lies within the picture; input and output share their code.
    AveragePool(Window, Activation),
    /// The mean of each channel.
    Mean,
    /// Rows and columns of zeros around a picture; input and output share their code.
    Pad(Margins),
    /// Zeros between pixels: so many rows and columns from one to the next; input and output share their code.
    Space([usize; 2]),
    /// Sum of two values, see [`super::addition`]; the second may be a row, for all pixels. tract takes only
    /// such of one code with the output's and of one shape.
    Add(Activation),
    /// The first value less the second, else as [`Int8Op::Add`].
    Subtract(Activation),
    /// Product of two values, see [`super::multiplication`]; the second may be a row, for all pixels.
    Multiply(Activation),
    /// A value, below zero times another, see [`super::prelu`]; this may be a row, for all pixels.
    Prelu,
    /// A function of each value by itself.
    Unary(Unary),
    /// These codes, whatever the picture.
    Constant(Vec<i8>),
    /// The same codes in another shape.
    Reshape,
    /// All inputs' channels, one after the other; all and the output share their code.
    Concat,
    /// What tract runs.
    InTract(TractOperator),
}

/// Weights of a convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// Shape of the weights, see [`Int8Op`].
    pub shape: [usize; 4],
    /// Codes −128…127, the least of which quantizers leave out, row-major, zero point 0.
    pub weights: Vec<i8>,
    /// Scale of each output channel's weights.
    pub scales: Vec<f32>,
    /// Bias of each output channel, in steps of input scale · weight scale.
    pub bias: Vec<i32>,
    /// Where it looks: `SAME` or `VALID`, see [`super::window::Padding`].
    pub window: Window,
    /// What the output is clamped to.
    pub activation: Activation,
}

#[cfg(test)]
mod tests {
    use super::super::window::Padding;
    use super::*;

    /// Two heads of two channels each, joined.
    fn two_heads() -> Int8Network {
        let value = |channels| Value {
            name: String::new(),
            shape: [1, 1, channels],
            quantization: Quantization { scale: 1.0, zero_point: 0 },
        };
        let head = |output| {
            let filter = Filter {
                shape: [2, 1, 1, 3],
                weights: vec![1; 6],
                scales: vec![1.0; 2],
                bias: vec![1; 2],
                window: Window { padding: Padding::Valid, ..Window::PIXEL },
                activation: Activation::None,
            };
            Step { op: Int8Op::Conv(filter), inputs: vec![0], output }
        };
        let joined = Step { op: Int8Op::Concat, inputs: vec![1, 2], output: 3 };
        Int8Network {
            values: vec![value(3), value(2), value(2), value(4)],
            steps: vec![head(1), head(2), joined],
            input: 0,
            output: 3,
            metadata: BTreeMap::new(),
        }
    }

    #[test]
    fn a_head_that_is_joined_to_another_is_forgotten() {
        let mut network = two_heads();
        assert!(network.forget_channels(&[3]));
        let Int8Op::Conv(filter) = &network.steps[1].op else { panic!("no convolution") };
        assert_eq!((&filter.weights[..], &filter.bias[..]), (&[1, 1, 1, 0, 0, 0][..], &[1, 0][..]));
        assert_eq!(network.steps[0], two_heads().steps[0]);
    }

    #[test]
    fn what_others_read_is_not_forgotten() {
        let mut network = two_heads();
        network.steps[2].inputs = vec![1, 2, 2];
        assert!(!network.forget_channels(&[2]));
        assert!(network.forget_channels(&[0]));
    }
}
