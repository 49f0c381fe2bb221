//! What is quantized: a float network from a file, and what it takes to feed and to read it.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::candidate::PRESET_METADATA;
use super::checkpoint::{Checkpoint, CheckpointError};
use super::float::{FloatGraph, LayerError, lower};
use super::import::{self, ImportError};
use super::mixture::hex;
use super::network::{EXPRESSION_LOGITS, LOGITS};
use super::train::RECIPE;
use crate::engine::{Heads, LABELS, MetadataError, NORMALIZATION};
use crate::face::crop::whole_face;
use crate::face::normalization::Normalization;
use crate::image::Grey;

/// Name of the int8 file's metadata that holds the SHA-256 of the float file.
pub const SOURCE_SHA256: &str = "mien.source_sha256";

/// What another framework's file leaves unsaid.
#[derive(Clone, Debug, Default)]
pub struct Unsaid {
    /// How its pictures were normalized.
    pub normalization: Option<Normalization>,
    /// What its logits stand for, see [`LABELS`].
    pub labels: Option<String>,
    /// Side of its pictures in pixels, if it leaves that open.
    pub side: Option<usize>,
}

/// Why a network can't be quantized.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A checkpoint that can't be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Another framework's file that can't be read.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A layer that an int8 file can't hold.
    #[error("{}: {source}", path.display())]
    Layer { path: PathBuf, source: LayerError },
    /// Its bytes can't be read again, to tell what they were.
    #[error("can't read model {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// Nobody says how to normalize its pictures.
    #[error(
        "{} does not say how its pictures were normalized: give it by --normalization, one of {}; \
         0..255 if its first layer does it", path.display(), Normalization::FORMS
    )]
    Normalization { path: PathBuf },
    /// What is said of it does not fit.
    #[error("{}: {why}", path.display())]
    Said { path: PathBuf, why: String },
    /// Its logits' names are no good.
    #[error(
        "{}: say by --classes what its {logits} outputs stand for, with spaces between ({}): {needed}",
        path.display(), given.as_ref().map_or("not said".into(), |given| format!("not '{given}'"))
    )]
    Labels { path: PathBuf, logits: usize, given: Option<String>, needed: &'static str },
}

/// A float network, and how to feed and to read it.
pub struct Source {
    /// What it computes.
    pub graph: FloatGraph,
    /// How its pictures are normalized.
    pub normalization: Normalization,
    /// What its logits stand for.
    pub heads: Heads,
    /// Whether it was trained here, on no face that [`super::split::Split`] keeps back.
    pub is_own: bool,
    /// What an int8 file made of it says of it, by entry.
    pub metadata: Vec<(&'static str, String)>,
}

impl Source {
    /// Reads a checkpoint of this project (`.safetensors`) or another framework's network, of which
    /// `unsaid` tells the rest.
    pub fn read(path: &Path, unsaid: Unsaid) -> Result<Self, SourceError> {
        let is_own = import::extension(path) == "safetensors";
        let mut source = if is_own { own(path, unsaid) } else { imported(path, unsaid) }?;
        let bytes =
            std::fs::read(path).map_err(|source| SourceError::Io { path: path.into(), source })?;
        source.metadata.extend([
            (LABELS, source.heads.labels()),
            (NORMALIZATION, source.normalization.to_string()),
            (SOURCE_SHA256, hex(Sha256::new_with_prefix(bytes))),
        ]);
        Ok(source)
    }

    /// Side of its pictures, in pixels.
    pub fn side(&self) -> usize {
        self.graph.nodes[0].shape[0]
    }

    /// What it reads of these faces, of any size: [n, side, side, channels].
    pub fn pictures<'f>(&self, faces: impl IntoIterator<Item = &'f Grey>) -> Vec<f32> {
        let channels = self.graph.nodes[0].shape[2];
        let picture =
            |face: &Grey| self.normalization.apply(whole_face(face, self.side()).view(), channels);
        faces.into_iter().flat_map(picture).collect()
    }

    /// Its logits of these pictures, in the order of all answers.
    pub fn logits(&self, pictures: &[f32]) -> Vec<[f32; LOGITS]> {
        let outputs = self.graph.outputs(pictures);
        outputs.chunks_exact(self.heads.logits()).map(|row| self.heads.in_order(row)).collect()
    }
}

/// A checkpoint tells all.
fn own(path: &Path, unsaid: Unsaid) -> Result<Source, SourceError> {
    let Unsaid { normalization: None, labels: None, side: None } = unsaid else {
        let why = "a checkpoint says itself how it is fed and read; leave out --normalization, \
                   --classes and --side";
        return Err(SourceError::Said { path: path.into(), why: why.into() });
    };
    let checkpoint = Checkpoint::read_for_device(path)?;
    let graph = FloatGraph::of_checkpoint(&checkpoint)
        .map_err(|source| SourceError::Layer { path: path.into(), source })?;
    let preset = serde_json::to_string(&checkpoint.preset).expect("a preset is plain data");
    let recipe = checkpoint.notes.get(RECIPE).map(|recipe| ("mien.recipe", recipe.clone()));
    Ok(Source {
        graph,
        normalization: Normalization::Standardized,
        heads: Heads::from_labels(None, LOGITS).expect("a label for each answer"),
        is_own: true,
        metadata: std::iter::once((PRESET_METADATA, preset)).chain(recipe).collect(),
    })
}

fn imported(path: &Path, unsaid: Unsaid) -> Result<Source, SourceError> {
    let path = || path.to_owned();
    let layers = import::read(&path(), unsaid.side)?;
    let graph = lower(&layers).map_err(|source| SourceError::Layer { path: path(), source })?;
    let normalization =
        unsaid.normalization.ok_or_else(|| SourceError::Normalization { path: path() })?;
    let [height, width, channels] = graph.nodes[0].shape;
    let why = if height != width || ![1, 3].contains(&channels) {
        Some(format!(
            "it reads pictures of {height}×{width}×{channels}, but faces are square, of 1 channel \
             or 3"
        ))
    } else if !normalization.fits(channels) {
        Some(format!("{normalization} is not for pictures of {channels} channels"))
    } else {
        let other = unsaid.side.filter(|side| *side != height);
        other.map(|side| format!("it reads pictures of {height}×{height}; leave out --side {side}"))
    };
    if let Some(why) = why {
        return Err(SourceError::Said { path: path(), why });
    }
    let logits = graph.nodes.last().map_or(0, |node| node.shape.iter().product());
    let heads = heads(unsaid.labels.as_deref(), logits).map_err(|wrong| SourceError::Labels {
        path: path(),
        logits,
        given: unsaid.labels.clone(),
        needed: wrong.needed,
    })?;
    Ok(Source { graph, normalization, heads, is_own: false, metadata: Vec::new() })
}

/// What the logits of another framework's network stand for: seven that nobody names are FER2013's
/// expressions; that two more were genders is not guessed.
fn heads(labels: Option<&str>, logits: usize) -> Result<Heads, MetadataError> {
    let assumed = (logits != EXPRESSION_LOGITS).then_some("");
    Heads::from_labels(labels.or(assumed), logits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn genders_are_not_guessed() {
        assert!(!heads(None, 7).unwrap().tells_gender());
        assert!(heads(None, 9).is_err());
        let said = "angry disgust fear happy sad surprise neutral female male";
        assert!(heads(Some(said), 9).unwrap().tells_gender());
        assert!(heads(None, 8).is_err());
    }
}
