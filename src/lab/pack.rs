//! A compact copy of a recipe and its data, to train on another machine: the same faces and labels
//! under the same names, and the checkpoints that it starts or learns from. See [`compact`].

use std::fs;
use std::path::Path;

use super::dataset::{DatasetError, compact, face_pack, fer2013, read_face_pack};
use super::mixture::read_expressions;
use super::recipe::{DataRecipe, RecipeFile};

/// Copies what `recipe` names from the folder `from` to `to`. A folder of pictures becomes a
/// table, its pictures 48×48.
pub fn pack(recipe: &DataRecipe, from: &Path, to: &Path) -> Result<(), DatasetError> {
    for source in &recipe.expression {
        let faces = read_expressions(source, from)?;
        let path = to.join(&source.path);
        make_room(&path)?;
        fer2013::write_compact(&path, &faces)?;
        if let Some(votes) = &source.votes {
            copy(&from.join(votes), &to.join(votes))?;
        }
    }
    for source in &recipe.gender {
        let (from, to) = (from.join(&source.path), to.join(&source.path));
        let faces = read_face_pack(&from)?;
        copy(&face_pack::labels_path(&from)?, &face_pack::labels_path(&to)?)?;
        compact::write_faces(&compact::faces_path(&to), faces.iter().map(|face| &face.face))?;
    }
    Ok(())
}

/// Copies the checkpoints that `recipe` names to the folder `to`, and has it name the copies.
pub fn pack_checkpoints(recipe: &mut RecipeFile, to: &Path) -> Result<(), DatasetError> {
    for (i, path) in recipe.checkpoints_mut().enumerate() {
        let name = format!("checkpoint-{}.safetensors", i + 1);
        copy(path, &to.join(&name))?;
        *path = name.into();
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), DatasetError> {
    make_room(to)?;
    let io = |source| DatasetError::Io { path: from.into(), source };
    fs::read(from).and_then(|bytes| fs::write(to, bytes)).map_err(io)
}

fn make_room(path: &Path) -> Result<(), DatasetError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|source| DatasetError::Io { path: folder.into(), source })
}
