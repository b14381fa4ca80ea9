//! Joint runs: what this node sends to, and takes from, a peer that reads the same charts.
//!
//! See [`carnet_sync_protocol::joint`]. Restricted entries are padded against whoever counts bytes,
//! so they travel as they are; control entries are clear text.

use super::{Records, RecordsError};
use crate::chart::Brief;
use crate::identity::statement::EpochKind;
use crate::vault::block::{
    Beginning, Block, ChangeName, OwnChanges, Parts, TheirChanges, beginning,
};
use crate::vault::{self, KeyBook, VaultError};
use carnet_sync_protocol::entry::{Codec, Header, Run, RunItem};
use carnet_sync_protocol::frontier::Frontier;
use carnet_sync_protocol::id::{
    Channel, DocumentId, EntryId, LogId, NodeId, PracticeId, TransportKey,
};
use carnet_sync_protocol::joint::{JOINT, JointRun};
use carnet_sync_protocol::limit;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Changes of opened runs that are remembered until the index has them: more than the windows of
/// all lanes hold.
const OPENED_MAX: usize = 32_768;

/// What is remembered of joint runs.
#[derive(Default)]
pub(super) struct Joint {
    /// Peers of whom none is taken, until other keys come.
    refused: BTreeSet<TransportKey>,
    /// Peers that believed this node to hold a change that it does not: it was restored, or its
    /// index is being made anew. Once they know better, theirs are taken again.
    misled: BTreeSet<TransportKey>,
    /// Shared with whoever opens them on other threads.
    opener: Opener,
}

impl Joint {
    /// Takes joint runs of everybody.
    pub fn forgive(&mut self) {
        self.refused.clear();
        self.misled.clear();
    }

    /// Forgets what it read.
    pub fn forget(&mut self) {
        self.forgive();
        *self.opener.recent() = Recent::default();
    }

    /// Has joint runs opened with these keys from now on, or no more. Waits for whoever is opening
    /// one, so that nobody goes on with the keys of a node that is locked.
    pub fn set_keys(&self, keys: Option<(PracticeId, KeyBook)>) {
        self.opener.recent().keys = keys;
    }

    fn refuse(&mut self, peer: &TransportKey, error: &VaultError) {
        let first = matches!(error, VaultError::UnknownBase) && self.misled.insert(*peer);
        if !first {
            self.refused.insert(*peer);
        }
    }
}

/// Opens joint runs beside the thread that owns the records, as far as that needs nothing that only
/// the records know. Sealing changes again is the greater part of what a first sync costs.
#[derive(Clone, Default)]
pub struct Opener(Arc<Mutex<Recent>>);

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opener(private)")
    }
}

impl Opener {
    /// The run, if there are keys for it and it builds on nothing but what came lately.
    pub fn open(&self, joint: &JointRun) -> Option<Run> {
        let mut recent = self.recent();
        let (practice, keys) = recent.keys.as_ref()?;
        let (run, changes) = made_again(*practice, keys, &*recent, joint).ok()?;
        recent.remember(changes);
        Some(run)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        // What panicked had only read it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys, and the changes that came last.
#[derive(Default)]
struct Recent {
    keys: Option<(PracticeId, KeyBook)>,
    /// Changes of runs that were opened, whether or not they are kept already.
    opened: BTreeMap<Beginning, (ChangeName, DocumentId)>,
    /// Their names, in the order in which they came.
    order: VecDeque<Beginning>,
}

impl Recent {
    fn remember(&mut self, changes: Vec<(ChangeName, DocumentId)>) {
        for (name, document) in changes {
            let beginning = beginning(&name);
            if self.opened.insert(beginning, (name, document)).is_none() {
                self.order.push_back(beginning);
            }
        }
        while self.order.len() > OPENED_MAX {
            self.order.pop_front().and_then(|oldest| self.opened.remove(&oldest));
        }
    }
}

impl OwnChanges for Recent {
    fn whole(&self, dependencies: &[ChangeName], rest: &[u8]) -> (ChangeName, Vec<u8>) {
        Brief::change(dependencies, rest)
    }

    fn named(&self, beginning: &Beginning) -> Option<(ChangeName, DocumentId)> {
        self.opened.get(beginning).copied()
    }
}

impl Records {
    /// The payload codecs that this node reads, and whether it takes joint runs of this peer.
    pub fn codecs(&self, peer: &TransportKey) -> Vec<Codec> {
        let joint = self.charts.is_some() && !self.joint.refused.contains(peer);
        vault::CODECS.iter().copied().chain(joint.then_some(JOINT)).collect()
    }

    /// The joint form of a run, if there is one. It is clear text to whoever gets it, so it is for a
    /// node that may have the keys, whatever that says of itself, and holds nothing of the
    /// restricted ones.
    pub fn joint(&self, run: &Run, reader: &NodeId) -> Option<JointRun> {
        let closed = |item: &RunItem| {
            self.roster.epoch(&item.epoch).is_some_and(|epoch| epoch.kind != EpochKind::General)
        };
        // It is packed well by itself, and whoever waits for something urgent would wait while it is
        // packed anew, here and there.
        let large = |item: &RunItem| item.payload.len() > limit::RUN_BYTES;
        if matches!(run.log.channel, Channel::Control | Channel::Restricted)
            || run.items.iter().any(|item| closed(item) || large(item))
            || !self.roster.is_reader(reader)
        {
            return None;
        }
        let keys = &self.charts.as_ref()?.keys;
        let certificate = self.roster.certificate(reader)?;
        let theirs = self.ledger.peer_frontier(&certificate.body.keys.transport).ok().flatten();
        let changes = Known { records: self, run: Some(run), theirs: theirs.unwrap_or_default() };
        let header = header_at(self.practice(), run.log, run.first_sequence);
        let entries = (0..).zip(&run.items);
        let entries = entries.map(|(at, item)| (header(at, item), item.payload.as_slice()));
        Some(JointRun::of(run, Block::of(keys, &changes, entries)?.pack()?))
    }

    /// The run that a peer sent in its joint form. If it does not lead to what its author signed, or
    /// there is no key for it, this node takes none of this peer until it has other keys.
    pub fn open_joint(
        &mut self,
        peer: &TransportKey,
        joint: &JointRun,
    ) -> Result<Option<Run>, RecordsError> {
        let mut opened = self.made_again(joint);
        if matches!(opened, Err(VaultError::UnknownBase)) && self.has_backlog()? {
            // It may have come, and not be taken into the index yet.
            self.catch_up()?;
            opened = self.made_again(joint);
        }
        match opened {
            Ok((run, changes)) => {
                self.joint.opener.recent().remember(changes);
                Ok(Some(run))
            }
            Err(error) => {
                tracing::warn!(%peer, %error, "a joint run was not taken; it is asked for as it is");
                self.joint.refuse(peer, &error);
                Ok(None)
            }
        }
    }

    fn made_again(
        &self,
        joint: &JointRun,
    ) -> Result<(Run, Vec<(ChangeName, DocumentId)>), VaultError> {
        let keys = &self.charts.as_ref().ok_or(VaultError::NotAuthentic)?.keys;
        let changes = Known { records: self, run: None, theirs: Frontier::default() };
        made_again(self.practice(), keys, &changes, joint)
    }

    /// Opens joint runs on other threads, from what came lately.
    pub fn opener(&self) -> Opener {
        self.joint.opener.clone()
    }
}

/// The run that its author signed, and its changes.
fn made_again(
    practice: PracticeId,
    keys: &KeyBook,
    changes: &dyn OwnChanges,
    joint: &JointRun,
) -> Result<(Run, Vec<(ChangeName, DocumentId)>), VaultError> {
    let JointRun { log, first_sequence, previous, signature, block } = joint;
    let (log, first_sequence, previous) = (*log, *first_sequence, *previous);
    let header = header_at(practice, log, first_sequence);
    let unpacked = Block::unpack(block)?.items(keys, changes, header)?;
    let run = Run { log, first_sequence, previous, items: unpacked.items, signature: *signature };
    match run.clone().verify(practice) {
        Ok(_) => Ok((run, unpacked.changes)),
        Err(_) => Err(VaultError::CommitmentMismatch),
    }
}

/// The header of an item of a run, as far as its seal is bound to it: not to the entry before.
fn header_at(
    practice: PracticeId,
    log: LogId,
    first: u64,
) -> impl Fn(u64, &RunItem) -> Header + use<> {
    move |at, item| item.header(practice, log, first.wrapping_add(at), EntryId::ZERO)
}

/// Which changes are here, and which at the other side.
struct Known<'a> {
    records: &'a Records,
    /// The run that is on its way to the other side. What stands before it in its log has gone
    /// there before it.
    run: Option<&'a Run>,
    /// What the other side said that it holds.
    theirs: Frontier,
}

impl Known<'_> {
    /// Whether the other side holds this entry. Of a log that forked it may hold another branch.
    fn is_theirs(&self, log: &LogId, sequence: u64) -> bool {
        let ahead = self.run.is_some_and(|run| run.log == *log && sequence < run.first_sequence);
        let theirs = match self.theirs.heads(log) {
            [head] => sequence <= head.sequence,
            _ => false,
        };
        (ahead || theirs) && self.records.ledger.heads(log).len() == 1
    }
}

impl TheirChanges for Known<'_> {
    fn parts(&self, change: &[u8]) -> Option<Parts> {
        let Brief { hash, dependencies, rest } = Brief::of(change)?;
        Some(Parts { name: hash, dependencies, rest })
    }

    fn held(&self, change: &ChangeName) -> Option<DocumentId> {
        let arrival = self.records.charts.as_ref()?.index.change(change).ok()??.arrival;
        let stamp = self.records.ledger.stamp_at(arrival).ok()??;
        self.is_theirs(&stamp.log, stamp.sequence).then_some(stamp.document)
    }
}

impl OwnChanges for Known<'_> {
    fn whole(&self, dependencies: &[ChangeName], rest: &[u8]) -> (ChangeName, Vec<u8>) {
        Brief::change(dependencies, rest)
    }

    fn named(&self, beginning: &Beginning) -> Option<(ChangeName, DocumentId)> {
        if let Some(opened) = self.records.joint.opener.recent().named(beginning) {
            return Some(opened);
        }
        let (name, arrival) =
            self.records.charts.as_ref()?.index.change_named(beginning).ok()??;
        let stamp = self.records.ledger.stamp_at(arrival).ok()??;
        Some((name, stamp.document))
    }
}
