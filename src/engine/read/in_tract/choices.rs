//! Comparisons, what is made of them, and choices by them. A truth is the code 1, else 0.

use tract_tflite::internal::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_tflite::internal::tract_core::ops::cast::cast;
use tract_tflite::internal::tract_core::ops::change_axes::AxisOp;
use tract_tflite::internal::tract_core::ops::logic::{
    Iff, comp_eq, comp_gt, comp_gte, comp_lt, comp_lte, comp_ne,
};
use tract_tflite::internal::tract_core::ops::math;
use tract_tflite::internal::{DatumType, OutletId};
use tract_tflite::tflite::BuiltinOperator;

use super::super::Fault;
use super::{Graph, Wiring};

/// How operators of this kind are wired, on the numbers that codes stand for.
pub fn wiring(kind: BuiltinOperator) -> Option<Wiring> {
    Some(match kind {
        BuiltinOperator::EQUAL => |graph| graph.compared(comp_eq()),
        BuiltinOperator::NOT_EQUAL => |graph| graph.compared(comp_ne()),
        BuiltinOperator::LESS => |graph| graph.compared(comp_lt()),
        BuiltinOperator::LESS_EQUAL => |graph| graph.compared(comp_lte()),
        BuiltinOperator::GREATER => |graph| graph.compared(comp_gt()),
        BuiltinOperator::GREATER_EQUAL => |graph| graph.compared(comp_gte()),
        BuiltinOperator::LOGICAL_AND => |graph| graph.two(math::min()),
        BuiltinOperator::LOGICAL_OR => |graph| graph.two(math::max()),
        BuiltinOperator::LOGICAL_NOT => |graph| {
            let (x, one) = (graph.input(0)?, graph.number(1.0)?);
            graph.combined(math::sub(), one, x)
        },
        BuiltinOperator::SELECT | BuiltinOperator::SELECT_V2 => |graph| graph.chosen(),
        _ => return None,
    })
}

impl Graph<'_, '_, '_> {
    /// As TensorFlow Lite compares: 256ths.
    fn compared(&mut self, op: Box<dyn BinMiniOp>) -> Result<OutletId, Fault> {
        let mut wires = [self.input(0)?, self.input(1)?];
        for (i, wire) in wires.iter_mut().enumerate() {
            let scale = self.operator.tensor(i)?.code().scale;
            self.ensure(scale < 1.0, || format!("compares codes of scale {scale}"))?;
            let parts = self.number(256.0)?;
            let parts = self.combined(math::mul(), *wire, parts)?;
            *wire = self.node(math::round(), &[parts])?;
        }
        let truth = self.combined(TypedBinOp(op, None), wires[0], wires[1])?;
        self.node(cast(DatumType::F32), &[truth])
    }

    /// The second where the first is true, else the third.
    fn chosen(&mut self) -> Result<OutletId, Fault> {
        self.keeps_code(1)?;
        self.keeps_code(2)?;
        let (mut truth, a, b) = (self.input(0)?, self.input(1)?, self.input(2)?);
        let [of_truth, of_a, of_b] = [self.shape(truth)?, self.shape(a)?, self.shape(b)?];
        let fits = match self.operator.kind {
            // Either each by itself, or whole rows, or all.
            BuiltinOperator::SELECT => {
                let of_rows = of_truth.len() <= 1 && of_a.starts_with(&of_truth);
                of_a == of_b && (of_truth == of_a || of_rows || of_truth == [1])
            }
            _ => {
                let pairs = [(&of_truth, &of_a), (&of_truth, &of_b), (&of_a, &of_b)];
                pairs.iter().all(|(one, other)| is_broadcast(one, other))
            }
        };
        self.ensure(fits, || format!("chooses by {of_truth:?} of {of_a:?} and {of_b:?}"))?;
        if self.operator.kind == BuiltinOperator::SELECT {
            for axis in of_truth.len()..of_a.len() {
                truth = self.node(AxisOp::Add(axis), &[truth])?;
            }
        }
        let half = self.number(0.5)?;
        let is_true = self.combined(TypedBinOp(comp_gt(), None), truth, half)?;
        let wires = self.of_one_rank([is_true, a, b])?;
        self.node(Iff, &wires)
    }
}

/// Whether two shapes differ, from their last axes on, only where one of them has an axis of one.
fn is_broadcast(a: &[usize], b: &[usize]) -> bool {
    a.iter().rev().zip(b.iter().rev()).all(|(a, b)| a == b || *a == 1 || *b == 1)
}
