//! Reads a `.tflite` file from outside in: the flatbuffer, its tensors, its operators.
//!
//! What passes is a network whose shapes agree, of operations that [`interpret`](super::interpret)
//! computes as LiteRT does; others are refused by name. What a file says in more ways than one becomes
//! one: a dilated filter is a larger one with zeros between its taps, a depthwise convolution of
//! several filters a channel is a convolution with zeros for the other channels, and a dense layer is
//! a convolution whose window is all that it reads. A softmax at the end is left out: what it reads
//! are the logits.

mod filter;
mod operator;
mod sliding;
mod tensor;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use tract_tflite::tflite::{
    Model, SubGraph, Tensor as Table, TensorType, model_buffer_has_identifier, root_as_model,
};

use super::ModelError;
use super::network::{Int8Network, Int8Op, Shape, Step, Value};
use operator::{Operation, Operator, Outcome, Source};
use tensor::Tensor;

/// Identifier and root offset: the least a flatbuffer with an identifier can have.
const HEADER_LEN: usize = 8;
/// Products for a picture: fifteen times the reference network's. tract, which runs a picture at each
/// start, takes about 5 instructions for each, half a minute on the smallest CPUs.
const MAX_PRODUCTS: usize = 1 << 31;
/// Bytes of all values together, and of the weights of all operators together, of which several may
/// share a tensor: a hundred times the reference network's. All may have to be in memory at once.
const MAX_BYTES: usize = 1 << 25;

/// Sides in pixels of the pictures that a network may read: from what still shows a face to what no
/// small CPU should be asked for.
const SIDES: RangeInclusive<usize> = 8..=512;

/// What a file holds.
pub struct File {
    /// What it computes, from a square picture of one or three channels to a row of logits.
    pub network: Int8Network,
    /// Whether stock tract gives LiteRT's codes for it.
    pub in_tract: bool,
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
    let mut reading = Reading::new(tensors, input, output);
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
    /// Of the output.
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
    /// Constant tensors, channels, and the value of each that was made.
    rows: Vec<(usize, usize, usize)>,
    /// The value that a softmax at the end reads.
    before_softmax: Option<usize>,
    in_tract: bool,
    cost: Cost,
}

impl<'m> Reading<'m> {
    fn new(tensors: Vec<Tensor<'m>>, input: usize, output: usize) -> Self {
        let held = vec![None; tensors.len()];
        let mut reading = Self {
            tensors,
            held,
            output,
            values: Vec::new(),
            steps: Vec::new(),
            rows: Vec::new(),
            before_softmax: None,
            in_tract: true,
            cost: Cost::default(),
        };
        if let Some(shape) = reading.tensors[input].picture() {
            reading.hold(input, shape);
        }
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

    /// The value of a constant tensor as a row of so many channels.
    fn row(&mut self, tensor: usize, channels: usize) -> usize {
        if let Some(&(.., value)) =
            self.rows.iter().find(|(of, len, _)| (*of, *len) == (tensor, channels))
        {
            return value;
        }
        let of = &self.tensors[tensor];
        let codes = of.data.unwrap_or_default().iter().map(|byte| byte.cast_signed());
        // One number stands for all channels.
        let codes = codes.cycle().take(channels).collect();
        let value = self.value(tensor, [1, 1, channels]);
        self.rows.push((tensor, channels, value));
        self.steps.push(Step { op: Int8Op::Constant(codes), inputs: Vec::new(), output: value });
        value
    }

    fn operators(&mut self, model: &Model, graph: SubGraph) -> Result<(), Fault> {
        for (i, table) in graph.operators().into_iter().flatten().enumerate() {
            let operator = Operator::new(self, model, table, i)?;
            ensure(self.before_softmax.is_none(), &operator.part, || {
                "comes after the softmax".into()
            })?;
            let (outcome, part, output) = (operator.read()?, operator.part, operator.output);
            let tensor = &self.tensors[output];
            let in_tract = matches!(&outcome, Outcome::Operation(operation) if operation.in_tract);
            self.in_tract &= in_tract && tensor.shape.len() == 4;
            match outcome {
                Outcome::Operation(operation) => {
                    let Operation { op, inputs, shape, cost, .. } = *operation;
                    ensure(tensor.picture() == Some(shape), &part, || {
                        format!("gives {shape:?}, but `{}` is {:?}", tensor.name, tensor.shape)
                    })?;
                    self.cost = self.cost.plus(cost);
                    let inputs = inputs.into_iter().map(|input| match input {
                        Source::Value(value) => value,
                        Source::Row { tensor, channels } => self.row(tensor, channels),
                    });
                    let inputs = inputs.collect();
                    let output = self.hold(output, shape);
                    self.steps.push(Step { op, inputs, output });
                }
                Outcome::Shape => {}
                Outcome::Same(value) => {
                    self.held[output] = Some(value);
                    self.tensors[output].shape = vec![1, self.values[value].shape.iter().product()];
                }
                Outcome::Softmax(value) => self.before_softmax = Some(value),
            }
        }
        Ok(())
    }

    fn finish(self, metadata: BTreeMap<String, String>) -> Result<File, Fault> {
        let output = self.before_softmax.or(self.held[self.output]);
        let output = output.ok_or_else(|| ("its output".into(), "is never computed".into()))?;
        let Value { name, shape, .. } = &self.values[output];
        ensure(shape[..2] == [1, 1], "its output", || format!("is `{name}`, a picture {shape:?}"))?;
        ensure(!self.steps.is_empty(), "its output", || "is its input".into())?;
        let Self { values, steps, in_tract, .. } = self;
        Ok(File { network: Int8Network { values, steps, input: 0, output, metadata }, in_tract })
    }
}
