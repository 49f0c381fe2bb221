//! Kernels in plain Rust, for CPUs without others; what the others are compared with.

use super::{
    Kernels, LANES, PackedConv, PackedDepthwise, Packing, Pixels, QUAD, Residual, UNIT, requantize,
};

/// Plain Rust.
pub static KERNELS: Kernels = Kernels {
    name: "portable",
    flip: 0,
    packing: Packing::of_blocks::<1>(|lane, input| input * LANES + lane),
    conv,
    depthwise,
};

fn conv(filter: &PackedConv, pixels: &Pixels, residual: Option<&Residual>, out: &mut [u8]) {
    filter.check(pixels, residual, out);
    let (step, lanes, code) = (filter.output_step(), &filter.lanes, filter.lanes.code);
    for (pixel, out) in out.chunks_exact_mut(step).enumerate() {
        for (block, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let sums = dot_products(filter, pixels, pixel, block);
            for (lane, out) in out.iter_mut().enumerate() {
                let i = block * LANES + lane;
                let mut stored = requantize(sums[lane], lanes.factors[i], code);
                if let Some(Residual { bytes, code }) = residual {
                    let other = i32::from(bytes[pixel * step + i].cast_signed());
                    stored = (stored + other - code.zero).clamp(code.low, code.high);
                }
                *out = stored as u8;
            }
        }
    }
}

/// The sums of one pixel and one block of output channels.
fn dot_products(filter: &PackedConv, pixels: &Pixels, pixel: usize, block: usize) -> [i32; LANES] {
    let mut sums = [0; LANES];
    sums.copy_from_slice(&filter.lanes.bias[block * LANES..][..LANES]);
    let units = filter.rows * filter.quads;
    let mut weights = filter.weights[block * units * UNIT..].as_chunks::<LANES>().0.iter();
    for tap in pixels.taps {
        let inputs = &pixels.bytes[tap + pixel * pixels.step..][..filter.quads * QUAD];
        for (input, weights) in inputs.iter().zip(&mut weights) {
            let input = i32::from(input.cast_signed());
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = sum.wrapping_add(input * i32::from(*weight));
            }
        }
    }
    sums
}

fn depthwise(filter: &PackedDepthwise, pixels: &Pixels, out: &mut [u8]) {
    filter.check(KERNELS.packing.depthwise_group, pixels, out);
    let (step, lanes, code) = (filter.step(), &filter.lanes, filter.lanes.code);
    for (pixel, out) in out.chunks_exact_mut(step).enumerate() {
        for (block, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let first = block * LANES;
            let mut sums = [0; LANES];
            sums.copy_from_slice(&lanes.bias[first..][..LANES]);
            let weights = filter.weights[first * filter.taps.len()..].as_chunks::<LANES>().0;
            for (tap, weights) in pixels.taps.iter().zip(weights) {
                let inputs = &pixels.bytes[tap + pixel * pixels.step + first..][..LANES];
                for (sum, (input, weight)) in sums.iter_mut().zip(inputs.iter().zip(weights)) {
                    let product = i32::from(input.cast_signed()) * i32::from(*weight);
                    *sum = sum.wrapping_add(product);
                }
            }
            for (lane, out) in out.iter_mut().enumerate() {
                *out = requantize(sums[lane], lanes.factors[first + lane], code) as u8;
            }
        }
    }
}
