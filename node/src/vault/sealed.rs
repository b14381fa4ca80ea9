//! Sealing: one change of one document, for whoever holds the key of the epoch.
//!
//! The nonce is not chosen but computed, from the change itself and from the place where it stands.
//! So no nonce is ever used for two texts, even after a restore from a backup; and the header,
//! which carries the nonce, commits to the uncompressed change without telling anything of it to
//! who lacks the key.

use super::cipher::{self, NONCE_SIZE, Secret, TAG_SIZE};
use super::compress;
use super::error::VaultError;
use crate::base::environment::Environment;
use crate::base::private::Private;
use crate::identity::statement::{Check, EpochKind};
use carnet_sync_protocol::entry::Header;
use carnet_sync_protocol::id::Channel;
use carnet_sync_protocol::limit::PAYLOAD_BYTES_MAX;
use std::fmt;

/// The step in which restricted changes are padded, so that their length tells little.
const PADDING_STEP: usize = 256;

/// The keys of one epoch: derived from one secret, which is what the nodes share.
#[derive(Clone)]
pub struct EpochKey {
    secret: Secret,
    document: Secret,
    commitment: Secret,
}

impl EpochKey {
    /// The key of a new epoch.
    pub fn generate(environment: &Environment) -> Self {
        Self::from_secret(Private::new(environment.random()))
    }

    /// The epoch of this secret.
    pub fn from_secret(secret: Private<[u8; 32]>) -> Self {
        let document = cipher::derive(&secret, "carnet 2026 document key v1");
        let commitment = cipher::derive(&secret, "carnet 2026 commitment key v1");
        Self { secret, document, commitment }
    }

    /// The secret, for sharing.
    pub const fn secret(&self) -> &Private<[u8; 32]> {
        &self.secret
    }

    /// What an epoch's statement says of its key, so that a wrong key is noticed by whoever gets it.
    pub fn check(&self, kind: EpochKind) -> Check {
        let mut hasher = blake3::Hasher::new_derive_key("carnet 2026 epoch check v1");
        hasher.update(&[kind.number()]);
        hasher.update(self.secret.expose());
        Check::from_hash(&hasher.finalize())
    }

    /// The key under which packs are sealed.
    pub(super) fn pack_key(&self) -> Secret {
        cipher::derive(&self.secret, "carnet 2026 pack key v1")
    }

    /// The nonce of a pack, computed like those of changes, and never one of theirs.
    pub(super) fn commit_pack(&self, associated: &[u8], text: &[u8]) -> [u8; NONCE_SIZE] {
        keyed(&cipher::derive(&self.secret, "carnet 2026 pack nonce v1"), associated, text)
    }

    /// The nonce of a change: a keyed commitment to the change and its place.
    fn commit(&self, associated: &[u8], change: &[u8]) -> [u8; NONCE_SIZE] {
        keyed(&self.commitment, associated, change)
    }
}

fn keyed(key: &Secret, associated: &[u8], text: &[u8]) -> [u8; NONCE_SIZE] {
    let mut hasher = blake3::Hasher::new_keyed(key.expose());
    for part in [associated, text] {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut nonce = [0; NONCE_SIZE];
    hasher.finalize_xof().fill(&mut nonce);
    nonce
}

impl fmt::Debug for EpochKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochKey(private)")
    }
}

/// What goes into an entry: the payload, and the nonce for its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The commitment.
    pub nonce: [u8; NONCE_SIZE],
    /// The sealed, compressed change.
    pub payload: Vec<u8>,
}

/// Seals a change for the place that `header` describes.
///
/// Of the header, the codec says how to compress and the channel whether to pad; its nonce, its
/// payload's length and hash and its previous id are not looked at, and may still be missing.
pub fn seal(key: &EpochKey, header: &Header, change: &[u8]) -> Result<Sealed, VaultError> {
    let mut text = compress::compress(header.codec, change)?;
    if is_padded(header) {
        pad(&mut text, true);
    }
    if text.len() + TAG_SIZE > PAYLOAD_BYTES_MAX {
        return Err(VaultError::TooLarge { max: PAYLOAD_BYTES_MAX });
    }
    let associated = header.associated_data();
    let nonce = key.commit(&associated, change);
    let payload = cipher::encrypt(&key.document, &nonce, &associated, &text);
    Ok(Sealed { nonce, payload })
}

/// Opens the payload of an entry, and checks that the change inside is the one to which the
/// header commits.
pub fn open(key: &EpochKey, header: &Header, payload: &[u8]) -> Result<Vec<u8>, VaultError> {
    if !compress::CODECS.contains(&header.codec) {
        return Err(VaultError::UnknownCodec(header.codec));
    }
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(VaultError::TooLarge { max: PAYLOAD_BYTES_MAX });
    }
    let associated = header.associated_data();
    let text = cipher::decrypt(&key.document, &header.nonce, &associated, payload)?;
    let text = if is_padded(header) { unpadded(&text)? } else { &text };
    let change = compress::decompress(header.codec, text)?;
    // The cipher vouches for the sealed bytes only; whoever holds the key could have sealed another
    // change under this nonce.
    if key.commit(&associated, &change) != header.nonce {
        return Err(VaultError::CommitmentMismatch);
    }
    Ok(change)
}

/// What is sealed in a payload, as it is: for tools that alter it.
pub fn frame(key: &EpochKey, header: &Header, payload: &[u8]) -> Result<Vec<u8>, VaultError> {
    cipher::decrypt(&key.document, &header.nonce, &header.associated_data(), payload)
}

/// Seals such a frame, whatever it holds, under the nonce that the header has.
pub fn seal_frame(key: &EpochKey, header: &Header, frame: &[u8]) -> Vec<u8> {
    cipher::encrypt(&key.document, &header.nonce, &header.associated_data(), frame)
}

/// Whether `change` is the one to which the header commits; the payload is not needed.
pub fn is_committed(key: &EpochKey, header: &Header, change: &[u8]) -> bool {
    key.commit(&header.associated_data(), change) == header.nonce
}

fn is_padded(header: &Header) -> bool {
    header.log.channel == Channel::Restricted
}

/// One marking byte, then zeros to the next step (ISO/IEC 7816-4), or none.
pub(super) fn pad(text: &mut Vec<u8>, to_step: bool) {
    text.push(0x80);
    if to_step {
        text.resize(text.len().next_multiple_of(PADDING_STEP), 0);
    }
}

pub(super) fn unpadded(text: &[u8]) -> Result<&[u8], VaultError> {
    let mark = text.iter().rposition(|byte| *byte != 0).ok_or(VaultError::Malformed)?;
    if text[mark] == 0x80 { Ok(&text[..mark]) } else { Err(VaultError::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carnet_sync_protocol::entry::{Codec, HybridTime};
    use carnet_sync_protocol::id::{
        Author, DocumentId, EntryId, EpochId, Incarnation, LogId, NodeId, PracticeId,
    };

    fn header(channel: Channel) -> Header {
        let author = Author { node: NodeId([2; 32]), incarnation: Incarnation([3; 8]) };
        Header {
            practice: PracticeId([1; 32]),
            log: LogId { channel, author },
            sequence: 4,
            previous: EntryId::ZERO,
            document: DocumentId([5; 16]),
            epoch: EpochId([6; 16]),
            codec: compress::CODEC,
            nonce: [0; 24],
            time: HybridTime::from_unix_ms(7),
            payload_length: 0,
            payload_hash: [0; 32],
        }
    }

    fn key(seed: u8) -> EpochKey {
        EpochKey::from_secret(Private::new([seed; 32]))
    }

    #[test]
    fn a_change_opens_where_it_was_sealed_and_nowhere_else() {
        let mut header = header(Channel::Clinical);
        let sealed = seal(&key(1), &header, b"dose 5 mg").unwrap();
        header.nonce = sealed.nonce;
        assert_eq!(open(&key(1), &header, &sealed.payload).unwrap(), b"dose 5 mg");
        assert!(is_committed(&key(1), &header, b"dose 5 mg"));
        assert!(!is_committed(&key(1), &header, b"dose 9 mg"));
        let refused = |key: &EpochKey, header: &Header| {
            matches!(open(key, header, &sealed.payload), Err(VaultError::NotAuthentic))
        };
        assert!(refused(&key(2), &header));
        type Change = fn(&mut Header);
        let elsewhere: [Change; 9] = [
            |h| h.practice.0[0] ^= 1,
            |h| h.log.channel = Channel::Critical,
            |h| h.log.author.node.0[0] ^= 1,
            |h| h.log.author.incarnation.0[0] ^= 1,
            |h| h.sequence += 1,
            |h| h.document.0[0] ^= 1,
            |h| h.epoch.0[0] ^= 1,
            |h| h.time.0 += 1,
            |h| h.nonce[0] ^= 1,
        ];
        for change in elsewhere {
            let mut other = header.clone();
            change(&mut other);
            assert!(refused(&key(1), &other));
        }
        let mut newer = header.clone();
        newer.codec = Codec(4711);
        assert!(matches!(
            open(&key(1), &newer, &sealed.payload),
            Err(VaultError::UnknownCodec(Codec(4711)))
        ));
    }

    #[test]
    fn what_is_not_known_at_sealing_does_not_matter_for_opening() {
        let mut header = header(Channel::Critical);
        let sealed = seal(&key(1), &header, b"change").unwrap();
        header.nonce = sealed.nonce;
        header.previous = EntryId([9; 32]);
        header.payload_length = sealed.payload.len() as u32;
        header.payload_hash = [9; 32];
        assert_eq!(open(&key(1), &header, &sealed.payload).unwrap(), b"change");
    }

    #[test]
    fn the_same_text_has_the_same_nonce_and_any_other_another() {
        let here = header(Channel::Clinical);
        let mut there = here.clone();
        there.sequence += 1;
        let nonce = |header, change: &[u8]| seal(&key(1), header, change).unwrap().nonce;
        assert_eq!(nonce(&here, b"a"), nonce(&here, b"a"));
        assert_ne!(nonce(&here, b"a"), nonce(&here, b"b"));
        assert_ne!(nonce(&here, b"a"), nonce(&there, b"a"));
    }

    #[test]
    fn a_key_holder_who_seals_another_change_under_a_nonce_is_found_out() {
        let mut header = header(Channel::Clinical);
        header.nonce = [8; 24];
        let text = compress::compress(header.codec, b"forged").unwrap();
        let key = key(1);
        let payload =
            cipher::encrypt(&key.document, &header.nonce, &header.associated_data(), &text);
        assert!(matches!(open(&key, &header, &payload), Err(VaultError::CommitmentMismatch)));
    }

    #[test]
    fn the_length_of_a_restricted_change_tells_little() {
        let mut header = header(Channel::Restricted);
        for length in [0, 1, 30, 200] {
            let change: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let sealed = seal(&key(1), &header, &change).unwrap();
            assert_eq!(sealed.payload.len(), PADDING_STEP + TAG_SIZE);
            header.nonce = sealed.nonce;
            assert_eq!(open(&key(1), &header, &sealed.payload).unwrap(), change);
        }
        for ill in [&[][..], &[0; 256], &[7, 0, 0]] {
            assert!(matches!(unpadded(ill), Err(VaultError::Malformed)));
        }
    }

    #[test]
    fn no_key_prints_itself() {
        assert_eq!(format!("{:?}", key(1)), "EpochKey(private)");
    }
}
