//! One link's state machine: what two nodes say to each other from HELLO to receipt.
//!
//! A [`Session`] does no IO. It is told of frames, of the ledger's answers and of the time by
//! [`Session::handle`], and after each of these [`Session::poll`] is called until it returns
//! [`Output::Wait`]. It decides; its owner acts.
//!
//! Its parts: `greeting` (who are you), `exchange` (what do you hold), `carriage` (runs and their
//! acknowledgement), `signing` (receipts). What the other side sends wrongly ends the session with
//! [`CloseReason::Violation`]; it never panics.

mod carriage;
mod exchange;
mod greeting;
mod port;
mod signing;
mod testing;
mod tests;

pub use crate::message::{Farewell, LogHeads, RefuseReason, Side};
pub use port::{CloseReason, Config, Event, Input, Lane, Output, PeerVerdict, Progress, Refusal};

use crate::certificate::VerifiedCertificate;
use crate::error::Violation;
use crate::frontier::{Frontier, Head};
use crate::id::{Channel, LogId};
use crate::limit;
use crate::message::Message;
use crate::receipt::Moved;
use crate::transfer::{Parcel, Transfer};
use exchange::Exchange;
use greeting::Greeting;
use signing::Signing;
use std::collections::{BTreeMap, VecDeque};

/// One end of one link.
pub struct Session {
    config: Config,
    stage: Stage,
    outputs: VecDeque<Output>,
    transfer: Transfer,
    questions: BTreeMap<u64, Question>,
    next_request: u64,
    /// Bytes of runs that have come and that the ledger has not stored yet, by channel.
    unstored: [usize; Channel::ALL.len()],
    /// How often this side's control channel has grown.
    control_growth: u64,
    sent: Moved,
    received: Moved,
    level: bool,
    deadline: Option<u64>,
}

/// How far the two are.
enum Stage {
    /// There is no connection yet.
    Idle,
    /// The other side has not proved who it is, or this node has not decided whether it may come.
    Greeting(Box<Greeting>),
    /// Entries flow.
    Open(Box<Open>),
    /// Over.
    Closed,
}

/// What is known of the other side once it is let in.
struct Open {
    peer: VerifiedCertificate,
    /// Whether both have said that they read joint runs.
    jointly: bool,
    exchange: Exchange,
    signing: Signing,
}

/// What the ledger has been asked.
enum Question {
    /// Which of these named heads it holds.
    Claims(Vec<(LogId, Head)>),
    /// Which of these waypoints of the other side it holds.
    Points(LogId, Vec<Head>),
    /// What its own waypoints are.
    Waypoints(LogId),
    /// To load.
    Load(LogId),
    /// To store; and how often control had grown by then.
    Store(Parcel, u64),
}

impl Session {
    /// A session for a connection that is being made.
    pub fn new(config: Config) -> Self {
        let transfer = Transfer::new(&config.frontier);
        Self {
            config,
            stage: Stage::Idle,
            outputs: VecDeque::new(),
            transfer,
            questions: BTreeMap::new(),
            next_request: 0,
            unstored: [0; Channel::ALL.len()],
            control_growth: 0,
            sent: Moved::default(),
            received: Moved::default(),
            level: false,
            deadline: None,
        }
    }

    /// Takes one input; then [`Self::poll`] until it waits.
    pub fn handle(&mut self, now_ms: u64, input: Input) {
        if self.is_closed() {
            return;
        }
        let result = self.take(now_ms, input).and_then(|()| self.settle(now_ms));
        if let Err(reason) = result {
            self.close(reason);
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or(Output::Wait(self.deadline))
    }

    /// The other side, once it is let in.
    pub fn peer(&self) -> Option<&VerifiedCertificate> {
        match &self.stage {
            Stage::Open(open) => Some(&open.peer),
            _ => None,
        }
    }

    /// Whether both sides read joint runs; not before the other side is let in.
    pub fn speaks_jointly(&self) -> bool {
        matches!(&self.stage, Stage::Open(open) if open.jointly)
    }

    /// What the other side holds, as far as this side knows.
    pub fn peer_frontier(&self) -> Frontier {
        self.transfer.theirs()
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        let (to_send, to_receive) = self.transfer.outstanding();
        Progress { sent: self.sent, received: self.received, to_send, to_receive }
    }

    /// Whether both sides hold the same, except logs that one refuses.
    pub fn in_sync(&self) -> bool {
        self.level
    }

    /// Whether it is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed)
    }

    fn take(&mut self, now_ms: u64, input: Input) -> Result<(), CloseReason> {
        match input {
            Input::Connected { exporter, peer } => self.connected(now_ms, exporter, peer)?,
            Input::Received { lane, frame } => self.frame(now_ms, lane, frame)?,
            Input::PeerKnown(verdict) => self.peer_known(now_ms, verdict)?,
            Input::Loaded { request, runs } => self.loaded(request, runs),
            Input::Waypoints { request, points } => self.own_waypoints(request, points),
            Input::Known { request, known } => self.known(request, &known),
            Input::Stored { request, heads, refused } => self.stored(request, &heads, &refused),
            Input::Advanced(heads) => self.advanced(&heads),
            Input::ReceiptKept => self.receipt_kept(now_ms),
            Input::SignNow => self.hasten(),
            Input::Tick => {
                let late = self.deadline.is_some_and(|deadline| now_ms >= deadline);
                if late && matches!(self.stage, Stage::Greeting(_)) {
                    return Err(CloseReason::Timeout);
                }
            }
            Input::Finish => {
                if matches!(self.stage, Stage::Open(_)) {
                    self.say(&Message::Goodbye(Farewell::Done));
                }
                return Err(CloseReason::Finished);
            }
            Input::Lost => return Err(CloseReason::Lost),
        }
        Ok(())
    }

    fn frame(&mut self, now_ms: u64, lane: Lane, frame: Vec<u8>) -> Result<(), CloseReason> {
        if frame.len() > lane.frame_bytes_max() {
            return Err(Violation::FrameLength.into());
        }
        match (&self.stage, lane) {
            (Stage::Idle | Stage::Closed, _) => Err(Violation::Order.into()),
            (Stage::Greeting(_), _) => self.early_frame(now_ms, lane, frame),
            (Stage::Open(_), Lane::Data(channel)) => Ok(self.run_frame(channel, &frame)?),
            (Stage::Open(_), Lane::Control) => self.message(now_ms, Message::from_bytes(&frame)?),
        }
    }

    fn message(&mut self, now_ms: u64, message: Message) -> Result<(), CloseReason> {
        match message {
            Message::Hello(_) => return Err(Violation::Order.into()),
            Message::Frontier { base, logs, last } => self.their_frontier(base, logs, last)?,
            Message::Acknowledge(acks) => self.acknowledged(&acks)?,
            Message::Holding(logs) => self.holding(logs)?,
            Message::Reconsider(logs) => {
                logs.into_iter().for_each(|log| self.transfer.retry(log));
            }
            Message::Waypoints { log, points } => self.their_waypoints(log, points)?,
            Message::Propose { body, signature } => self.proposed(*body, signature)?,
            Message::Accept { id, signature } => self.accepted(id, signature)?,
            Message::Decline { id } => self.declined(now_ms, id)?,
            Message::Hasten => self.hastened()?,
            Message::Goodbye(farewell) => return Err(CloseReason::PeerFinished(farewell)),
        }
        Ok(())
    }

    /// What follows from the state, whatever the input was.
    fn settle(&mut self, now_ms: u64) -> Result<(), CloseReason> {
        let Stage::Open(open) = &self.stage else { return Ok(()) };
        let frontier_known = open.exchange.is_complete();
        self.load_more();
        let level = frontier_known && self.transfer.is_level() && !self.is_asking();
        if level && !self.level {
            self.tell(Event::PeerFrontier(self.transfer.theirs()));
            self.tell(Event::InSync);
        }
        self.level = level;
        self.sign_if_due(now_ms);
        Ok(())
    }

    /// Whether an answer of the ledger is awaited that may change what is known.
    fn is_asking(&self) -> bool {
        !self.questions.is_empty()
    }

    fn close(&mut self, reason: CloseReason) {
        self.stage = Stage::Closed;
        self.questions.clear();
        self.deadline = None;
        self.level = false;
        self.outputs.push_back(Output::Close(reason));
    }

    fn say(&mut self, message: &Message) {
        self.outputs.push_back(Output::Send { lane: Lane::Control, frame: message.to_bytes() });
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Numbers a question to the ledger.
    fn ask(&mut self, question: Question) -> u64 {
        let request = self.next_request;
        self.next_request += 1;
        self.questions.insert(request, question);
        request
    }

    /// Fails when the other side's messages keep more questions open than allowed.
    fn may_ask(&self) -> Result<(), Violation> {
        let open = self.questions.values().filter(|question| {
            matches!(question, Question::Claims(_) | Question::Points(..) | Question::Waypoints(_))
        });
        if open.count() >= limit::QUESTIONS_MAX { Err(Violation::Requests) } else { Ok(()) }
    }
}
