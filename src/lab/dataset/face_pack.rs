//! Packs of faces labelled with a gender, as FairFace was made into.

use std::io::Read;
use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::compact;
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
/// and `race`. In place of `NAME.u8.xz` there may be its [`compact`] form.
pub fn read_face_pack(u8_path: &Path) -> Result<Vec<PackFace>, DatasetError> {
    let labels_path = labels_path(u8_path)?;
    let labels = read_labels(&labels_path)?;
    let compact_path = compact::faces_path(u8_path);
    let faces = if !u8_path.exists() && compact_path.exists() {
        compact::read_faces(&compact_path, labels.len())?
    } else {
        read_faces(u8_path, labels.len(), &labels_path)?
    };
    let labelled = faces.into_iter().zip(labels);
    Ok(labelled.map(|(face, (is_male, age, race))| PackFace { face, is_male, age, race }).collect())
}

/// Where the labels of a pack lie.
pub fn labels_path(u8_path: &Path) -> Result<PathBuf, DatasetError> {
    let name = u8_path.to_string_lossy();
    let stem = name.strip_suffix(".u8.xz").ok_or_else(|| DatasetError::Shape {
        path: u8_path.into(),
        why: "a face pack is named NAME.u8.xz".into(),
    })?;
    Ok(format!("{stem}.csv.xz").into())
}

/// Whether male, age and race, of each face.
type Label = (bool, Option<String>, Option<String>);

fn read_labels(path: &Path) -> Result<Vec<Label>, DatasetError> {
    let mut labels = Vec::new();
    let mut reader = csv::Reader::from_reader(open(path)?);
    let [column] = columns(path, &mut reader, ["is_male"])?;
    let header = reader.headers().map_err(|e| csv_error(path, e))?;
    let [age, race] = ["age", "race"].map(|name| header.iter().position(|h| h.trim() == name));
    for_each_line(path, &mut reader, |record| {
        let is_male = match record[column].trim() {
            "0" => false,
            "1" => true,
            other => return Err(format!("is_male is {other:?}, not 0 or 1")),
        };
        let text = |column: Option<usize>| column.map(|column| record[column].trim().to_owned());
        labels.push((is_male, text(age), text(race)));
        Ok(())
    })?;
    Ok(labels)
}

fn read_faces(path: &Path, count: usize, labels: &Path) -> Result<Vec<Grey>, DatasetError> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes).map_err(|e| DatasetError::reading(path, e))?;
    if bytes.len() != count * FACE_PIXELS {
        let why = format!(
            "{} bytes are not {FACE_PIXELS} for each of the {count} rows in {}",
            bytes.len(),
            labels.display()
        );
        return Err(DatasetError::Shape { path: path.into(), why });
    }
    let face = |bytes: &[u8]| {
        Array2::from_shape_vec((FACE_SIDE, FACE_SIDE), bytes.into()).expect("a face's bytes")
    };
    Ok(bytes.chunks_exact(FACE_PIXELS).map(face).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lzma_rust2::{XzOptions, XzWriter};
    use std::io::Write;

    fn write_xz(path: &Path, bytes: &[u8]) {
        let file = std::fs::File::create(path).unwrap();
        let mut writer = XzWriter::new(file, XzOptions::with_preset(1)).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap();
    }

    fn read(table: &str, pixels: &[u8]) -> Result<Vec<PackFace>, DatasetError> {
        let folder = tempfile::tempdir().unwrap();
        write_xz(&folder.path().join("pack.csv.xz"), table.as_bytes());
        write_xz(&folder.path().join("pack.u8.xz"), pixels);
        read_face_pack(&folder.path().join("pack.u8.xz"))
    }

    #[test]
    fn faces_and_labels_are_read_in_their_order() {
        let pixels = [[9; FACE_PIXELS], [7; FACE_PIXELS]].concat();
        let pack = read("age,is_male\n3-9,0\n20-29,1\n", &pixels).unwrap();
        assert_eq!((pack[1].face[[47, 47]], pack[1].is_male), (7, true));
        assert_eq!((pack[1].age.as_deref(), pack[1].race.as_deref()), (Some("20-29"), None));
    }

    #[test]
    fn packs_that_are_none_are_refused() {
        let pixels = [9; FACE_PIXELS];
        for (table, pixels, words) in [
            ("age\n3-9\n", &pixels[..], "pack.csv.xz, line 1: no column \"is_male\""),
            ("is_male\n2\n", &pixels, "pack.csv.xz, line 2: is_male is \"2\""),
            ("is_male\n0\n1\n", &pixels, "pack.u8.xz: 2304 bytes are not 2304 for each of the 2"),
            ("is_male\n0\n", &pixels[1..], "2303 bytes"),
        ] {
            let error = read(table, pixels).unwrap_err().to_string();
            assert!(error.contains(words), "{error:?} should say {words:?}");
        }
        let error = read_face_pack(Path::new("faces.bin")).unwrap_err().to_string();
        assert!(error.contains("NAME.u8.xz"), "{error}");
    }

    #[test]
    fn a_compact_pack_is_read_as_the_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack.u8.xz");
        write_xz(&folder.path().join("pack.csv.xz"), b"is_male\n1\n");
        let face = Grey::from_shape_fn((48, 48), |(y, x)| (x * y) as u8);
        compact::write_faces(&compact::faces_path(&path), [&face].into_iter()).unwrap();
        assert_eq!(read_face_pack(&path).unwrap()[0].face, face);
    }

    #[test]
    fn a_file_that_was_cut_off_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let pack = folder.path().join("pack.u8.xz");
        write_xz(&folder.path().join("pack.csv.xz"), b"is_male\n1\n");
        write_xz(&pack, &[7; FACE_PIXELS]);
        let bytes = std::fs::read(&pack).unwrap();
        std::fs::write(&pack, &bytes[..bytes.len() / 2]).unwrap();
        let error = read_face_pack(&pack).unwrap_err().to_string();
        assert!(error.contains("pack.u8.xz: it ends in the middle"), "{error}");
    }
}
