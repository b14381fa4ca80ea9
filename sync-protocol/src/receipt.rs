//! The signed end of a sync: proof, for both sides, of what the other had in its keeping.
//!
//! A receipt is made when both sides hold the same. It is kept by both and not replicated, or every
//! sync would make something to sync.

use crate::certificate::Certificate;
use crate::entry::{SignatureBytes, sign, verify};
use crate::error::Violation;
use crate::frontier::Frontier;
use crate::id::{NodeId, PracticeId, ReceiptId};
use crate::message::Side;
use crate::wire;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

const RECEIPT_DOMAIN: &str = "carnet receipt v1";

/// What moved in one direction since the receipt before, or since the session's beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Entries that were sent and durably stored.
    pub entries: u64,
    /// Bytes of the runs that carried them.
    pub bytes: u64,
}

impl Moved {
    /// Counts one run.
    pub fn add(&mut self, entries: u64, bytes: u64) {
        self.entries += entries;
        self.bytes += bytes;
    }

    /// What is left when `accounted` has been put on a receipt.
    #[must_use]
    pub fn less(self, accounted: Self) -> Self {
        Self {
            entries: self.entries.saturating_sub(accounted.entries),
            bytes: self.bytes.saturating_sub(accounted.bytes),
        }
    }
}

/// What both sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptBody {
    /// The practice.
    pub practice: PracticeId,
    /// The node that called.
    pub dialer: NodeId,
    /// The node that was called.
    pub listener: NodeId,
    /// [`Frontier::digest_all`] of what the dialer held before.
    pub dialer_before: [u8; 32],
    /// The same for the listener.
    pub listener_before: [u8; 32],
    /// [`Frontier::digest_all`] of what both hold now.
    pub after: [u8; 32],
    /// What the dialer delivered.
    pub to_listener: Moved,
    /// What the listener delivered.
    pub to_dialer: Moved,
    /// When, by the dialer's clock.
    pub time_ms: u64,
}

impl ReceiptBody {
    /// The receipt's id.
    pub fn id(&self) -> ReceiptId {
        ReceiptId(blake3::derive_key("carnet 2026 receipt id v1", &wire::encode(self)))
    }

    /// One side's signature, with its transport key.
    pub fn sign(&self, side: Side, transport_key: &SigningKey) -> SignatureBytes {
        sign(transport_key, RECEIPT_DOMAIN, &wire::encode(&(side, self)))
    }

    /// Checks one side's signature against its certificate.
    pub fn verify(
        &self,
        side: Side,
        certificate: &Certificate,
        signature: &SignatureBytes,
    ) -> Result<(), Violation> {
        let key = certificate.body.keys.transport;
        verify(key.as_bytes(), RECEIPT_DOMAIN, &wire::encode(&(side, self)), signature)
    }
}

/// A receipt with both signatures, and with both certificates, so that it leads to the practice's
/// key by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// What was signed.
    pub body: ReceiptBody,
    /// The dialer's certificate.
    pub dialer: Certificate,
    /// The dialer's signature.
    pub dialer_signature: SignatureBytes,
    /// The listener's certificate.
    pub listener: Certificate,
    /// The listener's signature.
    pub listener_signature: SignatureBytes,
}

impl Receipt {
    /// Checks both signatures and both certificates.
    pub fn verify(&self, practice: PracticeId) -> Result<(), Violation> {
        if self.body.practice != practice {
            return Err(Violation::Practice);
        }
        let dialer = self.dialer.clone().verify(practice)?;
        let listener = self.listener.clone().verify(practice)?;
        if dialer.node() != self.body.dialer || listener.node() != self.body.listener {
            return Err(Violation::Receipt);
        }
        self.body.verify(Side::Dialer, &dialer, &self.dialer_signature)?;
        self.body.verify(Side::Listener, &listener, &self.listener_signature)
    }
}

/// What a node keeps of a receipt: the proof, and the frontier whose digest it signs, against
/// which the next session names only what has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredReceipt {
    /// The proof.
    pub receipt: Receipt,
    /// What both held.
    pub frontier: Frontier,
}

impl StoredReceipt {
    /// The receipt's id.
    pub fn id(&self) -> ReceiptId {
        self.receipt.body.id()
    }
}
