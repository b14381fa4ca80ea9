//! The node that is lied to, and those who lie to it.

use super::lies::Lie;
use crate::chance::Chance;
use carnet_node::access::Action;
use carnet_node::base::environment::Environment;
use carnet_node::base::private::Private;
use carnet_node::records::{Handle, Owner};
use carnet_node::store::index::TrailFilter;
use carnet_node::sync::probe::{Probe, Prober};
use carnet_node::sync::{Network, NetworkConfig, PeerAddress};
use carnet_simulations::forger::{Aim, Content, Forger};
use carnet_simulations::practice::{Node, Outcome, permit};
use carnet_sync_protocol::certificate::{Certificate, RevocationKind};
use carnet_sync_protocol::entry::VerifiedRun;
use carnet_sync_protocol::frontier::Frontier;
use carnet_sync_protocol::id::{Channel, DocumentId, ReceiptId, TransportKey};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Branches of a log that are kept.
const BRANCHES: usize = 8;

/// Connections that one liar keeps open.
const SLOW_MAX: usize = 128;

/// How long an honest sync may take beside all of that.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody with keys.
pub struct Face {
    /// The certificate that it shows.
    pub certificate: Certificate,
    /// The secret half of the transport key.
    pub seed: Private<[u8; 32]>,
}

/// What a lie must not change.
#[derive(Debug, PartialEq)]
pub struct Seen {
    frontier: Frontier,
    receipts: Vec<Option<ReceiptId>>,
    charts: (Option<u64>, Option<u64>, Option<u64>),
}

/// Everything that is needed to lie.
pub struct Stage {
    victim: (Handle, Owner),
    network: Option<Network>,
    /// The victim's key and address.
    pub transport: TransportKey,
    address: Option<SocketAddr>,
    dir: PathBuf,
    /// A node of the practice, for which others are taken.
    pub rogue: Face,
    /// One that was cut off.
    pub gone: Face,
    /// One of another practice.
    pub foreign: Face,
    honest: (Handle, Owner),
    probers: Vec<(TransportKey, Prober)>,
    /// Signs as the rogue.
    pub forger: Forger,
    /// An entry of the rogue's that has eight others beside it.
    pub fork: carnet_sync_protocol::frontier::Head,
    /// A run of the honest node's that the victim holds.
    pub held: VerifiedRun,
    /// A request to join with an invitation that is over.
    pub late: (carnet_node::identity::Invitation, carnet_node::records::joining::Applicant),
    /// A HELLO that the rogue said on another connection.
    pub overheard: Option<Vec<u8>>,
    /// What the victim holds.
    pub frontier: Frontier,
    /// Where a document is.
    pub aim: Aim,
    /// The dice.
    pub chance: Chance,
    environment: Environment,
    audited: u64,
    /// Connections that are kept open for nothing.
    slow: std::collections::VecDeque<Probe>,
    // The last: gone when nobody writes there any more.
    _dirs: Vec<tempfile::TempDir>,
}

impl Stage {
    /// Builds it from a seed.
    pub fn build(seed: u64) -> Outcome<Self> {
        let mut a = Node::found(seed)?;
        let (mut rogue, _) = a.join(seed ^ 1, "Sédhiou")?;
        let (mut honest, _) = a.join(seed ^ 2, "Kolda")?;
        let (gone, _) = a.join(seed ^ 3, "Bignona")?;
        let foreign = Node::found(seed ^ 4)?;
        let key = honest.put(json!({"resourceType": "Patient", "id": "p"}))?;
        rogue.put(json!({"resourceType": "Patient", "id": "mine"}))?;
        a.carry_from(&mut honest.records)?;
        a.carry_from(&mut rogue.records)?;
        let administer = permit(Action::Administer);
        let node = gone.records.author().node;
        a.records.set_standing(&administer, &node, RevocationKind::Suspend, None)?;
        a.records.commit()?;
        honest.carry_from(&mut a.records)?;
        rogue.carry_from(&mut a.records)?;
        let mut forger = Forger::new(&rogue.records, rogue.unlocked()?)?;
        let fork = branch(&mut a, &mut forger)?;
        honest.carry_from(&mut a.records)?;
        let aim = forger.find(&a.records, &key, [7; 8])?.ok_or("the patient is nowhere")?;
        let held = held(&a, &honest)?;
        let late = late(&mut a, seed)?;
        a.records.catch_up()?;
        a.records.commit()?;
        let faces = [face(&rogue)?, face(&gone)?, face(&foreign)?];
        let [rogue_face, gone_face, foreign_face] = faces;
        let (transport, dir) = (a.records.transport_key(), a.records.dir().to_owned());
        let frontier = a.records.frontier().clone();
        let dirs = vec![a.dir, rogue.dir, honest.dir, gone.dir, foreign.dir];
        Ok(Self {
            victim: Handle::start(a.records),
            network: None,
            transport,
            address: None,
            dir,
            rogue: rogue_face,
            gone: gone_face,
            foreign: foreign_face,
            honest: Handle::start(honest.records),
            probers: Vec::new(),
            forger,
            fork,
            held,
            late,
            overheard: None,
            frontier,
            aim,
            chance: Chance::new(seed),
            environment: Environment::system(),
            audited: 0,
            slow: std::collections::VecDeque::new(),
            _dirs: dirs,
        })
    }

    /// Lets the node listen.
    pub async fn open(&mut self, environment: &Environment) -> Outcome<()> {
        let network = network(&self.victim.0, environment, true).await?;
        self.address = network.listening();
        self.network = Some(network);
        self.audited = self.audited_so_far().await?;
        Ok(())
    }

    /// Ends it; how many it has put on record meanwhile that it sent away.
    pub async fn close(&mut self) -> Outcome<u64> {
        self.slow.clear();
        self.probers.clear();
        if let Some(network) = self.network.take() {
            network.shutdown().await;
        }
        // What is told at the end is told in the background.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let sum = self.audited_so_far().await?;
        Ok(sum - self.audited)
    }

    async fn audited_so_far(&self) -> Outcome<u64> {
        let action = Some("peer-refused".to_owned());
        let filter = TrailFilter { action, limit: 100_000, ..TrailFilter::default() };
        let events = self.victim.0.call(move |records| {
            records.catch_up()?;
            records.trail(&permit(Action::Audit), &filter)
        });
        Ok(events.await?.iter().map(|event| event.event.count).sum())
    }

    /// What is to stay as it is.
    pub async fn seen(&self) -> Outcome<Seen> {
        let peers = [&self.rogue, &self.gone, &self.foreign].map(|face| key_of(&face.seed));
        Ok(self
            .victim
            .0
            .call(move |records| {
                records.catch_up()?;
                let mut frontier = records.frontier().clone();
                frontier.0.retain(|log, _| log.channel != Channel::Audit);
                let receipts = peers
                    .iter()
                    .map(|peer| Ok(records.last_receipt(peer)?.map(|receipt| receipt.id())));
                let receipts =
                    receipts.collect::<Result<_, carnet_node::records::RecordsError>>()?;
                let status = records.status()?;
                let charts = (status.resources, status.conflicts, status.quarantined);
                Ok(Seen { frontier, receipts, charts })
            })
            .await?)
    }

    /// A connection of somebody with this key.
    pub async fn dial(&mut self, seed: &Private<[u8; 32]>, joins: bool) -> Outcome<Probe> {
        let key = key_of(seed);
        if !self.probers.iter().any(|(known, _)| *known == key) {
            let prober = Prober::open(self.environment.clone(), seed)?;
            self.probers.push((key, prober));
        }
        let address = self.address.ok_or("it does not listen")?;
        let prober = self.probers.iter().find(|(known, _)| *known == key);
        let (_, prober) = prober.ok_or("nobody dials")?;
        Ok(prober.dial(self.transport, address, joins).await?)
    }

    /// Keeps a connection open, as one of many.
    pub fn hold(&mut self, probe: Probe) {
        self.slow.push_back(probe);
        if self.slow.len() > SLOW_MAX {
            self.slow.pop_front();
        }
    }

    /// Tells one lie.
    pub async fn lie(&mut self, lie: Lie, number: u64) -> Outcome<()> {
        lie.tell(self, number).await
    }

    /// Whether the honest node still gets through.
    pub async fn honest_peer_is_served(&self, environment: &Environment) -> Outcome<bool> {
        let address = self.address.ok_or("it does not listen")?.to_string();
        let caller = network(&self.honest.0, environment, false).await?;
        let transport = self.transport;
        caller.add_peer(PeerAddress { transport, addresses: vec![address] });
        let outcomes = caller.sync_now(Some(vec![transport]), PATIENCE).await;
        caller.shutdown().await;
        Ok(outcomes.iter().all(|outcome| outcome.in_sync))
    }

    /// What the node's ledger takes on the disk.
    pub fn stored_bytes(&self) -> u64 {
        let size = |name| std::fs::metadata(self.dir.join(name)).map_or(0, |file| file.len());
        size("log.db") + size("log.db-wal")
    }
}

async fn network(handle: &Handle, environment: &Environment, listen: bool) -> Outcome<Network> {
    let seed = handle.call(|records| Ok(records.keyring().transport().seed().clone())).await?;
    let listen = listen.then_some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let config = NetworkConfig { environment: environment.clone(), transport_seed: seed, listen };
    Ok(Network::start(config, Arc::new(handle.clone())).await?)
}

fn key_of(seed: &Private<[u8; 32]>) -> TransportKey {
    let key = carnet_sync_protocol::SigningKey::from_bytes(seed.expose());
    TransportKey(key.verifying_key().to_bytes())
}

fn face(node: &Node) -> Outcome<Face> {
    let seed = node.records.keyring().transport().seed().clone();
    Ok(Face { certificate: node.records.own_certificate()?.clone(), seed })
}

/// As many branches of one log as are kept, each held by the victim.
fn branch(a: &mut Node, forger: &mut Forger) -> Outcome<carnet_sync_protocol::frontier::Head> {
    let channel = Channel::Administrative;
    let document = DocumentId([0xf0; 16]);
    let opening = forger.entry(channel, document, Content::Change(b"the trunk"))?;
    let fork = opening.head();
    a.records.receive(&[opening])?;
    for number in 0..BRANCHES {
        forger.stand_at(channel, fork);
        let said = format!("branch {number}");
        let run = forger.entry(channel, document, Content::Change(said.as_bytes()))?;
        a.records.receive(&[run])?;
    }
    a.records.commit()?;
    Ok(fork)
}

/// A run that the honest node wrote and the victim holds.
fn held(a: &Node, honest: &Node) -> Outcome<VerifiedRun> {
    let author = honest.records.author();
    let logs = a.records.frontier().0.iter();
    let mut own = logs.filter(|(log, _)| log.author == author && log.channel == Channel::Critical);
    let (log, heads) = own.next_back().ok_or("the honest node wrote nothing")?;
    let runs = a.records.load(log, &[], heads[0], 1 << 20)?;
    let run = runs.into_iter().next().ok_or("nothing is held")?;
    Ok(run.verify(a.records.practice())?)
}

fn late(
    a: &mut Node,
    seed: u64,
) -> Outcome<(carnet_node::identity::Invitation, carnet_node::records::joining::Applicant)> {
    let invite = carnet_node::records::membership::Invite {
        valid_ms: 1_000,
        ..carnet_simulations::practice::terms("Too late")
    };
    let invitation = a.records.invite(&permit(Action::Administer), invite)?;
    a.records.commit()?;
    a.clock.advance(2_000);
    let (environment, _) = Environment::seeded(seed ^ 5, carnet_simulations::practice::BEGUN_MS);
    let dir = a.dir.path().join("late");
    let method = carnet_node::vault::UnlockMethod::KeyFile(a.dir.path().join("late-key"));
    let applicant = carnet_node::records::joining::Applicant::begin(&dir, environment, &method)?;
    Ok((invitation, applicant))
}

/// A figure of this process's memory, in bytes.
pub fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
