//! The engine gives stock tract's codes for whole files: random networks of all operations that it
//! knows, on one thread and on several. Also runs for aarch64, see `cross/test.sh`.
#![cfg(feature = "lab")]

#[path = "common/growing.rs"]
mod growing;

use fastrand::Rng;
use mien::engine::Model;
use mien::engine::window::Window;
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

#[test]
fn random_networks_give_tract_s_codes() {
    for seed in 0..100 {
        let mut model = Model::from_bytes(&format!("seed {seed}"), &file(seed)).unwrap();
        assert_ne!(model.engine(), "tract", "seed {seed}");
        let mut rng = Rng::with_seed(seed);
        let codes: Vec<i8> = (0..5 * model.input_len()).map(|_| rng.i8(..)).collect();
        let tract = model.run_raw_by_tract(&codes).unwrap();
        for threads in [1, 3] {
            model.set_threads(threads);
            assert_eq!(model.run_raw(&codes).unwrap(), tract, "seed {seed}, {threads} threads");
        }
    }
}
