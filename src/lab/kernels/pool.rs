//! Max pooling 3×3/2 and global average pooling.

use super::Window;

/// Maximum under each window, and in `taps` which tap (`ky * 3 + kx`, the first one) held it.
pub fn max_forward(window: &Window, x: &[f32], y: &mut [f32], taps: &mut [u8]) {
    let [height, width, channels] = window.output;
    let input_row = window.input[1] * channels;
    let pictures = y.chunks_exact_mut(window.output_len());
    let pictures = pictures.zip(taps.chunks_exact_mut(window.output_len()));
    for ((y, taps), x) in pictures.zip(x.chunks_exact(window.input_len())) {
        y.fill(f32::NEG_INFINITY);
        for pixel in 0..height * width {
            let (rows, columns) = (window.rows(pixel / width), window.columns(pixel % width));
            let at = pixel * channels..(pixel + 1) * channels;
            let (y, taps) = (&mut y[at.clone()], &mut taps[at]);
            for ky in rows.first..rows.end {
                for kx in columns.first..columns.end {
                    let row = (rows.start + ky - rows.first) * input_row;
                    let x = &x[row + (columns.start + kx - columns.first) * channels..][..channels];
                    let tap = (ky * window.kernel + kx) as u8;
                    for ((y, t), &x) in y.iter_mut().zip(taps.iter_mut()).zip(x) {
                        *t = if x > *y { tap } else { *t };
                        *y = if x > *y { x } else { *y };
                    }
                }
            }
        }
    }
}

/// Adds each output's gradient to the input that held the maximum.
pub fn max_backward(window: &Window, dy: &[f32], taps: &[u8], dx: &mut [f32]) {
    let [height, width, channels] = window.output;
    let pictures = dx.chunks_exact_mut(window.input_len());
    let outputs = dy.chunks_exact(window.output_len()).zip(taps.chunks_exact(window.output_len()));
    for (dx, (dy, taps)) in pictures.zip(outputs) {
        for pixel in 0..height * width {
            let (rows, columns) = (window.rows(pixel / width), window.columns(pixel % width));
            for c in 0..channels {
                let tap = usize::from(taps[pixel * channels + c]);
                let y = rows.start + tap / window.kernel - rows.first;
                let x = columns.start + tap % window.kernel - columns.first;
                dx[(y * window.input[1] + x) * channels + c] += dy[pixel * channels + c];
            }
        }
    }
}

/// Mean over each picture's pixels.
pub fn average_forward(channels: usize, pixels: usize, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(pixels * channels)) {
        y.fill(0.0);
        for pixel in x.chunks_exact(channels) {
            y.iter_mut().zip(pixel).for_each(|(y, x)| *y += x);
        }
        y.iter_mut().for_each(|y| *y /= pixels as f32);
    }
}

/// Deals each picture's gradient out to its pixels.
pub fn average_backward(channels: usize, pixels: usize, dy: &[f32], dx: &mut [f32]) {
    for (dy, dx) in dy.chunks_exact(channels).zip(dx.chunks_exact_mut(pixels * channels)) {
        for pixel in dx.chunks_exact_mut(channels) {
            pixel.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = dy / pixels as f32);
        }
    }
}
