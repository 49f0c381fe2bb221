//! What a file calls operators, padding and activations.

use tract_tflite::tflite::{
    ActivationFunctionType, BuiltinOperator, OperatorCode, Padding as FilePadding,
};

use super::window::{Activation, Padding};

/// Axis of an activation's channels.
pub const CHANNEL_AXIS: i32 = 3;

/// The operator that a code stands for.
pub fn operator_of(code: &OperatorCode) -> BuiltinOperator {
    // Old files have only the first of the two, some new ones only the other; 0 is ADD.
    BuiltinOperator(code.builtin_code().0.max(deprecated(code)))
}

/// Whether tract takes the code for the same operator: it reads the second only if the first has no room.
pub fn tract_agrees(code: &OperatorCode) -> bool {
    let placeholder = BuiltinOperator::PLACEHOLDER_FOR_GREATER_OP_CODES.0;
    [placeholder, operator_of(code).0].contains(&deprecated(code))
}

fn deprecated(code: &OperatorCode) -> i32 {
    code.deprecated_builtin_code().into()
}

/// A window's padding.
pub fn padding_of(padding: FilePadding) -> Option<Padding> {
    match padding {
        FilePadding::SAME => Some(Padding::Same),
        FilePadding::VALID => Some(Padding::Valid),
        _ => None,
    }
}

/// The activation fused into an operator.
pub fn activation_of(function: ActivationFunctionType) -> Option<Activation> {
    match function {
        ActivationFunctionType::NONE => Some(Activation::None),
        ActivationFunctionType::RELU => Some(Activation::Relu),
        ActivationFunctionType::RELU6 => Some(Activation::Relu6),
        ActivationFunctionType::RELU_N1_TO_1 => Some(Activation::ReluN1To1),
        _ => None,
    }
}
