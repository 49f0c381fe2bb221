//! A motion JPEG stream: JPEG pictures one after the other, with anything between them.

use std::io::{self, Read};

use crate::image::jpeg::{Extent, extent};

/// Read from the source at a time.
const READ_BYTES: usize = 256 * 1024;
/// A frame longer than this is taken for broken, so that a stream without any end marker can't
/// claim all memory.
const MAX_FRAME_BYTES: usize = 32 * 1024 * 1024;
/// A start-of-image marker and the next marker's first byte.
const FRAME_START: [u8; 3] = [0xFF, 0xD8, 0xFF];

/// Splits a byte stream into JPEG pictures.
///
/// Bytes between pictures (padding, multipart headers) are skipped. A picture that ends early is
/// given as [`Piece::Broken`], and splitting goes on at the next start of a picture.
pub struct MjpegStream<R> {
    source: R,
    buffer: Vec<u8>,
    /// Where in `buffer` the unread rest starts.
    start: usize,
    at_end: bool,
}

/// What a stream is made of.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A picture, from its start to its end marker.
    Jpeg(Vec<u8>),
    /// A picture without its end.
    Broken(&'static str),
}

impl<R: Read> MjpegStream<R> {
    /// Splits what `source` gives.
    pub fn new(source: R) -> Self {
        Self { source, buffer: Vec::new(), start: 0, at_end: false }
    }

    /// The next piece; `None` at the stream's end.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        if !self.find_start()? {
            return Ok(None);
        }
        loop {
            let rest = &self.buffer[self.start..];
            match extent(rest) {
                Extent::Complete(length) => {
                    let jpeg = rest[..length].to_vec();
                    self.start += length;
                    return Ok(Some(Piece::Jpeg(jpeg)));
                }
                Extent::Broken { why, resume } => return Ok(Some(self.broken(why, resume))),
                Extent::Open { resume } if rest.len() > MAX_FRAME_BYTES => {
                    return Ok(Some(self.broken("it has no end", resume)));
                }
                Extent::Open { resume } if self.at_end => {
                    return Ok(Some(self.broken("the stream ends within it", resume)));
                }
                Extent::Open { .. } => self.fill()?,
            }
        }
    }

    /// Goes to the next start of a picture; false at the stream's end.
    fn find_start(&mut self) -> io::Result<bool> {
        loop {
            let rest = &self.buffer[self.start..];
            if let Some(i) = find(rest, &FRAME_START) {
                self.start += i;
                return Ok(true);
            }
            if self.at_end {
                return Ok(false);
            }
            // The last bytes may be a start's first half.
            self.start = self.buffer.len().saturating_sub(FRAME_START.len() - 1).max(self.start);
            self.fill()?;
        }
    }

    /// Leaves the broken picture; the next is looked for from `resume` in it.
    fn broken(&mut self, why: &'static str, resume: usize) -> Piece {
        self.start = (self.start + resume).min(self.buffer.len());
        Piece::Broken(why)
    }

    /// Reads on, giving up what was consumed.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        // Doubling keeps scanning a long frame again and again linear in sum.
        let wanted = READ_BYTES.max(self.buffer.len());
        let read = self.source.by_ref().take(wanted as u64).read_to_end(&mut self.buffer)?;
        self.at_end = read == 0;
        Ok(())
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A minimal JPEG as far as splitting goes: a comment that holds markers, a scan with an
    /// escaped `FF` and a restart.
    fn jpeg(tag: u8) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xD8];
        bytes.extend([0xFF, 0xFE, 0, 7, 0xFF, 0xD8, 0xFF, 0xD9, tag]);
        bytes.extend([0xFF, 0xDA, 0, 4, 1, 2]);
        bytes.extend([tag, 0xFF, 0x00, tag, 0xFF, 0xD3, tag, 0xFF, 0xFF, 0xD9]);
        bytes
    }

    /// Gives a few bytes at a time, as a slow pipe does.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(target.len()).min(self.0.len());
            target[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn pieces(bytes: &[u8]) -> Vec<Piece> {
        let all = |mut stream: MjpegStream<Trickle>| {
            std::iter::from_fn(move || stream.next_piece().unwrap()).collect::<Vec<_>>()
        };
        let whole = all(MjpegStream::new(Trickle(bytes, usize::MAX)));
        assert_eq!(all(MjpegStream::new(Trickle(bytes, 1))), whole);
        whole
    }

    fn is_broken(piece: &Piece) -> bool {
        matches!(piece, Piece::Broken(_))
    }

    #[test]
    fn pictures_are_split_at_their_own_ends() {
        let stream = [jpeg(1), jpeg(2), jpeg(3)].concat();
        let expected = [1, 2, 3].map(|tag| Piece::Jpeg(jpeg(tag)));
        assert_eq!(pieces(&stream), expected);
    }

    #[test]
    fn what_lies_between_is_skipped() {
        let header = b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n".to_vec();
        let stream = [header.clone(), jpeg(1), header, jpeg(2), vec![0, 0xFF, 0xD8]].concat();
        assert_eq!(pieces(&stream), [1, 2].map(|tag| Piece::Jpeg(jpeg(tag))));
    }

    #[test]
    fn a_picture_cut_in_its_scan_is_one_broken_piece_and_the_next_is_whole() {
        let cut = jpeg(1)[..jpeg(1).len() - 4].to_vec();
        let found = pieces(&[jpeg(0), cut, jpeg(2)].concat());
        assert_eq!(found.len(), 3);
        assert!(is_broken(&found[1]));
        assert_eq!(found[2], Piece::Jpeg(jpeg(2)));
    }

    #[test]
    fn a_picture_cut_in_a_header_does_not_take_the_next_with_it() {
        // The segment's length reaches into the next picture.
        let cut = vec![0xFF, 0xD8, 0xFF, 0xDB, 0, 20, 1, 2, 3];
        let found = pieces(&[cut, jpeg(2), jpeg(3)].concat());
        assert!(is_broken(&found[0]));
        assert_eq!(found[1..], [2, 3].map(|tag| Piece::Jpeg(jpeg(tag))));
    }

    #[test]
    fn a_cut_at_the_end_is_one_broken_piece() {
        // From behind its comment on, which holds what looks like a picture's start.
        for length in 12..jpeg(2).len() {
            let found = pieces(&[jpeg(1), jpeg(2)[..length].to_vec()].concat());
            assert_eq!(found.len(), 2, "cut to {length}");
            assert_eq!((&found[0], is_broken(&found[1])), (&Piece::Jpeg(jpeg(1)), true));
        }
    }

    #[test]
    fn a_stream_without_pictures_ends() {
        assert_eq!(pieces(b""), []);
        assert_eq!(pieces(&[0xFF; 99]), []);
    }
}
