//! What becomes of two values' codes, by operation: one of sums, products or slopes.

use super::super::Quantization;
use super::super::network::Int8Op;
use super::addition::Addition;
use super::multiplication::Multiplication;
use super::prelu::Prelu;

/// How two codes become one.
#[derive(Clone, Copy, Debug)]
pub enum PairRule {
    /// Of their sum, or their difference.
    Sum(Addition),
    /// Of their product.
    Product(Multiplication),
    /// Of the first, below zero times the second.
    Slope(Prelu),
}

impl PairRule {
    /// That of an operation; none if it is not of two values, or if their codes are too far apart.
    pub fn new(op: &Int8Op, inputs: [Quantization; 2], output: Quantization) -> Option<Self> {
        match op {
            Int8Op::Add(activation) => Addition::new(inputs, output, *activation).map(Self::Sum),
            Int8Op::Subtract(activation) => {
                Addition::difference(inputs, output, *activation).map(Self::Sum)
            }
            Int8Op::Multiply(activation) => {
                Multiplication::new(inputs, output, *activation).map(Self::Product)
            }
            Int8Op::Prelu => Prelu::new(inputs, output).map(Self::Slope),
            _ => None,
        }
    }

    /// The code of both.
    pub fn of(&self, a: i8, b: i8) -> i8 {
        match self {
            Self::Sum(sum) => sum.of(a, b),
            Self::Product(product) => product.of(a, b),
            Self::Slope(slope) => slope.of(a, b),
        }
    }
}
