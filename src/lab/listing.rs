//! A network as a table for people: one row a value, in execution order.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::float::{Activation, FloatGraph, Kernel, Layers, Op, Padding, Window};
use super::network::Shape;
use super::tflite::{Filter, Int8Network, Int8Op};
use crate::engine::Quantization;

/// Characters of a name that are shown.
const MAX_NAME: usize = 40;

/// Characters of an entry of metadata that are shown.
const MAX_ENTRY: usize = 100;

/// A value and how it comes to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// As the file has it.
    pub name: String,
    /// What computes it.
    pub operation: String,
    /// Rows that it reads.
    pub inputs: Vec<usize>,
    /// Height, width and channels.
    pub shape: Shape,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of weights and biases, scales not counted.
    pub weight_bytes: usize,
    /// The value's code, of an int8 network.
    pub code: Option<Quantization>,
    /// Least and greatest scale of an int8 filter's output channels.
    pub weight_scales: Option<[f32; 2]>,
}

/// Of a float network, weights as f32.
pub fn of_float(graph: &FloatGraph) -> Vec<Row> {
    let row = |node: &super::float::Node| Row {
        name: node.name.clone(),
        operation: match &node.op {
            Op::Input => "input".into(),
            Op::Conv(Kernel { window, activation, .. }) => slid("conv", window, *activation),
            Op::Depthwise(Kernel { window, activation, .. }) => {
                slid("depthwise", window, *activation)
            }
            Op::MaxPool(window) => slid("max pool", window, Activation::None),
            Op::AveragePool(window) => slid("average pool", window, Activation::None),
            Op::Pad(margins) => format!("pad {margins}"),
            Op::Add(activation) => format!("add{}", followed_by(*activation)),
            Op::Concat => "concat".into(),
        },
        inputs: node.inputs.clone(),
        shape: node.shape,
        macs: node.macs(),
        weight_bytes: node.op.kernel().map_or(0, |k| 4 * (k.weights.len() + k.bias.len())),
        code: None,
        weight_scales: None,
    };
    graph.nodes.iter().map(row).collect()
}

/// Of an int8 network: weights of one byte, biases of four.
pub fn of_int8(network: &Int8Network) -> Vec<Row> {
    let mut rows: Vec<Row> = (network.values.iter())
        .map(|value| Row {
            name: value.name.clone(),
            operation: "input".into(),
            inputs: Vec::new(),
            shape: value.shape,
            macs: 0,
            weight_bytes: 0,
            code: Some(value.quantization),
            weight_scales: None,
        })
        .collect();
    for step in &network.steps {
        let row = &mut rows[step.output];
        row.inputs = step.inputs.clone();
        row.operation = match &step.op {
            Int8Op::Conv(Filter { window, activation, .. }) => slid("conv", window, *activation),
            Int8Op::Depthwise(Filter { window, activation, .. }) => {
                slid("depthwise", window, *activation)
            }
            Int8Op::MaxPool(window, activation) => slid("max pool", window, *activation),
            Int8Op::AveragePool(window, activation) => slid("average pool", window, *activation),
            Int8Op::Mean => "mean".into(),
            Int8Op::Pad(_) => "pad".into(),
            Int8Op::Space(by) => format!("zeros between, by {by:?}"),
            Int8Op::Add(activation) => format!("add{}", followed_by(*activation)),
            Int8Op::Subtract(activation) => format!("subtract{}", followed_by(*activation)),
            Int8Op::Multiply(activation) => format!("multiply{}", followed_by(*activation)),
            Int8Op::Unary(unary) => unary.name().into(),
            Int8Op::Prelu => "prelu".into(),
            Int8Op::Constant(_) => "constant".into(),
            Int8Op::Reshape => "reshape".into(),
            Int8Op::Concat => "concat".into(),
            Int8Op::InTract(operator) => format!("{} in tract", operator.name()),
        };
        if let Int8Op::InTract(operator) = &step.op {
            row.macs = operator.macs() as u64;
        }
        if let Int8Op::Conv(filter) | Int8Op::Depthwise(filter) = &step.op {
            let [h, w, _] = row.shape;
            row.macs = (h * w * filter.weights.len()) as u64;
            row.weight_bytes = filter.weights.len() + 4 * filter.bias.len();
            let scales = filter.scales.iter().copied();
            row.weight_scales =
                scales.clone().reduce(f32::min).zip(scales.reduce(f32::max)).map(<[f32; 2]>::from);
        }
    }
    rows
}

/// Layers that became no operation of their own, for they went into others'.
pub fn folded<'l>(layers: &'l Layers, graph: &FloatGraph) -> Vec<&'l str> {
    let is_left = |name: &str| graph.nodes.iter().any(|node| node.name == name);
    layers.nodes().iter().map(|node| &*node.name).filter(|name| !is_left(name)).collect()
}

/// The rows as a table with sums below.
pub fn text(rows: &[Row]) -> String {
    let cells: Vec<[String; 7]> = rows.iter().enumerate().map(|(i, row)| cells(i, row)).collect();
    let head = ["", "name", "operation", "reads", "gives", "kMAC", "bytes"].map(String::from);
    let width = |column: usize| {
        let all = cells.iter().chain([&head]);
        all.map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let widths: [usize; 7] = std::array::from_fn(width);
    let line = |cells: &[String; 7], code: &str| {
        let padded = cells.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            // Numbers to the right.
            if column == 0 || column > 4 {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        });
        format!("{}  {code}", padded.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
    };
    let is_int8 = rows.iter().any(|row| row.code.is_some());
    let head_of_codes = "scale, zero point; weights' scales, least to greatest";
    let mut text = line(&head, if is_int8 { head_of_codes } else { "" }) + "\n";
    for (cells, row) in cells.iter().zip(rows) {
        let _ = writeln!(text, "{}", line(cells, &codes(row)));
    }
    let macs: u64 = rows.iter().map(|row| row.macs).sum();
    let bytes: usize = rows.iter().map(|row| row.weight_bytes).sum();
    let most = (rows.iter()).map(|row| row.shape.iter().product::<usize>()).max().unwrap_or(0);
    let _ = writeln!(
        text,
        "{:.2} million multiply-accumulates, {bytes} bytes of weights and biases, values of up to {most}",
        macs as f64 / 1e6
    );
    text
}

/// What a file says of itself, one entry a line, long ones cut short.
pub fn metadata(entries: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, value) in entries {
        let end = value.char_indices().nth(MAX_ENTRY).map(|(at, _)| at);
        let cut = end.map_or_else(|| value.clone(), |at| format!("{}…", &value[..at]));
        let _ = writeln!(text, "{name}: {}", cut.replace('\n', " "));
    }
    text
}

fn cells(index: usize, row: &Row) -> [String; 7] {
    let [h, w, c] = row.shape;
    let some = |number: u64| if number == 0 { String::new() } else { number.to_string() };
    let inputs: Vec<String> = row.inputs.iter().map(ToString::to_string).collect();
    [
        index.to_string(),
        shortened(&row.name),
        row.operation.clone(),
        inputs.join(" "),
        format!("{h}×{w}×{c}"),
        some(row.macs.div_ceil(1000)),
        some(row.weight_bytes as u64),
    ]
}

/// How values and weights are coded.
fn codes(row: &Row) -> String {
    let value = row.code.map(|code| format!("{:.5}, {}", code.scale, code.zero_point));
    let weights = row.weight_scales.map(|[least, most]| format!("; {least:.6} to {most:.6}"));
    value.unwrap_or_default() + &weights.unwrap_or_default()
}

/// A name's end: TensorFlow joins those of all that became one operator.
fn shortened(name: &str) -> String {
    match name.char_indices().rev().nth(MAX_NAME - 1) {
        Some((at, _)) if at > 0 => format!("…{}", &name[at..]),
        _ => name.into(),
    }
}

fn slid(what: &str, window: &Window, activation: Activation) -> String {
    let Window { kernel: [h, w], stride, padding } = window;
    let stride = match stride {
        [1, 1] => String::new(),
        [a, b] if a == b => format!("/{a}"),
        [a, b] => format!("/{a}×{b}"),
    };
    let padding = match padding {
        Padding::Valid if [*h, *w] != [1, 1] => " valid",
        _ => "",
    };
    format!("{what} {h}×{w}{stride}{padding}{}", followed_by(activation))
}

fn followed_by(activation: Activation) -> &'static str {
    match activation {
        Activation::None => "",
        Activation::Relu => ", relu",
        Activation::Relu6 => ", relu6",
        Activation::ReluN1To1 => ", relu from -1 to 1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::float::{Layer, Node};

    #[test]
    fn a_network_is_listed_with_its_sums() {
        let kernel = Kernel {
            shape: [2, 3, 3, 1],
            weights: vec![0.0; 18],
            bias: vec![0.0; 2],
            window: Window { kernel: [3, 3], stride: [2, 2], padding: Padding::Same },
            activation: Activation::Relu,
        };
        let node = |name: &str, op, inputs: &[usize], shape| Node {
            name: name.into(),
            op,
            inputs: inputs.into(),
            shape,
        };
        let nodes = vec![
            node("in", Op::Input, &[], [8, 8, 1]),
            node("a", Op::Conv(kernel), &[0], [4, 4, 2]),
            node("sum", Op::Add(Activation::None), &[1, 1], [4, 4, 2]),
        ];
        let graph = FloatGraph { nodes };
        let text = text(&of_float(&graph));
        let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(lines[2], ["1", "a", "conv", "3×3/2,", "relu", "0", "4×4×2", "1", "80"]);
        assert_eq!(lines[3], ["2", "sum", "add", "1", "1", "4×4×2"]);
        let mut layers = Layers::new("in", [8, 8, 1]).unwrap();
        assert_eq!(shortened(&format!("{}é", "a".repeat(50))), format!("…{}é", "a".repeat(39)));
        layers.push("softmax", Layer::Softmax, &[0]).unwrap();
        assert_eq!(folded(&layers, &graph), ["softmax"]);
        assert!(text.ends_with("80 bytes of weights and biases, values of up to 64\n"), "{text}");
    }
}
