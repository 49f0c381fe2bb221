//! Faces without a loss in fewer bytes: what the kept neighbours don't tell of each pixel, as xz.
//!
//! A file `TABLE.faces` beside a table holds the 48×48 faces of its rows, in order. Before
//! compression each pixel is predicted from those to the left, above and above left (the median
//! edge detector of LOCO-I, Weinberger et al. 2000); the difference, wrapped to 8 bits, is stored
//! as 0, −1, 1, −2, 2 … → 0, 1, 2, 3, 4 …

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use lzma_rust2::{XzOptions, XzReader, XzWriter};
use ndarray::Array2;

use super::{DatasetError, FACE_PIXELS};
use crate::face::FACE_SIDE;
use crate::image::Grey;

/// The file that holds the faces of `table`.
pub fn faces_path(table: &Path) -> PathBuf {
    let mut name = OsString::from(table);
    name.push(".faces");
    name.into()
}

/// Writes `faces` to `path`.
pub fn write_faces<'a>(
    path: &Path,
    faces: impl Iterator<Item = &'a Grey>,
) -> Result<(), DatasetError> {
    let write = || -> std::io::Result<()> {
        let mut options = XzOptions::with_preset(6);
        // The difference before says how rough the picture is here; bytes are in no groups of four.
        (options.lzma_options.lc, options.lzma_options.pb) = (4, 0);
        // Copies of a face are found however far apart they are.
        options.lzma_options.dict_size = 1 << 27;
        let mut writer = XzWriter::new(BufWriter::new(File::create(path)?), options)?;
        for face in faces {
            writer.write_all(&differences(face))?;
        }
        writer.finish()?.flush()
    };
    write().map_err(|source| DatasetError::Io { path: path.into(), source })
}

/// Reads `count` faces from `path`, which must hold as many.
pub fn read_faces(path: &Path, count: usize) -> Result<Vec<Grey>, DatasetError> {
    let reading = |source| DatasetError::reading(path, source);
    let file = BufReader::with_capacity(1 << 16, File::open(path).map_err(reading)?);
    let mut bytes = Vec::new();
    XzReader::new(file, true).read_to_end(&mut bytes).map_err(reading)?;
    if bytes.len() != count * FACE_PIXELS {
        let why = format!("it holds {} pixels, not {FACE_PIXELS} for {count} rows", bytes.len());
        return Err(DatasetError::Shape { path: path.into(), why });
    }
    Ok(bytes.chunks_exact(FACE_PIXELS).map(face).collect())
}

fn differences(face: &Grey) -> Vec<u8> {
    let difference = |((y, x), pixel): ((usize, usize), &u8)| {
        let signed = pixel.wrapping_sub(predicted(face, y, x)).cast_signed();
        ((signed << 1) ^ (signed >> 7)).cast_unsigned()
    };
    face.indexed_iter().map(difference).collect()
}

fn face(differences: &[u8]) -> Grey {
    let mut face = Array2::zeros((FACE_SIDE, FACE_SIDE));
    for (i, stored) in differences.iter().enumerate() {
        let (y, x) = (i / FACE_SIDE, i % FACE_SIDE);
        let difference = (stored >> 1) ^ (stored & 1).wrapping_neg();
        face[[y, x]] = predicted(&face, y, x).wrapping_add(difference);
    }
    face
}

/// What the pixels before (`y`, `x`) let expect there.
fn predicted(face: &Grey, y: usize, x: usize) -> u8 {
    let (left, above, corner) = match (y, x) {
        (0, 0) => return 128,
        (0, _) => return face[[0, x - 1]],
        (_, 0) => return face[[y - 1, 0]],
        _ => (face[[y, x - 1]], face[[y - 1, x]], face[[y - 1, x - 1]]),
    };
    let (least, most) = (left.min(above), left.max(above));
    if corner >= most {
        least
    } else if corner <= least {
        most
    } else {
        // Between the two, as `corner` is.
        left.wrapping_add(above).wrapping_sub(corner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faces_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = faces_path(&folder.path().join("table.csv"));
        let mut random = fastrand::Rng::with_seed(1);
        let noise = Grey::from_shape_simple_fn((48, 48), || random.u8(..));
        let extreme =
            Grey::from_shape_fn((48, 48), |(y, x)| if (y ^ x) & 1 == 0 { 0 } else { 255 });
        let smooth = Grey::from_shape_fn((48, 48), |(y, x)| (2 * y + 3 * x) as u8);
        let faces = [noise, extreme, smooth];
        write_faces(&path, faces.iter()).unwrap();
        assert!(path.ends_with("table.csv.faces"));
        assert_eq!(read_faces(&path, 3).unwrap(), faces);
        let error = read_faces(&path, 4).unwrap_err().to_string();
        assert!(error.contains("6912 pixels, not 2304 for 4 rows"), "{error}");
        std::fs::write(&path, "no xz").unwrap();
        assert!(read_faces(&path, 3).is_err());
    }

    #[test]
    fn smooth_faces_leave_small_differences() {
        let smooth = Grey::from_shape_fn((48, 48), |(y, x)| (2 * y + 3 * x) as u8);
        assert!(differences(&smooth).iter().skip(1).all(|difference| *difference <= 6));
    }
}
