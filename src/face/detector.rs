//! Finds faces: SeetaFace's funnel-structured cascade (Wu et al., Neurocomputing 2017), frontal
//! faces, through the crate `rustface`.

use ndarray::ArrayView2;
use rustface::ImageData;
use serde::Deserialize;

use crate::bundled;
use crate::image::{self, Grey, Rect};

/// Side of the cascade's window: no smaller face is found, and no smaller picture is legal.
const WINDOW: usize = 40;
/// Step of the sliding window in pixels, SeetaFace's recommendation.
const WINDOW_STEP: u32 = 4;
/// Ratio of neighbouring scales of the picture pyramid, SeetaFace's recommendation.
const PYRAMID_RATIO: f32 = 0.8;

/// What a detection costs, and what it finds.
///
/// On 207 pictures of WIDER FACE (validation part), faces 50 pixels or taller after scaling, not
/// in profile nor badly blurred: a threshold of 0.95, 2.0, 2.8 and 3.85 finds .77, .70, .69 and
/// .64 of them, with 0.21, 0.06, 0.03 and 0.02 false finds a picture. Half the pixels of the
/// default find the same share of the faces that are still large enough, which are half as many.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectorOptions {
    /// Frames are scaled down to at most so many pixels; time is proportional to it. At least
    /// 1600.
    pub max_pixels: usize,
    /// Smaller faces need not be found, side in frame pixels: the frame is scaled so that they
    /// are 40 pixels, the least the cascade sees, if `max_pixels` permits. At least 10.
    pub min_face_px: u32,
    /// Least score of a detection, above 0. SeetaFace names 0.95, 2.8 and 4.5 as typical, from
    /// many finds to few false ones.
    pub score_threshold: f32,
}

impl Default for DetectorOptions {
    fn default() -> Self {
        Self { max_pixels: 640 * 480, min_face_px: 40, score_threshold: 2.0 }
    }
}

impl DetectorOptions {
    /// Checks every option's range.
    pub fn validate(&self) -> Result<(), DetectorError> {
        let wrong =
            |option, value: String, must| Err(DetectorError::Option { option, value, must });
        if self.max_pixels < WINDOW * WINDOW {
            return wrong("max_pixels", self.max_pixels.to_string(), "at least 1600");
        }
        if self.min_face_px < 10 {
            return wrong("min_face_px", self.min_face_px.to_string(), "at least 10");
        }
        if !(self.score_threshold > 0.0 && self.score_threshold.is_finite()) {
            return wrong("score_threshold", self.score_threshold.to_string(), "above 0");
        }
        Ok(())
    }
}

/// Why there is no detector.
#[derive(Debug, thiserror::Error)]
pub enum DetectorError {
    /// An option has no sense.
    #[error("detector option {option} is {value}; it must be {must}")]
    Option { option: &'static str, value: String, must: &'static str },
    /// The built-in cascade can't be read.
    #[error("the built-in face detector can't be read: {0}; build the program again")]
    Model(#[from] std::io::Error),
}

/// A face found in a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Square around the face, in frame pixels; it may reach over the frame's edge.
    pub rect: Rect,
    /// The cascade's score, summed over the overlapping windows that agree.
    pub score: f32,
}

/// The cascade with its options.
///
/// A known limit: `rustface` 0.1.7 copies candidate windows through raw pointers without checking
/// that its regression left them touching the picture on the right and below. What reaches it is
/// always of a legal size, but its own soundness is not proved.
///
/// It is not `Send`: make it in the thread that uses it.
pub struct Detector {
    options: DetectorOptions,
    cascade: Box<dyn rustface::Detector>,
}

impl Detector {
    /// Checks the options and loads the built-in cascade.
    pub fn new(options: DetectorOptions) -> Result<Self, DetectorError> {
        options.validate()?;
        let mut cascade =
            rustface::create_detector_with_model(rustface::read_model(&bundled::cascade()[..])?);
        cascade.set_slide_window_step(WINDOW_STEP, WINDOW_STEP);
        cascade.set_pyramid_scale_factor(PYRAMID_RATIO);
        cascade.set_score_thresh(f64::from(options.score_threshold));
        Ok(Self { options, cascade })
    }

    /// Finds faces, best score first. Any frame is legal; an empty one holds none.
    pub fn detect(&mut self, frame: &Grey) -> Vec<Detection> {
        if frame.is_empty() {
            return Vec::new();
        }
        let (scale, picture) = fit(frame, &self.options);
        let min_side = self.options.min_face_px as f32;
        let mut found: Vec<_> = self
            .cascade_on(picture.view())
            .into_iter()
            .map(|d| Detection { rect: d.rect.scaled(1.0 / scale, 1.0 / scale), ..d })
            .filter(|d| d.rect.w >= min_side)
            .collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found
    }

    fn cascade_on(&mut self, picture: ArrayView2<u8>) -> Vec<Detection> {
        let (height, width) = picture.dim();
        let pixels = picture.to_slice().expect("a resampled picture is in standard layout");
        let faces = self.cascade.detect(&ImageData::new(pixels, width as u32, height as u32));
        let detection = |face: &rustface::FaceInfo| {
            let b = face.bbox();
            let [x, y] = [b.x(), b.y()].map(|v| v as f32);
            let [w, h] = [b.width(), b.height()].map(|v| v as f32);
            Detection { rect: Rect { x, y, w, h }, score: face.score() as f32 }
        };
        faces.iter().map(detection).collect()
    }
}

/// Scales a frame for the cascade, and gives the scale (pixels per frame pixel). Sides that get
/// shorter than the window are padded with the frame's edge, to the right and below, so that the
/// frame's origin stays.
fn fit(frame: &Grey, options: &DetectorOptions) -> (f32, Grey) {
    let (height, width) = frame.dim();
    let (h, w) = (height as f32, width as f32);
    let budget = options.max_pixels as f32;
    // Also with its short side padded to the window, the picture keeps to the budget.
    let within_budget = (budget / (h * w)).sqrt().min(budget / (WINDOW as f32 * h.max(w)));
    let scale = within_budget.min(WINDOW as f32 / options.min_face_px as f32);
    let side = |length: f32| ((length * scale) as usize).max(WINDOW);
    let (target_height, target_width) = (side(h), side(w));
    let region =
        Rect { x: 0.0, y: 0.0, w: target_width as f32 / scale, h: target_height as f32 / scale };
    (scale, image::resample(frame, region, target_height, target_width))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(height: usize, width: usize) -> Grey {
        let mut state = 0x2545_F491_u32;
        Grey::from_shape_fn((height, width), |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
    }

    #[test]
    fn no_frame_is_too_small_or_too_odd() {
        let options = DetectorOptions { max_pixels: 5000, ..Default::default() };
        let mut detector = Detector::new(options).unwrap();
        for height in [0, 1, 2, 3, 7, 19, 39, 40, 41, 47, 64, 101] {
            for width in [0, 1, 2, 5, 20, 39, 40, 41, 43, 50, 63, 99] {
                detector.detect(&noise(height, width));
            }
        }
        for long in [1000, 20_000, 65_535] {
            detector.detect(&noise(1, long));
            detector.detect(&noise(long, 3));
        }
    }

    #[test]
    fn pictures_for_the_cascade_keep_to_the_budget_and_are_never_below_its_window() {
        for (height, width) in [(1, 1), (40, 40), (480, 848), (1, 65_535), (3000, 4000), (41, 39)] {
            for min_face_px in [10, 40, 200] {
                let options = DetectorOptions { min_face_px, ..Default::default() };
                let (scale, picture) = fit(&Grey::zeros((height, width)), &options);
                assert!(picture.len() <= options.max_pixels && scale > 0.0);
                assert!(picture.nrows() >= WINDOW && picture.ncols() >= WINDOW);
            }
        }
    }

    #[test]
    fn senseless_options_are_refused_by_name() {
        let refusal = |options| Detector::new(options).err().map(|e| e.to_string()).unwrap();
        let fine = DetectorOptions::default();
        assert!(refusal(DetectorOptions { max_pixels: 9, ..fine }).contains("max_pixels"));
        assert!(refusal(DetectorOptions { min_face_px: 0, ..fine }).contains("min_face_px"));
        for score_threshold in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let options = DetectorOptions { score_threshold, ..fine };
            assert!(refusal(options).contains("score_threshold"));
        }
    }
}
