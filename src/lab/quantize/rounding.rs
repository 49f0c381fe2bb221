//! Which way each weight is rounded.
//!
//! To the nearest code is best for each weight alone, but not for their sum: errors of weights that
//! see alike pixels add up or cancel. With the covariance C of what a filter sees, the mean squared
//! error of its sums is `eᵀ C e` for weight errors e, their mean being the bias's to mend. Adaptive
//! rounding minimizes that over up and down for each weight, which is AdaRound's objective (Nagel et
//! al. 2020, arXiv 2004.10568), by descent from the nearest codes, one weight or two at a time.

use serde::Serialize;

use super::super::float::{FloatGraph, Kernel, Op};
use super::super::kernels::matmul::{Matrix, Target, multiply};
use super::watched::Watched;

/// How weights are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// Each to the nearest code.
    Nearest,
    /// Up or down so that the errors of a sum cancel.
    Adaptive,
}

/// Output pixels that are looked at in each picture.
const PIXELS: usize = 32;
/// A filter of more weights than this is rounded to the nearest: its covariances would take 64 MiB.
pub const MAX_WEIGHTS: usize = 4096;
/// Most passes over a filter's weights; few have anything left to flip after a handful.
const PASSES: usize = 20;

/// What the filters of a graph's convolutions see, by node.
pub struct Patches(Vec<Option<Seen>>);

/// What a convolution's filters see.
pub struct Seen {
    /// Mean of the value that each weight multiplies, as a filter's weights are ordered; of a
    /// depthwise convolution, as all its weights are.
    pub mean: Vec<f32>,
    /// Covariances of the values that a filter's weights multiply: of a convolution one matrix for
    /// all filters, of a depthwise one for each channel. Empty if nobody asked.
    covariances: Vec<Vec<f32>>,
}

impl Patches {
    /// Looks at `pictures`.
    pub fn of(graph: &FloatGraph, rounding: Rounding, pictures: &mut Watched) -> Self {
        let sums = graph.nodes.iter().map(|node| {
            let kernel = node.op.kernel()?;
            Some(Sums::new(kernel, matches!(node.op, Op::Depthwise(_)), rounding))
        });
        let mut sums: Vec<Option<Sums>> = sums.collect();
        pictures.for_each_batch(graph, |values| {
            for (node, sums) in graph.nodes.iter().zip(&mut sums) {
                if let (Some(sums), Some(kernel)) = (sums, node.op.kernel()) {
                    let shape = graph.nodes[node.inputs[0]].shape;
                    sums.add(kernel, &values[node.inputs[0]], shape);
                }
            }
        });
        Self(sums.into_iter().map(|sums| sums.map(Sums::seen)).collect())
    }

    /// What the convolution at `node` sees.
    pub fn seen(&self, node: usize) -> Option<&Seen> {
        self.0[node].as_ref()
    }
}

/// The convolutions of which [`Rounding::Adaptive`] rounds each weight to the nearest: their filters have
/// too many.
pub fn too_large(graph: &FloatGraph) -> impl Iterator<Item = &str> {
    let nodes = graph.nodes.iter();
    nodes.filter(|node| node.op.kernel().is_some_and(is_too_large)).map(|node| &node.name[..])
}

fn is_too_large(kernel: &Kernel) -> bool {
    kernel.weights_of(0).count() > MAX_WEIGHTS
}

/// Sums over patches.
struct Sums {
    is_depthwise: bool,
    count: usize,
    sum: Vec<f32>,
    products: Vec<Vec<f32>>,
}

impl Sums {
    fn new(kernel: &Kernel, is_depthwise: bool, rounding: Rounding) -> Self {
        let [_, h, w, c] = kernel.shape;
        let (matrices, side) = if is_depthwise { (c, h * w) } else { (1, h * w * c) };
        let adapts = rounding == Rounding::Adaptive && !is_too_large(kernel);
        let matrices = if adapts { matrices } else { 0 };
        Self {
            is_depthwise,
            count: 0,
            sum: vec![0.0; h * w * c],
            products: vec![vec![0.0; side * side]; matrices],
        }
    }

    /// Adds some patches of each picture in `values`, of this shape.
    fn add(&mut self, kernel: &Kernel, values: &[f32], [h, w, c]: [usize; 3]) {
        let [out_h, out_w] = kernel.window.output([h, w]).expect("the graph's shapes fit");
        let (pixels, len) = (out_h * out_w, self.sum.len());
        let each = PIXELS.min(pixels);
        let mut patches = Vec::new();
        for (picture, x) in values.chunks_exact(h * w * c).enumerate() {
            for i in 0..each {
                // Spread over the picture, elsewhere in the next one.
                let pixel = (i * pixels / each + picture * 7) % pixels;
                let start = patches.len();
                patches.resize(start + len, 0.0);
                for (tap, row, column) in kernel.window.taps([h, w], [pixel / out_w, pixel % out_w])
                {
                    let x = &x[(row * w + column) * c..][..c];
                    patches[start + tap * c..][..c].copy_from_slice(x);
                }
            }
        }
        let count = patches.len() / len;
        self.count += count;
        for patch in patches.chunks_exact(len) {
            self.sum.iter_mut().zip(patch).for_each(|(sum, x)| *sum += x);
        }
        if !self.is_depthwise {
            for products in &mut self.products {
                let patches = Matrix::new(&patches, count, len);
                multiply(patches.transposed(), patches, products, Target::Add);
            }
            return;
        }
        for (channel, products) in self.products.iter_mut().enumerate() {
            for patch in patches.chunks_exact(len) {
                let taps = patch.iter().skip(channel).step_by(c);
                for (row, a) in products.chunks_exact_mut(len / c).zip(taps.clone()) {
                    row.iter_mut().zip(taps.clone()).for_each(|(sum, b)| *sum += a * b);
                }
            }
        }
    }

    fn seen(self) -> Seen {
        let n = self.count.max(1) as f32;
        let mean: Vec<f32> = self.sum.iter().map(|sum| sum / n).collect();
        let matrices = self.products.len();
        let of_matrix = |(channel, products): (usize, Vec<f32>)| -> Vec<f32> {
            let own: Vec<f32> = if self.is_depthwise {
                mean.iter().skip(channel).step_by(matrices).copied().collect()
            } else {
                mean.clone()
            };
            let side = own.len();
            let centred = |(i, sum): (usize, f32)| sum / n - own[i / side] * own[i % side];
            products.into_iter().enumerate().map(centred).collect()
        };
        let covariances = self.products.into_iter().enumerate().map(of_matrix).collect();
        Seen { mean, covariances }
    }
}

impl Seen {
    /// Moves `codes`, the nearest ones of the weights `exact` (in steps) of output channel
    /// `channel`, to those whose errors cancel best.
    pub fn adapt(&self, channel: usize, exact: &[f32], codes: &mut [i8]) {
        let covariances = match self.covariances.len() {
            0 => return,
            1 => &self.covariances[0],
            _ => &self.covariances[channel],
        };
        let mut descent = Descent::new(covariances, exact, codes);
        for _ in 0..PASSES {
            let flips = (0..exact.len()).filter(|i| descent.improve(*i)).count();
            if flips == 0 {
                break;
            }
        }
    }
}

/// A filter's codes on their way down.
struct Descent<'c> {
    covariances: &'c [f32],
    codes: &'c mut [i8],
    /// Codes less exact weights.
    errors: Vec<f32>,
    /// C e, kept up to date.
    pull: Vec<f32>,
}

impl<'c> Descent<'c> {
    fn new(covariances: &'c [f32], exact: &[f32], codes: &'c mut [i8]) -> Self {
        let errors: Vec<f32> =
            exact.iter().zip(codes.iter()).map(|(w, q)| f32::from(*q) - w).collect();
        let pull = (covariances.chunks_exact(exact.len()))
            .map(|row| row.iter().zip(&errors).map(|(c, e)| c * e).sum())
            .collect();
        Self { covariances, codes, errors, pull }
    }

    /// The step to the neighbour on the other side of the exact weight; 0 if there is none.
    fn step(&self, i: usize) -> i8 {
        match self.errors[i] {
            error if error > 0.0 && self.codes[i] > -i8::MAX => -1,
            error if error < 0.0 && self.codes[i] < i8::MAX => 1,
            _ => 0,
        }
    }

    /// Flips weight `i`, alone or with the one that goes best with it, if that helps.
    fn improve(&mut self, i: usize) -> bool {
        let n = self.errors.len();
        let row = &self.covariances[i * n..][..n];
        let step = f32::from(self.step(i));
        if step == 0.0 {
            return false;
        }
        let alone = 2.0 * step * self.pull[i] + row[i];
        let with = |j: usize| {
            let other = f32::from(self.step(j));
            let own = 2.0 * other * self.pull[j] + other * other * self.covariances[j * n + j];
            alone + own + 2.0 * step * other * row[j]
        };
        let pairs = (0..n).filter(|j| *j != i).map(|j| (with(j), Some(j)));
        let best = pairs.chain([(alone, None)]).min_by(|a, b| a.0.total_cmp(&b.0));
        // Beyond rounding, so that it comes to an end.
        let Some((_, partner)) = best.filter(|(gain, _)| *gain < -1e-6 * row[i]) else {
            return false;
        };
        self.flip(i);
        if let Some(j) = partner {
            self.flip(j);
        }
        true
    }

    fn flip(&mut self, i: usize) {
        let step = self.step(i);
        self.codes[i] += step;
        self.errors[i] += f32::from(step);
        let n = self.errors.len();
        let column = &self.covariances[i * n..][..n];
        self.pull.iter_mut().zip(column).for_each(|(pull, c)| *pull += f32::from(step) * c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two weights that always see the same: one is rounded up, the other down.
    #[test]
    fn errors_of_alike_pixels_cancel() {
        let seen = Seen { mean: vec![0.0; 2], covariances: vec![vec![1.0; 4]] };
        let mut codes = [1, 1];
        seen.adapt(0, &[0.6, 0.6], &mut codes);
        assert_eq!(i32::from(codes[0]) + i32::from(codes[1]), 1);
        // Pixels that have nothing to do with each other leave the nearest codes.
        let seen = Seen { mean: vec![0.0; 2], covariances: vec![vec![1.0, 0.0, 0.0, 1.0]] };
        let mut codes = [1, -1];
        seen.adapt(0, &[0.6, -0.6], &mut codes);
        assert_eq!(codes, [1, -1]);
    }

    #[test]
    fn adapting_never_makes_the_error_greater_nor_leaves_the_codes() {
        let mut random = fastrand::Rng::with_seed(3);
        let n = 20;
        let samples: Vec<f32> = (0..n * 50).map(|_| random.f32() - 0.3).collect();
        let mut covariance = vec![0.0; n * n];
        let matrix = Matrix::new(&samples, 50, n);
        multiply(matrix.transposed(), matrix, &mut covariance, Target::Replace);
        let seen = Seen { mean: vec![0.0; n], covariances: vec![covariance.clone()] };
        let error = |exact: &[f32], codes: &[i8]| -> f32 {
            let e: Vec<f32> = exact.iter().zip(codes).map(|(w, q)| f32::from(*q) - w).collect();
            (0..n * n).map(|i| covariance[i] * e[i / n] * e[i % n]).sum()
        };
        let (mut sum, mut sum_of_nearest) = (0.0, 0.0);
        for _ in 0..50 {
            let exact: Vec<f32> = (0..n).map(|_| 254.0 * random.f32() - 127.0).collect();
            let nearest: Vec<i8> = exact.iter().map(|w| w.round_ties_even() as i8).collect();
            let mut codes = nearest.clone();
            seen.adapt(0, &exact, &mut codes);
            assert!(codes.iter().zip(&exact).all(|(q, w)| (f32::from(*q) - w).abs() <= 1.0));
            assert!(codes.iter().all(|q| *q != i8::MIN));
            assert!(error(&exact, &codes) <= error(&exact, &nearest) * 1.001);
            sum += error(&exact, &codes);
            sum_of_nearest += error(&exact, &nearest);
        }
        // How much there is to gain depends on how alike the pixels are; these are so only by their
        // mean.
        assert!(sum < 0.6 * sum_of_nearest, "{sum} {sum_of_nearest}");
    }
}
