//! A file's operators: each must be of a kind that tract computes as LiteRT does, and its tensors must
//! be what its options make of them.

use tract_tflite::tflite::{ActivationFunctionType, BuiltinOperator, Model, Operator, TensorType};

use super::tensor::Checked;
use super::{Cost, Fault, Network, ensure};
use crate::engine::codes::{CHANNEL_AXIS, activation_of, operator_of};
use crate::engine::options::{self, Sliding};
use crate::engine::window::Window;

/// The family strides by 1 or 2; tract loops over what a forged file says.
const MAX_STRIDE: usize = 8;

/// What an operator of the file is, if networks may have such.
pub fn kind(model: &Model, operator: Operator, index: usize) -> Result<BuiltinOperator, Fault> {
    let codes = model.operator_codes();
    let code = codes.and_then(|codes| {
        let i = operator.opcode_index() as usize;
        (i < codes.len()).then(|| codes.get(i))
    });
    let part = format!("operator {index}");
    let code = code.ok_or_else(|| (part.clone(), "has no code".into()))?;
    match operator_of(&code) {
        kind @ (BuiltinOperator::CONV_2D
        | BuiltinOperator::DEPTHWISE_CONV_2D
        | BuiltinOperator::MAX_POOL_2D
        | BuiltinOperator::ADD
        | BuiltinOperator::CONCATENATION) => Ok(kind),
        other => {
            let other = other.variant_name().unwrap_or("of an unknown kind");
            Err((part, format!("is {other}, which this engine does not run")))
        }
    }
}

/// Checks an operator's tensors and options, and gives what it takes.
pub fn check(
    network: &Network,
    kind: BuiltinOperator,
    operator: &Operator,
    part: &str,
    inputs: &[usize],
    outputs: &[usize],
) -> Result<Cost, Fault> {
    let wants = match kind {
        BuiltinOperator::ADD => 2,
        BuiltinOperator::MAX_POOL_2D => 1,
        BuiltinOperator::CONCATENATION => inputs.len().max(1),
        _ => 3,
    };
    ensure(inputs.len() == wants && outputs.len() == 1, part, || {
        format!("has {} inputs and {} outputs", inputs.len(), outputs.len())
    })?;
    let inputs: Vec<&Checked> = inputs.iter().map(|&input| &network.tensors[input]).collect();
    let x = activation(inputs[0], part)?;
    let y = activation(&network.tensors[outputs[0]], part)?;
    let products = match kind {
        BuiltinOperator::ADD => sum(operator, part, &inputs, y),
        BuiltinOperator::CONCATENATION => concatenation(operator, part, &inputs, y),
        BuiltinOperator::MAX_POOL_2D => {
            ensure(y.code() == x.code(), part, || "changes the code".into())?;
            let sliding = options::of_pool(operator).map_err(|why| (part.into(), why))?;
            let inside = (0..2).all(|i| sliding.window.kernel[i] <= x.shape[i + 1]);
            ensure(inside, part, || "has a window larger than the picture".into())?;
            slides(&sliding, x, y, x.shape[3], 1, part)
        }
        _ => filter(kind, operator, part, &inputs, y),
    }?;
    let weights = inputs.iter().filter(|input| input.constant);
    Ok(Cost {
        products,
        weight_bytes: weights.map(|weights| weights.len()).sum(),
        value_bytes: y.len(),
    })
}

/// An INT8 tensor `[1, h, w, c]` with one scale.
fn activation<'t>(tensor: &'t Checked, part: &str) -> Result<&'t Checked, Fault> {
    let fits = tensor.type_ == TensorType::INT8
        && tensor.shape.len() == 4
        && tensor.shape[0] == 1
        && tensor.scales.len() == 1
        && !tensor.constant;
    ensure(fits, part, || format!("can't use `{}` as an activation", tensor.name))?;
    Ok(tensor)
}

/// A sum of two values of one code.
fn sum(operator: &Operator, part: &str, inputs: &[&Checked], y: &Checked) -> Result<usize, Fault> {
    let options = operator.builtin_options_as_add_options();
    let known = options.is_some_and(|o| activation_of(o.fused_activation_function()).is_some());
    let mut alike = known;
    for &input in inputs {
        let x = activation(input, part)?;
        alike &= x.shape == y.shape && x.code() == y.code();
    }
    ensure(alike, part, || "has inputs and output of different shape or code".into())?;
    Ok(y.len())
}

/// Channels of values of one code, one after the other.
fn concatenation(
    operator: &Operator,
    part: &str,
    inputs: &[&Checked],
    y: &Checked,
) -> Result<usize, Fault> {
    let options = operator.builtin_options_as_concatenation_options();
    let along_channels = options.is_some_and(|options| {
        [CHANNEL_AXIS, -1].contains(&options.axis())
            && options.fused_activation_function() == ActivationFunctionType::NONE
    });
    ensure(along_channels, part, || "does not join channels, and nothing else".into())?;
    let mut channels = 0;
    for &input in inputs {
        let x = activation(input, part)?;
        ensure(x.code() == y.code() && x.shape[..3] == y.shape[..3], part, || {
            "has inputs and output of different size or code".into()
        })?;
        channels += x.shape[3];
    }
    ensure(channels == y.shape[3], part, || {
        format!("gives {channels} channels, but `{}` has {}", y.name, y.shape[3])
    })?;
    Ok(y.len())
}

/// A convolution, depthwise or not.
fn filter(
    kind: BuiltinOperator,
    operator: &Operator,
    part: &str,
    inputs: &[&Checked],
    y: &Checked,
) -> Result<usize, Fault> {
    let [x, weights, bias] = inputs else { unreachable!("counted in `check`") };
    let depthwise = kind == BuiltinOperator::DEPTHWISE_CONV_2D;
    ensure(weights.shape.len() == 4, part, || "has weights that are not 4-D".into())?;
    let out = weights.shape[if depthwise { 3 } else { 0 }];
    let per_channel = |tensor: &Checked, axis: usize| {
        tensor.constant
            && tensor.zero_point == 0
            && (tensor.scales.len() == 1
                || (tensor.scales.len() == out && tensor.scales_axis == axis))
    };
    let fits = weights.type_ == TensorType::INT8
        && weights.shape[3] == x.shape[3]
        && (!depthwise || weights.shape[0] == 1)
        && per_channel(weights, if depthwise { 3 } else { 0 })
        && bias.type_ == TensorType::INT32
        && bias.shape == [out]
        && per_channel(bias, 0);
    ensure(fits, part, || {
        let (w, b) = (&weights.shape, &bias.shape);
        format!("has weights {w:?} and bias {b:?} that don't fit input {:?}", x.shape)
    })?;
    let kernel = [weights.shape[1], weights.shape[2]];
    let of = if depthwise { options::of_depthwise } else { options::of_conv };
    let sliding = of(operator, kernel).map_err(|why| (part.into(), why))?;
    slides(&sliding, x, y, out, if depthwise { 1 } else { x.shape[3] }, part)
}

/// Checks the output's shape against what the window gives, each output being of `depth` channels of
/// the input; gives the products.
fn slides(
    sliding: &Sliding,
    x: &Checked,
    y: &Checked,
    channels: usize,
    depth: usize,
    part: &str,
) -> Result<usize, Fault> {
    let &Sliding { window, dilation, .. } = sliding;
    ensure(window.stride.iter().all(|step| *step <= MAX_STRIDE), part, || {
        format!("has stride {:?}", window.stride)
    })?;
    let sides = [x.shape[1], x.shape[2]];
    let extent = [0, 1].map(|i| (window.kernel[i] - 1).saturating_mul(dilation[i]) + 1);
    // A wider one never meets the picture with its outer taps, and memory is laid out for it.
    let reaches = (0..2).all(|i| extent[i] < 2 * sides[i]);
    ensure(reaches, part, || format!("has a window of {extent:?} on a picture of {sides:?}"))?;
    let [height, width] = Window { kernel: extent, ..window }.output(sides).unwrap_or([0; 2]);
    let shape = [1, height, width, channels];
    ensure(y.shape == shape, part, || {
        format!("gives {shape:?}, but `{}` is {:?}", y.name, y.shape)
    })?;
    let taps = window.kernel[0] * window.kernel[1];
    Ok([channels, taps, depth].iter().fold(height * width, |n, more| n.saturating_mul(*more)))
}
