//! What is sealed, wrongly inside: somebody who has an epoch's key can seal any frame.

use super::samples::Samples;
use crate::practice::Outcome;
use carnet_node::chart::Folded;
use carnet_node::records::compact::opener;
use carnet_node::store::ledger::{Opener, Opening, Pack};
use carnet_node::vault::sealed::{frame, seal_frame};
use carnet_node::vault::{self, EpochKey, PackPlace};
use carnet_sync_protocol::entry::Header;
use carnet_sync_protocol::wire;

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
            frames.push(frame(&seal.key, &entry.header, &entry.payload)?);
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
        let payload = seal_frame(&self.key, &self.header, frame);
        vault::open(&self.key, &self.header, &payload).is_ok()
    }
}

/// Packs of a document, as a ledger keeps them: sealed, and what is in them.
pub(super) struct Packs {
    key: EpochKey,
    place: PackPlace,
    opener: Box<dyn Opener>,
    header: Header,
}

impl Packs {
    /// The place of the samples' first entry.
    pub(super) fn over(samples: &Samples) -> Outcome<Self> {
        let header = samples.sealed.first().ok_or("nothing is sealed")?.header.clone();
        let (practice, book) = (samples.practice, samples.book.clone());
        let place = PackPlace { practice, epoch: header.epoch, document: header.document };
        Ok(Self { key: samples.key.clone(), place, opener: opener(practice, book), header })
    }

    /// What a pack of the samples' changes holds: how far each arrived after the one before, and
    /// the changes.
    pub(super) fn contents(&self, samples: &Samples) -> Vec<u8> {
        let changes = Folded::of(samples.changes.iter().map(Vec::as_slice));
        wire::encode(&(vec![1_u64; changes.len()], changes))
    }

    /// Seals the contents of a pack.
    pub(super) fn seal(&self, contents: &[u8]) -> Outcome<Vec<u8>> {
        Ok(vault::seal_pack(&self.key, &self.place, contents, false)?)
    }

    /// Opens a pack, and makes the payload of its first entry.
    pub(super) fn open(&self, bytes: &[u8]) -> bool {
        let PackPlace { epoch, document, .. } = self.place;
        match self.opener.open(&Pack { document, epoch, bytes: bytes.to_vec() }) {
            Opening::Open(open) => open.payload(1, &self.header).is_some(),
            Opening::NoKey | Opening::Damaged => false,
        }
    }
}
