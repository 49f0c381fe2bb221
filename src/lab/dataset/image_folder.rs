//! Pictures of faces, each class in a folder of its own.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{DatasetError, LabelledFace, Usage};
use crate::expression::Expression;
use crate::face::FACE_SIDE;
use crate::face::crop::whole_face;
use crate::image::{self, Grey};

/// Names that a class folder may have, by [`Expression`].
const NAMES: [&[&str]; 7] = [
    &["angry", "anger", "0"],
    &["disgust", "disgusted", "1"],
    &["fear", "fearful", "2"],
    &["happy", "happiness", "3"],
    &["sad", "sadness", "4"],
    &["surprise", "surprised", "5"],
    &["neutral", "6"],
];

/// What a folder held.
#[derive(Clone, Debug, Default)]
pub struct ImageFolder {
    /// Its faces, all to learn from.
    pub faces: Vec<LabelledFace>,
    /// The file of each.
    pub files: Vec<PathBuf>,
    /// Files that hold no intact picture; the log names them.
    pub skipped: usize,
}

/// Reads `folder/CLASS/*.{png,jpg,jpeg}`, cut-out faces of any size, made square, in the order of
/// their paths. Anything else in a class's folder is left out and counted in the log.
/// A class is named as in [`Expression::name`], by a common synonym, or by FER2013's number.
///
/// Broken pictures are logged, counted and skipped.
pub fn read_image_folder(folder: &Path) -> Result<ImageFolder, DatasetError> {
    let mut read = ImageFolder::default();
    for class in visible_entries(folder)?.into_iter().filter(|path| path.is_dir()) {
        let label = label(&class)?;
        let (files, others): (Vec<PathBuf>, Vec<PathBuf>) =
            visible_entries(&class)?.into_iter().partition(|path| is_picture(path));
        if !others.is_empty() {
            let (class, count) = (class.display(), others.len());
            log::warn!("{class}: {count} entries left out: no .png, .jpg or .jpeg");
        }
        let found = files.len();
        let intact = intact(files);
        if intact.is_empty() {
            let why = "the class folder holds no intact .png, .jpg or .jpeg; delete it if the \
                       class is not to be learnt";
            return Err(DatasetError::Shape { path: class, why: why.into() });
        }
        read.skipped += found - intact.len();
        for (file, picture) in intact {
            let face = whole_face(&picture, FACE_SIDE);
            read.faces.push(LabelledFace { face, label, usage: Usage::Training, votes: None });
            read.files.push(file);
        }
    }
    if read.faces.is_empty() {
        let why = format!("no class folders in it; make one of each of {}", accepted());
        return Err(DatasetError::Shape { path: folder.into(), why });
    }
    if read.skipped > 0 {
        let all = read.skipped + read.faces.len();
        log::warn!("{}: {} of {all} pictures skipped", folder.display(), read.skipped);
    }
    Ok(read)
}

/// Reads `folder/*.{png,jpg,jpeg}` and `folder/ANY/*.{png,jpg,jpeg}`, pictures of faces whose labels
/// don't count, in the order of their paths. Broken ones are logged and skipped.
pub fn read_unlabelled(folder: &Path) -> Result<Vec<Grey>, DatasetError> {
    let mut files = visible_entries(folder)?;
    for inner in files.clone().iter().filter(|path| path.is_dir()) {
        files.extend(visible_entries(inner)?);
    }
    files.retain(|path| is_picture(path) && path.is_file());
    Ok(intact(files).into_iter().map(|(_, picture)| picture).collect())
}

/// The intact pictures among these files, in order; the others are logged.
fn intact(files: Vec<PathBuf>) -> Vec<(PathBuf, Grey)> {
    let pictures: Vec<_> = files.par_iter().map(|file| image::read(file)).collect();
    let intact = |(file, picture): (PathBuf, Result<Grey, image::ImageError>)| match picture {
        Ok(picture) => Some((file, picture)),
        Err(error) => {
            log::warn!("skipped: {error}");
            None
        }
    };
    files.into_iter().zip(pictures).filter_map(intact).collect()
}

/// What lies in a folder, but for hidden files, in order.
fn visible_entries(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let io = |source| DatasetError::Io { path: folder.into(), source };
    let entries = std::fs::read_dir(folder).map_err(io)?;
    let paths: Result<Vec<PathBuf>, _> = entries.map(|e| e.map(|e| e.path())).collect();
    let mut paths = paths.map_err(io)?;
    paths.retain(|path| !name_of(path).starts_with('.'));
    paths.sort();
    Ok(paths)
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

fn label(class: &Path) -> Result<usize, DatasetError> {
    let name = name_of(class).to_lowercase();
    let label = NAMES.iter().position(|names| names.contains(&name.as_str()));
    label.ok_or_else(|| DatasetError::Shape {
        path: class.into(),
        why: format!("no class is named so; there are {}", accepted()),
    })
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn accepted() -> String {
    let classes = Expression::ALL.iter().zip(NAMES);
    let named = classes.map(|(class, names)| match names {
        [_, synonyms @ ..] => format!("{} (or {})", class.name(), synonyms.join(", ")),
        [] => class.name().into(),
    });
    named.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(path: &Path, side: u32, grey: u8) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        ::image::GrayImage::from_pixel(side, side, ::image::Luma([grey])).save(path).unwrap();
    }

    #[test]
    fn pictures_of_any_size_are_read_by_class() {
        let folder = tempfile::tempdir().unwrap();
        picture(&folder.path().join("Happiness/a.png"), 48, 10);
        picture(&folder.path().join("6/b.JPEG"), 100, 20);
        picture(&folder.path().join("anger/c.jpg"), 20, 30);
        std::fs::write(folder.path().join("README.md"), "no class").unwrap();
        let read = read_image_folder(folder.path()).unwrap();
        let of: Vec<_> =
            read.faces.iter().map(|f| (f.label, f.face.dim(), f.face[[5, 5]])).collect();
        assert_eq!(of, [(6, (48, 48), 20), (3, (48, 48), 10), (0, (48, 48), 30)]);
        assert!(read.files[0].ends_with("6/b.JPEG"));
    }

    #[test]
    fn one_bad_picture_is_skipped_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        picture(&folder.path().join("sad/good.png"), 48, 10);
        std::fs::write(folder.path().join("sad/bad.png"), "not a picture").unwrap();
        let read = read_image_folder(folder.path()).unwrap();
        assert_eq!((read.faces.len(), read.skipped), (1, 1));
    }

    #[test]
    fn folders_that_are_none_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = || read_image_folder(folder.path()).unwrap_err().to_string();
        assert!(error().contains("no class folders"), "{}", error());
        std::fs::create_dir(folder.path().join("fear")).unwrap();
        assert!(error().contains("fear: the class folder holds no intact"), "{}", error());
        std::fs::write(folder.path().join("fear/bad.png"), "not a picture").unwrap();
        assert!(error().contains("fear: the class folder holds no intact"), "{}", error());
        picture(&folder.path().join("fear/good.png"), 48, 0);
        std::fs::create_dir(folder.path().join("joy")).unwrap();
        assert!(error().contains("joy: no class is named so; there are angry (or anger, 0)"));
    }
}
