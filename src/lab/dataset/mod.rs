//! Labelled faces: Kaggle's [`fer2013`]`.csv`, [`ferplus`] votes for its rows, folders of pictures
//! ([`image_folder`]), and packs of grey faces with a gender column ([`face_pack`]). Tables may keep
//! their faces [`compact`].

pub mod compact;
pub mod face_pack;
pub mod fer2013;
pub mod ferplus;
pub mod image_folder;

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::face::FACE_SIDE;
use crate::image::Grey;
use lzma_rust2::XzReader;

pub use face_pack::{PackFace, read_face_pack};
pub use fer2013::read_fer2013;
pub use ferplus::Votes;
pub use image_folder::{ImageFolder, read_image_folder, read_unlabelled};

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

impl DatasetError {
    /// What reading `path` ran into.
    fn reading(path: &Path, source: std::io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            ErrorKind::UnexpectedEof => {
                let why =
                    "it ends in the middle: it was cut off or is not all there yet; get it again";
                Self::Shape { path, why: why.into() }
            }
            _ => Self::Io { path, source },
        }
    }
}

/// FER2013's split that a face belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Faces to learn from.
    Training,
    /// Faces to report on.
    PublicTest,
    /// Faces held out for a final score.
    PrivateTest,
}

impl Usage {
    /// The usage of this name, as in FER2013's column `Usage`.
    fn named(name: &str) -> Result<Self, String> {
        match name.trim() {
            "Training" => Ok(Usage::Training),
            "PublicTest" => Ok(Usage::PublicTest),
            "PrivateTest" => Ok(Usage::PrivateTest),
            other => Err(format!("unknown Usage {other:?}")),
        }
    }
}

/// A face labelled with an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledFace {
    /// 48×48 grey.
    pub face: Grey,
    /// Index into [`crate::expression::Expression::ALL`].
    pub label: usize,
    /// Its split.
    pub usage: Usage,
    /// What FER+'s taggers said, once [`ferplus::join`] has read it.
    pub votes: Option<Votes>,
}

fn open(path: &Path) -> Result<Box<dyn Read>, DatasetError> {
    let file = File::open(path).map_err(|source| DatasetError::Io { path: path.into(), source })?;
    let file = BufReader::with_capacity(1 << 16, file);
    Ok(if is_xz(path) { Box::new(XzReader::new(file, true)) } else { Box::new(file) })
}

fn is_xz(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "xz")
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
    let why = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("it has {len} columns, the first line {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "it is no text; is this a .csv file?".into(),
        _ => error.to_string(),
    };
    match error.into_kind() {
        csv::ErrorKind::Io(source) => DatasetError::reading(path, source),
        _ => DatasetError::Line { path: path.into(), line, why },
    }
}
