//! Writes the file.

use std::collections::BTreeMap;

use flatbuffers::{FlatBufferBuilder, Push, PushAlignment, UnionWIPOffset, Vector, WIPOffset};
use tract_tflite::tflite::{
    ActivationFunctionType, AddOptions, AddOptionsArgs, Buffer, BufferArgs, BuiltinOperator,
    BuiltinOptions, ConcatenationOptions, ConcatenationOptionsArgs, Conv2DOptions,
    Conv2DOptionsArgs, DepthwiseConv2DOptions, DepthwiseConv2DOptionsArgs, LeakyReluOptions,
    LeakyReluOptionsArgs, Metadata, MetadataArgs, Model, ModelArgs, MulOptions, MulOptionsArgs,
    Operator, OperatorArgs, OperatorCode, OperatorCodeArgs, PadOptions, PadOptionsArgs,
    Pool2DOptions, Pool2DOptionsArgs, QuantizationParameters, QuantizationParametersArgs,
    QuantizeOptions, QuantizeOptionsArgs, ReducerOptions, ReducerOptionsArgs, ReshapeOptions,
    ReshapeOptionsArgs, SubGraph, SubGraphArgs, SubOptions, SubOptionsArgs, Tensor, TensorArgs,
    TensorType, finish_model_buffer,
};

use super::super::float::{Activation, Window, window::Margins};
use super::codes::{CHANNEL_AXIS, activation_function, file_padding};
use super::{Filter, Int8Network, Int8Op, Step, Value};
use crate::engine::Quantization;
use crate::engine::arithmetic::unary::Unary;

/// Version of the schema that the file follows.
const SCHEMA_VERSION: u32 = 3;
/// LiteRT reads weights in place and wants them aligned for its kernels.
const BUFFER_ALIGNMENT: usize = 16;

/// The file's bytes.
pub fn write(network: &Int8Network) -> Vec<u8> {
    let mut writer = Writer::new();
    let constant = |value: usize| {
        network.steps.iter().find_map(|step| match &step.op {
            Int8Op::Constant(codes) if step.output == value => Some(&codes[..]),
            _ => None,
        })
    };
    let values = network.values.iter().enumerate();
    let values: Vec<i32> =
        values.map(|(i, value)| writer.value(value, constant(i).unwrap_or_default())).collect();
    let steps = network.steps.iter().filter(|step| !matches!(step.op, Int8Op::Constant(_)));
    let steps: Vec<_> = steps.map(|step| writer.step(step, network, &values)).collect();
    let metadata: Vec<_> =
        network.metadata.iter().map(|(name, text)| writer.metadata(name, text)).collect();
    writer.finish(&steps, &metadata, values[network.input], values[network.output])
}

/// Tables written so far.
struct Writer {
    builder: FlatBufferBuilder<'static>,
    buffers: Vec<WIPOffset<Buffer<'static>>>,
    tensors: Vec<WIPOffset<Tensor<'static>>>,
    operator_codes: Vec<(BuiltinOperator, i32)>,
    /// Vectors of one zero point, by length and value: tensors with equal ones share a vector,
    /// which saves 16 bytes a channel.
    zero_points: BTreeMap<(usize, i8), WIPOffset<Vector<'static, i64>>>,
}

impl Writer {
    fn new() -> Self {
        let mut builder = FlatBufferBuilder::new();
        // By convention buffer 0 is empty: "no data", what activations refer to.
        let empty = Buffer::create(&mut builder, &BufferArgs::default());
        Self {
            builder,
            buffers: vec![empty],
            tensors: Vec::new(),
            operator_codes: Vec::new(),
            zero_points: BTreeMap::new(),
        }
    }

    /// Stores bytes, aligned, and gives the buffer's index.
    fn buffer(&mut self, bytes: &[u8]) -> u32 {
        // The builder fills its memory from the end: align, then leave what the bytes lack to a
        // multiple behind them, and they begin aligned.
        self.builder.push(Aligned);
        for _ in bytes.len()..bytes.len().next_multiple_of(BUFFER_ALIGNMENT) {
            self.builder.push(0u8);
        }
        let data = self.builder.create_vector(bytes);
        let buffer = Buffer::create(&mut self.builder, &BufferArgs { data: Some(data) });
        self.buffers.push(buffer);
        self.buffers.len() as u32 - 1
    }

    /// Adds a tensor and gives its index. `buffer` 0 is an activation.
    fn tensor(
        &mut self,
        name: &str,
        type_: TensorType,
        shape: &[usize],
        buffer: u32,
        code: &Code,
    ) -> i32 {
        let shape: Vec<i32> = shape.iter().map(|&side| side as i32).collect();
        let shape = self.builder.create_vector(&shape);
        let name = self.builder.create_string(name);
        let scale = self.builder.create_vector(&code.scales);
        let (channels, zero_point) = (code.scales.len(), code.zero_point);
        let zero_point = *self
            .zero_points
            .entry((channels, zero_point))
            .or_insert_with(|| self.builder.create_vector(&vec![i64::from(zero_point); channels]));
        let quantization = QuantizationParameters::create(
            &mut self.builder,
            &QuantizationParametersArgs {
                scale: Some(scale),
                zero_point: Some(zero_point),
                quantized_dimension: code.channel_axis,
                ..Default::default()
            },
        );
        let tensor = Tensor::create(
            &mut self.builder,
            &TensorArgs {
                shape: Some(shape),
                type_,
                buffer,
                name: Some(name),
                quantization: Some(quantization),
                ..Default::default()
            },
        );
        self.tensors.push(tensor);
        self.tensors.len() as i32 - 1
    }

    /// Adds an activation, or a constant of these codes.
    fn value(&mut self, value: &Value, codes: &[i8]) -> i32 {
        let [h, w, c] = value.shape;
        let Quantization { scale, zero_point } = value.quantization;
        let code = Code { scales: vec![scale], zero_point, channel_axis: 0 };
        let bytes: Vec<u8> = codes.iter().map(|code| code.cast_unsigned()).collect();
        let buffer = if bytes.is_empty() { 0 } else { self.buffer(&bytes) };
        self.tensor(&value.name, TensorType::INT8, &[1, h, w, c], buffer, &code)
    }

    fn step(
        &mut self,
        step: &Step,
        network: &Int8Network,
        values: &[i32],
    ) -> WIPOffset<Operator<'static>> {
        let name = &network.values[step.output].name;
        let input_scale = network.values[step.inputs[0]].quantization.scale;
        let mut inputs: Vec<i32> = step.inputs.iter().map(|&input| values[input]).collect();
        let (operator, version, options_type, options) = match &step.op {
            Int8Op::Conv(filter) => {
                inputs.extend(self.filter(filter, name, 0, input_scale));
                let options = self.conv_options(filter);
                (BuiltinOperator::CONV_2D, 3, BuiltinOptions::Conv2DOptions, options)
            }
            Int8Op::Depthwise(filter) => {
                inputs.extend(self.filter(filter, name, 3, input_scale));
                let options = self.depthwise_options(filter);
                let options_type = BuiltinOptions::DepthwiseConv2DOptions;
                (BuiltinOperator::DEPTHWISE_CONV_2D, 3, options_type, options)
            }
            Int8Op::MaxPool(window, activation) => {
                let options = self.pool_options(window, *activation);
                (BuiltinOperator::MAX_POOL_2D, 2, BuiltinOptions::Pool2DOptions, options)
            }
            Int8Op::AveragePool(window, activation) => {
                let options = self.pool_options(window, *activation);
                (BuiltinOperator::AVERAGE_POOL_2D, 2, BuiltinOptions::Pool2DOptions, options)
            }
            Int8Op::Mean => {
                inputs.push(self.numbers(&format!("{name}/axes"), &[2], &[1, 2]));
                let args = ReducerOptionsArgs { keep_dims: true };
                let options = ReducerOptions::create(&mut self.builder, &args).as_union_value();
                (BuiltinOperator::MEAN, 2, BuiltinOptions::ReducerOptions, options)
            }
            Int8Op::Pad(Margins { top, bottom, left, right }) => {
                let sides = [0, 0, *top, *bottom, *left, *right, 0, 0].map(|side| side as i32);
                inputs.push(self.numbers(&format!("{name}/margins"), &[4, 2], &sides));
                let options = PadOptions::create(&mut self.builder, &PadOptionsArgs {});
                (BuiltinOperator::PAD, 2, BuiltinOptions::PadOptions, options.as_union_value())
            }
            Int8Op::Add(activation) => {
                let args = AddOptionsArgs {
                    fused_activation_function: activation_function(*activation),
                    ..Default::default()
                };
                let options = AddOptions::create(&mut self.builder, &args).as_union_value();
                (BuiltinOperator::ADD, 2, BuiltinOptions::AddOptions, options)
            }
            Int8Op::Subtract(activation) => {
                let args = SubOptionsArgs {
                    fused_activation_function: activation_function(*activation),
                    ..Default::default()
                };
                let options = SubOptions::create(&mut self.builder, &args).as_union_value();
                (BuiltinOperator::SUB, 3, BuiltinOptions::SubOptions, options)
            }
            Int8Op::Multiply(activation) => {
                let args =
                    MulOptionsArgs { fused_activation_function: activation_function(*activation) };
                let options = MulOptions::create(&mut self.builder, &args).as_union_value();
                (BuiltinOperator::MUL, 2, BuiltinOptions::MulOptions, options)
            }
            Int8Op::Prelu => {
                (BuiltinOperator::PRELU, 1, BuiltinOptions::QuantizeOptions, self.no_options())
            }
            Int8Op::Unary(unary) => self.unary(*unary),
            Int8Op::Constant(_) => unreachable!("constants are tensors, not operators"),
            Int8Op::Reshape => {
                let [h, w, c] = network.values[step.output].shape.map(|side| side as i32);
                inputs.push(self.numbers(&format!("{name}/shape"), &[4], &[1, h, w, c]));
                let args = ReshapeOptionsArgs::default();
                let options = ReshapeOptions::create(&mut self.builder, &args).as_union_value();
                (BuiltinOperator::RESHAPE, 1, BuiltinOptions::ReshapeOptions, options)
            }
            Int8Op::InTract(_) | Int8Op::Space(_) => {
                unreachable!("only other makers' files have such")
            }
            Int8Op::Concat => {
                let args = ConcatenationOptionsArgs {
                    axis: CHANNEL_AXIS,
                    fused_activation_function: ActivationFunctionType::NONE,
                };
                let options = ConcatenationOptions::create(&mut self.builder, &args);
                let options_type = BuiltinOptions::ConcatenationOptions;
                (BuiltinOperator::CONCATENATION, 2, options_type, options.as_union_value())
            }
        };
        let opcode_index = self.operator_code(operator, version);
        let inputs = self.builder.create_vector(&inputs);
        let outputs = self.builder.create_vector(&[values[step.output]]);
        Operator::create(
            &mut self.builder,
            &OperatorArgs {
                opcode_index,
                inputs: Some(inputs),
                outputs: Some(outputs),
                builtin_options_type: options_type,
                builtin_options: Some(options),
                ..Default::default()
            },
        )
    }

    fn unary(
        &mut self,
        unary: Unary,
    ) -> (BuiltinOperator, i32, BuiltinOptions, WIPOffset<UnionWIPOffset>) {
        let (operator, version) = match unary {
            Unary::Logistic => (BuiltinOperator::LOGISTIC, 2),
            Unary::Tanh => (BuiltinOperator::TANH, 2),
            Unary::Relu => (BuiltinOperator::RELU, 2),
            Unary::Relu6 => (BuiltinOperator::RELU6, 2),
            Unary::Relu0To1 => (BuiltinOperator::RELU_0_TO_1, 1),
            Unary::ReluN1To1 => (BuiltinOperator::RELU_N1_TO_1, 1),
            Unary::Abs => (BuiltinOperator::ABS, 2),
            Unary::Elu => (BuiltinOperator::ELU, 1),
            Unary::HardSwish => (BuiltinOperator::HARD_SWISH, 1),
            Unary::Requantize => (BuiltinOperator::QUANTIZE, 2),
            Unary::LeakyRelu { slope } => {
                let args = LeakyReluOptionsArgs { alpha: slope };
                let options = LeakyReluOptions::create(&mut self.builder, &args).as_union_value();
                let options_type = BuiltinOptions::LeakyReluOptions;
                return (BuiltinOperator::LEAKY_RELU, 2, options_type, options);
            }
        };
        (operator, version, BuiltinOptions::QuantizeOptions, self.no_options())
    }

    /// Operators without options have an empty table of any kind.
    fn no_options(&mut self) -> WIPOffset<UnionWIPOffset> {
        QuantizeOptions::create(&mut self.builder, &QuantizeOptionsArgs {}).as_union_value()
    }

    /// Adds a convolution's weights and bias; gives both tensors' indices.
    fn filter(
        &mut self,
        filter: &Filter,
        name: &str,
        channel_axis: i32,
        input_scale: f32,
    ) -> [i32; 2] {
        let bytes: Vec<u8> = filter.weights.iter().map(|code| code.cast_unsigned()).collect();
        let buffer = self.buffer(&bytes);
        let code = Code { scales: filter.scales.clone(), zero_point: 0, channel_axis };
        let name_of = |tensor| format!("{name}/{tensor}");
        let weights =
            self.tensor(&name_of("weights"), TensorType::INT8, &filter.shape, buffer, &code);
        let bytes: Vec<u8> = filter.bias.iter().flat_map(|bias| bias.to_le_bytes()).collect();
        let buffer = self.buffer(&bytes);
        let scales = filter.scales.iter().map(|scale| scale * input_scale).collect();
        let code = Code { scales, zero_point: 0, channel_axis: 0 };
        let shape = [filter.bias.len()];
        let bias = self.tensor(&name_of("bias"), TensorType::INT32, &shape, buffer, &code);
        [weights, bias]
    }

    fn conv_options(&mut self, filter: &Filter) -> WIPOffset<UnionWIPOffset> {
        let args = Conv2DOptionsArgs {
            padding: file_padding(filter.window.padding),
            stride_w: filter.window.stride[1] as i32,
            stride_h: filter.window.stride[0] as i32,
            fused_activation_function: activation_function(filter.activation),
            dilation_w_factor: 1,
            dilation_h_factor: 1,
        };
        Conv2DOptions::create(&mut self.builder, &args).as_union_value()
    }

    fn depthwise_options(&mut self, filter: &Filter) -> WIPOffset<UnionWIPOffset> {
        let args = DepthwiseConv2DOptionsArgs {
            padding: file_padding(filter.window.padding),
            stride_w: filter.window.stride[1] as i32,
            stride_h: filter.window.stride[0] as i32,
            depth_multiplier: 1,
            fused_activation_function: activation_function(filter.activation),
            dilation_w_factor: 1,
            dilation_h_factor: 1,
        };
        DepthwiseConv2DOptions::create(&mut self.builder, &args).as_union_value()
    }

    /// Adds a tensor of numbers that stand for themselves.
    fn numbers(&mut self, name: &str, shape: &[usize], numbers: &[i32]) -> i32 {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let buffer = self.buffer(&bytes);
        let code = Code { scales: Vec::new(), zero_point: 0, channel_axis: 0 };
        self.tensor(name, TensorType::INT32, shape, buffer, &code)
    }

    fn pool_options(
        &mut self,
        window: &Window,
        activation: Activation,
    ) -> WIPOffset<UnionWIPOffset> {
        let args = Pool2DOptionsArgs {
            padding: file_padding(window.padding),
            stride_w: window.stride[1] as i32,
            stride_h: window.stride[0] as i32,
            filter_width: window.kernel[1] as i32,
            filter_height: window.kernel[0] as i32,
            fused_activation_function: activation_function(activation),
        };
        Pool2DOptions::create(&mut self.builder, &args).as_union_value()
    }

    /// Index of an operator in the file's table of operator codes.
    fn operator_code(&mut self, operator: BuiltinOperator, version: i32) -> u32 {
        let code = (operator, version);
        let known = self.operator_codes.iter().position(|&other| other == code);
        known.unwrap_or_else(|| {
            self.operator_codes.push(code);
            self.operator_codes.len() - 1
        }) as u32
    }

    fn metadata(&mut self, name: &str, text: &str) -> WIPOffset<Metadata<'static>> {
        let buffer = self.buffer(text.as_bytes());
        let name = self.builder.create_string(name);
        Metadata::create(&mut self.builder, &MetadataArgs { name: Some(name), buffer })
    }

    fn finish(
        mut self,
        steps: &[WIPOffset<Operator<'static>>],
        metadata: &[WIPOffset<Metadata<'static>>],
        input: i32,
        output: i32,
    ) -> Vec<u8> {
        let builder = &mut self.builder;
        let name = builder.create_string("main");
        let subgraph = SubGraphArgs {
            tensors: Some(builder.create_vector(&self.tensors)),
            inputs: Some(builder.create_vector(&[input])),
            outputs: Some(builder.create_vector(&[output])),
            operators: Some(builder.create_vector(steps)),
            name: Some(name),
        };
        let subgraph = SubGraph::create(builder, &subgraph);
        let codes: Vec<_> = self
            .operator_codes
            .iter()
            .map(|&(builtin_code, version)| {
                // Old readers look at an int8 field, which not all fit.
                let most = BuiltinOperator::PLACEHOLDER_FOR_GREATER_OP_CODES;
                let deprecated_builtin_code = builtin_code.0.min(most.0) as i8;
                let args = OperatorCodeArgs {
                    deprecated_builtin_code,
                    version,
                    builtin_code,
                    ..Default::default()
                };
                OperatorCode::create(builder, &args)
            })
            .collect();
        let model = ModelArgs {
            version: SCHEMA_VERSION,
            operator_codes: Some(builder.create_vector(&codes)),
            subgraphs: Some(builder.create_vector(&[subgraph])),
            description: Some(builder.create_string("mien, quantized by mien-lab")),
            buffers: Some(builder.create_vector(&self.buffers)),
            metadata: Some(builder.create_vector(metadata)),
            ..Default::default()
        };
        let model = Model::create(builder, &model);
        finish_model_buffer(builder, model);
        builder.finished_data().to_vec()
    }
}

/// Scales of a tensor, one or one per channel along an axis, and its zero point.
struct Code {
    scales: Vec<f32>,
    zero_point: i8,
    channel_axis: i32,
}

/// Writes nothing, aligned.
struct Aligned;

impl Push for Aligned {
    type Output = Aligned;

    // Safety: the value has size 0, so there is nothing to write.
    unsafe fn push(&self, _: &mut [u8], _: usize) {}

    fn alignment() -> PushAlignment {
        PushAlignment::new(BUFFER_ALIGNMENT)
    }
}
