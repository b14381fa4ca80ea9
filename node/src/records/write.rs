//! Writing: one resource at a time, or many as one; and a person's choice in a conflict.

use super::author::{Content, Placed};
use super::body::body_of;
use super::project::is_chart;
use super::read::strip_marks;
use super::{Records, RecordsError};
use crate::access::{Action, Actor, Permit};
use crate::chart::{
    ChartError, Choice, Edit, Home, Resource, ResourceKey, Section, VOLUME_BYTES_MAX,
    VOLUME_RESOURCES_MAX, Written, home,
};
use crate::store::index::{Brought, ConflictFilter, ConflictRow};
use carnet_sync_protocol::id::{Channel, DocumentId, EntryId};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Volumes of one section of one chart: 8 GiB of images.
const VOLUMES_MAX: u32 = 1024;

/// The edits' size as JSON at which a change is closed and the next begun: large enough to
/// compress well, small enough to travel in one piece on a bad link.
const CHANGE_JSON_MAX: usize = 256 << 10;

/// How much more a draft weighs than its JSON: each character of its narratives is an operation,
/// and what is beyond the operations of a change would not be open to typing.
const DRAFT_WEIGHT: usize = 4;

/// The elements that decide where a resource belongs: its labels, and whose chart it is part of.
const HOME_ELEMENTS: [&str; 6] = ["meta", "subject", "patient", "beneficiary", "for", "individual"];

/// What was saved.
#[derive(Clone, Debug, Serialize)]
pub struct Saved {
    /// `Type/id`.
    pub resource: String,
    /// Its version now.
    pub version: String,
    /// False when it said the same before.
    pub changed: bool,
}

/// A change that a document made of its edits.
struct Change {
    document: DocumentId,
    written: Written,
}

/// A decision in a home that the resource has left, and what it means where the resource lives.
struct Carried {
    chosen: Choice,
    edit: Option<Edit>,
}

/// What was edited in a home while the resource was moved away from it.
struct EditBesideMove {
    /// The value id of the move.
    moved: String,
    /// What the mover took along.
    copied: Value,
    /// What it said for who edited it.
    edited: Value,
}

impl EditBesideMove {
    /// Makes the edit in what the resource says now: the elements in which it differs from what was
    /// taken along, other than those by which the resource has its new home.
    fn take_along(&self, now: &mut Map<String, Value>) {
        let (copied, edited) = (self.copied.as_object(), self.edited.as_object());
        let names = copied.into_iter().chain(edited).flat_map(Map::keys);
        for name in names.filter(|name| !HOME_ELEMENTS.contains(&name.as_str())) {
            match self.edited.get(name) {
                edited if edited == self.copied.get(name) => {}
                Some(edited) => drop(now.insert(name.clone(), edited.clone())),
                None => drop(now.remove(name)),
            }
        }
    }
}

/// Edits by the document that they change.
pub(super) type Plan = BTreeMap<(Channel, DocumentId), Vec<Edit>>;

impl Records {
    /// Creates or replaces a resource.
    pub fn put(&mut self, permit: &Permit, resource: &Resource) -> Result<Saved, RecordsError> {
        self.require(permit, Action::Write)?;
        let key = resource.key();
        self.catch_up()?;
        let before = self.charts()?.index.resource(&key.kind, &key.id)?;
        if let Some(row) = &before {
            self.admit(permit, row, true)?;
        }
        self.admit_new(permit, resource)?;
        let action = if before.is_some() { "write" } else { "create" };
        self.write_planned(permit, action, &key, |records, plan| {
            records.plan_put(resource.clone(), plan)
        })
    }

    /// Refuses what the permit does not cover as it would become.
    pub(super) fn admit_new(
        &mut self,
        permit: &Permit,
        resource: &Resource,
    ) -> Result<(), RecordsError> {
        if permit.is_unlimited() {
            return Ok(());
        }
        let patient = home(resource).patient;
        let body = Value::Object(resource.body().clone());
        let place = (resource.kind(), resource.id(), patient.as_deref());
        self.admit_body(permit, place, &body)
    }

    /// Sets one element, or removes it.
    pub fn set_element(
        &mut self,
        permit: &Permit,
        key: &ResourceKey,
        elements: &[(String, Option<Value>)],
    ) -> Result<Saved, RecordsError> {
        self.require(permit, Action::Write)?;
        if let Some((name, _)) = elements.iter().find(|(name, _)| is_name(name)) {
            return Err(RecordsError::BadRequest(format!(
                "{name} names the resource and cannot be edited; make a new resource instead"
            )));
        }
        self.catch_up()?;
        let row = self.row(key)?;
        self.admit(permit, &row, true)?;
        if row.deleted {
            return Err(RecordsError::Deleted { kind: key.kind.clone(), id: key.id.clone() });
        }
        // The resource as it would become decides where it belongs: a changed label or subject
        // moves it.
        let mut body = body_of(&row)?;
        for (element, value) in elements {
            let map = body.as_object_mut().ok_or_else(|| RecordsError::Bug("no object".into()))?;
            match value {
                Some(value) => map.insert(element.clone(), value.clone()),
                None => map.remove(element),
            };
        }
        let after = Resource::with_id(body, &key.id)
            .map_err(|error| RecordsError::BadRequest(error.to_string()))?;
        self.admit_new(permit, &after)?;
        let stays = self.volume_of(&home(&after), key, &row.document)?.is_some();
        self.write_planned(permit, "write", key, |records, plan| {
            if !stays {
                return records.plan_put(after, plan);
            }
            let channel = channel_of(home(&after).section);
            let edits = plan.entry((channel, row.document)).or_default();
            edits.extend(elements.iter().map(|(element, value)| Edit::Set {
                key: key.clone(),
                element: element.clone(),
                value: value.clone(),
            }));
            let homes = records.homes_of(key)?;
            records.plan_gather(key, &homes, &row.document, plan)
        })
    }

    /// Deletes a resource; its history stays.
    pub fn delete(&mut self, permit: &Permit, key: &ResourceKey) -> Result<Saved, RecordsError> {
        self.require(permit, Action::Write)?;
        self.catch_up()?;
        let row = self.row(key)?;
        self.admit(permit, &row, true)?;
        self.write_planned(permit, "delete", key, |records, plan| {
            records.plan_delete_at(key, &row.document, plan)
        })
    }

    /// Settles a conflict by a person's choice; refused when the values are no longer those seen.
    pub fn resolve(
        &mut self,
        permit: &Permit,
        key: &ResourceKey,
        element: &str,
        chosen: Choice,
        seen: &str,
    ) -> Result<Saved, RecordsError> {
        self.require(permit, Action::Write)?;
        self.catch_up()?;
        let row = self.row(key)?;
        self.admit(permit, &row, true)?;
        let mut open = self.conflicts_of(key)?;
        open.retain(|conflict| conflict.element == element);
        let asked = open.iter().position(|conflict| conflict.seen == seen);
        let conflict = (!open.is_empty()).then(|| open.swap_remove(asked.unwrap_or(0)));
        let conflict = conflict.ok_or_else(|| {
            RecordsError::BadRequest(format!(
                "{key} has no open conflict in {element}; list them with `carnet chart conflicts`"
            ))
        })?;
        if asked.is_none() {
            let element = element.to_owned();
            return Err(ChartError::ConflictChanged { key: key.clone(), element }.into());
        }
        let homes = self.homes_of(key)?;
        self.write_planned(permit, "resolve", key, |records, plan| {
            if homes.rivalry().is_some_and(|rivalry| rivalry.seen == conflict.seen) {
                return records.plan_settlement(key, &homes, &chosen, plan);
            }
            let carried = match homes.speaks(&conflict.document) {
                true => Carried { chosen, edit: None },
                false => records.carry(key, &conflict, chosen)?,
            };
            let channel = records.channel_of_document(&conflict.document)?;
            plan.entry((channel, conflict.document)).or_default().push(Edit::Resolve {
                key: key.clone(),
                element: conflict.element.clone(),
                chosen: carried.chosen,
                seen: conflict.seen.clone(),
            });
            match carried.edit {
                Some(Edit::Put(resource)) => records.plan_put(resource, plan),
                Some(_) => records.plan_delete(key, plan).map(drop),
                None => Ok(()),
            }
        })
    }

    /// A conflict in a home that the resource has left: what the decision means where it lives now.
    /// Of what was edited beside the move, the move is kept, and the edit taken along. The old home
    /// is not opened again, since then two would speak for the resource.
    fn carry(
        &mut self,
        key: &ResourceKey,
        conflict: &ConflictRow,
        chosen: Choice,
    ) -> Result<Carried, RecordsError> {
        let mut body = body_of(&self.row(key)?)?;
        let Some(map) = body.as_object_mut() else { return Ok(Carried { chosen, edit: None }) };
        let before = map.clone();
        let chosen = match self.edit_beside_move(conflict, &chosen)? {
            Some(beside) => {
                beside.take_along(map);
                Choice::Value(beside.moved)
            }
            None => {
                let (element, seen) = (&conflict.element, &conflict.seen);
                let deletes = self.with_document(&conflict.document, |_, old| {
                    Ok(old.document.carry_decision(key, element, &chosen, seen, map)?)
                })?;
                if deletes {
                    return Ok(Carried { chosen, edit: Some(Edit::Delete(key.clone())) });
                }
                chosen
            }
        };
        if *map == before {
            return Ok(Carried { chosen, edit: None });
        }
        let resource = Resource::with_id(body, &key.id)
            .map_err(|error| RecordsError::BadRequest(error.to_string()))?;
        Ok(Carried { chosen, edit: Some(Edit::Put(resource)) })
    }

    fn edit_beside_move(
        &self,
        conflict: &ConflictRow,
        chosen: &Choice,
    ) -> Result<Option<EditBesideMove>, RecordsError> {
        let Choice::Value(chosen) = chosen else { return Ok(None) };
        let values: Vec<Value> = serde_json::from_slice(&conflict.json)
            .map_err(|error| RecordsError::Bug(format!("a conflict is not JSON: {error}")))?;
        let id = |value: &Value| value["id"].as_str().unwrap_or_default().to_owned();
        let moved = values.iter().find(|value| value["moved"].is_string());
        let edited = values.iter().find(|value| id(value) == *chosen && value["moved"].is_null());
        let (Some(moved), Some(edited)) = (moved, edited) else { return Ok(None) };
        Ok(Some(EditBesideMove {
            moved: id(moved),
            copied: moved["value"].clone(),
            edited: edited["value"].clone(),
        }))
    }

    fn conflicts_of(&self, key: &ResourceKey) -> Result<Vec<ConflictRow>, RecordsError> {
        Ok(self.charts()?.index.conflicts(&ConflictFilter {
            resource: Some((key.kind.clone(), key.id.clone())),
            patient: None,
            after: None,
            limit: 1000,
        })?)
    }

    pub(super) fn write_planned(
        &mut self,
        permit: &Permit,
        action: &str,
        key: &ResourceKey,
        planning: impl FnOnce(&mut Self, &mut Plan) -> Result<(), RecordsError>,
    ) -> Result<Saved, RecordsError> {
        self.catch_up()?;
        let placed = self.atomically(|records| {
            let mut plan = Plan::new();
            planning(records, &mut plan)?;
            records.write_plan(plan, permit.actor())
        })?;
        let row = self.row(key)?;
        self.note_use(permit, action, &row)?;
        let version = EntryId(row.version.id).to_string();
        Ok(Saved { resource: key.to_string(), version, changed: !placed.is_empty() })
    }

    /// Plans to make a resource what it is given as, wherever it belongs.
    pub(super) fn plan_put(
        &mut self,
        resource: Resource,
        plan: &mut Plan,
    ) -> Result<(), RecordsError> {
        let resource = unmarked(resource)?;
        let key = resource.key();
        let home = home(&resource);
        let channel = channel_of(home.section);
        let homes = self.homes_of(&key)?;
        for (document, _) in &homes.speaking {
            if self.volume_of(&home, &key, document)?.is_some() {
                self.plan_gather(&key, &homes, document, plan)?;
                plan.entry((channel, *document)).or_default().push(Edit::Put(resource));
                return Ok(());
            }
        }
        let document = self.open_volume(&home, &key, plan)?;
        plan.entry((channel, document)).or_default().push(Edit::Put(resource));
        // Of several homes that disagree, the one whose content people saw moves; the dispute stays.
        match homes.rivalry() {
            None => self.plan_moves(&key, &homes.speaking, &document, plan),
            Some(_) => self.plan_moves(&key, &homes.speaking[..1], &document, plan),
        }
    }

    /// Plans to delete a resource; false if there is none to delete.
    pub(super) fn plan_delete(
        &mut self,
        key: &ResourceKey,
        plan: &mut Plan,
    ) -> Result<bool, RecordsError> {
        let Some(row) = self.charts()?.index.resource(&key.kind, &key.id)? else {
            return Ok(false);
        };
        if row.deleted {
            return Ok(false);
        }
        self.plan_delete_at(key, &row.document, plan)?;
        Ok(true)
    }

    fn plan_delete_at(
        &mut self,
        key: &ResourceKey,
        document: &DocumentId,
        plan: &mut Plan,
    ) -> Result<(), RecordsError> {
        let channel = self.channel_of_document(document)?;
        plan.entry((channel, *document)).or_default().push(Edit::Delete(key.clone()));
        let homes = self.homes_of(key)?;
        self.plan_gather(key, &homes, document, plan)
    }

    /// Writes the planned edits: a change or more for each document, signed together by channel.
    pub(super) fn write_plan(
        &mut self,
        plan: Plan,
        actor: &Actor,
    ) -> Result<Vec<Placed>, RecordsError> {
        self.leave_forked_life()?;
        // The node's own name stands on every entry; the operator has no other.
        let by = (*actor != Actor::Operator).then(|| actor.to_string());
        let unix_ms = self.environment.unix_ms();
        let mut by_channel: BTreeMap<Channel, Vec<Change>> = BTreeMap::new();
        for ((channel, document), edits) in plan {
            for part in portions(edits) {
                let written = self.with_document(&document, |_, resident| {
                    let written = resident.document.write_as(by.as_deref(), unix_ms, &part)?;
                    if let Some(written) = &written {
                        resident.note_written(written.bytes.len());
                    }
                    Ok(written)
                })?;
                if let Some(written) = written {
                    by_channel.entry(channel).or_default().push(Change { document, written });
                }
            }
        }
        let mut written = Vec::new();
        for (channel, changes) in by_channel {
            let contents: Vec<_> = changes
                .iter()
                .map(|change| Content::Change {
                    document: change.document,
                    bytes: &change.written.bytes,
                })
                .collect();
            let placed = self.append_own(channel, &contents)?;
            for (change, placed) in changes.iter().zip(&placed) {
                let brought = Brought {
                    arrival: placed.arrival,
                    entry: placed.id.0,
                    time_ms: placed.time.unix_ms(),
                    by: by.clone(),
                };
                self.charts_mut()?.index.add_change(&change.written.hash.0, &brought)?;
            }
            written.extend(changes.into_iter().zip(placed));
        }
        // Shown only once every change has its entry: a resource that moves is seen in both homes.
        let mut all = Vec::with_capacity(written.len());
        for (change, placed) in written {
            self.show_written(change, &placed)?;
            all.push(placed);
        }
        let last = self.ledger.last_arrival();
        self.charts_mut()?.index.set_applied_until(last)?;
        Ok(all)
    }

    fn show_written(&mut self, change: Change, placed: &Placed) -> Result<(), RecordsError> {
        let Change { document, written } = change;
        self.with_document(&document, |records, resident| {
            resident.applied = resident.applied.max(placed.arrival);
            // Told anew: the document may have left memory since it was written.
            resident.touched.extend(written.touched);
            records.show(&document, resident)
        })
    }

    /// Which volume of its home a document is, if it is one.
    fn volume_of(
        &self,
        home: &Home,
        key: &ResourceKey,
        document: &DocumentId,
    ) -> Result<Option<u32>, RecordsError> {
        for volume in 0..VOLUMES_MAX {
            if self.document_id(home, key, volume)? == *document {
                return Ok(Some(volume));
            }
        }
        Ok(None)
    }

    /// The volume into which a new resource goes: the last that was begun, or the next if that is
    /// full.
    fn open_volume(
        &mut self,
        home: &Home,
        key: &ResourceKey,
        plan: &Plan,
    ) -> Result<DocumentId, RecordsError> {
        let channel = channel_of(home.section);
        let mut last = None;
        for volume in 0..VOLUMES_MAX {
            let document = self.document_id(home, key, volume)?;
            let planned = plan.get(&(channel, document)).map_or(0, Vec::len);
            if planned > 0 || self.ledger.holds_document(&document)? {
                last = Some((document, planned));
                continue;
            }
            let Some((begun, planned)) = last else { return Ok(document) };
            let full = self.with_document(&begun, |_, resident| {
                let held = resident.document.len() + planned;
                let bytes = resident.document.bytes();
                Ok(held >= VOLUME_RESOURCES_MAX || bytes >= VOLUME_BYTES_MAX)
            })?;
            return Ok(if full { document } else { begun });
        }
        Err(RecordsError::BadRequest(format!(
            "a section of this chart is full ({VOLUMES_MAX} volumes)"
        )))
    }

    /// A document's pseudonym: the same on every node that makes the same thing apart.
    fn document_id(
        &self,
        home: &Home,
        key: &ResourceKey,
        volume: u32,
    ) -> Result<DocumentId, RecordsError> {
        let pseudonym = self.charts()?.keys.pseudonym().ok_or(RecordsError::NoEpochKey)?;
        let section = match home.section {
            Section::Critical => "critical",
            Section::Clinical => "clinical",
            Section::Restricted => "restricted",
            Section::Administrative => "administrative",
            Section::Standalone => "standalone",
        };
        let subject = match &home.patient {
            Some(patient) => format!("Patient/{patient}"),
            None => key.to_string(),
        };
        Ok(pseudonym.document(&[&subject, section, &volume.to_string()]))
    }

    /// The channel in which a document lives.
    pub(super) fn channel_of_document(
        &self,
        document: &DocumentId,
    ) -> Result<Channel, RecordsError> {
        self.ledger
            .channel_of(document)?
            .filter(|channel| is_chart(*channel))
            .ok_or_else(|| RecordsError::Bug("an indexed document without entries".to_owned()))
    }
}

/// The channel of a section; what belongs to no patient travels with the rest of care.
pub(super) fn channel_of(section: Section) -> Channel {
    match section {
        Section::Critical => Channel::Critical,
        Section::Clinical | Section::Standalone => Channel::Clinical,
        Section::Restricted => Channel::Restricted,
        Section::Administrative => Channel::Administrative,
    }
}

fn unmarked(resource: Resource) -> Result<Resource, RecordsError> {
    let id = resource.id().to_owned();
    let mut body = resource.into_body();
    strip_marks(&mut body);
    Resource::with_id(body, &id).map_err(|error| RecordsError::BadRequest(error.to_string()))
}

/// How long an object is as JSON.
fn json_length(object: &Map<String, Value>) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, object).expect("JSON can be written");
    count.0
}

/// Cuts edits into changes of a bearable size.
fn portions(edits: Vec<Edit>) -> Vec<Vec<Edit>> {
    let mut portions = vec![Vec::new()];
    let mut size = 0;
    for edit in edits {
        let edit_size = match &edit {
            Edit::Put(resource) => {
                let size = json_length(resource.body());
                if resource.is_draft() { size * DRAFT_WEIGHT } else { size }
            }
            _ => 256,
        };
        if size > 0 && size + edit_size > CHANGE_JSON_MAX {
            portions.push(Vec::new());
            size = 0;
        }
        size += edit_size;
        if let Some(portion) = portions.last_mut() {
            portion.push(edit);
        }
    }
    portions
}

/// Whether an element is part of what the resource is called.
fn is_name(element: &str) -> bool {
    matches!(element, "resourceType" | "id")
}
