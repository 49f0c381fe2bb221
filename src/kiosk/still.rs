//! Does a frame differ from the last one that was looked at?

use std::time::Duration;

use ndarray::{Array2, s};
use serde::Deserialize;

use crate::image::Grey;

/// Cells that a frame is averaged into, rows and columns: 10×10 pixels each at 640×480, so that
/// a camera's noise averages out and a changed mouth does not.
const GRID: [usize; 2] = [48, 64];

/// When a frame counts as still.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StillOptions {
    /// Greatest change of any cell of a 64×48 grid, in grey levels (0…255), for a frame to be
    /// still. 0 looks at every frame.
    pub max_change: f32,
    /// Look at a frame at least this often, in seconds.
    pub max_hold_s: f32,
}

impl Default for StillOptions {
    fn default() -> Self {
        Self { max_change: 3.0, max_hold_s: 2.0 }
    }
}

/// Compares frames with the last one that was looked at.
#[derive(Debug)]
pub struct StillFilter {
    options: StillOptions,
    last: Option<(Duration, (usize, usize), Array2<f32>)>,
}

impl StillFilter {
    /// A filter that finds its first frame new.
    pub fn new(options: StillOptions) -> Self {
        Self { options, last: None }
    }

    /// Whether `image` need not be looked at. If it must, it becomes what later frames are
    /// compared with, so that slow change adds up.
    pub fn is_still(&mut self, time: Duration, image: &Grey) -> bool {
        if self.options.max_change <= 0.0 {
            return false;
        }
        let cells = cell_means(image);
        let still = self.last.as_ref().is_some_and(|(seen, dim, last)| {
            *dim == image.dim()
                && time.saturating_sub(*seen).as_secs_f32() < self.options.max_hold_s
                && greatest_change(last, &cells) <= self.options.max_change
        });
        if !still {
            self.last = Some((time, image.dim(), cells));
        }
        still
    }

    /// Forgets the last frame, so that the next one is looked at.
    pub fn forget(&mut self) {
        self.last = None;
    }
}

/// Mean of the pixels of each cell; a picture smaller than the grid has one cell a pixel.
fn cell_means(image: &Grey) -> Array2<f32> {
    let (height, width) = image.dim();
    let (rows, columns) = (GRID[0].min(height), GRID[1].min(width));
    Array2::from_shape_fn((rows, columns), |(row, column)| {
        let cell = image.slice(s![
            row * height / rows..(row + 1) * height / rows,
            column * width / columns..(column + 1) * width / columns
        ]);
        let sum: u32 = cell.iter().map(|&p| u32::from(p)).sum();
        sum as f32 / cell.len() as f32
    })
}

fn greatest_change(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(s: f32) -> Duration {
        Duration::from_secs_f32(s)
    }

    #[test]
    fn noise_is_still_and_a_moved_mouth_is_not() {
        let mut filter = StillFilter::new(StillOptions::default());
        let mut image = Grey::from_elem((480, 640), 100);
        assert!(!filter.is_still(seconds(0.0), &image), "the first frame is new");
        image.indexed_iter_mut().for_each(|((y, x), p)| *p += ((x * 7 + y * 13) % 9) as u8 / 2);
        assert!(filter.is_still(seconds(0.1), &image), "up to 4 levels of noise");
        image.slice_mut(s![200..210, 300..320]).fill(60);
        assert!(!filter.is_still(seconds(0.2), &image), "0.07 % of the frame, but one place");
    }

    #[test]
    fn slow_change_adds_up() {
        let mut filter = StillFilter::new(StillOptions { max_change: 3.0, max_hold_s: 100.0 });
        let still: Vec<bool> = (0..8)
            .map(|i| filter.is_still(seconds(i as f32), &Grey::from_elem((60, 80), 100 + i)))
            .collect();
        assert_eq!(still, [false, true, true, true, false, true, true, true]);
    }

    #[test]
    fn a_frame_is_looked_at_at_least_every_so_often() {
        let mut filter = StillFilter::new(StillOptions { max_change: 3.0, max_hold_s: 2.0 });
        let image = Grey::from_elem((60, 80), 9);
        let still = [0.0, 1.0, 1.9, 2.0, 3.0].map(|s| filter.is_still(seconds(s), &image));
        assert_eq!(still, [false, true, true, false, true]);
    }

    #[test]
    fn another_size_is_new_and_tiny_pictures_are_fine() {
        let mut filter = StillFilter::new(StillOptions::default());
        for dim in [(1, 1), (1, 100), (3, 2), (479, 641)] {
            assert!(!filter.is_still(seconds(0.0), &Grey::from_elem(dim, 9)), "{dim:?}");
        }
    }
}
