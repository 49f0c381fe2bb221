//! The inner loops of a [`Plan`](super::plan::Plan), one set for each kind of CPU.
//!
//! Activations are bytes, pixel after pixel, a pixel's channels filled up to [`LANES`]. A set of
//! kernels says how a code stands in a byte ([`Kernels::flip`]): as it is, or with its sign bit
//! flipped, which is code + 128, as x86's dot products multiply unsigned by signed bytes. Zero points
//! and limits are those of the bytes ("stored").
//!
//! Sums wrap modulo 2³². So the order of summing does not matter, nor does it that the input's zero
//! point is taken into the bias: every set gives the same bytes as
//! [`interpret`](super::interpret::interpret).

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
mod dotprod;
pub mod elementwise;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
mod neon;
mod pack;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod vnni;

pub use pack::{PackedConv, PackedDepthwise};

/// Channels are computed in blocks of this many, the last filled up.
pub const LANES: usize = 16;
/// Input channels that one dot product sums; a row of weights is filled up to it.
pub const QUAD: usize = 4;
/// Bytes of one block's weights for one quad of input channels.
pub const UNIT: usize = LANES * QUAD;

/// The loops for one kind of CPU and the order in which they read weights.
pub struct Kernels {
    /// What the CPU must have.
    pub name: &'static str,
    /// What a code is xored with to be stored: 0, or 0x80 for unsigned bytes.
    pub flip: u8,
    /// How weights lie.
    pub packing: Packing,
    /// Convolution, requantized, and a sum with another value if one is given.
    pub conv: fn(&PackedConv, &Pixels, Option<&Residual>, &mut [u8]),
    /// Convolution of each channel alone, requantized.
    pub depthwise: fn(&PackedDepthwise, &Pixels, &mut [u8]),
}

/// The order in which kernels read weights.
///
/// A convolution's lie in groups of blocks; in a group, for each quad of input channels, a unit of
/// each block. A depthwise convolution's lie in groups of blocks too; in a group, for each few taps,
/// for each channel, the weights of these taps.
pub struct Packing {
    /// Blocks in a group but the last, which may have less.
    pub group: usize,
    /// Where the weight of an output lane and one of a quad's inputs lies in a unit.
    pub place: fn(lane: usize, input: usize) -> usize,
    /// Blocks in a depthwise group, the last filled up.
    pub depthwise_group: usize,
    /// Taps whose weights lie side by side.
    pub depthwise_taps: usize,
    /// The order of a window's taps, given its height and width. One that follows itself only fills
    /// up.
    pub depthwise_order: fn([usize; 2]) -> Vec<usize>,
    /// The channel of a group that is computed in a lane of one of its blocks, given the blocks it
    /// has.
    pub channel: fn(blocks: usize, block: usize, lane: usize) -> usize,
}

impl Packing {
    /// Groups of one block, `TAPS` taps of a depthwise convolution side by side, all in order but for
    /// a unit's weights, whose place `place` says.
    const fn of_blocks<const TAPS: usize>(place: fn(lane: usize, input: usize) -> usize) -> Self {
        Self {
            group: 1,
            place,
            depthwise_group: 1,
            depthwise_taps: TAPS,
            depthwise_order: by_row::<TAPS>,
            channel: |_, block, lane| block * LANES + lane,
        }
    }
}

/// Taps row by row, filled up to a multiple of `TAPS`.
fn by_row<const TAPS: usize>([height, width]: [usize; 2]) -> Vec<usize> {
    let taps = height * width;
    (0..taps.next_multiple_of(TAPS)).map(|tap| tap.min(taps - 1)).collect()
}

/// The environment's name of the set to run on.
const WANTED: &str = "MIEN_KERNELS";

/// The fastest set for this CPU, or that which [`WANTED`] names: to compare them, or to do without one.
pub fn select() -> &'static Kernels {
    let wanted = std::env::var(WANTED).ok();
    choose(&available(), wanted.as_deref())
}

fn choose(available: &[&'static Kernels], wanted: Option<&str>) -> &'static Kernels {
    let fastest = available[0];
    let Some(wanted) = wanted else { return fastest };
    available.iter().copied().find(|set| set.name == wanted).unwrap_or_else(|| {
        let names: Vec<&str> = available.iter().map(|set| set.name).collect();
        let names = names.join(", ");
        log::warn!("{WANTED}={wanted}: this CPU has {names}; running on {}", fastest.name);
        fastest
    })
}

/// All sets that this CPU can run, fastest first.
pub fn available() -> Vec<&'static Kernels> {
    let sets = [
        #[cfg(target_arch = "x86_64")]
        vnni::if_available(),
        #[cfg(target_arch = "x86_64")]
        avx2::if_available(),
        #[cfg(target_arch = "aarch64")]
        dotprod::if_available(),
        #[cfg(target_arch = "aarch64")]
        Some(&neon::KERNELS),
        Some(&portable::KERNELS),
    ];
    sets.into_iter().flatten().collect()
}

/// What a run of output pixels reads.
pub struct Pixels<'a> {
    /// Where the input lies.
    pub bytes: &'a [u8],
    /// Where the first pixel's taps begin: of a convolution its window's rows, else all taps.
    pub taps: &'a [usize],
    /// Bytes from a pixel's taps to the next pixel's.
    pub step: usize,
    /// Output pixels.
    pub count: usize,
}

impl Pixels<'_> {
    /// Whether `len` bytes from each tap on are there, for every pixel.
    fn reach(&self, len: usize) -> bool {
        let last = self.count.saturating_sub(1).checked_mul(self.step);
        let Some(last) = last.and_then(|last| last.checked_add(len)) else { return false };
        self.taps.iter().all(|tap| tap.checked_add(last).is_some_and(|end| end <= self.bytes.len()))
    }
}

/// Stored zero point and limits of an output.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// What stands for 0.
    pub zero: i32,
    /// The least that an activation lets through.
    pub low: i32,
    /// The greatest.
    pub high: i32,
}

/// A value that is added to a convolution's output, of the same shape and code.
pub struct Residual<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The sum's code.
    pub code: Code,
}

/// A sum's stored code: `factor` is input scale · weight scale / output scale.
///
/// Clamped before it is rounded, which gives the same, as the limits are integers. Then nothing can
/// leave the range of an i32, where vector instructions and `as` differ.
#[inline]
pub fn requantize(sum: i32, factor: f32, code: Code) -> i32 {
    let [low, high] = [code.low - code.zero, code.high - code.zero].map(|limit| limit as f32);
    (sum as f32 * factor).max(low).min(high).round_ties_even() as i32 + code.zero
}
