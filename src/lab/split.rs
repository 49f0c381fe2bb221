//! Which faces are learnt from, chosen by and reported on: no near-duplicates across.
//!
//! FER2013's own Training rows hold photographs that are in PublicTest too, cut out anew; these
//! are left out, so that what is reported is earned. Of the others about one in twelve is kept
//! back for validation, whole groups of [`duplicates`] at a time.
//!
//! Training, quantization and evaluation find the same split, whatever the seed, the order of the
//! faces and what else is learned from, and it holds where a set is not whole or has more rows:
//!
//! - Of FER2013 and FairFace it is listed (`KEPT_BACK`) which faces are kept back. Others that are
//!   near-duplicates of these are left out.
//! - Of other sets it is those with the least checksums, evenly from every class: a face more or
//!   less moves the bound by a face or so of each class.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use super::dataset::{LabelledFace, PackFace, Usage};
use super::duplicates;
use crate::image::Grey;

/// Share of the faces to learn from that is kept back for validation.
const VALIDATION_SHARE: f64 = 0.08;

/// Share of a set's groups that [`KEPT_BACK`] must have for it to be the rule.
const LISTED_SHARE: f64 = 0.02;

/// Checksums of the faces of FER2013 and FairFace that are kept back, in order, four bytes each,
/// the least significant first: 8 % of each expression, and of each age, race and gender.
const KEPT_BACK: &[u8] = include_bytes!("split/kept_back.crc32");

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
    /// Training faces that are near-duplicates of a face to report on, or of one that is listed to be
    /// kept back: not used.
    pub dropped: Vec<usize>,
    /// Groups of near-duplicates, of all faces of the set.
    pub near_duplicates: Vec<Vec<usize>>,
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
                split.near_duplicates.push(group.clone());
            }
            if group.iter().all(|face| is_training(*face)) {
                whole_groups.push(group);
            } else {
                split.dropped.extend(group.into_iter().filter(|face| is_training(*face)));
            }
        }
        let checksums: Vec<u32> = faces.iter().map(|face| checksum(face)).collect();
        match listed(&whole_groups, &checksums) {
            Some(listed) => split.deal(whole_groups, |i| listed.contains(&checksums[i])),
            None => {
                let drawn = drawn(&whole_groups, &checksums, stratum);
                split.deal(whole_groups, |i| drawn.contains(&i));
            }
        }
        for part in [&mut split.training, &mut split.validation, &mut split.dropped] {
            part.sort_unstable();
        }
        split
    }

    /// Puts each group where its faces belong: one of which none is kept back is learnt from; of the
    /// others what is not kept back is dropped.
    fn deal(&mut self, groups: Vec<Vec<usize>>, is_kept_back: impl Fn(usize) -> bool) {
        for group in groups {
            let (kept_back, others): (Vec<usize>, Vec<usize>) =
                group.into_iter().partition(|i| is_kept_back(*i));
            let part = if kept_back.is_empty() { &mut self.training } else { &mut self.dropped };
            part.extend(others);
            self.validation.extend(kept_back);
        }
    }
}

/// Checksums of [`KEPT_BACK`], where they are those of at least [`LISTED_SHARE`] of the groups: fewer may
/// be so by chance, or be some faces of a known set among others.
fn listed(groups: &[Vec<usize>], checksums: &[u32]) -> Option<HashSet<u32>> {
    let (listed, _) = KEPT_BACK.as_chunks();
    let listed: HashSet<u32> = listed.iter().copied().map(u32::from_le_bytes).collect();
    let is_listed = |group: &&Vec<usize>| group.iter().any(|i| listed.contains(&checksums[*i]));
    let count = groups.iter().filter(is_listed).count();
    (count > 0 && count as f64 >= LISTED_SHARE * groups.len() as f64).then_some(listed)
}

/// Faces of the groups with the least checksums of their stratum, which is that of their face with the
/// least. Of a single group none, for then nothing would be left to learn from.
fn drawn<S: Ord>(
    groups: &[Vec<usize>],
    checksums: &[u32],
    stratum: impl Fn(usize) -> S,
) -> HashSet<usize> {
    let mut drawn = HashSet::new();
    if groups.len() < 2 {
        return drawn;
    }
    let mut strata = BTreeMap::<S, BTreeSet<(u32, &[usize])>>::new();
    for group in groups {
        let first = group.iter().map(|i| (checksums[*i], stratum(*i))).min();
        if let Some((checksum, stratum)) = first {
            strata.entry(stratum).or_default().insert((checksum, group));
        }
    }
    let mut faces = 0;
    for stratum in strata.into_values() {
        faces += stratum.iter().map(|(_, group)| group.len()).sum::<usize>();
        for (_, group) in stratum {
            if drawn.len() as f64 >= VALIDATION_SHARE * faces as f64 {
                break;
            }
            drawn.extend(group);
        }
    }
    drawn
}

/// A face's own random number.
fn checksum(face: &Grey) -> u32 {
    crc32fast::hash(&face.iter().copied().collect::<Vec<_>>())
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (training, validation) = (self.training.len(), self.validation.len());
        write!(f, "{training} faces to learn from, {validation} kept back for validation; ")?;
        let groups = self.near_duplicates.len();
        let faces: usize = self.near_duplicates.iter().map(Vec::len).sum();
        write!(f, "{groups} groups of near-duplicates ({faces} faces)")?;
        match self.dropped.len() {
            0 => Ok(()),
            dropped => write!(
                f,
                "; {dropped} left out, near-duplicates of faces to report on or kept back"
            ),
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
        assert!(split.near_duplicates.len() > 200 && split.dropped.len() > 50, "{split}");
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

    /// The pixels of some rows.
    fn pixels(rows: &[LabelledFace], positions: &[usize]) -> BTreeSet<Vec<u8>> {
        positions.iter().map(|i| rows[*i].face.iter().copied().collect()).collect()
    }

    #[test]
    fn the_split_is_the_faces_own() {
        let rows = rows();
        let reversed: Vec<LabelledFace> = rows.iter().rev().cloned().collect();
        let kept_back = |rows: &[LabelledFace]| pixels(rows, &positions(rows, Part::Validation));
        assert_eq!(kept_back(&rows), kept_back(&reversed));
    }

    #[test]
    fn a_few_rows_more_leave_nearly_all_where_they_were() {
        let rows = rows();
        let [whole, fewer] = [&rows[..], &rows[7..]];
        let training = pixels(whole, &positions(whole, Part::Training));
        let kept_back = pixels(fewer, &positions(fewer, Part::Validation));
        let moved = kept_back.intersection(&training).count();
        assert!(kept_back.len() > 60 && moved <= 8, "{moved} of {}", kept_back.len());
    }

    fn listed_checksum() -> u32 {
        u32::from_le_bytes(KEPT_BACK[..4].try_into().unwrap())
    }

    /// One face may be listed by chance; of FER2013 and FairFace many are.
    #[test]
    fn the_list_is_the_rule_of_known_sets_alone() {
        let groups: Vec<Vec<usize>> = (0..1000).map(|i| vec![i]).collect();
        let mut checksums: Vec<u32> = (0..1000).collect();
        assert_eq!(listed(&groups, &checksums), None);
        checksums[0] = listed_checksum();
        assert_eq!(listed(&groups, &checksums), None);
        checksums[..20].fill(listed_checksum());
        assert!(listed(&groups, &checksums).is_some());
    }

    #[test]
    fn what_is_alike_to_a_listed_face_is_neither_learnt_from_nor_chosen_by() {
        let mut split = Split::default();
        split.deal(vec![vec![0, 1, 2], vec![3, 4], vec![5]], |i| i == 1 || i == 5);
        assert_eq!(split.training, [3, 4]);
        assert_eq!(split.validation, [1, 5]);
        assert_eq!(split.dropped, [0, 2]);
    }

    #[test]
    fn a_single_face_is_learnt_from() {
        assert_eq!(Split::of_expressions(&rows()[1..2]).training, [0]);
    }
}
