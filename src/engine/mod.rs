//! Runs the int8 network of a `.tflite` file on tract.
//!
//! [`Model`] is the way in. A file comes from outside, so `inspect` checks all of it before tract
//! sees it: tract indexes and unwraps what a file says.

mod calibration;
pub mod codes;
mod error;
mod heads;
mod inspect;
pub mod interpret;
pub mod network;
mod quantization;
pub mod read;
pub mod window;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use tract_tflite::internal::{
    DatumType, Framework, IntoRunnable, Tensor, TractResult, TypedRunnableModel, tvec,
};

pub use calibration::Calibration;
pub use error::{MetadataError, ModelError};
pub use heads::{Heads, LABELS};
pub use quantization::Quantization;

use crate::face::normalization::Normalization;
use crate::image::Grey;

/// Answers that [`Model::run`] gives logits of: seven expressions, then female and male.
pub const LOGITS: usize = 9;

/// Name of the metadata's entry that says how pictures are normalized, see [`Normalization`].
pub const NORMALIZATION: &str = "normalization";

/// A loaded network, ready to run.
pub struct Model {
    name: String,
    plan: Arc<TypedRunnableModel>,
    input_type: DatumType,
    side: usize,
    channels: usize,
    normalization: Normalization,
    input: Quantization,
    heads: Heads,
    output: Quantization,
    calibration: Calibration,
    metadata: BTreeMap<String, String>,
}

impl Model {
    /// Reads a `.tflite` file.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path)
            .map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        Self::from_bytes(&path.display().to_string(), &bytes)
    }

    /// Loads a `.tflite` file's bytes; `name` is what errors call it.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, ModelError> {
        let inspect::Interface { side, channels, input, logits, output, metadata } =
            inspect::inspect(name, bytes)?;
        let entry = |entry: &str| metadata.get(entry).map(String::as_str);
        let unusable = |source| ModelError::Metadata { name: name.into(), source };
        let normalization = normalization(entry(NORMALIZATION), channels).map_err(unusable)?;
        let heads = Heads::from_labels(entry(LABELS), logits).map_err(unusable)?;
        let calibration = Calibration::from_metadata(entry).map_err(unusable)?;
        let failed = |why: String| ModelError::Engine { name: name.into(), why };
        // `inspect` refuses what is known to make tract panic; should a file get through, it must
        // not take the kiosk down.
        let plan = catch_unwind(|| prepare(bytes))
            .map_err(|_| failed("tract panicked while loading it".into()))?
            .map_err(|e| failed(format!("{e:#}")))?;
        let input_type =
            plan.model().input_fact(0).map_err(|e| failed(format!("{e:#}")))?.datum_type;
        let name = name.into();
        Ok(Self {
            name,
            plan,
            input_type,
            side,
            channels,
            normalization,
            input,
            heads,
            output,
            calibration,
            metadata,
        })
    }

    /// What errors call this model: its path, or the name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Side in pixels of the square faces it reads.
    pub fn side(&self) -> usize {
        self.side
    }

    /// The code of the input's values.
    pub fn input(&self) -> Quantization {
        self.input
    }

    /// Which of its logits stands for which answer.
    pub fn heads(&self) -> &Heads {
        &self.heads
    }

    /// The code of the logits.
    pub fn output(&self) -> Quantization {
        self.output
    }

    /// The text that the file's metadata holds under `name`.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(String::as_str)
    }

    /// All texts that the file's metadata holds, by name.
    pub fn into_metadata(self) -> BTreeMap<String, String> {
        self.metadata
    }

    /// How to read its logits, as its metadata says.
    pub fn calibration(&self) -> Calibration {
        self.calibration
    }

    /// Logits of each face, [`Model::side`] pixels square: −∞ for answers that it does not give.
    pub fn run(&self, faces: &[Grey]) -> Result<Vec<[f32; LOGITS]>, ModelError> {
        let dequantized = |codes: Vec<i8>| {
            let logits: Vec<f32> = codes.iter().map(|&code| self.output.dequantize(code)).collect();
            self.heads.in_order(&logits)
        };
        Ok(self.run_codes(faces)?.into_iter().map(dequantized).collect())
    }

    /// The codes of the network's own logits, for each face.
    pub fn run_codes(&self, faces: &[Grey]) -> Result<Vec<Vec<i8>>, ModelError> {
        let mut codes = Vec::with_capacity(faces.len() * self.input_len());
        for face in faces {
            if face.dim() != (self.side, self.side) {
                return Err(ModelError::FaceSize { found: face.dim(), needed: self.side });
            }
            let values = self.normalization.apply(face.view(), self.channels);
            codes.extend(values.into_iter().map(|value| self.input.quantize(value)));
        }
        let output = self.run_raw(&codes)?;
        Ok(output.chunks_exact(self.heads.logits()).map(<[i8]>::to_vec).collect())
    }

    /// Values of the input, `[1, side, side, channels]`.
    pub fn input_len(&self) -> usize {
        self.side * self.side * self.channels
    }

    /// The codes of the network's own logits, for pictures of [`Model::input_len`] input codes, one
    /// after the other.
    pub fn run_raw(&self, input: &[i8]) -> Result<Vec<i8>, ModelError> {
        let pictures = input.chunks_exact(self.input_len());
        if !pictures.remainder().is_empty() {
            let (found, needed) = (input.len(), self.input_len());
            return Err(ModelError::InputLength { found, needed });
        }
        let failed = |why: String| ModelError::Engine { name: self.name.clone(), why };
        let mut output = Vec::with_capacity(pictures.len() * self.heads.logits());
        for picture in pictures {
            let logits = catch_unwind(AssertUnwindSafe(|| self.run_one(picture)))
                .map_err(|_| failed("tract panicked while running it".into()))?
                .map_err(|e| failed(format!("{e:#}")))?;
            output.extend(logits);
        }
        Ok(output)
    }

    fn run_one(&self, picture: &[i8]) -> TractResult<Vec<i8>> {
        let mut input =
            Tensor::zero_dt(self.input_type, &[1, self.side, self.side, self.channels])?;
        input.try_as_plain_ram_mut()?.as_slice_mut::<i8>()?.copy_from_slice(picture);
        let outputs = self.plan.run(tvec!(input.into()))?;
        Ok(outputs[0].try_as_plain_ram()?.as_slice::<i8>()?.to_vec())
    }
}

/// Reads [`NORMALIZATION`]; a file that does not say is standardized, as this project's own are.
fn normalization(text: Option<&str>, channels: usize) -> Result<Normalization, MetadataError> {
    let Some(text) = text else { return Ok(Normalization::Standardized) };
    let known = text.parse().ok().filter(|known: &Normalization| known.fits(channels));
    known.ok_or_else(|| MetadataError {
        entry: NORMALIZATION,
        text: text.into(),
        needed: Normalization::FORMS,
    })
}

/// Loads an inspected file.
///
/// The plan is not optimized: `into_optimized` moves some requantizations from f32 to integers
/// that round otherwise near halves, about one code in 100,000, which then spreads to the logits.
/// As read, tract gives LiteRT's bytes.
fn prepare(bytes: &[u8]) -> TractResult<Arc<TypedRunnableModel>> {
    let mut reader = bytes;
    tract_tflite::tflite().model_for_read(&mut reader)?.into_runnable()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LiteRT's answers of the shipped model. After a new model:
    /// `python tests/litert.py models/mien-slim.tflite tests/data/golden_inputs.i8
    /// tests/data/golden_outputs.i8`. This also runs for aarch64, where LiteRT is not at hand.
    #[test]
    fn the_shipped_model_gives_litert_s_bytes_on_every_cpu() {
        let inputs = include_bytes!("../../tests/data/golden_inputs.i8").map(|b| b as i8);
        let expected = include_bytes!("../../tests/data/golden_outputs.i8").map(|b| b as i8);
        let model = include_bytes!("../../models/mien-slim.tflite");
        let model = Model::from_bytes("mien-slim", model).unwrap();
        assert_eq!(model.run_raw(&inputs).unwrap(), expected);
    }
}
