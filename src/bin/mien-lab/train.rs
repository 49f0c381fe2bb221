//! `mien-lab train`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use mien::image::Grey;
use mien::lab::checkpoint::Checkpoint;
use mien::lab::dataset::{self, LabelledFace, PackFace, ferplus};
use mien::lab::evaluate::{expression_answers, gender_answers};
use mien::lab::executor::{Executor, Weights};
use mien::lab::network::{Graph, LOGITS};
use mien::lab::optimizer::OptimizerSettings;
use mien::lab::preprocessing::Preprocessing;
use mien::lab::samples::{expression_sample, gender_sample, kept_back_gender};
use mien::lab::split::Split;
use mien::lab::train::{Epoch, MODEL_FILE, Recipe, Run, Sample};

/// Train a network; go on with the run if its folder holds one.
#[derive(clap::Args)]
pub struct Args {
    /// Kaggle's fer2013.csv, plain or .xz.
    #[arg(long)]
    data: PathBuf,
    /// FER+ votes (fer2013new.csv) for the same rows: softens the labels.
    #[arg(long)]
    votes: Option<PathBuf>,
    /// A face pack NAME.u8.xz with a gender column: trains the gender head.
    #[arg(long)]
    genders: Option<PathBuf>,
    /// Network: slim, reference.
    #[arg(long, default_value = "slim")]
    preset: String,
    /// Passes over the training faces.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: u64,
    /// Expression faces in a batch; a third as many gender faces join them.
    #[arg(long, default_value_t = 48, value_parser = crate::at_least_one())]
    batch: usize,
    /// Peak learning rate.
    #[arg(long, default_value_t = 4e-3, value_parser = crate::not_negative)]
    learning_rate: f32,
    /// Weight decay by one step, in learning rates.
    #[arg(long, default_value_t = 0.02, value_parser = crate::not_negative)]
    weight_decay: f32,
    /// Seed of every random draw.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of the run: model.safetensors (the result), resume.safetensors, curve.csv.
    #[arg(long)]
    out: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut recipe = recipe(args)?;
    let (expressions, kept_back) = expression_samples(args, &recipe.preprocessing)?;
    let (genders, gender_kept_back) = match &args.genders {
        None => (Vec::new(), Vec::new()),
        Some(path) => gender_samples(path, &recipe.preprocessing)?,
    };
    if genders.is_empty() {
        recipe.gender_batch = 0;
    }
    let validation = Validation::new(&recipe.preprocessing, &kept_back, &gender_kept_back);
    let cannot_write = || format!("can't write to --out {}", args.out.display());
    std::fs::create_dir_all(&args.out).with_context(cannot_write)?;
    let mut run = Run::new(recipe, expressions, genders)?;
    run.resume(&args.out)?;
    if run.epochs_done() > 0 {
        println!("going on after epoch {}", run.epochs_done());
    }
    let mut curve = Curve::open(&args.out).with_context(cannot_write)?;
    loop {
        let title = format!("epoch {}/{}", run.epochs_done() + 1, args.epochs);
        let bar = crate::progress(run.batches(), "batches", title)?;
        let started = Instant::now();
        let Some(epoch) = run.epoch(|_| bar.inc(1))? else { break };
        bar.finish_and_clear();
        run.save(&args.out)?;
        let seconds = started.elapsed().as_secs_f64();
        let scores = validation.score(&run.checkpoint());
        curve.add(&epoch, &scores, seconds).with_context(cannot_write)?;
    }
    println!("done: {}", args.out.join(MODEL_FILE).display());
    Ok(())
}

fn recipe(args: &Args) -> anyhow::Result<Recipe> {
    Ok(Recipe {
        network: crate::named_preset(&args.preset)?,
        epochs: args.epochs,
        batch: args.batch,
        gender_batch: args.batch / 3,
        seed: args.seed,
        optimizer: OptimizerSettings {
            learning_rate: args.learning_rate,
            weight_decay: args.weight_decay,
            ..OptimizerSettings::default()
        },
        ..Recipe::default()
    })
}

/// Training samples of the Training rows, and the rows kept back for validation.
fn expression_samples(
    args: &Args,
    preprocessing: &Preprocessing,
) -> anyhow::Result<(Vec<Sample>, Vec<LabelledFace>)> {
    let mut rows = dataset::read_fer2013(&args.data)?;
    if let Some(votes) = &args.votes {
        ferplus::join(votes, &mut rows)?;
    }
    let split = Split::of_expressions(&rows);
    println!("{}: {split}", args.data.display());
    let samples = split.training.iter().map(|i| expression_sample(&rows[*i], 0.4, preprocessing));
    Ok((samples.collect(), split.validation.iter().map(|i| rows[*i].clone()).collect()))
}

/// Training samples of a face pack, and the faces kept back for validation.
fn gender_samples(
    path: &Path,
    preprocessing: &Preprocessing,
) -> anyhow::Result<(Vec<Sample>, Vec<PackFace>)> {
    let faces = dataset::read_face_pack(path)?;
    let split = Split::of_genders(&faces);
    println!("{}: {split}", path.display());
    let samples = split.training.iter().map(|i| gender_sample(&faces[*i], preprocessing));
    Ok((samples.collect(), split.validation.iter().map(|i| faces[*i].clone()).collect()))
}

/// Faces kept back from training, with their labels.
struct Validation {
    expression: Part,
    gender: Part,
}

/// Prepared faces [n, 48, 48] and their labels.
struct Part {
    pictures: Vec<f32>,
    labels: Vec<usize>,
}

impl Part {
    fn new(preprocessing: &Preprocessing, faces: impl Iterator<Item = (Grey, usize)>) -> Self {
        let (faces, labels): (Vec<Grey>, Vec<usize>) = faces.unzip();
        let pictures = faces.iter().flat_map(|face| preprocessing.prepare(face)).collect();
        Self { pictures, labels }
    }

    /// Share of the faces whose answer is the label.
    fn accuracy(
        &self,
        logits: &[[f32; LOGITS]],
        answers: fn(&[[f32; LOGITS]]) -> Vec<usize>,
    ) -> f64 {
        let answers = answers(logits);
        let right = answers.iter().zip(&self.labels).filter(|(a, b)| a == b).count();
        right as f64 / self.labels.len() as f64
    }
}

/// Shares of the validation faces answered right.
struct Scores {
    expression: f64,
    gender: f64,
}

impl Validation {
    fn new(preprocessing: &Preprocessing, rows: &[LabelledFace], genders: &[PackFace]) -> Self {
        let expressions = rows.iter().map(|row| (row.face.clone(), row.label));
        Self {
            expression: Part::new(preprocessing, expressions),
            gender: Part::new(preprocessing, genders.iter().map(kept_back_gender)),
        }
    }

    fn score(&self, checkpoint: &Checkpoint) -> Scores {
        let mut executor = Executor::new(Graph::build(&checkpoint.preset));
        let weights = Weights::from_params(executor.graph(), &checkpoint.params)
            .expect("a run's checkpoint is whole");
        let expression = executor.logits(&weights, &self.expression.pictures);
        let gender = executor.logits(&weights, &self.gender.pictures);
        Scores {
            expression: self.expression.accuracy(&expression, expression_answers),
            gender: self.gender.accuracy(&gender, gender_answers),
        }
    }
}

/// `curve.csv`: a line an epoch.
struct Curve(File);

impl Curve {
    fn open(folder: &Path) -> std::io::Result<Self> {
        let mut file =
            OpenOptions::new().create(true).append(true).open(folder.join("curve.csv"))?;
        if file.metadata()?.len() == 0 {
            writeln!(file, "epoch,loss,gender_loss,accuracy,gender_accuracy,seconds")?;
        }
        Ok(Self(file))
    }

    fn add(&mut self, epoch: &Epoch, scores: &Scores, seconds: f64) -> std::io::Result<()> {
        let Epoch { number, losses, .. } = epoch;
        let Scores { expression, gender } = scores;
        println!(
            "epoch {number}: loss {:.3}, gender loss {:.3}; validation accuracy {expression:.4}, \
             gender {gender:.4}; {seconds:.0} s",
            losses.expression, losses.gender,
        );
        let (loss, gender_loss) = (losses.expression, losses.gender);
        writeln!(self.0, "{number},{loss},{gender_loss},{expression},{gender},{seconds:.1}")
    }
}
