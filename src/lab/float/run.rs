//! Runs a float graph: for calibration, comparison and scores.

use rayon::prelude::*;

use super::super::kernels::matmul::{Matrix, Target, multiply};
use super::super::network::Shape;
use super::graph::{FloatGraph, Kernel, Node, Op};
use super::window::Window;

/// Pictures that [`FloatGraph::for_each_batch`] runs at a time.
const BATCH: usize = 64;

impl FloatGraph {
    /// Values of one picture.
    pub fn input_len(&self) -> usize {
        self.nodes[0].shape.iter().product()
    }

    /// Every node's value for each of the `pictures` [n, height, width, channels]: by node, pictures
    /// one after the other.
    pub fn values(&self, pictures: &[f32]) -> Vec<Vec<f32>> {
        self.values_after(&[pictures.to_vec()], 0, |_, _| ())
    }

    /// As [`Self::values`], where `known` holds values of the first nodes, at least the input's, and
    /// `adjust` may change each value from node `first` on before others read it.
    pub fn values_after(
        &self,
        known: &[Vec<f32>],
        first: usize,
        mut adjust: impl FnMut(usize, &mut [f32]),
    ) -> Vec<Vec<f32>> {
        let n = known[0].len() / self.input_len();
        let mut values: Vec<Vec<f32>> = known[..first.clamp(1, known.len())].to_vec();
        if first == 0 {
            adjust(0, &mut values[0]);
        }
        for (index, node) in self.nodes.iter().enumerate().skip(values.len()) {
            let len: usize = node.shape.iter().product();
            let mut value = vec![0.0; n * len];
            value.par_chunks_exact_mut(len).enumerate().for_each(|(i, out)| {
                let of_picture = |&input: &usize| {
                    let shape = self.nodes[input].shape;
                    let len: usize = shape.iter().product();
                    (&values[input][i * len..][..len], shape)
                };
                let inputs: Vec<(&[f32], Shape)> = node.inputs.iter().map(of_picture).collect();
                evaluate(node, &inputs, out);
            });
            adjust(index, &mut value);
            values.push(value);
        }
        values
    }

    /// Calls `observe` with all nodes' values for a few pictures at a time.
    pub fn for_each_batch(&self, pictures: &[f32], mut observe: impl FnMut(&[Vec<f32>])) {
        for batch in pictures.chunks(BATCH * self.input_len()) {
            observe(&self.values(batch));
        }
    }

    /// What the last node gives for each picture, one after the other.
    pub fn outputs(&self, pictures: &[f32]) -> Vec<f32> {
        let mut outputs = Vec::new();
        self.for_each_batch(pictures, |values| {
            outputs.extend_from_slice(values.last().map_or(&[], |value| value));
        });
        outputs
    }
}

/// One node's value for one picture.
fn evaluate(node: &Node, inputs: &[(&[f32], Shape)], out: &mut [f32]) {
    let (x, shape) = inputs[0];
    match &node.op {
        Op::Input => out.copy_from_slice(x),
        Op::Conv(kernel) => conv(kernel, x, shape, node.shape, out),
        Op::Depthwise(kernel) => depthwise(kernel, x, shape, node.shape, out),
        Op::MaxPool(window) => max_pool(window, x, shape, node.shape, out),
        Op::AveragePool(window) => average_pool(window, x, shape, node.shape, out),
        Op::Pad(margins) => {
            let [_, width, c] = shape;
            let padded_row = node.shape[1] * c;
            for (row, x) in x.chunks_exact(width * c).enumerate() {
                let start = (margins.top + row) * padded_row + margins.left * c;
                out[start..start + x.len()].copy_from_slice(x);
            }
        }
        Op::Add(activation) => {
            for ((out, a), b) in out.iter_mut().zip(x).zip(inputs[1].0) {
                *out = activation.of(a + b);
            }
        }
        Op::Concat => {
            let mut pixels: Vec<_> =
                inputs.iter().map(|(x, [_, _, c])| x.chunks_exact(*c)).collect();
            for out in out.chunks_exact_mut(node.shape[2]) {
                let mut rest = out;
                for pixel in pixels.iter_mut().filter_map(Iterator::next) {
                    let (own, others) = rest.split_at_mut(pixel.len());
                    own.copy_from_slice(pixel);
                    rest = others;
                }
            }
        }
    }
}

/// As one matrix product over patches.
fn conv(kernel: &Kernel, x: &[f32], [h, w, c]: Shape, output: Shape, out: &mut [f32]) {
    let [filters, kh, kw, _] = kernel.shape;
    let (patch, pixels) = (kh * kw * c, output[0] * output[1]);
    let weights = Matrix::new(&kernel.weights, filters, patch).transposed();
    if kernel.window.kernel == [1, 1] && kernel.window.stride == [1, 1] {
        multiply(Matrix::new(x, pixels, patch), weights, out, Target::Replace);
    } else {
        let mut patches = vec![0.0; pixels * patch];
        for (pixel, patch) in patches.chunks_exact_mut(patch).enumerate() {
            let at = [pixel / output[1], pixel % output[1]];
            for (tap, row, column) in kernel.window.taps([h, w], at) {
                patch[tap * c..][..c].copy_from_slice(&x[(row * w + column) * c..][..c]);
            }
        }
        multiply(Matrix::new(&patches, pixels, patch), weights, out, Target::Replace);
    }
    for pixel in out.chunks_exact_mut(filters) {
        for (value, bias) in pixel.iter_mut().zip(&kernel.bias) {
            *value = kernel.activation.of(*value + bias);
        }
    }
}

fn depthwise(kernel: &Kernel, x: &[f32], [h, w, c]: Shape, output: Shape, out: &mut [f32]) {
    for (pixel, out) in out.chunks_exact_mut(c).enumerate() {
        out.copy_from_slice(&kernel.bias);
        let at = [pixel / output[1], pixel % output[1]];
        for (tap, row, column) in kernel.window.taps([h, w], at) {
            let weights = &kernel.weights[tap * c..][..c];
            let x = &x[(row * w + column) * c..][..c];
            out.iter_mut().zip(weights).zip(x).for_each(|((out, w), x)| *out += w * x);
        }
        out.iter_mut().for_each(|value| *value = kernel.activation.of(*value));
    }
}

fn average_pool(window: &Window, x: &[f32], [h, w, c]: Shape, output: Shape, out: &mut [f32]) {
    for (pixel, out) in out.chunks_exact_mut(c).enumerate() {
        let at = [pixel / output[1], pixel % output[1]];
        for (_, row, column) in window.taps([h, w], at) {
            let x = &x[(row * w + column) * c..][..c];
            out.iter_mut().zip(x).for_each(|(out, x)| *out += x);
        }
        let count = window.taps([h, w], at).count() as f32;
        out.iter_mut().for_each(|out| *out /= count);
    }
}

fn max_pool(window: &Window, x: &[f32], [h, w, c]: Shape, output: Shape, out: &mut [f32]) {
    for (pixel, out) in out.chunks_exact_mut(c).enumerate() {
        out.fill(f32::NEG_INFINITY);
        let at = [pixel / output[1], pixel % output[1]];
        for (_, row, column) in window.taps([h, w], at) {
            let x = &x[(row * w + column) * c..][..c];
            out.iter_mut().zip(x).for_each(|(out, x)| *out = out.max(*x));
        }
    }
}
