//! The trainer's forward and backward passes give what PyTorch gives, the CPU's as well as those
//! that a GPU runs (here on burn's CPU backend). The expected tensors were written by
//! tests/torch_gradients.py.
#![cfg(feature = "lab")]

use mien::lab::checkpoint::{Params, Tensor, initialize};
use mien::lab::device::Passes;
use mien::lab::executor::{Executor, Weights};
use mien::lab::network::{Graph, Preset};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use safetensors::SafeTensors;

/// Float error allowed, relative to the tensor's greatest value: both sides sum thousands of
/// single-precision products in different orders.
const TOLERANCE: f32 = 2e-4;

const POST: &[u8] = include_bytes!("data/torch_post.safetensors");
const DEEP: &[u8] = include_bytes!("data/torch_deep.safetensors");

#[test]
fn the_posts_network_learns_as_in_pytorch() {
    check(POST, |graph| Box::new(Executor::new(graph)));
}

#[test]
fn the_deep_network_learns_as_in_pytorch() {
    check(DEEP, |graph| Box::new(Executor::new(graph)));
}

#[cfg(feature = "burn")]
mod on_burn {
    use burn_flex::{Flex, FlexDevice};
    use mien::lab::device::burn::BurnExecutor;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    fn passes(graph: Graph) -> Box<dyn Passes> {
        Box::new(BurnExecutor::<Flex>::new(graph, FlexDevice))
    }

    #[test]
    fn the_posts_network_learns_as_in_pytorch() {
        check(POST, passes);
    }

    #[test]
    fn the_deep_network_learns_as_in_pytorch() {
        check(DEEP, passes);
    }

    /// Dropout draws from the trainer's generator, so that it can't be compared with PyTorch.
    #[test]
    fn dropout_drops_and_learns_as_on_the_cpu() {
        let preset = Preset { dropout: 0.5, ..preset_of(DEEP) };
        let graph = Graph::build(&preset);
        let mut rng = Pcg64::seed_from_u64(1);
        let mut normal = || StandardNormal.sample(&mut rng);
        let params = initialize(&graph, &mut normal);
        let weights = Weights::from_params(&graph, &params).unwrap();
        let pictures: Vec<f32> = (0..10 * 48 * 48).map(|_| normal()).collect();
        let dlogits: Vec<f32> = (0..10 * 9).map(|_| normal()).collect();
        let step = |mut passes: Box<dyn Passes>| {
            let (mut weights, mut gradients) = (weights.clone(), weights.zeros_like());
            let mut rng = Pcg64::seed_from_u64(2);
            let logits = passes.train_forward(&mut weights, &pictures, &mut rng).unwrap().to_vec();
            passes.backward(&weights, &dlogits, &mut gradients).unwrap();
            (logits, weights.to_params(&graph), gradients.to_params(&graph))
        };
        let (logits, moved, gradients) = step(passes(graph.clone()));
        let expected = step(Box::new(Executor::new(graph.clone())));
        assert_close("logits", &logits, &expected.0);
        for (name, tensor) in expected.1 {
            assert_close(&name, &moved[&name].data, &tensor.data);
        }
        for (name, tensor) in expected.2 {
            assert_close(&name, &gradients[&name].data, &tensor.data);
        }
    }
}

/// The preset that an expected file was written for.
fn preset_of(file: &[u8]) -> Preset {
    let (_, header) = SafeTensors::read_metadata(file).unwrap();
    serde_json::from_str(&header.metadata().as_ref().unwrap()["preset"]).unwrap()
}

fn check(file: &[u8], passes: impl Fn(Graph) -> Box<dyn Passes>) {
    let expected = SafeTensors::deserialize(file).unwrap();
    let tensor = |name: &str| -> Tensor {
        let view = expected.tensor(name).unwrap_or_else(|_| panic!("{name}"));
        let data = view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        Tensor { shape: view.shape().into(), data }
    };

    let graph = Graph::build(&preset_of(file));
    let mut params: Params = initialize(&graph, || 0.0);
    for (name, value) in &mut params {
        if expected.tensor(&format!("value.{name}")).is_ok() {
            *value = tensor(&format!("value.{name}"));
        }
    }
    let mut weights = Weights::from_params(&graph, &params).unwrap();
    let mut gradients = weights.zeros_like();
    let mut passes = passes(graph.clone());
    let pictures = tensor("pictures").data;
    let mut rng = Pcg64::seed_from_u64(0);
    // Twice, so that buffers of the first step are used again; momentum moves only `running`.
    passes.train_forward(&mut weights.clone(), &pictures, &mut rng).unwrap();
    let logits = passes.train_forward(&mut weights, &pictures, &mut rng).unwrap().to_vec();
    assert_close("logits", &logits, &tensor("logits").data);
    passes.backward(&weights, &tensor("dlogits").data, &mut gradients).unwrap();

    let mut compared = 0;
    let (gradients, running) = (gradients.to_params(&graph), weights.to_params(&graph));
    for name in expected.names() {
        let actual = match name.split_once('.') {
            Some(("gradient", rest)) => &gradients[rest],
            Some(("running", rest)) => &running[rest],
            _ => continue,
        };
        assert_close(name, &actual.data, &tensor(name).data);
        compared += 1;
    }
    assert_eq!(compared, params.len(), "each tensor has a gradient or is a running statistic");
}

fn assert_close(name: &str, actual: &[f32], expected: &[f32]) {
    assert_eq!(actual.len(), expected.len(), "{name}");
    let scale = expected.iter().fold(0f32, |max, v| max.max(v.abs())).max(1e-3);
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((a - e).abs() <= TOLERANCE * scale, "{name}[{i}]: {a}, PyTorch has {e}");
    }
}
