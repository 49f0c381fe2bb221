//! What the rounding of each layer costs: alone, and together with all before it.

use serde::Serialize;

use super::super::float::{FloatGraph, Kernel};
use super::super::loss::surprise;
use super::super::network::EXPRESSION_LOGITS;
use super::super::tflite::{Filter, Int8Network, Int8Op};
use crate::classifier::argmax;
use crate::engine::{Heads, Quantization};

/// What rounding one layer's weights and value does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerCost {
    /// Its name.
    pub name: String,
    /// By how much the expressions' mean cross-entropy rises if this layer alone is rounded, in nats.
    pub alone_nats: f64,
    /// The same if this layer and all before it are.
    pub up_to_here_nats: f64,
    /// Power of its value over that of the error which rounding this layer alone gives it, in dB.
    pub signal_to_noise_db: f64,
    /// Share of its values beyond what its code reaches.
    pub clipped: f64,
    /// Least and greatest of its values.
    pub range: [f32; 2],
}

/// Pictures whose values are held at a time, four times over: 120 MB for the shipped network.
const BATCH: usize = 16;

/// The costs of all layers, in order; `graph` is what became `network`, node by node. `labels` are the
/// pictures' expressions, each one that `heads` tells. `progress` hears how many pictures are done.
pub fn layer_costs(
    graph: &FloatGraph,
    network: &Int8Network,
    heads: &Heads,
    (pictures, labels): (&[f32], &[usize]),
    mut progress: impl FnMut(usize),
) -> Vec<LayerCost> {
    let rounded = with_rounded_weights(graph, network);
    let mut sums = vec![Sums::default(); graph.nodes.len()];
    for (pictures, labels) in pictures.chunks(BATCH * graph.input_len()).zip(labels.chunks(BATCH)) {
        let loss_of = |values: &[Vec<f32>]| loss(values, heads, labels);
        let exact = graph.values(pictures);
        let floor = loss_of(&exact);
        let mut known: Vec<Vec<f32>> = Vec::new();
        for (i, sums) in sums.iter_mut().enumerate() {
            let code = network.values[i].quantization;
            let round = |value: usize, numbers: &mut [f32]| {
                if value == i {
                    numbers.iter_mut().for_each(|x| *x = code.dequantize(code.quantize(*x)));
                }
            };
            let mut one = graph.clone();
            one.nodes[i].op = rounded.nodes[i].op.clone();
            let alone = one.values_after(&exact, i, round);
            sums.alone_nats += loss_of(&alone) - floor;
            sums.add(&exact[i], &alone[i], code);
            drop(alone);
            // All before are rounded already, this one is now, the rest is not.
            let before = if known.is_empty() { &exact[..1] } else { &known };
            known = one.values_after(before, i, round);
            sums.up_to_here_nats += loss_of(&known) - floor;
            known.truncate(i + 1);
        }
        progress(labels.len());
    }
    let pictures = labels.len().max(1) as f64;
    graph.nodes.iter().zip(sums).map(|(node, sums)| sums.cost(&node.name, pictures)).collect()
}

/// What is summed up for a layer over all pictures.
#[derive(Clone, Default)]
struct Sums {
    alone_nats: f64,
    up_to_here_nats: f64,
    signal: f64,
    noise: f64,
    beyond: usize,
    values: usize,
    range: [f32; 2],
}

impl Sums {
    /// Adds a batch's values, exact and rounded to `code`.
    fn add(&mut self, exact: &[f32], rounded: &[f32], code: Quantization) {
        let [low, high] = code.reach();
        for (exact, rounded) in exact.iter().zip(rounded) {
            self.signal += f64::from(*exact).powi(2);
            self.noise += f64::from(exact - rounded).powi(2);
            self.beyond += usize::from(!(low..=high).contains(exact));
            self.range = [self.range[0].min(*exact), self.range[1].max(*exact)];
        }
        self.values += exact.len();
    }

    fn cost(self, name: &str, pictures: f64) -> LayerCost {
        LayerCost {
            name: name.into(),
            alone_nats: self.alone_nats / pictures,
            up_to_here_nats: self.up_to_here_nats / pictures,
            signal_to_noise_db: 10.0 * (self.signal / self.noise.max(f64::MIN_POSITIVE)).log10(),
            clipped: self.beyond as f64 / self.values.max(1) as f64,
            range: self.range,
        }
    }
}

/// The expression that the float network says each picture shows: what layers can be judged by where nobody
/// has said.
pub fn own_answers(graph: &FloatGraph, heads: &Heads, pictures: &[f32]) -> Vec<usize> {
    let outputs = graph.outputs(pictures);
    let logits = outputs.chunks_exact(heads.logits());
    logits.map(|logits| argmax(&heads.in_order(logits)[..EXPRESSION_LOGITS])).collect()
}

/// The costs as a table, the dearest layers marked.
pub fn text(costs: &[LayerCost]) -> String {
    let name_width = costs.iter().map(|cost| cost.name.len()).max().unwrap_or(0).max(5);
    let dearest = costs.iter().map(|cost| cost.alone_nats).fold(0.0, f64::max);
    let mut text =
        format!("{:name_width$}  alone, nats  up to here  signal/noise  clipped  range\n", "layer");
    for cost in costs {
        let LayerCost { name, alone_nats, up_to_here_nats, signal_to_noise_db, clipped, range } =
            cost;
        let mark = if *alone_nats > dearest / 2.0 { " <" } else { "" };
        text += &format!(
            "{name:name_width$}  {alone_nats:+11.5}  {up_to_here_nats:+10.5}  \
             {signal_to_noise_db:9.1} dB  {:5.2} %  {:.2} … {:.2}{mark}\n",
            100.0 * clipped,
            range[0],
            range[1],
        );
    }
    text
}

/// The graph with each weight and bias as its codes say it.
fn with_rounded_weights(graph: &FloatGraph, network: &Int8Network) -> FloatGraph {
    let mut rounded = graph.clone();
    for step in &network.steps {
        let input = network.values[step.inputs[0]].quantization.scale;
        if let (Int8Op::Conv(filter) | Int8Op::Depthwise(filter), Some(kernel)) =
            (&step.op, rounded.nodes[step.output].op.kernel_mut())
        {
            round_kernel(kernel, filter, input);
        }
    }
    rounded
}

fn round_kernel(kernel: &mut Kernel, filter: &Filter, input_scale: f32) {
    for (channel, scale) in filter.scales.iter().enumerate() {
        for i in kernel.weights_of(channel) {
            kernel.weights[i] = scale * f32::from(filter.weights[i]);
        }
        kernel.bias[channel] = scale * input_scale * filter.bias[channel] as f32;
    }
}

/// Of all faces together.
fn loss(values: &[Vec<f32>], heads: &Heads, labels: &[usize]) -> f64 {
    let logits = values.last().map_or(&[][..], |logits| logits).chunks_exact(heads.logits());
    let of_face = |(logits, label): (&[f32], &usize)| {
        let expressions = heads.in_order(logits).into_iter().take(EXPRESSION_LOGITS);
        surprise(expressions.map(f64::from), *label)
    };
    logits.zip(labels).map(of_face).sum()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{STANDARDIZED, lowered, random_checkpoint, random_pictures};
    use super::super::{Settings, quantize};
    use super::*;
    use crate::lab::network::{LOGITS, Preset};

    #[test]
    fn a_coarse_layer_stands_out() {
        let graph = lowered(&random_checkpoint(Preset::named("slim").unwrap(), 4));
        // More than one batch.
        let pictures = random_pictures(BATCH + 2, 5);
        let labels: Vec<usize> = (0..BATCH + 2).map(|i| i % 7).collect();
        let mut quantized =
            quantize(graph, STANDARDIZED, Settings::default(), &pictures, Default::default())
                .unwrap();
        let heads = Heads::from_labels(None, LOGITS).unwrap();
        let costs = |quantized: &super::super::Quantized| {
            let faces = (&pictures[..], &labels[..]);
            layer_costs(&quantized.graph, &quantized.network, &heads, faces, |_| ())
        };
        let fine = costs(&quantized);
        assert_eq!(fine.len(), quantized.graph.nodes.len());
        assert!(fine.iter().all(|cost| cost.signal_to_noise_db > 20.0), "{}", text(&fine));
        assert!(fine.iter().all(|cost| cost.up_to_here_nats.is_finite()));
        // Codes of twenty times the step, for one layer.
        let coarse =
            quantized.graph.nodes.iter().position(|n| n.name == "block3_pointwise1").unwrap();
        quantized.network.values[coarse].quantization.scale *= 20.0;
        let costs = costs(&quantized);
        let worst = (0..costs.len())
            .min_by(|a, b| costs[*a].signal_to_noise_db.total_cmp(&costs[*b].signal_to_noise_db));
        assert_eq!(worst, Some(coarse));
        assert!(costs[coarse].alone_nats.abs() > 3.0 * fine[coarse].alone_nats.abs());
        // Before it nothing has changed.
        assert_eq!(costs[coarse - 1], fine[coarse - 1]);
    }

    #[test]
    fn values_beyond_the_code_are_clipped() {
        let code = Quantization { scale: 0.1, zero_point: -128 };
        let mut sums = Sums::default();
        let values = [-1.0, 0.0, 25.0, 25.54, 26.0];
        sums.add(&values, &values, code);
        assert_eq!(sums.cost("layer", 1.0).clipped, 0.4);
    }
}
