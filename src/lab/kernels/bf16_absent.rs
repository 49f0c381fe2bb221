//! Stands in for `bf16.rs` where the CPU has no instructions for it: [`available`] says so, and
//! nobody who asked first gets further.

use super::panels::{Left, Panel};

/// Whether this CPU has the instructions: no.
pub fn available() -> bool {
    false
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
