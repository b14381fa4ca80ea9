//! What a session needs of the place where entries are kept.
//!
//! The calls may block (they read a database, they wait for a disk), so the link makes them on
//! threads of their own and in order: see [`Desk`](super::desk::Desk).

use carnet_sync_protocol::certificate::{Certificate, VerifiedCertificate};
use carnet_sync_protocol::entry::{Codec, Run, VerifiedRun};
use carnet_sync_protocol::frontier::{Frontier, Head};
use carnet_sync_protocol::id::{LogId, NodeId, PracticeId, TransportKey};
use carnet_sync_protocol::joint::{JointRun, Outgoing};
use carnet_sync_protocol::message::{JoinAnswer, JoinRequest, LogHeads, RefuseReason};
use carnet_sync_protocol::receipt::StoredReceipt;
use carnet_sync_protocol::session::PeerVerdict;
use tokio::sync::broadcast;

/// The place where entries are kept failed; says what and where, without patients' data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReplicaError(pub String);

/// Who this node is to its peers.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The practice.
    pub practice: PracticeId,
    /// This node's certificate.
    pub certificate: Certificate,
    /// The payload codecs that this node reads, and whether it reads joint runs.
    pub codecs: Vec<Codec>,
}

/// What became of runs that were to be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// All heads that are now held of each log that a run belonged to.
    pub heads: LogHeads,
    /// The logs of which something was not taken in, and why.
    pub refused: Vec<(LogId, RefuseReason)>,
}

/// A node's ledger and its knowledge of peers, as the network sees them.
pub trait Replica: Send + Sync + 'static {
    /// Asked at the beginning of each session with the peer that has this key.
    fn credentials(&self, peer: &TransportKey) -> Result<Credentials, ReplicaError>;

    /// What is durably held.
    fn frontier(&self) -> Result<Frontier, ReplicaError>;

    /// The last receipt that was kept with the peer that has this key.
    fn last_receipt(&self, peer: &TransportKey) -> Result<Option<StoredReceipt>, ReplicaError>;

    /// Whole signed runs of the entries that lead to `until` and to none of `after`: together not
    /// more than `bytes_max`, but at least one. For a `reader`, those that are shorter so have their
    /// joint form too.
    fn load(
        &self,
        log: LogId,
        after: &[Head],
        until: Head,
        bytes_max: usize,
        reader: Option<NodeId>,
    ) -> Result<Vec<Outgoing>, ReplicaError>;

    /// Makes the run again that a peer sent in its joint form. Where that can't be done (the node
    /// was locked meanwhile, for one), this node takes no joint runs of the peer for now.
    fn open_joint(&self, peer: &TransportKey, joint: JointRun)
    -> Result<Option<Run>, ReplicaError>;

    /// Those of these entries that are held.
    fn known(&self, heads: Vec<(LogId, Head)>) -> Result<Vec<(LogId, Head)>, ReplicaError>;

    /// All heads of a log, and entries at exponential steps back from each.
    fn waypoints(&self, log: LogId) -> Result<Vec<Head>, ReplicaError>;

    /// Keeps a peer's runs, in this order; returns when they are durable. What is held already is no
    /// error.
    fn store(&self, peer: &TransportKey, runs: Vec<VerifiedRun>) -> Result<Stored, ReplicaError>;

    /// Whether this node syncs with the bearer of a certificate.
    fn identify(&self, certificate: &VerifiedCertificate) -> Result<PeerVerdict, ReplicaError>;

    /// Keeps the proof of a sync.
    fn keep_receipt(&self, peer: NodeId, receipt: StoredReceipt) -> Result<(), ReplicaError>;

    /// Notes what a peer holds, for the status.
    fn note_peer_frontier(&self, peer: NodeId, frontier: Frontier) -> Result<(), ReplicaError>;

    /// Answers a newcomer who holds `transport`; `exporter` binds the request to its connection.
    fn answer_join(
        &self,
        request: JoinRequest,
        transport: TransportKey,
        exporter: [u8; 32],
    ) -> Result<JoinAnswer, ReplicaError>;

    /// Puts on record that peers were sent away: the key that one of them proved to hold, why, and how
    /// many.
    fn note_refused(
        &self,
        peer: TransportKey,
        reason: String,
        count: u64,
    ) -> Result<(), ReplicaError>;

    /// Tells the new heads after each commit that made the ledger grow. Does not block.
    fn advances(&self) -> broadcast::Receiver<LogHeads>;
}
