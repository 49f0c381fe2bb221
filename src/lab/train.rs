//! The training loop: one network, two heads, two data sets.
//!
//! Each batch mixes FER2013 faces (expression) with faces of a gender pack; a face counts only
//! for the heads it is labelled for. After each epoch the run's folder holds the averaged weights
//! (`model.safetensors`) and everything that going on needs (`resume.safetensors`). A run that
//! was interrupted goes on after its last whole epoch and ends with the same weights as one that
//! was not: every random draw follows from the seed and the step.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::augment::Augment;
use super::checkpoint::{self, Checkpoint, CheckpointError, Params, initialize};
use super::device::{Device, DeviceError, Passes};
use super::executor::{Precision, Weights};
use super::float::{FloatGraph, LayerError};
use super::loss::{Loss, LossSettings, Losses, Target};
use super::network::{EXPRESSION_LOGITS, Graph, INPUT_SIDE, LOGITS, Preset};
use super::offsets::{self, OffsetSettings};
use super::optimizer::{AdamW, OptimizerSettings};
use super::preprocessing::Preprocessing;
use super::quantize::aware::{self, RoundedPasses};
use super::quantize::{Unbounded, quantize};
use super::samples::{Sample, spread_evenly};
use super::teacher::TeacherSettings;
use crate::face::normalization::Normalization;

const PIXELS: usize = INPUT_SIDE * INPUT_SIDE;
/// Faces by which [`Recipe::quantization_aware`] chooses ranges.
const RANGE_FACES: usize = 512;

/// What a run is: the same recipe and the same data give the same weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// The network: a preset's name, or all of its sizes.
    #[serde(deserialize_with = "super::network::preset_or_name")]
    pub network: Preset,
    /// A checkpoint of the same network to start from, in place of random weights; its path starts
    /// from the recipe's folder.
    pub start: Option<PathBuf>,
    /// Passes over the expression faces.
    pub epochs: u64,
    /// Expression faces in a batch.
    pub batch: usize,
    /// Gender faces in a batch.
    pub gender_batch: usize,
    /// Seed of every random draw.
    pub seed: u64,
    /// What convolutions multiply in.
    pub precision: Precision,
    /// How faces are prepared.
    pub preprocessing: Preprocessing,
    /// Random views of the faces.
    pub augment: Augment,
    /// What is minimized.
    pub loss: LossSettings,
    /// How the weights are moved.
    pub optimizer: OptimizerSettings,
    /// What is added to the finished network's logits.
    pub offsets: OffsetSettings,
    /// Networks to learn from beside the labels.
    pub teacher: Option<TeacherSettings>,
    /// Learn with weights and values rounded as the int8 file will round them; needs `start`.
    pub quantization_aware: bool,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            network: Preset::slim(),
            start: None,
            epochs: 30,
            batch: 48,
            gender_batch: 16,
            seed: 1,
            precision: Precision::default(),
            preprocessing: Preprocessing::default(),
            augment: Augment::default(),
            loss: LossSettings::default(),
            optimizer: OptimizerSettings::default(),
            offsets: OffsetSettings::default(),
            teacher: None,
            quantization_aware: false,
        }
    }
}

impl Recipe {
    /// Refuses settings that nothing can be drawn from or moved by.
    pub fn check(&self) -> Result<(), TrainError> {
        let setting = |table, fault: Option<String>| match fault {
            Some(fault) => Err(TrainError::Setting { table, fault }),
            None => Ok(()),
        };
        setting("batch", (self.batch == 0).then(|| "it is 0; take 48".into()))?;
        setting("network", self.network.fault())?;
        setting("preprocessing", self.preprocessing.fault())?;
        setting("augment", self.augment.fault())?;
        setting("loss", self.loss.fault())?;
        let unready = self.quantization_aware && self.start.is_none();
        let why = "it takes a trained network; give its checkpoint by train.start";
        setting("quantization_aware", unready.then(|| why.into()))?;
        setting("teacher", self.teacher.as_ref().and_then(TeacherSettings::fault))?;
        setting("offsets", self.offsets.fault())?;
        setting("optimizer", self.optimizer.fault())
    }

    /// Refuses too few faces for a batch.
    pub fn check_faces(&self, expressions: usize, genders: usize) -> Result<(), TrainError> {
        if expressions < self.batch {
            return Err(TrainError::TooFewExpressions { found: expressions, needed: self.batch });
        }
        if genders < self.gender_batch {
            return Err(TrainError::TooFewGenders { found: genders, needed: self.gender_batch });
        }
        Ok(())
    }

    /// The settings in which this recipe is not as `other`, with its values.
    fn difference(&self, other: &Self) -> String {
        let fields = |recipe: &Self| serde_json::to_value(recipe).expect("plain data");
        let (own, other) = (fields(self), fields(other));
        let own = own.as_object().into_iter().flatten();
        let differing = own.filter(|(name, value)| other[name.as_str()] != **value);
        differing.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
    }
}

/// Why a run stopped.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A checkpoint could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// What an earlier process left can't be gone on with.
    #[error("can't go on with the run: {0}; to begin anew delete its folder")]
    Resume(CheckpointError),
    /// The device can't train, or broke off.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The folder belongs to a run of another recipe.
    #[error(
        "{} belongs to a run with another recipe ({}); give another --out, or delete the folder",
        path.display(), difference
    )]
    OtherRecipe { path: PathBuf, difference: String },
    /// There are too few faces with an expression for one batch.
    #[error(
        "{found} expression faces to learn from do not fill a batch of {needed}; give more (of \
         FER2013 only Training rows are learned from), or lower train.batch"
    )]
    TooFewExpressions { found: usize, needed: usize },
    /// There are too few faces with a gender for one batch.
    #[error(
        "{found} gender faces to learn from do not fill their part of a batch, {needed}; give more, \
         or lower train.gender_batch: at 0 no gender is learned"
    )]
    TooFewGenders { found: usize, needed: usize },
    /// The checkpoint to start from is of another network.
    #[error("train.start is a checkpoint of network {start:?}, or of other sizes, not {own:?}")]
    OtherNetwork { start: String, own: String },
    /// The checkpoint to start from has no int8 form.
    #[error("train.start can't be quantized: {0}")]
    Float(#[from] LayerError),
    /// Or its values fit no code.
    #[error("train.start can't be quantized: {0}")]
    Unbounded(#[from] Unbounded),
    /// A setting is out of its range.
    #[error("the recipe's {table}: {fault}")]
    Setting { table: &'static str, fault: String },
    /// The loss is no longer a number.
    #[error("the loss became {loss} in epoch {epoch}; lower optimizer.learning_rate")]
    Diverged { epoch: u64, loss: f32 },
}

/// What one epoch brought.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    /// Counted from 1.
    pub number: u64,
    /// Mean losses over its batches.
    pub losses: Losses,
    /// Share of its time that went into making the batches' pictures.
    pub data_share: f32,
}

/// A run between two epochs.
pub struct Run {
    recipe: Recipe,
    device: Device,
    executor: Box<dyn Passes>,
    weights: Weights,
    average: Weights,
    gradients: Weights,
    optimizer: AdamW,
    loss: Loss,
    expressions: Arc<[Sample]>,
    genders: Arc<[Sample]>,
    epochs_done: u64,
    making_batches: Duration,
}

/// The averaged weights, in a run's folder.
pub const MODEL_FILE: &str = "model.safetensors";
/// Everything that going on needs, in a run's folder.
const RESUME_FILE: &str = "resume.safetensors";
/// Name of both files' metadata that holds the recipe, as JSON.
pub const RECIPE: &str = "recipe";
/// More of their metadata's names.
const EPOCHS_DONE: &str = "epochs_done";
const LABELS: &str = "labels_crc32";

impl Run {
    /// A run at its beginning, on the CPU.
    pub fn new(
        recipe: Recipe,
        expressions: impl Into<Arc<[Sample]>>,
        genders: impl Into<Arc<[Sample]>>,
    ) -> Result<Self, TrainError> {
        Self::on(Device::Cpu, recipe, expressions, genders)
    }

    /// A run at its beginning, on `device`. What it saves, any device can go on with.
    pub fn on(
        device: Device,
        recipe: Recipe,
        expressions: impl Into<Arc<[Sample]>>,
        genders: impl Into<Arc<[Sample]>>,
    ) -> Result<Self, TrainError> {
        let (expressions, genders) = (expressions.into(), genders.into());
        recipe.check()?;
        recipe.check_faces(expressions.len(), genders.len())?;
        let graph = Graph::build(&recipe.network);
        let mut rng = draw(recipe.seed, Draw::Weights, 0);
        let params = initialize(&graph, || StandardNormal.sample(&mut rng));
        let weights = Weights::from_params(&graph, &params).expect("all tensors were made");
        let batches = (expressions.len() / recipe.batch) as u64;
        let optimizer = optimizer(&recipe, batches, &graph, &weights);
        let loss = Loss::new(recipe.loss.clone(), label_sums(&expressions));
        Ok(Self {
            average: weights.clone(),
            gradients: weights.zeros_like(),
            weights,
            optimizer,
            loss,
            executor: device.passes(graph, recipe.precision)?,
            device,
            recipe,
            expressions,
            genders,
            epochs_done: 0,
            making_batches: Duration::ZERO,
        })
    }

    /// Starts from a checkpoint's weights, without its offsets.
    pub fn start_from(&mut self, mut checkpoint: Checkpoint) -> Result<(), TrainError> {
        if checkpoint.preset != self.recipe.network {
            return Err(TrainError::OtherNetwork {
                start: checkpoint.preset.name,
                own: self.recipe.network.name.clone(),
            });
        }
        offsets::take_off(&mut checkpoint);
        if self.recipe.quantization_aware {
            self.round_as(&checkpoint)?;
        }
        let graph = self.executor.graph();
        self.weights = Weights::from_params(graph, &checkpoint.params)
            .expect("a checkpoint's tensors were checked as it was read");
        self.average = self.weights.clone();
        // The graph may have other nodes now, and these tensors are by node.
        self.gradients = self.weights.zeros_like();
        self.optimizer = optimizer(&self.recipe, self.batches(), graph, &self.weights);
        Ok(())
    }

    /// Has the passes round as the int8 file of `checkpoint` does, its ranges chosen by some of
    /// this run's faces.
    fn round_as(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        let faces = spread_evenly(self.expressions.iter().collect(), RANGE_FACES);
        let pictures: Vec<f32> =
            faces.into_iter().flat_map(|sample| sample.face.iter().copied()).collect();
        let bounds = Normalization::Standardized.bounds();
        let float = FloatGraph::of_checkpoint(checkpoint)?;
        let network = quantize(float, bounds, aware::SETTINGS, &pictures, BTreeMap::new())?.network;
        let graph = aware::with_rounded_values(&Graph::build(&self.recipe.network), &network);
        let passes = self.device.passes(graph, self.recipe.precision)?;
        self.executor = Box::new(RoundedPasses::new(passes));
        Ok(())
    }

    /// Takes up what an earlier process left in `folder` of this recipe's run, if it did.
    pub fn resume(&mut self, folder: &Path) -> Result<(), TrainError> {
        let path = folder.join(RESUME_FILE);
        if !path.exists() {
            return Ok(());
        }
        self.read_state(path).map_err(|error| match error {
            TrainError::Checkpoint(error) => TrainError::Resume(error),
            other => other,
        })
    }

    /// Writes the averaged weights and what going on needs.
    pub fn save(&self, folder: &Path) -> Result<(), TrainError> {
        let graph = self.executor.graph();
        let mut tensors = Params::new();
        for (part, weights) in self.parts() {
            for (name, tensor) in weights.to_params(graph) {
                tensors.insert(format!("{part}/{name}"), tensor);
            }
        }
        let checkpoint = self.checkpoint();
        checkpoint::write_tensors(&folder.join(RESUME_FILE), &tensors, &checkpoint.notes)?;
        checkpoint.write(&folder.join(MODEL_FILE))?;
        Ok(())
    }

    /// Whole epochs behind it.
    pub fn epochs_done(&self) -> u64 {
        self.epochs_done
    }

    /// Batches of one epoch.
    pub fn batches(&self) -> u64 {
        (self.expressions.len() / self.recipe.batch) as u64
    }

    /// Runs one epoch; `on_batch` is called after each batch with its losses. `None` when the
    /// recipe's epochs are done.
    pub fn epoch(&mut self, mut on_batch: impl FnMut(Losses)) -> Result<Option<Epoch>, TrainError> {
        if self.epochs_done == self.recipe.epochs {
            return Ok(None);
        }
        let epoch = self.epochs_done;
        let order = self.order(epoch);
        let mut mean = Losses::default();
        let started = Instant::now();
        self.making_batches = Duration::ZERO;
        for (i, batch) in order.chunks_exact(self.recipe.batch).enumerate() {
            let step = epoch * self.batches() + i as u64;
            let losses = self.step(step, batch)?;
            if !(losses.expression + losses.gender).is_finite() {
                return Err(TrainError::Diverged { epoch: epoch + 1, loss: losses.expression });
            }
            mean.expression += losses.expression / self.batches() as f32;
            mean.gender += losses.gender / self.batches() as f32;
            on_batch(losses);
        }
        self.epochs_done += 1;
        let data_share = self.making_batches.div_duration_f32(started.elapsed());
        Ok(Some(Epoch { number: self.epochs_done, losses: mean, data_share }))
    }

    /// Passes over up to `batches` batches, of the first epoch's at most, without learning from
    /// them: `on_batch` is given the weights and their gradients. The batch norms' running
    /// statistics move to what these batches have.
    pub fn survey(
        &mut self,
        batches: usize,
        mut on_batch: impl FnMut(&Weights, &Weights),
    ) -> Result<(), TrainError> {
        for (step, batch) in self.order(0).chunks_exact(self.recipe.batch).take(batches).enumerate()
        {
            self.pass(step as u64, batch)?;
            on_batch(&self.weights, &self.gradients);
        }
        self.average = self.weights.clone();
        Ok(())
    }

    /// The averaged weights as they would be shipped.
    pub fn checkpoint(&self) -> Checkpoint {
        let recipe = serde_json::to_string(&self.recipe).expect("a recipe is plain data");
        let notes = [
            (RECIPE.into(), recipe),
            (EPOCHS_DONE.into(), self.epochs_done.to_string()),
            (LABELS.into(), self.labels_checksum()),
        ]
        .into();
        Checkpoint {
            preset: self.recipe.network.clone(),
            params: self.average.to_params(self.executor.graph()),
            notes,
        }
    }

    /// The expression faces in the order of an epoch.
    fn order(&self, epoch: u64) -> Vec<usize> {
        shuffled(self.expressions.len(), draw(self.recipe.seed, Draw::Order, epoch))
    }

    /// Learns from one batch.
    fn step(&mut self, step: u64, batch: &[usize]) -> Result<Losses, TrainError> {
        let losses = self.pass(step, batch)?;
        self.optimizer.step(step, &mut self.weights, &self.gradients);
        self.optimizer.average(step, &mut self.average, &self.weights);
        Ok(losses)
    }

    /// Both passes over one batch: the expression faces `batch`, and the gender faces whose turn
    /// it is.
    fn pass(&mut self, step: u64, batch: &[usize]) -> Result<Losses, TrainError> {
        let started = Instant::now();
        let (pictures, targets) = self.make_batch(step, batch);
        self.making_batches += started.elapsed();
        let mut rng = draw(self.recipe.seed, Draw::Dropout, step);
        let logits = self.executor.train_forward(&mut self.weights, &pictures, &mut rng)?;
        let mut dlogits = vec![0.0; targets.len() * LOGITS];
        let losses = self.loss.of(logits, &targets, &mut dlogits);
        self.executor.backward(&self.weights, &dlogits, &mut self.gradients)?;
        Ok(losses)
    }

    /// Random views of a batch's faces [n, 48, 48], and their labels.
    fn make_batch(&self, step: u64, batch: &[usize]) -> (Vec<f32>, Vec<Target>) {
        let expressions = batch.iter().map(|i| &self.expressions[*i]);
        let faces: Vec<&Sample> = expressions.chain(self.gender_batch(step)).collect();
        let Recipe { seed, augment, .. } = &self.recipe;
        let mut pictures = vec![0.0; faces.len() * PIXELS];
        pictures.par_chunks_exact_mut(PIXELS).zip(&faces).enumerate().for_each(
            |(i, (picture, sample))| {
                let mut rng = draw(*seed, Draw::Augment, (step << 16) + i as u64);
                augment.view(sample.face.view(), &mut rng, picture);
            },
        );
        let mut targets: Vec<Target> = faces.iter().map(|sample| sample.target).collect();
        let mut rng = draw(*seed, Draw::Mixup, step);
        // Faces of one set are mixed among themselves: the other's lack their label.
        for part in [0..batch.len(), batch.len()..faces.len()] {
            for i in part.clone() {
                if let Some((partner, share)) = augment.draw_mix(part.len(), &mut rng) {
                    let partner = part.start + partner;
                    mix_in(&mut pictures, i, partner, share);
                    targets[i] = targets[i].mixed(&targets[partner], share);
                }
            }
        }
        (pictures, targets)
    }

    /// The gender faces of a step: the pack is dealt out in its own order, shuffled anew each
    /// time it has been through.
    fn gender_batch(&self, step: u64) -> Vec<&Sample> {
        let n = self.recipe.gender_batch;
        if n == 0 {
            return Vec::new();
        }
        let per_pass = (self.genders.len() / n) as u64;
        let order = shuffled(
            self.genders.len(),
            draw(self.recipe.seed, Draw::GenderOrder, step / per_pass),
        );
        let first = (step % per_pass) as usize * n;
        order[first..first + n].iter().map(|i| &self.genders[*i]).collect()
    }

    /// Tells this run's faces and labels from another data set's: CRC-32 of the labels in order.
    fn labels_checksum(&self) -> String {
        let mut crc = crc32fast::Hasher::new();
        for sample in self.expressions.iter().chain(self.genders.iter()) {
            let Target { expression, gender } = &sample.target;
            let shares = expression.iter().flatten().chain(gender.iter().flatten());
            shares.for_each(|share| crc.update(&share.to_le_bytes()));
        }
        format!("{:08x}", crc.finalize())
    }

    fn read_state(&mut self, path: PathBuf) -> Result<(), TrainError> {
        let foreign = |why: &str| CheckpointError::Foreign { path: path.clone(), why: why.into() };
        let (tensors, metadata) = checkpoint::read_tensors(&path)?;
        let recipe = metadata.get(RECIPE).ok_or_else(|| foreign("it names no recipe"))?;
        let recipe: Recipe =
            serde_json::from_str(recipe).map_err(|e| foreign(&format!("its recipe: {e}")))?;
        if recipe != self.recipe {
            let difference = recipe.difference(&self.recipe);
            return Err(TrainError::OtherRecipe { path, difference });
        }
        if metadata.get(LABELS) != Some(&self.labels_checksum()) {
            return Err(TrainError::OtherRecipe { path, difference: "other labels".into() });
        }
        let done = metadata.get(EPOCHS_DONE).and_then(|done| done.parse().ok());
        self.epochs_done = done.ok_or_else(|| foreign("it does not say how far it came"))?;
        let graph = self.executor.graph().clone();
        for (part, weights) in self.parts_mut() {
            let prefix = format!("{part}/");
            let own = tensors.iter().filter_map(|(name, tensor)| {
                Some((name.strip_prefix(&prefix)?.to_string(), tensor.clone()))
            });
            let read = Weights::from_params(&graph, &own.collect())
                .filter(|read| read.has_sizes_of(weights))
                .ok_or_else(|| foreign(&format!("its {part} are incomplete")))?;
            *weights = read;
        }
        Ok(())
    }

    fn parts(&self) -> [(&'static str, &Weights); 4] {
        let AdamW { first, second, .. } = &self.optimizer;
        [
            ("weights", &self.weights),
            ("average", &self.average),
            ("first", first),
            ("second", second),
        ]
    }

    fn parts_mut(&mut self) -> [(&'static str, &mut Weights); 4] {
        let AdamW { first, second, .. } = &mut self.optimizer;
        [
            ("weights", &mut self.weights),
            ("average", &mut self.average),
            ("first", first),
            ("second", second),
        ]
    }
}

/// The optimizer at the beginning of a run of so many batches an epoch.
fn optimizer(recipe: &Recipe, batches: u64, graph: &Graph, weights: &Weights) -> AdamW {
    AdamW::new(graph, weights, recipe.optimizer.clone(), recipe.epochs.saturating_mul(batches))
}

/// What random numbers are for; each purpose has its own stream.
#[derive(Clone, Copy)]
enum Draw {
    Weights,
    Order,
    GenderOrder,
    Augment,
    Dropout,
    Mixup,
}

/// The generator for one purpose at one point of a run.
fn draw(seed: u64, purpose: Draw, index: u64) -> Pcg64 {
    // The golden ratio's bits keep neighbouring seeds' streams apart; `index` stays below 2⁵⁶.
    let spread = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Pcg64::seed_from_u64(spread ^ ((purpose as u64) << 56) ^ index)
}

/// Sums of the expression labels over the faces.
fn label_sums(samples: &[Sample]) -> [f32; EXPRESSION_LOGITS] {
    let mut sums = [0.0; EXPRESSION_LOGITS];
    for shares in samples.iter().filter_map(|sample| sample.target.expression) {
        sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share);
    }
    sums
}

/// Mixes `share` of picture `partner` into picture `i`.
fn mix_in(pictures: &mut [f32], i: usize, partner: usize, share: f32) {
    for pixel in 0..PIXELS {
        let other = pictures[partner * PIXELS + pixel];
        let value = &mut pictures[i * PIXELS + pixel];
        *value += share * (other - *value);
    }
}

fn shuffled(len: usize, mut rng: Pcg64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    order.shuffle(&mut rng);
    order
}
