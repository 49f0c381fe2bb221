//! Reports as one page: figures in a table, plots below, nothing fetched from anywhere.

use maud::{Markup, html};

use super::super::page::{card, document};
use super::chart;
use super::counts::ByClass;
use super::counts::Evaluation;
use super::gender::GroupScore;
use super::report::{Report, agreement};
use super::text::{
    MISSING, file_name, interval, percent, percent_or_missing, skipped, summary_rows,
};

/// The page.
pub fn page(title: &str, reports: &[Report]) -> String {
    let names: Vec<&str> = reports.iter().map(file_name).collect();
    let body = html! {
        h1 { (names.join(" and ")) }
        p.muted { (title) }
        (summary(reports))
        (by_class(reports))
        (confusions(reports))
        (calibrations(reports))
        (coverages(reports))
        (genders(reports))
        (mistakes(reports))
        @if let Some(skipped) = skipped(reports) { p.muted { (skipped) } }
    };
    document(&format!("Evaluation: {}", names.join(", ")), body)
}

fn legend(reports: &[Report]) -> Markup {
    html! {
        div.legend {
            @for (i, report) in reports.iter().enumerate() {
                span class=(format!("swatch{}", i % 4)) { (file_name(report)) }
            }
        }
    }
}

/// The table that the terminal shows first.
fn summary(reports: &[Report]) -> Markup {
    let rows = summary_rows()
        .into_iter()
        .map(|(label, cell)| (label, reports.iter().map(&cell).collect::<Vec<_>>()));
    let known = rows.filter(|(_, cells)| cells.iter().any(|cell| cell != MISSING));
    html! {
        section.card {
            table {
                thead { tr { th {} @for report in reports { th { (file_name(report)) } } } }
                @for (label, cells) in known {
                    tr {
                        td.part[label.starts_with(' ')] { (label.trim()) }
                        @for cell in cells { td { (cell) } }
                    }
                }
            }
            @for other in &reports[1..] {
                @if let Some(alike) = agreement(&reports[0], other) {
                    p.note {
                        (file_name(&reports[0])) " and " (file_name(other)) " answer "
                        (percent(alike)) " of the faces alike."
                    }
                }
            }
        }
    }
}

fn by_class(reports: &[Report]) -> Markup {
    let scored: Vec<(&str, &Evaluation)> = expressions(reports).collect();
    let Some((_, first)) = scored.first() else { return html! {} };
    let plot = |title: &str, figure: fn(&Evaluation) -> &ByClass| {
        let series: Vec<_> =
            scored.iter().map(|(name, e)| (*name, figure(e).values().collect())).collect();
        html! { figure { figcaption { (title) } (chart::bars(&first.classes, &series)) } }
    };
    let note = "Recall: of a label's faces, those given it. Precision: of the faces given an \
                answer, those labelled so. F1: their harmonic mean.";
    card(
        "By class",
        note,
        html! {
            (legend(reports))
            div.plots {
                (plot("Recall", |e| &e.per_class_recall))
                (plot("Precision", |e| &e.per_class_precision))
                (plot("F1", |e| &e.per_class_f1))
            }
        },
    )
}

fn expressions(reports: &[Report]) -> impl Iterator<Item = (&str, &Evaluation)> {
    reports.iter().filter_map(|report| Some((file_name(report), report.expression.as_ref()?)))
}

fn confusions(reports: &[Report]) -> Markup {
    if expressions(reports).next().is_none() {
        return html! {};
    }
    card(
        "Confusion",
        "Each row in per cent of its label's faces.",
        html! {
            div.plots {
                @for (name, evaluation) in expressions(reports) {
                    figure { figcaption { (name) } (chart::confusion(evaluation)) }
                }
            }
        },
    )
}

fn calibrations(reports: &[Report]) -> Markup {
    let known = reports.iter().filter_map(|r| Some((file_name(r), r.calibration.as_ref()?)));
    let known: Vec<_> = known.collect();
    if known.is_empty() {
        return html! {};
    }
    let note = "Of the answers given with some confidence, how many are right: blue bars on the \
                dashed line are those of a model that knows what it knows; orange is what lies \
                between. 15 bins; the error is averaged over answers (Guo et al. 2017).";
    card(
        "Calibration",
        note,
        html! {
            div.plots {
                @for (name, calibration) in known {
                    figure {
                        figcaption {
                            (name) ": error "
                            (percent(calibration.calibrated.expected_calibration_error))
                            " at temperature " (calibration.temperature)
                        }
                        (chart::reliability(&calibration.calibrated))
                    }
                    @if calibration.temperature != 1.0 {
                        figure {
                            figcaption {
                                (name) ": error "
                                (percent(calibration.uncalibrated.expected_calibration_error))
                                " without temperature"
                            }
                            (chart::reliability(&calibration.uncalibrated))
                        }
                    }
                }
            }
        },
    )
}

fn coverages(reports: &[Report]) -> Markup {
    let known = reports.iter().filter_map(|report| {
        let coverage = report.coverage.as_ref()?;
        Some((file_name(report), (coverage.curve.as_slice(), &coverage.at_threshold)))
    });
    let series: Vec<_> = known.collect();
    if series.is_empty() {
        return html! {};
    }
    let note = "Answers below a confidence are held back as \"unsure\": fewer faces get an answer, \
                more answers are right. The dot is the model's own threshold.";
    card(
        "Unsure answers",
        note,
        html! {
            (legend(reports))
            div.plots { figure { (chart::coverage(&series)) } }
        },
    )
}

fn genders(reports: &[Report]) -> Markup {
    let known: Vec<_> =
        reports.iter().filter_map(|r| Some((file_name(r), r.gender.as_ref()?))).collect();
    if known.is_empty() {
        return html! {};
    }
    let row = |name: &str, score: &GroupScore| {
        html! {
            tr {
                td { (name) }
                td { (score.n) }
                td { (percent_or_missing(score.accuracy)) }
                td { (score.accuracy_interval.map_or_else(|| MISSING.into(), interval)) }
                td { (percent_or_missing(score.recall_female)) }
                td { (percent_or_missing(score.recall_male)) }
            }
        }
    };
    let note = "Recall of women's and men's faces: a guess at appearance, held against \
                annotators' labels. The number of faces stands in brackets.";
    card(
        "Apparent gender",
        note,
        html! {
            div.legend { span.swatch-female { "women" } span.swatch-male { "men" } }
            @for (name, gender) in known {
                figcaption { (name) }
                table {
                    thead { tr {
                        @for head in ["", "faces", "accuracy", "95 % interval", "women", "men"] {
                            th { (head) }
                        }
                    } }
                    (row("all", &gender.all))
                    @if let Some(old) = &gender.ages_10_and_up { (row("ages 10 and up", old)) }
                }
                div.plots {
                    @for (title, groups) in [("By age", &gender.by_age), ("By origin", &gender.by_race)] {
                        @if !groups.0.is_empty() {
                            figure { figcaption { (title) } (chart::genders(&groups.0)) }
                        }
                    }
                }
            }
        },
    )
}

fn mistakes(reports: &[Report]) -> Markup {
    if reports.iter().all(|report| report.worst.is_empty()) {
        return html! {};
    }
    card(
        "Worst mistakes",
        "Faces whose label was given the least share.",
        html! {
            @for report in reports {
                figcaption { (file_name(report)) }
                table {
                    thead { tr { th { "face" } th { "label" } th { "its share" } th { "answer" } th { "its share" } } }
                    @for mistake in &report.worst {
                        tr {
                            td { (mistake.face) }
                            td { (mistake.label) }
                            td { (percent(f64::from(mistake.label_share))) }
                            td { (mistake.answer) }
                            td { (percent(f64::from(mistake.answer_share))) }
                        }
                    }
                }
            }
        },
    )
}
