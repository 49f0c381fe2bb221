//! The recipe file: what a model is made from and how, committed beside it.
//!
//! ```toml
//! [data]
//! votes_share = 0.4
//!
//! [[data.expression]]              # FER2013, or a folder of class folders; any number of these
//! path = "fer2013/fer2013.csv.xz"  # from the data folder
//! votes = "fer2013/fer2013new.csv"
//! sha256 = "…"                     # of what it holds; a run writes it to its own recipe.toml
//!
//! [[data.gender]]                  # a face pack
//! path = "gender/fairface_train.u8.xz"
//!
//! [train]                          # see `SAMPLE`
//! epochs = 30
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::teacher::TeacherSettings;
use super::train;

/// A recipe with every setting and what it means.
pub const SAMPLE: &str = include_str!("../../models/recipe.toml");

/// A recipe file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeFile {
    /// What is learnt from.
    pub data: DataRecipe,
    /// How it is learnt.
    #[serde(default)]
    pub train: train::Recipe,
}

/// What is learnt from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecipe {
    /// Share of the FER+ votes in a soft label, beside the face's own label.
    #[serde(default = "default_votes_share")]
    pub votes_share: f32,
    /// Faces labelled with an expression.
    pub expression: Vec<ExpressionSource>,
    /// Faces labelled with a gender.
    #[serde(default)]
    pub gender: Vec<GenderSource>,
}

impl DataRecipe {
    /// What is wrong with it, if anything is.
    fn fault(&self) -> Option<String> {
        let share = self.votes_share;
        if !(0.0..=1.0).contains(&share) {
            return Some(format!("votes_share {share} is not from 0 to 1"));
        }
        if self.expression.is_empty() {
            return Some("it has no [[data.expression]]".into());
        }
        let expressions = self.expression.iter().map(|source| &source.path);
        let mut paths = expressions.chain(self.gender.iter().map(|source| &source.path));
        let mut seen = BTreeSet::new();
        let twice = paths.find(|path| !seen.insert(*path))?;
        Some(format!("{} is named twice: its faces would count double", twice.display()))
    }

    /// Whether both, their hashes filled in, give the same faces and labels.
    pub fn is_same_data(&self, other: &Self) -> bool {
        let hashes = |data: &Self| -> Vec<Option<String>> {
            let expression = data.expression.iter().map(|source| source.sha256.clone());
            expression.chain([None]).chain(data.gender.iter().map(|s| s.sha256.clone())).collect()
        };
        self.votes_share == other.votes_share && hashes(self) == hashes(other)
    }
}

fn default_votes_share() -> f32 {
    0.4
}

/// FER2013 or a folder of pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpressionSource {
    /// `fer2013.csv`, plain or `.xz`, or a folder of class folders.
    pub path: PathBuf,
    /// FER+ votes for its rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub votes: Option<PathBuf>,
    /// What it must hold, see [`super::mixture`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// A face pack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenderSource {
    /// `NAME.u8.xz`, beside `NAME.csv.xz`.
    pub path: PathBuf,
    /// What it must hold, see [`super::mixture`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Why a recipe can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file could not be read or written.
    #[error("recipe {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// It is no recipe; the source tells the line.
    #[error("recipe {}: {source}", path.display())]
    Format { path: PathBuf, source: toml::de::Error },
    /// An override does not fit.
    #[error("setting {setting:?}: {why}")]
    Override { setting: String, why: String },
    /// A setting is out of its range.
    #[error("recipe {}: {why}", path.display())]
    Setting { path: PathBuf, why: String },
}

impl RecipeFile {
    /// Reads a recipe and applies `overrides`, each as `train.epochs=3`: the value is TOML, or else
    /// a plain word.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, RecipeError> {
        let io = |source| RecipeError::Io { path: path.into(), source };
        let format = |source| RecipeError::Format { path: path.into(), source };
        let text = std::fs::read_to_string(path).map_err(io)?;
        let mut recipe: Self = toml::from_str(&text).map_err(format)?;
        for setting in overrides {
            recipe = recipe.with(setting)?;
        }
        match recipe.data.fault() {
            Some(why) => Err(RecipeError::Setting { path: path.into(), why }),
            None => Ok(recipe),
        }
    }

    /// Writes the recipe with every setting spelled out.
    pub fn write(&self, path: &Path) -> Result<(), RecipeError> {
        let text = toml::to_string(self).expect("a recipe is plain data");
        std::fs::write(path, text).map_err(|source| RecipeError::Io { path: path.into(), source })
    }

    /// Paths of the checkpoints, and of answers that others kept, that training reads.
    pub fn checkpoints_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let teachers = self.train.teacher.iter_mut().flat_map(TeacherSettings::files_mut);
        self.train.start.iter_mut().chain(teachers)
    }

    /// The recipe with the checkpoints' paths starting from `folder`.
    pub fn with_checkpoints_in(mut self, folder: &Path) -> Self {
        self.checkpoints_mut().for_each(|path| *path = folder.join(&path));
        self
    }

    /// The recipe with one setting changed.
    fn with(&self, setting: &str) -> Result<Self, RecipeError> {
        let wrong = |why: String| RecipeError::Override { setting: setting.into(), why };
        let (key, value) =
            setting.split_once('=').ok_or_else(|| wrong("it is not KEY=VALUE".into()))?;
        let value = match toml::from_str::<Table>(&format!("value = {value}")) {
            Ok(mut table) => table.remove("value").unwrap_or_else(|| value.into()),
            Err(_) => Value::from(value),
        };
        let mut whole = Table::try_from(self).expect("a recipe is plain data");
        let (tables, last) = key.rsplit_once('.').unwrap_or(("", key));
        let mut table = &mut whole;
        for name in tables.split('.').filter(|name| !name.is_empty()) {
            let inner = table.entry(name).or_insert_with(|| Table::new().into());
            table = inner.as_table_mut().ok_or_else(|| wrong(format!("{name} is no table")))?;
        }
        table.insert(last.into(), value);
        whole.try_into().map_err(|e: toml::de::Error| wrong(e.message().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = r#"
        [data]
        [[data.expression]]
        path = "fer2013.csv.xz"
        votes = "fer2013new.csv"
        [[data.expression]]
        path = "more"
        [[data.gender]]
        path = "fairface.u8.xz"
        [train]
        epochs = 7
    "#;

    fn read(text: &str, overrides: &[&str]) -> Result<RecipeFile, RecipeError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.toml");
        std::fs::write(&path, text).unwrap();
        let overrides: Vec<String> = overrides.iter().map(|&s| s.into()).collect();
        RecipeFile::read(&path, &overrides)
    }

    #[test]
    fn a_mixture_is_read_and_what_is_left_out_has_its_default() {
        let recipe = read(RECIPE, &[]).unwrap();
        assert_eq!(recipe.data.expression.len(), 2);
        assert_eq!(recipe.data.votes_share, 0.4);
        assert_eq!(recipe.train, train::Recipe { epochs: 7, ..Default::default() });
    }

    /// All that a run writes is there, but for what is off by default, which is commented out.
    #[test]
    fn the_sample_states_every_default() {
        let sample = read(SAMPLE, &[]).unwrap();
        assert_eq!(sample.train, train::Recipe::default());
        assert_eq!(sample.data.votes_share, default_votes_share());
        let keys = |table: &Table| -> BTreeSet<String> {
            let inner = |(name, value): (&String, &Value)| match value.as_table() {
                Some(table) if name != "network" => {
                    table.keys().map(|key| format!("{name}.{key}")).collect()
                }
                _ => vec![name.clone()],
            };
            table.iter().flat_map(inner).collect()
        };
        let written = Table::try_from(&sample.train).unwrap();
        let stated: Table = SAMPLE.parse().unwrap();
        assert_eq!(keys(stated["train"].as_table().unwrap()), keys(&written));
    }

    #[test]
    fn what_the_sample_has_as_comments_can_be_set() {
        let (_, teacher) = SAMPLE.split_once("# [train.teacher]\n").unwrap();
        let teacher: String = (teacher.lines())
            .filter_map(|line| line.strip_prefix("# ").filter(|line| line.contains(" = ")))
            .map(|line| format!("{line}\n"))
            .collect();
        let text = format!("{SAMPLE}\n[train.teacher]\n{teacher}");
        let recipe = read(&text, &["train.start=other.safetensors"]).unwrap();
        let teacher = recipe.train.teacher.unwrap();
        assert_eq!((teacher.share, teacher.temperature), (0.4, 1.0));
    }

    #[test]
    fn a_written_recipe_is_read_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.toml");
        let recipe = read(RECIPE, &["train.seed=5"]).unwrap();
        recipe.write(&path).unwrap();
        assert_eq!(RecipeFile::read(&path, &[]).unwrap(), recipe);
    }

    #[test]
    fn any_setting_can_be_overridden() {
        let overrides = [
            "train.epochs=3",
            "train.network=reference",
            "data.votes_share=0",
            "train.augment.flip=false",
        ];
        let recipe = read(RECIPE, &overrides).unwrap();
        assert_eq!((recipe.train.epochs, recipe.data.votes_share), (3, 0.0));
        assert_eq!(recipe.train.network.name, "reference");
        assert!(!recipe.train.augment.flip);
    }

    #[test]
    fn what_is_no_recipe_is_refused_with_the_line_or_the_setting() {
        let spoiled = RECIPE.replace("epochs", "epoch");
        let twice = RECIPE.replace("\"more\"", "\"fer2013.csv.xz\"");
        let cases: [(&str, &[&str], &[&str]); 9] = [
            (&twice, &[], &["fer2013.csv.xz is named twice"]),
            (&spoiled, &[], &["recipe.toml", "line 11", "epoch"]),
            ("[data]\nexpression = []", &[], &["no [[data.expression]]"]),
            ("[train]\n", &[], &["recipe.toml", "data"]),
            (RECIPE, &["train.epoch=3"], &["train.epoch=3", "unknown field"]),
            (RECIPE, &["train.epochs=many"], &["train.epochs=many", "string"]),
            (RECIPE, &["train.epochs"], &["not KEY=VALUE"]),
            (RECIPE, &["train.epochs.first=1"], &["epochs is no table"]),
            (RECIPE, &["data.votes_share=1.5"], &["votes_share 1.5"]),
        ];
        for (text, overrides, words) in cases {
            let error = read(text, overrides).unwrap_err().to_string();
            let missing: Vec<_> = words.iter().filter(|word| !error.contains(**word)).collect();
            assert!(missing.is_empty(), "{error:?} should say {missing:?}");
        }
    }
}
