//! `mien-lab prune` as a command: what a pruning leaves, when it goes on, what it refuses.
#![cfg(feature = "lab")]

#[path = "common/lab.rs"]
mod program;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mien::engine::Model;
use mien::lab::checkpoint::Checkpoint;
use mien::lab::network::Graph;
use program::{assert_fails, assert_ok, command, lab, write_noise};

const RECIPE: &str = r#"
[[data.expression]]
path = "faces.csv"

[train]
epochs = 1
batch = 8
gender_batch = 0

[train.network]
name = "tiny"
stem = [4, 8]
stem_stride = 2
stem_norm_after_relu = false
stem_pool = true
blocks = [
    { width = 16, depth = 2, down = "stride" },
    { width = 16, depth = 2, down = "no" },
]
dropout = 0.1
"#;

/// A recipe, its data (faces of noise), and a network trained by it, `run/model.safetensors`.
fn work() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let usage = |i| if i % 8 == 7 { "PublicTest" } else { "Training" };
    write_noise(&folder.path().join("faces.csv"), 96, usage);
    std::fs::write(folder.path().join("recipe.toml"), RECIPE).unwrap();
    assert_ok(&lab(folder.path(), &["train", "recipe.toml", "--out", "run"]));
    folder
}

/// A pruning's command line: from 0.28 MMAC to 0.14 in two steps.
fn args<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let args = ["prune", "run/model.safetensors", "--recipe", "recipe.toml", "--align", "2"];
    [&args[..], &["--batches", "4", "--out", out], more].concat()
}

const TWO_STEPS: [&str; 6] = ["--mmac", "0.14", "--steps", "2", "--epochs", "3"];

fn model(folder: &Path, out: &str) -> Checkpoint {
    Checkpoint::read(&folder.join(out).join("model.safetensors")).unwrap()
}

#[test]
fn a_pruning_ends_within_its_budget_and_its_model_runs_on_the_engine() {
    let work = work();
    let folder = work.path();
    let before = Graph::build(&model(folder, "run").preset).macs();
    let stdout = assert_ok(&lab(folder, &args("out", &TWO_STEPS)));
    let table = std::fs::read_to_string(folder.join("out/pareto.txt")).unwrap();
    assert!(stdout.contains(&table), "{stdout}");
    let narrow = model(folder, "out");
    let after = Graph::build(&narrow.preset).macs();
    assert!(before > 250_000 && after <= 140_000 && after > 100_000, "{before} to {after}");
    let half_way = Graph::build(&model(folder, "out/step-1").preset).macs();
    assert!(after < half_way && half_way < before, "{half_way}");
    assert_eq!(narrow, model(folder, "out/step-2"));
    // It learnt: what training starts from is not what it ends with.
    let cut = Checkpoint::read(&folder.join("out/step-2/cut.safetensors")).unwrap();
    assert_ne!(cut.params, narrow.params);
    let csv = std::fs::read_to_string(folder.join("out/pareto.csv")).unwrap();
    assert_eq!(csv.lines().count(), 4, "a head and three networks: {csv}");
    for file in ["pareto.png", "step-2/curve.csv", "step-2/recipe.toml", "answers.safetensors"] {
        assert!(folder.join("out").join(file).exists(), "{file}");
    }
    // A step's recipe trains its network longer.
    let longer = ["train", "out/step-2/recipe.toml", "--data-dir", ".", "--out", "longer"];
    assert_ok(&lab(folder, &longer));
    assert_eq!(model(folder, "longer").preset, narrow.preset);

    let quantize = ["quantize", "out/model.safetensors", "-o", "narrow.tflite", "--force"];
    let more = ["--calibrate", "faces.csv", "--labels", "faces.csv"];
    assert_ok(&lab(folder, &[&quantize[..], &more].concat()));
    let file = std::fs::read(folder.join("narrow.tflite")).unwrap();
    Model::from_bytes("narrow", &file).unwrap();
}

#[test]
fn an_interrupted_pruning_ends_where_an_uninterrupted_one_does() {
    let work = work();
    let folder = work.path();
    assert_ok(&lab(folder, &args("whole", &TWO_STEPS)));

    // Killed in training, as soon as an epoch of the first step is saved.
    let mut command = command(folder, &args("killed", &TWO_STEPS));
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let saved = folder.join("killed/step-1/resume.safetensors");
    let started = Instant::now();
    while !saved.exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "no epoch was saved");
        std::thread::sleep(Duration::from_millis(1));
    }
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(!folder.join("killed/model.safetensors").exists(), "it was killed too late");
    assert_ok(&lab(folder, &args("killed", &TWO_STEPS)));

    // Killed between a step's cut and its training, and before its end was noted.
    assert_ok(&lab(folder, &args("lost", &TWO_STEPS)));
    let table = folder.join("lost/pareto.csv");
    let csv = std::fs::read_to_string(&table).unwrap();
    let without_last: Vec<&str> = csv.lines().take(3).collect();
    std::fs::write(&table, without_last.join("\n") + "\n").unwrap();
    for file in ["model.safetensors", "step-2/resume.safetensors", "step-2/model.safetensors"] {
        std::fs::remove_file(folder.join("lost").join(file)).unwrap();
    }
    let stdout = assert_ok(&lab(folder, &args("lost", &TWO_STEPS)));
    assert!(stdout.contains("step 2:") && !stdout.contains("step 1:"), "{stdout}");

    for other in ["killed", "lost"] {
        assert_eq!(model(folder, "whole"), model(folder, other), "{other}");
        let csv = |out: &str| std::fs::read(folder.join(out).join("pareto.csv")).unwrap();
        assert_eq!(csv("whole"), csv(other), "{other}");
    }
}

#[test]
fn each_importance_cuts_once_by_bytes_without_training() {
    let work = work();
    let folder = work.path();
    let graph = Graph::build(&model(folder, "run").preset);
    let limit = graph.int8_bytes() * 9 / 10;
    let bytes = limit.to_string();
    let cut = |importance: &'static str| {
        let more = ["--one-shot", "--bytes", &bytes, "--importance", importance];
        assert_ok(&lab(folder, &args(importance, &more)));
        assert!(!folder.join(importance).join("answers.safetensors").exists(), "nobody teaches");
        model(folder, importance)
    };
    let cuts = ["taylor", "l1", "scale"].map(cut);
    for cut in &cuts {
        assert!(Graph::build(&cut.preset).int8_bytes() <= limit);
    }
    assert!(cuts[0].params != cuts[1].params && cuts[1].params != cuts[2].params);
}

#[test]
fn what_is_wrong_is_told_with_the_way_out() {
    let work = work();
    let folder = work.path();
    let prune = |out: &str, more: &[&str]| lab(folder, &args(out, more));
    assert_fails(&prune("a", &["--mmac", "99"]), &["run/model.safetensors", "within the budget"]);
    assert_fails(&prune("a", &["--mmac=-1"]), &["--mmac", "above 0"]);
    let unreachable = ["--one-shot", "--mmac", "0.000001"];
    assert_fails(&prune("b", &unreachable), &["out of reach", "--align"]);
    assert!(!prune("a", &[]).status.success(), "a budget is needed");

    let one_shot = ["--one-shot", "--mmac", "0.14"];
    assert_ok(&prune("c", &one_shot));
    let other = [&one_shot[..], &["--importance", "l1"]].concat();
    assert_fails(&prune("c", &other), &["c/prune.toml", "another pruning", "--out"]);
    let mut changed = model(folder, "run");
    changed.params.get_mut("head.bias").unwrap().data[0] += 1.0;
    changed.write(&folder.join("run/model.safetensors")).unwrap();
    assert_fails(&prune("c", &one_shot), &["c/original.safetensors", "--out"]);
}
