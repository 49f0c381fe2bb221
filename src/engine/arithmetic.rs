//! What operations but convolutions make of codes: rules without loops, which [`interpret`](super::interpret)
//! and plans share.

pub mod addition;
mod fixed_point;
pub mod mean;
pub mod multiplication;
pub mod pairs;
pub mod prelu;
pub mod unary;
