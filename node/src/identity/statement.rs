//! Control statements: the clear entries of the control channel, from which every node computes who
//! belongs to the practice and which keys there are.
//!
//! A payload is the kind's number and the statement's canonical bytes. A kind that this version
//! does not know is kept as it is: entries of newer versions are passed on, not shown. What is
//! sealed or wrapped inside a statement is opaque here; `vault` makes and opens it.

use carnet_sync_protocol::certificate::{Certificate, Revocation};
use carnet_sync_protocol::entry::{SignatureBytes, sign, verify};
use carnet_sync_protocol::error::Violation;
use carnet_sync_protocol::id::{Channel, EpochId, HpkeKey, PracticeId};
use carnet_sync_protocol::wire;
use ed25519_dalek::SigningKey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A statement's payload: room for 4096 wraps of 120 bytes.
pub const STATEMENT_BYTES_MAX: usize = 512 << 10;

/// Key wraps in one statement: one for each node of a large practice.
pub const WRAPS_MAX: usize = 4096;

/// Parents of one epoch: far more than partitions that rotate at once.
pub const PARENTS_MAX: usize = 64;

/// The bytes of a practice's name.
pub const PRACTICE_NAME_BYTES_MAX: usize = 128;

const PRACTICE_DOMAIN: &str = "carnet practice v1";

/// Why a payload is not a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Empty, too long, or not canonical.
    #[error("a control statement cannot be read")]
    Malformed,
    /// More wraps or parents than allowed, or a name that is none.
    #[error("a control statement exceeds a bound")]
    Bounds,
}

/// What a public hash of a secret key shows: that a key is the one that was meant, and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Check(pub [u8; 16]);

impl Check {
    /// The first half of a hash.
    pub fn from_hash(hash: &blake3::Hash) -> Self {
        let mut check = [0; 16];
        check.copy_from_slice(&hash.as_bytes()[..16]);
        Self(check)
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Which of the practice's two families of keys an epoch belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EpochKind {
    /// Everything but what is labelled restricted.
    General,
    /// The restricted channel.
    Restricted,
}

impl EpochKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::General, Self::Restricted];

    /// The kind's number in hashes.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind under which a channel is sealed; nothing for the clear control channel.
    pub const fn of(channel: Channel) -> Option<Self> {
        match channel {
            Channel::Control => None,
            Channel::Restricted => Some(Self::Restricted),
            Channel::Staff
            | Channel::Critical
            | Channel::Clinical
            | Channel::Administrative
            | Channel::Audit => Some(Self::General),
        }
    }
}

/// A secret, wrapped by HPKE to one recipient.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyWrap {
    /// To whom.
    pub recipient: HpkeKey,
    /// HPKE's encapsulated key.
    pub encapsulated: [u8; 32],
    /// The sealed secret.
    pub sealed: Vec<u8>,
}

/// What the practice says of itself, under its own key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PracticeBody {
    /// The practice.
    pub practice: PracticeId,
    /// The greatest counts; 0 is made at the practice's foundation.
    pub revision: u64,
    /// What people call it.
    pub name: String,
    /// The public half of the key that the recovery code gives.
    pub recovery: HpkeKey,
    /// Tells the pseudonym key from any other.
    pub pseudonym_check: Check,
    /// The practice key's seed, wrapped to the recovery key.
    pub key: KeyWrap,
}

/// [`PracticeBody`] with the practice's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PracticeStatement {
    /// What it says.
    pub body: PracticeBody,
    /// By the practice key.
    pub signature: SignatureBytes,
}

impl PracticeStatement {
    /// Signs with the practice key.
    pub fn sign(body: PracticeBody, practice_key: &SigningKey) -> Self {
        let signature = sign(practice_key, PRACTICE_DOMAIN, &wire::encode(&body));
        Self { body, signature }
    }

    /// Checks that this practice says so.
    pub fn verify(&self, practice: PracticeId) -> Result<(), Violation> {
        if self.body.practice != practice {
            return Err(Violation::Practice);
        }
        let message = wire::encode(&self.body);
        verify(practice.as_bytes(), PRACTICE_DOMAIN, &message, &self.signature)
    }
}

/// An older epoch's secret, sealed under a newer one, so that who joins later reads history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedParent {
    /// The older epoch.
    pub epoch: EpochId,
    /// The nonce.
    pub nonce: [u8; 24],
    /// The sealed secret.
    pub payload: Vec<u8>,
}

/// A new epoch; its id is that of the entry that brings it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochStatement {
    /// The family.
    pub kind: EpochKind,
    /// Tells its key from any other.
    pub check: Check,
    /// The epochs that it takes over from.
    pub parents: Vec<SealedParent>,
    /// Its key, for each who may have it.
    pub wraps: Vec<KeyWrap>,
}

/// The pseudonym key, for each who may have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PseudonymStatement {
    /// Tells the key from any other.
    pub check: Check,
    /// The key.
    pub wraps: Vec<KeyWrap>,
}

/// Which key a later wrap brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WrapSubject {
    /// An epoch's.
    Epoch(EpochId),
    /// The pseudonym key.
    Pseudonym,
}

/// A key that is there already, for nodes that came later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrapStatement {
    /// Which key.
    pub subject: WrapSubject,
    /// For whom.
    pub wraps: Vec<KeyWrap>,
}

/// A clear entry of the control channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlStatement {
    /// What the practice says of itself.
    Practice(Box<PracticeStatement>),
    /// A node belongs.
    Certificate(Box<Certificate>),
    /// A node is revoked, suspended or reinstated.
    Revocation(Box<Revocation>),
    /// A new epoch.
    Epoch(EpochStatement),
    /// The pseudonym key.
    Pseudonym(PseudonymStatement),
    /// A key for nodes that came later.
    Wrap(WrapStatement),
    /// Something that a newer version said.
    Unknown {
        /// The kind's number.
        kind: u8,
        /// The statement.
        bytes: Vec<u8>,
    },
}

impl ControlStatement {
    /// The payload of an entry.
    pub fn to_payload(&self) -> Vec<u8> {
        let (kind, body) = match self {
            Self::Practice(statement) => (1, wire::encode(statement)),
            Self::Certificate(certificate) => (2, wire::encode(certificate)),
            Self::Revocation(revocation) => (3, wire::encode(revocation)),
            Self::Epoch(statement) => (4, wire::encode(statement)),
            Self::Pseudonym(statement) => (5, wire::encode(statement)),
            Self::Wrap(statement) => (6, wire::encode(statement)),
            Self::Unknown { kind, bytes } => (*kind, bytes.clone()),
        };
        let mut payload = Vec::with_capacity(1 + body.len());
        payload.push(kind);
        payload.extend_from_slice(&body);
        payload
    }

    /// The statement of a payload, within bounds. Signatures are not checked here.
    pub fn from_payload(payload: &[u8]) -> Result<Self, StatementError> {
        if payload.len() > STATEMENT_BYTES_MAX {
            return Err(StatementError::Bounds);
        }
        let (kind, body) = payload.split_first().ok_or(StatementError::Malformed)?;
        let statement = match kind {
            1 => Self::Practice(Box::new(decode(body)?)),
            2 => Self::Certificate(Box::new(decode(body)?)),
            3 => Self::Revocation(Box::new(decode(body)?)),
            4 => Self::Epoch(decode(body)?),
            5 => Self::Pseudonym(decode(body)?),
            6 => Self::Wrap(decode(body)?),
            _ => Self::Unknown { kind: *kind, bytes: body.to_vec() },
        };
        if statement.is_within_bounds() { Ok(statement) } else { Err(StatementError::Bounds) }
    }

    fn is_within_bounds(&self) -> bool {
        match self {
            Self::Practice(statement) => is_practice_name(&statement.body.name),
            Self::Epoch(epoch) => {
                epoch.wraps.len() <= WRAPS_MAX && epoch.parents.len() <= PARENTS_MAX
            }
            Self::Pseudonym(PseudonymStatement { wraps, .. })
            | Self::Wrap(WrapStatement { wraps, .. }) => wraps.len() <= WRAPS_MAX,
            Self::Certificate(_) | Self::Revocation(_) | Self::Unknown { .. } => true,
        }
    }
}

/// Whether a text can be a practice's name.
pub fn is_practice_name(name: &str) -> bool {
    !name.trim().is_empty()
        && name.len() <= PRACTICE_NAME_BYTES_MAX
        && !name.chars().any(char::is_control)
}

fn decode<T: Serialize + DeserializeOwned>(body: &[u8]) -> Result<T, StatementError> {
    wire::decode(body).map_err(|_| StatementError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap() -> KeyWrap {
        KeyWrap { recipient: HpkeKey([1; 32]), encapsulated: [2; 32], sealed: vec![3; 48] }
    }

    fn epoch() -> EpochStatement {
        EpochStatement {
            kind: EpochKind::Restricted,
            check: Check([4; 16]),
            parents: vec![SealedParent {
                epoch: EpochId([5; 16]),
                nonce: [6; 24],
                payload: vec![7; 48],
            }],
            wraps: vec![wrap()],
        }
    }

    #[test]
    fn a_statement_is_read_as_it_was_written_and_in_no_other_form() {
        for statement in [
            ControlStatement::Epoch(epoch()),
            ControlStatement::Pseudonym(PseudonymStatement {
                check: Check([4; 16]),
                wraps: vec![wrap()],
            }),
            ControlStatement::Wrap(WrapStatement {
                subject: WrapSubject::Epoch(EpochId([5; 16])),
                wraps: vec![wrap()],
            }),
        ] {
            let payload = statement.to_payload();
            assert_eq!(ControlStatement::from_payload(&payload), Ok(statement));
            for length in 1..payload.len() {
                let cut = ControlStatement::from_payload(&payload[..length]);
                assert_eq!(cut, Err(StatementError::Malformed));
            }
            let longer = [payload, vec![0]].concat();
            assert_eq!(ControlStatement::from_payload(&longer), Err(StatementError::Malformed));
        }
        assert_eq!(ControlStatement::from_payload(&[]), Err(StatementError::Malformed));
    }

    #[test]
    fn what_a_newer_version_says_is_kept_as_it_is() {
        let payload = [200, 1, 2, 3];
        let statement = ControlStatement::from_payload(&payload).unwrap();
        assert_eq!(statement, ControlStatement::Unknown { kind: 200, bytes: vec![1, 2, 3] });
        assert_eq!(statement.to_payload(), payload);
    }

    #[test]
    fn a_statement_beyond_its_bounds_is_refused() {
        let mut crowded = epoch();
        crowded.parents = vec![crowded.parents[0].clone(); PARENTS_MAX + 1];
        let payload = ControlStatement::Epoch(crowded).to_payload();
        assert_eq!(ControlStatement::from_payload(&payload), Err(StatementError::Bounds));
        let payload = vec![200; STATEMENT_BYTES_MAX + 1];
        assert_eq!(ControlStatement::from_payload(&payload), Err(StatementError::Bounds));
        assert!(is_practice_name("Casamance") && !is_practice_name(" "));
        assert!(!is_practice_name("a\nb") && !is_practice_name(&"x".repeat(129)));
    }

    #[test]
    fn every_sealed_channel_has_a_kind_of_epoch() {
        let kinds: Vec<_> = Channel::ALL.into_iter().filter_map(EpochKind::of).collect();
        assert_eq!(kinds.len(), Channel::ALL.len() - 1);
        assert_eq!(EpochKind::of(Channel::Restricted), Some(EpochKind::Restricted));
    }
}
