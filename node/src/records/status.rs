//! How the node is, and what each peer is known to hold.

use super::read::instant;
use super::{Records, RecordsError};
use crate::store::peers::{Peer, PeerOrigin};
use crate::vault::Protection;
use carnet_sync_protocol::frontier::Frontier;
use carnet_sync_protocol::id::{NodeId, TransportKey};
use carnet_sync_protocol::receipt::StoredReceipt;
use carnet_sync_protocol::wire;
use serde::Serialize;

/// A time before which no clock of a node of ours can be right (2026-01-01T00:00:00Z).
pub(super) const CLOCK_FLOOR_MS: u64 = 1_767_225_600_000;

/// How the node is.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The practice's name.
    pub practice: String,
    /// This node's site.
    pub site: String,
    /// This node.
    pub node: String,
    /// Whether it is locked.
    pub locked: bool,
    /// Entries held.
    pub entries: u64,
    /// Resources shown; none while locked.
    pub resources: Option<u64>,
    /// Open conflicts; none while locked.
    pub conflicts: Option<u64>,
    /// Entries put aside because something is wrong with them.
    pub quarantined: Option<u64>,
    /// Entries that wait for others to arrive.
    pub waiting: Option<u64>,
    /// Entries held whose key is not here.
    pub unreadable: Option<u64>,
    /// `sealed`, `key file elsewhere`, or `unprotected if stolen`.
    pub protection: &'static str,
    /// Logs of which two copies wrote, as with a cloned machine.
    pub forked_logs: u64,
    /// What needs somebody's attention, each in a sentence; empty when all is well.
    pub problems: Vec<String>,
    /// The peers.
    pub peers: Vec<PeerStatus>,
}

/// What is known of a peer without asking it.
#[derive(Clone, Debug, Serialize)]
pub struct PeerStatus {
    /// Its site.
    pub site: String,
    /// Its node id, once it has been met.
    pub node: Option<String>,
    /// Its transport key.
    pub transport: String,
    /// Where it answers.
    pub addresses: Vec<String>,
    /// Entries that it does not hold yet, as far as is known.
    pub to_send: u64,
    /// Entries that it holds and this node does not.
    pub to_receive: u64,
    /// When the last receipt was signed.
    pub last_sync: Option<String>,
}

impl Records {
    /// How the node is; needs no unlocking.
    pub fn status(&self) -> Result<Status, RecordsError> {
        let mut peers = Vec::new();
        for peer in self.ledger.peers()? {
            peers.push(self.peer_status(&peer)?);
        }
        let index = self.charts.as_ref().map(|charts| &charts.index);
        let pending = index.map(|index| index.pending_count()).transpose()?;
        let protection = match self.keyring.protection() {
            Protection::Passphrase => "sealed",
            Protection::KeyFileElsewhere => "key file elsewhere",
            Protection::KeyBesideData => "unprotected if stolen",
        };
        Ok(Status {
            practice: self.roster.name().unwrap_or_default().to_owned(),
            site: self.site_of(&self.keyring.node()),
            node: self.keyring.node().to_string(),
            locked: self.is_locked(),
            entries: self.ledger.count()?,
            resources: index.map(|index| index.resource_count()).transpose()?,
            conflicts: index.map(|index| index.conflict_count()).transpose()?,
            quarantined: index.map(|index| index.quarantined_count()).transpose()?,
            waiting: pending.map(|(dependencies, _)| dependencies),
            unreadable: pending.map(|(_, key)| key),
            protection,
            forked_logs: self.ledger.forked_logs().len() as u64,
            problems: self.problems()?,
            peers,
        })
    }

    fn problems(&self) -> Result<Vec<String>, RecordsError> {
        let mut problems = Vec::new();
        let now = self.environment.unix_ms();
        if now < CLOCK_FLOOR_MS {
            problems
                .push(format!("the clock says {}; set it: times are shown wrong", instant(now)));
        }
        if let Some(certificate) = self.keyring.certificate()
            && now > certificate.body.expires_ms
        {
            let since = instant(certificate.body.expires_ms);
            problems.push(format!(
                "this node's certificate expired on {since}; it works on, ask for a new one"
            ));
        }
        let forked = self.ledger.forked_logs().len();
        if forked > 0 {
            problems.push(format!(
                "{forked} logs were written by two copies of one node; everything is kept, find the copy and stop it"
            ));
        }
        for refused in &self.refused_statements {
            problems.push(refused.clone());
        }
        if let Some(charts) = &self.charts {
            let quarantined = charts.index.quarantined_count()?;
            if quarantined > 0 {
                problems.push(format!(
                    "{quarantined} entries are set aside and not shown; list them with `carnet verify`"
                ));
            }
        }
        Ok(problems)
    }

    fn peer_status(&self, peer: &Peer) -> Result<PeerStatus, RecordsError> {
        let theirs = self.ledger.peer_frontier(&peer.transport)?.unwrap_or_default();
        Ok(PeerStatus {
            site: peer.site.clone(),
            node: peer.node.map(|node| node.to_string()),
            transport: peer.transport.to_string(),
            addresses: peer.addresses.clone(),
            to_send: self.ledger.count_beyond(&theirs)?,
            to_receive: self.ledger.count_missing(&theirs)?,
            last_sync: peer.last_sync_ms.map(instant),
        })
    }

    /// The peers that this node knows.
    pub fn peers(&self) -> Result<Vec<Peer>, RecordsError> {
        Ok(self.ledger.peers()?)
    }

    /// Adds a peer, or changes where it answers.
    pub fn put_peer(
        &mut self,
        transport: TransportKey,
        site: Option<&str>,
        addresses: Vec<String>,
    ) -> Result<(), RecordsError> {
        self.begin()?;
        let known = self.ledger.peer(&transport)?;
        let certified = self.roster.by_transport(&transport);
        let peer = Peer {
            transport,
            node: certified.map(|certificate| certificate.body.keys.entry),
            site: site
                .map(str::to_owned)
                .or_else(|| certified.map(|certificate| certificate.body.site.clone()))
                .unwrap_or_default(),
            addresses,
            origin: known.as_ref().map_or(PeerOrigin::Operator, |peer| peer.origin),
            last_sync_ms: known.and_then(|peer| peer.last_sync_ms),
        };
        Ok(self.ledger.put_peer(&peer)?)
    }

    /// Forgets a peer; false if it was not known. What it sent, and its receipts, stay.
    pub fn remove_peer(&mut self, transport: &TransportKey) -> Result<bool, RecordsError> {
        self.begin()?;
        Ok(self.ledger.remove_peer(transport)?)
    }

    /// Keeps what a peer was last seen to hold, and its name now that it was met.
    pub fn note_peer_frontier(
        &mut self,
        node: &NodeId,
        frontier: &Frontier,
    ) -> Result<(), RecordsError> {
        let Some(certificate) = self.roster.certificate(node) else { return Ok(()) };
        let (transport, site) = (certificate.body.keys.transport, certificate.body.site.clone());
        self.begin()?;
        let mut peer = self.ledger.peer(&transport)?.unwrap_or(Peer {
            transport,
            node: None,
            site: String::new(),
            addresses: Vec::new(),
            origin: PeerOrigin::Met,
            last_sync_ms: None,
        });
        if peer.node != Some(*node) || peer.site != site {
            peer.node = Some(*node);
            peer.site = site;
            self.ledger.put_peer(&peer)?;
        }
        self.ledger.note_peer_frontier(&transport, frontier)?;
        let author = self.author();
        for (log, heads) in &frontier.0 {
            if log.author == author && !self.known_all(log, heads)? {
                // The peer knows more of our own log than we do: we are a restored copy.
                self.begin_incarnation()?;
                break;
            }
        }
        Ok(())
    }

    fn known_all(
        &self,
        log: &carnet_sync_protocol::id::LogId,
        heads: &[carnet_sync_protocol::frontier::Head],
    ) -> Result<bool, RecordsError> {
        Ok(self.ledger.known(log, heads)?.len() == heads.len())
    }

    /// Keeps a receipt: the proof of delivery.
    pub fn keep_receipt(
        &mut self,
        node: &NodeId,
        receipt: &StoredReceipt,
    ) -> Result<(), RecordsError> {
        let Some(certificate) = self.roster.certificate(node) else { return Ok(()) };
        let transport = certificate.body.keys.transport;
        let now = self.environment.unix_ms();
        self.begin()?;
        self.ledger.put_receipt(&transport, &receipt.id(), now, &wire::encode(receipt))?;
        self.ledger.note_sync(&transport, now)?;
        Ok(self.ledger.note_peer_frontier(&transport, &receipt.frontier)?)
    }

    /// The newest receipt shared with a peer.
    pub fn last_receipt(
        &self,
        transport: &TransportKey,
    ) -> Result<Option<StoredReceipt>, RecordsError> {
        // One that can't be read (an older version wrote it) is as good as none: it only saves bytes.
        Ok(self.ledger.last_receipt(transport)?.and_then(|stored| wire::decode(&stored.bytes).ok()))
    }
}
