//! Compressed bytes to grey pixels. What is cut off or damaged is an error, never a picture whose
//! rest is filled with grey.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ::image::{ImageFormat, ImageReader, Limits, metadata::Orientation};
use ndarray::{Array2, Axis};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::Grey;
use super::jpeg::{self, Extent};

/// Larger pictures are refused, so that a few hostile bytes can't claim gigabytes of a Pi's
/// memory. The largest Raspberry Pi cameras give 64 million pixels.
const MAX_PIXELS: usize = 80_000_000;
/// Longest side, for the PNG decoder, whose limits are by side.
const MAX_SIDE: u32 = 32_768;

const JPEG_START: [u8; 2] = [0xFF, 0xD8];
const JPEG_END: [u8; 2] = [0xFF, 0xD9];
/// Bytes of ones (escaped as `FF 00`) put before a JPEG's end marker. An intact scan never gets to
/// them. A scan that is cut short, but closed, would else be filled up with zero bits, which
/// decode; a code of ones only is invalid (ITU-T T.81, annex C). More than the decoder's 64 bits
/// of look-ahead.
const FILLER: [u8; 24] = [
    0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, //
    0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0,
];
/// The greatest side a JPEG can state; how much is too much is decided by [`MAX_PIXELS`].
const JPEG_MAX_SIDE: usize = 65_535;

/// Why bytes are no picture.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file can't be read at all.
    #[error("can't read {}: {source}; check the path and its permissions", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The file's content is no intact picture.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: Box<ImageError> },
    /// Neither of the formats this program reads.
    #[error("not a JPEG or PNG picture; convert it to one of these")]
    UnknownFormat,
    /// Cut off, or damaged inside.
    #[error("damaged {format}: {why}; get an intact copy")]
    Damaged { format: &'static str, why: String },
    /// More pixels than this program takes.
    #[error("{width}×{height} pixels are too many; scale it to at most {MAX_PIXELS} in all")]
    TooLarge { width: usize, height: usize },
}

/// Reads a picture file, JPEG or PNG by its content, as grey.
pub fn read(path: &Path) -> Result<Grey, ImageError> {
    let bytes =
        fs::read(path).map_err(|source| ImageError::Read { path: path.to_owned(), source })?;
    decode(&bytes)
        .map_err(|source| ImageError::File { path: path.to_owned(), source: Box::new(source) })
}

/// Decodes a JPEG or PNG picture to grey, turned upright by its Exif orientation if it has one.
///
/// A JPEG's luma is taken as it is (ITU-R BT.601), without a way through RGB.
pub fn decode(bytes: &[u8]) -> Result<Grey, ImageError> {
    if bytes.starts_with(&JPEG_START) {
        decode_jpeg(bytes)
    } else if matches!(::image::guess_format(bytes), Ok(ImageFormat::Png)) {
        decode_png(bytes)
    } else {
        Err(ImageError::UnknownFormat)
    }
}

fn decode_jpeg(bytes: &[u8]) -> Result<Grey, ImageError> {
    let damaged = |why: String| ImageError::Damaged { format: "JPEG", why };
    // Behind its end marker cameras pad a frame with whatever their buffer held.
    let body = match jpeg::extent(bytes) {
        Extent::Complete(length) => &bytes[..length - JPEG_END.len()],
        Extent::Broken { why, .. } => return Err(damaged(why.into())),
        Extent::Open { .. } => {
            return Err(damaged("it is cut off, its end marker is missing".into()));
        }
    };
    let bytes = [body, &FILLER, &JPEG_END].concat();
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(JPEG_MAX_SIDE)
        .set_max_height(JPEG_MAX_SIDE);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&bytes), options);
    decoder.decode_headers().map_err(|e| damaged(e.to_string()))?;
    let (width, height) =
        decoder.dimensions().ok_or_else(|| damaged("it has no frame header".into()))?;
    if width * height > MAX_PIXELS {
        return Err(ImageError::TooLarge { width, height });
    }
    let has_luma = matches!(decoder.input_colorspace(), Some(ColorSpace::YCbCr | ColorSpace::Luma));
    let output = if has_luma { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(output));
    let pixels = decoder.decode().map_err(|e| damaged(e.to_string()))?;
    let pixels = if has_luma { pixels } else { luma_of_rgb(&pixels) };
    let picture = Array2::from_shape_vec((height, width), pixels)
        .map_err(|_| damaged("its size and its data disagree".into()))?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    Ok(upright(picture, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Luma of RGB triples by ITU-R BT.601, in 16-bit fixed point, rounded.
fn luma_of_rgb(rgb: &[u8]) -> Vec<u8> {
    let luma = |p: &[u8; 3]| {
        let [r, g, b] = p.map(u32::from);
        ((19_595 * r + 38_470 * g + 7_471 * b + 32_768) >> 16) as u8
    };
    rgb.as_chunks().0.iter().map(luma).collect()
}

fn decode_png(bytes: &[u8]) -> Result<Grey, ImageError> {
    let damaged =
        |e: ::image::ImageError| ImageError::Damaged { format: "PNG", why: e.to_string() };
    let mut reader = ImageReader::with_format(io::Cursor::new(bytes), ImageFormat::Png);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    reader.limits(limits);
    let luma = reader.decode().map_err(damaged)?.to_luma8();
    let shape = (luma.height() as usize, luma.width() as usize);
    Array2::from_shape_vec(shape, luma.into_raw())
        .map_err(|e| ImageError::Damaged { format: "PNG", why: e.to_string() })
}

/// Applies an Exif orientation: the picture as it should be looked at.
fn upright(mut picture: Grey, orientation: Orientation) -> Grey {
    let (transpose, flip_rows, flip_columns) = match orientation {
        Orientation::NoTransforms => return picture,
        Orientation::FlipHorizontal => (false, false, true),
        Orientation::Rotate180 => (false, true, true),
        Orientation::FlipVertical => (false, true, false),
        Orientation::Rotate90FlipH => (true, false, false),
        Orientation::Rotate90 => (true, false, true),
        Orientation::Rotate270FlipH => (true, true, true),
        Orientation::Rotate270 => (true, true, false),
    };
    if transpose {
        picture = picture.reversed_axes();
    }
    if flip_rows {
        picture.invert_axis(Axis(0));
    }
    if flip_columns {
        picture.invert_axis(Axis(1));
    }
    picture.as_standard_layout().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::image::codecs::jpeg::JpegEncoder;
    use ::image::{DynamicImage, ExtendedColorType, GrayImage};

    /// A picture with detail everywhere, so that each cut of its JPEG loses something.
    fn checkered(height: usize, width: usize) -> Grey {
        Array2::from_shape_fn((height, width), |(y, x)| ((x * 7 + y * 13) % 256) as u8)
    }

    fn jpeg(picture: &Grey) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (height, width) = picture.dim();
        let pixels = picture.as_slice().expect("it is in standard layout");
        JpegEncoder::new_with_quality(&mut bytes, 95)
            .encode(pixels, width as u32, height as u32, ExtendedColorType::L8)
            .expect("a grey picture can be encoded");
        bytes
    }

    #[test]
    fn a_jpeg_comes_back_close_and_in_shape() {
        let picture = Array2::from_shape_fn((37, 53), |(y, x)| (x * 2 + y) as u8);
        let back = decode(&jpeg(&picture)).unwrap();
        assert_eq!(back.dim(), (37, 53));
        assert!(back.iter().zip(&picture).all(|(&a, &b)| a.abs_diff(b) <= 6));
    }

    #[test]
    fn a_png_comes_back_exactly() {
        let picture = checkered(5, 9);
        let luma = GrayImage::from_raw(9, 5, picture.iter().copied().collect()).unwrap();
        let mut bytes = io::Cursor::new(Vec::new());
        DynamicImage::from(luma).write_to(&mut bytes, ImageFormat::Png).unwrap();
        let bytes = bytes.into_inner();
        assert_eq!(decode(&bytes).unwrap(), picture);
        assert!(matches!(decode(&bytes[..bytes.len() / 2]), Err(ImageError::Damaged { .. })));
    }

    #[test]
    fn a_jpeg_cut_anywhere_is_refused_with_and_without_an_end_marker() {
        let bytes = jpeg(&checkered(48, 64));
        let scan = bytes.windows(2).position(|w| w == [0xFF, 0xDA]).unwrap();
        for cut in (scan + 14..bytes.len() - 8).step_by(97).chain([3, 20, scan + 1]) {
            let cut = &bytes[..cut];
            assert!(matches!(decode(cut), Err(ImageError::Damaged { .. })), "{}", cut.len());
            let closed = [cut, &JPEG_END[..]].concat();
            assert!(matches!(decode(&closed), Err(ImageError::Damaged { .. })), "{}", cut.len());
        }
    }

    #[test]
    fn what_follows_the_end_marker_is_padding() {
        let bytes = jpeg(&checkered(48, 64));
        let whole = decode(&bytes).unwrap();
        for padding in [&[0, 0, 0][..], &[0x12, 0x34], &[0xFF; 16], &bytes[..100]] {
            assert_eq!(decode(&[&bytes, padding].concat()).unwrap(), whole);
        }
    }

    #[test]
    fn a_huge_claim_is_refused_before_memory_is_taken() {
        let mut bytes = jpeg(&checkered(8, 8));
        let frame = bytes.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
        bytes[frame + 5..frame + 9].copy_from_slice(&[0xFF; 4]);
        assert!(matches!(decode(&bytes), Err(ImageError::TooLarge { .. })));
    }

    #[test]
    fn what_is_no_picture_says_so_and_names_the_file() {
        assert!(matches!(decode(b""), Err(ImageError::UnknownFormat)));
        assert!(matches!(decode(b"GIF89a"), Err(ImageError::UnknownFormat)));
        let missing = read(Path::new("no/such/picture.jpg")).unwrap_err().to_string();
        assert!(missing.contains("no/such/picture.jpg") && missing.contains("check the path"));
    }

    #[test]
    fn exif_orientations_turn_upright() {
        let picture = Array2::from_shape_vec((1, 2), vec![1, 2]).unwrap();
        let column = |a, b| Array2::from_shape_vec((2, 1), vec![a, b]).unwrap();
        // As in EXIF 2.32, tag 0x0112: value 6 is shown turned 90° clockwise.
        assert_eq!(upright(picture.clone(), Orientation::Rotate90), column(1, 2));
        assert_eq!(upright(picture.clone(), Orientation::Rotate270), column(2, 1));
        let tall = upright(column(1, 2), Orientation::Rotate90);
        assert_eq!(tall, Array2::from_shape_vec((1, 2), vec![2, 1]).unwrap());
        let turned = upright(picture, Orientation::Rotate180);
        assert_eq!(turned, Array2::from_shape_vec((1, 2), vec![2, 1]).unwrap());
    }
}
