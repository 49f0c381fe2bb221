//! Line plots as pictures: a run's curve, a pruning's accuracy against its cost.

use image::{Rgb, RgbImage};

use crate::report::picture::{GLYPH, ink};

const WIDTH: u32 = 720;
const PANEL_HEIGHT: u32 = 220;
/// Room for numbers at the left, for titles and the axis above and below.
const MARGIN: u32 = 48;
const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([60, 60, 66]);
const GRID: Rgb<u8> = Rgb([226, 226, 230]);
/// Okabe and Ito's, which the colour-blind can tell apart.
pub const BLUE: Rgb<u8> = Rgb([0, 114, 178]);
pub const ORANGE: Rgb<u8> = Rgb([213, 94, 0]);
pub const GREEN: Rgb<u8> = Rgb([0, 158, 115]);
/// Characters that a name in the legend takes.
const LEGEND_CHARS: u32 = 12;
/// Horizontal lines of a panel's grid.
const GRID_LINES: u32 = 4;

/// The horizontal axis.
pub struct Axis {
    /// Values at its left and right end.
    pub from: f64,
    pub to: f64,
    /// What these are called.
    pub labels: [String; 2],
}

/// A line of one panel.
pub struct Series {
    /// Its name in the legend.
    pub name: &'static str,
    /// What it is drawn in.
    pub colour: Rgb<u8>,
    /// Places on the two axes, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// White paper for so many panels.
pub fn canvas(panels: u32) -> RgbImage {
    RgbImage::from_pixel(WIDTH, panels * (PANEL_HEIGHT + MARGIN) + GLYPH, PAPER)
}

/// Draws one panel, the `index`th from above. One without points stays empty.
pub fn panel(canvas: &mut RgbImage, index: u32, title: &str, axis: &Axis, series: &[Series]) {
    let values = series.iter().flat_map(|series| &series.points).map(|(_, value)| *value);
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return; // nothing to draw
    }
    let high = if high > low { high } else { low + 1.0 };
    let top = index * (PANEL_HEIGHT + MARGIN);
    let (left, right) = (MARGIN, WIDTH - GLYPH);
    let (ceiling, floor) = (top + MARGIN / 2, top + MARGIN / 2 + PANEL_HEIGHT - 2 * GLYPH);
    let y_of = |value: f64| {
        let share = (high - value) / (high - low);
        f64::from(ceiling) + share * f64::from(floor - ceiling)
    };
    let x_of = |value: f64| {
        let span = if axis.to > axis.from { axis.to - axis.from } else { 1.0 };
        f64::from(left) + (value - axis.from) / span * f64::from(right - left)
    };
    text(canvas, left, top + GLYPH, title, INK);
    for (i, Series { name, colour, .. }) in series.iter().rev().enumerate() {
        text(canvas, WIDTH - (i as u32 + 1) * LEGEND_CHARS * GLYPH, top + GLYPH, name, *colour);
    }
    for line in 0..=GRID_LINES {
        let value = low + (high - low) * f64::from(line) / f64::from(GRID_LINES);
        let y = y_of(value) as u32;
        (left..=right).for_each(|x| canvas.put_pixel(x, y, GRID));
        let digits = if high < 10.0 { 2 } else { 1 };
        text(canvas, 0, y - GLYPH / 2, &format!("{value:>5.digits$}"), INK);
    }
    let [first, last] = &axis.labels;
    text(canvas, left, floor + GLYPH / 2, first, INK);
    text(canvas, right - GLYPH * last.len() as u32, floor + GLYPH / 2, last, INK);
    for Series { points, colour, .. } in series {
        let places: Vec<_> = points.iter().map(|(x, y)| (x_of(*x), y_of(*y))).collect();
        places.iter().for_each(|place| dot(canvas, *place, *colour));
        places.windows(2).for_each(|pair| segment(canvas, pair[0], pair[1], *colour));
    }
}

fn segment(canvas: &mut RgbImage, from: (f64, f64), to: (f64, f64), colour: Rgb<u8>) {
    let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs()).ceil().max(1.0);
    for step in 0..=steps as u32 {
        let share = f64::from(step) / steps;
        let at = (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1));
        dot(canvas, at, colour);
    }
}

/// Two by two pixels.
fn dot(canvas: &mut RgbImage, (x, y): (f64, f64), colour: Rgb<u8>) {
    for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let (x, y) = (x as u32 + dx, y as u32 + dy);
        if let Some(pixel) = canvas.get_pixel_mut_checked(x, y) {
            *pixel = colour;
        }
    }
}

fn text(canvas: &mut RgbImage, x: u32, y: u32, text: &str, colour: Rgb<u8>) {
    for (column, row) in ink(text) {
        if let Some(pixel) = canvas.get_pixel_mut_checked(x + column, y + row) {
            *pixel = colour;
        }
    }
}
