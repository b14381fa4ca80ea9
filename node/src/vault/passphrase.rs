//! A small secret, locked with a passphrase: Argon2id (RFC 9106), then the vault's cipher.
//!
//! What a file says of the cost of Argon2 is bounded before any memory is taken.

use super::cipher::{self, NONCE_SIZE};
use super::error::VaultError;
use crate::base::environment::Environment;
use crate::base::private::Private;
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// What a guess costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// What the product uses: 64 MiB and three passes, about a sixth of a second.
    pub const PRODUCT: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 1 };

    /// The least that Argon2 knows, so that tests are quick.
    #[cfg(test)]
    pub(crate) const CHEAP: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };

    /// What is accepted from a file: up to four times the product's memory.
    const fn is_bounded(self) -> bool {
        self.memory_kib <= 256 << 10 && self.passes <= 16 && self.lanes <= 4
    }
}

/// A 32-byte secret locked with a passphrase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locked {
    cost: Cost,
    salt: [u8; 16],
    nonce: [u8; NONCE_SIZE],
    sealed: Vec<u8>,
}

impl Locked {
    /// Locks `secret`; `context` says what it is, and is needed to unlock it.
    pub fn lock(
        environment: &Environment,
        cost: Cost,
        passphrase: &Private<String>,
        context: &[u8],
        secret: &Private<[u8; 32]>,
    ) -> Result<Self, VaultError> {
        if passphrase.expose().is_empty() {
            return Err(VaultError::EmptyPassphrase);
        }
        let (salt, nonce) = (environment.random(), environment.random());
        let key = stretch(cost, passphrase, &salt).ok_or(VaultError::Malformed)?;
        let sealed = cipher::encrypt(&key, &nonce, context, secret.expose());
        Ok(Self { cost, salt, nonce, sealed })
    }

    /// What no passphrase unlocks, and takes as long to try. Made without the cost of Argon2.
    pub fn decoy(environment: &Environment) -> Self {
        Self {
            cost: Cost::PRODUCT,
            salt: environment.random(),
            nonce: environment.random(),
            sealed: environment.random::<48>().into(),
        }
    }

    /// The secret, if the passphrase is right.
    pub fn unlock(
        &self,
        passphrase: &Private<String>,
        context: &[u8],
    ) -> Result<Private<[u8; 32]>, VaultError> {
        let key = stretch(self.cost, passphrase, &self.salt).ok_or(VaultError::Malformed)?;
        let secret = cipher::decrypt(&key, &self.nonce, context, &self.sealed)
            .map(Private::new)
            .map_err(|_| VaultError::WrongSecret("passphrase"))?;
        secret.expose().as_slice().try_into().map(Private::new).map_err(|_| VaultError::Malformed)
    }
}

/// The key that a passphrase gives, unless the cost is out of bounds.
fn stretch(cost: Cost, passphrase: &Private<String>, salt: &[u8; 16]) -> Option<cipher::Secret> {
    if !cost.is_bounded() {
        return None;
    }
    let parameters = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).ok()?;
    // The same accented letter comes as one character or two, depending on the keyboard.
    let typed: Private<String> = Private::new(passphrase.expose().nfc().collect());
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
        .hash_password_into(typed.expose().as_bytes(), salt, &mut key)
        .ok()?;
    Some(Private::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Private<String> {
        Private::new(text.to_owned())
    }

    fn locked(text: &str) -> Locked {
        let (environment, _) = Environment::seeded(3, 0);
        let secret = Private::new([7; 32]);
        Locked::lock(&environment, Cost::CHEAP, &passphrase(text), b"test", &secret).unwrap()
    }

    #[test]
    fn only_the_passphrase_and_the_context_unlock() {
        let locked = locked("correct horse");
        let secret = locked.unlock(&passphrase("correct horse"), b"test").unwrap();
        assert_eq!(secret, Private::new([7; 32]));
        for (typed, context) in [("correct  horse", &b"test"[..]), ("correct horse", b"other")] {
            let refused = locked.unlock(&passphrase(typed), context);
            assert!(matches!(refused, Err(VaultError::WrongSecret("passphrase"))));
        }
    }

    #[test]
    fn an_accent_may_be_typed_in_either_way() {
        assert!(locked("caf\u{e9}").unlock(&passphrase("cafe\u{301}"), b"test").is_ok());
    }

    #[test]
    fn a_file_cannot_ask_for_more_memory_or_time_than_allowed() {
        let bomb = |cost| Locked { cost, ..locked("x") }.unlock(&passphrase("x"), b"test");
        for cost in [
            Cost { memory_kib: u32::MAX, ..Cost::CHEAP },
            Cost { passes: u32::MAX, ..Cost::CHEAP },
            Cost { lanes: 5, ..Cost::CHEAP },
            Cost { memory_kib: 0, passes: 0, lanes: 0 },
        ] {
            assert!(matches!(bomb(cost), Err(VaultError::Malformed)));
        }
    }

    #[test]
    fn the_products_cost_works_and_an_empty_passphrase_does_not() {
        let (environment, _) = Environment::seeded(3, 0);
        let secret = Private::new([7; 32]);
        let lock =
            |text| Locked::lock(&environment, Cost::PRODUCT, &passphrase(text), b"test", &secret);
        assert!(matches!(lock(""), Err(VaultError::EmptyPassphrase)));
        assert_eq!(lock("x").unwrap().unlock(&passphrase("x"), b"test").unwrap(), secret);
    }

    /// RFC 9106 has vectors with a secret and associated data; this is the reference program's
    /// vector for Argon2id v1.3 without them: 64 MiB, t=2, p=1, "password", "somesalt".
    #[test]
    fn argon2id_gives_the_published_bytes() {
        let mut key = [0; 32];
        let parameters = Params::new(65536, 2, 1, Some(32)).unwrap();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
            .hash_password_into(b"password", b"somesalt", &mut key)
            .unwrap();
        let expected = "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7";
        assert_eq!(data_encoding::HEXLOWER.encode(&key), expected);
    }
}
