//! A run's learning curve: a line an epoch in `curve.csv`, drawn in `curve.png`.

use std::path::{Path, PathBuf};

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::plot::{self, Axis, BLUE, GREEN, ORANGE, Series};
use super::table;

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
        let mut points: Vec<Point> =
            table::read(&path).map_err(|source| CurveError::Table { path, source })?;
        points.retain(|point| point.epoch <= epochs_done);
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
        table::write(&path, &self.points).map_err(|source| CurveError::Table { path, source })?;
        let path = self.folder.join(PICTURE);
        draw(&self.points).save(&path).map_err(|source| CurveError::Picture { path, source })
    }
}

const TABLE: &str = "curve.csv";
const PICTURE: &str = "curve.png";

/// A run without gender faces has a gender loss of 0.
fn gender_loss(point: &Point) -> Option<f64> {
    (point.gender_loss > 0.0).then_some(f64::from(point.gender_loss))
}

/// Two panels over the epochs: the losses, and the accuracies on validation faces.
fn draw(points: &[Point]) -> RgbImage {
    let series = |name, colour, of: fn(&Point) -> Option<f64>| Series {
        name,
        colour,
        points: points.iter().filter_map(|point| Some((point.epoch as f64, of(point)?))).collect(),
    };
    let losses = [
        series("training", BLUE, |point| Some(f64::from(point.loss))),
        series("validation", GREEN, |point| point.validation_loss),
        series("gender", ORANGE, gender_loss),
    ];
    let accuracies = [
        series("expression", BLUE, |point| point.accuracy.map(|share| 100.0 * share)),
        series("gender", ORANGE, |point| point.gender_accuracy.map(|share| 100.0 * share)),
    ];
    let last = points.last().map_or(1, |point| point.epoch);
    let axis = Axis { from: 1.0, to: last as f64, labels: ["epoch 1".into(), last.to_string()] };
    let mut canvas = plot::canvas(2);
    plot::panel(&mut canvas, 0, "loss, nats", &axis, &losses);
    plot::panel(&mut canvas, 1, "validation accuracy, %", &axis, &accuracies);
    canvas
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
        assert!(coloured(&points, BLUE) > 2 * 600);
        assert!(coloured(&points, ORANGE) > 600);
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
