//! Training: it learns, the same seed gives the same weights, and an interrupted run ends where
//! an uninterrupted one does.
#![cfg(feature = "lab")]

#[path = "common/stripes.rs"]
mod stripes;

use mien::lab::checkpoint::Checkpoint;
use mien::lab::offsets;
use mien::lab::samples::Sample;
use mien::lab::train::{Recipe, Run, TrainError};
use stripes::{recipe, run, samples};

#[test]
fn both_heads_learn() {
    let mut run = run(1);
    while run.epoch(|_| ()).unwrap().is_some() {}
    let right = stripes::expressions_right(&run.checkpoint());
    assert!(right >= 110, "{right} of 120 expressions");
    let right = stripes::genders_right(&run.checkpoint());
    assert!(right >= 36, "{right} of 40 genders");
}

#[test]
fn an_interrupted_run_ends_where_an_uninterrupted_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = run(1);
    while whole.epoch(|_| ()).unwrap().is_some() {}

    let mut first = run(1);
    first.epoch(|_| ()).unwrap();
    first.epoch(|_| ()).unwrap();
    first.save(folder.path()).unwrap();
    let mut second = run(1);
    second.resume(folder.path()).unwrap();
    assert_eq!(second.epochs_done(), 2);
    while second.epoch(|_| ()).unwrap().is_some() {}
    assert_eq!(whole.checkpoint(), second.checkpoint());
    assert_ne!(whole.checkpoint(), first.checkpoint());
}

#[test]
fn results_do_not_depend_on_threads_but_on_the_seed() {
    let with_threads = |threads: usize, seed| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut run = run(seed);
            run.epoch(|_| ()).unwrap();
            run.checkpoint().params
        })
    };
    assert_eq!(with_threads(1, 1), with_threads(3, 1));
    assert_ne!(with_threads(1, 1), with_threads(1, 2));
}

#[test]
fn another_recipe_does_not_go_on_with_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = run(1);
    first.epoch(|_| ()).unwrap();
    first.save(folder.path()).unwrap();
    let error = run(2).resume(folder.path()).unwrap_err();
    assert!(matches!(error, TrainError::OtherRecipe { .. }), "{error}");
    assert!(error.to_string().contains("(seed 1)"), "{error}");

    let (expressions, genders) = samples();
    let other_labels: Vec<Sample> = genders.into_iter().rev().collect();
    let mut other = Run::new(recipe(1), expressions, other_labels).unwrap();
    let error = other.resume(folder.path()).unwrap_err();
    assert!(matches!(error, TrainError::OtherRecipe { .. }), "{error}");
}

#[test]
fn equal_checkpoints_are_equal_files() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = run(1).checkpoint();
    let written = || {
        let path = folder.path().join("c.safetensors");
        checkpoint.write(&path).unwrap();
        assert_eq!(Checkpoint::read(&path).unwrap(), checkpoint);
        std::fs::read(&path).unwrap()
    };
    let first = written();
    assert!((0..8).all(|_| written() == first));
}

#[test]
fn a_run_starts_from_a_checkpoint_as_it_was_learnt() {
    let mut first = run(1);
    first.epoch(|_| ()).unwrap();
    let learnt = first.checkpoint();
    let mut finished = learnt.clone();
    offsets::apply(&mut finished, &[0.5, -0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    assert_ne!(finished.params, learnt.params);
    let mut second = run(2);
    second.start_from(finished.clone()).unwrap();
    for (name, tensor) in second.checkpoint().params {
        let pairs = tensor.data.iter().zip(&learnt.params[&name].data);
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-6), "{name}");
    }
    finished.preset.stem = [4, 4];
    let error = second.start_from(finished).unwrap_err();
    assert!(matches!(error, TrainError::OtherNetwork { .. }), "{error}");
}

/// Every switch of the recipe at once: it still learns, and still resumes to the same weights.
#[test]
fn a_run_with_every_switch_learns_and_resumes_exactly() {
    let with_everything = || {
        let mut recipe = recipe(3);
        recipe.augment.mixup_share = 0.3;
        recipe.loss.label_smoothing = 0.05;
        recipe.loss.class_balance = 0.5;
        recipe.loss.focal_gamma = 1.0;
        recipe.optimizer.clip_norm = 0.5;
        let (expressions, genders) = samples();
        Run::new(recipe, expressions, genders).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let mut whole = with_everything();
    whole.epoch(|_| ()).unwrap();
    whole.save(folder.path()).unwrap();
    while whole.epoch(|_| ()).unwrap().is_some() {}
    let mut second = with_everything();
    second.resume(folder.path()).unwrap();
    while second.epoch(|_| ()).unwrap().is_some() {}
    assert_eq!(whole.checkpoint(), second.checkpoint());
    let right = stripes::expressions_right(&whole.checkpoint());
    assert!(right >= 90, "{right} of 120 expressions");
}

/// Rounding is part of the run: it resumes to the same weights, and these are other ones.
#[test]
fn a_quantization_aware_run_learns_and_resumes_exactly() {
    let mut first = run(1);
    while first.epoch(|_| ()).unwrap().is_some() {}
    let learnt = first.checkpoint();
    let from_it = |quantization_aware| {
        let recipe = Recipe { quantization_aware, start: Some("first".into()), ..recipe(2) };
        let (expressions, genders) = samples();
        let mut run = Run::new(recipe, expressions, genders).unwrap();
        run.start_from(learnt.clone()).unwrap();
        run
    };
    let folder = tempfile::tempdir().unwrap();
    let mut whole = from_it(true);
    whole.epoch(|_| ()).unwrap();
    whole.save(folder.path()).unwrap();
    while whole.epoch(|_| ()).unwrap().is_some() {}
    let mut second = from_it(true);
    second.resume(folder.path()).unwrap();
    while second.epoch(|_| ()).unwrap().is_some() {}
    assert_eq!(whole.checkpoint(), second.checkpoint());
    let right = stripes::expressions_right(&whole.checkpoint());
    assert!(right >= 90, "{right} of 120 expressions");

    let mut plain = from_it(false);
    while plain.epoch(|_| ()).unwrap().is_some() {}
    assert_ne!(plain.checkpoint().params, whole.checkpoint().params);
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let refused = |change: fn(&mut Recipe)| {
        let mut recipe = recipe(1);
        change(&mut recipe);
        let (expressions, genders) = samples();
        Run::new(recipe, expressions, genders).err().expect("it is refused").to_string()
    };
    assert!(refused(|r| r.augment.turn_deg = f32::NAN).contains("augment: turn_deg NaN"));
    assert!(refused(|r| r.loss.label_smoothing = 1.0).contains("loss: smoothing 1"));
    assert!(refused(|r| r.network.stem_stride = 0).contains("network: stem_stride 0"));
    assert!(refused(|r| r.network.blocks[0].width = 0).contains("network: a width of 0"));
    assert!(refused(|r| r.network.dropout = 1.0).contains("network: dropout 1"));
    assert!(refused(|r| r.quantization_aware = true).contains("train.start"));
    assert!(refused(|r| r.optimizer.warm_up = 1.0).contains("optimizer: warm_up 1"));
}
