//! The backward pass of [`BurnExecutor`].

use burn_tensor::Tensor;
use burn_tensor::backend::Backend;

use super::windowed::Windowed;
use super::{BurnExecutor, Saved, Value, batch_sum, fetch};
use crate::lab::device::DeviceError;
use crate::lab::executor::{BETA, GAMMA, Weights};
use crate::lab::network::Op;

/// A weight's gradient: node, tensor, elements.
type Gradient<B> = (usize, usize, Tensor<B, 1>);

impl<B: Backend> BurnExecutor<B> {
    /// Writes into `gradients` what the last forward pass and `dlogits` [n, 9] give, and lets go
    /// of that pass's values.
    pub(super) fn run_backward(
        &mut self,
        dlogits: &[f32],
        gradients: &mut Weights,
    ) -> Result<(), DeviceError> {
        let Some(logits) = self.values.last() else { return Ok(()) };
        let mut pending: Vec<Option<Value<B>>> = vec![None; self.values.len()];
        let dlogits = self.send(dlogits.to_vec(), logits.dims());
        *pending.last_mut().expect("there are values") = Some(dlogits);
        let mut found: Vec<Gradient<B>> = Vec::new();
        for index in (1..self.values.len()).rev() {
            let Some(dy) = pending[index].take() else { continue };
            self.node_backward(index, dy, &mut found, &mut pending);
            self.values.truncate(index);
        }
        self.saved.clear();
        let flat = Tensor::cat(found.iter().map(|(_, _, tensor)| tensor.clone()).collect(), 0);
        let flat = fetch(flat)?;
        let mut rest = &flat[..];
        for (node, tensor, _) in found {
            let target = &mut gradients.0[node][tensor];
            let (elements, after) = rest.split_at(target.len());
            target.copy_from_slice(elements);
            rest = after;
        }
        Ok(())
    }

    /// One node's share: `dy` is its value's gradient.
    fn node_backward(
        &self,
        index: usize,
        dy: Value<B>,
        found: &mut Vec<Gradient<B>>,
        pending: &mut [Option<Value<B>>],
    ) {
        let node = &self.graph.nodes[index];
        let input = node.inputs[0];
        let x = self.values[input].clone();
        match (node.op, &self.saved[index]) {
            (Op::Conv { relu, .. } | Op::Depthwise { relu, .. }, _) => {
                let dy = self.through_relu(index, dy, relu);
                let windowed = Windowed::of(&self.graph, index);
                let weight = &self.weights[index][0];
                let dweight =
                    windowed.convolve_backward_weight(x.clone(), weight.clone(), dy.clone());
                found.push((index, 0, dweight));
                if self.weights[index].len() > 1 {
                    found.push((index, 1, batch_sum(dy.clone())));
                }
                if input != 0 {
                    let dx = windowed.convolve_backward_input(x, weight.clone(), dy);
                    hand_on(&mut pending[input], dx);
                }
            }
            (Op::BatchNorm { relu }, Saved::Norm { mean, inverse }) => {
                let dy = self.through_relu(index, dy, relu);
                let unit = (x - mean.clone()) * inverse.clone();
                let [n, height, width, channels] = unit.dims();
                let dgamma = batch_sum(dy.clone() * unit.clone());
                let dbeta = batch_sum(dy.clone());
                let per_value = |sum: &Tensor<B, 1>| {
                    sum.clone().reshape([1, 1, 1, channels]) / (n * height * width) as f32
                };
                let scale = self.norm_tensor(index, GAMMA) * inverse.clone();
                let dx = (dy - per_value(&dbeta) - unit * per_value(&dgamma)) * scale;
                found.extend([(index, GAMMA, dgamma), (index, BETA, dbeta)]);
                hand_on(&mut pending[input], dx);
            }
            (Op::MaxPool, Saved::MaxPool(positions)) => {
                let windowed = Windowed::of(&self.graph, index);
                let dx = windowed.max_pool_backward(x, positions.clone(), dy);
                hand_on(&mut pending[input], dx);
            }
            (Op::Add { relu }, _) => {
                let dy = self.through_relu(index, dy, relu);
                hand_on(&mut pending[input], dy.clone());
                hand_on(&mut pending[node.inputs[1]], dy);
            }
            (Op::Dropout { .. }, Saved::Dropout(mask)) => {
                hand_on(&mut pending[input], dy * mask.clone());
            }
            (Op::FakeQuant(code), _) => {
                let [low, high] = code.reach();
                let beyond = x.clone().lower_elem(low).bool_or(x.greater_elem(high));
                hand_on(&mut pending[input], dy.mask_fill(beyond, 0.0));
            }
            (Op::GlobalAveragePool, _) => {
                let [_, height, width, _] = x.dims();
                let dx = (dy / (height * width) as f32).expand(x.dims());
                hand_on(&mut pending[input], dx);
            }
            (op, _) => unreachable!("{}, {op:?}, was not run forward", node.name),
        }
    }

    /// `dy` where the ReLU behind value `index` let it through.
    fn through_relu(&self, index: usize, dy: Value<B>, relu: bool) -> Value<B> {
        if !relu {
            return dy;
        }
        dy.mask_fill(self.values[index].clone().lower_equal_elem(0.0), 0.0)
    }
}

/// Adds `dx` to what a value has gathered so far.
fn hand_on<B: Backend>(pending: &mut Option<Value<B>>, dx: Value<B>) {
    *pending = Some(match pending.take() {
        Some(sum) => sum + dx,
        None => dx,
    });
}
