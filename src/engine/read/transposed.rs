//! Transposed convolutions, each pixel of whose input adds a window to the output: the same as a
//! convolution, its taps turned around, of the input with zeros between its pixels.

use super::super::window::{Margins, Padding, Window};
use super::Fault;
use super::filter::Form;
use super::operator::{Operator, Picture};
use super::sliding::{self, Sliding};
use super::tensor::Tensor;

/// The convolution that it is.
pub fn form(operator: &Operator, weights: &Tensor) -> Result<Form, Fault> {
    operator.has_four_axes(2)?;
    let Picture { shape: small, .. } = operator.picture(2)?;
    let large = operator.numbers(0)?;
    let misfit =
        || operator.fault(format!("makes {large:?} of {small:?} by weights {:?}", weights.shape));
    let shape @ [_, height, width, channels] =
        weights.shape[..].try_into().map_err(|_| misfit())?;
    let forward = sliding::of_transposed(&operator.table, [height, width]);
    let Sliding { window: forward, activation, .. } = forward.map_err(|why| operator.fault(why))?;
    let [kernel, stride] = [forward.kernel, forward.stride];
    // LiteRT rounds others otherwise.
    operator.ensure((0..2).all(|i| kernel[i] >= stride[i]), || {
        format!("has a window of {kernel:?}, less than its stride, {stride:?}")
    })?;
    let sides = match large[..] {
        [1, height, width, _] => [height, width].map(|side| usize::try_from(side).unwrap_or(0)),
        _ => [0; 2],
    };
    let fits = forward.output(sides).is_some_and(|to| to == small[..2]) && channels == small[2];
    let margins = fits.then(|| margins(&forward, sides, [small[0], small[1]])).flatten();
    let padding = Padding::Explicit(margins.ok_or_else(misfit)?);
    let window = Window { kernel, stride: [1, 1], padding };
    let Picture { input, shape: x, .. } = operator.spaced(2, stride)?;
    let sliding = Sliding { window, dilation: [1, 1], activation };
    Ok(Form { input, x, shape, sliding, depthwise: false, blocks: None })
}

/// Around the small picture, its pixels apart, for the window that `forward` slides over the large one to
/// make it: wherever a tap of one was, one of the other comes to lie.
fn margins(forward: &Window, large: [usize; 2], small: [usize; 2]) -> Option<Margins> {
    let of_forward = forward.margins(large).by_axis();
    let axis = |i: usize| {
        let (kernel, apart) = (forward.kernel[i], (small[i] - 1) * forward.stride[i] + 1);
        let before = kernel.checked_sub(1 + of_forward[i][0])?;
        let after = (large[i] + kernel).checked_sub(1 + before + apart)?;
        Some([before, after])
    };
    let ([top, bottom], [left, right]) = axis(0).zip(axis(1))?;
    Some(Margins { top, bottom, left, right })
}

/// The last tap first, of weights `[out, height, width, in]`.
pub fn turn_taps(weights: &mut [i8], [_, height, width, channels]: [usize; 4]) {
    for filter in weights.chunks_exact_mut(height * width * channels) {
        filter.reverse();
        for tap in filter.chunks_exact_mut(channels) {
            tap.reverse();
        }
    }
}
