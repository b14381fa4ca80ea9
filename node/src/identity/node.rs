//! A signing key in memory.

use crate::base::environment::Environment;
use crate::base::private::Private;
use ed25519_dalek::SigningKey;
use std::fmt;

/// An Ed25519 secret: a node's entry key, its transport key, or the practice's key.
///
/// It never prints, and is wiped when dropped.
#[derive(Clone)]
pub struct SigningSecret {
    seed: Private<[u8; 32]>,
    key: SigningKey,
}

impl SigningSecret {
    /// A new key.
    pub fn generate(environment: &Environment) -> Self {
        Self::from_seed(Private::new(environment.random()))
    }

    /// The key that this seed gives.
    pub fn from_seed(seed: Private<[u8; 32]>) -> Self {
        let key = SigningKey::from_bytes(seed.expose());
        Self { seed, key }
    }

    /// The seed, for sealing.
    pub const fn seed(&self) -> &Private<[u8; 32]> {
        &self.seed
    }

    /// The key, for signing.
    pub const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(private)")
    }
}
