//! What every change touched, and which touches happened apart from each other.
//!
//! Automerge keeps the values; the journal keeps who had seen whom. It is kept beside the
//! Automerge document because it answers in a few look-ups what would cost Automerge a decoding of
//! its whole history: whether a change is news to what a resource already holds. In a linear
//! history (every change has seen all others) that is one comparison.

use super::register_key::RegisterKey;
use super::typing::Typed;
use crate::chart::change::{Content, OperationId, RawChange};
use crate::chart::hostile::Refusal;
use crate::chart::resource::ResourceKey;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A change, as the journal knows it: its parents, its actor, its clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) hash: [u8; 32],
    pub(super) actor: u32,
    pub(super) sequence: u64,
    /// The counter of its last operation.
    pub(super) end: u64,
    pub(super) unix_ms: u64,
    dependencies: Vec<u32>,
}

/// One change's doings on one resource.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Touch {
    /// The change's place in the journal.
    pub(crate) change: u32,
    /// The elements that it wrote, removed or decided, and the texts into which it typed, by their
    /// numbers.
    pub(crate) elements: Vec<u32>,
    /// Characters that it typed into texts and took out of them.
    pub(crate) typed: u32,
    /// Whether it was written after its author was cut off. It counts as unseen by whatever its
    /// author saw, so that what it overwrote stays in dispute, and it decides nothing.
    doubted: bool,
    /// The earlier touches of this resource that its author had not seen, ascending.
    pub(crate) beside: Vec<u32>,
    /// The conflicts that it decided.
    pub(crate) decisions: Vec<Decision>,
}

/// A conflict decided: the touches that the decider saw and named.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Decision {
    /// The element, or the register that stands for the resource.
    pub(crate) element: u32,
    /// The touches, ascending; all of them lie in the decider's past.
    pub(crate) named: Vec<u32>,
}

/// All that happened to one resource.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Story {
    /// In order of arrival, which is a causal order.
    pub(crate) touches: Vec<Touch>,
    /// Every element ever touched, in order of first touch.
    pub(crate) elements: Vec<u32>,
    /// The touches that no other one has seen, ascending.
    pub(crate) heads: Vec<u32>,
    /// Whether any two touches ever happened apart.
    pub(crate) contested: bool,
}

impl Story {
    /// Whether neither of two touches has seen the other.
    pub(crate) fn apart(&self, a: u32, b: u32) -> bool {
        let (early, late) = (a.min(b), a.max(b));
        early != late && self.touches[late as usize].beside.binary_search(&early).is_ok()
    }

    /// Whether `late` has seen `early`.
    pub(crate) fn before(&self, early: u32, late: u32) -> bool {
        early < late && !self.apart(early, late)
    }

    /// Characters that were typed and taken out in this past.
    pub(super) fn typed(&self, past: &Past) -> usize {
        let touches = self.touches.iter().filter(|touch| past.contains(touch.change));
        touches.map(|touch| touch.typed as usize).sum()
    }

    fn of_change(&self, change: u32) -> Option<u32> {
        self.touches.binary_search_by_key(&change, |touch| touch.change).ok().map(|at| at as u32)
    }
}

/// The journal of a document.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Saved")]
pub(super) struct Journal {
    pub(super) changes: Vec<Node>,
    actors: Vec<[u8; 16]>,
    names: Vec<String>,
    pub(super) stories: BTreeMap<ResourceKey, Story>,
    /// The texts of drafts, by the operation that made them: its actor's number, its counter.
    texts: BTreeMap<(u32, u64), Text>,
    #[serde(skip)]
    by_hash: HashMap<[u8; 32], u32>,
    #[serde(skip)]
    by_actor: HashMap<[u8; 16], Actor>,
    #[serde(skip)]
    by_name: HashMap<String, u32>,
    #[serde(skip)]
    heads: Vec<u32>,
}

/// A text of a draft.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Text {
    /// The change that made it.
    change: u32,
    pub(super) resource: ResourceKey,
    /// Its register, by its number.
    register: u32,
}

/// What of a journal is kept on disk; the rest follows from it.
#[derive(Deserialize)]
struct Saved {
    changes: Vec<Node>,
    actors: Vec<[u8; 16]>,
    names: Vec<String>,
    stories: BTreeMap<ResourceKey, Story>,
    texts: BTreeMap<(u32, u64), Text>,
}

impl From<Saved> for Journal {
    fn from(saved: Saved) -> Self {
        let Saved { changes, actors, names, stories, texts } = saved;
        let mut journal = Self { actors, names, stories, texts, ..Self::default() };
        journal.by_name = numbered(&journal.names);
        for (number, actor) in (0..).zip(&journal.actors) {
            journal.by_actor.insert(*actor, Actor { number, last: None });
        }
        for node in changes {
            journal.link(node);
        }
        journal
    }
}

fn numbered(names: &[String]) -> HashMap<String, u32> {
    names.iter().cloned().zip(0..).collect()
}

#[derive(Debug, Clone, Copy)]
struct Actor {
    number: u32,
    last: Option<u32>,
}

/// The changes that a change has seen.
pub(super) enum Past {
    /// All that the document holds.
    Everything,
    /// Those whose bit is set.
    Set(Vec<u64>),
}

impl Past {
    pub(super) fn contains(&self, change: u32) -> bool {
        match self {
            Self::Everything => true,
            Self::Set(bits) => bits[change as usize / 64] >> (change % 64) & 1 == 1,
        }
    }
}

impl Journal {
    pub(super) fn change(&self, hash: &[u8; 32]) -> Option<u32> {
        self.by_hash.get(hash).copied()
    }

    pub(super) fn hash(&self, change: u32) -> [u8; 32] {
        self.changes[change as usize].hash
    }

    pub(super) fn heads(&self) -> impl Iterator<Item = [u8; 32]> {
        self.heads.iter().map(|head| self.hash(*head))
    }

    /// The counter of the last operation of all.
    pub(super) fn end(&self) -> u64 {
        self.heads.iter().map(|head| self.changes[*head as usize].end).max().unwrap_or(0)
    }

    /// The last change of an actor.
    pub(super) fn last_of(&self, actor: &[u8; 16]) -> Option<u32> {
        self.by_actor.get(actor)?.last
    }

    pub(super) fn name(&self, element: u32) -> &str {
        &self.names[element as usize]
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// How many actors touched a resource without having seen all others.
    pub(super) fn actors_apart(&self, story: &Story) -> usize {
        let late = (0..).zip(&story.touches).filter(|(_, touch)| !touch.beside.is_empty());
        let apart = late.flat_map(|(at, touch)| touch.beside.iter().copied().chain([at]));
        let actor = |touch: u32| self.changes[story.touches[touch as usize].change as usize].actor;
        apart.map(actor).collect::<BTreeSet<u32>>().len()
    }

    /// The past of a change with these parents.
    pub(super) fn past(&self, dependencies: &[u32]) -> Past {
        if self.heads.iter().all(|head| dependencies.contains(head)) {
            return Past::Everything;
        }
        let mut seen = vec![0_u64; self.changes.len().div_ceil(64)];
        let mut pending = dependencies.to_vec();
        while let Some(change) = pending.pop() {
            let (word, bit) = (change as usize / 64, 1 << (change % 64));
            if seen[word] & bit == 0 {
                seen[word] |= bit;
                pending.extend(&self.changes[change as usize].dependencies);
            }
        }
        Past::Set(seen)
    }

    /// What a change types, by the text: one that it makes, or one that its author saw.
    pub(super) fn typed(
        &self,
        change: &RawChange<'_>,
        keys: &[RegisterKey<'_>],
        past: &Past,
    ) -> Result<Vec<Typed>, Refusal> {
        let mut by_text: BTreeMap<OperationId, Vec<usize>> = BTreeMap::new();
        for (at, typing) in change.typing.iter().enumerate() {
            by_text.entry(typing.text).or_default().push(at);
        }
        let made = change.operations.iter().zip(keys);
        let made = made.filter(|(operation, _)| operation.value == Some(Content::NewText));
        let made: HashMap<u64, &RegisterKey<'_>> =
            made.map(|(operation, key)| (operation.counter, key)).collect();
        let made = |(counter, _): OperationId| {
            let key = made.get(&counter)?;
            Some((key.resource.clone(), key.element?.to_owned()))
        };
        let known = |(counter, actor): OperationId| {
            let actor = self.by_actor.get(&change.actors[actor])?.number;
            let text =
                self.texts.get(&(actor, counter)).filter(|text| past.contains(text.change))?;
            Some((text.resource.clone(), self.name(text.register).to_owned()))
        };
        let typed = |(text, strokes): (OperationId, Vec<usize>)| {
            let is_new = text.1 == 0 && text.0 >= change.start;
            let home = if is_new { made(text) } else { known(text) };
            let (resource, register) = home.ok_or(Refusal::Foreign("typing outside of a text"))?;
            Ok(Typed { resource, register, is_new, strokes })
        };
        by_text.into_iter().map(typed).collect()
    }

    /// Writes down a change whose parents are all known; tells the resources that it touched.
    pub(super) fn record(
        &mut self,
        change: &RawChange<'_>,
        keys: &[RegisterKey<'_>],
        typed: &[Typed],
        past: &Past,
        doubted: bool,
    ) -> Vec<ResourceKey> {
        let dependencies =
            change.dependencies.iter().filter_map(|hash| self.change(hash)).collect();
        let number = self.changes.len() as u32;
        let mut touches: BTreeMap<ResourceKey, Touch> = BTreeMap::new();
        for key in keys {
            let touch = touches.entry(key.resource.clone()).or_default();
            touch.change = number;
            for element in key.touched() {
                let element = self.numbered_name(element);
                if !touch.elements.contains(&element) {
                    touch.elements.push(element);
                }
            }
            if let Some(decided) = key.decided.as_ref().filter(|_| !doubted) {
                let element = self.numbered_name(&decided.element);
                let named = self.named(&key.resource, &decided.named, past);
                touch.decisions.push(Decision { element, named });
            }
        }
        for typed in typed {
            let touch = touches.entry(typed.resource.clone()).or_default();
            touch.change = number;
            touch.typed += typed.strokes.len() as u32;
            let register = self.numbered_name(&typed.register);
            if !touch.elements.contains(&register) {
                touch.elements.push(register);
            }
        }
        let touched: Vec<ResourceKey> = touches.keys().cloned().collect();
        for (key, touch) in touches {
            let touch = Touch { doubted, ..touch };
            self.stories.entry(key).or_default().add(touch, past);
        }
        let actor = self.numbered_actor(change.actors[0]);
        self.record_texts(change, keys, (number, actor));
        let (hash, sequence) = (change.hash, change.sequence);
        let (end, unix_ms) = (change.end, change.unix_ms);
        self.link(Node { hash, actor, sequence, end, unix_ms, dependencies });
        touched
    }

    fn record_texts(
        &mut self,
        operations: &RawChange<'_>,
        keys: &[RegisterKey<'_>],
        (change, actor): (u32, u32),
    ) {
        for (operation, key) in operations.operations.iter().zip(keys) {
            if operation.value == Some(Content::NewText)
                && let Some(register) = key.element
            {
                let (resource, register) = (key.resource.clone(), self.numbered_name(register));
                self.texts.insert((actor, operation.counter), Text { change, resource, register });
            }
        }
    }

    fn link(&mut self, node: Node) {
        let number = self.changes.len() as u32;
        self.by_hash.insert(node.hash, number);
        let actor = self.actors[node.actor as usize];
        self.by_actor.insert(actor, Actor { number: node.actor, last: Some(number) });
        self.heads.retain(|head| !node.dependencies.contains(head));
        self.heads.push(number);
        self.changes.push(node);
    }

    /// The touches behind these hashes, as far as the decider can have seen them.
    fn named(&self, key: &ResourceKey, hashes: &[[u8; 32]], past: &Past) -> Vec<u32> {
        let Some(story) = self.stories.get(key) else {
            return Vec::new();
        };
        let seen = hashes.iter().filter_map(|hash| self.change(hash));
        let seen = seen.filter(|change| past.contains(*change));
        let mut named: Vec<u32> = seen.filter_map(|change| story.of_change(change)).collect();
        named.sort_unstable();
        named.dedup();
        named
    }

    fn numbered_name(&mut self, name: &str) -> u32 {
        if let Some(number) = self.number(name) {
            return number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.by_name.insert(name.to_owned(), number);
        number
    }

    fn numbered_actor(&mut self, actor: [u8; 16]) -> u32 {
        if let Some(known) = self.by_actor.get(&actor) {
            return known.number;
        }
        let number = self.actors.len() as u32;
        self.actors.push(actor);
        number
    }
}

impl Story {
    fn add(&mut self, mut touch: Touch, past: &Past) {
        let number = self.touches.len() as u32;
        if matches!(past, Past::Set(_)) || touch.doubted {
            let unseen = |(_, earlier): &(u32, &Touch)| {
                !past.contains(earlier.change) || (touch.doubted && !earlier.doubted)
            };
            touch.beside = (0..).zip(&self.touches).filter(unseen).map(|(at, _)| at).collect();
        }
        self.contested |= !touch.beside.is_empty();
        for element in &touch.elements {
            if !self.elements.contains(element) {
                self.elements.push(*element);
            }
        }
        self.heads.retain(|head| touch.beside.binary_search(head).is_ok());
        self.heads.push(number);
        self.touches.push(touch);
    }
}
