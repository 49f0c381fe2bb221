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
    tells_gender: bool,
}

impl FaceReader {
    /// Joins the two.
    pub fn new(detector: Detector, classifier: Classifier) -> Self {
        Self { detector, classifier, tells_gender: true }
    }

    /// The same, but gender is never told, whatever the network knows.
    #[must_use]
    pub fn without_gender(self) -> Self {
        Self { tells_gender: false, ..self }
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
        let mut scores = stages.time(Stage::Classify, || self.classifier.classify(&crops))?;
        if !self.tells_gender {
            scores.iter_mut().for_each(|scores| scores.gender = None);
        }
        Ok(found.into_iter().map(|face| face.rect).zip(scores).collect())
    }

    /// The shares of a picture that already is a cropped face, of any size.
    pub fn read_face(&self, face: &Grey) -> Result<Scores, ModelError> {
        let scores = self.classifier.classify(&[crop::whole_face(face, self.classifier.side())])?;
        Ok(*scores.first().expect("one crop in, one answer out"))
    }
}
