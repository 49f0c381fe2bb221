//! A camera that plays files: a motion JPEG stream, a folder of pictures, one picture.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::vec;

use super::mjpeg::{MjpegStream, Piece};
use super::{Camera, CameraError, Frame};
use crate::image::{self, Grey, ImageError};

/// Slower rates count as this one: a frame in a quarter of an hour.
const MIN_FRAMES_PER_SECOND: f32 = 0.001;
/// A stream's first picture must start within this, so that a film in another format, with a
/// picture somewhere inside, is not mistaken for a stream.
const STREAM_HEAD_BYTES: usize = 4096;
const JPEG_SIGNATURE: [u8; 3] = [0xFF, 0xD8, 0xFF];
const PNG_SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// Gives the frames of files at their nominal times, as fast as they are asked for.
pub struct Replay {
    name: PathBuf,
    frames_per_second: f32,
    sequence: u64,
    source: Source,
}

enum Source {
    Stream(MjpegStream<Box<dyn Read + Send>>),
    Pictures(vec::IntoIter<PathBuf>),
}

impl Replay {
    /// Opens a motion JPEG stream, a folder of JPEG and PNG pictures (taken by name; hidden files
    /// and folders within are left out), or one picture. What a file is, is told by its content.
    ///
    /// `fps` gives the frames their times, `sequence / fps`.
    pub fn open(path: &Path, fps: f32) -> Result<Self, CameraError> {
        let refuse = |why: String| CameraError::Open { source_name: path.to_owned(), why };
        let about = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound => refuse("there is no such file or folder".into()),
            _ => refuse(e.to_string()),
        };
        let source = if fs::metadata(path).map_err(about)?.is_dir() {
            Source::Pictures(pictures_in(path).map_err(about)?.into_iter())
        } else {
            open_file(path).map_err(about)?.ok_or_else(|| {
                refuse("it is neither a JPEG or PNG picture nor a motion JPEG stream".into())
            })?
        };
        if matches!(&source, Source::Pictures(pictures) if pictures.len() == 0) {
            return Err(refuse("the folder holds no files".into()));
        }
        Ok(Self::new(path.to_owned(), fps, source))
    }

    /// Plays a motion JPEG stream from memory; `name` stands for it in errors.
    pub fn from_mjpeg_bytes(name: &str, bytes: Cow<'static, [u8]>, fps: f32) -> Self {
        let source: Box<dyn Read + Send> = Box::new(Cursor::new(bytes));
        Self::new(name.into(), fps, Source::Stream(MjpegStream::new(source)))
    }

    fn new(name: PathBuf, fps: f32, source: Source) -> Self {
        let frames_per_second = fps.max(MIN_FRAMES_PER_SECOND);
        Self { name, frames_per_second, sequence: 0, source }
    }

    /// The next picture, with its place; `None` at the end.
    fn next_picture(&mut self) -> Result<Option<Attempt>, CameraError> {
        match &mut self.source {
            Source::Stream(stream) => match stream.next_piece() {
                Ok(piece) => Ok(piece.map(|piece| attempt_piece(self.name.clone(), piece))),
                Err(e) => {
                    let why = e.to_string();
                    Err(CameraError::Lost { source_name: self.name.clone(), why })
                }
            },
            Source::Pictures(paths) => Ok(paths.next().map(attempt_file)),
        }
    }
}

impl Camera for Replay {
    fn next_frame(&mut self) -> Result<Option<Frame>, CameraError> {
        let Some(attempt) = self.next_picture()? else { return Ok(None) };
        let sequence = self.sequence;
        self.sequence += 1;
        let Attempt { source_name, result, decode_time } = attempt;
        let image =
            result.map_err(|why| CameraError::BrokenFrame { source_name, sequence, why })?;
        let time = Duration::from_secs_f64(sequence as f64 / f64::from(self.frames_per_second));
        Ok(Some(Frame { sequence, time, decode_time, image }))
    }
}

/// One picture taken from the source, decoded or not.
struct Attempt {
    source_name: PathBuf,
    result: Result<Grey, String>,
    decode_time: Duration,
}

fn attempt_piece(source_name: PathBuf, piece: Piece) -> Attempt {
    let start = Instant::now();
    let result = match piece {
        Piece::Jpeg(bytes) => image::decode(&bytes).map_err(|e| e.to_string()),
        Piece::Broken(why) => Err(why.to_owned()),
    };
    Attempt { source_name, result, decode_time: start.elapsed() }
}

fn attempt_file(source_name: PathBuf) -> Attempt {
    let bytes = fs::read(&source_name);
    let start = Instant::now();
    let result = match bytes {
        Ok(bytes) => image::decode(&bytes).map_err(|e: ImageError| e.to_string()),
        Err(e) => Err(e.to_string()),
    };
    Attempt { source_name, result, decode_time: start.elapsed() }
}

/// A folder's files, by name, without hidden ones.
fn pictures_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if !hidden && !path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Tells by a file's first bytes what it is; `None` if nothing that can be played.
fn open_file(path: &Path) -> io::Result<Option<Source>> {
    let mut file = File::open(path)?;
    let mut head = Vec::new();
    file.by_ref().take(STREAM_HEAD_BYTES as u64).read_to_end(&mut head)?;
    if head.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty"));
    }
    if head.starts_with(&PNG_SIGNATURE) {
        return Ok(Some(Source::Pictures(vec![path.to_owned()].into_iter())));
    }
    if !head.windows(JPEG_SIGNATURE.len()).any(|w| w == JPEG_SIGNATURE) {
        return Ok(None);
    }
    let whole: Box<dyn Read + Send> = Box::new(Cursor::new(head).chain(file));
    Ok(Some(Source::Stream(MjpegStream::new(whole))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::image::codecs::jpeg::JpegEncoder;
    use ::image::{ExtendedColorType, GrayImage};

    fn jpeg(shade: u8) -> Vec<u8> {
        let pixels: Vec<u8> = (0..32 * 24).map(|i| shade ^ (i % 7) as u8).collect();
        let mut bytes = Vec::new();
        JpegEncoder::new(&mut bytes).encode(&pixels, 32, 24, ExtendedColorType::L8).unwrap();
        bytes
    }

    /// Sequence and middle pixel of each frame, or the error's words.
    fn play(mut replay: Replay) -> Vec<Result<(u64, u8), String>> {
        let next = || match replay.next_frame() {
            Ok(frame) => frame.map(|f| Ok((f.sequence, f.image[(12, 16)]))),
            Err(e) => Some(Err(e.to_string())),
        };
        std::iter::from_fn(next).collect()
    }

    fn assert_shade(frame: &Result<(u64, u8), String>, sequence: u64, shade: u8) {
        let &(s, p) = frame.as_ref().unwrap();
        assert!(s == sequence && p.abs_diff(shade) < 10, "{s} {p}");
    }

    #[test]
    fn a_stream_with_a_cut_frame_loses_that_frame_only() {
        let cut = jpeg(90)[..jpeg(90).len() / 2].to_vec();
        let stream = [jpeg(40), cut, jpeg(160)].concat();
        let frames = play(Replay::from_mjpeg_bytes("clip", stream.into(), 10.0));
        assert_eq!(frames.len(), 3);
        assert_shade(&frames[0], 0, 40);
        assert!(frames[1].as_ref().unwrap_err().starts_with("clip: frame 1 is broken"));
        assert_shade(&frames[2], 2, 160);
    }

    #[test]
    fn a_folder_is_played_by_name_and_by_content() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        GrayImage::from_pixel(32, 24, [20].into()).save(at("a.png")).unwrap();
        fs::write(at("b.txt"), jpeg(200)).unwrap();
        fs::write(at("c.jpg"), b"no picture").unwrap();
        fs::write(at("d.jpg"), jpeg(80)).unwrap();
        fs::write(at(".hidden"), b"").unwrap();
        fs::create_dir(at("e")).unwrap();
        let frames = play(Replay::open(folder.path(), 1.0).unwrap());
        assert_eq!(frames.len(), 4);
        assert_shade(&frames[0], 0, 20);
        assert_shade(&frames[1], 1, 200);
        assert!(frames[2].as_ref().unwrap_err().contains("c.jpg"));
        assert_shade(&frames[3], 3, 80);
    }

    #[test]
    fn one_picture_is_one_frame_and_a_streams_times_follow_its_rate() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture");
        fs::write(&path, jpeg(90)).unwrap();
        assert_eq!(play(Replay::open(&path, 25.0).unwrap()).len(), 1);
        fs::write(&path, [jpeg(1), jpeg(2), jpeg(3)].concat()).unwrap();
        let mut replay = Replay::open(&path, 4.0).unwrap();
        let times = std::iter::from_fn(|| replay.next_frame().unwrap()).map(|f| f.time.as_millis());
        assert_eq!(times.collect::<Vec<_>>(), [0, 250, 500]);
    }

    #[test]
    fn senseless_rates_do_not_panic() {
        for fps in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let stream = [jpeg(1), jpeg(2)].concat();
            assert_eq!(play(Replay::from_mjpeg_bytes("clip", stream.into(), fps)).len(), 2);
        }
    }

    #[test]
    fn what_cannot_be_played_is_refused_with_its_path_and_why() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = |path: &Path| match Replay::open(path, 1.0) {
            Err(e @ CameraError::Open { .. }) => e.to_string(),
            _ => panic!("{} was not refused", path.display()),
        };
        assert!(refusal(folder.path()).contains("holds no files"));
        let path = folder.path().join("x.jpg");
        assert!(refusal(&path).contains("no such file"));
        assert!(refusal(&path).contains("x.jpg"));
        fs::write(&path, b"").unwrap();
        assert!(refusal(&path).contains("empty"));
        fs::write(&path, b"plain text").unwrap();
        assert!(refusal(&path).contains("neither"));
    }
}
