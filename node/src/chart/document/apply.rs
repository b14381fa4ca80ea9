//! Taking in the changes of others, who may be mistaken or malicious.
//!
//! Everything that can be checked is checked before Automerge sees the change, against the journal
//! and the values that the author could have seen; a change that passes is one that an honest node
//! in that position could have written. Automerge then decodes and applies it under guard, and
//! should it fail in the middle all the same, the document is rebuilt as it was.

use super::journal::Past;
use super::register_key::{self, RegisterKey};
use super::{ChangeHash, ChartError, Document};
use crate::chart::change::{Content, RawChange};
use crate::chart::hostile::{Refusal, contain};
use crate::chart::json::VALUES_MAX;
use crate::chart::resource::ResourceKey;
use automerge::{Change, ObjId, ROOT, ReadDoc};
use std::collections::HashSet;

/// What applying a change did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The change.
    pub hash: ChangeHash,
    /// The resources that it touched, ordered; none if it was known.
    pub touched: Vec<ResourceKey>,
    /// Whether it was part of the document already.
    pub known: bool,
    /// The person or program that made it, where one is named.
    pub by: Option<String>,
}

/// What a change says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// The change.
    pub hash: ChangeHash,
    /// Its actor.
    pub actor: [u8; 16],
    /// Its place among its actor's changes, from 1.
    pub sequence: u64,
    /// The changes that must be there before it.
    pub dependencies: Vec<ChangeHash>,
    /// Its author's clock.
    pub unix_ms: u64,
    /// The person or program that made it, where one is named.
    pub by: Option<String>,
}

/// A change of a peer that Automerge has read, or not yet: that can be done on another thread than
/// the one that will take it in, since it needs no document.
#[derive(Debug)]
pub struct Incoming {
    bytes: Vec<u8>,
    decoded: Option<Result<Change, Refusal>>,
}

impl Incoming {
    /// A change that is read when it is taken in.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, decoded: None }
    }

    /// Has Automerge read it now, if it is spelled as a node would spell it.
    pub fn read(&mut self) {
        let sound =
            RawChange::read(&self.bytes).is_ok_and(|change| register_keys(&change, false).is_ok());
        self.decoded = sound.then(|| decode(&self.bytes));
    }

    /// The change.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The change alone.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads what a change says of itself, without a document.
pub fn inspect(change: &[u8]) -> Result<Inspected, ChartError> {
    let change = RawChange::read(change)?;
    register_keys(&change, false)?;
    Ok(Inspected {
        hash: ChangeHash(change.hash),
        actor: change.actors[0],
        sequence: change.sequence,
        dependencies: change.dependencies.iter().copied().map(ChangeHash).collect(),
        unix_ms: change.unix_ms,
        by: change.by.map(str::to_owned),
    })
}

/// What each operation is about; no register may be written twice, and no resource get more values
/// than can be held at once. What is written may have been `checked` already, which is most of it.
pub(super) fn register_keys<'a>(
    change: &RawChange<'a>,
    checked: bool,
) -> Result<Vec<RegisterKey<'a>>, Refusal> {
    let mut names = HashSet::new();
    if !change.operations.iter().all(|operation| names.insert(operation.key)) {
        return Err(Refusal::Foreign("a register that is written twice"));
    }
    let written = change.operations.iter().filter_map(|operation| match operation.value {
        Some(Content::Bytes(bytes)) => Some((operation.key, bytes)),
        _ => None,
    });
    if !checked && register_key::values(written) > VALUES_MAX {
        return Err(Refusal::TooLarge);
    }
    let actor = &change.actors[0];
    let read = |operation| RegisterKey::read(operation, actor, checked);
    change.operations.iter().map(read).collect()
}

impl Document {
    /// Takes in a change that was written by the author whose actors start with this prefix.
    /// A change that is known already is no error.
    pub fn apply(&mut self, bytes: &[u8], actor_prefix: [u8; 8]) -> Result<Applied, ChartError> {
        self.take(bytes, None, actor_prefix, false)
    }

    /// The same for a change that may have been read already. It is `doubted` if it was written after
    /// its author was cut off, and others build on it all the same: what it overwrote is a conflict,
    /// and it settles none.
    pub fn apply_incoming(
        &mut self,
        change: &mut Incoming,
        actor_prefix: [u8; 8],
        doubted: bool,
    ) -> Result<Applied, ChartError> {
        self.take(&change.bytes, change.decoded.take(), actor_prefix, doubted)
    }

    /// Whether another change is here in the place that this one claims among its actor's.
    pub fn is_taken(&self, claim: &Inspected) -> bool {
        let last = self.journal.last_of(&claim.actor);
        let last = last.map_or(0, |last| self.journal.changes[last as usize].sequence);
        claim.sequence <= last && !self.has(&claim.hash)
    }

    fn take(
        &mut self,
        bytes: &[u8],
        decoded: Option<Result<Change, Refusal>>,
        actor_prefix: [u8; 8],
        doubted: bool,
    ) -> Result<Applied, ChartError> {
        let change = RawChange::read(bytes)?;
        let hash = ChangeHash(change.hash);
        #[cfg(planted)]
        let actor_prefix =
            match carnet_sync_protocol::planted::is("takes-a-change-as-another-author") {
                true => change.actors[0].first_chunk().copied().unwrap_or(actor_prefix),
                false => actor_prefix,
            };
        if change.actors[0][..8] != actor_prefix {
            return Err(Refusal::Actor.into());
        }
        let by = change.by.map(str::to_owned);
        if self.has(&hash) {
            return Ok(Applied { hash, touched: Vec::new(), known: true, by });
        }
        // Nothing is decoded before its registers are found well.
        let keys = register_keys(&change, decoded.is_some())?;
        let dependencies = self.dependencies(&change)?;
        let past = self.journal.past(&dependencies);
        self.check_place(&change, &dependencies, &past)?;
        self.check_overwrites(&change, &keys, &past)?;
        let typed = self.journal.typed(&change, &keys, &past)?;
        self.check_typing(&change, &keys, &typed, &past)?;
        let decoded = decoded.unwrap_or_else(|| decode(bytes))?;
        let applied = contain(|| self.automerge.apply_changes([decoded]));
        let heads = self.automerge.get_heads();
        let refusal = match applied {
            Ok(Ok(())) if heads.iter().any(|head| head.0 == hash.0) => None,
            Ok(_) => Some(Refusal::Engine),
            Err(panic) => Some(panic),
        };
        if let Some(refusal) = refusal {
            self.undo()?;
            return Err(refusal.into());
        }
        #[cfg(planted)]
        let mut keys = keys;
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("decides-for-itself-alone") {
            keys.iter_mut().for_each(|key| key.decided = None);
        }
        let touched = self.journal.record(&change, &keys, &typed, &past, doubted);
        self.note(bytes);
        Ok(Applied { hash, touched, known: false, by })
    }

    fn dependencies(&self, change: &RawChange<'_>) -> Result<Vec<u32>, ChartError> {
        let missing = |hash: &&[u8; 32]| self.journal.change(hash).is_none();
        let missing: Vec<ChangeHash> =
            change.dependencies.iter().filter(missing).copied().map(ChangeHash).collect();
        if !missing.is_empty() {
            return Err(ChartError::MissingDependencies(missing));
        }
        Ok(change.dependencies.iter().filter_map(|hash| self.journal.change(hash)).collect())
    }

    /// An actor's changes are numbered without gaps, each has seen the one before, and its
    /// operations are numbered from where its past ends.
    fn check_place(
        &self,
        change: &RawChange<'_>,
        dependencies: &[u32],
        past: &Past,
    ) -> Result<(), Refusal> {
        let last = self.journal.last_of(&change.actors[0]);
        let expected = last.map_or(1, |last| self.journal.changes[last as usize].sequence + 1);
        if change.sequence != expected || !last.is_none_or(|last| past.contains(last)) {
            return Err(Refusal::Sequence);
        }
        let ends = dependencies.iter().map(|at| self.journal.changes[*at as usize].end);
        if change.start != ends.max().unwrap_or(0) + 1 {
            return Err(Refusal::Numbering);
        }
        let known = |actor: &[u8; 16]| self.journal.last_of(actor).is_some();
        if change.actors[1..].iter().all(known) { Ok(()) } else { Err(Refusal::Overwrites) }
    }

    /// A value overwrites all that its author saw in the register; a removal may spare the value
    /// that won, which is how Automerge writes that it was confirmed.
    fn check_overwrites(
        &self,
        change: &RawChange<'_>,
        keys: &[RegisterKey<'_>],
        past: &Past,
    ) -> Result<(), Refusal> {
        let heads = heads_of(change);
        for (operation, key) in change.operations.iter().zip(keys) {
            let found = match past {
                _ if !self.contains(&key.resource) => Ok(Vec::new()),
                Past::Everything => self.automerge.get_all(ROOT, operation.key),
                Past::Set(_) => self.automerge.get_all_at(ROOT, operation.key, &heads),
            };
            let found = found.map_err(|_| Refusal::Engine)?;
            let mut seen: Vec<(u64, &[u8])> =
                found.iter().filter_map(|(_, id)| parts(id)).collect();
            let named = operation.overwrites.iter();
            let mut named: Vec<(u64, &[u8])> =
                named.map(|(counter, at)| (*counter, change.actors[*at].as_slice())).collect();
            seen.sort_unstable();
            named.sort_unstable();
            let sound = match operation.value {
                Some(_) => named == seen,
                None => !named.is_empty() && named.iter().all(|id| seen.contains(id)),
            };
            if !sound {
                return Err(Refusal::Overwrites);
            }
        }
        Ok(())
    }
}

/// Where its author stood.
pub(super) fn heads_of(change: &RawChange<'_>) -> Vec<automerge::ChangeHash> {
    change.dependencies.iter().copied().map(automerge::ChangeHash).collect()
}

/// An operation's counter and its actor.
pub(super) fn parts(id: &ObjId) -> Option<(u64, &[u8])> {
    match id {
        ObjId::Root => None,
        ObjId::Id(counter, actor, _) => Some((*counter, actor.to_bytes())),
    }
}

/// Has Automerge read the change, under guard, and sees to it that it would write the same: what is
/// spelled otherwise is what its decoders stumble over.
fn decode(bytes: &[u8]) -> Result<Change, Refusal> {
    contain(|| {
        let change = Change::from_bytes(bytes.to_vec()).map_err(|_| Refusal::Malformed)?;
        let again = Change::from(change.decode());
        if again.raw_bytes() == bytes { Ok(change) } else { Err(Refusal::Malformed) }
    })?
}
