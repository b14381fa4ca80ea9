//! What is sealed, wrongly inside: somebody who has an epoch's key can seal any frame.

use super::samples::Samples;
use crate::practice::Outcome;
use carnet_node::vault::{self, EpochKey};
use carnet_sync_protocol::entry::Header;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;

/// A key, and a place for which things are sealed.
#[derive(Clone)]
pub(super) struct Seal {
    key: EpochKey,
    header: Header,
}

impl Seal {
    /// The seal of the samples' first entry; and the frames inside of all of them.
    pub(super) fn over(samples: &Samples) -> Outcome<(Self, Vec<Vec<u8>>)> {
        let first = samples.sealed.first().ok_or("nothing is sealed")?;
        let seal = Self { key: samples.key.clone(), header: first.header.clone() };
        let mut frames = Vec::new();
        for entry in &samples.sealed {
            let (nonce, associated) = (entry.header.nonce, entry.header.associated_data());
            let payload = Payload { msg: &entry.payload, aad: &associated };
            let opened = seal.cipher().decrypt(<&XNonce>::from(&nonce), payload);
            frames.push(opened.map_err(|_| "a sample does not open")?);
        }
        Ok((seal, frames))
    }

    /// Changes, sealed for this place, each after its nonce.
    pub(super) fn payloads(&self, samples: &Samples) -> Outcome<Vec<Vec<u8>>> {
        let mut payloads = Vec::new();
        for change in &samples.changes {
            let sealed = vault::seal(&self.key, &self.header, change)?;
            payloads.push([&sealed.nonce[..], &sealed.payload].concat());
        }
        Ok(payloads)
    }

    /// Opens what [`Self::payloads`] made.
    pub(super) fn open(&self, bytes: &[u8]) -> bool {
        let Some((nonce, payload)) = bytes.split_first_chunk() else { return false };
        let header = Header { nonce: *nonce, ..self.header.clone() };
        vault::open(&self.key, &header, payload).is_ok()
    }

    /// Seals a frame and opens it.
    pub(super) fn open_frame(&self, frame: &[u8]) -> bool {
        let associated = self.header.associated_data();
        let payload = Payload { msg: frame, aad: &associated };
        let sealed = self.cipher().encrypt(<&XNonce>::from(&self.header.nonce), payload);
        sealed.is_ok_and(|payload| vault::open(&self.key, &self.header, &payload).is_ok())
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(None, self.key.secret().expose())
            .expand(b"carnet 2026 document key v1", &mut key)
            .expect("32 bytes are within what HKDF gives");
        XChaCha20Poly1305::new((&key).into())
    }
}
