//! A model file to be scored: a float checkpoint or an int8 `.tflite`, run the same way.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::executor::{Executor, Weights};
use super::import::extension;
use super::network::{Graph, LOGITS, Preset};
use crate::engine::{Calibration, MetadataError, Model, ModelError};
use crate::face::crop::whole_face;
use crate::face::normalization::standardize;
use crate::image::Grey;

/// Name of the `.tflite` metadata entry that holds the preset, as JSON.
pub const PRESET_METADATA: &str = "mien.preset";

/// Faces that the float network runs at a time.
const FLOAT_BATCH: usize = 64;
/// Faces that one thread runs through the int8 network between two steps of the progress bar.
const INT8_BATCH: usize = 16;

/// Why a model can't be scored.
#[derive(Debug, thiserror::Error)]
pub enum CandidateError {
    /// A checkpoint that can't be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A `.tflite` file that can't be read or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A checkpoint whose notes tell nothing usable of its logits.
    #[error("checkpoint {}: {source}", path.display())]
    Calibration { path: PathBuf, source: MetadataError },
    /// No thread to measure its time on.
    #[error("can't start a thread to measure on: {source}")]
    Thread { source: rayon::ThreadPoolBuildError },
    /// A file of neither kind.
    #[error(
        "{} is neither a checkpoint (.safetensors) nor an int8 model (.tflite)", path.display()
    )]
    Kind { path: PathBuf },
}

/// A model to be scored.
pub struct Candidate {
    network: Network,
    /// How the file says its logits are to be read.
    pub calibration: Calibration,
    /// What the file says of its network; none for a `.tflite` of another maker.
    pub graph: Option<Graph>,
    /// Size of the file.
    pub bytes: u64,
}

enum Network {
    Float(Box<Executor>, Weights),
    Int8(Box<Model>),
}

impl Candidate {
    /// Reads a model, its kind told by the file's extension.
    pub fn read(path: &Path) -> Result<Self, CandidateError> {
        let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        match &extension(path)[..] {
            "safetensors" => {
                Self::from_checkpoint(path, &Checkpoint::read_for_device(path)?, bytes)
            }
            "tflite" => Ok(Self::from_model(Model::read(path)?, bytes)),
            _ => Err(CandidateError::Kind { path: path.into() }),
        }
    }

    fn from_checkpoint(
        path: &Path,
        checkpoint: &Checkpoint,
        bytes: u64,
    ) -> Result<Self, CandidateError> {
        let note = |name: &str| checkpoint.notes.get(name).map(String::as_str);
        let calibration = Calibration::from_metadata(note)
            .map_err(|source| CandidateError::Calibration { path: path.into(), source })?;
        let graph = Graph::build(&checkpoint.preset);
        let weights = Weights::from_params(&graph, &checkpoint.params)
            .expect("a checkpoint's tensors were checked as it was read");
        let network = Network::Float(Box::new(Executor::new(graph.clone())), weights);
        Ok(Self { network, calibration, graph: Some(graph), bytes })
    }

    /// A loaded int8 model whose file has so many bytes.
    pub fn from_model(model: Model, bytes: u64) -> Self {
        let preset = model.metadata(PRESET_METADATA);
        let preset: Option<Preset> = preset.and_then(|p| serde_json::from_str(p).ok());
        let graph = preset.map(|preset| Graph::build(&preset));
        let calibration = model.calibration();
        Self { calibration, network: Network::Int8(Box::new(model)), graph, bytes }
    }

    /// Logits of 48×48 faces; `on_batch` is told how many more are done.
    pub fn logits(
        &mut self,
        faces: &[Grey],
        on_batch: impl Fn(usize) + Sync,
    ) -> Result<Vec<[f32; LOGITS]>, CandidateError> {
        match &mut self.network {
            Network::Float(executor, weights) => {
                let mut logits = Vec::with_capacity(faces.len());
                for batch in faces.chunks(FLOAT_BATCH) {
                    let pictures: Vec<f32> =
                        batch.iter().flat_map(|face| standardize(face.view())).collect();
                    logits.extend_from_slice(executor.infer(weights, &pictures).as_chunks().0);
                    on_batch(batch.len());
                }
                Ok(logits)
            }
            Network::Int8(model) => {
                let batches: Vec<_> = faces
                    .par_chunks(INT8_BATCH)
                    .map(|batch| {
                        let faces: Vec<Grey> =
                            batch.iter().map(|face| whole_face(face, model.side())).collect();
                        let logits = model.run(&faces);
                        on_batch(batch.len());
                        logits
                    })
                    .collect::<Result<_, _>>()?;
                Ok(batches.into_iter().flatten().collect())
            }
        }
    }
}
