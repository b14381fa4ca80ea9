//! Writing: edits are drafted against the present state, and what differs becomes one change.

use super::apply::register_keys;
use super::register_key::{self, Decided};
use super::{ChangeHash, ChartError, Conflict, Document, State};
use crate::chart::change::{CHANGE_BYTES_MAX, OPERATIONS_MAX, RawChange};
use crate::chart::conflict::ConflictKind;
use crate::chart::grain::guarded;
use crate::chart::register::{
    DELETED, MOVED, Register, WHOLE, element_of, is_choice, join, set_member, split,
};
use crate::chart::resource::{Resource, ResourceKey, is_element_name};
use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ROOT, ReadDoc, ScalarValue};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

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

/// What becomes of one resource.
struct Draft {
    before: State,
    after: State,
    is_new: bool,
    /// Elements that are written again although they stay as they are: a decision must outweigh
    /// what was decided.
    confirmed: BTreeSet<String>,
    decisions: Vec<(String, Decided)>,
}

/// An operation to come: a register's name and its new value.
type Put = (String, Option<ScalarValue>);

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
        let puts: Vec<Put> = drafts.iter().flat_map(|(key, draft)| draft.puts(key)).collect();
        let bytes: usize = puts.iter().map(|(name, value)| name.len() + size(value)).sum();
        if puts.len() > OPERATIONS_MAX || bytes > CHANGE_BYTES_MAX {
            return Err(ChartError::TooLarge);
        }
        self.commit(by, unix_ms, puts)
    }

    fn commit(
        &mut self,
        by: Option<&str>,
        unix_ms: u64,
        puts: Vec<Put>,
    ) -> Result<Option<Written>, ChartError> {
        let unix_ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
        let mut transaction = self.automerge.transaction();
        for (name, value) in puts {
            match value {
                Some(value) => transaction.put(ROOT, name, value),
                None => transaction.delete(ROOT, name),
            }
            .expect("a register at the root can be written");
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
        let keys = register_keys(&raw).expect("a node takes what it writes");
        let dependencies = raw.dependencies.iter().filter_map(|hash| self.journal.change(hash));
        let past = self.journal.past(&dependencies.collect::<Vec<_>>());
        let touched = self.journal.record(&raw, &keys, &past);
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
            let state = story.map(|story| self.state(key, story, None)).unwrap_or_default();
            Draft {
                before: state.clone(),
                after: state,
                is_new: story.is_none(),
                confirmed: BTreeSet::new(),
                decisions: Vec::new(),
            }
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
        let elements: Vec<String> = match element {
            WHOLE if mixture && guarded(&key.kind) => self.disputed_elements(key, element),
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
                draft.restore(&elements, &then.unwrap_or_default());
            }
        }
        draft.decide(conflict, elements.clone());
        if mixture && element == WHOLE && matches!(chosen, Choice::Value(_)) {
            for part in conflicts.iter().filter(|c| elements.contains(&c.element)) {
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
        for element in elements.iter().filter(|element| *element != DELETED) {
            let registers = draft.after.registers.get_key_value(element);
            let decided =
                join(&key.kind, &key.id, registers.map(|(e, r)| (e.as_str(), r)).into_iter());
            let replaced =
                |name: &String| element == WHOLE || element_of(&key.kind, name) == element;
            body.retain(|name, _| !replaced(name));
            body.extend(decided);
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
        let elements = dispute.map(|dispute| dispute.elements).unwrap_or_default();
        elements.into_iter().map(|element| self.journal.name(element).to_owned()).collect()
    }

    fn touch_of(&self, story: &super::Story, change: ChangeHash) -> Option<u32> {
        let number = self.journal.change(&change.0)?;
        story.touches.binary_search_by_key(&number, |touch| touch.change).ok().map(|at| at as u32)
    }
}

impl Draft {
    fn put(&mut self, resource: &Resource) {
        self.after.registers.retain(|name, _| name == DELETED);
        self.after.registers.extend(split(resource.kind(), resource.body()));
        if self.after.deleted() {
            self.flag(DELETED, false);
        }
    }

    fn set(&mut self, key: &ResourceKey, element: &str, value: Option<&Value>) {
        let mut body = self.after.members(key);
        set_member(&key.kind, &mut body, element, value);
        self.after.registers.retain(|name, _| name == DELETED);
        self.after.registers.extend(split(&key.kind, &body));
    }

    fn delete(&mut self) {
        self.stay();
        self.flag(DELETED, true);
    }

    /// What is written where a resource is, says that it is there: were it to stay moved, nobody
    /// who has the new home would see it.
    fn stay(&mut self) {
        self.after.registers.remove(MOVED);
    }

    fn flag(&mut self, element: &str, flag: bool) {
        self.after.registers.insert(element.to_owned(), Register::Flag(flag));
    }

    fn restore(&mut self, elements: &[String], then: &State) {
        for element in elements {
            match then.registers.get(element) {
                Some(register) => {
                    self.after.registers.insert(element.clone(), register.clone());
                }
                None if element == DELETED => self.flag(DELETED, false),
                None => {
                    self.after.registers.remove(element);
                }
            }
        }
    }

    fn decide(&mut self, conflict: &Conflict, settled: Vec<String>) {
        self.confirmed.extend(settled.iter().cloned());
        let named = conflict.values.iter().map(|value| value.change.0).collect();
        let decided = Decided { element: conflict.element.clone(), settled, named };
        self.decisions.push((conflict.seen.clone(), decided));
    }

    fn puts(&self, key: &ResourceKey) -> Vec<Put> {
        let (before, after) = (&self.before.registers, &self.after.registers);
        let elements: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let confirmed = |element: &String| self.confirmed.contains(element);
        let changed = elements
            .into_iter()
            .filter(|element| before.get(*element) != after.get(*element) || confirmed(element));
        let mut puts: Vec<Put> = changed
            .map(|element| {
                let value = after.get(element).map(register_key::to_scalar);
                (register_key::name(key, element), value)
            })
            .collect();
        if self.is_new && after.is_empty() {
            // A resource without content must be there all the same.
            let here = register_key::to_scalar(&Register::Flag(false));
            puts.push((register_key::name(key, DELETED), Some(here)));
        }
        for (seen, decided) in &self.decisions {
            let value = ScalarValue::Bytes(decided.to_bytes());
            puts.push((register_key::decision_name(key, seen), Some(value)));
        }
        puts
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

fn size(value: &Option<ScalarValue>) -> usize {
    match value {
        Some(ScalarValue::Str(text)) => text.len(),
        Some(ScalarValue::Bytes(bytes)) => bytes.len(),
        _ => 8,
    }
}
