//! A run's learning curve: a line an epoch in `curve.csv`, drawn in `curve.png`.

use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use serde::{Deserialize, Serialize};

use crate::report::picture::{GLYPH, ink};

/// What one epoch brought.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Counted from 1.
    pub epoch: u64,
    /// Mean training losses, in nats.
    pub loss: f32,
    pub gender_loss: f32,
    /// Mean cross-entropy of the validation faces, in nats; none where there are no such faces.
    pub validation_loss: Option<f64>,
    /// Shares of the validation faces answered right; none where there are no such faces.
    pub accuracy: Option<f64>,
    pub gender_accuracy: Option<f64>,
    /// Its time, and the share of it that went into making pictures.
    pub seconds: f64,
    pub data_share: f32,
}

/// Why a curve could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CurveError {
    /// The table can't be read or written.
    #[error("{}: {source}; it is this run's learning curve", path.display())]
    Table { path: PathBuf, source: csv::Error },
    /// The picture can't be written.
    #[error("{}: {source}", path.display())]
    Picture { path: PathBuf, source: image::ImageError },
}

/// The curve of the run in one folder.
pub struct Curve {
    folder: PathBuf,
    points: Vec<Point>,
}

impl Curve {
    /// The curve of a run that has `epochs_done` behind it: what is written of later epochs was
    /// lost with the weights, and is left out.
    pub fn open(folder: &Path, epochs_done: u64) -> Result<Self, CurveError> {
        let path = folder.join(TABLE);
        let mut points = Vec::new();
        if path.exists() {
            let error = |source| CurveError::Table { path: path.clone(), source };
            let mut reader = csv::Reader::from_path(&path).map_err(error)?;
            for point in reader.deserialize() {
                points.push(point.map_err(error)?);
            }
        }
        points.retain(|point: &Point| point.epoch <= epochs_done);
        Ok(Self { folder: folder.into(), points })
    }

    /// Its points so far.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Adds an epoch, and writes table and picture anew.
    pub fn add(&mut self, point: Point) -> Result<(), CurveError> {
        self.points.push(point);
        self.write()
    }

    /// Writes table and picture.
    pub fn write(&self) -> Result<(), CurveError> {
        let path = self.folder.join(TABLE);
        let write = || -> csv::Result<()> {
            let part = path.with_extension("part");
            let mut writer = csv::Writer::from_path(&part)?;
            self.points.iter().try_for_each(|point| writer.serialize(point))?;
            writer.flush()?;
            Ok(std::fs::rename(part, &path)?)
        };
        write().map_err(|source| CurveError::Table { path: path.clone(), source })?;
        let path = self.folder.join(PICTURE);
        draw(&self.points).save(&path).map_err(|source| CurveError::Picture { path, source })
    }
}

const TABLE: &str = "curve.csv";
const PICTURE: &str = "curve.png";

const WIDTH: u32 = 720;
const PANEL_HEIGHT: u32 = 220;
/// Room for numbers at the left, for titles and epochs above and below.
const MARGIN: u32 = 48;
const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([60, 60, 66]);
const GRID: Rgb<u8> = Rgb([226, 226, 230]);
/// Okabe and Ito's blue, orange and green, which the colour-blind can tell apart.
const EXPRESSION: Rgb<u8> = Rgb([0, 114, 178]);
const GENDER: Rgb<u8> = Rgb([213, 94, 0]);
const VALIDATION: Rgb<u8> = Rgb([0, 158, 115]);
/// Characters that a name in the legend takes.
const LEGEND_CHARS: u32 = 12;
/// Horizontal lines of a panel's grid.
const GRID_LINES: u32 = 4;

/// A line of one panel.
struct Series {
    name: &'static str,
    colour: Rgb<u8>,
    /// Values by epoch.
    points: Vec<(u64, f64)>,
}

/// Two panels over the epochs: the losses, and the accuracies on validation faces.
fn draw(points: &[Point]) -> RgbImage {
    let mut canvas = RgbImage::from_pixel(WIDTH, 2 * (PANEL_HEIGHT + MARGIN) + GLYPH, PAPER);
    let series = |name, colour, of: fn(&Point) -> Option<f64>| Series {
        name,
        colour,
        points: points.iter().filter_map(|point| Some((point.epoch, of(point)?))).collect(),
    };
    // A run without gender faces has a gender loss of 0.
    let gender_loss: fn(&Point) -> Option<f64> =
        |point| (point.gender_loss > 0.0).then_some(f64::from(point.gender_loss));
    let losses = [
        series("training", EXPRESSION, |point| Some(f64::from(point.loss))),
        series("validation", VALIDATION, |point| point.validation_loss),
        series("gender", GENDER, gender_loss),
    ];
    let accuracies = [
        series("expression", EXPRESSION, |point| point.accuracy.map(|share| 100.0 * share)),
        series("gender", GENDER, |point| point.gender_accuracy.map(|share| 100.0 * share)),
    ];
    let epochs = points.last().map_or(1, |point| point.epoch);
    panel(&mut canvas, 0, "loss, nats", epochs, &losses);
    panel(&mut canvas, PANEL_HEIGHT + MARGIN, "validation accuracy, %", epochs, &accuracies);
    canvas
}

/// One panel, `top` pixels down.
fn panel(canvas: &mut RgbImage, top: u32, title: &str, epochs: u64, series: &[Series]) {
    let values = series.iter().flat_map(|series| &series.points).map(|(_, value)| *value);
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return; // nothing to draw
    }
    let high = if high > low { high } else { low + 1.0 };
    let (left, right) = (MARGIN, WIDTH - GLYPH);
    let (ceiling, floor) = (top + MARGIN / 2, top + MARGIN / 2 + PANEL_HEIGHT - 2 * GLYPH);
    let y_of = |value: f64| {
        let share = (high - value) / (high - low);
        f64::from(ceiling) + share * f64::from(floor - ceiling)
    };
    let x_of = |epoch: u64| {
        let share = (epoch - 1) as f64 / (epochs - 1).max(1) as f64;
        f64::from(left) + share * f64::from(right - left)
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
    text(canvas, left, floor + GLYPH / 2, "epoch 1", INK);
    let last = epochs.to_string();
    text(canvas, right - GLYPH * last.len() as u32, floor + GLYPH / 2, &last, INK);
    for Series { points, colour, .. } in series {
        let places: Vec<_> = points.iter().map(|(epoch, v)| (x_of(*epoch), y_of(*v))).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn point(epoch: u64) -> Point {
        Point {
            epoch,
            loss: 1.0 + 1.0 / epoch as f32,
            gender_loss: 0.5 / epoch as f32,
            validation_loss: Some(1.1 + 0.9 / epoch as f64),
            accuracy: Some(0.7 - 0.4 / epoch as f64),
            gender_accuracy: None,
            seconds: 60.0,
            data_share: 0.01,
        }
    }

    #[test]
    fn a_curve_goes_on_where_its_run_does() {
        let folder = tempfile::tempdir().unwrap();
        let mut curve = Curve::open(folder.path(), 0).unwrap();
        (1..=5).for_each(|epoch| curve.add(point(epoch)).unwrap());
        let mut resumed = Curve::open(folder.path(), 3).unwrap();
        assert_eq!(resumed.points(), &[point(1), point(2), point(3)]);
        resumed.add(point(4)).unwrap();
        let written = std::fs::read_to_string(folder.path().join(TABLE)).unwrap();
        assert_eq!(written.lines().count(), 5, "{written}");
        assert!(
            written.starts_with("epoch,loss,gender_loss,validation_loss,accuracy,gender_accuracy,")
        );
    }

    #[test]
    fn both_series_are_drawn_and_flat_ones_too() {
        let coloured =
            |points: &[Point], colour| draw(points).pixels().filter(|p| **p == colour).count();
        let points: Vec<Point> = (1..=30).map(point).collect();
        // The names alone take some; a line across the panel takes one a column at least.
        assert!(coloured(&points, EXPRESSION) > 2 * 600);
        assert!(coloured(&points, GENDER) > 600);
        draw(&[]);
        draw(&[point(1)]);
        draw(&[point(1), Point { epoch: 2, ..point(1) }]);
    }

    #[test]
    fn a_table_of_something_else_is_refused_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(TABLE), "epoch,loss\n1,abc\n").unwrap();
        let error = Curve::open(folder.path(), 9).err().expect("it is refused").to_string();
        assert!(error.contains(TABLE), "{error}");
    }
}
