//! The engine gives stock tract's codes for whole files: random networks of all operations that it
//! knows, the reference network and a MobileNet, on one thread and on several; what it does not know runs
//! in tract.
//! Also runs for aarch64, see `cross/test.sh`.
#![cfg(feature = "lab")]

#[path = "common/growing.rs"]
mod growing;
#[path = "../benches/engine/networks.rs"]
mod networks;

use fastrand::Rng;
use mien::engine::Model;
use mien::engine::window::{Padding, Window};
use mien::lab::tflite;

use growing::Growing;

/// Answers that a file without labels must give logits of.
const LOGITS: usize = 9;

/// A random network's file: a square picture, a head over all that the last step gives.
fn file(seed: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(seed);
    let side = rng.usize(8..=14);
    let channels = [1, 3][rng.usize(..2)];
    let mut growing = Growing::new(rng, [side, side, channels]);
    growing.grow();
    let last = growing.network.output;
    let [height, width, _] = growing.network.values[last].shape;
    growing.conv(last, Some(Window::whole([height, width])), LOGITS, None);
    tflite::write(&growing.network)
}

/// Noise through the engine on one thread and on three, and through tract.
fn assert_gives_tract_s_codes(name: &str, file: &[u8], pictures: usize) {
    let mut model = Model::from_bytes(name, file).unwrap();
    assert_ne!(model.engine(), "tract", "{name}");
    let mut rng = Rng::with_seed(7);
    let codes: Vec<i8> = (0..pictures * model.input_len()).map(|_| rng.i8(..)).collect();
    let tract = model.run_raw_by_tract(&codes).unwrap();
    for threads in [1, 3] {
        model.set_threads(threads);
        assert_eq!(model.run_raw(&codes).unwrap(), tract, "{name}, {threads} threads");
    }
}

#[test]
fn random_networks_give_tract_s_codes() {
    for seed in 0..100 {
        assert_gives_tract_s_codes(&format!("seed {seed}"), &file(seed), 5);
    }
}

#[test]
fn whole_networks_give_tract_s_codes() {
    for (name, graph) in
        [("reference", networks::reference()), ("mobilenet", networks::mobilenet())]
    {
        assert_gives_tract_s_codes(name, &networks::quantized(graph.unwrap()), 4);
    }
}

/// LiteRT's answers were written by `tests/dilated_model.py`.
#[test]
fn a_dilated_convolution_runs_in_tract() {
    let model = Model::from_bytes("dilated", include_bytes!("data/dilated.tflite")).unwrap();
    assert_eq!(model.engine(), "tract");
    let inputs = include_bytes!("data/dilated_inputs.i8").map(u8::cast_signed);
    let expected = include_bytes!("data/dilated_outputs.i8").map(u8::cast_signed);
    assert_eq!(model.run_raw(&inputs).unwrap(), expected);
}

/// Three values of 16 MB each, by a file of 45 KB.
#[test]
fn a_small_file_can_t_ask_for_all_memory() {
    let mut growing = Growing::new(Rng::with_seed(1), [512, 512, 1]);
    for _ in 0..3 {
        let last = growing.network.output;
        growing.conv(last, Some(Window::PIXEL), 60, None);
    }
    let eighth = Window { kernel: [8; 2], stride: [8; 2], padding: Padding::Valid };
    growing.conv(growing.network.output, Some(eighth), 1, None);
    growing.conv(growing.network.output, Some(Window::whole([64; 2])), LOGITS, None);
    let error = Model::from_bytes("large", &tflite::write(&growing.network)).err().unwrap();
    assert!(error.to_string().contains("too much"), "{error}");
}
