//! Pictures that a tiny network learns in seconds, and its training run.

use mien::lab::checkpoint::Checkpoint;
use mien::lab::evaluate::{expression_answers, gender_answers};
use mien::lab::executor::{Executor, Weights};
use mien::lab::loss::Target;
use mien::lab::network::{Block, Down, Graph, Preset};
use mien::lab::optimizer::OptimizerSettings;
use mien::lab::samples::Sample;
use mien::lab::train::{Recipe, Run};
use ndarray::Array2;

const EPOCHS: u64 = 6;

pub fn recipe(seed: u64) -> Recipe {
    let network = Preset {
        name: "tiny".into(),
        stem: [4, 8],
        stem_stride: 1,
        stem_norm_after_relu: false,
        stem_pool: true,
        blocks: vec![Block::new(16, 1, Down::Stride)],
        relu_after_add: false,
        dropout: 0.1,
    };
    Recipe {
        network,
        epochs: EPOCHS,
        batch: 12,
        gender_batch: 4,
        seed,
        optimizer: OptimizerSettings { learning_rate: 2e-2, ..Default::default() },
        ..Recipe::default()
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

/// 120 faces with an expression, 40 with a gender.
pub fn samples() -> (Vec<Sample>, Vec<Sample>) {
    let face = |i: usize| stripes([2, 5, 12][i % 3], i.is_multiple_of(2), i);
    let expression = |i: usize| {
        let mut target = [0.0; 7];
        target[i % 3] = 1.0;
        Sample { face: face(i), target: Target::expression(target) }
    };
    let gender = |i: usize| {
        let target = if i.is_multiple_of(2) { [1.0, 0.0] } else { [0.0, 1.0] };
        Sample { face: face(i), target: Target::gender(target) }
    };
    ((0..120).map(expression).collect(), (0..40).map(gender).collect())
}

pub fn run(seed: u64) -> Run {
    let (expressions, genders) = samples();
    run_with(seed, expressions, genders)
}

pub fn run_with(seed: u64, expressions: Vec<Sample>, genders: Vec<Sample>) -> Run {
    Run::new(recipe(seed), expressions, genders).unwrap()
}

/// Of 120 expressions, how many a checkpoint names.
pub fn expressions_right(checkpoint: &Checkpoint) -> usize {
    let answers = expression_answers(&logits(checkpoint, &samples().0));
    answers.iter().enumerate().filter(|(i, answer)| **answer == i % 3).count()
}

/// Of 40 genders, how many a checkpoint names.
pub fn genders_right(checkpoint: &Checkpoint) -> usize {
    let answers = gender_answers(&logits(checkpoint, &samples().1));
    answers.iter().enumerate().filter(|(i, answer)| **answer == i % 2).count()
}

fn logits(checkpoint: &Checkpoint, samples: &[Sample]) -> Vec<[f32; 9]> {
    let mut executor = Executor::new(Graph::build(&checkpoint.preset));
    let weights = Weights::from_params(executor.graph(), &checkpoint.params).unwrap();
    let pictures: Vec<f32> = samples.iter().flat_map(|s| &s.face).copied().collect();
    executor.infer(&weights, &pictures).as_chunks().0.to_vec()
}
