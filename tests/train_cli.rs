//! `mien-lab train`, `pack` and `export` as commands: what a run leaves, when it goes on, what it refuses.
#![cfg(feature = "lab")]

#[path = "common/lab.rs"]
mod program;

use std::path::Path;
use std::process::Output;

use mien::lab::checkpoint::{Checkpoint, Params, Tensor, read_tensors, write_tensors};
use mien::lab::offsets;
use program::{assert_fails, assert_ok, lab, write_noise};

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
stem_norm_after_relu = false
stem_pool = true
blocks = [{ width = 16, depth = 1, down = "stride" }]
dropout = 0.0
"#;

/// A recipe, `recipe.toml`, and its data: faces of noise.
fn work() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_noise(&folder.path().join("faces.csv"), 40, |_| "Training");
    std::fs::write(folder.path().join("recipe.toml"), RECIPE).unwrap();
    folder
}

fn train(folder: &Path, more: &[&str]) -> Output {
    lab(folder, &[&["train", "recipe.toml", "--out", "run"], more].concat())
}

#[test]
fn a_run_keeps_its_recipe_and_refuses_other_data() {
    let folder = work();
    let stdout = assert_ok(&train(folder.path(), &[]));
    assert!(stdout.contains("epoch 1:"), "{stdout}");
    let kept = std::fs::read_to_string(folder.path().join("run/recipe.toml")).unwrap();
    assert!(kept.contains("sha256 = \"") && kept.contains("cutout_share"), "{kept}");
    let files = ["model.safetensors", "resume.safetensors", "curve.csv", "curve.png"];
    for file in files.iter().chain(&["near-duplicates.csv"]) {
        assert!(folder.path().join("run").join(file).exists(), "{file}");
    }
    // The same run again has nothing left to do.
    let stdout = assert_ok(&train(folder.path(), &[]));
    assert!(stdout.contains("going on after epoch 1") && !stdout.contains("epoch 1:"), "{stdout}");

    assert_fails(&train(folder.path(), &["--set", "train.seed=2"]), &["another recipe", "seed"]);
    let faces = folder.path().join("faces.csv");
    let text = std::fs::read_to_string(&faces).unwrap();
    std::fs::write(&faces, text.replacen("\n0,", "\n1,", 1)).unwrap();
    assert_fails(&train(folder.path(), &[]), &["run/recipe.toml", "other data"]);
    // The kept recipe carries the hash of the data it was made from.
    let again = lab(folder.path(), &["train", "run/recipe.toml", "--data-dir", ".", "--out", "b"]);
    assert_fails(&again, &["faces.csv holds other data", "sha256"]);
}

/// A student in a folder beside its teacher, which is named from the recipe's folder.
#[test]
fn a_student_starts_from_and_learns_from_checkpoints_beside_its_recipe() {
    let folder = work();
    assert_ok(&train(folder.path(), &[]));
    std::fs::create_dir(folder.path().join("student")).unwrap();
    let recipe = RECIPE.replace("epochs = 1", "epochs = 1\nstart = \"../run/model.safetensors\"")
        + "[train.teacher]\ncheckpoints = [\"../run/model.safetensors\"]\nshare = 0.5\n";
    std::fs::write(folder.path().join("student/recipe.toml"), recipe).unwrap();
    let student = |more: &[&str]| {
        let args = ["train", "student/recipe.toml", "--data-dir", ".", "--out", "student/run"];
        lab(folder.path(), &[&args, more].concat())
    };
    assert_ok(&student(&[]));
    assert!(folder.path().join("student/run/answers.safetensors").exists());
    let notes = Checkpoint::read(&folder.path().join("student/run/model.safetensors")).unwrap();
    assert!(notes.notes["recipe"].contains("\"../run/model.safetensors\""), "{notes:?}");

    let absent = "train.teacher.checkpoints=[\"absent.safetensors\"]";
    assert_fails(&student(&["--set", absent]), &["student/absent.safetensors"]);
    let other = "train.network.stem=[4,4]";
    let other = lab(
        folder.path(),
        &["train", "student/recipe.toml", "--data-dir", ".", "--out", "b", "--set", other],
    );
    assert_fails(&other, &["train.start", "\"tiny\""]);
}

/// Another framework's network reads the exported faces; its answers to them teach here, also in a
/// packed copy.
#[test]
fn answers_from_elsewhere_teach() {
    let folder = work();
    let file = |name: &str| folder.path().join(name);
    let export = ["export", "recipe.toml", "--out", "faces.safetensors"];
    assert_ok(&lab(folder.path(), &export));
    let (faces, metadata) = read_tensors(&file("faces.safetensors")).unwrap();
    let [n, 48, 48] = faces["expression_faces"].shape[..] else { panic!("{:?}", faces.keys()) };
    assert_eq!(faces["expression_labels"].shape, [n, 7]);
    assert_eq!(faces["validation_expression_faces"].shape, [40 - n, 48, 48]);
    assert_eq!(faces["gender_labels"].shape, [0, 2]);
    assert_eq!(
        (&faces["expression_groups"].shape[..], &faces["gender_groups"].shape[..]),
        (&[n][..], &[0][..])
    );
    for label in faces["expression_labels"].data.chunks(7) {
        assert!((label.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{label:?}");
    }

    // Whatever the label, the answer is "happy".
    let shares = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.5, 0.5];
    let told = |shares: [f32; 9]| Tensor { shape: vec![n, 9], data: [shares].repeat(n).concat() };
    let write = |tensor: Tensor| {
        let tensors = Params::from([("answers".to_owned(), tensor)]);
        write_tensors(&file("told.safetensors"), &tensors, &metadata).unwrap();
    };
    write(told(shares));
    let taught = "[train.teacher]\nanswers = [\"told.safetensors\"]\nshare = 1.0\n";
    let recipe = RECIPE.replace("epochs = 1", "epochs = 30") + taught;
    std::fs::write(file("taught.toml"), recipe).unwrap();
    assert_ok(&lab(folder.path(), &["train", "taught.toml", "--out", "taught"]));
    let mut model = Checkpoint::read(&file("taught/model.safetensors")).unwrap();
    offsets::take_off(&mut model);
    let bias = &model.params["head.bias"].data;
    assert!((0..7).all(|i| i == 3 || bias[i] < bias[3]), "{bias:?}");

    assert_ok(&lab(folder.path(), &["pack", "taught.toml", "--data-dir", ".", "--out", "packed"]));
    let again = ["train", "packed/recipe.toml", "--out", "again", "--set", "train.epochs=1"];
    assert_ok(&lab(folder.path(), &again));

    let refused = |words: &[&str]| {
        let args = ["train", "taught.toml", "--out", "refused"];
        assert_fails(&lab(folder.path(), &args), &[&["told.safetensors"], words].concat());
    };
    write(told([f32::NAN; 9]));
    refused(&["each from 0 to 1"]);
    write(told([0.0; 9]));
    refused(&["add up to 1"]);
    write(Tensor { shape: vec![1, 9], data: shares.to_vec() });
    refused(&["for each face"]);
    write(told(shares));
    write_noise(&file("faces.csv"), 41, |_| "Training");
    refused(&["other faces"]);
}

#[test]
fn a_packed_copy_trains_to_the_same_weights() {
    let folder = work();
    assert_ok(&train(folder.path(), &[]));
    assert_ok(&lab(folder.path(), &["pack", "recipe.toml", "--out", "packed"]));
    let args = ["train", "run/recipe.toml", "--data-dir", "packed", "--out", "again"];
    assert_ok(&lab(folder.path(), &args));
    let model =
        |run: &str| Checkpoint::read(&folder.path().join(run).join("model.safetensors")).unwrap();
    assert_eq!(model("run"), model("again"));
    // It is complete in itself, its checkpoints with it.
    let start = "\nstart = \"run/model.safetensors\"\nepochs";
    let starting = RECIPE.replace("\nepochs", start).replace("epochs = 1", "epochs = 0");
    std::fs::write(folder.path().join("starting.toml"), starting).unwrap();
    assert_ok(&lab(folder.path(), &["pack", "starting.toml", "--data-dir", ".", "--out", "whole"]));
    assert_ok(&lab(folder.path(), &["train", "whole/recipe.toml", "--out", "started"]));
    let onto_itself = lab(folder.path(), &["pack", "recipe.toml", "--out", "."]);
    assert_fails(&onto_itself, &["--out ."]);
}

#[test]
fn what_is_wrong_is_told_with_where() {
    let folder = work();
    assert_fails(&train(folder.path(), &["--set", "train.epoch=3"]), &["train.epoch=3", "unknown"]);
    assert_fails(&train(folder.path(), &["--set", "train.batch=0"]), &["batch", "it is 0"]);
    let genders = ["--set", "train.gender_batch=4"];
    assert_fails(&train(folder.path(), &genders), &["0 gender faces", "train.gender_batch"]);
    // Before a teacher is asked.
    let start = "train.start=no-start";
    let start = ["--set", start, "--set", "train.teacher.checkpoints=[\"no-teacher\"]"];
    assert_fails(&train(folder.path(), &start), &["no-start"]);
    let strides = ["--set", "train.network.stem_strides=1"];
    assert_fails(&train(folder.path(), &strides), &["stem_strides", "unknown field"]);
    assert_fails(&train(folder.path(), &["--data-dir", "none"]), &["none/faces.csv"]);
    let votes = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,\
                 contempt,unknown,NF\nTraining,a,1,0,0,0,0,0,0,0,0,0\n";
    std::fs::write(folder.path().join("votes.csv"), votes).unwrap();
    let with_votes = RECIPE.replace("\"faces.csv\"", "\"faces.csv\"\nvotes = \"votes.csv\"");
    std::fs::write(folder.path().join("recipe.toml"), with_votes).unwrap();
    assert_fails(&train(folder.path(), &[]), &["votes.csv", "1 rows of votes", "40 rows of faces"]);
    let faces = folder.path().join("faces.csv");
    std::fs::write(&faces, "emotion,pixels,Usage\n9,1 2 3,Training\n").unwrap();
    assert_fails(&train(folder.path(), &[]), &["faces.csv, line 2", "\"9\""]);
}

/// The recipe that is printed is one to start from.
#[test]
fn the_printed_recipe_trains_once_it_says_what_on() {
    let folder = work();
    let recipe = assert_ok(&lab(folder.path(), &["recipe"]));
    let recipe = recipe.replace("\"fer2013.csv\"", "\"faces.csv\"");
    std::fs::write(folder.path().join("recipe.toml"), recipe).unwrap();
    assert_fails(&train(folder.path(), &["--set", "train.epochs=0"]), &["faces.csv.xz"]);
    let settings = ["data.gender=[]", "train.gender_batch=0", "train.batch=8", "train.epochs=0"];
    let set: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    assert_ok(&train(folder.path(), &set));
}

#[test]
fn near_duplicates_are_listed() {
    let folder = work();
    let faces = folder.path().join("faces.csv");
    let text = std::fs::read_to_string(&faces).unwrap();
    let third = text.lines().nth(3).unwrap();
    std::fs::write(&faces, format!("{text}{third}\n")).unwrap();
    assert_ok(&train(folder.path(), &["--set", "train.epochs=0"]));
    let table = std::fs::read_to_string(folder.path().join("run/near-duplicates.csv")).unwrap();
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows, ["source,row,group", "./faces.csv,2,0", "./faces.csv,40,0"]);
}
