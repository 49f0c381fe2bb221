//! aarch64 with dot product instructions: `sdot` sums four products of bytes into each of four lanes.
//!
//! Written as assembly, as Rust's intrinsics for it are not stable yet.

use std::arch::aarch64::*;
use std::arch::asm;
use std::arch::is_aarch64_feature_detected;

use super::neon::{Products, QUARTERS, conv_by, depthwise};
use super::{Kernels, PackedConv, Packing, Pixels, QUAD, Residual};

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
    // SAFETY: `if_available` alone gives this function out, where the CPU has dot products.
    unsafe { conv_by::<Dot>(filter, pixels, residual, out) }
}

/// Four products summed into each lane.
struct Dot;

impl Products for Dot {
    #[inline(always)]
    unsafe fn take_in<const AT: usize>(
        sums: &mut [int32x4_t; QUARTERS],
        weights: [int8x16_t; QUARTERS],
        input: int8x16_t,
    ) {
        for (sum, weights) in sums.iter_mut().zip(weights) {
            // SAFETY: the caller's promise that the CPU has it; the instruction touches nothing but
            // these registers.
            unsafe {
                asm!(
                    ".arch_extension dotprod",
                    "sdot {sum:v}.4s, {weights:v}.16b, {input:v}.4b[{at}]",
                    sum = inout(vreg) *sum,
                    weights = in(vreg) weights,
                    // Vectors by element take any of the 32 registers, bytes in fours among them.
                    input = in(vreg) input,
                    at = const AT,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
        }
    }
}
