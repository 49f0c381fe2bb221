//! Runs the int8 network of a `.tflite` file on tract.
//!
//! [`Model`] is the way in. A file comes from outside, so `inspect` checks all of it before tract
//! sees it: tract indexes and unwraps what a file says.

mod calibration;
mod error;
mod inspect;
mod quantization;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use tract_tflite::internal::{
    DatumType, Framework, IntoRunnable, Tensor, TractResult, TypedRunnableModel, tvec,
};

pub use calibration::{Calibration, CalibrationError};
pub use error::ModelError;
pub use quantization::Quantization;

use crate::face::FACE_SIDE;
use crate::face::crop::standardize;
use crate::image::Grey;

/// Values of the input, `[1, 48, 48, 1]`: one standardized face.
pub const INPUT_LEN: usize = FACE_SIDE * FACE_SIDE;
/// Values of the output, `[1, 1, 1, 9]`: logits of seven expressions, then of female and male.
pub const LOGITS: usize = 9;

/// A loaded network, ready to run.
pub struct Model {
    name: String,
    plan: Arc<TypedRunnableModel>,
    input_type: DatumType,
    input: Quantization,
    output: Quantization,
    metadata: BTreeMap<String, String>,
    calibration: Calibration,
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
        let interface = inspect::inspect(name, bytes)?;
        let entry = |entry: &str| interface.metadata.get(entry).map(String::as_str);
        let calibration = Calibration::from_metadata(entry)
            .map_err(|source| ModelError::Calibration { name: name.into(), source })?;
        let failed = |why: String| ModelError::Engine { name: name.into(), why };
        // `inspect` refuses what is known to make tract panic; should a file get through, it must
        // not take the kiosk down.
        let plan = catch_unwind(|| prepare(bytes))
            .map_err(|_| failed("tract panicked while loading it".into()))?
            .map_err(|e| failed(format!("{e:#}")))?;
        let input_type =
            plan.model().input_fact(0).map_err(|e| failed(format!("{e:#}")))?.datum_type;
        let inspect::Interface { input, output, metadata } = interface;
        Ok(Self { name: name.into(), plan, input_type, input, output, metadata, calibration })
    }

    /// What errors call this model: its path, or the name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The code of the input's values.
    pub fn input(&self) -> Quantization {
        self.input
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

    /// Logits of each 48×48 face.
    pub fn run(&self, faces: &[Grey]) -> Result<Vec<[f32; LOGITS]>, ModelError> {
        let dequantized = |codes: [i8; LOGITS]| codes.map(|code| self.output.dequantize(code));
        Ok(self.run_codes(faces)?.into_iter().map(dequantized).collect())
    }

    /// The codes of [`Model::run`]'s logits.
    pub fn run_codes(&self, faces: &[Grey]) -> Result<Vec<[i8; LOGITS]>, ModelError> {
        let mut codes = Vec::with_capacity(faces.len() * INPUT_LEN);
        for face in faces {
            if face.dim() != (FACE_SIDE, FACE_SIDE) {
                return Err(ModelError::FaceSize { found: face.dim(), needed: FACE_SIDE });
            }
            codes.extend(standardize(face.view()).iter().map(|&value| self.input.quantize(value)));
        }
        Ok(self.run_raw(&codes)?.as_chunks().0.to_vec())
    }

    /// Output codes, [`LOGITS`] for each face of [`INPUT_LEN`] input codes.
    pub fn run_raw(&self, input: &[i8]) -> Result<Vec<i8>, ModelError> {
        let (faces, rest) = input.as_chunks::<INPUT_LEN>();
        if !rest.is_empty() {
            return Err(ModelError::InputLength { found: input.len(), needed: INPUT_LEN });
        }
        let failed = |why: String| ModelError::Engine { name: self.name.clone(), why };
        let mut output = Vec::with_capacity(faces.len() * LOGITS);
        for face in faces {
            let logits = catch_unwind(AssertUnwindSafe(|| self.run_one(face)))
                .map_err(|_| failed("tract panicked while running it".into()))?
                .map_err(|e| failed(format!("{e:#}")))?;
            output.extend(logits);
        }
        Ok(output)
    }

    fn run_one(&self, face: &[i8; INPUT_LEN]) -> TractResult<[i8; LOGITS]> {
        let mut input = Tensor::zero_dt(self.input_type, &[1, FACE_SIDE, FACE_SIDE, 1])?;
        input.try_as_plain_ram_mut()?.as_slice_mut::<i8>()?.copy_from_slice(face);
        let outputs = self.plan.run(tvec!(input.into()))?;
        Ok(outputs[0].try_as_plain_ram()?.as_slice::<i8>()?.try_into()?)
    }
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
