//! Depthwise convolution, 3×3, direct. Row by row, a block of channels at a time, so that the
//! three input rows stay in the nearest cache; where the stride is 1 several outputs are computed
//! together, so that each input is loaded for three taps at once.
//!
//! A block is as many channels as divide all of them: 16, one AVX-512 register, 8, 4, or single ones.
//!
//! The loops are plain (no closures): only so are they compiled for each CPU as a whole.

use multiversion::multiversion;

use super::{Taps, Window};

const KERNEL: usize = 3;
const TAPS: usize = KERNEL * KERNEL;
/// Outputs along a row that are computed together.
const TILE: usize = 4;
/// Inputs along a row under a tile of stride 1.
const TILE_INPUTS: usize = TILE + KERNEL - 1;

/// `y = depthwise(x, weight) (+ bias)`, then ReLU if `relu`; `weight` is [3, 3, channels].
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub fn forward(
    window: &Window,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    relu: bool,
    y: &mut [f32],
) {
    let floor = super::floor(relu);
    match block_of(window) {
        16 => forward_by::<16>(window, x, weight, bias, floor, y),
        8 => forward_by::<8>(window, x, weight, bias, floor, y),
        4 => forward_by::<4>(window, x, weight, bias, floor, y),
        _ => forward_by::<1>(window, x, weight, bias, floor, y),
    }
}

/// Adds the weights' gradient.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub fn backward_weights(window: &Window, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    match block_of(window) {
        16 => backward_weights_by::<16>(window, x, dy, dweight),
        8 => backward_weights_by::<8>(window, x, dy, dweight),
        4 => backward_weights_by::<4>(window, x, dy, dweight),
        _ => backward_weights_by::<1>(window, x, dy, dweight),
    }
}

/// Writes the input's gradient.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub fn backward_input(window: &Window, weight: &[f32], dy: &[f32], dx: &mut [f32]) {
    let channels = window.input[2];
    if window.stride == 1 {
        // The gradient of a stride-1 `SAME` correlation is the correlation with the kernel
        // turned by half a turn.
        let turned: Vec<f32> = weight.chunks_exact(channels).rev().flatten().copied().collect();
        return forward(window, dy, &turned, None, false, dx);
    }
    dx.fill(0.0);
    match block_of(window) {
        16 => scatter_by::<16>(window, weight, dy, dx),
        8 => scatter_by::<8>(window, weight, dy, dx),
        4 => scatter_by::<4>(window, weight, dy, dx),
        _ => scatter_by::<1>(window, weight, dy, dx),
    }
}

#[inline(always)]
fn forward_by<const L: usize>(
    window: &Window,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    floor: f32,
    y: &mut [f32],
) {
    let [height, width, channels] = window.output;
    let blocks = channels / L;
    let weight = weight.as_chunks::<L>().0;
    let pictures = y.chunks_exact_mut(window.output_len());
    for (y, x) in pictures.zip(x.chunks_exact(window.input_len())) {
        let (x, y) = (x.as_chunks::<L>().0, y.as_chunks_mut::<L>().0);
        for row in 0..height {
            let rows = window.rows(row);
            for block in 0..blocks {
                let w = kernel_of(weight, blocks, block);
                let bias = bias.map_or([0.0; L], |bias| bias.as_chunks().0[block]);
                let mut column = 0;
                while column < width {
                    let out = (row * width + column) * blocks + block;
                    if is_tile(window, column) {
                        let mut sums = [bias; TILE];
                        for ky in rows.first..rows.end {
                            let at = (input_row(window, rows, ky) + column - 1) * blocks + block;
                            let inputs = &x[at..=at + (TILE_INPUTS - 1) * blocks];
                            for kx in 0..KERNEL {
                                let w = &w[ky * KERNEL + kx];
                                for i in 0..TILE {
                                    multiply_add(&mut sums[i], w, &inputs[(i + kx) * blocks]);
                                }
                            }
                        }
                        let y = &mut y[out..=out + (TILE - 1) * blocks];
                        for i in 0..TILE {
                            y[i * blocks] = floored(sums[i], floor);
                        }
                        column += TILE;
                    } else {
                        let columns = window.columns(column);
                        let mut sum = bias;
                        for ky in rows.first..rows.end {
                            let at = input_row(window, rows, ky) + columns.start;
                            for kx in columns.first..columns.end {
                                let x = &x[(at + kx - columns.first) * blocks + block];
                                multiply_add(&mut sum, &w[ky * KERNEL + kx], x);
                            }
                        }
                        y[out] = floored(sum, floor);
                        column += 1;
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn backward_weights_by<const L: usize>(
    window: &Window,
    x: &[f32],
    dy: &[f32],
    dweight: &mut [f32],
) {
    let [height, width, channels] = window.output;
    let blocks = channels / L;
    let dweight = dweight.as_chunks_mut::<L>().0;
    let pictures = x.chunks_exact(window.input_len());
    for (x, dy) in pictures.zip(dy.chunks_exact(window.output_len())) {
        let (x, dy) = (x.as_chunks::<L>().0, dy.as_chunks::<L>().0);
        for row in 0..height {
            let rows = window.rows(row);
            for block in 0..blocks {
                let mut dw = kernel_of(dweight, blocks, block);
                let mut column = 0;
                while column < width {
                    let out = (row * width + column) * blocks + block;
                    if is_tile(window, column) {
                        let dy = &dy[out..=out + (TILE - 1) * blocks];
                        for ky in rows.first..rows.end {
                            let at = (input_row(window, rows, ky) + column - 1) * blocks + block;
                            let inputs = &x[at..=at + (TILE_INPUTS - 1) * blocks];
                            for kx in 0..KERNEL {
                                let dw = &mut dw[ky * KERNEL + kx];
                                for i in 0..TILE {
                                    multiply_add(dw, &dy[i * blocks], &inputs[(i + kx) * blocks]);
                                }
                            }
                        }
                        column += TILE;
                    } else {
                        let columns = window.columns(column);
                        for ky in rows.first..rows.end {
                            let at = input_row(window, rows, ky) + columns.start;
                            for kx in columns.first..columns.end {
                                let x = &x[(at + kx - columns.first) * blocks + block];
                                multiply_add(&mut dw[ky * KERNEL + kx], &dy[out], x);
                            }
                        }
                        column += 1;
                    }
                }
                for tap in 0..TAPS {
                    dweight[tap * blocks + block] = dw[tap];
                }
            }
        }
    }
}

/// Adds each output's gradient, by its weights, to the inputs under it.
#[inline(always)]
fn scatter_by<const L: usize>(window: &Window, weight: &[f32], dy: &[f32], dx: &mut [f32]) {
    let [height, width, channels] = window.output;
    let blocks = channels / L;
    let weight = weight.as_chunks::<L>().0;
    let pictures = dx.chunks_exact_mut(window.input_len());
    for (dx, dy) in pictures.zip(dy.chunks_exact(window.output_len())) {
        let (dx, dy) = (dx.as_chunks_mut::<L>().0, dy.as_chunks::<L>().0);
        for row in 0..height {
            let rows = window.rows(row);
            for block in 0..blocks {
                let w = kernel_of(weight, blocks, block);
                for column in 0..width {
                    let dy = &dy[(row * width + column) * blocks + block];
                    let columns = window.columns(column);
                    for ky in rows.first..rows.end {
                        let at = input_row(window, rows, ky) + columns.start;
                        for kx in columns.first..columns.end {
                            let dx = &mut dx[(at + kx - columns.first) * blocks + block];
                            multiply_add(dx, &w[ky * KERNEL + kx], dy);
                        }
                    }
                }
            }
        }
    }
}

/// Channels of a block.
fn block_of(window: &Window) -> usize {
    let channels = window.input[2];
    [16, 8, 4].into_iter().find(|block| channels.is_multiple_of(*block)).unwrap_or(1)
}

/// Whether [`TILE`] outputs from `column` on can be computed together: all their taps lie inside
/// the row, one input apart.
#[inline(always)]
fn is_tile(window: &Window, column: usize) -> bool {
    window.stride == 1 && column > 0 && column + TILE < window.output[1]
}

/// First pixel of the input row under kernel row `ky`.
#[inline(always)]
fn input_row(window: &Window, rows: Taps, ky: usize) -> usize {
    (rows.start + ky - rows.first) * window.input[1]
}

/// The nine weights of a block of channels.
#[inline(always)]
fn kernel_of<const L: usize>(weight: &[[f32; L]], blocks: usize, block: usize) -> [[f32; L]; TAPS] {
    let mut kernel = [[0.0; L]; TAPS];
    for tap in 0..TAPS {
        kernel[tap] = weight[tap * blocks + block];
    }
    kernel
}

#[inline(always)]
fn multiply_add<const L: usize>(sum: &mut [f32; L], a: &[f32; L], b: &[f32; L]) {
    for i in 0..L {
        sum[i] = a[i].mul_add(b[i], sum[i]);
    }
}

#[inline(always)]
fn floored<const L: usize>(mut values: [f32; L], floor: f32) -> [f32; L] {
    for value in &mut values {
        *value = value.max(floor);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::network::same_pad_before;

    const SIDE: usize = 11;

    /// Numbers that all differ, both signs.
    fn numbers(len: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0).collect()
    }

    /// One channel of many.
    fn channel(values: &[f32], channels: usize, channel: usize) -> Vec<f32> {
        values.iter().skip(channel).step_by(channels).copied().collect()
    }

    /// Outputs, the weights' gradient, the input's: of two pictures.
    fn passes(stride: usize, channels: usize, x: &[f32], w: &[f32], dy: &[f32]) -> [Vec<f32>; 3] {
        let side = SIDE.div_ceil(stride);
        let (input, output) = ([SIDE, SIDE, channels], [side, side, channels]);
        let window = Window { input, output, kernel: KERNEL, stride };
        let (mut y, mut dw, mut dx) = (vec![0.0; dy.len()], vec![0.0; w.len()], vec![0.0; x.len()]);
        forward(&window, x, w, None, false, &mut y);
        backward_weights(&window, x, dy, &mut dw);
        backward_input(&window, w, dy, &mut dx);
        [y, dw, dx]
    }

    #[test]
    fn each_channel_is_on_its_own_whatever_the_block() {
        for stride in [1, 2] {
            let pixels = SIDE.div_ceil(stride).pow(2);
            for channels in [1, 3, 4, 8, 12, 16, 24, 32] {
                let x = numbers(2 * SIDE * SIDE * channels);
                let w = numbers(TAPS * channels);
                let dy = numbers(2 * pixels * channels);
                let together = passes(stride, channels, &x, &w, &dy);
                for c in 0..channels {
                    let [x, w, dy] = [&x, &w, &dy].map(|values| channel(values, channels, c));
                    let alone = passes(stride, 1, &x, &w, &dy);
                    for (together, alone) in together.iter().zip(&alone) {
                        assert_eq!(channel(together, channels, c), *alone, "{c} of {channels}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_output_is_the_sum_of_what_lies_under_it() {
        for stride in [1, 2] {
            let side = SIDE.div_ceil(stride);
            let (x, w) = (numbers(SIDE * SIDE), numbers(TAPS));
            let pad = same_pad_before(SIDE, KERNEL, stride);
            let [y, ..] =
                passes(stride, 1, &[&x[..], &x].concat(), &w, &vec![0.0; 2 * side * side]);
            for (i, y) in y[..side * side].iter().enumerate() {
                let mut sum = 0.0;
                for (tap, w) in w.iter().enumerate() {
                    let row = (i / side * stride + tap / KERNEL).wrapping_sub(pad);
                    let column = (i % side * stride + tap % KERNEL).wrapping_sub(pad);
                    if row < SIDE && column < SIDE {
                        sum += w * x[row * SIDE + column];
                    }
                }
                assert!((y - sum).abs() < 1e-5, "{y} is not {sum}");
            }
        }
    }
}
