//! Stands in for `bf16.rs` where the CPU has no instructions for it: [`available`] says so, and
//! nobody who asked first gets further.

/// Columns of one panel.
pub const PANEL: usize = 64;

/// The left matrix; see `bf16.rs`.
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

/// Columns of the right matrix; see `bf16.rs`.
#[derive(Clone, Copy)]
pub struct Panel<'a> {
    pub data: &'a [u16],
    pub columns: usize,
    pub segment: usize,
}

/// Whether this CPU has the instructions: no.
pub fn available() -> bool {
    false
}

/// Elements of one pair of rows in a panel of `columns` columns.
pub fn pair_len(columns: usize) -> usize {
    columns * 2
}

/// # Panics
///
/// Always.
pub fn multiply(_: Left, _: Panel, _: &mut [f32], _: usize, _: bool) {
    unreachable!("the caller asks first")
}

/// # Panics
///
/// Always.
pub fn round(_: &[f32], _: &mut [u16]) {
    unreachable!("the caller asks first")
}

/// # Panics
///
/// Always.
pub fn interleave(_: &[f32], _: &[f32], _: &mut [u16]) {
    unreachable!("the caller asks first")
}
