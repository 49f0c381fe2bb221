//! A program or model that came as an update.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What an update replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The program `mien`.
    Program,
    /// The network that it runs.
    Model,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Program, Self::Model];

    /// Of a file's bytes: programs are ELF, models `.tflite`.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x7f, b'E', b'L', b'F', ..] => Some(Self::Program),
            [_, _, _, _, b'T', b'F', b'L', b'3', ..] => Some(Self::Model),
            _ => None,
        }
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Model => "model",
        }
    }

    /// Ending of its files' names.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Model => "tflite",
        }
    }
}

/// A signed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// What its signer says of it, minisign's trusted comment.
    pub comment: String,
}

impl Release {
    /// Of a file's bytes.
    pub(super) fn new(bytes: &[u8], comment: String) -> Self {
        let mut sha256 = String::with_capacity(64);
        for byte in Sha256::digest(bytes) {
            // Writing to a string does not fail.
            let _ = write!(sha256, "{byte:02x}");
        }
        Self { sha256, comment }
    }
}
