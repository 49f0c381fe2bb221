//! The training passes on a burn backend.
//!
//! burn's autodiff is not used: its gradient of a depthwise convolution's weights convolves one
//! channel at a time, which leaves a GPU idle. The backward pass is written out in [`backward`]
//! instead, as [`crate::lab::executor`] has it.
//!
//! Values are [n, height, width, channels], as on the CPU; burn's convolutions, which name their
//! axes [n, channels, height, width], see permuted views of them. Each pass sends and fetches one
//! flat tensor.

mod backward;
mod windowed;

use burn_tensor::backend::Backend;
use burn_tensor::{Int, Tensor, TensorData, activation};
use rand::RngExt;
use rand_pcg::Pcg64;

use self::windowed::Windowed;
use super::{DeviceError, Passes};
use crate::lab::executor::{BETA, GAMMA, MEAN, NORM_MOMENTUM, VARIANCE, Weights};
use crate::lab::network::{Graph, NORM_EPSILON, Op};

/// A node's value for a batch: [n, height, width, channels].
type Value<B> = Tensor<B, 4>;

/// What the forward pass keeps of a node for the backward pass.
#[derive(Clone)]
enum Saved<B: Backend> {
    Nothing,
    /// The batch's mean and 1/√(variance + ε), each [1, 1, 1, channels].
    Norm {
        mean: Value<B>,
        inverse: Value<B>,
    },
    /// Positions of the maxima, as burn gives them.
    MaxPool(Tensor<B, 4, Int>),
    /// Factors, [n, 1, 1, channels].
    Dropout(Value<B>),
}

/// Runs one graph's training passes on burn's backend `B`.
pub struct BurnExecutor<B: Backend> {
    graph: Graph,
    device: B::Device,
    /// The weights of the last forward pass, flat, in the order of [`Weights`].
    weights: Vec<Vec<Tensor<B, 1>>>,
    values: Vec<Value<B>>,
    saved: Vec<Saved<B>>,
    logits: Vec<f32>,
}

impl<B: Backend> BurnExecutor<B> {
    /// Prepares to run `graph` on `device`.
    pub fn new(graph: Graph, device: B::Device) -> Self {
        Self {
            graph,
            device,
            weights: Vec::new(),
            values: Vec::new(),
            saved: Vec::new(),
            logits: Vec::new(),
        }
    }

    fn send<const D: usize>(&self, data: Vec<f32>, shape: [usize; D]) -> Tensor<B, D> {
        Tensor::from_data(TensorData::new(data, shape), &self.device)
    }

    fn send_weights(&mut self, weights: &Weights) {
        let flat = weights.0.concat().concat();
        let flat = self.send(flat.clone(), [flat.len()]);
        let mut start = 0;
        let mut next = |tensor: &Vec<f32>| {
            let range = start..start + tensor.len();
            start = range.end;
            flat.clone().slice(range)
        };
        let weights = weights.0.iter();
        self.weights = weights.map(|tensors| tensors.iter().map(&mut next).collect()).collect();
    }

    /// A batch norm's tensor, [1, 1, 1, channels].
    fn norm_tensor(&self, index: usize, tensor: usize) -> Value<B> {
        let channels = self.graph.nodes[index].shape[2];
        self.weights[index][tensor].clone().reshape([1, 1, 1, channels])
    }

    /// Value `index` of the batch, and what the backward pass needs besides. A batch norm's
    /// statistics are appended to `statistics`: mean, then variance.
    fn forward(
        &self,
        index: usize,
        rng: &mut Pcg64,
        statistics: &mut Vec<Tensor<B, 1>>,
    ) -> (Value<B>, Saved<B>) {
        let node = &self.graph.nodes[index];
        let x = self.values[node.inputs[0]].clone();
        match node.op {
            Op::Input => unreachable!("the input is given"),
            Op::Conv { relu, .. } | Op::Depthwise { relu, .. } => {
                let windowed = Windowed::of(&self.graph, index);
                let [weight, bias @ ..] = &self.weights[index][..] else {
                    unreachable!("a convolution has weights")
                };
                let y = windowed.convolve(x, weight.clone(), bias.first().cloned());
                (rectified(y, relu), Saved::Nothing)
            }
            Op::BatchNorm { relu } => {
                let mean = batch_mean(x.clone());
                let centered = x - mean.clone();
                let variance = batch_mean(centered.clone() * centered.clone());
                let inverse = (variance.clone() + NORM_EPSILON).sqrt().recip();
                let scale = self.norm_tensor(index, GAMMA) * inverse.clone();
                let y = centered * scale + self.norm_tensor(index, BETA);
                statistics.extend([mean.clone().flatten(0, 3), variance.flatten(0, 3)]);
                (rectified(y, relu), Saved::Norm { mean, inverse })
            }
            Op::MaxPool => {
                let (y, positions) = Windowed::of(&self.graph, index).max_pool(x);
                (y, Saved::MaxPool(positions))
            }
            Op::Add { relu } => {
                (rectified(x + self.values[node.inputs[1]].clone(), relu), Saved::Nothing)
            }
            Op::Dropout { rate } => {
                let [n, _, _, channels] = x.dims();
                let keep = || if rng.random::<f32>() < rate { 0.0 } else { 1.0 / (1.0 - rate) };
                let mask = std::iter::repeat_with(keep).take(n * channels).collect();
                let mask = self.send(mask, [n, 1, 1, channels]);
                (x * mask.clone(), Saved::Dropout(mask))
            }
            Op::GlobalAveragePool => (x.mean_dim(2).mean_dim(1), Saved::Nothing),
            Op::FakeQuant(code) => {
                let [low, high] = [i8::MIN, i8::MAX].map(|end| code.dequantize(end));
                ((x / code.scale).round().mul_scalar(code.scale).clamp(low, high), Saved::Nothing)
            }
        }
    }

    /// Moves the running statistics by the batch's, which `fetched` lists by batch norm.
    fn move_statistics(&self, weights: &mut Weights, mut fetched: &[f32]) {
        for (node, tensors) in self.graph.nodes.iter().zip(&mut weights.0) {
            if matches!(node.op, Op::BatchNorm { .. }) {
                for tensor in [MEAN, VARIANCE] {
                    let (now, rest) = fetched.split_at(tensors[tensor].len());
                    for (running, now) in tensors[tensor].iter_mut().zip(now) {
                        *running += NORM_MOMENTUM * (now - *running);
                    }
                    fetched = rest;
                }
            }
        }
    }
}

impl<B: Backend> Passes for BurnExecutor<B> {
    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn train_forward(
        &mut self,
        weights: &mut Weights,
        pictures: &[f32],
        rng: &mut Pcg64,
    ) -> Result<&[f32], DeviceError> {
        self.send_weights(weights);
        let [height, width, channels] = self.graph.nodes[0].shape;
        let n = pictures.len() / (height * width * channels);
        self.values = vec![self.send(pictures.to_vec(), [n, height, width, channels])];
        self.saved = vec![Saved::Nothing];
        let mut wanted = Vec::new();
        for index in 1..self.graph.nodes.len() {
            let (value, saved) = self.forward(index, rng, &mut wanted);
            self.values.push(value);
            self.saved.push(saved);
        }
        let logits = self.values[self.values.len() - 1].clone();
        wanted.push(logits.flatten(0, 3));
        let mut fetched = fetch(Tensor::cat(wanted, 0))?;
        let logits_len = n * self.graph.nodes[self.values.len() - 1].shape[2];
        self.logits = fetched.split_off(fetched.len() - logits_len);
        self.move_statistics(weights, &fetched);
        Ok(&self.logits)
    }

    /// Takes the weights that the forward pass sent, so `_weights` must be the same.
    fn backward(
        &mut self,
        _weights: &Weights,
        dlogits: &[f32],
        gradients: &mut Weights,
    ) -> Result<(), DeviceError> {
        self.run_backward(dlogits, gradients)
    }
}

/// The elements of a tensor, once the device has computed them.
fn fetch<B: Backend>(tensor: Tensor<B, 1>) -> Result<Vec<f32>, DeviceError> {
    let data = tensor.try_into_data().map_err(|e| DeviceError::Failed { why: e.to_string() })?;
    data.into_vec().map_err(|e| DeviceError::Failed { why: format!("{e:?}") })
}

fn rectified<B: Backend>(value: Value<B>, relu: bool) -> Value<B> {
    if relu { activation::relu(value) } else { value }
}

/// Mean by channel, [1, 1, 1, channels]. Axis by axis: the first leaves a GPU work for all its
/// cores, and short sums lose little in single precision.
fn batch_mean<B: Backend>(value: Value<B>) -> Value<B> {
    value.mean_dim(2).mean_dim(1).mean_dim(0)
}

/// Sum by channel, [channels], as [`batch_mean`] does it.
fn batch_sum<B: Backend>(value: Value<B>) -> Tensor<B, 1> {
    value.sum_dim(2).sum_dim(1).sum_dim(0).flatten(0, 3)
}
