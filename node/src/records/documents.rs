//! Documents in memory: loaded from the index, brought up to date from the ledger, evicted when
//! there are too many.
//!
//! A saved document may lag behind the ledger by any number of entries: loading replays them. So
//! a document need not be saved at each change, and losing what is in memory loses nothing.

use super::{Records, RecordsError};
use crate::chart::{ChangeHash, ChartError, Document, ResourceKey, inspect};
use crate::store::index::{Cause, DocumentRow, Pending, Quarantined};
use crate::store::ledger::Held;
use crate::vault;
use carnet_sync_protocol::id::{Author, DocumentId};
use std::collections::{BTreeMap, BTreeSet};

/// Documents kept in memory: at some 100 KB each this is a few dozen megabytes.
const RESIDENTS_MAX: usize = 192;

/// Changes after which a document is saved, so that its next load replays no more than these.
const UNSAVED_CHANGES_MAX: u32 = 64;

/// A saved document's size: 2,000 resources of 64 KiB.
const DOCUMENT_BYTES_MAX: usize = 128 << 20;

/// Why an entry is set aside that was written after its node was cut off.
pub(super) const WITHHELD: &str = "written after its node was cut off; withheld";

/// A document in memory.
pub(super) struct Resident {
    pub document: Document,
    /// Every entry of the document up to this arrival has been looked at.
    pub applied: u64,
    /// Changes since it was last saved.
    pub unsaved: u32,
    /// Resources that changed and that the index does not show yet.
    pub touched: BTreeSet<ResourceKey>,
    used: u64,
}

/// The documents in memory.
#[derive(Default)]
pub(super) struct Documents {
    residents: BTreeMap<DocumentId, Resident>,
    uses: u64,
    /// The random half of this process's actor id.
    actor_suffix: Option<[u8; 8]>,
}

impl Documents {
    /// Drops every document in memory: what is durable is loaded again when asked for.
    pub(super) fn forget_unsaved(&mut self) {
        self.residents.clear();
    }

    fn take(&mut self, id: &DocumentId) -> Option<Resident> {
        self.residents.remove(id)
    }

    fn put(&mut self, id: DocumentId, mut resident: Resident) {
        self.uses += 1;
        resident.used = self.uses;
        self.residents.insert(id, resident);
    }

    fn least_used(&self) -> Option<DocumentId> {
        self.residents.iter().min_by_key(|(_, resident)| resident.used).map(|(id, _)| *id)
    }
}

/// The first half of the actor id of everything that this author writes.
pub(super) fn actor_prefix(author: &Author) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new_derive_key("carnet 2026 automerge actor v1");
    hasher.update(author.node.as_bytes());
    hasher.update(author.incarnation.as_bytes());
    let mut prefix = [0; 8];
    prefix.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    prefix
}

impl Records {
    /// Does something with a document that is up to date; an error leaves it out of memory.
    pub(super) fn with_document<T>(
        &mut self,
        id: &DocumentId,
        f: impl FnOnce(&mut Self, &mut Resident) -> Result<T, RecordsError>,
    ) -> Result<T, RecordsError> {
        let mut resident = match self.charts_mut()?.documents.take(id) {
            Some(resident) => resident,
            None => self.load_document(id)?,
        };
        let value = f(self, &mut resident)?;
        if resident.unsaved >= UNSAVED_CHANGES_MAX {
            self.save_document(id, &mut resident)?;
        }
        self.charts_mut()?.documents.put(*id, resident);
        while self.charts()?.documents.residents.len() > RESIDENTS_MAX {
            self.evict_one()?;
        }
        Ok(value)
    }

    fn evict_one(&mut self) -> Result<(), RecordsError> {
        let documents = &mut self.charts_mut()?.documents;
        let Some(id) = documents.least_used() else { return Ok(()) };
        let Some(mut resident) = documents.take(&id) else { return Ok(()) };
        if resident.unsaved > 0 {
            self.save_document(&id, &mut resident)?;
        }
        Ok(())
    }

    /// Saves every document in memory that has unsaved changes.
    pub(super) fn save_documents(&mut self) -> Result<(), RecordsError> {
        let Some(charts) = &mut self.charts else { return Ok(()) };
        let residents = std::mem::take(&mut charts.documents.residents);
        for (id, mut resident) in residents {
            if resident.unsaved > 0 {
                self.save_document(&id, &mut resident)?;
            }
        }
        Ok(())
    }

    fn save_document(
        &mut self,
        id: &DocumentId,
        resident: &mut Resident,
    ) -> Result<(), RecordsError> {
        self.begin()?;
        let row = DocumentRow {
            bytes: vault::pack(&resident.document.save()),
            applied: resident.applied,
        };
        self.charts_mut()?.index.put_document(id, &row)?;
        resident.unsaved = 0;
        Ok(())
    }

    fn load_document(&mut self, id: &DocumentId) -> Result<Resident, RecordsError> {
        let actor = self.actor()?;
        let saved = self.charts()?.index.document(id)?.and_then(|row| {
            let bytes = vault::unpack(&row.bytes, DOCUMENT_BYTES_MAX).ok()?;
            Some((Document::load(&bytes, actor).ok()?, row.applied))
        });
        let (document, applied) = saved.unwrap_or_else(|| (Document::new(actor), 0));
        let mut resident =
            Resident { document, applied, unsaved: 0, touched: BTreeSet::new(), used: 0 };
        loop {
            let page = self.ledger.of_document(id, resident.applied, super::open::PAGE)?;
            if page.is_empty() {
                return Ok(resident);
            }
            for held in &page {
                self.take_in(id, &mut resident, held)?;
            }
        }
    }

    /// The document as the ledger alone tells it, for `verify`; nothing of the index is used.
    pub(super) fn replay_document(&self, id: &DocumentId) -> Result<Document, RecordsError> {
        let mut document = Document::new([0; 16]);
        let mut waiting: Vec<Held> = Vec::new();
        let mut after = 0;
        loop {
            let page = self.ledger.of_document(id, after, super::open::PAGE)?;
            let Some(last) = page.last() else { return Ok(document) };
            after = last.arrival;
            waiting.extend(page);
            let mut progress = true;
            while progress {
                let before = waiting.len();
                let mut still = Vec::new();
                for held in waiting {
                    if self.is_cut(&held) || self.apply_to(&mut document, &held).is_err() {
                        still.push(held);
                    }
                }
                waiting = still;
                progress = waiting.len() < before && !waiting.is_empty();
            }
            self.apply_depended_on(&mut document, &mut waiting);
        }
    }

    fn apply_to(&self, document: &mut Document, held: &Held) -> Result<(), RecordsError> {
        let header = &held.entry.header;
        let key = self.charts()?.keys.epoch(&header.epoch).ok_or(RecordsError::NoEpochKey)?;
        let change = vault::open(key, header, &held.entry.payload)?;
        document.apply(&change, actor_prefix(&header.log.author))?;
        Ok(())
    }

    /// Lets in what was written after a cut where accepted entries stand on it.
    fn apply_depended_on(&self, document: &mut Document, waiting: &mut Vec<Held>) {
        loop {
            let mut wanted: BTreeSet<ChangeHash> = BTreeSet::new();
            for held in waiting.iter().filter(|held| !self.is_cut(held)) {
                if let Err(RecordsError::Chart(ChartError::MissingDependencies(missing))) =
                    self.apply_to(document, held)
                {
                    wanted.extend(missing);
                }
            }
            let before = waiting.len();
            let mut still = Vec::new();
            for held in std::mem::take(waiting) {
                let needed = !self.is_cut(&held)
                    || self.change_hash(&held).is_some_and(|hash| wanted.contains(&hash));
                if !needed || self.apply_to(document, &held).is_err() {
                    // One that depends on another cut entry makes that one wanted in turn.
                    still.push(held);
                }
            }
            *waiting = still;
            if waiting.len() == before {
                return;
            }
        }
    }

    fn change_hash(&self, held: &Held) -> Option<ChangeHash> {
        let header = &held.entry.header;
        let key = self.charts.as_ref()?.keys.epoch(&header.epoch)?;
        let change = vault::open(key, header, &held.entry.payload).ok()?;
        inspect(&change).ok().map(|inspected| inspected.hash)
    }

    /// Whether the entry was written after its node was cut off.
    pub(super) fn is_cut(&self, held: &Held) -> bool {
        let header = &held.entry.header;
        self.roster.cut(&header.log).is_some_and(|cut| header.sequence > cut.sequence)
    }

    /// Takes one entry into its document, or notes why it can't be.
    pub(super) fn take_in(
        &mut self,
        id: &DocumentId,
        resident: &mut Resident,
        held: &Held,
    ) -> Result<(), RecordsError> {
        resident.applied = resident.applied.max(held.arrival);
        if !vault::CODECS.contains(&held.entry.header.codec) {
            // A later version's kind of entry: kept, passed on, not shown.
            return Ok(());
        }
        if self.is_cut(held) {
            return self.withhold(id, held);
        }
        if self.try_apply(id, resident, held)? {
            self.retry_waiting(id, resident)?;
        }
        Ok(())
    }

    /// Applies one entry; false when it was put aside instead.
    fn try_apply(
        &mut self,
        id: &DocumentId,
        resident: &mut Resident,
        held: &Held,
    ) -> Result<bool, RecordsError> {
        let header = &held.entry.header;
        let arrival = held.arrival;
        let charts = self.charts()?;
        let Some(key) = charts.keys.epoch(&header.epoch) else {
            return self.put_aside(id, arrival, Cause::Key(header.epoch));
        };
        let change = match vault::open(key, header, &held.entry.payload) {
            Ok(change) => change,
            Err(error) => return self.quarantine(id, arrival, error.to_string()),
        };
        match resident.document.apply(&change, actor_prefix(&header.log.author)) {
            Ok(applied) => {
                if !applied.known {
                    resident.unsaved += 1;
                }
                resident.touched.extend(applied.touched);
                self.begin()?;
                let index = &mut self.charts_mut()?.index;
                index.put_change(&applied.hash.0, arrival)?;
                index.remove_pending(arrival)?;
                index.remove_quarantined(arrival)?;
                Ok(true)
            }
            Err(ChartError::MissingDependencies(missing)) => {
                self.put_aside(id, arrival, Cause::Dependencies)?;
                self.let_in_withheld(id, resident, &missing)
            }
            Err(error) => self.quarantine(id, arrival, error.to_string()),
        }
    }

    /// An accepted entry stands on these changes; if they were withheld, they are let in.
    fn let_in_withheld(
        &mut self,
        id: &DocumentId,
        resident: &mut Resident,
        missing: &[ChangeHash],
    ) -> Result<bool, RecordsError> {
        let mut progress = false;
        for hash in missing {
            let Some(arrival) = self.charts()?.index.change_arrival(&hash.0)? else { continue };
            let Some(held) = self.ledger.at(arrival)? else { continue };
            if self.is_cut(&held) && !resident.document.has(hash) {
                progress |= self.try_apply(id, resident, &held)?;
            }
        }
        Ok(progress)
    }

    fn withhold(&mut self, id: &DocumentId, held: &Held) -> Result<(), RecordsError> {
        let hash = self.change_hash(held);
        self.begin()?;
        let index = &mut self.charts_mut()?.index;
        if let Some(hash) = hash {
            index.put_change(&hash.0, held.arrival)?;
        }
        let reason = WITHHELD.to_owned();
        index.put_quarantined(&Quarantined {
            arrival: held.arrival,
            document: Some(*id),
            reason,
        })?;
        Ok(())
    }

    fn put_aside(
        &mut self,
        id: &DocumentId,
        arrival: u64,
        cause: Cause,
    ) -> Result<bool, RecordsError> {
        self.begin()?;
        self.charts_mut()?.index.put_pending(&Pending { arrival, document: *id, cause })?;
        Ok(false)
    }

    fn quarantine(
        &mut self,
        id: &DocumentId,
        arrival: u64,
        reason: String,
    ) -> Result<bool, RecordsError> {
        self.begin()?;
        let index = &mut self.charts_mut()?.index;
        index.remove_pending(arrival)?;
        index.put_quarantined(&Quarantined { arrival, document: Some(*id), reason })?;
        Ok(false)
    }

    /// After a change was applied: those that waited for it.
    pub(super) fn retry_waiting(
        &mut self,
        id: &DocumentId,
        resident: &mut Resident,
    ) -> Result<(), RecordsError> {
        loop {
            let mut progress = false;
            for pending in self.charts()?.index.pending_of(id)? {
                if let Some(held) = self.ledger.at(pending.arrival)? {
                    progress |= self.try_apply(id, resident, &held)?;
                }
            }
            if !progress {
                return Ok(());
            }
        }
    }

    /// The actor id of this process: it must be new at each start, since what an earlier process
    /// wrote last may not have become durable.
    fn actor(&mut self) -> Result<[u8; 16], RecordsError> {
        let prefix = actor_prefix(&self.author());
        let fresh = self.environment.random::<8>();
        let suffix = *self.charts_mut()?.documents.actor_suffix.get_or_insert(fresh);
        let mut actor = [0; 16];
        actor[..8].copy_from_slice(&prefix);
        actor[8..].copy_from_slice(&suffix);
        Ok(actor)
    }
}
