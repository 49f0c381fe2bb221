//! Reads `.tflite` files of floats, as TensorFlow Lite's converter writes them without
//! quantization.
//!
//! Its pictures are batch × height × width × channels, so that nothing has to be turned.

mod operator;

use std::collections::HashMap;

use tract_tflite::tflite::{
    ActivationFunctionType, BuiltinOperator, Model, SubGraph, Tensor, TensorType,
    model_buffer_has_identifier, root_as_model,
};

use super::super::float::layers::Filter;
use super::super::float::window::Margins;
use super::super::float::{Activation, Layer, LayerError, Layers, Window};
use super::super::network::Shape;
use super::super::tflite::codes::CHANNEL_AXIS;
use super::Fault;
use super::builder::{Arithmetic, Builder, side, sides};
use operator::Operator;

/// Identifier and root offset: the least a flatbuffer with an identifier can have.
const HEADER_LEN: usize = 8;
/// Most axes of a tensor.
const MAX_RANK: usize = 8;
/// A tensor that an operator leaves out.
const NO_TENSOR: i32 = -1;

/// Reads the network in a `.tflite` file's bytes.
///
/// # Errors
///
/// If they are no whole file, hold a quantized network, or a layer is not understood.
pub fn parse(bytes: &[u8]) -> Result<Layers, Fault> {
    let format = Fault::Format;
    if bytes.len() < HEADER_LEN || !model_buffer_has_identifier(bytes) {
        return Err(format("it does not begin as a .tflite file (no `TFL3`)".into()));
    }
    let model = root_as_model(bytes).map_err(|e| {
        let message = e.to_string();
        let first = message.lines().next().unwrap_or_default();
        format(format!("it is not a whole .tflite file ({first}); convert the network again"))
    })?;
    let mut graphs = model.subgraphs().into_iter().flatten();
    let (Some(graph), None) = (graphs.next(), graphs.next()) else {
        return Err(format("it holds not one graph; convert a network for inference".into()));
    };
    let tensors: Vec<Tensor> = graph.tensors().into_iter().flatten().collect();
    tensors.iter().try_for_each(|tensor| refuse_quantized(tensor))?;
    let input = single("input", graph.inputs().into_iter().flatten())?;
    let output = single("output", graph.outputs().into_iter().flatten())?;
    let (name, shape) = picture(&tensors, input)?;
    let values = HashMap::from([(input, 0)]);
    let builder = Builder::new(name, shape)?;
    let mut reader = Reader { model, tensors, builder, values };
    reader.add_all(&graph)?;
    match reader.values.get(&output) {
        Some(value) => Ok(reader.builder.finish(*value)?),
        None => Err(format(format!("its output, tensor {output}, is never computed"))),
    }
}

/// The one tensor of a list.
fn single(what: &str, mut list: impl Iterator<Item = i32>) -> Result<i32, Fault> {
    match (list.next(), list.next()) {
        (Some(tensor), None) => Ok(tensor),
        _ => Err(Fault::Format(format!("it has not one {what}; convert a network of one"))),
    }
}

fn refuse_quantized(tensor: &Tensor) -> Result<(), LayerError> {
    let name = tensor.name().unwrap_or_default();
    let kind = tensor.type_().variant_name().unwrap_or("of an unknown type");
    match tensor.type_() {
        TensorType::FLOAT32 | TensorType::INT32 | TensorType::INT64 | TensorType::BOOL => Ok(()),
        TensorType::FLOAT16 | TensorType::INT8 | TensorType::UINT8 | TensorType::INT16 => {
            Err(LayerError::new(
                name,
                format!(
                    "it is {kind}: the network is quantized already; give the float32 model that \
                     it was made from, or convert that without optimizations"
                ),
            ))
        }
        _ => {
            let why =
                format!("it is {kind}; convert a float32 network whose weights are constants");
            Err(LayerError::new(name, why))
        }
    }
}

/// Name and shape of the picture.
fn picture<'m>(tensors: &[Tensor<'m>], index: i32) -> Result<(&'m str, Shape), Fault> {
    let tensor = usize::try_from(index).ok().and_then(|index| tensors.get(index));
    let tensor = tensor.ok_or_else(|| Fault::Format("its input is no tensor of it".into()))?;
    let dims = dims(tensor).unwrap_or_default();
    match dims[..] {
        [1, h, w, c] if tensor.type_() == TensorType::FLOAT32 => {
            Ok((tensor.name().unwrap_or("input"), [h, w, c]))
        }
        _ => Err(Fault::Format(format!(
            "its input is {dims:?}; convert the network for one float32 picture, 1 × height × \
             width × channels"
        ))),
    }
}

/// Sizes of a tensor.
fn dims(tensor: &Tensor) -> Option<Vec<usize>> {
    let shape = tensor.shape()?;
    let dims = || shape.iter().map(|side| usize::try_from(side).ok()).collect();
    if shape.len() <= MAX_RANK { dims() } else { None }
}

/// A tensor's sizes and its elements.
type WithDims<T> = (Vec<usize>, T);

struct Reader<'m> {
    model: Model<'m>,
    tensors: Vec<Tensor<'m>>,
    builder: Builder,
    /// Values of the network by tensor.
    values: HashMap<i32, usize>,
}

impl<'m> Reader<'m> {
    fn add_all(&mut self, graph: &SubGraph<'m>) -> Result<(), LayerError> {
        for (index, table) in graph.operators().into_iter().flatten().enumerate() {
            let output = table.outputs().and_then(|outputs| outputs.iter().next());
            let named = output.and_then(|output| self.tensor(output)?.name());
            let name = named.map_or_else(|| format!("operator {index}"), String::from);
            let operator = Operator::new(&self.model, table, name)?;
            let output = output.ok_or_else(|| operator.wrong("it gives nothing"))?;
            if self.tensor(output).is_some_and(|tensor| tensor.type_() == TensorType::INT32) {
                // A shape, as files for any number of pictures compute them; what it is for has one too.
                continue;
            }
            let value = self.value_of(&operator, output)?;
            if self.values.insert(output, value).is_some() {
                return Err(operator.wrong("it overwrites a tensor; the file is damaged"));
            }
        }
        Ok(())
    }

    fn value_of(&mut self, operator: &Operator, output: i32) -> Result<usize, LayerError> {
        match operator.kind {
            BuiltinOperator::CONV_2D => self.conv(operator),
            BuiltinOperator::DEPTHWISE_CONV_2D => self.depthwise(operator),
            BuiltinOperator::FULLY_CONNECTED => self.dense(operator),
            BuiltinOperator::ADD => {
                let options = operator.table.builtin_options_as_add_options();
                let function = options.map(|options| options.fused_activation_function());
                self.arithmetic(operator, Arithmetic::Add, function)
            }
            BuiltinOperator::SUB => {
                let options = operator.table.builtin_options_as_sub_options();
                let function = options.map(|options| options.fused_activation_function());
                self.arithmetic(operator, Arithmetic::Subtract, function)
            }
            BuiltinOperator::MUL => {
                let options = operator.table.builtin_options_as_mul_options();
                let function = options.map(|options| options.fused_activation_function());
                self.arithmetic(operator, Arithmetic::Multiply, function)
            }
            BuiltinOperator::MAX_POOL_2D => self.pool(operator, Layer::MaxPool),
            BuiltinOperator::AVERAGE_POOL_2D => self.pool(operator, Layer::AveragePool),
            BuiltinOperator::MEAN => self.whole(operator, |_| Layer::GlobalAveragePool),
            BuiltinOperator::REDUCE_MAX => {
                self.whole(operator, |sides| Layer::MaxPool(Window::whole(sides)))
            }
            BuiltinOperator::PAD => self.pad(operator),
            BuiltinOperator::CONCATENATION => self.concat(operator),
            BuiltinOperator::RESHAPE | BuiltinOperator::SQUEEZE => self.reshape(operator, output),
            BuiltinOperator::RELU => self.unary(operator, Layer::Activation(Activation::Relu)),
            BuiltinOperator::RELU6 => self.unary(operator, Layer::Activation(Activation::Relu6)),
            BuiltinOperator::SOFTMAX => self.softmax(operator),
            _ => Err(operator.wrong(
                "this operator is not understood; convert the network without it (in float32, \
                 without what comes before or after the network)",
            )),
        }
    }

    fn tensor(&self, index: i32) -> Option<&Tensor<'m>> {
        self.tensors.get(usize::try_from(index).ok()?)
    }

    /// The value behind an operator's input, if it is computed.
    fn computed(&self, operator: &Operator, index: usize) -> Option<usize> {
        self.values.get(operator.inputs.get(index)?).copied()
    }

    fn value(&self, operator: &Operator, index: usize) -> Result<usize, LayerError> {
        self.computed(operator, index).ok_or_else(|| {
            operator
                .wrong(format!("its input {index} is no value that an operator before it gives"))
        })
    }

    /// Sizes and bytes of an operator's constant input; none if it is left out.
    fn constant(
        &self,
        operator: &Operator,
        index: usize,
        type_: TensorType,
    ) -> Result<Option<WithDims<&'m [u8]>>, LayerError> {
        let place = match operator.inputs.get(index) {
            None | Some(&NO_TENSOR) => return Ok(None),
            Some(place) => *place,
        };
        let wrong = |what: &str| operator.wrong(format!("its input {index} {what}"));
        let tensor = self.tensor(place).ok_or_else(|| wrong("is no tensor of the file"))?;
        if tensor.type_() != type_ || tensor.sparsity().is_some() {
            let kind = type_.variant_name().unwrap_or_default();
            return Err(wrong(&format!("is not a dense {kind} tensor")));
        }
        let dims = dims(tensor).ok_or_else(|| wrong("has no usable shape"))?;
        let buffer = usize::try_from(tensor.buffer()).unwrap_or(usize::MAX);
        let mut buffers = self.model.buffers().into_iter().flatten();
        let data = buffers.nth(buffer).and_then(|buffer| buffer.data());
        let data =
            data.ok_or_else(|| wrong("is not in the file; only a constant is understood"))?;
        let len = dims.iter().try_fold(4usize, |len, dim| len.checked_mul(*dim));
        if len != Some(data.len()) {
            let bytes = data.len();
            return Err(wrong(&format!(
                "of shape {dims:?} has {bytes} bytes; the file is damaged"
            )));
        }
        Ok(Some((dims, data.bytes())))
    }

    fn floats(
        &self,
        operator: &Operator,
        index: usize,
    ) -> Result<Option<WithDims<Vec<f32>>>, LayerError> {
        let constant = self.constant(operator, index, TensorType::FLOAT32)?;
        Ok(constant.map(|(dims, bytes)| {
            let values = bytes.as_chunks().0.iter().map(|chunk| f32::from_le_bytes(*chunk));
            (dims, values.collect())
        }))
    }

    fn ints(&self, operator: &Operator, index: usize) -> Result<Vec<i32>, LayerError> {
        let constant = self.constant(operator, index, TensorType::INT32)?;
        let (_, bytes) = constant.ok_or_else(|| operator.lacks(index))?;
        Ok(bytes.as_chunks().0.iter().map(|chunk| i32::from_le_bytes(*chunk)).collect())
    }

    fn weights(&self, operator: &Operator, index: usize) -> Result<WithDims<Vec<f32>>, LayerError> {
        self.floats(operator, index)?.ok_or_else(|| operator.lacks(index))
    }

    fn bias(&self, operator: &Operator) -> Result<Option<Vec<f32>>, LayerError> {
        Ok(self.floats(operator, 2)?.map(|(_, bias)| bias))
    }

    fn unary(&mut self, operator: &Operator, layer: Layer) -> Result<usize, LayerError> {
        let input = self.value(operator, 0)?;
        self.builder.push(&operator.name, layer, &[input])
    }

    /// Adds an activation that is fused into an operator.
    fn fused(
        &mut self,
        operator: &Operator,
        function: Option<ActivationFunctionType>,
        value: usize,
    ) -> Result<usize, LayerError> {
        match operator.activation(function)? {
            Activation::None => Ok(value),
            other => {
                let name = format!("{}_activation", operator.name);
                self.builder.push(&name, Layer::Activation(other), &[value])
            }
        }
    }

    fn conv(&mut self, operator: &Operator) -> Result<usize, LayerError> {
        let options = operator.table.builtin_options_as_conv_2_doptions();
        let options = options.ok_or_else(|| operator.no_options())?;
        let input = self.value(operator, 0)?;
        let [_, _, channels] = self.builder.shape(input);
        let (dims, weights) = self.weights(operator, 1)?;
        let kernel = match dims[..] {
            [_, h, w, inputs] if inputs == channels => [h, w],
            _ => {
                let why =
                    format!("weights {dims:?} over {channels} channels; groups can't be used");
                return Err(operator.wrong(why));
            }
        };
        operator.refuse_dilation([options.dilation_h_factor(), options.dilation_w_factor()])?;
        let stride = [options.stride_h(), options.stride_w()];
        let filter = Filter {
            weights,
            bias: self.bias(operator)?,
            window: operator.window(kernel, stride, options.padding())?,
            activation: operator.activation(Some(options.fused_activation_function()))?,
        };
        self.builder.push(&operator.name, Layer::Conv(filter), &[input])
    }

    fn depthwise(&mut self, operator: &Operator) -> Result<usize, LayerError> {
        let options = operator.table.builtin_options_as_depthwise_conv_2_doptions();
        let options = options.ok_or_else(|| operator.no_options())?;
        let input = self.value(operator, 0)?;
        let [_, _, channels] = self.builder.shape(input);
        let (dims, weights) = self.weights(operator, 1)?;
        let (kernel, outputs) = match dims[..] {
            [1, h, w, outputs] if outputs == channels || channels == 1 => ([h, w], outputs),
            _ => {
                return Err(operator.wrong(format!(
                    "weights {dims:?} over {channels} channels; one filter for each can be used"
                )));
            }
        };
        operator.refuse_dilation([options.dilation_h_factor(), options.dilation_w_factor()])?;
        let stride = [options.stride_h(), options.stride_w()];
        let window = operator.window(kernel, stride, options.padding())?;
        let bias = self.bias(operator)?;
        let activation = operator.activation(Some(options.fused_activation_function()))?;
        let layer = match channels {
            // Every filter reads the one channel.
            1 => {
                let weights = outputs_first(&weights, outputs);
                Layer::Conv(Filter { weights, bias, window, activation })
            }
            _ => Layer::Depthwise(Filter { weights, bias, window, activation }),
        };
        self.builder.push(&operator.name, layer, &[input])
    }

    fn dense(&mut self, operator: &Operator) -> Result<usize, LayerError> {
        let options = operator.table.builtin_options_as_fully_connected_options();
        let options = options.ok_or_else(|| operator.no_options())?;
        let (dims, weights) = self.weights(operator, 1)?;
        let mut input = self.value(operator, 0)?;
        let shape = self.builder.shape(input);
        let len: usize = shape.iter().product();
        if !matches!(dims[..], [_, inputs] if inputs == len) {
            return Err(operator.wrong(format!("weights {dims:?} don't fit {shape:?}")));
        }
        if shape[..2] != [1, 1] {
            let name = format!("{}_flatten", operator.name);
            input = self.builder.push(&name, Layer::Flatten, &[input])?;
        }
        let filter = Filter {
            weights,
            bias: self.bias(operator)?,
            window: Window::PIXEL,
            activation: operator.activation(Some(options.fused_activation_function()))?,
        };
        self.builder.push(&operator.name, Layer::Dense(filter), &[input])
    }

    fn arithmetic(
        &mut self,
        operator: &Operator,
        kind: Arithmetic,
        function: Option<ActivationFunctionType>,
    ) -> Result<usize, LayerError> {
        let inputs = [self.computed(operator, 0), self.computed(operator, 1)];
        let value = match (kind, inputs) {
            (Arithmetic::Add, [Some(a), Some(b)]) => {
                self.builder.push(&operator.name, Layer::Add, &[a, b])?
            }
            (_, [Some(value), None]) => self.by_channel(operator, kind, value, 1)?,
            (Arithmetic::Add | Arithmetic::Multiply, [None, Some(value)]) => {
                self.by_channel(operator, kind, value, 0)?
            }
            _ => {
                return Err(operator.wrong(
                    "only a sum of two values is understood, or arithmetic with one constant per \
                     channel",
                ));
            }
        };
        self.fused(operator, function, value)
    }

    fn by_channel(
        &mut self,
        operator: &Operator,
        kind: Arithmetic,
        value: usize,
        constant: usize,
    ) -> Result<usize, LayerError> {
        let [_, _, channels] = self.builder.shape(value);
        let (dims, constant) = self.weights(operator, constant)?;
        let last = dims.last().copied().unwrap_or(1);
        if constant.len() != last || (last != 1 && last != channels) {
            let why = format!("a constant {dims:?}; understood is one value per channel");
            return Err(operator.wrong(why));
        }
        self.builder.push_affine(&operator.name, kind, &constant, value)
    }

    fn pool(
        &mut self,
        operator: &Operator,
        layer: impl Fn(Window) -> Layer,
    ) -> Result<usize, LayerError> {
        let options = operator.table.builtin_options_as_pool_2_doptions();
        let options = options.ok_or_else(|| operator.no_options())?;
        let kernel = [options.filter_height(), options.filter_width()];
        let kernel = sides(&kernel.map(i64::from));
        let kernel = kernel.ok_or_else(|| operator.wrong("a window without sides"))?;
        let stride = [options.stride_h(), options.stride_w()];
        let window = operator.window(kernel, stride, options.padding())?;
        let value = self.unary(operator, layer(window))?;
        self.fused(operator, Some(options.fused_activation_function()), value)
    }

    /// A layer that makes one pixel of the whole picture.
    fn whole(
        &mut self,
        operator: &Operator,
        layer: impl Fn([usize; 2]) -> Layer,
    ) -> Result<usize, LayerError> {
        let mut axes = self.ints(operator, 1)?;
        axes.iter_mut().filter(|axis| **axis < 0).for_each(|axis| *axis = axis.saturating_add(4));
        axes.sort_unstable();
        let input = operator.inputs.first().and_then(|input| self.tensor(*input));
        let rank = input.and_then(Tensor::shape).map_or(0, |shape| shape.len());
        if axes != [1, 2] || rank != 4 {
            return Err(operator.wrong("only one over height and width is understood"));
        }
        let [height, width, _] = self.builder.shape(self.value(operator, 0)?);
        self.unary(operator, layer([height, width]))
    }

    fn pad(&mut self, operator: &Operator) -> Result<usize, LayerError> {
        let pads = self.ints(operator, 1)?;
        let margins = match pads[..] {
            [0, 0, top, bottom, left, right, 0, 0] => {
                [top, bottom, left, right].map(|pad| side(i64::from(pad)))
            }
            _ => [None; 4],
        };
        let [Some(top), Some(bottom), Some(left), Some(right)] = margins else {
            return Err(operator.wrong(format!("paddings {pads:?}; rows and columns can be added")));
        };
        self.unary(operator, Layer::Pad(Margins { top, bottom, left, right }))
    }

    fn concat(&mut self, operator: &Operator) -> Result<usize, LayerError> {
        let options = operator.table.builtin_options_as_concatenation_options();
        let options = options.ok_or_else(|| operator.no_options())?;
        if ![CHANNEL_AXIS, -1].contains(&options.axis()) {
            let axis = options.axis();
            return Err(operator.wrong(format!("axis {axis}; only channels can be joined")));
        }
        let inputs: Result<Vec<usize>, _> =
            (0..operator.inputs.len()).map(|index| self.value(operator, index)).collect();
        let value = self.builder.push(&operator.name, Layer::Concat, &inputs?)?;
        self.fused(operator, Some(options.fused_activation_function()), value)
    }

    /// Flattens, or changes nothing but sizes of 1.
    fn reshape(&mut self, operator: &Operator, output: i32) -> Result<usize, LayerError> {
        let input = self.value(operator, 0)?;
        let shape = self.builder.shape(input);
        let to = self.tensor(output).and_then(dims).unwrap_or_default();
        let long =
            |dims: &[usize]| dims.iter().copied().filter(|dim| *dim != 1).collect::<Vec<_>>();
        if long(&to) == long(&shape) {
            return Ok(input);
        }
        if to == [1, shape.iter().product()] {
            return self.builder.push(&operator.name, Layer::Flatten, &[input]);
        }
        Err(operator.wrong(format!(
            "from {shape:?} to {to:?}; a flattening is understood, or one of size 1 more or less"
        )))
    }

    fn softmax(&mut self, operator: &Operator) -> Result<usize, LayerError> {
        let input = self.value(operator, 0)?;
        let options = operator.table.builtin_options_as_softmax_options();
        let beta = options.map_or(1.0, |options| options.beta());
        if self.builder.shape(input)[..2] != [1, 1] || beta != 1.0 {
            return Err(operator.wrong("only one over the logits, at the end, is understood"));
        }
        self.builder.push(&operator.name, Layer::Softmax, &[input])
    }
}

/// Weights `[taps, outputs]` as `[outputs, taps]`.
fn outputs_first(weights: &[f32], outputs: usize) -> Vec<f32> {
    let of_output = |output| weights.iter().skip(output).step_by(outputs.max(1)).copied();
    (0..outputs).flat_map(of_output).collect()
}
