//! Who the peers are, which link each of them has, and what has moved: the network's shared state.

use super::error::SyncError;
use super::link::{self, Handle, View};
use super::schedule::{self, Chance, Race, Schedule};
use crate::base::environment::Environment;
use carnet_sync_protocol::id::{NodeId, ReceiptId, TransportKey};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Sessions whose other end is not accepted yet.
const STRANGERS_MAX: usize = 32;
/// Links at the same time: a district's hub.
const LINKS_MAX: usize = 256;

/// A peer that this node dials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// The key that must answer.
    pub transport: TransportKey,
    /// Where, as `host:port`, tried in this order.
    pub addresses: Vec<String>,
}

/// How a peer stands, for the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// The peer's transport key.
    pub transport: TransportKey,
    /// The peer's node id, once it was met.
    pub node: Option<NodeId>,
    /// The peer's site, once it was met.
    pub site: Option<String>,
    /// Whether there is a link to it.
    pub connected: bool,
    /// Whether both hold the same, as far as each knows.
    pub in_sync: bool,
    /// Since when it is connected, or not.
    pub since_unix_ms: u64,
    /// Whether this node dialed the link.
    pub dialed: bool,
    /// Where the other end of the link is.
    pub remote: Option<SocketAddr>,
    /// Why there is no link.
    pub last_error: Option<String>,
    /// When both last held the same.
    pub last_sync_unix_ms: Option<u64>,
}

/// What has moved to and from a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) entries_sent: u64,
    pub(super) entries_received: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
}

impl Totals {
    fn of_link(view: &View, connection: &quinn::Connection) -> Self {
        let stats = connection.stats();
        Self {
            entries_sent: view.progress.sent.entries,
            entries_received: view.progress.received.entries,
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            entries_sent: self.entries_sent + other.entries_sent,
            entries_received: self.entries_received + other.entries_received,
            bytes_sent: self.bytes_sent + other.bytes_sent,
            bytes_received: self.bytes_received + other.bytes_received,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            entries_sent: self.entries_sent.saturating_sub(other.entries_sent),
            entries_received: self.entries_received.saturating_sub(other.entries_received),
            bytes_sent: self.bytes_sent.saturating_sub(other.bytes_sent),
            bytes_received: self.bytes_received.saturating_sub(other.bytes_received),
        }
    }
}

/// What `sync` answers about a peer.
pub(super) struct Account {
    pub(super) node: Option<NodeId>,
    pub(super) site: Option<String>,
    pub(super) moved: Totals,
    pub(super) receipt: Option<ReceiptId>,
}

/// Where a peer stands while somebody waits for it.
pub(super) enum Standing {
    /// There is a link.
    Linked(Handle),
    /// A dial is under way or planned; this many have ended so far.
    Apart { ended: u64, error: Option<SyncError> },
    /// It is neither dialed nor connected.
    Unknown,
}

#[derive(Default)]
struct Peer {
    addresses: Option<Vec<String>>,
    link: Option<Handle>,
    racing: bool,
    known: Option<(NodeId, String)>,
    error: Option<SyncError>,
    since_unix_ms: u64,
    ended: u64,
    /// Of links that are gone.
    past: Totals,
    /// What the last `sync` has accounted for.
    accounted: Totals,
    receipt: Option<ReceiptId>,
    level_unix_ms: Option<u64>,
}

impl Peer {
    fn totals(&self) -> Totals {
        let now =
            self.link.as_ref().map(|link| Totals::of_link(&link.view.borrow(), &link.connection));
        self.past.plus(now.unwrap_or_default())
    }

    /// Keeps what a link has shown.
    fn learn(&mut self, view: &View) {
        self.known = view.peer.clone().or_else(|| self.known.take());
        self.receipt = view.receipt.or(self.receipt);
        self.level_unix_ms = view.level_unix_ms.or(self.level_unix_ms);
    }

    fn drop_link(&mut self, unix_ms: u64) -> Option<Handle> {
        let link = self.link.take()?;
        let view = link.view.borrow().clone();
        self.past = self.past.plus(Totals::of_link(&view, &link.connection));
        self.learn(&view);
        self.since_unix_ms = unix_ms;
        Some(link)
    }
}

struct State {
    peers: BTreeMap<TransportKey, Peer>,
    schedule: Schedule,
    strangers: VecDeque<(u64, quinn::Connection)>,
    last_id: u64,
}

/// The network's shared state.
pub(super) struct Registry {
    environment: Environment,
    own: TransportKey,
    state: Mutex<State>,
    changes: watch::Sender<()>,
}

impl Registry {
    pub(super) fn new(environment: Environment, own: TransportKey) -> Self {
        let schedule = Schedule::new(Chance::new(environment.random()));
        let state =
            State { peers: BTreeMap::new(), schedule, strangers: VecDeque::new(), last_id: 0 };
        Self { environment, own, state: Mutex::new(state), changes: watch::channel(()).0 }
    }

    // Nothing that can panic half-way is done under the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever waits that something about a peer is new.
    pub(super) fn changed(&self) {
        self.changes.send_replace(());
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// A number for a new link.
    pub(super) fn next_id(&self) -> u64 {
        let mut state = self.state();
        state.last_id += 1;
        state.last_id
    }

    /// A race of handshakes with chance of its own.
    pub(super) fn race(&self) -> Race {
        Race::new(Chance::new(self.environment.random()))
    }

    pub(super) fn add_peer(&self, peer: PeerAddress) {
        let now = self.environment.monotonic_ms();
        let unix_ms = self.environment.unix_ms();
        let mut state = self.state();
        let entry = state.peers.entry(peer.transport).or_default();
        if entry.since_unix_ms == 0 {
            entry.since_unix_ms = unix_ms;
        }
        entry.addresses = Some(peer.addresses);
        let linked = entry.link.is_some();
        state.schedule.add(peer.transport, now);
        if linked {
            state.schedule.linked(&peer.transport, now);
        }
        drop(state);
        self.changed();
    }

    /// Forgets a peer and gives its link back, to be cut.
    pub(super) fn remove_peer(&self, transport: &TransportKey) -> Option<Handle> {
        let mut state = self.state();
        state.schedule.remove(transport);
        let link = state.peers.remove(transport).and_then(|peer| peer.link);
        drop(state);
        self.changed();
        link
    }

    pub(super) fn link(&self, transport: &TransportKey) -> Option<Handle> {
        self.state().peers.get(transport)?.link.clone()
    }

    /// All links.
    pub(super) fn links(&self) -> Vec<Handle> {
        self.state().peers.values().filter_map(|peer| peer.link.clone()).collect()
    }

    /// The peers that `sync` is about when nobody is named.
    pub(super) fn everybody(&self) -> Vec<TransportKey> {
        let state = self.state();
        let wanted = |peer: &Peer| peer.addresses.is_some() || peer.link.is_some();
        state.peers.iter().filter(|(_, peer)| wanted(peer)).map(|(key, _)| *key).collect()
    }

    /// Whom to dial now, and how long until there may be more.
    pub(super) fn due(&self) -> (Vec<PeerAddress>, Option<u64>) {
        let now = self.environment.monotonic_ms();
        let mut state = self.state();
        let due = state.schedule.due(now);
        let mut dials: Vec<TransportKey> = due;
        // A link that has fallen silent is raced by a fresh one.
        for (key, peer) in &mut state.peers {
            let silent = peer.link.as_ref().is_some_and(|link| link.view.borrow().silent);
            if silent && !peer.racing && peer.addresses.is_some() {
                peer.racing = true;
                dials.push(*key);
            }
        }
        let address = |key: &TransportKey| PeerAddress {
            transport: *key,
            addresses: state.peers.get(key).and_then(|p| p.addresses.clone()).unwrap_or_default(),
        };
        let dials = dials.iter().map(address).collect();
        (dials, state.schedule.next_ms().map(|at| at.saturating_sub(now)))
    }

    /// A dial gave no session with an accepted peer.
    pub(super) fn dial_failed(&self, transport: &TransportKey, error: SyncError) {
        let now = self.environment.monotonic_ms();
        let mut state = self.state();
        state.schedule.failed(transport, error.is_refusal(), now);
        if let Some(peer) = state.peers.get_mut(transport) {
            peer.racing = false;
            peer.ended += 1;
            if peer.link.is_none() {
                peer.error = Some(error);
            }
        }
        drop(state);
        self.changed();
    }

    /// Whether a fresh handshake to this peer is still wanted, now that it is finished.
    pub(super) fn still_wanted(&self, transport: &TransportKey) -> bool {
        let state = self.state();
        state
            .peers
            .get(transport)
            .is_some_and(|peer| peer.link.as_ref().is_none_or(|link| link.view.borrow().silent))
    }

    /// Enters a link whose peer has been accepted, in place of an older one; or says that the
    /// older one stays.
    pub(super) fn admit(&self, transport: TransportKey, link: &Handle) -> bool {
        let now = self.environment.monotonic_ms();
        let unix_ms = self.environment.unix_ms();
        let mut state = self.state();
        state.strangers.retain(|(id, _)| *id != link.id);
        let links = state.peers.values().filter(|peer| peer.link.is_some()).count();
        let peer = state.peers.entry(transport).or_default();
        let old_silent = peer.link.as_ref().is_some_and(|old| old.view.borrow().silent);
        let stays = peer.link.as_ref().is_some_and(|old| {
            let age = now.saturating_sub(old.since_ms);
            !old_silent
                && !schedule::takes_over(&self.own, &transport, old.dialed, age, link.dialed)
        });
        if stays || (peer.link.is_none() && links >= LINKS_MAX) {
            return false;
        }
        let old = peer.drop_link(unix_ms);
        peer.link = Some(link.clone());
        peer.racing = false;
        peer.error = None;
        peer.since_unix_ms = unix_ms;
        state.schedule.linked(&transport, now);
        drop(state);
        if let Some(old) = old {
            old.replace();
        }
        self.changed();
        true
    }

    /// A link's session has ended.
    pub(super) fn ended(&self, transport: &TransportKey, id: u64, error: &SyncError) {
        let now = self.environment.monotonic_ms();
        let unix_ms = self.environment.unix_ms();
        let mut state = self.state();
        if let Some(peer) = state.peers.get_mut(transport)
            && peer.link.as_ref().is_some_and(|link| link.id == id)
        {
            peer.drop_link(unix_ms);
            peer.ended += 1;
            peer.error = Some(error.clone());
            state.schedule.unlinked(transport, error.is_refusal(), now);
        }
        drop(state);
        self.changed();
    }

    /// Makes room for a session whose other end is unknown yet: the oldest such one, which has had
    /// its time, gives way.
    pub(super) fn greet(&self, id: u64, connection: &quinn::Connection) {
        let mut state = self.state();
        let evicted =
            if state.strangers.len() >= STRANGERS_MAX { state.strangers.pop_front() } else { None };
        state.strangers.push_back((id, connection.clone()));
        drop(state);
        if let Some((_, connection)) = evicted {
            connection.close(link::CODE_CUT.into(), b"too many callers at once; call again");
        }
    }

    /// A session with an unknown other end is over.
    pub(super) fn leave(&self, id: u64) {
        self.state().strangers.retain(|(other, _)| *other != id);
    }

    /// Where a peer stands; a planned dial is made at once.
    pub(super) fn standing(&self, transport: &TransportKey, hurry: bool) -> Standing {
        let now = self.environment.monotonic_ms();
        let mut state = self.state();
        let standing = match state.peers.get(transport) {
            None => Standing::Unknown,
            Some(Peer { link: Some(link), .. }) => Standing::Linked(link.clone()),
            Some(Peer { addresses: None, .. }) => Standing::Unknown,
            Some(peer) => Standing::Apart { ended: peer.ended, error: peer.error.clone() },
        };
        if hurry && matches!(standing, Standing::Apart { .. }) {
            state.schedule.hurry(transport, now);
            drop(state);
            self.changed();
        }
        standing
    }

    /// What has moved since the last account, which this one follows.
    pub(super) fn account(&self, transport: &TransportKey) -> Account {
        let mut state = self.state();
        let Some(peer) = state.peers.get_mut(transport) else {
            return Account { node: None, site: None, moved: Totals::default(), receipt: None };
        };
        if let Some(view) = peer.link.as_ref().map(|link| link.view.borrow().clone()) {
            peer.learn(&view);
        }
        let totals = peer.totals();
        let moved = totals.minus(peer.accounted);
        peer.accounted = totals;
        let (node, site) = peer.known.clone().unzip();
        Account { node, site, moved, receipt: peer.receipt }
    }

    pub(super) fn status(&self) -> Vec<LinkStatus> {
        let mut state = self.state();
        let listed = |(transport, peer): (&TransportKey, &mut Peer)| {
            if peer.addresses.is_none() && peer.link.is_none() {
                return None;
            }
            let view = peer.link.as_ref().map(|link| link.view.borrow().clone());
            if let Some(view) = &view {
                peer.learn(view);
            }
            let (node, site) = peer.known.clone().unzip();
            Some(LinkStatus {
                transport: *transport,
                node,
                site,
                connected: peer.link.is_some(),
                in_sync: view.is_some_and(|view| view.in_sync),
                since_unix_ms: peer.since_unix_ms,
                dialed: peer.link.as_ref().is_some_and(|link| link.dialed),
                remote: peer.link.as_ref().map(|link| canonical(link.connection.remote_address())),
                last_error: peer.error.as_ref().map(ToString::to_string),
                last_sync_unix_ms: peer.level_unix_ms,
            })
        };
        state.peers.iter_mut().filter_map(listed).collect()
    }
}

/// An IPv4 address that came in over an IPv6 socket, as an IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
