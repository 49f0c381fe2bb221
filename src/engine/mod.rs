//! Runs the int8 network of a `.tflite` file.
//!
//! [`Model`] is the way in. A file comes from outside, so [`read`] checks all of it before anything
//! else sees it (tract indexes and unwraps what a file says) and turns it into a [`network`]; `plan`
//! compiles this into stages, which run on `kernels` made for the CPU and are held to a [`test_vector`]
//! at the start. The `reference`, which runs what can't be planned, is tract; but for networks that tract
//! computes otherwise than LiteRT, it is [`interpret`], which says plainly what all of them compute. Single
//! operators that this engine has no arithmetic for are each a [`tract_operator`].

#![deny(unsafe_code)]

pub mod arithmetic;
mod calibration;
mod error;
mod fast;
mod heads;
pub mod interpret;
mod kernels;
pub mod network;
mod plan;
mod quantization;
pub mod read;
mod reference;
pub mod schema;
pub mod test_vector;
mod tract;
pub mod tract_operator;
pub mod window;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

pub use calibration::Calibration;
pub use error::{MetadataError, ModelError};
pub use heads::{Heads, LABELS};
pub use quantization::Quantization;

use fast::Fast;
use network::Int8Network;
use reference::Reference;

use crate::face::normalization::Normalization;
use crate::image::Grey;

/// Answers that [`Model::run`] gives logits of: seven expressions, then female and male.
pub const LOGITS: usize = 9;

/// Name of the metadata's entry that says how pictures are normalized, see [`Normalization`].
pub const NORMALIZATION: &str = "normalization";

/// A loaded network, ready to run.
pub struct Model {
    name: String,
    reference: Reference,
    /// None if the reference is to run it.
    fast: Option<Box<Fast>>,
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
        Self::load_file(path, true)
    }

    /// The same, but see [`Model::without_gender`].
    pub fn read_without_gender(path: &Path) -> Result<Self, ModelError> {
        Self::load_file(path, false)
    }

    fn load_file(path: &Path, gender: bool) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path)
            .map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        Self::load(&path.display().to_string(), &bytes, gender)
    }

    /// Loads a `.tflite` file's bytes; `name` is what errors call it.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, ModelError> {
        Self::load(name, bytes, true)
    }

    /// The same of one that tells no gender, and, run by the plan, does not compute it either.
    pub fn without_gender(name: &str, bytes: &[u8]) -> Result<Self, ModelError> {
        Self::load(name, bytes, false)
    }

    fn load(name: &str, bytes: &[u8], gender: bool) -> Result<Self, ModelError> {
        let file = read::read(name, bytes)?;
        let network = &file.network;
        let [input, output] = [network.input, network.output].map(|value| &network.values[value]);
        let ([side, _, channels], [_, _, logits]) = (input.shape, output.shape);
        let entry = |entry: &str| network.metadata.get(entry).map(String::as_str);
        let unusable = |source| ModelError::Metadata { name: name.into(), source };
        let normalization = normalization(entry(NORMALIZATION), channels).map_err(unusable)?;
        let mut heads = Heads::from_labels(entry(LABELS), logits).map_err(unusable)?;
        let calibration = Calibration::from_metadata(entry).map_err(unusable)?;
        let stored = test_vector::codes(entry(test_vector::TEST_CODES), logits);
        let stored = stored.map_err(unusable)?;
        let reference = Reference::new(name, bytes, &file);
        let forgotten = if gender { Vec::new() } else { heads.forget_gender() };
        let fast = fast(name, network, &reference, stored, &forgotten)?;
        let (input, output) = (input.quantization, output.quantization);
        let name = name.into();
        Ok(Self {
            name,
            reference,
            fast: fast.map(Box::new),
            side,
            channels,
            normalization,
            input,
            heads,
            output,
            calibration,
            metadata: file.network.metadata,
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
    pub fn all_metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// How to read its logits, as its metadata says.
    pub fn calibration(&self) -> Calibration {
        self.calibration
    }

    /// Logits of each face, [`Model::side`] pixels square: −∞ for answers that it does not give.
    pub fn run(&self, faces: &[Grey]) -> Result<Vec<[f32; LOGITS]>, ModelError> {
        Ok(self.run_codes(faces)?.iter().map(|codes| self.logits(codes)).collect())
    }

    /// The logits that the codes of the network's own stand for, as in [`Model::run`].
    pub fn logits(&self, codes: &[i8]) -> [f32; LOGITS] {
        let own: Vec<f32> = codes.iter().map(|&code| self.output.dequantize(code)).collect();
        self.heads.in_order(&own)
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
        self.check_len(input)?;
        let Some(fast) = &self.fast else { return self.run_raw_by_reference(input) };
        catch_unwind(AssertUnwindSafe(|| fast.run(input))).or_else(|_| {
            let (name, by) = (&self.name, self.reference.name());
            log::error!("model {name}: the engine panicked; {by} runs this picture");
            self.run_raw_by_reference(input)
        })
    }

    /// As [`Model::run_raw`], on the reference whatever the model: what the engine is compared with.
    pub fn run_raw_by_reference(&self, input: &[i8]) -> Result<Vec<i8>, ModelError> {
        self.check_len(input)?;
        let mut output = Vec::new();
        for picture in input.chunks_exact(self.input_len()) {
            let failed = |why| ModelError::Engine { name: self.name.clone(), why };
            output.extend(self.reference.run(picture).map_err(failed)?);
        }
        Ok(output)
    }

    fn check_len(&self, input: &[i8]) -> Result<(), ModelError> {
        let (found, needed) = (input.len(), self.input_len());
        match found.is_multiple_of(needed) {
            true => Ok(()),
            false => Err(ModelError::InputLength { found, needed }),
        }
    }

    /// What it runs on: a set of kernels, or the reference if it could not be planned.
    pub fn engine(&self) -> &'static str {
        self.fast.as_ref().map_or(self.reference.name(), |fast| fast.plan().kernels().name)
    }

    /// Whether the engine's plan runs it.
    pub fn is_planned(&self) -> bool {
        self.fast.is_some()
    }

    /// What the plan is held to: tract, or plain loops where tract computes otherwise than LiteRT.
    pub fn reference(&self) -> &'static str {
        self.reference.name()
    }

    /// Bytes of memory that running takes on one thread, besides the weights; 0 if it is not planned.
    pub fn workspace_bytes(&self) -> usize {
        self.fast.as_ref().map_or(0, |fast| fast.plan().workspace_bytes())
    }

    /// Runs it on this many threads: pictures are dealt out to them, few and slow ones by their rows. A
    /// new model uses the caller's thread alone.
    pub fn set_threads(&mut self, threads: usize) {
        let Some(fast) = &mut self.fast else { return };
        if let Err(error) = fast.set_threads(threads) {
            log::warn!("model {}: can't start {threads} threads, one runs it: {error}", self.name);
        }
    }
}

/// The plan, held to the codes that the file has stored for the test picture, or else to the reference's;
/// none if the reference is to run the network.
fn fast(
    name: &str,
    network: &Int8Network,
    reference: &Reference,
    stored: Option<Vec<i8>>,
    forgotten: &[usize],
) -> Result<Option<Fast>, ModelError> {
    let [inputs, logits]: [usize; 2] =
        [network.input, network.output].map(|value| network.values[value].shape.iter().product());
    let of_reference = || {
        let codes = reference.run(&test_vector::picture(inputs));
        let whole = |codes: Vec<i8>| match codes.len() == logits {
            true => Ok(codes),
            false => Err(format!("{} gives {} logits of {logits}", reference.name(), codes.len())),
        };
        codes.and_then(whole).map_err(|why| ModelError::Engine { name: name.into(), why })
    };
    let expected = stored.clone().map_or_else(of_reference, Ok)?;
    let why = match Fast::checked(network, &expected, forgotten) {
        Ok(fast) => return Ok(Some(fast)),
        Err(why) => why,
    };
    if let Some(stored) = stored
        && of_reference()? != stored
    {
        return Err(ModelError::TestCodes { name: name.into() });
    }
    log::warn!("model {name}: {why}; {} runs it, many times slower", reference.name());
    Ok(None)
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

#[cfg(test)]
mod tests {
    use super::network::Int8Op;
    use super::*;

    /// What the shipped network's plan gives is spoilt by `fault`, as a kernel might that the CPU doesn't run as it
    /// should; its file says what it should give, or doesn't.
    fn with_fault(fault: impl Fn(&mut Int8Network), says: bool) -> Option<Fast> {
        let file = include_bytes!("../../models/mien-slim.tflite");
        let network = read::read("mien-slim", file).unwrap().network;
        let stored = network.metadata[test_vector::TEST_CODES].clone();
        let stored = test_vector::codes(Some(&stored), LOGITS).unwrap().filter(|_| says);
        let reference = Reference::Plain(Box::new(network.clone()));
        let mut faulty = network;
        fault(&mut faulty);
        fast("mien-slim", &faulty, &reference, stored, &[]).unwrap()
    }

    fn last_filter(network: &mut Int8Network) -> &mut network::Filter {
        let filter = network.steps.iter_mut().rev().find_map(|step| match &mut step.op {
            Int8Op::Conv(filter) => Some(filter),
            _ => None,
        });
        filter.expect("it ends in a convolution")
    }

    #[test]
    fn a_plan_that_gives_other_codes_or_panics_is_left_for_the_reference() {
        for says in [true, false] {
            assert!(with_fault(|_| (), says).is_some());
            let other = |network: &mut Int8Network| {
                last_filter(network).bias.iter_mut().for_each(|bias| *bias += 40_000);
            };
            assert!(with_fault(other, says).is_none());
            let panics = |network: &mut Int8Network| {
                last_filter(network).weights.clear();
            };
            assert!(with_fault(panics, says).is_none());
        }
    }

    #[test]
    fn a_plan_without_gender_is_held_to_the_other_codes() {
        let file = include_bytes!("../../models/mien-slim.tflite");
        let network = read::read("mien-slim", file).unwrap().network;
        let codes = interpret::interpret(&network, &test_vector::picture(48 * 48));
        assert!(Fast::checked(&network, &codes, &[7, 8]).is_ok());
    }

    /// LiteRT's answers of the shipped model. After a new model:
    /// `python tests/litert.py models/mien-slim.tflite tests/data/golden_inputs.i8
    /// tests/data/golden_outputs.i8`. This also runs for aarch64, where LiteRT is not at hand.
    #[test]
    fn the_shipped_model_gives_litert_s_bytes_on_every_cpu() {
        let inputs = include_bytes!("../../tests/data/golden_inputs.i8").map(|b| b as i8);
        let expected = include_bytes!("../../tests/data/golden_outputs.i8").map(|b| b as i8);
        let file = include_bytes!("../../models/mien-slim.tflite");
        let network = read::read("mien-slim", file).unwrap().network;
        for kernels in kernels::available() {
            let plan = plan::Plan::new(&network, kernels).unwrap();
            let mut codes = vec![0; expected.len()];
            plan.run(&mut plan.workspace(1), &inputs, &mut codes);
            assert_eq!(codes, expected, "{}", kernels.name);
        }
        let model = Model::from_bytes("mien-slim", file).unwrap();
        assert_eq!(model.run_raw(&inputs).unwrap(), expected);
        assert!(model.is_planned());
        assert_eq!(model.reference(), "tract");
        // Without gender, its codes are the same whatever the picture, and the others as ever.
        let blind = Model::without_gender("mien-slim", file).unwrap();
        assert!(model.heads().tells_gender() && !blind.heads().tells_gender());
        let codes = blind.run_raw(&inputs).unwrap();
        for (codes, expected) in codes.chunks(LOGITS).zip(expected.chunks(LOGITS)) {
            assert_eq!(codes[..7], expected[..7]);
            assert_eq!(codes[7..], [blind.output().zero_point; 2]);
        }
        // By threads, one of which has less to do; few pictures perhaps by their rows.
        let mut model = model;
        for threads in [2, 3, 4, 40, usize::MAX] {
            model.set_threads(threads);
            assert_eq!(model.run_raw(&inputs).unwrap(), expected);
            let (input, output) =
                (model.input_len(), expected.len() * model.input_len() / inputs.len());
            assert_eq!(model.run_raw(&inputs[..input]).unwrap(), expected[..output]);
        }
    }
}
