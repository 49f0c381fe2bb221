//! The pixel formats that a camera's buffers come in, and their way to grey.
//!
//! Only luma is read. Nothing a driver says about lengths is believed: a buffer that ends before
//! the picture does is an error.

use v4l::FourCC;

use crate::image::{self, Grey};

/// A pixel format that this program can read, in the order in which they are preferred: the fewer
/// bytes to move and the less to decode, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PixelFormat {
    /// `GREY`: 8 bits of luma a pixel.
    Grey,
    /// `NV12`: a plane of luma, then one of chroma.
    Nv12,
    /// `YUYV`: luma at even bytes.
    Yuyv,
    /// `UYVY`: luma at odd bytes.
    Uyvy,
    /// `MJPG`: one JPEG a frame.
    Mjpeg,
    /// `Y16 `: 16 bits of luma a pixel, low byte first, as infrared and heat cameras have.
    Y16,
    /// `Y12 `: the same, but 12 bits in the low ones.
    Y12,
    /// `Y10 `: 10 bits.
    Y10,
}

/// Where in a buffer a pixel's luma is.
#[derive(Clone, Copy)]
enum Luma {
    /// Every so many bytes, from the one at `offset` on, 8 bits.
    Byte { step: usize, offset: usize },
    /// So many bits in the low ones of two bytes, low byte first, of which the highest 8 count.
    Word { bits: u32 },
}

impl Luma {
    fn bytes(self) -> usize {
        match self {
            Luma::Byte { step, .. } => step,
            Luma::Word { .. } => 2,
        }
    }

    /// Adds a row's luma.
    fn read(self, row: &[u8], luma: &mut Vec<u8>) {
        match self {
            Luma::Byte { step, offset } => luma.extend(row[offset..].iter().step_by(step)),
            Luma::Word { bits } => luma.extend(row.as_chunks::<2>().0.iter().map(|&word| {
                // A driver that sets bits above is not believed.
                (u16::from_le_bytes(word) >> (bits - 8)).min(0xff) as u8
            })),
        }
    }
}

impl PixelFormat {
    /// All, the preferred first.
    pub const ALL: [PixelFormat; 8] = [
        PixelFormat::Grey,
        PixelFormat::Nv12,
        PixelFormat::Yuyv,
        PixelFormat::Uyvy,
        PixelFormat::Mjpeg,
        PixelFormat::Y16,
        PixelFormat::Y12,
        PixelFormat::Y10,
    ];

    /// V4L2's code for it.
    pub fn fourcc(self) -> FourCC {
        FourCC::new(match self {
            PixelFormat::Grey => b"GREY",
            PixelFormat::Nv12 => b"NV12",
            PixelFormat::Yuyv => b"YUYV",
            PixelFormat::Uyvy => b"UYVY",
            PixelFormat::Mjpeg => b"MJPG",
            PixelFormat::Y16 => b"Y16 ",
            PixelFormat::Y12 => b"Y12 ",
            PixelFormat::Y10 => b"Y10 ",
        })
    }

    /// The format of V4L2's code; `None` for one that this program can't read.
    pub fn from_fourcc(fourcc: FourCC) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.fourcc() == fourcc)
    }

    /// Where the luma is; `None` if compressed.
    fn luma(self) -> Option<Luma> {
        let byte = |step, offset| Some(Luma::Byte { step, offset });
        match self {
            PixelFormat::Grey | PixelFormat::Nv12 => byte(1, 0),
            PixelFormat::Yuyv => byte(2, 0),
            PixelFormat::Uyvy => byte(2, 1),
            PixelFormat::Mjpeg => None,
            PixelFormat::Y16 => Some(Luma::Word { bits: 16 }),
            PixelFormat::Y12 => Some(Luma::Word { bits: 12 }),
            PixelFormat::Y10 => Some(Luma::Word { bits: 10 }),
        }
    }
}

/// JPEG's first marker.
const START_OF_IMAGE: [u8; 2] = [0xff, 0xd8];
/// An APP0 segment that tells the decoder to take the standard Huffman tables for those left out,
/// as in AVI's MJPEG. Cameras leave them out with and without saying so.
const AVI1_SEGMENT: [u8; 12] = *b"\xff\xe0\x00\x0aAVI1\0\0\0\0";

/// Whether a V4L2 code stands for a sensor's raw mosaic (Bayer) of colours.
pub fn is_raw_bayer(fourcc: FourCC) -> bool {
    const UNPACKED: [&[u8; 4]; 8] =
        [b"BA81", b"GBRG", b"GRBG", b"RGGB", b"BYR2", b"GB16", b"GR16", b"RG16"];
    // 10, 12 and 14 bits: BG10, GB12, … and the packed pBAA, pgCC, pREE.
    let [a, b, c, d] = fourcc.repr;
    let deep = matches!(&[a, b], b"BG" | b"GB" | b"BA" | b"RG") && c == b'1' && b"024".contains(&d);
    let packed = a == b'p' && b"BGgR".contains(&b) && c == d && b"ACE".contains(&c);
    UNPACKED.contains(&&fourcc.repr) || deep || packed
}

/// What the driver's buffers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How pixels are coded.
    pub format: PixelFormat,
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes from one row to the next; without meaning for MJPEG.
    pub stride: usize,
}

impl Layout {
    /// Pixels on a side above which a driver's answer is taken for an error: twice 4K video.
    const MAX_SIDE: u32 = 8192;

    /// The layout of what the driver returned from `VIDIOC_S_FMT`. Errors are sentences.
    pub fn from_driver(format: &v4l::Format) -> Result<Self, String> {
        let &v4l::Format { width, height, stride, fourcc, .. } = format;
        let pixel_format = PixelFormat::from_fourcc(fourcc)
            .ok_or_else(|| format!("its driver insists on the pixel format {fourcc}"))?;
        if !(1..=Self::MAX_SIDE).contains(&width) || !(1..=Self::MAX_SIDE).contains(&height) {
            return Err(format!("its driver claims pictures of {width}x{height} pixels"));
        }
        let (width, height) = (width as usize, height as usize);
        let row = width * pixel_format.luma().map_or(0, Luma::bytes);
        let stride = if stride == 0 { row } else { stride as usize };
        if stride < row {
            return Err(format!("its driver claims rows of {stride} bytes for {width} pixels"));
        }
        Ok(Self { format: pixel_format, width, height, stride })
    }

    /// Reads one buffer's picture, `[height, width]`. Errors are sentences.
    pub fn decode(&self, bytes: &[u8]) -> Result<Grey, String> {
        let Some(luma_at) = self.format.luma() else {
            return self.decode_jpeg(bytes);
        };
        let row = self.width * luma_at.bytes();
        let needed = self.stride * (self.height - 1) + row;
        if bytes.len() < needed {
            return Err(format!("{} bytes came of {needed}", bytes.len()));
        }
        let mut luma = Vec::with_capacity(self.width * self.height);
        for line in bytes.chunks(self.stride).take(self.height) {
            luma_at.read(&line[..row], &mut luma);
        }
        Ok(Grey::from_shape_vec((self.height, self.width), luma)
            .expect("every row gave one value a pixel"))
    }

    fn decode_jpeg(&self, bytes: &[u8]) -> Result<Grey, String> {
        let Some(rest) = bytes.strip_prefix(&START_OF_IMAGE) else {
            return Err(format!("its {} bytes don't begin as a JPEG does", bytes.len()));
        };
        let jpeg = [START_OF_IMAGE.as_slice(), &AVI1_SEGMENT, rest].concat();
        let picture = image::decode(&jpeg).map_err(|error| error.to_string())?;
        let promised = (self.height, self.width);
        if picture.dim() != promised {
            let (height, width) = picture.dim();
            let (promised_height, promised_width) = promised;
            return Err(format!(
                "a picture of {width}x{height} came instead of {promised_width}x{promised_height}"
            ));
        }
        Ok(picture)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn layout(format: PixelFormat, width: usize, height: usize, stride: usize) -> Layout {
        Layout { format, width, height, stride }
    }

    fn from_driver(
        fourcc: &[u8; 4],
        width: u32,
        height: u32,
        stride: u32,
    ) -> Result<Layout, String> {
        let format = v4l::Format::new(width, height, FourCC::new(fourcc));
        Layout::from_driver(&v4l::Format { stride, ..format })
    }

    #[test]
    fn luma_is_found_in_every_raw_format() {
        // Rows of 3 pixels with padding (9): odd width, odd stride; the last row unpadded.
        let expected = array![[1, 2, 3], [4, 5, 6]];
        let cases: [(PixelFormat, usize, &[u8]); 7] = [
            (PixelFormat::Grey, 5, &[1, 2, 3, 9, 9, 4, 5, 6]),
            (PixelFormat::Nv12, 4, &[1, 2, 3, 9, 4, 5, 6, 9, 8, 8, 8, 8]),
            (PixelFormat::Yuyv, 7, &[1, 8, 2, 8, 3, 8, 9, 4, 8, 5, 8, 6, 8]),
            (PixelFormat::Uyvy, 7, &[8, 1, 8, 2, 8, 3, 9, 8, 4, 8, 5, 8, 6]),
            (PixelFormat::Y16, 7, &[8, 1, 8, 2, 8, 3, 9, 8, 4, 8, 5, 8, 6]),
            (PixelFormat::Y12, 6, &[0x1f, 0, 0x2f, 0, 0x3f, 0, 0x4f, 0, 0x5f, 0, 0x6f, 0]),
            (PixelFormat::Y10, 6, &[7, 0, 8, 0, 15, 0, 16, 0, 20, 0, 24, 0]),
        ];
        for (format, stride, bytes) in cases {
            assert_eq!(layout(format, 3, 2, stride).decode(bytes).unwrap(), expected, "{format:?}");
        }
    }

    #[test]
    fn of_more_than_8_bits_the_highest_count() {
        let grey = |format, word: u16| {
            layout(format, 1, 1, 2).decode(&word.to_le_bytes()).unwrap()[[0, 0]]
        };
        assert_eq!([0x0000, 0x7fff, 0xffff].map(|w| grey(PixelFormat::Y16, w)), [0, 0x7f, 0xff]);
        assert_eq!([0x000f, 0x07ff, 0x0fff].map(|w| grey(PixelFormat::Y12, w)), [0, 0x7f, 0xff]);
        assert_eq!([0x0003, 0x01ff, 0x03ff].map(|w| grey(PixelFormat::Y10, w)), [0, 0x7f, 0xff]);
        assert_eq!(grey(PixelFormat::Y10, 0xffff), 0xff, "brighter than it may be");
    }

    #[test]
    fn a_short_buffer_is_an_error_at_every_length() {
        let layout = layout(PixelFormat::Yuyv, 3, 2, 7);
        let whole = [0; 13];
        assert!(layout.decode(&whole).is_ok());
        for length in 0..whole.len() {
            assert!(layout.decode(&whole[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_jpeg_of_another_size_is_an_error() {
        let mut jpeg = Vec::new();
        let mut encoder = ::image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
        encoder.encode(&[128; 8 * 6], 8, 6, ::image::ExtendedColorType::L8).unwrap();

        assert_eq!(layout(PixelFormat::Mjpeg, 8, 6, 0).decode(&jpeg).unwrap().dim(), (6, 8));
        let why = layout(PixelFormat::Mjpeg, 6, 8, 0).decode(&jpeg).unwrap_err();
        assert!(why.contains("8x6") && why.contains("6x8"), "{why}");
        assert!(layout(PixelFormat::Mjpeg, 8, 6, 0).decode(&[]).is_err());
    }

    #[test]
    fn cameras_leave_out_the_huffman_tables() {
        // AVI's MJPEG, which UVC follows, lets a camera omit JPEG's standard tables.
        let mut jpeg = Vec::new();
        let mut encoder = ::image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
        encoder.encode(&[200; 16 * 16], 16, 16, ::image::ExtendedColorType::L8).unwrap();
        let bare = without_segments(&jpeg, 0xc4);
        assert!(bare.len() < jpeg.len());

        let picture = layout(PixelFormat::Mjpeg, 16, 16, 0).decode(&bare).unwrap();
        assert!(picture.iter().all(|&p| p.abs_diff(200) <= 2), "{picture}");
    }

    /// A JPEG less the header segments of one marker.
    fn without_segments(jpeg: &[u8], marker: u8) -> Vec<u8> {
        const START_OF_SCAN: u8 = 0xda;
        let mut kept = jpeg[..2].to_vec();
        let mut at = 2;
        while jpeg[at + 1] != START_OF_SCAN {
            let end = at + 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
            if jpeg[at + 1] != marker {
                kept.extend(&jpeg[at..end]);
            }
            at = end;
        }
        kept.extend(&jpeg[at..]);
        kept
    }

    #[test]
    fn a_driver_is_not_believed() {
        let yuyv = from_driver(b"YUYV", 640, 480, 0).unwrap();
        assert_eq!(yuyv, layout(PixelFormat::Yuyv, 640, 480, 1280));
        assert_eq!(from_driver(b"GREY", 640, 480, 704).unwrap().stride, 704);
        assert!(from_driver(b"YUYV", 640, 480, 640).is_err());
        assert!(from_driver(b"GREY", 0, 480, 0).is_err());
        assert!(from_driver(b"GREY", u32::MAX, u32::MAX, u32::MAX).is_err());
        assert!(from_driver(b"RGB3", 640, 480, 0).unwrap_err().contains("RGB3"));
    }

    #[test]
    fn raw_sensors_are_told_from_cameras() {
        for raw in [b"RGGB", b"BA81", b"BG10", b"RG12", b"pBAA", b"pgCC", b"GB16"] {
            assert!(is_raw_bayer(FourCC::new(raw)), "{}", FourCC::new(raw));
        }
        for format in PixelFormat::ALL.map(PixelFormat::fourcc) {
            assert!(!is_raw_bayer(format), "{format}");
        }
        assert!(!is_raw_bayer(FourCC::new(b"RGB3")) && !is_raw_bayer(FourCC::new(b"BGR4")));
    }
}
