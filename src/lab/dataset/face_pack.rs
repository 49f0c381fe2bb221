//! Packs of faces labelled with a gender, as FairFace was made into.

use std::io::Read;
use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::{DatasetError, FACE_PIXELS, columns, csv_error, for_each_line, open};
use crate::face::FACE_SIDE;
use crate::image::Grey;

/// One face of a pack.
#[derive(Clone, Debug)]
pub struct PackFace {
    /// 48×48 grey.
    pub face: Grey,
    /// The pack's label.
    pub is_male: bool,
    /// The pack's age group, where it tells.
    pub age: Option<String>,
    /// The pack's race group, where it tells.
    pub race: Option<String>,
}

/// Reads a face pack: `NAME.u8.xz` (48×48 grey bytes, one face after the other) and beside it
/// `NAME.csv.xz`, whose column `is_male` holds 0 or 1 in the same order. It may have columns `age`
/// and `race`.
pub fn read_face_pack(u8_path: &Path) -> Result<Vec<PackFace>, DatasetError> {
    let name = u8_path.to_string_lossy();
    let csv_path = name.strip_suffix(".u8.xz").map(|stem| PathBuf::from(format!("{stem}.csv.xz")));
    let csv_path = csv_path.ok_or_else(|| DatasetError::Shape {
        path: u8_path.into(),
        why: "a face pack is named NAME.u8.xz".into(),
    })?;
    let mut labels = Vec::new();
    let mut reader = csv::Reader::from_reader(open(&csv_path)?);
    let [column] = columns(&csv_path, &mut reader, ["is_male"])?;
    let header = reader.headers().map_err(|e| csv_error(&csv_path, e))?;
    let [age, race] = ["age", "race"].map(|name| header.iter().position(|h| h.trim() == name));
    for_each_line(&csv_path, &mut reader, |record| {
        let is_male = match &record[column] {
            "0" => false,
            "1" => true,
            other => return Err(format!("is_male is {other:?}, not 0 or 1")),
        };
        let text = |column: Option<usize>| column.map(|column| record[column].trim().to_owned());
        labels.push((is_male, text(age), text(race)));
        Ok(())
    })?;
    let mut bytes = Vec::new();
    let io = |source| DatasetError::Io { path: u8_path.into(), source };
    open(u8_path)?.read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() != labels.len() * FACE_PIXELS {
        let why = format!(
            "{} bytes are not {FACE_PIXELS} for each of the {} rows in {}",
            bytes.len(),
            labels.len(),
            csv_path.display()
        );
        return Err(DatasetError::Shape { path: u8_path.into(), why });
    }
    let face = |bytes: &[u8]| {
        Array2::from_shape_vec((FACE_SIDE, FACE_SIDE), bytes.into()).expect("a face's bytes")
    };
    let faces = bytes.chunks_exact(FACE_PIXELS).zip(labels);
    let faces = faces.map(|(bytes, label)| {
        let (is_male, age, race) = label;
        PackFace { face: face(bytes), is_male, age, race }
    });
    Ok(faces.collect())
}
