//! The records as a session's replica: what the ledger holds is what peers may have.

use super::replica::{Credentials, Replica, ReplicaError, Stored};
use crate::records::joint::Opener;
use crate::records::{Handle, Records, RecordsError};
use carnet_sync_protocol::certificate::VerifiedCertificate;
use carnet_sync_protocol::entry::{Run, VerifiedRun};
use carnet_sync_protocol::frontier::{Frontier, Head};
use carnet_sync_protocol::id::{LogId, NodeId, TransportKey};
use carnet_sync_protocol::joint::{JointRun, Outgoing};
use carnet_sync_protocol::message::{JoinAnswer, JoinRefusal, JoinRequest, LogHeads};
use carnet_sync_protocol::receipt::StoredReceipt;
use carnet_sync_protocol::session::PeerVerdict;
use tokio::sync::broadcast;

impl From<RecordsError> for ReplicaError {
    fn from(error: RecordsError) -> Self {
        Self(error.to_string())
    }
}

/// Whoever lets others call on records.
pub trait Keeper: Send + Sync + 'static {
    /// Runs `f` on the records. What comes back may be told to others only once what `f` wrote is
    /// durable.
    fn call_blocking<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Records) -> Result<T, RecordsError> + Send + 'static,
    ) -> Result<T, RecordsError>;

    /// What each later commit added to the ledger.
    fn advances(&self) -> broadcast::Receiver<LogHeads>;

    /// What opens joint runs without calling on the records.
    fn opener(&self) -> Opener;
}

/// The thread that owns the records: what was written is durable when the answer comes.
impl Keeper for Handle {
    fn call_blocking<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Records) -> Result<T, RecordsError> + Send + 'static,
    ) -> Result<T, RecordsError> {
        Self::call_blocking(self, f)
    }

    fn advances(&self) -> broadcast::Receiver<LogHeads> {
        Self::advances(self)
    }

    fn opener(&self) -> Opener {
        Self::opener(self)
    }
}

fn ask<T: Send + 'static>(
    keeper: &impl Keeper,
    f: impl FnOnce(&mut Records) -> Result<T, RecordsError> + Send + 'static,
) -> Result<T, ReplicaError> {
    Ok(keeper.call_blocking(f)?)
}

impl<K: Keeper> Replica for K {
    fn credentials(&self, peer: &TransportKey) -> Result<Credentials, ReplicaError> {
        let peer = *peer;
        ask(self, move |records| {
            Ok(Credentials {
                practice: records.practice(),
                certificate: records.own_certificate()?.clone(),
                codecs: records.codecs(&peer),
            })
        })
    }

    fn frontier(&self) -> Result<Frontier, ReplicaError> {
        ask(self, |records| Ok(records.frontier().clone()))
    }

    fn last_receipt(&self, peer: &TransportKey) -> Result<Option<StoredReceipt>, ReplicaError> {
        let peer = *peer;
        ask(self, move |records| records.last_receipt(&peer))
    }

    fn load(
        &self,
        log: LogId,
        after: &[Head],
        until: Head,
        bytes_max: usize,
        reader: Option<NodeId>,
    ) -> Result<Vec<Outgoing>, ReplicaError> {
        let after = after.to_vec();
        ask(self, move |records| {
            let runs = records.load(&log, &after, until, bytes_max)?;
            let outgoing = |run: Run| Outgoing {
                joint: reader.and_then(|reader| records.joint(&run, &reader)),
                run,
            };
            Ok(runs.into_iter().map(outgoing).collect())
        })
    }

    fn open_joint(
        &self,
        peer: &TransportKey,
        joint: JointRun,
    ) -> Result<Option<Run>, ReplicaError> {
        // Here, while the thread that owns the records does something else.
        if let Some(run) = self.opener().open(&joint) {
            return Ok(Some(run));
        }
        let peer = *peer;
        ask(self, move |records| records.open_joint(&peer, &joint))
    }

    fn known(&self, heads: Vec<(LogId, Head)>) -> Result<Vec<(LogId, Head)>, ReplicaError> {
        ask(self, move |records| records.known(&heads))
    }

    fn waypoints(&self, log: LogId) -> Result<Vec<Head>, ReplicaError> {
        ask(self, move |records| records.waypoints(&log))
    }

    fn store(&self, peer: &TransportKey, runs: Vec<VerifiedRun>) -> Result<Stored, ReplicaError> {
        let peer = *peer;
        ask(self, move |records| {
            let received = records.receive_of_peer(&peer, &runs)?;
            Ok(Stored { heads: received.heads, refused: received.refused })
        })
    }

    fn identify(&self, certificate: &VerifiedCertificate) -> Result<PeerVerdict, ReplicaError> {
        let certificate = certificate.clone();
        ask(self, move |records| {
            Ok(match records.admits(&certificate) {
                Ok(()) => {
                    let transport = &certificate.body.keys.transport;
                    PeerVerdict::Accepted {
                        last_receipt: records.last_receipt(transport)?.map(Box::new),
                    }
                }
                Err(refusal) => PeerVerdict::Refused(refusal),
            })
        })
    }

    fn keep_receipt(&self, peer: NodeId, receipt: StoredReceipt) -> Result<(), ReplicaError> {
        ask(self, move |records| records.keep_receipt(&peer, &receipt))
    }

    fn note_peer_frontier(&self, peer: NodeId, frontier: Frontier) -> Result<(), ReplicaError> {
        ask(self, move |records| records.note_peer_frontier(&peer, &frontier))
    }

    fn answer_join(
        &self,
        request: JoinRequest,
        transport: TransportKey,
        exporter: [u8; 32],
    ) -> Result<JoinAnswer, ReplicaError> {
        if request.body.keys.transport != transport {
            return Ok(JoinAnswer::Refused(JoinRefusal::Invalid));
        }
        ask(self, move |records| records.answer_join(&request, &exporter))
    }

    fn note_refused(
        &self,
        peer: TransportKey,
        reason: String,
        count: u64,
    ) -> Result<(), ReplicaError> {
        ask(self, move |records| {
            records.note_refused(&peer, &reason, count);
            Ok(())
        })
    }

    fn advances(&self) -> broadcast::Receiver<LogHeads> {
        Keeper::advances(self)
    }
}
