//! Operators that put codes in another place, or leave some out: exact.

use tract_tflite::internal::tract_core::ops::array::{
    Gather, MultiBroadcastTo, Pad, PadMode, Slice, Tile, TypedConcat,
};
use tract_tflite::internal::tract_core::ops::change_axes::{AxisOp, perm_to_ops};
use tract_tflite::internal::{IntoArcTensor, OutletId, Tensor, ToDim, tensor0, tensor1};
use tract_tflite::tflite::{
    ActivationFunctionType, BuiltinOperator, MirrorPadMode, StridedSliceOptions,
};

use super::super::tensor::MAX_RANK;
use super::super::{Fault, MAX_BYTES};
use super::{Graph, Wiring};

/// Of what grows: of a picture, more than can be borne.
const MAX_SIDE: usize = 1 << 12;
/// Place of an option that tract's schema does not know yet: ends are counted from where slices begin.
const STRIDED_SLICE_OFFSET: u16 = 14;

/// How operators of this kind are wired.
pub fn wiring(kind: BuiltinOperator) -> Option<Wiring> {
    Some(match kind {
        BuiltinOperator::TRANSPOSE => |graph| graph.transpose(),
        BuiltinOperator::SLICE => |graph| graph.slice(),
        BuiltinOperator::STRIDED_SLICE => |graph| graph.strided_slice(),
        BuiltinOperator::SPLIT => |graph| graph.split(),
        BuiltinOperator::SPLIT_V => |graph| graph.split_by_sizes(),
        BuiltinOperator::UNPACK => |graph| graph.unpack(),
        BuiltinOperator::PACK => |graph| graph.pack(),
        BuiltinOperator::CONCATENATION => |graph| graph.concatenation(),
        BuiltinOperator::PAD | BuiltinOperator::PADV2 => |graph| graph.pad(),
        BuiltinOperator::MIRROR_PAD => |graph| graph.mirror(),
        BuiltinOperator::REVERSE_V2 => |graph| graph.reverse(),
        BuiltinOperator::BROADCAST_TO => |graph| graph.broadcast(),
        BuiltinOperator::TILE => |graph| graph.tile(),
        BuiltinOperator::GATHER => |graph| graph.gather(),
        BuiltinOperator::DEPTH_TO_SPACE => |graph| graph.depth_to_space(),
        BuiltinOperator::SPACE_TO_DEPTH => |graph| graph.space_to_depth(),
        BuiltinOperator::RESIZE_NEAREST_NEIGHBOR => |graph| graph.resized_coarsely(),
        BuiltinOperator::BATCH_TO_SPACE_ND => |graph| graph.blocks_to_space(),
        _ => return None,
    })
}

/// What a STRIDED_SLICE takes of an axis.
#[derive(Clone)]
struct Stride {
    /// The first of an axis, or the last where it goes backwards, if there is none.
    begin: Option<i32>,
    /// Behind the last, or before the first, if there is none.
    end: Option<i32>,
    step: i32,
    /// Whether it takes one, and no axis of it is left.
    is_one: bool,
}

impl Stride {
    const WHOLE: Self = Self { begin: None, end: None, step: 1, is_one: false };

    /// The places it takes; `has_offset` says that ends are counted from where it begins.
    fn places(&self, side: i64, has_offset: bool) -> impl Iterator<Item = i64> + use<> {
        let step = i64::from(self.step);
        // Backwards it ends before the first.
        let [least, most] = if step > 0 { [0, side] } else { [-1, side - 1] };
        let [first, last] = if step > 0 { [0, side] } else { [side - 1, -1] };
        let place = |number: i64| (number + if number < 0 { side } else { 0 }).clamp(least, most);
        let from = self.begin.map_or(first, |begin| place(begin.into()));
        let offset = if has_offset { from } else { 0 };
        let to = match self.end {
            _ if self.is_one => from + 1,
            None => last,
            Some(end) => place(i64::from(end) + offset),
        };
        let count = ((to - from) / step.signum()).max(0).unsigned_abs();
        let count = count.div_ceil(step.unsigned_abs()) as i64;
        (0..count).map(move |i| from + i * step)
    }
}

impl Graph<'_, '_, '_> {
    fn transpose(&mut self) -> Result<OutletId, Fault> {
        let x = self.input(0)?;
        let axes = self.axes(&self.operator.numbers(1)?, self.shape(x)?.len())?;
        self.permuted(x, &axes)
    }

    fn permuted(&mut self, mut x: OutletId, axes: &[usize]) -> Result<OutletId, Fault> {
        let rank = self.shape(x)?.len();
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        self.ensure(sorted.iter().copied().eq(0..rank), || format!("has axes {axes:?}"))?;
        for op in perm_to_ops(axes) {
            x = self.node(op, &[x])?;
        }
        Ok(x)
    }

    /// From these places on, so much, or all that is left.
    fn slice(&mut self) -> Result<OutletId, Fault> {
        let (mut x, begin) = (self.input(0)?, self.sizes(1)?);
        let (sizes, shape) = (self.operator.numbers(2)?, self.shape(x)?);
        let lens = [begin.len(), sizes.len()];
        self.ensure(lens == [shape.len(); 2], || format!("has {lens:?} numbers of {shape:?}"))?;
        for (axis, (&begin, &size)) in begin.iter().zip(&sizes).enumerate() {
            let rest = shape[axis].saturating_sub(begin);
            x = self.cut(x, axis, begin, usize::try_from(size).unwrap_or(rest))?;
        }
        Ok(x)
    }

    /// So much of an axis.
    fn cut(
        &mut self,
        x: OutletId,
        axis: usize,
        begin: usize,
        size: usize,
    ) -> Result<OutletId, Fault> {
        let side = self.shape(x)?.get(axis).copied().unwrap_or(0);
        let end = begin.checked_add(size).filter(|end| *end <= side && size > 0);
        let end = end.ok_or_else(|| self.fault(format!("takes {size} from {begin} on of {side}")));
        let (start, end) = (begin.to_dim(), end?.to_dim());
        self.node(Slice { axis, start, end }, &[x])
    }

    fn strided_slice(&mut self) -> Result<OutletId, Fault> {
        let options = self.operator.table.builtin_options_as_strided_slice_options();
        let options = options.ok_or_else(|| self.fault("has no options of its kind"))?;
        let has_offset = options._tab.vtable().get(STRIDED_SLICE_OFFSET) != 0;
        let x = self.input(0)?;
        let (mut x, strides) = self.strides(x, &options)?;
        let shape = self.shape(x)?;
        self.ensure(strides.len() == shape.len(), || {
            format!("has {} slices of {shape:?}", strides.len())
        })?;
        for (axis, stride) in strides.iter().enumerate() {
            // One is taken by a step forward, as in TensorFlow; LiteRT takes others by one back.
            let is_sound = if stride.is_one { stride.step > 0 } else { stride.step != 0 };
            self.ensure(is_sound, || format!("has a step of {}", stride.step))?;
            x = self.taken(x, axis, stride.places(shape[axis] as i64, has_offset))?;
        }
        for (axis, _) in strides.iter().enumerate().rev().filter(|(_, stride)| stride.is_one) {
            x = self.node(AxisOp::Rm(axis), &[x])?;
        }
        Ok(x)
    }

    /// What is taken of each axis of a value, which gets the axes that are new.
    fn strides(
        &mut self,
        mut x: OutletId,
        options: &StridedSliceOptions,
    ) -> Result<(OutletId, Vec<Stride>), Fault> {
        let [begin, end, steps] = [1, 2, 3].map(|i| self.operator.numbers(i));
        let (begin, end, steps) = (begin?, end?, steps?);
        let lens = [begin.len(), end.len(), steps.len()];
        let alike = lens == [lens[0]; 3] && lens[0] <= MAX_RANK;
        self.ensure(alike, || format!("has {lens:?} numbers"))?;
        let is_set = |mask: i32, i: usize| mask >> i & 1 == 1;
        let is_new = |i: usize| is_set(options.new_axis_mask(), i);
        let mut strides = Vec::new();
        for i in 0..lens[0] {
            let rank = self.shape(x)?.len();
            if is_set(options.ellipsis_mask(), i) {
                let after = (i + 1..lens[0]).filter(|&i| !is_new(i)).count();
                let whole = rank.saturating_sub(strides.len() + after);
                // LiteRT loses count.
                self.ensure(whole > 0, || "has an ellipsis for no axis".into())?;
                strides.resize(strides.len() + whole, Stride::WHOLE);
            } else if is_new(i) {
                self.ensure(strides.len() <= rank, || format!("has {lens:?} numbers"))?;
                x = self.node(AxisOp::Add(strides.len()), &[x])?;
                strides.push(Stride::WHOLE);
            } else {
                strides.push(Stride {
                    begin: (!is_set(options.begin_mask(), i)).then_some(begin[i]),
                    end: (!is_set(options.end_mask(), i)).then_some(end[i]),
                    step: steps[i],
                    is_one: is_set(options.shrink_axis_mask(), i),
                });
            }
        }
        let rank = self.shape(x)?.len();
        strides.resize(strides.len().max(rank), Stride::WHOLE);
        Ok((x, strides))
    }

    /// These places of an axis.
    fn taken(
        &mut self,
        x: OutletId,
        axis: usize,
        places: impl Iterator<Item = i64>,
    ) -> Result<OutletId, Fault> {
        let (shape, places) = (self.shape(x)?, places.collect::<Vec<_>>());
        let side = shape[axis] as i64;
        let inside = places.iter().all(|place| (0..side).contains(place)) && !places.is_empty();
        self.ensure(inside, || format!("takes places {places:?} of {side}"))?;
        if places.iter().copied().eq(0..side) {
            return Ok(x);
        }
        let places = self.hold(tensor1(&places))?;
        self.node(Gather::new(axis), &[x, places])
    }

    fn reverse(&mut self) -> Result<OutletId, Fault> {
        let mut x = self.input(0)?;
        let shape = self.shape(x)?;
        for axis in self.axes(&self.operator.numbers(1)?, shape.len())? {
            x = self.taken(x, axis, (0..shape[axis] as i64).rev())?;
        }
        Ok(x)
    }

    /// One of several pieces of a size.
    fn split(&mut self) -> Result<OutletId, Fault> {
        let (axis, x) = (self.operator.numbers(0)?, self.input(1)?);
        let axis = self.only_axis(&axis, x)?;
        let (side, pieces) = (self.shape(x)?[axis], self.operator.outputs());
        self.ensure(side.is_multiple_of(pieces), || format!("splits {side} into {pieces}"))?;
        self.cut(x, axis, self.operator.nth * (side / pieces), side / pieces)
    }

    /// One of several of these sizes, of which one may be what is left.
    fn split_by_sizes(&mut self) -> Result<OutletId, Fault> {
        let (x, sizes, axis) =
            (self.input(0)?, self.operator.numbers(1)?, self.operator.numbers(2)?);
        let (axis, nth) = (self.only_axis(&axis, x)?, self.operator.nth);
        let side = self.shape(x)?[axis];
        let known: i64 = sizes.iter().map(|&size| i64::from(size.max(0))).sum();
        let rest = usize::try_from(side as i64 - known);
        let rest = rest.map_err(|_| self.fault(format!("splits {side} into {sizes:?}")))?;
        let sizes: Vec<usize> =
            sizes.iter().map(|&size| usize::try_from(size).unwrap_or(rest)).collect();
        let fits = sizes.len() == self.operator.outputs() && sizes.iter().sum::<usize>() == side;
        self.ensure(fits, || format!("splits {side} into {sizes:?}"))?;
        self.cut(x, axis, sizes.iter().take(nth).sum(), sizes[nth])
    }

    fn only_axis(&self, axes: &[i32], of: OutletId) -> Result<usize, Fault> {
        let [axis] = axes else { return Err(self.fault(format!("has axes {axes:?}"))) };
        self.axis(*axis, self.shape(of)?.len())
    }

    /// One of an axis.
    fn unpack(&mut self) -> Result<OutletId, Fault> {
        let options = self.operator.table.builtin_options_as_unpack_options();
        let x = self.input(0)?;
        let axis = self.axis(options.map_or(0, |o| o.axis()), self.shape(x)?.len())?;
        let (side, pieces) = (self.shape(x)?[axis], self.operator.outputs());
        self.ensure(side == pieces, || format!("unpacks {side} into {pieces}"))?;
        let one = self.cut(x, axis, self.operator.nth, 1)?;
        self.node(AxisOp::Rm(axis), &[one])
    }

    fn pack(&mut self) -> Result<OutletId, Fault> {
        let options = self.operator.table.builtin_options_as_pack_options();
        let axis = self.axis(options.map_or(0, |o| o.axis()), self.rank())?;
        let mut wires = Vec::new();
        for i in 0..self.operator.inputs.len() {
            let x = self.input(i)?;
            self.ensure(self.shape(x)?.len() >= axis, || format!("has no axis {axis}"))?;
            wires.push(self.node(AxisOp::Add(axis), &[x])?);
        }
        self.joined(axis, &wires)
    }

    fn concatenation(&mut self) -> Result<OutletId, Fault> {
        let options = self.operator.table.builtin_options_as_concatenation_options();
        let plain = |function| function == ActivationFunctionType::NONE;
        let options = options.filter(|o| plain(o.fused_activation_function()));
        let options = options.ok_or_else(|| self.fault("has options that are not understood"))?;
        let axis = self.axis(options.axis(), self.rank())?;
        let wires = (0..self.operator.inputs.len()).map(|i| self.input(i));
        let wires = wires.collect::<Result<Vec<_>, _>>()?;
        self.joined(axis, &wires)
    }

    fn joined(&mut self, axis: usize, wires: &[OutletId]) -> Result<OutletId, Fault> {
        let first = wires.first().ok_or_else(|| self.fault("has no inputs"))?;
        let first = self.shape(*first)?;
        for &wire in wires {
            let shape = self.shape(wire)?;
            let others = |i: &usize| *i != axis;
            let alike = axis < first.len()
                && shape.len() == first.len()
                && (0..first.len()).filter(others).all(|i| shape[i] == first[i]);
            self.ensure(alike, || format!("joins {shape:?} to {first:?}"))?;
        }
        self.node(TypedConcat::new(axis), wires)
    }

    /// With zeros, or another constant.
    fn pad(&mut self) -> Result<OutletId, Fault> {
        let x = self.input(0)?;
        let pads = self.margins(x)?;
        let number = match self.operator.kind {
            BuiltinOperator::PAD => tensor0(self.operator.y().code().zero_point),
            _ => {
                let number = self.constant(2)?;
                self.keeps_code(2)?;
                self.ensure(number.len() == 1, || "pads by several numbers".into())?;
                self.told(number.into_shape(&[]))?
            }
        };
        let mode = PadMode::Constant(number.into_arc_tensor());
        self.node(Pad { pads, mode }, &[x])
    }

    /// With what lies beside the edge, which comes once more if it is SYMMETRIC.
    fn mirror(&mut self) -> Result<OutletId, Fault> {
        let options = self.operator.table.builtin_options_as_mirror_pad_options();
        let once_more = options.is_some_and(|o| o.mode() == MirrorPadMode::SYMMETRIC) as i64;
        let mut x = self.input(0)?;
        let (shape, margins) = (self.shape(x)?, self.margins(x)?);
        let reaches = margins.iter().zip(&shape).all(|((a, b), side)| a.max(b) <= side);
        self.ensure(reaches, || format!("mirrors {margins:?} of {shape:?}"))?;
        for (axis, (before, after)) in margins.into_iter().enumerate() {
            let [side, before, after] = [shape[axis], before, after].map(|n| n as i64);
            let left = (0..before).rev().map(|i| i + 1 - once_more);
            let right = (0..after).map(|i| side - 2 - i + once_more);
            x = self.taken(x, axis, left.chain(0..side).chain(right))?;
        }
        Ok(x)
    }

    /// Before and after each axis.
    fn margins(&self, x: OutletId) -> Result<Vec<(usize, usize)>, Fault> {
        let (shape, numbers) = (self.shape(x)?, self.sizes(1)?);
        let margins: Vec<_> = numbers.as_chunks().0.iter().map(|&[a, b]| (a, b)).collect();
        let bearable =
            margins.len() == shape.len() && numbers.iter().all(|margin| *margin <= MAX_BYTES);
        self.ensure(bearable, || format!("pads {shape:?} by {numbers:?}"))?;
        Ok(margins)
    }

    fn broadcast(&mut self) -> Result<OutletId, Fault> {
        let (x, y) = (self.input(0)?, self.sizes(1)?);
        let x = self.of_rank(x, y.len())?;
        let shape = self.shape(x)?;
        let fits = shape.len() == y.len() && shape.iter().zip(&y).all(|(a, b)| a == b || *a == 1);
        self.ensure(fits, || format!("makes {y:?} of {shape:?}"))?;
        self.node(MultiBroadcastTo { shape: y.iter().map(ToDim::to_dim).collect() }, &[x])
    }

    fn tile(&mut self) -> Result<OutletId, Fault> {
        let (x, times) = (self.input(0)?, self.sizes(1)?);
        let shape = self.shape(x)?;
        let bearable = times.len() == shape.len() && times.iter().all(|times| *times <= MAX_BYTES);
        self.ensure(bearable, || format!("repeats {shape:?} {times:?} times"))?;
        self.node(Tile { multipliers: times.iter().map(ToDim::to_dim).collect() }, &[x])
    }

    fn gather(&mut self) -> Result<OutletId, Fault> {
        let options = self.operator.table.builtin_options_as_gather_options();
        let options = options.filter(|options| options.batch_dims() == 0);
        let options = options.ok_or_else(|| self.fault("has options that are not understood"))?;
        let (x, places) = (self.input(0)?, self.sizes(1)?);
        let shape = self.shape(x)?;
        let axis = self.axis(options.axis(), shape.len())?;
        let inside = places.iter().all(|place| *place < shape[axis]);
        self.ensure(inside, || format!("takes places {places:?} of {}", shape[axis]))?;
        let places: Vec<i64> = places.iter().map(|place| *place as i64).collect();
        let places = Tensor::from_shape(&self.operator.tensor(1)?.shape, &places);
        let places = self.told(places)?;
        let places = self.hold(places)?;
        self.node(Gather::new(axis), &[x, places])
    }

    fn depth_to_space(&mut self) -> Result<OutletId, Fault> {
        let options = self.operator.table.builtin_options_as_depth_to_space_options();
        let (x, block) = (self.input(0)?, options.map_or(0, |o| o.block_size()));
        let ([height, width, channels], block) = self.blocks(x, block)?;
        self.ensure(channels.is_multiple_of(block * block), || format!("has {channels} channels"))?;
        let channels = channels / block / block;
        let parted = [1, height, width, block, block, channels];
        let joined = [1, height * block, width * block, channels];
        self.rearranged(x, &parted, &[0, 1, 3, 2, 4, 5], &joined)
    }

    fn space_to_depth(&mut self) -> Result<OutletId, Fault> {
        let options = self.operator.table.builtin_options_as_space_to_depth_options();
        let (x, block) = (self.input(0)?, options.map_or(0, |o| o.block_size()));
        let ([height, width, channels], block) = self.blocks(x, block)?;
        let fits = height.is_multiple_of(block) && width.is_multiple_of(block);
        self.ensure(fits, || format!("parts {height}×{width} by {block}"))?;
        let parted = [1, height / block, block, width / block, block, channels];
        let joined = [1, height / block, width / block, block * block * channels];
        self.rearranged(x, &parted, &[0, 1, 3, 2, 4, 5], &joined)
    }

    /// Cuts sides off, as convolutions between blocks are run without making such.
    fn blocks_to_space(&mut self) -> Result<OutletId, Fault> {
        let (value, axes) = self.operator.joined_blocks()?;
        let mut x = self.read(value, axes.clone())?;
        // Axes before the channels, from the last on.
        let cut = self.operator.sides(2)?.by_axis();
        for (axis, [before, after]) in (1..axes.len() - 1).rev().zip(cut.into_iter().rev()) {
            x = self.cut(x, axis, before, axes[axis].saturating_sub(before + after))?;
        }
        Ok(x)
    }

    fn blocks(&self, x: OutletId, block: i32) -> Result<([usize; 3], usize), Fault> {
        let block = usize::try_from(block).ok().filter(|block| (1..=64).contains(block));
        match (&self.shape(x)?[..], block) {
            (&[1, height, width, channels], Some(block)) => Ok(([height, width, channels], block)),
            (shape, _) => Err(self.fault(format!("parts {shape:?}"))),
        }
    }

    /// The nearest of the pixels, by TensorFlow Lite's arithmetic.
    fn resized_coarsely(&mut self) -> Result<OutletId, Fault> {
        let options = self.operator.table.builtin_options_as_resize_nearest_neighbor_options();
        let (corners, half) =
            options.map_or((true, true), |o| (o.align_corners(), o.half_pixel_centers()));
        let (mut x, sides) = (self.input(0)?, self.sizes(1)?);
        let shape = self.shape(x)?;
        let fits = shape.len() == 4 && sides.len() == 2 && !(corners && half);
        let bearable = fits && sides.iter().all(|side| (1..=MAX_SIDE).contains(side));
        self.ensure(bearable, || format!("makes {sides:?} of {shape:?}"))?;
        for (axis, &to) in [1, 2].into_iter().zip(&sides) {
            let from = shape[axis];
            let scale = match corners && to > 1 {
                true => (from - 1) as f32 / (to - 1) as f32,
                false => from as f32 / to as f32,
            };
            let nearest = move |i: usize| {
                let at = (i as f32 + if half { 0.5 } else { 0.0 }) * scale;
                let at = if corners { at.round() } else { at.floor() };
                (at as i64).clamp(0, from as i64 - 1)
            };
            x = self.taken(x, axis, (0..to).map(nearest))?;
        }
        Ok(x)
    }

    /// Parted into more axes, these in another order, and joined into others.
    fn rearranged(
        &mut self,
        x: OutletId,
        parted: &[usize],
        axes: &[usize],
        joined: &[usize],
    ) -> Result<OutletId, Fault> {
        let parted = self.reshaped(x, parted)?;
        let permuted = self.permuted(parted, axes)?;
        self.reshaped(permuted, joined)
    }

    fn reshaped(&mut self, x: OutletId, to: &[usize]) -> Result<OutletId, Fault> {
        let from = self.shape(x)?;
        let len = |shape: &[usize]| shape.iter().product::<usize>();
        self.ensure(len(&from) == len(to), || format!("makes {to:?} of {from:?}"))?;
        let [from, to] = [&from[..], to].map(|shape| shape.iter().map(ToDim::to_dim).collect());
        self.node(AxisOp::Reshape(0, from, to), &[x])
    }
}
