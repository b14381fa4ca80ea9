//! The recovery code: printed once, kept in a safe, good for a practice that lost everything else.
//!
//! Twenty random bytes, which give an X25519 key. Every epoch key is also wrapped to it, and so is
//! the practice key, so the code and anybody's ciphertext are the practice. Written in Crockford's
//! base 32 (no I, L, O, U) in groups of four, the last group being a checksum.

use super::error::VaultError;
use super::share::{self, HpkeSecret, Purpose};
use crate::base::environment::Environment;
use crate::base::private::Private;
use crate::identity::PracticeKey;
use crate::identity::statement::PracticeStatement;
use carnet_sync_protocol::id::HpkeKey;
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const SECRET_SIZE: usize = 20;
const SECRET_DIGITS: usize = SECRET_SIZE * 8 / 5;
const CHECK_DIGITS: usize = 4;

/// The code; it prints only through [`RecoveryCode::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryCode(Private<[u8; SECRET_SIZE]>);

impl RecoveryCode {
    /// A new code.
    pub fn generate(environment: &Environment) -> Self {
        Self(Private::new(environment.random()))
    }

    /// The text to print: nine groups of four.
    pub fn reveal(&self) -> Private<String> {
        let digits = self.digits();
        let mut text = String::with_capacity(digits.len() * 5 / 4);
        for (place, digit) in digits.iter().enumerate() {
            if place > 0 && place % 4 == 0 {
                text.push('-');
            }
            text.push(char::from(ALPHABET[usize::from(*digit)]));
        }
        Private::new(text)
    }

    /// The key to which everything is also wrapped.
    pub fn public(&self) -> HpkeKey {
        self.secret().public()
    }

    /// The secret half of it.
    pub fn secret(&self) -> HpkeSecret {
        let seed = blake3::derive_key("carnet 2026 recovery hpke key v1", self.0.expose());
        HpkeSecret::from_seed(Private::new(seed))
    }

    /// The practice's key, out of the practice's own statement.
    pub fn recover_practice(
        &self,
        statement: &PracticeStatement,
    ) -> Result<PracticeKey, VaultError> {
        let body = &statement.body;
        let wrong = VaultError::WrongSecret("recovery code");
        if body.recovery != self.public() {
            return Err(wrong);
        }
        let seed = share::unwrap(&self.secret(), body.practice, Purpose::PracticeKey, &body.key)?;
        let key = PracticeKey::from_seed(seed);
        if key.id() == body.practice { Ok(key) } else { Err(VaultError::OtherPractice) }
    }

    fn digits(&self) -> Zeroizing<Vec<u8>> {
        let mut digits = Zeroizing::new(Vec::with_capacity(SECRET_DIGITS + CHECK_DIGITS));
        for chunk in self.0.expose().chunks_exact(5) {
            let mut bits = [0; 8];
            bits[3..].copy_from_slice(chunk);
            let bits = u64::from_be_bytes(bits);
            digits.extend((0..8).rev().map(|place| ((bits >> (place * 5)) & 31) as u8));
        }
        let check = blake3::derive_key("carnet 2026 recovery code check v1", self.0.expose());
        digits.extend(check[..CHECK_DIGITS].iter().map(|byte| byte & 31));
        digits
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(private)")
    }
}

impl FromStr for RecoveryCode {
    type Err = VaultError;

    /// Reads the code as people type it: in either case, with or without hyphens, with the letter
    /// O for zero and I or L for one.
    fn from_str(text: &str) -> Result<Self, VaultError> {
        let mut digits = Zeroizing::new(Vec::with_capacity(SECRET_DIGITS + CHECK_DIGITS));
        for typed in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
            if digits.len() == SECRET_DIGITS + CHECK_DIGITS {
                return Err(VaultError::RecoveryCodeTypo);
            }
            digits.push(digit(typed).ok_or(VaultError::RecoveryCodeTypo)?);
        }
        if digits.len() != SECRET_DIGITS + CHECK_DIGITS {
            return Err(VaultError::RecoveryCodeTypo);
        }
        let mut secret = Zeroizing::new([0; SECRET_SIZE]);
        for (chunk, digits) in secret.chunks_exact_mut(5).zip(digits.chunks_exact(8)) {
            let bits = digits.iter().fold(0_u64, |bits, digit| (bits << 5) | u64::from(*digit));
            chunk.copy_from_slice(&bits.to_be_bytes()[3..]);
        }
        let code = Self(Private::new(*secret));
        if code.digits() == digits { Ok(code) } else { Err(VaultError::RecoveryCodeTypo) }
    }
}

fn digit(typed: char) -> Option<u8> {
    let meant = match typed.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    ALPHABET.iter().position(|c| char::from(*c) == meant).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> RecoveryCode {
        RecoveryCode::generate(&Environment::seeded(5, 0).0)
    }

    #[test]
    fn the_code_is_read_as_people_type_it() {
        let code = code();
        let text = code.reveal().expose().clone();
        assert_eq!(text.split('-').map(str::len).collect::<Vec<_>>(), [4; 9]);
        for typed in [
            text.clone(),
            text.to_lowercase(),
            text.replace('-', " "),
            format!(" {}\n", text.replace('-', "")),
            text.replace('0', "o").replace('1', "l"),
        ] {
            assert_eq!(typed.parse::<RecoveryCode>().unwrap(), code);
        }
        assert_eq!(format!("{code:?}"), "RecoveryCode(private)");
    }

    #[test]
    fn a_typing_error_is_found() {
        let text = code().reveal().expose().clone();
        let typo = |text: &str| {
            assert!(matches!(text.parse::<RecoveryCode>(), Err(VaultError::RecoveryCodeTypo)));
        };
        typo("");
        typo("U");
        typo(&text[..text.len() - 1]);
        typo(&format!("{text}0"));
        for place in (0..text.len()).filter(|place| text.as_bytes()[*place] != b'-') {
            let mut altered = text.clone().into_bytes();
            altered[place] = if altered[place] == b'7' { b'8' } else { b'7' };
            typo(&String::from_utf8(altered).unwrap());
        }
    }
}
