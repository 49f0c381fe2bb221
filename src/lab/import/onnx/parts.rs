//! Counts a file's messages and texts before they are decoded.
//!
//! An empty message takes two bytes in the file and over a hundred in memory, so that a short file
//! could ask for all of it.

use super::super::Fault;

/// Most messages and texts of a file.
const MAX_PARTS: usize = 1 << 20;

/// A kind of message, as far as it holds others.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    /// A message or text without messages inside.
    Leaf,
}

impl Kind {
    /// What a field of this number holds, if it is decoded to something of a size of its own; see
    /// [`super::proto`].
    fn field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) => Self::Graph,
            (Self::Graph, 1) => Self::Node,
            (Self::Graph, 11 | 12) => Self::ValueInfo,
            (Self::Node, 5) => Self::Attribute,
            (Self::ValueInfo, 2) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Model, 8)
            | (Self::Graph, 5)
            | (Self::Node, 1 | 2)
            | (Self::Attribute, 5)
            | (Self::Shape, 1) => Self::Leaf,
            _ => return None,
        })
    }
}

/// Refuses a file of more parts than any network has.
pub fn check(bytes: &[u8]) -> Result<(), Fault> {
    let mut parts = 0;
    // What is no protobuf is left for the decoder to say.
    if count(bytes, Kind::Model, &mut parts).is_none() && parts > MAX_PARTS {
        return Err(Fault::Format(format!("it has more than {MAX_PARTS} parts; use a smaller")));
    }
    Ok(())
}

/// Adds a message's parts; none if there are too many or it ends early.
fn count(mut bytes: &[u8], kind: Kind, parts: &mut usize) -> Option<()> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let len = match key & 7 {
            0 => {
                varint(&mut bytes)?;
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (field, rest) = bytes.split_at_checked(len)?;
        bytes = rest;
        if let Some(inner) = kind.field(key >> 3) {
            *parts += 1;
            if *parts > MAX_PARTS {
                return None;
            }
            // Its depth is that of the kinds: nothing recurs.
            count(field, inner, parts)?;
        }
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for place in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field that holds bytes.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        let mut len = content.len();
        while len > 0x7f {
            bytes.push(len as u8 | 0x80);
            len >>= 7;
        }
        bytes.push(len as u8);
        bytes.extend_from_slice(content);
        bytes
    }

    #[test]
    fn a_file_of_empty_messages_is_refused() {
        let empty_nodes = |n: usize| field(7, &field(1, &[]).repeat(n));
        assert!(check(&empty_nodes(1000)).is_ok());
        let error = check(&empty_nodes(MAX_PARTS)).unwrap_err().to_string();
        assert!(error.contains("more than 1048576 parts"), "{error}");
        let settings = field(7, &field(1, &field(5, &[]).repeat(MAX_PARTS)));
        assert!(check(&settings).is_err());
    }

    #[test]
    fn what_is_no_protobuf_is_left_to_the_decoder() {
        for bytes in [&b"not a model"[..], &[0xff; 40], &[0x3a, 0x7f, 1], &[]] {
            assert!(check(bytes).is_ok());
        }
    }
}
