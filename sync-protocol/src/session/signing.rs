//! Receipts: when both sides are level and something has moved, both sign it.
//!
//! The dialer proposes what it believes, the listener signs if it believes the same; if more has
//! moved on its side meanwhile it declines, and the dialer tries again after a rest.

use super::greeting::Announced;
use super::{Event, Output, Session, Side, Stage};
use crate::entry::SignatureBytes;
use crate::error::Violation;
use crate::frontier::Frontier;
use crate::id::ReceiptId;
use crate::limit;
use crate::message::{ChannelDigest, HelloBody, Message};
use crate::receipt::{Moved, Receipt, ReceiptBody, StoredReceipt};
use crate::wire;

/// What goes on the next receipt.
pub(super) struct Signing {
    /// Delivered to the other side since the last one.
    pub sent: Moved,
    /// Delivered here since the last one.
    pub received: Moved,
    dialer_before: [u8; 32],
    listener_before: [u8; 32],
    /// Whether one has been signed in this session.
    signed: bool,
    /// What the dialer has proposed.
    proposed: Option<(ReceiptBody, Frontier)>,
    /// What is being kept.
    keeping: Option<(ReceiptBody, SignatureBytes)>,
    /// Not before this.
    rest_until_ms: u64,
    /// Somebody waits for what no proposal has spoken of yet.
    hastened: bool,
}

impl Signing {
    pub fn new(side: Side, announced: &Announced, theirs: &HelloBody) -> Self {
        let (ours, theirs) = (before(&announced.digests), before(&theirs.digests));
        let (dialer_before, listener_before) = match side {
            Side::Dialer => (ours, theirs),
            Side::Listener => (theirs, ours),
        };
        Self {
            sent: Moved::default(),
            received: Moved::default(),
            dialer_before,
            listener_before,
            signed: false,
            proposed: None,
            keeping: None,
            rest_until_ms: 0,
            hastened: false,
        }
    }

    fn has_moved(&self) -> bool {
        self.sent != Moved::default() || self.received != Moved::default()
    }

    /// What was signed is accounted for.
    fn account(&mut self, side: Side, body: &ReceiptBody) {
        let (sent, received) = match side {
            Side::Dialer => (body.to_listener, body.to_dialer),
            Side::Listener => (body.to_dialer, body.to_listener),
        };
        self.sent = self.sent.less(sent);
        self.received = self.received.less(received);
        self.dialer_before = body.after;
        self.listener_before = body.after;
        self.signed = true;
    }
}

/// What a receipt says of the state before, from what a HELLO announced.
fn before(digests: &[ChannelDigest]) -> [u8; 32] {
    blake3::derive_key("carnet 2026 announced frontier digest v1", &wire::encode(digests))
}

impl Session {
    /// The dialer proposes a receipt when there is reason to; or sets the time to look again.
    pub(super) fn sign_if_due(&mut self, now_ms: u64) {
        self.deadline = None;
        let Stage::Open(open) = &self.stage else { return };
        let signing = &open.signing;
        let idle = signing.proposed.is_none() && signing.keeping.is_none();
        if self.config.side == Side::Listener || !self.level || !idle || self.is_receipted() {
            return;
        }
        if now_ms < signing.rest_until_ms {
            self.deadline = Some(signing.rest_until_ms);
            return;
        }
        let frontier = self.transfer.common(&open.exchange.channels);
        let body = ReceiptBody {
            practice: self.config.practice,
            dialer: self.config.certificate.node(),
            listener: open.peer.node(),
            dialer_before: signing.dialer_before,
            listener_before: signing.listener_before,
            after: frontier.digest_all(),
            to_listener: signing.sent,
            to_dialer: signing.received,
            time_ms: now_ms,
        };
        let signature = body.sign(Side::Dialer, &self.config.transport_key);
        let Stage::Open(open) = &mut self.stage else { return };
        open.signing.proposed = Some((body.clone(), frontier));
        open.signing.hastened = false;
        self.say(&Message::Propose { body: Box::new(body), signature });
    }

    /// Whether nothing has moved that no receipt speaks of.
    ///
    /// Without a receipt in common the next session could not build on it, so a session after a cut
    /// owes one even if nothing was left to move.
    pub fn is_receipted(&self) -> bool {
        let Stage::Open(open) = &self.stage else { return false };
        let in_common = open.signing.signed || open.exchange.has_base();
        !open.signing.has_moved()
            && (in_common || self.transfer.common(&open.exchange.channels).0.is_empty())
    }

    /// Somebody on this side waits for the receipt; only the dialer proposes one.
    pub(super) fn hasten(&mut self) {
        let Stage::Open(open) = &mut self.stage else { return };
        open.signing.rest_until_ms = 0;
        open.signing.hastened = true;
        let awaited = open.signing.has_moved() || !self.level;
        if self.config.side == Side::Listener && awaited {
            self.say(&Message::Hasten);
        }
    }

    /// Somebody at the listener waits. What that costs is bounded by what moves: without movement
    /// there is nothing to propose.
    pub(super) fn hastened(&mut self) -> Result<(), Violation> {
        if self.config.side == Side::Listener {
            return Err(Violation::Order);
        }
        self.hasten();
        Ok(())
    }

    /// The listener signs what it believes too.
    pub(super) fn proposed(
        &mut self,
        body: ReceiptBody,
        signature: SignatureBytes,
    ) -> Result<(), Violation> {
        let Stage::Open(open) = &mut self.stage else { return Ok(()) };
        if self.config.side == Side::Dialer {
            return Err(Violation::Order);
        }
        body.verify(Side::Dialer, &open.peer, &signature)?;
        if body.practice != self.config.practice
            || body.dialer != open.peer.node()
            || body.listener != self.config.certificate.node()
        {
            return Err(Violation::Receipt);
        }
        let frontier = self.transfer.common(&open.exchange.channels);
        let signing = &mut open.signing;
        let agrees = self.level
            && signing.keeping.is_none()
            && body.after == frontier.digest_all()
            && body.to_dialer == signing.sent
            && body.to_listener == signing.received
            && body.dialer_before == signing.dialer_before
            && body.listener_before == signing.listener_before;
        if !agrees {
            self.say(&Message::Decline { id: body.id() });
            return Ok(());
        }
        let ours = body.sign(Side::Listener, &self.config.transport_key);
        signing.keeping = Some((body.clone(), ours));
        let receipt = Receipt {
            body,
            dialer: (*open.peer).clone(),
            dialer_signature: signature,
            listener: self.config.certificate.clone(),
            listener_signature: ours,
        };
        self.outputs.push_back(Output::KeepReceipt(Box::new(StoredReceipt { receipt, frontier })));
        Ok(())
    }

    /// The listener has signed.
    pub(super) fn accepted(
        &mut self,
        id: ReceiptId,
        signature: SignatureBytes,
    ) -> Result<(), Violation> {
        let Stage::Open(open) = &mut self.stage else { return Ok(()) };
        let (body, frontier) = open.signing.proposed.take().ok_or(Violation::Receipt)?;
        if body.id() != id {
            return Err(Violation::Receipt);
        }
        body.verify(Side::Listener, &open.peer, &signature)?;
        let ours = body.sign(Side::Dialer, &self.config.transport_key);
        open.signing.keeping = Some((body.clone(), ours));
        let receipt = Receipt {
            body,
            dialer: self.config.certificate.clone(),
            dialer_signature: ours,
            listener: (*open.peer).clone(),
            listener_signature: signature,
        };
        self.outputs.push_back(Output::KeepReceipt(Box::new(StoredReceipt { receipt, frontier })));
        Ok(())
    }

    /// The listener can't sign now.
    pub(super) fn declined(&mut self, now_ms: u64, id: ReceiptId) -> Result<(), Violation> {
        let Stage::Open(open) = &mut self.stage else { return Ok(()) };
        match open.signing.proposed.take() {
            Some((body, _)) if body.id() == id => {
                open.signing.rest_until_ms = now_ms.saturating_add(limit::RECEIPT_RETRY_MS);
                Ok(())
            }
            _ => Err(Violation::Receipt),
        }
    }

    /// The receipt is durable.
    pub(super) fn receipt_kept(&mut self, now_ms: u64) {
        let Stage::Open(open) = &mut self.stage else { return };
        let Some((body, ours)) = open.signing.keeping.take() else { return };
        open.signing.account(self.config.side, &body);
        let rest_ms = if open.signing.hastened { 0 } else { limit::RECEIPT_REST_MS };
        open.signing.rest_until_ms = now_ms.saturating_add(rest_ms);
        let id = body.id();
        if self.config.side == Side::Listener {
            self.say(&Message::Accept { id, signature: ours });
        }
        self.tell(Event::Receipt(id));
    }
}
