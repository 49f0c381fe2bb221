//! The backward pass of [`Executor`].

use rayon::prelude::*;

use super::{BETA, Executor, GAMMA, RUN, Weights, scale_channels, total};
use crate::lab::kernels::matmul::Target;
use crate::lab::kernels::{Window, conv, conv_bf16, depthwise, norm, pool};
use crate::lab::network::Op;

impl Executor {
    /// The backward pass after [`Self::train_forward`]: writes into `gradients` the gradients of
    /// the loss whose gradient by the logits is `dlogits`.
    pub fn backward(&mut self, weights: &Weights, dlogits: &[f32], gradients: &mut Weights) {
        let mut pending: Vec<Option<Vec<f32>>> = vec![None; self.values.len()];
        *pending.last_mut().expect("a graph has nodes") = Some(dlogits.to_vec());
        for index in (1..self.values.len()).rev() {
            let Some(dy) = pending[index].take() else { continue };
            self.backward_node(index, &weights.0[index], dy, &mut gradients.0[index], &mut pending);
        }
    }

    /// One node's share of the backward pass: `dy` is its value's gradient.
    fn backward_node(
        &mut self,
        index: usize,
        tensors: &[Vec<f32>],
        mut dy: Vec<f32>,
        gradients: &mut [Vec<f32>],
        pending: &mut [Option<Vec<f32>>],
    ) {
        let node = self.graph.nodes[index].clone();
        let input = node.inputs[0];
        let window = self.window(index);
        let (x_run, y_run) = self.run_lens(index);
        match node.op {
            Op::Input => unreachable!("the input has no gradient"),
            Op::Conv { relu, .. } => {
                if relu {
                    self.mask_relu(index, &mut dy);
                }
                self.conv_backward_weights(&window, input, &dy, gradients);
                if input != 0 {
                    let (mut dx, mode) = match pending[input].take() {
                        Some(dx) => (dx, Target::Add),
                        None => (self.buffer(input), Target::Replace),
                    };
                    let runs = dx.par_chunks_mut(x_run).zip(dy.par_chunks(y_run));
                    if self.in_bf16(&window) {
                        let gradient = conv_bf16::InputGradient::new(&window, &tensors[0]);
                        runs.for_each(|(dx, dy)| gradient.run(dy, dx, mode));
                    } else {
                        runs.for_each(|(dx, dy)| {
                            conv::backward_input(&window, &tensors[0], dy, dx, mode);
                        });
                    }
                    pending[input] = Some(dx);
                }
                self.spare.push(dy);
            }
            Op::Depthwise { .. } => {
                let x = &self.values[input];
                let len = tensors[0].len();
                let runs = x.par_chunks(x_run).zip(dy.par_chunks(y_run)).map(|(x, dy)| {
                    let mut dweight = vec![0.0; len];
                    depthwise::backward_weights(&window, x, dy, &mut dweight);
                    dweight
                });
                gradients[0] = sum_of(len, runs.collect());
                let mut dx = self.buffer(input);
                dx.par_chunks_mut(x_run).zip(dy.par_chunks(y_run)).for_each(|(dx, dy)| {
                    depthwise::backward_input(&window, &tensors[0], dy, dx);
                });
                self.spare.push(dy);
                self.hand_on(input, dx, pending);
            }
            Op::BatchNorm { relu } => {
                if relu {
                    self.mask_relu(index, &mut dy);
                }
                self.norm_backward(index, tensors, &mut dy, gradients);
                self.hand_on(input, dy, pending);
            }
            Op::MaxPool => {
                let mut dx = self.buffer(input);
                let taps = &self.saved[index].taps;
                dx.par_chunks_mut(x_run)
                    .zip(dy.par_chunks(y_run).zip(taps.par_chunks(y_run)))
                    .for_each(|(dx, (dy, taps))| {
                        dx.fill(0.0);
                        pool::max_backward(&window, dy, taps, dx);
                    });
                self.spare.push(dy);
                self.hand_on(input, dx, pending);
            }
            Op::Add { relu } => {
                if relu {
                    self.mask_relu(index, &mut dy);
                }
                let mut copy = self.buffer(input);
                copy.copy_from_slice(&dy);
                self.hand_on(input, copy, pending);
                self.hand_on(node.inputs[1], dy, pending);
            }
            Op::FakeQuant(code) => {
                let [low, high] = code.reach();
                let x = &self.values[input];
                dy.par_chunks_mut(y_run).zip(x.par_chunks(x_run)).for_each(|(dy, x)| {
                    for (dy, x) in dy.iter_mut().zip(x) {
                        *dy *= f32::from(u8::from((low..=high).contains(x)));
                    }
                });
                self.hand_on(input, dy, pending);
            }
            Op::Dropout { .. } => {
                scale_channels(&mut dy, &self.saved[index].mask, node.shape[2]);
                self.hand_on(input, dy, pending);
            }
            Op::GlobalAveragePool => {
                let [h, w, c] = window.input;
                let mut dx = self.buffer(input);
                pool::average_backward(c, h * w, &dy, &mut dx);
                self.spare.push(dy);
                self.hand_on(input, dx, pending);
            }
        }
    }

    fn conv_backward_weights(
        &self,
        window: &Window,
        input: usize,
        dy: &[f32],
        gradients: &mut [Vec<f32>],
    ) {
        let (x_run, y_run) = (
            RUN * window.input.iter().product::<usize>(),
            RUN * window.output.iter().product::<usize>(),
        );
        let lens: Vec<usize> = gradients.iter().map(Vec::len).collect();
        let runs = self.values[input].par_chunks(x_run).zip(dy.par_chunks(y_run));
        let sums: Vec<(Vec<f32>, Option<Vec<f32>>)> = runs
            .map(|(x, dy)| {
                let mut dweight = vec![0.0; lens[0]];
                if self.in_bf16(window) {
                    conv_bf16::backward_weights(window, x, dy, &mut dweight);
                } else {
                    conv::backward_weights(window, x, dy, &mut dweight);
                }
                let dbias = lens.get(1).map(|len| {
                    let mut dbias = vec![0.0; *len];
                    conv::backward_bias(dy, &mut dbias);
                    dbias
                });
                (dweight, dbias)
            })
            .collect();
        let (dweights, dbiases): (Vec<_>, Vec<_>) = sums.into_iter().unzip();
        gradients[0] = sum_of(lens[0], dweights);
        if let Some(len) = lens.get(1) {
            gradients[1] = sum_of(*len, dbiases.into_iter().flatten().collect());
        }
    }

    /// Turns `dy` into the gradient of the batch norm's input.
    fn norm_backward(
        &self,
        index: usize,
        tensors: &[Vec<f32>],
        dy: &mut [f32],
        gradients: &mut [Vec<f32>],
    ) {
        let x = &self.values[self.graph.nodes[index].inputs[0]];
        let (run, _) = self.run_lens(index);
        let channels = tensors[GAMMA].len();
        let sums = x
            .par_chunks(run)
            .zip(dy.par_chunks(run))
            .map(|(x, dy)| norm::gradient_sums(channels, x, dy))
            .collect();
        let (sum_dy, sum_dy_x) = total(channels, sums);
        let n = (x.len() / channels) as f64;
        let saved = &self.saved[index];
        let (mut scale, mut slope, mut shift) =
            (vec![0.0; channels], vec![0.0; channels], vec![0.0; channels]);
        for c in 0..channels {
            let (mean, inverse) = (f64::from(saved.mean[c]), f64::from(saved.inverse[c]));
            let dgamma = inverse * (sum_dy_x[c] - mean * sum_dy[c]);
            let factor = f64::from(tensors[GAMMA][c]) * inverse;
            gradients[GAMMA][c] = dgamma as f32;
            gradients[BETA][c] = sum_dy[c] as f32;
            scale[c] = factor as f32;
            slope[c] = (-factor * inverse * dgamma / n) as f32;
            shift[c] = (factor * (mean * inverse * dgamma - sum_dy[c]) / n) as f32;
        }
        x.par_chunks(run).zip(dy.par_chunks_mut(run)).for_each(|(x, dy)| {
            norm::backward_input(&scale, &slope, &shift, x, dy);
        });
    }

    fn mask_relu(&self, index: usize, dy: &mut [f32]) {
        let (_, run) = self.run_lens(index);
        let y = &self.values[index];
        y.par_chunks(run).zip(dy.par_chunks_mut(run)).for_each(|(y, dy)| norm::mask_relu(y, dy));
    }

    /// Adds `dx` to what the value `input` has gathered so far.
    fn hand_on(&mut self, input: usize, dx: Vec<f32>, pending: &mut [Option<Vec<f32>>]) {
        match &mut pending[input] {
            Some(sum) => {
                sum.par_iter_mut().with_min_len(1 << 14).zip(&dx).for_each(|(s, d)| *s += d);
                self.spare.push(dx);
            }
            none => *none = Some(dx),
        }
    }

    /// A buffer of the size of value `index`, its contents left over from earlier use.
    fn buffer(&mut self, index: usize) -> Vec<f32> {
        let len = self.values[index].len();
        let fitting = (0..self.spare.len())
            .filter(|i| self.spare[*i].capacity() >= len)
            .min_by_key(|i| self.spare[*i].capacity());
        let mut buffer = fitting.map(|i| self.spare.swap_remove(i)).unwrap_or_default();
        buffer.resize(len, 0.0);
        buffer
    }
}

/// Sum of the runs' gradients, in their order.
fn sum_of(len: usize, runs: Vec<Vec<f32>>) -> Vec<f32> {
    let mut sum = vec![0.0; len];
    for run in runs {
        sum.iter_mut().zip(run).for_each(|(s, r)| *s += r);
    }
    sum
}
