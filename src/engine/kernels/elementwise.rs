//! What needs no products: greatest of taps and sums. Plain loops, which compilers turn into vector
//! instructions of every CPU.

use super::{Code, LANES, Pixels};

/// The greatest under each pixel's window of `width` pixels of `step` bytes, by channel: of each
/// column first, kept in `columns`, which windows share. Taps are those of the window's rows. `flip`
/// says how codes are stored.
pub fn max_pool(
    flip: u8,
    step: usize,
    width: usize,
    pixels: &Pixels,
    columns: &mut [u8],
    out: &mut [u8],
) {
    // Signed order is unsigned order with the other sign bit.
    match flip {
        0 => greatest::<0x80>(step, width, pixels, columns, out),
        _ => greatest::<0>(step, width, pixels, columns, out),
    }
}

fn greatest<const FLIP: u8>(
    step: usize,
    width: usize,
    pixels: &Pixels,
    columns: &mut [u8],
    out: &mut [u8],
) {
    let columns = &mut columns[..pixels.count.saturating_sub(1) * pixels.step + width * step];
    columns.fill(0);
    for &row in pixels.taps {
        let row = &pixels.bytes[row..row + columns.len()];
        raise(columns, row, FLIP);
    }
    for (pixel, out) in out.chunks_exact_mut(step).enumerate() {
        let window = &columns[pixel * pixels.step..][..width * step];
        for (block, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut most = [0; LANES];
            for column in window.chunks_exact(step) {
                raise(&mut most, &column[block * LANES..][..LANES], 0);
            }
            *out = most.map(|most| most ^ FLIP);
        }
    }
}

/// Raises each byte to another, of which some bits are flipped first.
#[inline(always)]
fn raise(most: &mut [u8], bytes: &[u8], flip: u8) {
    for (most, byte) in most.iter_mut().zip(bytes) {
        *most = (*most).max(byte ^ flip);
    }
}

/// Limits codes in place. `flip` says how they are stored.
pub fn clamp(flip: u8, [low, high]: [i8; 2], out: &mut [u8]) {
    if [low, high] != [i8::MIN, i8::MAX] {
        for byte in out {
            *byte = (*byte ^ flip).cast_signed().clamp(low, high).cast_unsigned() ^ flip;
        }
    }
}

/// What `of` makes of each code of `a` and one of `b`, which is used again and again if it is shorter.
/// `flip` says how codes are stored.
pub fn pairs(flip: u8, a: &[u8], b: &[u8], of: impl Fn(i8, i8) -> i8, out: &mut [u8]) {
    let code = |byte: u8| (byte ^ flip).cast_signed();
    for (a, out) in a.chunks_exact(b.len()).zip(out.chunks_exact_mut(b.len())) {
        for ((a, b), out) in a.iter().zip(b).zip(out) {
            *out = of(code(*a), code(*b)).cast_unsigned() ^ flip;
        }
    }
}

/// `a + b` in their common code. `flip` says how codes are stored.
pub fn add(flip: u8, a: &[u8], b: &[u8], code: Code, out: &mut [u8]) {
    let [zero, low, high] = [code.zero, code.low, code.high].map(|limit| limit as i16);
    match flip {
        0 => sum(a, b, out, |a| i16::from(a.cast_signed()), zero, low, high),
        _ => sum(a, b, out, i16::from, zero, low, high),
    }
}

fn sum(
    a: &[u8],
    b: &[u8],
    out: &mut [u8],
    number: impl Fn(u8) -> i16,
    zero: i16,
    low: i16,
    high: i16,
) {
    for ((a, b), out) in a.iter().zip(b).zip(out) {
        *out = (number(*a) + number(*b) - zero).clamp(low, high) as u8;
    }
}
