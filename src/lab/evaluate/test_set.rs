//! Labelled faces to score by.

use std::path::Path;

use super::gender::Person;
use crate::image::Grey;
use crate::lab::dataset::{self, DatasetError, FerRow, PackFace, Usage};
use crate::lab::samples::{kept_back_gender, split};

/// Faces to score by; either list may be empty.
#[derive(Clone, Debug, Default)]
pub struct TestSet {
    /// What they are, for people.
    pub title: String,
    /// Faces labelled with an expression.
    pub expressions: Vec<ExpressionFace>,
    /// Whether FER+ votes for them were read.
    pub has_votes: bool,
    /// Faces labelled with a gender, at the training framing.
    pub genders: Vec<(Grey, Person)>,
}

/// A face labelled with an expression.
#[derive(Clone, Debug)]
pub struct ExpressionFace {
    /// Where it is in its data: `row 12`, counted from 0 without the header, or its file.
    pub name: String,
    /// 48×48 grey.
    pub face: Grey,
    /// Index into [`crate::expression::Expression::ALL`].
    pub label: usize,
    /// The label that most FER+ taggers gave, if it is one of the seven and no other had as many.
    pub majority: Option<usize>,
}

/// Which faces of a gender pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackPart {
    /// All.
    All,
    /// Those that `mien-lab train` keeps back.
    KeptBack,
}

impl TestSet {
    /// FER2013's rows of a usage; with FER+ votes, their majority too.
    pub fn fer2013(path: &Path, usage: Usage, votes: Option<&Path>) -> Result<Self, DatasetError> {
        let rows = dataset::read_fer2013(path)?;
        let votes_path = votes;
        let votes = votes.map(dataset::read_ferplus).transpose()?;
        if let (Some(path), Some(votes)) = (votes_path, &votes)
            && votes.len() != rows.len()
        {
            let why = format!("{} rows of votes for {} faces", votes.len(), rows.len());
            return Err(DatasetError::Shape { path: path.into(), why });
        }
        let of_usage = rows.into_iter().enumerate().filter(|(_, row)| row.usage == usage);
        let expressions: Vec<_> = of_usage
            .map(|(i, FerRow { face, label, .. })| ExpressionFace {
                name: format!("row {i}"),
                face,
                label,
                majority: votes.as_ref().and_then(|votes| majority(&votes[i])),
            })
            .collect();
        if expressions.is_empty() {
            let why = format!("it has no {usage:?} rows");
            return Err(DatasetError::Shape { path: path.into(), why });
        }
        let title = format!("{}, {usage:?}", file_name(path));
        Ok(Self { title, expressions, has_votes: votes.is_some(), genders: Vec::new() })
    }

    /// A gender pack `NAME.u8.xz`.
    pub fn pack(path: &Path, part: PackPart) -> Result<Self, DatasetError> {
        let mut faces = dataset::read_face_pack(path)?;
        let mut title = file_name(path);
        if part == PackPart::KeptBack {
            faces = split(faces).1;
            title += ", faces kept back from training";
        }
        let genders = faces.iter().map(|face| (kept_back_gender(face).0, person(face)));
        Ok(Self { title, genders: genders.collect(), ..Self::default() })
    }

    /// Adds the faces of another set.
    pub fn join(&mut self, other: Self) {
        self.title = format!("{}; {}", self.title, other.title);
        self.expressions.extend(other.expressions);
        self.has_votes |= other.has_votes;
        self.genders.extend(other.genders);
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn person(face: &PackFace) -> Person {
    Person { is_male: face.is_male, age: String::new(), race: String::new() }
}

/// The label with the most votes; none if two share the lead.
fn majority(votes: &[f32; 7]) -> Option<usize> {
    let most = votes.iter().copied().fold(0.0, f32::max);
    let mut leaders = (0..7).filter(|&i| votes[i] == most);
    let leader = leaders.next().filter(|_| most > 0.0);
    leader.filter(|_| leaders.next().is_none())
}
