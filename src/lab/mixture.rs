//! A recipe's data, read, checked against its hashes and dealt out.
//!
//! The hash is that of what is learnt from, not of a file: plain, compressed or packed, the same
//! faces with the same labels have the same hash.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::dataset::{
    DatasetError, LabelledFace, PackFace, Usage, ferplus, read_face_pack, read_fer2013,
    read_image_folder,
};
use super::recipe::{DataRecipe, ExpressionSource};
use super::split::{Split, near_kept_back};
use crate::image::Grey;

/// Faces to learn from, and faces to choose by.
#[derive(Clone, Debug, Default)]
pub struct Mixture {
    /// Labelled with an expression, to learn from.
    pub expressions: Vec<LabelledFace>,
    /// Labelled with an expression, to choose by.
    pub expressions_kept_back: Vec<LabelledFace>,
    /// Labelled with a gender, to learn from.
    pub genders: Vec<PackFace>,
    /// Labelled with a gender, to choose by.
    pub genders_kept_back: Vec<PackFace>,
    /// What was found, a line a source, for people.
    pub report: Vec<String>,
    /// Faces that have near-duplicates in their source.
    pub near_duplicates: Vec<NearDuplicate>,
}

/// A face that has near-duplicates.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NearDuplicate {
    /// Its source.
    pub source: PathBuf,
    /// Its row, from 0, or in a folder its place among the pictures by path.
    pub row: usize,
    /// Number of its group, which all of them share.
    pub group: usize,
}

/// Why a recipe's data can't be learnt from.
#[derive(Debug, thiserror::Error)]
pub enum MixtureError {
    /// A source can't be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A source is not what the recipe was written for.
    #[error(
        "{} holds other data than the recipe names: sha256 {found}, not {expected}; get the same \
         data, or take the sha256 out of the recipe", path.display()
    )]
    OtherData { path: PathBuf, expected: String, found: String },
}

impl Mixture {
    /// Reads what `recipe` names, from `folder`. Hashes that it lacks are filled in.
    pub fn read(recipe: &mut DataRecipe, folder: &Path) -> Result<Self, MixtureError> {
        let mut mixture = Self::default();
        let mut reported = Vec::new();
        for source in &mut recipe.expression {
            let path = folder.join(&source.path);
            let faces = read_expressions(source, folder)?;
            settle(&path, &mut source.sha256, hash_of_expressions(&faces))?;
            let split = Split::of_expressions(&faces);
            mixture.tell(&path, &split);
            let of = |part: &[usize]| part.iter().map(|i| faces[*i].clone()).collect::<Vec<_>>();
            mixture.expressions.extend(of(&split.training));
            mixture.expressions_kept_back.extend(of(&split.validation));
            reported.extend(faces.into_iter().filter(|face| face.usage != Usage::Training));
        }
        for source in &mut recipe.gender {
            let path = folder.join(&source.path);
            let faces = read_face_pack(&path)?;
            settle(&path, &mut source.sha256, hash_of_genders(&faces))?;
            let split = Split::of_genders(&faces);
            mixture.tell(&path, &split);
            let of = |part: &[usize]| part.iter().map(|i| faces[*i].clone()).collect::<Vec<_>>();
            mixture.genders.extend(of(&split.training));
            mixture.genders_kept_back.extend(of(&split.validation));
        }
        if recipe.expression.len() > 1 {
            let kept_back = mixture.expressions_kept_back.iter().chain(&reported);
            let kept_back: Vec<&Grey> = kept_back.map(|face| &face.face).collect();
            let left_out = drop_near(&mut mixture.expressions, |face| &face.face, &kept_back);
            mixture.report.push(across_sources("expression", left_out));
            let reported: Vec<&Grey> = reported.iter().map(|face| &face.face).collect();
            let kept_back = &mut mixture.expressions_kept_back;
            let left_out = drop_near(kept_back, |face| &face.face, &reported);
            mixture.report.push(across_sources("validation", left_out));
        }
        if recipe.gender.len() > 1 {
            let kept_back: Vec<&Grey> =
                mixture.genders_kept_back.iter().map(|face| &face.face).collect();
            let left_out = drop_near(&mut mixture.genders, |face| &face.face, &kept_back);
            mixture.report.push(across_sources("gender", left_out));
        }
        Ok(mixture)
    }

    /// Notes what was found in a source.
    fn tell(&mut self, path: &Path, split: &Split) {
        self.report.push(format!("{}: {split}", path.display()));
        let first = self.near_duplicates.last().map_or(0, |face| face.group + 1);
        for (group, faces) in (first..).zip(&split.near_duplicates) {
            let face = |row: &usize| NearDuplicate { source: path.into(), row: *row, group };
            self.near_duplicates.extend(faces.iter().map(face));
        }
    }
}

/// Reads a source of faces labelled with an expression, from `folder`.
pub fn read_expressions(
    source: &ExpressionSource,
    folder: &Path,
) -> Result<Vec<LabelledFace>, DatasetError> {
    let path = folder.join(&source.path);
    let mut faces =
        if path.is_dir() { read_image_folder(&path)?.faces } else { read_fer2013(&path)? };
    if let Some(votes) = &source.votes {
        ferplus::join(&folder.join(votes), &mut faces)?;
    }
    Ok(faces)
}

/// Fills in the expected hash, or holds the one found to it.
fn settle(path: &Path, expected: &mut Option<String>, found: String) -> Result<(), MixtureError> {
    match expected {
        Some(expected) if *expected != found => {
            let (path, expected) = (path.into(), expected.clone());
            Err(MixtureError::OtherData { path, expected, found })
        }
        _ => {
            *expected = Some(found);
            Ok(())
        }
    }
}

/// Drops the faces that are near-duplicates of some kept back; how many these were.
fn drop_near<F>(faces: &mut Vec<F>, picture: fn(&F) -> &Grey, kept_back: &[&Grey]) -> usize {
    let pictures: Vec<&Grey> = faces.iter().map(picture).collect();
    let near = near_kept_back(&pictures, kept_back);
    let before = faces.len();
    let mut near = near.into_iter();
    faces.retain(|_| !near.next().unwrap_or(false));
    before - faces.len()
}

fn across_sources(kind: &str, left_out: usize) -> String {
    format!(
        "{left_out} {kind} faces left out, near-duplicates of faces kept back in another source"
    )
}

/// SHA-256 over each face's pixels, label, usage and, where it has any, ten counts of votes.
fn hash_of_expressions(faces: &[LabelledFace]) -> String {
    let mut hash = Sha256::new();
    for face in faces {
        hash.update(face.face.iter().copied().collect::<Vec<u8>>());
        hash.update([face.label as u8, face.usage as u8, u8::from(face.votes.is_some())]);
        if let Some(votes) = &face.votes {
            hash.update(votes.expressions);
            hash.update([votes.contempt, votes.unknown, votes.not_a_face]);
        }
    }
    hex(hash)
}

/// SHA-256 over each face's pixels, gender, age and race; a text is ended by a zero.
fn hash_of_genders(faces: &[PackFace]) -> String {
    let mut hash = Sha256::new();
    for face in faces {
        hash.update(face.face.iter().copied().collect::<Vec<u8>>());
        hash.update([u8::from(face.is_male)]);
        for text in [&face.age, &face.race] {
            hash.update(text.as_deref().unwrap_or_default());
            hash.update([0]);
        }
    }
    hex(hash)
}

/// A finished hash in hexadecimal digits.
pub fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::FACE_SIDE;
    use std::fmt::Write;

    /// A FER2013 file of noise; rows of the same seed show the same face.
    fn write_fer(path: &Path, seeds: impl Iterator<Item = u64>, usage: &str) {
        let mut csv = String::from("emotion,pixels,Usage\n");
        for seed in seeds {
            let mut random = fastrand::Rng::with_seed(seed);
            let pixels: Vec<String> =
                (0..FACE_SIDE * FACE_SIDE).map(|_| random.u8(..).to_string()).collect();
            writeln!(csv, "{},{},{usage}", seed % 7, pixels.join(" ")).unwrap();
        }
        std::fs::write(path, csv).unwrap();
    }

    fn recipe(paths: &[&str]) -> DataRecipe {
        let source =
            |path: &&str| ExpressionSource { path: path.into(), votes: None, sha256: None };
        DataRecipe {
            votes_share: 0.4,
            expression: paths.iter().map(source).collect(),
            gender: Vec::new(),
        }
    }

    #[test]
    fn hashes_are_filled_in_and_then_held_to() {
        let folder = tempfile::tempdir().unwrap();
        let csv = folder.path().join("a.csv");
        write_fer(&csv, 0..30, "Training");
        let mut recipe = recipe(&["a.csv"]);
        Mixture::read(&mut recipe, folder.path()).unwrap();
        let hash = recipe.expression[0].sha256.clone();
        assert_eq!(hash.as_ref().map(String::len), Some(64));
        Mixture::read(&mut recipe, folder.path()).unwrap();
        assert_eq!(recipe.expression[0].sha256, hash);

        let text = std::fs::read_to_string(&csv).unwrap();
        std::fs::write(&csv, text.replacen("\n0,", "\n1,", 1)).unwrap();
        let error = Mixture::read(&mut recipe, folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("a.csv holds other data") && error.contains(&hash.unwrap()),
            "{error}"
        );
    }

    #[test]
    fn a_compact_copy_is_the_same_data() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let pictures = from.join("more/happy");
        std::fs::create_dir_all(&pictures).unwrap();
        ::image::GrayImage::from_pixel(70, 60, ::image::Luma([9]))
            .save(pictures.join("a.png"))
            .unwrap();
        write_fer(&from.join("a.csv"), 0..30, "Training");
        let mut recipe = recipe(&["a.csv", "more"]);
        let whole = Mixture::read(&mut recipe, &from).unwrap();
        crate::lab::pack::pack(&recipe, &from, &to).unwrap();
        let copy = Mixture::read(&mut recipe, &to).unwrap();
        assert_eq!(copy.expressions, whole.expressions);
        let bytes = |folder: &Path| std::fs::metadata(folder).unwrap().len();
        assert!(bytes(&to.join("a.csv.faces")) < bytes(&from.join("a.csv")) / 3);
    }

    #[test]
    fn a_source_does_not_give_to_training_what_another_keeps_back() {
        let folder = tempfile::tempdir().unwrap();
        write_fer(&folder.path().join("a.csv"), 0..100, "Training");
        write_fer(&folder.path().join("b.csv"), 50..150, "Training");
        write_fer(&folder.path().join("c.csv"), 140..160, "PublicTest");
        let mut alone = recipe(&["a.csv"]);
        let alone = Mixture::read(&mut alone, folder.path()).unwrap();
        assert!(alone.near_duplicates.is_empty());
        let mixed =
            Mixture::read(&mut recipe(&["a.csv", "b.csv", "c.csv"]), folder.path()).unwrap();
        let pixels = |faces: &[LabelledFace]| -> std::collections::BTreeSet<Vec<u8>> {
            faces.iter().map(|face| face.face.iter().copied().collect()).collect()
        };
        // What is kept back of a source does not depend on the others, as long as these don't report
        // on the same faces.
        assert!(
            pixels(&alone.expressions_kept_back).is_subset(&pixels(&mixed.expressions_kept_back))
        );
        let reported = read_fer2013(&folder.path().join("c.csv")).unwrap();
        assert!(pixels(&mixed.expressions_kept_back).is_disjoint(&pixels(&reported)));
        assert!(pixels(&mixed.expressions).is_disjoint(&pixels(&mixed.expressions_kept_back)));
        let kept_back = mixed.expressions_kept_back.len();
        assert!(mixed.expressions.len() < 200 - kept_back - 10, "{:?}", mixed.report);
    }
}
