//! Near-duplicates among faces: the same photograph cut out anew, scaled, recompressed, stamped
//! with another watermark, or mirrored. FER2013 has thousands.
//!
//! Two steps. A perceptual hash finds candidates: the signs of the 63 lowest coefficients of a
//! cosine transform (pHash, Zauner 2010), of which a mirrored picture flips the odd ones. All
//! faces are alike at that coarseness, so a candidate is held to the pictures' details: their
//! correlation, at the best shift by a few pixels.
//!
//! Integers only: every machine finds the same duplicates.
//!
//! Measured on FER2013's 32,137 Training and PublicTest faces: [`MIN_SIMILARITY`] lies in the gap
//! between pairs of one photograph (most above 0.9) and of two alike people (most below 0.65); of
//! pairs looked at, those from 0.7 to 0.75 mix both kinds, those above 0.8 were all of one
//! photograph. A face is missed if it differs from each of its copies in more than
//! [`MAX_DISTANCE`] bits: one in twenty of those with a copy, by the trend from 8 to 12 bits, while
//! the pairs to compare double with each bit.

use std::sync::LazyLock;

use multiversion::multiversion;
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use crate::face::FACE_SIDE;
use crate::image::Grey;

/// Hashes of candidates differ in at most so many bits.
pub const MAX_DISTANCE: u32 = 12;
/// Details of duplicates correlate at least so much.
pub const MIN_SIMILARITY: f64 = 0.8;
/// Farthest shift of one picture against the other, in pixels along each axis.
const MAX_SHIFT_PX: usize = 3;

/// Coefficients along each axis of the hash's cosine transform.
const FREQUENCIES: usize = 8;
/// Bits of the coefficients that change sign when the picture is mirrored.
const ODD_COLUMNS: u64 = 0xAAAA_AAAA_AAAA_AAAA;

/// For each of the 48×48 `faces` the index of the first one of its group. Faces are of one group
/// if a chain of near-duplicates joins them.
pub fn groups(faces: &[&Grey]) -> Vec<usize> {
    let hashes: Vec<u64> = faces.par_iter().map(|face| hash(face.view())).collect();
    let details: Vec<Array2<i16>> = faces.par_iter().map(|face| details(face)).collect();
    let alike = |a: usize, b: usize| {
        let differing = hashes[a] ^ hashes[b];
        let upright = || best_correlation(&details[a], &details[b]);
        let mirrored = || best_correlation(&details[a], &mirrored(&details[b]));
        (is_near(differing) && upright() >= MIN_SIMILARITY)
            || (is_near(differing ^ ODD_COLUMNS) && mirrored() >= MIN_SIMILARITY)
    };
    let pairs: Vec<(usize, usize)> = (0..faces.len())
        .into_par_iter()
        .flat_map_iter(|a| {
            let near = positions_near(hashes[a], &hashes[a + 1..]);
            near.into_iter().map(move |b| (a, a + 1 + b))
        })
        .filter(|(a, b)| alike(*a, *b))
        .collect();
    let mut group: Vec<usize> = (0..faces.len()).collect();
    for (a, b) in pairs {
        let (a, b) = (first_of(&mut group, a), first_of(&mut group, b));
        group[a.max(b)] = a.min(b);
    }
    (0..faces.len()).map(|face| first_of(&mut group, face)).collect()
}

/// Follows `group` to the first face, shortening the way for the next time.
fn first_of(group: &mut [usize], mut face: usize) -> usize {
    while group[face] != face {
        group[face] = group[group[face]];
        face = group[face];
    }
    face
}

/// Positions of the hashes that are near to `hash`, or to that of its mirror image.
#[multiversion(targets("x86_64+popcnt"))]
fn positions_near(hash: u64, others: &[u64]) -> Vec<usize> {
    let is_candidate = |other: &u64| is_near(hash ^ other) || is_near(hash ^ other ^ ODD_COLUMNS);
    others.iter().enumerate().filter(|(_, other)| is_candidate(other)).map(|(i, _)| i).collect()
}

/// Whether two hashes that differ in these bits are near.
#[inline(always)]
fn is_near(differing: u64) -> bool {
    differing.count_ones() <= MAX_DISTANCE
}

/// Perceptual hash of a 48×48 face: bit `8 v + u` is set if its coefficient of `v` half-waves
/// downwards and `u` to the right is above 0. The mean's bit, 0, stays clear.
fn hash(face: ArrayView2<u8>) -> u64 {
    /// `WAVES[[u, x]]` is `1024 cos(π u (x + ½) / 48)`, to the nearest integer.
    static WAVES: LazyLock<Array2<i64>> = LazyLock::new(|| {
        Array2::from_shape_fn((FREQUENCIES, FACE_SIDE), |(u, x)| {
            let phase = std::f64::consts::PI * u as f64 * (x as f64 + 0.5) / FACE_SIDE as f64;
            (1024.0 * phase.cos()).round() as i64
        })
    });
    let face = face.map(|&pixel| i64::from(pixel));
    let coefficients = WAVES.dot(&face).dot(&WAVES.t());
    let bits = coefficients.iter().enumerate().skip(1);
    bits.fold(0, |hash, (i, coefficient)| hash | u64::from(*coefficient > 0) << i)
}

fn mirrored(details: &Array2<i16>) -> Array2<i16> {
    details.slice(s![.., ..;-1]).as_standard_layout().into_owned()
}

/// What is finer than about 9 pixels and coarser than 3, in units of 0.4 grey levels: the mean
/// over 3×3 less the mean over 9×9 pixels. Beyond the edge its pixels go on.
fn details(face: &Grey) -> Array2<i16> {
    let fine = box_sums(face, 1);
    let coarse = box_sums(face, 4);
    // Both are 81 means; a 32nd of the difference keeps the sum over 42² squares within 31 bits.
    Array2::from_shape_fn(face.dim(), |at| ((9 * fine[at] - coarse[at]) / 32) as i16)
}

/// Sums over squares of `2 radius + 1` pixels a side.
fn box_sums(face: &Grey, radius: usize) -> Array2<i32> {
    let along_rows = row_sums(&face.map(|&pixel| i32::from(pixel)), radius);
    row_sums(&along_rows.reversed_axes(), radius).reversed_axes()
}

/// Sums over `2 radius + 1` neighbours along each row.
fn row_sums(of: &Array2<i32>, radius: usize) -> Array2<i32> {
    let side = of.ncols();
    let mut sums = Array2::zeros(of.dim());
    for (row, mut sums) in of.rows().into_iter().zip(sums.rows_mut()) {
        let at = |x: usize| row[x.saturating_sub(radius).min(side - 1)];
        let mut sum: i32 = (0..=2 * radius).map(at).sum();
        for x in 0..side {
            sums[x] = sum;
            sum += at(x + 2 * radius + 1) - at(x);
        }
    }
    sums
}

/// The greatest correlation of the middle of `a` with `b` shifted by up to [`MAX_SHIFT_PX`].
fn best_correlation(a: &Array2<i16>, b: &Array2<i16>) -> f64 {
    let shifts = 0..=2 * MAX_SHIFT_PX;
    let shifts = shifts.clone().flat_map(|down| shifts.clone().map(move |right| (down, right)));
    shifts.map(|(down, right)| correlation(a, b, down, right)).fold(-1.0, f64::max)
}

/// Correlation of the middle of `a` with the window of `b` whose corner is at (`down`, `right`).
/// Details have a mean of about 0, which is not taken off.
#[multiversion(targets("x86_64+avx2"))]
fn correlation(a: &Array2<i16>, b: &Array2<i16>, down: usize, right: usize) -> f64 {
    const SIDE: usize = FACE_SIDE - 2 * MAX_SHIFT_PX;
    let (a, b) = (a.as_slice().unwrap_or_default(), b.as_slice().unwrap_or_default());
    let (mut ab, mut aa, mut bb) = (0, 0, 0);
    let rows = a.chunks_exact(FACE_SIDE).skip(MAX_SHIFT_PX);
    for (a, b) in rows.zip(b.chunks_exact(FACE_SIDE).skip(down)).take(SIDE) {
        for (a, b) in a[MAX_SHIFT_PX..][..SIDE].iter().zip(&b[right..][..SIDE]) {
            let (a, b) = (i32::from(*a), i32::from(*b));
            ab += a * b;
            aa += a * a;
            bb += b * b;
        }
    }
    match (aa, bb) {
        (0, 0) => 1.0, // two pictures without details
        _ => f64::from(ab) / (f64::from(aa) * f64::from(bb)).sqrt().max(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Rect, resample};

    /// A picture of blobs, up to 191, as coarse and as fine as a face's.
    fn picture(seed: u64) -> Grey {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut grid = |side| Grey::from_shape_simple_fn((side, side), || random.u8(..));
        let grown = |grid: Grey| {
            let side = grid.nrows() as f32;
            resample(&grid, Rect { x: 0.0, y: 0.0, w: side, h: side }, FACE_SIDE, FACE_SIDE)
        };
        let (coarse, fine) = (grown(grid(4)), grown(grid(12)));
        Grey::from_shape_fn((FACE_SIDE, FACE_SIDE), |at| coarse[at] / 2 + fine[at] / 4)
    }

    #[test]
    fn copies_are_grouped_and_others_are_not() {
        let original = picture(1);
        let darker = original.map(|p| p / 2 + 10);
        let mirrored = original.slice(s![.., ..;-1]).to_owned();
        let shifted = Rect { x: 1.0, y: -1.0, w: 47.5, h: 47.5 };
        let cut_anew = resample(&original, shifted, FACE_SIDE, FACE_SIDE);
        let mut stamped = original.clone();
        stamped.slice_mut(s![40..44, 10..30]).map_inplace(|p| *p += 40);
        let others: Vec<Grey> = (2..40).map(picture).collect();
        let faces = [&original, &darker, &mirrored, &cut_anew, &stamped];
        let faces: Vec<&Grey> = others.iter().chain(faces).collect();
        let expected = (0..others.len()).chain([others.len(); 5]);
        assert_eq!(groups(&faces), expected.collect::<Vec<_>>());
    }

    #[test]
    fn flat_pictures_are_one_group() {
        let (black, white) = (Grey::zeros((48, 48)), Grey::from_elem((48, 48), 255));
        assert_eq!(groups(&[&black, &picture(1), &white]), [0, 1, 0]);
    }

    #[test]
    fn a_mirror_image_differs_in_the_odd_columns_only() {
        let original = picture(3);
        let mirrored = original.slice(s![.., ..;-1]).to_owned();
        assert_eq!(hash(original.view()) ^ hash(mirrored.view()), ODD_COLUMNS);
    }

    #[test]
    fn details_are_differences_of_means() {
        let face = picture(4);
        let mean = |y: usize, x: usize, r: usize| {
            let clamped = |at: usize, by: usize| (at + by).saturating_sub(r).min(FACE_SIDE - 1);
            let square = (0..=2 * r).flat_map(|dy| (0..=2 * r).map(move |dx| (dy, dx)));
            let sum: f32 =
                square.map(|(dy, dx)| f32::from(face[[clamped(y, dy), clamped(x, dx)]])).sum();
            sum / (2 * r + 1).pow(2) as f32
        };
        let details = details(&face);
        for (y, x) in [(0, 0), (47, 47), (0, 20), (10, 46), (24, 24)] {
            let expected = (mean(y, x, 1) - mean(y, x, 4)) * 81.0 / 32.0;
            assert!((f32::from(details[[y, x]]) - expected).abs() <= 1.0, "{y} {x}");
        }
    }
}
