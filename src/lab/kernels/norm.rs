//! Batch normalization (Ioffe & Szegedy 2015) with an optional ReLU behind it.

use multiversion::multiversion;

/// Channels gathered in one pass, so that the sums stay in registers.
const LANES: usize = 16;

/// Per-channel sums of one run of pictures.
pub struct Sums {
    /// Σ of the first quantity, by channel.
    pub first: Vec<f64>,
    /// Σ of the second quantity, by channel.
    pub second: Vec<f64>,
}

/// Σx and Σx² by channel. Float partial sums cover one row of `ROW` pixels, doubles the rest.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub fn moments(channels: usize, x: &[f32]) -> Sums {
    accumulate(channels, x, x, |x, _| (x, x * x))
}

/// Σdy and Σdy·x̂ by channel, x̂ = (x − mean)·inverse; `dy` already masked by ReLU.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub fn gradient_sums(channels: usize, x: &[f32], dy: &[f32]) -> Sums {
    accumulate(channels, x, dy, |x, dy| (dy, dy * x))
}

/// Pixels summed in single precision before they join the double sums.
const ROW: usize = 64;

#[inline(always)]
fn accumulate(
    channels: usize,
    x: &[f32],
    z: &[f32],
    terms: impl Fn(f32, f32) -> (f32, f32) + Copy,
) -> Sums {
    let mut sums = Sums { first: vec![0.0; channels], second: vec![0.0; channels] };
    for (x, z) in x.chunks(ROW * channels).zip(z.chunks(ROW * channels)) {
        for first in (0..channels).step_by(LANES) {
            let len = LANES.min(channels - first);
            let (mut a, mut b) = ([0.0f32; LANES], [0.0f32; LANES]);
            for (x, z) in x.chunks_exact(channels).zip(z.chunks_exact(channels)) {
                match (x[first..].first_chunk::<LANES>(), z[first..].first_chunk::<LANES>()) {
                    (Some(x), Some(z)) if len == LANES => {
                        for i in 0..LANES {
                            let (p, q) = terms(x[i], z[i]);
                            a[i] += p;
                            b[i] += q;
                        }
                    }
                    _ => {
                        for i in 0..len {
                            let (p, q) = terms(x[first + i], z[first + i]);
                            a[i] += p;
                            b[i] += q;
                        }
                    }
                }
            }
            for i in 0..len {
                sums.first[first + i] += f64::from(a[i]);
                sums.second[first + i] += f64::from(b[i]);
            }
        }
    }
    sums
}

/// `y = x · scale + shift` by channel, then ReLU if `relu`.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub fn apply(scale: &[f32], shift: &[f32], relu: bool, x: &[f32], y: &mut [f32]) {
    let floor = super::floor(relu);
    let channels = scale.len();
    for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
        for (((y, x), scale), shift) in y.iter_mut().zip(x).zip(scale).zip(shift) {
            *y = x.mul_add(*scale, *shift).max(floor);
        }
    }
}

/// `dy` becomes `dy · scale + x · slope + shift` by channel: the batch norm's input gradient,
/// its batch terms folded into `slope` and `shift`.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub fn backward_input(scale: &[f32], slope: &[f32], shift: &[f32], x: &[f32], dy: &mut [f32]) {
    let channels = scale.len();
    for (x, dy) in x.chunks_exact(channels).zip(dy.chunks_exact_mut(channels)) {
        for c in 0..channels {
            dy[c] = dy[c].mul_add(scale[c], x[c].mul_add(slope[c], shift[c]));
        }
    }
}

/// Zeroes `dy` where the ReLU's output `y` is zero.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub fn mask_relu(y: &[f32], dy: &mut [f32]) {
    for (dy, y) in dy.iter_mut().zip(y) {
        *dy = if *y > 0.0 { *dy } else { 0.0 };
    }
}
