//! Distillation (Hinton et al. 2015): what trained networks answer becomes part of the labels.
//!
//! A teacher is one checkpoint or several, averaged, each on the face and its mirror image. It
//! answers for every face, so that a face labelled for one head teaches the other one too. The
//! answers are kept on disk: a run that goes on need not ask again, and another run can learn from
//! them without the checkpoints.

use std::path::{Path, PathBuf};

use ndarray::s;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::checkpoint::{self, Checkpoint, CheckpointError, Params, Tensor};
use super::executor::{Executor, Weights};
use super::loss::Target;
use super::network::{EXPRESSION_LOGITS, Graph, LOGITS};
use super::offsets;
use super::samples::Sample;
use crate::classifier::softmax;

/// Faces that a teacher answers at a time.
const BATCH: usize = 64;

/// Who teaches, and how much it counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TeacherSettings {
    /// Checkpoints that `mien-lab train` wrote; their answers are averaged. Their paths start from
    /// the recipe's folder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<PathBuf>,
    /// Answers to the same faces that other runs kept (their `answers.safetensors`); each counts as
    /// one more checkpoint.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<PathBuf>,
    /// Share of the teacher's answer in a label that the face has; where it has none the
    /// teacher's answer is the label.
    pub share: f32,
    /// The teacher's logits are divided by this: above 1 its answers are softer.
    pub temperature: f32,
}

impl Default for TeacherSettings {
    fn default() -> Self {
        Self { checkpoints: Vec::new(), answers: Vec::new(), share: 0.4, temperature: 1.0 }
    }
}

impl TeacherSettings {
    /// Paths of what answers: the checkpoints, then the kept answers.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.checkpoints.iter().chain(&self.answers)
    }

    /// What is wrong with the settings, if anything is.
    pub fn fault(&self) -> Option<String> {
        let Self { share, temperature, .. } = self;
        if self.files().next().is_none() {
            Some("it names no checkpoints and no answers".into())
        } else if !(0.0..=1.0).contains(share) {
            Some(format!("share {share} is not from 0 to 1"))
        } else if !(temperature.is_finite() && *temperature > 0.0) {
            Some(format!("temperature {temperature} is not above 0"))
        } else {
            None
        }
    }

    /// The same, to be changed.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.checkpoints.iter_mut().chain(&mut self.answers)
    }
}

/// Why a teacher can't teach.
#[derive(Debug, thiserror::Error)]
pub enum TeacherError {
    /// One of its checkpoints, or its kept answers, could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Answers that were kept elsewhere are to other faces.
    #[error(
        "{} holds answers to other faces than this recipe's ({found}, not {needed}): its recipe \
         had other data, or prepared it otherwise", path.display()
    )]
    OtherFaces { path: PathBuf, found: String, needed: String },
    /// The settings make no sense.
    #[error("the recipe's teacher: {0}")]
    Setting(String),
}

/// A teacher's answer to one face: shares of the seven expressions, then of female and male.
pub type Answer = [f32; LOGITS];

/// Name of the tensor in a file of kept answers.
const ANSWERS: &str = "answers";
/// Name of its metadata that tells who was asked, and about what.
const ASKED: &str = "asked";
/// Name of its metadata that tells which faces were asked about: [`checksum_of`] them.
pub const FACES: &str = "faces_crc32";

/// The teacher's answers to `samples`, in their order: from the file `kept` if it holds those of
/// this teacher to these faces, else asked anew and kept there. `on_batch` is told how many more
/// faces have been answered, by one of the checkpoints.
pub fn answers(
    settings: &TeacherSettings,
    samples: &[&Sample],
    kept: &Path,
    on_batch: impl Fn(usize) + Sync,
) -> Result<Vec<Answer>, TeacherError> {
    if let Some(fault) = settings.fault() {
        return Err(TeacherError::Setting(fault));
    }
    let TeacherSettings { checkpoints, answers: files, temperature, .. } = settings;
    let faces = checksum_of(samples);
    let asked = asked(settings, &faces)?;
    if let Some(answers) = kept_answers(kept, &asked) {
        return Ok(answers);
    }
    let mut sums = vec![[0.0; LOGITS]; samples.len()];
    for path in files {
        let answers = answers_of_others(path, &faces, samples.len())?;
        let of_both_views = answers.as_flattened().iter().map(|share| 2.0 * share);
        sums.as_flattened_mut().iter_mut().zip(of_both_views).for_each(|(sum, s)| *sum += s);
    }
    // All are read before the first is asked, which takes minutes.
    let read: Result<Vec<Checkpoint>, _> =
        checkpoints.iter().map(|p| Checkpoint::read(p)).collect();
    for mut checkpoint in read? {
        offsets::take_off(&mut checkpoint);
        add_answers(&checkpoint, *temperature, samples, &mut sums, &on_batch);
    }
    let views = 2 * (checkpoints.len() + files.len());
    let answers: Vec<Answer> = sums.into_iter().map(|sum| sum.map(|s| s / views as f32)).collect();
    let data = answers.as_flattened().to_vec();
    let tensor = Tensor { shape: vec![answers.len(), LOGITS], data };
    let metadata = [(ASKED.to_owned(), asked), (FACES.to_owned(), faces)].into();
    checkpoint::write_tensors(kept, &Params::from([(ANSWERS.to_owned(), tensor)]), &metadata)?;
    Ok(answers)
}

/// Adds one checkpoint's answers to each face and its mirror image.
fn add_answers(
    checkpoint: &Checkpoint,
    temperature: f32,
    samples: &[&Sample],
    sums: &mut [Answer],
    on_batch: &(impl Fn(usize) + Sync),
) {
    let mut executor = Executor::new(Graph::build(&checkpoint.preset));
    let weights = Weights::from_params(executor.graph(), &checkpoint.params)
        .expect("a checkpoint's tensors were checked as it was read");
    for (samples, sums) in samples.chunks(BATCH).zip(sums.chunks_mut(BATCH)) {
        for mirrored in [false, true] {
            let pictures: Vec<f32> = samples
                .par_iter()
                .flat_map_iter(|sample| {
                    let face = sample.face.view();
                    if mirrored { face.slice_move(s![.., ..;-1]) } else { face }
                })
                .copied()
                .collect();
            let logits = executor.infer(&weights, &pictures).as_chunks::<LOGITS>().0;
            for (sum, logits) in sums.iter_mut().zip(logits) {
                let softer = logits.map(|logit| logit / temperature);
                let (expression, gender) = softer.split_at(EXPRESSION_LOGITS);
                let shares = softmax::<7>(expression).into_iter().chain(softmax::<2>(gender));
                sum.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share);
            }
        }
        on_batch(samples.len());
    }
}

/// CRC-32 of the faces, in their order.
pub fn checksum_of(samples: &[&Sample]) -> String {
    let mut crc = crc32fast::Hasher::new();
    for value in samples.iter().flat_map(|sample| &sample.face) {
        crc.update(&value.to_le_bytes());
    }
    format!("{:08x}", crc.finalize())
}

/// Tells one question from another: a checksum of the settings, the files that answer, the faces.
fn asked(settings: &TeacherSettings, faces: &str) -> Result<String, TeacherError> {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&settings.temperature.to_le_bytes());
    for path in settings.files() {
        let io = |source| CheckpointError::Io { path: path.clone(), source };
        crc.update(&std::fs::read(path).map_err(io)?);
    }
    crc.update(faces.as_bytes());
    Ok(format!("{:08x}", crc.finalize()))
}

/// Answers kept at `path`, if they are to this question. A file that can't be read is written
/// anew.
fn kept_answers(path: &Path, asked: &str) -> Option<Vec<Answer>> {
    let (tensors, metadata) = checkpoint::read_tensors(path).ok()?;
    let fitting = metadata.get(ASKED).is_some_and(|kept| kept == asked);
    let answers = tensors.get(ANSWERS).filter(|_| fitting)?;
    Some(answers.data.as_chunks().0.to_vec())
}

/// Answers to these faces, `count` in number, that another run kept at `path`.
fn answers_of_others(path: &Path, faces: &str, count: usize) -> Result<Vec<Answer>, TeacherError> {
    let (tensors, metadata) = checkpoint::read_tensors(path)?;
    let foreign = |why: &str| CheckpointError::Foreign { path: path.into(), why: why.into() };
    let found = metadata.get(FACES).ok_or_else(|| foreign("it names no faces_crc32"))?;
    if found != faces {
        let (path, found, needed) = (path.into(), found.clone(), faces.to_owned());
        return Err(TeacherError::OtherFaces { path, found, needed });
    }
    let answers = tensors.get(ANSWERS).ok_or_else(|| foreign("it has no tensor \"answers\""))?;
    let rows: &[Answer] = answers.data.as_chunks().0;
    if answers.shape != [count, LOGITS] || !rows.iter().all(are_shares) {
        let why = "its answers are not seven shares and two for each face, each from 0 to 1, that add up to 1";
        return Err(foreign(why).into());
    }
    Ok(rows.to_vec())
}

/// Whether these are shares of either head's whole. Rounded ones pass; zeros, which mean no answer, do not.
fn are_shares(answer: &Answer) -> bool {
    let is_whole = |shares: &[f32]| (shares.iter().sum::<f32>() - 1.0).abs() < 0.01;
    let (expression, gender) = answer.split_at(EXPRESSION_LOGITS);
    answer.iter().all(|share| (0.0..=1.0).contains(share))
        && is_whole(expression)
        && is_whole(gender)
}

/// `target` with the teacher's answer in it.
pub fn taught(target: &Target, answer: &Answer, share: f32) -> Target {
    let (expression, gender) = answer.split_at(EXPRESSION_LOGITS);
    let answer = Target { expression: expression.try_into().ok(), gender: gender.try_into().ok() };
    let known = target.mixed(&answer, share);
    Target {
        expression: known.expression.or(answer.expression),
        gender: known.gender.or(answer.gender),
    }
}
