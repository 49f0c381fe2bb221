//! Matrix products of bfloat16 numbers, summed in f32, on CPUs with AVX-512's BF16 instructions.
//!
//! `VDPBF16PS` multiplies pairs: a lane gains `a₀·b₀ + a₁·b₁`. So the inner dimension is walked in
//! pairs: a [`Left`] row holds them next to each other, a [`Panel`] as [pair, column, 2]. A number
//! is rounded to the nearest bfloat16, ties to even; products are exact and sums are f32's.

use std::arch::x86_64::*;

use super::panels::{LANES, Left, PANEL, Panel, pair_len, registers};

/// Whether this CPU has the instructions.
pub fn available() -> bool {
    is_x86_feature_detected!("avx512bf16")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512f")
}

/// `target[r][c] (+)= Σ left[r] · right[c]`, rows of `target` `target_row` apart; added if `add`.
///
/// # Panics
///
/// If an operand is shorter than its sizes say, or the CPU lacks the instructions.
pub fn multiply(left: Left, right: Panel, target: &mut [f32], target_row: usize, add: bool) {
    if left.rows == 0 {
        return;
    }
    assert!(available(), "the caller asks first");
    assert!((1..=PANEL).contains(&right.columns), "{} columns", right.columns);
    assert!(left.data.len() >= left.end(), "left operand");
    let right_end =
        left.segments.saturating_sub(1) * right.segment + left.pairs * pair_len(right.columns);
    assert!(right.data.len() >= right_end, "right operand");
    assert!(target.len() >= (left.rows - 1) * target_row + right.columns, "target");
    // SAFETY: the CPU has the instructions, and every element that the tiles below touch lies
    // inside its operand, by the three assertions above.
    unsafe {
        match registers(right.columns) {
            1 => rows::<12, 1>(left, right, target.as_mut_ptr(), target_row, add),
            2 => rows::<12, 2>(left, right, target.as_mut_ptr(), target_row, add),
            3 => rows::<8, 3>(left, right, target.as_mut_ptr(), target_row, add),
            _ => rows::<6, 4>(left, right, target.as_mut_ptr(), target_row, add),
        }
    }
}

/// All rows, `MOST` at a time while that many are left.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn rows<const MOST: usize, const N: usize>(
    left: Left,
    right: Panel,
    target: *mut f32,
    target_row: usize,
    add: bool,
) {
    let mut row = 0;
    while row < left.rows {
        // SAFETY: as in `multiply`: the rows from `row` on, fewer than are left.
        let at = unsafe { left.data.as_ptr().add(row * left.row) };
        let target = unsafe { target.add(row * target_row) };
        row += unsafe {
            match left.rows - row {
                n if n >= MOST => tile::<MOST, N>(left, at, right, target, target_row, add),
                n if n >= 4 => tile::<4, N>(left, at, right, target, target_row, add),
                n if n >= 2 => tile::<2, N>(left, at, right, target, target_row, add),
                _ => tile::<1, N>(left, at, right, target, target_row, add),
            }
        };
    }
}

/// `M` rows by `N` registers of columns, all sums in registers. Returns `M`.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
unsafe fn tile<const M: usize, const N: usize>(
    left: Left,
    at: *const u16,
    right: Panel,
    target: *mut f32,
    target_row: usize,
    add: bool,
) -> usize {
    let mut sums = [[_mm512_setzero_ps(); N]; M];
    for segment in 0..left.segments {
        // SAFETY: as in `multiply`.
        let mut a = unsafe { at.add(segment * left.segment) };
        let mut b = unsafe { right.data.as_ptr().add(segment * right.segment) };
        for _ in 0..left.pairs {
            let mut columns = [_mm512_setzero_si512(); N];
            for (n, columns) in columns.iter_mut().enumerate() {
                *columns = unsafe { _mm512_loadu_si512(b.add(n * 2 * LANES).cast()) };
            }
            for (m, sums) in sums.iter_mut().enumerate() {
                let pair = unsafe { a.add(m * left.row).cast::<i32>().read_unaligned() };
                let pair = as_bf16(_mm512_set1_epi32(pair));
                for (sum, columns) in sums.iter_mut().zip(columns) {
                    *sum = _mm512_dpbf16_ps(*sum, pair, as_bf16(columns));
                }
            }
            a = a.wrapping_add(left.pair);
            b = b.wrapping_add(N * 2 * LANES);
        }
    }
    let last = right.columns - (N - 1) * LANES;
    let last_mask = ((1u32 << last) - 1) as __mmask16;
    for (m, sums) in sums.iter().enumerate() {
        for (n, sum) in sums.iter().enumerate() {
            let mask = if n + 1 == N { last_mask } else { __mmask16::MAX };
            // SAFETY: as in `multiply`; lanes beyond the last column are masked out.
            unsafe {
                let target = target.add(m * target_row + n * LANES);
                let before =
                    if add { _mm512_maskz_loadu_ps(mask, target) } else { _mm512_setzero_ps() };
                _mm512_mask_storeu_ps(target, mask, _mm512_add_ps(before, *sum));
            }
        }
    }
    M
}

#[inline(always)]
fn as_bf16(bits: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes of plain data.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(bits) }
}

/// Rounds `from` to bfloat16 in `to`, of the same length.
///
/// # Panics
///
/// If the lengths differ, or the CPU lacks the instructions.
pub fn round(from: &[f32], to: &mut [u16]) {
    assert!(available() && from.len() == to.len(), "the caller asks first");
    // SAFETY: the CPU has the instructions.
    unsafe { round_lanes(from, to) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn round_lanes(from: &[f32], to: &mut [u16]) {
    let (blocks, rest) = from.as_chunks::<LANES>();
    let (to_blocks, to_rest) = to.as_chunks_mut::<LANES>();
    for (from, to) in blocks.iter().zip(to_blocks) {
        // SAFETY: both hold sixteen numbers.
        unsafe {
            let rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(from.as_ptr()));
            let rounded = std::mem::transmute::<__m256bh, __m256i>(rounded);
            _mm256_storeu_si256(to.as_mut_ptr().cast(), rounded);
        }
    }
    for (from, to) in rest.iter().zip(to_rest) {
        *to = rounded(*from);
    }
}

/// Rounds a finite number to the nearest bfloat16, ties to even.
pub fn rounded(value: f32) -> u16 {
    let bits = value.to_bits();
    (bits.wrapping_add(0x7FFF + ((bits >> 16) & 1)) >> 16) as u16
}

/// Interleaves two rows of up to [`PANEL`] numbers as a panel's pair: `to` is [column, 2].
///
/// # Panics
///
/// If the rows differ in length, `to` is not [`pair_len`] of it, or the CPU lacks the
/// instructions.
pub fn interleave(first: &[f32], second: &[f32], to: &mut [u16]) {
    assert!(available() && first.len() == second.len(), "the caller asks first");
    assert_eq!(to.len(), pair_len(first.len()), "a pair of rows");
    // SAFETY: the CPU has the instructions; `to` holds whole registers for all columns.
    unsafe { interleave_lanes(first, second, to) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn interleave_lanes(first: &[f32], second: &[f32], to: &mut [u16]) {
    // Of 32 rounded numbers, the first sixteen `first`'s: 0, 16, 1, 17, …
    let order: [u16; 32] = std::array::from_fn(|i| (i / 2 + i % 2 * LANES) as u16);
    // SAFETY: 64 bytes.
    let order = unsafe { _mm512_loadu_si512(order.as_ptr().cast()) };
    let rows = first.chunks(LANES).zip(second.chunks(LANES));
    for ((first, second), to) in rows.zip(to.as_chunks_mut::<{ 2 * LANES }>().0) {
        let mask = ((1u32 << first.len()) - 1) as __mmask16;
        // SAFETY: lanes beyond the rows' ends are masked out; `to` is one register.
        unsafe {
            let first = _mm512_maskz_loadu_ps(mask, first.as_ptr());
            let second = _mm512_maskz_loadu_ps(mask, second.as_ptr());
            let both = _mm512_cvtne2ps_pbh(second, first);
            let both = std::mem::transmute::<__m512bh, __m512i>(both);
            _mm512_storeu_si512(to.as_mut_ptr().cast(), _mm512_permutexvar_epi16(order, both));
        }
    }
}
