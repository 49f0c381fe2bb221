//! Operators with weights: convolutions, depthwise or not, and dense layers.

use tract_tflite::tflite::{BuiltinOperator, FullyConnectedOptionsWeightsFormat, TensorType};

use super::super::kernels::QUAD;
use super::super::network::{Filter, Int8Op, Shape, Value};
use super::super::window::Window;
use super::blocks::Blocks;
use super::operator::{Given, Input, Operator, Outcome, Picture, le_i32, tap_bytes};
use super::sliding::{self, Sliding};
use super::tensor::Tensor;
use super::transposed;
use super::{Cost, Fault};

/// Taps of a depthwise convolution's window, each of whose places is kept: the mean of a picture of
/// 64×64 pixels.
const MAX_DEPTHWISE_TAPS: usize = 1 << 12;

/// Channels that kernels fill filters up to, at the most.
const MOST_CHANNELS: usize = 64;

/// What an operator of these kinds is.
pub fn read(operator: &Operator) -> Result<Outcome, Fault> {
    let weights = operator.tensor(1)?;
    let at = if operator.kind == BuiltinOperator::TRANSPOSE_CONV { 3 } else { 2 };
    let bias = match operator.inputs.get(at) {
        Some(Some(_)) => Some(operator.tensor(at)?),
        _ => None,
    };
    let Form { input, x, shape, sliding, depthwise, blocks } = Form::of(operator, weights)?;
    let channels = shape[if depthwise { 3 } else { 0 }];
    check_codes(operator, weights, bias, channels)?;
    let [height, width] = operator.slides(&sliding, x)?;
    let window = sliding.undilated();
    let [rows, columns] = window.kernel;
    // Filters that do not see all channels, and not one each, see the others through zeros.
    let groups = if depthwise { x[2] } else { x[2] / shape[3] };
    let spread = if depthwise { channels != groups } else { groups > 1 };
    let depthwise = depthwise && !spread;
    let depth = if depthwise { 1 } else { x[2] };
    operator.ensure(!depthwise || rows * columns <= MAX_DEPTHWISE_TAPS, || {
        format!("has a depthwise window of {rows}×{columns}")
    })?;
    let places = if depthwise { rows * columns } else { rows };
    let packed = [columns * depth.next_multiple_of(QUAD), channels.next_multiple_of(MOST_CHANNELS)];
    let weight_bytes = packed.iter().fold(rows, |bytes, side| bytes.saturating_mul(*side));
    let each = [rows * columns, channels, depth];
    let cost = Cost {
        products: each.iter().fold(height * width, |n, more| n.saturating_mul(*more)),
        weight_bytes: weight_bytes.saturating_add(tap_bytes(&window, height, places)),
        ..Cost::default()
    };
    let of_tract = [BuiltinOperator::CONV_2D, BuiltinOperator::DEPTHWISE_CONV_2D];
    let plain = !spread && blocks.is_none() && of_tract.contains(&operator.kind);
    let tract_agrees = plain && bias.is_some();
    let given = [height, width, channels];
    let given = match (blocks, dense_axes(operator, given)?) {
        (Some(blocks), _) => Given::in_blocks(given, blocks.convolved()),
        (None, Some(axes)) => Given::of_axes(given, axes),
        (None, None) => Given::picture(given),
    };
    operator.operation(vec![input], given, cost, tract_agrees, || {
        let mut codes: Vec<i8> = weights.codes().collect();
        if operator.kind == BuiltinOperator::TRANSPOSE_CONV {
            transposed::turn_taps(&mut codes, shape);
        }
        let (mut shape, mut weights_of) = dilated(shape, codes, &sliding);
        if spread && operator.kind == BuiltinOperator::DEPTHWISE_CONV_2D {
            (shape, weights_of) = filters_first(shape, &weights_of);
        }
        if spread {
            (shape, weights_of) = ungrouped(shape, &weights_of, groups);
        }
        let mut scales = weights.scales.clone();
        if let [scale] = scales[..] {
            scales = vec![scale; channels];
        }
        let filter = Filter {
            shape,
            weights: weights_of,
            scales,
            bias: bias
                .and_then(|bias| bias.data.as_deref())
                .map_or_else(|| vec![0; channels], le_i32),
            window,
            activation: sliding.activation,
        };
        match depthwise {
            true => Int8Op::Depthwise(filter),
            false => Int8Op::Conv(filter),
        }
    })
}

/// What axes a dense layer's output has, by those of its input.
fn dense_axes(
    operator: &Operator,
    [rows, columns, out]: Shape,
) -> Result<Option<Vec<usize>>, Fault> {
    let options = operator.table.builtin_options_as_fully_connected_options();
    let Some(options) = options else { return Ok(None) };
    if !options.keep_num_dims() {
        return Ok(Some(vec![rows * columns, out]));
    }
    let (axes, weights) = (&operator.tensor(0)?.shape, &operator.tensor(1)?.shape);
    let fits = axes.last() == weights.last();
    operator.ensure(fits, || format!("keeps the axes {axes:?}, weights {weights:?}"))?;
    Ok(Some([&axes[..axes.len() - 1], &[out]].concat()))
}

/// What it reads, its weights as four-dimensional, and how they slide.
pub struct Form {
    pub input: Input,
    pub x: Shape,
    pub shape: [usize; 4],
    pub sliding: Sliding,
    pub depthwise: bool,
    /// What the input's blocks are, if the file convolves such.
    pub blocks: Option<Blocks>,
}

impl Form {
    fn of(operator: &Operator, weights: &Tensor) -> Result<Self, Fault> {
        if operator.kind == BuiltinOperator::FULLY_CONNECTED {
            return Self::of_dense(operator, weights);
        }
        if operator.kind == BuiltinOperator::TRANSPOSE_CONV {
            return transposed::form(operator, weights);
        }
        let blocks = operator.tensor(0)?.blocks;
        let (input, x) = match blocks {
            Some(_) if operator.tensor(0)?.shape.len() == 4 => {
                let (value, of) = operator.value_or_blocks(0)?;
                (Input::Value(value), of.shape)
            }
            _ => {
                operator.has_four_axes(0)?;
                let Picture { input, shape, .. } = operator.picture(0)?;
                (input, shape)
            }
        };
        let misfit = || operator.fault(format!("has weights {:?} on input {x:?}", weights.shape));
        let [out, height, width, channels] = weights.shape[..] else { return Err(misfit()) };
        let depthwise = operator.kind == BuiltinOperator::DEPTHWISE_CONV_2D;
        let fits = match depthwise {
            true => out == 1 && channels.is_multiple_of(x[2]),
            // Of one group of the channels, perhaps.
            false => x[2].is_multiple_of(channels) && out.is_multiple_of(x[2] / channels),
        };
        if !fits {
            return Err(misfit());
        }
        let of = if depthwise { sliding::of_depthwise } else { sliding::of_conv };
        let mut sliding =
            of(&operator.table, [height, width]).map_err(|why| operator.fault(why))?;
        if let Some(blocks) = blocks {
            let spread = blocks.spread(&sliding);
            sliding = spread.ok_or_else(|| operator.fault("strides over blocks of a picture"))?;
        }
        Ok(Self { input, x, shape: [out, height, width, channels], sliding, depthwise, blocks })
    }

    /// All that it reads at once, or each row by itself.
    fn of_dense(operator: &Operator, weights: &Tensor) -> Result<Self, Fault> {
        let options = operator.table.builtin_options_as_fully_connected_options();
        let activation = operator.activation(options.map(|o| o.fused_activation_function()))?;
        let (kept, &Value { shape: of_kept, .. }) = operator.value(0)?;
        let misfit =
            || operator.fault(format!("has weights {:?} on input {of_kept:?}", weights.shape));
        let plain = FullyConnectedOptionsWeightsFormat::DEFAULT;
        let [out, values] = weights.shape[..] else { return Err(misfit()) };
        let all: usize = of_kept.iter().product();
        let fits =
            all.is_multiple_of(values) && options.is_some_and(|o| o.weights_format() == plain);
        if !fits {
            return Err(misfit());
        }
        // All of a picture as it lies, whatever the file makes of it.
        let (input, x, kernel) = if all == values {
            (Input::Value(kept), of_kept, [of_kept[0], of_kept[1]])
        } else {
            let mut rows = operator.picture(0)?;
            if rows.shape[2] != values {
                rows = operator.value_as(0, [1, all / values, values])?;
            }
            (rows.input, rows.shape, [1, 1])
        };
        let sliding = Sliding { window: Window::whole(kernel), dilation: [1, 1], activation };
        let shape = [out, kernel[0], kernel[1], x[2]];
        Ok(Self { input, x, shape, sliding, depthwise: false, blocks: None })
    }
}

/// Weights of one scale or one for each of these channels, and the bias.
fn check_codes(
    operator: &Operator,
    weights: &Tensor,
    bias: Option<&Tensor>,
    channels: usize,
) -> Result<(), Fault> {
    let axis = if operator.kind == BuiltinOperator::DEPTHWISE_CONV_2D { 3 } else { 0 };
    let per_channel = |tensor: &Tensor, axis: usize| {
        tensor.data.is_some()
            && tensor.zero_point == 0
            && (tensor.scales.len() == 1
                || (tensor.scales.len() == channels && tensor.scales_axis == axis))
    };
    let fits = weights.type_ == TensorType::INT8
        && per_channel(weights, axis)
        && bias.is_none_or(|bias| {
            bias.type_ == TensorType::INT32 && bias.shape == [channels] && per_channel(bias, 0)
        });
    operator.ensure(fits, || {
        let bias = bias.map(|bias| &bias.shape);
        format!("has weights {:?} and bias {bias:?} that don't fit", weights.shape)
    })
}

/// Weights `[a, height, width, b]` with zeros between the taps of a dilated window.
fn dilated(
    [a, height, width, b]: [usize; 4],
    weights: Vec<i8>,
    sliding: &Sliding,
) -> ([usize; 4], Vec<i8>) {
    let [rows, columns] = sliding.extent();
    let shape = [a, rows, columns, b];
    if sliding.dilation == [1, 1] {
        return (shape, weights);
    }
    let mut spread = vec![0; a * rows * columns * b];
    for (tap, weights) in weights.chunks_exact(b).enumerate() {
        let (of, y, x) = (tap / width / height, tap / width % height, tap % width);
        let [y, x] = [y * sliding.dilation[0], x * sliding.dilation[1]];
        spread[((of * rows + y) * columns + x) * b..][..b].copy_from_slice(weights);
    }
    (shape, spread)
}

/// Depthwise weights `[1, height, width, out]` as `[out, height, width, 1]`.
fn filters_first([_, height, width, out]: [usize; 4], weights: &[i8]) -> ([usize; 4], Vec<i8>) {
    let taps = height * width;
    let turned = (0..out * taps).map(|i| weights[i % taps * out + i / taps]);
    ([out, height, width, 1], turned.collect())
}

/// Weights `[out, height, width, depth]` of filters that each see one group of channels, with zeros for the
/// other groups.
fn ungrouped(
    [out, height, width, depth]: [usize; 4],
    weights: &[i8],
    groups: usize,
) -> ([usize; 4], Vec<i8>) {
    let channels = depth * groups;
    let mut spread = vec![0; out * height * width * channels];
    for (pixel, weights) in weights.chunks_exact(depth).enumerate() {
        let group = pixel / (height * width) / (out / groups);
        spread[pixel * channels + group * depth..][..depth].copy_from_slice(weights);
    }
    ([out, height, width, channels], spread)
}
