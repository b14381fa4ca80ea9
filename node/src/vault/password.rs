//! What checks a member of staff's password or PIN: Argon2id, as for passphrases.
//!
//! The check is a random secret that is locked with the password and thrown away: whoever unlocks
//! it knows the password. It is bound to the user id, so that one person's check is of no use in
//! another's place.

use super::error::VaultError;
use super::passphrase::{Cost, Locked};
use crate::base::environment::Environment;
use crate::base::private::Private;
use carnet_sync_protocol::wire;

/// The fewest characters of a password (NIST SP 800-63B, 5.1.1.2).
pub const PASSWORD_CHARACTERS_MIN: usize = 8;

/// The fewest and the most digits of a PIN.
pub const PIN_DIGITS: std::ops::RangeInclusive<usize> = 4..=12;

/// Makes the check of a password.
pub fn make_check(
    environment: &Environment,
    id: &str,
    password: &Private<String>,
) -> Result<Vec<u8>, VaultError> {
    make_with(environment, Cost::PRODUCT, id, password)
}

fn make_with(
    environment: &Environment,
    cost: Cost,
    id: &str,
    password: &Private<String>,
) -> Result<Vec<u8>, VaultError> {
    let secret = Private::new(environment.random());
    Ok(wire::encode(&Locked::lock(environment, cost, password, &context(id), &secret)?))
}

/// The check of nobody's password, for a user id that nobody has: it takes as long to say no.
pub fn decoy(environment: &Environment) -> Vec<u8> {
    wire::encode(&Locked::decoy(environment))
}

/// Whether a text can be a PIN. One that is all one digit is as good as none.
pub fn is_pin(text: &str) -> bool {
    PIN_DIGITS.contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_digit())
        && text.bytes().any(|b| b != text.as_bytes()[0])
}

/// Whether this is the password. Takes as long whether it is or not.
pub fn check(check: &[u8], id: &str, password: &Private<String>) -> bool {
    wire::decode::<Locked>(check).is_ok_and(|locked| locked.unlock(password, &context(id)).is_ok())
}

fn context(id: &str) -> Vec<u8> {
    [b"carnet staff password v1 ", id.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_of_the_right_person_passes() {
        let (environment, _) = Environment::seeded(3, 0);
        let text = |text: &str| Private::new(text.to_owned());
        let made = make_with(&environment, Cost::CHEAP, "awa", &text("baobab en fleur")).unwrap();
        assert!(check(&made, "awa", &text("baobab en fleur")));
        assert!(!check(&made, "awa", &text("baobab en fleurs")));
        assert!(!check(&made, "ben", &text("baobab en fleur")));
        assert!(!check(&[], "awa", &text("baobab en fleur")));
        let again = make_with(&environment, Cost::CHEAP, "awa", &text("baobab en fleur")).unwrap();
        assert_ne!(made, again, "salted");
    }

    #[test]
    fn a_decoy_looks_like_a_check_and_nothing_opens_it() {
        let (environment, _) = Environment::seeded(3, 0);
        let real = make_check(&environment, "awa", &Private::new("x".to_owned())).unwrap();
        let decoy = decoy(&environment);
        assert_eq!(decoy.len(), real.len());
        assert!(wire::decode::<Locked>(&decoy).is_ok(), "as dear to try as a real one");
        assert!(!check(&decoy, "awa", &Private::new("x".to_owned())));
    }

    #[test]
    fn a_pin_is_four_to_twelve_digits() {
        for pin in ["1234", "0020", "123456789012"] {
            assert!(is_pin(pin), "{pin}");
        }
        for text in ["", "123", "1111", "12a4", "١٢٣٤", "1234567890123", " 1234"] {
            assert!(!is_pin(text), "{text}");
        }
    }
}
