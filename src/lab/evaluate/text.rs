//! Reports as plain text: models side by side.

use std::fmt::Write;

use super::counts::Evaluation;
use super::gender::GroupScore;
use super::report::{Report, agreement};

/// Narrowest column of a model.
const LEAST_COLUMN: usize = 18;

/// A figure of the table: its name, and how a report shows it.
pub type Row<'r> = (String, Box<dyn Fn(&Report) -> String + 'r>);

/// The figures of all reports in columns, then each one's confusion matrix and mistakes.
pub fn text(title: &str, reports: &[Report]) -> String {
    let mut text = format!("{title}\n\n");
    let mut rows = summary_rows();
    if let Some(first) = &reports[0].expression {
        rows.extend(class_rows(first));
    }
    rows.extend(gender_rows(&reports[0]));
    let widths: Vec<usize> =
        reports.iter().map(|report| file_name(report).chars().count().max(LEAST_COLUMN)).collect();
    let label_width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    let mut line = |label: &str, cells: Vec<String>| {
        let cells: String =
            cells.iter().zip(&widths).map(|(cell, w)| format!("  {cell:>w$}")).collect();
        let _ = writeln!(text, "{}", format!("{label:<label_width$}{cells}").trim_end());
    };
    line("", reports.iter().map(|report| file_name(report).to_owned()).collect());
    for (label, cell) in &rows {
        let cells: Vec<String> = reports.iter().map(cell).collect();
        // What no report has is left out; a heading has no cells, but a line of its own.
        if cells.iter().any(|cell| cell != MISSING) {
            line(label, cells);
        }
    }
    for other in &reports[1..] {
        if let Some(alike) = agreement(&reports[0], other) {
            let names = (file_name(&reports[0]), file_name(other));
            let _ = writeln!(text, "\n{} and {} agree on {}", names.0, names.1, percent(alike));
        }
    }
    for report in reports {
        if let Some(expression) = &report.expression {
            let _ = write!(text, "\n{}", confusion(file_name(report), expression));
        }
        text += &mistakes(report);
    }
    if let Some(skipped) = skipped(reports) {
        let _ = writeln!(text, "\n{skipped}");
    }
    text
}

/// What is said of pictures that could not be read.
pub fn skipped(reports: &[Report]) -> Option<String> {
    match reports.first()?.skipped {
        0 => None,
        1 => Some("1 picture could not be read and was skipped; the log names it".into()),
        n => Some(format!("{n} pictures could not be read and were skipped; the log names them")),
    }
}

/// What a table shows for a figure that a report does not have.
pub const MISSING: &str = "-";

/// A share in per cent, with two digits.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// The same of a share that may be missing.
pub fn percent_or_missing(share: Option<f64>) -> String {
    share.map_or_else(|| MISSING.into(), percent)
}

/// A 95 % interval in per cent.
pub fn interval([low, high]: [f64; 2]) -> String {
    format!("{:.1}–{:.1} %", 100.0 * low, 100.0 * high)
}

/// The model's file without its folder.
pub fn file_name(report: &Report) -> &str {
    report.model.rsplit('/').next().unwrap_or(&report.model)
}

fn row<'r>(label: impl Into<String>, cell: impl Fn(&Report) -> Option<String> + 'r) -> Row<'r> {
    (label.into(), Box::new(move |report| cell(report).unwrap_or_else(|| MISSING.into())))
}

/// The figures of a model as a whole; a label that begins with spaces belongs to the one above.
pub fn summary_rows<'r>() -> Vec<Row<'r>> {
    vec![
        row("accuracy", |r| Some(percent(r.expression.as_ref()?.accuracy))),
        row("  95 % interval", |r| Some(interval(r.expression.as_ref()?.accuracy_interval))),
        row("  faces", |r| Some(r.expression.as_ref()?.n.to_string())),
        row("by FER+ majority", |r| Some(percent(r.ferplus.as_ref()?.accuracy))),
        row("  95 % interval", |r| Some(interval(r.ferplus.as_ref()?.accuracy_interval))),
        row("  faces", |r| Some(r.ferplus.as_ref()?.n.to_string())),
        row("calibration error", |r| {
            Some(percent(r.calibration.as_ref()?.calibrated.expected_calibration_error))
        }),
        row("  at temperature 1", |r| {
            Some(percent(r.calibration.as_ref()?.uncalibrated.expected_calibration_error))
        }),
        row("  temperature", |r| Some(r.calibration.as_ref()?.temperature.to_string())),
        row("unsure below", |r| Some(r.coverage.as_ref()?.at_threshold.threshold.to_string())),
        row("  faces answered", |r| Some(percent(r.coverage.as_ref()?.at_threshold.coverage))),
        row("  of them right", |r| r.coverage.as_ref()?.at_threshold.accuracy.map(percent)),
        row("million MACs", |r| r.macs.map(|macs| format!("{:.1}", macs as f64 / 1e6))),
        row("parameters", |r| r.parameters.map(|parameters| parameters.to_string())),
        row("bytes", |r| Some(r.bytes.to_string())),
        row("ms a face, one thread", |r| Some(format!("{:.2}", r.ms_per_image))),
    ]
}

/// Recall, precision and F1 of each class.
fn class_rows<'r>(first: &Evaluation) -> Vec<Row<'r>> {
    let mut rows = vec![row("recall / precision / F1", |_| Some(String::new()))];
    for (i, name) in first.classes.iter().enumerate() {
        rows.push(row(format!("  {name}"), move |r| {
            let e = r.expression.as_ref()?;
            let figures = [&e.per_class_recall, &e.per_class_precision, &e.per_class_f1];
            Some(figures.map(|figure| short_percent(figure.values().nth(i).flatten())).join(" / "))
        }));
    }
    rows
}

/// Overall and of each group: accuracy, women's and men's recall.
fn gender_rows<'r>(first: &Report) -> Vec<Row<'r>> {
    let Some(gender) = &first.gender else { return Vec::new() };
    let cell = |score: &GroupScore| {
        let shares = [score.accuracy, score.recall_female, score.recall_male];
        shares.map(short_percent).join(" / ")
    };
    let mut rows = vec![
        row("gender: right / female / male", |_| Some(String::new())),
        row(format!("  all ({})", gender.all.n), move |r| Some(cell(&r.gender.as_ref()?.all))),
    ];
    if let Some(old) = gender.ages_10_and_up {
        let label = format!("  ages 10 and up ({})", old.n);
        rows.push(row(label, move |r| r.gender.as_ref()?.ages_10_and_up.as_ref().map(cell)));
    }
    let label = format!("  each half by the other's border ({})", gender.cross_fitted.n);
    rows.push(row(label, move |r| Some(cell(&r.gender.as_ref()?.cross_fitted))));
    for (i, (name, score)) in gender.by_age.0.iter().enumerate() {
        rows.push(row(format!("  age {name} ({})", score.n), move |r| {
            r.gender.as_ref()?.by_age.0.get(i).map(|(_, score)| cell(score))
        }));
    }
    for (i, (name, score)) in gender.by_race.0.iter().enumerate() {
        rows.push(row(format!("  {name} ({})", score.n), move |r| {
            r.gender.as_ref()?.by_race.0.get(i).map(|(_, score)| cell(score))
        }));
    }
    rows
}

/// A share in per cent with one digit and no sign.
fn short_percent(share: Option<f64>) -> String {
    share.map_or_else(|| MISSING.into(), |share| format!("{:.1}", 100.0 * share))
}

/// Faces by label and answer.
fn confusion(model: &str, evaluation: &Evaluation) -> String {
    let widest = evaluation.classes.iter().map(|name| name.len()).max().unwrap_or(0);
    let (label_width, width) = (widest.max("label \\ answer".len()), widest.max(6) + 1);
    let names = evaluation.classes.iter();
    let header: String = names.map(|name| format!("{name:>width$}")).collect();
    let mut text = format!("{model}\n{:<label_width$}{header}\n", "label \\ answer");
    for (name, counts) in evaluation.classes.iter().zip(&evaluation.confusion) {
        let counts: String = counts.iter().map(|count| format!("{count:>width$}")).collect();
        let _ = writeln!(text, "{name:<label_width$}{counts}");
    }
    text
}

/// A line for each of the worst mistakes.
fn mistakes(report: &Report) -> String {
    if report.worst.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}: worst mistakes\n", file_name(report));
    for mistake in &report.worst {
        let _ = writeln!(
            text,
            "  {}: {} (given {:.1} %) called {} ({:.1} %)",
            mistake.face,
            mistake.label,
            100.0 * mistake.label_share,
            mistake.answer,
            100.0 * mistake.answer_share
        );
    }
    text
}
