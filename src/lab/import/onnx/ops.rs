//! What each operator adds to the network.

use std::rc::Rc;

use super::super::super::float::layers::Filter;
use super::super::super::float::window::Margins;
use super::super::super::float::{Activation, Layer, LayerError, Window};
use super::super::super::network::Shape;
use super::super::builder::{Arithmetic, channels_first, side, sides};
use super::Reader;
use super::node::Node;
use super::value::{Axis, CHANNELS_FIRST, Constant, Data, Flattening, Live, Value};

/// Most elements of a shape that is computed while reading.
const MAX_FOLDED: usize = 16;
/// What a batch norm without an epsilon has.
const BATCH_NORM_EPSILON: f32 = 1e-5;
/// As of this opset `Clip` has its limits as inputs.
const CLIP_INPUTS_OPSET: i64 = 11;
/// As of this opset a softmax has one axis, the last if it names none.
const SOFTMAX_LAST_OPSET: i64 = 13;

impl<'g> Reader<'g> {
    /// What a node gives.
    pub fn value_of(&mut self, node: &Node<'g>) -> Result<Value, LayerError> {
        if !matches!(node.proto.domain.as_str(), "" | "ai.onnx") {
            let domain = &node.proto.domain;
            return Err(node.wrong(format!(
                "operators of domain `{domain}` are not understood; export with standard ones"
            )));
        }
        if node.proto.op_type == "Constant" {
            return constant(node);
        }
        if let Some(folded) = self.folded(node)? {
            return Ok(Value::Constant(folded));
        }
        self.computed(node).map(Value::Live)
    }

    fn computed(&mut self, node: &Node<'g>) -> Result<Live, LayerError> {
        match node.proto.op_type.as_str() {
            "Conv" => self.conv(node),
            "Gemm" => self.gemm(node),
            "MatMul" => self.mat_mul(node),
            "BatchNormalization" => self.batch_norm(node),
            "Relu" => self.unary(node, Layer::Activation(Activation::Relu)),
            "Clip" => self.clip(node),
            "Softmax" | "LogSoftmax" => self.softmax(node),
            "Identity" | "Dropout" => self.live(node, 0),
            "MaxPool" => self.max_pool(node),
            "AveragePool" => self.average_pool(node),
            "GlobalAveragePool" => {
                let picture = self.picture(node, 0)?;
                self.give_picture(node, Layer::GlobalAveragePool, &picture)
            }
            "ReduceMean" => self.reduce_mean(node),
            "Pad" => self.pad(node),
            "Add" => self.arithmetic(node, Arithmetic::Add),
            "Sub" => self.arithmetic(node, Arithmetic::Subtract),
            "Mul" => self.arithmetic(node, Arithmetic::Multiply),
            "Div" => self.arithmetic(node, Arithmetic::Divide),
            "Concat" => self.concat(node),
            "Flatten" => self.flatten(node),
            "Reshape" => self.reshape(node),
            "Transpose" => self.transpose(node),
            "Squeeze" => self.squeeze(node),
            "Unsqueeze" => self.unsqueeze(node),
            _ => Err(node.wrong(
                "this operator is not understood; export the network without it (for inference, \
                 in float32, without what comes before or after the network)",
            )),
        }
    }

    /// Adds a layer of one input.
    fn give(&mut self, node: &Node, layer: Layer, live: Live) -> Result<Live, LayerError> {
        let value = self.builder.push(node.name, layer, &[live.value])?;
        Ok(Live { value, ..live })
    }

    /// Adds a layer that turns a picture into another.
    fn give_picture(
        &mut self,
        node: &Node,
        layer: Layer,
        picture: &Live,
    ) -> Result<Live, LayerError> {
        Ok(Live::channels_first(self.builder.push(node.name, layer, &[picture.value])?))
    }

    /// Adds a layer that takes each value by itself.
    fn unary(&mut self, node: &Node, layer: Layer) -> Result<Live, LayerError> {
        let live = self.live(node, 0)?;
        self.give(node, layer, live)
    }

    /// A computed input that is a picture, channels first.
    fn picture(&self, node: &Node, index: usize) -> Result<Live, LayerError> {
        let live = self.live(node, index)?;
        let shape = self.shape(&live);
        if live.flattened.is_none() && live.lies_as(&CHANNELS_FIRST, shape) {
            return Ok(live);
        }
        let dims = live.dims(shape);
        Err(node
            .wrong(format!("it reads {dims:?}, which is not batch × channels × height × width")))
    }

    fn sides(&self, picture: &Live) -> [usize; 2] {
        let [h, w, _] = self.shape(picture);
        [h, w]
    }

    /// A constant input of this length, if it is given.
    fn vector(
        &self,
        node: &Node,
        index: usize,
        len: usize,
    ) -> Result<Option<Vec<f32>>, LayerError> {
        let Some(constant) = self.constant(node, index)? else { return Ok(None) };
        let floats = constant.floats().filter(|floats| floats.len() == len);
        let floats = floats.ok_or_else(|| {
            node.wrong(format!("its input {index} is {:?}, not {len} floats", constant.dims))
        })?;
        Ok(Some(floats.to_vec()))
    }

    fn conv(&mut self, node: &Node) -> Result<Live, LayerError> {
        let picture = self.picture(node, 0)?;
        let weights = self.weights(node, 1)?;
        let [h, w, channels] = self.shape(&picture);
        let [outputs, inputs, kh, kw] = weights.dims[..] else {
            return Err(node.wrong(format!("weights {:?}; they need 4 axes", weights.dims)));
        };
        if node.ints("kernel_shape").is_some_and(|shape| sides(shape) != Some([kh, kw])) {
            return Err(node.wrong(format!("weights {:?} of another kernel", weights.dims)));
        }
        let group = node.int("group", 1);
        let is_depthwise = channels > 1
            && usize::try_from(group) == Ok(channels)
            && [outputs, inputs] == [channels, 1];
        if !is_depthwise && (group != 1 || inputs != channels) {
            return Err(node.wrong(format!(
                "{group} groups with weights {:?} over {channels} channels; understood are one \
                 group, or one for each channel that gives one channel",
                weights.dims
            )));
        }
        let window = node.window([kh, kw], [h, w])?;
        let filter = Filter {
            weights: channels_last(weights.floats().unwrap_or_default(), &weights.dims),
            bias: self.vector(node, 2, outputs)?,
            window,
            activation: Activation::None,
        };
        let layer = match is_depthwise {
            true => Layer::Depthwise(transposed(filter, channels)),
            false => Layer::Conv(filter),
        };
        self.give_picture(node, layer, &picture)
    }

    fn gemm(&mut self, node: &Node) -> Result<Live, LayerError> {
        let is_plain = node.float("alpha", 1.0) == 1.0
            && node.float("beta", 1.0) == 1.0
            && node.int("transA", 0) == 0;
        if !is_plain {
            return Err(node.wrong("alpha, beta or transA are set; export it as a plain one"));
        }
        let weights = self.weights(node, 1)?;
        let layout = if node.int("transB", 0) == 0 { Rows::Inputs } else { Rows::Outputs };
        let bias = match self.optional(node, 2)? {
            Some(_) => Some(self.weights(node, 2)?),
            None => None,
        };
        self.dense(node, &weights, layout, bias.as_deref())
    }

    fn mat_mul(&mut self, node: &Node) -> Result<Live, LayerError> {
        let weights = self.weights(node, 1)?;
        self.dense(node, &weights, Rows::Inputs, None)
    }

    fn dense(
        &mut self,
        node: &Node,
        weights: &Constant,
        rows: Rows,
        bias: Option<&Constant>,
    ) -> Result<Live, LayerError> {
        let live = self.live(node, 0)?;
        let [_, _, channels] = self.shape(&live);
        let [first, second] = weights.dims[..] else {
            return Err(node.wrong(format!("weights {:?}; they need 2 axes", weights.dims)));
        };
        let [inputs, outputs] = match rows {
            Rows::Inputs => [first, second],
            Rows::Outputs => [second, first],
        };
        if live.axes.last() != Some(&Axis::Channels) || inputs != channels {
            let dims = live.dims(self.shape(&live));
            return Err(node.wrong(format!("weights {:?} don't fit {dims:?}", weights.dims)));
        }
        let floats = weights.floats().unwrap_or_default();
        let at = |output: usize, input: usize| match rows {
            Rows::Inputs => input * outputs + output,
            Rows::Outputs => output * inputs + input,
        };
        let order = order(&live, channels);
        let turned = (0..outputs)
            .flat_map(|output| order.iter().map(move |input| at(output, *input)))
            .filter_map(|place| floats.get(place).copied());
        let bias = bias.map(|bias| match bias.floats().unwrap_or_default() {
            [one] => vec![*one; outputs],
            several => several.to_vec(),
        });
        let filter = Filter {
            weights: turned.collect(),
            bias,
            window: Window::PIXEL,
            activation: Activation::None,
        };
        let live = Live { flattened: None, ..live };
        self.give(node, Layer::Dense(filter), live)
    }

    fn batch_norm(&mut self, node: &Node) -> Result<Live, LayerError> {
        if node.int("training_mode", 0) != 0 {
            return Err(node.wrong("it is in training mode; export the network for inference"));
        }
        let live = self.live(node, 0)?;
        let [_, _, channels] = self.shape(&live);
        if live.axes.get(1).is_none_or(|axis| *axis != Axis::Channels && channels != 1) {
            return Err(node.wrong("its second axis is not the channels"));
        }
        let mut tensors = Vec::new();
        for index in 1..5 {
            let tensor = self.vector(node, index, channels)?;
            tensors.push(tensor.ok_or_else(|| node.wrong(format!("it lacks input {index}")))?);
        }
        let [gamma, beta, mean, variance] = &tensors[..] else { return Err(node.wrong("inputs")) };
        let epsilon = node.float("epsilon", BATCH_NORM_EPSILON);
        let ordered = [gamma, beta, mean, variance].map(|tensor| -> Vec<f32> {
            let channels = order(&live, channels).into_iter();
            channels.map(|channel| tensor.get(channel).copied().unwrap_or(0.0)).collect()
        });
        self.give(node, Layer::batch_norm(&ordered, epsilon), live)
    }

    fn clip(&mut self, node: &Node) -> Result<Live, LayerError> {
        let limit = |name: &str, index: usize| match self.opset < CLIP_INPUTS_OPSET {
            true => Ok(node.attribute(name).map(|attribute| attribute.f)),
            false => Ok(self.vector(node, index, 1)?.and_then(|limit| limit.first().copied())),
        };
        let limits = [limit("min", 1)?, limit("max", 2)?];
        let activation = match limits {
            [Some(0.0), Some(6.0)] => Activation::Relu6,
            [Some(0.0), None | Some(f32::INFINITY | f32::MAX)] => Activation::Relu,
            _ => {
                let why = format!("limits {limits:?}; only 0 and 6 (ReLU6) are understood");
                return Err(node.wrong(why));
            }
        };
        self.unary(node, Layer::Activation(activation))
    }

    fn softmax(&mut self, node: &Node) -> Result<Live, LayerError> {
        let live = self.live(node, 0)?;
        let default = if self.opset < SOFTMAX_LAST_OPSET { 1 } else { -1 };
        let axis = node.axis(node.int("axis", default), live.axes.len())?;
        if live.axes.get(axis) != Some(&Axis::Channels) || self.sides(&live) != [1, 1] {
            return Err(node.wrong("only one over the logits, at the end, is understood"));
        }
        self.give(node, Layer::Softmax, live)
    }

    fn pooling(&self, node: &Node) -> Result<(Live, Window), LayerError> {
        let picture = self.picture(node, 0)?;
        let kernel = node.ints("kernel_shape").unwrap_or_default();
        let kernel = sides(kernel).ok_or_else(|| node.wrong(format!("a kernel of {kernel:?}")))?;
        let picture_sides = self.sides(&picture);
        let window = node.window(kernel, picture_sides)?;
        if node.int("ceil_mode", 0) != 0 && !is_exact(&window, picture_sides) {
            return Err(node.wrong(
                "ceil_mode lets its window reach beyond the edge; pool with padding instead",
            ));
        }
        Ok((picture, window))
    }

    fn max_pool(&mut self, node: &Node) -> Result<Live, LayerError> {
        let (picture, window) = self.pooling(node)?;
        self.give_picture(node, Layer::MaxPool(window), &picture)
    }

    fn average_pool(&mut self, node: &Node) -> Result<Live, LayerError> {
        let (picture, window) = self.pooling(node)?;
        let is_padded = !window.margins(self.sides(&picture)).is_none();
        if is_padded && node.int("count_include_pad", 0) != 0 {
            return Err(node.wrong("it counts padding (count_include_pad); pool without padding"));
        }
        self.give_picture(node, Layer::AveragePool(window), &picture)
    }

    fn reduce_mean(&mut self, node: &Node) -> Result<Live, LayerError> {
        let live = self.live(node, 0)?;
        let shape = self.shape(&live);
        let axes = self.ints(node, "axes", 1)?.unwrap_or_default();
        let mut reduced = vec![false; live.axes.len()];
        for axis in axes {
            let place = node.axis(axis, live.axes.len())?;
            reduced.iter_mut().skip(place).take(1).for_each(|reduced| *reduced = true);
        }
        let is_mean_of_pixels = live.axes.iter().zip(&reduced).all(|(axis, reduced)| match axis {
            Axis::Height | Axis::Width => *reduced || axis.size(shape) == 1,
            Axis::Batch => !reduced,
            Axis::Channels => !reduced || shape[2] == 1,
            Axis::One => true,
        });
        if !is_mean_of_pixels || live.flattened.is_some() {
            return Err(node.wrong("only a mean over height and width is understood"));
        }
        let keeps = node.int("keepdims", 1) != 0;
        let pairs = live.axes.iter().zip(&reduced);
        let axes =
            pairs.filter(|(_, reduced)| keeps || !**reduced).map(|(axis, _)| *axis).collect();
        self.give(node, Layer::GlobalAveragePool, Live { axes, ..live })
    }

    fn pad(&mut self, node: &Node) -> Result<Live, LayerError> {
        let live = self.live(node, 0)?;
        let mode = node.text("mode", "constant");
        let filling = match self.opset < 11 {
            true => Some(node.float("value", 0.0)),
            false => self.vector(node, 2, 1)?.map_or(Some(0.0), |value| value.first().copied()),
        };
        if mode != "constant" || filling != Some(0.0) || live.flattened.is_some() {
            return Err(
                node.wrong(format!("mode `{mode}` of {filling:?}; only zeros can be added"))
            );
        }
        let pads = self.ints(node, "pads", 1)?.unwrap_or_default();
        let axes = match self.constant(node, 3)? {
            None => (0..live.axes.len()).collect(),
            Some(axes) => {
                let axes = axes.ints().unwrap_or_default().iter();
                axes.map(|axis| node.axis(*axis, live.axes.len())).collect::<Result<Vec<_>, _>>()?
            }
        };
        let wrong = || node.wrong(format!("pads {pads:?}; rows and columns can be added"));
        let (before, after) = pads.split_at_checked(axes.len()).ok_or_else(wrong)?;
        if after.len() != axes.len() {
            return Err(wrong());
        }
        let mut margins = Margins::default();
        for ((axis, before), after) in axes.iter().zip(before).zip(after) {
            let sizes = (side(*before).ok_or_else(wrong)?, side(*after).ok_or_else(wrong)?);
            match live.axes.get(*axis) {
                Some(Axis::Height) => (margins.top, margins.bottom) = sizes,
                Some(Axis::Width) => (margins.left, margins.right) = sizes,
                _ if sizes == (0, 0) => (),
                _ => return Err(wrong()),
            }
        }
        if margins.is_none() {
            return Ok(live);
        }
        self.give(node, Layer::Pad(margins), live)
    }

    fn arithmetic(&mut self, node: &Node, kind: Arithmetic) -> Result<Live, LayerError> {
        match (kind, self.input(node, 0)?, self.input(node, 1)?) {
            (Arithmetic::Add, Value::Live(a), Value::Live(b)) => {
                let (a, b) = (a.clone(), b.clone());
                let alike = a.flattened == b.flattened && a.lies_as(&b.axes, self.shape(&a));
                if !alike || self.shape(&a) != self.shape(&b) {
                    let dims = [&a, &b].map(|live| live.dims(self.shape(live)));
                    return Err(node.wrong(format!("it adds {dims:?}; two of one shape can be")));
                }
                let value = self.builder.push(node.name, Layer::Add, &[a.value, b.value])?;
                Ok(Live { value, ..a })
            }
            (_, Value::Live(live), Value::Constant(constant))
            | (
                Arithmetic::Add | Arithmetic::Multiply,
                Value::Constant(constant),
                Value::Live(live),
            ) => {
                let (live, constant) = (live.clone(), constant.clone());
                self.by_channel(node, kind, live, &constant)
            }
            _ => Err(node.wrong(
                "only a sum of two values is understood, or arithmetic with one constant per channel",
            )),
        }
    }

    fn by_channel(
        &mut self,
        node: &Node,
        kind: Arithmetic,
        live: Live,
        constant: &Constant,
    ) -> Result<Live, LayerError> {
        let [_, _, channels] = self.shape(&live);
        let dims = &constant.dims;
        let wrong =
            || node.wrong(format!("a constant {dims:?}; understood is one value per channel"));
        let floats = constant.floats().ok_or_else(wrong)?;
        // Sizes are compared from behind; those missing in front are 1.
        let fits = dims.len() <= live.axes.len()
            && (dims.iter().rev().zip(live.axes.iter().rev()))
                .all(|(dim, axis)| *dim == 1 || (*axis == Axis::Channels && *dim == channels));
        if !fits || floats.is_empty() {
            return Err(wrong());
        }
        let turned: Vec<f32> = match (floats, live.flattened) {
            (floats, Some(picture)) if floats.len() > 1 => {
                channels_first(picture).filter_map(|place| floats.get(place).copied()).collect()
            }
            _ => floats.to_vec(),
        };
        let value = self.builder.push_affine(node.name, kind, &turned, live.value)?;
        Ok(Live { value, ..live })
    }

    fn concat(&mut self, node: &Node) -> Result<Live, LayerError> {
        let first = self.live(node, 0)?;
        let axis = node.axis(node.int("axis", 1), first.axes.len())?;
        let mut inputs = Vec::new();
        for index in 0..node.proto.input.len() {
            let live = self.live(node, index)?;
            // A single channel's axis may have lost its name.
            let mut axes = live.axes.clone();
            if self.shape(&live)[2] == 1 {
                axes.iter_mut().skip(axis).take(1).for_each(|axis| *axis = Axis::Channels);
            }
            let joins_channels = axes.get(axis) == Some(&Axis::Channels);
            let alike = axes.len() == first.axes.len() && live.flattened.is_none();
            let others = |axes: &[Axis]| {
                let all = axes.iter().copied().enumerate();
                all.filter(|(place, _)| *place != axis).map(|(_, axis)| axis).collect::<Vec<_>>()
            };
            let same = others(&axes).iter().zip(others(&first.axes)).all(|(a, b)| {
                let one = |axis: Axis, live: &Live| {
                    axis != Axis::Batch && axis.size(self.shape(live)) == 1
                };
                *a == b || (one(*a, &live) && one(b, &first))
            });
            if !joins_channels || !alike || !same {
                return Err(node.wrong("only pictures' channels can be joined"));
            }
            inputs.push(live.value);
        }
        let value = self.builder.push(node.name, Layer::Concat, &inputs)?;
        let mut axes = first.axes;
        axes.iter_mut().skip(axis).take(1).for_each(|axis| *axis = Axis::Channels);
        Ok(Live { value, axes, flattened: None })
    }

    fn flatten(&mut self, node: &Node) -> Result<Live, LayerError> {
        let live = self.live(node, 0)?;
        if node.axis(node.int("axis", 1), live.axes.len())? != 1 {
            return Err(node.wrong("only a flattening from the second axis on is understood"));
        }
        self.flattened(node, live)
    }

    fn flattened(&mut self, node: &Node, live: Live) -> Result<Live, LayerError> {
        let shape = self.shape(&live);
        let axes = vec![Axis::Batch, Axis::Channels];
        if shape[..2] == [1, 1] {
            return Ok(Live { axes, ..live });
        }
        let flattened = match live.flattening(shape) {
            Some(Flattening::ChannelsLast) => None,
            Some(Flattening::ChannelsFirst) => Some(shape),
            None => return Err(node.wrong("it flattens neither rows nor channels first")),
        };
        let value = self.builder.push(node.name, Layer::Flatten, &[live.value])?;
        Ok(Live { value, axes, flattened })
    }

    fn reshape(&mut self, node: &Node) -> Result<Live, LayerError> {
        let live = self.live(node, 0)?;
        let shape = self.shape(&live);
        let target = self.ints(node, "shape", 1)?.unwrap_or_default();
        let wrong = || {
            let dims = live.dims(shape);
            node.wrong(format!(
                "from {dims:?} to {target:?}; a flattening is understood, or one of size 1 more or \
                 less"
            ))
        };
        if node.int("allowzero", 0) != 0 && target.contains(&0) {
            return Err(wrong());
        }
        let dims = resolved(&target, &live.dims(shape)).ok_or_else(wrong)?;
        if let Some(regrouped) = live.regrouped(&dims, shape) {
            return Ok(regrouped);
        }
        match dims[..] {
            [1, features] if features == shape.iter().product::<usize>() => {
                self.flattened(node, live)
            }
            _ => Err(wrong()),
        }
    }

    fn transpose(&mut self, node: &Node) -> Result<Live, LayerError> {
        let live = self.live(node, 0)?;
        let rank = live.axes.len();
        let places: Vec<usize> = match node.ints("perm") {
            None => (0..rank).rev().collect(),
            Some(places) => {
                places.iter().map(|place| node.axis(*place, rank)).collect::<Result<_, _>>()?
            }
        };
        let is_permutation = places.len() == rank && (0..rank).all(|axis| places.contains(&axis));
        if !is_permutation {
            return Err(node.wrong(format!("perm {places:?} of {rank} axes")));
        }
        let axes = places.iter().filter_map(|place| live.axes.get(*place).copied()).collect();
        Ok(Live { axes, ..live })
    }

    fn squeeze(&mut self, node: &Node) -> Result<Live, LayerError> {
        let live = self.live(node, 0)?;
        let shape = self.shape(&live);
        let is_one = |axis: &Axis| *axis != Axis::Batch && axis.size(shape) == 1;
        let mut kept = live.axes.clone();
        match self.ints(node, "axes", 1)? {
            None => kept.retain(|axis| !is_one(axis)),
            Some(axes) => {
                let mut places = Vec::new();
                for axis in axes {
                    places.push(node.axis(axis, live.axes.len())?);
                }
                let can_go = |place: &usize| live.axes.get(*place).is_some_and(is_one);
                if !places.iter().all(can_go) {
                    return Err(node.wrong(format!(
                        "it takes away axes {places:?} of {:?}; only those of height and width 1 \
                         can go",
                        live.dims(shape)
                    )));
                }
                let all = live.axes.iter().enumerate();
                kept = all.filter(|(i, _)| !places.contains(i)).map(|(_, axis)| *axis).collect();
            }
        }
        Ok(Live { axes: kept, ..live })
    }

    fn unsqueeze(&mut self, node: &Node) -> Result<Live, LayerError> {
        let mut live = self.live(node, 0)?;
        let added = self.ints(node, "axes", 1)?.unwrap_or_default();
        let rank = live.axes.len().saturating_add(added.len());
        if rank > CHANNELS_FIRST.len() {
            return Err(node.wrong(format!("it gives {rank} axes; 4 are understood")));
        }
        let mut places = Vec::new();
        for axis in added {
            places.push(node.axis(axis, rank)?);
        }
        places.sort_unstable();
        for place in places {
            if place == 0 || place > live.axes.len() {
                return Err(node.wrong("it adds an axis before the batch, or twice the same"));
            }
            live.axes.insert(place, Axis::One);
        }
        Ok(live)
    }

    /// The constant that a node gives, if it is one of those that compute shapes.
    fn folded(&self, node: &Node) -> Result<Option<Rc<Constant>>, LayerError> {
        if node.proto.op_type == "Shape" {
            let live = self.live(node, 0)?;
            if node.attribute("start").is_some() || node.attribute("end").is_some() {
                return Err(node.wrong("a part of a shape is not understood; export a fixed size"));
            }
            let dims = live.dims(self.shape(&live)).iter().map(|dim| *dim as i64).collect();
            return Ok(Some(Rc::new(Constant::vector(Data::Int(dims)))));
        }
        let mut constants = Vec::new();
        for index in 0..node.proto.input.len() {
            match self.optional(node, index)? {
                Some(Value::Constant(constant)) => constants.push(constant.clone()),
                Some(Value::Live(_)) => return Ok(None),
                None => (),
            }
        }
        let Some(first) = constants.first() else { return Ok(None) };
        if node.proto.op_type == "Identity" {
            return Ok(Some(first.clone()));
        }
        let lists: Option<Vec<&[i64]>> = constants.iter().map(|constant| constant.ints()).collect();
        let Some(lists) = lists else { return Ok(None) };
        let folded = match (node.proto.op_type.as_str(), &lists[..]) {
            ("Cast" | "Unsqueeze" | "Squeeze", [list, ..]) => Some(list.to_vec()),
            ("Concat", lists) => Some(lists.iter().copied().flatten().copied().collect()),
            ("Gather", [list, places]) => gathered(list, places),
            ("Slice", [list, [start], [end], axes_and_steps @ ..]) => {
                let is_plain = axes_and_steps.iter().zip([0, 1]).all(|(of, plain)| *of == [plain]);
                if is_plain { sliced(list, *start, *end) } else { None }
            }
            _ => None,
        };
        let folded = folded.filter(|list: &Vec<i64>| list.len() <= MAX_FOLDED);
        Ok(folded.map(|list| Rc::new(Constant::vector(Data::Int(list)))))
    }
}

/// What the rows of a dense layer's weights are.
#[derive(Clone, Copy)]
enum Rows {
    Inputs,
    Outputs,
}

/// The tensor of a `Constant` node.
fn constant(node: &Node) -> Result<Value, LayerError> {
    let constant = if let Some(attribute) = node.attribute("value") {
        let tensor = attribute.t.as_ref().ok_or_else(|| node.wrong("it holds no tensor"))?;
        Constant::new(tensor).map_err(|why| node.wrong(why))?
    } else if let Some(attribute) = node.attribute("value_float") {
        Constant { dims: Vec::new(), data: Data::Float(vec![attribute.f]) }
    } else if let Some(attribute) = node.attribute("value_int") {
        Constant { dims: Vec::new(), data: Data::Int(vec![attribute.i]) }
    } else if let Some(attribute) = node.attribute("value_floats") {
        Constant::vector(Data::Float(attribute.floats.clone()))
    } else if let Some(ints) = node.ints("value_ints") {
        Constant::vector(Data::Int(ints.to_vec()))
    } else {
        return Err(node.wrong("its kind of value is not understood; use a dense tensor"));
    };
    Ok(Value::Constant(Rc::new(constant)))
}

fn gathered(list: &[i64], places: &[i64]) -> Option<Vec<i64>> {
    let at = |place: &i64| {
        let from_front = if *place < 0 { place.checked_add(list.len() as i64)? } else { *place };
        list.get(usize::try_from(from_front).ok()?).copied()
    };
    places.iter().map(at).collect()
}

fn sliced(list: &[i64], start: i64, end: i64) -> Option<Vec<i64>> {
    let len = i64::try_from(list.len()).ok()?;
    let place = |from: i64| {
        let from_front = if from < 0 { from.saturating_add(len) } else { from };
        usize::try_from(from_front.clamp(0, len)).ok()
    };
    Some(list.get(place(start)?..place(end)?)?.to_vec())
}

/// For each of a value's channels, its place in the file's tensors.
fn order(live: &Live, channels: usize) -> Vec<usize> {
    match live.flattened {
        Some(picture) => channels_first(picture).collect(),
        None => (0..channels).collect(),
    }
}

/// Weights `[out, in, height, width]` as `[out, height, width, in]`.
fn channels_last(weights: &[f32], dims: &[usize]) -> Vec<f32> {
    let [_, inputs, h, w] = *dims else { return Vec::new() };
    let picture: Shape = [h, w, inputs];
    let each = weights.len() / dims.first().map_or(1, |outputs| (*outputs).max(1));
    weights
        .chunks_exact(each.max(1))
        .flat_map(|filter| channels_first(picture).filter_map(|place| filter.get(place).copied()))
        .collect()
}

/// A filter with weights `[channels, height, width]` with them as `[height, width, channels]`.
fn transposed(filter: Filter, channels: usize) -> Filter {
    let [h, w] = filter.window.kernel;
    let places = channels_first([h, w, channels]);
    let weights = places.filter_map(|place| filter.weights.get(place).copied()).collect();
    Filter { weights, ..filter }
}

/// Whether a window's steps end at the picture's edge.
fn is_exact(window: &Window, sides: [usize; 2]) -> bool {
    let margins = window.margins(sides).by_axis();
    let axes = sides.iter().zip(margins).zip(window.kernel).zip(window.stride);
    axes.into_iter().all(|(((side, [before, after]), kernel), stride)| {
        (side + before + after).checked_sub(kernel).is_some_and(|rest| rest % stride == 0)
    })
}

/// A reshape's target with its 0 (as before) and −1 (what is left) filled in; the batch is 1.
fn resolved(target: &[i64], dims: &[usize]) -> Option<Vec<usize>> {
    let len: usize = dims.iter().product();
    let mut sizes = Vec::new();
    for (index, size) in target.iter().enumerate() {
        sizes.push(match size {
            -1 => None,
            0 => Some(*dims.get(index)?),
            _ => Some(usize::try_from(*size).ok()?),
        });
    }
    let known = sizes.iter().flatten().try_fold(1usize, |all, size| all.checked_mul(*size))?;
    let rest = len.checked_div(known)?;
    let filled: Vec<usize> = sizes.iter().map(|size| size.unwrap_or(rest)).collect();
    let open = sizes.iter().filter(|size| size.is_none()).count();
    (open <= 1 && filled.iter().try_fold(1usize, |all, size| all.checked_mul(*size)) == Some(len))
        .then_some(filled)
}
