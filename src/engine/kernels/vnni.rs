//! x86-64 with AVX-512 VNNI: `vpdpbusd` sums four products of unsigned activations and signed
//! weights into each of sixteen lanes.
//!
//! Four blocks, 64 channels, are computed together. Their lanes are in the order in which packing
//! 32-bit lanes to bytes puts them back in place: within each 128 bits.

use std::arch::x86_64::*;

use super::pack::Lanes;
use super::{
    Code, Kernels, LANES, PackedConv, PackedDepthwise, Packing, Pixels, QUAD, Residual, UNIT,
    by_row,
};

/// Blocks whose lanes are packed to bytes together.
const GROUP: usize = 4;
/// Pixels computed together: six by four blocks are 24 of the 32 registers.
const TILE_PIXELS: usize = 6; // `finish!` in `tile` counts them too
/// Taps whose products one instruction sums.
const TAPS: usize = 4;

static KERNELS: Kernels = Kernels {
    name: "AVX-512 VNNI",
    flip: 0x80,
    packing: Packing {
        group: GROUP,
        place: |lane, input| lane * QUAD + input,
        depthwise_group: GROUP,
        depthwise_taps: TAPS,
        depthwise_order,
        channel: |blocks, block, lane| match blocks {
            GROUP => lane / 4 * LANES + block * 4 + lane % 4,
            _ => block * LANES + lane,
        },
    },
    conv,
    depthwise,
};

/// Three rows by columns, of which neighbours then share theirs; other windows row by row.
fn depthwise_order([height, width]: [usize; 2]) -> Vec<usize> {
    match height {
        3 => (0..width).flat_map(|x| [0, 1, 2, 2].map(|y| y * width + x)).collect(),
        _ => by_row::<TAPS>([height, width]),
    }
}

/// The kernels, if this CPU runs them. Nothing else gives them out.
pub fn if_available() -> Option<&'static Kernels> {
    let available = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni");
    available.then_some(&KERNELS)
}

fn conv(filter: &PackedConv, pixels: &Pixels, residual: Option<&Residual>, out: &mut [u8]) {
    filter.check(pixels, residual, out);
    // SAFETY: `if_available` alone gives this function out, where the CPU has these features. All that
    // is read and written is there, says `check`.
    unsafe { conv_groups(filter, pixels, residual, out.as_mut_ptr()) }
}

/// # Safety
///
/// `filter.check` must hold, with an output at `out`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn conv_groups(
    filter: &PackedConv,
    pixels: &Pixels,
    residual: Option<&Residual>,
    out: *mut u8,
) {
    for first in (0..filter.blocks).step_by(GROUP) {
        let tiles = Tiles { filter, pixels, residual, first, out };
        // SAFETY: the caller's promise, and the blocks from `first` on exist.
        unsafe {
            match filter.blocks - first {
                1 => tiles.run::<1>(),
                2 => tiles.run::<2>(),
                3 => tiles.run::<3>(),
                _ => tiles.run::<4>(),
            }
        }
    }
}

/// All pixels of a group of output blocks, the first of which is `first`.
struct Tiles<'a> {
    filter: &'a PackedConv,
    pixels: &'a Pixels<'a>,
    residual: Option<&'a Residual<'a>>,
    first: usize,
    out: *mut u8,
}

impl Tiles<'_> {
    /// # Safety
    ///
    /// [`conv_groups`]'s, and `BLOCKS` blocks exist from `first` on.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn run<const BLOCKS: usize>(&self) {
        let count = self.pixels.count;
        let mut pixel = 0;
        // SAFETY: the caller's promise; each tile ends at the last pixel at most.
        unsafe {
            while pixel + TILE_PIXELS <= count {
                self.tile::<TILE_PIXELS, BLOCKS>(pixel);
                pixel += TILE_PIXELS;
            }
            match count - pixel {
                1 => self.tile::<1, BLOCKS>(pixel),
                2 => self.tile::<2, BLOCKS>(pixel),
                3 => self.tile::<3, BLOCKS>(pixel),
                4 => self.tile::<4, BLOCKS>(pixel),
                5 => self.tile::<5, BLOCKS>(pixel),
                _ => {}
            }
        }
    }

    /// `N` pixels from `pixel` on.
    ///
    /// # Safety
    ///
    /// [`Self::run`]'s, and these pixels exist.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn tile<const N: usize, const BLOCKS: usize>(&self, pixel: usize) {
        let (filter, step) = (self.filter, self.pixels.step);
        let units = filter.rows * filter.quads;
        // SAFETY: `check` says that the bias has a lane for each block's, the weights `units` units a
        // block, and the input `quads` quads from each tap of each pixel on.
        unsafe {
            let bias = filter.lanes.bias.as_ptr().add(self.first * LANES);
            let bias: [__m512i; BLOCKS] =
                std::array::from_fn(|b| _mm512_loadu_epi32(bias.add(b * LANES)));
            let mut sums = [bias; N];
            let mut weights = filter.weights.as_ptr().add(self.first * units * UNIT);
            for tap in self.pixels.taps {
                let mut input = self.pixels.bytes.as_ptr().add(tap + pixel * step);
                for _ in 0..filter.quads {
                    let unit: [__m512i; BLOCKS] =
                        std::array::from_fn(|b| _mm512_loadu_epi8(weights.add(b * UNIT)));
                    for (n, sums) in sums.iter_mut().enumerate() {
                        let quad = input.add(n * step).cast::<i32>().read_unaligned();
                        let quad = _mm512_set1_epi32(quad);
                        for (sum, unit) in sums.iter_mut().zip(unit) {
                            *sum = _mm512_dpbusd_epi32(*sum, quad, unit);
                        }
                    }
                    weights = weights.add(BLOCKS * UNIT);
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
    /// [`Self::run`]'s, and this pixel exists.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn finish<const BLOCKS: usize>(&self, pixel: usize, sums: [__m512i; BLOCKS]) {
        let lanes = &self.filter.lanes;
        let at = pixel * self.filter.output_step() + self.first * LANES;
        // SAFETY: `check` says that output and residual have each block's channels of each pixel, and
        // the lanes each block.
        unsafe {
            let residual = self.residual.map(|r| (r.bytes.as_ptr().add(at), r.code));
            let out = self.out.add(at);
            if BLOCKS == GROUP {
                let all = std::array::from_fn(|b| sums[b]);
                let codes = group_codes(lanes, self.first * LANES, all);
                let residual = residual.map(|(r, code)| (_mm512_loadu_epi8(r.cast()), code));
                let codes = group_bytes(codes, lanes.code, residual);
                _mm512_storeu_epi8(out.cast(), codes);
            } else {
                for (b, sum) in sums.into_iter().enumerate() {
                    let residual =
                        residual.map(|(r, c)| (_mm_loadu_epi8(r.add(b * LANES).cast()), c));
                    let codes = block_codes(lanes, (self.first + b) * LANES, sum);
                    let codes = block_bytes(codes, lanes.code, residual);
                    _mm_storeu_epi8(out.add(b * LANES).cast(), codes);
                }
            }
        }
    }
}

/// A block's sums scaled, limited from above and rounded (to even, the default of a thread's MXCSR,
/// which Rust does not let a program change): codes less the zero point.
///
/// # Safety
///
/// `lanes` must have a block at `first`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn block_codes(lanes: &Lanes, first: usize, sums: __m512i) -> __m512i {
    // SAFETY: the caller's promise.
    let factors = unsafe { _mm512_loadu_ps(lanes.factors.as_ptr().add(first)) };
    let high = _mm512_set1_ps((lanes.code.high - lanes.code.zero) as f32);
    let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), factors);
    _mm512_cvtps_epi32(_mm512_min_ps(scaled, high))
}

/// As [`block_codes`], of a group's four blocks, as 16-bit numbers, saturated: channels 0 to 7 and 8
/// to 15 of each sixteen.
///
/// # Safety
///
/// `lanes` must have four blocks at `first`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn group_codes(lanes: &Lanes, first: usize, sums: [__m512i; GROUP]) -> [__m512i; 2] {
    // SAFETY: the caller's promise.
    let codes = |b: usize| unsafe { block_codes(lanes, first + b * LANES, sums[b]) };
    [_mm512_packs_epi32(codes(0), codes(1)), _mm512_packs_epi32(codes(2), codes(3))]
}

/// A group's stored bytes, in the channels' order. Saturated numbers far below stay far below.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn group_bytes(codes: [__m512i; 2], code: Code, residual: Option<(__m512i, Code)>) -> __m512i {
    let zero = _mm512_set1_epi16(code.zero as i16);
    let low = _mm512_set1_epi8(code.low as i8);
    let [a, b] = codes.map(|codes| _mm512_adds_epi16(codes, zero));
    let Some((residual, sum)) = residual else {
        return _mm512_max_epu8(_mm512_packus_epi16(a, b), low);
    };
    let least = _mm512_set1_epi16(code.low as i16);
    let [a, b] = [a, b].map(|stored| _mm512_max_epi16(stored, least));
    let zero = _mm512_set1_epi16(sum.zero as i16);
    let c = _mm512_unpacklo_epi8(residual, _mm512_setzero_si512());
    let d = _mm512_unpackhi_epi8(residual, _mm512_setzero_si512());
    let a = _mm512_add_epi16(a, _mm512_sub_epi16(c, zero));
    let b = _mm512_add_epi16(b, _mm512_sub_epi16(d, zero));
    let [low, high] = [sum.low, sum.high].map(|limit| _mm512_set1_epi8(limit as i8));
    _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(a, b), low), high)
}

/// A block's stored bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn block_bytes(codes: __m512i, code: Code, residual: Option<(__m128i, Code)>) -> __m128i {
    let all = |number| _mm512_set1_epi32(number);
    let mut stored = _mm512_max_epi32(codes, all(code.low - code.zero));
    stored = _mm512_add_epi32(stored, all(code.zero));
    if let Some((residual, sum)) = residual {
        let residual = _mm512_sub_epi32(_mm512_cvtepu8_epi32(residual), all(sum.zero));
        stored = _mm512_add_epi32(stored, residual);
        stored = _mm512_min_epi32(_mm512_max_epi32(stored, all(sum.low)), all(sum.high));
    }
    _mm512_cvtepi32_epi8(stored)
}

fn depthwise(filter: &PackedDepthwise, pixels: &Pixels, out: &mut [u8]) {
    filter.check(GROUP, pixels, out);
    // SAFETY: `if_available` alone gives this function out, where the CPU has these features. All that
    // is read and written is there, says `check`.
    unsafe { depthwise_groups(filter, pixels, out.as_mut_ptr()) }
}

/// # Safety
///
/// `filter.check` must hold, with an output at `out`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn depthwise_groups(filter: &PackedDepthwise, pixels: &Pixels, out: *mut u8) {
    // A 3×3 window that moves by a column.
    let shares_columns =
        filter.taps[..] == [0, 3, 6, 6, 1, 4, 7, 7, 2, 5, 8, 8] && is_next_column(pixels);
    for first in (0..filter.blocks).step_by(GROUP) {
        let group = Group::new(filter, pixels, first, out);
        // SAFETY: the caller's promise, and the group exists.
        unsafe {
            match (shares_columns, filter.taps.len() / TAPS) {
                (true, _) => group.run_by_column(),
                (_, 3) => group.run::<3>(),
                _ => group.run::<0>(),
            }
        }
    }
}

/// Whether each column of three taps is the one before of the next pixel.
fn is_next_column(pixels: &Pixels) -> bool {
    let taps = pixels.taps;
    taps.iter().zip(&taps[TAPS..]).all(|(tap, next)| tap + pixels.step == *next)
}

/// A depthwise group of blocks.
struct Group<'a> {
    filter: &'a PackedDepthwise,
    pixels: &'a Pixels<'a>,
    /// Its first channel.
    first: usize,
    /// A bit for each channel that exists.
    mask: u64,
    out: *mut u8,
}

impl<'a> Group<'a> {
    fn new(filter: &'a PackedDepthwise, pixels: &'a Pixels, block: usize, out: *mut u8) -> Self {
        let present = (filter.blocks - block).min(GROUP);
        let mask = u64::MAX >> (64 - present * LANES);
        Self { filter, pixels, first: block * LANES, mask, out }
    }

    /// `QUADS` quads of taps, or as many as the filter has if 0.
    ///
    /// # Safety
    ///
    /// [`depthwise_groups`]', and the group exists.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn run<const QUADS: usize>(&self) {
        let quads = if QUADS == 0 { self.filter.taps.len() / TAPS } else { QUADS };
        // SAFETY: the caller's promise; pixels and quads exist.
        unsafe {
            let bias = self.bias();
            for pixel in 0..self.pixels.count {
                let mut sums = bias;
                for quad in 0..quads {
                    self.take_in(&mut sums, quad, self.quad(pixel, quad));
                }
                self.finish(pixel, sums);
            }
        }
    }

    /// Three columns of three taps, each the column before of the next pixel: two pixels at a time
    /// take two new ones.
    ///
    /// # Safety
    ///
    /// [`depthwise_groups`]', the group exists, and the taps are such.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn run_by_column(&self) {
        let count = self.pixels.count;
        // SAFETY: the caller's promise; pixels and quads exist.
        unsafe {
            let bias = self.bias();
            let mut pixel = 0;
            if count > 1 {
                let (mut a, mut b) = (self.quad(0, 0), self.quad(0, 1));
                while pixel + 2 <= count {
                    let (c, d) = (self.quad(pixel, 2), self.quad(pixel + 1, 2));
                    let (mut even, mut odd) = (bias, bias);
                    for (quad, [x, y]) in [[a, b], [b, c], [c, d]].into_iter().enumerate() {
                        self.take_in(&mut even, quad, x);
                        self.take_in(&mut odd, quad, y);
                    }
                    self.finish(pixel, even);
                    self.finish(pixel + 1, odd);
                    (a, b) = (c, d);
                    pixel += 2;
                }
            }
            if pixel < count {
                let mut sums = bias;
                for quad in 0..3 {
                    self.take_in(&mut sums, quad, self.quad(pixel, quad));
                }
                self.finish(pixel, sums);
            }
        }
    }

    /// # Safety
    ///
    /// [`depthwise_groups`]', and the group exists.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn bias(&self) -> [__m512i; GROUP] {
        // SAFETY: `check` says that the bias has lanes for the whole group.
        unsafe {
            let bias = self.filter.lanes.bias.as_ptr().add(self.first);
            std::array::from_fn(|b| _mm512_loadu_epi32(bias.add(b * LANES)))
        }
    }

    /// A quad of a pixel's taps, interleaved.
    ///
    /// # Safety
    ///
    /// [`depthwise_groups`]', and group, pixel and quad exist.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn quad(&self, pixel: usize, quad: usize) -> [__m512i; GROUP] {
        // SAFETY: `check` says that each pixel's taps have all channels that exist; `mask` leaves out
        // the others.
        unsafe {
            let input = self.pixels.bytes.as_ptr().add(pixel * self.pixels.step + self.first);
            let taps = self.pixels.taps.as_ptr().add(quad * TAPS);
            interleaved(std::array::from_fn(|t| {
                _mm512_maskz_loadu_epi8(self.mask, input.add(*taps.add(t)).cast())
            }))
        }
    }

    /// Takes in the products of a quad of taps.
    ///
    /// # Safety
    ///
    /// [`depthwise_groups`]', and group and quad exist.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn take_in(&self, sums: &mut [__m512i; GROUP], quad: usize, taps: [__m512i; GROUP]) {
        // SAFETY: `check` says that there are weights for the whole group and all quads.
        unsafe {
            let weights = self.filter.weights.as_ptr();
            let weights = weights.add(self.first * self.filter.taps.len() + quad * GROUP * UNIT);
            for (b, (sum, taps)) in sums.iter_mut().zip(taps).enumerate() {
                *sum = _mm512_dpbusd_epi32(*sum, taps, _mm512_loadu_epi8(weights.add(b * UNIT)));
            }
        }
    }

    /// Writes the codes of a pixel's sums.
    ///
    /// # Safety
    ///
    /// [`depthwise_groups`]', and group and pixel exist.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn finish(&self, pixel: usize, sums: [__m512i; GROUP]) {
        let lanes = &self.filter.lanes;
        // SAFETY: `check` says that the lanes are the whole group's, and that each output pixel has all
        // channels that exist; `mask` leaves out the others.
        unsafe {
            let codes = group_bytes(group_codes(lanes, self.first, sums), lanes.code, None);
            let out = self.out.add(pixel * self.filter.step() + self.first);
            _mm512_mask_storeu_epi8(out.cast(), self.mask, codes);
        }
    }
}

/// The four taps of each channel side by side, four channels of each sixteen in a register.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn interleaved([a, b, c, d]: [__m512i; TAPS]) -> [__m512i; GROUP] {
    let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
    let (ab_high, cd_high) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
    [
        _mm512_unpacklo_epi16(ab, cd),
        _mm512_unpackhi_epi16(ab, cd),
        _mm512_unpacklo_epi16(ab_high, cd_high),
        _mm512_unpackhi_epi16(ab_high, cd_high),
    ]
}
