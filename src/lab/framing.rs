//! Measures how a data set frames its faces against the detector's boxes: the constants of
//! [`crate::face::crop`].

use crate::face::FACE_SIDE;
use crate::face::crop::{Framing, crop};
use crate::face::detector::Detector;
use crate::image::{self, Grey, Rect};

/// Side that a data set's picture is scaled to, and of the neutral canvas around it: the face is
/// then as large as the detector is sure of, and its box may reach over the picture's edge.
const PICTURE_SIDE: usize = 160;
const CANVAS_SIDE: usize = 320;
/// Mid grey.
const CANVAS_SHADE: u8 = 128;

/// A data set's framing, as the medians over its faces.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Pictures in which the detector found exactly one face.
    pub found: usize,
    /// Pictures looked at.
    pub of: usize,
    /// The picture's frame relative to the detector's box.
    pub framing: Framing,
    /// Half the distance between the quartiles of [`Framing`]'s `side`, `right` and `down`.
    pub spread: [f32; 3],
}

/// Places each picture on a neutral canvas and compares the detector's box with its frame; `None`
/// if no face was found at all.
pub fn measure<'a>(
    pictures: impl Iterator<Item = &'a Grey>,
    detector: &mut Detector,
) -> Option<Measured> {
    let mut samples: [Vec<f32>; 3] = Default::default();
    let mut of = 0;
    for picture in pictures {
        of += 1;
        if let [only] = detector.detect(&on_canvas(picture))[..] {
            let middle = CANVAS_SIDE as f32 / 2.0;
            let (x, y) = only.rect.centre();
            let side = only.rect.w;
            let sample = [PICTURE_SIDE as f32 / side, (middle - x) / side, (middle - y) / side];
            samples.iter_mut().zip(sample).for_each(|(all, value)| all.push(value));
        }
    }
    let found = samples[0].len();
    if found == 0 {
        return None;
    }
    samples.iter_mut().for_each(|values| values.sort_by(f32::total_cmp));
    let [side, right, down] = samples.each_ref().map(|values| values[found / 2]);
    let spread = samples.each_ref().map(|v| (v[found * 3 / 4] - v[found / 4]) / 2.0);
    Some(Measured { found, of, framing: Framing { side, right, down }, spread })
}

/// The face of a picture as the device would cut it out: found by the detector on a neutral
/// canvas, cropped at the training framing. `None` unless it finds exactly one face.
pub fn recrop(picture: &Grey, detector: &mut Detector) -> Option<Grey> {
    let canvas = on_canvas(picture);
    match detector.detect(&canvas)[..] {
        [only] => Some(crop(&canvas, only.rect, FACE_SIDE)),
        _ => None,
    }
}

fn on_canvas(picture: &Grey) -> Grey {
    let margin = (CANVAS_SIDE - PICTURE_SIDE) / 2;
    let mut canvas = Grey::from_elem((CANVAS_SIDE, CANVAS_SIDE), CANVAS_SHADE);
    let inner = margin..margin + PICTURE_SIDE;
    canvas.slice_mut(ndarray::s![inner.clone(), inner]).assign(&image::resize(
        picture,
        PICTURE_SIDE,
        PICTURE_SIDE,
    ));
    canvas
}

/// Where, in sides of a picture framed as `picture`, the square lies that frames the same face as
/// `wanted`.
pub fn frame_within(wanted: &Framing, picture: &Framing) -> Rect {
    let unit = 1.0 / picture.side;
    let face_box = Rect {
        x: 0.5 - (picture.right + 0.5) * unit,
        y: 0.5 - (picture.down + 0.5) * unit,
        w: unit,
        h: unit,
    };
    wanted.around(face_box)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_framing_within_itself_is_the_whole_picture() {
        let framing = Framing { side: 1.3, right: 0.1, down: -0.2 };
        let Rect { x, y, w, h } = frame_within(&framing, &framing);
        for (value, expected) in [(x, 0.0), (y, 0.0), (w, 1.0), (h, 1.0)] {
            assert!((value - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn a_tighter_framing_is_an_inner_square() {
        let wide = Framing { side: 2.0, right: 0.0, down: 0.25 };
        let tight = Framing { side: 1.0, right: 0.0, down: 0.0 };
        // The wide picture's centre lies a quarter box, an eighth picture, below the box's.
        let frame = frame_within(&tight, &wide);
        assert_eq!(frame, Rect { x: 0.25, y: 0.125, w: 0.5, h: 0.5 });
    }
}
