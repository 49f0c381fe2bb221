//! From a network to stages and their places in memory.

use super::super::arithmetic::mean::Mean;
use super::super::arithmetic::pairs::PairRule;
use super::super::kernels::{Code, Kernels, LANES, PackedConv, PackedDepthwise};
use super::super::network::{Filter, Int8Network, Int8Op, Step, Value};
use super::super::quantization::Quantization;
use super::super::window::{Activation, Margins, Window};
use super::arena::Allocator;
use super::average::{Average, Rule};
use super::band::{Source, TILE};
use super::pad::Pad;
use super::rows::{PaddedRows, Taps};
use super::stage::Stage;
use super::{Place, Plan, Sizes};

/// Sums are scaled down in any network that was trained. LiteRT refuses such a factor, and tract adds
/// the zero point to what no longer fits its integers.
const MAX_FACTOR: f32 = 256.0;

/// Why a network can't be planned; its reference then runs it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unplanned {
    /// Scales so far apart that sums would be scaled up by 256 or more.
    #[error("the scales of `{0}` are too far apart")]
    Scales(String),
}

/// Compiles `network` for `kernels`.
pub fn plan(network: &Int8Network, kernels: &'static Kernels) -> Result<Plan, Unplanned> {
    let fusion = Fusion::of(network);
    let (places, arena) = places(network, &fusion);
    let builder = Builder { network, kernels, fusion: &fusion, places: &places };
    let stages = builder.stages()?;
    let (mut rows, mut tile) = (0, 0);
    for stage in &stages {
        let (stage_rows, stage_tile) = stage.scratch();
        (rows, tile) = (rows.max(stage_rows), tile.max(stage_tile));
    }
    let [input, output] = [network.input, network.output].map(|value| places[value].clone());
    Ok(Plan { kernels, stages, input, output, sizes: Sizes { arena, rows, tile } })
}

/// Which steps run within others.
struct Fusion {
    /// By step: the step that runs before this one and is part of it.
    before: Vec<Option<usize>>,
    /// By step: whether it is part of another.
    absorbed: Vec<bool>,
}

impl Fusion {
    fn of(network: &Int8Network) -> Self {
        let steps = &network.steps;
        let mut producer = vec![None; network.values.len()];
        let mut uses = vec![0; network.values.len()];
        uses[network.output] += 1;
        for (i, step) in steps.iter().enumerate() {
            producer[step.output] = Some(i);
            for &input in &step.inputs {
                uses[input] += 1;
            }
        }
        let count = steps.len();
        let mut fusion = Self { before: vec![None; count], absorbed: vec![false; count] };
        for (i, step) in steps.iter().enumerate() {
            // What only this step reads need not be kept.
            let own = |input: &usize| producer[*input].filter(|_| uses[*input] == 1);
            let part = match &step.op {
                Int8Op::Conv(filter) if is_pixel(&filter.window) => {
                    let before = step.inputs.first().and_then(own);
                    before.filter(|&p| matches!(steps[p].op, Int8Op::Depthwise(_)))
                }
                // Of two convolutions the later one: the other's output is then there to be added.
                Int8Op::Add(_) if is_of_alikes(network, step) => {
                    let convs = step.inputs.iter().filter_map(own);
                    convs.filter(|&p| matches!(steps[p].op, Int8Op::Conv(_))).max()
                }
                _ => None,
            };
            let Some(part) = part else { continue };
            fusion.before[i] = Some(part);
            fusion.absorbed[part] = true;
        }
        fusion
    }

    /// Values that step `i`, with all that runs within it, reads.
    fn inputs(&self, network: &Int8Network, i: usize) -> Vec<usize> {
        let step = &network.steps[i];
        let Some(part) = self.before[i] else { return step.inputs.clone() };
        let made = network.steps[part].output;
        let mut inputs = self.inputs(network, part);
        inputs.extend(step.inputs.iter().filter(|&&input| input != made));
        inputs
    }
}

fn is_of_alikes(network: &Int8Network, step: &Step) -> bool {
    let of = |value: usize| &network.values[value];
    let alike = |x: &Value, y: &Value| x.quantization == y.quantization && x.shape == y.shape;
    step.inputs.iter().all(|&input| alike(of(input), of(step.output)))
}

/// Whether it takes each pixel by itself.
fn is_pixel(window: &Window) -> bool {
    takes_pixels(window) && window.stride == [1, 1]
}

/// Whether it takes nothing but pixels of the picture, one at a time.
fn takes_pixels(window: &Window) -> bool {
    window.kernel == [1, 1] && window.margins([1, 1]).is_none()
}

/// Places of the values that are kept, and the bytes that all take.
fn places(network: &Int8Network, fusion: &Fusion) -> (Vec<Place>, usize) {
    let place = |(i, value): (usize, &Value)| {
        let [height, width, channels] = value.shape;
        // Few input channels are not filled up; only convolutions read such.
        let dense = i == network.input && only_convolutions_read(network, i);
        let step = if dense { channels } else { channels.next_multiple_of(LANES) };
        Place { offset: 0, height, width, step, channels }
    };
    let mut places: Vec<Place> = network.values.iter().enumerate().map(place).collect();
    let kept: Vec<usize> = (0..network.steps.len()).filter(|&i| !fusion.absorbed[i]).collect();
    let mut last_use = vec![None; network.values.len()];
    for (time, &step) in kept.iter().enumerate() {
        for input in fusion.inputs(network, step) {
            last_use[input] = Some(time);
        }
    }
    last_use[network.output] = Some(kept.len());
    let mut allocator = Allocator::default();
    places[network.input].offset = allocator.take(places[network.input].room());
    for (time, &step) in kept.iter().enumerate() {
        let output = network.steps[step].output;
        places[output].offset = allocator.take(places[output].room());
        let mut done = fusion.inputs(network, step);
        done.push(output);
        done.sort_unstable();
        done.dedup();
        for value in done {
            if last_use[value].is_none_or(|last| last <= time) {
                allocator.give_back(places[value].offset);
            }
        }
    }
    (places, allocator.len)
}

fn only_convolutions_read(network: &Int8Network, value: usize) -> bool {
    let reads = |step: &&Step| step.inputs.contains(&value);
    value != network.output
        && network.steps.iter().filter(reads).all(|step| matches!(step.op, Int8Op::Conv(_)))
}

struct Builder<'a> {
    network: &'a Int8Network,
    kernels: &'static Kernels,
    fusion: &'a Fusion,
    places: &'a [Place],
}

impl Builder<'_> {
    fn stages(&self) -> Result<Vec<Stage>, Unplanned> {
        let kept = (0..self.network.steps.len()).filter(|&i| !self.fusion.absorbed[i]);
        kept.map(|i| self.stage(i)).collect()
    }

    fn stage(&self, i: usize) -> Result<Stage, Unplanned> {
        let step = &self.network.steps[i];
        let output = self.place(step.output);
        let input = || self.place(step.inputs[0]);
        Ok(match &step.op {
            Int8Op::Conv(filter) => self.conv(i, filter, None, output)?,
            Int8Op::Depthwise(filter) => {
                let (rows, packed) = self.depthwise(step, filter)?;
                Stage::Depthwise { input: input(), rows, filter: packed, output }
            }
            Int8Op::Add(activation) if is_of_alikes(self.network, step) => {
                self.sum(i, *activation, output)?
            }
            Int8Op::Add(_) | Int8Op::Subtract(_) | Int8Op::Multiply(_) | Int8Op::Prelu => {
                let codes = [0, 1].map(|i| self.quantization(step.inputs[i]));
                let rule = PairRule::new(&step.op, codes, self.quantization(step.output));
                Stage::Pairs { inputs: self.two_inputs(step), rule: self.near(step, rule)?, output }
            }
            Int8Op::MaxPool(window, activation) => {
                self.max_pool(step, *window, *activation, output)
            }
            Int8Op::AveragePool(window, activation) => {
                let [low, high] = activation.limits(self.quantization(step.output));
                self.average(step, *window, Rule::Window { low, high })
            }
            Int8Op::Mean => {
                let [x, y] = [step.inputs[0], step.output].map(|value| &self.network.values[value]);
                let window = Window::whole([x.shape[0], x.shape[1]]);
                self.average(step, window, Rule::Whole(Mean::new(x, y)))
            }
            Int8Op::Unary(unary) => {
                let [x, y] = [step.inputs[0], step.output].map(|value| self.quantization(value));
                let table = self.near(step, unary.table(x, y))?;
                Stage::Table { input: input(), table: self.stored_table(&table), output }
            }
            Int8Op::Constant(codes) => {
                let mut bytes = vec![0; output.len()];
                for (byte, code) in output.used_mut(&mut bytes).zip(codes) {
                    *byte = self.stored_byte(*code);
                }
                Stage::Constant { bytes, output }
            }
            Int8Op::Reshape => Stage::Reshape { input: input(), output },
            Int8Op::InTract(operator) => {
                let inputs = step.inputs.iter();
                let inputs = inputs.map(|&input| (self.place(input), self.quantization(input)));
                let (operator, code) = (operator.clone(), self.quantization(step.output));
                Stage::InTract { operator, inputs: inputs.collect(), code, output }
            }
            Int8Op::Pad(margins) => {
                let (margins, zero) = (*margins, self.stored_zero(step.output));
                Stage::Pad(Pad { input: input(), margins, step: [1, 1], zero, output })
            }
            Int8Op::Space(by) => {
                let (margins, zero) = (Margins::default(), self.stored_zero(step.output));
                Stage::Pad(Pad { input: input(), margins, step: *by, zero, output })
            }
            Int8Op::Concat => {
                let inputs = step.inputs.iter().map(|&input| self.place(input)).collect();
                Stage::Concat { inputs, output }
            }
        })
    }

    fn place(&self, value: usize) -> Place {
        self.places[value].clone()
    }

    /// Of two values of one code and shape with the output's.
    fn sum(&self, i: usize, activation: Activation, output: Place) -> Result<Stage, Unplanned> {
        let step = &self.network.steps[i];
        let code = self.code(step.output, activation);
        if let Some(part) = self.fusion.before[i] {
            let conv = &self.network.steps[part];
            let Int8Op::Conv(filter) = &conv.op else { unreachable!("sums take in convolutions") };
            let other = step.inputs.iter().find(|&&input| input != conv.output);
            let other = self.place(*other.expect("one of the two is another's"));
            return self.conv(part, filter, Some((other, code)), output);
        }
        Ok(Stage::Add { inputs: self.two_inputs(step), code, output })
    }

    fn max_pool(
        &self,
        step: &Step,
        window: Window,
        activation: Activation,
        output: Place,
    ) -> Stage {
        let [height, width] = window.kernel;
        let firsts: Vec<usize> = (0..height).map(|y| y * width).collect();
        // The least code never wins against a tap within the picture.
        let rows = self.rows(step, window, Taps::Each(&firsts), self.stored_byte(i8::MIN));
        let limits = activation.limits(self.quantization(step.output)).map(|limit| limit as i8);
        Stage::MaxPool { input: self.place(step.inputs[0]), rows, width, limits, output }
    }

    fn average(&self, step: &Step, window: Window, rule: Rule) -> Stage {
        let [input, output] = [step.inputs[0], step.output].map(|value| self.place(value));
        Stage::Average(Average { input, window, rule, flip: self.kernels.flip, output })
    }

    /// The two values that a step reads.
    fn two_inputs(&self, step: &Step) -> [Place; 2] {
        [step.inputs[0], step.inputs[1]].map(|input| self.place(input))
    }

    /// There is a rule where codes are not too far apart.
    fn near<T>(&self, step: &Step, rule: Option<T>) -> Result<T, Unplanned> {
        rule.ok_or_else(|| Unplanned::Scales(self.network.values[step.output].name.clone()))
    }

    fn conv(
        &self,
        i: usize,
        filter: &Filter,
        residual: Option<(Place, Code)>,
        output: Place,
    ) -> Result<Stage, Unplanned> {
        let step = &self.network.steps[i];
        let (input, window) = (step.inputs[0], filter.window);
        let source = if let Some(part) = self.fusion.before[i] {
            let depthwise = &self.network.steps[part];
            let Int8Op::Depthwise(filter) = &depthwise.op else {
                unreachable!("convolutions take in depthwise ones")
            };
            let (rows, packed) = self.depthwise(depthwise, filter)?;
            Source::Depthwise(self.place(depthwise.inputs[0]), rows, packed)
        } else if is_pixel(&window) {
            Source::Pixels(self.place(input))
        } else if takes_pixels(&window) {
            Source::Strided { input: self.place(input), stride: window.stride }
        } else {
            let rows = self.rows(step, window, Taps::Rows, self.stored_zero(input));
            Source::Rows(self.place(input), rows)
        };
        let factors = self.factors(step, filter)?;
        let (zero, code) = self.codes(step, filter);
        let filter = PackedConv::new(self.kernels, filter, &factors, zero, code);
        Ok(Stage::Conv { source, filter, residual, output })
    }

    fn depthwise(
        &self,
        step: &Step,
        filter: &Filter,
    ) -> Result<(PaddedRows, PackedDepthwise), Unplanned> {
        let factors = self.factors(step, filter)?;
        let (zero, code) = self.codes(step, filter);
        let packed = PackedDepthwise::new(self.kernels, filter, &factors, zero, code);
        let taps = Taps::Each(packed.taps());
        let rows = self.rows(step, filter.window, taps, self.stored_zero(step.inputs[0]));
        Ok((rows, packed))
    }

    fn rows(&self, step: &Step, window: Window, taps: Taps, fill: u8) -> PaddedRows {
        let input = step.inputs[0];
        let [from, to] = [input, step.output].map(|value| self.network.values[value].shape);
        PaddedRows::new(from, self.places[input].step, window, to, taps, fill)
    }

    /// What a channel's sum is multiplied by, in the order of operations that
    /// [`interpret`](super::super::interpret::interpret) has.
    fn factors(&self, step: &Step, filter: &Filter) -> Result<Vec<f32>, Unplanned> {
        let [x, y] = [step.inputs[0], step.output].map(|value| &self.network.values[value]);
        let scales = filter.scales.iter();
        let factors: Vec<f32> =
            scales.map(|scale| x.quantization.scale * scale / y.quantization.scale).collect();
        match factors.iter().all(|&factor| factor < MAX_FACTOR) {
            true => Ok(factors),
            false => Err(Unplanned::Scales(y.name.clone())),
        }
    }

    /// The stored zero point of a filter's input, and the code of its output.
    fn codes(&self, step: &Step, filter: &Filter) -> (i32, Code) {
        let zero = self.stored(self.quantization(step.inputs[0]).zero_point.into());
        (zero, self.code(step.output, filter.activation))
    }

    /// A value's stored zero point, and its limits after an activation.
    fn code(&self, value: usize, activation: Activation) -> Code {
        let quantization = self.quantization(value);
        let [low, high] = activation.limits(quantization).map(|limit| self.stored(limit));
        Code { zero: self.stored(quantization.zero_point.into()), low, high }
    }

    /// How kernels see a code.
    fn stored(&self, code: i32) -> i32 {
        code + i32::from(self.kernels.flip)
    }

    fn stored_byte(&self, code: i8) -> u8 {
        code.cast_unsigned() ^ self.kernels.flip
    }

    fn stored_zero(&self, value: usize) -> u8 {
        self.stored_byte(self.quantization(value).zero_point)
    }

    /// What each stored byte becomes, of a table by code from −128 on.
    fn stored_table(&self, table: &[i8; 256]) -> Box<[u8; 256]> {
        let mut stored = Box::new([0; 256]);
        for (code, to) in (i8::MIN..=i8::MAX).zip(table) {
            stored[usize::from(self.stored_byte(code))] = self.stored_byte(*to);
        }
        stored
    }

    fn quantization(&self, value: usize) -> Quantization {
        self.network.values[value].quantization
    }
}

impl Stage {
    /// Bytes of padded rows and of the tile that it needs.
    fn scratch(&self) -> (usize, usize) {
        match self {
            Stage::Conv { source: Source::Rows(_, rows), .. } | Stage::Depthwise { rows, .. } => {
                (rows.len(), 0)
            }
            Stage::MaxPool { rows, .. } => (rows.len(), rows.row_len()),
            // A row more than the tile's pixels may come before it is passed on.
            Stage::Conv { source: Source::Depthwise(_, rows, filter), .. } => {
                (rows.len(), (TILE + rows.output_width()) * filter.step())
            }
            Stage::Conv { source: Source::Strided { input, .. }, .. } => {
                (0, TILE * input.step + super::super::kernels::QUAD)
            }
            _ => (0, 0),
        }
    }
}
