//! Operators on two values: sums, differences, products, slopes.

use super::super::Quantization;
use super::super::arithmetic::pairs::PairRule;
use super::super::network::Int8Op;
use super::operator::{Given, Input, Operator, Outcome, Picture, padded};
use super::tensor::{Beside, layout, picture};
use super::{Cost, Fault};

/// One of two that are added or the like.
struct Operand {
    input: Input,
    code: Quantization,
    beside: Beside,
}

impl Operand {
    fn is_constant(&self) -> bool {
        matches!(self.input, Input::Constant { .. })
    }
}

impl Operator<'_, '_> {
    /// What is computed of two values of one shape, or of one and a row for all its pixels.
    pub fn of_two(&self, op: Int8Op) -> Result<Outcome, Fault> {
        let found = self.inputs.len();
        self.ensure(found == 2, || format!("has {found} inputs, not 2"))?;
        let axes = self.axes_of_two()?;
        let (shape, output) = (layout(&axes), self.y().code());
        let [mut first, mut second] = [self.operand(0, &axes)?, self.operand(1, &axes)?];
        let commutes = matches!(op, Int8Op::Add(_) | Int8Op::Multiply(_));
        if commutes && (first.is_constant() || first.beside != Beside::Alike) {
            std::mem::swap(&mut first, &mut second);
        }
        if let Input::Constant { shape: own, .. } = &mut first.input {
            self.ensure(!second.is_constant(), || "has two constants".into())?;
            *own = shape;
        }
        self.ensure(first.is_constant() || first.beside == Beside::Alike, || {
            format!("has an input of fewer values than {shape:?}")
        })?;
        let codes = [first.code, second.code];
        let can = PairRule::new(&op, codes, output).is_some();
        self.ensure(can, || "has codes too far apart".into())?;
        let two_values = !second.is_constant() && second.beside == Beside::Alike;
        let tract_agrees = matches!(op, Int8Op::Add(_)) && two_values && codes == [output; 2];
        let cost = Cost { products: padded(shape), ..Cost::default() };
        let inputs = vec![first.input, second.input];
        self.operation(inputs, Given::of_axes(shape, axes), cost, tract_agrees, || op)
    }

    /// The output's axes: of both inputs the greater, counted from the last.
    fn axes_of_two(&self) -> Result<Vec<usize>, Fault> {
        let [mut a, mut b] = [&self.tensor(0)?.shape[..], &self.tensor(1)?.shape];
        if a.len() < b.len() {
            (a, b) = (b, a);
        }
        let missing = a.len() - b.len();
        let beside = |i: usize| if i < missing { 1 } else { b[i - missing] };
        Ok(a.iter().enumerate().map(|(i, &side)| side.max(beside(i))).collect())
    }

    /// A value or a constant, beside an output of these axes.
    fn operand(&self, i: usize, axes: &[usize]) -> Result<Operand, Fault> {
        let tensor = self.tensor(i)?;
        let unfit = || self.fault(format!("has {:?} beside {axes:?}", tensor.shape));
        let beside = tensor.beside(axes).ok_or_else(unfit)?;
        // Other axes are not the picture's.
        if beside == Beside::Row && picture(axes).is_none() {
            return Err(unfit());
        }
        let whole = layout(axes);
        let shape = if beside == Beside::Alike { whole } else { [1, 1, whole[2]] };
        if tensor.data.is_some() {
            self.ensure(tensor.is_value(), || format!("can't use `{}`", tensor.name))?;
            let index = self.inputs[i].unwrap_or_default();
            let input = Input::Constant { tensor: index, shape };
            return Ok(Operand { input, code: tensor.code(), beside });
        }
        // One value is not repeated.
        if beside == Beside::Number {
            return Err(unfit());
        }
        let Picture { input, code, .. } = self.value_as(i, shape)?;
        Ok(Operand { input, code, beside })
    }
}
