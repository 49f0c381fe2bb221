//! Which faces are learnt from, chosen by and reported on: no near-duplicates across.
//!
//! FER2013's own Training rows hold photographs that are in PublicTest too, cut out anew; these
//! are left out, so that what is reported is earned. Of the others about one in twelve is kept
//! back for validation, whole groups of [`duplicates`] at a time, evenly from every class.
//!
//! The split follows from the faces of one set alone, not from a run's seed or what else it
//! learns from: training, quantization and evaluation find the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::dataset::{LabelledFace, PackFace, Usage};
use super::duplicates;
use crate::image::Grey;

/// Share of the faces to learn from that is kept back for validation.
const VALIDATION_SHARE: f64 = 0.08;

/// A part of labelled faces, as commands name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Part {
    /// Training rows to learn from.
    Training,
    /// Training rows kept back to choose by.
    Validation,
    /// FER2013's rows to report on.
    PublicTest,
    /// FER2013's rows held out for a final score.
    PrivateTest,
}

/// Faces of one set, by position, dealt out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Split {
    /// To learn from.
    pub training: Vec<usize>,
    /// To choose by.
    pub validation: Vec<usize>,
    /// Training faces that are near-duplicates of a face to report on: not used.
    pub dropped: Vec<usize>,
    /// Faces with a near-duplicate in the set.
    pub in_groups: usize,
    /// Groups of near-duplicates.
    pub groups: usize,
}

impl Split {
    /// Deals out faces labelled with an expression, evenly over the labels.
    pub fn of_expressions(rows: &[LabelledFace]) -> Self {
        let faces: Vec<&Grey> = rows.iter().map(|row| &row.face).collect();
        Self::new(&faces, |i| rows[i].usage == Usage::Training, |i| rows[i].label)
    }

    /// Deals out faces labelled with a gender, evenly over age, race and gender.
    pub fn of_genders(faces: &[PackFace]) -> Self {
        let pictures: Vec<&Grey> = faces.iter().map(|face| &face.face).collect();
        Self::new(&pictures, |_| true, |i| (&faces[i].age, &faces[i].race, faces[i].is_male))
    }

    fn new<S: Ord>(
        faces: &[&Grey],
        is_training: impl Fn(usize) -> bool,
        stratum: impl Fn(usize) -> S,
    ) -> Self {
        let mut groups = BTreeMap::<usize, Vec<usize>>::new();
        for (face, group) in duplicates::groups(faces).into_iter().enumerate() {
            groups.entry(group).or_default().push(face);
        }
        let mut split = Self::default();
        let mut whole_groups = Vec::new();
        for group in groups.into_values() {
            if group.len() > 1 {
                split.groups += 1;
                split.in_groups += group.len();
            }
            if group.iter().all(|face| is_training(*face)) {
                whole_groups.push(group);
            } else {
                split.dropped.extend(group.into_iter().filter(|face| is_training(*face)));
            }
        }
        // A checksum of its pixels serves as a random number that is a face's own.
        let drawn =
            |face: &usize| crc32fast::hash(&faces[*face].iter().copied().collect::<Vec<_>>());
        whole_groups.sort_by_cached_key(|group| {
            let first = group.iter().map(|face| (drawn(face), stratum(*face))).min();
            first.map(|(drawn, stratum)| (stratum, drawn))
        });
        let mut seen = 0;
        for group in whole_groups {
            let wanted = VALIDATION_SHARE * seen as f64 > split.validation.len() as f64;
            seen += group.len();
            let part = if wanted { &mut split.validation } else { &mut split.training };
            part.extend(group);
        }
        for part in [&mut split.training, &mut split.validation, &mut split.dropped] {
            part.sort_unstable();
        }
        split
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (training, validation) = (self.training.len(), self.validation.len());
        write!(f, "{training} faces to learn from, {validation} kept back for validation; ")?;
        write!(f, "{} groups of near-duplicates ({} faces)", self.groups, self.in_groups)?;
        match self.dropped.len() {
            0 => Ok(()),
            dropped => write!(f, "; {dropped} left out, near-duplicates of faces to report on"),
        }
    }
}

/// Of each of the `faces` whether it is a near-duplicate of one of the `kept_back`.
pub fn near_kept_back(faces: &[&Grey], kept_back: &[&Grey]) -> Vec<bool> {
    let groups = duplicates::groups(&[faces, kept_back].concat());
    let (own, kept_back) = groups.split_at(faces.len());
    let kept_back: BTreeSet<usize> = kept_back.iter().copied().collect();
    own.iter().map(|group| kept_back.contains(group)).collect()
}

/// Positions of the rows in `part`, in order.
pub fn positions(rows: &[LabelledFace], part: Part) -> Vec<usize> {
    let of_usage = |usage| {
        let of_usage = rows.iter().enumerate().filter(|(_, row)| row.usage == usage);
        of_usage.map(|(i, _)| i).collect()
    };
    match part {
        Part::Training => Split::of_expressions(rows).training,
        Part::Validation => Split::of_expressions(rows).validation,
        Part::PublicTest => of_usage(Usage::PublicTest),
        Part::PrivateTest => of_usage(Usage::PrivateTest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Faces of noise, each third one in a copy or mirrored copy: no two others are alike.
    fn rows() -> Vec<LabelledFace> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut rows = Vec::<LabelledFace>::new();
        for i in 0..1500 {
            let mut face = Grey::from_shape_simple_fn((48, 48), || random.u8(..));
            if i % 3 == 0 && i > 30 {
                face = rows[i - 1 - random.usize(..30)].face.clone();
                if i % 2 == 0 {
                    face.invert_axis(ndarray::Axis(1));
                }
            }
            let usage = if i % 10 == 0 { Usage::PublicTest } else { Usage::Training };
            rows.push(LabelledFace { face, label: random.usize(..7).min(2), usage, votes: None });
        }
        rows
    }

    fn groups(rows: &[LabelledFace]) -> Vec<usize> {
        duplicates::groups(&rows.iter().map(|row| &row.face).collect::<Vec<_>>())
    }

    #[test]
    fn every_training_row_is_in_one_part_and_no_group_in_two() {
        let rows = rows();
        let split = Split::of_expressions(&rows);
        let mut all = [&split.training[..], &split.validation, &split.dropped].concat();
        all.sort_unstable();
        let training = (0..rows.len()).filter(|i| rows[*i].usage == Usage::Training);
        assert_eq!(all, training.collect::<Vec<_>>());

        let groups = groups(&rows);
        let reported = positions(&rows, Part::PublicTest);
        assert!(split.groups > 200 && split.dropped.len() > 50, "{split}");
        let of = |part: &[usize]| part.iter().map(|i| groups[*i]).collect::<BTreeSet<_>>();
        let (training, validation) = (of(&split.training), of(&split.validation));
        assert!(training.is_disjoint(&validation));
        assert!(training.is_disjoint(&of(&reported)) && validation.is_disjoint(&of(&reported)));
        assert!(of(&split.dropped).is_subset(&of(&reported)));
    }

    #[test]
    fn each_label_gives_its_share() {
        let rows = rows();
        let split = Split::of_expressions(&rows);
        for label in 0..3 {
            let of_label =
                |part: &[usize]| part.iter().filter(|i| rows[**i].label == label).count() as f64;
            let share = of_label(&split.validation)
                / of_label(&[&split.training[..], &split.validation].concat());
            assert!((share - VALIDATION_SHARE).abs() < 0.02, "label {label}: {share}");
        }
    }

    #[test]
    fn the_split_is_the_faces_own() {
        let rows = rows();
        let reversed: Vec<LabelledFace> = rows.iter().rev().cloned().collect();
        let last = rows.len() - 1;
        let mut of_reversed: Vec<usize> =
            positions(&reversed, Part::Validation).into_iter().map(|i| last - i).collect();
        of_reversed.sort_unstable();
        assert_eq!(positions(&rows, Part::Validation), of_reversed);
    }
}
