//! Convolution as matrix products over patches (im2col), a few rows of a picture at a time so
//! that the patches stay in cache.

use super::Window;
use super::matmul::{Matrix, Target, multiply};

/// Floats of patches gathered at a time: 256 KiB, a fraction of a core's L2 cache.
const PATCH_FLOATS: usize = 64 * 1024;

/// `y = conv(x, weight) (+ bias)`, then ReLU if `relu`. `weight` is [out, k, k, in].
pub fn forward(
    window: &Window,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    relu: bool,
    y: &mut [f32],
) {
    let [_, _, filters] = window.output;
    let weight = Matrix::new(weight, filters, weight.len() / filters).transposed();
    for_each_patches(window, x, |patches, rows, out| {
        multiply(
            Matrix::new(patches, rows, patches.len() / rows),
            weight,
            &mut y[out],
            Target::Replace,
        );
    });
    finish(bias, relu, y);
}

/// Adds the bias by channel, then ReLU if `relu`.
pub fn finish(bias: Option<&[f32]>, relu: bool, y: &mut [f32]) {
    if let Some(bias) = bias {
        for pixel in y.chunks_exact_mut(bias.len()) {
            pixel.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
        }
    }
    if relu {
        y.iter_mut().for_each(|y| *y = y.max(0.0));
    }
}

/// Adds the weights' gradient, `dweight += dyᵀ · patches(x)`.
pub fn backward_weights(window: &Window, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    let [_, _, filters] = window.output;
    for_each_patches(window, x, |patches, rows, out| {
        let dy = Matrix::new(&dy[out], rows, filters).transposed();
        multiply(dy, Matrix::new(patches, rows, patches.len() / rows), dweight, Target::Add);
    });
}

/// Adds the bias's gradient: the outputs' by channel.
pub fn backward_bias(dy: &[f32], dbias: &mut [f32]) {
    for pixel in dy.chunks_exact(dbias.len()) {
        dbias.iter_mut().zip(pixel).for_each(|(d, dy)| *d += dy);
    }
}

/// Adds (or writes) the input's gradient, `dx (+)= dy · weight`, patches laid back in place.
pub fn backward_input(window: &Window, weight: &[f32], dy: &[f32], dx: &mut [f32], mode: Target) {
    let [_, width, filters] = window.output;
    let patch = weight.len() / filters;
    let weight = Matrix::new(weight, filters, patch);
    if is_pointwise(window) {
        return multiply(Matrix::new(dy, dy.len() / filters, filters), weight, dx, mode);
    }
    if mode == Target::Replace {
        dx.fill(0.0);
    }
    let mut patches = Vec::new();
    let pictures = dx.chunks_exact_mut(window.input_len());
    for (dx, dy) in pictures.zip(dy.chunks_exact(window.output_len())) {
        for (first, rows) in row_tiles(window, patch) {
            let pixels = rows * width;
            patches.resize(pixels * patch, 0.0);
            let dy = &dy[first * width * filters..][..pixels * filters];
            multiply(Matrix::new(dy, pixels, filters), weight, &mut patches, Target::Replace);
            add_patches(window, first, &patches, dx);
        }
    }
}

fn is_pointwise(window: &Window) -> bool {
    window.kernel == 1 && window.stride == 1
}

/// Calls `work(patches, pixels, output range)` over all pictures in `x`.
fn for_each_patches(
    window: &Window,
    x: &[f32],
    mut work: impl FnMut(&[f32], usize, std::ops::Range<usize>),
) {
    let [_, width, filters] = window.output;
    if is_pointwise(window) {
        let pixels = x.len() / window.input[2];
        return work(x, pixels, 0..pixels * filters);
    }
    let patch = window.kernel * window.kernel * window.input[2];
    let mut patches = Vec::new();
    for (picture, x) in x.chunks_exact(window.input_len()).enumerate() {
        for (first, rows) in row_tiles(window, patch) {
            let pixels = rows * width;
            patches.resize(pixels * patch, 0.0);
            gather_patches(window, x, first, &mut patches);
            let start = picture * window.output_len() + first * width * filters;
            work(&patches, pixels, start..start + pixels * filters);
        }
    }
}

/// First output row and number of rows of each tile.
fn row_tiles(window: &Window, patch: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
    let [height, width, _] = window.output;
    let rows = (PATCH_FLOATS / (width * patch)).clamp(1, height);
    (0..height).step_by(rows).map(move |first| (first, rows.min(height - first)))
}

/// Lays out the input under each output pixel, from output row `first` on: [pixel, ky, kx, in].
fn gather_patches(window: &Window, x: &[f32], first: usize, patches: &mut [f32]) {
    for_each_run(window, first, patches.len(), |patch, run| match run {
        Some(input) => patches[patch].copy_from_slice(&x[input]),
        None => patches[patch].fill(0.0),
    });
}

/// Adds patches to the input pixels they were gathered from.
fn add_patches(window: &Window, first: usize, patches: &[f32], dx: &mut [f32]) {
    for_each_run(window, first, patches.len(), |patch, run| {
        if let Some(input) = run {
            dx[input].iter_mut().zip(&patches[patch]).for_each(|(dx, p)| *dx += p);
        }
    });
}

/// Calls `visit(range in the patches, range in the picture)` for each run of a kernel row; `None`
/// stands for padding.
#[inline(always)]
fn for_each_run(
    window: &Window,
    first: usize,
    patches_len: usize,
    mut visit: impl FnMut(std::ops::Range<usize>, Option<std::ops::Range<usize>>),
) {
    let [_, input_width, channels] = window.input;
    let [_, width, _] = window.output;
    let kernel = window.kernel;
    let patch = kernel * kernel * channels;
    for pixel in 0..patches_len / patch {
        let rows = window.rows(first + pixel / width);
        let columns = window.columns(pixel % width);
        for ky in 0..kernel {
            let start = pixel * patch + ky * kernel * channels;
            if ky < rows.first || ky >= rows.end {
                visit(start..start + kernel * channels, None);
                continue;
            }
            if columns.first > 0 {
                visit(start..start + columns.first * channels, None);
            }
            let input = ((rows.start + ky - rows.first) * input_width + columns.start) * channels;
            let len = (columns.end - columns.first) * channels;
            let inside = start + columns.first * channels;
            visit(inside..inside + len, Some(input..input + len));
            if columns.end < kernel {
                visit(inside + len..start + kernel * channels, None);
            }
        }
    }
}
