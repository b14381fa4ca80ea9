//! What one end of a link does with its session, whatever carries the frames and answers the
//! questions: a network and a thread in the product, a queue in a simulation.
//!
//! It adds to [`Session`] what every owner of one must do alike: begin it from the replica, turn
//! its questions into tasks, keep news of a log back while runs of that log are being stored, and
//! have joint runs made into runs before the session sees them.
//! No IO, no waiting.

use super::desk::{Storing, Task};
use super::replica::{Credentials, Replica, ReplicaError};
use carnet_sync_protocol::SigningKey;
use carnet_sync_protocol::certificate::VerifiedCertificate;
use carnet_sync_protocol::frontier::Frontier;
use carnet_sync_protocol::id::{Channel, ReceiptId, TransportKey};
use carnet_sync_protocol::joint::JointRun;
use carnet_sync_protocol::limit;
use carnet_sync_protocol::message::LogHeads;
use carnet_sync_protocol::receipt::StoredReceipt;
use carnet_sync_protocol::session::{
    CloseReason, Config, Event, Input, Lane, Output, Progress, Session, Side,
};
use std::collections::{BTreeMap, VecDeque};

/// The two ends of a connection that stands.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The key that the other end proved.
    pub peer: TransportKey,
    /// Whether this end dialed.
    pub dialed: bool,
    /// The TLS exporter's bytes.
    pub exporter: [u8; 32],
}

/// What a conversation must know of the replica before it begins.
#[derive(Debug)]
pub struct Opening {
    credentials: Credentials,
    frontier: Frontier,
    last_receipt: Option<StoredReceipt>,
}

impl Opening {
    /// Asks the replica. Whoever listens to its advances must have begun to before.
    pub fn read(replica: &dyn Replica, ends: &Ends) -> Result<Self, ReplicaError> {
        // A listener is given the receipt with its verdict, once it knows who calls.
        let last_receipt = if ends.dialed { replica.last_receipt(&ends.peer)? } else { None };
        let (credentials, frontier) = (replica.credentials(&ends.peer)?, replica.frontier()?);
        Ok(Self { credentials, frontier, last_receipt })
    }

    /// The last receipt with the peer that was dialed.
    pub fn receipt(&self) -> Option<ReceiptId> {
        self.last_receipt.as_ref().map(StoredReceipt::id)
    }
}

/// What is to be done next.
#[derive(Debug)]
pub enum Step {
    /// Send a frame.
    Send {
        /// On this lane.
        lane: Lane,
        /// The frame without its length.
        frame: Vec<u8>,
    },
    /// Have the replica do this; its answer goes to [`Conversation::answered`].
    Ask(Task),
    /// Something that others may like to know.
    Event(Event),
    /// Let the last frames leave, and close the connection. Nothing follows.
    Close(CloseReason),
    /// Nothing until an input comes; [`Input::Tick`] at this time, if there is one.
    Wait(Option<u64>),
}

/// One end of one link.
pub struct Conversation {
    session: Session,
    storing: Storing,
    peer: TransportKey,
    dialed: bool,
    /// What has come on a lane since a joint run of it is being opened.
    waiting: BTreeMap<Channel, VecDeque<Vec<u8>>>,
    /// Joint runs that are to be opened, the most urgent first.
    to_open: BTreeMap<Channel, Vec<u8>>,
    /// Whether one is being opened. One at a time: what is more urgent need not wait for more.
    opening: bool,
}

impl Conversation {
    /// Begins over a connection that stands.
    pub fn begin(opening: Opening, ends: &Ends, transport_key: SigningKey, now_ms: u64) -> Self {
        let Opening { credentials, frontier, last_receipt } = opening;
        let mut session = Session::new(Config {
            practice: credentials.practice,
            side: if ends.dialed { Side::Dialer } else { Side::Listener },
            certificate: credentials.certificate,
            transport_key,
            peer: ends.dialed.then_some(ends.peer),
            codecs: credentials.codecs,
            channels: Channel::ALL.to_vec(),
            frontier,
            last_receipt,
        });
        session.handle(now_ms, Input::Connected { exporter: ends.exporter, peer: ends.peer });
        Self {
            session,
            storing: Storing::default(),
            peer: ends.peer,
            dialed: ends.dialed,
            waiting: BTreeMap::new(),
            to_open: BTreeMap::new(),
            opening: false,
        }
    }

    /// Takes an input that is no answer and no news; then [`Self::step`] until it waits.
    pub fn input(&mut self, now_ms: u64, input: Input) {
        match input {
            Input::Received { lane: Lane::Data(channel), frame } => {
                self.received(now_ms, channel, frame);
            }
            input => self.session.handle(now_ms, input),
        }
    }

    /// A frame of a data lane. What a listener sends may be here before its HELLO.
    fn received(&mut self, now_ms: u64, channel: Channel, frame: Vec<u8>) {
        let may_be_joint = self.session.speaks_jointly()
            || (self.dialed && self.session.peer().is_none() && !self.session.is_closed());
        if let Some(waiting) = self.waiting.get_mut(&channel) {
            if has_room(waiting) {
                return waiting.push_back(frame);
            }
            // More than may be under way: the session refuses what it can't read.
        } else if may_be_joint && JointRun::is_in(&frame) {
            self.waiting.insert(channel, VecDeque::new());
            self.to_open.insert(channel, frame);
            return;
        }
        self.session.handle(now_ms, Input::Received { lane: Lane::Data(channel), frame });
    }

    /// A joint run was opened: it, and what came after it.
    fn opened(&mut self, now_ms: u64, channel: Channel, frame: Vec<u8>) {
        self.opening = false;
        self.session.handle(now_ms, Input::Received { lane: Lane::Data(channel), frame });
        for frame in self.waiting.remove(&channel).unwrap_or_default() {
            self.received(now_ms, channel, frame);
        }
    }

    /// Takes an answer to an [`Step::Ask`].
    pub fn answered(&mut self, now_ms: u64, answer: Input) {
        if let Input::Received { lane: Lane::Data(channel), frame } = answer {
            return self.opened(now_ms, channel, frame);
        }
        let stored =
            if let Input::Stored { request, .. } = &answer { Some(*request) } else { None };
        self.input(now_ms, answer);
        if let Some(heads) = stored.and_then(|request| self.storing.end(request)) {
            self.input(now_ms, Input::Advanced(heads));
        }
    }

    /// Takes the news that this node durably holds more.
    pub fn grown(&mut self, now_ms: u64, heads: LogHeads) {
        let heads = self.storing.put_off(heads);
        if !heads.is_empty() {
            self.input(now_ms, Input::Advanced(heads));
        }
    }

    /// The joint run to be opened now. While something more urgent is being stored, none: more of
    /// that comes once it is, and whoever waits for it would wait for this too.
    fn next_to_open(&mut self) -> Option<(Channel, Vec<u8>)> {
        let next = self.to_open.first_entry().filter(|_| !self.opening)?;
        let waits = self.storing.most_urgent().is_some_and(|channel| channel < *next.key());
        (!waits).then(|| next.remove_entry())
    }

    /// The next thing to do.
    pub fn step(&mut self) -> Step {
        if let Some((channel, frame)) = self.next_to_open() {
            self.opening = true;
            return Step::Ask(Task::Open { peer: self.peer, channel, frame });
        }
        loop {
            return match self.session.poll() {
                Output::Wait(deadline) => Step::Wait(deadline),
                Output::Send { lane, frame } => Step::Send { lane, frame },
                Output::Close(reason) => Step::Close(reason),
                Output::Event(Event::PeerFrontier(frontier)) => match self.peer() {
                    Some(peer) => Step::Ask(Task::NotePeer { peer: peer.node(), frontier }),
                    None => continue,
                },
                Output::Event(event) => Step::Event(event),
                Output::Identify(certificate) => Step::Ask(Task::Identify(Box::new(certificate))),
                Output::Load { request, log, after, until, bytes_max } => {
                    let jointly = self.session.speaks_jointly();
                    let reader = self.peer().filter(|_| jointly).map(|peer| peer.node());
                    Step::Ask(Task::Load { request, log, after, until, bytes_max, reader })
                }
                Output::FindKnown { request, heads } => {
                    Step::Ask(Task::FindKnown { request, heads })
                }
                Output::FindWaypoints { request, log } => {
                    Step::Ask(Task::FindWaypoints { request, log })
                }
                Output::Store { request, runs } => {
                    self.storing.begin(request, &runs);
                    Step::Ask(Task::Store { peer: self.peer, request, runs })
                }
                Output::KeepReceipt(receipt) => match self.peer() {
                    Some(peer) => Step::Ask(Task::KeepReceipt { peer: peer.node(), receipt }),
                    None => continue,
                },
            };
        }
    }

    /// The other side, once it is let in.
    pub fn peer(&self) -> Option<&VerifiedCertificate> {
        self.session.peer()
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.session.progress()
    }

    /// Whether both sides hold the same, except logs that one refuses.
    pub fn in_sync(&self) -> bool {
        self.session.in_sync()
    }

    /// Whether nothing has moved that no receipt speaks of.
    pub fn is_receipted(&self) -> bool {
        self.session.is_receipted()
    }
}

/// Whether more of a channel may wait: as much as a peer may have under way.
fn has_room(waiting: &VecDeque<Vec<u8>>) -> bool {
    let bytes: usize = waiting.iter().map(Vec::len).sum();
    bytes <= limit::UNDER_WAY_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_a_peer_may_have_under_way_can_wait_and_no_more() {
        let mut waiting = VecDeque::new();
        let frame = vec![0; limit::RUN_BYTES];
        for _ in 0..(limit::WINDOW_BYTES + limit::LOAD_BYTES) / limit::RUN_BYTES {
            assert!(has_room(&waiting));
            waiting.push_back(frame.clone());
        }
        waiting.push_back(vec![0; limit::FRAME_BYTES_MAX]);
        assert!(!has_room(&waiting));
    }
}
