//! The practice's key, under which everything that a practice's nodes do can be traced.

use super::node::SigningSecret;
use crate::base::environment::Environment;
use crate::base::private::Private;
use carnet_sync_protocol::id::PracticeId;
use ed25519_dalek::SigningKey;

/// The Ed25519 key that certifies and revokes nodes. It is on no node by default: it lies sealed
/// on the first one until it is taken off, because a stolen laptop that holds it would be the
/// practice.
#[derive(Clone, Debug)]
pub struct PracticeKey(SigningSecret);

impl PracticeKey {
    /// A new practice.
    pub fn generate(environment: &Environment) -> Self {
        Self(SigningSecret::generate(environment))
    }

    /// The key that this seed gives.
    pub fn from_seed(seed: Private<[u8; 32]>) -> Self {
        Self(SigningSecret::from_seed(seed))
    }

    /// The practice.
    pub fn id(&self) -> PracticeId {
        PracticeId(self.0.public())
    }

    /// The key, for signing.
    pub const fn key(&self) -> &SigningKey {
        self.0.key()
    }

    /// The seed, for sealing.
    pub const fn seed(&self) -> &Private<[u8; 32]> {
        self.0.seed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_gives_the_same_practice_and_nothing_prints_it() {
        let (environment, _) = Environment::seeded(1, 0);
        let key = PracticeKey::generate(&environment);
        assert_eq!(PracticeKey::from_seed(key.seed().clone()).id(), key.id());
        let printed = format!("{key:?}");
        assert!(printed.contains("private") && !printed.contains(&key.id().to_string()));
    }
}
