//! What becomes of one resource in a write, and the operations that it takes.

use super::Conflict;
use super::register_key::{self, Decided};
use super::state::{State, is_flag};
use crate::chart::change::OPERATIONS_MAX;
use crate::chart::grain::{Grain, grain};
use crate::chart::narrative::{self, element_around, text_name, text_register};
use crate::chart::register::{DELETED, MOVED, Register, WHOLE, element_of, set_member};
use crate::chart::resource::{Resource, ResourceKey};
use crate::chart::splice::{Splice, splices};
use automerge::ScalarValue;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Characters of one text; a longer narrative stands in its frame, and merges whole.
pub(super) const TEXT_CHARACTERS_MAX: usize = 1 << 16;

/// Characters that may ever be typed into the texts of one resource. Automerge keeps them all.
pub(super) const TYPED_MAX: usize = 1 << 20;

/// Characters typed and taken out in one change; half of its operations.
const STROKES_MAX: usize = OPERATIONS_MAX / 2;

/// What becomes of one resource.
#[derive(Default)]
pub(super) struct Draft {
    before: State,
    pub(super) after: State,
    is_new: bool,
    /// Characters that were typed into its texts so far.
    typed: usize,
    /// Texts that it gets. Until their operations are numbered, their names are too.
    new_texts: usize,
    /// Elements that are written again although they stay as they are: a decision must outweigh
    /// what was decided.
    confirmed: BTreeSet<String>,
    decisions: Vec<(String, Decided)>,
}

/// An operation to come: a register's name and its new value.
pub(super) type Put = (String, Option<ScalarValue>);

/// The operations of a change to come.
pub(super) struct Plan {
    actor: [u8; 16],
    /// The counter of the first operation.
    start: u64,
    /// The registers of texts to make; these are the first operations.
    pub(super) texts: Vec<String>,
    pub(super) puts: Vec<Put>,
    /// What is typed, by the register of the text.
    pub(super) typing: Vec<(String, Vec<Splice>)>,
    strokes: usize,
}

impl Plan {
    /// Of a change by this actor, whose first operation has this counter.
    pub(super) fn new(actor: [u8; 16], start: u64) -> Self {
        let (texts, puts, typing) = (Vec::new(), Vec::new(), Vec::new());
        Self { actor, start, texts, puts, typing, strokes: 0 }
    }

    /// How many operations these are.
    pub(super) fn operations(&self) -> usize {
        self.texts.len() + self.puts.len() + self.strokes
    }

    /// How many values they write into one resource at most.
    pub(super) fn values(&self) -> usize {
        register_key::values(self.puts.iter().filter_map(|(name, value)| match value {
            Some(ScalarValue::Bytes(bytes)) => Some((name.as_str(), bytes.as_slice())),
            _ => None,
        }))
    }

    /// About how many bytes they take.
    pub(super) fn bytes(&self) -> usize {
        let puts = self.puts.iter().map(|(name, value)| name.len() + size(value));
        let texts = self.texts.iter().map(String::len);
        let typed = self.typing.iter().flat_map(|(_, splices)| splices).map(|s| s.insert.len());
        puts.chain(texts).chain(typed).sum()
    }

    fn name_text(&mut self, key: &ResourceKey, element: &str) -> String {
        let name = text_name(&self.actor, self.start + self.texts.len() as u64);
        self.texts.push(register_key::name(key, &text_register(element, &name)));
        name
    }
}

impl Draft {
    /// Of a resource that says this, or of a new one.
    pub(super) fn of(state: Option<State>, typed: usize) -> Self {
        let is_new = state.is_none();
        let before = state.unwrap_or_default();
        Self { after: before.clone(), before, is_new, typed, ..Self::default() }
    }

    /// Writes the resource whole.
    pub(super) fn put(&mut self, resource: &Resource) {
        self.stay();
        self.say(resource.kind(), resource.body());
        if self.after.deleted() {
            self.flag(DELETED, false);
        }
    }

    /// Sets one element, or removes it.
    pub(super) fn set(&mut self, key: &ResourceKey, element: &str, value: Option<&Value>) {
        self.stay();
        let mut body = self.after.members(key);
        set_member(&key.kind, &mut body, element, value);
        self.say(&key.kind, &body);
    }

    fn say(&mut self, kind: &str, body: &Map<String, Value>) {
        let count = &mut self.new_texts;
        self.after.say(kind, body, &mut || {
            *count += 1;
            format!("+{count}")
        });
    }

    /// Marks it as entered in error.
    pub(super) fn delete(&mut self) {
        self.stay();
        self.flag(DELETED, true);
    }

    /// What is written where a resource is, says that it is there: were it to stay moved, nobody
    /// who has the new home would see it.
    pub(super) fn stay(&mut self) {
        self.after.registers.remove(MOVED);
    }

    fn flag(&mut self, element: &str, flag: bool) {
        self.after.registers.insert(element.to_owned(), Register::Flag(flag));
    }

    /// Has these elements say what they said then.
    pub(super) fn restore(&mut self, key: &ResourceKey, elements: &[String], then: &State) {
        let (flags, content): (Vec<&String>, Vec<&String>) =
            elements.iter().partition(|element| is_flag(element));
        let registers =
            if grain(&key.kind) == Grain::Text { flags } else { elements.iter().collect() };
        for element in registers {
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
        if grain(&key.kind) != Grain::Text || content.is_empty() {
            return;
        }
        // A note may have been signed since, or not have been signed then: what is restored is
        // what it said, in the form that it has with it.
        let concerned = |name: &String| {
            let element = element_of(&key.kind, name);
            content.iter().any(|one| *one == WHOLE || *one == element)
        };
        let mut body = self.after.members(key);
        body.retain(|name, _| !concerned(name));
        body.extend(then.members(key).into_iter().filter(|(name, _)| concerned(name)));
        self.say(&key.kind, &body);
    }

    /// Decides a conflict, settling these elements.
    pub(super) fn decide(&mut self, conflict: &Conflict, settled: Vec<String>) {
        self.confirmed.extend(settled.iter().cloned());
        let named = conflict.values.iter().map(|value| value.change.0).collect();
        let decided = Decided { element: conflict.element.clone(), settled, named };
        self.decisions.push((conflict.seen.clone(), decided));
    }

    /// Adds the operations that it takes.
    pub(super) fn plan(mut self, key: &ResourceKey, plan: &mut Plan) {
        self.plan_texts(key, plan);
        let (before, after) = (&self.before.registers, &self.after.registers);
        let elements: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let elements = elements.into_iter().filter(|name| element_around(name) == name.as_str());
        let confirmed = |element: &String| self.confirmed.contains(element);
        let changed = elements
            .filter(|element| before.get(*element) != after.get(*element) || confirmed(element));
        plan.puts.extend(changed.map(|element| {
            let value = after.get(element).map(register_key::to_scalar);
            (register_key::name(key, element), value)
        }));
        if self.is_new && after.is_empty() {
            // A resource without content must be there all the same.
            let here = register_key::to_scalar(&Register::Flag(false));
            plan.puts.push((register_key::name(key, DELETED), Some(here)));
        }
        for (seen, decided) in &self.decisions {
            let value = ScalarValue::Bytes(decided.to_bytes());
            plan.puts.push((register_key::decision_name(key, seen), Some(value)));
        }
    }

    /// Names the new texts, and plans what is typed. A text for which there is no room stands in
    /// its frame.
    fn plan_texts(&mut self, key: &ResourceKey, plan: &mut Plan) {
        let frames = self.after.registers.iter().filter(|(_, r)| matches!(r, Register::Frame(_)));
        let frames: Vec<(String, Register)> =
            frames.map(|(element, frame)| (element.clone(), frame.clone())).collect();
        for (element, frame) in frames {
            let mut typed = self.typed;
            let frame =
                narrative::rename(&key.kind, &element, frame.members(&element), &mut |name| {
                    let register = text_register(&element, name);
                    let of = |state: &State| match state.registers.get(&register) {
                        Some(Register::Text(text)) => Some(text.clone()),
                        _ => None,
                    };
                    let (before, after) = (of(&self.before), of(&self.after).unwrap_or_default());
                    let splices = splices(before.as_deref().unwrap_or_default(), &after);
                    let strokes: usize = splices.iter().map(Splice::strokes).sum();
                    if after.chars().count() > TEXT_CHARACTERS_MAX
                        || plan.strokes + strokes > STROKES_MAX
                        || typed + strokes > TYPED_MAX
                    {
                        return Err(after);
                    }
                    (plan.strokes, typed) = (plan.strokes + strokes, typed + strokes);
                    let name = match before {
                        Some(_) => name.to_owned(),
                        None => plan.name_text(key, &element),
                    };
                    if !splices.is_empty() {
                        let register = register_key::name(key, &text_register(&element, &name));
                        plan.typing.push((register, splices));
                    }
                    Ok(name)
                });
            self.typed = typed;
            let register = if narrative::names(&key.kind, &element, &frame).is_empty() {
                let members =
                    narrative::put_together(&key.kind, &element, frame, &|_| String::new());
                Register::of_members(&element, &members)
            } else {
                Register::frame(&frame)
            };
            self.after.registers.insert(element, register);
        }
    }
}

fn size(value: &Option<ScalarValue>) -> usize {
    match value {
        Some(ScalarValue::Str(text)) => text.len(),
        Some(ScalarValue::Bytes(bytes)) => bytes.len(),
        _ => 8,
    }
}
