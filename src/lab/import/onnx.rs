//! Reads `.onnx` files, as PyTorch and tf2onnx write them.
//!
//! ONNX pictures are batch × channels × height × width. Each computed tensor carries what its axes
//! are, so that a transpose costs nothing: it only renames them. Weights are turned to this
//! project's order as they are used.

mod node;
mod ops;
mod parts;
mod proto;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashMap;
use std::rc::Rc;

use prost::Message;

use super::super::float::{LayerError, Layers};
use super::super::network::Shape;
use super::Fault;
use super::builder::Builder;
use node::Node;
use value::{Axis, CHANNELS_FIRST, Constant, Live, Value};

/// Versions of the operators that are understood.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=22;
/// Most nodes of a file; many of them may be no layers.
const MAX_NODES: usize = 1 << 16;
/// Channels that pictures have.
const PICTURE_CHANNELS: std::ops::RangeInclusive<usize> = 1..=4;

/// Reads the network in an `.onnx` file's bytes. Its batch is taken to be one picture; `side` is that
/// of the picture, where height and width are left open.
///
/// # Errors
///
/// If they are no whole file of an opset from 7 to 22, or a layer is not understood.
pub fn parse(bytes: &[u8], side: Option<usize>) -> Result<Layers, Fault> {
    let format = |why: String| Fault::Format(why);
    parts::check(bytes)?;
    let model = proto::Model::decode(bytes).map_err(|e| {
        format(format!("it is not a whole ONNX file ({e}); export the network again"))
    })?;
    let graph = model.graph.as_ref().ok_or_else(|| {
        format("it is not an ONNX file (it has no graph); export the network again".into())
    })?;
    let opset = opset(&model).map_err(format)?;
    if graph.node.len() > MAX_NODES {
        return Err(format(format!("its graph has more than {MAX_NODES} nodes")));
    }
    let mut values = constants(graph)?;
    let (name, axes, shape) = input(graph, &values, side).map_err(format)?;
    let builder = Builder::new(name, shape)?;
    values.insert(name, Value::Live(Live { value: 0, axes, flattened: None }));
    let mut reader = Reader { builder, values, opset };
    for node in &graph.node {
        reader.add(&Node::new(node))?;
    }
    reader.finish(graph)
}

/// Version of the standard operators.
fn opset(model: &proto::Model) -> Result<i64, String> {
    let standard = |domain: &str| matches!(domain, "" | "ai.onnx");
    let version = (model.opset_import.iter())
        .find(|set| standard(&set.domain))
        .map(|set| set.version)
        .ok_or("it names no opset; export the network again")?;
    if !OPSETS.contains(&version) {
        let (first, last) = (OPSETS.start(), OPSETS.end());
        return Err(format!(
            "it is of opset {version}; export the network with one from {first} to {last}"
        ));
    }
    Ok(version)
}

/// The file's tensors by name.
fn constants(graph: &proto::Graph) -> Result<HashMap<&str, Value>, LayerError> {
    let constant = |tensor| {
        let constant = Constant::new(tensor);
        let constant = constant.map_err(|why| LayerError::new(&tensor.name, why))?;
        Ok((tensor.name.as_str(), Value::Constant(Rc::new(constant))))
    };
    graph.initializer.iter().map(constant).collect()
}

/// Name, axes and shape of the picture.
fn input<'g>(
    graph: &'g proto::Graph,
    constants: &HashMap<&str, Value>,
    side: Option<usize>,
) -> Result<(&'g str, Vec<Axis>, Shape), String> {
    // Old files list their constants as inputs, too.
    let mut inputs = graph.input.iter().filter(|input| !constants.contains_key(&input.name[..]));
    let (Some(input), None) = (inputs.next(), inputs.next()) else {
        return Err("its graph reads not one input; export a network of one picture".into());
    };
    let tensor = input.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    if tensor.is_some_and(|tensor| tensor.elem_type != value::FLOAT) {
        return Err(format!("its input `{}` is not float32; export the float model", input.name));
    }
    let dims = tensor.and_then(|tensor| tensor.shape.as_ref()).map_or(&[][..], |shape| &shape.dim);
    let sizes: Vec<Option<usize>> = dims
        .iter()
        .map(|dim| dim.dim_value.and_then(|value| usize::try_from(value).ok()))
        .collect();
    let (batch, a, b, c) = match (&sizes[..], side) {
        (&[batch, Some(a), Some(b), Some(c)], _) => (batch, a, b, c),
        (&[batch, Some(channels), None, None], Some(side)) => (batch, channels, side, side),
        (&[batch, None, None, Some(channels)], Some(side)) => (batch, side, side, channels),
        _ => {
            return Err(format!(
                "its input `{}` has no fixed size of 4 axes; export it for pictures of one size, \
                 batch × channels × height × width, or give their --side",
                input.name
            ));
        }
    };
    if batch.is_some_and(|batch| batch > 1) {
        return Err(format!("its input is a batch of {batch:?}; export it with a batch of 1"));
    }
    if !PICTURE_CHANNELS.contains(&a) && PICTURE_CHANNELS.contains(&c) {
        let axes = vec![Axis::Batch, Axis::Height, Axis::Width, Axis::Channels];
        return Ok((&input.name, axes, [a, b, c]));
    }
    Ok((&input.name, CHANNELS_FIRST.into(), [b, c, a]))
}

/// The network so far, and what stands behind each name.
struct Reader<'g> {
    builder: Builder,
    values: HashMap<&'g str, Value>,
    opset: i64,
}

impl<'g> Reader<'g> {
    fn add(&mut self, node: &Node<'g>) -> Result<(), LayerError> {
        let value = self.value_of(node)?;
        let output = node.proto.output.first().ok_or_else(|| node.wrong("it gives nothing"))?;
        if self.values.insert(output, value).is_some() {
            return Err(node.wrong(format!("it overwrites `{output}`; the file is damaged")));
        }
        Ok(())
    }

    fn shape(&self, live: &Live) -> Shape {
        self.builder.shape(live.value)
    }

    /// What stands behind a node's input; none if it is left out.
    fn optional(&self, node: &Node, index: usize) -> Result<Option<&Value>, LayerError> {
        match node.proto.input.get(index).map_or("", String::as_str) {
            "" => Ok(None),
            name => self.values.get(name).map(Some).ok_or_else(|| {
                node.wrong(format!("it reads `{name}`, which no node before it gives"))
            }),
        }
    }

    fn input(&self, node: &Node, index: usize) -> Result<&Value, LayerError> {
        self.optional(node, index)?.ok_or_else(|| node.wrong(format!("it lacks input {index}")))
    }

    /// An input that is computed.
    fn live(&self, node: &Node, index: usize) -> Result<Live, LayerError> {
        match self.input(node, index)? {
            Value::Live(live) => Ok(live.clone()),
            Value::Constant(_) => Err(node.wrong(format!(
                "its input {index} is a constant; simplify the model when exporting it"
            ))),
        }
    }

    /// An input that is in the file; none if it is left out.
    fn constant(&self, node: &Node, index: usize) -> Result<Option<Rc<Constant>>, LayerError> {
        match self.optional(node, index)? {
            None => Ok(None),
            Some(Value::Constant(constant)) => Ok(Some(constant.clone())),
            Some(Value::Live(_)) => Err(node.wrong(format!(
                "its input {index} is computed; only one that is constant is understood"
            ))),
        }
    }

    /// Weights that the node can't do without.
    fn weights(&self, node: &Node, index: usize) -> Result<Rc<Constant>, LayerError> {
        let constant = self.constant(node, index)?;
        let constant = constant.ok_or_else(|| node.wrong(format!("it lacks input {index}")))?;
        match constant.floats() {
            Some(_) => Ok(constant),
            None => Err(node.wrong(format!("its input {index} is no float tensor"))),
        }
    }

    /// Integers from a setting or, as of later opsets, from an input.
    fn ints(&self, node: &Node, name: &str, index: usize) -> Result<Option<Vec<i64>>, LayerError> {
        if let Some(ints) = node.ints(name) {
            return Ok(Some(ints.to_vec()));
        }
        let Some(constant) = self.constant(node, index)? else { return Ok(None) };
        let ints = constant.ints().ok_or_else(|| node.wrong(format!("its {name} are floats")))?;
        Ok(Some(ints.to_vec()))
    }

    fn finish(self, graph: &proto::Graph) -> Result<Layers, Fault> {
        let [output] = &graph.output[..] else {
            let n = graph.output.len();
            let why = format!("its graph gives {n} outputs; export a network of one");
            return Err(Fault::Format(why));
        };
        let name = &output.name;
        match self.values.get(name.as_str()) {
            Some(Value::Live(Live { value, flattened: None, .. })) => {
                Ok(self.builder.finish(*value)?)
            }
            Some(Value::Live(_)) => Err(Fault::Format(format!(
                "its output `{name}` is a flattened picture; export a network that gives logits"
            ))),
            _ => Err(Fault::Format(format!("its output `{name}` is never computed"))),
        }
    }
}
