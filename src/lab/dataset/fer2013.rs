//! FER2013 as Kaggle gives it.

use std::io::Write;
use std::path::Path;

use lzma_rust2::{XzOptions, XzWriter};
use ndarray::Array2;

use super::compact;
use super::{DatasetError, FACE_PIXELS, LabelledFace, Usage, columns, for_each_line, is_xz, open};
use crate::face::FACE_SIDE;
use crate::image::Grey;

/// Reads Kaggle's `fer2013.csv` (`emotion,pixels,Usage`), plain or `.xz`. A table without `pixels`
/// may have its faces beside it, see [`compact`].
pub fn read_fer2013(path: &Path) -> Result<Vec<LabelledFace>, DatasetError> {
    let mut reader = csv::Reader::from_reader(open(path)?);
    let [emotion, usage] = columns(path, &mut reader, ["emotion", "Usage"])?;
    let faces_path = compact::faces_path(path);
    let pixels = match columns(path, &mut reader, ["pixels"]) {
        Ok([pixels]) => Some(pixels),
        Err(_) if faces_path.exists() => None,
        Err(error) => return Err(error),
    };
    let mut rows = Vec::new();
    for_each_line(path, &mut reader, |record| {
        let label = record[emotion].trim().parse().ok().filter(|label| *label < 7);
        let label =
            label.ok_or_else(|| format!("emotion {:?} is not a label 0 to 6", &record[emotion]))?;
        let usage = Usage::named(&record[usage])?;
        let face = pixels.map(|pixels| parse_pixels(&record[pixels])).transpose()?;
        rows.push(LabelledFace { face: face.unwrap_or_default(), label, usage, votes: None });
        Ok(())
    })?;
    if rows.is_empty() {
        return Err(DatasetError::Shape { path: path.into(), why: "it has no rows".into() });
    }
    if pixels.is_none() {
        let faces = compact::read_faces(&faces_path, rows.len())?;
        rows.iter_mut().zip(faces).for_each(|(row, face)| row.face = face);
    }
    Ok(rows)
}

/// Writes a table without pixels to `path`, plain or `.xz`, and its faces beside it.
pub fn write_compact(path: &Path, rows: &[LabelledFace]) -> Result<(), DatasetError> {
    let io = |source| DatasetError::Io { path: path.into(), source };
    let mut table = String::from("emotion,Usage\n");
    for row in rows {
        // A usage is named as in the table.
        table += &format!("{},{:?}\n", row.label, row.usage);
    }
    let mut bytes = table.into_bytes();
    if is_xz(path) {
        let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(6)).map_err(io)?;
        writer.write_all(&bytes).map_err(io)?;
        bytes = writer.finish().map_err(io)?;
    }
    std::fs::write(path, bytes).map_err(io)?;
    compact::write_faces(&compact::faces_path(path), rows.iter().map(|row| &row.face))
}

fn parse_pixels(text: &str) -> Result<Grey, String> {
    let mut pixels = Vec::with_capacity(FACE_PIXELS);
    for word in text.split_ascii_whitespace() {
        pixels.push(word.parse().map_err(|_| format!("pixel {word:?} is not a number 0 to 255"))?);
    }
    let count = pixels.len();
    Array2::from_shape_vec((FACE_SIDE, FACE_SIDE), pixels)
        .map_err(|_| format!("{count} pixels, not {FACE_PIXELS}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<LabelledFace>, DatasetError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fer.csv");
        std::fs::write(&path, text).unwrap();
        read_fer2013(&path)
    }

    #[test]
    fn rows_are_read() {
        let pixels = vec!["7"; FACE_PIXELS].join(" ");
        let rows = read(&format!("emotion,pixels,Usage\n3,{pixels},PublicTest\n")).unwrap();
        assert_eq!((rows[0].label, rows[0].usage), (3, Usage::PublicTest));
        assert_eq!(rows[0].face[[47, 47]], 7);
    }

    #[test]
    fn bad_rows_are_refused_with_their_line() {
        let pixels = vec!["7"; FACE_PIXELS].join(" ");
        let good = format!("emotion,pixels,Usage\n3,{pixels},Training\n");
        for (bad, words) in [
            (format!("{good}9,{pixels},Training\n"), "line 3: emotion \"9\""),
            (format!("{good}3,1 2 3,Training\n"), "line 3: 3 pixels, not 2304"),
            (format!("{good}3,{pixels} 256,Training\n"), "line 3: pixel \"256\""),
            (format!("{good}3,{pixels} x,Training\n"), "line 3: pixel \"x\""),
            (format!("{good}sad,{pixels},Training\n"), "line 3: emotion \"sad\""),
            (format!("{good}3,{pixels},Test\n"), "line 3: unknown Usage \"Test\""),
            (format!("{good}3\n"), "line 3"),
            ("emotion,Usage\n".into(), "line 1: no column \"pixels\""),
            ("emotion,pixels,Usage\n".into(), "no rows"),
        ] {
            let error = read(&bad).unwrap_err().to_string();
            assert!(error.contains(words), "{error:?} should say {words:?}");
        }
    }

    #[test]
    fn a_compact_table_is_read_as_the_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let whole = "emotion,pixels,Usage\n".to_owned()
            + &format!("3,{},Training\n", vec!["7"; FACE_PIXELS].join(" "))
            + &format!("0,{},PublicTest\n", vec!["200"; FACE_PIXELS].join(" "));
        let rows = read(&whole).unwrap();
        for name in ["table.csv", "table.csv.xz"] {
            let path = folder.path().join(name);
            write_compact(&path, &rows).unwrap();
            assert_eq!(read_fer2013(&path).unwrap(), rows);
            std::fs::remove_file(compact::faces_path(&path)).unwrap();
            let error = read_fer2013(&path).unwrap_err().to_string();
            assert!(error.contains("no column \"pixels\""), "{error}");
        }
    }
}
