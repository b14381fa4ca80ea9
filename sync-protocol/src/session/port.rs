//! What goes into a session and what comes out of it.

use crate::certificate::{Certificate, VerifiedCertificate};
use crate::entry::Codec;
use crate::error::Violation;
use crate::frontier::{Frontier, Head};
use crate::id::{Channel, LogId, PracticeId, ReceiptId, TransportKey};
use crate::joint::Outgoing;
use crate::limit;
use crate::message::{Farewell, LogHeads, RefuseReason, Side};
use crate::receipt::{Moved, StoredReceipt};
use crate::run::VerifiedRun;
use ed25519_dalek::SigningKey;

/// What a session must know from the beginning.
pub struct Config {
    /// The practice.
    pub practice: PracticeId,
    /// Which end this is.
    pub side: Side,
    /// This node's certificate.
    pub certificate: Certificate,
    /// The secret half of its transport key.
    pub transport_key: SigningKey,
    /// The only key that may answer, when this side dials.
    pub peer: Option<TransportKey>,
    /// The payload codecs that this node reads.
    pub codecs: Vec<Codec>,
    /// The channels that it carries; usually all.
    pub channels: Vec<Channel>,
    /// What it durably holds.
    pub frontier: Frontier,
    /// The last receipt kept with `peer`. A listener gives it with its [`PeerVerdict`].
    pub last_receipt: Option<StoredReceipt>,
}

/// A stream of frames; each keeps its own order, and none waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Both ways, opened by the dialer: everything but runs.
    Control,
    /// One way, one for each channel and direction: runs of that channel.
    Data(Channel),
}

impl Lane {
    /// The longest frame that may come; to be checked before room is made for it.
    pub const fn frame_bytes_max(self) -> usize {
        match self {
            Self::Control => limit::CONTROL_FRAME_BYTES_MAX,
            Self::Data(_) => limit::FRAME_BYTES_MAX,
        }
    }

    /// Which lane goes first when all have something to send: the greater number.
    pub const fn priority(self) -> i32 {
        match self {
            Self::Control => 1,
            Self::Data(channel) => -(channel.number() as i32),
        }
    }
}

/// Whether a peer with a valid certificate is welcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerVerdict {
    /// It is.
    Accepted {
        /// The last receipt kept with it.
        last_receipt: Option<Box<StoredReceipt>>,
    },
    /// It is not.
    Refused(Refusal),
}

/// Why a peer is not welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The practice has revoked it.
    #[error("the node has been revoked")]
    Revoked,
    /// An administrator has suspended it.
    #[error("the node has been suspended")]
    Suspended,
    /// This node does not talk with it.
    #[error("the node is not known here")]
    Unknown,
    /// There are too many connections.
    #[error("there are too many connections")]
    Busy,
}

/// What a session is told.
pub enum Input {
    /// The connection stands.
    Connected {
        /// The TLS exporter's 32 bytes under the protocol's label.
        exporter: [u8; 32],
        /// The key that TLS proved.
        peer: TransportKey,
    },
    /// A whole frame has come.
    Received {
        /// On this lane.
        lane: Lane,
        /// The frame without its length.
        frame: Vec<u8>,
    },
    /// Answers [`Output::Identify`].
    PeerKnown(PeerVerdict),
    /// Answers [`Output::Load`].
    Loaded {
        /// The question.
        request: u64,
        /// Consecutive runs from where it was asked; none if there is nothing.
        runs: Vec<Outgoing>,
    },
    /// Answers [`Output::FindWaypoints`].
    Waypoints {
        /// The question.
        request: u64,
        /// The log's heads and the entries at exponential steps back from each.
        points: Vec<Head>,
    },
    /// Answers [`Output::FindKnown`].
    Known {
        /// The question.
        request: u64,
        /// Those of the heads that the ledger holds.
        known: Vec<Head>,
    },
    /// Answers [`Output::Store`], after what was stored is durable.
    Stored {
        /// The question.
        request: u64,
        /// All present heads of the logs concerned.
        heads: LogHeads,
        /// The logs of which nothing was stored, and why.
        refused: Vec<(LogId, RefuseReason)>,
    },
    /// This node durably holds more: written here, or come from another peer.
    Advanced(LogHeads),
    /// Answers [`Output::KeepReceipt`], after it is durable.
    ReceiptKept,
    /// Somebody waits for the receipt of what has moved: sign it without the usual rest.
    SignNow,
    /// The time of [`Output::Wait`] has come.
    Tick,
    /// End the session in good order.
    Finish,
    /// The connection is gone.
    Lost,
}

/// What a session wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a frame.
    Send {
        /// On this lane.
        lane: Lane,
        /// The frame without its length.
        frame: Vec<u8>,
    },
    /// Is this node welcome? The signatures are checked; revocations are not.
    Identify(VerifiedCertificate),
    /// Load from the ledger: what is on the way to `until` and on the way to none of `after`.
    Load {
        /// To be named in the answer.
        request: u64,
        /// The log.
        log: LogId,
        /// Points that the other side holds; this node holds them too.
        after: Vec<Head>,
        /// A head of this node.
        until: Head,
        /// How much, in payload bytes; one run at least, though it be larger.
        bytes_max: usize,
    },
    /// Which of these does the ledger hold?
    FindKnown {
        /// To be named in the answer.
        request: u64,
        /// At most [`limit::QUESTION_HEADS_MAX`].
        heads: Vec<(LogId, Head)>,
    },
    /// What are this log's waypoints?
    FindWaypoints {
        /// To be named in the answer.
        request: u64,
        /// The log.
        log: LogId,
    },
    /// Store durably.
    Store {
        /// To be named in the answer.
        request: u64,
        /// Of one log.
        runs: Vec<VerifiedRun>,
    },
    /// Keep the receipt, durably, in place of the last one with this peer.
    KeepReceipt(Box<StoredReceipt>),
    /// Something that others may like to know.
    Event(Event),
    /// Send what is to be sent, then close the connection. Nothing follows.
    Close(CloseReason),
    /// Nothing more to do until an input comes; [`Input::Tick`] at this time, if there is one.
    Wait(Option<u64>),
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Both sides have proved who they are.
    Connected {
        /// The other side.
        peer: Box<VerifiedCertificate>,
        /// The protocol's version.
        version: u16,
        /// By how much the other side's clock is ahead; for display only.
        clock_ahead_ms: i64,
    },
    /// What the other side holds, as far as this side knows now.
    PeerFrontier(Frontier),
    /// Something was delivered, one way or the other.
    Progress(Progress),
    /// Both sides hold the same, except logs that one refuses.
    InSync,
    /// Both sides have signed and this side has kept a receipt.
    Receipt(ReceiptId),
    /// A log's entries were not taken.
    Refused {
        /// The log.
        log: LogId,
        /// Why.
        reason: RefuseReason,
        /// Whether it was this side that did not take them.
        by_us: bool,
    },
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Delivered to the other side in this session.
    pub sent: Moved,
    /// Delivered here in this session.
    pub received: Moved,
    /// About how many entries the other side lacks.
    pub to_send: u64,
    /// About how many entries this side lacks.
    pub to_receive: u64,
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The other side broke the protocol.
    #[error("the other side broke the protocol: {0}")]
    Violation(#[from] Violation),
    /// The other side is not welcome.
    #[error("the other side was refused: {0}")]
    Refused(Refusal),
    /// The two speak no common version; update the older one.
    #[error("the two nodes speak no common version of the protocol; update the older one")]
    Version,
    /// The other side did not say who it is in time.
    #[error("the other side did not say who it is in time")]
    Timeout,
    /// This side asked for it.
    #[error("finished")]
    Finished,
    /// The other side took its leave.
    #[error("the other side took its leave")]
    PeerFinished(Farewell),
    /// The connection was lost.
    #[error("the connection was lost")]
    Lost,
}

impl CloseReason {
    /// The code with which the connection is closed.
    pub const fn code(self) -> u32 {
        match self {
            Self::Finished | Self::PeerFinished(_) | Self::Lost => 0,
            Self::Violation(_) => 1,
            Self::Refused(_) => 2,
            Self::Version => 3,
            Self::Timeout => 4,
        }
    }
}
