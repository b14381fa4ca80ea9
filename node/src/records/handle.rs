//! The asynchronous handle to the one thread that owns the records.
//!
//! Group commit lives here: calls that wait in the queue together run one after another, one
//! `fsync` makes them durable together, and only then do their callers get an answer. A call
//! whose batch could not be committed gets the commit's error, never its result.

mod tests;

use super::joint::Opener;
use super::{Records, RecordsError};
use carnet_sync_protocol::frontier::Head;
use carnet_sync_protocol::id::LogId;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{broadcast, oneshot};

/// What the records do when nobody asks them anything.
type Rest = fn(&mut Records);

/// Calls that share one commit at most: a bound on how long the first of them waits.
const BATCH_CALLS_MAX: usize = 64;

/// So soon after an answer comes the next call of whoever asks one thing in several; it need not wait
/// for a slice of the index then.
const NEXT_CALL_WITHIN: Duration = Duration::from_millis(1);

/// What is done when nobody has asked anything for so long: first the index commits what it shows. Who
/// imports pauses to read files, and would have to read again what was given back then.
const RESTS: [(Duration, Rest); 2] = [
    (Duration::from_millis(50), Records::commit_index),
    (Duration::from_secs(5), Records::give_memory_back),
];

/// Commits that a slow listener may lag behind before it has to ask for the whole frontier.
const ADVANCES_KEPT: usize = 1024;

/// The logs that grew in one commit, with their new heads.
pub type Advance = Vec<(LogId, Vec<Head>)>;

/// Gives a call's answer, once it is known whether what it wrote is durable.
pub type Finish = Box<dyn FnOnce(Result<(), RecordsError>) + Send>;
type Call = Box<dyn FnOnce(&mut Records) -> Finish + Send>;

enum Message {
    Call(Call),
    Stop,
}

/// Calls that were run and wait for the commit that they share.
#[derive(Default)]
pub struct Batch(Vec<Finish>);

impl Batch {
    /// Adds a call that was run.
    pub fn add(&mut self, finish: Finish) {
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("answers-before-the-commit") {
            return finish(Ok(()));
        }
        self.0.push(finish);
    }

    /// Makes everything durable; then tells which logs grew, and only after that answers each, so
    /// that whoever has an answer finds the news told.
    pub fn commit(self, records: &mut Records, tell: impl FnOnce(Advance)) {
        let committed = records.commit();
        let durable = committed.as_ref().map(|_| ()).map_err(RecordsError::duplicate);
        if let Ok(advance) = committed
            && !advance.is_empty()
        {
            tell(advance);
        }
        for finish in self.0 {
            finish(durable.as_ref().copied().map_err(RecordsError::duplicate));
        }
    }
}

/// Talks to the thread that owns the [`Records`]; clones talk to the same one.
#[derive(Clone, Debug)]
pub struct Handle {
    calls: mpsc::Sender<Message>,
    advances: broadcast::Sender<Advance>,
    opener: Opener,
}

/// The owning thread. Dropping this ends it after the calls that are already queued, and waits until
/// the store is closed: the directory is free then, and no thread reads on while the program ends.
#[derive(Debug)]
pub struct Owner {
    calls: mpsc::Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        // An error means that the thread has ended already.
        let _ = self.calls.send(Message::Stop);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Handle {
    /// Moves the records to a thread of their own.
    pub fn start(records: Records) -> (Self, Owner) {
        let (calls, queue) = mpsc::channel();
        let (advances, _) = broadcast::channel(ADVANCES_KEPT);
        let opener = records.opener();
        let handle = Self { calls: calls.clone(), advances: advances.clone(), opener };
        let thread = std::thread::Builder::new()
            .name("records".into())
            .spawn(move || own(records, &queue, &advances))
            .expect("the operating system gives a thread");
        (handle, Owner { calls, thread: Some(thread) })
    }

    /// Runs `f` on the owning thread; answers once what it wrote is durable.
    pub async fn call<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Records) -> Result<T, RecordsError> + Send + 'static,
    ) -> Result<T, RecordsError> {
        let (reply, answer) = oneshot::channel();
        self.submit(f, move |result| {
            // The caller may have gone away; what was written stays written.
            let _ = reply.send(result);
        })?;
        answer.await.map_err(|_| RecordsError::Stopped)?
    }

    /// The same for a thread that is not part of an asynchronous runtime.
    pub fn call_blocking<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Records) -> Result<T, RecordsError> + Send + 'static,
    ) -> Result<T, RecordsError> {
        let (reply, answer) = mpsc::channel();
        self.submit(f, move |result| {
            let _ = reply.send(result);
        })?;
        answer.recv().map_err(|_| RecordsError::Stopped)?
    }

    /// What each later commit added to the ledger; a listener that lags is told so and asks anew.
    pub fn advances(&self) -> broadcast::Receiver<Advance> {
        self.advances.subscribe()
    }

    /// What opens joint runs on the caller's thread.
    pub fn opener(&self) -> Opener {
        self.opener.clone()
    }

    fn submit<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Records) -> Result<T, RecordsError> + Send + 'static,
        reply: impl FnOnce(Result<T, RecordsError>) + Send + 'static,
    ) -> Result<(), RecordsError> {
        let call: Call = Box::new(move |records| {
            let result = guarded(records, f);
            Box::new(move |committed| reply(committed.and(result)))
        });
        self.calls.send(Message::Call(call)).map_err(|_| RecordsError::Stopped)
    }
}

/// Makes a call, whole or not at all. A panic in it is a defect of ours and is undone like an error:
/// were it to end this thread, nobody could read a chart until somebody unlocks the node again.
pub fn guarded<T>(
    records: &mut Records,
    f: impl FnOnce(&mut Records) -> Result<T, RecordsError>,
) -> Result<T, RecordsError> {
    let made = catch_unwind(AssertUnwindSafe(|| records.whole(f)));
    made.unwrap_or_else(|_| Err(records.recover()))
}

fn own(
    mut records: Records,
    queue: &mpsc::Receiver<Message>,
    advances: &broadcast::Sender<Advance>,
) {
    let mut stopping = false;
    while !stopping {
        let tell = |advance: Advance| {
            if !advance.is_empty() {
                // Nobody may be listening.
                let _ = advances.send(advance);
            }
        };
        let Some(first) = next_message(&mut records, queue, &tell) else { break };
        let mut next = Some(first);
        let mut batch = Batch::default();
        while let Some(message) = next.take() {
            match message {
                Message::Call(call) => batch.add(call(&mut records)),
                Message::Stop => stopping = true,
            }
            if !stopping && batch.0.len() < BATCH_CALLS_MAX {
                next = queue.try_recv().ok();
            }
        }
        batch.commit(&mut records, tell);
    }
    records.close();
}

/// The next message; while none waits, the index catches up with the ledger, slice by slice.
fn next_message(
    records: &mut Records,
    queue: &mpsc::Receiver<Message>,
    tell: &impl Fn(Advance),
) -> Option<Message> {
    let mut pause = NEXT_CALL_WITHIN;
    while records.has_backlog().unwrap_or(false) {
        match queue.recv_timeout(std::mem::take(&mut pause)) {
            Ok(message) => return Some(message),
            Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let projected = guarded(records, Records::project_slice);
                // An earlier call may have left something to tell of.
                let projected = records.commit().map(tell).and(projected);
                if let Err(error) = projected {
                    // Reads will say so to whoever asks; here it would only be tried in a circle.
                    tracing::error!(%error, "the index can't catch up");
                    break;
                }
            }
        }
    }
    for (pause, rest) in RESTS {
        match queue.recv_timeout(pause) {
            Ok(message) => return Some(message),
            Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            Err(mpsc::RecvTimeoutError::Timeout) => rest(records),
        }
    }
    queue.recv().ok()
}
