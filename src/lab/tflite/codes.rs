//! What a file calls operators, padding and activations.

use tract_tflite::tflite::{ActivationFunctionType, Padding as FilePadding};

use super::super::float::{Activation, Padding};
pub use crate::engine::schema::{CHANNEL_AXIS, activation_of, operator_of, padding_of};

/// The inverse of [`padding_of`].
pub fn file_padding(padding: Padding) -> FilePadding {
    match padding {
        Padding::Same => FilePadding::SAME,
        Padding::Valid => FilePadding::VALID,
        Padding::Explicit(_) => unreachable!("lowered windows have no explicit padding"),
    }
}

/// The inverse of [`activation_of`].
pub fn activation_function(activation: Activation) -> ActivationFunctionType {
    match activation {
        Activation::None => ActivationFunctionType::NONE,
        Activation::Relu => ActivationFunctionType::RELU,
        Activation::Relu6 => ActivationFunctionType::RELU6,
        Activation::ReluN1To1 => ActivationFunctionType::RELU_N1_TO_1,
    }
}
