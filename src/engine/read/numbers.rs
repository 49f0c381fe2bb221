//! Numbers that a file computes of shapes, as files for any number of pictures do; known once it is read.

use tract_tflite::tflite::{BuiltinOperator, TensorType};

use super::in_tract;
use super::operator::{Operator, Outcome};
use super::reshape::reshapes;

/// Numbers of a tensor: shapes have eight at the most.
pub const MOST_NUMBERS: usize = 64;

/// What an operator that gives numbers is.
pub fn read(it: &Operator) -> Outcome {
    match computed(it) {
        Some((shape, numbers)) => Outcome::Numbers { shape, numbers },
        None => Outcome::Unknown,
    }
}

/// They and their shape, if the file tells all that they depend on.
fn computed(it: &Operator) -> Option<(Vec<usize>, Vec<i32>)> {
    match it.kind {
        BuiltinOperator::SHAPE => {
            let of = it.tensor(0).ok()?;
            let is_settled = it.value_or_blocks(0).is_ok() || of.data.is_some();
            let sides = of.shape.iter().map(|&side| i32::try_from(side).ok());
            Some((vec![of.shape.len()], sides.collect::<Option<_>>().filter(|_| is_settled)?))
        }
        kind if reshapes(kind) || kind == BuiltinOperator::CAST => {
            let numbers = it.numbers(0).ok()?;
            let y = it.y();
            let fits = !y.is_open && y.shape.iter().product::<usize>() == numbers.len();
            fits.then(|| (y.shape.clone(), numbers))
        }
        _ => {
            let few = |i| {
                it.tensor(i).is_ok_and(|x| {
                    let count: usize = x.shape.iter().product();
                    x.type_ == TensorType::INT32 && count <= MOST_NUMBERS
                })
            };
            (0..it.inputs.len()).all(few).then(|| in_tract::numbers(it))?
        }
    }
}
