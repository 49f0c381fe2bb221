//! From a frame to what each of its faces shows.

use std::time::Duration;

use crate::classifier::{Classifier, Scores};
use crate::engine::ModelError;
use crate::face::crop;
use crate::face::detector::Detector;
use crate::image::{Grey, Rect};

use super::stages::{Stage, timed};

/// Finds faces and reads them: detector, crop and classifier in a row.
pub struct FaceReader {
    detector: Detector,
    classifier: Classifier,
}

impl FaceReader {
    /// Joins the two.
    pub fn new(detector: Detector, classifier: Classifier) -> Self {
        Self { detector, classifier }
    }

    /// Each face's box in pixels of `frame` and its shares, surest detection first.
    pub fn read(&mut self, frame: &Grey) -> Result<Vec<(Rect, Scores)>, ModelError> {
        let found = find(&mut self.detector, self.classifier.side(), frame, &mut |_, _| ());
        read(&self.classifier, found, &mut |_, _| ())
    }

    /// The shares of a picture that already is a cropped face, of any size.
    pub fn read_face(&self, face: &Grey) -> Result<Scores, ModelError> {
        let scores = self.classifier.classify(&[crop::whole_face(face, self.classifier.side())])?;
        Ok(*scores.first().expect("one crop in, one answer out"))
    }
}

/// Is told what a stage took.
type Note<'a> = &'a mut dyn FnMut(Stage, Duration);

/// Each face's box in pixels of `frame` and its crop of `side` pixels, surest detection first.
pub(super) fn find(
    detector: &mut Detector,
    side: usize,
    frame: &Grey,
    note: Note,
) -> Vec<(Rect, Grey)> {
    let found = timed(Stage::Detect, note, || detector.detect(frame));
    if found.is_empty() {
        return Vec::new();
    }
    timed(Stage::Crop, note, || {
        found.iter().map(|face| (face.rect, crop::crop(frame, face.rect, side))).collect()
    })
}

/// Each face's box and its shares, in the same order.
pub(super) fn read(
    classifier: &Classifier,
    found: Vec<(Rect, Grey)>,
    note: Note,
) -> Result<Vec<(Rect, Scores)>, ModelError> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let (rects, crops): (Vec<Rect>, Vec<Grey>) = found.into_iter().unzip();
    let scores = timed(Stage::Classify, note, || classifier.classify(&crops))?;
    Ok(rects.into_iter().zip(scores).collect())
}
