//! A file's operators: their tensors, and what all kinds of them have in common.

use tract_tflite::tflite::{
    ActivationFunctionType, BuiltinOperator, Model, Operator as Table, OperatorCode, TensorType,
};

use super::super::Quantization;
use super::super::kernels::LANES;
use super::super::network::{Int8Op, Shape, Value};
use super::super::schema::{activation_of, operator_of};
use super::super::window::{Activation, Window};
use super::blocks::Blocks;
use super::sliding::Sliding;
use super::tensor::{Tensor, layout};
use super::{Cost, Fault, MAX_BYTES, MAX_PRODUCTS, Reading, ensure};

/// A pool over a whole picture may stride by it; tract loops over what a forged file says.
const MAX_STRIDE: usize = 64;
/// Windows below this may be wider than four times the picture, as at the end of networks made for larger ones.
const WINDOW_AT_LEAST: usize = 8;
/// Of one of the taps that a plan knows the place of.
const TAP_BYTES: usize = size_of::<usize>();
/// Of an operator's inputs; some work grows with its square.
const MAX_INPUTS: usize = 256;
/// Of an operator's outputs.
const MAX_OUTPUTS: usize = 64;
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
    /// Which of its outputs that is.
    pub nth: usize,
}

/// What an operator is in the network.
pub enum Outcome {
    /// An operation on values.
    Operation(Box<Operation>),
    /// A value by another name, and its shape by that.
    Same { value: usize, shape: Vec<usize> },
    /// Blocks of a picture, and their axes.
    Blocks { input: Input, blocks: Blocks, axes: Vec<usize> },
    /// Numbers, and their axes.
    Numbers { shape: Vec<usize>, numbers: Vec<i32> },
    /// Numbers that only the file's own arithmetic tells.
    Unknown,
    /// The softmax of a row, the last thing computed.
    Softmax(Input),
}

/// What an operation reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A value.
    Value(usize),
    /// The codes of a value in another shape.
    Reshaped { value: usize, shape: Shape },
    /// The codes of a value in another shape, then this many rows and columns from one pixel to the next,
    /// zeros between.
    Spaced { value: usize, of: Shape, by: [usize; 2], shape: Shape },
    /// A constant tensor in this shape, its codes again and again where it has fewer.
    Constant { tensor: usize, shape: Shape },
}

impl Input {
    /// A value that is kept in one shape, in another of as many codes.
    pub fn of(value: usize, kept: Shape, shape: Shape) -> Self {
        match shape == kept {
            true => Self::Value(value),
            false => Self::Reshaped { value, shape },
        }
    }
}

/// What an operation gives: so many values by two names.
pub struct Given {
    pub shape: Shape,
    /// The same by the file's axes.
    pub axes: Vec<usize>,
    /// What the file has it made of, if of blocks.
    pub blocks: Option<Blocks>,
}

impl Given {
    /// A picture, as one for the file too.
    pub fn picture(shape @ [height, width, channels]: Shape) -> Self {
        Self::of_axes(shape, vec![1, height, width, channels])
    }

    /// A picture that has these axes in the file.
    pub fn of_axes(shape: Shape, axes: Vec<usize>) -> Self {
        Self { shape, axes, blocks: None }
    }

    /// A picture, for the file in blocks.
    pub fn in_blocks(shape: Shape, blocks: Blocks) -> Self {
        Self { blocks: Some(blocks), ..Self::of_axes(shape, blocks.axes(shape)) }
    }
}

/// An operation, what it reads and gives, and what that takes.
pub struct Operation {
    pub op: Int8Op,
    pub inputs: Vec<Input>,
    pub given: Given,
    pub cost: Cost,
    /// Whether stock tract computes it as LiteRT does.
    pub tract_agrees: bool,
}

/// A value as an operator reads it.
pub struct Picture {
    pub input: Input,
    pub shape: Shape,
    pub code: Quantization,
}

impl<'a, 'm> Operator<'a, 'm> {
    pub fn new(
        reading: &'a Reading<'m>,
        model: &Model<'a>,
        table: Table<'a>,
        [index, nth]: [usize; 2],
    ) -> Result<Self, Fault> {
        let part = format!("operator {index}");
        let code = code(model, &table).ok_or_else(|| (part.clone(), "has no code".into()))?;
        let kind = operator_of(&code);
        let part = format!("{part} ({})", kind.variant_name().unwrap_or("unknown"));
        let tensor = |i: i32| match usize::try_from(i) {
            Ok(index) if index < reading.tensors.len() => Ok(Some(index)),
            Err(_) if i == LEFT_OUT => Ok(None),
            _ => Err((part.clone(), format!("refers to tensor {i}, which does not exist"))),
        };
        let inputs = table.inputs().into_iter().flatten().map(tensor);
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let count = inputs.len();
        ensure(count <= MAX_INPUTS, &part, || {
            format!("has {count} inputs, more than {MAX_INPUTS}")
        })?;
        let outputs = table.outputs().into_iter().flatten().map(tensor);
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        let count = outputs.len();
        ensure(count <= MAX_OUTPUTS, &part, || {
            format!("has {count} outputs, more than {MAX_OUTPUTS}")
        })?;
        let output = outputs.get(nth).copied().flatten();
        let output = output.ok_or_else(|| (part.clone(), "writes no tensor".into()))?;
        let operator = Self { reading, table, kind, part, inputs, output, nth };
        let y = operator.y();
        let overwrites = y.data.is_some() || reading.held[output].is_some();
        operator.ensure(!overwrites, || "overwrites a tensor".into())?;
        operator.ensure(y.is_value() || y.type_ == TensorType::INT32, || {
            format!("can't use `{}` as an activation", y.name)
        })?;
        Ok(operator)
    }

    pub fn fault(&self, why: impl Into<String>) -> Fault {
        (self.part.clone(), why.into())
    }

    pub fn ensure(&self, condition: bool, why: impl FnOnce() -> String) -> Result<(), Fault> {
        ensure(condition, &self.part, why)
    }

    /// The tensor that it writes.
    pub fn y(&self) -> &'a Tensor<'m> {
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
        self.ensure(tensor.blocks.is_none(), || {
            format!("reads `{}`, blocks of a picture, which only convolutions may", tensor.name)
        })?;
        self.value_or_blocks(i)
    }

    /// The value in an input tensor, or that of whose blocks it is made.
    pub fn value_or_blocks(&self, i: usize) -> Result<(usize, &'a Value), Fault> {
        let tensor = self.tensor(i)?;
        let value = self.inputs[i].and_then(|index| self.reading.held[index]);
        let value = value.ok_or_else(|| match &tensor.data {
            Some(_) => self.fault(format!("can't use `{}`, a constant", tensor.name)),
            None => self.fault(format!("reads `{}`, which nothing computes", tensor.name)),
        })?;
        Ok((value, &self.reading.values[value]))
    }

    /// The value in an input tensor, in that tensor's shape.
    pub fn picture(&self, i: usize) -> Result<Picture, Fault> {
        self.value_as(i, layout(&self.tensor(i)?.shape))
    }

    /// The value in an input tensor, in a shape of as many values.
    pub fn value_as(&self, i: usize, shape: Shape) -> Result<Picture, Fault> {
        let (value, &Value { shape: kept, quantization: code, .. }) = self.value(i)?;
        Ok(Picture { input: Input::of(value, kept, shape), shape, code })
    }

    /// Numbers that are in the file.
    pub fn numbers(&self, i: usize) -> Result<Vec<i32>, Fault> {
        let tensor = self.tensor(i)?;
        let numbers = tensor.data.as_deref().filter(|_| tensor.type_ == TensorType::INT32);
        let numbers = numbers.map(le_i32);
        numbers.ok_or_else(|| self.fault(format!("needs `{}` as constant INT32", tensor.name)))
    }

    /// The only one of its inputs, but for constants.
    pub fn one(&self, inputs: usize) -> Result<Picture, Fault> {
        let found = self.inputs.len();
        self.ensure(found == inputs, || format!("has {found} inputs, not {inputs}"))?;
        self.picture(0)
    }

    /// The same of those that look at height and width.
    pub fn one_of_four_axes(&self, inputs: usize) -> Result<Picture, Fault> {
        self.has_four_axes(0)?;
        self.one(inputs)
    }

    /// An input must be one picture.
    pub fn has_four_axes(&self, i: usize) -> Result<(), Fault> {
        let shape = &self.tensor(i)?.shape;
        self.ensure(matches!(shape[..], [1, _, _, _]), || format!("reads {shape:?}, no picture"))
    }

    /// The activation that is part of it.
    pub fn activation(
        &self,
        function: Option<ActivationFunctionType>,
    ) -> Result<Activation, Fault> {
        let function = function.ok_or_else(|| self.fault("has no options of its kind"))?;
        let name = || function.variant_name().unwrap_or("unknown");
        activation_of(function).ok_or_else(|| self.fault(format!("has the activation {}", name())))
    }

    /// That of those that compute with two values.
    pub fn activation_of_two(&self) -> Result<Activation, Fault> {
        let table = &self.table;
        self.activation(match self.kind {
            BuiltinOperator::ADD => {
                table.builtin_options_as_add_options().map(|o| o.fused_activation_function())
            }
            BuiltinOperator::SUB => {
                table.builtin_options_as_sub_options().map(|o| o.fused_activation_function())
            }
            BuiltinOperator::MUL => {
                table.builtin_options_as_mul_options().map(|o| o.fused_activation_function())
            }
            BuiltinOperator::DIV => {
                table.builtin_options_as_div_options().map(|o| o.fused_activation_function())
            }
            _ => Some(ActivationFunctionType::NONE),
        })
    }

    /// How many tensors it writes.
    pub fn outputs(&self) -> usize {
        self.table.outputs().map_or(0, |outputs| outputs.len())
    }

    /// It must not change the code.
    pub fn keeps_code(&self, code: Quantization) -> Result<(), Fault> {
        self.ensure(code == self.y().code(), || "changes the code".into())
    }

    /// An operation, made if what it takes can be borne.
    pub fn operation(
        &self,
        inputs: Vec<Input>,
        given: Given,
        cost: Cost,
        tract_agrees: bool,
        op: impl FnOnce() -> Int8Op,
    ) -> Result<Outcome, Fault> {
        self.try_operation(inputs, given, cost, tract_agrees, || Ok(op()))
    }

    /// The same of one that may fail to be made.
    pub fn try_operation(
        &self,
        inputs: Vec<Input>,
        given: Given,
        cost: Cost,
        tract_agrees: bool,
        op: impl FnOnce() -> Result<Int8Op, Fault>,
    ) -> Result<Outcome, Fault> {
        let cost =
            inputs.iter().fold(cost.of_values(padded(given.shape)), |cost, input| match input {
                Input::Value(_) => cost,
                Input::Reshaped { shape, .. } => cost.of_values(padded(*shape)),
                Input::Spaced { of, shape, .. } => {
                    cost.of_values(padded(*of)).of_values(padded(*shape))
                }
                Input::Constant { shape, .. } => cost.plus(Cost {
                    // What is stored, and what it is copied to.
                    weight_bytes: padded(*shape),
                    value_bytes: padded(*shape),
                    ..Cost::default()
                }),
            });
        self.is_bearable(cost)?;
        let operation = Operation { op: op()?, inputs, given, cost, tract_agrees };
        Ok(Outcome::Operation(Box::new(operation)))
    }

    /// This must not be more, with what has been read before, than can be borne.
    pub fn is_bearable(&self, cost: Cost) -> Result<(), Fault> {
        self.ensure(self.reading.cost.plus(cost).is_bearable(), || {
            format!(
                "is too much: all together may take {MAX_PRODUCTS} products and {MAX_BYTES} bytes \
                 of values and of weights"
            )
        })
    }

    /// One of a value, its products no more than what it gives.
    pub fn elementwise(&self, input: Input, given: Given, op: Int8Op) -> Result<Outcome, Fault> {
        let cost = Cost { products: padded(given.shape), ..Cost::default() };
        self.operation(vec![input], given, cost, false, || op)
    }

    /// The value in an input tensor with zeros between its pixels.
    pub fn spaced(&self, i: usize, by: [usize; 2]) -> Result<Picture, Fault> {
        let picture = self.picture(i)?;
        if by == [1, 1] {
            return Ok(picture);
        }
        let bearable = by.iter().all(|step| *step <= MAX_STRIDE);
        self.ensure(bearable, || format!("has stride {by:?}"))?;
        let (value, of @ [height, width, channels]) = (self.value(i)?.0, picture.shape);
        let shape = [(height - 1) * by[0] + 1, (width - 1) * by[1] + 1, channels];
        Ok(Picture { input: Input::Spaced { value, of, by, shape }, shape, ..picture })
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
        let reaches = (0..2).all(|i| extent[i] < (4 * sides[i]).max(WINDOW_AT_LEAST));
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
}

/// The code of what an operator computes, if there is one.
pub fn code<'m>(model: &Model<'m>, table: &Table) -> Option<OperatorCode<'m>> {
    let (codes, index) = (model.operator_codes()?, table.opcode_index() as usize);
    (index < codes.len()).then(|| codes.get(index))
}

/// Bytes of a value as the engine lays it out.
pub fn padded([height, width, channels]: Shape) -> usize {
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
