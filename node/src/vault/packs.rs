//! A pack: the changes of many entries of one document, compressed together and sealed once, in the
//! place of their payloads.
//!
//! What a pack holds is proved by the entries: each names, in its nonce, the change that it had, so
//! that one that comes out of the wrong pack or place leads to another id. The seal keeps others
//! from reading it, and is bound to practice, epoch and document.

use super::cipher::{self, NONCE_SIZE};
use super::compress;
use super::error::VaultError;
use super::sealed::{EpochKey, pad, unpadded};
use carnet_sync_protocol::id::{DocumentId, EpochId, PracticeId};

/// A pack before compression. It is opened whole to read one entry of it.
pub const PACK_BYTES_MAX: usize = 8 << 20;

/// Where a pack belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackPlace {
    /// The practice.
    pub practice: PracticeId,
    /// The epoch under whose key it is sealed, like the entries in it.
    pub epoch: EpochId,
    /// The document that all of its entries change; zero for a piece of a log of none.
    pub document: DocumentId,
}

impl PackPlace {
    fn associated_data(&self) -> Vec<u8> {
        let mut data = b"carnet 2026 pack v1\0".to_vec();
        data.extend_from_slice(self.practice.as_bytes());
        data.extend_from_slice(self.epoch.as_bytes());
        data.extend_from_slice(self.document.as_bytes());
        data
    }
}

/// Compresses and seals a pack; `padded` if its length should tell little.
pub fn seal_pack(
    key: &EpochKey,
    place: &PackPlace,
    bytes: &[u8],
    padded: bool,
) -> Result<Vec<u8>, VaultError> {
    if bytes.len() > PACK_BYTES_MAX {
        return Err(VaultError::TooLarge { max: PACK_BYTES_MAX });
    }
    Ok(seal_pack_frame(key, place, compress::pack_densely(bytes), padded))
}

/// Seals what is compressed already, whatever it holds: for tools that alter it, too.
pub fn seal_pack_frame(key: &EpochKey, place: &PackPlace, frame: Vec<u8>, padded: bool) -> Vec<u8> {
    let mut text = frame;
    pad(&mut text, padded);
    let associated = place.associated_data();
    let nonce = key.commit_pack(&associated, &text);
    let mut sealed = nonce.to_vec();
    sealed.extend(cipher::encrypt(&key.pack_key(), &nonce, &associated, &text));
    sealed
}

/// Opens what [`seal_pack`] sealed in this place.
pub fn open_pack(key: &EpochKey, place: &PackPlace, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_SIZE>().ok_or(VaultError::Malformed)?;
    let text = cipher::decrypt(&key.pack_key(), nonce, &place.associated_data(), sealed)?;
    compress::unpack_dense(unpadded(&text)?, PACK_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::private::Private;

    fn key(seed: u8) -> EpochKey {
        EpochKey::from_secret(Private::new([seed; 32]))
    }

    const PLACE: PackPlace = PackPlace {
        practice: PracticeId([1; 32]),
        epoch: EpochId([2; 16]),
        document: DocumentId([3; 16]),
    };

    #[test]
    fn a_pack_opens_where_it_was_sealed_and_nowhere_else() {
        let text = b"Observation/1/value ".repeat(500);
        let sealed = seal_pack(&key(1), &PLACE, &text, false).unwrap();
        assert!(sealed.len() < 200);
        assert_eq!(open_pack(&key(1), &PLACE, &sealed).unwrap(), text);
        let elsewhere = [
            PackPlace { practice: PracticeId([9; 32]), ..PLACE },
            PackPlace { epoch: EpochId([9; 16]), ..PLACE },
            PackPlace { document: DocumentId([9; 16]), ..PLACE },
        ];
        for place in elsewhere {
            assert!(matches!(open_pack(&key(1), &place, &sealed), Err(VaultError::NotAuthentic)));
        }
        assert!(matches!(open_pack(&key(2), &PLACE, &sealed), Err(VaultError::NotAuthentic)));
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(open_pack(&key(1), &PLACE, &altered).is_err());
            assert!(open_pack(&key(1), &PLACE, &sealed[..at]).is_err());
        }
    }

    #[test]
    fn the_length_of_a_restricted_pack_tells_little() {
        let lengths = [b"a".as_slice(), b"another text that is a little longer"].map(|text| {
            let sealed = seal_pack(&key(1), &PLACE, text, true).unwrap();
            assert_eq!(open_pack(&key(1), &PLACE, &sealed).unwrap(), text);
            sealed.len()
        });
        assert_eq!(lengths[0], lengths[1]);
    }

    #[test]
    fn no_nonce_serves_two_texts_and_what_is_too_long_is_refused() {
        let nonce = |text: &[u8]| seal_pack(&key(1), &PLACE, text, false).unwrap()[..24].to_vec();
        assert_eq!(nonce(b"a"), nonce(b"a"));
        assert_ne!(nonce(b"a"), nonce(b"b"));
        let long = vec![0; PACK_BYTES_MAX + 1];
        let refused = seal_pack(&key(1), &PLACE, &long, false);
        assert!(matches!(refused, Err(VaultError::TooLarge { .. })));
        let bomb = compress::pack_densely(&long);
        let refused = compress::unpack_dense(&bomb, PACK_BYTES_MAX);
        assert!(matches!(refused, Err(VaultError::TooLarge { .. })));
    }
}
