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
        if self.operator.kind == BuiltinOperator::SELECT {
            // Of fewer axes, it chooses whole rows.
            for axis in self.shape(truth)?.len()..self.shape(a)?.len() {
                truth = self.node(AxisOp::Add(axis), &[truth])?;
            }
        }
        let half = self.number(0.5)?;
        let is_true = self.combined(TypedBinOp(comp_gt(), None), truth, half)?;
        let wires = self.of_one_rank([is_true, a, b])?;
        self.node(Iff, &wires)
    }
}
