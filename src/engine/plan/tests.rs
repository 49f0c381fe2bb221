//! Plans of random networks give the plain interpreter's codes, on every set of kernels.

use std::collections::BTreeMap;

use super::super::Quantization;
use super::super::interpret::interpret;
use super::super::kernels;
use super::super::network::{Filter, Int8Network, Int8Op, Shape, Step, Value};
use super::super::window::{Activation, Padding, Window};
use super::*;

/// A network that grows by random steps.
struct Growing {
    rng: fastrand::Rng,
    network: Int8Network,
}

impl Growing {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let shape = [rng.usize(1..=14), rng.usize(1..=14), [1, 3, 5, 16][rng.usize(..4)]];
        let (steps, metadata) = (Vec::new(), BTreeMap::new());
        let network = Int8Network { values: Vec::new(), steps, input: 0, output: 0, metadata };
        let mut growing = Self { rng, network };
        growing.value(shape, None);
        growing
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
        [Activation::None, Activation::Relu, Activation::Relu6][self.rng.usize(..3)]
    }

    /// A window that fits, and the sides it gives.
    fn window(&mut self, sides: [usize; 2], most: usize) -> (Window, [usize; 2]) {
        let rng = &mut self.rng;
        loop {
            let kernel = [rng.usize(1..=most), rng.usize(1..=most)];
            let stride = [rng.usize(1..=3), rng.usize(1..=3)];
            let padding = [Padding::Same, Padding::Valid][rng.usize(..2)];
            let window = Window { kernel, stride, padding };
            let inside = (0..2).all(|i| kernel[i] <= sides[i]);
            if let Some(output) = window.output(sides).filter(|_| inside) {
                return (window, output);
            }
        }
    }

    fn filter(&mut self, shape: [usize; 4], outputs: usize, window: Window) -> Filter {
        let activation = self.activation();
        let rng = &mut self.rng;
        let weights: usize = shape.iter().product();
        let each = weights / outputs;
        Filter {
            shape,
            weights: (0..weights).map(|_| rng.i8(..)).collect(),
            scales: (0..outputs).map(|_| (0.3 + rng.f32()) / (40.0 * each as f32).sqrt()).collect(),
            bias: (0..outputs).map(|_| rng.i32(-3000..3000)).collect(),
            window,
            activation,
        }
    }

    fn conv(&mut self, from: usize, window: Option<Window>, code: Option<Quantization>) {
        let [h, w, c] = self.network.values[from].shape;
        let (window, [y, x]) = match window {
            Some(window) => (window, [h, w]),
            None => self.window([h, w], 4),
        };
        let outputs = if code.is_some() { c } else { self.rng.usize(1..=80) };
        let [kh, kw] = window.kernel;
        let filter = self.filter([outputs, kh, kw, c], outputs, window);
        self.push(Int8Op::Conv(filter), vec![from], [y, x, outputs], code);
    }

    fn depthwise(&mut self, from: usize) {
        let [h, w, c] = self.network.values[from].shape;
        let (window, [y, x]) = self.window([h, w], 3);
        let [kh, kw] = window.kernel;
        let filter = self.filter([1, kh, kw, c], c, window);
        self.push(Int8Op::Depthwise(filter), vec![from], [y, x, c], None);
    }

    fn grow(&mut self) {
        let last = self.network.output;
        let Value { shape, quantization, .. } = self.network.values[last].clone();
        let [h, w, _] = shape;
        match self.rng.u8(..8) {
            0 | 1 => self.conv(last, None, None),
            2 => self.depthwise(last),
            3 => {
                self.depthwise(last);
                self.conv(self.network.output, Some(Window::PIXEL), None);
            }
            4 => {
                let (window, [y, x]) = self.window([h, w], 3);
                let op = Int8Op::MaxPool(window);
                self.push(op, vec![last], [y, x, shape[2]], Some(quantization));
            }
            // A block with a shortcut, in either order, or a value added to itself.
            5 | 6 => {
                let pixel = [Window::PIXEL, Window { padding: Padding::Same, ..Window::PIXEL }];
                let window = pixel[self.rng.usize(..2)];
                self.conv(last, Some(window), Some(quantization));
                let main = self.network.output;
                let mut inputs = vec![main, [last, main][self.rng.usize(..2)]];
                if self.rng.bool() {
                    inputs.reverse();
                }
                let activation = self.activation();
                self.push(Int8Op::Add(activation), inputs, shape, Some(quantization));
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

fn random(seed: u64) -> Int8Network {
    let mut growing = Growing::new(seed);
    for _ in 0..growing.rng.usize(1..=9) {
        growing.grow();
    }
    if growing.network.steps.is_empty() {
        growing.conv(0, None, None);
    }
    growing.network
}

#[test]
fn plans_of_random_networks_give_the_plain_codes() {
    let mut workspaces = 0;
    for seed in 0..if cfg!(miri) { 3 } else { 800 } {
        let network = random(seed);
        let mut rng = fastrand::Rng::with_seed(seed);
        let len = network.values[network.input].shape.iter().product();
        let pictures: Vec<Vec<i8>> =
            (0..rng.usize(1..=11)).map(|_| (0..len).map(|_| rng.i8(..)).collect()).collect();
        let plain: Vec<i8> = pictures.iter().flat_map(|codes| interpret(&network, codes)).collect();
        for kernels in kernels::available() {
            let plan = Plan::new(&network, kernels).unwrap();
            let mut workspace = plan.workspace(rng.usize(1..=5));
            // Again in the same memory: nothing of the first run is left over.
            for _ in 0..2 {
                let mut output = vec![0; plain.len()];
                plan.run(&mut workspace, &pictures.concat(), &mut output);
                assert_eq!(output, plain, "seed {seed}, {}", kernels.name);
            }
            workspaces += plan.workspace_bytes();
        }
    }
    assert!(workspaces > 0);
}

#[test]
fn scales_too_far_apart_are_not_planned() {
    let mut growing = Growing::new(1);
    growing.conv(0, Some(Window::PIXEL), None);
    growing.network.values[0].quantization.scale = 1e30;
    growing.network.values[1].quantization.scale = 1e-30;
    let error = Plan::new(&growing.network, kernels::select()).err();
    assert_eq!(error, Some(Unplanned::Scales("1".into())));
}
