//! From a float checkpoint to the int8 file; `docs/quantization.md` has the arithmetic.
//!
//! [`fold`] removes batch norm, [`ties`] finds values that must share a code, [`calibrate`] looks
//! at values on real faces and chooses codes, [`integer`] builds the int8 operations.

mod calibrate;
mod fold;
mod integer;
mod ties;

use std::collections::BTreeMap;

use super::checkpoint::Checkpoint;
use super::executor::Weights;
use super::network::Graph;
use super::tflite::Int8Network;
use ties::Ties;

/// Quantizes a checkpoint, calibrating on `pictures` ([n, 48, 48], standardized).
pub fn quantize(
    checkpoint: &Checkpoint,
    pictures: &[f32],
    metadata: BTreeMap<String, String>,
) -> Int8Network {
    let (graph, params) = fold::fold(&Graph::build(&checkpoint.preset), &checkpoint.params);
    let weights =
        Weights::from_params(&graph, &params).expect("folding keeps all of a graph's tensors");
    let ties = Ties::of(&graph);
    let channels = calibrate::channels(&graph, &weights, pictures);
    let codes = calibrate::codes(&graph, &weights, &ties, &channels, pictures);
    integer::integer_network(&graph, &params, &codes, &channels, metadata)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;
    use crate::engine::Model;
    use crate::lab::checkpoint::initialize;
    use crate::lab::executor::Executor;
    use crate::lab::network::{INPUT_SIDE, Preset};
    use crate::lab::{reference, tflite};

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

    /// The int8 file must say about what the float network says, operator by operator.
    #[test]
    fn the_int8_network_is_close_to_the_float_one() {
        for name in Preset::NAMES {
            let checkpoint = random_checkpoint(Preset::named(name).unwrap(), 3);
            let pictures = random_pictures(16, 4);
            let network = quantize(&checkpoint, &pictures, BTreeMap::new());
            let bytes = tflite::write(&network);
            if let Ok(dir) = std::env::var("DEV_MODEL_DIR") {
                std::fs::write(format!("{dir}/dev-{name}.tflite"), &bytes).unwrap();
            }
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
            println!("{name}: rms error {error}, rms logit {size}");
            assert!(error < 0.1 * size, "{name}: error {error} on logits of {size}");
        }
    }
}
