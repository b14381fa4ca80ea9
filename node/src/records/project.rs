//! From entries to what people look for: keeps the index in step with the ledger.
//!
//! The index has a cursor, the arrival up to which it shows the ledger. Entries are projected in
//! slices, so that receiving a large chart does not keep a clinician waiting.

use super::ahead::{self, Coming, Packed, Prepared};
use super::documents::Resident;
use super::homes::{Homes, Rivalry, Standing};
use super::{Records, RecordsError, duplicates, linked};
use crate::chart::{
    ChangeHash, ChartError, Conflict, ConflictValue, ResourceKey, WHOLE, patient_in,
};
use crate::store::index::{Brought, ConflictRow, Index, ResourceRow, Version};
use crate::store::ledger::{Held, Stamp};
use carnet_sync_protocol::id::{Channel, DocumentId, EntryId, NodeId};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Entries projected before the queue of calls is looked at again. Half as many cost a first sync an
/// eighth more.
pub(super) const SLICE: usize = 256;

/// The same while few are not shown yet, so that what a peer sends next need not wait for long.
const SHORT_SLICE: usize = 32;

/// Entries that are not shown yet, from which on more of the index is kept in memory.
const MUCH: u64 = 2048;

/// Documents that are shown together, and what they may take: enough for several cores, few enough
/// to hold.
const SHOWN_TOGETHER: usize = 32;
const TAKEN_BYTES_MAX: usize = 8 << 20;

/// The channels whose entries are changes of chart documents.
pub(super) fn is_chart(channel: Channel) -> bool {
    match channel {
        Channel::Critical | Channel::Clinical | Channel::Restricted | Channel::Administrative => {
            true
        }
        Channel::Control | Channel::Staff | Channel::Audit => false,
    }
}

impl Records {
    /// Whether entries are held that the index does not show yet.
    pub fn has_backlog(&self) -> Result<bool, RecordsError> {
        Ok(self.backlog()? > 0)
    }

    /// How many entries are held that the index does not show yet.
    fn backlog(&self) -> Result<u64, RecordsError> {
        Ok(self.ledger.last_arrival().saturating_sub(self.applied()?))
    }

    /// The arrival up to which the index shows the ledger: any, on a locked node, which has none.
    fn applied(&self) -> Result<u64, RecordsError> {
        match &self.charts {
            Some(charts) => Ok(charts.index.applied_until()?),
            None => Ok(u64::MAX),
        }
    }

    /// Brings the index wholly up to date.
    pub fn catch_up(&mut self) -> Result<(), RecordsError> {
        self.catch_up_to(self.ledger.last_arrival())
    }

    fn catch_up_to(&mut self, arrival: u64) -> Result<(), RecordsError> {
        let fresh = self.is_fresh();
        self.settle_again()?;
        while self.applied()? < arrival {
            // A slice that is half shown must not stay: within a call it is undone with that.
            match self.is_in_call() {
                true => self.project_next(SLICE)?,
                false => self.atomically(|records| records.project_next(SLICE))?,
            }
            if fresh {
                self.keep_derived()?;
            }
        }
        if fresh { self.keep_derived() } else { Ok(()) }
    }

    /// Brings the index up to date as far as what is critical goes: patients, their allergies,
    /// problems and medicines. That comes first from a peer, so who looks for a patient waits for
    /// nothing else. A restricted patient that has come and is not shown yet is found some moments
    /// later, as if it had come then.
    pub(super) fn catch_up_on_critical(&mut self) -> Result<(), RecordsError> {
        let mut last = 0;
        let logs = self.ledger.frontier().channel(Channel::Critical);
        for head in logs.flat_map(|(_, heads)| heads) {
            let stamp = self.ledger.stamp(&head.id)?;
            last = last.max(stamp.map_or(0, |stamp| stamp.arrival));
        }
        self.catch_up_to(last)
    }

    /// Projects the next entries while nobody waits for them. Whoever calls it does so whole or not
    /// at all.
    pub fn project_slice(&mut self) -> Result<(), RecordsError> {
        self.project_next(if self.backlog()? > MUCH { SLICE } else { SHORT_SLICE })
    }

    /// Projects the next entries, so many at most.
    fn project_next(&mut self, entries: usize) -> Result<(), RecordsError> {
        self.settle_again()?;
        self.begin()?;
        let shown = self.charts()?.index.applied_until()?;
        if self.backlog()? > MUCH {
            self.charts_mut()?.index.expect_much(true)?;
        }
        let page = self.ledger.by_arrival(shown, entries)?;
        let Some(last) = page.last().map(|held| held.arrival) else { return Ok(()) };
        for held in page.iter().filter(|held| held.entry.header.log.channel == Channel::Audit) {
            self.project_trail(held)?;
        }
        #[cfg(planted)]
        let count = page.len();
        let mut entries = page;
        entries.retain(|held| {
            let header = &held.entry.header;
            is_chart(header.log.channel) && header.document != DocumentId::ZERO
        });
        let entries = self.ledger.checked(entries)?;
        self.project_charts(&entries, shown)?;
        #[cfg(planted)]
        let last = match carnet_sync_protocol::planted::is("moves-the-cursor-too-far") {
            true => last + u64::from(count > 2),
            false => last,
        };
        self.charts_mut()?.index.set_applied_until(last)?;
        Ok(())
    }

    /// Takes entries into their documents, and shows what they changed; `shown` is the arrival before
    /// the first of them.
    fn project_charts(&mut self, entries: &[Held], shown: u64) -> Result<(), RecordsError> {
        let mut entries: Vec<&Held> = entries.iter().collect();
        // Stable: those of one document stay in the order in which they came.
        entries.sort_by_key(|held| document_of(held));
        let keys = self.charts()?.keys.clone();
        ahead::opened(&keys, &entries, |opened| {
            let mut coming: Vec<Coming<'_>> = Vec::new();
            let (mut documents, mut changes) = (0, 0);
            for (held, opened) in entries.iter().copied().zip(opened) {
                let id = document_of(held);
                let is_begun = coming.last().is_some_and(|last| last.id == id);
                // However large a document is, its changes come together; however many they are, they
                // come in parts.
                let is_full = match is_begun {
                    true => changes > TAKEN_BYTES_MAX,
                    false => {
                        coming.len() == SHOWN_TOGETHER || documents + changes > TAKEN_BYTES_MAX
                    }
                };
                if is_full {
                    self.take_in_all(std::mem::take(&mut coming))?;
                    (documents, changes) = (0, 0);
                }
                changes += opened.weight();
                if coming.last().is_none_or(|last| last.id != id) {
                    let resident = self.take_document(&id, shown)?;
                    documents += resident.document.weight();
                    coming.push(Coming::new(id, resident));
                }
                if let Some(last) = coming.last_mut() {
                    last.push(held, opened, self.is_cut(held));
                }
            }
            self.take_in_all(coming)
        })
    }

    /// Takes entries into their documents, on all cores as far as nothing else decides about them, and
    /// shows what they changed.
    fn take_in_all(&mut self, mut coming: Vec<Coming<'_>>) -> Result<(), RecordsError> {
        ahead::take_in(&mut coming);
        let mut taken = Vec::new();
        for Coming { id, mut resident, entries, .. } in coming {
            for (held, opened) in entries {
                self.take_in_opened(&id, &mut resident, held, opened)?;
            }
            self.settle_twins(&id, &mut resident)?;
            taken.push((id, resident));
        }
        self.show_all(taken)
    }

    /// Puts documents back into memory, and shows in the index what changed in them.
    fn show_all(&mut self, taken: Vec<(DocumentId, Resident)>) -> Result<(), RecordsError> {
        let prepared = ahead::prepared(&taken);
        let ids: Vec<DocumentId> = taken.iter().map(|(id, _)| *id).collect();
        // All of them first: a resource may have homes in several.
        for (id, mut resident) in taken {
            resident.touched.clear();
            self.keep_document(&id, resident)?;
        }
        let mut spent = Vec::new();
        for (id, prepared) in ids.iter().zip(prepared) {
            spent.push(self.show_prepared(id, prepared)?);
        }
        ahead::discard(spent);
        Ok(())
    }

    /// After new keys came: applies the entries that could not be read.
    pub(super) fn retry_unreadable(&mut self) -> Result<(), RecordsError> {
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("forgets-what-lacks-its-key") {
            return Ok(());
        }
        self.begin()?;
        let epochs: Vec<_> = self.roster.epochs().map(|epoch| epoch.id).collect();
        let charts = self.charts()?;
        let mut documents: BTreeMap<DocumentId, Vec<u64>> = BTreeMap::new();
        for epoch in epochs.iter().filter(|epoch| charts.keys.epoch(epoch).is_some()) {
            for pending in charts.index.pending_for_key(epoch)? {
                documents.entry(pending.document).or_default().push(pending.arrival);
            }
        }
        for arrival in documents.remove(&DocumentId::ZERO).unwrap_or_default() {
            // What belongs to no document is the trail's.
            if let Some(held) = self.ledger.at(arrival)? {
                self.project_trail(&held)?;
            }
        }
        for (document, arrivals) in documents {
            self.with_document(&document, |records, resident| {
                for arrival in arrivals {
                    if let Some(held) = records.ledger.at(arrival)? {
                        records.take_in(&document, resident, &held)?;
                    }
                }
                records.settle_twins(&document, resident)?;
                records.show(&document, resident)
            })?;
        }
        Ok(())
    }

    /// After a node was cut off or reinstated: shows the documents that it wrote to anew.
    pub(super) fn reproject(
        &mut self,
        documents: &BTreeSet<DocumentId>,
    ) -> Result<(), RecordsError> {
        self.catch_up()?;
        self.begin()?;
        // By the index: a document that is loaded only now may lack already what was shown of it.
        let mut before: BTreeMap<DocumentId, BTreeSet<ResourceKey>> = BTreeMap::new();
        for (document, kind, id) in self.charts()?.index.at_home_in(documents)? {
            let key = ResourceKey::new(&kind, &id).map_err(ChartError::from)?;
            before.entry(document).or_default().insert(key);
        }
        for id in documents {
            let charts = self.charts_mut()?;
            charts.index.remove_document(id)?;
            charts.documents.forget(id);
            self.with_document(id, |records, resident| {
                resident.touched.extend(before.remove(id).unwrap_or_default());
                resident.touched.extend(resident.document.keys());
                records.show(id, resident)
            })?;
        }
        Ok(())
    }

    /// Shows in the index what changed in a document.
    pub(super) fn show(
        &mut self,
        id: &DocumentId,
        resident: &mut Resident,
    ) -> Result<(), RecordsError> {
        let touched = std::mem::take(&mut resident.touched);
        let prepared = touched.iter().map(|key| Prepared::of(resident, key));
        self.show_prepared(id, prepared).map(drop)
    }

    /// Gives back what was shown, which is needed no more.
    fn show_prepared(
        &mut self,
        id: &DocumentId,
        prepared: impl IntoIterator<Item = Prepared>,
    ) -> Result<Vec<Homes>, RecordsError> {
        let mut stamps = Stamps::default();
        prepared.into_iter().map(|one| self.show_resource(id, one, &mut stamps)).collect()
    }

    fn show_resource(
        &mut self,
        document: &DocumentId,
        prepared: Prepared,
        stamps: &mut Stamps,
    ) -> Result<Homes, RecordsError> {
        let Prepared { key, shown } = prepared;
        let homes = self.charts()?.index.homes(&key.kind, &key.id)?;
        let is_new = homes.is_empty();
        let (mut views, mut packed): (Vec<Standing>, _) = Default::default();
        if let Some((view, of_view)) = shown {
            views.push((*document, view));
            packed = Some((*document, of_view));
        }
        for other in homes.iter().filter(|other| *other != document) {
            let view = self.with_document(other, |_, other| Ok(other.document.view(&key)))?;
            views.extend(view.map(|view| (*other, view)));
        }
        views.sort_by_key(|(id, _)| *id);
        self.index_resource(&key, views, packed, is_new, stamps)
    }

    fn index_resource(
        &mut self,
        key: &ResourceKey,
        mut views: Vec<Standing>,
        packed: Option<(DocumentId, Packed)>,
        is_new: bool,
        stamps: &mut Stamps,
    ) -> Result<Homes, RecordsError> {
        // Conflicts in a home that was left stay open too: what was said there beside the move.
        let mut within = Vec::new();
        for (home, view) in &mut views {
            let conflicts = std::mem::take(&mut view.conflicts);
            within.extend(conflicts.into_iter().map(|conflict| (*home, conflict)));
        }
        let registered = self.registering_node(&views, stamps)?;
        let documents: Vec<DocumentId> = views.iter().map(|(home, _)| *home).collect();
        let homes = Homes::of(views);
        let (Some((document, view)), Some(registered)) = (homes.shown(), registered) else {
            let index = &mut self.charts_mut()?.index;
            index.remove_resource(&key.kind, &key.id)?;
            index.replace_conflicts(&key.kind, &key.id, &[])?;
            forget(index, key)?;
            return Ok(homes);
        };
        let heads = homes.speaking.iter().flat_map(|(_, view)| &view.heads);
        let version = self.version(heads, stamps)?;
        let packed = packed.filter(|(of, _)| of == document);
        let Packed { patient, body } =
            packed.map_or_else(|| Packed::of(key, view), |(_, packed)| packed);
        let mut rows = Vec::new();
        for (home, conflict) in &within {
            rows.push(self.conflict_row(key, *home, patient.clone(), conflict, stamps)?);
        }
        if let Some(rivalry) = homes.rivalry() {
            rows.push(self.rivalry_row(key, *document, patient.clone(), &rivalry, stamps)?);
        }
        let row = ResourceRow {
            kind: key.kind.clone(),
            id: key.id.clone(),
            document: *document,
            body,
            patient,
            version,
            deleted: view.deleted,
            conflicted: !rows.is_empty(),
        };
        let index = &mut self.charts_mut()?.index;
        // Of what is new nothing is there to be replaced.
        index.put_resource(&row, &documents, is_new)?;
        if !(is_new && rows.is_empty()) {
            index.replace_conflicts(&key.kind, &key.id, &rows)?;
        }
        let body = Some(&view.body).filter(|_| !view.deleted);
        super::search::index_terms(index, key, body, is_new)?;
        match key.kind.as_str() {
            "Patient" if view.deleted => duplicates::forget_patient(index, &key.id),
            "Patient" => duplicates::index_patient(index, &key.id, &view.body, registered),
            "Linkage" => {
                let disputes = within.iter().map(|(_, conflict)| conflict);
                linked::index_linkage(index, key, &homes, disputes)
            }
            _ => Ok(()),
        }?;
        Ok(homes)
    }

    /// The node that wrote the first version, in whatever home; it is the same for all nodes.
    fn registering_node(
        &self,
        views: &[Standing],
        stamps: &mut Stamps,
    ) -> Result<Option<NodeId>, RecordsError> {
        let mut first: Option<Stamp> = None;
        for (_, view) in views {
            let stamp = self.stamp_of(&view.first.0, stamps)?.stamp;
            let earlier = |known: &Stamp| (known.time, known.id) <= (stamp.time, stamp.id);
            first = first.filter(earlier).or(Some(stamp));
        }
        Ok(first.map(|first| first.log.author.node))
    }

    /// The version that these changes make together: the last entry's id, or a hash of them where
    /// several stand side by side.
    fn version<'a>(
        &self,
        heads: impl Iterator<Item = &'a ChangeHash>,
        stamps: &mut Stamps,
    ) -> Result<Version, RecordsError> {
        let (mut ids, mut arrivals): (Vec<EntryId>, Vec<u64>) = Default::default();
        let mut updated_ms = 0;
        for head in heads {
            let stamp = self.stamp_of(&head.0, stamps)?.stamp;
            ids.push(stamp.id);
            arrivals.push(stamp.arrival);
            updated_ms = updated_ms.max(stamp.time.unix_ms());
        }
        ids.sort_unstable();
        arrivals.sort_unstable();
        let id = match ids.as_slice() {
            [one] => one.0,
            many => {
                let mut hasher = blake3::Hasher::new_derive_key("carnet 2026 merged version v1");
                many.iter().for_each(|id| {
                    hasher.update(id.as_bytes());
                });
                *hasher.finalize().as_bytes()
            }
        };
        Ok(Version { id, updated_ms, arrivals })
    }

    /// The entry that brought a change, and who made it.
    pub(super) fn stamp_of(
        &self,
        hash: &[u8; 32],
        stamps: &mut Stamps,
    ) -> Result<Authored, RecordsError> {
        if let Some(authored) = stamps.0.get(hash) {
            return Ok(authored.clone());
        }
        let found = match self.charts()?.index.change(hash)? {
            Some(Brought { arrival, by, .. }) => {
                self.ledger.stamp_at(arrival)?.map(|stamp| (stamp, by))
            }
            None => None,
        };
        let (stamp, by) =
            found.ok_or_else(|| RecordsError::Bug("a change without its entry".to_owned()))?;
        let authored = Authored { stamp, by };
        stamps.0.insert(*hash, authored.clone());
        Ok(authored)
    }

    /// A dispute between homes, as a conflict of the whole resource.
    fn rivalry_row(
        &self,
        key: &ResourceKey,
        document: DocumentId,
        patient: Option<String>,
        rivalry: &Rivalry<'_>,
        stamps: &mut Stamps,
    ) -> Result<ConflictRow, RecordsError> {
        let mut values = Vec::new();
        for side in &rivalry.sides {
            let (_, view) = side.standing;
            let mut newest = None;
            for head in &view.heads {
                let stamp = self.stamp_of(&head.0, stamps)?.stamp;
                newest = newest.max(Some((stamp.time, stamp.id, *head)));
            }
            let (_, _, change) =
                newest.ok_or_else(|| RecordsError::Bug("a resource without changes".into()))?;
            let value = ConflictValue {
                change,
                value: Some(view.body.clone()),
                deleted: view.deleted,
                moved: None,
            };
            let mut shown = self.conflict_value(&value, stamps)?;
            shown["id"] = side.value_id.clone().into();
            values.push(shown);
        }
        Ok(ConflictRow {
            row: 0,
            document,
            resource_kind: key.kind.clone(),
            id: key.id.clone(),
            patient,
            element: WHOLE.to_owned(),
            kind: rivalry.kind.as_str().to_owned(),
            seen: rivalry.seen.clone(),
            json: Value::from(values).to_string().into_bytes(),
        })
    }

    fn conflict_row(
        &self,
        key: &ResourceKey,
        document: DocumentId,
        patient: Option<String>,
        conflict: &Conflict,
        stamps: &mut Stamps,
    ) -> Result<ConflictRow, RecordsError> {
        let mut values = Vec::new();
        for value in &conflict.values {
            values.push(self.conflict_value(value, stamps)?);
        }
        Ok(ConflictRow {
            row: 0,
            document,
            resource_kind: key.kind.clone(),
            id: key.id.clone(),
            patient,
            element: conflict.element.clone(),
            kind: conflict.kind.as_str().to_owned(),
            seen: conflict.seen.clone(),
            json: Value::from(values).to_string().into_bytes(),
        })
    }

    /// One of the values of a conflict, with who wrote it, where and when.
    pub(super) fn conflict_value(
        &self,
        value: &ConflictValue,
        stamps: &mut Stamps,
    ) -> Result<Value, RecordsError> {
        let authored = self.stamp_of(&value.change.0, stamps)?;
        let stamp = authored.stamp;
        let mut shown = json!({
            "id": value.change.value_id(),
            "value": value.value,
            "author": authored.author(),
            "node": stamp.log.author.node.to_string(),
            "site": self.site_of(&stamp.log.author.node),
            "time": super::read::instant(stamp.time.unix_ms()),
        });
        if value.deleted {
            shown["deleted"] = true.into();
        }
        if let Some(home) = &value.moved {
            shown["moved"] = home.clone().into();
        }
        Ok(shown)
    }
}

fn document_of(held: &Held) -> DocumentId {
    held.entry.header.document
}

/// Takes out of the index by what a resource was found that nobody has written any more.
fn forget(index: &mut Index, key: &ResourceKey) -> Result<(), RecordsError> {
    super::search::index_terms(index, key, None, false)?;
    match key.kind.as_str() {
        "Patient" => duplicates::forget_patient(index, &key.id),
        "Linkage" => Ok(index.put_linkage(&key.id, &[])?),
        _ => Ok(()),
    }
}

/// The entries of changes that were just looked up: the many resources of one import share one.
#[derive(Default)]
pub(super) struct Stamps(BTreeMap<[u8; 32], Authored>);

/// The entry that brought a change, and who made it.
#[derive(Clone, Debug)]
pub(super) struct Authored {
    pub stamp: Stamp,
    /// The person or program, where one is named.
    pub by: Option<String>,
}

impl Authored {
    /// Whom to name: the person, or else the node.
    pub(super) fn author(&self) -> String {
        self.by.clone().unwrap_or_else(|| self.stamp.log.author.node.to_string())
    }
}

/// The patient to whose chart a resource belongs; a Patient belongs to its own.
pub(super) fn patient_of(key: &ResourceKey, body: &Value) -> Option<String> {
    if key.kind == "Patient" {
        return Some(key.id.clone());
    }
    patient_in(&key.kind, body.as_object()?)
}
