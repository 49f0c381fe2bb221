//! Plans of random networks give the plain interpreter's codes, on every set of kernels.

#[path = "../../../tests/common/growing.rs"]
mod growing;

use std::path::Path;

use super::super::interpret::interpret;
use super::super::kernels;
use super::super::window::Window;
use super::*;
use growing::{Growing, Kinds};

#[test]
fn plans_of_random_networks_give_the_plain_codes() {
    // Miri takes a minute for what takes the CPU a millisecond.
    let (seeds, side, most_pictures) = if cfg!(miri) { (4, 4, 2) } else { (800, 14, 11) };
    for seed in 0..seeds {
        let mut rng = fastrand::Rng::with_seed(seed);
        let shape = [rng.usize(1..=side), rng.usize(1..=side), [1, 3, 5, 16][rng.usize(..4)]];
        let kinds = [Kinds::InFiles, Kinds::All][rng.usize(..2)];
        let mut growing = Growing::new(rng.fork(), kinds, shape);
        growing.grow();
        let network = growing.network;
        let len = network.values[network.input].shape.iter().product();
        let pictures: Vec<Vec<i8>> = (0..rng.usize(1..=most_pictures))
            .map(|_| (0..len).map(|_| rng.i8(..)).collect())
            .collect();
        let plain: Vec<i8> = pictures.iter().flat_map(|codes| interpret(&network, codes)).collect();
        for kernels in kernels::available() {
            let plan = Plan::new(&network, kernels).unwrap();
            // Miri does not follow what threads' deques do.
            let threads = if cfg!(miri) { 1 } else { rng.usize(1..=5) };
            let mut workspace = plan.workspace(threads);
            // Again in the same memory: nothing of the first run is left over.
            for _ in 0..2 {
                let mut output = vec![0; plain.len()];
                plan.run(&mut workspace, &pictures.concat(), &mut output);
                assert_eq!(output, plain, "seed {seed}, {}", kernels.name);
            }
        }
    }
}

/// Of the files that `tests/operators.rs` holds plain loops to LiteRT by.
#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn plans_of_each_operator_give_the_plain_codes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/operators");
    let mut rng = fastrand::Rng::with_seed(1);
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    for path in paths.filter(|path| path.extension().is_some_and(|ends| ends == "tflite")) {
        let bytes = std::fs::read(&path).unwrap();
        let network = super::super::read::read(&path.to_string_lossy(), &bytes).unwrap().network;
        let len = network.values[network.input].shape.iter().product();
        let picture: Vec<i8> = (0..len).map(|_| rng.i8(..)).collect();
        let plain = interpret(&network, &picture);
        for (kernels, threads) in kernels::available().into_iter().flat_map(|k| [(k, 1), (k, 3)]) {
            let plan = Plan::new(&network, kernels).unwrap();
            let mut output = vec![0; plain.len()];
            plan.run(&mut plan.workspace(threads), &picture, &mut output);
            assert_eq!(output, plain, "{}, {}, {threads} threads", path.display(), kernels.name);
        }
    }
}

#[test]
fn scales_too_far_apart_are_not_planned() {
    let mut growing = Growing::new(fastrand::Rng::with_seed(1), Kinds::All, [2, 2, 3]);
    growing.conv(0, Some(Window::PIXEL), 5, None);
    growing.network.values[0].quantization.scale = 1e30;
    growing.network.values[1].quantization.scale = 1e-30;
    let error = Plan::new(&growing.network, kernels::select()).err();
    assert_eq!(error, Some(Unplanned::Scales("1".into())));
}
