//! Depthwise convolution, 3×3, direct. Row by row, a block of channels at a time, so that the
//! three input rows stay in the nearest cache; where the stride is 1 several outputs are computed
//! together, so that each input is loaded for three taps at once.
//!
//! The loops are plain (no closures): only so are they compiled for each CPU as a whole.

use multiversion::multiversion;

use super::{Taps, Window};

/// Channels of one block where they divide the channels: one AVX-512 register. Else blocks of 1.
const LANES: usize = 16;
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
    if window.input[2].is_multiple_of(LANES) {
        forward_by::<LANES>(window, x, weight, bias, floor, y);
    } else {
        forward_by::<1>(window, x, weight, bias, floor, y);
    }
}

/// Adds the weights' gradient.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub fn backward_weights(window: &Window, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    if window.input[2].is_multiple_of(LANES) {
        backward_weights_by::<LANES>(window, x, dy, dweight);
    } else {
        backward_weights_by::<1>(window, x, dy, dweight);
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
    if channels.is_multiple_of(LANES) {
        scatter_by::<LANES>(window, weight, dy, dx);
    } else {
        scatter_by::<1>(window, weight, dy, dx);
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
