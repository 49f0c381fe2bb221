//! Models: lists (`Sequential`) and graphs (`Functional`) of layers, which may be models in turn.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::super::super::float::{LayerError, Layers};
use super::super::super::network::Shape;
use super::Fault;
use super::config::{Config, picture};
use super::layer::{Kind, Order, add};
use super::network::Network;
use super::weights::{Site, Weights, group_name};

/// Reads a model from its description: `{"class_name": …, "config": …}`.
pub fn read(description: &Value, weights: &Weights, side: Option<usize>) -> Result<Layers, Fault> {
    let class = text_of(description, "class_name").unwrap_or_default();
    let config = description.get("config").unwrap_or(&Value::Null);
    let Some(Kind::Model(order)) = Kind::of(class) else {
        return Err(Fault::Format(format!(
            "it is a model of class `{class}`; only Sequential and functional ones tell their layers"
        )));
    };
    let model = Model::of(config, "", "layers").map_err(Fault::Layer)?;
    let (name, shape) = model.picture(order, side).ok_or_else(|| {
        Fault::Format(
            "its input has no fixed size, or isn't one picture of height, width and channels; \
             build it with `Input((height, width, channels))`, or give the --side of its pictures"
                .into(),
        )
    })?;
    let mut network = Network::new(Layers::new(name, shape)?, weights);
    network.model(&model, order, None, 0)?;
    Ok(network.layers)
}

fn text_of<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key)?.as_str()
}

/// A model's description.
struct Model<'a> {
    config: &'a Value,
    entries: Vec<Entry<'a>>,
}

/// A layer's description.
struct Entry<'a> {
    name: &'a str,
    kind: Kind,
    config: &'a Value,
    inbound: &'a [Value],
    site: Site,
}

impl<'a> Model<'a> {
    /// `prefix` comes before its layers' names; `group` has their weights in a `.keras` file.
    fn of(config: &'a Value, prefix: &str, group: &str) -> Result<Self, LayerError> {
        // The first versions of Keras 2 describe a list by nothing else.
        let layers = config.get("layers").unwrap_or(config).as_array();
        let mut entries = Vec::new();
        let mut by_class: HashMap<&str, usize> = HashMap::new();
        for layer in layers.map(Vec::as_slice).unwrap_or_default() {
            let class = text_of(layer, "class_name").unwrap_or_default();
            let config = layer.get("config").unwrap_or(&Value::Null);
            let own = text_of(layer, "name").or(text_of(config, "name")).unwrap_or(class);
            let name = format!("{prefix}{own}");
            let kind = Kind::of(class).ok_or_else(|| Kind::refusal(&name, class))?;
            let before = by_class.entry(class).or_default();
            let group = format!("{group}/{}", group_name(class, *before));
            *before += 1;
            let top = name.split('/').next().unwrap_or_default().to_owned();
            let inbound = layer.get("inbound_nodes").and_then(Value::as_array);
            entries.push(Entry {
                name: own,
                kind,
                config,
                inbound: inbound.map(Vec::as_slice).unwrap_or_default(),
                site: Site { name, own: own.into(), top, group },
            });
        }
        Ok(Self { config, entries })
    }

    fn entry(&self, name: &str) -> Option<&Entry<'a>> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The only input.
    fn input(&self, order: Order) -> Option<&Entry<'a>> {
        match order {
            Order::List => self.entries.first(),
            Order::Graph => match references(self.config.get("input_layers")?)?.as_slice() {
                [name] => self.entry(name),
                _ => None,
            },
        }
    }

    /// Name and shape of the only input.
    fn picture(&self, order: Order, side: Option<usize>) -> Option<(&'a str, Shape)> {
        let entry = self.input(order)?;
        let own = ["batch_shape", "batch_input_shape"].iter().find_map(|k| entry.config.get(*k));
        let shape = own.or_else(|| self.config.get("build_input_shape"));
        if let Some(shape) = shape.and_then(|shape| picture(shape, side)) {
            return Some((entry.name, shape));
        }
        let Kind::Model(order) = entry.kind else { return None };
        Self::of(entry.config, "", "").ok()?.picture(order, side)
    }

    /// Name of the only output.
    fn output(&self) -> Option<&'a str> {
        match references(self.config.get("output_layers")?)?.as_slice() {
            [name] => Some(name),
            _ => None,
        }
    }
}

impl<'a> Entry<'a> {
    /// Names of the layers that it reads.
    fn sources(&self) -> Result<Vec<&'a str>, LayerError> {
        let wrong = |why: &str| LayerError::new(&self.site.name, why);
        let [node] = self.inbound else {
            return Err(wrong(match self.inbound {
                [] => "it reads nothing",
                _ => "it is used more than once; give each place a layer of its own",
            }));
        };
        let sources = match node {
            Value::Object(call) => {
                let mut sources = Vec::new();
                let parts = [call.get("args"), call.get("kwargs")];
                parts
                    .into_iter()
                    .flatten()
                    .try_for_each(|part| tensors(part, &mut sources))
                    .map(|()| sources)
            }
            node => references(node),
        };
        sources.ok_or_else(|| wrong("what it reads is not understood"))
    }
}

/// Names of the layers referred to: `["a", 0, 0]`, or a list of such.
fn references(value: &Value) -> Option<Vec<&str>> {
    let values = value.as_array()?;
    match values.first() {
        Some(Value::String(_)) => Some(vec![reference(value)?]),
        _ => values.iter().map(reference).collect(),
    }
}

/// `[layer, call, output]`: none of the layers understood has a second output, and none may be
/// called twice (a model counts a call of its own, the one when it was built).
fn reference(value: &Value) -> Option<&str> {
    match value.as_array()?.as_slice() {
        [Value::String(layer), call, output, ..] => {
            (call.is_u64() && output.as_u64() == Some(0)).then_some(layer)
        }
        _ => None,
    }
}

/// Adds the names of the layers whose values are among a call's arguments.
fn tensors<'v>(value: &'v Value, found: &mut Vec<&'v str>) -> Option<()> {
    match value {
        Value::Array(values) => values.iter().try_for_each(|value| tensors(value, found)),
        Value::Object(object) => match object.get("config").and_then(|c| c.get("keras_history")) {
            Some(history) => {
                found.push(reference(history)?);
                Some(())
            }
            None => object.values().try_for_each(|value| tensors(value, found)),
        },
        _ => Some(()),
    }
}

impl Network<'_> {
    /// Adds a model's layers; gives the value of its output. `site` is where it is in another one.
    fn model(
        &mut self,
        model: &Model,
        order: Order,
        site: Option<&Site>,
        input: usize,
    ) -> Result<usize, Fault> {
        match order {
            Order::List => {
                let mut value = input;
                for entry in &model.entries {
                    value = self.entry(entry, &[value])?;
                }
                Ok(value)
            }
            Order::Graph => self.graph(model, site, input),
        }
    }

    fn graph(&mut self, model: &Model, site: Option<&Site>, input: usize) -> Result<usize, Fault> {
        let wrong = |why: String| match site {
            Some(site) => Fault::Layer(LayerError::new(&site.name, why)),
            None => Fault::Format(why),
        };
        let (Some(input_entry), Some(output)) = (model.input(Order::Graph), model.output()) else {
            return Err(wrong("a model must have one input and one output".into()));
        };
        let by_name: HashMap<&str, &Entry> =
            model.entries.iter().map(|entry| (entry.name, entry)).collect();
        let mut values = HashMap::from([(input_entry.name, input)]);
        let mut waiting = HashSet::new();
        let mut stack = vec![output];
        while let Some(&name) = stack.last() {
            if values.contains_key(name) {
                stack.pop();
                continue;
            }
            let entry = by_name.get(name);
            let entry = entry.ok_or_else(|| wrong(format!("it has no layer `{name}`")))?;
            let sources = entry.sources()?;
            let inputs: Vec<usize> =
                sources.iter().filter_map(|source| values.get(source).copied()).collect();
            if inputs.len() == sources.len() {
                values.insert(name, self.entry(entry, &inputs)?);
            } else if waiting.insert(name) {
                stack.extend(sources);
            } else {
                return Err(LayerError::new(&entry.site.name, "it reads its own value").into());
            }
        }
        values.get(output).copied().ok_or_else(|| wrong("it has no output".into()))
    }

    fn entry(&mut self, entry: &Entry, inputs: &[usize]) -> Result<usize, Fault> {
        let site = &entry.site;
        match (entry.kind, inputs) {
            (Kind::Input, [input]) => Ok(*input),
            (Kind::Model(order), [input]) => {
                let prefix = format!("{}/", site.name);
                let model = Model::of(entry.config, &prefix, &format!("{}/layers", site.group))?;
                self.model(&model, order, Some(site), *input)
            }
            (Kind::Model(_), _) => {
                Err(LayerError::new(&site.name, "a model inside must read one value").into())
            }
            (kind, inputs) => {
                let empty = Map::new();
                let values = entry.config.as_object().unwrap_or(&empty);
                Ok(add(self, site, kind, Config { layer: &site.name, values }, inputs)?)
            }
        }
    }
}
