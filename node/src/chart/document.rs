//! One document of a chart: resources as registers in Automerge, and the journal beside them.
//!
//! Reading is here and in `history`, writing in `write`, taking in the changes of others in
//! `apply` and, as far as they type in the texts of drafts, in `typing`. A document is never left half changed: what fails, fails before or is undone.

mod apply;
mod draft;
mod error;
mod history;
pub(super) mod journal;
mod register_key;
mod state;
mod tests;
mod typing;
mod write;

pub use self::apply::{Applied, Incoming, Inspected, inspect};
pub use self::error::ChartError;
pub use self::history::Version;
pub use self::write::{Choice, Edit, Written};

use self::journal::{Journal, Story};
use self::state::{State, is_flag};
use super::canonical;
use super::conflict::{ConflictKind, Dispute, Search};
use super::hostile::{Refusal, contain};
use super::narrative::element_around;
use super::register::{DELETED, MOVED, Register, WHOLE};
use super::resource::ResourceKey;
use automerge::{ActorId, Automerge, Change, ROOT, ReadDoc};
use data_encoding::HEXLOWER;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// The first bytes of a saved document; the last one is the version of the format.
const SAVED: [u8; 5] = *b"CRNT\x03";

/// How much may be written after the last save before the document saves itself anew, so that
/// what it needs to undo a failure stays in proportion.
const UNSAVED_BYTES_MAX: usize = 1 << 20;

/// Actors that wrote one note apart from each other, up to which it is looked at what each two of
/// them make together; that is a reading of the text for each two. Among more, all is disputed.
const TYPISTS_MAX: usize = 32;

/// Names a change: the SHA-256 of its bytes, as Automerge has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeHash(pub [u8; 32]);

impl ChangeHash {
    /// The short name by which a person picks the value that this change wrote.
    pub fn value_id(&self) -> String {
        HEXLOWER.encode(&self.0[..8])
    }
}

impl fmt::Display for ChangeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// One disagreement about a resource, open until somebody decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// The element; `_resource`, `_deleted` or `_moved` where it is about the whole.
    pub element: String,
    /// What kind of disagreement.
    pub kind: ConflictKind,
    /// Names this set of values: a decision must name what was seen.
    pub seen: String,
    /// What was said, ordered by change.
    pub values: Vec<ConflictValue>,
}

/// One of the values that a conflict is about.
#[derive(Debug, Clone, PartialEq)]
pub struct ConflictValue {
    /// The change that says so; its [`ChangeHash::value_id`] picks the value.
    pub change: ChangeHash,
    /// The element's value, or nothing if it was removed. For `_resource` an object of all
    /// elements, or of the disputed ones where edits of different elements are disputed; for
    /// `_deleted` and `_moved`, the resource.
    pub value: Option<Value>,
    /// Whether the resource was deleted for the author of the change.
    pub deleted: bool,
    /// Where the author of the change had moved it.
    pub moved: Option<String>,
}

/// A resource as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The resource, `resourceType` and `id` included.
    pub body: Value,
    /// Whether it was deleted. While a concurrent edit disputes that, it was not.
    pub deleted: bool,
    /// The document to which it was moved.
    pub moved: Option<String>,
    /// The changes that together make this version, ascending.
    pub heads: Vec<ChangeHash>,
    /// The change that made it; of several made apart, the earliest by their authors' clocks.
    pub first: ChangeHash,
    /// What is disputed, ordered by element.
    pub conflicts: Vec<Conflict>,
}

/// Resources that merge.
pub struct Document {
    automerge: Automerge,
    journal: Journal,
    actor: [u8; 16],
    /// The Automerge document as it was last saved, and the changes since: from these the document
    /// is rebuilt when a change of a peer made Automerge fail in the middle.
    saved: Vec<u8>,
    unsaved: Vec<Vec<u8>>,
    unsaved_bytes: usize,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} resources)", self.len())
    }
}

impl Document {
    /// An empty document, to be written as this actor: the first 8 bytes name the author, the
    /// others this start of the process.
    pub fn new(actor: [u8; 16]) -> Self {
        Self {
            automerge: Automerge::new().with_actor(ActorId::from(actor)),
            journal: Journal::default(),
            actor,
            saved: Vec::new(),
            unsaved: Vec::new(),
            unsaved_bytes: 0,
        }
    }

    /// Reads what [`Document::save`] wrote. An error means that the bytes can't be used and the
    /// document has to be rebuilt from its changes.
    pub fn load(bytes: &[u8], actor: [u8; 16]) -> Result<Self, ChartError> {
        let bytes =
            bytes.strip_prefix(&SAVED).ok_or(ChartError::Damaged("its start is unknown"))?;
        let (journal, saved) = contain(|| postcard::take_from_bytes::<Journal>(bytes).ok())
            .ok()
            .flatten()
            .ok_or(ChartError::Damaged("its journal is unreadable"))?;
        let automerge = reload(saved, &[], actor)?;
        let mut heads: Vec<[u8; 32]> = journal.heads().collect();
        heads.sort_unstable();
        if heads != sorted_heads(&automerge) {
            return Err(ChartError::Damaged("its journal belongs to other content"));
        }
        let saved = saved.to_vec();
        Ok(Self { automerge, journal, actor, saved, unsaved: Vec::new(), unsaved_bytes: 0 })
    }

    /// The whole document with its journal, uncompressed.
    pub fn save(&mut self) -> Vec<u8> {
        self.keep();
        let start = postcard::to_extend(&self.journal, SAVED.to_vec())
            .expect("a journal in memory can be written to memory");
        [start.as_slice(), &self.saved].concat()
    }

    /// All resources that were ever here, deleted and moved ones too, ordered.
    pub fn keys(&self) -> Vec<ResourceKey> {
        self.journal.stories.keys().cloned().collect()
    }

    /// How many resources were ever here.
    pub fn len(&self) -> usize {
        self.journal.stories.len()
    }

    /// About how many bytes of memory it takes: what was saved or applied stands here as such and
    /// in Automerge, and the journal beside it.
    pub fn weight(&self) -> usize {
        const STORY: usize = 512;
        const CHANGE: usize = 256;
        3 * self.bytes() + STORY * self.journal.stories.len() + CHANGE * self.journal.changes.len()
    }

    /// The bytes of its changes, as they were applied or saved.
    pub fn bytes(&self) -> usize {
        self.saved.len() + self.unsaved_bytes
    }

    /// Whether nothing was ever here.
    pub fn is_empty(&self) -> bool {
        self.journal.stories.is_empty()
    }

    /// Whether this resource was ever here.
    pub fn contains(&self, key: &ResourceKey) -> bool {
        self.journal.stories.contains_key(key)
    }

    /// A resource as it stands, with all that is disputed about it.
    pub fn view(&self, key: &ResourceKey) -> Option<View> {
        let story = self.journal.stories.get(key)?;
        let state = self.state(key, story, None);
        let conflicts = self.conflicts(key, story);
        let disputed = conflicts.iter().any(|c| c.kind == ConflictKind::DeletedAndEdited);
        let heads = story.heads.iter().map(|touch| self.change_of(story, *touch));
        let mut heads: Vec<ChangeHash> = heads.collect();
        heads.sort_unstable();
        Some(View {
            body: state.body(key),
            deleted: state.deleted() && !disputed,
            moved: state.moved(),
            heads,
            first: self.change_of(story, self.first_told(story)),
            conflicts,
        })
    }

    /// The resources about which something is disputed, ordered.
    pub fn open_conflicts(&self) -> Vec<ResourceKey> {
        let contested = self.journal.stories.iter().filter(|(_, story)| story.contested);
        let open = contested.filter(|(key, story)| !self.disputes(key, story).is_empty());
        open.map(|(key, _)| key.clone()).collect()
    }

    /// How many changes made this document.
    pub fn change_count(&self) -> usize {
        self.journal.changes.len()
    }

    /// The changes that no other one has seen, ascending.
    pub fn heads(&self) -> Vec<ChangeHash> {
        let mut heads: Vec<ChangeHash> = self.journal.heads().map(ChangeHash).collect();
        heads.sort_unstable();
        heads
    }

    /// Whether this change is part of the document.
    pub fn has(&self, change: &ChangeHash) -> bool {
        self.journal.change(&change.0).is_some()
    }

    /// A digest of all that is shown: documents with the same changes have the same, in whatever
    /// order these came.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = blake3::Hasher::new();
        let mut add = |part: &[u8]| {
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part);
        };
        for key in self.journal.stories.keys() {
            let Some(view) = self.view(key) else { continue };
            add(key.to_string().as_bytes());
            add(canonical(&view.body).as_bytes());
            add(&[u8::from(view.deleted), u8::from(view.moved.is_some())]);
            add(view.moved.unwrap_or_default().as_bytes());
            for head in &view.heads {
                add(&head.0);
            }
            for conflict in &view.conflicts {
                add(conflict.element.as_bytes());
                add(conflict.kind.as_str().as_bytes());
                add(conflict.seen.as_bytes());
            }
            add(b"");
        }
        *digest.finalize().as_bytes()
    }

    fn conflicts(&self, key: &ResourceKey, story: &Story) -> Vec<Conflict> {
        if !story.contested {
            return Vec::new();
        }
        let disputes = self.disputes(key, story);
        disputes.into_iter().map(|dispute| self.conflict(key, story, dispute)).collect()
    }

    fn disputes(&self, key: &ResourceKey, story: &Story) -> Vec<Dispute> {
        let name = |element: u32| self.journal.name(element);
        let read = |touches: &[u32], element: u32| {
            self.value_at(key, story, touches, self.journal.name(element))
        };
        let crowded = self.journal.actors_apart(story) > TYPISTS_MAX;
        Search::new(story, &key.kind, &name, &read, crowded).disputes()
    }

    fn conflict(&self, key: &ResourceKey, story: &Story, dispute: Dispute) -> Conflict {
        let Dispute { element, kind, touches, elements } = dispute;
        let value = |touch: u32| {
            let state = self.state(key, story, Some(touch));
            let value = match (element.as_str(), kind) {
                (DELETED | MOVED, _) => Some(state.body(key)),
                (WHOLE, ConflictKind::SameElement) => Some(state.said(key)),
                (WHOLE, _) => Some(state.part(key, &self.elements_of(&elements))),
                (element, _) => state.element(key, element).map(|register| register.value()),
            };
            let change = self.change_of(story, touch);
            ConflictValue { change, value, deleted: state.deleted(), moved: state.moved() }
        };
        let mut values: Vec<ConflictValue> = touches.iter().map(|touch| value(*touch)).collect();
        values.sort_by_key(|value| value.change);
        Conflict { seen: seen(&element, &values), element, kind, values }
    }

    /// The elements of the content that these registers are part of.
    fn elements_of(&self, registers: &BTreeSet<u32>) -> Vec<String> {
        let names = registers.iter().map(|register| element_around(self.journal.name(*register)));
        let names: BTreeSet<&str> = names.filter(|name| !is_flag(name)).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    fn change_of(&self, story: &Story, touch: u32) -> ChangeHash {
        ChangeHash(self.journal.hash(story.touches[touch as usize].change))
    }

    /// The value of one register, as it was for the author of a touch; of several touches, as it
    /// would be for who had seen these and nothing else.
    fn value_at(
        &self,
        key: &ResourceKey,
        story: &Story,
        touches: &[u32],
        register: &str,
    ) -> Option<Register> {
        let heads =
            touches.iter().map(|touch| automerge::ChangeHash(self.change_of(story, *touch).0));
        let heads: Vec<automerge::ChangeHash> = heads.collect();
        let name = register_key::name(key, register);
        match self.automerge.get_at(ROOT, name, &heads).ok()?? {
            (automerge::Value::Scalar(value), _) => register_key::from_scalar(&value),
            (_, text) => self.automerge.text_at(text, &heads).ok().map(Register::Text),
        }
    }

    fn value_now(&self, key: &ResourceKey, register: &str) -> Option<Register> {
        match self.automerge.get(ROOT, register_key::name(key, register)).ok()?? {
            (automerge::Value::Scalar(value), _) => register_key::from_scalar(&value),
            (_, text) => self.automerge.text(text).ok().map(Register::Text),
        }
    }

    /// The registers of a resource, now or as they were for the author of a touch.
    fn state(&self, key: &ResourceKey, story: &Story, touch: Option<u32>) -> State {
        let read = |register: &str| match touch {
            Some(touch) => self.value_at(key, story, &[touch], register),
            None => self.value_now(key, register),
        };
        let mut state = State::default();
        for element in &story.elements {
            let name = self.journal.name(*element);
            let Some(register) = (element_around(name) == name).then(|| read(name)).flatten()
            else {
                continue;
            };
            for text in register_key::texts_of(&key.kind, name, &register) {
                state.registers.extend(read(&text).map(|value| (text, value)));
            }
            state.registers.insert(name.to_owned(), register);
        }
        state
    }

    /// Takes the present state as the one to go back to.
    fn keep(&mut self) {
        if !self.unsaved.is_empty() {
            self.saved = self.automerge.save_nocompress();
            self.unsaved.clear();
            self.unsaved_bytes = 0;
        }
    }

    /// Notes a change that is now part of the document.
    fn note(&mut self, change: &[u8]) {
        self.unsaved.push(change.to_vec());
        self.unsaved_bytes += change.len();
        if self.unsaved_bytes > self.saved.len() + UNSAVED_BYTES_MAX {
            self.keep();
        }
    }

    /// Goes back to before what has just failed.
    fn undo(&mut self) -> Result<(), ChartError> {
        self.automerge = reload(&self.saved, &self.unsaved, self.actor)?;
        Ok(())
    }
}

fn reload(saved: &[u8], unsaved: &[Vec<u8>], actor: [u8; 16]) -> Result<Automerge, ChartError> {
    let loaded = contain(|| -> Result<Automerge, Refusal> {
        let mut automerge = Automerge::load(saved).map_err(|_| Refusal::Engine)?;
        for change in unsaved {
            let change = Change::from_bytes(change.clone()).map_err(|_| Refusal::Malformed)?;
            automerge.apply_changes([change]).map_err(|_| Refusal::Engine)?;
        }
        Ok(automerge.with_actor(ActorId::from(actor)))
    });
    loaded.and_then(|loaded| loaded).map_err(|_| ChartError::Damaged("its content is unreadable"))
}

fn sorted_heads(automerge: &Automerge) -> Vec<[u8; 32]> {
    let mut heads: Vec<[u8; 32]> = automerge.get_heads().iter().map(|head| head.0).collect();
    heads.sort_unstable();
    heads
}

/// Names a set of values: what a person saw when deciding.
fn seen(element: &str, values: &[ConflictValue]) -> String {
    let mut digest = blake3::Hasher::new();
    digest.update(element.as_bytes());
    for value in values {
        digest.update(&value.change.0);
    }
    HEXLOWER.encode(&digest.finalize().as_bytes()[..8])
}
