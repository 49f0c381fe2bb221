//! `mien-lab prune`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::builder::RangedU64ValueParser;
use mien::lab::checkpoint::Checkpoint;
use mien::lab::device::Device;
use mien::lab::executor::Weights;
use mien::lab::mixture::Mixture;
use mien::lab::network::Graph;
use mien::lab::prune::cut::cut_checkpoint;
use mien::lab::prune::groups::Groups;
use mien::lab::prune::importance::{Importance, Taylor, Worth};
use mien::lab::prune::pareto::{Pareto, Row};
use mien::lab::prune::plan::{Budget, Cost, choose, reach};
use mien::lab::recipe::RecipeFile;
use mien::lab::samples::Sample;
use mien::lab::train::{MODEL_FILE, Run};
use mien::lab::validation::{Scores, Validation};
use mien::lab::whole;
use serde::{Deserialize, Serialize};

use crate::train::{self, ANSWERS_FILE, RECIPE_FILE};

/// Narrow a trained network to a budget: remove whole channels, train on, again and again.
///
/// Each step removes the channels that are worth least for what they save, in groups that only go
/// together, and trains the narrower network by the recipe, taught by the original one. An
/// interrupted pruning goes on where it was, after the last whole epoch of its step.
///
/// The result is a checkpoint like any other: `mien-lab quantize` makes a file of it, and
/// `mien-lab train OUT/step-N/recipe.toml --set train.epochs=60` trains a step's network longer.
#[derive(clap::Args)]
pub struct Args {
    /// The network to narrow: a checkpoint that `mien-lab train` or `prune` wrote.
    checkpoint: PathBuf,
    /// What to learn from and how, such as models/mien-slim.recipe.toml; its network, start and
    /// epochs don't count. The original network joins its teachers, or teaches alone with a share
    /// of 0.4 where it has none.
    #[arg(long, value_name = "FILE")]
    recipe: PathBuf,
    /// Folder that the recipe's paths start from; by default the recipe's own.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Change a setting of the recipe, such as train.optimizer.learning_rate=1e-3; may be given
    /// again.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    settings: Settings,
    /// What computes the network's passes.
    #[arg(long, value_enum, default_value = "cpu")]
    device: Device,
    /// Folder of the pruning: model.safetensors (the most accurate step within the budget),
    /// pareto.csv, pareto.txt and pareto.png (accuracy against cost), and a folder for each step:
    /// cut.safetensors, before training, and the training run.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// What makes one pruning another.
#[derive(clap::Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Settings {
    /// Most million multiply-accumulates of one face; this, --bytes, --channels, or several.
    #[arg(long, value_name = "MILLION", required_unless_present_any = ["bytes", "channels"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    mmac: Option<f64>,
    /// Most bytes of the int8 file, as estimated from the weights.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Most output channels of all convolutions together, depthwise ones left out.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<u64>,
    /// Narrow to multiples of so many channels, which kernels like.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = crate::at_least_one())]
    align: usize,
    /// Cuts on the way to the budget; each takes off the same share.
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = RangedU64ValueParser::<u32>::new().range(1..=1000))]
    steps: u32,
    /// Epochs of training after each cut; 0 only cuts.
    #[arg(long, value_name = "N", default_value_t = 8)]
    epochs: u64,
    /// Cut once and don't train: --steps 1 --epochs 0.
    #[arg(long, conflicts_with_all = ["steps", "epochs"])]
    one_shot: bool,
    /// How a channel's worth is told.
    #[arg(long, value_enum, default_value = "taylor")]
    importance: Importance,
    /// Training batches that tell the worth of channels (--importance taylor), and to which the
    /// batch norms of a network just cut are fitted; an epoch's at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = crate::at_least_one())]
    batches: usize,
}

impl Settings {
    /// Steps and epochs.
    fn schedule(&self) -> (u32, u64) {
        if self.one_shot { (1, 0) } else { (self.steps, self.epochs) }
    }

    fn budget(&self) -> anyhow::Result<Budget> {
        let positive = |mmac: f64| mmac.is_finite() && mmac > 0.0;
        ensure!(self.mmac.is_none_or(positive), "--mmac must be a number above 0");
        let macs = self.mmac.map(|mmac| (1e6 * mmac) as u64);
        Ok(Budget { macs, bytes: self.bytes, channels: self.channels })
    }
}

/// Settings and recipe of the pruning in a folder.
#[derive(PartialEq, Serialize, Deserialize)]
struct Plan {
    settings: Settings,
    recipe: RecipeFile,
}

/// [`Plan`], in a pruning's folder.
const PLAN_FILE: &str = "prune.toml";
/// The network that a pruning began with, in its folder.
const ORIGINAL_FILE: &str = "original.safetensors";
/// The network of a step right after the cut, in the step's folder.
const CUT_FILE: &str = "cut.safetensors";

pub fn run(args: &Args) -> anyhow::Result<()> {
    args.device.find()?;
    let budget = args.settings.budget()?;
    let (steps, epochs) = args.settings.schedule();
    let original = Checkpoint::read(&args.checkpoint)?;
    let graph = Graph::build(&original.preset);
    let cost = Cost::of(&graph);
    ensure!(
        !budget.holds(cost),
        "{} is within the budget as it is: {cost}",
        args.checkpoint.display()
    );
    reach(&graph, &budget, args.settings.align)?;
    let mut recipe = RecipeFile::read(&args.recipe, &args.set)?;
    recipe.train.epochs = epochs;
    let data_dir = crate::data_dir(&args.recipe, args.data_dir.as_deref());
    let mixture = Mixture::read(&mut recipe.data, data_dir)?;
    mixture.report.iter().for_each(|line| println!("{line}"));
    let cannot_write = || format!("can't write to --out {}", args.out.display());
    fs::create_dir_all(&args.out).with_context(cannot_write)?;
    let recipe = settle(args, recipe)?;
    let pruning = Pruning::new(args, recipe, &mixture)?;
    drop(mixture);

    let mut pareto = Pareto::open(&args.out)?;
    if !pareto.has(0) {
        let scores = pruning.validation.score(&original);
        pareto.add(Row::new(0, &graph, &scores, &scores))?;
    }
    let base = original.preset.name.clone();
    let mut parent = original;
    for step in 1..=steps {
        let folder = step_folder(&args.out, step);
        if !pareto.has(step) {
            let to = budget.on_the_way(cost, step, steps);
            let row = pruning.step(step, &folder, &parent, &to, &base)?;
            pareto.add(row)?;
        }
        parent = Checkpoint::read(&folder.join(MODEL_FILE))?;
    }
    print!("{}", pareto.text());
    let best = pareto.best_within(&budget).context("no step is within the budget")?;
    let model = args.out.join(MODEL_FILE);
    Checkpoint::read(&step_folder(&args.out, best.step).join(MODEL_FILE))?.write(&model)?;
    println!("done: {}, of step {}", model.display(), best.step);
    Ok(())
}

fn step_folder(out: &Path, step: u32) -> PathBuf {
    out.join(format!("step-{step}"))
}

/// Makes the folder this pruning's, or finds that it is: the checkpoints are copied there, so that
/// it can be moved. Gives the recipe with paths from a step's folder to the copies.
fn settle(args: &Args, mut recipe: RecipeFile) -> anyhow::Result<RecipeFile> {
    let own = |name: &str| PathBuf::from("..").join(name);
    recipe.train.start = Some(CUT_FILE.into());
    let mut copies = vec![(args.checkpoint.clone(), ORIGINAL_FILE.to_owned())];
    let teacher = recipe.train.teacher.get_or_insert_default();
    let beside = crate::folder_of(&args.recipe)?;
    for (i, path) in teacher.files_mut().enumerate() {
        let name = format!("teacher-{}.safetensors", i + 1);
        copies.push((beside.join(&*path), name.clone()));
        *path = own(&name);
    }
    teacher.checkpoints.push(own(ORIGINAL_FILE));
    let plan = Plan { settings: args.settings.clone(), recipe };
    let path = args.out.join(PLAN_FILE);
    let again = path.exists();
    if again {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let before: Plan = toml::from_str(&text).with_context(|| path.display().to_string())?;
        ensure!(
            before == plan,
            "{} belongs to another pruning: its settings, recipe or data differ; give another \
             --out, or delete the folder",
            path.display()
        );
    }
    for (from, name) in copies {
        let bytes = fs::read(&from).with_context(|| from.display().to_string())?;
        let to = args.out.join(name);
        ensure!(
            fs::read(&to).map_or(!again, |copy| copy == bytes),
            "{} is not {}, with which the pruning in this folder began; give another --out, or \
             delete the folder",
            from.display(),
            to.display()
        );
        whole::write(&to, &bytes).with_context(|| to.display().to_string())?;
    }
    // Last: what is there before it is no pruning yet.
    whole::write(&path, toml::to_string(&plan)?.as_bytes())
        .with_context(|| path.display().to_string())?;
    Ok(plan.recipe)
}

/// What every step needs.
struct Pruning<'a> {
    settings: &'a Settings,
    device: Device,
    recipe: RecipeFile,
    expressions: Arc<[Sample]>,
    genders: Arc<[Sample]>,
    validation: Validation,
}

impl<'a> Pruning<'a> {
    fn new(args: &'a Args, recipe: RecipeFile, mixture: &Mixture) -> anyhow::Result<Self> {
        let (mut expressions, mut genders) =
            train::samples(&recipe, &mixture.expressions, &mixture.genders);
        // Who only cuts learns nothing.
        if let Some(teacher) = recipe.train.teacher.as_ref().filter(|_| recipe.train.epochs > 0) {
            let mut teacher = teacher.clone();
            let any_step = step_folder(&args.out, 1);
            fs::create_dir_all(&any_step).with_context(|| any_step.display().to_string())?;
            teacher.files_mut().for_each(|path| *path = any_step.join(&*path));
            let kept = args.out.join(ANSWERS_FILE);
            train::teach(&teacher, &mut expressions, &mut genders, &kept)?;
        }
        Ok(Self {
            settings: &args.settings,
            device: args.device,
            validation: Validation::new(&recipe.train.preprocessing, mixture),
            recipe,
            expressions: expressions.into(),
            genders: genders.into(),
        })
    }

    /// Cuts `parent` to `budget` and trains what is left, or goes on with that, in the step's
    /// folder.
    fn step(
        &self,
        step: u32,
        folder: &Path,
        parent: &Checkpoint,
        budget: &Budget,
        base: &str,
    ) -> anyhow::Result<Row> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let path = folder.join(CUT_FILE);
        if !path.exists() {
            self.cut(parent, budget, base, &path)?;
        }
        let cut = Checkpoint::read(&path)?;
        let graph = Graph::build(&cut.preset);
        println!("step {step}: {}", Cost::of(&graph));
        let after_cut = self.validation.score(&cut);
        let mut recipe = self.recipe.clone();
        recipe.train.network = cut.preset.clone();
        recipe.write(&folder.join(RECIPE_FILE))?;
        let mut run = self.run(cut)?;
        run.resume(folder)?;
        train::carry_out(&mut run, &self.validation, recipe.train.epochs, folder)?;
        let trained = self.finish(&run, &folder.join(MODEL_FILE))?;
        Ok(Row::new(step, &graph, &after_cut, &trained))
    }

    /// Removes what `parent` is above the budget, has the batch norms fit what is left, and writes
    /// that.
    fn cut(
        &self,
        parent: &Checkpoint,
        budget: &Budget,
        base: &str,
        path: &Path,
    ) -> anyhow::Result<()> {
        let graph = Graph::build(&parent.preset);
        let groups = Groups::of(&graph);
        let worth = self.worth(parent, &graph, &groups)?;
        let kept = choose(&graph, &groups, &worth, budget, self.settings.align)?;
        let mut cut = cut_checkpoint(parent, &groups, &kept, String::new());
        let mmac = Graph::build(&cut.preset).macs() as f64 / 1e6;
        cut.preset.name = format!("{base}-{mmac:.1}mmac");
        let mut run = self.run(cut)?;
        self.survey(&mut run, "fitting batch norms", |_, _| ())?;
        self.finish(&run, path)?;
        Ok(())
    }

    fn worth(&self, parent: &Checkpoint, graph: &Graph, groups: &Groups) -> anyhow::Result<Worth> {
        let mut run = self.run(parent.clone())?;
        let weights =
            || Weights::from_params(graph, &parent.params).context("the checkpoint lacks a tensor");
        Ok(match self.settings.importance {
            Importance::Taylor => {
                let mut taylor = Taylor::new(groups);
                self.survey(&mut run, "weighing channels", |weights, gradients| {
                    taylor.add(groups, weights, gradients);
                })?;
                taylor.worth()
            }
            Importance::L1 => Worth::by_filters(groups, &weights()?),
            Importance::Scale => Worth::by_scales(graph, groups, &weights()?),
        })
    }

    /// A run of the recipe that starts from `checkpoint`, of whatever network it is.
    fn run(&self, checkpoint: Checkpoint) -> anyhow::Result<Run> {
        let mut recipe = self.recipe.train.clone();
        recipe.network = checkpoint.preset.clone();
        let (expressions, genders) = (self.expressions.clone(), self.genders.clone());
        let mut run = Run::on(self.device, recipe, expressions, genders)?;
        run.start_from(checkpoint)?;
        Ok(run)
    }

    fn survey(
        &self,
        run: &mut Run,
        title: &str,
        mut on_batch: impl FnMut(&Weights, &Weights),
    ) -> anyhow::Result<()> {
        let batches = self.settings.batches.min(run.batches() as usize);
        let bar = crate::progress(batches as u64, "batches", title)?;
        run.survey(batches, |weights, gradients| {
            on_batch(weights, gradients);
            bar.inc(1);
        })?;
        bar.finish_and_clear();
        Ok(())
    }

    fn finish(&self, run: &Run, path: &Path) -> anyhow::Result<Scores> {
        train::finish(run.checkpoint(), &self.validation, &self.recipe.train.offsets, path)
    }
}
