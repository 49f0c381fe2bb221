//! An operator's kind, inputs and settings.

use tract_tflite::tflite::{
    ActivationFunctionType, BuiltinOperator, Model, Operator as Table, Padding as FilePadding,
};

use super::super::super::float::{Activation, LayerError, Window};
use super::super::super::tflite::codes::{activation_of, operator_of, padding_of};
use super::super::builder::{MAX_SIDE, sides};

/// Most inputs of an operator.
const MAX_INPUTS: usize = 1024;

/// An operator, and what errors call it.
pub struct Operator<'m> {
    /// Its output's name.
    pub name: String,
    /// What it computes.
    pub kind: BuiltinOperator,
    /// Indices of tensors.
    pub inputs: Vec<i32>,
    /// What the file says.
    pub table: Table<'m>,
}

impl<'m> Operator<'m> {
    pub fn new(model: &Model<'m>, table: Table<'m>, name: String) -> Result<Self, LayerError> {
        let index = usize::try_from(table.opcode_index()).unwrap_or(usize::MAX);
        let code = model.operator_codes().into_iter().flatten().nth(index);
        let code = code.ok_or_else(|| LayerError::new(&name, "its operator has no code"))?;
        let kind = operator_of(&code);
        let inputs = table.inputs();
        if inputs.is_some_and(|inputs| inputs.len() > MAX_INPUTS) {
            return Err(LayerError::new(&name, format!("it reads more than {MAX_INPUTS} values")));
        }
        Ok(Self { name, kind, inputs: inputs.into_iter().flatten().collect(), table })
    }

    /// What is wrong with it.
    pub fn wrong(&self, why: impl AsRef<str>) -> LayerError {
        let kind = self.kind.variant_name().map_or_else(|| self.kind.0.to_string(), String::from);
        LayerError::new(&self.name, format!("{kind}: {}", why.as_ref()))
    }

    /// It lacks an input.
    pub fn lacks(&self, index: usize) -> LayerError {
        self.wrong(format!("it lacks input {index}"))
    }

    /// It lacks its settings.
    pub fn no_options(&self) -> LayerError {
        self.wrong("it has no options of its kind; the file is damaged")
    }

    /// The activation fused into it.
    pub fn activation(
        &self,
        function: Option<ActivationFunctionType>,
    ) -> Result<Activation, LayerError> {
        let function = function.unwrap_or(ActivationFunctionType::NONE);
        activation_of(function).ok_or_else(|| {
            let name = function.variant_name().unwrap_or("unknown");
            self.wrong(format!(
                "its fused activation {name} is not understood; train with ReLU or ReLU6"
            ))
        })
    }

    /// Refuses windows with holes.
    pub fn refuse_dilation(&self, factors: [i32; 2]) -> Result<(), LayerError> {
        match factors {
            [1, 1] => Ok(()),
            _ => Err(self.wrong("it is dilated, which .tflite networks here can't be")),
        }
    }

    /// A window, height first.
    pub fn window(
        &self,
        kernel: [usize; 2],
        stride: [i32; 2],
        padding: FilePadding,
    ) -> Result<Window, LayerError> {
        let fits = kernel.iter().all(|side| (1..=MAX_SIDE).contains(side));
        match (sides(&stride.map(i64::from)), padding_of(padding)) {
            (Some(stride), Some(padding)) if fits => Ok(Window { kernel, stride, padding }),
            _ => Err(self.wrong(format!("kernel {kernel:?}, stride {stride:?}, {padding:?}"))),
        }
    }
}
