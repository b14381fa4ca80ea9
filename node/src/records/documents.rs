//! Documents in memory: loaded from the index, brought up to date from the ledger, evicted when
//! there are too many.
//!
//! A saved document may lag behind the ledger by any number of entries: loading replays them. So
//! a document need not be saved at each change, and losing what is in memory loses nothing. One
//! that is replayed as quickly as it would be read, as most are that were written once, is never
//! saved at all.

use super::{Records, RecordsError};
use crate::chart::{Document, ResourceKey};
use crate::store::index::{Claims, DocumentRow};
use crate::vault;
use carnet_sync_protocol::id::{Author, DocumentId};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes that the documents in memory may take, beside the one in use.
const RESIDENT_BYTES_MAX: usize = 32 << 20;

/// Changes after which a document in memory is saved.
const UNSAVED_CHANGES_MAX: u32 = 64;

/// Changes, and their bytes, that the next load of a document may replay when it leaves memory.
const REPLAYED_CHANGES_MAX: u32 = 8;
const REPLAYED_BYTES_MAX: usize = 64 << 10;

/// A saved document's size: 2,000 resources of 64 KiB.
const DOCUMENT_BYTES_MAX: usize = 128 << 20;

/// A document in memory.
pub(super) struct Resident {
    pub document: Document,
    /// Every entry of the document up to this arrival has been looked at.
    pub applied: u64,
    /// Changes since it was last saved, and their bytes.
    unsaved: u32,
    unsaved_bytes: usize,
    /// Up to this arrival the index showed the ledger when the document was loaded: what of it was
    /// replayed was shown before.
    shown: u64,
    /// Resources that changed and that the index does not show yet.
    pub touched: BTreeSet<ResourceKey>,
    /// What the index knows of changes that are not in the document.
    pub claims: Claims,
    /// Whether something came since that may change which of two changes in one place counts.
    pub unsettled: bool,
    /// Entries that are in it since it was last saved. Whether one of them waited before is
    /// forgotten only with the save: until then, loading must find it waiting and take it in again.
    taken_in: Vec<u64>,
    used: u64,
    weight: usize,
}

impl Resident {
    fn new(document: Document, applied: u64, shown: u64, claims: Claims) -> Self {
        Self {
            document,
            applied,
            unsaved: 0,
            unsaved_bytes: 0,
            shown,
            touched: BTreeSet::new(),
            claims,
            unsettled: false,
            taken_in: Vec::new(),
            used: 0,
            weight: 0,
        }
    }

    /// Notes that an entry is in the document: with a change of so many bytes, or none if it was
    /// there already. `waited` if the index lists the entry as one that is not.
    pub fn note(&mut self, arrival: u64, bytes: Option<usize>, waited: bool) {
        self.taken_in.push(arrival);
        if waited {
            // Saved soon, so that it is no longer listed.
            self.unsaved = UNSAVED_CHANGES_MAX;
        } else if let Some(bytes) = bytes {
            self.note_written(bytes);
        }
    }

    /// Notes that a change of so many bytes was written into the document.
    pub fn note_written(&mut self, bytes: usize) {
        self.unsaved += 1;
        self.unsaved_bytes += bytes;
    }

    /// Whether the index shows already what this entry brought, unless it waited.
    pub fn was_shown(&self, arrival: u64) -> bool {
        arrival <= self.shown
    }

    /// Whether replaying takes longer than reading what was saved.
    fn is_slow_to_replay(&self) -> bool {
        self.unsaved >= REPLAYED_CHANGES_MAX || self.unsaved_bytes > REPLAYED_BYTES_MAX
    }
}

/// The documents in memory.
#[derive(Default)]
pub(super) struct Documents {
    residents: BTreeMap<DocumentId, Resident>,
    /// By when they were last used.
    by_use: BTreeMap<u64, DocumentId>,
    uses: u64,
    weight: usize,
    /// The random half of this process's actor id.
    actor_suffix: Option<[u8; 8]>,
}

impl Documents {
    /// Drops every document in memory: what is durable is loaded again when asked for.
    pub(super) fn forget_unsaved(&mut self) {
        self.take_all();
    }

    /// Drops one document from memory.
    pub(super) fn forget(&mut self, id: &DocumentId) {
        self.take(id);
    }

    fn take_all(&mut self) -> BTreeMap<DocumentId, Resident> {
        self.by_use.clear();
        self.weight = 0;
        std::mem::take(&mut self.residents)
    }

    /// Has documents that are loaded from here on written by another actor.
    pub(super) fn renew_actor(&mut self) {
        self.actor_suffix = None;
    }

    fn take(&mut self, id: &DocumentId) -> Option<Resident> {
        let resident = self.residents.remove(id)?;
        self.by_use.remove(&resident.used);
        self.weight -= resident.weight;
        Some(resident)
    }

    fn put(&mut self, id: DocumentId, mut resident: Resident) {
        self.take(&id);
        self.uses += 1;
        (resident.used, resident.weight) = (self.uses, resident.document.weight());
        self.weight += resident.weight;
        self.by_use.insert(self.uses, id);
        self.residents.insert(id, resident);
    }

    /// The document that was not used for the longest time, if there are too many; the one that was
    /// used last stays.
    fn excess(&self) -> Option<DocumentId> {
        let many = self.weight > RESIDENT_BYTES_MAX && self.residents.len() > 1;
        self.by_use.first_key_value().filter(|_| many).map(|(_, id)| *id)
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
        let mut resident = self.take_document(id, u64::MAX)?;
        let value = f(self, &mut resident)?;
        self.keep_document(id, resident)?;
        Ok(value)
    }

    /// Takes a document out of memory, or loads it as it was up to an arrival; [`Self::keep_document`]
    /// puts it back.
    pub(super) fn take_document(
        &mut self,
        id: &DocumentId,
        until: u64,
    ) -> Result<Resident, RecordsError> {
        match self.charts_mut()?.documents.take(id) {
            Some(resident) => Ok(resident),
            None => self.load_document(id, until),
        }
    }

    /// Keeps a document in memory, and drops others if there are too many.
    pub(super) fn keep_document(
        &mut self,
        id: &DocumentId,
        mut resident: Resident,
    ) -> Result<(), RecordsError> {
        if resident.unsaved >= UNSAVED_CHANGES_MAX && resident.touched.is_empty() {
            self.save_document(id, &mut resident)?;
        }
        self.charts_mut()?.documents.put(*id, resident);
        while let Some(id) = self.charts()?.documents.excess() {
            self.evict(&id)?;
        }
        Ok(())
    }

    fn evict(&mut self, id: &DocumentId) -> Result<(), RecordsError> {
        let Some(mut resident) = self.charts_mut()?.documents.take(id) else { return Ok(()) };
        // What the index does not show yet is replayed, and so shown, when its turn comes; what was
        // shown before its turn need not be shown again.
        let ahead = resident.applied > self.charts()?.index.applied_until()?;
        if (ahead || resident.is_slow_to_replay()) && resident.touched.is_empty() {
            self.save_document(id, &mut resident)?;
        }
        Ok(())
    }

    /// Saves every document in memory that would be slow to replay.
    pub(super) fn save_documents(&mut self) -> Result<(), RecordsError> {
        let Some(charts) = &mut self.charts else { return Ok(()) };
        for (id, mut resident) in charts.documents.take_all() {
            if resident.is_slow_to_replay() && resident.touched.is_empty() {
                self.save_document(&id, &mut resident)?;
            }
        }
        Ok(())
    }

    pub(super) fn save_document(
        &mut self,
        id: &DocumentId,
        resident: &mut Resident,
    ) -> Result<(), RecordsError> {
        self.begin()?;
        let row = DocumentRow {
            bytes: vault::pack(&resident.document.save()),
            applied: resident.applied,
        };
        let index = &mut self.charts_mut()?.index;
        index.put_document(id, &row)?;
        for arrival in std::mem::take(&mut resident.taken_in) {
            index.remove_pending(arrival)?;
            index.remove_quarantined(arrival)?;
        }
        (resident.unsaved, resident.unsaved_bytes) = (0, 0);
        Ok(())
    }

    /// The bytes of all documents as the index would keep them, saved and compressed; for
    /// measurements.
    pub fn saved_document_bytes(&mut self) -> Result<u64, RecordsError> {
        self.catch_up()?;
        let mut bytes = 0;
        for id in self.ledger.documents()? {
            bytes += self.with_document(&id, |_, resident| {
                Ok(vault::pack(&resident.document.save()).len() as u64)
            })?;
        }
        Ok(bytes)
    }

    fn load_document(&mut self, id: &DocumentId, until: u64) -> Result<Resident, RecordsError> {
        let actor = self.actor()?;
        let saved = self.charts()?.index.document(id)?.and_then(|row| {
            let bytes = vault::unpack(&row.bytes, DOCUMENT_BYTES_MAX).ok()?;
            Some((Document::load(&bytes, actor).ok()?, row.applied))
        });
        let (document, applied) = saved.unwrap_or_else(|| (Document::new(actor), 0));
        let index = &self.charts()?.index;
        let (shown, claims) = (index.applied_until()?, index.claims(id)?);
        let mut resident = Resident::new(document, applied, shown, claims);
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("loads-a-document-as-it-was-saved") && applied > 0 {
            return Ok(resident);
        }
        self.catch_up_document(id, &mut resident, until)?;
        self.settle_twins(id, &mut resident)?;
        Ok(resident)
    }

    /// A document in which nothing is yet; whatever comes into it is shown anew.
    pub(super) fn empty_document(&mut self, id: &DocumentId) -> Result<Resident, RecordsError> {
        let document = Document::new(self.actor()?);
        Ok(Resident::new(document, 0, 0, self.charts()?.index.claims(id)?))
    }

    /// Takes in what the ledger holds of a document up to an arrival and it has not looked at.
    pub(super) fn catch_up_document(
        &mut self,
        id: &DocumentId,
        resident: &mut Resident,
        until: u64,
    ) -> Result<(), RecordsError> {
        loop {
            let after = resident.applied;
            let page = self.ledger.of_document_until(id, after, until, super::open::PAGE)?;
            if page.is_empty() {
                return Ok(());
            }
            for held in &page {
                self.take_in(id, resident, held)?;
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
