//! Texts in fewer bytes: pieces that the kiosk's records repeat become one byte each, and runs of
//! digits half a byte each. Part of the format: a change here is a new version.
//!
//! Each text stands for itself, so damage to one record costs no other. A general compressor needs
//! many records at a time to gain as much (`docs/journal.md`, "Wear").

/// Pieces, longest match first where several fit. Codes are bytes that neither JSON nor UTF-8 has.
const PIECES: [(u8, &str); 43] = [
    (0x01, r#"{"state":"appeared","expression":""#),
    (0x02, r#"{"state":"changed","expression":""#),
    (0x03, r#"{"state":"left","expression":""#),
    (0x04, r#"{"state":""#),
    (0x05, r#"","share":0."#),
    (0x06, r#","gender":"female","gender_share":0."#),
    (0x07, r#","gender":"male","gender_share":0."#),
    (0x08, r#","box":["#),
    (0x09, r#"],"time_s":"#),
    (0x0A, r#","time_s":"#),
    (0x0B, r#"{"faces":"#),
    (0x0C, r#","expressions":{"angry":"#),
    (0x0D, r#","disgust":"#),
    (0x0E, r#","fear":"#),
    (0x0F, r#","happy":"#),
    (0x10, r#","sad":"#),
    (0x11, r#","surprise":"#),
    (0x12, r#","neutral":"#),
    (0x13, r#"},"unsure":"#),
    (0x14, "angry"),
    (0x15, "disgust"),
    (0x16, "fear"),
    (0x17, "happy"),
    (0x18, "sad"),
    (0x19, "surprise"),
    (0x1A, "neutral"),
    (0x1B, "unsure"),
    (0x1C, "mien/"),
    (0x1D, "/face/"),
    (0x1E, "/room"),
    (0x1F, "/status"),
    (0xC0, "kiosk"),
    (0xC1, r#"":""#),
    (0xF5, r#"",""#),
    (0xF6, r#""gender""#),
    (0xF7, r#"","share":1.0"#),
    (0xF8, r#","shown":""#),
    (0xF9, r#"","percent":{"expression":{"angry":"#),
    (0xFA, r#"},"gender":{"female":"#),
    (0xFB, r#","male":"#),
    (0xFC, r#"}},"time_s":"#),
    (0xFD, r#"{"seconds":60,"counts":["#),
    (0xFE, r#"],"p50_p95_ms":["#),
];

/// Starts a run of half bytes.
const RUN: u8 = 0x00;
/// What a run may hold; the code of each is its index.
const RUN_CHARS: &[u8; 13] = b"0123456789,.-";
/// Ends a run. There is no code 15, so that no packed byte is 0xFF, a record's marker.
const RUN_END: u8 = 0x0E;
/// Shorter runs gain nothing.
const MIN_RUN: usize = 5;

/// The text in fewer bytes, or none if it has bytes that would be taken for codes.
pub(super) fn pack(text: &str) -> Option<Vec<u8>> {
    if text.bytes().any(|byte| byte < 0x20) {
        return None;
    }
    let (mut rest, mut packed) = (text.as_bytes(), Vec::with_capacity(text.len()));
    while let Some(&first) = rest.first() {
        let fitting = PIECES.iter().filter(|(_, piece)| rest.starts_with(piece.as_bytes()));
        let run = rest.iter().take_while(|byte| RUN_CHARS.contains(byte)).count();
        let taken = if let Some((code, piece)) = fitting.max_by_key(|(_, piece)| piece.len()) {
            packed.push(*code);
            piece.len()
        } else if run >= MIN_RUN {
            pack_run(&rest[..run], &mut packed);
            run
        } else {
            packed.push(first);
            1
        };
        rest = &rest[taken..];
    }
    Some(packed)
}

fn pack_run(run: &[u8], packed: &mut Vec<u8>) {
    let code = |byte: &u8| RUN_CHARS.iter().position(|c| c == byte).map_or(RUN_END, |i| i as u8);
    packed.push(RUN);
    let mut codes: Vec<u8> = run.iter().map(code).chain([RUN_END]).collect();
    if codes.len() % 2 == 1 {
        codes.push(RUN_END);
    }
    packed.extend(codes.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]));
}

/// The text that was packed, if that is what the bytes are and it has at most `limit` bytes.
pub(super) fn unpack(packed: &[u8], limit: usize) -> Option<String> {
    let mut text = Vec::with_capacity(packed.len() * 2);
    let mut bytes = packed.iter();
    while let Some(&byte) = bytes.next() {
        match PIECES.iter().find(|(code, _)| *code == byte) {
            Some((_, piece)) => text.extend_from_slice(piece.as_bytes()),
            None if byte == RUN => unpack_run(&mut bytes, &mut text)?,
            None => text.push(byte),
        }
        if text.len() > limit {
            return None;
        }
    }
    String::from_utf8(text).ok()
}

fn unpack_run<'a>(bytes: &mut impl Iterator<Item = &'a u8>, text: &mut Vec<u8>) -> Option<()> {
    loop {
        let pair = *bytes.next()?;
        for code in [pair >> 4, pair & 0x0F] {
            if code == RUN_END {
                return Some(());
            }
            text.push(*RUN_CHARS.get(usize::from(code))?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        for text in [
            "",
            "mien/kiosk/face/12345",
            r#"{"state":"changed","expression":"happy","share":0.83,"box":[263,385,141,107]}"#,
            "1234",
            "12345",
            "123456",
            "-1.5,-2.5",
            "ünïcödé 12345,6",
            "{\"a\":\"\\u0001\"}",
        ] {
            let packed = pack(text).unwrap();
            assert!(packed.len() <= text.len() && !packed.contains(&0xFF), "{text}: {packed:?}");
            assert_eq!(unpack(&packed, text.len()).as_deref(), Some(text));
        }
        assert_eq!(pack("a\tb"), None);
    }

    #[test]
    fn random_texts_come_back_and_random_bytes_are_refused_or_text() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..5000 {
            let mut text = String::new();
            for _ in 0..rng.usize(0..8) {
                match rng.u8(..4) {
                    0 => text += PIECES[rng.usize(..PIECES.len())].1,
                    1 => (0..rng.usize(0..9)).for_each(|_| text.push(rng.digit(10))),
                    2 => text.push(rng.char('\u{20}'..)),
                    _ => text += ",.-",
                }
            }
            let packed = pack(&text).unwrap();
            assert_eq!(unpack(&packed, text.len()), Some(text.clone()));
            let noise: Vec<u8> = (0..rng.usize(0..40)).map(|_| rng.u8(..)).collect();
            assert!(unpack(&noise, 64).is_none_or(|text| text.len() <= 64));
        }
    }
}
