//! From a framework's layers to what an int8 file may hold, exactly.
//!
//! - An affine layer (batch norm) joins the convolution before it. After an activation it can't
//!   join the next one, whose zero padding would have to be `−shift/scale`: it becomes a 1×1
//!   depthwise convolution. So does an activation that no convolution or sum can take.
//! - Zero padding and flattening go into the window of the convolution after them. `.tflite` knows
//!   only TensorFlow's `SAME` and `VALID`: where a network pads otherwise (PyTorch pads a stride-2
//!   window on both sides) the kernel grows by rows or columns of zeros until `SAME` puts it where
//!   it belongs. Zeros that no window can take stay an operation of their own; around values that are
//!   never below zero they may also stand for the padding of a max pool.
//! - A dense layer is a convolution whose window is the whole picture.
//! - A mean under a window that stays on the picture is a depthwise convolution of equal weights, and has
//!   a code of its own that way. One over a picture of up to 3×3 pixels joins the convolution before it: a
//!   convolution of the whole picture, each weight the mean of those a pixel had in all outputs.
//! - A softmax at the end goes: the file gives logits.

use super::super::network::Shape;
use super::graph::{FloatGraph, Kernel, Node, Op};
use super::layers::{Filter, Layer, LayerError, LayerNode, Layers, value_len};
use super::window::{Activation, Margins, Padding, Window};

/// A pooled picture up to this many pixels goes into the convolution before it; beyond that its
/// weights would grow too many.
const MAX_FUSED_PIXELS: usize = 9;
/// By how much a kernel may grow along an axis to express its padding.
const MAX_GROWTH: usize = 8;

/// Lowers a network. The nodes' names are those of the layers.
pub fn lower(layers: &Layers) -> Result<FloatGraph, LayerError> {
    let mut lowering = Lowering {
        layers: layers.nodes(),
        readers: readers(layers.nodes()),
        graph: FloatGraph { nodes: Vec::new() },
        places: Vec::new(),
    };
    for (index, layer) in layers.nodes().iter().enumerate() {
        let place = lowering.layer(index, layer)?;
        lowering.places.push(place);
    }
    lowering.finish()
}

/// Where a layer's value is in the graph.
#[derive(Clone, Copy)]
struct Place {
    /// The node that gives it.
    node: usize,
    /// Zeros that belong around it.
    margins: Margins,
    /// It is flattened.
    flat: bool,
    /// Only one layer reads it, which may so change the node that gives it.
    is_alone: bool,
}

/// How many layers read each value. What nobody reads on the way to the output counts as well: it
/// only keeps a value from being changed.
fn readers(layers: &[LayerNode]) -> Vec<usize> {
    let mut readers = vec![0; layers.len()];
    layers.iter().flat_map(|layer| &layer.inputs).for_each(|input| readers[*input] += 1);
    readers
}

struct Lowering<'l> {
    layers: &'l [LayerNode],
    readers: Vec<usize>,
    graph: FloatGraph,
    places: Vec<Place>,
}

impl Lowering<'_> {
    fn layer(&mut self, index: usize, layer: &LayerNode) -> Result<Place, LayerError> {
        let wrong = |why: String| LayerError::new(&layer.name, why);
        let place = layer.inputs.first().map(|input| self.places[*input]);
        let Some(place) = place else {
            return Ok(self.push(index, Op::Input, Vec::new(), layer.shape));
        };
        let is_alone = place.is_alone && self.readers[index] == 1;
        let same_value = Place { is_alone, ..place };
        match &layer.layer {
            Layer::Input => Err(wrong("there is an input already".into())),
            Layer::Identity => Ok(same_value),
            Layer::Softmax if index + 1 == self.layers.len() => Ok(same_value),
            Layer::Softmax => {
                Err(wrong("a softmax is only understood at the end; cut the network there".into()))
            }
            Layer::Pad(margins) => {
                not_flat(place).map_err(wrong)?;
                Ok(Place { margins: place.margins.plus(*margins), ..same_value })
            }
            Layer::Flatten => {
                let place = self.unpadded(index, same_value).map_err(wrong)?;
                Ok(Place { flat: self.sides(place) != [1, 1], ..place })
            }
            Layer::Conv(filter) => {
                not_flat(place).map_err(wrong)?;
                self.conv(index, place, filter).map_err(wrong)
            }
            Layer::Depthwise(filter) => {
                not_flat(place).map_err(wrong)?;
                self.depthwise(index, place, filter).map_err(wrong)
            }
            Layer::Dense(filter) => Ok(self.dense(index, place, filter)),
            Layer::Affine { scale, shift } => {
                let place = self.unpadded(index, place).map_err(wrong)?;
                Ok(self.affine(index, place, scale, shift))
            }
            Layer::Activation(activation) => Ok(self.activation(index, place, *activation)),
            Layer::MaxPool(window) => {
                self.max_pool(index, place, window, layer.shape).map_err(wrong)
            }
            Layer::AveragePool(window) => {
                self.average_pool(index, place, window, layer.shape).map_err(wrong)
            }
            Layer::GlobalAveragePool => {
                let place = self.unpadded(index, place).map_err(wrong)?;
                Ok(self.mean(index, place))
            }
            Layer::Add | Layer::Concat => {
                let mut inputs = Vec::new();
                for input in &layer.inputs {
                    let place = self.unpadded(index, self.places[*input]).map_err(wrong)?;
                    inputs.push(place.node);
                }
                let op = match layer.layer {
                    Layer::Add => Op::Add(Activation::None),
                    _ => Op::Concat,
                };
                Ok(self.push(index, op, inputs, layer.shape))
            }
        }
    }

    fn channels(&self, place: Place) -> usize {
        self.graph.nodes[place.node].shape[2]
    }

    fn sides(&self, place: Place) -> [usize; 2] {
        let [h, w, _] = self.graph.nodes[place.node].shape;
        [h, w]
    }

    /// Adds a node for layer `index`.
    fn push(&mut self, index: usize, op: Op, inputs: Vec<usize>, shape: Shape) -> Place {
        let name = self.layers[index].name.clone();
        self.graph.nodes.push(Node { name, op, inputs, shape });
        Place {
            node: self.graph.nodes.len() - 1,
            margins: Margins::default(),
            flat: false,
            is_alone: self.readers[index] == 1,
        }
    }

    /// Adds a convolution for layer `index`.
    fn push_kernel(&mut self, index: usize, place: Place, kernel: Kernel) -> Place {
        let sides = self.sides(place);
        let [h, w] = kernel.window.output(sides).expect("its layer fitted");
        let shape = [h, w, kernel.bias.len()];
        let op = if kernel.is_depthwise() { Op::Depthwise(kernel) } else { Op::Conv(kernel) };
        self.push(index, op, vec![place.node], shape)
    }

    /// What layer `index` reads at `place`, the zeros around it as pixels.
    fn unpadded(&mut self, index: usize, place: Place) -> Result<Place, String> {
        not_flat(place)?;
        let inside = Place { margins: Margins::default(), ..place };
        if place.margins.is_none() { Ok(inside) } else { self.pad(index, inside, place.margins) }
    }

    /// Adds zeros around what layer `index` reads at `place`.
    fn pad(&mut self, index: usize, place: Place, margins: Margins) -> Result<Place, String> {
        let [h, w] = margins.around(self.sides(place));
        let shape = [h, w, self.channels(place)];
        value_len(shape).ok_or("its zero padding can't be used")?;
        // Of a node of its own, as often as a layer pads.
        let name = format!("{}/padding{}", self.layers[index].name, self.graph.nodes.len());
        let node = Node { name, op: Op::Pad(margins), inputs: vec![place.node], shape };
        self.graph.nodes.push(node);
        Ok(Place { node: self.graph.nodes.len() - 1, ..place })
    }

    fn conv(&mut self, index: usize, place: Place, filter: &Filter) -> Result<Place, String> {
        let ([kh, kw], inputs) = (filter.window.kernel, self.channels(place));
        let outputs = filter.weights.len() / (kh * kw * inputs);
        let kernel = kernel(filter, [outputs, kh, kw, inputs], outputs, filter.window);
        let (place, kernel) = self.placed(index, place, kernel)?;
        Ok(self.push_kernel(index, place, kernel))
    }

    fn depthwise(&mut self, index: usize, place: Place, filter: &Filter) -> Result<Place, String> {
        let ([kh, kw], channels) = (filter.window.kernel, self.channels(place));
        let kernel = kernel(filter, [1, kh, kw, channels], channels, filter.window);
        let (place, kernel) = self.placed(index, place, kernel)?;
        Ok(self.push_kernel(index, place, kernel))
    }

    fn dense(&mut self, index: usize, place: Place, filter: &Filter) -> Place {
        let [h, w, c] = self.graph.nodes[place.node].shape;
        let outputs = filter.weights.len() / (h * w * c);
        let kernel = kernel(filter, [outputs, h, w, c], outputs, Window::whole([h, w]));
        self.push_kernel(index, place, kernel)
    }

    /// The kernel with its own padding and the zeros around its input as `SAME` or `VALID`, and what it
    /// reads: with the zeros as pixels if no window takes them.
    fn placed(
        &mut self,
        index: usize,
        place: Place,
        kernel: Kernel,
    ) -> Result<(Place, Kernel), String> {
        let sides = self.sides(place);
        let outside = place.margins;
        let padded = outside.around(sides);
        if outside.is_none() && !matches!(kernel.window.padding, Padding::Explicit(_)) {
            return Ok((place, kernel));
        }
        let margins = outside.plus(kernel.window.margins(padded));
        let output = kernel.window.output(padded).expect("its layer fitted");
        if let Some(kernel) = grown(&kernel, sides, margins, output) {
            return Ok((place, kernel));
        }
        let window = Window { padding: Padding::Valid, ..kernel.window };
        Ok((self.pad(index, place, margins)?, Kernel { window, ..kernel }))
    }

    fn affine(&mut self, index: usize, place: Place, scale: &[f32], shift: &[f32]) -> Place {
        let node = &mut self.graph.nodes[place.node];
        if place.is_alone
            && let Some(kernel) = node.op.kernel_mut()
            && kernel.activation == Activation::None
        {
            kernel.rescale(scale, shift);
            return Place { is_alone: self.readers[index] == 1, ..place };
        }
        let kernel = by_channel(scale.to_vec(), shift.to_vec(), Activation::None);
        self.push_kernel(index, place, kernel)
    }

    fn activation(&mut self, index: usize, place: Place, activation: Activation) -> Place {
        let free = match &mut self.graph.nodes[place.node].op {
            Op::Conv(Kernel { activation, .. })
            | Op::Depthwise(Kernel { activation, .. })
            | Op::Add(activation) => Some(activation),
            _ => None,
        };
        let is_alone = self.readers[index] == 1;
        if let Some(own) = free.filter(|own| place.is_alone && **own == Activation::None) {
            // Zeros around it and a flattening stay as they are.
            *own = activation;
            return Place { is_alone, ..place };
        }
        let channels = self.channels(place);
        let kernel = by_channel(vec![1.0; channels], vec![0.0; channels], activation);
        let Place { margins, flat, .. } = place;
        Place { margins, flat, ..self.push_kernel(index, place, kernel) }
    }

    fn max_pool(
        &mut self,
        index: usize,
        place: Place,
        window: &Window,
        shape: Shape,
    ) -> Result<Place, String> {
        let mut place = self.unpadded(index, place)?;
        let sides = self.sides(place);
        let same = Window { padding: Padding::Same, ..*window };
        let padding = match window.padding {
            Padding::Explicit(margins) if margins.is_none() => Padding::Valid,
            Padding::Explicit(margins) if margins == same.margins(sides) => Padding::Same,
            Padding::Explicit(margins) if self.is_never_below_zero(place.node) => {
                // Zeros change no maximum there.
                place = self.pad(index, place, margins)?;
                Padding::Valid
            }
            Padding::Explicit(margins) => {
                return Err(format!(
                    "a max pool with padding ({margins}) of values below zero can't be expressed in a \
                     .tflite; train with its ReLU before it, with TensorFlow's `same`, or without padding"
                ));
            }
            padding => padding,
        };
        let window = Window { padding, ..*window };
        Ok(self.push(index, Op::MaxPool(window), vec![place.node], shape))
    }

    fn average_pool(
        &mut self,
        index: usize,
        place: Place,
        window: &Window,
        shape: Shape,
    ) -> Result<Place, String> {
        let place = self.unpadded(index, place)?;
        let (sides, channels) = (self.sides(place), self.channels(place));
        let same = Window { padding: Padding::Same, ..*window };
        match window.margins(sides) {
            margins if margins.is_none() => {
                Ok(self.push_kernel(index, place, mean_under(window, channels)))
            }
            margins if margins == same.margins(sides) => {
                Ok(self.push(index, Op::AveragePool(same), vec![place.node], shape))
            }
            margins => Err(format!(
                "an average with padding ({margins}) can't be expressed in a .tflite; train with \
                 TensorFlow's `same`, or without padding"
            )),
        }
    }

    /// Whether no value of a node can be below zero.
    fn is_never_below_zero(&self, index: usize) -> bool {
        let mut never: Vec<bool> = Vec::with_capacity(index + 1);
        for node in &self.graph.nodes[..=index] {
            never.push(match &node.op {
                Op::Input => false,
                Op::Conv(Kernel { activation, .. })
                | Op::Depthwise(Kernel { activation, .. })
                | Op::Add(activation) => matches!(activation, Activation::Relu | Activation::Relu6),
                Op::MaxPool(_) | Op::AveragePool(_) | Op::Pad(_) | Op::Concat => {
                    node.inputs.iter().all(|input| never[*input])
                }
            });
        }
        never[index]
    }

    fn mean(&mut self, index: usize, place: Place) -> Place {
        let [h, w, channels] = self.graph.nodes[place.node].shape;
        if place.is_alone && self.takes_in_a_mean(place.node) {
            let node = &self.graph.nodes[place.node];
            let input = self.graph.nodes[node.inputs[0]].shape;
            let kernel = node.op.kernel().expect("only a convolution takes in a mean");
            let kernel = averaged(kernel, input, [h, w]);
            let node = &mut self.graph.nodes[place.node];
            node.op = Op::Conv(kernel);
            node.shape = [1, 1, channels];
            node.name = self.layers[index].name.clone();
            return Place { is_alone: self.readers[index] == 1, ..place };
        }
        let kernel = mean_under(&Window::whole([h, w]), channels);
        self.push_kernel(index, place, kernel)
    }

    /// Whether a node is a convolution that a mean over its output can join.
    fn takes_in_a_mean(&self, index: usize) -> bool {
        let node = &self.graph.nodes[index];
        let Op::Conv(kernel) = &node.op else { return false };
        let [h, w, _] = self.graph.nodes[node.inputs[0]].shape;
        kernel.activation == Activation::None && h * w <= MAX_FUSED_PIXELS
    }

    /// The graph, without nodes that the output does not need.
    fn finish(self) -> Result<FloatGraph, LayerError> {
        let last = &self.layers[self.layers.len() - 1];
        let output = self.places[self.places.len() - 1];
        if output.flat || !output.margins.is_none() {
            return Err(LayerError::new(&last.name, "a network can't end with it"));
        }
        let nodes = self.graph.nodes;
        let mut needed = vec![false; nodes.len()];
        (needed[0], needed[output.node]) = (true, true);
        for index in (0..nodes.len()).rev().filter(|i| *i <= output.node) {
            if needed[index] {
                nodes[index].inputs.iter().for_each(|input| needed[*input] = true);
            }
        }
        let mut place = vec![0; nodes.len()];
        let mut kept: Vec<Node> = Vec::new();
        for (index, mut node) in nodes.into_iter().enumerate() {
            if needed[index] {
                node.inputs.iter_mut().for_each(|input| *input = place[*input]);
                place[index] = kept.len();
                kept.push(node);
            }
        }
        Ok(FloatGraph { nodes: kept })
    }
}

fn not_flat(place: Place) -> Result<(), String> {
    if place.flat {
        return Err("only a dense layer can follow a Flatten; move the Flatten after it".into());
    }
    Ok(())
}

/// A filter's weights in this shape, over this window.
fn kernel(filter: &Filter, shape: [usize; 4], outputs: usize, window: Window) -> Kernel {
    Kernel {
        shape,
        weights: filter.weights.clone(),
        bias: filter.bias.clone().unwrap_or_else(|| vec![0.0; outputs]),
        window,
        activation: filter.activation,
    }
}

/// Each channel by itself, pixel by pixel.
fn by_channel(scale: Vec<f32>, shift: Vec<f32>, activation: Activation) -> Kernel {
    let shape = [1, 1, 1, scale.len()];
    Kernel { shape, weights: scale, bias: shift, window: Window::PIXEL, activation }
}

/// The mean under a window that stays on the picture.
fn mean_under(window: &Window, channels: usize) -> Kernel {
    let [h, w] = window.kernel;
    Kernel {
        shape: [1, h, w, channels],
        weights: vec![1.0 / (h * w) as f32; h * w * channels],
        bias: vec![0.0; channels],
        window: Window { padding: Padding::Valid, ..*window },
        activation: Activation::None,
    }
}

/// The mean over the picture of a convolution's output, of these sides, as one window over the
/// whole input: each input pixel's weight is the mean of those it had in all outputs.
fn averaged(kernel: &Kernel, [h, w, c]: Shape, [out_h, out_w]: [usize; 2]) -> Kernel {
    let [outputs, kh, kw, _] = kernel.shape;
    let share = 1.0 / (out_h * out_w) as f32;
    let mut weights = vec![0.0; outputs * h * w * c];
    for output in 0..out_h * out_w {
        let at = [output / out_w, output % out_w];
        for (tap, row, column) in kernel.window.taps([h, w], at) {
            for o in 0..outputs {
                let from = &kernel.weights[(o * kh * kw + tap) * c..][..c];
                let to = &mut weights[((o * h + row) * w + column) * c..][..c];
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from * share);
            }
        }
    }
    Kernel {
        shape: [outputs, h, w, c],
        weights,
        bias: kernel.bias.clone(),
        window: Window::whole([h, w]),
        activation: Activation::None,
    }
}

/// The kernel with these margins around its input, as `VALID` or `SAME`, grown by zeros if need be.
fn grown(
    kernel: &Kernel,
    sides: [usize; 2],
    margins: Margins,
    output: [usize; 2],
) -> Option<Kernel> {
    let stride = kernel.window.stride;
    let valid = Window { padding: Padding::Valid, ..kernel.window };
    if margins.top == 0 && margins.left == 0 && valid.output(sides) == Some(output) {
        return Some(Kernel { window: valid, ..kernel.clone() });
    }
    let before = [margins.top, margins.left];
    // Along each axis, the side of the grown kernel and how far the old one is inside.
    let axis = |i: usize| {
        let old = kernel.window.kernel[i];
        (old..=old + MAX_GROWTH).find_map(|side| {
            let window =
                Window { kernel: [side; 2], stride: [stride[i]; 2], padding: Padding::Same };
            let inside = window.margins([sides[i]; 2]).top.checked_sub(before[i])?;
            let fits = window.output([sides[i]; 2])?[0] == output[i] && inside + old <= side;
            fits.then_some((side, inside))
        })
    };
    let ((h, down), (w, right)) = (axis(0)?, axis(1)?);
    let [filters, old_h, old_w, channels] = kernel.shape;
    let mut weights = vec![0.0; filters * h * w * channels];
    for (row, from) in kernel.weights.chunks_exact(old_w * channels).enumerate() {
        let (filter, y) = (row / old_h, row % old_h);
        let start = ((filter * h + y + down) * w + right) * channels;
        weights[start..start + from.len()].copy_from_slice(from);
    }
    let window = Window { kernel: [h, w], stride, padding: Padding::Same };
    let bias = kernel.bias.clone();
    let shape = [filters, h, w, channels];
    Some(Kernel { shape, weights, bias, window, activation: kernel.activation })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the layers say, plainly: every value [height, width, channels] for one picture. Of a
    /// softmax, its logits.
    fn plainly(layers: &Layers, picture: &[f32]) -> Vec<f32> {
        let mut values: Vec<Vec<f32>> = Vec::new();
        for node in layers.nodes() {
            let inputs: Vec<&[f32]> = node.inputs.iter().map(|i| &values[*i][..]).collect();
            let [h, w, c] = node.inputs.first().map_or(node.shape, |i| layers.shape(*i));
            let at = |y: usize, x: usize, c_at: usize| (y * w + x) * c + c_at;
            let [_, out_w, out_c] = node.shape;
            let each = |f: &dyn Fn(usize, usize, usize) -> f32| -> Vec<f32> {
                let len = node.shape.iter().product();
                (0..len)
                    .map(|i: usize| f(i / out_c / out_w, i / out_c % out_w, i % out_c))
                    .collect()
            };
            let bias = |filter: &Filter, o: usize| filter.bias.as_ref().map_or(0.0, |b| b[o]);
            let value = match &node.layer {
                Layer::Input => picture.to_vec(),
                Layer::Conv(f) => each(&|y, x, o| {
                    let each_filter = f.window.kernel[0] * f.window.kernel[1] * c;
                    let taps = f.window.taps([h, w], [y, x]);
                    let of_tap = |(tap, row, column)| -> f32 {
                        let weights = &f.weights[o * each_filter + tap * c..][..c];
                        (0..c).map(|i| weights[i] * inputs[0][at(row, column, i)]).sum()
                    };
                    f.activation.of(bias(f, o) + taps.map(of_tap).sum::<f32>())
                }),
                Layer::Depthwise(f) => each(&|y, x, o| {
                    let taps = f.window.taps([h, w], [y, x]);
                    let sum: f32 = taps
                        .map(|(tap, row, column)| {
                            f.weights[tap * c + o] * inputs[0][at(row, column, o)]
                        })
                        .sum();
                    f.activation.of(bias(f, o) + sum)
                }),
                Layer::Dense(f) => each(&|_, _, o| {
                    let sum: f32 = (0..c).map(|i| f.weights[o * c + i] * inputs[0][i]).sum();
                    f.activation.of(bias(f, o) + sum)
                }),
                Layer::Affine { scale, shift } => {
                    each(&|y, x, o| inputs[0][at(y, x, o)] * scale[o] + shift[o])
                }
                Layer::Activation(activation) => {
                    inputs[0].iter().map(|v| activation.of(*v)).collect()
                }
                Layer::MaxPool(window) => each(&|y, x, o| {
                    let taps = window.taps([h, w], [y, x]);
                    taps.map(|(_, row, column)| inputs[0][at(row, column, o)])
                        .fold(f32::MIN, f32::max)
                }),
                Layer::AveragePool(window) => each(&|y, x, o| {
                    let under: Vec<f32> = window
                        .taps([h, w], [y, x])
                        .map(|(_, row, column)| inputs[0][at(row, column, o)])
                        .collect();
                    under.iter().sum::<f32>() / under.len() as f32
                }),
                Layer::GlobalAveragePool => each(&|_, _, o| {
                    inputs[0].iter().skip(o).step_by(c).sum::<f32>() / (h * w) as f32
                }),
                Layer::Pad(Margins { top, left, .. }) => {
                    each(&|y, x, o| match (y.checked_sub(*top), x.checked_sub(*left)) {
                        (Some(y), Some(x)) if y < h && x < w => inputs[0][at(y, x, o)],
                        _ => 0.0,
                    })
                }
                Layer::Add => inputs[0].iter().zip(inputs[1]).map(|(a, b)| a + b).collect(),
                Layer::Concat => {
                    let pixels = (0..h * w).flat_map(|pixel| {
                        inputs.iter().flat_map(move |x| {
                            let c = x.len() / (h * w);
                            x[pixel * c..][..c].to_vec()
                        })
                    });
                    pixels.collect()
                }
                Layer::Flatten | Layer::Identity | Layer::Softmax => inputs[0].to_vec(),
            };
            values.push(value);
        }
        values.pop().unwrap()
    }

    /// A network that grows, its weights drawn at random.
    struct Build {
        layers: Layers,
        random: fastrand::Rng,
    }

    impl Build {
        fn new(shape: Shape) -> Self {
            Self {
                layers: Layers::new("in", shape).unwrap(),
                random: fastrand::Rng::with_seed(shape.iter().sum::<usize>() as u64),
            }
        }

        fn numbers(&mut self, n: usize) -> Vec<f32> {
            (0..n).map(|_| self.random.f32() - 0.5).collect()
        }

        fn add(&mut self, layer: Layer, inputs: &[usize]) -> usize {
            let name = format!("layer{}", self.layers.nodes().len());
            self.layers.push(&name, layer, inputs).unwrap()
        }

        fn filter(&mut self, weights: usize, outputs: usize, window: Window) -> Filter {
            let (weights, bias) = (self.numbers(weights), Some(self.numbers(outputs)));
            Filter { weights, bias, window, activation: Activation::None }
        }

        fn conv(&mut self, input: usize, outputs: usize, window: Window) -> usize {
            let [kh, kw] = window.kernel;
            let weights = outputs * kh * kw * self.layers.shape(input)[2];
            let filter = self.filter(weights, outputs, window);
            self.add(Layer::Conv(filter), &[input])
        }

        fn depthwise(&mut self, input: usize, window: Window) -> usize {
            let channels = self.layers.shape(input)[2];
            let filter =
                self.filter(window.kernel[0] * window.kernel[1] * channels, channels, window);
            self.add(Layer::Depthwise(filter), &[input])
        }

        fn dense(&mut self, input: usize, outputs: usize) -> usize {
            let inputs = self.layers.shape(input)[2];
            let filter = self.filter(inputs * outputs, outputs, Window::PIXEL);
            self.add(Layer::Dense(filter), &[input])
        }

        fn affine(&mut self, input: usize) -> usize {
            let channels = self.layers.shape(input)[2];
            let (scale, shift) = (self.numbers(channels), self.numbers(channels));
            self.add(Layer::Affine { scale, shift }, &[input])
        }

        fn relu(&mut self, input: usize) -> usize {
            self.add(Layer::Activation(Activation::Relu), &[input])
        }

        /// The lowered network, which must say what the layers say.
        fn lowered(&mut self) -> FloatGraph {
            let graph = lower(&self.layers).unwrap();
            for _ in 0..3 {
                let picture = self.numbers(graph.input_len());
                let (got, want) = (graph.outputs(&picture), plainly(&self.layers, &picture));
                assert_eq!(got.len(), want.len());
                for (got, want) in got.iter().zip(&want) {
                    assert!((got - want).abs() < 1e-4, "{got} is not {want}");
                }
            }
            for kernel in graph.nodes.iter().filter_map(|node| node.op.kernel()) {
                assert!(!matches!(kernel.window.padding, Padding::Explicit(_)));
            }
            graph
        }
    }

    fn window(kernel: usize, stride: usize, padding: Padding) -> Window {
        Window { kernel: [kernel; 2], stride: [stride; 2], padding }
    }

    fn around(n: usize) -> Margins {
        Margins { top: n, bottom: n, left: n, right: n }
    }

    #[test]
    fn an_affine_joins_the_convolution_before_it_but_not_past_an_activation() {
        let mut build = Build::new([7, 6, 2]);
        let a = build.conv(0, 4, window(3, 1, Padding::Same));
        let a = build.affine(a);
        let a = build.relu(a);
        assert_eq!(build.lowered().nodes.len(), 2);
        let b = build.affine(a);
        let b = build.add(Layer::Identity, &[b]);
        build.depthwise(b, window(3, 2, Padding::Same));
        let graph = build.lowered();
        assert_eq!(graph.nodes.len(), 4);
        assert!(matches!(&graph.nodes[2].op, Op::Depthwise(k) if k.window == Window::PIXEL));
    }

    /// What two layers read must stay what both read.
    #[test]
    fn a_shared_value_is_not_changed() {
        let mut build = Build::new([5, 5, 2]);
        let a = build.conv(0, 3, window(3, 1, Padding::Same));
        let b = build.affine(a);
        let c = build.relu(a);
        let sum = build.add(Layer::Add, &[b, c]);
        let sum = build.relu(sum);
        build.add(Layer::Concat, &[sum, a, c]);
        let graph = build.lowered();
        assert!(graph.nodes.iter().any(|n| n.op == Op::Add(Activation::Relu)));
    }

    #[test]
    fn padding_of_any_kind_ends_in_same_or_valid() {
        for side in [8, 9] {
            for (kernel, stride, n) in [(3, 1, 1), (3, 2, 1), (5, 2, 2), (1, 2, 0), (7, 2, 3)] {
                let mut build = Build::new([side, side, 2]);
                let padding = Padding::Explicit(around(n));
                let a = build.conv(0, 3, window(kernel, stride, padding));
                build.depthwise(a, window(3, 1, Padding::Explicit(around(1))));
                build.lowered();
                // The same by a layer of its own.
                let mut build = Build::new([side, side, 2]);
                let a = build.add(Layer::Pad(around(n)), &[0]);
                build.conv(a, 3, window(kernel, stride, Padding::Valid));
                build.lowered();
            }
        }
    }

    /// Wherever a network pads, and by whatever.
    #[test]
    fn zeros_that_no_window_takes_are_pixels() {
        let odd = Margins { top: 1, bottom: 2, left: 0, right: 3 };
        let padded = |add: &dyn Fn(&mut Build, usize)| {
            let mut build = Build::new([8, 7, 2]);
            let a = build.conv(0, 3, window(3, 1, Padding::Same));
            let a = build.add(Layer::Pad(odd), &[a]);
            add(&mut build, a);
            let graph = build.lowered();
            assert!(graph.nodes.iter().any(|node| node.op == Op::Pad(odd)));
        };
        padded(&|b, a| {
            b.conv(a, 2, window(3, 1, Padding::Valid));
        });
        padded(&|b, a| {
            b.add(Layer::MaxPool(window(3, 2, Padding::Same)), &[a]);
        });
        padded(&|b, a| {
            b.affine(a);
        });
        padded(&|b, a| {
            b.add(Layer::GlobalAveragePool, &[a]);
        });
        padded(&|b, a| {
            let a = b.add(Layer::AveragePool(window(3, 2, Padding::Valid)), &[a]);
            let a = b.add(Layer::Flatten, &[a]);
            b.dense(a, 3);
        });
        padded(&|b, a| {
            let sum = b.add(Layer::Add, &[a, a]);
            b.add(Layer::Concat, &[sum, a]);
        });
        let mut build = Build::new([8, 8, 1]);
        let a = build.add(Layer::Pad(around(1)), &[0]);
        build.conv(a, 1, window(3, 1, Padding::Same));
        build.lowered();
    }

    #[test]
    fn pools_reach_beyond_the_edge() {
        for side in [7, 8] {
            let mut build = Build::new([side, side, 2]);
            let a = build.conv(0, 3, window(3, 1, Padding::Same));
            let a = build.relu(a);
            let a = build.add(Layer::MaxPool(window(3, 2, Padding::Explicit(around(1)))), &[a]);
            build.add(Layer::AveragePool(window(3, 1, Padding::Same)), &[a]);
            build.lowered();
        }
    }

    #[test]
    fn dense_layers_and_means_become_convolutions() {
        for side in [3, 6] {
            let mut build = Build::new([side, side, 2]);
            let a = build.conv(0, 5, window(3, 1, Padding::Same));
            build.add(Layer::GlobalAveragePool, &[a]);
            let graph = build.lowered();
            assert_eq!(graph.nodes.len(), if side == 3 { 2 } else { 3 });
        }
        let mut build = Build::new([6, 4, 2]);
        let a = build.add(Layer::AveragePool(window(2, 2, Padding::Same)), &[0]);
        let a = build.add(Layer::MaxPool(window(2, 1, Padding::Valid)), &[a]);
        let a = build.add(Layer::Flatten, &[a]);
        let a = build.add(Layer::Identity, &[a]);
        let a = build.dense(a, 8);
        let a = build.affine(a);
        let a = build.relu(a);
        let a = build.dense(a, 3);
        build.add(Layer::Softmax, &[a]);
        let graph = build.lowered();
        assert_eq!(graph.nodes.len(), 5);
        assert_eq!(graph.macs(), 3 * 2 * 4 * 2 + 2 * 2 * 8 + 8 * 3);
    }

    #[test]
    fn what_leads_nowhere_is_left_out() {
        let mut build = Build::new([4, 4, 1]);
        let a = build.conv(0, 2, window(3, 1, Padding::Same));
        build.conv(a, 9, window(1, 1, Padding::Same));
        build.conv(a, 3, window(1, 1, Padding::Same));
        assert_eq!(build.lowered().nodes.len(), 3);
    }

    #[test]
    fn what_no_file_can_hold_is_refused_by_name() {
        let refused = |add: &dyn Fn(&mut Build)| {
            let mut build = Build::new([6, 6, 2]);
            add(&mut build);
            lower(&build.layers).unwrap_err().to_string()
        };
        let softmax = refused(&|b| {
            let a = b.add(Layer::Softmax, &[0]);
            b.conv(a, 1, Window::PIXEL);
        });
        assert!(softmax.contains("layer1") && softmax.contains("at the end"), "{softmax}");
        let far = refused(&|b| {
            let far = Margins { top: 1 << 40, ..Margins::default() };
            let window = Window { stride: [1 << 40, 1], ..window(3, 1, Padding::Explicit(far)) };
            b.conv(0, 1, window);
        });
        assert!(far.contains("layer1") && far.contains("padding can't be used"), "{far}");
        let padded = refused(&|b| {
            b.add(Layer::MaxPool(window(3, 2, Padding::Explicit(around(1)))), &[0]);
        });
        assert!(padded.contains("max pool with padding"), "{padded}");
        let flat = refused(&|b| {
            let a = b.add(Layer::Flatten, &[0]);
            b.affine(a);
        });
        assert!(flat.contains("layer2") && flat.contains("dense"), "{flat}");
        let edge = refused(&|b| {
            b.add(Layer::AveragePool(window(3, 1, Padding::Explicit(around(2)))), &[0]);
        });
        assert!(edge.contains("an average with padding"), "{edge}");
        let end = refused(&|b| {
            b.add(Layer::Flatten, &[0]);
        });
        assert!(end.contains("can't end"), "{end}");
    }
}
