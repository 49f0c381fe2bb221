//! The window that a convolution or a pooling slides over the picture.

use tract_tflite::tflite::{ActivationFunctionType, Operator, Padding};

use super::{Checked, Fault, ensure};

/// The family strides by 1 or 2; tract loops over what a forged file says.
const MAX_STRIDE: usize = 8;

/// Height first, then width.
pub struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
}

/// Whether the engine runs this activation fused into an operator.
pub fn is_supported(function: ActivationFunctionType) -> bool {
    matches!(
        function,
        ActivationFunctionType::NONE | ActivationFunctionType::RELU | ActivationFunctionType::RELU6
    )
}

impl Window {
    pub fn of_conv(operator: Operator, kernel: [usize; 2], part: &str) -> Result<Self, Fault> {
        let options = operator.builtin_options_as_conv_2_doptions();
        let options = options.ok_or_else(|| no_options(part))?;
        let undilated = options.dilation_h_factor() == 1 && options.dilation_w_factor() == 1;
        let function = options.fused_activation_function();
        ensure(undilated && is_supported(function), part, || "has unsupported options".into())?;
        Self::new(kernel, [options.stride_h(), options.stride_w()], options.padding(), part)
    }

    pub fn of_depthwise(operator: Operator, kernel: [usize; 2], part: &str) -> Result<Self, Fault> {
        let options = operator.builtin_options_as_depthwise_conv_2_doptions();
        let options = options.ok_or_else(|| no_options(part))?;
        let plain = options.dilation_h_factor() == 1
            && options.dilation_w_factor() == 1
            && options.depth_multiplier() == 1;
        let function = options.fused_activation_function();
        ensure(plain && is_supported(function), part, || "has unsupported options".into())?;
        Self::new(kernel, [options.stride_h(), options.stride_w()], options.padding(), part)
    }

    pub fn of_pool(operator: Operator, input: &Checked, part: &str) -> Result<Self, Fault> {
        let options = operator.builtin_options_as_pool_2_doptions();
        let options = options.ok_or_else(|| no_options(part))?;
        let kernel = [options.filter_height(), options.filter_width()]
            .map(|side| usize::try_from(side).unwrap_or(0));
        let fits = (0..2).all(|i| (1..=input.shape[i + 1]).contains(&kernel[i]));
        let function = options.fused_activation_function();
        ensure(fits && is_supported(function), part, || "has unsupported options".into())?;
        Self::new(kernel, [options.stride_h(), options.stride_w()], options.padding(), part)
    }

    fn new(
        kernel: [usize; 2],
        stride: [i32; 2],
        padding: Padding,
        part: &str,
    ) -> Result<Self, Fault> {
        let stride = stride.map(|step| usize::try_from(step).unwrap_or(0));
        let usable = stride.iter().all(|step| (1..=MAX_STRIDE).contains(step))
            && matches!(padding, Padding::SAME | Padding::VALID);
        ensure(usable, part, || format!("has stride {stride:?}, padding {padding:?}"))?;
        Ok(Self { kernel, stride, padding })
    }

    /// Checks the output's shape against what the window gives.
    pub fn check(
        &self,
        input: &Checked,
        output: &Checked,
        channels: usize,
        part: &str,
    ) -> Result<(), Fault> {
        // A wider one never meets the picture with its outer taps, and memory is laid out for it.
        let reaches = (0..2).all(|i| self.kernel[i] < 2 * input.shape[i + 1]);
        ensure(reaches, part, || {
            format!("has a window of {:?} on a picture of {:?}", self.kernel, input.shape)
        })?;
        let side = |i: usize| {
            let (side, kernel, stride) = (input.shape[i + 1], self.kernel[i], self.stride[i]);
            match self.padding {
                Padding::SAME => side.div_ceil(stride),
                _ => side.checked_sub(kernel).map_or(0, |rest| rest / stride + 1),
            }
        };
        let shape = [1, side(0), side(1), channels];
        ensure(output.shape == shape, part, || {
            format!("gives {shape:?}, but `{}` is {:?}", output.name, output.shape)
        })
    }
}

fn no_options(part: &str) -> Fault {
    (part.into(), "has no options of its kind".into())
}
