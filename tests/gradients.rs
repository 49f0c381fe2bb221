//! The trainer's forward and backward passes give what PyTorch gives. The expected tensors were
//! written by tests/torch_gradients.py.
#![cfg(feature = "lab")]

use mien::lab::checkpoint::{Params, Tensor, initialize};
use mien::lab::executor::{Executor, Weights};
use mien::lab::network::{Graph, Preset};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use safetensors::SafeTensors;

/// Float error allowed, relative to the tensor's greatest value: both sides sum thousands of
/// single-precision products in different orders.
const TOLERANCE: f32 = 2e-4;

#[test]
fn the_posts_network_learns_as_in_pytorch() {
    check(include_bytes!("data/torch_post.safetensors"));
}

#[test]
fn the_deep_network_learns_as_in_pytorch() {
    check(include_bytes!("data/torch_deep.safetensors"));
}

fn check(file: &[u8]) {
    let (_, header) = SafeTensors::read_metadata(file).unwrap();
    let preset: Preset =
        serde_json::from_str(&header.metadata().as_ref().unwrap()["preset"]).unwrap();
    let expected = SafeTensors::deserialize(file).unwrap();
    let tensor = |name: &str| -> Tensor {
        let view = expected.tensor(name).unwrap_or_else(|_| panic!("{name}"));
        let data = view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        Tensor { shape: view.shape().into(), data }
    };

    let graph = Graph::build(&preset);
    let mut params: Params = initialize(&graph, || 0.0);
    for (name, value) in &mut params {
        if expected.tensor(&format!("value.{name}")).is_ok() {
            *value = tensor(&format!("value.{name}"));
        }
    }
    let mut weights = Weights::from_params(&graph, &params).unwrap();
    let mut gradients = weights.zeros_like();
    let mut executor = Executor::new(graph.clone());
    let pictures = tensor("pictures").data;
    let mut rng = Pcg64::seed_from_u64(0);
    // Twice, so that buffers of the first step are used again; momentum moves only `running`.
    executor.train_forward(&mut weights.clone(), &pictures, &mut rng);
    let logits = executor.train_forward(&mut weights, &pictures, &mut rng).to_vec();
    assert_close("logits", &logits, &tensor("logits").data);
    executor.backward(&weights, &tensor("dlogits").data, &mut gradients);

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
