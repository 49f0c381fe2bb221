//! Bytes of segments and records; `docs/journal.md` has the tables.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::packing;

/// Bytes before a segment's first record.
pub(super) const SEGMENT_HEADER_LEN: usize = 24;
const SEGMENT_MAGIC: [u8; 8] = *b"MIEN-LOG";
/// The format written and read.
pub(super) const VERSION: u16 = 2;

/// Starts every record. 0xFF never occurs in UTF-8, nor in packed text, so no topic or payload
/// holds it.
const MARKER: u8 = 0xFF;
/// The checksum covers everything from here to the record's end, and the segment's first sequence.
const CHECKED_FROM: usize = 5;
const CHECKSUM_AND_FLAGS_LEN: usize = 5;
/// A sequence fits into a segment's name.
pub(super) const MAX_SEQUENCE: u64 = 999_999_999_999_999_999;
/// Bytes of the shortest record that can be.
pub(super) const MIN_RECORD_LEN: u64 = 11;

/// Longest payload in bytes. Bounds what a reader must hold, and what a damaged length can claim.
pub(super) const MAX_PAYLOAD: usize = 256 * 1024;
/// Longest topic in bytes, MQTT's own limit.
pub(super) const MAX_TOPIC: usize = u16::MAX as usize;

const QOS_MASK: u8 = 0b011;
const RETAIN: u8 = 0b100;
/// Topic and payload are packed.
const PACKED: u8 = 0b1000;
/// The first record of its writer.
const STARTS_RUN: u8 = 0b1_0000;

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
    /// Counts the journal's records from 0; no other record in it has the same. One is missing only
    /// where a record was lost.
    pub sequence: u64,
    /// Wall clock as it was then, to the millisecond; [`super::Runs`] corrects it.
    pub time: SystemTime,
    /// Time since its writer opened the journal, on a clock that is never set, to the millisecond:
    /// it starts again from 0 with each writer.
    pub monotonic: Duration,
    /// Whether it is the first that its writer wrote.
    pub starts_run: bool,
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
    /// Written by another version of the format.
    Other(u16),
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
    let Some(header) = segment.first_chunk::<SEGMENT_HEADER_LEN>() else { return Header::Damaged };
    let sound = header.starts_with(&SEGMENT_MAGIC)
        && header[20..] == crc32fast::hash(&header[..20]).to_le_bytes();
    match (sound, u16::from_le_bytes([header[8], header[9]])) {
        (true, VERSION) => Header::Whole,
        (true, other) => Header::Other(other),
        (false, _) => Header::Damaged,
    }
}

/// Appends the record's bytes to `out`, for the segment whose first sequence is `first`. Topic and
/// payload must be within their limits, the sequence not below `first`.
pub(super) fn encode(record: &Record, first: u64, out: &mut Vec<u8>) {
    debug_assert!(record.topic.len() <= MAX_TOPIC && record.payload.len() <= MAX_PAYLOAD);
    debug_assert!(record.sequence >= first);
    let packed = packing::pack(&record.topic).zip(packing::pack(&record.payload));
    let (topic, payload) = match &packed {
        Some((topic, payload)) => (&topic[..], &payload[..]),
        None => (record.topic.as_bytes(), record.payload.as_bytes()),
    };
    let flag = |set, flag| if set { flag } else { 0 };
    let start = out.len();
    out.push(MARKER);
    out.extend([0; 4]);
    out.push(
        record.delivery.qos as u8
            | flag(record.delivery.retain, RETAIN)
            | flag(packed.is_some(), PACKED)
            | flag(record.starts_run, STARTS_RUN),
    );
    let wall = record.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    put_varint(topic.len() as u64, out);
    put_varint(payload.len() as u64, out);
    put_varint(record.sequence.saturating_sub(first), out);
    put_varint(wall.as_millis() as u64, out);
    put_varint(record.monotonic.as_millis() as u64, out);
    out.extend(topic);
    out.extend(payload);
    let crc = checksum(first, &out[start + CHECKED_FROM..]);
    out[start + 1..start + CHECKED_FROM].copy_from_slice(&crc.to_le_bytes());
}

/// With the segment's first sequence, so that bytes of another segment, which a file system may
/// show in place of unwritten ones, are no record of this.
fn checksum(first: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&first.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// The record that `bytes` begin with and its length, if a whole and sound one does.
fn decode(bytes: &[u8], first: u64) -> Option<(Record, usize)> {
    let mut fields = Fields(bytes);
    if fields.take::<1>()? != [MARKER] {
        return None;
    }
    let crc = u32::from_le_bytes(fields.take()?);
    let [flags] = fields.take()?;
    let topic_len = fields.len_up_to(MAX_TOPIC)?;
    let payload_len = fields.len_up_to(MAX_PAYLOAD)?;
    let (offset, wall, monotonic) = (fields.varint()?, fields.varint()?, fields.varint()?);
    let (topic, payload) = (fields.slice(topic_len)?, fields.slice(payload_len)?);
    let len = bytes.len() - fields.0.len();
    // A fuzzer would get no further than the checksum.
    if !cfg!(fuzzing) && crc != checksum(first, &bytes[CHECKED_FROM..len]) {
        return None;
    }
    let qos = match flags & QOS_MASK {
        0 => Qos::AtMostOnce,
        1 => Qos::AtLeastOnce,
        2 => Qos::ExactlyOnce,
        _ => return None,
    };
    if flags & !(QOS_MASK | RETAIN | PACKED | STARTS_RUN) != 0 {
        return None;
    }
    let text = |bytes: &[u8], limit| match flags & PACKED {
        0 => String::from_utf8(bytes.to_vec()).ok(),
        _ => packing::unpack(bytes, limit),
    };
    let record = Record {
        sequence: first.checked_add(offset).filter(|&sequence| sequence <= MAX_SEQUENCE)?,
        time: UNIX_EPOCH.checked_add(Duration::from_millis(wall))?,
        monotonic: Duration::from_millis(monotonic),
        starts_run: flags & STARTS_RUN != 0,
        topic: text(topic, MAX_TOPIC)?,
        payload: text(payload, MAX_PAYLOAD)?,
        delivery: Delivery { qos, retain: flags & RETAIN != 0 },
    };
    Some((record, len))
}

/// Whether a record that begins so would be longer.
fn is_beginning(bytes: &[u8]) -> bool {
    let mut fields = Fields(bytes);
    if fields.take::<1>() != Some([MARKER]) {
        return false;
    }
    if fields.take::<CHECKSUM_AND_FLAGS_LEN>().is_none() {
        return true;
    }
    let (topic_len, payload_len) = (fields.varint(), fields.varint());
    // Sequence and clocks.
    let clocks = [fields.varint(), fields.varint(), fields.varint()];
    if topic_len.is_some_and(|len| len > MAX_TOPIC as u64)
        || payload_len.is_some_and(|len| len > MAX_PAYLOAD as u64)
    {
        return false;
    }
    match (topic_len, payload_len) {
        (Some(topic_len), Some(payload_len)) if !clocks.contains(&None) => {
            topic_len + payload_len > fields.0.len() as u64
        }
        // Numbers that end with the bytes, not one that is too long.
        _ => fields.0.is_empty(),
    }
}

/// Walks a segment's bytes; what is no sound record is passed over and reported.
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The segment's.
    first: u64,
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
    /// The segment ends with so many bytes of a record that would be longer.
    Unfinished { offset: usize, bytes: usize },
}

impl<'a> Scan<'a> {
    /// Scans a whole segment, header included; a sound header is not reported. `first` is the
    /// sequence in its name.
    pub(super) fn new(segment: &'a [u8], first: u64) -> Self {
        let whole = check_header(segment) == Header::Whole;
        let at = if whole { SEGMENT_HEADER_LEN } else { 0 };
        Self { bytes: segment, at, first, least_sequence: first }
    }

    /// Its sound records.
    pub(super) fn records(self) -> impl Iterator<Item = Record> + use<'a> {
        self.filter_map(|found| match found {
            Found::Record(record, _) => Some(record),
            Found::Damaged { .. } | Found::Unfinished { .. } => None,
        })
    }

    /// The record at `offset`, if it is sound and follows the last.
    fn record_at(&self, offset: usize) -> Option<(Record, usize)> {
        let record = decode(&self.bytes[offset..], self.first);
        record.filter(|(record, _)| record.sequence >= self.least_sequence)
    }

    /// Offset of the first sound record at or after `from`, else the end.
    fn resync(&self, from: usize) -> usize {
        (from..self.bytes.len())
            .filter(|&offset| self.bytes[offset] == MARKER)
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
        let bytes = self.at - offset;
        if self.at == self.bytes.len() && is_beginning(&self.bytes[offset..]) {
            return Some(Found::Unfinished { offset, bytes });
        }
        Some(Found::Damaged { offset, bytes })
    }
}

/// Seven bits a byte, lowest first; the top bit says that more follow.
fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes fields off the front; `None` where the bytes run out.
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

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn len_up_to(&mut self, limit: usize) -> Option<usize> {
        usize::try_from(self.varint()?).ok().filter(|&len| len <= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u64) -> Record {
        Record {
            sequence,
            time: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            monotonic: Duration::from_millis(300),
            starts_run: sequence == 3,
            topic: "mien/kiosk/face/1".into(),
            payload: format!("{{\"n\":{sequence}}}"),
            delivery: Delivery { qos: Qos::ExactlyOnce, retain: true },
        }
    }

    /// A change of the layout must be a change of [`VERSION`].
    #[test]
    fn the_layout_is_as_documented() {
        let mut bytes = Vec::new();
        encode(&record(203), 3, &mut bytes);
        assert_eq!(bytes[0], 0xFF);
        let checked = [&3u64.to_le_bytes(), &bytes[5..]].concat();
        assert_eq!(bytes[1..5], crc32fast::hash(&checked).to_le_bytes());
        // Flags, topic length, payload length, sequence, wall clock, monotonic clock.
        assert_eq!(bytes[5..10], [0b01110, 4, 9, 0xC8, 0x01]);
        assert_eq!(bytes[10..16], [0xFB, 0xD0, 0x95, 0xFF, 0xBC, 0x31]);
        assert_eq!(bytes[16..18], [0xAC, 0x02]);
        assert_eq!(bytes[18..22], [0x1C, 0xC0, 0x1D, b'1']);
        assert_eq!(&bytes[22..], b"{\"n\":203}");
        assert_eq!(segment_header(5)[..12], *b"MIEN-LOG\x02\0\0\0");
    }

    #[test]
    fn records_come_back_and_a_stale_one_is_not_taken() {
        let mut segment = segment_header(3).to_vec();
        for sequence in [3, 4, 4, 6] {
            encode(&record(sequence), 3, &mut segment);
        }
        // Of a segment that had these blocks before.
        encode(&record(7), 2, &mut segment);
        encode(&record(8), 3, &mut segment);
        assert_eq!(check_header(&segment), Header::Whole);
        let found = Scan::new(&segment, 3).map(|found| match found {
            Found::Record(found, _) => {
                assert_eq!(found, record(found.sequence));
                Some(found.sequence)
            }
            Found::Damaged { .. } => None,
            Found::Unfinished { .. } => panic!("the last record is whole"),
        });
        let found: Vec<Option<u64>> = found.collect();
        assert_eq!(found, [Some(3), Some(4), None, Some(6), None, Some(8)]);
    }

    #[test]
    fn a_text_that_cannot_be_packed_is_kept_as_it_is() {
        let odd = Record { topic: "a\tb\u{1}".into(), payload: "\u{1}".into(), ..record(9) };
        let mut segment = segment_header(3).to_vec();
        encode(&odd, 3, &mut segment);
        assert_eq!(Scan::new(&segment, 3).records().collect::<Vec<_>>(), [odd]);
    }

    /// Of a cut record any length is its beginning; what has other bytes behind is damage.
    #[test]
    fn an_unfinished_record_is_told_from_a_damaged_one() {
        let mut sound = Vec::new();
        encode(&record(203), 3, &mut sound);
        for len in 1..sound.len() {
            let found: Vec<Found> = Scan::new(&sound[..len], 3).collect();
            assert_eq!(found, [Found::Unfinished { offset: 0, bytes: len }]);
        }
        for at in [0, 3, sound.len() - 1] {
            let mut damaged = sound.clone();
            damaged[at] ^= 1;
            let bytes = damaged.len();
            let found: Vec<Found> = Scan::new(&damaged, 3).collect();
            assert_eq!(found, [Found::Damaged { offset: 0, bytes }]);
        }
        let zeros = [&sound[..12], &[0; 100]].concat();
        let found: Vec<Found> = Scan::new(&zeros, 3).collect();
        assert_eq!(found, [Found::Damaged { offset: 0, bytes: 112 }]);
    }

    /// Nothing that has the right checksum makes the reader panic.
    #[test]
    fn a_forged_record_is_read_or_refused() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut sound = Vec::new();
        encode(&record(203), 3, &mut sound);
        for _ in 0..20_000 {
            let mut forged = sound.clone();
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(CHECKED_FROM..forged.len());
                forged[at] = rng.u8(..);
            }
            let crc = checksum(3, &forged[CHECKED_FROM..]);
            forged[1..CHECKED_FROM].copy_from_slice(&crc.to_le_bytes());
            if let Some((record, len)) = decode(&forged, 3) {
                assert!(record.sequence >= 3 && len <= forged.len());
            }
        }
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut header = segment_header(0);
        header[8] = 1;
        assert_eq!(check_header(&header), Header::Damaged);
        let crc = crc32fast::hash(&header[..20]);
        header[20..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(check_header(&header), Header::Other(1));
        assert_eq!(check_header(&header[..23]), Header::Damaged);
    }
}
