//! Random int8 networks: windows, strides, paddings, shortcuts, joined channels, means, extreme weights.

use std::collections::BTreeMap;

use mien::engine::Quantization;
use mien::engine::arithmetic::unary::Unary;
use mien::engine::network::{Filter, Int8Network, Int8Op, Shape, Step, Value};
use mien::engine::window::{Activation, Margins, Padding, Window};

/// Which operations a network grows by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kinds {
    /// Those that stock tract computes as LiteRT does.
    InTract,
    /// Those that a file holds each as one operator.
    InFiles,
    /// All of the engine's own.
    All,
}

/// A network that grows by random steps.
pub struct Growing {
    pub rng: fastrand::Rng,
    pub network: Int8Network,
    kinds: Kinds,
}

impl Growing {
    /// Nothing but an input of this shape.
    pub fn new(rng: fastrand::Rng, kinds: Kinds, shape: Shape) -> Self {
        let (steps, metadata) = (Vec::new(), BTreeMap::new());
        let network = Int8Network { values: Vec::new(), steps, input: 0, output: 0, metadata };
        let mut growing = Self { rng, network, kinds };
        growing.value(shape, None);
        growing
    }

    /// Pushes a few steps, at least one.
    pub fn grow(&mut self) {
        for _ in 0..self.rng.usize(1..=9) {
            self.step();
        }
        if self.network.steps.is_empty() {
            let outputs = self.rng.usize(1..=80);
            self.conv(0, None, outputs, None);
        }
    }

    fn value(&mut self, shape: Shape, code: Option<Quantization>) -> usize {
        let rng = &mut self.rng;
        let drawn = Quantization { scale: 0.02 + rng.f32() / 20.0, zero_point: rng.i8(-60..60) };
        let (name, quantization) = (self.network.values.len().to_string(), code.unwrap_or(drawn));
        self.network.values.push(Value { name, shape, quantization });
        self.network.values.len() - 1
    }

    fn push(&mut self, op: Int8Op, inputs: Vec<usize>, shape: Shape, code: Option<Quantization>) {
        let output = self.value(shape, code);
        self.network.steps.push(Step { op, inputs, output });
        self.network.output = output;
    }

    fn activation(&mut self) -> Activation {
        let of = [Activation::None, Activation::Relu, Activation::Relu6, Activation::ReluN1To1];
        of[self.rng.usize(..if self.kinds == Kinds::InTract { 3 } else { 4 })]
    }

    /// A code with a scale like another's, or twice or half of it, which makes halves to round.
    fn code_near(&mut self, code: Quantization) -> Quantization {
        let factor = [0.5, 1.0, 2.0, 0.6 + self.rng.f32()][self.rng.usize(..4)];
        Quantization { scale: code.scale * factor, zero_point: self.rng.i8(-60..60) }
    }

    /// A window that fits, and the sides it gives. Those of pools have no margins of their own and are not
    /// larger than the picture.
    fn window(&mut self, sides: [usize; 2], of_pool: bool) -> (Window, [usize; 2]) {
        let most = if of_pool { 3 } else { 4 };
        let paddings = if of_pool || self.kinds != Kinds::All { 2 } else { 3 };
        let rng = &mut self.rng;
        loop {
            let kernel = [rng.usize(1..=most), rng.usize(1..=most)];
            let stride = [rng.usize(1..=3), rng.usize(1..=3)];
            let padding = match rng.usize(..paddings) {
                0 => Padding::Same,
                1 => Padding::Valid,
                _ => Padding::Explicit(margins(rng)),
            };
            let window = Window { kernel, stride, padding };
            let inside = !of_pool || (0..2).all(|i| kernel[i] <= sides[i]);
            if let Some(output) = window.output(sides).filter(|_| inside) {
                return (window, output);
            }
        }
    }

    fn filter(&mut self, shape: [usize; 4], outputs: usize, window: Window) -> Filter {
        let activation = self.activation();
        let rng = &mut self.rng;
        // No quantizer writes -128, and a kernel may have a way of its own for it.
        let least = [-127, i8::MIN][rng.usize(..2)];
        let weights: usize = shape.iter().product();
        let each = weights / outputs;
        Filter {
            shape,
            weights: (0..weights).map(|_| rng.i8(least..)).collect(),
            scales: (0..outputs).map(|_| (0.3 + rng.f32()) / (40.0 * each as f32).sqrt()).collect(),
            bias: (0..outputs).map(|_| rng.i32(-3000..3000)).collect(),
            window,
            activation,
        }
    }

    /// A convolution, under a random window if none is given.
    pub fn conv(
        &mut self,
        from: usize,
        window: Option<Window>,
        outputs: usize,
        code: Option<Quantization>,
    ) {
        let [h, w, c] = self.network.values[from].shape;
        let (window, [y, x]) = match window {
            Some(window) => (window, window.output([h, w]).expect("a window that fits")),
            None => self.window([h, w], false),
        };
        let [kh, kw] = window.kernel;
        let filter = self.filter([outputs, kh, kw, c], outputs, window);
        self.push(Int8Op::Conv(filter), vec![from], [y, x, outputs], code);
    }

    fn depthwise(&mut self, from: usize) {
        let [h, w, c] = self.network.values[from].shape;
        let (window, [y, x]) = self.window([h, w], false);
        let [kh, kw] = window.kernel;
        let filter = self.filter([1, kh, kw, c], c, window);
        self.push(Int8Op::Depthwise(filter), vec![from], [y, x, c], None);
    }

    fn step(&mut self) {
        let last = self.network.output;
        let Value { shape, quantization, .. } = self.network.values[last].clone();
        let [h, w, _] = shape;
        let outputs = self.rng.usize(1..=80);
        let kinds = match self.kinds {
            Kinds::InTract => 8,
            Kinds::InFiles => 19,
            Kinds::All => 20,
        };
        match self.rng.u8(..kinds) {
            0 | 1 => self.conv(last, None, outputs, None),
            2 => self.depthwise(last),
            3 => {
                self.depthwise(last);
                self.conv(self.network.output, Some(Window::PIXEL), outputs, None);
            }
            4 => {
                let (window, [y, x]) = self.window([h, w], true);
                let op = Int8Op::MaxPool(window, self.activation());
                self.push(op, vec![last], [y, x, shape[2]], Some(quantization));
            }
            // A block with a shortcut, in either order, or a value added to itself.
            5 | 6 => {
                let pixel = [Window::PIXEL, Window { padding: Padding::Same, ..Window::PIXEL }];
                let window = pixel[self.rng.usize(..2)];
                self.conv(last, Some(window), shape[2], Some(quantization));
                let main = self.network.output;
                let mut inputs = vec![main, [last, main][self.rng.usize(..2)]];
                if self.rng.bool() {
                    inputs.reverse();
                }
                let activation = self.activation();
                self.push(Int8Op::Add(activation), inputs, shape, Some(quantization));
            }
            8 => {
                let (window, [y, x]) = self.window([h, w], true);
                // LiteRT rounds an average pool's 6 by another rule than all others.
                let activation = [Activation::None, Activation::Relu][self.rng.usize(..2)];
                let op = Int8Op::AveragePool(window, activation);
                self.push(op, vec![last], [y, x, shape[2]], Some(quantization));
            }
            9 => {
                let margins = margins(&mut self.rng);
                let [rows, columns] = margins.by_axis().map(|[before, after]| before + after);
                let shape = [h + rows, w + columns, shape[2]];
                self.push(Int8Op::Pad(margins), vec![last], shape, Some(quantization));
            }
            // Of two codes, or of one and another's.
            10 => {
                let code = [None, Some(quantization)][self.rng.usize(..2)];
                self.conv(last, Some(Window::PIXEL), shape[2], code);
                let main = self.network.output;
                let mut inputs = vec![main, last];
                if self.rng.bool() {
                    inputs.reverse();
                }
                let activation = self.activation();
                let code = self.code_near(quantization);
                self.push(Int8Op::Add(activation), inputs, shape, Some(code));
            }
            11 if self.rng.u8(..4) == 0 => {
                let code = self.code_near(quantization);
                self.push(Int8Op::Mean, vec![last], [1, 1, shape[2]], Some(code));
            }
            // With a row that is a constant, or the mean of all, as in squeeze and excitation.
            12 | 13 => {
                if self.rng.bool() {
                    let codes = (0..shape[2]).map(|_| self.rng.i8(..)).collect();
                    self.push(Int8Op::Constant(codes), Vec::new(), [1, 1, shape[2]], None);
                } else {
                    self.push(Int8Op::Mean, vec![last], [1, 1, shape[2]], None);
                }
                let row = self.network.output;
                let activation = self.activation();
                let op = [
                    Int8Op::Add(activation),
                    Int8Op::Subtract(activation),
                    Int8Op::Multiply(activation),
                    Int8Op::Prelu,
                ];
                let op = op[self.rng.usize(..4)].clone();
                let code = self.code_near(quantization);
                self.push(op, vec![last, row], shape, Some(code));
            }
            14 => {
                self.conv(last, Some(Window::PIXEL), shape[2], None);
                let inputs = vec![self.network.output, last];
                let activation = self.activation();
                let op = [Int8Op::Subtract(activation), Int8Op::Multiply(activation)];
                let op = op[self.rng.usize(..2)].clone();
                self.push(op, inputs, shape, None);
            }
            17 => {
                let [h, w, c] = shape;
                let shapes = [[w, h, c], [1, h * w, c], [h, c, w], [1, 1, h * w * c]];
                let shape = shapes[self.rng.usize(..if h * w * c > 3000 { 3 } else { 4 })];
                self.push(Int8Op::Reshape, vec![last], shape, Some(quantization));
            }
            // Of the rest of a constant picture, as batch norms of one number leave it.
            18 => {
                let codes = (0..shape.iter().product()).map(|_| self.rng.i8(..)).collect();
                self.push(Int8Op::Constant(codes), Vec::new(), shape, None);
                let inputs = vec![self.network.output, last];
                let op = Int8Op::Subtract(self.activation());
                let code = self.code_near(quantization);
                self.push(op, inputs, shape, Some(code));
            }
            19 => {
                let by = [self.rng.usize(1..=3), self.rng.usize(1..=3)];
                let shape = [(h - 1) * by[0] + 1, (w - 1) * by[1] + 1, shape[2]];
                self.push(Int8Op::Space(by), vec![last], shape, Some(quantization));
            }
            15 | 16 => {
                let of = |scale, zero_point| Quantization { scale, zero_point };
                let near = self.code_near(quantization);
                let slope = [0.05, 0.9, 0.001][self.rng.usize(..3)] * self.rng.f32();
                let (unary, code) = [
                    (Unary::Logistic, of(1.0 / 256.0, i8::MIN)),
                    (Unary::Tanh, of(1.0 / 128.0, 0)),
                    (Unary::Relu, near),
                    (Unary::Relu6, near),
                    (Unary::Relu0To1, near),
                    (Unary::ReluN1To1, near),
                    (Unary::Abs, near),
                    (Unary::Elu, near),
                    (Unary::HardSwish, near),
                    (Unary::LeakyRelu { slope }, near),
                    (Unary::Requantize, near),
                ][self.rng.usize(..11)];
                self.push(Int8Op::Unary(unary), vec![last], shape, Some(code));
            }
            _ => {
                let alike = |value: &Value| {
                    value.shape[..2] == shape[..2] && value.quantization == quantization
                };
                let values = self.network.values.iter().enumerate();
                let mut inputs: Vec<usize> =
                    values.filter(|(_, value)| alike(value)).map(|(i, _)| i).collect();
                inputs.push(last);
                let channels = inputs.iter().map(|&i| self.network.values[i].shape[2]).sum();
                if channels < 150 {
                    self.push(Int8Op::Concat, inputs, [h, w, channels], Some(quantization));
                }
            }
        }
    }
}

/// Up to two rows and columns at each side.
fn margins(rng: &mut fastrand::Rng) -> Margins {
    let mut side = || rng.usize(..3);
    Margins { top: side(), bottom: side(), left: side(), right: side() }
}
