//! How far a JPEG reaches, which no length says.

/// How far the JPEG reaches that bytes start with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Its length, end marker included.
    Complete(usize),
    /// It goes over into something that can't belong to it, from `resume` on at the earliest.
    Broken { why: &'static str, resume: usize },
    /// The bytes end before it does, within what starts at `resume`.
    Open { resume: usize },
}

/// Walks a JPEG's segments (ITU-T T.81, annex B) to its end marker. Only behind a scan header are
/// bytes searched for markers; within other segments, such as an Exif thumbnail, markers mean
/// nothing.
pub(crate) fn extent(bytes: &[u8]) -> Extent {
    let mut at = 2;
    let mut segment = 2;
    loop {
        let Some(&[prefix, code]) = bytes.get(at..at + 2) else {
            let resume = if at <= bytes.len() { at } else { segment };
            return Extent::Open { resume };
        };
        match (prefix, code) {
            (0xFF, 0xFF) => at += 1,
            (0xFF, 0xD8) => {
                let why = "it is cut off, another picture starts within it";
                return Extent::Broken { why, resume: at };
            }
            (0xFF, 0xD9) => return Extent::Complete(at + 2),
            (0xFF, 0x01 | 0xD0..=0xD7) => at += 2,
            (0xFF, _) => {
                segment = at;
                match segment_length(&bytes[at..]) {
                    Some(length) => at += length,
                    None => return Extent::Open { resume: segment },
                }
            }
            _ => {
                let why = "it is cut off or damaged, a segment is missing";
                return Extent::Broken { why, resume: segment };
            }
        }
    }
}

/// Length of the segment that bytes start with, marker and (behind a scan header) entropy-coded
/// data included; `None` if the bytes don't tell.
fn segment_length(bytes: &[u8]) -> Option<usize> {
    const START_OF_SCAN: u8 = 0xDA;
    let &[_, code, high, low] = bytes.first_chunk()?;
    let header = 2 + usize::from(u16::from_be_bytes([high, low])).max(2);
    if code != START_OF_SCAN {
        return Some(header);
    }
    Some(header + next_marker(bytes.get(header..)?)?)
}

/// Where entropy-coded data ends: the first marker that is neither an escaped `FF` nor a restart.
fn next_marker(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|w| w[0] == 0xFF && !matches!(w[1], 0x00 | 0xD0..=0xD7))
}
