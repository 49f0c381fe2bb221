//! What needs no products: greatest of taps and sums. Plain loops, which compilers turn into vector
//! instructions of every CPU.

use super::{Code, LANES, Pixels};

/// The greatest of each pixel's taps, by channel; a pixel has `step` bytes. `flip` says how codes are
/// stored.
pub fn max_pool(flip: u8, step: usize, pixels: &Pixels, out: &mut [u8]) {
    // Signed order is unsigned order with the other sign bit.
    match flip {
        0 => greatest::<0x80>(step, pixels, out),
        _ => greatest::<0>(step, pixels, out),
    }
}

fn greatest<const FLIP: u8>(step: usize, pixels: &Pixels, out: &mut [u8]) {
    for (pixel, out) in out.chunks_exact_mut(step).enumerate() {
        for (block, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut most = [0; LANES];
            for tap in pixels.taps {
                let at = tap + pixel * pixels.step + block * LANES;
                let inputs: &[u8] = &pixels.bytes[at..at + LANES];
                for (most, input) in most.iter_mut().zip(inputs) {
                    *most = (*most).max(input ^ FLIP);
                }
            }
            *out = most.map(|most| most ^ FLIP);
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
