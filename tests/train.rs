//! Training: it learns, the same seed gives the same weights, and an interrupted run ends where
//! an uninterrupted one does.
#![cfg(feature = "lab")]

use mien::lab::evaluate::{expression_answers, gender_answers};
use mien::lab::executor::{Executor, Weights};
use mien::lab::loss::Target;
use mien::lab::network::{Block, Down, Graph, Preset};
use mien::lab::train::{Recipe, Run, Sample, TrainError};
use ndarray::Array2;

const EPOCHS: u64 = 6;

fn recipe(seed: u64) -> Recipe {
    let preset = Preset {
        name: "tiny".into(),
        stem: [4, 8],
        stem_stride: 1,
        stem_norm_after_relu: false,
        stem_pool: true,
        blocks: vec![Block { width: 16, depth: 1, down: Down::Stride }],
        dropout: 0.1,
    };
    Recipe {
        preset,
        epochs: EPOCHS,
        batch: 12,
        gender_batch: 4,
        gender_weight: 0.5,
        learning_rate: 2e-2,
        weight_decay: 0.01,
        seed,
    }
}

/// Stripes: their width is the expression (three of the seven), their direction the gender.
/// Standardized, as faces are.
fn stripes(width: usize, upright: bool, i: usize) -> Array2<f32> {
    Array2::from_shape_fn((48, 48), |(y, x)| {
        let along = if upright { x } else { y };
        if ((along + i) / width).is_multiple_of(2) { 1.0 } else { -1.0 }
    })
}

fn samples() -> (Vec<Sample>, Vec<Sample>) {
    let expression = |i: usize| {
        let mut target = [0.0; 7];
        target[i % 3] = 1.0;
        let face = stripes([2, 5, 12][i % 3], i.is_multiple_of(2), i);
        Sample { face, target: Target::Expression(target) }
    };
    let gender = |i: usize| {
        let face = stripes([2, 5, 12][i % 3], i.is_multiple_of(2), i);
        let target = if i.is_multiple_of(2) { [1.0, 0.0] } else { [0.0, 1.0] };
        Sample { face, target: Target::Gender(target) }
    };
    ((0..120).map(expression).collect(), (0..40).map(gender).collect())
}

fn run(seed: u64) -> Run {
    let (expressions, genders) = samples();
    Run::new(recipe(seed), expressions, genders).unwrap()
}

#[test]
fn both_heads_learn() {
    let mut run = run(1);
    while run.epoch(|_| ()).unwrap().is_some() {}
    let checkpoint = run.checkpoint();
    let mut executor = Executor::new(Graph::build(&checkpoint.preset));
    let weights = Weights::from_params(executor.graph(), &checkpoint.params).unwrap();
    let (expressions, genders) = samples();

    let mut logits = |samples: &[Sample]| {
        let pictures: Vec<f32> = samples.iter().flat_map(|s| &s.face).copied().collect();
        executor.infer(&weights, &pictures).as_chunks().0.to_vec()
    };
    let logits_of_expressions = logits(&expressions);
    let answers = expression_answers(&logits_of_expressions);
    let right = answers.iter().enumerate().filter(|(i, answer)| **answer == i % 3).count();
    assert!(right >= 110, "{right} of 120 expressions");
    let answers = gender_answers(&logits(&genders));
    let right = answers.iter().enumerate().filter(|(i, answer)| **answer == i % 2).count();
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
    let other_labels = genders.into_iter().rev().collect();
    let mut other = Run::new(recipe(1), expressions, other_labels).unwrap();
    let error = other.resume(folder.path()).unwrap_err();
    assert!(matches!(error, TrainError::OtherRecipe { .. }), "{error}");
}
