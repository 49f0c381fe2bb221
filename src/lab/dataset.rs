//! Labelled faces: Kaggle's `fer2013.csv`, FER+ votes for its rows, and packs of grey faces with
//! a gender column.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use lzma_rust2::XzReader;
use ndarray::Array2;

use crate::face::FACE_SIDE;
use crate::image::Grey;

/// Pixels of one face.
const FACE_PIXELS: usize = FACE_SIDE * FACE_SIDE;

/// Why a data set could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The file could not be opened or read.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// The file is not what it should be; `line` counts from 1, the header included.
    #[error("{}, line {line}: {why}", path.display())]
    Line { path: PathBuf, line: u64, why: String },
    /// The file as a whole is not what it should be.
    #[error("{}: {why}", path.display())]
    Shape { path: PathBuf, why: String },
}

/// FER2013's split that a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Rows to learn from.
    Training,
    /// Rows to report on.
    PublicTest,
    /// Rows held out for a final score.
    PrivateTest,
}

/// One row of FER2013.
#[derive(Clone, Debug)]
pub struct FerRow {
    /// 48×48 grey.
    pub face: Grey,
    /// Index into [`crate::expression::Expression::ALL`].
    pub label: usize,
    /// Its split.
    pub usage: Usage,
}

/// Reads Kaggle's `fer2013.csv` (`emotion,pixels,Usage`), plain or `.xz`.
pub fn read_fer2013(path: &Path) -> Result<Vec<FerRow>, DatasetError> {
    let mut reader = csv::Reader::from_reader(open(path)?);
    let [emotion, pixels, usage] = columns(path, &mut reader, ["emotion", "pixels", "Usage"])?;
    let mut rows = Vec::new();
    for_each_line(path, &mut reader, |record| {
        let label = record[emotion].trim().parse().ok().filter(|label| *label < 7);
        let label =
            label.ok_or_else(|| format!("emotion {:?} is not a label 0 to 6", &record[emotion]))?;
        let usage = match record[usage].trim() {
            "Training" => Usage::Training,
            "PublicTest" => Usage::PublicTest,
            "PrivateTest" => Usage::PrivateTest,
            other => return Err(format!("unknown Usage {other:?}")),
        };
        rows.push(FerRow { face: parse_pixels(&record[pixels])?, label, usage });
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

/// Reads FER+ votes (`fer2013new.csv`): for each row of FER2013, in its order, the taggers' votes
/// for the seven expressions in this project's order.
///
/// Votes for contempt, unknown and not-a-face are left out; a row may have no votes at all.
pub fn read_ferplus(path: &Path) -> Result<Vec<[f32; 7]>, DatasetError> {
    let mut reader = csv::Reader::from_reader(open(path)?);
    let names = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"];
    let columns = columns(path, &mut reader, names)?;
    let mut rows = Vec::new();
    for_each_line(path, &mut reader, |record| {
        let mut votes = [0.0; 7];
        for (vote, column) in votes.iter_mut().zip(columns) {
            let text = record[column].trim();
            *vote = text.parse().map_err(|_| format!("vote {text:?} is not a number"))?;
        }
        rows.push(votes);
        Ok(())
    })?;
    Ok(rows)
}

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

fn open(path: &Path) -> Result<Box<dyn Read>, DatasetError> {
    let file = File::open(path).map_err(|source| DatasetError::Io { path: path.into(), source })?;
    let file = BufReader::with_capacity(1 << 16, file);
    Ok(if path.extension().is_some_and(|extension| extension == "xz") {
        Box::new(XzReader::new(file, true))
    } else {
        Box::new(file)
    })
}

/// Positions of the named columns.
fn columns<const N: usize>(
    path: &Path,
    reader: &mut csv::Reader<Box<dyn Read>>,
    names: [&str; N],
) -> Result<[usize; N], DatasetError> {
    let header = reader.headers().map_err(|e| csv_error(path, e))?;
    let mut positions = [0; N];
    for (position, name) in positions.iter_mut().zip(names) {
        *position = header.iter().position(|column| column.trim() == name).ok_or_else(|| {
            DatasetError::Line { path: path.into(), line: 1, why: format!("no column {name:?}") }
        })?;
    }
    Ok(positions)
}

fn for_each_line(
    path: &Path,
    reader: &mut csv::Reader<Box<dyn Read>>,
    mut take: impl FnMut(&csv::StringRecord) -> Result<(), String>,
) -> Result<(), DatasetError> {
    for record in reader.records() {
        let record = record.map_err(|e| csv_error(path, e))?;
        let line = record.position().map_or(0, csv::Position::line);
        take(&record).map_err(|why| DatasetError::Line { path: path.into(), line, why })?;
    }
    Ok(())
}

fn csv_error(path: &Path, error: csv::Error) -> DatasetError {
    let line = error.position().map_or(1, csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(source) => DatasetError::Io { path: path.into(), source },
        kind => DatasetError::Line { path: path.into(), line, why: format!("{kind:?}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<FerRow>, DatasetError> {
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
