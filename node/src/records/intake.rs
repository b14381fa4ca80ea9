//! Entries into documents: applied when everything that they build on is there, kept waiting until
//! then.
//!
//! What was written after its node was cut off is *withheld*. An entry that waits names the first
//! change that it lacks; when that change is withheld, it is let in, and may wait in turn. So what
//! a document shows is a function of which entries are held, whatever came first. A person may
//! also release it by a statement ([`super::quarantine`]), which is an entry too. The same rule
//! stands here twice: with what waits in the index, as entries come ([`Records::take_in`]), and in
//! memory, from the ledger alone, for `verify` ([`Records::replay_document`]).
//!
//! A peer may make chains as long as it likes, so nothing here recurses, and an entry is tried
//! again only when the change came that it named.

#[cfg(test)]
mod tests;

use super::documents::{Resident, actor_prefix};
use super::twins::{Candidates, Outcasts, claim};
use super::{Records, RecordsError};
use crate::access::statement::Ruling;
use crate::chart::{Applied, ChangeHash, ChartError, Document, Incoming, Inspected, inspect};
use crate::store::index::{Brought, Cause, Pending, Quarantined};
use crate::store::ledger::Held;
use crate::vault::{self, KeyBook};
use carnet_sync_protocol::id::{DocumentId, EntryId, EpochId, LogId};
use std::collections::BTreeMap;

/// Why an entry is set aside that was written after its node was cut off.
pub(super) const WITHHELD: &str = "written after its node was cut off; withheld";

/// The arrivals of entries that can be tried now.
type Next = Vec<u64>;

/// A change, opened.
pub(super) enum Opened {
    Change(Box<Incoming>),
    /// A change that its document has taken in already, ahead of its turn.
    Taken(Box<Incoming>, Applied),
    /// The key of this epoch is not here.
    NoKey(EpochId),
    /// It can't be what it says.
    Unsound(String),
    /// A later version's kind of entry: kept, passed on, not shown.
    Foreign,
}

impl Opened {
    /// Opens what an entry holds.
    pub fn of(keys: &KeyBook, held: &Held) -> Self {
        let header = &held.entry.header;
        if !vault::CODECS.contains(&header.codec) {
            return Self::Foreign;
        }
        let Some(key) = keys.epoch(&header.epoch) else { return Self::NoKey(header.epoch) };
        match vault::open(key, header, &held.entry.payload) {
            Ok(change) => Self::Change(Box::new(Incoming::new(change))),
            Err(error) => Self::Unsound(error.to_string()),
        }
    }

    /// About how many bytes of memory a document will take more of it.
    pub fn weight(&self) -> usize {
        match self {
            Self::Change(change) | Self::Taken(change, _) => 3 * change.bytes().len(),
            _ => 0,
        }
    }
}

impl Records {
    /// Takes one entry into its document, and whatever waited for it; or notes why it can't be.
    pub(super) fn take_in(
        &mut self,
        id: &DocumentId,
        resident: &mut Resident,
        held: &Held,
    ) -> Result<(), RecordsError> {
        let opened = self.open_change(held)?;
        self.take_in_opened(id, resident, held, opened)
    }

    /// The same for an entry that was opened already.
    pub(super) fn take_in_opened(
        &mut self,
        id: &DocumentId,
        resident: &mut Resident,
        held: &Held,
        opened: Opened,
    ) -> Result<(), RecordsError> {
        resident.applied = resident.applied.max(held.arrival);
        let mut next = self.attempt(id, resident, held, opened)?;
        while let Some(arrival) = next.pop() {
            if let Some(held) = self.ledger.at(arrival)? {
                let opened = self.open_change(&held)?;
                next.extend(self.attempt(id, resident, &held, opened)?);
            }
        }
        Ok(())
    }

    fn attempt(
        &mut self,
        id: &DocumentId,
        resident: &mut Resident,
        held: &Held,
        opened: Opened,
    ) -> Result<Next, RecordsError> {
        let arrival = held.arrival;
        let mut change = match opened {
            Opened::Change(change) => change,
            Opened::Taken(change, applied) => {
                return self.note_applied(id, resident, held, change.bytes().len(), applied);
            }
            Opened::NoKey(epoch) => return self.put_aside(id, arrival, Cause::Key(epoch)),
            Opened::Unsound(reason) => return self.quarantine(id, arrival, None, reason),
            Opened::Foreign => return Ok(Next::new()),
        };
        if resident.claims.any
            && let Some(reason) = self.contested(id, resident, held, change.bytes())?
        {
            return self.quarantine(id, arrival, None, reason.to_owned());
        }
        if self.is_withheld(held)? {
            let hash = inspect(change.bytes()).ok().map(|inspected| inspected.hash);
            if !self.is_built_on(id, resident, hash.as_ref())? {
                self.note_claim(id, resident, claim(held, change.bytes()).as_ref())?;
                let hash = hash.map(|hash| hash.0);
                return self.quarantine(id, arrival, hash, WITHHELD.to_owned());
            }
        }
        match apply(&mut resident.document, held, &mut change, self.is_cut(held)) {
            Ok(applied) => self.note_applied(id, resident, held, change.bytes().len(), applied),
            Err(ChartError::MissingDependencies(missing)) => {
                let first = first_of(&missing)?;
                #[cfg(planted)]
                if carnet_sync_protocol::planted::is("forgets-what-waits") {
                    return Ok(Next::new());
                }
                self.note_claim(id, resident, claim(held, change.bytes()).as_ref())?;
                self.put_aside(id, arrival, Cause::Change(first.0))?;
                Ok(self.charts()?.index.withheld(id, &first.0)?)
            }
            Err(error) => {
                self.note_claim(id, resident, claim(held, change.bytes()).as_ref())?;
                self.quarantine(id, arrival, None, error.to_string())
            }
        }
    }

    /// Notes in the index what a document has taken in; gives what waited for it.
    fn note_applied(
        &mut self,
        id: &DocumentId,
        resident: &mut Resident,
        held: &Held,
        bytes: usize,
        applied: Applied,
    ) -> Result<Next, RecordsError> {
        let arrival = held.arrival;
        self.begin()?;
        let counts = self.credit(id, &applied, held)?;
        let index = &mut self.charts_mut()?.index;
        let waited = index.is_set_aside(arrival)?;
        if waited || !resident.was_shown(arrival) {
            if applied.known && counts {
                // Whatever it touched has another version now; a node that does so is rare.
                resident.touched.extend(resident.document.keys());
            }
            resident.touched.extend(applied.touched.iter().cloned());
        }
        resident.note(arrival, (!applied.known).then_some(bytes), waited);
        match applied.known {
            true => Ok(Next::new()),
            false => Ok(index.waiting_for(id, &applied.hash.0)?),
        }
    }

    /// Whether this entry is the one that counts as having brought the change. A node may write one
    /// change into two entries; which of them counts must not depend on what came first.
    fn credit(
        &mut self,
        id: &DocumentId,
        applied: &Applied,
        held: &Held,
    ) -> Result<bool, RecordsError> {
        let known = self.charts()?.index.change(&applied.hash.0)?;
        let other = known.as_ref().map(|brought| brought.arrival);
        let other = match other.filter(|arrival| *arrival != held.arrival) {
            Some(arrival) => self.ledger.stamp_at(arrival)?,
            None => None,
        };
        let cut = self.is_cut(held);
        if let Some(other) = &other {
            let other_cut = self.is_behind_cut(&other.log, other.sequence);
            let first = (other_cut, other.id) < (cut, held.entry.id);
            let last = if first { held.arrival } else { other.arrival };
            if other_cut != cut {
                let reason = WITHHELD.to_owned();
                self.quarantine(id, last, Some(applied.hash.0), reason)?;
            }
            if first {
                return Ok(false);
            }
        }
        let brought = Brought {
            arrival: held.arrival,
            entry: held.entry.id.0,
            time_ms: held.entry.header.time.unix_ms(),
            by: applied.by.clone(),
        };
        let index = &mut self.charts_mut()?.index;
        match known {
            Some(known) if known == brought => {}
            Some(_) => index.put_change(&applied.hash.0, &brought)?,
            None => index.add_change(&applied.hash.0, &brought)?,
        }
        Ok(true)
    }

    /// Whether something that is accepted builds on this change.
    fn is_built_on(
        &self,
        id: &DocumentId,
        resident: &Resident,
        hash: Option<&ChangeHash>,
    ) -> Result<bool, RecordsError> {
        let Some(hash) = hash else { return Ok(false) };
        let waits = !self.charts()?.index.waiting_for(id, &hash.0)?.is_empty();
        Ok(waits || resident.document.has(hash))
    }

    fn put_aside(
        &mut self,
        id: &DocumentId,
        arrival: u64,
        cause: Cause,
    ) -> Result<Next, RecordsError> {
        self.begin()?;
        let index = &mut self.charts_mut()?.index;
        index.remove_quarantined(arrival)?;
        index.put_pending(&Pending { arrival, document: *id, cause })?;
        Ok(Next::new())
    }

    fn quarantine(
        &mut self,
        id: &DocumentId,
        arrival: u64,
        change: Option<[u8; 32]>,
        reason: String,
    ) -> Result<Next, RecordsError> {
        self.begin()?;
        let document = Some(*id);
        let discarded = self.is_discarded(arrival)?;
        let index = &mut self.charts_mut()?.index;
        index.remove_pending(arrival)?;
        index.put_quarantined(&Quarantined { arrival, document, change, reason, discarded })?;
        Ok(Next::new())
    }

    /// The document as the ledger alone tells it; nothing of the index is used.
    pub(super) fn replay_document(&self, id: &DocumentId) -> Result<Document, RecordsError> {
        let (document, seen) = self.replay_without(id, &Outcasts::new())?;
        match seen.are_contested() {
            true => Ok(self.replay_without(id, &seen.outcasts())?.0),
            false => Ok(document),
        }
    }

    /// The document without some of its changes, and all that there are.
    fn replay_without(
        &self,
        id: &DocumentId,
        outcasts: &Outcasts,
    ) -> Result<(Document, Candidates), RecordsError> {
        let mut document = Document::new([0; 16]);
        let mut seen = Candidates::default();
        let mut waiting: BTreeMap<ChangeHash, Vec<Held>> = BTreeMap::new();
        let mut withheld: BTreeMap<ChangeHash, Vec<Held>> = BTreeMap::new();
        let mut after = 0;
        loop {
            let mut next = self.ledger.of_document(id, after, super::open::PAGE)?;
            let Some(last) = next.last() else { return Ok((document, seen)) };
            after = last.arrival;
            // The last is tried first: they come off the end.
            next.reverse();
            while let Some(held) = next.pop() {
                let Opened::Change(mut change) = self.open_change(&held)? else { continue };
                let Ok(Inspected { hash, .. }) = inspect(change.bytes()) else { continue };
                let is_withheld = self.is_withheld(&held)?;
                if let Some(claim) = claim(&held, change.bytes()) {
                    seen.add(claim, held.entry.header.log.author.node, is_withheld);
                }
                if outcasts.contains_key(&hash) {
                    continue;
                }
                if is_withheld && !waiting.contains_key(&hash) && !document.has(&hash) {
                    withheld.entry(hash).or_default().push(held);
                    continue;
                }
                match apply(&mut document, &held, &mut change, self.is_cut(&held)) {
                    Ok(applied) => next.extend(waiting.remove(&applied.hash).unwrap_or_default()),
                    Err(ChartError::MissingDependencies(missing)) => {
                        let first = first_of(&missing)?;
                        next.extend(withheld.remove(&first).unwrap_or_default());
                        waiting.entry(first).or_default().push(held);
                    }
                    Err(_) => {}
                }
            }
        }
    }

    /// The change of an entry, if there is one and it can be read.
    pub(super) fn readable_change(&self, held: &Held) -> Result<Option<Vec<u8>>, RecordsError> {
        Ok(match self.open_change(held)? {
            Opened::Change(change) => Some(change.into_bytes()),
            _ => None,
        })
    }

    fn open_change(&self, held: &Held) -> Result<Opened, RecordsError> {
        Ok(Opened::of(&self.charts()?.keys, held))
    }

    /// Whether the entry was written after its node was cut off, and nobody has released it.
    pub(super) fn is_withheld(&self, held: &Held) -> Result<bool, RecordsError> {
        Ok(self.is_cut(held) && self.ruling(&held.entry.id)? != Some(Ruling::Release))
    }

    fn is_discarded(&self, arrival: u64) -> Result<bool, RecordsError> {
        let Some(stamp) = self.ledger.stamp_at(arrival)? else { return Ok(false) };
        Ok(self.ruling(&stamp.id)? == Some(Ruling::Discard))
    }

    fn ruling(&self, entry: &EntryId) -> Result<Option<Ruling>, RecordsError> {
        Ok(self.staff()?.ruled(entry).and_then(|ruled| ruled.ruling))
    }

    /// Whether the entry was written after its node was cut off.
    pub(super) fn is_cut(&self, held: &Held) -> bool {
        let header = &held.entry.header;
        self.is_behind_cut(&header.log, header.sequence)
    }

    pub(super) fn is_behind_cut(&self, log: &LogId, sequence: u64) -> bool {
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("shows-what-was-written-behind-a-cut") {
            return false;
        }
        self.roster.cut(log).is_some_and(|cut| sequence > cut.sequence)
    }
}

/// Applies the change of an entry; one from behind a cut is in doubt.
pub(super) fn apply(
    document: &mut Document,
    held: &Held,
    change: &mut Incoming,
    cut: bool,
) -> Result<Applied, ChartError> {
    let prefix = actor_prefix(&held.entry.header.log.author);
    #[cfg(planted)]
    let cut = cut && !carnet_sync_protocol::planted::is("trusts-what-was-overwritten-behind-a-cut");
    document.apply_incoming(change, prefix, cut)
}

fn first_of(missing: &[ChangeHash]) -> Result<ChangeHash, RecordsError> {
    let none = || RecordsError::Bug("a change lacks nothing and could not be applied".to_owned());
    missing.first().copied().ok_or_else(none)
}
