//! aarch64 without dot product instructions: `smull` and `smlal` sum two products of bytes in 16 bits,
//! `sadalp` and `saddw` take these into 32.
//!
//! 2 · 127 · 128 fits into 16 bits, 2 · 128 · 128 does not: filters with a weight of −128, which
//! quantizers do not give, take each product into 32 bits alone.

use std::arch::aarch64::*;
use std::arch::asm;

use super::pack::Lanes;
use super::{
    Code, Kernels, LANES, PackedConv, PackedDepthwise, Packing, Pixels, QUAD, Residual, UNIT,
};

/// Registers of a block's sums, and of a unit of its weights.
pub const QUARTERS: usize = 4;
/// Pixels computed together: four by four registers are 16 of the 32.
const TILE_PIXELS: usize = 4;
/// Quads of a register.
const QUADS: usize = 4;

/// For every aarch64.
pub static KERNELS: Kernels = Kernels {
    name: "NEON",
    flip: 0,
    packing: Packing::of_blocks::<1>(|lane, input| input / 2 * (UNIT / 2) + lane * 2 + input % 2),
    conv,
    depthwise,
};

fn conv(filter: &PackedConv, pixels: &Pixels, residual: Option<&Residual>, out: &mut [u8]) {
    // SAFETY: every aarch64 that Rust's target runs on has what these two take.
    unsafe {
        match filter.has_least {
            false => conv_by::<Pairs>(filter, pixels, residual, out),
            true => conv_by::<Singles>(filter, pixels, residual, out),
        }
    }
}

/// How a unit of weights is multiplied.
pub trait Products {
    /// Adds to a pixel's sums the products of a unit of weights with quad `AT` of its input.
    ///
    /// # Safety
    ///
    /// The CPU must have the instructions.
    unsafe fn take_in<const AT: usize>(
        sums: &mut [int32x4_t; QUARTERS],
        weights: [int8x16_t; QUARTERS],
        input: int8x16_t,
    );
}

/// Two products summed in 16 bits.
struct Pairs;

impl Products for Pairs {
    // As assembly: what a compiler makes of the intrinsics takes half as many instructions again, for it
    // sees that both halves of a spread pair are the same and then does not use `smull2`.
    #[inline(always)]
    unsafe fn take_in<const AT: usize>(
        [a, b, c, d]: &mut [int32x4_t; QUARTERS],
        [v, w, x, y]: [int8x16_t; QUARTERS],
        input: int8x16_t,
    ) {
        // SAFETY: the instructions touch nothing but these registers.
        unsafe {
            asm!(
                "dup {pair:v}.8h, {input:v}.h[{i}]",
                "smull {p:v}.8h, {v:v}.8b, {pair:v}.8b",
                "smull2 {q:v}.8h, {v:v}.16b, {pair:v}.16b",
                "smull {r:v}.8h, {w:v}.8b, {pair:v}.8b",
                "smull2 {s:v}.8h, {w:v}.16b, {pair:v}.16b",
                "dup {pair:v}.8h, {input:v}.h[{j}]",
                "smlal {p:v}.8h, {x:v}.8b, {pair:v}.8b",
                "smlal2 {q:v}.8h, {x:v}.16b, {pair:v}.16b",
                "smlal {r:v}.8h, {y:v}.8b, {pair:v}.8b",
                "smlal2 {s:v}.8h, {y:v}.16b, {pair:v}.16b",
                "sadalp {a:v}.4s, {p:v}.8h",
                "sadalp {b:v}.4s, {q:v}.8h",
                "sadalp {c:v}.4s, {r:v}.8h",
                "sadalp {d:v}.4s, {s:v}.8h",
                pair = out(vreg) _,
                p = out(vreg) _, q = out(vreg) _, r = out(vreg) _, s = out(vreg) _,
                a = inout(vreg) *a, b = inout(vreg) *b, c = inout(vreg) *c, d = inout(vreg) *d,
                v = in(vreg) v, w = in(vreg) w, x = in(vreg) x, y = in(vreg) y,
                input = in(vreg) input,
                i = const 2 * AT, j = const 2 * AT + 1,
                // Not `nomem`: loads of weights that come later would be moved ahead of it, and
                // sums out of registers for them.
                options(nostack, preserves_flags)
            );
        }
    }
}

/// Each product taken into 32 bits alone.
struct Singles;

impl Products for Singles {
    #[inline(always)]
    unsafe fn take_in<const AT: usize>(
        sums: &mut [int32x4_t; QUARTERS],
        weights: [int8x16_t; QUARTERS],
        input: int8x16_t,
    ) {
        // SAFETY: NEON is there, and nothing but registers and this array is touched.
        unsafe {
            let mut quad = [0_i16; 2 * QUADS];
            vst1q_s16(quad.as_mut_ptr(), vreinterpretq_s16_s8(input));
            for (i, weights) in weights.into_iter().enumerate() {
                let pair = vreinterpretq_s8_s16(vdupq_n_s16(quad[2 * AT + i / 2]));
                let [low, high] = products(weights, pair);
                let half = i % 2 * 2;
                sums[half] = vpadalq_s16(sums[half], low);
                sums[half + 1] = vpadalq_s16(sums[half + 1], high);
            }
        }
    }
}

/// A convolution by `P`.
///
/// # Safety
///
/// The CPU must have `P`'s instructions, and the weights be packed for them.
pub unsafe fn conv_by<P: Products>(
    filter: &PackedConv,
    pixels: &Pixels,
    residual: Option<&Residual>,
    out: &mut [u8],
) {
    filter.check(pixels, residual, out);
    let out = out.as_mut_ptr();
    for block in 0..filter.blocks {
        let tiles = Tiles { filter, pixels, residual, block, out };
        // SAFETY: the caller's promise; `check` holds.
        unsafe { tiles.run::<P>() }
    }
}

/// All pixels of a block of output channels.
struct Tiles<'a> {
    filter: &'a PackedConv,
    pixels: &'a Pixels<'a>,
    residual: Option<&'a Residual<'a>>,
    block: usize,
    out: *mut u8,
}

impl Tiles<'_> {
    /// [`TILE_PIXELS`] pixels at a time, then one at a time.
    ///
    /// # Safety
    ///
    /// `filter.check` must hold, with an output at `out`, the block exist, and the CPU have `P`'s
    /// instructions.
    unsafe fn run<P: Products>(&self) {
        let mut pixel = 0;
        // SAFETY: the caller's promise; each tile ends at the last pixel at most.
        unsafe {
            while pixel + TILE_PIXELS <= self.pixels.count {
                self.finish(pixel, self.sums::<P, TILE_PIXELS>(pixel));
                pixel += TILE_PIXELS;
            }
            while pixel < self.pixels.count {
                self.finish(pixel, self.sums::<P, 1>(pixel));
                pixel += 1;
            }
        }
    }

    /// The sums of `N` pixels from `pixel` on.
    ///
    /// # Safety
    ///
    /// [`Self::run`]'s, and these pixels exist.
    #[inline(always)]
    unsafe fn sums<P: Products, const N: usize>(&self, pixel: usize) -> [[int32x4_t; QUARTERS]; N] {
        let (filter, step) = (self.filter, self.pixels.step);
        let units = filter.rows * filter.quads;
        // SAFETY: `check` says that the bias has a lane for each block's, the weights `units` units a
        // block, and the input `quads` quads from each tap of each pixel on.
        unsafe {
            let mut sums = [block_bias(&filter.lanes, self.block); N];
            let mut weights = filter.weights.as_ptr().add(self.block * units * UNIT);
            for tap in self.pixels.taps {
                let mut input = self.pixels.bytes.as_ptr().add(tap + pixel * step).cast::<i8>();
                for _ in 0..filter.quads / QUADS {
                    let inputs = std::array::from_fn(|n| vld1q_s8(input.add(n * step)));
                    take_in_unit::<P, N, 0>(&mut sums, weights, inputs);
                    take_in_unit::<P, N, 1>(&mut sums, weights.add(UNIT), inputs);
                    take_in_unit::<P, N, 2>(&mut sums, weights.add(2 * UNIT), inputs);
                    take_in_unit::<P, N, 3>(&mut sums, weights.add(3 * UNIT), inputs);
                    weights = weights.add(QUADS * UNIT);
                    input = input.add(QUADS * QUAD);
                }
                for _ in 0..filter.quads % QUADS {
                    let inputs = std::array::from_fn(|n| {
                        let quad = input.add(n * step).cast::<i32>().read_unaligned();
                        vreinterpretq_s8_s32(vdupq_n_s32(quad))
                    });
                    take_in_unit::<P, N, 0>(&mut sums, weights, inputs);
                    weights = weights.add(UNIT);
                    input = input.add(QUAD);
                }
            }
            sums
        }
    }

    /// Writes the codes of a tile's sums.
    ///
    /// # Safety
    ///
    /// [`Self::run`]'s, and the pixels exist.
    #[inline(always)]
    unsafe fn finish<const N: usize>(&self, pixel: usize, sums: [[int32x4_t; QUARTERS]; N]) {
        let step = self.filter.output_step();
        let at = pixel * step + self.block * LANES;
        // Written out, for an index that is not constant would keep the sums in memory.
        macro_rules! each {
            ($write:expr) => { each!($write, 0 1 2 3) };
            ($write:expr, $($n:literal)*) => {{
                let write = $write;
                $(if $n < N { write(at + $n * step, sums[$n]) })*
            }};
        }
        // SAFETY: `check` says that output and residual have each block's channels of each pixel, and
        // the lanes each block.
        unsafe {
            let codes = Codes::of_block(&self.filter.lanes, self.block);
            let write = |at, bytes| vst1q_s8(self.out.add(at).cast(), bytes);
            match self.residual {
                None => each!(|at, sums| write(at, codes.bytes(sums))),
                Some(Residual { bytes, code }) => {
                    let (zero, limits) = (vdupq_n_s16(code.zero as i16), Limits::of(*code));
                    each!(|at, sums| {
                        let other = vld1q_s8(bytes.as_ptr().add(at).cast());
                        write(at, limits.bytes(added(codes.bytes(sums), other, zero)));
                    });
                }
            }
        }
    }
}

/// Adds to the sums of `N` pixels the products of a unit of weights with quad `AT` of their inputs.
///
/// # Safety
///
/// The CPU must have `P`'s instructions, and the unit be there.
#[inline(always)]
unsafe fn take_in_unit<P: Products, const N: usize, const AT: usize>(
    sums: &mut [[int32x4_t; QUARTERS]; N],
    weights: *const i8,
    inputs: [int8x16_t; N],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let weights = std::array::from_fn(|i| vld1q_s8(weights.add(i * LANES)));
        for (sums, input) in sums.iter_mut().zip(inputs) {
            P::take_in::<AT>(sums, weights, input);
        }
    }
}

/// What a block's sums begin with.
///
/// # Safety
///
/// `lanes` must have this block.
#[inline]
unsafe fn block_bias(lanes: &Lanes, block: usize) -> [int32x4_t; QUARTERS] {
    // SAFETY: the caller's promise.
    std::array::from_fn(|i| unsafe { vld1q_s32(lanes.bias.as_ptr().add(block * LANES + i * 4)) })
}

/// What makes stored bytes of a block's sums.
struct Codes {
    factors: [float32x4_t; QUARTERS],
    zero: int16x8_t,
    limits: Limits,
}

impl Codes {
    /// # Safety
    ///
    /// `lanes` must have this block.
    #[inline]
    unsafe fn of_block(lanes: &Lanes, block: usize) -> Self {
        // SAFETY: NEON is there; the caller's promise.
        unsafe {
            let factors = lanes.factors.as_ptr().add(block * LANES);
            Self {
                factors: std::array::from_fn(|i| vld1q_f32(factors.add(i * 4))),
                zero: vdupq_n_s16(lanes.code.zero as i16),
                limits: Limits::of(lanes.code),
            }
        }
    }

    /// Sums scaled and rounded (`fcvtns`: to nearest, halves to even; it saturates), as 16-bit numbers,
    /// saturated, then as limited bytes.
    #[inline]
    fn bytes(&self, sums: [int32x4_t; QUARTERS]) -> int8x16_t {
        // SAFETY: NEON is there, and nothing but registers is touched.
        unsafe {
            let scaled =
                |i: usize| vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums[i]), self.factors[i]));
            let codes =
                |i| vqaddq_s16(vqmovn_high_s32(vqmovn_s32(scaled(i)), scaled(i + 1)), self.zero);
            self.limits.bytes([codes(0), codes(2)])
        }
    }
}

/// The bytes that an activation lets through.
struct Limits {
    low: int8x16_t,
    high: int8x16_t,
}

impl Limits {
    #[inline]
    fn of(code: Code) -> Self {
        // SAFETY: NEON is there, and nothing but registers is touched.
        unsafe { Self { low: vdupq_n_s8(code.low as i8), high: vdupq_n_s8(code.high as i8) } }
    }

    #[inline]
    fn bytes(&self, [a, b]: [int16x8_t; 2]) -> int8x16_t {
        // SAFETY: NEON is there, and nothing but registers is touched.
        unsafe {
            let bytes = vqmovn_high_s16(vqmovn_s16(a), b);
            vminq_s8(vmaxq_s8(bytes, self.low), self.high)
        }
    }
}

/// `a + b − zero`, exact.
#[inline]
fn added(a: int8x16_t, b: int8x16_t, zero: int16x8_t) -> [int16x8_t; 2] {
    // SAFETY: NEON is there, and nothing but registers is touched.
    unsafe {
        let low = vaddl_s8(vget_low_s8(a), vget_low_s8(b));
        [vsubq_s16(low, zero), vsubq_s16(vaddl_high_s8(a, b), zero)]
    }
}

/// Convolution of each channel alone.
pub fn depthwise(filter: &PackedDepthwise, pixels: &Pixels, out: &mut [u8]) {
    filter.check(1, pixels, out);
    for block in 0..filter.blocks {
        let out = out.as_mut_ptr();
        // SAFETY: every aarch64 that Rust's target runs on has NEON; `check` holds, the block exists.
        unsafe {
            match (filter.has_least, <&[usize; 9]>::try_from(pixels.taps)) {
                (false, Ok(taps)) => depthwise_nine(filter, pixels, taps, block, out),
                (false, Err(_)) => depthwise_block::<true>(filter, pixels, block, out),
                (true, _) => depthwise_block::<false>(filter, pixels, block, out),
            }
        }
    }
}

/// One block of a window of nine taps, whose weights stay in registers.
///
/// # Safety
///
/// `filter.check` must hold, with an output at `out`, these be the pixels' taps, the block exist, and
/// no weight be −128.
unsafe fn depthwise_nine(
    filter: &PackedDepthwise,
    pixels: &Pixels,
    taps: &[usize; 9],
    block: usize,
    out: *mut u8,
) {
    let first = block * LANES;
    // SAFETY: `check` says that bias and weights have this block's lanes, and that each pixel's taps
    // have its channels.
    unsafe {
        let bias = block_bias(&filter.lanes, block);
        let codes = Codes::of_block(&filter.lanes, block);
        let weights = filter.weights.as_ptr().add(first * taps.len());
        let weights: [int8x16_t; 9] = std::array::from_fn(|i| vld1q_s8(weights.add(i * LANES)));
        for pixel in 0..pixels.count {
            let inputs = pixels.bytes.as_ptr().add(pixel * pixels.step + first).cast::<i8>();
            let input = |i: usize| vld1q_s8(inputs.add(taps[i]));
            let mut sums = bias;
            for i in [0, 2, 4, 6] {
                let pair = two_products([input(i), input(i + 1)], [weights[i], weights[i + 1]]);
                take_in(&mut sums, pair);
            }
            take_in(&mut sums, products(input(8), weights[8]));
            vst1q_s8(out.add(pixel * filter.step() + first).cast(), codes.bytes(sums));
        }
    }
}

/// One block; `IN_PAIRS` says whether two products fit into 16 bits.
///
/// # Safety
///
/// `filter.check` must hold, with an output at `out`, and the block exist.
unsafe fn depthwise_block<const IN_PAIRS: bool>(
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
        let codes = Codes::of_block(&filter.lanes, block);
        for pixel in 0..pixels.count {
            let input = pixels.bytes.as_ptr().add(pixel * pixels.step + first).cast::<i8>();
            let mut weights = filter.weights.as_ptr().add(first * filter.taps.len());
            let mut sums = bias;
            for [a, b] in pairs {
                let inputs = [vld1q_s8(input.add(*a)), vld1q_s8(input.add(*b))];
                let both = [vld1q_s8(weights), vld1q_s8(weights.add(LANES))];
                weights = weights.add(2 * LANES);
                if IN_PAIRS {
                    take_in(&mut sums, two_products(inputs, both));
                } else {
                    take_in(&mut sums, products(inputs[0], both[0]));
                    take_in(&mut sums, products(inputs[1], both[1]));
                }
            }
            for tap in odd {
                take_in(&mut sums, products(vld1q_s8(input.add(*tap)), vld1q_s8(weights)));
            }
            vst1q_s8(out.add(pixel * filter.step() + first).cast(), codes.bytes(sums));
        }
    }
}

/// `x · v`, in 16 bits. As assembly, as is [`two_products`]: a compiler parts the upper half of what
/// stays the same in a loop ahead, and then has to part the other factor's too.
#[inline]
fn products(x: int8x16_t, v: int8x16_t) -> [int16x8_t; 2] {
    let (low, high);
    // SAFETY: every aarch64 has these instructions; they touch nothing but these registers.
    unsafe {
        asm!(
            "smull {low:v}.8h, {x:v}.8b, {v:v}.8b",
            "smull2 {high:v}.8h, {x:v}.16b, {v:v}.16b",
            low = out(vreg) low,
            high = lateout(vreg) high,
            x = in(vreg) x,
            v = in(vreg) v,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    [low, high]
}

/// `x · v + y · w`, which must fit into 16 bits.
#[inline]
fn two_products([x, y]: [int8x16_t; 2], [v, w]: [int8x16_t; 2]) -> [int16x8_t; 2] {
    let [mut low, mut high] = products(x, v);
    // SAFETY: every aarch64 has these instructions; they touch nothing but these registers.
    unsafe {
        asm!(
            "smlal {low:v}.8h, {y:v}.8b, {w:v}.8b",
            "smlal2 {high:v}.8h, {y:v}.16b, {w:v}.16b",
            low = inout(vreg) low,
            high = inout(vreg) high,
            y = in(vreg) y,
            w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    [low, high]
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
