//! The ledger entry: its header, canonical bytes, id and signature.
//!
//! An entry is one sealed change of one document (or one clear control statement). Its header
//! names the entry before it in the same log, so that one signature over the last entry of a
//! [`Run`] vouches for all of them.

use crate::error::Violation;
use crate::id::{Author, DocumentId, EntryId, EpochId, LogId, PracticeId};
pub use crate::run::{Run, RunItem, VerifiedRun};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

/// The version of the header's layout.
pub const HEADER_VERSION: u8 = 1;

/// The number of bytes of a canonical header.
pub const HEADER_SIZE: usize = 216;

/// How a payload is encoded; 0 and 1 are clear text, from 16 on sealed by the node's vault.
///
/// A number that a node does not know is kept and passed on, and not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Codec(pub u16);

impl Codec {
    /// The clear first entry of a log, which declares the incarnation (see [`Opening`]).
    pub const OPENING: Self = Self(0);
    /// A clear control statement.
    pub const STATEMENT: Self = Self(1);
}

/// A hybrid logical time, for display only: milliseconds since 1970 (48 bits) and a counter (16).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct HybridTime(pub u64);

impl HybridTime {
    /// The time of day in milliseconds since 1970-01-01T00:00:00Z.
    pub const fn unix_ms(self) -> u64 {
        self.0 >> 16
    }

    /// The first hybrid time of this millisecond.
    pub const fn from_unix_ms(unix_ms: u64) -> Self {
        Self(unix_ms << 16)
    }

    /// The next time to give out when the wall clock shows `unix_ms`: never before `self`.
    #[must_use]
    pub const fn tick(self, unix_ms: u64) -> Self {
        let wall = Self::from_unix_ms(unix_ms);
        if wall.0 > self.0 { wall } else { Self(self.0 + 1) }
    }
}

/// What the first entry of a log says of its author; the payload of [`Codec::OPENING`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The last entry that the same node is known to have written in this channel before.
    pub predecessor: Option<(Author, u64, EntryId)>,
}

/// An entry's header. Its canonical form is [`Header::to_bytes`]; no patient's id is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The practice.
    pub practice: PracticeId,
    /// The log: channel and author.
    pub log: LogId,
    /// The place in the log, from 1.
    pub sequence: u64,
    /// The id of the entry before it; zero for the first.
    pub previous: EntryId,
    /// The document that it changes; zero for statements.
    pub document: DocumentId,
    /// The key epoch under which it is sealed; zero for clear text.
    pub epoch: EpochId,
    /// How the payload is encoded.
    pub codec: Codec,
    /// The nonce, a keyed commitment to the uncompressed change; zero for clear text.
    pub nonce: [u8; 24],
    /// When it was written, by the author's clock.
    pub time: HybridTime,
    /// The payload's length in bytes.
    pub payload_length: u32,
    /// The BLAKE3 hash of the payload as it travels.
    pub payload_hash: [u8; 32],
}

impl Header {
    /// The canonical encoding: fixed places, integers in big-endian order.
    pub fn to_bytes(&self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        let mut rest = &mut bytes[..];
        let mut put = |field: &[u8]| {
            let (place, after) = std::mem::take(&mut rest).split_at_mut(field.len());
            place.copy_from_slice(field);
            rest = after;
        };
        put(&[HEADER_VERSION]);
        put(self.practice.as_bytes());
        put(&[self.log.channel.number()]);
        put(self.log.author.node.as_bytes());
        put(self.log.author.incarnation.as_bytes());
        put(&self.sequence.to_be_bytes());
        put(self.previous.as_bytes());
        put(self.document.as_bytes());
        put(self.epoch.as_bytes());
        put(&self.codec.0.to_be_bytes());
        put(&self.nonce);
        put(&self.time.0.to_be_bytes());
        put(&self.payload_length.to_be_bytes());
        put(&self.payload_hash);
        bytes
    }

    /// The entry's id.
    pub fn id(&self) -> EntryId {
        let mut hasher = blake3::Hasher::new_derive_key("carnet 2026 entry id v1");
        hasher.update(&self.to_bytes());
        EntryId(*hasher.finalize().as_bytes())
    }

    /// The fields to which a sealed payload is bound: all but what is known only after sealing
    /// (nonce, length, hash) and the previous id, so that a payload can be sealed before its
    /// place in the chain is final.
    pub fn associated_data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(124);
        data.push(HEADER_VERSION);
        data.extend_from_slice(self.practice.as_bytes());
        data.push(self.log.channel.number());
        data.extend_from_slice(self.log.author.node.as_bytes());
        data.extend_from_slice(self.log.author.incarnation.as_bytes());
        data.extend_from_slice(&self.sequence.to_be_bytes());
        data.extend_from_slice(self.document.as_bytes());
        data.extend_from_slice(self.epoch.as_bytes());
        data.extend_from_slice(&self.codec.0.to_be_bytes());
        data.extend_from_slice(&self.time.0.to_be_bytes());
        data
    }
}

/// An entry held whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The header's hash.
    pub id: EntryId,
    /// The header.
    pub header: Header,
    /// The payload as it travels: sealed, or a clear statement.
    pub payload: Vec<u8>,
}

/// An Ed25519 signature's 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureBytes(pub [u8; 32], pub [u8; 32]);

impl From<Signature> for SignatureBytes {
    fn from(signature: Signature) -> Self {
        Self(*signature.r_bytes(), *signature.s_bytes())
    }
}

impl From<&SignatureBytes> for Signature {
    fn from(bytes: &SignatureBytes) -> Self {
        Signature::from_components(bytes.0, bytes.1)
    }
}

impl SignatureBytes {
    /// The 64 bytes in one piece.
    pub fn to_bytes(&self) -> [u8; 64] {
        Signature::from(self).to_bytes()
    }

    /// The signature from its 64 bytes.
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        Signature::from_bytes(bytes).into()
    }
}

/// Signs `message` for one purpose: `domain` keeps a signature from being shown for another.
pub fn sign(key: &SigningKey, domain: &str, message: &[u8]) -> SignatureBytes {
    key.sign(&signing_input(domain, message)).into()
}

/// Checks what [`sign`] made, strictly (no small-order keys, no malleable signatures).
pub fn verify(
    key: &[u8; 32],
    domain: &str,
    message: &[u8],
    signature: &SignatureBytes,
) -> Result<(), Violation> {
    let key = VerifyingKey::from_bytes(key).map_err(|_| Violation::Signature)?;
    key.verify_strict(&signing_input(domain, message), &signature.into())
        .map_err(|_| Violation::Signature)
}

fn signing_input(domain: &str, message: &[u8]) -> Vec<u8> {
    let mut input = Vec::with_capacity(domain.len() + 2 + message.len());
    input.extend_from_slice(domain.as_bytes());
    input.push(0);
    input.extend_from_slice(message);
    input
}

/// The domain of signatures over entry ids.
pub const ENTRY_DOMAIN: &str = "carnet entry v1";

/// Signs the last entry of what is committed together.
pub fn sign_entry(key: &SigningKey, id: EntryId) -> SignatureBytes {
    sign(key, ENTRY_DOMAIN, id.as_bytes())
}
