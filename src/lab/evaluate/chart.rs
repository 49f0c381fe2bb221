//! Plots as inline SVG. Sizes are in user units at [`WIDTH`] to a plot, about a phone's width, so
//! that text stays legible there; colours come from the page's style sheet.

use maud::{Markup, html};

use super::super::page::svg::{self, bar, line, px, text};
use super::counts::Evaluation;
use super::gender::GroupScore;
use super::reliability::{Coverage, Reliability};

/// Width of every plot.
const WIDTH: f64 = 360.0;
/// Room for the names at a plot's left.
const NAMES: f64 = 92.0;
/// Room for what an axis is called.
const AXIS: f64 = 44.0;
/// Height of a square plot's area.
const AREA: f64 = 230.0;

/// A line of a chart, one model's: its name and values.
pub type Series<'a, T> = (&'a str, T);

/// Answers by label, each row in per cent of its label's faces; the darker, the more.
pub fn confusion(evaluation: &Evaluation) -> Markup {
    let classes = &evaluation.classes;
    let cell = (WIDTH - NAMES - 4.0) / classes.len() as f64;
    let row_height = cell.min(40.0);
    let top = 36.0;
    let height = top + row_height * classes.len() as f64 + 4.0;
    let rows = classes.iter().zip(&evaluation.confusion).enumerate();
    figure(
        height,
        "Confusion matrix",
        html! {
            (text(NAMES + (WIDTH - NAMES) / 2.0, 12.0, "middle muted", "answer"))
            (text(NAMES - 8.0, 28.0, "end muted", "label"))
            @for (i, name) in classes.iter().enumerate() {
                (text(NAMES + cell * (i as f64 + 0.5), 28.0, "middle tiny", name))
            }
            @for (i, (name, counts)) in rows {
                @let y = top + row_height * i as f64;
                @let of_label = counts.iter().sum::<usize>().max(1) as f64;
                (text(NAMES - 8.0, y + row_height / 2.0 + 4.0, "end", name))
                @for (j, count) in counts.iter().enumerate() {
                    @let share = *count as f64 / of_label;
                    @let x = NAMES + cell * j as f64;
                    g {
                        title { (name) " called " (classes[j]) ": " (count) " of " (of_label) }
                        rect class="cell" x=(px(x + 1.0)) y=(px(y + 1.0)) width=(px(cell - 2.0))
                            height=(px(row_height - 2.0)) rx="3" fill-opacity=(px(share)) {}
                        (text(
                            x + cell / 2.0,
                            y + row_height / 2.0 + 4.0,
                            if share > 0.55 { "middle on-dark" } else { "middle" },
                            &format!("{:.0}", 100.0 * share),
                        ))
                    }
                }
            }
        },
    )
}

/// Accuracy against confidence by bin, the diagonal of a calibrated model, and below how many
/// answers each bin has.
pub fn reliability(reliability: &Reliability) -> Markup {
    let frame = Frame { x: [0.0, 1.0], y: [0.0, 1.0] };
    let counts_top = 14.0 + AREA + 18.0;
    let counts_height = 42.0;
    let height = counts_top + counts_height + 32.0;
    let most = reliability.bins.iter().map(|bin| bin.n).max().unwrap_or(1).max(1) as f64;
    figure(
        height,
        "Reliability diagram",
        html! {
            (frame.grid_y("share that is right"))
            @for bin in &reliability.bins {
                @let (left, right) = (frame.at_x(bin.above) + 1.0, frame.at_x(bin.up_to) - 1.0);
                @if let (Some(confidence), Some(accuracy)) = (bin.confidence, bin.accuracy) {
                    g {
                        title {
                            (bin.n) " answers: confidence " (percent(confidence)) ", right "
                            (percent(accuracy))
                        }
                        (bar(left, right, frame.at_y(accuracy), frame.at_y(0.0), "fill0"))
                        (bar(left, right, frame.at_y(accuracy.max(confidence)),
                            frame.at_y(accuracy.min(confidence)), "gap"))
                        @let size = counts_height * bin.n as f64 / most;
                        (bar(left, right, counts_top + counts_height - size,
                            counts_top + counts_height, "count"))
                    }
                }
            }
            (line(frame.at_x(0.0), frame.at_y(0.0), frame.at_x(1.0), frame.at_y(1.0), "diagonal"))
            (text(AXIS - 6.0, counts_top + counts_height, "end muted small", "answers"))
            @for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
                (text(frame.at_x(share), counts_top + counts_height + 14.0, "middle muted",
                    &percent(share)))
            }
            (text(frame.at_x(0.5), height - 3.0, "middle muted", "confidence"))
        },
    )
}

/// How often answers are right against how many faces get one; dots at the models' thresholds.
pub fn coverage(series: &[Series<(&[Coverage], &Coverage)>]) -> Markup {
    let values = || series.iter().flat_map(|(_, (curve, _))| curve.iter());
    let lowest = values().filter_map(|point| point.accuracy).fold(1.0, f64::min);
    // A whole tenth below.
    let frame = Frame { x: [0.0, 1.0], y: [(lowest * 10.0 - 1e-9).floor() / 10.0, 1.0] };
    let height = 14.0 + AREA + 34.0;
    figure(
        height,
        "Accuracy against coverage",
        html! {
            (frame.grid_y("share of answers that is right"))
            @for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
                (text(frame.at_x(share), 14.0 + AREA + 15.0, "middle muted", &percent(share)))
            }
            (text(frame.at_x(0.5), height - 3.0, "middle muted", "share of faces that get an answer"))
            @for (i, (name, (curve, threshold))) in series.iter().enumerate() {
                @let points = curve.iter().filter_map(|point| {
                    let y = frame.at_y(point.accuracy?);
                    Some(format!("{},{}", px(frame.at_x(point.coverage)), px(y)))
                });
                polyline class=(format!("line stroke{}", i % 4))
                    points=(points.collect::<Vec<_>>().join(" ")) {}
                @if let Some(accuracy) = threshold.accuracy {
                    g {
                        title {
                            (name) ", unsure below " (percent(threshold.threshold)) ": "
                            (percent(threshold.coverage)) " answered, " (percent(accuracy)) " right"
                        }
                        circle class=(format!("dot fill{}", i % 4)) r="5"
                            cx=(px(frame.at_x(threshold.coverage))) cy=(px(frame.at_y(accuracy))) {}
                    }
                }
            }
        },
    )
}

/// A bar a class and series, from 0 to 1.
pub fn bars(classes: &[String], series: &[Series<Vec<Option<f64>>>]) -> Markup {
    let (thick, gap) = (11.0, 9.0);
    let step = thick * series.len() as f64 + gap;
    let (right, height) = (WIDTH - 46.0, step * classes.len() as f64 + 4.0);
    figure(
        height,
        "Figures by class",
        html! {
            @for (i, class) in classes.iter().enumerate() {
                @let top = step * i as f64 + gap / 2.0;
                (text(NAMES - 8.0, top + (step - gap) / 2.0 + 4.0, "end", class))
                (bar(NAMES, right, top, top + step - gap, "track"))
                @for (j, (name, values)) in series.iter().enumerate() {
                    @if let Some(value) = values[i] {
                        @let y = top + thick * j as f64;
                        @let end = NAMES + value * (right - NAMES);
                        g {
                            title { (class) ", " (name) ": " (percent(value)) }
                            (bar(NAMES, end, y + 0.5, y + thick - 0.5, &format!("fill{}", j % 4)))
                            (text(right + 5.0, y + thick - 1.5, "small",
                                &format!("{:.1} %", 100.0 * value)))
                        }
                    }
                }
            }
        },
    )
}

/// Women's and men's recall of each group as two dots, the gap between them as a line.
pub fn genders(groups: &[(String, GroupScore)]) -> Markup {
    let recalls =
        || groups.iter().flat_map(|(_, score)| [score.recall_female, score.recall_male]).flatten();
    let lowest = (recalls().fold(1.0, f64::min) * 10.0 - 1e-9).floor().max(0.0) / 10.0;
    let (left, right) = (NAMES + 50.0, WIDTH - 20.0);
    let at = |share: f64| left + (share - lowest) / (1.0 - lowest) * (right - left);
    let (top, step) = (8.0, 24.0);
    let bottom = top + step * groups.len() as f64;
    let ticks = [0.0, 0.25, 0.5, 0.75, 1.0].map(|part| lowest + part * (1.0 - lowest));
    figure(
        bottom + 18.0,
        "Gender by group",
        html! {
            @for share in ticks {
                (line(at(share), top, at(share), bottom, "grid"))
                (text(at(share), bottom + 14.0, "middle muted", &percent(share)))
            }
            @for (i, (name, score)) in groups.iter().enumerate() {
                @let y = top + step * (i as f64 + 0.5);
                g {
                    title {
                        (name) ": women " (percent_or_dash(score.recall_female)) ", men "
                        (percent_or_dash(score.recall_male)) ", " (score.n) " faces"
                    }
                    (text(left - 10.0, y + 4.0, "end", &format!("{} ({})", name.replace('_', " "), score.n)))
                    @if let (Some(female), Some(male)) = (score.recall_female, score.recall_male) {
                        (line(at(female), y, at(male), y, "between"))
                    }
                    // A little above and below each other, so that equal ones are both seen.
                    @for (recall, class, y) in [
                        (score.recall_female, "female", y - 3.0), (score.recall_male, "male", y + 3.0),
                    ] {
                        @if let Some(recall) = recall {
                            circle class=(format!("dot {class}")) r="5.5" cx=(px(at(recall)))
                                cy=(px(y)) {}
                        }
                    }
                }
            }
        },
    )
}

/// The area of a square plot, and what it spans.
struct Frame {
    x: [f64; 2],
    y: [f64; 2],
}

impl Frame {
    fn at_x(&self, value: f64) -> f64 {
        AXIS + (value - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - AXIS - 16.0)
    }

    fn at_y(&self, value: f64) -> f64 {
        14.0 + AREA - (value - self.y[0]) / (self.y[1] - self.y[0]) * AREA
    }

    /// Horizontal lines at quarters, with their values.
    fn grid_y(&self, called: &str) -> Markup {
        let ticks =
            [0.0, 0.25, 0.5, 0.75, 1.0].map(|part| self.y[0] + part * (self.y[1] - self.y[0]));
        html! {
            @for share in ticks {
                (line(AXIS, self.at_y(share), WIDTH - 16.0, self.at_y(share), "grid"))
                (text(AXIS - 6.0, self.at_y(share) + 4.0, "end muted", &percent(share)))
            }
            (text(AXIS + 4.0, 10.0, "muted", called))
        }
    }
}

fn figure(height: f64, label: &str, content: Markup) -> Markup {
    svg::figure([WIDTH, height], label, content)
}

fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if (percent - percent.round()).abs() < 0.05 {
        format!("{percent:.0} %")
    } else {
        format!("{percent:.1} %")
    }
}

fn percent_or_dash(share: Option<f64>) -> String {
    share.map_or_else(|| "-".into(), percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::evaluate::Classes;

    #[test]
    fn every_cell_of_the_confusion_matrix_is_drawn_in_per_cent_of_its_label() {
        let classes = Classes::merged(&["happy,sad".into()]).unwrap();
        let evaluation = Evaluation::new(classes.names(), &[0, 0, 0, 0, 1], &[0, 0, 0, 2, 1]);
        let svg = confusion(&evaluation).into_string();
        assert_eq!(svg.matches("<rect").count(), 9);
        assert!(svg.contains("happy called other: 1 of 4"), "{svg}");
        assert!(svg.contains("fill-opacity=\"0.75\""), "{svg}");
    }

    #[test]
    fn names_are_escaped_and_missing_values_leave_gaps() {
        let classes = ["a<b".to_owned(), "c".to_owned()];
        let svg = bars(&classes, &[("m&n", vec![Some(0.5), None])]).into_string();
        assert!(svg.contains("a&lt;b, m&amp;n: 50 %") && !svg.contains("a<b"), "{svg}");
        assert_eq!(svg.matches("class=\"fill0\"").count(), 1);
    }
}
