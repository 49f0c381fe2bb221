//! Operators that tract runs, each in a graph of its own: those that this engine has no arithmetic for.
//!
//! What tract would take a file's word for is checked here.

mod choices;
mod moves;
mod reals;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tract_tflite::internal::tract_core::ops::change_axes::AxisOp;
use tract_tflite::internal::{
    DatumType, DatumTypeExt, IntoRunnable, OutletId, SpecialOps, TVec, Tensor as Constant,
    TractResult, TypedModel, TypedOp, tensor0,
};
use tract_tflite::tflite::{BuiltinOperator, TensorType};

use super::super::network::Int8Op;
use super::super::tract_operator::{Domain, TractOperator};
use super::numbers::MOST_NUMBERS;
use super::operator::{Given, Input, Operator, Outcome};
use super::tensor::{MAX_RANK, Tensor, layout};
use super::{Cost, Fault};

/// Of values that tract computes with.
const SCALES: Range<f32> = 1e-9..1e9;

/// Whether operators of this kind may give more than one value.
pub fn gives_several(kind: BuiltinOperator) -> bool {
    matches!(kind, BuiltinOperator::SPLIT | BuiltinOperator::SPLIT_V | BuiltinOperator::UNPACK)
}

/// What an operator is; none if tract runs no such.
pub fn read(operator: &Operator) -> Option<Result<Outcome, Fault>> {
    let kind = operator.kind;
    let moves = moves::wiring(kind).map(|wiring| (Domain::Codes, wiring));
    let reals = || reals::wiring(kind).or_else(|| choices::wiring(kind));
    let either = moves.or_else(|| reals().map(|wiring| (Domain::Reals, wiring)));
    either.map(|(domain, wiring)| wired(operator, domain, wiring))
}

fn wired(operator: &Operator, domain: Domain, wiring: Wiring) -> Result<Outcome, Fault> {
    // tract computes at once what is made of constants alone, however much that is.
    let reads_value = (0..operator.inputs.len()).any(|i| operator.value_or_blocks(i).is_ok());
    operator.ensure(reads_value, || "reads only constants".into())?;
    let mut graph = Graph::new(operator, domain);
    // Should something get through the checks, it must not take the kiosk down.
    let wired = catch_unwind(AssertUnwindSafe(|| {
        let output = wiring(&mut graph)?;
        graph.ends_in(output)
    }));
    let axes = wired.unwrap_or_else(|_| Err(operator.fault("makes tract panic")))?;
    let Graph { model, inputs, shapes, products, constant_bytes, .. } = graph;
    let len = |axes: &[usize]| axes.iter().fold(1, |len: usize, side| len.saturating_mul(*side));
    let values = shapes.iter().map(|shape| len(shape)).fold(len(&axes), usize::saturating_add);
    let cost = Cost {
        products: products.max(values),
        // In single precision, and once more for what tract keeps.
        value_bytes: values.saturating_mul(2 * size_of::<f32>()),
        weight_bytes: constant_bytes,
    };
    let name = operator.kind.variant_name().unwrap_or("unknown");
    // Only if it can be borne is it run.
    let given = Given::of_axes(layout(&axes), axes);
    operator.try_operation(inputs, given, cost, false, || {
        let run = TractOperator::new(name, domain, shapes, products, model);
        run.map(Int8Op::InTract).map_err(|why| operator.fault(format!("fails in tract: {why}")))
    })
}

/// The numbers of INT32, and their axes, that an operator makes of constants; none if tract can't tell.
pub fn numbers(operator: &Operator) -> Option<(Vec<usize>, Vec<i32>)> {
    // Of those that give no more than they read: tract computes at once.
    let wiring = match operator.kind {
        BuiltinOperator::ADD
        | BuiltinOperator::SUB
        | BuiltinOperator::MUL
        | BuiltinOperator::FLOOR_DIV
        | BuiltinOperator::MAXIMUM
        | BuiltinOperator::MINIMUM
        | BuiltinOperator::REDUCE_PROD => reals::wiring(operator.kind)?,
        BuiltinOperator::SLICE
        | BuiltinOperator::STRIDED_SLICE
        | BuiltinOperator::PACK
        | BuiltinOperator::CONCATENATION
        | BuiltinOperator::GATHER
        | BuiltinOperator::TRANSPOSE
        | BuiltinOperator::REVERSE_V2 => moves::wiring(operator.kind)?,
        _ => return None,
    };
    let run = || {
        let mut graph = Graph::new(operator, Domain::Codes);
        let output = wiring(&mut graph).ok()?;
        let axes = graph.shape(output).ok()?;
        let count = axes.iter().try_fold(1, |len: usize, side| len.checked_mul(*side))?;
        if count > MOST_NUMBERS {
            return None;
        }
        graph.model.select_output_outlets(&[output]).ok()?;
        let given = graph.model.into_runnable().ok()?.run(TVec::new()).ok()?;
        Some((axes, given[0].try_as_plain_ram().ok()?.as_slice::<i32>().ok()?.to_vec()))
    };
    catch_unwind(AssertUnwindSafe(run)).ok().flatten()
}

/// How an operator becomes a graph: its output.
type Wiring = fn(&mut Graph) -> Result<OutletId, Fault>;

/// tract's graph of an operator.
struct Graph<'o, 'a, 'm> {
    operator: &'o Operator<'a, 'm>,
    domain: Domain,
    model: TypedModel,
    /// What its inputs are.
    inputs: Vec<Input>,
    shapes: Vec<Vec<usize>>,
    /// What it takes, if more than there are values.
    products: usize,
    /// Of the constants, and once more for what tract makes of them.
    constant_bytes: usize,
}

impl<'o, 'a, 'm> Graph<'o, 'a, 'm> {
    fn new(operator: &'o Operator<'a, 'm>, domain: Domain) -> Self {
        let model = TypedModel::default();
        Self {
            operator,
            domain,
            model,
            inputs: Vec::new(),
            shapes: Vec::new(),
            products: 0,
            constant_bytes: 0,
        }
    }

    fn fault(&self, why: impl Into<String>) -> Fault {
        self.operator.fault(why)
    }

    fn ensure(&self, condition: bool, why: impl FnOnce() -> String) -> Result<(), Fault> {
        self.operator.ensure(condition, why)
    }

    /// What tract says, if that is no result.
    fn told<T>(&self, result: TractResult<T>) -> Result<T, Fault> {
        result.map_err(|error| self.fault(format!("{error:#}")))
    }

    /// Of this rank, by axes of one before its own.
    fn of_rank(&mut self, mut x: OutletId, rank: usize) -> Result<OutletId, Fault> {
        for _ in self.shape(x)?.len()..rank {
            x = self.node(AxisOp::Add(0), &[x])?;
        }
        Ok(x)
    }

    /// How many axes its output has.
    fn rank(&self) -> usize {
        self.operator.y().shape.len()
    }

    /// An input of INT8, a value or a constant, or of numbers where it gives such.
    fn input(&mut self, i: usize) -> Result<OutletId, Fault> {
        let tensor = self.operator.tensor(i)?;
        if self.gives_numbers() {
            let numbers = Constant::from_shape(&tensor.shape, &self.operator.numbers(i)?);
            let numbers = self.told(numbers)?;
            return self.hold(numbers);
        }
        match self.domain {
            Domain::Codes => self.keeps_code(i)?,
            Domain::Reals => self.has_sane_scale(tensor)?,
        }
        if tensor.data.is_some() {
            let constant = self.constant(i)?;
            return self.hold(constant);
        }
        let (value, _) = self.operator.value(i)?;
        self.read(value, tensor.shape.clone())
    }

    /// A value by these axes.
    fn read(&mut self, value: usize, axes: Vec<usize>) -> Result<OutletId, Fault> {
        let type_ = match self.domain {
            Domain::Codes => DatumType::I8,
            Domain::Reals => DatumType::F32,
        };
        let name = self.name();
        let added = self.model.add_source(name, type_.fact(&axes));
        self.inputs.push(Input::Value(value));
        self.shapes.push(axes);
        self.told(added)
    }

    /// Whether it gives numbers of INT32, which have no code.
    fn gives_numbers(&self) -> bool {
        self.operator.y().type_ == TensorType::INT32
    }

    /// An input must be of the output's code.
    fn keeps_code(&self, i: usize) -> Result<(), Fault> {
        if self.gives_numbers() {
            return Ok(());
        }
        let tensor = self.operator.tensor(i)?;
        self.ensure(tensor.is_value(), || format!("can't use `{}`", tensor.name))?;
        self.operator.keeps_code(tensor.code())
    }

    /// No real number that a code stands for, nor a product of some, must leave single precision.
    fn has_sane_scale(&self, tensor: &Tensor) -> Result<(), Fault> {
        let sane = tensor.is_value() && SCALES.contains(&tensor.code().scale);
        self.ensure(sane, || format!("can't use `{}`, scale {:?}", tensor.name, tensor.scales))
    }

    /// A constant input of INT8, if it can be borne.
    fn constant(&mut self, i: usize) -> Result<Constant, Fault> {
        let tensor = self.operator.tensor(i)?;
        let is_constant = tensor.data.is_some() && tensor.is_value();
        self.ensure(is_constant, || format!("can't use `{}`", tensor.name))?;
        let bytes = tensor.codes().count().saturating_mul(2 * size_of::<f32>());
        self.constant_bytes = self.constant_bytes.saturating_add(bytes);
        self.operator.is_bearable(Cost { weight_bytes: self.constant_bytes, ..Cost::default() })?;
        self.told(self.domain.tensor(&tensor.shape, tensor.codes(), tensor.code()))
    }

    /// A constant's wire.
    fn hold(&mut self, constant: Constant) -> Result<OutletId, Fault> {
        let name = self.name();
        let held = self.model.add_const(name, constant);
        self.told(held)
    }

    fn number(&mut self, number: f32) -> Result<OutletId, Fault> {
        self.hold(tensor0(number))
    }

    /// What an operation of tract's makes of these.
    fn node(
        &mut self,
        op: impl Into<Box<dyn TypedOp>>,
        inputs: &[OutletId],
    ) -> Result<OutletId, Fault> {
        self.node_of(op.into(), inputs)
    }

    /// The same, compiled once.
    fn node_of(&mut self, op: Box<dyn TypedOp>, inputs: &[OutletId]) -> Result<OutletId, Fault> {
        let name = self.name();
        let wired = self.model.wire_node(name, op, inputs);
        Ok(self.told(wired)?[0])
    }

    fn name(&self) -> String {
        self.model.nodes().len().to_string()
    }

    fn shape(&self, wire: OutletId) -> Result<Vec<usize>, Fault> {
        let fact = self.model.outlet_fact(wire).ok();
        let shape = fact.and_then(|fact| fact.shape.as_concrete().map(<[usize]>::to_vec));
        shape.ok_or_else(|| self.fault("has no shape in tract"))
    }

    /// Axes of so many.
    fn axes(&self, axes: &[i32], of: usize) -> Result<Vec<usize>, Fault> {
        axes.iter().map(|&axis| self.axis(axis, of)).collect()
    }

    /// An axis of so many, counted from the last if negative.
    fn axis(&self, axis: i32, of: usize) -> Result<usize, Fault> {
        let from_first = if axis < 0 { i64::from(axis) + of as i64 } else { axis.into() };
        let axis_of = usize::try_from(from_first).ok().filter(|axis| *axis < of);
        axis_of.ok_or_else(|| self.fault(format!("has no axis {axis} of {of}")))
    }

    /// The sizes that a constant input of INT32 holds.
    fn sizes(&self, i: usize) -> Result<Vec<usize>, Fault> {
        let numbers = self.operator.numbers(i)?;
        let sizes: Option<_> = numbers.iter().map(|&size| usize::try_from(size).ok()).collect();
        sizes.ok_or_else(|| self.fault(format!("has {numbers:?}, of which some are negative")))
    }

    /// The axes of what it gives.
    fn ends_in(&mut self, output: OutletId) -> Result<Vec<usize>, Fault> {
        if self.domain == Domain::Reals {
            self.has_sane_scale(self.operator.y())?;
        }
        let given = self.shape(output)?;
        self.ensure(given.len() <= MAX_RANK, || format!("gives {given:?}"))?;
        let selected = self.model.select_output_outlets(&[output]);
        self.told(selected)?;
        Ok(given)
    }
}
