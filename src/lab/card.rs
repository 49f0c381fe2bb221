//! A model card's figures, and a sample of the model's answers, so that anyone can check them.
//!
//! The figures stand in the card between [`BEGIN`] and [`END`]; all else there is written by hand.

use std::fmt::Write;

use super::evaluate::gender::GroupScore;
use super::evaluate::report::{Report, agreement};
use super::evaluate::test_set::ExpressionFace;
use super::evaluate::text::{MISSING, file_name, interval, percent, percent_or_missing};
use super::samples::spread_evenly;
use crate::engine::{Model, ModelError};
use crate::expression::Expression;

/// The line before the figures.
pub const BEGIN: &str = "<!-- figures: written by `mien-lab card` -->";
/// The line after them.
pub const END: &str = "<!-- end of figures -->";
/// Faces in a sample.
const SAMPLE_FACES: usize = 200;

/// A card without a place for figures.
#[derive(Debug, thiserror::Error)]
#[error("it needs a line `{BEGIN}` and, below, a line `{END}`")]
pub struct NoMarkers;

/// `card` with these figures in place of the old ones.
pub fn fill(card: &str, figures: &str) -> Result<String, NoMarkers> {
    let (before, rest) = card.split_once(BEGIN).ok_or(NoMarkers)?;
    let (_, after) = rest.split_once(END).ok_or(NoMarkers)?;
    Ok(format!("{before}{BEGIN}\n\n{figures}\n{END}{after}"))
}

/// A model on FER2013's faces kept back from training, and on PublicTest.
pub struct Step {
    /// On the faces that are chosen by.
    pub validation: Report,
    /// On the faces that are reported on.
    pub test: Report,
}

/// A model's figures in Markdown: what each of the `steps` to it gave, then its own. `found` and
/// `recropped` are the int8 file's on the faces that the detector finds, framed as the data has them and
/// as it crops them; `checksum` is the file's CRC-32.
pub fn figures(
    steps: &[Step],
    int8: &Report,
    float: &Report,
    [found, recropped]: [&Report; 2],
    checksum: u32,
) -> String {
    let mut text = of_steps(steps) + "\n" + &scores(int8, float);
    if let Some(alike) = agreement(int8, float) {
        let _ = writeln!(text, "\nFloat and int8 answer {} of the faces alike.", percent(alike));
    }
    let _ = writeln!(text, "The int8 file's CRC-32 is {checksum:08x}.");
    text += &coverage(int8);
    text += &crops(found, recropped);
    text += &genders(int8);
    text
}

/// Models on the way to this one, it, and others for comparing.
fn of_steps(steps: &[Step]) -> String {
    let faces = |report: fn(&Step) -> &Report| {
        let first = steps.first().and_then(|step| report(step).expression.as_ref());
        first.map_or_else(|| MISSING.into(), |expression| thousands(expression.n))
    };
    let [validation, test] = [faces(|step| &step.validation), faces(|step| &step.test)];
    let mut text = format!(
        "| right by FER2013's labels | MMAC | validation (n = {validation}) | PublicTest (n = {test}) |\n\
         |---|---|---|---|\n"
    );
    for Step { validation, test } in steps {
        let [of_validation, of_test] = [validation, test].map(|report| {
            percent_or_missing(report.expression.as_ref().map(|expression| expression.accuracy))
        });
        let name = file_name(test);
        let mmac =
            test.macs.map_or_else(|| MISSING.into(), |macs| format!("{:.1}", macs as f64 / 1e6));
        let _ = writeln!(text, "| `{name}` | {mmac} | {of_validation} | {of_test} |");
    }
    text
}

/// What the detector's framing costs both heads.
fn crops(found: &Report, recropped: &Report) -> String {
    let mut text =
        "\nThe int8 file on the faces that the device's detector finds on a plain canvas:\n\n\
                    | | n | framed as the data has them | as the detector crops them |\n\
                    |---|---|---|---|\n"
            .to_owned();
    let mut row = |name: &str, score: &dyn Fn(&Report) -> Option<(usize, f64)>| {
        if let (Some((n, as_given)), Some((_, cropped))) = (score(found), score(recropped)) {
            let (n, as_given, cropped) = (thousands(n), percent(as_given), percent(cropped));
            let _ = writeln!(text, "| {name} | {n} | {as_given} | {cropped} |");
        }
    };
    row("expression, PublicTest", &|r| r.expression.as_ref().map(|e| (e.n, e.accuracy)));
    row("apparent gender, ages 10 and up", &|r| {
        let score = r.gender.as_ref()?.ages_10_and_up.as_ref()?;
        Some((score.n, score.accuracy?))
    });
    text
}

/// The main table: float and int8 side by side.
fn scores(int8: &Report, float: &Report) -> String {
    let mut text = "| | float checkpoint | **int8 file** |\n|---|---|---|\n".to_owned();
    let mut row = |label: &str, cell: &dyn Fn(&Report) -> Option<String>| {
        let [float, int8] =
            [float, int8].map(|report| cell(report).unwrap_or_else(|| MISSING.into()));
        let _ = writeln!(text, "| {label} | {float} | {int8} |");
    };
    let n = |n: Option<usize>| n.map_or_else(|| MISSING.into(), thousands);
    let faces = n(int8.expression.as_ref().map(|e| e.n));
    row(&format!("accuracy, PublicTest (n = {faces}), 95 % interval"), &|r| {
        let e = r.expression.as_ref()?;
        Some(format!("{} ({})", percent(e.accuracy), interval(e.accuracy_interval)))
    });
    let faces = n(int8.ferplus.as_ref().map(|e| e.n));
    row(&format!("by FER+ majority (n = {faces}), 95 % interval"), &|r| {
        let e = r.ferplus.as_ref()?;
        Some(format!("{} ({})", percent(e.accuracy), interval(e.accuracy_interval)))
    });
    for (i, expression) in Expression::ALL.iter().enumerate() {
        row(&format!("recall / precision: {}", expression.name()), &|r| {
            let e = r.expression.as_ref()?;
            let [recall, precision] = [&e.per_class_recall, &e.per_class_precision]
                .map(|figure| percent_or_missing(figure.values().nth(i).flatten()));
            Some(format!("{recall} / {precision}"))
        });
    }
    row("expected calibration error (15 bins), logits as they are", &|r| {
        Some(percent(r.calibration.as_ref()?.uncalibrated.expected_calibration_error))
    });
    row("the same at the file's temperature", &|r| {
        let calibration = r.calibration.as_ref()?;
        let error = percent(calibration.calibrated.expected_calibration_error);
        Some(format!("{error} at {}", calibration.temperature))
    });
    row("million multiply-accumulates", &|r| Some(format!("{:.1}", r.macs? as f64 / 1e6)));
    row("trained parameters", &|r| Some(thousands(r.parameters? as usize)));
    row("bytes", &|r| Some(thousands(r.bytes as usize)));
    text
}

/// What "unsure" gives at the file's threshold and at others.
fn coverage(report: &Report) -> String {
    let Some(coverage) = &report.coverage else { return String::new() };
    let mut text = "\nAnswers of the int8 file that are right, where those below a share are held \
                    back as \"unsure\":\n\n| unsure below | faces answered | of these right |\n\
                    |---|---|---|\n"
        .to_owned();
    let in_tenths = |threshold: f64| (threshold * 10.0).fract().abs() < 1e-6;
    let own = &coverage.at_threshold;
    let others = coverage.curve.iter().filter(|point| in_tenths(point.threshold));
    let mut points: Vec<_> = others.filter(|point| point.threshold != own.threshold).collect();
    points.push(own);
    points.sort_by(|a, b| a.threshold.total_cmp(&b.threshold));
    for point in points {
        let mark = if point.threshold == own.threshold { " (the file's own)" } else { "" };
        let _ = writeln!(
            text,
            "| {}{mark} | {} | {} |",
            point.threshold,
            percent(point.coverage),
            percent_or_missing(point.accuracy)
        );
    }
    text
}

/// Gender overall, by age and by race.
fn genders(report: &Report) -> String {
    let Some(gender) = &report.gender else { return String::new() };
    let mut text = format!(
        "\nApparent gender by the int8 file, FairFace faces kept back from training; calibration \
         error {} ({} with logits as they are):\n\n\
         | group | n | accuracy | women's recall | men's recall | men less women, points |\n|---|---|---|---|---|---|\n",
        percent(gender.expected_calibration_error),
        percent(gender.expected_calibration_error_uncalibrated),
    );
    let mut row = |name: &str, score: &GroupScore| {
        let gap = score.gap().map_or_else(|| MISSING.into(), |gap| format!("{:+.1}", 100.0 * gap));
        let [accuracy, female, male] =
            [score.accuracy, score.recall_female, score.recall_male].map(percent_or_missing);
        let n = thousands(score.n);
        let _ = writeln!(text, "| {name} | {n} | {accuracy} | {female} | {male} | {gap} |");
    };
    if let Some(score) = &gender.ages_10_and_up {
        row("**ages 10 and up**", score);
        row("the same, each half by an offset fitted on the other", &gender.cross_fitted);
    }
    row("all ages", &gender.all);
    gender.by_age.0.iter().for_each(|(age, score)| row(&format!("age {age}"), score));
    gender.by_race.0.iter().for_each(|(race, score)| row(&race.replace('_', " "), score));
    text
}

/// A sample of an int8 model's answers, as CSV: the row and its output codes, for some 200 faces
/// evenly from `faces`.
pub fn sample(model: &Model, faces: &[ExpressionFace]) -> Result<String, ModelError> {
    let mut text = format!("row,{}\n", model.heads().labels().replace(' ', ","));
    for face in spread_evenly(faces.iter().collect(), SAMPLE_FACES) {
        for codes in model.run_codes(std::slice::from_ref(&face.face))? {
            let row = face.name.trim_start_matches("row ");
            let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
            let _ = writeln!(text, "{row},{}", codes.join(","));
        }
    }
    Ok(text)
}

/// A count with its thousands set apart.
fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_changes() {
        let card = format!("# Card\n\n{BEGIN}\nold\n{END}\n\nBy hand.\n");
        let filled = fill(&card, "new\n").unwrap();
        assert_eq!(filled, format!("# Card\n\n{BEGIN}\n\nnew\n\n{END}\n\nBy hand.\n"));
        assert_eq!(fill(&filled, "new\n").unwrap(), filled);
        assert!(fill(&format!("{END}\n{BEGIN}\n"), "").is_err());
        assert!(fill("# Card", "").unwrap_err().to_string().contains(BEGIN));
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([7, 999, 3579, 1_138_268].map(thousands), ["7", "999", "3,579", "1,138,268"]);
    }
}
