use super::super::super::float::{Layer, Padding, lower};
use super::proto::{
    Attribute, Dimension, Graph, Model, Node, OperatorSet, Tensor, TensorShape, TensorType, Type,
    ValueInfo,
};
use super::value::{FLOAT, INT64};
use super::*;

fn floats(name: &str, dims: &[i64]) -> Tensor {
    let len = dims.iter().product::<i64>() as usize;
    let float_data = (0..len).map(|i| (i % 7) as f32 + 1.0).collect();
    Tensor { name: name.into(), dims: dims.into(), data_type: FLOAT, float_data, ..<_>::default() }
}

fn ints(name: &str, values: &[i64]) -> Tensor {
    let (dims, int64_data) = (vec![values.len() as i64], values.to_vec());
    Tensor { name: name.into(), dims, data_type: INT64, int64_data, ..<_>::default() }
}

fn list(name: &str, ints: &[i64]) -> Attribute {
    Attribute { name: name.into(), ints: ints.into(), ..<_>::default() }
}

fn int(name: &str, i: i64) -> Attribute {
    Attribute { name: name.into(), i, ..<_>::default() }
}

fn text(name: &str, s: &str) -> Attribute {
    Attribute { name: name.into(), s: s.into(), ..<_>::default() }
}

/// A node `n7` that gives `y`.
fn node(op_type: &str, input: &[&str], attribute: &[Attribute]) -> Node {
    Node {
        op_type: op_type.into(),
        name: "n7".into(),
        input: input.iter().map(|name| (*name).into()).collect(),
        output: vec!["y".into()],
        attribute: attribute.into(),
        ..<_>::default()
    }
}

/// A model of a picture `x` of these axes, whose output is `y`.
fn model(dims: &[i64], node: &[Node], initializer: &[Tensor]) -> Model {
    let dim = |size: &i64| Dimension { dim_value: Some(*size), dim_param: None };
    let shape = TensorShape { dim: dims.iter().map(dim).collect() };
    let tensor_type = TensorType { elem_type: FLOAT, shape: Some(shape) };
    let r#type = Some(Type { tensor_type: Some(tensor_type) });
    let graph = Graph {
        node: node.into(),
        initializer: initializer.into(),
        input: vec![ValueInfo { name: "x".into(), r#type }],
        output: vec![ValueInfo { name: "y".into(), r#type: None }],
    };
    let opset_import = vec![OperatorSet { domain: String::new(), version: 13 }];
    Model { ir_version: 8, graph: Some(graph), opset_import }
}

fn read(model: &Model) -> Result<Layers, Fault> {
    parse(&model.encode_to_vec(), None)
}

/// What is wrong with a node over a picture of 2 channels and 6×8 pixels.
fn refused(node: Node, constants: &[Tensor]) -> String {
    read(&model(&[1, 2, 6, 8], &[node], constants)).unwrap_err().to_string()
}

#[test]
fn operators_not_understood_are_refused_by_name() {
    for op_type in ["Erf", "Sigmoid", "LeakyRelu", "ConvTranspose", "Resize", "QuantizeLinear"] {
        let error = refused(node(op_type, &["x"], &[]), &[]);
        assert!(error.starts_with(&format!("layer `n7`: {op_type}: ")), "{error}");
        assert!(error.contains("export the network without it"), "{error}");
    }
    let foreign = Node { domain: "com.example".into(), ..node("Relu", &["x"], &[]) };
    assert!(refused(foreign, &[]).contains("com.example"));
}

#[test]
fn settings_not_understood_are_refused_by_name() {
    let [pads, kernel] = [list("pads", &[0, 0, 1, 1]), list("kernel_shape", &[3, 3])];
    let conv = |attributes: &[Attribute]| node("Conv", &["x", "w"], attributes);
    let w = [floats("w", &[4, 2, 3, 3])];
    for (node, constants, word) in [
        (conv(&[list("dilations", &[2, 2])]), &w[..], "dilated"),
        (conv(&[int("group", 2)]), &w, "2 groups"),
        (conv(&[list("strides", &[0, 1])]), &w, "strides [0, 1]"),
        (conv(&[list("pads", &[-1, 0, 0, 0])]), &w, "pads [-1"),
        (conv(&[text("auto_pad", "ODD")]), &w, "ODD"),
        (conv(&[]), &[floats("w", &[4, 3, 3, 3])], "over 2 channels"),
        (conv(&[]), &[floats("w", &[4, 2, 3])], "4 axes"),
        (conv(&[]), &[], "reads `w`"),
        (node("Conv", &["x"], &[]), &[], "lacks input 1"),
        (node("Clip", &["x", "w"], &[]), &[floats("w", &[1])], "ReLU6"),
        (node("Softmax", &["x"], &[]), &[], "logits"),
        (node("AveragePool", &["x"], &[kernel, pads, int("count_include_pad", 1)]), &[], "padding"),
        (node("MaxPool", &["x"], &[list("kernel_shape", &[1 << 40, 2])]), &[], "kernel"),
        (node("ReduceMean", &["x"], &[list("axes", &[1])]), &[], "height and width"),
        (node("Pad", &["x", "w"], &[text("mode", "reflect")]), &[ints("w", &[0; 8])], "reflect"),
        (node("Pad", &["x", "w"], &[]), &[ints("w", &[0, 1, 0, 0, 0, 0, 0, 0])], "pads"),
        (node("Mul", &["x", "w"], &[]), &[floats("w", &[6, 8])], "one value per channel"),
        (node("Mul", &["x", "x"], &[]), &[], "one constant per channel"),
        (node("Concat", &["x", "x"], &[int("axis", 2)]), &[], "channels can be joined"),
        (node("Reshape", &["x", "w"], &[]), &[ints("w", &[1, 4, 24])], "from [1, 2, 6, 8]"),
        (node("Transpose", &["x"], &[list("perm", &[0, 1, 1, 2])]), &[], "perm"),
        (node("Squeeze", &["x"], &[list("axes", &[0])]), &[], "takes away"),
        (node("Flatten", &["x"], &[int("axis", 2)]), &[], "second axis"),
        (node("Gemm", &["x", "w"], &[]), &[floats("w", &[2, 3])], "don't fit"),
    ] {
        let op_type = node.op_type.clone();
        let error = refused(node, constants);
        assert!(error.starts_with(&format!("layer `n7`: {op_type}: ")), "{error}");
        assert!(error.contains(word), "{word}: {error}");
    }
}

#[test]
fn tensors_not_understood_are_refused_by_name() {
    let add = || node("Add", &["x", "w"], &[]);
    let external = Tensor { data_location: 1, ..floats("w", &[1]) };
    let half = Tensor { data_type: 10, ..floats("w", &[1]) };
    let short = Tensor { dims: vec![2, 1, 1], ..floats("w", &[1]) };
    let forged = Tensor { dims: vec![1 << 62, 1 << 62], ..floats("w", &[1]) };
    let odd = Tensor { raw_data: vec![1, 2, 3], ..floats("w", &[1]) };
    for (tensor, word) in [
        (external, "external data"),
        (half, "float16"),
        (short, "damaged"),
        (forged, "damaged"),
        (odd, "damaged"),
    ] {
        let error = refused(add(), &[tensor]);
        assert!(error.starts_with("layer `w`: ") && error.contains(word), "{error}");
    }
}

#[test]
fn graphs_not_understood_say_what_to_do() {
    let relu = || [node("Relu", &["x"], &[])];
    let good = model(&[1, 2, 6, 8], &relu(), &[]);
    assert!(read(&good).is_ok());
    let with = |change: &dyn Fn(&mut Model)| {
        let mut model = good.clone();
        change(&mut model);
        read(&model).unwrap_err().to_string()
    };
    let old = with(&|model| model.opset_import[0].version = 6);
    assert!(old.contains("opset 6") && old.contains("from 7 to 22"), "{old}");
    let none = with(&|model| model.opset_import.clear());
    assert!(none.contains("no opset"), "{none}");
    for dims in [&[4, 2, 6, 8][..], &[1, 2, 6], &[1, 2, -1, 8]] {
        let error = read(&model(dims, &relu(), &[])).unwrap_err().to_string();
        assert!(error.contains("export it"), "{error}");
    }
    let two = with(&|model| {
        let graph = model.graph.as_mut().unwrap();
        graph.output.push(graph.output[0].clone());
    });
    assert!(two.contains("2 outputs"), "{two}");
    let lost = with(&|model| model.graph.as_mut().unwrap().output[0].name = "z".into());
    assert!(lost.contains("never computed"), "{lost}");
    let again = with(&|model| model.graph.as_mut().unwrap().node.push(relu()[0].clone()));
    assert!(again.contains("overwrites"), "{again}");
}

#[test]
fn a_dense_layer_reads_flattened_channels_in_the_file_s_order() {
    let flatten = Node { output: vec!["f".into()], ..node("Flatten", &["x"], &[]) };
    let gemm = node("Gemm", &["f", "w"], &[int("transB", 1)]);
    let mut w = floats("w", &[1, 4]);
    w.float_data = vec![1.0, 2.0, 30.0, 40.0];
    // Two channels of 1×2 pixels: 1 2 and 3 4; here pixel by pixel.
    let layers = read(&model(&[1, 2, 1, 2], &[flatten, gemm], &[w])).unwrap();
    let found = lower(&layers).unwrap().outputs(&[1.0, 3.0, 2.0, 4.0]);
    assert_eq!(found, [1.0 + 2.0 * 2.0 + 3.0 * 30.0 + 4.0 * 40.0]);
}

#[test]
fn same_lower_pads_the_odd_row_above() {
    let attributes = [text("auto_pad", "SAME_LOWER"), list("strides", &[2, 2])];
    let conv = node("Conv", &["x", "w"], &attributes);
    let layers = read(&model(&[1, 2, 6, 8], &[conv], &[floats("w", &[4, 2, 3, 3])])).unwrap();
    let Layer::Conv(filter) = &layers.nodes()[1].layer else { panic!("{layers:?}") };
    let Padding::Explicit(margins) = filter.window.padding else { panic!("{filter:?}") };
    assert_eq!(margins.by_axis(), [[1, 0], [1, 0]]);
}

#[test]
fn a_transpose_only_renames_axes() {
    let transpose = |from: &str, to: &str, perm: &[i64]| Node {
        output: vec![to.into()],
        ..node("Transpose", &[from], &[list("perm", perm)])
    };
    let pool = Node { output: vec!["p".into()], ..node("GlobalAveragePool", &["t"], &[]) };
    let nodes = [transpose("x", "t", &[0, 3, 1, 2]), pool, transpose("p", "y", &[0, 2, 3, 1])];
    let layers = read(&model(&[1, 6, 8, 3], &nodes, &[])).unwrap();
    assert_eq!(layers.nodes().len(), 2);
    assert_eq!(layers.shape(1), [1, 1, 3]);
}
