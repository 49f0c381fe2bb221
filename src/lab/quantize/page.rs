//! What each layer's rounding costs, as a page with plots.

use maud::{Markup, html};

use super::super::page::svg::{bar, figure, line, text};
use super::super::page::{card, document};
use super::super::tflite::{Filter, Int8Network, Int8Op};
use super::sensitivity::LayerCost;
use crate::engine::Quantization;

/// Width of a plot that has a row for each layer.
const WIDTH: f64 = 360.0;
/// Where names end and values begin.
const NAMES: f64 = 112.0;
/// Where values end; their figures stand behind.
const RIGHT: f64 = WIDTH - 58.0;
/// Height of a layer's row.
const ROW: f64 = 14.0;
/// Bins of a weight histogram, and codes in each.
const BINS: usize = 32;
const CODES_PER_BIN: usize = 8;

/// What is plotted, its value for each layer, and how one is written.
type Figure = (&'static str, Vec<f64>, fn(f64) -> String);

/// The page: `costs` are those of the values of `network`, one by one.
pub fn page(costs: &[LayerCost], network: &Int8Network) -> String {
    let figures: [Figure; 4] = [
        ("Signal over noise, dB", of_each(costs, |c| c.signal_to_noise_db), |x| format!("{x:.1}")),
        ("Cost alone, millinats", of_each(costs, |c| 1e3 * c.alone_nats), |x| format!("{x:+.2}")),
        ("Cost up to here, millinats", of_each(costs, |c| 1e3 * c.up_to_here_nats), |x| {
            format!("{x:+.2}")
        }),
        ("Values beyond the code, %", of_each(costs, |c| 100.0 * c.clipped), |x| format!("{x:.2}")),
    ];
    let note = "Cost: by how much the expressions' mean cross-entropy rises if this layer's weights \
                and value are rounded, alone, or together with all before it; differences of a \
                millinat or two may be chance. Signal over noise: of the layer's value, rounded \
                alone.";
    let ranges = "The bar in grey is what the value's code reaches, the blue one the least to the \
                  greatest value seen, the figures these two. Blue beyond grey is clipped; grey \
                  without blue is code not used.";
    let histograms = "How often each code from −127 to 127 is a weight. Every filter has a scale \
                      of its own, so that its greatest weight is at an end; much at 0 and little \
                      elsewhere are filters with one great weight.";
    let body = html! {
        h1 { "What rounding costs, layer by layer" }
        p.muted { (costs.len()) " values, in the order in which they are computed" }
        (card("Costs", note, html! {
            div.plots {
                @for (title, values, written) in &figures {
                    figure { figcaption { (title) } (bars(title, costs, values, *written)) }
                }
            }
        }))
        (card("Ranges", ranges, html! {
            div.plots { figure { (range_bars(costs, network)) } }
        }))
        (card("Weights", histograms, html! {
            div.multiples {
                @for step in &network.steps {
                    @if let Int8Op::Conv(filter) | Int8Op::Depthwise(filter) = &step.op {
                        figure {
                            figcaption { (network.values[step.output].name) }
                            (histogram(filter))
                        }
                    }
                }
            }
        }))
    };
    document("Quantization: what rounding costs", body)
}

fn of_each(costs: &[LayerCost], figure: impl Fn(&LayerCost) -> f64) -> Vec<f64> {
    costs.iter().map(figure).collect()
}

/// A row for each layer, drawn by `row` from its index, its top and its bottom.
fn rows(label: &str, costs: &[LayerCost], row: impl Fn(usize, f64, f64) -> Markup) -> Markup {
    figure(
        [WIDTH, ROW * costs.len() as f64 + 4.0],
        label,
        html! {
            @for (i, cost) in costs.iter().enumerate() {
                @let top = ROW * i as f64;
                (text(NAMES - 6.0, top + ROW - 4.0, "end small", &cost.name))
                (row(i, top + 2.5, top + ROW - 2.5))
            }
        },
    )
}

/// A bar from 0 for each layer's value.
fn bars(label: &str, costs: &[LayerCost], values: &[f64], written: fn(f64) -> String) -> Markup {
    // A layer that loses nothing has no noise.
    let known = || values.iter().copied().filter(|value| value.is_finite() && *value < 1e3);
    let (least, most) = (known().fold(0.0, f64::min), known().fold(0.0, f64::max));
    let at = |x: f64| {
        NAMES + (x.clamp(least, most) - least) / (most - least).max(1e-9) * (RIGHT - NAMES)
    };
    rows(label, costs, |i, top, bottom| {
        let x = values[i];
        let figure = if x.is_finite() && x < 1e3 { written(x) } else { "exact".into() };
        html! {
            (bar(at(x.min(0.0)), at(x.max(0.0)), top, bottom, "fill0"))
            (line(at(0.0), top - 2.5, at(0.0), bottom + 2.5, "grid"))
            (text(RIGHT + 5.0, bottom - 0.5, "small", &figure))
        }
    })
}

/// What each layer's code reaches, and within it what values it takes.
fn range_bars(costs: &[LayerCost], network: &Int8Network) -> Markup {
    rows("Ranges of values and codes", costs, |i, top, bottom| {
        let [low, high] = ends(network.values[i].quantization);
        let [min, max] = costs[i].range.map(f64::from);
        let (left, right) = (low.min(min), high.max(max));
        let at = |x: f64| NAMES + (x - left) / (right - left).max(1e-9) * (RIGHT - NAMES);
        html! {
            g {
                title { (costs[i].name) ": values " (min) " to " (max) ", code " (low) " to " (high) }
                (bar(at(low), at(high), top - 1.5, bottom + 1.5, "count"))
                (bar(at(min), at(max), top + 1.5, bottom - 1.5, "fill0"))
                (line(at(0.0), top - 2.5, at(0.0), bottom + 2.5, "grid"))
                (text(RIGHT + 3.0, bottom - 0.5, "tiny", &format!("{min:.1} … {max:.1}")))
            }
        }
    })
}

/// Least and greatest value that a code reaches.
fn ends(code: Quantization) -> [f64; 2] {
    [i8::MIN, i8::MAX].map(|end| f64::from(code.dequantize(end)))
}

fn histogram(filter: &Filter) -> Markup {
    let mut counts = [0u32; BINS];
    for weight in &filter.weights {
        counts[(i16::from(*weight) - i16::from(i8::MIN)) as usize / CODES_PER_BIN] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    let (width, height) = (128.0, 48.0);
    let step = width / BINS as f64;
    figure(
        [width, height + 1.0],
        "Histogram of weights",
        html! {
            @for (bin, count) in counts.iter().enumerate() {
                @let x = step * bin as f64;
                @let size = height * f64::from(*count) / f64::from(most);
                (bar(x + 0.3, x + step - 0.3, height - size, height, "fill0"))
            }
            (line(0.0, height + 0.5, width, height + 0.5, "grid"))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::sensitivity::layer_costs;
    use super::super::tests::{STANDARDIZED, lowered, random_checkpoint, random_pictures};
    use super::super::{Settings, quantize};
    use super::*;
    use crate::engine::Heads;
    use crate::lab::network::{LOGITS, Preset};

    #[test]
    fn every_layer_is_drawn_and_nothing_is_fetched() {
        let graph = lowered(&random_checkpoint(Preset::named("slim").unwrap(), 4));
        let pictures = random_pictures(4, 5);
        let quantized =
            quantize(graph, STANDARDIZED, Settings::default(), &pictures, Default::default())
                .unwrap();
        let heads = Heads::from_labels(None, LOGITS).unwrap();
        let costs = layer_costs(
            &quantized.graph,
            &quantized.network,
            &heads,
            (&pictures, &[0, 1, 2, 3]),
            |_| (),
        );
        let page = page(&costs, &quantized.network);
        // Four figures and the ranges have a row for each value.
        let names = page.matches(">block1_pointwise1<").count();
        assert_eq!(names, 4 + 1 + 1);
        let filters = quantized.graph.nodes.iter().filter(|node| node.op.kernel().is_some());
        assert_eq!(page.matches("Histogram of weights").count(), filters.count());
        assert!(!page.contains("NaN") && !page.contains("<script") && !page.contains("http"));
    }
}
