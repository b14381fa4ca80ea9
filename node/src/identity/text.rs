//! Bytes as text that a person can paste, mail or carry on a stick: a prefix that says what it is,
//! then base64url with a checksum. A slip is found before anything is made of it.

use data_encoding::BASE64URL_NOPAD;

/// Why a text could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// It starts otherwise than such a text does.
    #[error("it does not start with {0:?}; is it another kind of file or text?")]
    Prefix(&'static str),
    /// It is longer than such a text can be.
    #[error("it is too long")]
    TooLong,
    /// A character was lost or changed, or the end is missing.
    #[error("it is damaged or incomplete; copy it again, whole")]
    Damaged,
}

const CHECKSUM_SIZE: usize = 4;

/// `bytes` as a text on one line.
pub fn to_text(prefix: &str, bytes: &[u8]) -> String {
    let mut checked = bytes.to_vec();
    checked.extend_from_slice(&checksum(prefix, bytes));
    format!("{prefix}{}", BASE64URL_NOPAD.encode(&checked))
}

/// The bytes of a text that [`to_text`] made; white space anywhere is ignored, since mail and
/// terminals break lines.
pub fn from_text(prefix: &'static str, text: &str, bytes_max: usize) -> Result<Vec<u8>, TextError> {
    // Base64 makes 4 characters of 3 bytes; the rest is room for line breaks.
    if text.len() > bytes_max.saturating_mul(2).saturating_add(1024) {
        return Err(TextError::TooLong);
    }
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let body = text.strip_prefix(prefix).ok_or(TextError::Prefix(prefix))?;
    let mut bytes = BASE64URL_NOPAD.decode(body.as_bytes()).map_err(|_| TextError::Damaged)?;
    let length = bytes.len().checked_sub(CHECKSUM_SIZE).ok_or(TextError::Damaged)?;
    let sum = bytes.split_off(length);
    if sum != checksum(prefix, &bytes) {
        return Err(TextError::Damaged);
    }
    if bytes.len() > bytes_max {
        return Err(TextError::TooLong);
    }
    Ok(bytes)
}

fn checksum(prefix: &str, bytes: &[u8]) -> [u8; CHECKSUM_SIZE] {
    let mut hasher = blake3::Hasher::new_derive_key("carnet 2026 text checksum v1");
    hasher.update(prefix.as_bytes());
    hasher.update(bytes);
    let mut sum = [0; CHECKSUM_SIZE];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_survives_line_breaks_and_shows_every_slip() {
        let text = to_text("carnet-test-1-", &[7; 50]);
        let broken = format!(" {}\r\n{}\n", &text[..30], &text[30..]);
        assert_eq!(from_text("carnet-test-1-", &broken, 64), Ok(vec![7; 50]));
        for place in "carnet-test-1-".len()..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[place] = if altered[place] == b'x' { b'y' } else { b'x' };
            let altered = String::from_utf8(altered).unwrap();
            assert_eq!(from_text("carnet-test-1-", &altered, 64), Err(TextError::Damaged));
            assert!(from_text("carnet-test-1-", &text[..place], 64).is_err());
        }
        assert_eq!(from_text("carnet-test-1-", &text, 40), Err(TextError::TooLong));
        let other = from_text("carnet-other-1-", &text, 64);
        assert_eq!(other, Err(TextError::Prefix("carnet-other-1-")));
    }
}
