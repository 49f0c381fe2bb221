//! aarch64 without dot product instructions: `smull` and `smlal` sum two products of bytes in 16 bits,
//! `sadalp` and `saddw` take these into 32.
//!
//! 2 · 127 · 128 fits into 16 bits, 2 · 128 · 128 does not: filters with a weight of −128, which
//! quantizers do not give, take each product into 32 bits alone.

use std::arch::aarch64::*;

use super::pack::Lanes;
use super::{
    Code, Kernels, LANES, PackedConv, PackedDepthwise, Packing, Pixels, QUAD, Residual, UNIT,
};

/// Registers of a block's sums.
pub const QUARTERS: usize = 4;
/// Pixels computed together: four by four registers are 16 of the 32.
pub const ROWS: usize = 4;

/// For every aarch64.
pub static KERNELS: Kernels = Kernels {
    name: "NEON",
    flip: 0,
    packing: Packing::of_blocks::<1>(|lane, input| input / 2 * (UNIT / 2) + lane * 2 + input % 2),
    conv,
    depthwise,
};

fn conv(filter: &PackedConv, pixels: &Pixels, residual: Option<&Residual>, out: &mut [u8]) {
    filter.check(pixels, residual, out);
    let out = out.as_mut_ptr();
    for block in 0..filter.blocks {
        let tiles = Tiles { filter, pixels, residual, block, out };
        // SAFETY: every aarch64 that Rust's target runs on has NEON; `check` holds.
        unsafe {
            match filter.has_least {
                false => tiles.run(Tiles::tile::<ROWS, true>, Tiles::tile::<1, true>),
                true => tiles.run(Tiles::tile::<ROWS, false>, Tiles::tile::<1, false>),
            }
        }
    }
}

/// All pixels of a block of output channels.
pub struct Tiles<'a> {
    pub filter: &'a PackedConv,
    pub pixels: &'a Pixels<'a>,
    pub residual: Option<&'a Residual<'a>>,
    pub block: usize,
    pub out: *mut u8,
}

impl Tiles<'_> {
    /// Runs `tile` on [`ROWS`] pixels at a time and `single` on what remains.
    ///
    /// # Safety
    ///
    /// `filter.check` must hold, with an output at `out`, the block exist, and the CPU be able to run
    /// the two.
    pub unsafe fn run(&self, tile: unsafe fn(&Self, usize), single: unsafe fn(&Self, usize)) {
        let mut pixel = 0;
        // SAFETY: the caller's promise; each tile ends at the last pixel at most.
        unsafe {
            while pixel + ROWS <= self.pixels.count {
                tile(self, pixel);
                pixel += ROWS;
            }
            while pixel < self.pixels.count {
                single(self, pixel);
                pixel += 1;
            }
        }
    }

    /// `N` pixels from `pixel` on; `PAIRS` says whether two products fit into 16 bits.
    ///
    /// # Safety
    ///
    /// [`Self::run`]'s, and these pixels exist.
    unsafe fn tile<const N: usize, const PAIRS: bool>(&self, pixel: usize) {
        let (filter, step) = (self.filter, self.pixels.step);
        let units = filter.rows * filter.quads;
        // SAFETY: `check` says that the bias has a lane for each block's, the weights `units` units a
        // block, and the input `quads` quads from each tap of each pixel on.
        unsafe {
            let mut sums = [block_bias(&filter.lanes, self.block); N];
            let mut weights = filter.weights.as_ptr().add(self.block * units * UNIT);
            for tap in self.pixels.taps {
                let mut input = self.pixels.bytes.as_ptr().add(tap + pixel * step);
                for _ in 0..filter.quads {
                    let unit: [int8x16_t; 4] =
                        std::array::from_fn(|i| vld1q_s8(weights.add(i * 16)));
                    for (n, sums) in sums.iter_mut().enumerate() {
                        let pair = |i: usize| {
                            let pair = input.add(n * step + 2 * i).cast::<i16>().read_unaligned();
                            vreinterpretq_s8_s16(vdupq_n_s16(pair))
                        };
                        let (a, b) = (pair(0), pair(1));
                        for half in 0..2 {
                            let (v, w) = (unit[half], unit[2 + half]);
                            let low = vmull_s8(vget_low_s8(v), vget_low_s8(a));
                            let high = vmull_high_s8(v, a);
                            let [low, high] = if PAIRS {
                                [
                                    vmlal_s8(low, vget_low_s8(w), vget_low_s8(b)),
                                    vmlal_high_s8(high, w, b),
                                ]
                            } else {
                                sums[2 * half] = vpadalq_s16(sums[2 * half], low);
                                sums[2 * half + 1] = vpadalq_s16(sums[2 * half + 1], high);
                                [vmull_s8(vget_low_s8(w), vget_low_s8(b)), vmull_high_s8(w, b)]
                            };
                            sums[2 * half] = vpadalq_s16(sums[2 * half], low);
                            sums[2 * half + 1] = vpadalq_s16(sums[2 * half + 1], high);
                        }
                    }
                    weights = weights.add(UNIT);
                    input = input.add(QUAD);
                }
            }
            self.finish_all(pixel, sums);
        }
    }

    /// Writes the codes of a tile's sums.
    ///
    /// # Safety
    ///
    /// [`Self::run`]'s, and the pixels exist.
    #[inline]
    pub unsafe fn finish_all<const N: usize>(
        &self,
        pixel: usize,
        sums: [[int32x4_t; QUARTERS]; N],
    ) {
        // Written out, for an index that is not constant would keep the sums in memory.
        macro_rules! finish {
            ($($n:literal)*) => {$(if $n < N { self.finish(pixel + $n, sums[$n]) })*};
        }
        // SAFETY: the caller's promise.
        unsafe {
            finish!(0 1 2 3);
        }
    }

    /// Writes the codes of a pixel's sums.
    ///
    /// # Safety
    ///
    /// [`Self::run`]'s, and this pixel exists.
    #[inline]
    unsafe fn finish(&self, pixel: usize, sums: [int32x4_t; QUARTERS]) {
        let lanes = &self.filter.lanes;
        let at = pixel * self.filter.output_step() + self.block * LANES;
        // SAFETY: `check` says that output and residual have each block's channels of each pixel, and
        // the lanes each block.
        unsafe {
            let residual =
                self.residual.map(|r| (vld1q_s8(r.bytes.as_ptr().add(at).cast()), r.code));
            let codes = block_bytes(block_codes(lanes, self.block, sums), lanes.code, residual);
            vst1q_s8(self.out.add(at).cast(), codes);
        }
    }
}

/// What a block's sums begin with.
///
/// # Safety
///
/// `lanes` must have this block.
#[inline]
pub unsafe fn block_bias(lanes: &Lanes, block: usize) -> [int32x4_t; QUARTERS] {
    // SAFETY: the caller's promise.
    std::array::from_fn(|i| unsafe { vld1q_s32(lanes.bias.as_ptr().add(block * LANES + i * 4)) })
}

/// A block's sums scaled and rounded (`fcvtns`: to nearest, halves to even; it saturates): stored codes
/// as 16-bit numbers, saturated.
///
/// # Safety
///
/// `lanes` must have this block.
#[inline]
unsafe fn block_codes(lanes: &Lanes, block: usize, sums: [int32x4_t; QUARTERS]) -> [int16x8_t; 2] {
    // SAFETY: NEON is there; the caller's promise.
    unsafe {
        let code = |i: usize| {
            let factors = vld1q_f32(lanes.factors.as_ptr().add(block * LANES + i * 4));
            vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums[i]), factors))
        };
        let zero = vdupq_n_s16(lanes.code.zero as i16);
        let narrow = |a, b| vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), zero);
        [narrow(code(0), code(1)), narrow(code(2), code(3))]
    }
}

/// A block's stored bytes.
#[inline]
fn block_bytes(
    codes: [int16x8_t; 2],
    code: Code,
    residual: Option<(int8x16_t, Code)>,
) -> int8x16_t {
    // SAFETY: NEON is there, and nothing but registers is touched.
    unsafe {
        let bytes = |[a, b]: [int16x8_t; 2]| vqmovn_high_s16(vqmovn_s16(a), b);
        let limited = |bytes, code: Code| {
            let bytes = vmaxq_s8(bytes, vdupq_n_s8(code.low as i8));
            vminq_s8(bytes, vdupq_n_s8(code.high as i8))
        };
        let stored = limited(bytes(codes), code);
        let Some((residual, sum)) = residual else { return stored };
        let zero = vdupq_n_s16(sum.zero as i16);
        let low = vaddl_s8(vget_low_s8(stored), vget_low_s8(residual));
        let high = vaddl_high_s8(stored, residual);
        limited(bytes([vsubq_s16(low, zero), vsubq_s16(high, zero)]), sum)
    }
}

/// Convolution of each channel alone.
pub fn depthwise(filter: &PackedDepthwise, pixels: &Pixels, out: &mut [u8]) {
    filter.check(1, pixels, out);
    for block in 0..filter.blocks {
        // SAFETY: every aarch64 that Rust's target runs on has NEON; `check` holds, the block exists.
        unsafe {
            match filter.has_least {
                false => depthwise_block::<true>(filter, pixels, block, out.as_mut_ptr()),
                true => depthwise_block::<false>(filter, pixels, block, out.as_mut_ptr()),
            }
        }
    }
}

/// One block; `PAIRS` says whether two products fit into 16 bits.
///
/// # Safety
///
/// `filter.check` must hold, with an output at `out`, and the block exist.
unsafe fn depthwise_block<const PAIRS: bool>(
    filter: &PackedDepthwise,
    pixels: &Pixels,
    block: usize,
    out: *mut u8,
) {
    let first = block * LANES;
    let (pairs, odd) = pixels.taps.as_chunks::<2>();
    // SAFETY: `check` says that bias and weights have this block's lanes, and that each pixel's taps
    // have its channels.
    unsafe {
        let bias = block_bias(&filter.lanes, block);
        for pixel in 0..pixels.count {
            let input = pixels.bytes.as_ptr().add(pixel * pixels.step + first).cast::<i8>();
            let mut weights = filter.weights.as_ptr().add(first * filter.taps.len());
            let mut sums = bias;
            for [a, b] in pairs {
                let (x, v) = (vld1q_s8(input.add(*a)), vld1q_s8(weights));
                let (y, w) = (vld1q_s8(input.add(*b)), vld1q_s8(weights.add(LANES)));
                weights = weights.add(2 * LANES);
                let products = products(x, v);
                if PAIRS {
                    let low = vmlal_s8(products[0], vget_low_s8(y), vget_low_s8(w));
                    take_in(&mut sums, [low, vmlal_high_s8(products[1], y, w)]);
                } else {
                    take_in(&mut sums, products);
                    take_in(&mut sums, self::products(y, w));
                }
            }
            for tap in odd {
                take_in(&mut sums, products(vld1q_s8(input.add(*tap)), vld1q_s8(weights)));
            }
            let codes = block_codes(&filter.lanes, block, sums);
            let codes = block_bytes(codes, filter.lanes.code, None);
            vst1q_s8(out.add(pixel * filter.step() + first).cast(), codes);
        }
    }
}

#[inline]
fn products(x: int8x16_t, w: int8x16_t) -> [int16x8_t; 2] {
    // SAFETY: NEON is there, and nothing but registers is touched.
    unsafe { [vmull_s8(vget_low_s8(x), vget_low_s8(w)), vmull_high_s8(x, w)] }
}

#[inline]
fn take_in(sums: &mut [int32x4_t; QUARTERS], [low, high]: [int16x8_t; 2]) {
    // SAFETY: NEON is there, and nothing but registers is touched.
    unsafe {
        sums[0] = vaddw_s16(sums[0], vget_low_s16(low));
        sums[1] = vaddw_high_s16(sums[1], low);
        sums[2] = vaddw_s16(sums[2], vget_low_s16(high));
        sums[3] = vaddw_high_s16(sums[3], high);
    }
}
