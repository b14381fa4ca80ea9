//! One turn of the thread that owns a node's records: calls, one commit, answers.

use super::World;
use crate::chance::Chance;
use crate::checks::Flaw;
use crate::clinic::{Counter, End};
use crate::workload::{Done, Staff, Token};
use carnet_node::chart::ResourceKey;
use carnet_node::identity::roster::Standing;
use carnet_node::records::handle::{Batch, guarded};
use carnet_node::records::{Advance, Records, RecordsError};
use carnet_node::sync::{Answer, BATCH_RUNS_MAX, Task, perform};
use carnet_sync_protocol::frontier::Head;
use carnet_sync_protocol::id::LogId;
use carnet_sync_protocol::joint::Outgoing;
use carnet_sync_protocol::session::{Input, PeerVerdict};
use std::sync::{Arc, Mutex, PoisonError};

/// Something that a node's thread is asked to do.
pub(super) enum Call {
    /// A session's question.
    Task { link: u64, end: usize, task: Task },
    /// Somebody's work.
    Act { chance: u64, token: Token, focus: Option<ResourceKey> },
}

/// When within a turn a process is killed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doom {
    /// After so many calls; if there are fewer, after the commit, before anybody is answered.
    pub after: usize,
    /// How.
    pub how: End,
}

/// What a call came to, before it is known whether it is durable.
enum Outcome {
    Answers { link: u64, end: usize, answers: Vec<Answer> },
    Act(Token, Box<Result<Done, RecordsError>>),
}

/// An outcome that may be told: with the error if it is not durable.
type Reply = (Outcome, Result<(), RecordsError>);

/// Replies in the order in which they were given out.
type Outbox = Arc<Mutex<Vec<Reply>>>;

impl World {
    pub(super) fn turn(&mut self, at: usize, life: u32) -> Result<(), Flaw> {
        if self.clinics[at].life != life {
            return Ok(());
        }
        self.desks[at].turn_due = false;
        let Some(counter) = self.clinics[at].counter().cloned() else { return Ok(()) };
        let calls: Vec<Call> = self.desks[at].calls.drain(..).collect();
        let doom = self.desks[at].doom.take();
        let outbox = Outbox::default();
        let mut batch = Batch::default();
        for (number, group) in groups(calls).into_iter().enumerate() {
            if let Some(doom) = doom.filter(|doom| doom.after == number) {
                drop((batch, counter));
                self.replies(at, &outbox)?;
                return self.kill(at, doom.how);
            }
            let outcome = self.perform(at, &counter, group)?;
            let out = outbox.clone();
            batch.add(Box::new(move |durable| {
                out.lock().unwrap_or_else(PoisonError::into_inner).push((outcome, durable));
            }));
        }
        let mut news = Advance::new();
        batch.commit(&mut counter.records(), |advance| news = advance);
        if self.turns.one_in(3) {
            news.extend(idle(&counter));
        }
        // The trail is written by the commit itself.
        self.watch(at, &counter.records(), true)?;
        drop(counter);
        self.facts.committed(at, self.clinics[at].node, &news)?;
        if let Some(doom) = doom {
            self.forgo(at, &outbox);
            return self.kill(at, doom.how);
        }
        if !news.is_empty() {
            self.tell(at, &news)?;
        }
        self.replies(at, &outbox)?;
        self.check_links_of(at)
    }

    fn perform(&mut self, at: usize, counter: &Counter, group: Vec<Call>) -> Result<Outcome, Flaw> {
        let mut tasks = Vec::new();
        let mut whose = (0, 0);
        for call in group {
            match call {
                Call::Task { link, end, task } => {
                    whose = (link, end);
                    tasks.push(task);
                }
                Call::Act { chance, token, focus } => {
                    return self.act(at, counter, chance, token, focus);
                }
            }
        }
        let mut stranger = None;
        for task in &tasks {
            self.asked(at, &counter.records(), task)?;
            if let Task::Identify(certificate) = task {
                stranger = Some(certificate.clone());
            }
        }
        let answers = perform(counter, tasks);
        for answer in &answers {
            if let Ok(Input::Loaded { runs, .. }) = answer {
                let joint =
                    |out: &Outgoing| Some((out.joint.as_ref()?.to_bytes(), out.run.to_bytes()));
                self.joint.extend(runs.iter().filter_map(joint));
            }
        }
        if let (Some(stranger), Some(Ok(Input::PeerKnown(PeerVerdict::Accepted { .. })))) =
            (stranger, answers.first())
            && let Standing::Revoked | Standing::Suspended =
                counter.records().roster().standing_with(&stranger)
        {
            let what = format!("c{at} lets in a node that it knows to be cut off");
            return Err(Flaw::new("who is cut off is not let in", what));
        }
        self.watch(at, &counter.records(), false)?;
        Ok(Outcome::Answers { link: whose.0, end: whose.1, answers })
    }

    fn act(
        &mut self,
        at: usize,
        counter: &Counter,
        chance: u64,
        token: Token,
        focus: Option<ResourceKey>,
    ) -> Result<Outcome, Flaw> {
        let mut records = counter.records();
        let catalogue = &self.catalogue;
        let result = guarded(&mut records, |records| {
            Staff::new(records, catalogue, Chance::new(chance), token).at(focus).act()
        });
        self.watch(at, &records, true)?;
        Ok(Outcome::Act(token, Box::new(result)))
    }

    /// Looks at what a node has just written itself.
    pub(super) fn watch(&mut self, at: usize, records: &Records, own: bool) -> Result<(), Flaw> {
        let latest_ms = self.clinics[at].hands.latest_ms();
        self.facts.watch(at, records, own, latest_ms)
    }

    /// What a task tells the node, if it listens.
    pub(super) fn asked(&mut self, at: usize, records: &Records, task: &Task) -> Result<(), Flaw> {
        let author = records.author();
        let mut news: Vec<(LogId, Head)> = Vec::new();
        match task {
            Task::NotePeer { frontier, .. } => {
                let own = frontier.0.iter().filter(|(log, _)| log.author == author);
                news.extend(own.flat_map(|(log, heads)| heads.iter().map(|head| (*log, *head))));
            }
            Task::Store { runs, .. } => {
                for run in runs {
                    if run.log().author == author {
                        news.push((run.log(), run.head()));
                    }
                }
            }
            _ => {}
        }
        if news.is_empty() {
            return Ok(());
        }
        let known = records.known(&news).map_err(|error| Flaw::harness("asking", &error))?;
        if known.len() < news.len() {
            self.note(format_args!("c{at} is told that others know more of what it wrote"));
            self.facts.warned(at, author);
        }
        Ok(())
    }

    /// Gives out what may be told.
    fn replies(&mut self, at: usize, outbox: &Outbox) -> Result<(), Flaw> {
        let replies = std::mem::take(&mut *outbox.lock().unwrap_or_else(PoisonError::into_inner));
        for (outcome, durable) in replies {
            match outcome {
                Outcome::Answers { link, end, answers } => {
                    self.answers(at, link, end, answers, durable)?;
                }
                Outcome::Act(token, result) => self.acted(at, token, *result, durable)?,
            }
        }
        Ok(())
    }

    /// What is durable and nobody is told: those who acted don't know, and others will see it.
    fn forgo(&mut self, at: usize, outbox: &Outbox) {
        let replies = std::mem::take(&mut *outbox.lock().unwrap_or_else(PoisonError::into_inner));
        for (outcome, _) in replies {
            if let Outcome::Act(_, result) = outcome
                && let Ok(Done { write: Some(write), new }) = *result
            {
                new.iter().for_each(|key| self.catalogue.add(key));
                self.facts.wrote(at, write, false);
            }
        }
    }

    fn answers(
        &mut self,
        at: usize,
        link: u64,
        end: usize,
        answers: Vec<Answer>,
        durable: Result<(), RecordsError>,
    ) -> Result<(), Flaw> {
        if let Err(error) = durable {
            self.failed(link, end, &error.to_string());
            return self.excuse(at, "a commit failed", &error.to_string());
        }
        for answer in answers {
            match answer {
                Ok(input) => self.answer(link, end, input)?,
                Err(error) => {
                    self.failed(link, end, &error.to_string());
                    self.excuse(at, "a replica failed", &error.to_string())?;
                }
            }
        }
        Ok(())
    }

    fn acted(
        &mut self,
        at: usize,
        token: Token,
        result: Result<Done, RecordsError>,
        durable: Result<(), RecordsError>,
    ) -> Result<(), Flaw> {
        let (name, acknowledged) = (self.clinics[at].name.clone(), durable.is_ok());
        let done = match result {
            Ok(done) => done,
            Err(error) if is_expected(&error) => {
                self.note(format_args!("{name} act {token}: not possible: {error}"));
                return Ok(());
            }
            Err(error) => {
                self.note(format_args!("{name} act {token}: failed: {error}"));
                return self.excuse(at, "an act failed", &error.to_string());
            }
        };
        if let Err(error) = durable {
            self.excuse(at, "a commit failed", &error.to_string())?;
        }
        for key in &done.new {
            self.catalogue.add(key);
        }
        let Some(write) = done.write else { return Ok(()) };
        let replaced: Vec<String> =
            write.replaced.iter().map(|token| format!(" over {token}")).collect();
        self.note(format_args!(
            "{name} act {token}: {} {}{}{}",
            write.what,
            write.key,
            replaced.concat(),
            if acknowledged { "" } else { " (not acknowledged)" }
        ));
        self.facts.wrote(at, write, acknowledged);
        Ok(())
    }

    /// An error that is no flaw while the disk is full.
    pub(super) fn excuse(&self, at: usize, what: &str, error: &str) -> Result<(), Flaw> {
        let defect = error.contains("a defect in Carnet");
        if self.desks[at].full && !defect {
            return Ok(());
        }
        Err(Flaw::new("no error without a cause", format!("c{at}: {what}: {error}")))
    }
}

/// The index catches up, as the thread does while nobody waits. What can't be done is said by
/// whoever reads.
fn idle(counter: &Counter) -> Advance {
    let mut records = counter.records();
    let mut news = Advance::new();
    while records.has_backlog().unwrap_or(false) {
        let projected = guarded(&mut records, Records::project_slice);
        match records.commit() {
            Ok(more) if projected.is_ok() => news.extend(more),
            _ => break,
        }
    }
    news
}

/// What somebody can be told, and does nothing wrong by it.
fn is_expected(error: &RecordsError) -> bool {
    matches!(
        error,
        RecordsError::Locked
            | RecordsError::NoSuchResource { .. }
            | RecordsError::Deleted { .. }
            | RecordsError::BadRequest(_)
            | RecordsError::NoEpochKey
            | RecordsError::CutOff
            | RecordsError::Refused(_)
            | RecordsError::Chart(_)
    )
}

/// Runs of one link that wait one behind the other are stored together; all else goes alone.
fn groups(calls: Vec<Call>) -> Vec<Vec<Call>> {
    let mut groups: Vec<Vec<Call>> = Vec::new();
    for call in calls {
        let joins = match (groups.last().and_then(|group| group.last()), &call) {
            (
                Some(Call::Task { link: before, task: Task::Store { .. }, .. }),
                Call::Task { link, task: Task::Store { .. }, .. },
            ) => before == link,
            _ => false,
        };
        match groups.last_mut() {
            Some(group) if joins && group.len() < BATCH_RUNS_MAX => group.push(call),
            _ => groups.push(vec![call]),
        }
    }
    groups
}
