//! Reads a `.tflite` file from outside in: the flatbuffer, its tensors, its operators.
//!
//! What passes is a network whose shapes agree, of operations that [`interpret`](super::interpret)
//! computes as LiteRT does, or else that tract runs; others are refused by name. What a file says in more ways than one becomes
//! one: a dilated filter is a larger one with zeros between its taps, a depthwise convolution of
//! several filters a channel is a convolution with zeros for the other channels, and a dense layer is
//! a convolution whose window is all that it reads. A softmax at the end is left out: what it reads
//! are the logits.

mod blocks;
mod filter;
mod in_tract;
mod kinds;
mod numbers;
mod operator;
mod pairs;
mod reshape;
mod sliding;
mod tensor;
mod transposed;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use tract_tflite::tflite::{
    Model, SubGraph, Tensor as Table, TensorType, model_buffer_has_identifier, root_as_model,
};

use super::ModelError;
use super::network::{Int8Network, Int8Op, Shape, Step, Value};
use super::schema::{operator_of, tract_agrees};
use super::tract_operator::Domain;
use super::window::Window;
use operator::{Given, Input, Operation, Operator, Outcome};
use tensor::{Tensor, layout};

/// Identifier and root offset: the least a flatbuffer with an identifier can have.
const HEADER_LEN: usize = 8;
/// Products for a picture: fifteen times the reference network's. tract, which runs a picture at each
/// start, takes about 5 instructions for each, half a minute on the smallest CPUs.
const MAX_PRODUCTS: usize = 1 << 31;
/// Bytes of all values together, and of the weights of all operators together, of which several may
/// share a tensor: a hundred times the reference network's. All may have to be in memory at once.
const MAX_BYTES: usize = 1 << 25;

/// Ten times what large networks have; some work grows with its square.
const MAX_OPERATORS: usize = 1 << 12;

/// Sides in pixels of the pictures that a network may read: from what still shows a face to what no
/// small CPU should be asked for.
const SIDES: RangeInclusive<usize> = 8..=512;

/// What a file holds.
pub struct File {
    /// What it computes, from a square picture of one or three channels to a row of logits.
    pub network: Int8Network,
    /// Whether stock tract gives LiteRT's codes for it.
    pub tract_agrees: bool,
}

/// Checks and reads a file's bytes; `name` is what errors call it.
pub fn read(name: &str, bytes: &[u8]) -> Result<File, ModelError> {
    let format = |why: String| ModelError::Format { name: name.into(), why };
    if bytes.is_empty() {
        return Err(format("it is empty".into()));
    }
    if bytes.len() < HEADER_LEN || !model_buffer_has_identifier(bytes) {
        return Err(format("it does not begin as one (no `TFL3`)".into()));
    }
    let model = root_as_model(bytes).map_err(|e| format(first_line(&e.to_string())))?;
    let unfit = |(part, why)| ModelError::Unfit { name: name.into(), part, why };
    let graph = subgraph(&model).map_err(unfit)?;
    let tables: Vec<Table> = graph.tensors().into_iter().flatten().collect();
    let single = |side: &str, list: Vec<i32>| match list[..] {
        [i] if (0..tables.len() as i32).contains(&i) => Ok(i as usize),
        _ => Err((format!("its list of {side}s"), format!("is {list:?}, not one tensor"))),
    };
    let input = single("input", graph.inputs().into_iter().flatten().collect()).map_err(unfit)?;
    let output =
        single("output", graph.outputs().into_iter().flatten().collect()).map_err(unfit)?;
    // Before all else, so that a float network is told as that.
    check_interface(name, &tables[input], &tables[output])?;
    let tensors = (tables.into_iter().enumerate())
        .map(|(i, table)| Tensor::new(&model, table, i))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unfit)?;
    let one_scale = tensors[input].is_value();
    ensure(one_scale, "its input", || "has several scales".into()).map_err(unfit)?;
    let tail = tail(&model, graph, output);
    let mut reading = Reading::new(tensors, input, output, tail);
    reading.operators(&model, graph).map_err(unfit)?;
    reading.finish(metadata(&model)).map_err(unfit)
}

/// Refuses networks that read something else than a picture or give something else than logits.
fn check_interface(name: &str, input: &Table, output: &Table) -> Result<(), ModelError> {
    let sides = |tensor: &Table| tensor.shape().into_iter().flatten().collect::<Vec<i32>>();
    let unlike = |side, tensor: &Table, needed| ModelError::Interface {
        name: name.into(),
        side,
        found: format!("{:?} {:?}", tensor.type_(), sides(tensor)),
        needed,
    };
    let fits = |side: i32| usize::try_from(side).is_ok_and(|side| SIDES.contains(&side));
    let is_picture = input.type_() == TensorType::INT8
        && matches!(sides(input)[..], [1, h, w, 1 | 3] if h == w && fits(h));
    if !is_picture {
        let needed = "INT8 [1, side, side, 1 or 3], a side of 8 to 512";
        return Err(unlike("input", input, needed));
    }
    let is_row =
        output.type_() == TensorType::INT8 && matches!(sides(output)[..], [1, 1, 1, _] | [1, _]);
    match is_row {
        true => Ok(()),
        false => Err(unlike("output", output, "INT8 [1, 1, 1, logits] or [1, logits]")),
    }
}

/// Metadata entries that are text; others are left out.
fn metadata(model: &Model) -> BTreeMap<String, String> {
    let buffers = model.buffers();
    let text = |index: u32| {
        let buffers = buffers.filter(|all| (index as usize) < all.len())?;
        let data = buffers.get(index as usize).data()?;
        String::from_utf8(data.bytes().to_vec()).ok()
    };
    let entries = model.metadata().into_iter().flatten();
    entries.filter_map(|entry| Some((entry.name()?.to_string(), text(entry.buffer())?))).collect()
}

/// A part of the file, and what is wrong with it.
type Fault = (String, String);

/// The one message of flatbuffers' errors that matters; the rest is a trace of offsets.
fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim_end_matches('.').into()
}

fn ensure(condition: bool, part: &str, why: impl FnOnce() -> String) -> Result<(), Fault> {
    if condition { Ok(()) } else { Err((part.into(), why())) }
}

/// The output, and what it is the same as in another shape, from the last on.
fn tail(model: &Model, graph: SubGraph, output: usize) -> Vec<usize> {
    let mut tail = vec![output as i32];
    let operators: Vec<_> = graph.operators().into_iter().flatten().collect();
    for table in operators.iter().rev() {
        let gives = |tensor| table.outputs().is_some_and(|all| all.iter().any(|i| i == tensor));
        let kind = operator::code(model, table).map(|code| operator_of(&code));
        let reshapes = kind.is_some_and(reshape::reshapes);
        let input = table.inputs().and_then(|inputs| inputs.iter().next());
        if let (true, Some(input)) = (reshapes && tail.last().is_some_and(|&i| gives(i)), input) {
            tail.push(input);
        }
    }
    tail.into_iter().filter_map(|tensor| usize::try_from(tensor).ok()).collect()
}

fn subgraph<'m>(model: &Model<'m>) -> Result<SubGraph<'m>, Fault> {
    let graphs = model.subgraphs().into_iter().flatten().collect::<Vec<_>>();
    ensure(graphs.len() == 1, "the file", || format!("holds {} graphs, not one", graphs.len()))?;
    Ok(graphs[0])
}

/// What operators take for a picture.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// Or comparisons.
    products: usize,
    /// Of the weights.
    weight_bytes: usize,
    /// Of what is computed.
    value_bytes: usize,
}

impl Cost {
    fn plus(self, more: Self) -> Self {
        Self {
            products: self.products.saturating_add(more.products),
            weight_bytes: self.weight_bytes.saturating_add(more.weight_bytes),
            value_bytes: self.value_bytes.saturating_add(more.value_bytes),
        }
    }

    /// And of so many bytes of values.
    fn of_values(self, bytes: usize) -> Self {
        self.plus(Self { value_bytes: bytes, ..Self::default() })
    }

    fn is_bearable(self) -> bool {
        self.products <= MAX_PRODUCTS
            && self.weight_bytes <= MAX_BYTES
            && self.value_bytes <= MAX_BYTES
    }
}

/// The network as far as it has been read.
struct Reading<'m> {
    tensors: Vec<Tensor<'m>>,
    /// By tensor: the value that it holds, once something computes it.
    held: Vec<Option<usize>>,
    output: usize,
    values: Vec<Value>,
    steps: Vec<Step>,
    /// Constants and values in other shapes, and the value that each was made.
    made: Vec<(Input, usize)>,
    /// The tensors that are the output by another name.
    tail: Vec<usize>,
    /// What a softmax at the end reads.
    before_softmax: Option<Input>,
    tract_agrees: bool,
    cost: Cost,
}

impl<'m> Reading<'m> {
    fn new(tensors: Vec<Tensor<'m>>, input: usize, output: usize, tail: Vec<usize>) -> Self {
        let held = vec![None; tensors.len()];
        let mut reading = Self {
            tensors,
            held,
            output,
            values: Vec::new(),
            steps: Vec::new(),
            made: Vec::new(),
            tail,
            before_softmax: None,
            tract_agrees: true,
            cost: Cost::default(),
        };
        reading.hold(input, layout(&reading.tensors[input].shape));
        reading
    }

    /// A new value of a tensor's name and code.
    fn value(&mut self, index: usize, shape: Shape) -> usize {
        let tensor = &self.tensors[index];
        let (name, quantization) = (tensor.name.clone(), tensor.code());
        self.values.push(Value { name, shape, quantization });
        self.values.len() - 1
    }

    /// Makes the value that a tensor holds.
    fn hold(&mut self, index: usize, shape: Shape) -> usize {
        let value = self.value(index, shape);
        self.held[index] = Some(value);
        value
    }

    /// A new value of another's code, named by what is made of that.
    fn derived(&mut self, from: usize, how: &str, shape: Shape) -> usize {
        let Value { name, quantization, .. } = &self.values[from];
        let (name, quantization) = (format!("{name} {how}"), *quantization);
        self.values.push(Value { name, shape, quantization });
        self.values.len() - 1
    }

    /// The value that is read.
    fn input(&mut self, input: Input) -> usize {
        if let Some(&(_, made)) = self.made.iter().find(|(of, _)| *of == input) {
            return made;
        }
        let (op, inputs, output) = match input {
            Input::Value(value) => return value,
            Input::Reshaped { value, shape } => {
                let output = self.derived(value, &format!("as {shape:?}"), shape);
                (Int8Op::Reshape, vec![value], output)
            }
            Input::Spaced { value, of, by, shape } => {
                let input = self.input(Input::of(value, self.values[value].shape, of));
                let output = self.derived(input, &format!("spaced by {by:?}"), shape);
                (Int8Op::Space(by), vec![input], output)
            }
            Input::Constant { tensor, shape } => {
                let of = &self.tensors[tensor];
                let codes = of.codes().cycle().take(shape.iter().product()).collect();
                (Int8Op::Constant(codes), Vec::new(), self.value(tensor, shape))
            }
        };
        self.steps.push(Step { op, inputs, output });
        self.made.push((input, output));
        output
    }

    fn operators(&mut self, model: &Model, graph: SubGraph) -> Result<(), Fault> {
        let count = graph.operators().map_or(0, |operators| operators.len());
        ensure(count <= MAX_OPERATORS, "the file", || {
            format!("has {count} operators, more than {MAX_OPERATORS}")
        })?;
        let tables = graph.operators().into_iter().flatten().enumerate();
        let outputs = tables.flat_map(|(i, table)| {
            let count = table.outputs().map_or(0, |outputs| outputs.len()).max(1);
            (0..count).map(move |nth| (table, [i, nth]))
        });
        let count = outputs.clone().count();
        ensure(count <= MAX_OPERATORS, "the file", || {
            format!("has operators of {count} outputs, more than {MAX_OPERATORS}")
        })?;
        for (table, which) in outputs {
            let operator = Operator::new(self, model, table, which)?;
            if self.before_softmax.is_some() && self.tail.contains(&operator.output) {
                continue;
            }
            let (outcome, part, output) = (kinds::read(&operator)?, operator.part, operator.output);
            let is_last = self.before_softmax.is_none()
                || matches!(outcome, Outcome::Numbers { .. } | Outcome::Unknown);
            ensure(is_last, &part, || "comes after the softmax".into())?;
            let code = operator::code(model, &table);
            let agrees = code.is_some_and(|code| tract_agrees(&code))
                && matches!(&outcome, Outcome::Operation(operation) if operation.tract_agrees);
            self.tract_agrees &= agrees && self.tensors[output].shape.len() == 4;
            match outcome {
                Outcome::Operation(operation) => self.push(*operation, output, &part)?,
                Outcome::Same { value, shape } => {
                    self.held[output] = Some(value);
                    self.tensors[output].shape = shape;
                }
                Outcome::Blocks { input, blocks, axes } => {
                    self.held[output] = Some(self.input(input));
                    self.tensors[output].shape = axes;
                    self.tensors[output].blocks = Some(blocks);
                }
                Outcome::Numbers { shape, numbers } => {
                    let bytes: Vec<u8> = numbers.into_iter().flat_map(i32::to_le_bytes).collect();
                    self.tensors[output].shape = shape;
                    self.tensors[output].data = Some(bytes.into());
                }
                Outcome::Unknown => {}
                Outcome::Softmax(row) => self.before_softmax = Some(row),
            }
        }
        Ok(())
    }

    /// The operation that gives a tensor.
    fn push(&mut self, operation: Operation, output: usize, part: &str) -> Result<(), Fault> {
        let Operation { op, inputs, given: Given { shape, axes, blocks }, cost, .. } = operation;
        let tensor = &mut self.tensors[output];
        let len = |sides: &[usize]| sides.iter().product::<usize>();
        ensure(blocks.is_some() || len(&axes) == len(&shape), part, || {
            format!("gives {} values, but `{}` is {axes:?}", len(&shape), tensor.name)
        })?;
        // As LiteRT, and not what the file says, which tract believes.
        self.tract_agrees &= tensor.shape == axes;
        (tensor.shape, tensor.blocks) = (axes, blocks);
        self.cost = self.cost.plus(cost);
        let inputs = inputs.into_iter().map(|input| self.input(input)).collect();
        let output = self.hold(output, shape);
        self.steps.push(Step { op, inputs, output });
        Ok(())
    }

    fn finish(mut self, metadata: BTreeMap<String, String>) -> Result<File, Fault> {
        let in_blocks = self.tensors[self.output].blocks.is_some();
        ensure(!in_blocks, "its output", || "is blocks of a picture".into())?;
        let computed = self.held[self.output].map(|value| {
            Input::of(value, self.values[value].shape, layout(&self.tensors[self.output].shape))
        });
        let output = self.before_softmax.or(computed);
        let output = output.ok_or_else(|| ("its output".into(), "is never computed".into()))?;
        let output = self.input(output);
        ensure(!self.is_of_softmax(output), "its output", || {
            "is made of a softmax's: shares, not logits. End the file before the softmax".into()
        })?;
        let Value { name, shape, .. } = &self.values[output];
        ensure(shape[..2] == [1, 1], "its output", || format!("is `{name}`, a picture {shape:?}"))?;
        ensure(!self.steps.is_empty(), "its output", || "is its input".into())?;
        let Self { values, steps, tract_agrees, .. } = self;
        Ok(File {
            network: Int8Network { values, steps, input: 0, output, metadata },
            tract_agrees,
        })
    }

    /// Whether a value is what a softmax gives: shares, perhaps moved, joined, or with other shares or constants
    /// made others. What weighs values by shares is not.
    fn is_of_softmax(&self, value: usize) -> bool {
        let mut shares = vec![false; self.values.len()];
        let mut constants = shares.clone();
        for Step { op, inputs, output } in &self.steps {
            let some = inputs.iter().any(|&input| shares[input]);
            let all = some && inputs.iter().all(|&input| shares[input] || constants[input]);
            constants[*output] = matches!(op, Int8Op::Constant(_));
            shares[*output] = match op {
                Int8Op::Conv(_) | Int8Op::Depthwise(_) => false,
                Int8Op::Reshape | Int8Op::Concat => some,
                Int8Op::InTract(operator) => match (operator.name(), operator.domain()) {
                    ("SOFTMAX", _) => true,
                    ("BATCH_MATMUL" | "LOG", _) => false,
                    (_, Domain::Codes) => some,
                    (_, Domain::Reals) => all,
                },
                _ => all,
            };
        }
        shares[value]
    }
}
