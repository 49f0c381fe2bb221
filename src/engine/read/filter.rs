//! Operators with weights: convolutions, depthwise or not, and dense layers.

use tract_tflite::tflite::{BuiltinOperator, FullyConnectedOptionsWeightsFormat, TensorType};

use super::super::codes::activation_of;
use super::super::network::{Filter, Int8Op, Value};
use super::super::window::Window;
use super::Fault;
use super::operator::{Operator, Outcome, le_i32};
use super::sliding::{self, Sliding};
use super::tensor::Tensor;

/// Taps of a depthwise convolution's window, each of whose places is kept: the mean of a picture of
/// 64×64 pixels.
const MAX_DEPTHWISE_TAPS: usize = 1 << 12;

/// What an operator of these kinds is.
pub fn read(operator: &Operator) -> Result<Outcome, Fault> {
    let (input, x) = operator.value(0)?;
    let weights = operator.tensor(1)?;
    let bias = match operator.inputs.get(2) {
        Some(Some(_)) => Some(operator.tensor(2)?),
        _ => None,
    };
    let Form { shape, sliding, depthwise } = Form::of(operator, x, weights)?;
    let [channels, depth] = match depthwise {
        true => [shape[3], 1],
        false => [shape[0], x.shape[2]],
    };
    check_codes(operator, weights, bias, channels)?;
    let ([height, width], taps) = operator.slides(&sliding, x.shape)?;
    let window = sliding.undilated();
    let window_taps = window.kernel[0] * window.kernel[1];
    // Several filters a channel become a convolution.
    let spread = depthwise && channels != x.shape[2];
    operator.ensure(!depthwise || spread || window_taps <= MAX_DEPTHWISE_TAPS, || {
        format!("has a depthwise window of {:?}", window.kernel)
    })?;
    let depth = if spread { x.shape[2] } else { depth };
    let each = channels.saturating_mul(depth);
    let weight_bytes = each.saturating_mul(window_taps);
    let in_tract = bias.is_some() && !spread && operator.kind != BuiltinOperator::FULLY_CONNECTED;
    let products = taps.saturating_mul(each);
    operator.step(vec![input], [height, width, channels], products, weight_bytes, in_tract, || {
        let codes = weights.data.unwrap_or_default().iter().map(|byte| byte.cast_signed());
        let (mut shape, mut weights_of) = dilated(shape, codes.collect(), &sliding);
        if spread {
            (shape, weights_of) = as_conv(shape, &weights_of, x.shape[2]);
        }
        let mut scales = weights.scales.clone();
        if let [scale] = scales[..] {
            scales = vec![scale; channels];
        }
        let filter = Filter {
            shape,
            weights: weights_of,
            scales,
            bias: bias.and_then(|bias| bias.data).map_or_else(|| vec![0; channels], le_i32),
            window,
            activation: sliding.activation,
        };
        match depthwise && !spread {
            true => Int8Op::Depthwise(filter),
            false => Int8Op::Conv(filter),
        }
    })
}

/// Its weights as four-dimensional, and how they slide.
struct Form {
    shape: [usize; 4],
    sliding: Sliding,
    depthwise: bool,
}

impl Form {
    fn of(operator: &Operator, x: &Value, weights: &Tensor) -> Result<Self, Fault> {
        let misfit =
            || operator.fault(format!("has weights {:?} on input {:?}", weights.shape, x.shape));
        if operator.kind == BuiltinOperator::FULLY_CONNECTED {
            return Self::of_dense(operator, x, weights, misfit);
        }
        let is_picture = operator.tensor(0)?.picture() == Some(x.shape);
        operator.ensure(is_picture, || "reads a picture laid out as a row".into())?;
        let [out, height, width, channels] = weights.shape[..] else { return Err(misfit()) };
        let depthwise = operator.kind == BuiltinOperator::DEPTHWISE_CONV_2D;
        let fits = match depthwise {
            true => out == 1 && channels.is_multiple_of(x.shape[2]),
            false => channels == x.shape[2],
        };
        if !fits {
            return Err(misfit());
        }
        let of = if depthwise { sliding::of_depthwise } else { sliding::of_conv };
        let sliding = of(&operator.table, [height, width]).map_err(|why| operator.fault(why))?;
        Ok(Self { shape: [out, height, width, channels], sliding, depthwise })
    }

    /// All that it reads at once, or each pixel by itself.
    fn of_dense(
        operator: &Operator,
        x: &Value,
        weights: &Tensor,
        misfit: impl Fn() -> Fault,
    ) -> Result<Self, Fault> {
        let options = operator.table.builtin_options_as_fully_connected_options();
        let activation = options.and_then(|options| {
            let plain = options.weights_format() == FullyConnectedOptionsWeightsFormat::DEFAULT;
            activation_of(options.fused_activation_function()).filter(|_| plain)
        });
        let activation =
            activation.ok_or_else(|| operator.fault("has options that are not understood"))?;
        let [out, values] = weights.shape[..] else { return Err(misfit()) };
        let [height, width, channels] = x.shape;
        let kernel = if values == height * width * channels {
            [height, width]
        } else if values == channels && operator.tensor(0)?.picture() == Some(x.shape) {
            [1, 1]
        } else {
            return Err(misfit());
        };
        let sliding = Sliding { window: Window::whole(kernel), dilation: [1, 1], activation };
        Ok(Self { shape: [out, kernel[0], kernel[1], channels], sliding, depthwise: false })
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

/// Depthwise weights `[1, height, width, out]` of several filters for each of `channels` as those of a
/// convolution, with zeros for the other channels.
fn as_conv(
    [_, height, width, out]: [usize; 4],
    weights: &[i8],
    channels: usize,
) -> ([usize; 4], Vec<i8>) {
    let (taps, filters) = (height * width, out / channels);
    let mut spread = vec![0; out * taps * channels];
    for (i, weight) in weights.iter().enumerate() {
        let (tap, of) = (i / out, i % out);
        spread[(of * taps + tap) * channels + of / filters] = *weight;
    }
    ([out, height, width, channels], spread)
}
