//! How the node is, and what each peer is known to hold.

use super::intake::WITHHELD;
use super::read::instant;
use super::{Records, RecordsError};
use crate::identity::roster::Standing;
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
    /// What needs somebody's attention, the serious first; empty when all is well.
    pub problems: Vec<Problem>,
    /// The peers.
    pub peers: Vec<PeerStatus>,
}

/// Something that somebody should see to. The words for it are where people read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "code", content = "of", rename_all = "kebab-case")]
pub enum Problem {
    /// The clock is wrong for certain: what it says.
    Clock(String),
    /// The certificate of this node expired: when.
    Certificate(String),
    /// This node was shut out until further notice.
    Suspended,
    /// This node was shut out for good.
    Revoked,
    /// Nobody admitted this node but who was cut off.
    Unattested,
    /// So many logs were written by two copies of one node.
    Fork(u64),
    /// So many control statements are not accepted.
    Statements(u64),
    /// So many entries are set aside because something is wrong with them, and nobody has discarded
    /// them.
    Quarantine(u64),
    /// So many entries are kept and not shown, since their node was cut off before it wrote them.
    Withheld(u64),
    /// Nothing can be read or written here until somebody unlocks the node.
    Locked,
    /// So many entries are packed, and go to who lacks them once somebody unlocks the node.
    Packed(u64),
    /// The key lies beside the data.
    Unprotected,
    /// So many conflicts wait for a person.
    Conflicts(u64),
    /// The key of so many entries is not here.
    Unreadable(u64),
    /// So many entries wait for others to arrive.
    Waiting(u64),
}

impl Problem {
    /// The name under which scripts and the words know it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Clock(_) => "clock",
            Self::Certificate(_) => "certificate",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
            Self::Unattested => "unattested",
            Self::Fork(_) => "fork",
            Self::Statements(_) => "statements",
            Self::Quarantine(_) => "quarantine",
            Self::Withheld(_) => "withheld",
            Self::Locked => "locked",
            Self::Packed(_) => "packed",
            Self::Unprotected => "unprotected",
            Self::Conflicts(_) => "conflicts",
            Self::Unreadable(_) => "unreadable",
            Self::Waiting(_) => "waiting",
        }
    }

    /// Whether something is wrong, rather than waiting for somebody or something.
    pub const fn is_serious(&self) -> bool {
        match self {
            Self::Clock(_)
            | Self::Suspended
            | Self::Revoked
            | Self::Unattested
            | Self::Fork(_)
            | Self::Statements(_)
            | Self::Quarantine(_) => true,
            Self::Certificate(_)
            | Self::Withheld(_)
            | Self::Locked
            | Self::Packed(_)
            | Self::Unprotected
            | Self::Conflicts(_)
            | Self::Unreadable(_)
            | Self::Waiting(_) => false,
        }
    }

    /// How many it is about.
    pub const fn count(&self) -> Option<u64> {
        match self {
            Self::Fork(count)
            | Self::Statements(count)
            | Self::Quarantine(count)
            | Self::Withheld(count)
            | Self::Packed(count)
            | Self::Conflicts(count)
            | Self::Unreadable(count)
            | Self::Waiting(count) => Some(*count),
            Self::Clock(_)
            | Self::Certificate(_)
            | Self::Suspended
            | Self::Revoked
            | Self::Unattested
            | Self::Locked
            | Self::Unprotected => None,
        }
    }

    /// The time that it is about; empty for most.
    pub fn time(&self) -> &str {
        match self {
            Self::Clock(time) | Self::Certificate(time) => time,
            _ => "",
        }
    }
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

    /// The serious ones first.
    fn problems(&self) -> Result<Vec<Problem>, RecordsError> {
        let mut problems = Vec::new();
        let now = self.environment.unix_ms();
        if now < CLOCK_FLOOR_MS {
            problems.push(Problem::Clock(instant(now)));
        }
        if let Some(certificate) = self.keyring.certificate()
            && now > certificate.body.expires_ms
        {
            problems.push(Problem::Certificate(instant(certificate.body.expires_ms)));
        }
        match self.roster.standing(&self.keyring.node()) {
            Standing::Suspended => problems.push(Problem::Suspended),
            Standing::Revoked => problems.push(Problem::Revoked),
            Standing::Unknown if self.is_cut_off() => problems.push(Problem::Unattested),
            Standing::Unknown | Standing::Active => {}
        }
        let mut counted = vec![
            Problem::Fork(self.ledger.forked_logs().len() as u64),
            Problem::Statements(self.refused_statements.len() as u64),
        ];
        if let Some(charts) = &self.charts {
            let (withheld, refused) = charts.index.quarantine_open(WITHHELD)?;
            let (waiting, unreadable) = charts.index.pending_count()?;
            counted.extend([
                Problem::Quarantine(refused),
                Problem::Withheld(withheld),
                Problem::Conflicts(charts.index.conflict_count()?),
                Problem::Unreadable(unreadable),
                Problem::Waiting(waiting),
            ]);
        } else {
            problems.push(Problem::Locked);
            counted.push(Problem::Packed(self.ledger.packed()?.entries));
        }
        if self.keyring.protection() == Protection::KeyBesideData {
            problems.push(Problem::Unprotected);
        }
        problems.extend(counted.into_iter().filter(|problem| problem.count() != Some(0)));
        problems.sort_by_key(|problem| !problem.is_serious());
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
        let author = self.author();
        for (log, heads) in &frontier.0 {
            if log.author == author && !self.known_all(log, heads)? {
                // The peer knows more of our own log than we do: we are a restored copy, and may not
                // know the peer either.
                self.begin_incarnation()?;
                break;
            }
        }
        let Some(certificate) = self.roster.shown_certificate(node) else { return Ok(()) };
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
        Ok(self.ledger.note_peer_frontier(&transport, frontier)?)
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
        let Some(certificate) = self.roster.shown_certificate(node) else { return Ok(()) };
        let (transport, site) = (certificate.body.keys.transport, certificate.body.site.clone());
        let now = self.environment.unix_ms();
        if self.matter.noted != Some(self.matter.last) {
            self.matter.noted = Some(self.matter.last);
            let mut event = self.event_of_node("sync");
            event.subject = Some(format!("node/{site}"));
            let moved = &receipt.receipt.body;
            event.count = moved.to_dialer.entries + moved.to_listener.entries;
            self.note_event(event);
        }
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
