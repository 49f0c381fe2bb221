//! Networks of random weights: speed does not hang on what the weights are.

use std::collections::BTreeMap;

use anyhow::Context;
use mien::face::normalization::Normalization;
use mien::lab::checkpoint::{Checkpoint, initialize};
use mien::lab::float::layers::Filter;
use mien::lab::float::{Activation, FloatGraph, Layer, Layers, Padding, Window, lower};
use mien::lab::network::{Graph, INPUT_SIDE, Preset};
use mien::lab::quantize::{Rounding, Settings, quantize};
use mien::lab::tflite;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// What the codes of a standardized face count in.
const CODES_A_DEVIATION: f32 = 32.0;

/// A network's file, quantized on faces as the shipped network reads them.
pub fn quantized(graph: FloatGraph) -> Vec<u8> {
    let pictures: Vec<f32> = include_bytes!("../../tests/data/golden_inputs.i8")
        .iter()
        .map(|&code| f32::from(code.cast_signed()) / CODES_A_DEVIATION)
        .collect();
    let bounds = Normalization::Standardized.bounds();
    let settings = Settings { rounding: Rounding::Nearest, ..Settings::default() };
    let quantized = quantize(graph, bounds, settings, &pictures, BTreeMap::new());
    tflite::write(&quantized.expect("random weights are small").network)
}

/// The preset `reference`.
pub fn reference() -> anyhow::Result<FloatGraph> {
    let mut rng = Pcg64::seed_from_u64(2);
    let preset = Preset::named("reference").context("no such preset")?;
    let params = initialize(&Graph::build(&preset), || normal(&mut rng));
    Ok(FloatGraph::of_checkpoint(&Checkpoint { preset, params, notes: BTreeMap::new() })?)
}

/// MobileNet v1 (Howard et al. 2017) for small pictures: seven of its blocks, up to 512 channels.
pub fn mobilenet() -> anyhow::Result<FloatGraph> {
    let mut rng = Pcg64::seed_from_u64(3);
    // He's initialization: each output sums `fan_in` products.
    let mut filter = |fan_in: usize, outputs: usize, window: Window, activation| {
        let deviation = (2.0 / fan_in as f32).sqrt();
        let weights = (0..fan_in * outputs).map(|_| deviation * normal(&mut rng)).collect();
        Filter { weights, bias: None, window, activation }
    };
    let three = |stride| Window { kernel: [3; 2], stride: [stride; 2], padding: Padding::Same };
    let mut channels = 32;
    let mut layers = Layers::new("input", [INPUT_SIDE, INPUT_SIDE, 1])?;
    let stem = filter(9, channels, three(2), Activation::Relu);
    let mut x = layers.push("stem", Layer::Conv(stem), &[0])?;
    for (block, (outputs, stride)) in
        [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)]
            .into_iter()
            .enumerate()
    {
        let depthwise = filter(9, channels, three(stride), Activation::Relu);
        x = layers.push(&format!("depthwise{block}"), Layer::Depthwise(depthwise), &[x])?;
        let pointwise = filter(channels, outputs, Window::PIXEL, Activation::Relu);
        x = layers.push(&format!("pointwise{block}"), Layer::Conv(pointwise), &[x])?;
        channels = outputs;
    }
    x = layers.push("mean", Layer::GlobalAveragePool, &[x])?;
    let dense = filter(channels, 7, Window::PIXEL, Activation::None);
    layers.push("logits", Layer::Dense(dense), &[x])?;
    Ok(lower(&layers)?)
}

/// About normal: mean 0, deviation 1.
fn normal(rng: &mut Pcg64) -> f32 {
    (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0
}
