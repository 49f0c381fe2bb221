//! What each step of a pruning cost and scored: `pareto.csv`, a table for people, `pareto.txt`, and
//! a plot of accuracy against multiply-accumulates, `pareto.png`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::network::Graph;
use super::super::plot::{self, Axis, BLUE, ORANGE, Series};
use super::super::table;
use super::super::validation::Scores;
use super::plan::{Budget, Cost};

/// One network on the way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// 0 is the network that was begun with.
    pub step: u32,
    /// Multiply-accumulates of one face.
    pub macs: u64,
    /// Trained parameters.
    pub parameters: u64,
    /// Bytes of its int8 file, estimated.
    pub int8_bytes: u64,
    /// Channels, see [`Graph::channels`].
    pub channels: u64,
    /// Share of the validation faces' expressions answered right after the cut, before any
    /// training; none where there are no such faces.
    pub accuracy_cut: Option<f64>,
    /// The same after training.
    pub accuracy: Option<f64>,
    /// Share of the validation faces' genders answered right after training.
    pub gender_accuracy: Option<f64>,
    /// Mean cross-entropy of the validation faces after training, in nats.
    pub validation_loss: Option<f64>,
}

impl Row {
    /// What `graph` costs, and what it scored after its cut and after training.
    pub fn new(step: u32, graph: &Graph, cut: &Scores, trained: &Scores) -> Self {
        let Cost { macs, bytes, channels } = Cost::of(graph);
        Self {
            step,
            macs,
            parameters: graph.parameters(),
            int8_bytes: bytes,
            channels,
            accuracy_cut: cut.accuracy,
            accuracy: trained.accuracy,
            gender_accuracy: trained.gender_accuracy,
            validation_loss: trained.loss,
        }
    }

    fn cost(&self) -> Cost {
        Cost { macs: self.macs, bytes: self.int8_bytes, channels: self.channels }
    }
}

/// Why the table could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ParetoError {
    /// The table can't be read or written.
    #[error("{}: {source}; it says which steps of this pruning are done", path.display())]
    Table { path: PathBuf, source: csv::Error },
    /// The text can't be written.
    #[error("{}: {source}", path.display())]
    Text { path: PathBuf, source: std::io::Error },
    /// The picture can't be written.
    #[error("{}: {source}", path.display())]
    Picture { path: PathBuf, source: image::ImageError },
}

/// The rows of the pruning in one folder.
pub struct Pareto {
    folder: PathBuf,
    rows: Vec<Row>,
}

const TABLE: &str = "pareto.csv";
const TEXT: &str = "pareto.txt";
const PICTURE: &str = "pareto.png";

impl Pareto {
    /// What the folder has so far.
    pub fn open(folder: &Path) -> Result<Self, ParetoError> {
        let path = folder.join(TABLE);
        let rows = table::read(&path).map_err(|source| ParetoError::Table { path, source })?;
        Ok(Self { folder: folder.into(), rows })
    }

    /// Its rows so far.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Whether a step is done.
    pub fn has(&self, step: u32) -> bool {
        self.rows.iter().any(|row| row.step == step)
    }

    /// Adds a step, and writes table, text and picture anew.
    pub fn add(&mut self, row: Row) -> Result<(), ParetoError> {
        self.rows.push(row);
        let path = self.folder.join(TABLE);
        table::write(&path, &self.rows).map_err(|source| ParetoError::Table { path, source })?;
        let path = self.folder.join(TEXT);
        fs::write(&path, self.text()).map_err(|source| ParetoError::Text { path, source })?;
        let path = self.folder.join(PICTURE);
        self.picture().save(&path).map_err(|source| ParetoError::Picture { path, source })
    }

    /// The row of greatest accuracy within `budget`, of several the latest.
    pub fn best_within(&self, budget: &Budget) -> Option<&Row> {
        let within = self.rows.iter().filter(|row| budget.holds(row.cost()));
        let accuracy = |row: &&Row| row.accuracy.unwrap_or(0.0);
        within.max_by(|a, b| accuracy(a).total_cmp(&accuracy(b)))
    }

    /// Whether no other row is at least as good and as cheap, and better in one of both.
    fn is_optimal(&self, row: &Row) -> bool {
        let (macs, accuracy) = (row.macs, row.accuracy.unwrap_or(0.0));
        let beats = |other: &Row| {
            let theirs = other.accuracy.unwrap_or(0.0);
            (other.macs <= macs && theirs >= accuracy) && (other.macs, theirs) != (macs, accuracy)
        };
        !self.rows.iter().any(beats)
    }

    /// The table for people.
    pub fn text(&self) -> String {
        let percent = |share: Option<f64>| {
            share.map_or("-".into(), |share| format!("{:.2} %", 100.0 * share))
        };
        let mut text = String::from(
            "  step     MMAC  parameters  int8 kB  channels  after cut    trained     gender\n",
        );
        for row in &self.rows {
            let mark = if self.is_optimal(row) { '*' } else { ' ' };
            let (cut, trained) = (percent(row.accuracy_cut), percent(row.accuracy));
            let gender = percent(row.gender_accuracy);
            let (mmac, kb) = (row.macs as f64 / 1e6, row.int8_bytes as f64 / 1e3);
            let Row { step, parameters, channels, .. } = row;
            let _ = writeln!(
                text,
                "{mark} {step:>4} {mmac:>8.2} {parameters:>11} {kb:>8.0} {channels:>9} {cut:>10} \
                 {trained:>10} {gender:>10}",
            );
        }
        text.push_str("* no other is as cheap and as accurate; accuracies of validation faces\n");
        text
    }

    /// Accuracy after training and after the cut, against millions of multiply-accumulates.
    fn picture(&self) -> image::RgbImage {
        let mut rows = self.rows.clone();
        rows.sort_by_key(|row| row.macs);
        let series = |name, colour, of: fn(&Row) -> Option<f64>| Series {
            name,
            colour,
            points: rows
                .iter()
                .filter_map(|row| Some((row.macs as f64 / 1e6, 100.0 * of(row)?)))
                .collect(),
        };
        let series = [
            series("trained", BLUE, |row| row.accuracy),
            series("after cut", ORANGE, |row| row.accuracy_cut),
        ];
        let most = rows.last().map_or(0.0, |row| row.macs as f64 / 1e6);
        let axis = Axis { from: 0.0, to: most, labels: ["0".into(), format!("{most:.1} MMAC")] };
        let mut canvas = plot::canvas(1);
        plot::panel(&mut canvas, 0, "validation accuracy, %", &axis, &series);
        canvas
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: u32, macs: u64, accuracy: Option<f64>) -> Row {
        Row {
            step,
            macs,
            parameters: 10 * macs,
            int8_bytes: macs / 100,
            channels: macs / 10_000,
            accuracy_cut: accuracy.map(|accuracy| accuracy / 2.0),
            accuracy,
            gender_accuracy: None,
            validation_loss: Some(1.0),
        }
    }

    #[test]
    fn rows_are_kept_for_the_next_process_and_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let mut pareto = Pareto::open(folder.path()).unwrap();
        pareto.add(row(0, 20_000_000, Some(0.6))).unwrap();
        pareto.add(row(1, 10_000_000, Some(0.5))).unwrap();
        let again = Pareto::open(folder.path()).unwrap();
        assert_eq!(again.rows(), pareto.rows());
        assert!(again.has(1) && !again.has(2));
        let blue = again.picture().pixels().filter(|pixel| **pixel == BLUE).count();
        assert!(blue > 300, "a line across half the panel: {blue}");
        assert!(folder.path().join(PICTURE).exists());
        std::fs::write(folder.path().join(TABLE), "step,macs\n0,many\n").unwrap();
        let error = Pareto::open(folder.path()).err().expect("it is refused").to_string();
        assert!(error.contains(TABLE), "{error}");
    }

    #[test]
    fn the_best_within_the_budget_is_found_and_those_beaten_are_not_marked() {
        let rows = vec![
            row(0, 20_000_000, Some(0.60)),
            row(1, 12_000_000, Some(0.62)),
            row(2, 9_000_000, Some(0.55)),
            row(3, 7_000_000, Some(0.57)),
        ];
        let pareto = Pareto { folder: PathBuf::new(), rows };
        let within = |macs| pareto.best_within(&Budget { macs: Some(macs), ..Budget::default() });
        assert_eq!(within(10_000_000).unwrap().step, 3);
        assert_eq!(within(15_000_000).unwrap().step, 1);
        assert!(within(1).is_none());
        let text = pareto.text();
        let marks: Vec<bool> = text.lines().skip(1).map(|line| line.starts_with('*')).collect();
        assert_eq!(marks, [false, true, false, true, true], "the last line explains: {text}");
    }

    #[test]
    fn without_validation_faces_the_last_within_the_budget_is_the_best() {
        let rows = (0..4).map(|step| row(step, 20_000_000 - u64::from(step), None)).collect();
        let pareto = Pareto { folder: PathBuf::new(), rows };
        let best = pareto.best_within(&Budget { macs: Some(19_999_999), ..Budget::default() });
        assert_eq!(best.unwrap().step, 3);
        pareto.picture();
    }
}
