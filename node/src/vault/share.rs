//! Sharing a key with one recipient: HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256) with
//! HKDF-SHA256 and ChaCha20-Poly1305.
//!
//! A wrap is bound to the practice, to what the key is for and to its recipient, so that none can be
//! passed off as another. It does not prove who made it: the entry around it does.

use super::cipher::Secret;
use super::error::VaultError;
use crate::base::environment::Environment;
use crate::base::private::Private;
use crate::identity::statement::{Check, EpochKind, KeyWrap};
use carnet_sync_protocol::id::{HpkeKey, NodeId, PracticeId};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::fmt;

/// What a wrapped key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An epoch's key.
    Epoch(EpochKind, Check),
    /// The pseudonym key.
    Pseudonym(Check),
    /// The practice key, for the recovery code.
    PracticeKey,
    /// The key of one node's keyring, for the recovery code.
    Keyring(NodeId),
    /// The key of a backup, for the node that made it.
    Backup(NodeId),
}

/// An X25519 secret, to which keys are wrapped.
#[derive(Clone)]
pub struct HpkeSecret(Secret);

impl HpkeSecret {
    /// A new one.
    pub fn generate(environment: &Environment) -> Self {
        Self(Private::new(environment.random()))
    }

    /// The secret of these bytes.
    pub const fn from_seed(seed: Private<[u8; 32]>) -> Self {
        Self(seed)
    }

    /// The bytes, for sealing.
    pub const fn seed(&self) -> &Private<[u8; 32]> {
        &self.0
    }

    /// The public half.
    pub fn public(&self) -> HpkeKey {
        HpkeKey(X25519HkdfSha256::sk_to_pk(&self.key()).to_bytes().into())
    }

    fn key(&self) -> <X25519HkdfSha256 as Kem>::PrivateKey {
        Deserializable::from_bytes(self.0.expose()).expect("32 bytes are an X25519 secret")
    }
}

impl fmt::Debug for HpkeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HpkeSecret(private)")
    }
}

/// Wraps a secret to a recipient; fails only if the recipient's key is unusable.
pub fn wrap(
    environment: &Environment,
    practice: PracticeId,
    purpose: Purpose,
    recipient: HpkeKey,
    secret: &Private<[u8; 32]>,
) -> Result<KeyWrap, VaultError> {
    let key = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(recipient.as_bytes())
        .map_err(|_| VaultError::UnusableKey)?;
    let (encapsulated, sealed) =
        hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &key,
            &info(practice, purpose, recipient),
            secret.expose(),
            &[],
            &mut ChaCha20Rng::from_seed(environment.random()),
        )
        .map_err(|_| VaultError::UnusableKey)?;
    Ok(KeyWrap { recipient, encapsulated: encapsulated.to_bytes().into(), sealed })
}

/// Takes out what was wrapped for this practice, purpose and recipient.
pub fn unwrap(
    recipient: &HpkeSecret,
    practice: PracticeId,
    purpose: Purpose,
    wrap: &KeyWrap,
) -> Result<Private<[u8; 32]>, VaultError> {
    let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&wrap.encapsulated)
        .map_err(|_| VaultError::NotAuthentic)?;
    let secret = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &recipient.key(),
        &encapsulated,
        &info(practice, purpose, recipient.public()),
        &wrap.sealed,
        &[],
    )
    .map(Private::new)
    .map_err(|_| VaultError::NotAuthentic)?;
    secret.expose().as_slice().try_into().map(Private::new).map_err(|_| VaultError::Malformed)
}

fn info(practice: PracticeId, purpose: Purpose, recipient: HpkeKey) -> Vec<u8> {
    let mut info = b"carnet 2026 wrap v1".to_vec();
    info.extend_from_slice(practice.as_bytes());
    match purpose {
        Purpose::Epoch(kind, check) => {
            info.extend_from_slice(&[1, kind.number()]);
            info.extend_from_slice(&check.0);
        }
        Purpose::Pseudonym(check) => {
            info.push(2);
            info.extend_from_slice(&check.0);
        }
        Purpose::PracticeKey => info.push(3),
        Purpose::Keyring(node) => {
            info.push(4);
            info.extend_from_slice(node.as_bytes());
        }
        Purpose::Backup(node) => {
            info.push(5);
            info.extend_from_slice(node.as_bytes());
        }
    }
    info.extend_from_slice(recipient.as_bytes());
    info
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use super::*;

    const PRACTICE: PracticeId = PracticeId([1; 32]);

    #[test]
    fn a_wrap_opens_for_its_recipient_practice_and_purpose_only() {
        let (environment, _) = Environment::seeded(2, 0);
        let (mine, other) =
            (HpkeSecret::generate(&environment), HpkeSecret::generate(&environment));
        let purpose = Purpose::Epoch(EpochKind::General, Check([3; 16]));
        let secret = Private::new([4; 32]);
        let wrapped = wrap(&environment, PRACTICE, purpose, mine.public(), &secret).unwrap();
        assert_eq!(unwrap(&mine, PRACTICE, purpose, &wrapped).unwrap(), secret);
        assert!(unwrap(&other, PRACTICE, purpose, &wrapped).is_err());
        assert!(unwrap(&mine, PracticeId([2; 32]), purpose, &wrapped).is_err());
        for elsewhere in [
            Purpose::Epoch(EpochKind::Restricted, Check([3; 16])),
            Purpose::Epoch(EpochKind::General, Check([9; 16])),
            Purpose::Pseudonym(Check([3; 16])),
            Purpose::PracticeKey,
            Purpose::Keyring(NodeId([3; 32])),
        ] {
            assert!(unwrap(&mine, PRACTICE, elsewhere, &wrapped).is_err());
        }
        for place in 0..32 {
            let mut altered = wrapped.clone();
            altered.encapsulated[place] ^= 1;
            assert!(unwrap(&mine, PRACTICE, purpose, &altered).is_err());
        }
        for place in 0..wrapped.sealed.len() {
            let mut altered = wrapped.clone();
            altered.sealed[place] ^= 1;
            assert!(unwrap(&mine, PRACTICE, purpose, &altered).is_err());
            altered.sealed.truncate(place);
            assert!(unwrap(&mine, PRACTICE, purpose, &altered).is_err());
        }
    }

    #[test]
    fn a_key_of_small_order_is_refused_by_both_sides() {
        let (environment, _) = Environment::seeded(2, 0);
        let secret = Private::new([4; 32]);
        let refused = wrap(&environment, PRACTICE, Purpose::PracticeKey, HpkeKey::ZERO, &secret);
        assert!(matches!(refused, Err(VaultError::UnusableKey)));
        let mine = HpkeSecret::generate(&environment);
        let forged =
            KeyWrap { recipient: mine.public(), encapsulated: [0; 32], sealed: vec![0; 48] };
        assert!(unwrap(&mine, PRACTICE, Purpose::PracticeKey, &forged).is_err());
    }
}
