//! Keras' layers, as those a network may have.

use super::super::super::float::layers::Filter;
use super::super::super::float::window::Margins;
use super::super::super::float::{Activation, Layer, LayerError, Padding, Window};
use super::config::{Config, broadcast};
use super::network::Network;
use super::weights::{Role, Site};

/// Keras' own, where it divides by a deviation.
const NORMALIZATION_EPSILON: f32 = 1e-7;

/// How a model's layers follow each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// One after the other.
    List,
    /// Each tells what it reads.
    Graph,
}

/// What a class of layers does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Input,
    Model(Order),
    Conv,
    Separable,
    Depthwise,
    Dense,
    BatchNorm,
    Rescaling,
    Normalization,
    Activation,
    Relu,
    Softmax,
    MaxPool,
    AveragePool,
    GlobalAveragePool,
    GlobalMaxPool,
    Pad,
    Add,
    Concat,
    Flatten,
    Reshape,
    /// Does something in training only.
    Identity,
}

impl Kind {
    /// Of a class, if it is understood.
    pub fn of(class: &str) -> Option<Self> {
        Some(match class {
            "InputLayer" => Self::Input,
            "Sequential" => Self::Model(Order::List),
            "Functional" | "Model" => Self::Model(Order::Graph),
            "Conv2D" => Self::Conv,
            "SeparableConv2D" => Self::Separable,
            "DepthwiseConv2D" => Self::Depthwise,
            "Dense" => Self::Dense,
            "BatchNormalization" | "BatchNormalizationV1" | "BatchNormalizationV2" => {
                Self::BatchNorm
            }
            "Rescaling" => Self::Rescaling,
            "Normalization" => Self::Normalization,
            "Activation" => Self::Activation,
            "ReLU" => Self::Relu,
            "Softmax" => Self::Softmax,
            "MaxPooling2D" => Self::MaxPool,
            "AveragePooling2D" => Self::AveragePool,
            "GlobalAveragePooling2D" => Self::GlobalAveragePool,
            "GlobalMaxPooling2D" => Self::GlobalMaxPool,
            "ZeroPadding2D" => Self::Pad,
            "Add" => Self::Add,
            "Concatenate" => Self::Concat,
            "Flatten" => Self::Flatten,
            "Reshape" => Self::Reshape,
            "Dropout"
            | "SpatialDropout2D"
            | "AlphaDropout"
            | "GaussianDropout"
            | "GaussianNoise"
            | "ActivityRegularization"
            | "RandomFlip"
            | "RandomRotation"
            | "RandomZoom"
            | "RandomTranslation"
            | "RandomShear"
            | "RandomContrast"
            | "RandomBrightness"
            | "RandomErasing"
            | "RandomGaussianBlur"
            | "RandomInvert"
            | "RandomPerspective"
            | "RandomSharpness" => Self::Identity,
            _ => return None,
        })
    }

    /// Why a class can't be used.
    pub fn refusal(layer: &str, class: &str) -> LayerError {
        let advice = match class {
            "ELU" | "LeakyReLU" | "PReLU" | "ThresholdedReLU" | "GELU" => "train with relu",
            "Lambda" => "what it computes is not in the file; build it of other layers",
            "LSTM" | "GRU" | "SimpleRNN" | "ConvLSTM2D" | "Bidirectional" | "TimeDistributed" => {
                "only networks of single pictures can be used"
            }
            "Multiply" | "Average" | "Subtract" | "Maximum" | "Minimum" | "Dot" => {
                "only Add and Concatenate join values"
            }
            "LayerNormalization" | "GroupNormalization" | "UnitNormalization" => {
                "train with BatchNormalization"
            }
            _ => "train without it",
        };
        LayerError::new(layer, format!("a {class} is not understood; {advice}"))
    }
}

const BIAS: &[&str] = &["bias"];
const KERNEL: &[&str] = &["kernel"];
const DEPTHWISE_KERNEL: &[&str] = &["depthwise_kernel", "kernel"];
const POINTWISE_KERNEL: &[&str] = &["pointwise_kernel"];

/// Adds a layer that reads these values; gives its own.
pub fn add(
    network: &mut Network,
    site: &Site,
    kind: Kind,
    config: Config,
    inputs: &[usize],
) -> Result<usize, LayerError> {
    if config.text("data_format")?.is_some_and(|format| format != "channels_last") {
        return Err(config.wrong("its pictures are `channels_first`; train with `channels_last`"));
    }
    let input = *inputs.first().ok_or_else(|| config.wrong("it reads nothing"))?;
    if inputs.len() > 1 && !matches!(kind, Kind::Add | Kind::Concat) {
        return Err(config.wrong(format!("it reads {} values", inputs.len())));
    }
    Adding { network, site, config, input }.layer(kind, inputs)
}

struct Adding<'l, 'w> {
    network: &'l mut Network<'w>,
    site: &'l Site,
    config: Config<'l>,
    /// The first one.
    input: usize,
}

/// What follows a layer.
enum Follower {
    Activation(Activation),
    Softmax,
}

impl Adding<'_, '_> {
    fn layer(&mut self, kind: Kind, inputs: &[usize]) -> Result<usize, LayerError> {
        match kind {
            Kind::Input | Kind::Model(_) => Err(self.config.wrong("it is no layer")),
            Kind::Conv => self.conv(),
            Kind::Separable => self.separable(),
            Kind::Depthwise => self.depthwise(),
            Kind::Dense => self.dense(),
            Kind::BatchNorm => self.batch_norm(),
            Kind::Rescaling => self.rescaling(),
            Kind::Normalization => self.normalization(),
            Kind::Activation => match self.follower()? {
                Follower::Activation(activation) => self.push(Layer::Activation(activation)),
                Follower::Softmax => self.push(Layer::Softmax),
            },
            Kind::Relu => {
                let activation = self.relu()?;
                self.push(Layer::Activation(activation))
            }
            Kind::Softmax => {
                self.expect_channel_axis()?;
                self.push(Layer::Softmax)
            }
            Kind::MaxPool => {
                let window = self.pool_window()?;
                self.push(Layer::MaxPool(window))
            }
            Kind::AveragePool => {
                let window = self.pool_window()?;
                self.push(Layer::AveragePool(window))
            }
            Kind::GlobalAveragePool => self.pool_whole(Layer::GlobalAveragePool),
            Kind::GlobalMaxPool => {
                let [h, w, _] = self.shape();
                self.pool_whole(Layer::MaxPool(Window::whole([h, w])))
            }
            Kind::Pad => {
                let [[top, bottom], [left, right]] = self.config.margins("padding")?;
                self.push(Layer::Pad(Margins { top, bottom, left, right }))
            }
            Kind::Add => self.sum(inputs),
            Kind::Concat => {
                self.expect_channel_axis()?;
                self.network.push(&self.site.name, Layer::Concat, inputs)
            }
            Kind::Flatten => self.network.push_as(&self.site.name, Layer::Flatten, inputs, true),
            Kind::Reshape => self.reshape(),
            Kind::Identity => self.push(Layer::Identity),
        }
    }

    fn push(&mut self, layer: Layer) -> Result<usize, LayerError> {
        self.network.push(&self.site.name, layer, &[self.input])
    }

    /// Adds the layer and what its `activation` says.
    fn push_weighted(
        &mut self,
        layer: impl FnOnce(Filter) -> Layer,
        (weights, bias, window): (Vec<f32>, Option<Vec<f32>>, Window),
    ) -> Result<usize, LayerError> {
        let follower = self.follower()?;
        let activation = match follower {
            Follower::Activation(activation) => activation,
            Follower::Softmax => Activation::None,
        };
        let value = self.push(layer(Filter { weights, bias, window, activation }))?;
        match follower {
            Follower::Activation(_) => Ok(value),
            Follower::Softmax => {
                let name = format!("{}/softmax", self.site.name);
                self.network.push(&name, Layer::Softmax, &[value])
            }
        }
    }

    /// Height, width and channels of the (first) input.
    fn shape(&self) -> [usize; 3] {
        self.network.layers.shape(self.input)
    }

    fn channels(&self) -> usize {
        self.shape()[2]
    }

    fn weights(
        &self,
        names: &[&str],
        index: usize,
        shape: &[usize],
    ) -> Result<Vec<f32>, LayerError> {
        self.network.weights.get(self.site, Role { names, index }, &[shape])
    }

    /// The biases, if the layer has any; they come at this place.
    fn bias(&self, index: usize, outputs: usize) -> Result<Option<Vec<f32>>, LayerError> {
        let has = self.config.flag("use_bias", true)?;
        has.then(|| self.weights(BIAS, index, &[outputs])).transpose()
    }

    fn conv(&mut self) -> Result<usize, LayerError> {
        if self.config.get("groups").is_some() && self.config.count("groups")? != 1 {
            return Err(self.config.wrong("it has groups; use DepthwiseConv2D, or one group"));
        }
        let (window, outputs) = (self.conv_window()?, self.config.count("filters")?);
        let [kh, kw] = window.kernel;
        let kernel = self.weights(KERNEL, 0, &[kh, kw, self.channels(), outputs])?;
        let bias = self.bias(1, outputs)?;
        self.push_weighted(Layer::Conv, (transposed(&kernel, outputs), bias, window))
    }

    fn depthwise(&mut self) -> Result<usize, LayerError> {
        let (window, outputs) = (self.conv_window()?, self.depthwise_outputs()?);
        let kernel = self.depthwise_kernel(window)?;
        let bias = self.bias(1, outputs)?;
        let layer = if self.channels() == outputs { Layer::Depthwise } else { Layer::Conv };
        self.push_weighted(layer, (kernel, bias, window))
    }

    /// A depthwise convolution, and one of single pixels that takes all its channels.
    fn separable(&mut self) -> Result<usize, LayerError> {
        let (window, inner) = (self.conv_window()?, self.depthwise_outputs()?);
        let outputs = self.config.count("filters")?;
        let weights = self.depthwise_kernel(window)?;
        let pointwise = self.weights(POINTWISE_KERNEL, 1, &[1, 1, inner, outputs])?;
        let bias = self.bias(2, outputs)?;
        let filter = Filter { weights, bias: None, window, activation: Activation::None };
        let layer = if self.channels() == inner { Layer::Depthwise } else { Layer::Conv };
        let name = format!("{}/depthwise", self.site.name);
        self.input = self.network.push(&name, layer(filter), &[self.input])?;
        self.push_weighted(Layer::Conv, (transposed(&pointwise, outputs), bias, Window::PIXEL))
    }

    /// Channels that a depthwise convolution gives: as many as it reads, or several of one.
    fn depthwise_outputs(&self) -> Result<usize, LayerError> {
        let multiplier = match self.config.get("depth_multiplier") {
            Some(_) => self.config.count("depth_multiplier")?,
            None => 1,
        };
        match (multiplier, self.channels()) {
            (1, channels) => Ok(channels),
            (multiplier, 1) => Ok(multiplier),
            _ => Err(self.config.wrong("its `depth_multiplier` is not 1; train with 1")),
        }
    }

    /// `[outputs / channels, height, width, channels]`.
    fn depthwise_kernel(&self, window: Window) -> Result<Vec<f32>, LayerError> {
        let ([kh, kw], channels) = (window.kernel, self.channels());
        let each = self.depthwise_outputs()? / channels.max(1);
        let kernel = self.weights(DEPTHWISE_KERNEL, 0, &[kh, kw, channels, each])?;
        Ok(transposed(&kernel, each))
    }

    fn dense(&mut self) -> Result<usize, LayerError> {
        let (inputs, outputs) = (self.channels(), self.config.count("units")?);
        let kernel = self.weights(KERNEL, 0, &[inputs, outputs])?;
        let bias = self.bias(1, outputs)?;
        self.push_weighted(Layer::Dense, (transposed(&kernel, outputs), bias, Window::PIXEL))
    }

    fn batch_norm(&mut self) -> Result<usize, LayerError> {
        self.expect_channel_axis()?;
        let channels = self.channels();
        let epsilon = self.config.number("epsilon")?.unwrap_or(1e-3);
        // Those it lacks leave no gap among the others.
        let mut index = 0;
        let mut next = |name: &str| {
            index += 1;
            self.weights(&[name], index - 1, &[channels])
        };
        let gamma = match self.config.flag("scale", true)? {
            true => next("gamma")?,
            false => vec![1.0; channels],
        };
        let beta = match self.config.flag("center", true)? {
            true => next("beta")?,
            false => vec![0.0; channels],
        };
        let (mean, variance) = (next("moving_mean")?, next("moving_variance")?);
        self.push(Layer::batch_norm(&[gamma, beta, mean, variance], epsilon))
    }

    fn rescaling(&mut self) -> Result<usize, LayerError> {
        let channels = self.channels();
        let scale = self.config.by_channel("scale", channels)?;
        let shift = self.config.by_channel("offset", channels)?;
        let scale = scale.ok_or_else(|| self.config.wrong("it has no `scale`"))?;
        let shift = shift.unwrap_or_else(|| vec![0.0; channels]);
        self.push(Layer::Affine { scale, shift })
    }

    fn normalization(&mut self) -> Result<usize, LayerError> {
        if self.config.get("axis").is_some() {
            self.expect_channel_axis()?;
        }
        if self.config.flag("invert", false)? {
            return Err(self.config.wrong("it is inverted; train without it"));
        }
        let channels = self.channels();
        let numbers = |key: &str, index: usize| match self.config.by_channel(key, channels)? {
            Some(numbers) => Ok(numbers),
            None => {
                let role = Role { names: &[key], index };
                let shapes: [&[usize]; 3] = [&[], &[1], &[channels]];
                let numbers = self.network.weights.get(self.site, role, &shapes)?;
                broadcast(numbers, channels).ok_or_else(|| self.config.wrong("it is damaged"))
            }
        };
        let (mean, variance) = (numbers("mean", 0)?, numbers("variance", 1)?);
        let scale: Vec<f32> =
            variance.iter().map(|v| 1.0 / v.sqrt().max(NORMALIZATION_EPSILON)).collect();
        let shift = mean.iter().zip(&scale).map(|(mean, scale)| -mean * scale).collect();
        self.push(Layer::Affine { scale, shift })
    }

    /// `activation`: a name, or in Keras 3 also an object with it.
    fn follower(&self) -> Result<Follower, LayerError> {
        let Some(value) = self.config.get("activation") else {
            return Ok(Follower::Activation(Activation::None));
        };
        let inner = value.get("config").filter(|config| config.is_string());
        let name = inner.or(value.get("class_name")).unwrap_or(value).as_str();
        match name.unwrap_or_default() {
            "linear" => Ok(Follower::Activation(Activation::None)),
            "relu" => Ok(Follower::Activation(Activation::Relu)),
            "relu6" => Ok(Follower::Activation(Activation::Relu6)),
            "softmax" => Ok(Follower::Softmax),
            name => {
                let advice = "train with relu, relu6, or at the end softmax";
                Err(self
                    .config
                    .wrong(format!("its activation `{name}` is not understood; {advice}")))
            }
        }
    }

    fn relu(&self) -> Result<Activation, LayerError> {
        let zero = |key: &str| Ok(self.config.number(key)?.is_none_or(|number| number == 0.0));
        match self.config.number("max_value")? {
            _ if !zero("negative_slope")? || !zero("threshold")? => {
                Err(self.config.wrong("it has a slope or a threshold; train with plain relu"))
            }
            None => Ok(Activation::Relu),
            Some(6.0) => Ok(Activation::Relu6),
            Some(max) => {
                Err(self.config.wrong(format!("its `max_value` is {max}; train with none or 6")))
            }
        }
    }

    /// The layer works on channels: its axis is the last one.
    fn expect_channel_axis(&self) -> Result<(), LayerError> {
        let axis = match self.config.get("axis") {
            Some(_) => self.config.integers("axis")?,
            None => vec![-1],
        };
        let last = if self.network.is_flat(self.input) { 1 } else { 3 };
        match axis.as_slice() {
            [axis] if *axis == -1 || *axis == last => Ok(()),
            axis => Err(self.config.wrong(format!("its axis is {axis:?}, not the channels'"))),
        }
    }

    fn conv_window(&self) -> Result<Window, LayerError> {
        if self.config.get("dilation_rate").is_some()
            && self.config.sides("dilation_rate")? != [1; 2]
        {
            return Err(self.config.wrong("it is dilated; train without dilation"));
        }
        let kernel = self.config.sides("kernel_size")?;
        Ok(Window { kernel, stride: self.stride([1, 1])?, padding: self.padding()? })
    }

    fn pool_window(&self) -> Result<Window, LayerError> {
        let kernel = self.config.sides("pool_size")?;
        Ok(Window { kernel, stride: self.stride(kernel)?, padding: self.padding()? })
    }

    fn stride(&self, default: [usize; 2]) -> Result<[usize; 2], LayerError> {
        match self.config.get("strides") {
            Some(_) => self.config.sides("strides"),
            None => Ok(default),
        }
    }

    fn padding(&self) -> Result<Padding, LayerError> {
        match self.config.text("padding")? {
            Some("same") => Ok(Padding::Same),
            Some("valid") | None => Ok(Padding::Valid),
            Some(padding) => Err(self.config.wrong(format!("its padding is `{padding}`"))),
        }
    }

    fn pool_whole(&mut self, layer: Layer) -> Result<usize, LayerError> {
        let is_flat = !self.config.flag("keepdims", false)?;
        self.network.push_as(&self.site.name, layer, &[self.input], is_flat)
    }

    /// A sum of several values, two by two.
    fn sum(&mut self, inputs: &[usize]) -> Result<usize, LayerError> {
        let [first, middle @ .., last] = inputs else {
            return Err(self.config.wrong("it adds nothing"));
        };
        if inputs.len() < 2 {
            return Err(self.config.wrong("it adds a single value"));
        }
        let mut sum = *first;
        for (i, value) in middle.iter().enumerate() {
            let name = format!("{}/{i}", self.site.name);
            sum = self.network.push(&name, Layer::Add, &[sum, *value])?;
        }
        self.network.push(&self.site.name, Layer::Add, &[sum, *last])
    }

    fn reshape(&mut self) -> Result<usize, LayerError> {
        let target = self.config.integers("target_shape")?;
        let shape = self.shape();
        let len: usize = shape.iter().product();
        let mut known = target.iter().filter(|side| **side != -1);
        let known = known.try_fold(1usize, |n, side| n.checked_mul(usize::try_from(*side).ok()?));
        let rest = known.and_then(|known| len.checked_div(known));
        let sides = target.iter().map(|side| match side {
            -1 => rest,
            side => usize::try_from(*side).ok(),
        });
        let sides: Option<Vec<usize>> = sides.collect();
        match sides.as_deref() {
            Some([n]) if *n == len => {
                self.network.push_as(&self.site.name, Layer::Flatten, &[self.input], true)
            }
            Some(same) if same == shape.as_slice() => {
                self.network.push_as(&self.site.name, Layer::Identity, &[self.input], false)
            }
            _ => Err(self.config.wrong(format!(
                "it makes {target:?} of {shape:?}; it may only flatten, or change nothing"
            ))),
        }
    }
}

/// Rows as columns: what has its outputs last, with them first.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let column = |c: usize| values.iter().skip(c).step_by(columns.max(1)).copied();
    (0..columns).flat_map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_come_first() {
        assert_eq!(transposed(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 2), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
    }
}
