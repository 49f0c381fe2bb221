//! FER2013 as Kaggle gives it.

use std::path::Path;

use ndarray::Array2;

use super::{DatasetError, FACE_PIXELS, LabelledFace, Usage, columns, for_each_line, open};
use crate::face::FACE_SIDE;
use crate::image::Grey;

/// Reads Kaggle's `fer2013.csv` (`emotion,pixels,Usage`), plain or `.xz`.
pub fn read_fer2013(path: &Path) -> Result<Vec<LabelledFace>, DatasetError> {
    let mut reader = csv::Reader::from_reader(open(path)?);
    let [emotion, pixels, usage] = columns(path, &mut reader, ["emotion", "pixels", "Usage"])?;
    let mut rows = Vec::new();
    for_each_line(path, &mut reader, |record| {
        let label = record[emotion].trim().parse().ok().filter(|label| *label < 7);
        let label =
            label.ok_or_else(|| format!("emotion {:?} is not a label 0 to 6", &record[emotion]))?;
        let usage = Usage::named(&record[usage])?;
        rows.push(LabelledFace { face: parse_pixels(&record[pixels])?, label, usage, votes: None });
        Ok(())
    })?;
    if rows.is_empty() {
        return Err(DatasetError::Shape { path: path.into(), why: "it has no rows".into() });
    }
    Ok(rows)
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
            (format!("{good}3,{pixels},Test\n"), "line 3: unknown Usage \"Test\""),
            (format!("{good}3\n"), "line 3"),
            ("emotion,Usage\n".into(), "line 1: no column \"pixels\""),
            ("emotion,pixels,Usage\n".into(), "no rows"),
        ] {
            let error = read(&bad).unwrap_err().to_string();
            assert!(error.contains(words), "{error:?} should say {words:?}");
        }
    }
}
