//! One connection: carries frames between QUIC's streams and a [`Conversation`], and its questions
//! to the replica and back.
//!
//! Until the peer is accepted, only its first control frame is read. After that, what is read and
//! not yet handled is one frame for each stream; what is to be sent is bounded by the session's
//! windows, and a peer that reads nothing while it makes this side answer is cut off.

use super::conversation::{Conversation, Ends, Opening, Step};
use super::desk::{Answer, Desk, Task};
use super::endpoint::{self, Secured};
use super::error::SyncError;
use super::lanes::{Frame, Lanes};
use super::registry::Registry;
use super::replica::{Replica, ReplicaError};
use super::schedule::Silence;
use crate::base::environment::Environment;
use carnet_sync_protocol::SigningKey;
use carnet_sync_protocol::error::Violation;
use carnet_sync_protocol::id::{NodeId, ReceiptId, TransportKey};
use carnet_sync_protocol::message::{Farewell, LogHeads};
use carnet_sync_protocol::session::{CloseReason, Event, Input, PeerVerdict, Progress, Refusal};
use quinn::{ConnectionError, VarInt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

/// The close code of a link that is given up for another one to the same peer.
const CODE_DUPLICATE: u32 = 0x100;
/// The close code of a link whose replica failed.
const CODE_FAILED: u32 = 0x101;
/// The close code of a link that the operator or the network cut.
pub(super) const CODE_CUT: u32 = 0x102;
/// How long the last frames may take to leave when a link is closed.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// How often the link looks whether the line has fallen silent.
const LISTEN_EVERY: Duration = Duration::from_secs(1);
/// A link that nothing came over for this long (or two round trips) has nothing on its way.
const QUIET_MIN_MS: u64 = 50;
/// How often the link looks whether both sides are level, while somebody waits for it.
const SETTLE_EVERY: Duration = Duration::from_millis(10);
/// How long to wait for the receipt of what has moved; then the sync counts without it.
const RECEIPT_MAX_MS: u64 = 6_000;

/// What a link tells about itself.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// The peer, once it is accepted.
    pub(super) peer: Option<(NodeId, String)>,
    /// Both hold the same.
    pub(super) in_sync: bool,
    /// What has moved over this link.
    pub(super) progress: Progress,
    /// The last receipt with this peer.
    pub(super) receipt: Option<ReceiptId>,
    /// The line has fallen silent.
    pub(super) silent: bool,
    /// When both last held the same.
    pub(super) level_unix_ms: Option<u64>,
}

/// Somebody who waits until both sides hold the same.
struct Waiter {
    done: oneshot::Sender<()>,
    /// How many datagrams had come when it began to wait.
    heard: u64,
}

/// What others may ask of a running link.
pub(super) enum Order {
    /// Tell when both sides hold the same, with everything that this side holds now.
    Settle(oneshot::Sender<()>),
    /// End in good order.
    Finish,
}

/// The outside of a running link.
#[derive(Clone)]
pub(super) struct Handle {
    /// Tells this link from an earlier one to the same peer.
    pub(super) id: u64,
    pub(super) dialed: bool,
    pub(super) since_ms: u64,
    pub(super) connection: quinn::Connection,
    pub(super) view: watch::Receiver<View>,
    pub(super) orders: mpsc::Sender<Order>,
}

impl Handle {
    /// Gives the link up for another one to the same peer.
    pub(super) fn replace(&self) {
        self.connection.close(VarInt::from_u32(CODE_DUPLICATE), b"another link is in use");
    }
}

/// Holds a conversation over a finished handshake, until either side ends it; says why it ended, and
/// whether the peer had been let in.
pub(super) async fn run(
    id: u64,
    secured: Secured,
    registry: Arc<Registry>,
    replica: Arc<dyn Replica>,
    environment: Environment,
    transport_key: SigningKey,
) -> (SyncError, bool) {
    let connection = secured.connection.clone();
    let peer = secured.peer;
    match Driver::new(id, secured, registry, &replica, environment, transport_key).await {
        Ok(driver) => driver.run().await,
        Err(error) => {
            tracing::warn!(%peer, %error, "the ledger cannot open a session");
            connection.close(VarInt::from_u32(CODE_FAILED), b"the node has a problem of its own");
            (error.into(), false)
        }
    }
}

/// The wall clock's time at the session's beginning, carried on by the clock that never jumps: the
/// session both shows the time and measures with it.
struct SteadyTime {
    unix_ms: u64,
    monotonic_ms: u64,
}

struct Driver {
    conversation: Conversation,
    peer: TransportKey,
    connection: quinn::Connection,
    environment: Environment,
    time: SteadyTime,
    registry: Arc<Registry>,
    handle: Handle,
    view: watch::Sender<View>,
    orders: mpsc::Receiver<Order>,
    advances: broadcast::Receiver<LogHeads>,
    desk: Desk,
    answers: mpsc::UnboundedReceiver<Answer>,
    lanes: Lanes,
    accepted: bool,
    heard: bool,
    deadline_ms: Option<u64>,
    silence: Silence,
    settling: Vec<Waiter>,
    quiet_since_ms: u64,
    level_since_ms: Option<u64>,
    /// How much had moved when a receipt was last asked for before its time.
    hastened: Option<u64>,
    code: u32,
}

impl Driver {
    async fn new(
        id: u64,
        secured: Secured,
        registry: Arc<Registry>,
        replica: &Arc<dyn Replica>,
        environment: Environment,
        transport_key: SigningKey,
    ) -> Result<Self, ReplicaError> {
        let Secured { connection, peer, exporter, dialed, .. } = secured;
        // Before the frontier is read, so that nothing falls between the two.
        let advances = replica.advances();
        let (asked, ends) = (replica.clone(), Ends { peer, dialed, exporter });
        let opening = tokio::task::spawn_blocking(move || Opening::read(&*asked, &ends))
            .await
            .unwrap_or_else(|_| Err(ReplicaError("the ledger's thread panicked".into())))?;
        let receipt = opening.receipt();
        let (view, viewed) = watch::channel(View { receipt, ..View::default() });
        let (order, orders) = mpsc::channel(16);
        let (desk, answers) = Desk::open(replica);
        let now = environment.monotonic_ms();
        let time = SteadyTime { unix_ms: environment.unix_ms(), monotonic_ms: now };
        let conversation = Conversation::begin(opening, &ends, transport_key, time.unix_ms);
        let handle = Handle {
            id,
            dialed,
            since_ms: now,
            connection: connection.clone(),
            view: viewed,
            orders: order,
        };
        Ok(Self {
            conversation,
            peer,
            lanes: Lanes::new(connection.clone(), dialed),
            connection,
            environment,
            time,
            registry,
            handle,
            view,
            orders,
            advances,
            desk,
            answers,
            accepted: false,
            heard: false,
            deadline_ms: None,
            silence: Silence::default(),
            settling: Vec::new(),
            quiet_since_ms: 0,
            level_since_ms: None,
            hastened: None,
            code: 0,
        })
    }

    async fn run(mut self) -> (SyncError, bool) {
        let end = loop {
            if let Some(end) = self.drain() {
                break end;
            }
            self.settle();
            if let Err(end) = self.step().await {
                break end;
            }
        };
        let accepted = self.accepted;
        self.finish(&end).await;
        (end, accepted)
    }

    /// Waits for whatever comes first, and hands it to the session.
    async fn step(&mut self) -> Result<(), SyncError> {
        let now = self.now_ms();
        let until_tick = self.deadline_ms.map(|ms| Duration::from_millis(ms.saturating_sub(now)));
        let somebody_waits = !self.settling.is_empty();
        let may_read = self.accepted || !self.heard;
        tokio::select! {
            error = self.connection.closed() => return Err(self.lost(&error)),
            Some(answer) = self.answers.recv() => self.answered(answer?)?,
            frame = self.lanes.receive(), if may_read => self.received(frame?),
            stream = self.connection.accept_uni(), if self.accepted => {
                self.lanes.add(stream.map_err(|error| self.lost(&error))?);
            }
            advance = self.advances.recv() => self.advanced(advance)?,
            order = self.orders.recv() => self.ordered(order),
            () = sleep(until_tick.unwrap_or_default()), if until_tick.is_some() => {
                self.deadline_ms = None;
                self.input(Input::Tick);
            }
            () = sleep(SETTLE_EVERY), if somebody_waits => {}
            () = sleep(LISTEN_EVERY) => {}
        }
        self.listen();
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        let elapsed = self.environment.monotonic_ms().saturating_sub(self.time.monotonic_ms);
        self.time.unix_ms + elapsed
    }

    fn input(&mut self, input: Input) {
        self.conversation.input(self.now_ms(), input);
    }

    fn received(&mut self, Frame { lane, bytes }: Frame) {
        self.heard = true;
        self.quiet_since_ms = self.now_ms();
        self.input(Input::Received { lane, frame: bytes });
    }

    fn answered(&mut self, input: Input) -> Result<(), SyncError> {
        if let Input::PeerKnown(PeerVerdict::Accepted { last_receipt }) = &input {
            if !self.registry.admit(self.peer, &self.handle) {
                return Err(SyncError::Duplicate);
            }
            if let Some(receipt) = last_receipt {
                let id = receipt.id();
                self.view.send_modify(|view| view.receipt = Some(id));
            }
            self.accepted = true;
            Secured::welcome(&self.connection);
        }
        self.conversation.answered(self.now_ms(), input);
        Ok(())
    }

    fn advanced(
        &mut self,
        advance: Result<LogHeads, broadcast::error::RecvError>,
    ) -> Result<(), SyncError> {
        match advance {
            Ok(heads) => self.grown(heads),
            Err(broadcast::error::RecvError::Lagged(_)) => self.desk.put(Task::Frontier),
            Err(broadcast::error::RecvError::Closed) => return Err(SyncError::ShuttingDown),
        }
        Ok(())
    }

    /// Tells the session that this node holds more.
    fn grown(&mut self, heads: LogHeads) {
        self.conversation.grown(self.now_ms(), heads);
    }

    fn ordered(&mut self, order: Option<Order>) {
        match order {
            Some(Order::Settle(reply)) => {
                // What this side holds now includes what the ledger has told but nobody has read.
                while let Ok(heads) = self.advances.try_recv() {
                    self.grown(heads);
                }
                self.input(Input::SignNow);
                self.quiet_since_ms = self.now_ms();
                let heard = self.connection.stats().udp_rx.datagrams;
                self.settling.push(Waiter { done: reply, heard });
                // A datagram that nobody reads is a ping: its confirmation tells that the peer is
                // there. A failure is that of the connection, which ends by itself.
                let _ = self.connection.send_datagram(Vec::new().into());
            }
            Some(Order::Finish) => self.input(Input::Finish),
            // The handle is kept by this driver itself, so the channel never ends first.
            None => {}
        }
    }

    /// Does what the session wants done; tells the end, if this is it.
    fn drain(&mut self) -> Option<SyncError> {
        loop {
            match self.conversation.step() {
                Step::Wait(_) if self.hasten() => {}
                Step::Wait(deadline) => {
                    self.deadline_ms = deadline;
                    break;
                }
                Step::Send { lane, frame } => {
                    if let Err(error) = self.lanes.send(Frame { lane, bytes: frame }) {
                        return Some(error);
                    }
                }
                Step::Event(event) => self.happened(event),
                Step::Close(reason) => return Some(self.ended(&reason)),
                Step::Ask(task) => self.desk.put(task),
            }
        }
        self.show();
        None
    }

    /// While somebody waits, asks for the receipt of whatever has moved, once for each amount: what
    /// a sync itself puts on record (the trail) moves too, and the usual rest would hold them up.
    fn hasten(&mut self) -> bool {
        let moved = Some(moved(&self.conversation.progress()));
        let due = !self.settling.is_empty()
            && self.conversation.in_sync()
            && !self.conversation.is_receipted()
            && self.hastened != moved;
        if due {
            self.hastened = moved;
            self.input(Input::SignNow);
        }
        due
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Connected { peer, .. } => {
                let known = (peer.node(), peer.body.site.clone());
                self.view.send_modify(|view| view.peer = Some(known));
                self.registry.changed();
            }
            Event::Receipt(id) => {
                self.view.send_modify(|view| view.receipt = Some(id));
            }
            Event::Refused { log, reason, by_us } => {
                tracing::warn!(peer = %self.peer, channel = log.channel.name(),
                    author = %log.author.node, ?reason, by_us, "entries were not taken in");
            }
            Event::PeerFrontier(_) | Event::Progress(_) | Event::InSync => {}
        }
    }

    /// Brings what others see up to date.
    fn show(&mut self) {
        let (progress, in_sync) = (self.conversation.progress(), self.conversation.in_sync());
        match (in_sync, self.level_since_ms) {
            (true, None) => self.level_since_ms = Some(self.now_ms()),
            (false, Some(_)) => self.level_since_ms = None,
            _ => {}
        }
        let unix_ms = self.environment.unix_ms();
        let became = self.view.send_if_modified(|view| {
            let became = view.in_sync != in_sync;
            let changed = became || moved(&view.progress) != moved(&progress);
            view.in_sync = in_sync;
            view.progress = progress;
            if in_sync && changed {
                view.level_unix_ms = Some(unix_ms);
            }
            changed
        });
        if became {
            self.registry.changed();
        }
    }

    /// From when on both sides count as level, if nothing more comes.
    fn level_at_ms(&self) -> Option<u64> {
        let level_since = self.level_since_ms?;
        let rtt_ms = self.connection.rtt().as_millis() as u64;
        let rest = level_since.max(self.quiet_since_ms) + QUIET_MIN_MS.max(rtt_ms * 2);
        if self.conversation.is_receipted() {
            Some(rest)
        } else {
            Some(rest.max(level_since + RECEIPT_MAX_MS + rtt_ms * 4))
        }
    }

    /// Tells those who wait that both sides are level.
    fn settle(&mut self) {
        if self.settling.is_empty() || self.level_at_ms().is_none_or(|at| at > self.now_ms()) {
            return;
        }
        self.show();
        let heard = self.connection.stats().udp_rx.datagrams;
        for waiter in self.settling.extract_if(.., |waiter| waiter.heard < heard) {
            // Whoever asked may have lost patience.
            let _ = waiter.done.send(());
        }
    }

    /// Notices a silent line.
    fn listen(&mut self) {
        let stats = self.connection.stats();
        let rtt_ms = stats.path.rtt.as_millis() as u64;
        let now = self.environment.monotonic_ms();
        let silent =
            self.silence.observe(stats.udp_tx.datagrams, stats.udp_rx.datagrams, rtt_ms, now);
        let changed = self.view.send_if_modified(|view| {
            let changed = view.silent != silent;
            view.silent = silent;
            changed
        });
        if changed {
            self.registry.changed();
        }
    }

    /// What the end of the connection means.
    fn lost(&self, error: &ConnectionError) -> SyncError {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                let code = close.error_code.into_inner();
                let text = endpoint::describe(error);
                if code == u64::from(CODE_DUPLICATE) {
                    SyncError::Duplicate
                } else if is_refusal(code) {
                    SyncError::RefusedByPeer(text)
                } else {
                    SyncError::ClosedByPeer(text)
                }
            }
            ConnectionError::LocallyClosed => SyncError::Closed("by this node".into()),
            other => SyncError::Lost(endpoint::describe(other)),
        }
    }

    fn ended(&mut self, reason: &CloseReason) -> SyncError {
        self.code = reason.code();
        match reason {
            CloseReason::Violation(Violation::Practice) => {
                SyncError::Refused("the peer belongs to another practice".into())
            }
            CloseReason::Violation(violation) => SyncError::Violation(violation.to_string()),
            CloseReason::Refused(refusal) => SyncError::Refused(refusal.to_string()),
            CloseReason::Version => {
                SyncError::Refused("the two nodes speak no common version; update the older".into())
            }
            CloseReason::Timeout => SyncError::Lost("the peer did not introduce itself".into()),
            CloseReason::Finished => SyncError::Closed("in good order".into()),
            CloseReason::PeerFinished(Farewell::Duplicate) => SyncError::Duplicate,
            CloseReason::PeerFinished(Farewell::Done) => {
                SyncError::ClosedByPeer("in good order".into())
            }
            CloseReason::Lost => SyncError::Lost("the connection is gone".into()),
        }
    }

    /// Lets the last frames leave, and closes.
    async fn finish(self, end: &SyncError) {
        // A peer that is gone or reads nothing is not waited for.
        let _ = timeout(FLUSH_MAX, self.lanes.flush()).await;
        let code = match end {
            SyncError::Duplicate => CODE_DUPLICATE,
            SyncError::Replica(_) => CODE_FAILED,
            _ => self.code,
        };
        let text = match end {
            SyncError::Replica(_) => "the node has a problem of its own".to_owned(),
            other => other.to_string(),
        };
        self.connection.close(VarInt::from_u32(code), text.as_bytes());
    }
}

/// Whether a close code says that the peer will not sync with this node, now or soon.
fn is_refusal(code: u64) -> bool {
    let refusals = [
        CloseReason::Version,
        // All refusals have one code, and all violations.
        CloseReason::Refused(Refusal::Revoked),
        CloseReason::Violation(Violation::Practice),
    ];
    refusals.into_iter().any(|reason| u64::from(reason.code()) == code)
}

/// Entries that have moved, in both directions.
fn moved(progress: &Progress) -> u64 {
    progress.sent.entries + progress.received.entries
}
