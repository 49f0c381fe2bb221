//! Depthwise convolution, 3×3, direct: for a block of channels the nine weights stay in
//! registers while the picture passes.

use multiversion::multiversion;

use super::{Taps, Window};

/// Channels of one block: one AVX-512 register.
const LANES: usize = 16;
const KERNEL: usize = 3;
const TAPS: usize = KERNEL * KERNEL;

type Lanes = [f32; LANES];

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
    let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
    for_each_block(window, |block| {
        let w = weight_lanes(weight, block);
        let bias = bias.map_or([0.0; LANES], |bias| load(bias, 0, block));
        let pictures = y.chunks_exact_mut(window.output_len());
        for (y, x) in pictures.zip(x.chunks_exact(window.input_len())) {
            for_each_pixel(window, |output, rows, columns| {
                let mut sum = bias;
                for_each_tap(window, rows, columns, |tap, input| {
                    let x = load(x, input, block);
                    for i in 0..LANES {
                        sum[i] = w[tap][i].mul_add(x[i], sum[i]);
                    }
                });
                let sum = sum.map(|sum| sum.max(floor));
                store(y, output, block, &sum);
            });
        }
    });
}

/// Adds the weights' gradient.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub fn backward_weights(window: &Window, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    for_each_block(window, |block| {
        let mut dw = [[0.0; LANES]; TAPS];
        let pictures = x.chunks_exact(window.input_len());
        for (x, dy) in pictures.zip(dy.chunks_exact(window.output_len())) {
            for_each_pixel(window, |output, rows, columns| {
                let dy = load(dy, output, block);
                for_each_tap(window, rows, columns, |tap, input| {
                    let x = load(x, input, block);
                    for i in 0..LANES {
                        dw[tap][i] = dy[i].mul_add(x[i], dw[tap][i]);
                    }
                });
            });
        }
        for (tap, dw) in dw.iter().enumerate() {
            let at = tap * block.channels + block.first;
            for (d, dw) in dweight[at..][..block.len].iter_mut().zip(dw) {
                *d += dw;
            }
        }
    });
}

/// Writes the input's gradient.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub fn backward_input(window: &Window, weight: &[f32], dy: &[f32], dx: &mut [f32]) {
    if window.stride == 1 {
        // The gradient of a stride-1 `SAME` correlation is the correlation with the kernel
        // turned by half a turn.
        let channels = window.input[2];
        let turned: Vec<f32> = weight.chunks_exact(channels).rev().flatten().copied().collect();
        return forward(window, dy, &turned, None, false, dx);
    }
    dx.fill(0.0);
    for_each_block(window, |block| {
        let w = weight_lanes(weight, block);
        let pictures = dx.chunks_exact_mut(window.input_len());
        for (dx, dy) in pictures.zip(dy.chunks_exact(window.output_len())) {
            for_each_pixel(window, |output, rows, columns| {
                let dy = load(dy, output, block);
                for_each_tap(window, rows, columns, |tap, input| {
                    let mut sum = load(dx, input, block);
                    for i in 0..LANES {
                        sum[i] = w[tap][i].mul_add(dy[i], sum[i]);
                    }
                    store(dx, input, block, &sum);
                });
            });
        }
    });
}

/// A run of up to [`LANES`] channels.
#[derive(Clone, Copy)]
struct Block {
    first: usize,
    len: usize,
    channels: usize,
}

#[inline(always)]
fn for_each_block(window: &Window, mut work: impl FnMut(Block)) {
    assert_eq!(window.kernel, KERNEL, "the family's depthwise kernels are 3×3");
    let channels = window.input[2];
    for first in (0..channels).step_by(LANES) {
        work(Block { first, len: LANES.min(channels - first), channels });
    }
}

/// Calls `work(output pixel, row taps, column taps)` for each output pixel.
#[inline(always)]
fn for_each_pixel(window: &Window, mut work: impl FnMut(usize, Taps, Taps)) {
    let [height, width, _] = window.output;
    for y in 0..height {
        let rows = window.rows(y);
        for x in 0..width {
            work(y * width + x, rows, window.columns(x));
        }
    }
}

/// Calls `work(tap, input pixel)` for each tap inside the picture; away from the edges all nine,
/// unrolled.
#[inline(always)]
fn for_each_tap(window: &Window, rows: Taps, columns: Taps, mut work: impl FnMut(usize, usize)) {
    let input_width = window.input[1];
    let corner = rows.start * input_width + columns.start;
    if rows.end - rows.first == KERNEL && columns.end - columns.first == KERNEL {
        for ky in 0..KERNEL {
            for kx in 0..KERNEL {
                work(ky * KERNEL + kx, corner + ky * input_width + kx);
            }
        }
    } else {
        for ky in rows.first..rows.end {
            for kx in columns.first..columns.end {
                let input = corner + (ky - rows.first) * input_width + (kx - columns.first);
                work(ky * KERNEL + kx, input);
            }
        }
    }
}

#[inline(always)]
fn weight_lanes(weight: &[f32], block: Block) -> [Lanes; TAPS] {
    std::array::from_fn(|tap| load(weight, tap, block))
}

#[inline(always)]
fn load(data: &[f32], pixel: usize, block: Block) -> Lanes {
    let at = pixel * block.channels + block.first;
    if block.len == LANES {
        *data[at..].first_chunk().expect("a block lies inside its picture")
    } else {
        let mut lanes = [0.0; LANES];
        lanes[..block.len].copy_from_slice(&data[at..at + block.len]);
        lanes
    }
}

#[inline(always)]
fn store(data: &mut [f32], pixel: usize, block: Block, lanes: &Lanes) {
    let at = pixel * block.channels + block.first;
    if block.len == LANES {
        *data[at..].first_chunk_mut().expect("a block lies inside its picture") = *lanes;
    } else {
        data[at..at + block.len].copy_from_slice(&lanes[..block.len]);
    }
}
