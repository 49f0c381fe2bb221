//! The engine, tract and LiteRT give the same bytes for the same input, on the shipped model and on
//! random networks of the family.
//!
//! LiteRT runs in Python: `MIEN_LITERT_PYTHON` names an interpreter with PyPI's `ai-edge-litert`.
//! Without it the test is skipped, but not where `CI` is set.
#![cfg(feature = "lab")]

#[path = "common/growing.rs"]
mod growing;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use growing::{Growing, Kinds};
use mien::engine::{Model, Quantization};
use mien::face::normalization::Normalization;
use mien::lab::checkpoint::{Checkpoint, initialize};
use mien::lab::executor::{Executor, Weights};
use mien::lab::float::layers::Filter;
use mien::lab::float::window::Margins;
use mien::lab::float::{Activation, FloatGraph, Layer, Layers, Padding, Window, lower};
use mien::lab::network::{Block, Down, Graph, Preset};
use mien::lab::quantize::interpret::interpret;
use mien::lab::quantize::{Settings, quantize};
use mien::lab::tflite::{self, Int8Network, Int8Op, Step, Value};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Values of the input, one face of 48×48.
const INPUT_LEN: usize = 48 * 48;

/// Inputs per model: enough that a rounding rule that differs would show.
const INPUTS: usize = 64;

/// Of these the first few also run through the plain interpreter.
const PLAIN_INPUTS: usize = 6;

fn python() -> Option<PathBuf> {
    let python = std::env::var_os("MIEN_LITERT_PYTHON").map(PathBuf::from);
    if python.is_none() {
        let why = "MIEN_LITERT_PYTHON names no Python with ai-edge-litert";
        assert!(std::env::var_os("CI").is_none(), "{why}");
        // Not by `println!`, which the test runner keeps to itself.
        let _ = writeln!(std::io::stderr(), "skipped: {why}");
    }
    python
}

/// LiteRT's codes for pictures of input codes.
fn litert(python: &Path, file: &Path, inputs: &[i8]) -> Vec<i8> {
    let dir = tempfile::tempdir().unwrap();
    let (source, sink) = (dir.path().join("inputs"), dir.path().join("outputs"));
    std::fs::write(&source, inputs.iter().map(|code| code.cast_unsigned()).collect::<Vec<u8>>())
        .unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/litert.py");
    let run = Command::new(python).args([&script, file, &source, &sink]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    std::fs::read(&sink).unwrap().into_iter().map(u8::cast_signed).collect()
}

/// Runs a model file in all three and compares every byte.
fn assert_same_bytes(python: &Path, file: &Path) {
    let model = Model::read(file).unwrap();
    let inputs = inputs(&model);
    let litert = litert(python, file, &inputs);
    let tract = model.run_raw_by_reference(&inputs).unwrap();
    assert!(model.is_planned(), "{file:?}");
    assert_eq!(model.run_raw(&inputs).unwrap(), tract, "{file:?}");
    let differing = litert.iter().zip(&tract).filter(|(a, b)| a != b).count();
    assert!(litert.len() == tract.len() && differing == 0, "{file:?}: {differing} codes differ");
    let mut distinct = tract.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.len() > 8, "{file:?}: the outputs hardly vary, so they prove little");
}

/// Noise at several contrasts, plain blobs, and the extremes of the code.
fn inputs(model: &Model) -> Vec<i8> {
    let mut rng = Pcg64::seed_from_u64(7);
    let mut codes = Vec::with_capacity(INPUTS * INPUT_LEN);
    for i in 0..INPUTS {
        match i {
            0 => codes.extend([i8::MIN; INPUT_LEN]),
            1 => codes.extend([i8::MAX; INPUT_LEN]),
            _ if i % 2 == 0 => codes.extend((0..INPUT_LEN).map(|_| rng.random::<i8>())),
            _ => codes.extend(blobs(&mut rng).iter().map(|&value| model.input().quantize(value))),
        }
    }
    codes
}

/// A picture with the low frequencies of a face: some dark and light spots, standardized about.
fn blobs(rng: &mut Pcg64) -> Vec<f32> {
    let mut number = |low: f32, high: f32| low + (high - low) * rng.random::<f32>();
    let spots: Vec<[f32; 4]> = (0..12)
        .map(|_| [number(0.0, 48.0), number(0.0, 48.0), number(2.0, 10.0), number(-2.0, 2.0)])
        .collect();
    let value = |y: f32, x: f32| -> f32 {
        let spot = |[cy, cx, r, height]: &[f32; 4]| {
            height * (-((y - cy).powi(2) + (x - cx).powi(2)) / (2.0 * r * r)).exp()
        };
        spots.iter().map(spot).sum()
    };
    (0..INPUT_LEN).map(|i| value((i / 48) as f32, (i % 48) as f32)).collect()
}

/// A network of random weights whose batch norms know its activations, as after training.
fn random_checkpoint(preset: Preset) -> Checkpoint {
    let mut rng = Pcg64::seed_from_u64(11);
    let graph = Graph::build(&preset);
    let mut draw = Pcg64::seed_from_u64(5);
    let params = initialize(&graph, || (0..12).map(|_| draw.random::<f32>()).sum::<f32>() - 6.0);
    let mut weights = Weights::from_params(&graph, &params).unwrap();
    let pictures: Vec<f32> = (0..16).flat_map(|_| blobs(&mut rng)).collect();
    let mut executor = Executor::new(graph.clone());
    for _ in 0..40 {
        executor.train_forward(&mut weights, &pictures, &mut rng);
    }
    Checkpoint { preset, params: weights.to_params(&graph), notes: BTreeMap::new() }
}

fn assert_random_network_is_the_same(preset: Preset) {
    assert_graph_is_the_same(FloatGraph::of_checkpoint(&random_checkpoint(preset)).unwrap());
}

fn assert_graph_is_the_same(graph: FloatGraph) {
    let Some(python) = python() else { return };
    let mut rng = Pcg64::seed_from_u64(3);
    let pictures: Vec<f32> = (0..32).flat_map(|_| blobs(&mut rng)).collect();
    let network = quantize(
        graph,
        Normalization::Standardized.bounds(),
        Settings::default(),
        &pictures,
        BTreeMap::new(),
    )
    .unwrap()
    .network;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("random.tflite");
    std::fs::write(&file, tflite::write(&network)).unwrap();
    assert_same_bytes(&python, &file);
    // What was written is read again, and the plain arithmetic says the same.
    assert_eq!(tflite::read("random", &std::fs::read(&file).unwrap()).unwrap().1, network);
    let model = Model::read(&file).unwrap();
    for codes in inputs(&model).chunks_exact(INPUT_LEN).take(PLAIN_INPUTS) {
        assert_eq!(model.run_raw(codes).unwrap(), interpret(&network, codes));
    }
}

#[test]
fn slim() {
    assert_random_network_is_the_same(Preset::named("slim").unwrap());
}

#[test]
fn reference() {
    assert_random_network_is_the_same(Preset::named("reference").unwrap());
}

/// Widths that fill no vector register, max pooling next to stride, an identity shortcut on a
/// pooled ReLU, and a head that is too large to take the pooling in.
#[test]
fn odd_widths() {
    let block = Block::new;
    assert_random_network_is_the_same(Preset {
        name: "odd".into(),
        stem: [5, 13],
        stem_stride: 1,
        stem_norm_after_relu: false,
        stem_pool: true,
        blocks: vec![
            block(13, 1, Down::No),
            block(19, 3, Down::MaxPool),
            block(27, 1, Down::Stride),
        ],
        relu_after_add: false,
        dropout: 0.1,
    });
}

/// The batch norm after the ReLU, read by a pooled block of depth 2 and by its shortcut.
#[test]
fn norm_after_relu() {
    let block = Block::new;
    assert_random_network_is_the_same(Preset {
        name: "after".into(),
        stem: [7, 10],
        stem_stride: 1,
        stem_norm_after_relu: true,
        stem_pool: true,
        blocks: vec![block(10, 2, Down::No), block(33, 2, Down::MaxPool)],
        relu_after_add: true,
        dropout: 0.0,
    });
}

#[test]
fn shipped_model() {
    let Some(python) = python() else { return };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mien-slim.tflite");
    assert_same_bytes(&python, &file);
}

/// Random networks of all operations, also of those that tract computes otherwise.
#[test]
fn random_networks() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let side = rng.usize(8..=14);
        let mut growing =
            Growing::new(rng.fork(), Kinds::InFiles, [side, side, [1, 3][rng.usize(..2)]]);
        growing.grow();
        let last = growing.network.output;
        let [height, width, _] = growing.network.values[last].shape;
        growing.conv(last, Some(Window::whole([height, width])), 9, None);
        let file = dir.path().join("random.tflite");
        std::fs::write(&file, tflite::write(&growing.network)).unwrap();
        let model = Model::read(&file).unwrap();
        assert!(model.is_planned(), "seed {seed}");
        let inputs: Vec<i8> = (0..20 * model.input_len()).map(|_| rng.i8(..)).collect();
        let codes = model.run_raw(&inputs).unwrap();
        assert_eq!(codes, litert(&python, &file, &inputs), "seed {seed}");
        assert_eq!(codes, model.run_raw_by_reference(&inputs).unwrap(), "seed {seed}");
    }
}

/// A network that the plan refuses, its scales too far apart, runs in tract.
#[test]
fn what_can_t_be_planned_runs_in_tract() {
    let value = |name: &str, shape, scale| Value {
        name: name.into(),
        shape,
        quantization: Quantization { scale, zero_point: 0 },
    };
    let filter = tflite::Filter {
        shape: [9, 8, 8, 1],
        weights: (0..9 * 64).map(|i| (i % 3) as i8 - 1).collect(),
        scales: vec![1e10; 9],
        bias: vec![0; 9],
        window: Window::whole([8, 8]),
        activation: Activation::None,
    };
    let network = Int8Network {
        values: vec![value("in", [8, 8, 1], 1e20), value("out", [1, 1, 9], 1e-30)],
        steps: vec![Step { op: Int8Op::Conv(filter), inputs: vec![0], output: 1 }],
        input: 0,
        output: 1,
        metadata: BTreeMap::new(),
    };
    let model = Model::from_bytes("apart", &tflite::write(&network)).unwrap();
    assert_eq!(model.engine(), "tract");
    let codes: Vec<i8> = (0..2 * 64).map(|i| i as i8).collect();
    assert_eq!(model.run_raw(&codes).unwrap(), model.run_raw_by_reference(&codes).unwrap());
    assert_eq!(model.run_raw(&codes).unwrap().len(), 18);
}

/// What the family does not use and other makers' networks do: windows of two and five pixels
/// without padding or padded as PyTorch does, ReLU6, an activation after a sum, joined channels, an
/// average under a window, dense layers.
#[test]
fn other_makers_layers() {
    let mut rng = Pcg64::seed_from_u64(17);
    let mut number = |size: f32| size * (2.0 * rng.random::<f32>() - 1.0);
    let mut filter = |outputs: usize, each: usize, window: Window, activation| Filter {
        weights: (0..outputs * each).map(|_| number((6.0 / each as f32).sqrt())).collect(),
        bias: Some((0..outputs).map(|_| number(0.1)).collect()),
        window,
        activation,
    };
    let window =
        |kernel: [usize; 2], stride, padding| Window { kernel, stride: [stride; 2], padding };
    let around = Margins { top: 1, bottom: 1, left: 1, right: 1 };
    let mut layers = Layers::new("in", [48, 48, 1]).unwrap();
    let mut push = |name: &str, layer, inputs: &[usize]| layers.push(name, layer, inputs).unwrap();
    let padded = window([3, 3], 2, Padding::Explicit(around));
    let a = push("a", Layer::Conv(filter(7, 9, padded, Activation::Relu6)), &[0]);
    let b = push("b", Layer::MaxPool(window([2, 2], 2, Padding::Valid)), &[a]);
    let high = window([5, 1], 1, Padding::Same);
    let c = push("c", Layer::Conv(filter(7, 35, high, Activation::None)), &[b]);
    let sum = push("sum", Layer::Add, &[b, c]);
    let sum = push("sum_relu", Layer::Activation(Activation::Relu), &[sum]);
    let even = window([2, 2], 1, Padding::Same);
    let d = push("d", Layer::Depthwise(filter(7, 4, even, Activation::Relu)), &[sum]);
    // Zeros that no window takes, for once as a layer, and a mean over less than its window.
    let pooled = push("pooled", Layer::MaxPool(window([3, 3], 1, Padding::Explicit(around))), &[d]);
    let corner = Margins { bottom: 1, right: 1, ..Margins::default() };
    let cornered = push("cornered", Layer::Pad(corner), &[sum]);
    let blurred =
        push("blurred", Layer::AveragePool(window([3, 3], 1, Padding::Same)), &[cornered]);
    let blurred = push("cut", Layer::MaxPool(window([2, 2], 1, Padding::Valid)), &[blurred]);
    let joined = push("joined", Layer::Concat, &[sum, d, b, pooled, blurred]);
    let mean = push("mean", Layer::AveragePool(window([2, 3], 2, Padding::Valid)), &[joined]);
    let last = window([3, 3], 1, Padding::Valid);
    let e = push("e", Layer::Conv(filter(6, 9 * 35, last, Activation::Relu)), &[mean]);
    let flat = push("flat", Layer::Flatten, &[e]);
    let values = layers.shape(flat)[2];
    let dense = filter(16, values, Window::PIXEL, Activation::Relu);
    let dense = layers.push("dense", Layer::Dense(dense), &[flat]).unwrap();
    let logits = filter(9, 16, Window::PIXEL, Activation::None);
    let logits = layers.push("logits", Layer::Dense(logits), &[dense]).unwrap();
    layers.push("softmax", Layer::Softmax, &[logits]).unwrap();
    assert_graph_is_the_same(lower(&layers).unwrap());
}
