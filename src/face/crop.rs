//! How faces are framed: the same functions serve training, evaluation and the device.

use super::FACE_SIDE;
use crate::image::{self, Grey, Rect};

/// How a picture frames its face: a square, relative to the detector's box, in sides of that box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Framing {
    /// The picture's side.
    pub side: f32,
    /// From the box's centre to the picture's, to the right.
    pub right: f32,
    /// From the box's centre to the picture's, downwards.
    pub down: f32,
}

impl Framing {
    /// The square that frames so the face in a detector's box.
    pub fn around(&self, detection: Rect) -> Rect {
        let unit = detection.w.max(detection.h);
        let (x, y) = detection.centre();
        let side = self.side * unit;
        Rect {
            x: x + self.right * unit - side / 2.0,
            y: y + self.down * unit - side / 2.0,
            w: side,
            h: side,
        }
    }
}

/// FER2013's framing, which the network is trained with. Medians over 883 Training pictures, by
/// `mien-lab framing`: side 1.103, right -0.003, down 0.000 (half the quartile range 0.10, 0.03,
/// 0.03); other sizes and backgrounds of the measurement's canvas give a side of 1.09 to 1.11.
pub const TRAINING_FRAMING: Framing = Framing { side: 1.10, right: 0.0, down: 0.0 };

/// The part of a FairFace picture that is framed as FER2013's are, in sides of the picture: as
/// wide, but higher. From 824 pictures of 1000, by `mien-lab framing`: x 0.007, y -0.058,
/// side 0.979; on other canvases a side of 0.97 to 1.005 and y from -0.054 to -0.068.
pub const FAIRFACE_FRAME: Rect = Rect { x: 0.0075, y: -0.06, w: 0.985, h: 0.985 };

/// Cuts the face in a detector's box out of its frame, at the training framing: `side` × `side`
/// pixels.
///
/// Where the square reaches over the frame's edge, the edge pixels go on.
pub fn crop(frame: &Grey, detection: Rect, side: usize) -> Grey {
    image::resample(frame, TRAINING_FRAMING.around(detection), side, side)
}

/// Takes a picture that already is a cut-out face, framed as in training: `side` × `side` pixels.
pub fn whole_face(face: &Grey, side: usize) -> Grey {
    image::resize(face, side, side)
}

/// Cuts a FairFace picture to the training framing: 48×48.
pub fn reframe_fairface(face: &Grey) -> Grey {
    let (height, width) = face.dim();
    let frame = FAIRFACE_FRAME.scaled(width as f32, height as f32);
    image::resample(face, frame, FACE_SIDE, FACE_SIDE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::s;

    /// A grey frame with a bright square that a detector's box fits.
    fn frame_with_square(x: usize, y: usize, side: usize) -> (Grey, Rect) {
        let mut frame = Grey::from_elem((240, 320), 100);
        frame.slice_mut(s![y..y + side, x..x + side]).fill(200);
        (frame, Rect { x: x as f32, y: y as f32, w: side as f32, h: side as f32 })
    }

    #[test]
    fn a_crop_shows_the_box_in_its_middle_with_the_framings_margin() {
        for side in [20, 48, 96, 130] {
            let (frame, detection) = frame_with_square(70, 60, side);
            let face = crop(&frame, detection, FACE_SIDE);
            assert_eq!(face.dim(), (FACE_SIDE, FACE_SIDE));
            let bright = face.iter().filter(|&&p| p > 150).count() as f32;
            let share = (bright / face.len() as f32).sqrt();
            assert!((share - 1.0 / TRAINING_FRAMING.side).abs() < 0.03, "{side}: {share}");
            assert_eq!(face.t(), face);
            assert_eq!(face.slice(s![..;-1, ..]), face);
        }
    }

    #[test]
    fn a_crop_of_a_framed_picture_gives_the_picture() {
        let picture = Grey::from_shape_fn((48, 48), |(y, x)| (x * 3 + y * 2) as u8);
        let side = 48.0 / TRAINING_FRAMING.side;
        let corner = (48.0 - side) / 2.0;
        let face = crop(&picture, Rect { x: corner, y: corner, w: side, h: side }, FACE_SIDE);
        assert!(face.iter().zip(&picture).all(|(a, &b)| a.abs_diff(b) <= 1));
    }

    #[test]
    fn beyond_the_frame_its_edge_goes_on() {
        let (frame, _) = frame_with_square(0, 0, 50);
        let face = crop(&frame, Rect { x: -50.0, y: -50.0, w: 100.0, h: 100.0 }, FACE_SIDE);
        assert_eq!(face[(0, 0)], 200);
        assert_eq!(face[(47, 47)], 100);
    }

    #[test]
    fn a_fairface_picture_is_moved_down() {
        let picture = Grey::from_shape_fn((48, 48), |(y, _)| y as u8 * 5);
        let face = reframe_fairface(&picture);
        assert_eq!((face[(0, 24)], face[(2, 24)]), (0, 0));
        assert!(face[(24, 24)].abs_diff(5 * 21) <= 4, "{}", face[(24, 24)]);
    }
}
