//! From a float network to the int8 file; `docs/quantization.md` has the arithmetic.
//!
//! [`equalize`] evens out channels, [`ties`] finds values that must share a code, [`calibrate`]
//! looks at values on real faces and chooses codes, from [`ranges`]; [`rounding`] decides which way
//! each weight is rounded, [`integer`] builds the int8 operations. [`interpret`] says plainly what
//! they compute, [`sensitivity`] what each layer's rounding costs, [`page`] draws it. [`watched`] counts
//! the pictures that were looked at.

pub mod aware;
mod calibrate;
mod equalize;
mod integer;
pub mod page;
mod ranges;
mod rounding;
pub mod sensitivity;
mod ties;
mod watched;

use std::collections::BTreeMap;

use serde::Serialize;

use super::float::FloatGraph;
use super::tflite::Int8Network;
pub use crate::engine::interpret;
pub use calibrate::Unbounded;
pub use ranges::Ranges;
pub use rounding::{MAX_WEIGHTS, Rounding, too_large};
use ties::Ties;
use watched::Watched;

/// How a network is quantized. Each repair can be left out, to see what it brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// How the ranges of activations are chosen.
    pub ranges: Ranges,
    /// Whether channels are evened out between layers.
    pub equalize: bool,
    /// How weights are rounded.
    pub rounding: Rounding,
    /// Whether biases take back the mean of what rounding the weights does.
    pub correct_bias: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ranges: Ranges::Mse,
            equalize: true,
            rounding: Rounding::Adaptive,
            correct_bias: true,
        }
    }
}

impl Settings {
    /// How often each calibration picture is looked at: for the channels' ranges, again once they are
    /// evened out, for the histograms, and for what the filters see.
    pub fn looks(&self) -> usize {
        3 + usize::from(self.equalize)
    }
}

/// A network before and after.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// The float network, its channels evened out if they were to be.
    pub graph: FloatGraph,
    /// The same in integers: value `i` is what node `i` gives.
    pub network: Int8Network,
}

/// Quantizes a network, calibrating on `pictures` ([n, height, width, channels], normalized).
/// `input_bounds` are the least and greatest number that its input may be.
pub fn quantize(
    graph: FloatGraph,
    input_bounds: [f32; 2],
    settings: Settings,
    pictures: &[f32],
    metadata: BTreeMap<String, String>,
) -> Result<Quantized, Unbounded> {
    quantize_watched(graph, input_bounds, settings, pictures, metadata, &mut |_| ())
}

/// [`quantize`], calling `watch` with the number of pictures that were just looked at: each of them is
/// [`Settings::looks`] times, which takes nearly all of the time.
pub fn quantize_watched(
    mut graph: FloatGraph,
    input_bounds: [f32; 2],
    settings: Settings,
    pictures: &[f32],
    metadata: BTreeMap<String, String>,
    watch: &mut dyn FnMut(usize),
) -> Result<Quantized, Unbounded> {
    let mut pictures = Watched { pictures, watch };
    let ties = Ties::of(&graph);
    if settings.equalize {
        let uneven = calibrate::channels(&graph, &mut pictures)?;
        equalize::equalize(&mut graph, &ties, &uneven);
    }
    let channels = calibrate::channels(&graph, &mut pictures)?;
    let codes =
        calibrate::codes(&graph, &ties, &channels, settings.ranges, input_bounds, &mut pictures);
    let patches = rounding::Patches::of(&graph, settings.rounding, &mut pictures);
    let network = integer::integer_network(&graph, &codes, &patches, settings, metadata);
    Ok(Quantized { graph, network })
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;
    use crate::engine::Model;
    use crate::lab::checkpoint::{Checkpoint, initialize};
    use crate::lab::executor::{Executor, Weights};
    use crate::lab::float::layers::Filter;
    use crate::lab::float::{Activation, Layer, Layers, Padding, Window, lower};
    use crate::lab::network::{Block, Down, Graph, INPUT_SIDE, Preset};
    use crate::lab::{reference, tflite};

    /// Bounds of standardized pictures.
    pub const STANDARDIZED: [f32; 2] = [-4.0, 127.0 / 32.0];

    /// A checkpoint of random weights whose batch norms know its activations, as after training.
    pub fn random_checkpoint(preset: Preset, seed: u64) -> Checkpoint {
        let mut rng = Pcg64::seed_from_u64(seed);
        let graph = Graph::build(&preset);
        let mut params = initialize(&graph, || normal(&mut rng));
        for (name, tensor) in &mut params {
            let (base, spread) = match name.rsplit('.').next() {
                Some("gamma") => (1.0, 0.2),
                Some("beta" | "bias") => (0.0, 0.2),
                _ => continue,
            };
            tensor.data.fill_with(|| base + spread * normal(&mut rng).clamp(-3.0, 3.0));
        }
        // Training steps without gradients: only the batch norms' statistics settle.
        let mut weights = Weights::from_params(&graph, &params).unwrap();
        let mut executor = Executor::new(graph.clone());
        for _ in 0..40 {
            executor.train_forward(&mut weights, &random_pictures(8, seed), &mut rng);
        }
        Checkpoint { preset, params: weights.to_params(&graph), notes: BTreeMap::new() }
    }

    pub fn lowered(checkpoint: &Checkpoint) -> FloatGraph {
        FloatGraph::of_checkpoint(checkpoint).unwrap()
    }

    /// Lowering must not change what a network computes, beyond rounding.
    #[test]
    fn lowered_checkpoints_give_the_same_logits() {
        for name in Preset::NAMES {
            let checkpoint = random_checkpoint(Preset::named(name).unwrap(), 1);
            let pictures = random_pictures(2, 2);
            let graph = Graph::build(&checkpoint.preset);
            let want = reference::activations(&graph, &checkpoint.params, &pictures);
            assert_close(&lowered(&checkpoint).outputs(&pictures), want.last().unwrap(), 1e-4);
        }
    }

    /// `n` pictures of noise, about standardized.
    pub fn random_pictures(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = Pcg64::seed_from_u64(seed);
        (0..n * INPUT_SIDE * INPUT_SIDE).map(|_| normal(&mut rng)).collect()
    }

    /// About normal: a sum of uniform numbers.
    fn normal(rng: &mut Pcg64) -> f32 {
        (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0
    }

    pub fn assert_close(got: &[f32], want: &[f32], tolerance: f32) {
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() <= tolerance, "{got} is not {want}");
        }
    }

    /// Share of the logits' size that the roundings of 26 layers may add up to. Random weights on
    /// noise are a hard case: 6 % for `slim`.
    const ROUNDING_SHARE: f32 = 0.1;

    /// The int8 file must say about what the float network says, operator by operator.
    #[test]
    fn the_int8_network_is_close_to_the_float_one() {
        for name in Preset::NAMES {
            let checkpoint = random_checkpoint(Preset::named(name).unwrap(), 3);
            let pictures = random_pictures(16, 4);
            let network = quantize(
                lowered(&checkpoint),
                STANDARDIZED,
                Settings::default(),
                &pictures,
                BTreeMap::new(),
            )
            .unwrap()
            .network;
            let bytes = tflite::write(&network);
            let model = Model::from_bytes(name, &bytes).unwrap();
            let codes: Vec<i8> = pictures.iter().map(|&p| model.input().quantize(p)).collect();
            let got: Vec<f32> = model
                .run_raw(&codes)
                .unwrap()
                .iter()
                .map(|&c| model.output().dequantize(c))
                .collect();
            let graph = Graph::build(&checkpoint.preset);
            let want = reference::activations(&graph, &checkpoint.params, &pictures);
            let want = want.last().unwrap();
            let rms = |v: &mut dyn Iterator<Item = f32>| {
                (v.map(|x| x * x).sum::<f32>() / want.len() as f32).sqrt()
            };
            let error = rms(&mut got.iter().zip(want).map(|(g, w)| g - w));
            let size = rms(&mut want.iter().copied());
            assert!(error < ROUNDING_SHARE * size, "{name}: error {error} on logits of {size}");
        }
    }

    #[test]
    fn who_watches_is_told_of_each_look_at_a_picture() {
        let graph = lower(&joining()).unwrap();
        let pictures = random_pictures(3, 6);
        for settings in [false, true].map(|equalize| Settings { equalize, ..Settings::default() }) {
            let mut looks = 0;
            let watch = &mut |n| looks += n;
            let (graph, none) = (graph.clone(), BTreeMap::new());
            quantize_watched(graph, STANDARDIZED, settings, &pictures, none, watch).unwrap();
            assert_eq!(looks, 3 * settings.looks());
        }
    }

    /// Numbers may be finite in a file and still overflow on the way.
    #[test]
    fn values_beyond_all_measure_are_refused_by_layer() {
        let pictures = random_pictures(2, 6);
        for settings in [false, true].map(|equalize| Settings { equalize, ..Settings::default() }) {
            let quantized = |graph: FloatGraph, pictures: &[f32]| {
                quantize(graph, STANDARDIZED, settings, pictures, BTreeMap::new())
            };
            let layers = lower(&joining()).unwrap();
            assert!(quantized(layers.clone(), &pictures).is_ok());
            let mut steep = layers.clone();
            let dense = steep.nodes.len() - 1;
            steep.nodes[dense].op.kernel_mut().unwrap().weights[0] = 3e38;
            let error = quantized(steep, &pictures).unwrap_err();
            assert_eq!(error.layer, "dense");
            let bright: Vec<f32> = pictures.iter().map(|x| 1e38 * x).collect();
            assert_eq!(quantized(layers, &bright).unwrap_err().layer, "in");
        }
    }

    /// A broken model file must give an error, whatever is broken, and never a panic.
    #[test]
    fn broken_files_are_refused() {
        let family = lowered(&random_checkpoint(tiny(), 5));
        for graph in [family, lower(&joining()).unwrap()] {
            let settings = Settings::default();
            let network =
                quantize(graph, STANDARDIZED, settings, &random_pictures(4, 6), BTreeMap::new())
                    .unwrap()
                    .network;
            let bytes = tflite::write(&network);
            assert!(Model::from_bytes("whole", &bytes).is_ok());
            for len in (0..bytes.len()).step_by(97).chain(0..16) {
                assert!(Model::from_bytes("cut", &bytes[..len]).is_err(), "{len} bytes");
            }
            let mut rng = Pcg64::seed_from_u64(8);
            for _ in 0..500 {
                let mut broken = bytes.clone();
                let i = rng.random_range(0..broken.len());
                broken[i] ^= 1 << rng.random_range(0..8);
                // A flipped weight goes unseen; a panic inside tract comes back as an error that
                // says so.
                if let Err(error) = Model::from_bytes("flipped", &broken) {
                    assert!(!error.to_string().contains("panicked"), "byte {i}: {error}");
                }
            }
        }
    }

    /// A small network that joins channels.
    fn joining() -> Layers {
        let filter = |weights: usize, window, activation| Filter {
            weights: (0..weights).map(|i| (i as f32).sin()).collect(),
            bias: None,
            window,
            activation,
        };
        let stride_8 = Window { kernel: [3, 3], stride: [8, 8], padding: Padding::Same };
        let mut layers = Layers::new("in", [INPUT_SIDE, INPUT_SIDE, 1]).unwrap();
        let a = Layer::Conv(filter(18, stride_8, Activation::Relu6));
        let a = layers.push("a", a, &[0]).unwrap();
        let joined = layers.push("joined", Layer::Concat, &[a, a]).unwrap();
        let flat = layers.push("flat", Layer::Flatten, &[joined]).unwrap();
        let dense = filter(9 * 6 * 6 * 4, Window::PIXEL, Activation::None);
        layers.push("dense", Layer::Dense(dense), &[flat]).unwrap();
        layers
    }

    /// A network small enough to load hundreds of times.
    fn tiny() -> Preset {
        let block = Block::new(4, 1, Down::MaxPool);
        Preset {
            name: "tiny".into(),
            stem: [3, 4],
            stem_stride: 1,
            stem_norm_after_relu: false,
            stem_pool: true,
            blocks: vec![block],
            relu_after_add: false,
            dropout: 0.0,
        }
    }
}
