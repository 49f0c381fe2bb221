//! The picture that a model is tried on before it is trusted, and what its file says that it gives.

use super::error::MetadataError;

/// Name of the metadata's entry of the output's codes for [`picture`]. `mien-lab quantize` writes it.
pub const TEST_CODES: &str = "mien.test_codes";

/// Noise in all codes, always the same: what vectors, tails and edges a plan has, it meets.
pub fn picture(len: usize) -> Vec<i8> {
    let mut state = 0x9E37_79B9_u32;
    let next = || {
        // Marsaglia's xorshift, 32 bits.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).map(u8::cast_signed).collect()
}

/// Codes as the entry holds them.
pub fn text(codes: &[i8]) -> String {
    let codes: Vec<String> = codes.iter().map(i8::to_string).collect();
    codes.join(" ")
}

/// The codes that the entry holds, one for each of so many logits; none if there is no such entry.
pub fn codes(entry: Option<&str>, logits: usize) -> Result<Option<Vec<i8>>, MetadataError> {
    let Some(text) = entry else { return Ok(None) };
    let codes: Option<Vec<i8>> = text.split(' ').map(|code| code.parse().ok()).collect();
    match codes.filter(|codes| codes.len() == logits) {
        Some(codes) => Ok(Some(codes)),
        None => Err(MetadataError {
            entry: TEST_CODES,
            text: text.into(),
            needed: "a code from -128 to 127 for each logit",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let written = text(&[-128, 0, 127]);
        assert_eq!(codes(Some(&written), 3), Ok(Some(vec![-128, 0, 127])));
        assert_eq!(codes(None, 3), Ok(None));
        for wrong in ["", "1 2", "1 2 3 4", "1  2 3", "1 2 128", "a b c"] {
            assert_eq!(codes(Some(wrong), 3).unwrap_err().text, wrong);
        }
    }

    /// Files hold answers to it: it must stay as it is.
    #[test]
    fn the_picture_never_changes() {
        let picture = picture(2304);
        assert_eq!(picture[..6], [81, -32, 123, 1, -26, -7]);
        assert_eq!(picture.iter().map(|&code| i32::from(code)).sum::<i32>(), -5152);
    }
}
