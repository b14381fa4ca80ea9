//! The ledger entry: its header, canonical bytes, id, and the signed run in which entries travel.
//!
//! An entry is one sealed change of one document (or one clear control statement). Its header
//! names the entry before it in the same log, so that one signature over the last entry of a
//! [`Run`] vouches for all of them. [`Run::verify`] is the only way to a [`VerifiedRun`]: whoever
//! holds one knows that the hashes, the chain and the author's signature are right. Whether the
//! author is certified by the practice is not known here.

use crate::error::Violation;
use crate::id::{Author, Channel, DocumentId, EntryId, EpochId, LogId, PracticeId};
use crate::limit;
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

/// What a run carries of one entry: what can't be derived from the run or from the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunItem {
    /// See [`Header::document`].
    pub document: DocumentId,
    /// See [`Header::epoch`].
    pub epoch: EpochId,
    /// See [`Header::codec`].
    pub codec: Codec,
    /// See [`Header::nonce`].
    pub nonce: [u8; 24],
    /// See [`Header::time`].
    pub time: HybridTime,
    /// The payload.
    pub payload: Vec<u8>,
}

/// Consecutive entries of one log, with the author's signature over the last of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The log.
    pub log: LogId,
    /// The sequence of the first item.
    pub first_sequence: u64,
    /// The id of the entry before the first item; zero at the log's beginning.
    pub previous: EntryId,
    /// The entries; at least one.
    pub items: Vec<RunItem>,
    /// The signature, in two halves because serde knows arrays up to 32.
    pub signature: SignatureBytes,
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

/// A run whose hashes, chain and signature have been checked; made only by [`Run::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRun {
    log: LogId,
    entries: Vec<Entry>,
    signature: SignatureBytes,
}

impl VerifiedRun {
    /// The log.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// The entries, in order; at least one.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The author's signature over the last entry.
    pub fn signature(&self) -> &SignatureBytes {
        &self.signature
    }

    /// The last entry, which the signature covers.
    pub fn last(&self) -> &Entry {
        self.entries.last().expect("a verified run has at least one entry")
    }

    /// The entries and the signature over the last of them.
    pub fn into_parts(self) -> (Vec<Entry>, SignatureBytes) {
        (self.entries, self.signature)
    }
}

impl Run {
    /// Recomputes every header and id, and checks the author's signature over the last one.
    pub fn verify(self, practice: PracticeId) -> Result<VerifiedRun, Violation> {
        if self.items.is_empty() || self.items.len() > limit::RUN_ENTRIES_MAX {
            return Err(Violation::RunLength);
        }
        if self.first_sequence == 0
            || (self.first_sequence == 1) != (self.previous == EntryId::ZERO)
        {
            return Err(Violation::Chain);
        }
        let mut previous = self.previous;
        let mut entries = Vec::with_capacity(self.items.len());
        for (sequence, item) in (self.first_sequence..).zip(self.items) {
            if item.payload.len() > limit::PAYLOAD_BYTES_MAX {
                return Err(Violation::PayloadLength);
            }
            let header = Header {
                practice,
                log: self.log,
                sequence,
                previous,
                document: item.document,
                epoch: item.epoch,
                codec: item.codec,
                nonce: item.nonce,
                time: item.time,
                payload_length: item.payload.len() as u32,
                payload_hash: *blake3::hash(&item.payload).as_bytes(),
            };
            let id = header.id();
            entries.push(Entry { id, header, payload: item.payload });
            previous = id;
        }
        verify(
            self.log.author.node.as_bytes(),
            ENTRY_DOMAIN,
            previous.as_bytes(),
            &self.signature,
        )?;
        Ok(VerifiedRun { log: self.log, entries, signature: self.signature })
    }

    /// The run that carries these consecutive entries of one log, or nothing if there are none.
    pub fn from_entries(entries: Vec<Entry>, signature: SignatureBytes) -> Option<Self> {
        let first = &entries.first()?.header;
        let (log, first_sequence, previous) = (first.log, first.sequence, first.previous);
        let items = entries
            .into_iter()
            .map(|entry| RunItem {
                document: entry.header.document,
                epoch: entry.header.epoch,
                codec: entry.header.codec,
                nonce: entry.header.nonce,
                time: entry.header.time,
                payload: entry.payload,
            })
            .collect();
        Some(Self { log, first_sequence, previous, items, signature })
    }
}
