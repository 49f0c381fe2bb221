//! Where a layer's weights are.

use std::cell::Cell;

use super::super::super::float::LayerError;
use super::MAX_LEN;
use super::hdf5::Hdf5;

/// Most values in all. Tensors may share bytes of a file: its length alone is no limit.
const MAX_VALUES: usize = MAX_LEN / size_of::<f32>();
/// Parts that a long list of names is split into.
const MAX_NAME_PARTS: usize = 64;

/// How a file tells which weights are whose.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// By the names of layer and tensor: `.h5`.
    ByName,
    /// By how many of its class come before a layer, and by the order of its tensors: `.keras`.
    ByClass,
}

/// A layer's place in its file.
#[derive(Clone, Debug)]
pub struct Site {
    /// Names of the models it is in and its own, by `/`.
    pub name: String,
    /// Its own name.
    pub own: String,
    /// Name of the outermost layer it is in, perhaps itself.
    pub top: String,
    /// Path of its group in a `.keras` file.
    pub group: String,
}

/// A tensor of a layer.
#[derive(Clone, Copy)]
pub struct Role<'n> {
    /// What it may be called.
    pub names: &'n [&'n str],
    /// Its place among the layer's tensors.
    pub index: usize,
}

/// All weights of a file.
pub struct Weights {
    file: Hdf5,
    naming: Naming,
    left: Cell<usize>,
}

impl Weights {
    /// Of an opened file.
    pub fn new(file: Hdf5, naming: Naming) -> Self {
        Self { file, naming, left: Cell::new(MAX_VALUES) }
    }

    /// Row-major values of a layer's tensor, which has one of these shapes.
    pub fn get(
        &self,
        site: &Site,
        role: Role,
        shapes: &[&[usize]],
    ) -> Result<Vec<f32>, LayerError> {
        let name = role.names.first().copied().unwrap_or_default();
        let wrong = |why: String| LayerError::new(&site.name, format!("its {name}: {why}"));
        let len = |shape: &&[usize]| shape.iter().try_fold(1usize, |n, side| n.checked_mul(*side));
        let longest = shapes.iter().map(len).max_by_key(|len| len.unwrap_or(usize::MAX)).flatten();
        let left = longest.and_then(|len| self.left.get().checked_sub(len));
        self.left.set(left.ok_or_else(|| wrong("the model is too large".into()))?);
        let path = match self.naming {
            Naming::ByName => self.by_name(site, role.names),
            Naming::ByClass => self.by_class(site, role.index),
        };
        path.and_then(|path| self.file.tensor(&path, shapes)).map_err(wrong)
    }

    /// In `.h5` a layer's group lists the paths of its tensors (and of those of the layers in it):
    /// `conv2d/kernel:0`, `model/conv2d/kernel`.
    fn by_name(&self, site: &Site, names: &[&str]) -> Result<String, String> {
        let group = format!("/model_weights/{}", site.top);
        let paths = self.tensor_names(&group)?;
        let is_inner = site.top != site.name;
        let fits = |path: &&String| {
            let mut parts = path.rsplit('/');
            let tensor = parts.next().and_then(|part| part.split(':').next()).unwrap_or_default();
            names.contains(&tensor) && (!is_inner || parts.next() == Some(site.own.as_str()))
        };
        let mut found = paths.iter().filter(fits);
        match (found.next(), found.next()) {
            (Some(path), None) => Ok(format!("{group}/{path}")),
            (Some(_), Some(_)) => Err("the file has several; give each layer its own name".into()),
            (None, _) => Err("the file has none".into()),
        }
    }

    fn tensor_names(&self, group: &str) -> Result<Vec<String>, String> {
        if let Some(names) = self.file.texts(group, "weight_names")? {
            return Ok(names);
        }
        let mut names = Vec::new();
        for part in 0..MAX_NAME_PARTS {
            match self.file.texts(group, &format!("weight_names{part}"))? {
                Some(part) => names.extend(part),
                None => break,
            }
        }
        Ok(names)
    }

    /// In `.keras` a layer's group is called after its class, and has its tensors by number.
    fn by_class(&self, site: &Site, index: usize) -> Result<String, String> {
        let group = format!("/{}/vars", site.group);
        match self.file.texts(&group, "name")?.as_deref() {
            Some([name]) if *name != site.own => {
                return Err(format!("those at its place are of a layer `{name}`"));
            }
            _ => {}
        }
        if !self.file.has_group(&group)? {
            return Err("the file has none".into());
        }
        Ok(format!("{group}/{index}"))
    }
}

/// Name of a layer's group in a `.keras` file by its class, where `before` others of this class
/// come first: `Conv2D` is `conv2d`, `conv2d_1`…; `ReLU` is `re_lu`.
pub fn group_name(class: &str, before: usize) -> String {
    let letters: Vec<char> = class.chars().collect();
    let mut name = String::new();
    for (i, letter) in letters.iter().enumerate() {
        let starts_word = letter.is_ascii_uppercase()
            && i.checked_sub(1).and_then(|i| letters.get(i)).is_some_and(|before| {
                before.is_ascii_lowercase()
                    || letters.get(i + 1).is_some_and(char::is_ascii_lowercase)
            });
        if starts_word {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    if before > 0 { format!("{name}_{before}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_called_as_keras_calls_them() {
        for (class, name) in [
            ("Conv2D", "conv2d"),
            ("SeparableConv2D", "separable_conv2d"),
            ("BatchNormalization", "batch_normalization"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
            ("ReLU", "re_lu"),
            ("Dense", "dense"),
        ] {
            assert_eq!(group_name(class, 0), name);
            assert_eq!(group_name(class, 2), format!("{name}_2"));
        }
    }
}
