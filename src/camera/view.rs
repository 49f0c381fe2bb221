//! Frames as the room is seen: turned and mirrored as the camera hangs, and only the region that
//! matters.

use ndarray::{Axis, s};
use serde::Deserialize;

use super::{Camera, CameraError, Frame};
use crate::image::Grey;

/// How a source's pictures are seen.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ViewOptions {
    /// How far pictures are turned clockwise, degrees: 0, 90, 180 or 270.
    pub rotation_deg: u32,
    /// Whether they are mirrored, left for right, after that.
    pub mirror: bool,
    /// The part that is looked at, after both: left, top, width, height in shares of the picture.
    pub region: [f32; 4],
}

impl Default for ViewOptions {
    fn default() -> Self {
        Self { rotation_deg: 0, mirror: false, region: [0.0, 0.0, 1.0, 1.0] }
    }
}

impl ViewOptions {
    /// The least share of a side that a region may have: fewer pixels hold no face.
    const MIN_REGION: f32 = 0.05;

    /// Says which setting makes no sense.
    pub fn validate(&self) -> Result<(), String> {
        if ![0, 90, 180, 270].contains(&self.rotation_deg) {
            return Err(format!("rotation_deg = {}: must be 0, 90, 180 or 270", self.rotation_deg));
        }
        let [x, y, w, h] = self.region;
        let inside = |start: f32, size: f32| start >= 0.0 && start + size <= 1.0 + f32::EPSILON;
        if inside(x, w) && inside(y, h) && w.min(h) >= Self::MIN_REGION {
            return Ok(());
        }
        Err(format!(
            "region = {:?}: must be left, top, width and height in shares of the picture, within it \
             and at least {} wide and high",
            self.region,
            Self::MIN_REGION
        ))
    }

    /// A picture as it is seen.
    pub fn apply(&self, picture: Grey) -> Grey {
        if *self == Self::default() {
            return picture;
        }
        let mut view = picture.view();
        if matches!(self.rotation_deg, 90 | 270) {
            view.swap_axes(0, 1);
        }
        if matches!(self.rotation_deg, 180 | 270) {
            view.invert_axis(Axis(0));
        }
        if matches!(self.rotation_deg, 90 | 180) != self.mirror {
            view.invert_axis(Axis(1));
        }
        let [x, y, w, h] = self.region;
        let (rows, columns) = (span(y, h, view.nrows()), span(x, w, view.ncols()));
        view.slice(s![rows, columns]).as_standard_layout().into_owned()
    }
}

/// The pixels of a side that a share of it covers, at least one.
fn span(start: f32, size: f32, side: usize) -> std::ops::Range<usize> {
    let at = |share: f32| ((share * side as f32).round() as usize).min(side);
    let first = at(start).min(side.saturating_sub(1));
    first..at(start + size).clamp((first + 1).min(side), side)
}

/// A camera whose frames are seen so.
pub struct View<C> {
    camera: C,
    options: ViewOptions,
}

impl<C> View<C> {
    /// `camera`, seen by `options`.
    pub fn new(camera: C, options: ViewOptions) -> Self {
        Self { camera, options }
    }

    /// The camera itself.
    pub fn inner(&self) -> &C {
        &self.camera
    }
}

impl<C: Camera> Camera for View<C> {
    fn next_frame(&mut self) -> Result<Option<Frame>, CameraError> {
        let frame = self.camera.next_frame()?;
        Ok(frame.map(|frame| Frame { image: self.options.apply(frame.image), ..frame }))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn seen(rotation_deg: u32, mirror: bool) -> Grey {
        let options = ViewOptions { rotation_deg, mirror, ..ViewOptions::default() };
        options.apply(array![[1, 2, 3], [4, 5, 6]])
    }

    #[test]
    fn pictures_turn_clockwise_and_are_mirrored_then() {
        assert_eq!(seen(0, false), array![[1, 2, 3], [4, 5, 6]]);
        assert_eq!(seen(90, false), array![[4, 1], [5, 2], [6, 3]]);
        assert_eq!(seen(180, false), array![[6, 5, 4], [3, 2, 1]]);
        assert_eq!(seen(270, false), array![[3, 6], [2, 5], [1, 4]]);
        assert_eq!(seen(0, true), array![[3, 2, 1], [6, 5, 4]]);
        assert_eq!(seen(90, true), array![[1, 4], [2, 5], [3, 6]]);
        assert_eq!(seen(180, true), array![[4, 5, 6], [1, 2, 3]]);
    }

    #[test]
    fn a_region_is_cut_out_of_what_is_seen() {
        let options =
            ViewOptions { rotation_deg: 90, mirror: false, region: [0.5, 0.0, 0.5, 2.0 / 3.0] };
        assert_eq!(options.validate(), Ok(()));
        let cut = options.apply(array![[1, 2, 3], [4, 5, 6]]);
        assert_eq!(cut, array![[1], [2]]);
        assert!(cut.is_standard_layout());
    }

    #[test]
    fn the_smallest_region_of_the_smallest_picture_is_a_pixel() {
        let options = ViewOptions { region: [0.95, 0.95, 0.05, 0.05], ..ViewOptions::default() };
        assert_eq!(options.validate(), Ok(()));
        assert_eq!(options.apply(array![[7]]), array![[7]]);
        assert_eq!(options.apply(Grey::from_elem((0, 3), 1)).dim().0, 0);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let refused = |options: ViewOptions| options.validate().unwrap_err();
        let turned = refused(ViewOptions { rotation_deg: 45, ..ViewOptions::default() });
        assert!(turned.contains("rotation_deg = 45"), "{turned}");
        for region in [[0.5, 0.0, 0.6, 1.0], [0.0, 0.0, 0.01, 1.0], [f32::NAN, 0.0, 1.0, 1.0]] {
            let error = refused(ViewOptions { region, ..ViewOptions::default() });
            assert!(error.contains("region"), "{error}");
        }
    }
}
