//! The node's place among its peers: dials, listens, keeps one link to each, and tells how it goes.

use super::endpoint::{Endpoint, Secured};
use super::enrol;
use super::error::SyncError;
use super::link::{self, Order};
use super::refusals::{Refusals, Told};
use super::registry::{LinkStatus, PeerAddress, Registry, Standing};
use super::replica::Replica;
use super::tls::Purpose;
use crate::base::environment::Environment;
use crate::base::private::Private;
use carnet_sync_protocol::SigningKey;
use carnet_sync_protocol::id::{NodeId, ReceiptId, TransportKey};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long good-byes may take.
const GOODBYE_MAX: Duration = Duration::from_secs(2);
/// How long the sockets may take to close.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// How long `sync` waits for a link to a peer; dialing goes on after that.
const UNREACHED_MAX: Duration = Duration::from_secs(12);
/// How often it is looked whether refusals that were counted are due to be told.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Finished handshakes that wait for their session.
const ARRIVALS_MAX: usize = 16;

/// What a network needs.
pub struct NetworkConfig {
    /// Time and chance.
    pub environment: Environment,
    /// The secret half of the transport key.
    pub transport_seed: Private<[u8; 32]>,
    /// Where to listen; nowhere on a node that only dials.
    pub listen: Option<SocketAddr>,
}

/// What `sync` did with one peer.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerOutcome {
    /// The peer's transport key.
    pub transport: TransportKey,
    /// The peer's node id, if it was ever met.
    pub node: Option<NodeId>,
    /// The peer's site, if it was ever met.
    pub site: Option<String>,
    /// Entries that the peer confirmed, since the last outcome for this peer.
    pub entries_sent: u64,
    /// Entries that were stored here, since the last outcome.
    pub entries_received: u64,
    /// Bytes sent in UDP datagrams, since the last outcome.
    pub bytes_sent: u64,
    /// Bytes received in UDP datagrams, since the last outcome.
    pub bytes_received: u64,
    /// How long it took.
    pub seconds: f64,
    /// The last receipt with this peer.
    pub receipt: Option<ReceiptId>,
    /// Whether both now hold the same.
    pub in_sync: bool,
    /// Why not.
    pub error: Option<SyncError>,
}

struct Inner {
    environment: Environment,
    seed: Private<[u8; 32]>,
    endpoint: Endpoint,
    replica: Arc<dyn Replica>,
    registry: Arc<Registry>,
    stopping: watch::Sender<bool>,
    joins: enrol::Desk,
    refusals: Refusals,
}

/// A running network. Clones are the same one; it runs until [`Network::shutdown`].
#[derive(Clone)]
pub struct Network(Arc<Inner>);

impl Network {
    /// Opens the sockets and begins to listen. Must be called within a tokio runtime.
    pub async fn start(
        config: NetworkConfig,
        replica: Arc<dyn Replica>,
    ) -> Result<Self, SyncError> {
        let NetworkConfig { environment, transport_seed, listen } = config;
        let endpoint = Endpoint::open(&environment, &transport_seed, listen)?;
        let registry = Arc::new(Registry::new(environment.clone(), endpoint.transport()));
        let inner = Arc::new(Inner {
            joins: enrol::Desk::new(environment.monotonic_ms()),
            refusals: Refusals::default(),
            environment,
            seed: transport_seed,
            endpoint,
            replica,
            registry,
            stopping: watch::channel(false).0,
        });
        tokio::spawn(inner.clone().listen());
        tokio::spawn(inner.clone().dial_when_due());
        tokio::spawn(inner.clone().tell_refusals());
        Ok(Self(inner))
    }

    /// This node's transport key.
    pub fn transport(&self) -> TransportKey {
        self.0.endpoint.transport()
    }

    /// Where the node listens, with the port that it got if it asked for port 0.
    pub fn listening(&self) -> Option<SocketAddr> {
        self.0.endpoint.listening()
    }

    /// Dials a peer now and whenever there is no link; new addresses replace the old ones.
    pub fn add_peer(&self, peer: PeerAddress) {
        self.0.registry.add_peer(peer);
    }

    /// Forgets a peer and cuts its link.
    pub fn remove_peer(&self, transport: &TransportKey) {
        if let Some(link) = self.0.registry.remove_peer(transport) {
            link.connection.close(link::CODE_CUT.into(), b"this peer was removed");
        }
    }

    /// Cuts the link to a peer, so that it has to be let in again.
    pub fn drop_link(&self, transport: &TransportKey) {
        if let Some(link) = self.0.registry.link(transport) {
            link.connection.close(link::CODE_CUT.into(), b"the link was cut");
        }
    }

    /// How every peer stands that is dialed or connected.
    pub fn status(&self) -> Vec<LinkStatus> {
        self.0.registry.status()
    }

    /// Reconciles with these peers (or with all that are dialed or connected) at the same time,
    /// and waits for each until both sides hold the same, or it can't be reached, or `patience`
    /// is over.
    pub async fn sync_now(
        &self,
        peers: Option<Vec<TransportKey>>,
        patience: Duration,
    ) -> Vec<PeerOutcome> {
        let peers = peers.unwrap_or_else(|| self.0.registry.everybody());
        let mut running = JoinSet::new();
        for (place, peer) in peers.into_iter().enumerate() {
            let inner = self.0.clone();
            running.spawn(async move { (place, inner.sync_peer(peer, patience).await) });
        }
        let mut outcomes = running.join_all().await;
        outcomes.sort_by_key(|(place, _)| *place);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// Ends every link in good order and closes the sockets.
    pub async fn shutdown(&self) {
        self.0.stopping.send_replace(true);
        let mut changes = self.0.registry.changes();
        for link in self.0.registry.links() {
            // A link that is just ending needs no order.
            let _ = link.orders.try_send(Order::Finish);
        }
        let gone = async {
            while !self.0.registry.links().is_empty() && changes.changed().await.is_ok() {}
        };
        // Who does not hear the good-bye notices by itself.
        let _ = timeout(GOODBYE_MAX, gone).await;
        self.0.endpoint.close(CLOSE_MAX).await;
    }
}

impl Inner {
    fn stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // Ends with the network itself at the latest.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    /// Takes in what others dial.
    async fn listen(self: Arc<Self>) {
        let (sender, mut arrivals) = mpsc::channel(ARRIVALS_MAX);
        let serving = self.clone();
        tokio::spawn(async move { serving.endpoint.serve(sender).await });
        while let Some(secured) = arrivals.recv().await {
            if self.stopping() {
                return;
            }
            match secured.purpose {
                Purpose::Session => drop(tokio::spawn(self.clone().session(secured))),
                Purpose::Join => {
                    let inner = self.clone();
                    tokio::spawn(async move {
                        let now = inner.environment.monotonic_ms();
                        let peer = secured.peer;
                        let answer = inner.joins.answer(secured, inner.replica.clone(), now);
                        if let Err(reason) = answer.await {
                            inner.refused(peer, false, &format!("not admitted: {reason}"));
                        }
                    });
                }
            }
        }
    }

    /// Dials whoever is due, until the network stops.
    async fn dial_when_due(self: Arc<Self>) {
        let mut changes = self.registry.changes();
        while !self.stopping() {
            changes.mark_unchanged();
            let (due, wait_ms) = self.registry.due();
            for peer in due {
                tokio::spawn(self.clone().dial(peer));
            }
            tokio::select! {
                () = self.stopped() => return,
                _ = changes.changed() => {}
                () = sleep(Duration::from_millis(wait_ms.unwrap_or_default())),
                    if wait_ms.is_some() => {}
            }
        }
    }

    async fn dial(self: Arc<Self>, peer: PeerAddress) {
        let race = self.registry.race();
        let dialed = tokio::select! {
            () = self.stopped() => Err(SyncError::ShuttingDown),
            dialed =
                self.endpoint.dial(peer.transport, &peer.addresses, Purpose::Session, race) => dialed,
        };
        let error = match dialed {
            Ok(secured) if self.registry.still_wanted(&peer.transport) => {
                self.clone().session(secured).await
            }
            Ok(_) => SyncError::Duplicate,
            Err(error) => error,
        };
        tracing::debug!(peer = %peer.transport, %error, "dial ended");
        self.registry.dial_failed(&peer.transport, error);
    }

    /// Puts on record that a peer was sent away, or counts it.
    fn refused(&self, peer: TransportKey, is_member: bool, reason: &str) {
        let now = self.environment.monotonic_ms();
        if let Some(told) = self.refusals.count(peer, is_member, reason, now) {
            self.tell(told);
        }
    }

    fn tell(&self, Told { peer, reason, count }: Told) {
        let replica = self.replica.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = replica.note_refused(peer, reason, count) {
                tracing::warn!(%error, "that a peer was refused could not be put on record");
            }
        });
    }

    /// Tells what was counted, as it becomes due, and all of it when the network stops.
    async fn tell_refusals(self: Arc<Self>) {
        loop {
            let stopping = timeout(TELL_EVERY, self.stopped()).await.is_ok();
            for told in self.refusals.due(self.environment.monotonic_ms(), stopping) {
                self.tell(told);
            }
            if stopping {
                return;
            }
        }
    }

    /// Runs a session from a finished handshake to its end.
    async fn session(self: Arc<Self>, secured: Secured) -> SyncError {
        let (peer, connection) = (secured.peer, secured.connection.clone());
        let id = self.registry.next_id();
        self.registry.greet(id, &connection);
        let (error, accepted) = link::run(
            id,
            secured,
            self.registry.clone(),
            self.replica.clone(),
            self.environment.clone(),
            SigningKey::from_bytes(self.seed.expose()),
        )
        .await;
        self.registry.leave(id);
        self.registry.ended(&peer, id, &error);
        if let SyncError::Violation(_) | SyncError::Refused(_) = &error {
            self.refused(peer, accepted, &error.to_string());
        }
        tracing::info!(%peer, %error, "link ended");
        error
    }

    async fn sync_peer(&self, peer: TransportKey, patience: Duration) -> PeerOutcome {
        let began_ms = self.environment.monotonic_ms();
        let result = timeout(patience, self.settle(&peer)).await;
        let error = result.unwrap_or(Err(SyncError::Patience(patience.as_secs()))).err();
        let account = self.registry.account(&peer);
        PeerOutcome {
            transport: peer,
            node: account.node,
            site: account.site,
            entries_sent: account.moved.entries_sent,
            entries_received: account.moved.entries_received,
            bytes_sent: account.moved.bytes_sent,
            bytes_received: account.moved.bytes_received,
            seconds: self.since(began_ms).as_secs_f64(),
            receipt: account.receipt,
            in_sync: error.is_none(),
            error,
        }
    }

    fn since(&self, began_ms: u64) -> Duration {
        Duration::from_millis(self.environment.monotonic_ms().saturating_sub(began_ms))
    }

    /// Waits until a peer and this node hold the same. A link that is lost meanwhile is dialed
    /// anew; a dial that fails is the end, and so is a peer that nobody reaches for a while.
    async fn settle(&self, peer: &TransportKey) -> Result<(), SyncError> {
        let mut changes = self.registry.changes();
        let mut hurry = true;
        let mut before = None;
        let mut apart_since_ms = self.environment.monotonic_ms();
        loop {
            changes.mark_unchanged();
            match self.registry.standing(peer, hurry) {
                Standing::Unknown => return Err(SyncError::NoAddress),
                Standing::Linked(link) => {
                    let (settled, wait) = oneshot::channel();
                    let asked = link.orders.send(Order::Settle(settled)).await;
                    if asked.is_ok() && wait.await.is_ok() {
                        return Ok(());
                    }
                    // It ended. Its end is entered in a moment; then another dial decides.
                    sleep(Duration::from_millis(10)).await;
                    (hurry, before) = (true, None);
                    apart_since_ms = self.environment.monotonic_ms();
                    continue;
                }
                Standing::Apart { ended, error } => {
                    let first = *before.get_or_insert(ended);
                    let refused = error.as_ref().is_some_and(SyncError::is_refusal);
                    if ended > first && error != Some(SyncError::Duplicate) {
                        return Err(error.unwrap_or(SyncError::NoAddress));
                    }
                    hurry = ended > first && !refused;
                }
            }
            let left = UNREACHED_MAX.saturating_sub(self.since(apart_since_ms));
            match timeout(left, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(SyncError::ShuttingDown),
                Err(_) => return Err(SyncError::Unreached),
            }
        }
    }
}
