//! Reads a file that `inspect` accepts into the network it holds.

use std::collections::BTreeMap;

use tract_tflite::tflite::{
    BuiltinOperator, Model, Operator, SubGraph, Tensor, TensorType, root_as_model,
};

use super::Quantization;
use super::codes::{activation_of, operator_of};
use super::network::{Filter, Int8Network, Int8Op, Step, Value};
use super::options::{self, Sliding};
use super::window::Activation;

/// The network in the bytes of a file that `inspect` let through, with the metadata that it found;
/// else the part that this reader does not know.
pub fn read(bytes: &[u8], metadata: BTreeMap<String, String>) -> Result<Int8Network, String> {
    let model = root_as_model(bytes).map_err(|_| "the flatbuffer")?;
    File::of(&model).ok_or("its graph")?.network(metadata)
}

struct File<'m> {
    model: &'m Model<'m>,
    graph: SubGraph<'m>,
    tensors: Vec<Tensor<'m>>,
}

impl<'m> File<'m> {
    fn of(model: &'m Model<'m>) -> Option<Self> {
        let graph = model.subgraphs()?.iter().next()?;
        let tensors = graph.tensors()?.iter().collect();
        Some(Self { model, graph, tensors })
    }

    /// The network, or the part that can't be read.
    fn network(&self, metadata: BTreeMap<String, String>) -> Result<Int8Network, String> {
        // Weights and biases are no values of the network.
        let mut place = vec![None; self.tensors.len()];
        let mut values = Vec::new();
        for (index, tensor) in self.tensors.iter().enumerate() {
            if self.data(tensor).is_none() {
                place[index] = Some(values.len());
                let name = tensor.name().unwrap_or_default();
                values.push(value(tensor).ok_or_else(|| format!("tensor `{name}`"))?);
            }
        }
        let at = |index: i32| *place.get(usize::try_from(index).ok()?)?;
        let operators = self.graph.operators().into_iter().flatten().enumerate();
        let unread = |i: usize, operator: &Operator| {
            let kind = self.kind(operator).and_then(|kind| kind.variant_name());
            format!("operator {i} ({})", kind.unwrap_or("unknown"))
        };
        let steps = operators
            .map(|(i, operator)| self.step(&operator, &at).ok_or_else(|| unread(i, &operator)));
        let (inputs, outputs) = (self.graph.inputs(), self.graph.outputs());
        let (input, output) =
            (inputs.map(|list| list.iter().next()), outputs.map(|list| list.iter().next()));
        Ok(Int8Network {
            steps: steps.collect::<Result<_, _>>()?,
            input: input.flatten().and_then(at).ok_or("its input")?,
            output: output.flatten().and_then(at).ok_or("its output")?,
            values,
            metadata,
        })
    }

    /// A tensor's bytes, if they are in the file.
    fn data(&self, tensor: &Tensor<'m>) -> Option<&'m [u8]> {
        let buffers = self.model.buffers()?;
        let index = tensor.buffer() as usize;
        let data = (index > 0 && index < buffers.len()).then(|| buffers.get(index).data())??;
        (!data.is_empty()).then(|| data.bytes())
    }

    fn step(&self, operator: &Operator<'m>, at: &impl Fn(i32) -> Option<usize>) -> Option<Step> {
        let tensors: Vec<i32> = operator.inputs()?.iter().collect();
        let output = at(operator.outputs()?.iter().next()?)?;
        let first = at(*tensors.first()?)?;
        let (op, inputs) = match self.kind(operator)? {
            BuiltinOperator::CONV_2D => {
                let filter = self.filter(&tensors, |kernel| options::of_conv(operator, kernel))?;
                (Int8Op::Conv(filter), vec![first])
            }
            BuiltinOperator::DEPTHWISE_CONV_2D => {
                let of = |kernel| options::of_depthwise(operator, kernel);
                (Int8Op::Depthwise(self.filter(&tensors, of)?), vec![first])
            }
            BuiltinOperator::MAX_POOL_2D => {
                let Sliding { window, activation, .. } = options::of_pool(operator).ok()?;
                if activation != Activation::None {
                    return None;
                }
                (Int8Op::MaxPool(window), vec![first])
            }
            BuiltinOperator::ADD => {
                let options = operator.builtin_options_as_add_options()?;
                let activation = activation_of(options.fused_activation_function())?;
                (Int8Op::Add(activation), vec![first, at(*tensors.get(1)?)?])
            }
            BuiltinOperator::CONCATENATION => {
                (Int8Op::Concat, tensors.iter().map(|&i| at(i)).collect::<Option<_>>()?)
            }
            _ => return None,
        };
        Some(Step { op, inputs, output })
    }

    fn kind(&self, operator: &Operator<'m>) -> Option<BuiltinOperator> {
        let codes = self.model.operator_codes()?;
        let index = operator.opcode_index() as usize;
        let code = (index < codes.len()).then(|| codes.get(index))?;
        Some(operator_of(&code))
    }

    /// Weights and bias, the second and third of an operator's tensors, and how they slide.
    fn filter(
        &self,
        tensors: &[i32],
        sliding: impl Fn([usize; 2]) -> Result<Sliding, String>,
    ) -> Option<Filter> {
        let tensor = |i: usize| self.tensors.get(usize::try_from(*tensors.get(i)?).ok()?);
        let (weights, bias) = (tensor(1)?, tensor(2)?);
        let shape: Vec<usize> =
            weights.shape()?.iter().map(|side| side.unsigned_abs() as usize).collect();
        let shape: [usize; 4] = shape.try_into().ok()?;
        let bias_bytes = self.data(bias)?.as_chunks::<4>().0;
        let bias: Vec<i32> = bias_bytes.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect();
        let mut scales: Vec<f32> = weights.quantization()?.scale()?.iter().collect();
        if let [scale] = scales[..] {
            scales = vec![scale; bias.len()];
        }
        let Sliding { window, dilation, activation } = sliding([shape[1], shape[2]]).ok()?;
        if dilation != [1, 1] {
            return None;
        }
        Some(Filter {
            shape,
            weights: self.data(weights)?.iter().map(|byte| byte.cast_signed()).collect(),
            scales,
            bias,
            window,
            activation,
        })
    }
}

fn value(tensor: &Tensor) -> Option<Value> {
    if tensor.type_() != TensorType::INT8 {
        return None;
    }
    let shape: Vec<i32> = tensor.shape()?.iter().collect();
    let [1, h, w, c] = shape[..] else { return None };
    let code = tensor.quantization()?;
    let zero_point = i8::try_from(code.zero_point()?.iter().next()?).ok()?;
    Some(Value {
        name: tensor.name()?.to_owned(),
        shape: [h, w, c].map(|side| side.unsigned_abs() as usize),
        quantization: Quantization { scale: code.scale()?.iter().next()?, zero_point },
    })
}
