//! Puts a session's questions to the replica, on threads that may block, and brings the answers.
//!
//! What changes the replica is done strictly in order. Runs that wait while others are being
//! stored are then stored together, so that a stream of small runs costs few disk syncs. What is to
//! be opened does not wait behind what is to be loaded: that may be an image, behind which critical
//! entries would wait that have come.

use super::replica::{Replica, ReplicaError};
use carnet_sync_protocol::certificate::VerifiedCertificate;
use carnet_sync_protocol::entry::VerifiedRun;
use carnet_sync_protocol::frontier::{Frontier, Head};
use carnet_sync_protocol::id::{Channel, LogId, NodeId, TransportKey};
use carnet_sync_protocol::joint::JointRun;
use carnet_sync_protocol::message::LogHeads;
use carnet_sync_protocol::receipt::StoredReceipt;
use carnet_sync_protocol::session::{Input, Lane};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Runs that are stored together at most.
pub const BATCH_RUNS_MAX: usize = 64;

/// A question of a session, or something to keep; the fields are those of the session's output.
#[allow(missing_docs, reason = "see the outputs of the same names")]
#[derive(Debug)]
pub enum Task {
    /// Is this node welcome?
    Identify(Box<VerifiedCertificate>),
    /// What is to be sent.
    Load {
        request: u64,
        log: LogId,
        after: Vec<Head>,
        until: Head,
        bytes_max: usize,
        /// The peer, if it reads joint runs.
        reader: Option<NodeId>,
    },
    /// A run in its joint form; the answer is the run itself, as if it had come so, or the end of
    /// the session.
    Open { peer: TransportKey, channel: Channel, frame: Vec<u8> },
    /// Which of these are held?
    FindKnown { request: u64, heads: Vec<(LogId, Head)> },
    /// A log's waypoints.
    FindWaypoints { request: u64, log: LogId },
    /// A peer's runs of one log, to be kept.
    Store { peer: TransportKey, request: u64, runs: Vec<VerifiedRun> },
    /// A receipt, to be kept.
    KeepReceipt { peer: NodeId, receipt: Box<StoredReceipt> },
    /// What a peer holds.
    NotePeer { peer: NodeId, frontier: Frontier },
    /// Our whole frontier, when some advances were missed.
    Frontier,
}

impl Task {
    /// Whether it changes what is kept; such tasks are done in order.
    pub const fn changes(&self) -> bool {
        matches!(self, Self::Store { .. } | Self::KeepReceipt { .. } | Self::NotePeer { .. })
    }
}

/// An answer: an input for the session, or the end of it.
pub type Answer = Result<Input, ReplicaError>;

/// One link's way to the replica.
pub(super) struct Desk {
    questions: mpsc::UnboundedSender<Task>,
    openings: mpsc::UnboundedSender<Task>,
    changes: mpsc::UnboundedSender<Task>,
}

impl Desk {
    /// Opens a desk. The queues are bounded by what a session leaves unanswered.
    pub(super) fn open(replica: &Arc<dyn Replica>) -> (Self, mpsc::UnboundedReceiver<Answer>) {
        let (answers, answered) = mpsc::unbounded_channel();
        let queue = || {
            let (queue, tasks) = mpsc::unbounded_channel();
            tokio::spawn(serve(replica.clone(), tasks, answers.clone()));
            queue
        };
        (Self { questions: queue(), openings: queue(), changes: queue() }, answered)
    }

    /// Hands in a task. Its answer comes later, unless there is none to it.
    pub(super) fn put(&self, task: Task) {
        let queue = match task {
            Task::Open { .. } => &self.openings,
            _ if task.changes() => &self.changes,
            _ => &self.questions,
        };
        // A desk whose replica has failed is closed; the failure itself ends the link.
        let _ = queue.send(task);
    }
}

/// What a link is having stored, so that news of it from the ledger do not overtake the answer:
/// the session would take them for entries that the peer lacks, and send them back to it.
#[derive(Default)]
pub(super) struct Storing {
    requests: BTreeMap<u64, LogId>,
    put_off: BTreeMap<LogId, Vec<Head>>,
}

impl Storing {
    /// Runs (of one log) are handed in.
    pub(super) fn begin(&mut self, request: u64, runs: &[VerifiedRun]) {
        self.requests.extend(runs.first().map(|run| (request, run.log())));
    }

    /// The most urgent channel of which something is being stored.
    pub(super) fn most_urgent(&self) -> Option<Channel> {
        self.requests.values().map(|log| log.channel).min()
    }

    /// The answer has come; gives the news that waited for it.
    pub(super) fn end(&mut self, request: u64) -> Option<LogHeads> {
        let log = self.requests.remove(&request)?;
        if self.requests.values().any(|other| *other == log) {
            return None;
        }
        self.put_off.remove(&log).map(|heads| vec![(log, heads)])
    }

    /// Keeps back the news of logs that are being stored, and returns the others.
    pub(super) fn put_off(&mut self, heads: LogHeads) -> LogHeads {
        let storing: BTreeSet<&LogId> = self.requests.values().collect();
        let (later, now): (LogHeads, LogHeads) =
            heads.into_iter().partition(|(log, _)| storing.contains(log));
        self.put_off.extend(later);
        now
    }
}

async fn serve(
    replica: Arc<dyn Replica>,
    mut tasks: mpsc::UnboundedReceiver<Task>,
    answers: mpsc::UnboundedSender<Answer>,
) {
    let mut next = None;
    while let Some(task) = match next.take() {
        Some(task) => Some(task),
        None => tasks.recv().await,
    } {
        let mut batch = vec![task];
        while let Some(Task::Store { .. }) = batch.last()
            && runs(&batch) < BATCH_RUNS_MAX
            && let Ok(task) = tasks.try_recv()
        {
            batch.push(task);
        }
        if batch.len() > 1 && !matches!(batch.last(), Some(Task::Store { .. })) {
            next = batch.pop();
        }
        let replica = replica.clone();
        // Join errors are a panic of the replica, which is a bug and reported as such already.
        let Ok(results) = tokio::task::spawn_blocking(move || perform(&*replica, batch)).await
        else {
            let _ = answers.send(Err(ReplicaError("the ledger's thread panicked".into())));
            return;
        };
        for result in results {
            let failed = result.is_err();
            if answers.send(result).is_err() || failed {
                return;
            }
        }
    }
}

fn runs(batch: &[Task]) -> usize {
    let count = |task: &Task| if let Task::Store { runs, .. } = task { runs.len() } else { 0 };
    batch.iter().map(count).sum()
}

/// Does tasks one after another, those that store runs together at the end, and answers each that
/// has an answer.
pub fn perform(replica: &dyn Replica, batch: Vec<Task>) -> Vec<Answer> {
    let mut stores = Vec::new();
    let mut answers = Vec::new();
    for task in batch {
        match task {
            Task::Store { peer, request, runs } => stores.push((peer, request, runs)),
            other => answers.extend(answer(replica, other).transpose()),
        }
    }
    match store(replica, stores) {
        Ok(stored) => answers.extend(stored.into_iter().map(Ok)),
        Err(error) => answers.push(Err(error)),
    }
    answers
}

/// Answers whatever is not about storing runs.
fn answer(replica: &dyn Replica, task: Task) -> Result<Option<Input>, ReplicaError> {
    Ok(Some(match task {
        Task::Identify(certificate) => Input::PeerKnown(replica.identify(&certificate)?),
        Task::Load { request, log, after, until, bytes_max, reader } => {
            Input::Loaded { request, runs: replica.load(log, &after, until, bytes_max, reader)? }
        }
        Task::Open { peer, channel, frame } => {
            let lane = Lane::Data(channel);
            match JointRun::from_bytes(&frame) {
                Ok(joint) => match replica.open_joint(&peer, joint)? {
                    Some(run) => Input::Received { lane, frame: run.to_bytes() },
                    // The next session asks for what is missing as it is.
                    None => Input::Finish,
                },
                // The session says what is wrong with it.
                Err(_) => Input::Received { lane, frame },
            }
        }
        Task::FindKnown { request, heads } => {
            let known = replica.known(heads)?;
            Input::Known { request, known: known.into_iter().map(|(_, head)| head).collect() }
        }
        Task::FindWaypoints { request, log } => {
            Input::Waypoints { request, points: replica.waypoints(log)? }
        }
        Task::KeepReceipt { peer, receipt } => {
            replica.keep_receipt(peer, *receipt)?;
            Input::ReceiptKept
        }
        Task::NotePeer { peer, frontier } => {
            replica.note_peer_frontier(peer, frontier)?;
            return Ok(None);
        }
        Task::Frontier => Input::Advanced(replica.frontier()?.0.into_iter().collect()),
        Task::Store { .. } => return Ok(None),
    }))
}

/// Stores the runs of several requests of one peer together and answers each.
fn store(
    replica: &dyn Replica,
    mut requests: Vec<(TransportKey, u64, Vec<VerifiedRun>)>,
) -> Result<Vec<Input>, ReplicaError> {
    let Some(peer) = requests.first().map(|(peer, ..)| *peer) else { return Ok(Vec::new()) };
    let alone = requests.len() == 1;
    let logs: Vec<BTreeSet<LogId>> =
        requests.iter().map(|(.., runs)| runs.iter().map(VerifiedRun::log).collect()).collect();
    let stored = match &mut requests[..] {
        [(.., runs)] => replica.store(&peer, std::mem::take(runs))?,
        _ => {
            let all = requests.iter().flat_map(|(.., runs)| runs.iter().cloned());
            replica.store(&peer, all.collect())?
        }
    };
    let mut answers = Vec::new();
    for ((_, request, runs), logs) in requests.into_iter().zip(logs) {
        // A refusal may concern another request's run of the same log: storing is repeatable, so
        // each is asked for alone.
        let of_request = if alone || stored.refused.is_empty() {
            stored.clone()
        } else {
            replica.store(&peer, runs)?
        };
        answers.push(Input::Stored {
            request,
            heads: of_request.heads.into_iter().filter(|(log, _)| logs.contains(log)).collect(),
            refused: of_request.refused.into_iter().filter(|(log, _)| logs.contains(log)).collect(),
        });
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Memory;
    use super::*;
    use carnet_sync_protocol::id::{Author, Channel, EntryId, Incarnation};
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn what_has_come_is_opened_while_something_is_being_loaded() {
        let memory = Memory::new(1, 2);
        let busy = memory.keep_busy();
        let replica: Arc<dyn Replica> = memory;
        let (desk, mut answers) = Desk::open(&replica);
        let author = Author { node: NodeId::ZERO, incarnation: Incarnation::ZERO };
        desk.put(Task::Load {
            request: 1,
            log: LogId { channel: Channel::Clinical, author },
            after: Vec::new(),
            until: Head { sequence: 1, id: EntryId::ZERO },
            bytes_max: 1,
            reader: None,
        });
        let channel = Channel::Critical;
        desk.put(Task::Open { peer: TransportKey([0; 32]), channel, frame: vec![2] });
        let opened = timeout(Duration::from_secs(60), answers.recv()).await.expect("no answer");
        assert!(matches!(opened, Some(Ok(Input::Received { .. }))));
        drop(busy);
        assert!(matches!(answers.recv().await, Some(Ok(Input::Loaded { .. }))));
    }

    #[test]
    fn news_of_a_log_wait_until_all_that_is_being_stored_of_it_is_answered() {
        let author = Author { node: NodeId::ZERO, incarnation: Incarnation::ZERO };
        let (mine, other) = (
            LogId { channel: Channel::Critical, author },
            LogId { channel: Channel::Audit, author },
        );
        let head = |sequence| vec![Head { sequence, id: EntryId::ZERO }];
        let mut storing = Storing::default();
        storing.requests.extend([(1, mine), (2, mine)]);
        let now = storing.put_off(vec![(mine, head(4)), (other, head(1))]);
        assert_eq!(now, [(other, head(1))]);
        assert_eq!(storing.put_off(vec![(mine, head(5))]), []);
        assert_eq!(storing.end(1), None);
        assert_eq!(storing.end(2), Some(vec![(mine, head(5))]));
        assert_eq!(storing.put_off(vec![(mine, head(6))]), [(mine, head(6))]);
    }
}
