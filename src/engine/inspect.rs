//! Checks a `.tflite` file from outside in: the flatbuffer, its tensors, its operators.
//!
//! What passes is a network of int8 convolutions, max pools, additions and concatenations whose
//! shapes agree; operators that tract-tflite 0.23 gets wrong (MEAN, SOFTMAX) or panics on are refused
//! by name.

mod operator;
mod tensor;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use tract_tflite::tflite::{
    Model, SubGraph, TensorType, model_buffer_has_identifier, root_as_model,
};

use super::{ModelError, Quantization};
use tensor::Checked;

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
        let mut sum = Cost::default();
        for (i, operator) in self.graph.operators().into_iter().flatten().enumerate() {
            let kind = operator::kind(model, operator, i)?;
            let part = format!("operator {i} ({})", kind.variant_name().unwrap_or("unknown"));
            let inputs = self.indices(operator.inputs().into_iter().flatten(), &part)?;
            let outputs = self.indices(operator.outputs().into_iter().flatten(), &part)?;
            for &input in &inputs {
                ensure(known[input], &part, || {
                    format!("reads `{}`, which nothing computes", self.tensors[input].name)
                })?;
            }
            sum = sum.plus(operator::check(self, kind, &operator, &part, &inputs, &outputs)?);
            ensure(sum.is_bearable(), &part, || {
                format!(
                    "is too much: all together may take {MAX_PRODUCTS} products and {MAX_BYTES} bytes \
                     of values and of weights"
                )
            })?;
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
}
