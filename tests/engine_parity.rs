//! The engine gives stock tract's codes for whole files: random networks of all operations that tract
//! computes as LiteRT does, the reference network and a MobileNet, on one thread and on several. It gives
//! the plain loops' codes for random networks of the other operations too, and LiteRT's for other makers'
//! files.
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

use growing::{Growing, Kinds};

/// A file of `tests/data/foreign`, LiteRT's answers, and what the engine is held to at the start.
macro_rules! foreign {
    ($name:literal, $reference:literal) => {
        (
            $name,
            include_bytes!(concat!("data/foreign/", $name, ".tflite")),
            include_bytes!(concat!("data/foreign/", $name, ".outputs.i8")),
            $reference,
        )
    };
}

/// Answers that a file without labels must give logits of.
const LOGITS: usize = 9;

/// A random network's file: a square picture, a head over all that the last step gives.
fn file(seed: u64, kinds: Kinds) -> Vec<u8> {
    let mut rng = Rng::with_seed(seed);
    let side = rng.usize(8..=14);
    let channels = [1, 3][rng.usize(..2)];
    let mut growing = Growing::new(rng, kinds, [side, side, channels]);
    growing.grow();
    let last = growing.network.output;
    let [height, width, _] = growing.network.values[last].shape;
    growing.conv(last, Some(Window::whole([height, width])), LOGITS, None);
    tflite::write(&growing.network)
}

/// Noise through the engine on one thread and on three, and through this reference.
fn assert_gives_the_codes_of(reference: &str, name: &str, file: &[u8], pictures: usize) {
    let mut model = Model::from_bytes(name, file).unwrap();
    assert!(model.is_planned(), "{name}");
    let mut rng = Rng::with_seed(7);
    let codes: Vec<i8> = (0..pictures * model.input_len()).map(|_| rng.i8(..)).collect();
    assert_eq!(model.reference(), reference, "{name}");
    let expected = model.run_raw_by_reference(&codes).unwrap();
    for threads in [1, 3] {
        model.set_threads(threads);
        assert_eq!(model.run_raw(&codes).unwrap(), expected, "{name}, {threads} threads");
    }
}

#[test]
fn random_networks_give_tract_s_codes() {
    for seed in 0..100 {
        assert_gives_the_codes_of("tract", &format!("seed {seed}"), &file(seed, Kinds::InTract), 5);
    }
}

#[test]
fn networks_that_tract_computes_otherwise_give_the_plain_codes() {
    let files = (0..100).map(|seed| (seed, file(seed, Kinds::InFiles)));
    let others =
        files.filter(|(_, file)| Model::from_bytes("random", file).unwrap().reference() != "tract");
    let count = others.map(|(seed, file)| {
        assert_gives_the_codes_of("plain loops", &format!("seed {seed}"), &file, 3);
    });
    assert!(count.count() > 50);
}

#[test]
fn whole_networks_give_tract_s_codes() {
    for (name, graph) in
        [("reference", networks::reference()), ("mobilenet", networks::mobilenet())]
    {
        assert_gives_the_codes_of("tract", name, &networks::quantized(graph.unwrap()), 4);
    }
}

/// How far a code may be from LiteRT's after what tract computes in single precision, or LiteRT rounds twice.
const NEAR: u8 = 2;

/// Files and answers were written by `tests/foreign_models.py`, which says what is in them. Of those with
/// a softmax the answers are what it reads.
#[test]
fn other_makers_files_give_litert_s_codes() {
    let files: [(&str, &[u8], &[u8], &str); 8] = [
        foreign!("dilated", "tract"),
        foreign!("dense", "plain loops"),
        foreign!("xception", "plain loops"),
        foreign!("several_filters", "plain loops"),
        foreign!("squeezed", "plain loops"),
        foreign!("shuffled", "plain loops"),
        foreign!("attended", "plain loops"),
        foreign!("opened", "plain loops"),
    ];
    let inputs = include_bytes!("data/foreign/inputs.i8").map(u8::cast_signed);
    for (name, file, expected, reference) in files {
        let model = Model::from_bytes(name, file).unwrap();
        assert!(model.is_planned(), "{name}");
        assert_eq!(model.reference(), reference, "{name}");
        let expected: Vec<i8> = expected.iter().map(|code| code.cast_signed()).collect();
        let given = model.run_raw(&inputs).unwrap();
        let off = given.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
        let most = if ["attended", "opened"].contains(&name) { NEAR } else { 0 };
        assert!(off <= Some(most), "{name}: codes differ by up to {off:?}");
        assert_eq!(model.run_raw_by_reference(&inputs).unwrap(), given, "{name}");
    }
}

/// A file of 45 KB of three values of 16 MB each; and one of values of one channel, which take sixteen in
/// memory.
#[test]
fn a_small_file_can_t_ask_for_all_memory() {
    for (channels, count) in [(60, 3), (1, 9)] {
        let mut growing = Growing::new(Rng::with_seed(1), Kinds::InTract, [512, 512, 1]);
        for _ in 0..count {
            let last = growing.network.output;
            growing.conv(last, Some(Window::PIXEL), channels, None);
        }
        let eighth = Window { kernel: [8; 2], stride: [8; 2], padding: Padding::Valid };
        growing.conv(growing.network.output, Some(eighth), 1, None);
        growing.conv(growing.network.output, Some(Window::whole([64; 2])), LOGITS, None);
        let error = Model::from_bytes("large", &tflite::write(&growing.network)).err().unwrap();
        assert!(error.to_string().contains("too much"), "{error}");
    }
}
