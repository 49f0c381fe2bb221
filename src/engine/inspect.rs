//! Checks a `.tflite` file from outside in: the flatbuffer, its tensors, its operators.
//!
//! What passes is a network of int8 convolutions, max pools, additions and concatenations whose
//! shapes agree; operators that tract-tflite 0.23 gets wrong (MEAN, SOFTMAX) or panics on are refused
//! by name.

mod window;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use tract_tflite::tflite::{
    ActivationFunctionType, BuiltinOperator, Model, Operator, SubGraph, Tensor, TensorType,
    model_buffer_has_identifier, root_as_model,
};

use self::window::Window;
use super::codes::{CHANNEL_AXIS, operator_of};
use super::{ModelError, Quantization};

/// Identifier and root offset: the least a flatbuffer with an identifier can have.
const HEADER_LEN: usize = 8;
/// No tensor of the family comes near; keeps a forged shape from asking for all memory.
const MAX_TENSOR_LEN: usize = 1 << 24;

/// Sides in pixels of the pictures that a network may read: from what still shows a face to what no
/// small CPU should be asked for.
const SIDES: RangeInclusive<usize> = 8..=512;

/// What a network reads and gives, and the texts in its file's metadata, by name.
pub struct Interface {
    pub side: usize,
    pub channels: usize,
    pub input: Quantization,
    pub logits: usize,
    pub output: Quantization,
    pub metadata: BTreeMap<String, String>,
}

/// Checks a file's bytes; `name` is what errors call it.
pub fn inspect(name: &str, bytes: &[u8]) -> Result<Interface, ModelError> {
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
    let network = Network::new(&model, graph).map_err(unfit)?;
    let interface = network.interface(name, metadata(&model))?;
    network.check_operators(&model).map_err(unfit)?;
    Ok(interface)
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

/// A checked tensor.
struct Checked {
    name: String,
    type_: TensorType,
    shape: Vec<usize>,
    scales: Vec<f32>,
    zero_point: i64,
    /// Its values are in the file.
    constant: bool,
}

impl Checked {
    fn new(model: &Model, tensor: Tensor, index: usize) -> Result<Self, Fault> {
        let name = tensor.name().unwrap_or_default();
        let part = format!("tensor {index} `{name}`");
        ensure(tensor.name().is_some(), &part, || "has no name".into())?;
        let shape: Vec<usize> = (tensor.shape().into_iter().flatten())
            .map(|side| usize::try_from(side).unwrap_or(0))
            .collect();
        let len = shape.iter().try_fold(1usize, |len, &side| len.checked_mul(side));
        let len = len.filter(|len| (1..=MAX_TENSOR_LEN).contains(len));
        let len = len.ok_or_else(|| (part.clone(), format!("has the shape {shape:?}")))?;
        let type_ = tensor.type_();
        let size = match type_ {
            TensorType::INT8 => 1,
            TensorType::INT32 => 4,
            other => return Err((part, format!("is {other:?}, not INT8 or INT32"))),
        };
        let code = tensor.quantization();
        let scales: Vec<f32> = code.and_then(|c| c.scale()).into_iter().flatten().collect();
        let zeros: Vec<i64> = code.and_then(|c| c.zero_point()).into_iter().flatten().collect();
        let usable = scales.iter().all(|scale| scale.is_normal() && *scale > 0.0)
            && zeros.iter().all(|zero| i8::try_from(*zero).is_ok() && *zero == zeros[0]);
        ensure(usable && !scales.is_empty() && scales.len() == zeros.len(), &part, || {
            "has no usable quantization (scales > 0, one zero point)".into()
        })?;
        let buffers = model.buffers();
        let buffer = buffers.and_then(|all| {
            let i = tensor.buffer() as usize;
            (i < all.len()).then(|| all.get(i))
        });
        let buffer = buffer.ok_or_else(|| (part.clone(), "refers to no buffer".into()))?;
        let data = buffer.data().filter(|data| tensor.buffer() != 0 && !data.is_empty());
        if let Some(data) = data {
            ensure(data.len() == len * size, &part, || {
                format!("of shape {shape:?} has {} bytes", data.len())
            })?;
        }
        let zero_point = zeros[0];
        Ok(Self { name: name.into(), type_, shape, scales, zero_point, constant: data.is_some() })
    }

    fn code(&self) -> Quantization {
        let zero_point = i8::try_from(self.zero_point).expect("checked in `new`");
        Quantization { scale: self.scales[0], zero_point }
    }
}

struct Network<'m> {
    graph: SubGraph<'m>,
    tensors: Vec<Checked>,
    input: usize,
    output: usize,
}

impl<'m> Network<'m> {
    fn new(model: &Model<'m>, graph: SubGraph<'m>) -> Result<Self, Fault> {
        let tensors = (graph.tensors().into_iter().flatten().enumerate())
            .map(|(i, tensor)| Checked::new(model, tensor, i))
            .collect::<Result<Vec<_>, _>>()?;
        let single = |side: &str, list: Vec<i32>| match list[..] {
            [i] if (0..tensors.len() as i32).contains(&i) => Ok(i as usize),
            _ => Err((format!("its list of {side}s"), format!("is {list:?}, not one tensor"))),
        };
        let input = single("input", graph.inputs().into_iter().flatten().collect())?;
        let output = single("output", graph.outputs().into_iter().flatten().collect())?;
        Ok(Self { graph, tensors, input, output })
    }

    /// Refuses networks that read something else than a picture or give something else than
    /// logits.
    fn interface(
        &self,
        name: &str,
        metadata: BTreeMap<String, String>,
    ) -> Result<Interface, ModelError> {
        let (input, output) = (&self.tensors[self.input], &self.tensors[self.output]);
        let unlike = |side, tensor: &Checked, needed| ModelError::Interface {
            name: name.into(),
            side,
            found: format!("{:?} {:?}", tensor.type_, tensor.shape),
            needed,
        };
        let (side, channels) = match (input.type_, &input.shape[..]) {
            (TensorType::INT8, &[1, h, w, channels @ (1 | 3)]) if h == w && SIDES.contains(&h) => {
                (h, channels)
            }
            _ => {
                let needed = "INT8 [1, side, side, 1 or 3], a side of 8 to 512";
                return Err(unlike("input", input, needed));
            }
        };
        let logits = match (output.type_, &output.shape[..]) {
            (TensorType::INT8, &[1, 1, 1, logits]) => logits,
            _ => return Err(unlike("output", output, "INT8 [1, 1, 1, logits]")),
        };
        let (input, output) = (input.code(), output.code());
        Ok(Interface { side, channels, input, logits, output, metadata })
    }

    fn check_operators(&self, model: &Model) -> Result<(), Fault> {
        let mut known: Vec<bool> = self.tensors.iter().map(|tensor| tensor.constant).collect();
        ensure(!known[self.input], "its input", || "is a constant".into())?;
        known[self.input] = true;
        for (i, operator) in self.graph.operators().into_iter().flatten().enumerate() {
            let kind = operator_kind(model, operator, i)?;
            let part = format!("operator {i} ({})", kind.variant_name().unwrap_or("unknown"));
            let inputs = self.indices(operator.inputs().into_iter().flatten(), &part)?;
            let outputs = self.indices(operator.outputs().into_iter().flatten(), &part)?;
            for &input in &inputs {
                ensure(known[input], &part, || {
                    format!("reads `{}`, which nothing computes", self.tensors[input].name)
                })?;
            }
            self.check_operator(kind, operator, &part, &inputs, &outputs)?;
            ensure(!known[outputs[0]], &part, || "overwrites a tensor".into())?;
            known[outputs[0]] = true;
        }
        ensure(known[self.output], "its output", || "is never computed".into())
    }

    fn indices(&self, list: impl Iterator<Item = i32>, part: &str) -> Result<Vec<usize>, Fault> {
        let checked = |i: i32| match usize::try_from(i) {
            Ok(index) if index < self.tensors.len() => Ok(index),
            _ => Err((part.into(), format!("refers to tensor {i}, which does not exist"))),
        };
        list.map(checked).collect()
    }

    fn check_operator(
        &self,
        kind: BuiltinOperator,
        operator: Operator,
        part: &str,
        inputs: &[usize],
        outputs: &[usize],
    ) -> Result<(), Fault> {
        let wants = match kind {
            BuiltinOperator::ADD => 2,
            BuiltinOperator::MAX_POOL_2D => 1,
            BuiltinOperator::CONCATENATION => inputs.len().max(1),
            _ => 3,
        };
        ensure(inputs.len() == wants && outputs.len() == 1, part, || {
            format!("has {} inputs and {} outputs", inputs.len(), outputs.len())
        })?;
        let x = self.activation(inputs[0], part)?;
        let y = self.activation(outputs[0], part)?;
        match kind {
            BuiltinOperator::ADD => {
                let other = self.activation(inputs[1], part)?;
                let options = operator.builtin_options_as_add_options();
                let plain =
                    options.is_some_and(|o| window::is_supported(o.fused_activation_function()));
                let alike = |a: &Checked| a.shape == y.shape && a.code() == y.code();
                ensure(plain && alike(x) && alike(other), part, || {
                    "has inputs and output of different shape or code".into()
                })
            }
            BuiltinOperator::CONCATENATION => self.check_concatenation(operator, part, inputs, y),
            BuiltinOperator::MAX_POOL_2D => {
                ensure(y.code() == x.code(), part, || "changes the code".into())?;
                Window::of_pool(operator, x, part)?.check(x, y, x.shape[3], part)
            }
            _ => self.check_filter(kind, operator, part, inputs, y),
        }
    }

    /// Channels of values of one code, one after the other.
    fn check_concatenation(
        &self,
        operator: Operator,
        part: &str,
        inputs: &[usize],
        y: &Checked,
    ) -> Result<(), Fault> {
        let options = operator.builtin_options_as_concatenation_options();
        let along_channels = options.is_some_and(|options| {
            [CHANNEL_AXIS, -1].contains(&options.axis())
                && options.fused_activation_function() == ActivationFunctionType::NONE
        });
        ensure(along_channels, part, || "does not join channels, and nothing else".into())?;
        let mut channels = 0;
        for &input in inputs {
            let x = self.activation(input, part)?;
            ensure(x.code() == y.code() && x.shape[..3] == y.shape[..3], part, || {
                "has inputs and output of different size or code".into()
            })?;
            channels += x.shape[3];
        }
        ensure(channels == y.shape[3], part, || {
            format!("gives {channels} channels, but `{}` has {}", y.name, y.shape[3])
        })
    }

    /// An INT8 tensor `[1, h, w, c]` with one scale.
    fn activation(&self, index: usize, part: &str) -> Result<&Checked, Fault> {
        let tensor = &self.tensors[index];
        let fits = tensor.type_ == TensorType::INT8
            && tensor.shape.len() == 4
            && tensor.shape[0] == 1
            && tensor.scales.len() == 1
            && !tensor.constant;
        ensure(fits, part, || format!("can't use `{}` as an activation", tensor.name))?;
        Ok(tensor)
    }

    fn check_filter(
        &self,
        kind: BuiltinOperator,
        operator: Operator,
        part: &str,
        inputs: &[usize],
        y: &Checked,
    ) -> Result<(), Fault> {
        let (x, weights, bias) =
            (&self.tensors[inputs[0]], &self.tensors[inputs[1]], &self.tensors[inputs[2]]);
        let depthwise = kind == BuiltinOperator::DEPTHWISE_CONV_2D;
        ensure(weights.shape.len() == 4, part, || "has weights that are not 4-D".into())?;
        let out = weights.shape[if depthwise { 3 } else { 0 }];
        let per_channel = |tensor: &Checked| {
            tensor.constant
                && tensor.zero_point == 0
                && (tensor.scales.len() == 1 || tensor.scales.len() == out)
        };
        let fits = weights.type_ == TensorType::INT8
            && weights.shape[3] == x.shape[3]
            && (!depthwise || weights.shape[0] == 1)
            && per_channel(weights)
            && bias.type_ == TensorType::INT32
            && bias.shape == [out]
            && per_channel(bias);
        ensure(fits, part, || {
            let (w, b) = (&weights.shape, &bias.shape);
            format!("has weights {w:?} and bias {b:?} that don't fit input {:?}", x.shape)
        })?;
        let kernel = [weights.shape[1], weights.shape[2]];
        let window = if depthwise {
            Window::of_depthwise(operator, kernel, part)?
        } else {
            Window::of_conv(operator, kernel, part)?
        };
        window.check(x, y, out, part)
    }
}

fn operator_kind(
    model: &Model,
    operator: Operator,
    index: usize,
) -> Result<BuiltinOperator, Fault> {
    let codes = model.operator_codes();
    let code = codes.and_then(|codes| {
        let i = operator.opcode_index() as usize;
        (i < codes.len()).then(|| codes.get(i))
    });
    let part = format!("operator {index}");
    let code = code.ok_or_else(|| (part.clone(), "has no code".into()))?;
    match operator_of(&code) {
        kind @ (BuiltinOperator::CONV_2D
        | BuiltinOperator::DEPTHWISE_CONV_2D
        | BuiltinOperator::MAX_POOL_2D
        | BuiltinOperator::ADD
        | BuiltinOperator::CONCATENATION) => Ok(kind),
        other => {
            let other = other.variant_name().unwrap_or("of an unknown kind");
            Err((part, format!("is {other}, which this engine does not run")))
        }
    }
}
