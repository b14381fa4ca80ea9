//! The oracles: what must hold whatever happens (DESIGN section 1), each with a name.
//!
//! They look from the outside: at what nodes acknowledge, send, hold and show. What is written
//! here knows nothing of how charts merge but this: whoever writes sees what it replaces.
//!
//! | what must hold | the oracles that say so |
//! |---|---|
//! | every acknowledged write is in every healed clinic node | *acknowledged means durable* (at each start), *every acknowledged write is in every healed node* |
//! | equal sets of entries give equal heads, charts, conflicts and index | *convergence*, *who is in sync holds the same* (whenever a link is quiet), *what lacked a certificate is asked for once that has come*, *equal entries give equal heads, charts, conflicts and index* (the trail and what is set aside too), *a node finds nothing wrong with itself* |
//! | no concurrent value vanishes unseen | *no value vanishes unseen* |
//! | no sequence number is used again undetected; where a clone forced it, both branches survive and all name the same fork | *no sequence number is used twice but by a clone that nothing tells*, *who is told that others know more begins a new life*, *nodes name a fork exactly where there is one*, and those above, to which a branch's writes are writes |
//! | nothing behind a cut is shown as valid, nothing before it is lost | *nothing behind a cut is shown*, *no value vanishes unseen*, *who is cut off is not let in*, and the two of who is cut off and can't read |
//! | a certified peer can't brick a document; nothing forged counts | *a signed peer can't harm a document*, *nothing forged is accepted*, *what is on a stick is what was written to it* |
//! | relays never held a key | *relays never held a key*, *keys are where they belong*, *what stays on disk is ciphertext* |
//! | what is packed is what was | *what is packed comes out as it was*, and those of what is held and shown |
//! | nothing is sent twice after its acknowledgement | *nothing is sent twice after its acknowledgement*, *honest nodes keep the protocol* |
//! | clocks decide nothing | *no clock is dragged along* |
//! | memory and disk stay within bounds | *disk stays within its bound*; of memory the whole run tells (see `histories`) |
//! | no panic, no error that nothing explains | *nothing panics*, *no error without a cause*, *a node opens after whatever befell it* |
//!
//! Where they stand: what nodes do is looked at here, what they show in `shown`, the verdict on both
//! is in `judge`, links are in the world's `level`, and keys and files in its `secrets`.

mod judge;
mod shown;

pub use judge::Witnesses;
pub use shown::{Shown, agree};

use crate::workload::{Token, Write};
use carnet_node::identity::roster::Standing;
use carnet_node::identity::statement::{EpochKind, WrapSubject};
use carnet_node::records::{Advance, Records};
use carnet_sync_protocol::entry::Run;
use carnet_sync_protocol::frontier::Head;
use carnet_sync_protocol::id::{
    Author, Channel, DocumentId, EntryId, EpochId, LogId, NodeId, PracticeId,
};
use carnet_sync_protocol::message::Message;
use carnet_sync_protocol::session::{CloseReason, Lane};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The oracle that says so.
    pub oracle: &'static str,
    /// What it saw.
    pub what: String,
}

impl Flaw {
    /// What an oracle saw.
    pub const fn new(oracle: &'static str, what: String) -> Self {
        Self { oracle, what }
    }

    /// The simulation itself could not go on.
    pub fn harness(what: &str, error: &dyn fmt::Display) -> Self {
        Self::new("the simulation itself", format!("{what}: {error}"))
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.oracle, self.what)
    }
}

/// A write, and what became of it.
struct Written {
    at: usize,
    write: Write,
    acknowledged: bool,
    /// The nodes that held it when a disk was last put back.
    holders: Option<BTreeSet<usize>>,
    /// The disk on which it was made durable was put back.
    set_back: bool,
}

/// What is known to have happened.
#[derive(Default)]
pub struct Facts {
    /// The practice, once it is founded.
    pub practice: Option<PracticeId>,
    writes: BTreeMap<Token, Written>,
    /// The entries that the authors themselves wrote.
    genuine: BTreeSet<EntryId>,
    /// The heads that the authors themselves committed.
    committed: BTreeMap<LogId, BTreeSet<Head>>,
    /// The heads of a node's own logs at the last look.
    seen: BTreeMap<(usize, LogId), Vec<Head>>,
    /// The latest that the clocks of a node ever showed.
    latest_ms: BTreeMap<NodeId, u64>,
    /// The entries of runs on their way: from, to, and where the run ends.
    travelling: BTreeMap<(usize, usize, EntryId), Vec<EntryId>>,
    /// Entries of which the acknowledgement has arrived: from and to.
    acknowledged: BTreeSet<(usize, usize, EntryId)>,
    /// Who may have to write in the place of what it wrote before, since nothing tells it.
    may_fork: BTreeSet<(usize, Author)>,
    /// Who was told that others know more of what it wrote than it does, as whom.
    warned: BTreeSet<(usize, Author)>,
    /// The logs in which a sequence number was used twice.
    forked: BTreeSet<LogId>,
    /// The words that somebody wrote in a way in which no honest node would, and whether they may
    /// be shown.
    lies: BTreeMap<Token, bool>,
    /// The documents of the entries that nodes wrote into charts.
    documents: BTreeMap<EntryId, DocumentId>,
    /// Up to where a log was held by somebody who knew of no cut of it and wrote on in a document.
    built_on: BTreeMap<(LogId, DocumentId), u64>,
    /// The documents in which somebody let something in that was set aside.
    released: BTreeSet<DocumentId>,
}

impl Facts {
    /// A commit at a node.
    pub fn committed(&mut self, at: usize, node: NodeId, news: &Advance) -> Result<(), Flaw> {
        // Whose clone wrote more in one commit than they had is seen to be forked only by who holds
        // both branches.
        let forked = news.iter().filter(|(_, heads)| heads.len() > 1);
        self.forked.extend(forked.map(|(log, _)| *log));
        for (log, heads) in news.iter().filter(|(log, _)| log.author.node == node) {
            let known = self.committed.entry(*log).or_default();
            for head in heads {
                let again = known
                    .iter()
                    .any(|other| other.sequence >= head.sequence && !known.contains(head));
                known.insert(*head);
                if !again {
                    continue;
                }
                self.forked.insert(*log);
                if !self.may_fork.contains(&(at, log.author)) {
                    return Err(Flaw::new(
                        "no sequence number is used twice but by a clone that nothing tells",
                        format!("c{at} writes {} {} again", log.channel.name(), head.sequence),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether somebody wrote what no honest node would.
    pub fn has_rogues(&self) -> bool {
        !self.lies.is_empty()
    }

    /// Somebody wrote what no honest node would.
    pub fn lied(&mut self, token: Token, may_be_shown: bool) {
        self.lies.insert(token, may_be_shown);
    }

    /// A node goes back in time, or a copy of it begins to run, and nothing on it shows that.
    pub fn may_fork(&mut self, at: usize, author: Author) {
        self.may_fork.insert((at, author));
    }

    /// A node is told that others know more of what it wrote in this life than it does.
    pub fn warned(&mut self, at: usize, author: Author) {
        self.warned.insert((at, author));
    }

    /// Looks at what a node has written since the last look: `own` work, or what it wrote by the
    /// way while it answered others. `latest_ms` is the latest that its clock ever showed.
    pub fn watch(
        &mut self,
        at: usize,
        records: &Records,
        own: bool,
        latest_ms: u64,
    ) -> Result<(), Flaw> {
        let author = records.author();
        let latest = self.latest_ms.entry(author.node).or_default();
        *latest = latest_ms.max(*latest);
        let logs = records.frontier().0.iter();
        for (log, heads) in logs.filter(|(log, _)| log.author.node == author.node) {
            let seen = self.seen.get(&(at, *log)).cloned().unwrap_or_default();
            if seen == *heads {
                continue;
            }
            for head in heads.iter().filter(|head| !seen.contains(head)) {
                let runs = records.load(log, &seen, *head, usize::MAX >> 1);
                for run in runs.map_err(|error| Flaw::harness("looking", &error))? {
                    let mine = own || (log.author == author && log.channel == Channel::Control);
                    self.authored(at, records, &run, mine)?;
                }
            }
            self.seen.insert((at, *log), heads.clone());
        }
        Ok(())
    }

    /// A run that a node holds of its own; it wrote it only if it is `mine`.
    fn authored(
        &mut self,
        at: usize,
        records: &Records,
        run: &Run,
        mine: bool,
    ) -> Result<(), Flaw> {
        let Some(practice) = self.practice else { return Ok(()) };
        for (head, item) in run.heads(practice).zip(&run.items) {
            if self.genuine.contains(&head.id) {
                continue;
            }
            let place = format!("{} {}", run.log.channel.name(), head.sequence);
            if !mine {
                let what = format!("c{at} took {place} for its own and never wrote it");
                return Err(Flaw::new("nothing forged is accepted", what));
            }
            if self.warned.contains(&(at, run.log.author)) {
                return Err(Flaw::new(
                    "who is told that others know more begins a new life",
                    format!("c{at} writes {place} as before"),
                ));
            }
            let latest_ms = self.latest_ms.get(&run.log.author.node).copied().unwrap_or(0);
            // Times of one millisecond are counted on.
            if item.time.unix_ms() > latest_ms + 1_000 {
                let what = format!("c{at} dates {place} later than its clock ever showed");
                return Err(Flaw::new("no clock is dragged along", what));
            }
            if exposed(records, run.log.channel, &item.epoch) {
                return Err(Flaw::new(
                    "who is cut off can't read what is written by who knows",
                    format!(
                        "c{at} writes {place} under a key of somebody whom it knows to be cut off"
                    ),
                ));
            }
            self.genuine.insert(head.id);
            if is_chart(run.log.channel) {
                self.documents.insert(head.id, item.document);
                self.builds(records, run, item.document);
            }
        }
        Ok(())
    }

    /// A node wrote into a document, and so built on all that it held of it, but for what it knew
    /// to be written behind a cut; somebody who has its keys may build on that too.
    fn builds(&mut self, records: &Records, run: &Run, document: DocumentId) {
        let heads = records.frontier().channel(run.log.channel);
        for (log, heads) in heads.filter(|(log, _)| **log != run.log) {
            if self.has_rogues() || records.roster().cut(log).is_none() {
                let up_to = self.built_on.entry((*log, document)).or_default();
                let held = heads.iter().map(|head| head.sequence).max().unwrap_or(0);
                *up_to = held.max(*up_to);
            }
        }
    }

    /// Somebody wrote.
    pub fn wrote(&mut self, at: usize, write: Write, acknowledged: bool) {
        let released = write.released.and_then(|entry| self.documents.get(&entry));
        self.released.extend(released.copied());
        let written = Written { at, write, acknowledged, holders: None, set_back: false };
        self.writes.insert(written.write.token, written);
    }

    /// The directory of one of so many nodes was put back; `holds` tells whether a node holds an
    /// entry now.
    pub fn set_back(
        &mut self,
        at: usize,
        nodes: usize,
        holds: impl Fn(usize, &LogId, &Head) -> bool,
    ) {
        self.acknowledged.retain(|(_, to, _)| *to != at);
        // What it acknowledged before it went back counts for nothing, though it arrive later.
        self.travelling.retain(|(_, to, _), _| *to != at);
        self.warned.retain(|(who, _)| *who != at);
        for written in self.writes.values_mut() {
            written.set_back |= written.at == at;
            if written.acknowledged {
                let place = &written.write.place;
                let holds_it = |at: &usize| place.iter().all(|(log, head)| holds(*at, log, head));
                written.holders = Some((0..nodes).filter(holds_it).collect());
            }
        }
    }

    /// A frame leaves.
    pub fn sent(&mut self, from: usize, to: usize, lane: Lane, frame: &[u8]) -> Result<(), Flaw> {
        let (Some(practice), Lane::Data(_)) = (self.practice, lane) else { return Ok(()) };
        let Ok(run) = Run::from_bytes(frame) else { return Ok(()) };
        let heads: Vec<Head> = run.heads(practice).collect();
        // In a forked log a run may have to carry entries of a sibling branch.
        let straight = !self.forked.contains(&run.log);
        for head in heads.iter().filter(|_| straight) {
            if self.acknowledged.contains(&(from, to, head.id)) {
                return Err(Flaw::new(
                    "nothing is sent twice after its acknowledgement",
                    format!(
                        "c{from} sends {} {} to c{to} again",
                        run.log.channel.name(),
                        head.sequence
                    ),
                ));
            }
        }
        if let Some(last) = heads.last() {
            let ids = heads.iter().map(|head| head.id).collect();
            self.travelling.insert((from, to, last.id), ids);
        }
        Ok(())
    }

    /// A frame arrives.
    pub fn arrived(&mut self, at: usize, from: usize, lane: Lane, frame: &[u8]) {
        if lane != Lane::Control {
            return;
        }
        let Ok(Message::Acknowledge(acks)) = Message::from_bytes(frame) else { return };
        for ack in acks.iter().filter(|ack| ack.refused.is_none()) {
            for id in self.travelling.get(&(at, from, ack.last.id)).into_iter().flatten() {
                self.acknowledged.insert((at, from, *id));
            }
        }
    }

    /// A session between honest nodes is over.
    pub fn ended(&self, at: usize, peer: usize, reason: &CloseReason) -> Result<(), Flaw> {
        match reason {
            CloseReason::Violation(violation) => Err(Flaw::new(
                "honest nodes keep the protocol",
                format!("c{at} says that c{peer} broke it: {violation}"),
            )),
            _ => Ok(()),
        }
    }

    /// A node starts again: what it acknowledged must be there.
    pub fn survived(&self, at: usize, holds: impl Fn(&LogId, &Head) -> bool) -> Result<(), Flaw> {
        let own = self
            .writes
            .values()
            .filter(|written| written.at == at && written.acknowledged && !written.set_back);
        for written in own {
            if !written.write.place.iter().all(|(log, head)| holds(log, head)) {
                return Err(Flaw::new(
                    "acknowledged means durable",
                    format!("c{at} lost write {} after it was acknowledged", written.write.token),
                ));
            }
        }
        Ok(())
    }
}

fn is_chart(channel: Channel) -> bool {
    !matches!(channel, Channel::Control | Channel::Staff | Channel::Audit)
}

/// Whether somebody whom a node knows to be cut off has the key of an epoch, while the node has
/// that of another one that the practice writes under.
fn exposed(records: &Records, channel: Channel, epoch: &EpochId) -> bool {
    let roster = records.roster();
    let Some(kind) = EpochKind::of(channel).filter(|_| *epoch != EpochId::ZERO) else {
        return false;
    };
    let has =
        |epoch: EpochId, hpke| roster.wraps_for(WrapSubject::Epoch(epoch), hpke).next().is_some();
    let own = records.keyring().keys().hpke;
    let better = roster.current_epoch(kind).filter(|better| better != epoch && has(*better, own));
    let Some(better) = better else { return false };
    roster.nodes().any(|node| {
        let hpke = node.body.keys.hpke;
        matches!(roster.standing(&node.node()), Standing::Revoked | Standing::Suspended)
            && has(*epoch, hpke)
            && !has(better, hpke)
    })
}
