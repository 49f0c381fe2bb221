//! Runs a [`Graph`] on a batch of pictures, forward and backward, on all threads of the current
//! rayon pool.
//!
//! Each operation deals the batch out in runs of [`RUN`] pictures. Sums over the batch (weight
//! gradients, batch-norm statistics) are kept by run and added in the runs' order, so results do
//! not depend on the number of threads.

mod backward;

use rand::RngExt;
use rand_pcg::Pcg64;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::checkpoint::{Params, Tensor};
use super::kernels::{self, Window, conv, conv_bf16, depthwise, norm, pool};
use super::network::{Graph, LOGITS, NORM_EPSILON, Node, Op};

/// Pictures in one unit of work.
const RUN: usize = 8;
/// Pictures that [`Executor::logits`] runs at a time.
const BATCH: usize = 64;
/// Weight of a batch's statistics in the running mean and variance.
pub(super) const NORM_MOMENTUM: f32 = 0.1;

/// A graph's tensors: by node, then in the order of [`Graph::tensors_of`].
#[derive(Clone, Debug, PartialEq)]
pub struct Weights(pub Vec<Vec<Vec<f32>>>);

/// Positions of a batch norm's tensors.
pub(super) const GAMMA: usize = 0;
pub(super) const BETA: usize = 1;
pub(super) const MEAN: usize = 2;
pub(super) const VARIANCE: usize = 3;

impl Weights {
    /// Takes a graph's tensors out of `params`; `None` if one is missing.
    pub fn from_params(graph: &Graph, params: &Params) -> Option<Self> {
        let tensor = |node: &Node, name| {
            params.get(&format!("{}.{name}", node.name)).map(|tensor| tensor.data.clone())
        };
        let of = |node: &Node| {
            graph.tensors_of(node).into_iter().map(|(name, _)| tensor(node, name)).collect()
        };
        graph.nodes.iter().map(of).collect::<Option<_>>().map(Self)
    }

    /// The same tensors by name.
    pub fn to_params(&self, graph: &Graph) -> Params {
        let mut params = Params::new();
        for (node, tensors) in graph.nodes.iter().zip(&self.0) {
            for ((name, shape), data) in graph.tensors_of(node).into_iter().zip(tensors) {
                let tensor = Tensor { shape, data: data.clone() };
                params.insert(format!("{}.{name}", node.name), tensor);
            }
        }
        params
    }

    /// Whether each tensor is as long as its counterpart.
    pub fn has_sizes_of(&self, other: &Self) -> bool {
        let lens = |w: &Self| -> Vec<usize> { w.0.iter().flatten().map(Vec::len).collect() };
        lens(self) == lens(other)
    }

    /// Zeros of the same sizes.
    pub fn zeros_like(&self) -> Self {
        let zeros = |tensor: &Vec<f32>| vec![0.0; tensor.len()];
        Self(self.0.iter().map(|tensors| tensors.iter().map(zeros).collect()).collect())
    }
}

/// What a training step's forward pass keeps for its backward pass, by node.
#[derive(Clone, Default)]
struct Saved {
    /// Max pooling: which tap held the maximum.
    taps: Vec<u8>,
    /// Batch norm: the batch's mean and 1/√(variance + ε), by channel.
    mean: Vec<f32>,
    inverse: Vec<f32>,
    /// Dropout: factor by picture and channel.
    mask: Vec<f32>,
}

/// What convolutions multiply in. Everything else, sums included, is f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    F32,
    /// bfloat16 where the CPU multiplies it (AVX-512 BF16), else single precision.
    #[default]
    Bf16,
}

/// Buffers for running one graph on batches.
pub struct Executor {
    graph: Graph,
    precision: Precision,
    values: Vec<Vec<f32>>,
    saved: Vec<Saved>,
    spare: Vec<Vec<f32>>,
}

impl Executor {
    /// Prepares to run `graph` in single precision.
    pub fn new(graph: Graph) -> Self {
        Self::with_precision(graph, Precision::F32)
    }

    /// Prepares to run `graph`.
    pub fn with_precision(graph: Graph, precision: Precision) -> Self {
        let nodes = graph.nodes.len();
        Self {
            graph,
            precision,
            values: vec![Vec::new(); nodes],
            saved: vec![Saved::default(); nodes],
            spare: Vec::new(),
        }
    }

    /// The graph it runs.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Inference: `pictures` is [n, 48, 48], standardized; returns the logits, [n, 9].
    pub fn infer(&mut self, weights: &Weights, pictures: &[f32]) -> &[f32] {
        self.run(pictures, |executor, index, value| {
            let node = &executor.graph.nodes[index];
            match node.op {
                Op::BatchNorm { relu } => {
                    let tensors = &weights.0[index];
                    let inverse: Vec<f32> = tensors[VARIANCE].iter().map(|v| inverse(*v)).collect();
                    let (scale, shift) = norm_scale(tensors, &tensors[MEAN], &inverse);
                    executor.norm_apply(index, &scale, &shift, relu, value);
                }
                Op::Dropout { .. } => value.copy_from_slice(&executor.values[node.inputs[0]]),
                _ => executor.forward(index, &weights.0[index], value),
            }
        })
    }

    /// Logits of any number of pictures, [`BATCH`] at a time.
    pub fn logits(&mut self, weights: &Weights, pictures: &[f32]) -> Vec<[f32; LOGITS]> {
        let picture = self.graph.nodes[0].shape.iter().product::<usize>();
        let batches = pictures.chunks(BATCH * picture);
        batches.flat_map(|batch| self.infer(weights, batch).as_chunks().0.to_vec()).collect()
    }

    /// Every node's value of the last run, by node: [n, height, width, channels].
    pub fn values(&self) -> &[Vec<f32>] {
        &self.values
    }

    /// A training step's forward pass: batch statistics (which also move the running ones in
    /// `weights`), dropout drawn from `rng`. Returns the logits.
    pub fn train_forward(
        &mut self,
        weights: &mut Weights,
        pictures: &[f32],
        rng: &mut Pcg64,
    ) -> &[f32] {
        self.run(pictures, |executor, index, value| match executor.graph.nodes[index].op {
            Op::BatchNorm { relu } => {
                executor.norm_train_forward(index, &mut weights.0[index], relu, value);
            }
            Op::Dropout { rate } => executor.dropout_forward(index, rate, rng, value),
            Op::MaxPool => executor.max_pool_forward(index, value),
            _ => executor.forward(index, &weights.0[index], value),
        })
    }

    /// Runs every node, in order, through `compute`, and returns the last value.
    fn run(
        &mut self,
        pictures: &[f32],
        mut compute: impl FnMut(&mut Self, usize, &mut [f32]),
    ) -> &[f32] {
        let picture = self.graph.nodes[0].shape.iter().product::<usize>();
        assert_eq!(pictures.len() % picture, 0, "whole pictures");
        let n = pictures.len() / picture;
        self.values[0].clear();
        self.values[0].extend_from_slice(pictures);
        for index in 1..self.values.len() {
            let len = n * self.graph.nodes[index].shape.iter().product::<usize>();
            let mut value = std::mem::take(&mut self.values[index]);
            value.resize(len, 0.0);
            compute(self, index, &mut value);
            self.values[index] = value;
        }
        self.values.last().expect("a graph has nodes")
    }

    /// Operations that compute the same in training and inference.
    fn forward(&mut self, index: usize, tensors: &[Vec<f32>], value: &mut [f32]) {
        let node = &self.graph.nodes[index];
        let x = &self.values[node.inputs[0]];
        let (x_run, y_run) = self.run_lens(index);
        let window = self.window(index);
        let runs = value.par_chunks_mut(y_run).zip(x.par_chunks(x_run));
        match node.op {
            Op::Conv { bias, relu, .. } => {
                let bias = bias.then(|| &tensors[1][..]);
                if self.in_bf16(&window) {
                    let conv = conv_bf16::Forward::new(&window, &tensors[0]);
                    runs.for_each(|(y, x)| {
                        conv.run(x, y);
                        conv::finish(bias, relu, y);
                    });
                } else {
                    runs.for_each(|(y, x)| conv::forward(&window, x, &tensors[0], bias, relu, y));
                }
            }
            Op::Depthwise { kernel: 1, relu, .. } => {
                runs.for_each(|(y, x)| norm::apply(&tensors[0], &tensors[1], relu, x, y));
            }
            Op::Depthwise { bias, relu, .. } => {
                let bias = bias.then(|| &tensors[1][..]);
                runs.for_each(|(y, x)| depthwise::forward(&window, x, &tensors[0], bias, relu, y));
            }
            Op::MaxPool => self.max_pool_forward(index, value),
            Op::Add { relu } => {
                let floor = kernels::floor(relu);
                let other = &self.values[node.inputs[1]];
                runs.zip(other.par_chunks(x_run)).for_each(|((y, a), b)| {
                    for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
                        *y = (a + b).max(floor);
                    }
                });
            }
            Op::GlobalAveragePool => {
                let [h, w, c] = window.input;
                runs.for_each(|(y, x)| pool::average_forward(c, h * w, x, y));
            }
            Op::FakeQuant(code) => runs.for_each(|(y, x)| {
                for (y, x) in y.iter_mut().zip(x) {
                    *y = code.dequantize(code.quantize(*x));
                }
            }),
            Op::Input | Op::BatchNorm { .. } | Op::Dropout { .. } => {
                unreachable!("{} is computed by its own function", node.name)
            }
        }
    }

    fn max_pool_forward(&mut self, index: usize, value: &mut [f32]) {
        let window = self.window(index);
        let (x_run, y_run) = self.run_lens(index);
        let mut taps = std::mem::take(&mut self.saved[index].taps);
        taps.resize(value.len(), 0);
        let x = &self.values[self.graph.nodes[index].inputs[0]];
        value
            .par_chunks_mut(y_run)
            .zip(taps.par_chunks_mut(y_run))
            .zip(x.par_chunks(x_run))
            .for_each(|((y, taps), x)| pool::max_forward(&window, x, y, taps));
        self.saved[index].taps = taps;
    }

    fn norm_apply(&self, index: usize, scale: &[f32], shift: &[f32], relu: bool, y: &mut [f32]) {
        let x = &self.values[self.graph.nodes[index].inputs[0]];
        let (x_run, y_run) = self.run_lens(index);
        y.par_chunks_mut(y_run)
            .zip(x.par_chunks(x_run))
            .for_each(|(y, x)| norm::apply(scale, shift, relu, x, y));
    }

    fn norm_train_forward(
        &mut self,
        index: usize,
        tensors: &mut [Vec<f32>],
        relu: bool,
        value: &mut [f32],
    ) {
        let x = &self.values[self.graph.nodes[index].inputs[0]];
        let channels = tensors[GAMMA].len();
        let (x_run, _) = self.run_lens(index);
        let sums = x.par_chunks(x_run).map(|x| norm::moments(channels, x)).collect();
        let (sum, squares) = total(channels, sums);
        let n = (x.len() / channels) as f64;
        let mean: Vec<f32> = sum.iter().map(|s| (s / n) as f32).collect();
        let variance: Vec<f32> = (0..channels)
            .map(|c| (squares[c] / n - (sum[c] / n).powi(2)).max(0.0) as f32)
            .collect();
        let inverse: Vec<f32> = variance.iter().map(|v| inverse(*v)).collect();
        let move_to = |running: &mut f32, now: f32| *running += NORM_MOMENTUM * (now - *running);
        tensors[MEAN].iter_mut().zip(&mean).for_each(|(r, m)| move_to(r, *m));
        tensors[VARIANCE].iter_mut().zip(&variance).for_each(|(r, v)| move_to(r, *v));
        let (scale, shift) = norm_scale(tensors, &mean, &inverse);
        self.norm_apply(index, &scale, &shift, relu, value);
        self.saved[index].mean = mean;
        self.saved[index].inverse = inverse;
    }

    /// Drops whole channels of a picture and scales the others up.
    fn dropout_forward(&mut self, index: usize, rate: f32, rng: &mut Pcg64, value: &mut [f32]) {
        let node = &self.graph.nodes[index];
        let [h, w, channels] = node.shape;
        let pictures = value.len() / (h * w * channels);
        let keep = || if rng.random::<f32>() < rate { 0.0 } else { 1.0 / (1.0 - rate) };
        let mask: Vec<f32> = std::iter::repeat_with(keep).take(pictures * channels).collect();
        value.copy_from_slice(&self.values[node.inputs[0]]);
        scale_channels(value, &mask, channels);
        self.saved[index].mask = mask;
    }

    /// Whether a convolution multiplies bfloat16.
    fn in_bf16(&self, window: &Window) -> bool {
        self.precision == Precision::Bf16 && conv_bf16::supports(window)
    }

    fn window(&self, index: usize) -> Window {
        let node = &self.graph.nodes[index];
        let (kernel, stride) = match node.op {
            Op::Conv { kernel, stride, .. } | Op::Depthwise { kernel, stride, .. } => {
                (kernel, stride)
            }
            Op::MaxPool => (3, 2),
            _ => (1, 1),
        };
        let input = self.graph.nodes[node.inputs[0]].shape;
        Window { input, output: node.shape, kernel, stride }
    }

    /// Elements of the input and of the output of one run of pictures.
    fn run_lens(&self, index: usize) -> (usize, usize) {
        let node = &self.graph.nodes[index];
        let len = |node: &Node| RUN * node.shape.iter().product::<usize>();
        (len(&self.graph.nodes[node.inputs[0]]), len(node))
    }
}

fn inverse(variance: f32) -> f32 {
    1.0 / (variance + NORM_EPSILON).sqrt()
}

/// A batch norm as `x · scale + shift`.
fn norm_scale(tensors: &[Vec<f32>], mean: &[f32], inverse: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let scale: Vec<f32> = tensors[GAMMA].iter().zip(inverse).map(|(g, i)| g * i).collect();
    let shift = (0..scale.len()).map(|c| tensors[BETA][c] - mean[c] * scale[c]).collect();
    (scale, shift)
}

/// Sums by channel over all runs, in their order.
fn total(channels: usize, runs: Vec<norm::Sums>) -> (Vec<f64>, Vec<f64>) {
    let mut first = vec![0.0; channels];
    let mut second = vec![0.0; channels];
    for run in runs {
        first.iter_mut().zip(run.first).for_each(|(a, b)| *a += b);
        second.iter_mut().zip(run.second).for_each(|(a, b)| *a += b);
    }
    (first, second)
}

/// Multiplies each picture's channels by its factors in `mask` [picture, channel].
fn scale_channels(values: &mut [f32], mask: &[f32], channels: usize) {
    let pictures = mask.len() / channels;
    let len = values.len() / pictures;
    for (picture, mask) in values.chunks_exact_mut(len).zip(mask.chunks_exact(channels)) {
        for pixel in picture.chunks_exact_mut(channels) {
            pixel.iter_mut().zip(mask).for_each(|(v, m)| *v *= m);
        }
    }
}
