//! A file's operators: each must be of a kind that this engine computes as LiteRT does, and its
//! tensors must be what its options make of them.

use tract_tflite::tflite::{
    ActivationFunctionType, BuiltinOperator, Model, Operator as Table, TensorType,
};

use super::super::Quantization;
use super::super::addition::Addition;
use super::super::codes::{activation_of, operator_of};
use super::super::kernels::LANES;
use super::super::multiplication::Multiplication;
use super::super::network::{Int8Op, Shape, Value};
use super::super::unary::Unary;
use super::super::window::{Activation, Margins, Window};
use super::sliding::{self, Sliding};
use super::tensor::Tensor;
use super::{Cost, Fault, MAX_BYTES, MAX_PRODUCTS, Reading, SIDES, ensure, filter};

/// A pool over a whole picture may stride by it; tract loops over what a forged file says.
const MAX_STRIDE: usize = 64;
/// Of one of the taps that a plan knows the place of.
const TAP_BYTES: usize = size_of::<usize>();
/// What stands for an input that there is none of.
const LEFT_OUT: i32 = -1;

/// An operator and its tensors.
pub struct Operator<'a, 'm> {
    pub reading: &'a Reading<'m>,
    pub table: Table<'a>,
    pub kind: BuiltinOperator,
    /// What errors call it.
    pub part: String,
    /// Tensors; none where the file leaves one out.
    pub inputs: Vec<Option<usize>>,
    pub output: usize,
    reader: Reader,
}

/// Says what an operator is.
type Reader = fn(&Operator) -> Result<Outcome, Fault>;

/// That of operators of this kind, if this engine runs them.
fn reader(kind: BuiltinOperator) -> Option<Reader> {
    Some(match kind {
        BuiltinOperator::CONV_2D
        | BuiltinOperator::DEPTHWISE_CONV_2D
        | BuiltinOperator::FULLY_CONNECTED => filter::read,
        BuiltinOperator::MAX_POOL_2D | BuiltinOperator::AVERAGE_POOL_2D => |it| it.pool(),
        BuiltinOperator::MEAN | BuiltinOperator::REDUCE_MAX => |it| it.reduce(),
        BuiltinOperator::PAD => |it| it.pad(),
        BuiltinOperator::ADD | BuiltinOperator::MUL => |it| it.of_two(),
        BuiltinOperator::LOGISTIC
        | BuiltinOperator::TANH
        | BuiltinOperator::RELU
        | BuiltinOperator::RELU6
        | BuiltinOperator::LEAKY_RELU
        | BuiltinOperator::QUANTIZE => |it| it.unary(),
        BuiltinOperator::CONCATENATION => |it| it.concatenation(),
        BuiltinOperator::RESHAPE | BuiltinOperator::SQUEEZE => |it| it.reshape(),
        BuiltinOperator::SOFTMAX => |it| it.softmax(),
        _ => return None,
    })
}

/// That of operators on numbers, of any kind.
fn shape(_: &Operator) -> Result<Outcome, Fault> {
    Ok(Outcome::Shape)
}

/// What an operator is in the network.
pub enum Outcome {
    /// An operation on values.
    Operation(Box<Operation>),
    /// A value by another name.
    Same(usize),
    /// Numbers for a shape, as files for any number of pictures compute them; the file tells it too.
    Shape,
    /// The softmax of a value, the last thing computed.
    Softmax(usize),
}

/// What an operation reads.
pub enum Source {
    /// A value.
    Value(usize),
    /// A constant tensor as a row of so many channels.
    Row { tensor: usize, channels: usize },
}

/// An operation, what it reads, the shape of what it gives, and what that takes.
pub struct Operation {
    pub op: Int8Op,
    pub inputs: Vec<Source>,
    pub shape: Shape,
    pub cost: Cost,
    /// Whether stock tract computes it as LiteRT does.
    pub in_tract: bool,
}

/// One of two that are added or multiplied.
struct Operand {
    source: Source,
    shape: Shape,
    code: Quantization,
}

impl<'a, 'm> Operator<'a, 'm> {
    pub fn new(
        reading: &'a Reading<'m>,
        model: &Model<'a>,
        table: Table<'a>,
        index: usize,
    ) -> Result<Self, Fault> {
        let part = format!("operator {index}");
        let kind = kind(model, &table).ok_or_else(|| (part.clone(), "has no code".into()))?;
        let part = format!("{part} ({})", kind.variant_name().unwrap_or("unknown"));
        let tensor = |i: i32| match usize::try_from(i) {
            Ok(index) if index < reading.tensors.len() => Ok(Some(index)),
            Err(_) if i == LEFT_OUT => Ok(None),
            _ => Err((part.clone(), format!("refers to tensor {i}, which does not exist"))),
        };
        let inputs = table.inputs().into_iter().flatten().map(tensor);
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let outputs = table.outputs().into_iter().flatten().map(tensor);
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        let tells_shape =
            |i: &Option<usize>| i.is_some_and(|i| reading.tensors[i].type_ == TensorType::INT32);
        let reader =
            if outputs.iter().any(tells_shape) { Some(shape as Reader) } else { reader(kind) };
        let reader = reader.ok_or_else(|| (part.clone(), "is not run by this engine".into()))?;
        let [Some(output)] = outputs[..] else {
            return Err((part, format!("has {} outputs, not one", outputs.len())));
        };
        let operator = Self { reading, table, kind, part, inputs, output, reader };
        let y = operator.y();
        let overwrites = y.data.is_some() || reading.held[output].is_some();
        operator.ensure(!overwrites, || "overwrites a tensor".into())?;
        operator.ensure(y.is_value() || y.type_ == TensorType::INT32, || {
            format!("can't use `{}` as an activation", y.name)
        })?;
        Ok(operator)
    }

    /// What it is.
    pub fn read(&self) -> Result<Outcome, Fault> {
        (self.reader)(self)
    }

    pub fn fault(&self, why: impl Into<String>) -> Fault {
        (self.part.clone(), why.into())
    }

    pub fn ensure(&self, condition: bool, why: impl FnOnce() -> String) -> Result<(), Fault> {
        ensure(condition, &self.part, why)
    }

    /// The tensor that it writes.
    fn y(&self) -> &'a Tensor<'m> {
        &self.reading.tensors[self.output]
    }

    pub fn tensor(&self, i: usize) -> Result<&'a Tensor<'m>, Fault> {
        let index = self.inputs.get(i).copied().flatten();
        let index = index.ok_or_else(|| self.fault(format!("lacks input {i}")))?;
        Ok(&self.reading.tensors[index])
    }

    /// The value in an input tensor.
    pub fn value(&self, i: usize) -> Result<(usize, &'a Value), Fault> {
        let tensor = self.tensor(i)?;
        let value = self.inputs[i].and_then(|index| self.reading.held[index]);
        let value = value.ok_or_else(|| match tensor.data {
            Some(_) => self.fault(format!("can't use `{}`, a constant", tensor.name)),
            None => self.fault(format!("reads `{}`, which nothing computes", tensor.name)),
        })?;
        Ok((value, &self.reading.values[value]))
    }

    /// The value in an input tensor that has its shape.
    fn picture(&self, i: usize) -> Result<(usize, &'a Value), Fault> {
        let (index, value) = self.value(i)?;
        let tensor = self.tensor(i)?;
        self.ensure(tensor.picture() == Some(value.shape), || {
            format!("reads `{}`, a picture {:?} laid out as a row", tensor.name, value.shape)
        })?;
        Ok((index, value))
    }

    /// Numbers that are in the file.
    fn numbers(&self, i: usize) -> Result<Vec<i32>, Fault> {
        let tensor = self.tensor(i)?;
        let numbers = tensor.data.filter(|_| tensor.type_ == TensorType::INT32).map(le_i32);
        numbers.ok_or_else(|| self.fault(format!("needs `{}` as constant INT32", tensor.name)))
    }

    /// The only one of its inputs, but for constants.
    fn one(&self, inputs: usize) -> Result<(usize, &'a Value), Fault> {
        let found = self.inputs.len();
        self.ensure(found == inputs, || format!("has {found} inputs, not {inputs}"))?;
        self.picture(0)
    }

    /// It must not change the code.
    fn keeps_code(&self, x: &Value) -> Result<(), Fault> {
        self.ensure(x.quantization == self.y().code(), || "changes the code".into())
    }

    /// An operation, made if what it takes can be borne.
    pub fn operation(
        &self,
        inputs: Vec<Source>,
        shape: Shape,
        cost: Cost,
        in_tract: bool,
        op: impl FnOnce() -> Int8Op,
    ) -> Result<Outcome, Fault> {
        let cost = Cost { value_bytes: padded(shape), ..cost };
        self.ensure(self.reading.cost.plus(cost).is_bearable(), || {
            format!(
                "is too much: all together may take {MAX_PRODUCTS} products and {MAX_BYTES} bytes \
                 of values and of weights"
            )
        })?;
        Ok(Outcome::Operation(Box::new(Operation { op: op(), inputs, shape, cost, in_tract })))
    }

    /// One of a value, its products no more than what it gives.
    fn elementwise(&self, input: usize, shape: Shape, op: Int8Op) -> Result<Outcome, Fault> {
        let cost = Cost { products: padded(shape), ..Cost::default() };
        self.operation(vec![Source::Value(input)], shape, cost, false, || op)
    }

    /// Height and width of what a window gives.
    pub fn slides(
        &self,
        sliding: &Sliding,
        [height, width, _]: Shape,
    ) -> Result<[usize; 2], Fault> {
        let &Sliding { window, dilation, .. } = sliding;
        self.ensure(window.stride.iter().all(|step| *step <= MAX_STRIDE), || {
            format!("has stride {:?}", window.stride)
        })?;
        let sides = [height, width];
        let extent = sliding.extent();
        // A wider one never meets the picture with its outer taps, and memory is laid out for it.
        let reaches = (0..2).all(|i| extent[i] < 2 * sides[i]);
        self.ensure(reaches, || {
            format!(
                "has a window of {extent:?}, dilated by {dilation:?}, on a picture of {sides:?}"
            )
        })?;
        let output = Window { kernel: extent, ..window }.output(sides);
        output.ok_or_else(|| {
            self.fault(format!("has a window of {extent:?} on a picture of {sides:?}"))
        })
    }

    fn pool(&self) -> Result<Outcome, Fault> {
        let (input, x) = self.one(1)?;
        self.keeps_code(x)?;
        let sliding = sliding::of_pool(&self.table).map_err(|why| self.fault(why))?;
        let Sliding { window, activation, .. } = sliding;
        let inside = (0..2).all(|i| window.kernel[i] <= x.shape[i]);
        self.ensure(inside, || "has a window larger than the picture".into())?;
        let [height, width] = self.slides(&sliding, x.shape)?;
        let shape = [height, width, x.shape[2]];
        let is_max = self.kind == BuiltinOperator::MAX_POOL_2D;
        // LiteRT rounds an average pool's 6 otherwise than all others'.
        let limited = !is_max && activation == Activation::Relu6;
        self.ensure(!limited, || "has a RELU6 of its own".into())?;
        let [rows, columns] = window.kernel;
        let cost = Cost {
            products: padded(shape).saturating_mul(rows * columns),
            weight_bytes: if is_max { tap_bytes(&window, height, rows) } else { 0 },
            ..Cost::default()
        };
        self.operation(vec![Source::Value(input)], shape, cost, is_max, || match is_max {
            true => Int8Op::MaxPool(window, activation),
            false => Int8Op::AveragePool(window, activation),
        })
    }

    /// The mean or the greatest of each channel.
    fn reduce(&self) -> Result<Outcome, Fault> {
        let (input, x) = self.one(2)?;
        let axes = self.numbers(1)?;
        self.ensure(self.tensor(0)?.shape.len() == 4 && axes == [1, 2], || {
            format!("goes over axes {axes:?}, not over height and width, [1, 2]")
        })?;
        let [height, width, channels] = x.shape;
        let op = if self.kind == BuiltinOperator::MEAN {
            let ratio = x.quantization.scale / self.y().code().scale;
            self.ensure(ratio.is_normal(), || "has codes too far apart".into())?;
            Int8Op::Mean
        } else {
            self.keeps_code(x)?;
            Int8Op::MaxPool(Window::whole([height, width]), Activation::None)
        };
        let cost = Cost { products: padded(x.shape), ..Cost::default() };
        let inputs = vec![Source::Value(input)];
        self.operation(inputs, [1, 1, channels], cost, false, || op)
    }

    fn pad(&self) -> Result<Outcome, Fault> {
        let (input, x) = self.one(2)?;
        self.keeps_code(x)?;
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
        let shape = [top + height + bottom, left + width + right, channels];
        self.elementwise(input, shape, Int8Op::Pad(margins))
    }

    /// A sum or a product of two values of one shape, or of one and a row for all its pixels.
    fn of_two(&self) -> Result<Outcome, Fault> {
        let found = self.inputs.len();
        self.ensure(found == 2, || format!("has {found} inputs, not 2"))?;
        let is_sum = self.kind == BuiltinOperator::ADD;
        let function = if is_sum {
            self.table.builtin_options_as_add_options().map(|o| o.fused_activation_function())
        } else {
            self.table.builtin_options_as_mul_options().map(|o| o.fused_activation_function())
        };
        let activation = function.and_then(activation_of);
        let activation = activation.ok_or_else(|| self.fault("has an activation of its own"))?;
        let [mut first, mut second] = [self.operand(0)?, self.operand(1)?];
        let is_smaller = first.shape[..2] == [1, 1] && second.shape[..2] != [1, 1];
        if matches!(first.source, Source::Row { .. }) || is_smaller {
            std::mem::swap(&mut first, &mut second);
        }
        let Source::Value(_) = first.source else {
            return Err(self.fault("has two constants"));
        };
        let (shape, output) = (first.shape, self.y().code());
        if let Source::Row { channels, .. } = &mut second.source {
            *channels = shape[2];
        }
        let fits = match second.shape {
            [1, 1, 1] => matches!(second.source, Source::Row { .. }) || shape[2] == 1,
            row => row == shape || row == [1, 1, shape[2]],
        };
        self.ensure(fits, || format!("has a picture {shape:?} and one {:?}", second.shape))?;
        let codes = [first.code, second.code];
        let can = match is_sum {
            true => Addition::new(codes, output, activation).is_some(),
            false => Multiplication::new(codes, output, activation).is_some(),
        };
        self.ensure(can, || "has codes too far apart".into())?;
        let two_values = matches!(second.source, Source::Value(_)) && second.shape == shape;
        let in_tract = is_sum && two_values && codes == [output; 2];
        // A constant row's bytes, perhaps for each of several uses.
        let weight_bytes = if two_values { 0 } else { padded([1, 1, shape[2]]) };
        let cost = Cost { products: padded(shape), weight_bytes, ..Cost::default() };
        let inputs = vec![first.source, second.source];
        self.operation(inputs, shape, cost, in_tract, || match is_sum {
            true => Int8Op::Add(activation),
            false => Int8Op::Multiply(activation),
        })
    }

    /// A value, or a constant row.
    fn operand(&self, i: usize) -> Result<Operand, Fault> {
        let tensor = self.tensor(i)?;
        if tensor.data.is_none() {
            let (value, &Value { shape, quantization: code, .. }) = self.picture(i)?;
            return Ok(Operand { source: Source::Value(value), shape, code });
        }
        let row = tensor.row().filter(|_| tensor.is_value());
        let (Some(shape), Some(index)) = (row, self.inputs[i]) else {
            return Err(self.fault(format!("can't use `{}`, a constant", tensor.name)));
        };
        let source = Source::Row { tensor: index, channels: shape[2] };
        Ok(Operand { source, shape, code: tensor.code() })
    }

    fn unary(&self) -> Result<Outcome, Fault> {
        let (input, x) = self.one(1)?;
        let unary = match self.kind {
            BuiltinOperator::LOGISTIC => Unary::Logistic,
            BuiltinOperator::TANH => Unary::Tanh,
            BuiltinOperator::RELU => Unary::Relu,
            BuiltinOperator::RELU6 => Unary::Relu6,
            BuiltinOperator::QUANTIZE => Unary::Requantize,
            BuiltinOperator::LEAKY_RELU => {
                let options = self.table.builtin_options_as_leaky_relu_options();
                let slope = options.map(|options| options.alpha());
                let slope = slope.filter(|slope| (0.0..=1.0).contains(slope));
                let slope = slope.ok_or_else(|| self.fault("has no slope from 0 to 1"))?;
                Unary::LeakyRelu { slope }
            }
            _ => unreachable!("told apart in `reader`"),
        };
        let can = unary.table(x.quantization, self.y().code()).is_some();
        self.ensure(can, || "has codes that LiteRT does not take, or too far apart".into())?;
        self.elementwise(input, x.shape, Int8Op::Unary(unary))
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
        let (_, first) = inputs.first().ok_or_else(|| self.fault("has no inputs"))?;
        let mut shape @ [height, width, _] = first.shape;
        shape[2] = 0;
        for (i, (_, x)) in inputs.iter().enumerate() {
            self.keeps_code(x)?;
            let joins = x.shape[..2] == [height, width] && self.tensor(i)?.shape.len() == rank;
            self.ensure(joins, || "has inputs of different size".into())?;
            shape[2] += x.shape[2];
        }
        let inputs = inputs.iter().map(|(index, _)| Source::Value(*index)).collect();
        self.operation(inputs, shape, Cost::default(), true, || Int8Op::Concat)
    }

    /// Of a picture into a row, which stays as it lies.
    fn reshape(&self) -> Result<Outcome, Fault> {
        let (input, x) = self.value(0)?;
        self.keeps_code(x)?;
        let (y, values) = (self.y(), x.shape.iter().product());
        let is_row = x.shape[..2] == [1, 1];
        // Sides that the file computes stand there as 1.
        let computed = self.tensor(1).is_ok_and(|shape| shape.data.is_none())
            && y.shape.iter().all(|side| *side == 1);
        let stays_row = is_row && (y.shape == [values] || computed);
        self.ensure(y.picture() == Some([1, 1, values]) || stays_row, || {
            format!("makes {:?} of a picture {:?}, not a row", y.shape, x.shape)
        })?;
        Ok(Outcome::Same(input))
    }

    fn softmax(&self) -> Result<Outcome, Fault> {
        let (input, x) = self.value(0)?;
        let options = self.table.builtin_options_as_softmax_options();
        let is_last = self.output == self.reading.output && x.shape[..2] == [1, 1];
        let plain = is_last && options.is_some_and(|options| options.beta() == 1.0);
        self.ensure(plain, || "is not the plain one of a row at the end".into())?;
        Ok(Outcome::Softmax(input))
    }
}

/// What an operator computes; none if its code is missing.
pub fn kind(model: &Model, table: &Table) -> Option<BuiltinOperator> {
    let (codes, index) = (model.operator_codes()?, table.opcode_index() as usize);
    (index < codes.len()).then(|| operator_of(&codes.get(index)))
}

/// Bytes of a value as the engine lays it out.
fn padded([height, width, channels]: Shape) -> usize {
    let step = channels.next_multiple_of(LANES);
    [width, step].iter().fold(height, |bytes, side| bytes.saturating_mul(*side))
}

/// Bytes of the places of `taps` under a window, for each row of it that may come first.
pub fn tap_bytes(window: &Window, output_height: usize, taps: usize) -> usize {
    window.first_rows(output_height).saturating_mul(taps).saturating_mul(TAP_BYTES)
}

/// Numbers as files hold them.
pub fn le_i32(bytes: &[u8]) -> Vec<i32> {
    bytes.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect()
}
