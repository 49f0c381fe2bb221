//! A deliberately hard network: the shipped one, its channels spread 100-fold wherever that leaves
//! the float function as it is. Plain min-max ranges ruin it, the default repairs must not. Needs
//! FER2013 in `../shared/data`.
#![cfg(feature = "lab")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use mien::engine::Model;
use mien::face::normalization::{Normalization, standardize};
use mien::lab::checkpoint::Checkpoint;
use mien::lab::dataset::{LabelledFace, read_fer2013};
use mien::lab::float::{FloatGraph, Op};
use mien::lab::network::{EXPRESSION_LOGITS, LOGITS};
use mien::lab::quantize::{Ranges, Rounding, Settings, quantize};
use mien::lab::samples::spread_evenly;
use mien::lab::split::{Part, positions};
use mien::lab::tflite;

/// Factors go from one tenth to ten.
const SPREAD: f32 = 100.0;
/// Training faces that the ranges come from.
const CALIBRATION_FACES: usize = 256;
/// PublicTest faces that are answered.
const FACES: usize = 400;
/// What plain ranges must lose at least, in points; else the network is not hard.
const HARD_POINTS: f64 = 10.0;
/// What the default repairs may lose at most, in points.
const REPAIRED_POINTS: f64 = 1.0;

/// Values that take the same factor for a channel: sums with what they add, max pools with what
/// they pool. By value, the first of its group.
fn groups(graph: &FloatGraph) -> Vec<usize> {
    let mut group: Vec<usize> = (0..graph.nodes.len()).collect();
    for (value, node) in graph.nodes.iter().enumerate() {
        if matches!(node.op, Op::Add(_) | Op::MaxPool(_)) {
            for &input in &node.inputs {
                let (old, new) = (group[value].max(group[input]), group[value].min(group[input]));
                group.iter_mut().filter(|g| **g == old).for_each(|g| *g = new);
            }
        }
    }
    group
}

/// Scales every channel of every value by a factor of its own but the picture's and the logits', and
/// the weights that read it by its inverse.
fn spread(graph: &mut FloatGraph) {
    let group = groups(graph);
    let mut random = fastrand::Rng::with_seed(9);
    let last = graph.nodes.len() - 1;
    for first in 1..last {
        if group[first] != first {
            continue;
        }
        assert_ne!(group[last], first, "the logits are in no group of others");
        let factors: Vec<f32> =
            (0..graph.nodes[first].shape[2]).map(|_| SPREAD.powf(random.f32() - 0.5)).collect();
        for node in 1..=last {
            let reads = graph.nodes[node].inputs.iter().any(|input| group[*input] == first);
            let Some(kernel) = graph.nodes[node].op.kernel_mut() else { continue };
            if reads {
                let n = factors.len();
                kernel.weights.iter_mut().enumerate().for_each(|(i, w)| *w /= factors[i % n]);
            }
            if group[node] == first {
                kernel.rescale(&factors, &vec![0.0; factors.len()]);
            }
        }
    }
}

fn pictures(rows: &[&LabelledFace]) -> Vec<f32> {
    rows.iter().flat_map(|row| standardize(row.face.view())).collect()
}

fn answers(logits: &[f32]) -> Vec<usize> {
    let of_face = |logits: &[f32]| {
        (0..EXPRESSION_LOGITS).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap()
    };
    logits.chunks_exact(LOGITS).map(of_face).collect()
}

/// Per cent of `rows` that an int8 network made by these settings answers right.
fn percent_right(
    settings: Settings,
    graph: &FloatGraph,
    calibration: &[f32],
    rows: &[&LabelledFace],
) -> f64 {
    let network = quantize(
        graph.clone(),
        Normalization::Standardized.bounds(),
        settings,
        calibration,
        BTreeMap::new(),
    )
    .unwrap()
    .network;
    let model = Model::from_bytes("hard", &tflite::write(&network)).unwrap();
    let codes: Vec<i8> = pictures(rows).iter().map(|x| model.input().quantize(*x)).collect();
    let logits = model.run_raw(&codes).unwrap();
    let logits: Vec<f32> = logits.iter().map(|code| model.output().dequantize(*code)).collect();
    percent_of(&answers(&logits), rows)
}

fn percent_of(answers: &[usize], rows: &[&LabelledFace]) -> f64 {
    let right = answers.iter().zip(rows).filter(|(answer, row)| **answer == row.label).count();
    100.0 * right as f64 / rows.len() as f64
}

#[test]
fn repairs_hold_what_plain_ranges_lose() {
    let Some(shared) = common::shared_data() else { return };
    let rows = read_fer2013(&shared.join("data/fer2013/fer2013.csv.xz")).unwrap();
    let some = |part, count| -> Vec<&LabelledFace> {
        spread_evenly(positions(&rows, part), count).into_iter().map(|i| &rows[i]).collect()
    };
    let calibration = pictures(&some(Part::Training, CALIBRATION_FACES));
    let faces = some(Part::PublicTest, FACES);
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mien-slim.safetensors");
    let graph = FloatGraph::of_checkpoint(&Checkpoint::read(&shipped).unwrap()).unwrap();
    let mut hard = graph.clone();
    spread(&mut hard);

    let pictures = pictures(&faces);
    let [easy, float] = [&graph, &hard].map(|graph| answers(&graph.outputs(&pictures)));
    assert_eq!(easy, float, "spreading changed the float network");
    let float = percent_of(&float, &faces);
    let plain = Settings {
        ranges: Ranges::MinMax,
        equalize: false,
        rounding: Rounding::Nearest,
        correct_bias: false,
    };
    let [plain, repaired] = [plain, Settings::default()]
        .map(|settings| float - percent_right(settings, &hard, &calibration, &faces));
    println!(
        "float {float:.2} % right; lost by plain ranges {plain:.2} points, repaired {repaired:.2}"
    );
    assert!(plain >= HARD_POINTS, "not hard: plain ranges lose {plain:.2} points only");
    assert!(repaired <= REPAIRED_POINTS, "the repairs lose {repaired:.2} points");
}
