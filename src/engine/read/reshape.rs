//! Operators that leave codes as they lie, and tell them by other axes.

use tract_tflite::tflite::BuiltinOperator;

use super::Fault;
use super::blocks::without_rows;
use super::operator::{Input, Operator, Outcome};
use super::tensor::{MAX_RANK, Tensor};

/// What helps where a file computes shapes in ways that are not followed.
const ONE_PICTURE: &str = "If it was converted for any number of pictures, do it for one: Keras's Input(batch_shape=(1, …))";

/// Whether operators of this kind do.
pub fn reshapes(kind: BuiltinOperator) -> bool {
    matches!(
        kind,
        BuiltinOperator::RESHAPE | BuiltinOperator::SQUEEZE | BuiltinOperator::EXPAND_DIMS
    )
}

impl Operator<'_, '_> {
    /// The codes stay as they lie, until an operator needs them in another shape.
    pub fn reshape(&self) -> Result<Outcome, Fault> {
        let (value, x) = self.value_or_blocks(0)?;
        self.keeps_code(x.quantization)?;
        let Tensor { shape: axes, blocks, .. } = self.tensor(0)?;
        let (y, values) = (self.y(), axes.iter().product());
        let told = self.told_axes(values);
        // Of axes that the file holds twice, the others must not tell otherwise.
        let agrees = y.is_open || told.as_ref().is_none_or(|told| *told == y.shape);
        let shape = told.filter(|_| y.is_open).unwrap_or_else(|| y.shape.clone());
        let fits =
            shape.iter().try_fold(1usize, |len, side| len.checked_mul(*side)) == Some(values);
        self.ensure(fits && agrees && shape.len() <= MAX_RANK, || {
            format!("makes {shape:?} of {values} values. {ONE_PICTURE}")
        })?;
        let Some(blocks) = *blocks else { return Ok(Outcome::Same { value, shape }) };
        // Of lines, the files of which convolve pictures of one row.
        let stay = without_rows(blocks.axes(x.shape), shape.len()) == shape;
        self.ensure(stay, || format!("makes {shape:?} of blocks of a picture, {axes:?}"))?;
        Ok(Outcome::Blocks { input: Input::Value(value), blocks, axes: shape })
    }

    /// The axes that so many values get, if more than the output tells.
    fn told_axes(&self, values: usize) -> Option<Vec<usize>> {
        let x = &self.tensor(0).ok()?.shape;
        match self.kind {
            BuiltinOperator::RESHAPE => {
                let options = || {
                    let options = self.table.builtin_options_as_reshape_options()?;
                    Some(options.new_shape()?.iter().collect())
                };
                filled(&self.numbers(1).ok().or_else(options)?, values)
            }
            BuiltinOperator::SQUEEZE => {
                let options = self.table.builtin_options_as_squeeze_options()?;
                Some(squeezed(x, &options.squeeze_dims().into_iter().flatten().collect::<Vec<_>>()))
            }
            _ => expanded(x, &self.numbers(1).ok()?),
        }
    }
}

/// These axes of so many values, one of them −1 for what is left.
fn filled(axes: &[i32], values: usize) -> Option<Vec<usize>> {
    let mut sides = axes.iter().filter_map(|&side| usize::try_from(side).ok());
    let known = sides.try_fold(1usize, |len, side| len.checked_mul(side))?;
    let rest = values.checked_div(known)?;
    Some(axes.iter().map(|&side| usize::try_from(side).unwrap_or(rest)).collect())
}

/// Less these axes, or all whose side is 1.
fn squeezed(x: &[usize], axes: &[i32]) -> Vec<usize> {
    let goes = |i: usize| {
        let [first, last] = [0, x.len()].map(|from| i as i32 - from as i32);
        axes.is_empty() || axes.contains(&first) || axes.contains(&last)
    };
    let kept = x.iter().enumerate().filter(|&(i, side)| *side != 1 || !goes(i));
    kept.map(|(_, side)| *side).collect()
}

/// With an axis more before this one, or at the end.
fn expanded(x: &[usize], axes: &[i32]) -> Option<Vec<usize>> {
    let &[axis] = axes else { return None };
    let at = if axis < 0 { axis + 1 + x.len() as i32 } else { axis };
    let at = usize::try_from(at).ok().filter(|at| *at <= x.len())?;
    Some([&x[..at], &[1], &x[at..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_tensorflow_s() {
        assert_eq!(filled(&[-1, 4], 12), Some(vec![3, 4]));
        assert_eq!(filled(&[0, -1], 12), None);
        assert_eq!(squeezed(&[1, 5, 1, 3], &[]), [5, 3]);
        assert_eq!(squeezed(&[1, 5, 1, 3], &[-2]), [1, 5, 3]);
        assert_eq!(squeezed(&[1, 5, 1, 3], &[0, 1]), [5, 1, 3]);
        assert_eq!(expanded(&[1, 5], &[-1]), Some(vec![1, 5, 1]));
        assert_eq!(expanded(&[1, 5], &[1]), Some(vec![1, 1, 5]));
        assert_eq!(expanded(&[1, 5], &[3]), None);
    }
}
