//! What this engine computes as LiteRT does, by kind of operator.

use tract_tflite::tflite::{ActivationFunctionType, BuiltinOperator, TensorType};

use super::super::arithmetic::unary::Unary;
use super::super::network::Int8Op;
use super::super::window::{Activation, Margins, Window};
use super::operator::{Given, Operator, Outcome, padded, tap_bytes};
use super::sliding::{self, Sliding};
use super::tensor::picture;
use super::{Cost, Fault, SIDES, filter, in_tract, numbers, reshape};

/// What an operator is: what this engine computes, or else what tract does.
pub fn read(it: &Operator) -> Result<Outcome, Fault> {
    if it.y().type_ == TensorType::INT32 {
        return Ok(numbers::read(it));
    }
    let found = it.outputs();
    it.ensure(found == 1 || in_tract::gives_several(it.kind), || format!("has {found} outputs"))?;
    let own = reader(it.kind).map(|read| read(it));
    if let Some(Ok(own)) = own {
        return Ok(own);
    }
    match (own, in_tract::read(it)) {
        (Some(Err((part, why))), Some(Err((_, also)))) if why != also => {
            Err((part, format!("{why}; {also}")))
        }
        (_, Some(in_tract)) => in_tract,
        (Some(own), None) => own,
        (None, None) => Err(it.fault("is run neither by this engine nor by tract")),
    }
}

/// Says what an operator is.
type Reader = fn(&Operator) -> Result<Outcome, Fault>;

/// That of operators of this kind, if this engine runs them.
fn reader(kind: BuiltinOperator) -> Option<Reader> {
    Some(match kind {
        BuiltinOperator::CONV_2D
        | BuiltinOperator::DEPTHWISE_CONV_2D
        | BuiltinOperator::FULLY_CONNECTED
        | BuiltinOperator::TRANSPOSE_CONV => filter::read,
        BuiltinOperator::SPACE_TO_BATCH_ND => |it| it.parted(),
        BuiltinOperator::BATCH_TO_SPACE_ND => |it| it.joined(),
        BuiltinOperator::MAX_POOL_2D | BuiltinOperator::AVERAGE_POOL_2D => |it| it.pool(),
        BuiltinOperator::MEAN | BuiltinOperator::REDUCE_MAX => |it| it.reduce(),
        BuiltinOperator::PAD => |it| it.pad(),
        BuiltinOperator::ADD => |it| it.of_two(Int8Op::Add(it.activation_of_two()?)),
        BuiltinOperator::SUB => |it| it.of_two(Int8Op::Subtract(it.activation_of_two()?)),
        BuiltinOperator::MUL => |it| it.of_two(Int8Op::Multiply(it.activation_of_two()?)),
        BuiltinOperator::PRELU => |it| it.of_two(Int8Op::Prelu),
        BuiltinOperator::LOGISTIC => |it| it.unary(Unary::Logistic),
        BuiltinOperator::TANH => |it| it.unary(Unary::Tanh),
        BuiltinOperator::RELU => |it| it.unary(Unary::Relu),
        BuiltinOperator::RELU6 => |it| it.unary(Unary::Relu6),
        BuiltinOperator::RELU_0_TO_1 => |it| it.unary(Unary::Relu0To1),
        BuiltinOperator::RELU_N1_TO_1 => |it| it.unary(Unary::ReluN1To1),
        BuiltinOperator::ABS => |it| it.unary(Unary::Abs),
        BuiltinOperator::ELU => |it| it.unary(Unary::Elu),
        BuiltinOperator::HARD_SWISH => |it| it.unary(Unary::HardSwish),
        BuiltinOperator::QUANTIZE => |it| it.unary(Unary::Requantize),
        BuiltinOperator::LEAKY_RELU => |it| it.leaky_relu(),
        BuiltinOperator::CONCATENATION => |it| it.concatenation(),
        kind if reshape::reshapes(kind) => |it| it.reshape(),
        BuiltinOperator::SOFTMAX => |it| it.softmax(),
        _ => return None,
    })
}

impl Operator<'_, '_> {
    fn pool(&self) -> Result<Outcome, Fault> {
        let x = self.one_of_four_axes(1)?;
        self.keeps_code(x.code)?;
        let sliding = sliding::of_pool(&self.table).map_err(|why| self.fault(why))?;
        let Sliding { window, activation, .. } = sliding;
        let inside = (0..2).all(|i| window.kernel[i] <= x.shape[i]);
        self.ensure(inside, || "has a window larger than the picture".into())?;
        let [height, width] = self.slides(&sliding, x.shape)?;
        let shape = [height, width, x.shape[2]];
        let is_max = self.kind == BuiltinOperator::MAX_POOL_2D;
        // LiteRT rounds an average pool's limits otherwise than all others'.
        let unlimited = is_max || matches!(activation, Activation::None | Activation::Relu);
        self.ensure(unlimited, || format!("has a {activation:?} of its own"))?;
        let [rows, columns] = window.kernel;
        let cost = Cost {
            products: padded(shape).saturating_mul(rows * columns),
            weight_bytes: if is_max { tap_bytes(&window, height, rows) } else { 0 },
            ..Cost::default()
        };
        self.operation(vec![x.input], Given::picture(shape), cost, is_max, || match is_max {
            true => Int8Op::MaxPool(window, activation),
            false => Int8Op::AveragePool(window, activation),
        })
    }

    /// The mean or the greatest of each channel.
    fn reduce(&self) -> Result<Outcome, Fault> {
        let x = self.one_of_four_axes(2)?;
        let mut axes = self.numbers(1)?;
        axes.iter_mut().filter(|axis| **axis < 0).for_each(|axis| *axis += 4);
        axes.sort_unstable();
        self.ensure(axes == [1, 2], || {
            format!("goes over axes {axes:?}, not over height and width, [1, 2]")
        })?;
        let [height, width, channels] = x.shape;
        let op = if self.kind == BuiltinOperator::MEAN {
            let ratio = x.code.scale / self.y().code().scale;
            self.ensure(ratio.is_normal(), || "has codes too far apart".into())?;
            Int8Op::Mean
        } else {
            self.keeps_code(x.code)?;
            Int8Op::MaxPool(Window::whole([height, width]), Activation::None)
        };
        let cost = Cost { products: padded(x.shape), ..Cost::default() };
        let options = self.table.builtin_options_as_reducer_options();
        let keeps = options.is_some_and(|options| options.keep_dims());
        let axes = if keeps { vec![1, 1, 1, channels] } else { vec![1, channels] };
        let given = Given::of_axes([1, 1, channels], axes);
        self.operation(vec![x.input], given, cost, false, || op)
    }

    fn pad(&self) -> Result<Outcome, Fault> {
        let x = self.one_of_four_axes(2)?;
        self.keeps_code(x.code)?;
        let numbers = self.numbers(1)?;
        let sides = numbers.iter().map(|&side| usize::try_from(side).ok());
        let sides: Option<Vec<usize>> = sides.collect();
        let Some([0, 0, top, bottom, left, right, 0, 0]) = sides.as_deref() else {
            return Err(self.fault(format!("pads by {numbers:?}, not by rows and columns alone")));
        };
        let margins = Margins { top: *top, bottom: *bottom, left: *left, right: *right };
        let [height, width, channels] = x.shape;
        let bearable = margins.by_axis().as_flattened().iter().all(|side| side <= SIDES.end());
        self.ensure(bearable, || format!("pads by {numbers:?}"))?;
        let [height, width] = margins.around([height, width]);
        let given = Given::picture([height, width, channels]);
        self.elementwise(x.input, given, Int8Op::Pad(margins))
    }

    fn leaky_relu(&self) -> Result<Outcome, Fault> {
        let options = self.table.builtin_options_as_leaky_relu_options();
        let slope = options.map(|options| options.alpha());
        let slope = slope.filter(|slope| (0.0..=1.0).contains(slope));
        let slope = slope.ok_or_else(|| self.fault("has no slope from 0 to 1"))?;
        self.unary(Unary::LeakyRelu { slope })
    }

    fn unary(&self, unary: Unary) -> Result<Outcome, Fault> {
        let x = self.one(1)?;
        let can = unary.table(x.code, self.y().code()).is_some();
        self.ensure(can, || "has codes that LiteRT does not take, or too far apart".into())?;
        let given = Given::of_axes(x.shape, self.tensor(0)?.shape.clone());
        self.elementwise(x.input, given, Int8Op::Unary(unary))
    }

    /// Channels of values of one code, one after the other.
    fn concatenation(&self) -> Result<Outcome, Fault> {
        let rank = self.y().shape.len();
        let options = self.table.builtin_options_as_concatenation_options();
        let along_channels = options.is_some_and(|options| {
            let axis = usize::try_from(options.axis()).ok();
            (options.axis() == -1 || axis.is_some_and(|axis| axis + 1 == rank))
                && options.fused_activation_function() == ActivationFunctionType::NONE
        });
        self.ensure(along_channels, || "does not join channels, and nothing else".into())?;
        let inputs = (0..self.inputs.len()).map(|i| self.picture(i));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let first = inputs.first().ok_or_else(|| self.fault("has no inputs"))?;
        let mut shape @ [height, width, _] = first.shape;
        shape[2] = 0;
        for (i, x) in inputs.iter().enumerate() {
            self.keeps_code(x.code)?;
            let tensor = self.tensor(i)?;
            let joins = x.shape[..2] == [height, width] && tensor.shape.len() == rank;
            self.ensure(joins && picture(&tensor.shape).is_some(), || {
                "has inputs of different size, or no pictures".into()
            })?;
            shape[2] += x.shape[2];
        }
        let mut axes = self.tensor(0)?.shape.clone();
        axes[rank - 1] = shape[2];
        let inputs = inputs.into_iter().map(|x| x.input).collect();
        let given = Given::of_axes(shape, axes);
        self.operation(inputs, given, Cost::default(), true, || Int8Op::Concat)
    }

    fn softmax(&self) -> Result<Outcome, Fault> {
        let x = self.picture(0)?;
        let options = self.table.builtin_options_as_softmax_options();
        let is_last = self.reading.tail.contains(&self.output) && x.shape[..2] == [1, 1];
        let plain = is_last && options.is_some_and(|options| options.beta() == 1.0);
        self.ensure(plain, || "is not the plain one of a row at the end".into())?;
        Ok(Outcome::Softmax(x.input))
    }
}
