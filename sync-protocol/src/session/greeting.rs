//! The HELLOs: each side proves who it is, for this connection alone.
//!
//! The dialer speaks first. The listener says nothing before the dialer's HELLO has been verified
//! and the dialer has been let in, so who merely scans an address learns nothing of the practice.
//! Streams overtake each other: what comes while the HELLO or the verdict is awaited is put aside,
//! within bounds.

use super::exchange::{Exchange, beyond};
use super::signing::Signing;
use super::{CloseReason, Event, Lane, LogHeads, Open, Output, PeerVerdict, Session, Side, Stage};
use crate::certificate::VerifiedCertificate;
use crate::error::Violation;
use crate::frontier::{Frontier, Head};
use crate::id::{Channel, TransportKey};
use crate::joint::JOINT;
use crate::limit;
use crate::message::{ChannelDigest, Hello, HelloBody, Message, Versions};
use crate::receipt::StoredReceipt;

/// The state until the other side is let in.
pub(super) struct Greeting {
    exporter: [u8; 32],
    peer: TransportKey,
    /// What this side has announced; nothing while a listener has not spoken.
    announced: Option<Announced>,
    /// The other side's HELLO, once it is verified.
    hello: Option<(VerifiedCertificate, HelloBody)>,
    early: Vec<(Lane, Vec<u8>)>,
    early_bytes: usize,
}

/// What this side's HELLO said.
pub(super) struct Announced {
    pub frontier: Frontier,
    pub digests: Vec<ChannelDigest>,
    pub receipt: Option<StoredReceipt>,
    /// Whether it named the heads that differ from the receipt.
    pub beyond: bool,
}

impl Session {
    pub(super) fn connected(
        &mut self,
        now_ms: u64,
        exporter: [u8; 32],
        peer: TransportKey,
    ) -> Result<(), CloseReason> {
        if !matches!(self.stage, Stage::Idle) {
            return Ok(());
        }
        if self.config.peer.is_some_and(|pinned| pinned != peer) {
            return Err(Violation::Pinned.into());
        }
        let announced = match self.config.side {
            Side::Dialer => {
                let receipt = self.config.last_receipt.take();
                Some(self.say_hello(now_ms, &exporter, receipt))
            }
            Side::Listener => None,
        };
        self.deadline = Some(now_ms.saturating_add(limit::HELLO_WAIT_MS));
        let greeting =
            Greeting { exporter, peer, announced, hello: None, early: Vec::new(), early_bytes: 0 };
        self.stage = Stage::Greeting(Box::new(greeting));
        Ok(())
    }

    fn say_hello(
        &mut self,
        now_ms: u64,
        exporter: &[u8; 32],
        receipt: Option<StoredReceipt>,
    ) -> Announced {
        let mut channels = self.config.channels.clone();
        channels.sort_unstable();
        channels.dedup();
        let own = self.transfer.own_of(&channels);
        let frontier = Frontier(own.iter().cloned().collect());
        let digests: Vec<ChannelDigest> =
            channels.into_iter().map(|channel| ChannelDigest::of(&frontier, channel)).collect();
        let receipt = receipt.filter(|receipt| covers(&frontier, &receipt.frontier));
        let beyond = receipt.as_ref().map(|receipt| beyond(own, receipt));
        let beyond = beyond.filter(|logs| heads_in(logs) <= limit::HELLO_HEADS_MAX);
        let told = beyond.is_some();
        let body = HelloBody {
            versions: Versions::OURS,
            certificate: self.config.certificate.clone(),
            digests: digests.clone(),
            codecs: self.config.codecs.clone(),
            receipt: receipt.as_ref().map(StoredReceipt::id),
            beyond,
            time_ms: now_ms,
        };
        let hello = Hello::new(body, self.config.side, exporter, &self.config.transport_key);
        self.say(&Message::Hello(Box::new(hello)));
        Announced { frontier, digests, receipt, beyond: told }
    }

    /// A frame before the other side is let in: its HELLO, or something to be put aside.
    pub(super) fn early_frame(
        &mut self,
        now_ms: u64,
        lane: Lane,
        frame: Vec<u8>,
    ) -> Result<(), CloseReason> {
        let Stage::Greeting(greeting) = &mut self.stage else { return Ok(()) };
        if lane == Lane::Control && greeting.hello.is_none() {
            return self.hello(now_ms, &frame);
        }
        // A dialer has nothing to say to a listener that has not answered yet.
        if self.config.side == Side::Listener {
            return Err(Violation::Order.into());
        }
        greeting.early_bytes += frame.len();
        if greeting.early_bytes > limit::EARLY_BYTES_MAX
            || greeting.early.len() >= limit::EARLY_FRAMES_MAX
        {
            return Err(Violation::Window.into());
        }
        greeting.early.push((lane, frame));
        Ok(())
    }

    fn hello(&mut self, now_ms: u64, frame: &[u8]) -> Result<(), CloseReason> {
        let Stage::Greeting(greeting) = &mut self.stage else { return Ok(()) };
        if frame.len() > limit::HELLO_BYTES_MAX {
            return Err(Violation::FrameLength.into());
        }
        // Asked first: a newer HELLO may hold what this side can't decode.
        if Hello::versions(frame).is_some_and(|theirs| Versions::OURS.agree(theirs).is_none()) {
            return Err(CloseReason::Version);
        }
        let Message::Hello(hello) = Message::from_bytes(frame)? else {
            return Err(Violation::Order.into());
        };
        if hello.body.certificate.body.keys.transport != greeting.peer {
            return Err(Violation::Transport.into());
        }
        hello.verify(self.config.side.other(), &greeting.exporter, &greeting.peer)?;
        let body = hello.body;
        let ascending = body.digests.windows(2).all(|pair| pair[0].channel < pair[1].channel);
        if !ascending || body.codecs.len() > limit::CODECS_MAX {
            return Err(Violation::Encoding.into());
        }
        let named = body.beyond.as_ref().map_or(0, heads_in);
        if named > limit::HELLO_HEADS_MAX || (body.beyond.is_some() && body.receipt.is_none()) {
            return Err(Violation::FrontierLength.into());
        }
        let certificate = body.certificate.clone().verify(self.config.practice)?;
        if Versions::OURS.agree(body.versions).is_none() {
            return Err(CloseReason::Version);
        }
        greeting.hello = Some((certificate.clone(), body));
        self.deadline = Some(now_ms.saturating_add(limit::HELLO_WAIT_MS));
        self.outputs.push_back(Output::Identify(certificate));
        Ok(())
    }

    pub(super) fn peer_known(
        &mut self,
        now_ms: u64,
        verdict: PeerVerdict,
    ) -> Result<(), CloseReason> {
        let last_receipt = match verdict {
            PeerVerdict::Accepted { last_receipt } => last_receipt.map(|receipt| *receipt),
            PeerVerdict::Refused(refusal) => return Err(CloseReason::Refused(refusal)),
        };
        let greeting = match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Greeting(greeting) if greeting.hello.is_some() => greeting,
            // Nobody has asked.
            other => {
                self.stage = other;
                return Ok(());
            }
        };
        let Greeting { exporter, announced, hello, early, .. } = *greeting;
        let Some((peer, theirs)) = hello else { return Ok(()) };
        let announced = match announced {
            Some(announced) => announced,
            None => self.say_hello(now_ms, &exporter, last_receipt),
        };
        let version = Versions::OURS.agree(theirs.versions).ok_or(CloseReason::Version)?;
        let clock_ahead_ms =
            i64::try_from(i128::from(theirs.time_ms) - i128::from(now_ms)).unwrap_or(i64::MAX);
        self.tell(Event::Connected { peer: Box::new(peer.clone()), version, clock_ahead_ms });
        self.deadline = None;
        let signing = Signing::new(self.config.side, &announced, &theirs);
        let exchange = self.begin_exchange(announced, &theirs);
        let jointly = [&self.config.codecs, &theirs.codecs].iter().all(|all| all.contains(&JOINT));
        self.stage = Stage::Open(Box::new(Open { peer, jointly, exchange, signing }));
        if let Some(logs) = theirs.beyond {
            self.told_beyond(logs)?;
        }
        for (lane, frame) in early {
            self.frame(now_ms, lane, frame)?;
        }
        Ok(())
    }
}

/// Whether a ledger holds what it held when a receipt was signed. One that was restored from an
/// older copy does not, and must not use the receipt.
fn covers(frontier: &Frontier, receipt: &Frontier) -> bool {
    let tip = |heads: &[Head]| heads.iter().map(|head| head.sequence).max();
    receipt.0.iter().all(|(log, heads)| tip(frontier.heads(log)) >= tip(heads))
}

fn heads_in(logs: &LogHeads) -> usize {
    logs.iter().map(|(_, heads)| heads.len()).sum()
}

impl Exchange {
    /// The channels that both carry, and whether their digests are equal.
    pub(super) fn compare(
        ours: &[ChannelDigest],
        theirs: &[ChannelDigest],
    ) -> Vec<(Channel, bool)> {
        let both = ours.iter().filter_map(|our| {
            let their = theirs.iter().find(|their| their.channel == our.channel)?;
            Some((our.channel, our.digest == their.digest))
        });
        both.collect()
    }
}
