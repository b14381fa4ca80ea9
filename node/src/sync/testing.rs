//! A replica in memory, and nodes on loopback that can crash, for the tests of this module.

#![cfg(test)]

use super::replica::{Credentials, Replica, ReplicaError, Stored};
use super::{Network, NetworkConfig, PeerAddress};
use crate::base::environment::Environment;
use crate::base::private::Private;
use carnet_sync_protocol::SigningKey;
use carnet_sync_protocol::certificate::{
    Capabilities, Certificate, CertificateBody, NodeKeys, Role, VerifiedCertificate,
};
use carnet_sync_protocol::entry::{
    Codec, Entry, Header, HybridTime, Run, SignatureBytes, VerifiedRun,
};
use carnet_sync_protocol::frontier::{Frontier, Head};
use carnet_sync_protocol::id::{
    Author, Channel, DocumentId, EntryId, EpochId, HpkeKey, Incarnation, LogId, NodeId, PracticeId,
    TransportKey,
};
use carnet_sync_protocol::joint::{JointRun, Outgoing};
use carnet_sync_protocol::message::{JoinAnswer, JoinRefusal, JoinRequest, LogHeads, RefuseReason};
use carnet_sync_protocol::receipt::StoredReceipt;
use carnet_sync_protocol::session::{PeerVerdict, Refusal};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

/// The Ed25519 key of which every secret byte is this.
pub(super) fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

pub(super) fn transport(node: u8) -> TransportKey {
    TransportKey(key(node + 100).verifying_key().to_bytes())
}

#[derive(Default)]
struct Held {
    logs: BTreeMap<LogId, Vec<(Entry, Option<SignatureBytes>)>>,
    receipts: BTreeMap<TransportKey, StoredReceipt>,
    banned: BTreeSet<NodeId>,
    twice: u64,
    store_delay: Duration,
    /// Whether the next receipt is put on record, and how long its keeping takes after that.
    records_the_sync: Option<Duration>,
}

impl Held {
    fn head(&self, log: &LogId) -> Option<Head> {
        let entry = &self.logs.get(log)?.last()?.0;
        Some(Head { sequence: entry.header.sequence, id: entry.id })
    }

    /// Appends what is new of a run; false when it does not follow what is held.
    fn append(&mut self, run: VerifiedRun) -> bool {
        let log = self.logs.entry(run.log()).or_default();
        let (entries, signature) = run.into_parts();
        let count = entries.len();
        for (place, entry) in entries.into_iter().enumerate() {
            let signature = (place + 1 == count).then_some(signature);
            match entry.header.sequence as usize - 1 {
                index if index < log.len() => {
                    assert_eq!(log[index].0.id, entry.id, "this replica knows no forks");
                    self.twice += 1;
                    log[index].1 = log[index].1.or(signature);
                }
                index if index == log.len() => log.push((entry, signature)),
                _ => return false,
            }
        }
        true
    }
}

/// Keeps entries in memory.
pub(super) struct Memory {
    node: u8,
    practice: PracticeId,
    certificate: VerifiedCertificate,
    held: Mutex<Held>,
    advances: broadcast::Sender<LogHeads>,
}

impl Memory {
    /// A node of a practice, certified by it; both are named by a byte.
    pub(super) fn new(practice: u8, node: u8) -> Arc<Self> {
        let practice_key = key(practice);
        let practice = PracticeId(practice_key.verifying_key().to_bytes());
        let body = CertificateBody {
            practice,
            keys: NodeKeys {
                entry: NodeId(key(node).verifying_key().to_bytes()),
                transport: transport(node),
                hpke: HpkeKey([node; 32]),
            },
            role: Role::Clinic,
            capabilities: Capabilities { admit: false, restricted: false, audit: false },
            site: format!("site {node}"),
            serial: [node; 8],
            issued_ms: 0,
            expires_ms: 1,
        };
        let certificate = Certificate::issue(body, &practice_key).unwrap();
        let held = Mutex::default();
        let advances = broadcast::channel(64).0;
        Arc::new(Self { node, practice, certificate, held, advances })
    }

    /// Writes entries, signed together, and tells the links.
    pub(super) fn write(&self, channel: Channel, payloads: &[Vec<u8>]) {
        let author =
            Author { node: self.certificate.node(), incarnation: Incarnation([self.node; 8]) };
        let log = LogId { channel, author };
        let mut held = self.held.lock().unwrap();
        let mut head = held.head(&log).unwrap_or(Head { sequence: 0, id: EntryId::ZERO });
        let mut entries = Vec::new();
        for payload in payloads {
            let header = Header {
                practice: self.practice,
                log,
                sequence: head.sequence + 1,
                previous: head.id,
                document: DocumentId::ZERO,
                epoch: EpochId::ZERO,
                codec: Codec::STATEMENT,
                nonce: [0; 24],
                time: HybridTime(0),
                payload_length: payload.len() as u32,
                payload_hash: *blake3::hash(payload).as_bytes(),
            };
            head = Head { sequence: header.sequence, id: header.id() };
            entries.push(Entry { id: head.id, header, payload: payload.clone() });
        }
        assert!(held.append(VerifiedRun::written(entries, &key(self.node))));
        drop(held);
        // Nobody need listen.
        let _ = self.advances.send(vec![(log, vec![head])]);
    }

    pub(super) fn entries(&self) -> usize {
        self.held.lock().unwrap().logs.values().map(Vec::len).sum()
    }

    /// How many entries came that were held already.
    pub(super) fn twice(&self) -> u64 {
        self.held.lock().unwrap().twice
    }

    pub(super) fn ban(&self, node: u8) {
        let node = NodeId(key(node).verifying_key().to_bytes());
        self.held.lock().unwrap().banned.insert(node);
    }

    pub(super) fn store_slowly(&self, delay: Duration) {
        self.held.lock().unwrap().store_delay = delay;
    }

    /// Writes an entry after the first receipt, as a node that puts its syncs on record, and is done
    /// with the receipt only this much later.
    pub(super) fn record_the_sync(&self, delay: Duration) {
        self.held.lock().unwrap().records_the_sync = Some(delay);
    }

    /// Answers nothing that concerns what it holds, until what is returned is dropped.
    pub(super) fn keep_busy(self: &Arc<Self>) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        let memory = self.clone();
        std::thread::spawn(move || {
            let _held = memory.held.lock().unwrap();
            begin.send(()).unwrap();
            // Ends with an error when the other end is dropped.
            let _ = released.recv();
        });
        begun.recv().unwrap();
        release
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        self.frontier().unwrap().digest_all()
    }

    pub(super) fn receipts(&self) -> Vec<StoredReceipt> {
        self.held.lock().unwrap().receipts.values().cloned().collect()
    }

    pub(super) fn practice(&self) -> PracticeId {
        self.practice
    }
}

impl Replica for Memory {
    fn credentials(&self, _peer: &TransportKey) -> Result<Credentials, ReplicaError> {
        let certificate = self.certificate.clone().into_certificate();
        Ok(Credentials { practice: self.practice, certificate, codecs: vec![Codec::STATEMENT] })
    }

    fn frontier(&self) -> Result<Frontier, ReplicaError> {
        let held = self.held.lock().unwrap();
        let mut frontier = Frontier::default();
        for log in held.logs.keys() {
            frontier.set(*log, held.head(log).into_iter().collect());
        }
        Ok(frontier)
    }

    fn last_receipt(&self, peer: &TransportKey) -> Result<Option<StoredReceipt>, ReplicaError> {
        Ok(self.held.lock().unwrap().receipts.get(peer).cloned())
    }

    fn load(
        &self,
        log: LogId,
        after: &[Head],
        until: Head,
        bytes_max: usize,
        _reader: Option<NodeId>,
    ) -> Result<Vec<Outgoing>, ReplicaError> {
        let held = self.held.lock().unwrap();
        let after = after.iter().map(|head| head.sequence).max().unwrap_or(0);
        let (mut runs, mut run, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (entry, signature) in held.logs.get(&log).into_iter().flatten() {
            if entry.header.sequence <= after || entry.header.sequence > until.sequence {
                continue;
            }
            bytes += entry.payload.len();
            run.push(entry.clone());
            if let Some(signature) = signature {
                if bytes > bytes_max && !runs.is_empty() {
                    break;
                }
                runs.extend(Run::from_entries(std::mem::take(&mut run), *signature));
            }
        }
        Ok(runs.into_iter().map(Outgoing::from).collect())
    }

    fn open_joint(
        &self,
        _peer: &TransportKey,
        _joint: JointRun,
    ) -> Result<Option<Run>, ReplicaError> {
        Ok(None)
    }

    fn known(&self, heads: Vec<(LogId, Head)>) -> Result<Vec<(LogId, Head)>, ReplicaError> {
        let held = self.held.lock().unwrap();
        let holds = |(log, head): &(LogId, Head)| {
            let entries = held.logs.get(log);
            let entry = entries.and_then(|log| log.get(head.sequence as usize - 1));
            entry.is_some_and(|(entry, _)| entry.id == head.id)
        };
        Ok(heads.into_iter().filter(holds).collect())
    }

    fn waypoints(&self, log: LogId) -> Result<Vec<Head>, ReplicaError> {
        Ok(self.held.lock().unwrap().head(&log).into_iter().collect())
    }

    fn store(&self, _: &TransportKey, runs: Vec<VerifiedRun>) -> Result<Stored, ReplicaError> {
        let mut held = self.held.lock().unwrap();
        let mut stored = Stored::default();
        let logs: BTreeSet<LogId> = runs.iter().map(VerifiedRun::log).collect();
        for run in runs {
            let log = run.log();
            if !held.append(run) {
                stored.refused.push((log, RefuseReason::Gap));
            }
        }
        for log in logs {
            stored.heads.push((log, held.head(&log).into_iter().collect()));
        }
        let delay = held.store_delay;
        drop(held);
        std::thread::sleep(delay);
        // Nobody need listen.
        let _ = self.advances.send(stored.heads.clone());
        Ok(stored)
    }

    fn identify(&self, certificate: &VerifiedCertificate) -> Result<PeerVerdict, ReplicaError> {
        let held = self.held.lock().unwrap();
        if held.banned.contains(&certificate.node()) {
            return Ok(PeerVerdict::Refused(Refusal::Revoked));
        }
        let last_receipt =
            held.receipts.get(&certificate.body.keys.transport).cloned().map(Box::new);
        Ok(PeerVerdict::Accepted { last_receipt })
    }

    fn keep_receipt(&self, peer: NodeId, receipt: StoredReceipt) -> Result<(), ReplicaError> {
        let both = [&receipt.receipt.dialer, &receipt.receipt.listener];
        let other = both.into_iter().find(|certificate| certificate.node() == peer).unwrap();
        let transport = other.body.keys.transport;
        let mut held = self.held.lock().unwrap();
        held.receipts.insert(transport, receipt);
        let records = std::mem::take(&mut held.records_the_sync);
        drop(held);
        if let Some(delay) = records {
            self.write(Channel::Audit, &[b"synced".to_vec()]);
            std::thread::sleep(delay);
        }
        Ok(())
    }

    fn note_peer_frontier(&self, _peer: NodeId, _frontier: Frontier) -> Result<(), ReplicaError> {
        Ok(())
    }

    fn answer_join(
        &self,
        request: JoinRequest,
        transport: TransportKey,
        exporter: [u8; 32],
    ) -> Result<JoinAnswer, ReplicaError> {
        let genuine = request.verify(Some(&exporter)).is_ok();
        let refusal = if genuine && request.body.keys.transport == transport {
            JoinRefusal::Unknown
        } else {
            JoinRefusal::Invalid
        };
        Ok(JoinAnswer::Refused(refusal))
    }

    fn note_refused(&self, _: TransportKey, _: String, _: u64) -> Result<(), ReplicaError> {
        Ok(())
    }

    fn advances(&self) -> broadcast::Receiver<LogHeads> {
        self.advances.subscribe()
    }
}

/// A node on loopback with a runtime of its own, so that it can crash.
pub(super) struct Node {
    pub(super) network: Network,
    pub(super) replica: Arc<Memory>,
    number: u8,
    runtime: Option<Runtime>,
}

impl Node {
    /// Starts a node of practice 1 that listens on any port.
    pub(super) async fn start(number: u8) -> Self {
        Self::start_with(Memory::new(1, number), number, Some("127.0.0.1:0".parse().unwrap())).await
    }

    pub(super) async fn start_with(
        replica: Arc<Memory>,
        number: u8,
        listen: Option<SocketAddr>,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let config = NetworkConfig {
            environment: Environment::system(),
            transport_seed: Private::new([number + 100; 32]),
            listen,
        };
        let started = runtime.spawn(Network::start(config, replica.clone())).await.unwrap();
        Self { network: started.unwrap(), replica, number, runtime: Some(runtime) }
    }

    /// Where others reach it, under the key that they must find there.
    pub(super) fn address(&self) -> PeerAddress {
        PeerAddress {
            transport: transport(self.number),
            addresses: self.network.listening().iter().map(ToString::to_string).collect(),
        }
    }

    /// Is gone without a word; what it held stays.
    pub(super) async fn crash(mut self) -> Arc<Memory> {
        self.runtime.take().unwrap().shutdown_background();
        // What was being stored is stored, or is not: a real crash takes the threads with it.
        tokio::time::sleep(Duration::from_millis(150)).await;
        self.replica.clone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
