//! x86-64 with AVX2: `vpmaddwd` sums two products of 16-bit numbers into each of eight lanes, exactly.
//! (`vpmaddubsw` takes bytes but saturates.)
//!
//! A quad of input bytes becomes 16-bit pairs by a mask and a shift: its first and third, its second
//! and fourth. So lie the weights.

use std::arch::x86_64::*;

use super::pack::Lanes;
use super::{
    Code, Kernels, LANES, PackedConv, PackedDepthwise, Packing, Pixels, QUAD, Residual, UNIT,
};

/// Registers of a block's sums.
const HALVES: usize = 2;
/// Pixels computed together: six by two registers are 12 of the 16.
const TILE_PIXELS: usize = 6; // `finish!` in `tile` counts them too
/// Taps whose products one instruction sums.
const TAPS: usize = 2;

static KERNELS: Kernels = Kernels {
    name: "AVX2",
    flip: 0x80,
    packing: Packing::of_blocks::<TAPS>(|lane, input| {
        input % 2 * (UNIT / 2) + lane * 2 + input / 2
    }),
    conv,
    depthwise,
};

/// The kernels, if this CPU runs them. Nothing else gives them out.
pub fn if_available() -> Option<&'static Kernels> {
    is_x86_feature_detected!("avx2").then_some(&KERNELS)
}

fn conv(filter: &PackedConv, pixels: &Pixels, residual: Option<&Residual>, out: &mut [u8]) {
    filter.check(pixels, residual, out);
    // SAFETY: `if_available` alone gives this function out, where the CPU has AVX2. All that is read
    // and written is there, says `check`.
    unsafe { conv_blocks(filter, pixels, residual, out.as_mut_ptr()) }
}

/// # Safety
///
/// `filter.check` must hold, with an output at `out`.
#[target_feature(enable = "avx2")]
unsafe fn conv_blocks(
    filter: &PackedConv,
    pixels: &Pixels,
    residual: Option<&Residual>,
    out: *mut u8,
) {
    for block in 0..filter.blocks {
        let tiles = Tiles { filter, pixels, residual, block, out };
        let mut pixel = 0;
        // SAFETY: the caller's promise; each tile ends at the last pixel at most.
        unsafe {
            while pixel + TILE_PIXELS <= pixels.count {
                tiles.tile::<TILE_PIXELS>(pixel);
                pixel += TILE_PIXELS;
            }
            if pixel + 3 <= pixels.count {
                tiles.tile::<3>(pixel);
                pixel += 3;
            }
            while pixel < pixels.count {
                tiles.tile::<1>(pixel);
                pixel += 1;
            }
        }
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
    /// `N` pixels from `pixel` on.
    ///
    /// # Safety
    ///
    /// [`conv_blocks`]', and these pixels exist.
    #[target_feature(enable = "avx2")]
    unsafe fn tile<const N: usize>(&self, pixel: usize) {
        let (filter, step) = (self.filter, self.pixels.step);
        let units = filter.rows * filter.quads;
        let even = _mm256_set1_epi32(0x00FF_00FF);
        // SAFETY: `check` says that the bias has a lane for each block's, the weights `units` units a
        // block, and the input `quads` quads from each tap of each pixel on.
        unsafe {
            let mut sums = [block_bias(&filter.lanes, self.block); N];
            let mut weights = filter.weights.as_ptr().add(self.block * units * UNIT);
            for tap in self.pixels.taps {
                let mut input = self.pixels.bytes.as_ptr().add(tap + pixel * step);
                for _ in 0..filter.quads {
                    let pairs: [__m256i; 4] = std::array::from_fn(|i| widened(weights.add(i * 16)));
                    for (n, sums) in sums.iter_mut().enumerate() {
                        let quad = input.add(n * step).cast::<i32>().read_unaligned();
                        let quad = _mm256_set1_epi32(quad);
                        let inputs = [_mm256_and_si256(quad, even), _mm256_srli_epi16(quad, 8)];
                        for half in 0..HALVES {
                            let a = _mm256_madd_epi16(inputs[0], pairs[half]);
                            let b = _mm256_madd_epi16(inputs[1], pairs[HALVES + half]);
                            sums[half] = _mm256_add_epi32(sums[half], _mm256_add_epi32(a, b));
                        }
                    }
                    weights = weights.add(UNIT);
                    input = input.add(QUAD);
                }
            }
            // Written out, for an index that is not constant would keep the sums in memory.
            macro_rules! finish {
                ($($n:literal)*) => {$(if $n < N { self.finish(pixel + $n, sums[$n]) })*};
            }
            finish!(0 1 2 3 4 5);
        }
    }

    /// Writes the codes of a pixel's sums.
    ///
    /// # Safety
    ///
    /// [`conv_blocks`]', and this pixel exists.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn finish(&self, pixel: usize, sums: [__m256i; HALVES]) {
        let lanes = &self.filter.lanes;
        let at = pixel * self.filter.output_step() + self.block * LANES;
        // SAFETY: `check` says that output and residual have each block's channels of each pixel, and
        // the lanes each block.
        unsafe {
            let residual =
                self.residual.map(|r| (_mm_loadu_si128(r.bytes.as_ptr().add(at).cast()), r.code));
            let codes = block_codes(lanes, self.block, sums);
            let codes = block_bytes(codes, lanes.code, residual);
            _mm_storeu_si128(self.out.add(at).cast(), codes);
        }
    }
}

/// Sixteen weights as 16-bit numbers.
///
/// # Safety
///
/// They must be there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn widened(weights: *const i8) -> __m256i {
    // SAFETY: the caller's promise.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(weights.cast()) })
}

/// What a block's sums begin with.
///
/// # Safety
///
/// `lanes` must have this block.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn block_bias(lanes: &Lanes, block: usize) -> [__m256i; HALVES] {
    // SAFETY: the caller's promise.
    std::array::from_fn(|half| unsafe {
        _mm256_loadu_si256(lanes.bias.as_ptr().add(block * LANES + half * 8).cast())
    })
}

/// A block's sums scaled, limited from above and rounded (to even, the default of a thread's MXCSR,
/// which Rust does not let a program change): stored codes as 16-bit numbers, in the channels' order,
/// saturated below.
///
/// # Safety
///
/// `lanes` must have this block.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn block_codes(lanes: &Lanes, block: usize, sums: [__m256i; HALVES]) -> __m256i {
    let high = _mm256_set1_ps((lanes.code.high - lanes.code.zero) as f32);
    let [a, b] = std::array::from_fn(|half| {
        // SAFETY: the caller's promise.
        let factors =
            unsafe { _mm256_loadu_ps(lanes.factors.as_ptr().add(block * LANES + half * 8)) };
        let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[half]), factors);
        _mm256_cvtps_epi32(_mm256_min_ps(scaled, high))
    });
    // Packing goes by 128 bits; the quarters change places.
    let codes = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(a, b));
    _mm256_adds_epi16(codes, _mm256_set1_epi16(lanes.code.zero as i16))
}

/// A block's stored bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn block_bytes(codes: __m256i, code: Code, residual: Option<(__m128i, Code)>) -> __m128i {
    let all = |number: i32| _mm256_set1_epi16(number as i16);
    let mut stored = _mm256_max_epi16(codes, all(code.low));
    if let Some((residual, sum)) = residual {
        let residual = _mm256_sub_epi16(_mm256_cvtepu8_epi16(residual), all(sum.zero));
        stored = _mm256_add_epi16(stored, residual);
        stored = _mm256_min_epi16(_mm256_max_epi16(stored, all(sum.low)), all(sum.high));
    }
    _mm_packus_epi16(_mm256_castsi256_si128(stored), _mm256_extracti128_si256::<1>(stored))
}

fn depthwise(filter: &PackedDepthwise, pixels: &Pixels, out: &mut [u8]) {
    filter.check(1, pixels, out);
    // SAFETY: `if_available` alone gives this function out, where the CPU has AVX2. All that is read
    // and written is there, says `check`.
    unsafe { depthwise_blocks(filter, pixels, out.as_mut_ptr()) }
}

/// # Safety
///
/// `filter.check` must hold, with an output at `out`.
#[target_feature(enable = "avx2")]
unsafe fn depthwise_blocks(filter: &PackedDepthwise, pixels: &Pixels, out: *mut u8) {
    for block in 0..filter.blocks {
        // SAFETY: the caller's promise, and the block exists.
        unsafe {
            match filter.taps.len() / TAPS {
                5 => depthwise_block::<5>(filter, pixels, block, out),
                _ => depthwise_block::<0>(filter, pixels, block, out),
            }
        }
    }
}

/// One block; `PAIRS` pairs of taps, or as many as `filter` has if 0.
///
/// # Safety
///
/// [`depthwise_blocks`]', and the block exists.
#[target_feature(enable = "avx2")]
unsafe fn depthwise_block<const PAIRS: usize>(
    filter: &PackedDepthwise,
    pixels: &Pixels,
    block: usize,
    out: *mut u8,
) {
    let pairs = if PAIRS == 0 { filter.taps.len() / TAPS } else { PAIRS };
    let first = block * LANES;
    // SAFETY: `check` says that bias and weights have this block's lanes, and that each pixel's taps
    // have its channels.
    unsafe {
        let bias = block_bias(&filter.lanes, block);
        let weights = filter.weights.as_ptr().add(first * filter.taps.len());
        for pixel in 0..pixels.count {
            let input = pixels.bytes.as_ptr().add(pixel * pixels.step + first);
            let mut sums = bias;
            for pair in 0..pairs {
                let tap = |t: usize| {
                    let tap = *pixels.taps.get_unchecked(pair * TAPS + t);
                    _mm_loadu_si128(input.add(tap).cast())
                };
                let (a, b) = (tap(0), tap(1));
                let beside = [_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b)];
                for (half, beside) in beside.into_iter().enumerate() {
                    let weights = widened(weights.add((pair * HALVES + half) * 16));
                    let products = _mm256_madd_epi16(_mm256_cvtepu8_epi16(beside), weights);
                    sums[half] = _mm256_add_epi32(sums[half], products);
                }
            }
            let codes = block_codes(&filter.lanes, block, sums);
            let codes = block_bytes(codes, filter.lanes.code, None);
            _mm_storeu_si128(out.add(pixel * filter.step() + first).cast(), codes);
        }
    }
}
