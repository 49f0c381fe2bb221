//! Bytes of segments and records, little-endian; `docs/journal.md` has the tables.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes before a segment's first record.
pub(super) const SEGMENT_HEADER_LEN: usize = 24;
const SEGMENT_MAGIC: [u8; 8] = *b"MIEN-LOG";
/// The one format there is so far.
pub(super) const VERSION: u16 = 1;

const RECORD_HEADER_LEN: usize = 40;
/// Starts every record. 0xFF and 0xFE never occur in UTF-8, so no topic or payload holds it.
const MARKER: [u8; 4] = [0xFF, 0xFE, b'M', b'R'];
/// The checksum covers everything from here to the record's end.
const CHECKED_FROM: usize = 8;

/// Longest payload in bytes. Bounds what a reader must hold, and what a damaged length can claim.
pub(super) const MAX_PAYLOAD: usize = 256 * 1024;
/// Longest topic in bytes, MQTT's own limit.
pub(super) const MAX_TOPIC: usize = u16::MAX as usize;

const QOS_MASK: u8 = 0b011;
const RETAIN: u8 = 0b100;

/// How often a publisher must see a record delivered: MQTT's quality of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Qos {
    /// 0: sent once, perhaps lost.
    AtMostOnce,
    /// 1: sent until acknowledged, perhaps repeated.
    #[default]
    AtLeastOnce,
    /// 2: exactly once.
    ExactlyOnce,
}

/// How a record wants to be published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Quality of service.
    pub qos: Qos,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
}

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Counts the journal's records from 0 without a gap; never reused.
    pub sequence: u64,
    /// Wall clock, to the microsecond.
    pub time: SystemTime,
    /// Time since its writer opened the journal, on a clock that is never set: it starts again
    /// from 0 with each writer.
    pub monotonic: Duration,
    /// MQTT-style topic.
    pub topic: String,
    /// JSON text.
    pub payload: String,
    /// How to publish it.
    pub delivery: Delivery,
}

/// What a segment's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Header {
    Whole,
    /// Torn or damaged; the records may still be good.
    Damaged,
    /// Written by a later version of the format.
    Newer(u16),
}

pub(super) fn segment_header(first_sequence: u64) -> [u8; SEGMENT_HEADER_LEN] {
    let mut header = [0; SEGMENT_HEADER_LEN];
    header[..8].copy_from_slice(&SEGMENT_MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_le_bytes());
    header[12..20].copy_from_slice(&first_sequence.to_le_bytes());
    let crc = crc32fast::hash(&header[..20]);
    header[20..].copy_from_slice(&crc.to_le_bytes());
    header
}

pub(super) fn check_header(segment: &[u8]) -> Header {
    let mut fields = Fields(segment);
    let (Some(magic), Some(version), Some(_reserved), Some(_first), Some(crc)) =
        (fields.take::<8>(), fields.u16(), fields.u16(), fields.u64(), fields.u32())
    else {
        return Header::Damaged;
    };
    match (magic == SEGMENT_MAGIC && crc == crc32fast::hash(&segment[..20]), version) {
        (true, VERSION) => Header::Whole,
        (true, newer) => Header::Newer(newer),
        (false, _) => Header::Damaged,
    }
}

/// Appends the record's bytes to `out`. Topic and payload must be within their limits.
pub(super) fn encode(record: &Record, out: &mut Vec<u8>) {
    debug_assert!(record.topic.len() <= MAX_TOPIC && record.payload.len() <= MAX_PAYLOAD);
    let start = out.len();
    let wall = record.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let retain = if record.delivery.retain { RETAIN } else { 0 };
    out.extend(MARKER);
    out.extend([0; 4]);
    out.extend((record.payload.len() as u32).to_le_bytes());
    out.extend((record.topic.len() as u16).to_le_bytes());
    out.extend([record.delivery.qos as u8 | retain, 0]);
    out.extend(record.sequence.to_le_bytes());
    out.extend((wall.as_micros() as u64).to_le_bytes());
    out.extend((record.monotonic.as_micros() as u64).to_le_bytes());
    debug_assert_eq!(out.len() - start, RECORD_HEADER_LEN);
    out.extend(record.topic.as_bytes());
    out.extend(record.payload.as_bytes());
    let crc = crc32fast::hash(&out[start + CHECKED_FROM..]);
    out[start + 4..start + CHECKED_FROM].copy_from_slice(&crc.to_le_bytes());
}

/// The record that `bytes` begin with and its length, if a whole and sound one does.
fn decode(bytes: &[u8]) -> Option<(Record, usize)> {
    let mut fields = Fields(bytes);
    if fields.take::<4>()? != MARKER {
        return None;
    }
    let crc = fields.u32()?;
    let payload_len = usize::try_from(fields.u32()?).ok().filter(|&len| len <= MAX_PAYLOAD)?;
    let topic_len = usize::from(fields.u16()?);
    let [flags, _reserved] = fields.take()?;
    let (sequence, wall, monotonic) = (fields.u64()?, fields.u64()?, fields.u64()?);
    let (topic, payload) = (fields.slice(topic_len)?, fields.slice(payload_len)?);
    let len = RECORD_HEADER_LEN + topic_len + payload_len;
    if crc != crc32fast::hash(&bytes[CHECKED_FROM..len]) {
        return None;
    }
    let qos = match flags & QOS_MASK {
        0 => Qos::AtMostOnce,
        1 => Qos::AtLeastOnce,
        2 => Qos::ExactlyOnce,
        _ => return None,
    };
    let record = Record {
        sequence,
        time: UNIX_EPOCH.checked_add(Duration::from_micros(wall))?,
        monotonic: Duration::from_micros(monotonic),
        topic: String::from_utf8(topic.to_vec()).ok()?,
        payload: String::from_utf8(payload.to_vec()).ok()?,
        delivery: Delivery { qos, retain: flags & RETAIN != 0 },
    };
    Some((record, len))
}

/// Walks a segment's bytes; what is no sound record is passed over and reported.
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// A record's sequence must not be below this.
    least_sequence: u64,
}

/// What a [`Scan`] came across.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    /// A sound record, and the offset of its end.
    Record(Record, usize),
    /// This many bytes from this offset are no record.
    Damaged { offset: usize, bytes: usize },
}

impl<'a> Scan<'a> {
    /// Scans a whole segment, header included; a sound header is not reported.
    pub(super) fn new(segment: &'a [u8], header: Header) -> Self {
        let at = if header == Header::Whole { SEGMENT_HEADER_LEN } else { 0 };
        Self { bytes: segment, at, least_sequence: 0 }
    }

    /// The record at `offset`, if it is sound and follows the last.
    fn record_at(&self, offset: usize) -> Option<(Record, usize)> {
        decode(&self.bytes[offset..]).filter(|(record, _)| record.sequence >= self.least_sequence)
    }

    /// Offset of the first sound record at or after `from`, else the end.
    fn resync(&self, from: usize) -> usize {
        let starts = self.bytes.windows(MARKER.len()).enumerate().skip(from);
        starts
            .filter(|(_, window)| *window == MARKER)
            .map(|(offset, _)| offset)
            .find(|&offset| self.record_at(offset).is_some())
            .unwrap_or(self.bytes.len())
    }
}

impl Iterator for Scan<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let offset = self.at;
        if offset >= self.bytes.len() {
            return None;
        }
        if let Some((record, len)) = self.record_at(offset) {
            self.at = offset + len;
            self.least_sequence = record.sequence.saturating_add(1);
            return Some(Found::Record(record, self.at));
        }
        self.at = self.resync(offset + 1);
        Some(Found::Damaged { offset, bytes: self.at - offset })
    }
}

/// Takes little-endian fields off the front; `None` where the bytes run out.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(front)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*front)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u64) -> Record {
        Record {
            sequence,
            time: UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456),
            monotonic: Duration::from_micros(42),
            topic: "mien/face/1".into(),
            payload: format!("{{\"n\":{sequence}}}"),
            delivery: Delivery { qos: Qos::ExactlyOnce, retain: true },
        }
    }

    /// A change of the layout must be a change of [`VERSION`].
    #[test]
    fn the_layout_is_as_documented() {
        let mut bytes = Vec::new();
        encode(&record(0x0102_0304_0506_0708), &mut bytes);
        assert_eq!(bytes[..4], [0xFF, 0xFE, b'M', b'R']);
        assert_eq!(bytes[4..8], crc32fast::hash(&bytes[8..]).to_le_bytes());
        assert_eq!(
            bytes[8..12],
            (record(0x0102_0304_0506_0708).payload.len() as u32).to_le_bytes()
        );
        assert_eq!(bytes[12..16], [11, 0, 0b110, 0]);
        assert_eq!(bytes[16..24], [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(bytes[24..32], 1_700_000_000_123_456u64.to_le_bytes());
        assert_eq!(bytes[32..40], 42u64.to_le_bytes());
        assert_eq!(&bytes[40..51], b"mien/face/1");
        assert_eq!(segment_header(5)[..12], *b"MIEN-LOG\x01\0\0\0");
    }

    #[test]
    fn records_come_back_and_a_stale_one_is_not_taken() {
        let mut segment = segment_header(3).to_vec();
        for sequence in [3, 4, 4, 6] {
            encode(&record(sequence), &mut segment);
        }
        assert_eq!(check_header(&segment), Header::Whole);
        let found: Vec<Found> = Scan::new(&segment, Header::Whole).collect();
        let sequences: Vec<Option<u64>> = found
            .iter()
            .map(|found| match found {
                Found::Record(found, _) => {
                    assert_eq!(*found, record(found.sequence));
                    Some(found.sequence)
                }
                Found::Damaged { .. } => None,
            })
            .collect();
        assert_eq!(sequences, [Some(3), Some(4), None, Some(6)]);
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut header = segment_header(0);
        header[8] = 2;
        assert_eq!(check_header(&header), Header::Damaged);
        let crc = crc32fast::hash(&header[..20]);
        header[20..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(check_header(&header), Header::Newer(2));
        assert_eq!(check_header(&header[..23]), Header::Damaged);
    }
}
