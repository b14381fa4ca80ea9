//! Documents in memory: loaded from the index, brought up to date from the ledger, evicted when
//! there are too many.
//!
//! A saved document may lag behind the ledger by any number of entries: loading replays them. So
//! a document need not be saved at each change, and losing what is in memory loses nothing.

use super::{Records, RecordsError};
use crate::chart::{Document, ResourceKey};
use crate::store::index::{Claims, DocumentRow};
use crate::vault;
use carnet_sync_protocol::id::{Author, DocumentId};
use std::collections::{BTreeMap, BTreeSet};

/// Documents kept in memory: at some 100 KB each this is a few dozen megabytes.
const RESIDENTS_MAX: usize = 192;

/// Changes after which a document is saved, so that its next load replays no more than these.
const UNSAVED_CHANGES_MAX: u32 = 64;

/// A saved document's size: 2,000 resources of 64 KiB.
const DOCUMENT_BYTES_MAX: usize = 128 << 20;

/// A document in memory.
pub(super) struct Resident {
    pub document: Document,
    /// Every entry of the document up to this arrival has been looked at.
    pub applied: u64,
    /// Changes since it was last saved.
    pub unsaved: u32,
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
}

impl Resident {
    fn new(document: Document, applied: u64, claims: Claims) -> Self {
        let (touched, taken_in) = (BTreeSet::new(), Vec::new());
        let (unsaved, unsettled, used) = (0, false, 0);
        Self { document, applied, unsaved, touched, claims, unsettled, taken_in, used }
    }

    /// Notes that an entry is in the document; `known` if its change was there already, `waited` if
    /// the index lists it as one that is not.
    pub fn note(&mut self, arrival: u64, known: bool, waited: bool) {
        self.taken_in.push(arrival);
        if waited {
            // Saved soon, so that it is no longer listed.
            self.unsaved = UNSAVED_CHANGES_MAX;
        } else if !known {
            self.unsaved += 1;
        }
    }
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

    /// Drops one document from memory.
    pub(super) fn forget(&mut self, id: &DocumentId) {
        self.residents.remove(id);
    }

    /// Has documents that are loaded from here on written by another actor.
    pub(super) fn renew_actor(&mut self) {
        self.actor_suffix = None;
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
        resident.unsaved = 0;
        Ok(())
    }

    /// The bytes of all documents as the index keeps them, saved and compressed; for measurements.
    pub fn saved_document_bytes(&self) -> Result<u64, RecordsError> {
        Ok(self.charts()?.index.document_bytes()?)
    }

    fn load_document(&mut self, id: &DocumentId) -> Result<Resident, RecordsError> {
        let actor = self.actor()?;
        let saved = self.charts()?.index.document(id)?.and_then(|row| {
            let bytes = vault::unpack(&row.bytes, DOCUMENT_BYTES_MAX).ok()?;
            Some((Document::load(&bytes, actor).ok()?, row.applied))
        });
        let (document, applied) = saved.unwrap_or_else(|| (Document::new(actor), 0));
        let claims = self.charts()?.index.claims(id)?;
        let mut resident = Resident::new(document, applied, claims);
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("loads-a-document-as-it-was-saved") && applied > 0 {
            return Ok(resident);
        }
        self.catch_up_document(id, &mut resident)?;
        self.settle_twins(id, &mut resident)?;
        Ok(resident)
    }

    /// A document in which nothing is yet.
    pub(super) fn empty_document(&mut self, id: &DocumentId) -> Result<Resident, RecordsError> {
        let document = Document::new(self.actor()?);
        Ok(Resident::new(document, 0, self.charts()?.index.claims(id)?))
    }

    /// Takes in all that the ledger holds of a document and it has not looked at.
    pub(super) fn catch_up_document(
        &mut self,
        id: &DocumentId,
        resident: &mut Resident,
    ) -> Result<(), RecordsError> {
        loop {
            let page = self.ledger.of_document(id, resident.applied, super::open::PAGE)?;
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
