//! How the operands of a product of pairs lie in memory; see [`super::bf16`].

/// Columns of one panel: four registers.
pub const PANEL: usize = 64;
/// f32 lanes of a register.
pub const LANES: usize = 16;

/// The left matrix, `rows` × (`segments` · `pairs` · 2), in bfloat16. Element offsets in `data`:
/// of a row `row`, of a segment `segment`, of a pair `pair`.
///
/// Segments are how a convolution reads its picture in place: the inner dimension of a 3×3 kernel
/// is three runs, one a kernel row, each contiguous over kernel columns and channels.
#[derive(Clone, Copy)]
pub struct Left<'a> {
    pub data: &'a [u16],
    pub rows: usize,
    pub row: usize,
    pub segments: usize,
    pub segment: usize,
    pub pairs: usize,
    pub pair: usize,
}

impl Left<'_> {
    /// One past the last element read.
    pub fn end(&self) -> usize {
        let last = |count: usize, step: usize| count.saturating_sub(1) * step;
        last(self.rows, self.row)
            + last(self.segments, self.segment)
            + last(self.pairs, self.pair)
            + 2
    }
}

/// Up to [`PANEL`] columns of the right matrix: [segment][pair][column, 2], the columns filled up
/// with zeros to whole registers.
#[derive(Clone, Copy)]
pub struct Panel<'a> {
    pub data: &'a [u16],
    /// Columns that count.
    pub columns: usize,
    /// Elements from one segment to the next.
    pub segment: usize,
}

/// Registers that hold `columns` columns.
pub fn registers(columns: usize) -> usize {
    columns.div_ceil(LANES)
}

/// Elements of one pair of rows in a panel of `columns` columns.
pub fn pair_len(columns: usize) -> usize {
    registers(columns) * LANES * 2
}
