//! Labelled faces to score by.

use std::path::Path;

use super::gender::Person;
use crate::face::detector::{Detector, DetectorError, DetectorOptions};
use crate::image::Grey;
use crate::lab::dataset::{self, DatasetError, ImageFolder, LabelledFace, PackFace, ferplus};
use crate::lab::framing::recrop;
use crate::lab::samples::kept_back_gender;
use crate::lab::split::{Part, Split, positions};

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
    /// Pictures that could not be read.
    pub skipped: usize,
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
    /// FER+'s majority label, see [`dataset::Votes::majority`].
    pub majority: Option<usize>,
}

/// How the faces to score are framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Crops {
    /// As the data has them.
    #[default]
    AsGiven,
    /// As the device would crop them: on a plain canvas, where its detector finds exactly one.
    ByDetector,
    /// As the data has them, but only those that `by-detector` scores.
    Found,
}

impl TestSet {
    /// Frames the faces as `crops` says, leaving out those that the detector does not find;
    /// `on_face` is called after each.
    pub fn cropped(mut self, crops: Crops, on_face: impl Fn()) -> Result<Self, DetectorError> {
        if crops == Crops::AsGiven {
            return Ok(self);
        }
        let mut detector = Detector::new(DetectorOptions::default())?;
        let before = self.expressions.len() + self.genders.len();
        let mut is_found = |face: &mut Grey| {
            let crop = recrop(face, &mut detector);
            on_face();
            let found = crop.is_some();
            if let Some(crop) = crop.filter(|_| crops == Crops::ByDetector) {
                *face = crop;
            }
            found
        };
        self.expressions.retain_mut(|expression| is_found(&mut expression.face));
        self.genders.retain_mut(|(face, _)| is_found(face));
        let found = self.expressions.len() + self.genders.len();
        let how = if crops == Crops::ByDetector { "cropped by" } else { "found by" };
        self.title += &format!("; {found} of {before} faces, those {how} the detector");
        Ok(self)
    }

    /// FER2013's rows of a part; with FER+ votes, their majority too.
    pub fn fer2013(path: &Path, part: Part, votes: Option<&Path>) -> Result<Self, DatasetError> {
        let mut rows = dataset::read_fer2013(path)?;
        if let Some(votes) = votes {
            ferplus::join(votes, &mut rows)?;
        }
        let face = |i: usize| {
            let LabelledFace { face, label, votes, .. } = &rows[i];
            let majority = votes.and_then(|votes| votes.majority());
            ExpressionFace { name: format!("row {i}"), face: face.clone(), label: *label, majority }
        };
        let expressions: Vec<_> = positions(&rows, part).into_iter().map(face).collect();
        let has_votes = votes.is_some();
        Self { expressions, has_votes, ..Self::default() }.of_part(path, Some(part))
    }

    /// A folder with a folder of pictures for each class: all of it, or what of it is learnt from or
    /// kept back.
    pub fn folder(path: &Path, part: Option<Part>) -> Result<Self, DatasetError> {
        let ImageFolder { faces, files, skipped } = dataset::read_image_folder(path)?;
        let chosen = match part {
            None => (0..faces.len()).collect(),
            Some(part) => positions(&faces, part),
        };
        let face = |i: usize| {
            let name = files[i].strip_prefix(path).unwrap_or(&files[i]).display().to_string();
            let LabelledFace { face, label, .. } = &faces[i];
            ExpressionFace { name, face: face.clone(), label: *label, majority: None }
        };
        let expressions = chosen.into_iter().map(face).collect();
        Self { expressions, skipped, ..Self::default() }.of_part(path, part)
    }

    /// A gender pack `NAME.u8.xz`: all of it, or what of it is learnt from or kept back.
    pub fn pack(path: &Path, part: Option<Part>) -> Result<Self, DatasetError> {
        let faces = dataset::read_face_pack(path)?;
        let chosen = match part {
            None => (0..faces.len()).collect(),
            Some(Part::Training) => Split::of_genders(&faces).training,
            Some(Part::Validation) => Split::of_genders(&faces).validation,
            Some(Part::PublicTest | Part::PrivateTest) => Vec::new(),
        };
        let genders = chosen.into_iter().map(|i| {
            let (face, _) = kept_back_gender(&faces[i]);
            (face, person(&faces[i]))
        });
        Self { genders: genders.collect(), ..Self::default() }.of_part(path, part)
    }

    /// Adds the faces of another set.
    pub fn join(&mut self, other: Self) {
        self.title = format!("{}; {}", self.title, other.title);
        self.expressions.extend(other.expressions);
        self.has_votes |= other.has_votes;
        self.genders.extend(other.genders);
        self.skipped += other.skipped;
    }

    /// Called by what it is of, all of it or a part, which must have faces.
    fn of_part(self, path: &Path, part: Option<Part>) -> Result<Self, DatasetError> {
        let Some(part) = part else { return Ok(Self { title: file_name(path), ..self }) };
        if self.expressions.is_empty() && self.genders.is_empty() {
            let why = format!("it has no {part:?} faces; choose others by --usage");
            return Err(DatasetError::Shape { path: path.into(), why });
        }
        Ok(Self { title: format!("{}, {part:?}", file_name(path)), ..self })
    }
}

/// A path's last part, for people.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn person(face: &PackFace) -> Person {
    let text = |label: &Option<String>| label.clone().unwrap_or_default();
    Person { is_male: face.is_male, age: text(&face.age), race: text(&face.race) }
}
