//! Float checkpoints: one safetensors file holding weights, batch-norm statistics, and in its
//! metadata the preset and how it was trained.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value};

use super::network::{Graph, Op, Preset};
use super::preprocessing::Preprocessing;
use super::whole;

/// A float tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Sizes, slowest first.
    pub shape: Vec<usize>,
    /// Values, `shape.iter().product()` of them.
    pub data: Vec<f32>,
}

/// Tensors by name: `{node}.{tensor}`.
pub type Params = BTreeMap<String, Tensor>;

/// A network with its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Which member of the family it is.
    pub preset: Preset,
    /// Weights and statistics.
    pub params: Params,
    /// How it came to be (recipe with its seed, epochs done, a checksum of the labels), free text by key.
    pub notes: BTreeMap<String, String>,
}

/// Why a checkpoint could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file could not be read or written.
    #[error("checkpoint {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// It is no safetensors file.
    #[error(
        "checkpoint {} is not a safetensors file: {source}; write one with `mien-lab train` (other \
         frameworks' models can be quantized as they are)",
        path.display()
    )]
    Format { path: PathBuf, source: safetensors::SafeTensorError },
    /// It is a safetensors file, but not one of this program's.
    #[error("checkpoint {}: {why}; write one with `mien-lab train`", path.display())]
    Foreign { path: PathBuf, why: String },
}

const PRESET_KEY: &str = "preset";

impl Checkpoint {
    /// Reads a checkpoint and checks every tensor's shape against its preset.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        Self::of_tensors(path, read_tensors(path)?)
    }

    /// The same of a file's bytes; `path` is what errors call it.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, CheckpointError> {
        Self::of_tensors(path, tensors_of(path, bytes)?)
    }

    fn of_tensors(
        path: &Path,
        (mut params, mut notes): (Params, BTreeMap<String, String>),
    ) -> Result<Self, CheckpointError> {
        let foreign = |why: String| CheckpointError::Foreign { path: path.into(), why };
        let preset =
            notes.remove(PRESET_KEY).ok_or_else(|| foreign("it names no preset".into()))?;
        let preset: Preset =
            serde_json::from_str(&preset).map_err(|e| foreign(format!("its preset: {e}")))?;
        if let Some(fault) = preset.fault() {
            return Err(foreign(format!("its preset: {fault}")));
        }
        let graph = Graph::build(&preset);
        let mut checked = Params::new();
        for node in &graph.nodes {
            for (tensor, shape) in graph.tensors_of(node) {
                let name = format!("{}.{tensor}", node.name);
                let tensor =
                    params.remove(&name).ok_or_else(|| foreign(format!("it has no {name}")))?;
                if tensor.shape != shape {
                    return Err(foreign(format!("{name} is {:?}, not {shape:?}", tensor.shape)));
                }
                if !tensor.data.iter().all(|value| value.is_finite()) {
                    return Err(foreign(format!("{name} holds values that are no numbers")));
                }
                checked.insert(name, tensor);
            }
        }
        Ok(Self { preset, params: checked, notes })
    }

    /// Reads a checkpoint for faces prepared as the device prepares them; one that was trained on
    /// others ([`super::preprocessing`]) is refused.
    pub fn read_for_device(path: &Path) -> Result<Self, CheckpointError> {
        let checkpoint = Self::read(path)?;
        let recipe = checkpoint.notes.get("recipe").and_then(|recipe| {
            let recipe: serde_json::Value = serde_json::from_str(recipe).ok()?;
            serde_json::from_value::<Preprocessing>(recipe.get("preprocessing")?.clone()).ok()
        });
        match recipe {
            Some(preprocessing) if preprocessing != Preprocessing::default() => {
                let why = "its faces were not prepared as the device's are; its run's curve has \
                           its scores";
                Err(CheckpointError::Foreign { path: path.into(), why: why.into() })
            }
            _ => Ok(checkpoint),
        }
    }

    /// Writes the checkpoint whole: to a neighbour file first, then renamed over `path`.
    pub fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        let preset = serde_json::to_string(&self.preset).expect("a preset is plain data");
        let mut metadata = self.notes.clone();
        metadata.insert(PRESET_KEY.into(), preset);
        write_tensors(path, &self.params, &metadata)
    }
}

/// Reads a safetensors file of float tensors and its metadata.
pub fn read_tensors(path: &Path) -> Result<(Params, BTreeMap<String, String>), CheckpointError> {
    let bytes =
        std::fs::read(path).map_err(|source| CheckpointError::Io { path: path.into(), source })?;
    tensors_of(path, &bytes)
}

fn tensors_of(
    path: &Path,
    bytes: &[u8],
) -> Result<(Params, BTreeMap<String, String>), CheckpointError> {
    let format = |source| CheckpointError::Format { path: path.into(), source };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(format)?;
    let file = SafeTensors::deserialize(bytes).map_err(format)?;
    let mut params = Params::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            let why = format!("{name} is {:?}, not F32", view.dtype());
            return Err(CheckpointError::Foreign { path: path.into(), why });
        }
        let data = view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        params.insert(name.into(), Tensor { shape: view.shape().into(), data });
    }
    Ok((params, header.metadata().clone().unwrap_or_default().into_iter().collect()))
}

/// A safetensors file with its metadata in alphabetical order: the crate writes it in any, and equal
/// checkpoints should be equal files. None if it is no such file.
fn with_sorted_metadata(file: &[u8]) -> Option<Vec<u8>> {
    const METADATA: &str = "__metadata__";
    let (len, rest) = file.split_first_chunk()?;
    let (header, tensors) = rest.split_at_checked(u64::from_le_bytes(*len) as usize)?;
    let mut header: Map<String, Value> = serde_json::from_slice(header).ok()?;
    header.get_mut(METADATA)?.as_object_mut()?.sort_keys();
    let mut header = serde_json::to_vec(&header).ok()?;
    // Tensors begin at a multiple of 8 bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    Some([&(header.len() as u64).to_le_bytes()[..], &header, tensors].concat())
}

/// Writes a safetensors file whole: to a neighbour file first, then renamed over `path`.
pub fn write_tensors(
    path: &Path,
    params: &Params,
    metadata: &BTreeMap<String, String>,
) -> Result<(), CheckpointError> {
    let io = |source| CheckpointError::Io { path: path.into(), source };
    let format = |source| CheckpointError::Format { path: path.into(), source };
    let bytes: Vec<(&String, &Tensor, Vec<u8>)> = params
        .iter()
        .map(|(name, t)| (name, t, t.data.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views: Vec<(&String, TensorView)> = bytes
        .iter()
        .map(|(name, t, data)| Ok((*name, TensorView::new(Dtype::F32, t.shape.clone(), data)?)))
        .collect::<Result<_, _>>()
        .map_err(format)?;
    let metadata = metadata.clone().into_iter().collect();
    let file = safetensors::serialize(views, Some(metadata)).map_err(format)?;
    let file = with_sorted_metadata(&file).unwrap_or(file);
    whole::write(path, &file).map_err(io)
}

/// Fresh parameters: He-normal weights (He et al. 2015), unit batch norm, zero biases.
pub fn initialize(graph: &Graph, mut normal: impl FnMut() -> f32) -> Params {
    let mut params = Params::new();
    for node in &graph.nodes {
        for (tensor, shape) in graph.tensors_of(node) {
            let len = shape.iter().product();
            let fan_in = match node.op {
                Op::Depthwise { kernel, .. } => kernel * kernel,
                _ => shape[1..].iter().product(),
            };
            let deviation = (2.0 / fan_in as f32).sqrt();
            let data = match tensor {
                "weight" => (0..len).map(|_| deviation * normal()).collect(),
                "gamma" | "variance" => vec![1.0; len],
                _ => vec![0.0; len],
            };
            params.insert(format!("{}.{tensor}", node.name), Tensor { shape, data });
        }
    }
    params
}
