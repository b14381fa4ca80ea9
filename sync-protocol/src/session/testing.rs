//! A small world for tests: nodes with a ledger in memory, links with delays and cuts, one seed.
//!
//! The world itself watches one promise in every test: what the other side has acknowledged, and
//! the acknowledgement of which has arrived, is not sent to it again, in whatever session.

#![cfg(test)]

use super::*;
use crate::certificate::{Capabilities, Certificate, CertificateBody, NodeKeys, Role};
use crate::entry::{Codec, Entry, Header, HybridTime, Run, SignatureBytes, VerifiedRun};
use crate::id::{
    Author, DocumentId, EntryId, EpochId, HpkeKey, Incarnation, NodeId, PracticeId, TransportKey,
};
use crate::receipt::StoredReceipt;
use crate::wire;
use ed25519_dalek::SigningKey;
use std::collections::BTreeSet;

/// SplitMix64.
pub(super) struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

pub(super) fn practice_key() -> SigningKey {
    SigningKey::from_bytes(&[0xaa; 32])
}

pub(super) fn practice() -> PracticeId {
    PracticeId(practice_key().verifying_key().to_bytes())
}

/// Everything that a node durably holds.
#[derive(Clone, Default)]
pub(super) struct Ledger {
    pub entries: BTreeMap<EntryId, Entry>,
    pub signatures: BTreeMap<EntryId, SignatureBytes>,
    pub frontier: Frontier,
    /// Whose certificate has come through the control channel.
    pub certified: BTreeSet<NodeId>,
}

impl Ledger {
    /// The entries from the log's beginning to `head`.
    pub fn path(&self, head: EntryId) -> Vec<EntryId> {
        let mut path = Vec::new();
        let mut at = head;
        while let Some(entry) = self.entries.get(&at) {
            path.push(at);
            at = entry.header.previous;
        }
        path.reverse();
        path
    }

    pub fn append(&mut self, run: &VerifiedRun) -> Result<(), RefuseReason> {
        let log = run.log();
        let first = &run.entries()[0];
        let previous = first.header.previous;
        if previous != EntryId::ZERO && !self.entries.contains_key(&previous) {
            return Err(RefuseReason::Gap);
        }
        let mut certified = self.certified.clone();
        if log.channel == Channel::Control {
            let certificates =
                run.entries().iter().filter(|entry| entry.header.codec == Codec::STATEMENT);
            for entry in certificates {
                let certificate: Certificate = wire::decode(&entry.payload).unwrap();
                certified.insert(certificate.verify(practice()).unwrap().node());
            }
        }
        if !certified.contains(&log.author.node) {
            return Err(RefuseReason::Uncertified);
        }
        let mut heads = self.frontier.heads(&log).to_vec();
        if !self.entries.contains_key(&run.head().id) {
            let inner: BTreeSet<EntryId> = run.entries().iter().map(|entry| entry.id).collect();
            heads.retain(|head| head.id != previous && !inner.contains(&head.id));
            heads.push(run.head());
            if heads.len() > limit::HEADS_MAX {
                return Err(RefuseReason::Forks);
            }
        }
        self.certified = certified;
        self.signatures.insert(run.head().id, *run.signature());
        for entry in run.entries() {
            self.entries.insert(entry.id, entry.clone());
        }
        self.frontier.set(log, heads);
        Ok(())
    }

    fn load(&self, after: &[Head], until: Head, bytes_max: usize) -> Vec<Run> {
        let held: BTreeSet<EntryId> = after.iter().flat_map(|point| self.path(point.id)).collect();
        assert!(after.iter().all(|point| self.entries.contains_key(&point.id)), "asked beyond");
        let mut runs = Vec::new();
        let mut pending = Vec::new();
        let mut bytes = 0;
        for id in self.path(until.id).into_iter().filter(|id| !held.contains(id)) {
            let entry = &self.entries[&id];
            pending.push(entry.clone());
            bytes += entry.payload.len();
            let Some(signature) = self.signatures.get(&id) else { continue };
            runs.extend(Run::from_entries(std::mem::take(&mut pending), *signature));
            if bytes >= bytes_max {
                break;
            }
        }
        runs
    }

    fn waypoints(&self, log: &LogId) -> Vec<Head> {
        let mut points = BTreeSet::new();
        for head in self.frontier.heads(log) {
            let path = self.path(head.id);
            let mut back = 0;
            while back < path.len() {
                let id = path[path.len() - 1 - back];
                points.insert(Head { sequence: self.entries[&id].header.sequence, id });
                back = (back * 2).max(1);
            }
        }
        points.into_iter().collect()
    }
}

/// A clinic.
pub(super) struct Node {
    pub key: SigningKey,
    pub transport: SigningKey,
    pub certificate: Certificate,
    pub incarnation: Incarnation,
    pub ledger: Ledger,
    pub receipts: BTreeMap<NodeId, StoredReceipt>,
    pub channels: Vec<Channel>,
}

impl Node {
    pub fn new(seed: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let transport = SigningKey::from_bytes(&[seed + 100; 32]);
        let body = CertificateBody {
            practice: practice(),
            keys: NodeKeys {
                entry: NodeId(key.verifying_key().to_bytes()),
                transport: TransportKey(transport.verifying_key().to_bytes()),
                hpke: HpkeKey([seed; 32]),
            },
            role: Role::Clinic,
            capabilities: Capabilities::default(),
            site: format!("Site {seed}"),
            serial: [seed; 8],
            issued_ms: 0,
            expires_ms: u64::MAX,
        };
        let certificate = Certificate::issue(body, &practice_key()).unwrap().into_certificate();
        let certified = BTreeSet::from([certificate.node()]);
        Self {
            key,
            transport,
            certificate,
            incarnation: Incarnation([seed; 8]),
            ledger: Ledger { certified, ..Ledger::default() },
            receipts: BTreeMap::new(),
            channels: Channel::ALL.to_vec(),
        }
    }

    pub fn log(&self, channel: Channel) -> LogId {
        let author = Author { node: self.certificate.node(), incarnation: self.incarnation };
        LogId { channel, author }
    }

    pub fn transport_key(&self) -> TransportKey {
        self.certificate.body.keys.transport
    }

    /// The next commit of this node, not appended.
    pub fn commit(&self, channel: Channel, payloads: Vec<(Codec, Vec<u8>)>) -> VerifiedRun {
        let log = self.log(channel);
        let last = self.ledger.frontier.heads(&log).last().copied();
        let (mut sequence, mut previous) =
            last.map_or((0, EntryId::ZERO), |head| (head.sequence, head.id));
        let mut entries = Vec::new();
        for (codec, payload) in payloads {
            sequence += 1;
            let header = Header {
                practice: practice(),
                log,
                sequence,
                previous,
                document: DocumentId([sequence as u8; 16]),
                epoch: EpochId([1; 16]),
                codec,
                nonce: [7; 24],
                time: HybridTime::from_unix_ms(sequence),
                payload_length: payload.len() as u32,
                payload_hash: *blake3::hash(&payload).as_bytes(),
            };
            previous = header.id();
            entries.push(Entry { id: previous, header, payload });
        }
        VerifiedRun::written(entries, &self.key)
    }

    /// Writes `count` entries in one commit, and before that whatever a log begins with.
    pub fn write(&mut self, channel: Channel, count: usize, chance: &mut Chance) -> LogHeads {
        let payloads = (0..count).map(|_| {
            let size = 20 + chance.below(300) as usize;
            (Codec(16), (0..size).map(|_| chance.next() as u8).collect())
        });
        let run = self.commit(channel, payloads.collect());
        self.ledger.append(&run).unwrap();
        vec![(run.log(), self.ledger.frontier.heads(&run.log()).to_vec())]
    }

    /// Publishes certificates in this node's control log.
    pub fn certify(&mut self, certificates: &[Certificate]) -> LogHeads {
        let payloads = certificates.iter().map(|one| (Codec::STATEMENT, wire::encode(one)));
        let run = self.commit(Channel::Control, payloads.collect());
        self.ledger.append(&run).unwrap();
        vec![(run.log(), self.ledger.frontier.heads(&run.log()).to_vec())]
    }

    pub fn session(&self, side: Side, peer: Option<&Node>) -> Session {
        Session::new(Config {
            practice: practice(),
            side,
            certificate: self.certificate.clone(),
            transport_key: self.transport.clone(),
            peer: peer.map(Node::transport_key),
            codecs: vec![Codec(16)],
            channels: self.channels.clone(),
            frontier: self.ledger.frontier.clone(),
            last_receipt: peer
                .and_then(|peer| self.receipts.get(&peer.certificate.node()).cloned()),
        })
    }
}

/// What is due at a time: a frame or an answer, for one end of one link.
struct Due {
    link: usize,
    end: usize,
    input: Input,
}

/// A frame that was sent, for tests that look at the traffic.
pub(super) struct Sent {
    pub link: usize,
    pub from: usize,
    pub lane: Lane,
    pub bytes: usize,
    /// How many frames the sender's end had received when it sent this one.
    pub after: usize,
}

pub(super) struct Link {
    pub nodes: [usize; 2],
    pub sessions: [Session; 2],
    pub events: [Vec<Event>; 2],
    pub closed: [Option<CloseReason>; 2],
    pub received: [usize; 2],
    order: BTreeMap<(usize, Lane), u64>,
    alive: bool,
}

/// Nodes, links, a clock and a seed.
pub(super) struct World {
    pub nodes: Vec<Node>,
    pub links: Vec<Link>,
    pub chance: Chance,
    pub now: u64,
    pub sent: Vec<Sent>,
    /// Damages about half of all frames.
    pub damage: Option<Chance>,
    queue: BTreeMap<(u64, u64), Due>,
    count: u64,
    travelling: BTreeMap<(usize, usize, Head), Vec<EntryId>>,
    acknowledged: BTreeSet<(usize, usize, EntryId)>,
}

impl World {
    /// Nodes that know each other's certificates, published by the first.
    pub fn new(seed: u64, count: u8) -> Self {
        let mut nodes: Vec<Node> = (1..=count).map(Node::new).collect();
        let certificates: Vec<Certificate> =
            nodes.iter().map(|node| node.certificate.clone()).collect();
        nodes[0].certify(&certificates);
        Self {
            nodes,
            links: Vec::new(),
            chance: Chance(seed),
            now: 1_000,
            sent: Vec::new(),
            damage: None,
            queue: BTreeMap::new(),
            count: 0,
            travelling: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
        }
    }

    /// The first node dials the second.
    pub fn connect(&mut self, dialer: usize, listener: usize) -> usize {
        let sessions = [
            self.nodes[dialer].session(Side::Dialer, Some(&self.nodes[listener])),
            self.nodes[listener].session(Side::Listener, None),
        ];
        let link = self.links.len();
        self.links.push(Link {
            nodes: [dialer, listener],
            sessions,
            events: Default::default(),
            closed: [None, None],
            received: [0, 0],
            order: BTreeMap::new(),
            alive: true,
        });
        let mut exporter = [0; 32];
        exporter[..8].copy_from_slice(&self.chance.next().to_be_bytes());
        let nodes = [dialer, listener];
        for end in [1, 0] {
            let peer = self.nodes[nodes[1 - end]].transport_key();
            self.feed(link, end, Input::Connected { exporter, peer });
        }
        link
    }

    /// The link breaks: what is on its way is lost.
    pub fn cut(&mut self, link: usize) {
        self.queue.retain(|_, due| due.link != link);
        self.links[link].alive = false;
        for end in 0..2 {
            self.feed(link, end, Input::Lost);
        }
    }

    /// A node writes, and tells its sessions.
    pub fn write(&mut self, node: usize, channel: Channel, count: usize) {
        let news = self.nodes[node].write(channel, count, &mut self.chance);
        self.spread(node, &news, None);
    }

    pub fn spread(&mut self, node: usize, news: &LogHeads, except: Option<usize>) {
        for link in 0..self.links.len() {
            for end in 0..2 {
                let concerned = self.links[link].nodes[end] == node && Some(link) != except;
                if concerned && self.links[link].alive {
                    self.feed(link, end, Input::Advanced(news.clone()));
                }
            }
        }
    }

    /// Runs at most so many steps; says whether nothing is left to do.
    pub fn run(&mut self, steps: usize) -> bool {
        for _ in 0..steps {
            let Some(((time, _), due)) = self.queue.pop_first() else { return true };
            if matches!(due.input, Input::Tick) {
                // A deadline that no longer stands does not move the clock.
                let waits = self.links[due.link].sessions[due.end].poll();
                if waits != Output::Wait(Some(time)) {
                    if let Output::Wait(Some(later)) = waits {
                        self.schedule(later, due.link, due.end, Input::Tick);
                    }
                    continue;
                }
            }
            self.now = self.now.max(time);
            self.watch(&due);
            if let Input::Received { .. } = due.input {
                self.links[due.link].received[due.end] += 1;
            }
            self.feed(due.link, due.end, due.input);
        }
        self.queue.is_empty()
    }

    /// Runs until nothing is left to do.
    pub fn settle(&mut self) {
        assert!(self.run(1_000_000), "the nodes do not come to rest");
    }

    /// Notes acknowledgements that arrive.
    fn watch(&mut self, due: &Due) {
        let Input::Received { lane: Lane::Control, frame } = &due.input else { return };
        let nodes = self.links[due.link].nodes;
        let (from, to) = (nodes[due.end], nodes[1 - due.end]);
        if self.damage.is_some() {
            return;
        }
        if let Ok(Message::Acknowledge(acks)) = Message::from_bytes(frame) {
            for ack in acks.iter().filter(|ack| ack.refused.is_none()) {
                for id in &self.travelling[&(from, to, ack.last)] {
                    self.acknowledged.insert((from, to, *id));
                }
            }
        }
    }

    fn schedule(&mut self, time: u64, link: usize, end: usize, input: Input) {
        self.count += 1;
        self.queue.insert((time, self.count), Due { link, end, input });
    }

    pub fn feed(&mut self, link: usize, end: usize, input: Input) {
        self.links[link].sessions[end].handle(self.now, input);
        loop {
            let output = self.links[link].sessions[end].poll();
            if let Output::Wait(deadline) = output {
                if let Some(deadline) = deadline.filter(|_| self.links[link].alive) {
                    let waiting = self.queue.values().any(|due| {
                        due.link == link && due.end == end && matches!(due.input, Input::Tick)
                    });
                    if !waiting {
                        self.schedule(deadline.max(self.now), link, end, Input::Tick);
                    }
                }
                return;
            }
            self.act(link, end, output);
        }
    }

    fn act(&mut self, link: usize, end: usize, output: Output) {
        let node = self.links[link].nodes[end];
        let peer = self.links[link].nodes[1 - end];
        let answer = match output {
            Output::Send { lane, frame } => return self.carry(link, end, lane, frame),
            Output::Identify(certificate) => {
                let receipt = self.nodes[node].receipts.get(&certificate.node()).cloned();
                Input::PeerKnown(PeerVerdict::Accepted { last_receipt: receipt.map(Box::new) })
            }
            Output::Load { request, after, until, bytes_max, .. } => {
                assert!(self.nodes[node].ledger.entries.contains_key(&until.id));
                let runs = self.nodes[node].ledger.load(&after, until, bytes_max);
                Input::Loaded { request, runs: runs.into_iter().map(Into::into).collect() }
            }
            Output::FindKnown { request, heads } => {
                let ledger = &self.nodes[node].ledger;
                let known = heads.into_iter().map(|(_, head)| head);
                let known = known.filter(|head| ledger.entries.contains_key(&head.id)).collect();
                Input::Known { request, known }
            }
            Output::FindWaypoints { request, log } => {
                Input::Waypoints { request, points: self.nodes[node].ledger.waypoints(&log) }
            }
            Output::Store { request, runs } => {
                let run = &runs[0];
                let log = run.log();
                let result = self.nodes[node].ledger.append(run);
                let heads = vec![(log, self.nodes[node].ledger.frontier.heads(&log).to_vec())];
                if result.is_ok() {
                    self.spread(node, &heads, Some(link));
                }
                let refused = result.err().map(|reason| (log, reason)).into_iter().collect();
                Input::Stored { request, heads, refused }
            }
            Output::KeepReceipt(receipt) => {
                receipt.receipt.verify(practice()).unwrap();
                let peer = self.nodes[peer].certificate.node();
                self.nodes[node].receipts.insert(peer, *receipt);
                Input::ReceiptKept
            }
            Output::Event(event) => return self.links[link].events[end].push(event),
            Output::Close(reason) => {
                self.links[link].closed[end] = Some(reason);
                return;
            }
            Output::Wait(_) => return,
        };
        let delay = self.chance.below(20);
        self.schedule(self.now + delay, link, end, answer);
    }

    fn carry(&mut self, link: usize, end: usize, lane: Lane, frame: Vec<u8>) {
        assert!(frame.len() <= lane.frame_bytes_max());
        let nodes = self.links[link].nodes;
        let (from, to) = (nodes[end], nodes[1 - end]);
        if let Lane::Data(_) = lane {
            let run = Run::from_bytes(&frame).unwrap().verify(practice()).unwrap();
            let ids: Vec<EntryId> = run.entries().iter().map(|entry| entry.id).collect();
            for id in &ids {
                let again = self.acknowledged.contains(&(from, to, *id));
                assert!(!again, "an acknowledged entry travels again");
            }
            self.travelling.insert((from, to, run.head()), ids);
        }
        let after = self.links[link].received[end];
        self.sent.push(Sent { link, from: end, lane, bytes: frame.len(), after });
        let delay = 5 + self.chance.below(60);
        let order = self.links[link].order.entry((end, lane)).or_default();
        *order = (*order).max(self.now + delay);
        let time = *order;
        let (lane, frame) = self.damaged(lane, frame);
        if self.links[link].alive {
            self.schedule(time, link, 1 - end, Input::Received { lane, frame });
        }
    }

    fn damaged(&mut self, lane: Lane, mut frame: Vec<u8>) -> (Lane, Vec<u8>) {
        let Some(chance) = &mut self.damage else { return (lane, frame) };
        let place = chance.below(frame.len() as u64) as usize;
        match chance.below(8) {
            0 => frame[place] ^= 1 << chance.below(8),
            1 => frame.truncate(place),
            2 => frame.push(chance.next() as u8),
            3 => {
                let channel = Channel::ALL[chance.below(7) as usize];
                // A run on its own lane is no damage.
                let other = lane != Lane::Data(channel) && lane != Lane::Control;
                return (if other { Lane::Data(channel) } else { Lane::Control }, frame);
            }
            _ => {}
        }
        (lane, frame)
    }

    pub fn assert_converged(&self) {
        for link in &self.links {
            for reason in link.closed.iter().flatten() {
                assert_eq!(*reason, CloseReason::Lost, "between {:?}", link.nodes);
            }
        }
        for node in &self.nodes[1..] {
            let equal = node.ledger.frontier == self.nodes[0].ledger.frontier;
            assert!(equal, "the frontiers differ");
            assert_eq!(node.ledger.entries.len(), self.nodes[0].ledger.entries.len());
        }
    }

    /// What was acknowledged of one log may travel again.
    pub fn forget_acknowledgements_of(&mut self, log: &LogId) {
        let held = |id: &EntryId| self.nodes.iter().find_map(|node| node.ledger.entries.get(id));
        self.acknowledged.retain(|(.., id)| held(id).is_none_or(|entry| entry.header.log != *log));
    }

    /// A node has lost what it had acknowledged.
    pub fn forget_acknowledgements(&mut self) {
        self.acknowledged.clear();
    }

    /// Bytes that were sent on a link, both ways.
    pub fn bytes(&self, link: usize) -> usize {
        self.sent.iter().filter(|sent| sent.link == link).map(|sent| sent.bytes).sum()
    }

    pub fn receipts(&self, link: usize) -> [usize; 2] {
        let count = |end: usize| {
            let events = self.links[link].events[end].iter();
            events.filter(|event| matches!(event, Event::Receipt(_))).count()
        };
        [count(0), count(1)]
    }
}
