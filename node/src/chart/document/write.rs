//! Writing: edits are drafted against the present state, and what differs becomes one change.

use super::apply::register_keys;
use super::draft::{Draft, Plan};
use super::journal::Past;
use super::{ChangeHash, ChartError, Conflict, Document};
use crate::chart::change::{CHANGE_BYTES_MAX, OPERATIONS_MAX, RawChange};
use crate::chart::conflict::ConflictKind;
use crate::chart::grain::{Grain, grain, guarded};
use crate::chart::json::VALUES_MAX;
use crate::chart::register::{DELETED, MOVED, Register, WHOLE, element_of, is_choice};
use crate::chart::resource::{Resource, ResourceKey, is_element_name};
use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ObjType, ROOT, ReadDoc};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Something that a person wants done to a resource.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Writes a resource whole; what it no longer has is removed, and if it was deleted it is back.
    Put(Resource),
    /// Sets one element, or removes it.
    Set {
        /// The resource.
        key: ResourceKey,
        /// The element's name in FHIR's JSON, such as `status` or `valueQuantity`.
        element: String,
        /// Its value, or nothing to remove it.
        value: Option<Value>,
    },
    /// Marks the resource as entered in error. Its content stays.
    Delete(ResourceKey),
    /// Says that the resource now lives in another document.
    Move {
        /// The resource.
        key: ResourceKey,
        /// The other document.
        to: String,
    },
    /// Says that the resource lives in this document after all.
    Stay(ResourceKey),
    /// Decides a conflict.
    Resolve {
        /// The resource.
        key: ResourceKey,
        /// The conflict's element.
        element: String,
        /// The decision.
        chosen: Choice,
        /// The set of values that was seen, as the conflict names it.
        seen: String,
    },
}

/// How a conflict is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// For the value with this id.
    Value(String),
    /// For what the edits make together.
    Both,
}

/// A change that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The change.
    pub hash: ChangeHash,
    /// Its bytes, uncompressed.
    pub bytes: Vec<u8>,
    /// The resources that it touched, ordered.
    pub touched: Vec<ResourceKey>,
}

impl Document {
    /// Writes these edits as one change, all or none. Nothing is written if nothing would change.
    pub fn write(&mut self, unix_ms: u64, edits: &[Edit]) -> Result<Option<Written>, ChartError> {
        self.write_as(None, unix_ms, edits)
    }

    /// The same, and names the person or program that makes the change.
    pub fn write_as(
        &mut self,
        by: Option<&str>,
        unix_ms: u64,
        edits: &[Edit],
    ) -> Result<Option<Written>, ChartError> {
        let mut drafts: BTreeMap<ResourceKey, Draft> = BTreeMap::new();
        for edit in edits {
            self.draft(edit, &mut drafts)?;
        }
        let mut plan = Plan::new(self.actor, self.journal.end() + 1);
        for (key, draft) in drafts {
            draft.plan(&key, &mut plan);
        }
        if plan.operations() > OPERATIONS_MAX
            || plan.bytes() > CHANGE_BYTES_MAX
            || plan.values() > VALUES_MAX
        {
            return Err(ChartError::TooLarge);
        }
        self.commit(by, unix_ms, plan)
    }

    fn commit(
        &mut self,
        by: Option<&str>,
        unix_ms: u64,
        plan: Plan,
    ) -> Result<Option<Written>, ChartError> {
        let unix_ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
        let mut transaction = self.automerge.transaction();
        for name in plan.texts {
            transaction.put_object(ROOT, name, ObjType::Text).expect("a text can be made");
        }
        for (name, value) in plan.puts {
            match value {
                Some(value) => transaction.put(ROOT, name, value),
                None => transaction.delete(ROOT, name),
            }
            .expect("a register at the root can be written");
        }
        for (name, splices) in plan.typing {
            let found = transaction.get(ROOT, name).expect("the root can be read");
            let (_, text) = found.expect("a text is there before it is typed into");
            for splice in splices {
                let remove = isize::try_from(splice.remove).expect("a text has an end");
                let typed = transaction.splice_text(&text, splice.at, remove, &splice.insert);
                typed.expect("a splice lies within its text");
            }
        }
        let mut options = CommitOptions::default().with_time(unix_ms);
        if let Some(by) = by {
            options = options.with_message(by);
        }
        let (hash, _) = transaction.commit_with(options);
        let Some(hash) = hash else {
            return Ok(None);
        };
        let change = self.automerge.get_change_by_hash(&hash).expect("it was just written");
        let bytes = change.raw_bytes().to_vec();
        let Ok(raw) = RawChange::read(&bytes) else {
            // The encoding came out larger than a peer would take.
            self.undo()?;
            return Err(ChartError::TooLarge);
        };
        let keys = register_keys(&raw, false).expect("a node takes what it writes");
        let dependencies = raw.dependencies.iter().filter_map(|hash| self.journal.change(hash));
        let past = self.journal.past(&dependencies.collect::<Vec<_>>());
        let typed = self.journal.typed(&raw, &keys, &past).expect("a node takes what it writes");
        let touched = self.journal.record(&raw, &keys, &typed, &past, false);
        self.note(&bytes);
        Ok(Some(Written { hash: ChangeHash(hash.0), bytes, touched }))
    }

    fn draft(
        &self,
        edit: &Edit,
        drafts: &mut BTreeMap<ResourceKey, Draft>,
    ) -> Result<(), ChartError> {
        match edit {
            Edit::Put(resource) => self.open(&resource.key(), drafts).put(resource),
            Edit::Set { key, element, value } => {
                check_name(key, element)?;
                let draft = self.open_existing(key, drafts)?;
                if draft.after.deleted() {
                    return Err(ChartError::Deleted(key.clone()));
                }
                draft.set(key, element, value.as_ref().filter(|value| !value.is_null()));
            }
            Edit::Delete(key) => self.open_existing(key, drafts)?.delete(),
            Edit::Move { key, to } => {
                let registers = &mut self.open_existing(key, drafts)?.after.registers;
                registers.insert(MOVED.to_owned(), Register::Text(to.clone()));
            }
            Edit::Stay(key) => self.open_existing(key, drafts)?.stay(),
            Edit::Resolve { key, element, chosen, seen } => {
                let draft = self.open_existing(key, drafts)?;
                self.resolve(key, element, chosen, seen, draft)?;
            }
        }
        Ok(())
    }

    fn open<'a>(
        &self,
        key: &ResourceKey,
        drafts: &'a mut BTreeMap<ResourceKey, Draft>,
    ) -> &'a mut Draft {
        drafts.entry(key.clone()).or_insert_with(|| {
            let story = self.journal.stories.get(key);
            let typed = story.map_or(0, |story| story.typed(&Past::Everything));
            Draft::of(story.map(|story| self.state(key, story, None)), typed)
        })
    }

    fn open_existing<'a>(
        &self,
        key: &ResourceKey,
        drafts: &'a mut BTreeMap<ResourceKey, Draft>,
    ) -> Result<&'a mut Draft, ChartError> {
        if !self.contains(key) && !drafts.contains_key(key) {
            return Err(ChartError::NotFound(key.clone()));
        }
        Ok(self.open(key, drafts))
    }

    fn resolve(
        &self,
        key: &ResourceKey,
        element: &str,
        chosen: &Choice,
        seen: &str,
        draft: &mut Draft,
    ) -> Result<Vec<String>, ChartError> {
        let (key_owned, name) = (|| key.clone(), || element.to_owned());
        let no_conflict = || ChartError::NoSuchConflict { key: key_owned(), element: name() };
        let story = self.journal.stories.get(key).ok_or_else(no_conflict)?;
        let conflicts = self.conflicts(key, story);
        let conflict = conflicts.iter().find(|c| c.element == element).ok_or_else(no_conflict)?;
        if conflict.seen != seen {
            return Err(ChartError::ConflictChanged { key: key.clone(), element: name() });
        }
        let mixture = conflict.kind == ConflictKind::SameResource;
        let is_note = grain(&key.kind) == Grain::Text;
        let elements: Vec<String> = match element {
            WHOLE if mixture && guarded(&key.kind) => self.disputed_elements(key, element),
            // Signed or not, a note says all of it, in whatever registers.
            WHOLE if is_note => self.elements_of(&story.elements.iter().copied().collect()),
            one => vec![one.to_owned()],
        };
        match chosen {
            Choice::Both if mixture => {}
            Choice::Both => {
                return Err(ChartError::OnlyOne { key: key.clone(), element: name() });
            }
            Choice::Value(id) => {
                let value = conflict.values.iter().find(|v| v.change.value_id() == *id);
                let value = value
                    .ok_or_else(|| ChartError::NoSuchValue { key: key.clone(), element: name() })?;
                let touch = self.touch_of(story, value.change);
                let then = touch.map(|touch| self.state(key, story, Some(touch)));
                draft.restore(key, &elements, &then.unwrap_or_default());
            }
        }
        draft.decide(conflict, elements.clone());
        let of_parts = element == WHOLE && (mixture || is_note);
        if of_parts && matches!(chosen, Choice::Value(_)) {
            let parts = conflicts.iter().filter(|part| part.element != WHOLE);
            for part in parts.filter(|part| elements.contains(&part.element)) {
                if self.covers(story, conflict, part) {
                    draft.decide(part, vec![part.element.clone()]);
                }
            }
        }
        Ok(elements)
    }

    /// What a decision in this document makes of the resource where it lives now: replaces in
    /// `body` the elements that are decided; true if the decision is to delete it.
    pub fn carry_decision(
        &self,
        key: &ResourceKey,
        element: &str,
        chosen: &Choice,
        seen: &str,
        body: &mut Map<String, Value>,
    ) -> Result<bool, ChartError> {
        let mut drafts = BTreeMap::new();
        let draft = self.open_existing(key, &mut drafts)?;
        let elements = self.resolve(key, element, chosen, seen, draft)?;
        if *chosen == Choice::Both {
            return Ok(false);
        }
        let decided = draft.after.members(key);
        for element in elements.iter().filter(|element| *element != DELETED) {
            let replaced = |name: &str| element == WHOLE || element_of(&key.kind, name) == element;
            body.retain(|name, _| !replaced(name));
            let decided = decided.iter().filter(|(name, _)| replaced(name));
            body.extend(decided.map(|(name, value)| (name.clone(), value.clone())));
        }
        Ok(element == DELETED && draft.after.deleted())
    }

    /// Whether who saw the one conflict's versions saw all values of the other.
    fn covers(&self, story: &super::Story, whole: &Conflict, part: &Conflict) -> bool {
        let touches = |conflict: &Conflict| -> Vec<u32> {
            conflict.values.iter().filter_map(|v| self.touch_of(story, v.change)).collect()
        };
        let versions = touches(whole);
        touches(part).iter().all(|value| {
            versions.iter().any(|version| version == value || story.before(*value, *version))
        })
    }

    fn disputed_elements(&self, key: &ResourceKey, element: &str) -> Vec<String> {
        let story = &self.journal.stories[key];
        let dispute = self.disputes(key, story).into_iter().find(|d| d.element == element);
        self.elements_of(&dispute.map(|dispute| dispute.elements).unwrap_or_default())
    }

    fn touch_of(&self, story: &super::Story, change: ChangeHash) -> Option<u32> {
        let number = self.journal.change(&change.0)?;
        story.touches.binary_search_by_key(&number, |touch| touch.change).ok().map(|at| at as u32)
    }
}

fn check_name(key: &ResourceKey, element: &str) -> Result<(), ChartError> {
    let bare_choice = is_choice(&key.kind, element) && element_of(&key.kind, element) == element;
    let derived = matches!(element, "id" | "resourceType" | "_resourceType");
    if is_element_name(element) && !derived && !bare_choice {
        return Ok(());
    }
    Err(ChartError::NoSuchElement { key: key.clone(), element: element.to_owned() })
}
