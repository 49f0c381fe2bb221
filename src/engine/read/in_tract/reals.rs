//! Operators on the numbers that codes stand for, in single precision.

use tract_tflite::internal::tract_core::ops::change_axes::AxisOp;
use tract_tflite::internal::tract_core::ops::einsum::EinSum;
use tract_tflite::internal::tract_core::ops::element_wise::ElementWiseOp;
use tract_tflite::internal::tract_core::ops::identity::Identity;
use tract_tflite::internal::tract_core::ops::nn::{
    CoordTransformer, Interpolator, Nearest, Reduce, Reducer, Resize, Softmax, SoftmaxKind,
    gelu_approximate::gelu_approximate, gelu_exact::gelu_exact, hard_swish, leaky_relu, sigmoid,
};
use tract_tflite::internal::tract_core::ops::{binary::TypedBinOp, math};
use tract_tflite::internal::{AxesMapping, Axis, DatumType, OutletId, tensor1, tvec};
use tract_tflite::tflite::BuiltinOperator;

use super::super::super::window::Activation;
use super::super::Fault;
use super::{Graph, Wiring};

/// How operators of this kind are wired.
pub fn wiring(kind: BuiltinOperator) -> Option<Wiring> {
    Some(match kind {
        BuiltinOperator::ADD => |graph| graph.two(math::add()),
        BuiltinOperator::SUB => |graph| graph.two(math::sub()),
        BuiltinOperator::MUL => |graph| graph.two(math::mul()),
        BuiltinOperator::DIV => |graph| graph.two(math::div()),
        BuiltinOperator::FLOOR_DIV => |graph| graph.quotient(),
        BuiltinOperator::MAXIMUM => |graph| graph.either(math::max()),
        BuiltinOperator::MINIMUM => |graph| graph.either(math::min()),
        BuiltinOperator::PRELU => |graph| graph.sloping(),
        BuiltinOperator::SQUARED_DIFFERENCE => |graph| {
            let difference = graph.two(math::sub())?;
            graph.node(math::square(), &[difference])
        },
        BuiltinOperator::MEAN => |graph| graph.mean(),
        BuiltinOperator::SUM => |graph| graph.reduced(Reducer::Sum),
        BuiltinOperator::REDUCE_PROD => |graph| graph.reduced(Reducer::Prod),
        BuiltinOperator::REDUCE_MAX => |graph| graph.one_of_many(Reducer::Max),
        BuiltinOperator::REDUCE_MIN => |graph| graph.one_of_many(Reducer::Min),
        BuiltinOperator::SOFTMAX => |graph| graph.softmax(),
        BuiltinOperator::LOG_SOFTMAX => |graph| graph.softmax_of(SoftmaxKind::LogSoftmax),
        BuiltinOperator::L2_NORMALIZATION => |graph| graph.normalized(),
        BuiltinOperator::BATCH_MATMUL => |graph| graph.product(),
        BuiltinOperator::RESIZE_BILINEAR => |graph| graph.resized_smoothly(),
        BuiltinOperator::ABS => |graph| graph.one(math::abs()),
        BuiltinOperator::EXP => |graph| graph.one(math::exp()),
        BuiltinOperator::LOG => |graph| graph.one(math::ln()),
        BuiltinOperator::SQRT => |graph| graph.one(math::sqrt()),
        BuiltinOperator::RSQRT => |graph| graph.one(math::rsqrt()),
        BuiltinOperator::LOGISTIC => |graph| graph.one(sigmoid()),
        BuiltinOperator::TANH => |graph| graph.one(math::tanh()),
        BuiltinOperator::HARD_SWISH => |graph| graph.one(hard_swish()),
        BuiltinOperator::GELU => |graph| {
            let options = graph.operator.table.builtin_options_as_gelu_options();
            match options.is_some_and(|options| options.approximate()) {
                true => graph.one(gelu_approximate(false)),
                false => graph.one(gelu_exact()),
            }
        },
        BuiltinOperator::LEAKY_RELU => |graph| {
            let options = graph.operator.table.builtin_options_as_leaky_relu_options();
            let slope = options.map(|options| options.alpha()).filter(|slope| slope.is_finite());
            let slope = slope.ok_or_else(|| graph.fault("has no slope"))?;
            graph.one(leaky_relu(slope))
        },
        BuiltinOperator::RELU => |graph| graph.limited(Activation::Relu),
        BuiltinOperator::RELU6 => |graph| graph.limited(Activation::Relu6),
        BuiltinOperator::QUANTIZE => |graph| {
            let x = graph.input(0)?;
            graph.node(Identity, &[x])
        },
        _ => return None,
    })
}

impl Graph<'_, '_, '_> {
    fn one(&mut self, op: ElementWiseOp) -> Result<OutletId, Fault> {
        let x = self.input(0)?;
        self.node(op, &[x])
    }

    fn limited(&mut self, activation: Activation) -> Result<OutletId, Fault> {
        let x = self.input(0)?;
        self.activated(x, activation)
    }

    /// Of one rank, where they differ.
    pub fn of_one_rank<const N: usize>(
        &mut self,
        mut wires: [OutletId; N],
    ) -> Result<[OutletId; N], Fault> {
        let mut rank = 0;
        for &wire in &wires {
            rank = rank.max(self.shape(wire)?.len());
        }
        for wire in &mut wires {
            *wire = self.of_rank(*wire, rank)?;
        }
        Ok(wires)
    }

    pub fn two(&mut self, op: TypedBinOp) -> Result<OutletId, Fault> {
        let function = self.operator.activation_of_two()?;
        let (a, b) = (self.input(0)?, self.input(1)?);
        let of_both = self.combined(op, a, b)?;
        self.activated(of_both, function)
    }

    /// The whole part of a quotient of sides, of which none is negative.
    fn quotient(&mut self) -> Result<OutletId, Fault> {
        let (a, b) = (self.operator.numbers(0)?, self.operator.numbers(1)?);
        let sides = a.iter().all(|number| *number >= 0) && b.iter().all(|number| *number > 0);
        self.ensure(sides, || format!("divides {a:?} by {b:?}"))?;
        self.two(math::div())
    }

    /// Of two of the output's code.
    fn either(&mut self, op: TypedBinOp) -> Result<OutletId, Fault> {
        self.keeps_code(0)?;
        self.keeps_code(1)?;
        self.two(op)
    }

    /// Below zero times a slope.
    fn sloping(&mut self) -> Result<OutletId, Fault> {
        let (x, slope, zero) = (self.input(0)?, self.input(1)?, self.number(0.0)?);
        let [above, below] = [math::max(), math::min()].map(|op| self.combined(op, x, zero));
        let below = self.combined(math::mul(), below?, slope)?;
        self.combined(math::add(), above?, below)
    }

    pub fn combined(
        &mut self,
        op: TypedBinOp,
        a: OutletId,
        b: OutletId,
    ) -> Result<OutletId, Fault> {
        let wires = self.of_one_rank([a, b])?;
        self.node(op, &wires)
    }

    fn activated(&mut self, x: OutletId, activation: Activation) -> Result<OutletId, Fault> {
        let (least, most) = match activation {
            Activation::None => return Ok(x),
            Activation::Relu => (0.0, None),
            Activation::Relu6 => (0.0, Some(6.0)),
            Activation::ReluN1To1 => (-1.0, Some(1.0)),
        };
        let least = self.number(least)?;
        let above = self.combined(math::max(), x, least)?;
        let Some(most) = most else { return Ok(above) };
        let most = self.number(most)?;
        self.combined(math::min(), above, most)
    }

    fn reduced(&mut self, reducer: Reducer) -> Result<OutletId, Fault> {
        let x = self.input(0)?;
        let mut axes = self.axes(&self.operator.numbers(1)?, self.shape(x)?.len())?;
        axes.sort_unstable();
        axes.dedup();
        let mut reduced = self.node(Reduce::new(axes.iter().copied().collect(), reducer), &[x])?;
        let options = self.operator.table.builtin_options_as_reducer_options();
        if !options.is_some_and(|options| options.keep_dims()) {
            for &axis in axes.iter().rev() {
                reduced = self.node(AxisOp::Rm(axis), &[reduced])?;
            }
        }
        Ok(reduced)
    }

    /// One of the output's code.
    fn one_of_many(&mut self, reducer: Reducer) -> Result<OutletId, Fault> {
        self.keeps_code(0)?;
        self.reduced(reducer)
    }

    fn mean(&mut self) -> Result<OutletId, Fault> {
        let sum = self.reduced(Reducer::Sum)?;
        let shapes = [self.shapes.first().cloned().unwrap_or_default(), self.shape(sum)?];
        let [before, after] = shapes.map(|shape| shape.iter().product::<usize>());
        let share = self.number(after as f32 / before as f32)?;
        self.combined(math::mul(), sum, share)
    }

    fn softmax(&mut self) -> Result<OutletId, Fault> {
        let options = self.operator.table.builtin_options_as_softmax_options();
        let plain = options.is_some_and(|options| options.beta() == 1.0);
        self.ensure(plain, || "has a beta that is not 1".into())?;
        self.softmax_of(SoftmaxKind::Softmax)
    }

    /// Over the last axis.
    fn softmax_of(&mut self, kind: SoftmaxKind) -> Result<OutletId, Fault> {
        let x = self.input(0)?;
        let last = self.axis(-1, self.shape(x)?.len())?;
        self.node(Softmax { axes: tvec!(last), quant_output_dt: None, kind }, &[x])
    }

    /// To a length of 1 along the last axis.
    fn normalized(&mut self) -> Result<OutletId, Fault> {
        let x = self.input(0)?;
        let last = self.axis(-1, self.shape(x)?.len())?;
        let square = self.node(math::square(), &[x])?;
        let sum = self.node(Reduce::new(tvec!(last), Reducer::Sum), &[square])?;
        let length = self.node(math::sqrt(), &[sum])?;
        let least = self.number(1e-6)?;
        let length = self.combined(math::max(), length, least)?;
        self.combined(math::div(), x, length)
    }

    /// Of matrices, which the last two axes are.
    fn product(&mut self) -> Result<OutletId, Fault> {
        let options = self.operator.table.builtin_options_as_batch_mat_mul_options();
        let (adj_x, adj_y) = options.map_or((false, false), |o| (o.adj_x(), o.adj_y()));
        let (a, b) = (self.input(0)?, self.input(1)?);
        let [a, b] = self.of_one_rank([a, b])?;
        let (of_a, of_b) = (self.shape(a)?, self.shape(b)?);
        let rank = of_a.len();
        self.ensure(rank >= 2, || format!("multiplies {of_a:?} by {of_b:?}"))?;
        let [m, k] = if adj_x { [rank - 1, rank - 2] } else { [rank - 2, rank - 1] };
        let [k_of_b, n] = if adj_y { [rank - 1, rank - 2] } else { [rank - 2, rank - 1] };
        let agree = of_a[k] == of_b[k_of_b] && of_a[..rank - 2] == of_b[..rank - 2];
        self.ensure(agree, || format!("multiplies {of_a:?} by {of_b:?}"))?;
        let mut axes = tvec!(
            Axis::new('M', 2, 1).input(0, m).output(0, rank - 2),
            Axis::new('N', 2, 1).input(1, n).output(0, rank - 1),
            Axis::new('K', 2, 1).input(0, k).input(1, k_of_b)
        );
        for (i, name) in ('a'..='z').take(rank - 2).enumerate() {
            axes.push(Axis::new(name, 2, 1).input(0, i).input(1, i).output(0, i));
        }
        let axes = self.told(AxesMapping::new(2, 1, axes))?;
        let sides = of_a[..rank - 2].iter().chain([&of_a[m], &of_b[n]]);
        self.products = sides.fold(of_a[k], |all, side| all.saturating_mul(*side));
        self.node(EinSum { axes, q_params: None, operating_dt: DatumType::F32 }, &[a, b])
    }

    fn resized_smoothly(&mut self) -> Result<OutletId, Fault> {
        let options = self.operator.table.builtin_options_as_resize_bilinear_options();
        let coordinates = match options.map(|o| (o.align_corners(), o.half_pixel_centers())) {
            Some((true, false)) => CoordTransformer::AlignCorners,
            Some((false, true)) => CoordTransformer::HalfPixel,
            Some((false, false)) => CoordTransformer::Asymmetric,
            _ => return Err(self.fault("has options that are not understood")),
        };
        self.resized(coordinates)
    }

    fn resized(&mut self, coord_transformer: CoordTransformer) -> Result<OutletId, Fault> {
        let (x, sides) = (self.input(0)?, self.sizes(1)?);
        let of_x = self.shape(x)?;
        let (&[batch, _, _, channels], &[height, width]) = (&of_x[..], &sides[..]) else {
            return Err(self.fault(format!("makes {sides:?} of {of_x:?}")));
        };
        let sides = [batch, height, width, channels].map(|side| side as i64);
        let sides = self.hold(tensor1(&sides))?;
        let resize = Resize {
            coord_transformer,
            interpolator: Interpolator::Linear,
            nearest: Nearest::Floor,
            optional_scales_input: None,
            optional_sizes_input: Some(1),
        };
        self.node(resize, &[x, sides])
    }
}
