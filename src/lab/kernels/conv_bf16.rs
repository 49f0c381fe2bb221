//! Convolution with products in bfloat16 and sums in f32: the counterpart of [`super::conv`], for
//! the windows that [`supports`] names. Pictures are read in place, without patches.

use std::borrow::Cow;

use super::Window;
use super::bf16;
use super::matmul::Target;
use super::panels::{Left, PANEL, Panel, pair_len};

/// Pixels rounded at a time, so that they are still in cache when they are multiplied.
const PIXELS: usize = 256;
/// Pixel pairs that a weight gradient sums before it touches memory: with [`PANEL`] columns they
/// fill half a first-level cache.
const SUMMED_PAIRS: usize = 64;

/// Whether this CPU multiplies bfloat16, and this module knows the window: 1×1, or 3×3 of stride
/// 1, between even numbers of channels.
pub fn supports(window: &Window) -> bool {
    let even = window.input[2].is_multiple_of(2) && window.output[2].is_multiple_of(2);
    let known = window.kernel == 1 || (window.kernel == 3 && window.stride == 1);
    even && known && bf16::available()
}

/// A right matrix in panels: pairs of rows by columns.
struct Panels {
    data: Vec<u16>,
    pairs: usize,
    columns: usize,
}

impl Panels {
    /// The matrix whose rows 2p and 2p + 1 hold, in column c, what `at(2p, c)` and
    /// `at(2p + 1, c)` give.
    fn new(pairs: usize, columns: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let mut data = Vec::new();
        let mut rows = [[0.0; PANEL]; 2];
        for first in (0..columns).step_by(PANEL) {
            let count = PANEL.min(columns - first);
            for pair in 0..pairs {
                for (i, row) in rows.iter_mut().enumerate() {
                    for (c, value) in row[..count].iter_mut().enumerate() {
                        *value = at(2 * pair + i, first + c);
                    }
                }
                let start = data.len();
                data.resize(start + pair_len(count), 0);
                bf16::interleave(&rows[0][..count], &rows[1][..count], &mut data[start..]);
            }
        }
        Self { data, pairs, columns }
    }

    /// First column of each panel, and the panel cut in `segments`.
    fn cut(&self, segments: usize) -> impl Iterator<Item = (usize, Panel<'_>)> {
        (0..self.columns).step_by(PANEL).map(move |first| {
            let columns = PANEL.min(self.columns - first);
            let start = self.pairs * pair_len(PANEL) * (first / PANEL);
            let segment = self.pairs / segments * pair_len(columns);
            (first, Panel { data: &self.data[start..], columns, segment })
        })
    }
}

/// A convolution with its weights laid out.
pub struct Forward {
    window: Window,
    weight: Panels,
}

impl Forward {
    /// Lays out `weight` [out, k, k, in].
    pub fn new(window: &Window, weight: &[f32]) -> Self {
        let filters = window.output[2];
        let patch = weight.len() / filters;
        let weight = Panels::new(patch / 2, filters, |k, filter| weight[filter * patch + k]);
        Self { window: *window, weight }
    }

    /// `y = conv(x, weight)` for a run of pictures.
    pub fn run(&self, x: &[f32], y: &mut [f32]) {
        let Window { input, output, kernel, .. } = self.window;
        if kernel == 1 {
            return pointwise(&sampled(&self.window, x), input[2], &self.weight, y, false);
        }
        let pictures = y.chunks_exact_mut(output.iter().product());
        for (y, x) in pictures.zip(x.chunks_exact(input.iter().product())) {
            correlate(input, x, &self.weight, y, false);
        }
    }
}

/// The gradient of a convolution's input, with its weights laid out.
pub struct InputGradient {
    window: Window,
    weight: Panels,
}

impl InputGradient {
    /// Lays out `weight` [out, k, k, in].
    pub fn new(window: &Window, weight: &[f32]) -> Self {
        let (channels, filters) = (window.input[2], window.output[2]);
        let taps = window.kernel * window.kernel;
        // Row (tap, filter) of the turned kernel.
        let at = |k: usize, channel: usize| {
            let (tap, filter) = (k / filters, k % filters);
            weight[(filter * taps + taps - 1 - tap) * channels + channel]
        };
        let weight = Panels::new(taps * filters / 2, channels, at);
        Self { window: *window, weight }
    }

    /// Writes (or adds) to `dx` the gradient of a run of pictures.
    pub fn run(&self, dy: &[f32], dx: &mut [f32], mode: Target) {
        let Window { input, output, kernel, stride } = self.window;
        let add = mode == Target::Add;
        let pictures = dx.chunks_exact_mut(input.iter().product());
        match (kernel, stride) {
            (1, 1) => pointwise(dy, output[2], &self.weight, dx, add),
            (1, _) => {
                let mut samples = vec![0.0; dy.len() / output[2] * input[2]];
                pointwise(dy, output[2], &self.weight, &mut samples, false);
                lay_back(&self.window, &samples, dx, add);
            }
            _ => {
                for (dx, dy) in pictures.zip(dy.chunks_exact(output.iter().product())) {
                    correlate(output, dy, &self.weight, dx, add);
                }
            }
        }
    }
}

/// Adds the weights' gradient, `dweight += dyᵀ · patches(x)`.
pub fn backward_weights(window: &Window, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    if window.kernel == 1 {
        return pointwise_weights(window, &sampled(window, x), dy, dweight);
    }
    let pictures = x.chunks_exact(window.input_len());
    for (x, dy) in pictures.zip(dy.chunks_exact(window.output_len())) {
        correlate_weights(window, x, dy, dweight);
    }
}

/// The input pixels that a 1×1 convolution reads: all, or every stride-th.
fn sampled<'a>(window: &Window, x: &'a [f32]) -> Cow<'a, [f32]> {
    if window.stride == 1 {
        return Cow::Borrowed(x);
    }
    let channels = window.input[2];
    let mut samples = Vec::with_capacity(x.len() / window.stride);
    for picture in x.chunks_exact(window.input_len()) {
        for pixel in sample_positions(window) {
            samples.extend_from_slice(&picture[pixel * channels..][..channels]);
        }
    }
    Cow::Owned(samples)
}

/// Puts (or adds) the gradients of sampled pixels where they were sampled; the others' is zero.
fn lay_back(window: &Window, samples: &[f32], dx: &mut [f32], add: bool) {
    if !add {
        dx.fill(0.0);
    }
    let channels = window.input[2];
    let mut samples = samples.chunks_exact(channels);
    for picture in dx.chunks_exact_mut(window.input_len()) {
        for (pixel, sample) in sample_positions(window).zip(&mut samples) {
            let dx = &mut picture[pixel * channels..][..channels];
            dx.iter_mut().zip(sample).for_each(|(dx, sample)| *dx += sample);
        }
    }
}

/// Input pixels under a 1×1 convolution's outputs (its `SAME` padding is none).
fn sample_positions(window: &Window) -> impl Iterator<Item = usize> + use<> {
    let ([_, input_width, _], [height, width, _], stride) =
        (window.input, window.output, window.stride);
    let row = move |y| (0..width).map(move |x| (y * input_width + x) * stride);
    (0..height).flat_map(row)
}

/// `y (+)= x · weight`, pixel by pixel; `x` has `channels` channels.
fn pointwise(x: &[f32], channels: usize, weight: &Panels, y: &mut [f32], add: bool) {
    let columns = weight.columns;
    let mut rounded = vec![0; PIXELS.min(x.len() / channels) * channels];
    for (x, y) in x.chunks(PIXELS * channels).zip(y.chunks_mut(PIXELS * columns)) {
        let rounded = &mut rounded[..x.len()];
        bf16::round(x, rounded);
        let left = Left {
            data: rounded,
            rows: x.len() / channels,
            row: channels,
            segments: 1,
            segment: 0,
            pairs: channels / 2,
            pair: 2,
        };
        for (first, panel) in weight.cut(1) {
            bf16::multiply(left, panel, &mut y[first..], columns, add);
        }
    }
}

/// `y (+)= x ⋆ weight`, 3×3, stride 1, `SAME`, for one picture `x` of `shape`.
fn correlate(shape: [usize; 3], x: &[f32], weight: &Panels, y: &mut [f32], add: bool) {
    let [height, width, channels] = shape;
    let columns = weight.columns;
    let padded_row = (width + 2) * channels;
    let mut padded = vec![0; (height + 2) * padded_row];
    for (row, x) in x.chunks_exact(width * channels).enumerate() {
        bf16::round(x, &mut padded[(row + 1) * padded_row + channels..][..x.len()]);
    }
    for (row, y) in y.chunks_exact_mut(width * columns).enumerate() {
        let left = Left {
            data: &padded[row * padded_row..],
            rows: width,
            row: channels,
            segments: 3,
            segment: padded_row,
            pairs: 3 * channels / 2,
            pair: 2,
        };
        for (first, panel) in weight.cut(3) {
            bf16::multiply(left, panel, &mut y[first..], columns, add);
        }
    }
}

/// Adds `dyᵀ · x`; pixels are the inner dimension, in pairs.
fn pointwise_weights(window: &Window, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    let (channels, filters) = (window.input[2], window.output[2]);
    let pixels = x.len() / channels;
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for start in (0..pixels).step_by(2 * SUMMED_PAIRS) {
        let end = pixels.min(start + 2 * SUMMED_PAIRS);
        left.clear();
        append_pairs(&mut left, start..end, filters, |pixel| &dy[pixel * filters..][..filters]);
        let pairs = (end - start).div_ceil(2);
        for first in (0..channels).step_by(PANEL) {
            let columns = PANEL.min(channels - first);
            right.clear();
            append_pairs(&mut right, start..end, columns, |pixel| {
                &x[pixel * channels + first..][..columns]
            });
            let left = gradients(&left, filters, 1, pairs);
            let panel = Panel { data: &right, columns, segment: 0 };
            bf16::multiply(left, panel, &mut dweight[first..], channels, true);
        }
    }
}

/// Adds one picture's `dyᵀ · patches(x)`, 3×3, stride 1. A tap's pixels lie in the padded row from
/// kernel column `kx` on: pairs that start at even columns serve `kx` 0 and 2, at odd ones 1.
fn correlate_weights(window: &Window, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    let [height, width, channels] = window.input;
    let filters = window.output[2];
    let row_pairs = width.div_ceil(2);
    let mut left = Vec::new();
    for row in dy.chunks_exact(width * filters) {
        append_pairs(&mut left, 0..width, filters, |pixel| &row[pixel * filters..][..filters]);
    }
    let left_row = row_pairs * pair_len(filters);
    let rows = (SUMMED_PAIRS / row_pairs).clamp(1, height);
    for first in (0..channels).step_by(PANEL) {
        let columns = PANEL.min(channels - first);
        let parts: [Vec<u16>; 2] =
            std::array::from_fn(|odd| padded_pairs(window, x, first, columns, odd));
        let right_row = (row_pairs + 1) * pair_len(columns);
        for start in (0..height).step_by(rows) {
            let segments = rows.min(height - start);
            let left = gradients(&left[start * left_row..], filters, segments, row_pairs);
            for (ky, kx) in (0..9).map(|tap| (tap / 3, tap % 3)) {
                let at = (start + ky) * right_row + kx / 2 * pair_len(columns);
                let panel = Panel { data: &parts[kx % 2][at..], columns, segment: right_row };
                let target = &mut dweight[(ky * 3 + kx) * channels + first..];
                bf16::multiply(left, panel, target, 9 * channels, true);
            }
        }
    }
}

/// Pairs of pixels' gradients as a left matrix, whose rows are the filters.
fn gradients(data: &[u16], filters: usize, segments: usize, pairs: usize) -> Left<'_> {
    let pair = pair_len(filters);
    Left { data, rows: filters, row: 2, segments, segment: pairs * pair, pairs, pair }
}

/// Channels `first..first + columns` of the padded picture's rows in pairs of pixels, the first
/// pair at column `odd`; one pair more than a row's outputs need.
fn padded_pairs(window: &Window, x: &[f32], first: usize, columns: usize, odd: usize) -> Vec<u16> {
    let [height, width, channels] = window.input;
    let zeros = [0.0; PANEL];
    let pixels = 2 * (width.div_ceil(2) + 1);
    let mut pairs = Vec::with_capacity((height + 2) * pixels / 2 * pair_len(columns));
    for row in 0..height + 2 {
        append_pairs(&mut pairs, odd..odd + pixels, columns, |column| {
            if (1..=height).contains(&row) && (1..=width).contains(&column) {
                let pixel = (row - 1) * width + column - 1;
                &x[pixel * channels + first..][..columns]
            } else {
                &zeros[..columns]
            }
        });
    }
    pairs
}

/// Appends the rows of `range`, `columns` numbers each, in pairs; an odd one out is paired with
/// zeros.
fn append_pairs<'a>(
    to: &mut Vec<u16>,
    range: std::ops::Range<usize>,
    columns: usize,
    row: impl Fn(usize) -> &'a [f32],
) {
    let zeros = vec![0.0; columns];
    for first in range.clone().step_by(2) {
        let second = if first + 1 < range.end { row(first + 1) } else { &zeros };
        let start = to.len();
        to.resize(start + pair_len(columns), 0);
        bf16::interleave(row(first), second, &mut to[start..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::kernels::conv;
    use crate::lab::network::same_side;

    /// Pseudo-random numbers that bfloat16 holds exactly, so that both sides multiply the same.
    fn numbers(len: usize, seed: u64) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..len).map(|_| random.i32(-128..128) as f32 / 64.0).collect()
    }

    fn assert_close(what: &str, window: &Window, fast: &[f32], plain: &[f32]) {
        for (i, (a, b)) in fast.iter().zip(plain).enumerate() {
            assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{what} {window:?} [{i}]: {a}, {b}");
        }
    }

    /// Every kind of window, sides and channels that fill no tile, panel or pair: the same sums
    /// as [`conv`]'s, but for their order.
    #[test]
    fn products_are_those_of_f32() {
        if !bf16::available() {
            return; // the module is not used on such a CPU
        }
        let cases = [(1, 1), (1, 2), (3, 1)].into_iter().flat_map(|(kernel, stride)| {
            let sizes = [(1, 2, 2), (3, 6, 70), (5, 64, 16), (8, 130, 34), (12, 16, 98)];
            sizes.map(|(side, channels, filters)| Window {
                input: [side, side, channels],
                output: [same_side(side, stride), same_side(side, stride), filters],
                kernel,
                stride,
            })
        });
        for (seed, window) in cases.enumerate() {
            let pictures = 2;
            let x = numbers(pictures * window.input_len(), seed as u64);
            let dy = numbers(pictures * window.output_len(), 100 + seed as u64);
            let patch = window.kernel * window.kernel * window.input[2];
            let weight = numbers(window.output[2] * patch, 200 + seed as u64);
            assert!(supports(&window));

            let (mut fast, mut plain) = (vec![9.0; dy.len()], vec![7.0; dy.len()]);
            Forward::new(&window, &weight).run(&x, &mut fast);
            conv::forward(&window, &x, &weight, None, false, &mut plain);
            assert_close("forward", &window, &fast, &plain);

            for mode in [Target::Replace, Target::Add] {
                let (mut fast, mut plain) = (vec![0.5; x.len()], vec![0.5; x.len()]);
                InputGradient::new(&window, &weight).run(&dy, &mut fast, mode);
                conv::backward_input(&window, &weight, &dy, &mut plain, mode);
                assert_close("input gradient", &window, &fast, &plain);
            }

            let (mut fast, mut plain) = (vec![0.5; weight.len()], vec![0.5; weight.len()]);
            backward_weights(&window, &x, &dy, &mut fast);
            conv::backward_weights(&window, &x, &dy, &mut plain);
            assert_close("weight gradient", &window, &fast, &plain);
        }
    }

    #[test]
    fn windows_that_it_does_not_know_are_left_to_f32() {
        let window = |kernel, stride, channels| Window {
            input: [8, 8, channels],
            output: [same_side(8, stride), same_side(8, stride), 4],
            kernel,
            stride,
        };
        assert!(!supports(&window(3, 2, 4)));
        assert!(!supports(&window(3, 1, 1)));
        assert_eq!(supports(&window(3, 1, 4)), bf16::available());
    }
}
