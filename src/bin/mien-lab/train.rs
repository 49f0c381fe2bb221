//! `mien-lab train`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use mien::lab::checkpoint::Checkpoint;
use mien::lab::curve::{Curve, Point};
use mien::lab::dataset::{LabelledFace, PackFace};
use mien::lab::device::Device;
use mien::lab::mixture::Mixture;
use mien::lab::offsets::{self, OffsetSettings};
use mien::lab::recipe::RecipeFile;
use mien::lab::samples::{Sample, expression_sample, gender_sample};
use mien::lab::table;
use mien::lab::teacher::{self, TeacherSettings};
use mien::lab::train::{MODEL_FILE, Run};
use mien::lab::validation::{Scores, Validation};

/// Train a network by a recipe; go on with the run if its folder holds one.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mien-lab recipe                                           every setting and what it means
  mien-lab train models/mien-slim.recipe.toml --data-dir data --out runs/slim
                                                            again, to go on after an interruption
  mien-lab train my.recipe.toml --out runs/short --set train.epochs=3 --set train.augment.flip=false
  mien-lab train my.recipe.toml --out runs/dry --set train.epochs=0
                                                            trains nothing: says what is in the data")]
pub struct Args {
    /// What to learn from and how, such as models/mien-slim.recipe.toml.
    recipe: PathBuf,
    /// Folder that the recipe's paths start from; by default the recipe's own.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Change a setting of the recipe, such as train.epochs=3; may be given again. `mien-lab recipe`
    /// lists all.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// What computes the network's passes.
    #[arg(long, value_enum, default_value = "cpu")]
    device: Device,
    /// Folder of the run: model.safetensors (the result), recipe.toml (all settings and the data's
    /// hashes), near-duplicates.csv, resume.safetensors, curve.csv, curve.png.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// The recipe as it was carried out, in a run's folder.
pub const RECIPE_FILE: &str = "recipe.toml";
/// Which faces of the data are near-duplicates, in a run's folder.
const NEAR_DUPLICATES_FILE: &str = "near-duplicates.csv";
/// A teacher's answers, in a run's folder.
pub const ANSWERS_FILE: &str = "answers.safetensors";

pub fn run(args: &Args) -> anyhow::Result<()> {
    args.device.find()?;
    let mut recipe = RecipeFile::read(&args.recipe, &args.set)?;
    recipe.train.check()?;
    let data_dir = crate::data_dir(&args.recipe, args.data_dir.as_deref());
    let mixture = Mixture::read(&mut recipe.data, data_dir)?;
    mixture.report.iter().for_each(|line| println!("{line}"));
    let cannot_write = || format!("can't write to --out {}", args.out.display());
    std::fs::create_dir_all(&args.out).with_context(cannot_write)?;
    let located = recipe.clone().with_checkpoints_in(&crate::folder_of(&args.recipe)?);
    let mut run = prepare(args, &recipe, &located, &mixture)?;
    table::write(&args.out.join(NEAR_DUPLICATES_FILE), &mixture.near_duplicates)
        .with_context(cannot_write)?;
    located.write(&args.out.join(RECIPE_FILE))?;
    if run.epochs_done() > 0 {
        println!("going on after epoch {}", run.epochs_done());
    }
    let validation = Validation::new(&recipe.train.preprocessing, &mixture);
    drop(mixture);
    carry_out(&mut run, &validation, recipe.train.epochs, &args.out)?;
    finish(run.checkpoint(), &validation, &recipe.train.offsets, &args.out.join(MODEL_FILE))?;
    Ok(())
}

/// Trains to the last of `epochs`, each of which is saved in the run's folder.
pub fn carry_out(
    run: &mut Run,
    validation: &Validation,
    epochs: u64,
    folder: &Path,
) -> anyhow::Result<()> {
    let mut curve = Curve::open(folder, run.epochs_done())?;
    loop {
        let title = format!("epoch {}/{epochs}", run.epochs_done() + 1);
        let bar = crate::progress(run.batches(), "batches", title)?;
        let started = Instant::now();
        let Some(epoch) = run.epoch(|_| bar.inc(1))? else { break };
        bar.finish_and_clear();
        let seconds = started.elapsed().as_secs_f64();
        let Scores { loss, accuracy, gender_accuracy } = validation.score(&run.checkpoint());
        let point = Point {
            epoch: epoch.number,
            loss: epoch.losses.expression,
            gender_loss: epoch.losses.gender,
            validation_loss: loss,
            accuracy,
            gender_accuracy,
            seconds,
            data_share: epoch.data_share,
        };
        print_point(&point);
        // In this order: a point of an epoch that was not saved is left out on going on.
        curve.add(point)?;
        run.save(folder)?;
    }
    curve.write()?;
    Ok(())
}

/// Adds the offsets that the finished network's logits need, writes it, and gives its scores.
pub fn finish(
    mut checkpoint: Checkpoint,
    validation: &Validation,
    settings: &OffsetSettings,
    path: &Path,
) -> anyhow::Result<Scores> {
    let offsets = validation.offsets(settings, &checkpoint);
    let added = offsets::apply(&mut checkpoint, &offsets);
    println!("offsets added to the logits: {added}");
    if offsets.iter().all(|offset| *offset == 0.0) {
        println!("(fewer than {} faces kept back fit none)", offsets::LEAST_FACES);
    }
    checkpoint.write(path)?;
    let scores = validation.score(&checkpoint);
    let Scores { loss, accuracy, gender_accuracy } = scores;
    let percent = |share: Option<f64>| 100.0 * share.unwrap_or(f64::NAN);
    println!(
        "done: {}; validation loss {:.3}, accuracy {:.2} %, gender {:.2} %",
        path.display(),
        loss.unwrap_or(f64::NAN),
        percent(accuracy),
        percent(gender_accuracy),
    );
    Ok(scores)
}

/// The run of `recipe`, at its beginning or where the one in its folder was left. `located` is the
/// same recipe with whole paths to its checkpoints.
fn prepare(
    args: &Args,
    recipe: &RecipeFile,
    located: &RecipeFile,
    mixture: &Mixture,
) -> anyhow::Result<Run> {
    let path = args.out.join(RECIPE_FILE);
    if path.exists() {
        let before = RecipeFile::read(&path, &[])?;
        ensure!(
            before.data.is_same_data(&recipe.data),
            "{} belongs to a run on other data; give another --out, or delete the folder",
            path.display()
        );
    }
    // Too few faces and missing checkpoints are told before a teacher is asked, which takes minutes.
    recipe.train.check_faces(mixture.expressions.len(), mixture.genders.len())?;
    let start = located.train.start.as_deref().map(Checkpoint::read).transpose()?;
    let (mut expressions, mut genders) = samples(recipe, &mixture.expressions, &mixture.genders);
    if let Some(teacher) = &located.train.teacher {
        teach(teacher, &mut expressions, &mut genders, &args.out.join(ANSWERS_FILE))?;
    }
    let mut run = Run::on(args.device, recipe.train.clone(), expressions, genders)?;
    if let Some(start) = start {
        run.start_from(start)?;
    }
    run.resume(&args.out)?;
    Ok(run)
}

/// Faces of a mixture as the recipe prepares and labels them: of expressions, and of genders.
pub fn samples(
    recipe: &RecipeFile,
    expressions: &[LabelledFace],
    genders: &[PackFace],
) -> (Vec<Sample>, Vec<Sample>) {
    let preprocessing = &recipe.train.preprocessing;
    let votes_share = recipe.data.votes_share;
    let expression = |face| expression_sample(face, votes_share, preprocessing);
    let gender = |face| gender_sample(face, preprocessing);
    (expressions.iter().map(expression).collect(), genders.iter().map(gender).collect())
}

/// Puts the teacher's answers, kept in the file `kept`, into the samples' labels.
pub fn teach(
    settings: &TeacherSettings,
    expressions: &mut [Sample],
    genders: &mut [Sample],
    kept: &Path,
) -> anyhow::Result<()> {
    let asked: Vec<&Sample> = expressions.iter().chain(genders.iter()).collect();
    let count = asked.len() * settings.checkpoints.len();
    let bar = crate::progress(count as u64, "faces", "asking the teacher")?;
    let answers = teacher::answers(settings, &asked, kept, |n| bar.inc(n as u64))?;
    bar.finish_and_clear();
    for (sample, answer) in expressions.iter_mut().chain(genders).zip(&answers) {
        sample.target = teacher::taught(&sample.target, answer, settings.share);
    }
    Ok(())
}

fn print_point(point: &Point) {
    let Point { epoch, loss, gender_loss, validation_loss, seconds, data_share, .. } = point;
    let percent =
        |share: Option<f64>| share.map_or("-".into(), |share| format!("{:.2} %", 100.0 * share));
    println!(
        "epoch {epoch}: loss {loss:.3}, gender loss {gender_loss:.3}; validation loss {}, \
         accuracy {}, gender {}; {seconds:.0} s, {:.1} % of them making pictures",
        validation_loss.map_or("-".into(), |loss| format!("{loss:.3}")),
        percent(point.accuracy),
        percent(point.gender_accuracy),
        100.0 * data_share,
    );
}
