//! From a frame to what each of its faces shows.

use crate::classifier::{Classifier, Scores};
use crate::engine::ModelError;
use crate::face::crop;
use crate::face::detector::Detector;
use crate::image::{Grey, Rect};

use super::stages::{Stage, Stages};

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

    /// The same, but telling no gender.
    pub fn without_gender(self) -> Self {
        Self { classifier: self.classifier.without_gender(), ..self }
    }

    /// Each face's box in pixels of `frame` and its shares, surest detection first; what each
    /// stage took goes to `stages`.
    pub fn read(
        &mut self,
        frame: &Grey,
        stages: &mut Stages,
    ) -> Result<Vec<(Rect, Scores)>, ModelError> {
        let found = stages.time(Stage::Detect, || self.detector.detect(frame));
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let side = self.classifier.side();
        let crops: Vec<Grey> = stages.time(Stage::Crop, || {
            found.iter().map(|face| crop::crop(frame, face.rect, side)).collect()
        });
        let scores = stages.time(Stage::Classify, || self.classifier.classify(&crops))?;
        Ok(found.into_iter().map(|face| face.rect).zip(scores).collect())
    }

    /// The shares of a picture that already is a cropped face, of any size.
    pub fn read_face(&self, face: &Grey) -> Result<Scores, ModelError> {
        let scores = self.classifier.classify(&[crop::whole_face(face, self.classifier.side())])?;
        Ok(*scores.first().expect("one crop in, one answer out"))
    }
}
