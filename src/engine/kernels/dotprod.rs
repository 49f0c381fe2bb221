//! aarch64 with dot product instructions: `sdot` sums four products of bytes into each of four lanes.
//!
//! Written as assembly, as Rust's intrinsics for it are not stable yet.

use std::arch::aarch64::*;
use std::arch::asm;
use std::arch::is_aarch64_feature_detected;

use super::neon::{QUARTERS, ROWS, Tiles, block_bias, depthwise};
use super::{Kernels, LANES, PackedConv, Packing, Pixels, QUAD, Residual, UNIT};

/// Quads of a register.
const QUADS: usize = 4;

static KERNELS: Kernels = Kernels {
    name: "NEON with dot product",
    flip: 0,
    packing: Packing::of_blocks::<1>(|lane, input| lane * QUAD + input),
    conv,
    depthwise,
};

/// The kernels, if this CPU runs them. Nothing else gives them out.
pub fn if_available() -> Option<&'static Kernels> {
    is_aarch64_feature_detected!("dotprod").then_some(&KERNELS)
}

fn conv(filter: &PackedConv, pixels: &Pixels, residual: Option<&Residual>, out: &mut [u8]) {
    filter.check(pixels, residual, out);
    let out = out.as_mut_ptr();
    for block in 0..filter.blocks {
        let tiles = Tiles { filter, pixels, residual, block, out };
        // SAFETY: `if_available` alone gives this function out, where the CPU has dot products;
        // `check` holds.
        unsafe { tiles.run(tile::<ROWS>, tile::<1>) }
    }
}

/// `sum += weights · input[LANE]`, four lanes of four products.
///
/// # Safety
///
/// The CPU must have dot products.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn dot<const LANE: i32>(sum: int32x4_t, weights: int8x16_t, input: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: the caller's promise; the instruction touches nothing but these registers.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {weights:v}.16b, {input:v}.4b[{lane}]",
            sum = inout(vreg) sum,
            weights = in(vreg) weights,
            // Vectors by element take any of the 32 registers, bytes in fours among them.
            input = in(vreg) input,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// `N` pixels from `pixel` on.
///
/// # Safety
///
/// [`Tiles::run`]'s, these pixels exist, and the CPU has dot products.
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile<const N: usize>(tiles: &Tiles, pixel: usize) {
    let (filter, step) = (tiles.filter, tiles.pixels.step);
    let units = filter.rows * filter.quads;
    // SAFETY: `check` says that the bias has a lane for each block's, the weights `units` units a block,
    // and the input `quads` quads from each tap of each pixel on.
    unsafe {
        let mut sums = [block_bias(&filter.lanes, tiles.block); N];
        let mut weights = filter.weights.as_ptr().add(tiles.block * units * UNIT);
        for tap in tiles.pixels.taps {
            let mut input = tiles.pixels.bytes.as_ptr().add(tap + pixel * step).cast::<i8>();
            for _ in 0..filter.quads / QUADS {
                let inputs: [int8x16_t; N] = std::array::from_fn(|n| vld1q_s8(input.add(n * step)));
                sums = unit::<N, 0>(sums, weights, inputs);
                sums = unit::<N, 1>(sums, weights.add(UNIT), inputs);
                sums = unit::<N, 2>(sums, weights.add(2 * UNIT), inputs);
                sums = unit::<N, 3>(sums, weights.add(3 * UNIT), inputs);
                weights = weights.add(QUADS * UNIT);
                input = input.add(QUADS * QUAD);
            }
            for _ in 0..filter.quads % QUADS {
                let inputs: [int8x16_t; N] = std::array::from_fn(|n| {
                    let quad = input.add(n * step).cast::<i32>().read_unaligned();
                    vreinterpretq_s8_s32(vdupq_n_s32(quad))
                });
                sums = unit::<N, 0>(sums, weights, inputs);
                weights = weights.add(UNIT);
                input = input.add(QUAD);
            }
        }
        tiles.finish_all(pixel, sums);
    }
}

/// Takes in the products of a unit of weights with quad `LANE` of each pixel's input.
///
/// # Safety
///
/// The CPU must have dot products, and the unit be there.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn unit<const N: usize, const LANE: i32>(
    mut sums: [[int32x4_t; QUARTERS]; N],
    weights: *const i8,
    inputs: [int8x16_t; N],
) -> [[int32x4_t; QUARTERS]; N] {
    // SAFETY: the caller's promise.
    unsafe {
        let weights: [int8x16_t; QUARTERS] =
            std::array::from_fn(|i| vld1q_s8(weights.add(i * LANES)));
        for (sums, input) in sums.iter_mut().zip(inputs) {
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = dot::<LANE>(*sum, weights, input);
            }
        }
    }
    sums
}
