//! The options of a file's operators that slide a window.

use tract_tflite::tflite::{ActivationFunctionType, Operator, Padding as FilePadding};

use super::super::schema::{activation_of, padding_of};
use super::super::window::{Activation, Window};

/// How an operator slides over a picture.
pub struct Sliding {
    /// Its taps, next to each other.
    pub window: Window,
    /// Steps between taps, down and to the right.
    pub dilation: [usize; 2],
    /// What follows.
    pub activation: Activation,
}

impl Sliding {
    /// Height and width from the first tap to the last.
    pub fn extent(&self) -> [usize; 2] {
        [0, 1].map(|i| (self.window.kernel[i] - 1).saturating_mul(self.dilation[i]) + 1)
    }

    /// The window of all that lies between its taps.
    pub fn undilated(&self) -> Window {
        Window { kernel: self.extent(), ..self.window }
    }
}

/// Of a convolution with weights of this height and width; else what is wrong with its options.
pub fn of_conv(operator: &Operator, kernel: [usize; 2]) -> Result<Sliding, String> {
    let options = operator.builtin_options_as_conv_2_doptions().ok_or(NONE)?;
    let stride = [options.stride_h(), options.stride_w()];
    let dilation = [options.dilation_h_factor(), options.dilation_w_factor()];
    let function = options.fused_activation_function();
    sliding(kernel, stride, options.padding(), dilation, function)
}

/// Of a depthwise convolution, as [`of_conv`].
pub fn of_depthwise(operator: &Operator, kernel: [usize; 2]) -> Result<Sliding, String> {
    let options = operator.builtin_options_as_depthwise_conv_2_doptions().ok_or(NONE)?;
    let stride = [options.stride_h(), options.stride_w()];
    let dilation = [options.dilation_h_factor(), options.dilation_w_factor()];
    let function = options.fused_activation_function();
    sliding(kernel, stride, options.padding(), dilation, function)
}

/// Of a transposed convolution: of the one that it transposes. As [`of_conv`].
pub fn of_transposed(operator: &Operator, kernel: [usize; 2]) -> Result<Sliding, String> {
    let options = operator.builtin_options_as_transpose_conv_options().ok_or(NONE)?;
    let stride = [options.stride_h(), options.stride_w()];
    let function = options.fused_activation_function();
    sliding(kernel, stride, options.padding(), [1, 1], function)
}

/// Of a pooling, as [`of_conv`].
pub fn of_pool(operator: &Operator) -> Result<Sliding, String> {
    let options = operator.builtin_options_as_pool_2_doptions().ok_or(NONE)?;
    let kernel = positive([options.filter_height(), options.filter_width()])
        .ok_or("has a window without taps")?;
    let stride = [options.stride_h(), options.stride_w()];
    let function = options.fused_activation_function();
    sliding(kernel, stride, options.padding(), [1, 1], function)
}

const NONE: &str = "has no options of its kind";

fn sliding(
    kernel: [usize; 2],
    stride: [i32; 2],
    padding: FilePadding,
    dilation: [i32; 2],
    function: ActivationFunctionType,
) -> Result<Sliding, String> {
    let unusable =
        || format!("has stride {stride:?}, dilation {dilation:?}, {padding:?}, {function:?}");
    let of = || {
        let window = Window { kernel, stride: positive(stride)?, padding: padding_of(padding)? };
        let (dilation, activation) = (positive(dilation)?, activation_of(function)?);
        Some(Sliding { window, dilation, activation })
    };
    of().ok_or_else(unusable)
}

fn positive(sides: [i32; 2]) -> Option<[usize; 2]> {
    let [a, b] = sides.map(|side| usize::try_from(side).ok().filter(|side| *side > 0));
    Some([a?, b?])
}
