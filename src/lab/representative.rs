//! Pictures to calibrate ranges on: what the network will see, without labels.

use std::path::Path;

use npyz::{DType, NpyFile, TypeChar};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use sha2::{Digest, Sha256};

use super::dataset::{self, DatasetError};
use super::evaluate::test_set::TestSet;
use super::mixture::hex;
use super::samples::spread_evenly;
use super::source::Source;
use super::split::{Part, Split};
use crate::image::Grey;

/// Most values of an `.npy` file: 100,000 pictures of 48×48.
const MAX_VALUES: u64 = 100_000 * 48 * 48;

/// Pictures of one source, as a network reads them.
pub struct Representative {
    /// [n, side, side, channels].
    pub pictures: Vec<f32>,
    /// What they are, for people.
    pub title: String,
    /// SHA-256 of [`Self::pictures`], little-endian.
    pub sha256: String,
}

impl Representative {
    /// Reads up to `count` pictures, spread evenly over what lies at `path`:
    ///
    /// - FER2013, `.csv` or `.csv.xz`: of its Training rows those that are not kept back;
    /// - a face pack `NAME.u8.xz`: the same;
    /// - a folder of pictures, or of folders of pictures, whatever their names; shuffled, as the first
    ///   ones are looked at most;
    /// - `.npy`: bytes [n, height, width] are grey faces; float32 [n, height, width, channels] are
    ///   what the network reads, normalized already.
    pub fn read(path: &Path, source: &Source, count: usize) -> Result<Self, DatasetError> {
        let name = path.to_string_lossy();
        let (pictures, kind) = if name.ends_with(".npy") {
            (npy(path, source, count)?, "pictures")
        } else {
            let (faces, kind) = faces(path)?;
            let mut faces = spread_evenly(faces, count);
            if path.is_dir() {
                faces.shuffle(&mut Pcg64::seed_from_u64(0));
            }
            (source.pictures(&faces), kind)
        };
        let n = pictures.len() / source.graph.input_len();
        if n == 0 {
            return Err(shape(path, format!("it holds no {kind} to calibrate on")));
        }
        let mut hash = Sha256::new();
        pictures.iter().for_each(|value| hash.update(value.to_le_bytes()));
        Ok(Self { pictures, title: format!("{n} {kind}"), sha256: hex(hash) })
    }
}

/// Faces, and what they are.
fn faces(path: &Path) -> Result<(Vec<Grey>, &'static str), DatasetError> {
    if path.is_dir() {
        return Ok((dataset::read_unlabelled(path)?, "pictures of a folder"));
    }
    if path.to_string_lossy().ends_with(".u8.xz") {
        let genders = TestSet::pack(path, Some(Part::Training))?.genders;
        let faces = genders.into_iter().map(|(face, _)| face).collect();
        return Ok((faces, "faces of a pack that are learnt from"));
    }
    let mut rows = dataset::read_fer2013(path)?;
    let training = Split::of_expressions(&rows).training;
    let faces = training.into_iter().map(|row| std::mem::take(&mut rows[row].face)).collect();
    Ok((faces, "faces of FER2013's Training rows"))
}

fn npy(path: &Path, source: &Source, count: usize) -> Result<Vec<f32>, DatasetError> {
    let bytes =
        std::fs::read(path).map_err(|source| DatasetError::Io { path: path.into(), source })?;
    let wrong = |why: String| shape(path, why);
    let file = NpyFile::new(&bytes[..]).map_err(|e| wrong(format!("it is no .npy file: {e}")))?;
    let sizes = file.shape().to_vec();
    let values = sizes.iter().try_fold(1u64, |product, &size| product.checked_mul(size));
    if values.is_none_or(|values| values > MAX_VALUES || values > bytes.len() as u64) {
        return Err(wrong(format!("an array of {sizes:?} is cut short or too large")));
    }
    if file.order() != npyz::Order::C {
        return Err(wrong("it is in Fortran's order; save np.ascontiguousarray(a)".into()));
    }
    let [height, width, channels] = source.graph.nodes[0].shape.map(|size| size as u64);
    let type_char = match file.dtype() {
        DType::Plain(plain) => Some((plain.type_char(), plain.size_field())),
        _ => None,
    };
    let damaged = |e: std::io::Error| wrong(format!("it is damaged: {e}"));
    match (type_char, &sizes[..]) {
        (Some((TypeChar::Uint, 1)), &[_, h, w] | &[_, h, w, 1]) if h > 0 && w > 0 => {
            let pixels: Vec<u8> = file.into_vec().map_err(damaged)?;
            let faces = pixels.chunks_exact((h * w) as usize).map(|face| {
                Grey::from_shape_vec((h as usize, w as usize), face.to_vec()).expect("its size")
            });
            Ok(source.pictures(&spread_evenly(faces.collect(), count)))
        }
        (Some((TypeChar::Float, 4)), &[_, h, w, c]) if [h, w, c] == [height, width, channels] => {
            let values: Vec<f32> = file.into_vec().map_err(damaged)?;
            if !values.iter().all(|value| value.is_finite()) {
                return Err(wrong("it holds numbers that are not finite".into()));
            }
            let pictures = values.chunks_exact(source.graph.input_len()).collect();
            Ok(spread_evenly(pictures, count).concat())
        }
        (kind, _) => {
            let kind = kind.map_or("of another type".into(), |(kind, bytes)| {
                format!("{kind:?} of {bytes} bytes")
            });
            Err(wrong(format!(
                "its array {sizes:?}, {kind}, is neither grey faces, uint8 [n, height, width], nor \
                 the network's own input, float32 [n, {height}, {width}, {channels}]"
            )))
        }
    }
}

fn shape(path: &Path, why: String) -> DatasetError {
    DatasetError::Shape { path: path.into(), why }
}
