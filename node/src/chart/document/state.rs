//! The registers of a resource at one moment, and the resource that they make.
//!
//! Invariant: of a signed note nothing is shown but what was signed. Whatever somebody wrote into
//! the draft meanwhile stands in registers beside it, for the conflict to show.

use crate::chart::grain::{Grain, grain};
use crate::chart::narrative::{self, element_around, text_register};
use crate::chart::register::{DELETED, MOVED, Register, WHOLE, element_of, join, split};
use crate::chart::resource::ResourceKey;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The registers of a resource at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct State {
    /// By element; the texts that a frame names are there too.
    pub(super) registers: BTreeMap<String, Register>,
}

/// Whether a register is no part of what the resource says.
pub(super) fn is_flag(register: &str) -> bool {
    matches!(register, DELETED | MOVED)
}

impl State {
    pub(super) fn deleted(&self) -> bool {
        self.registers.get(DELETED) == Some(&Register::Flag(true))
    }

    pub(super) fn moved(&self) -> Option<String> {
        match self.registers.get(MOVED) {
            Some(Register::Text(to)) => Some(to.clone()),
            _ => None,
        }
    }

    /// The resource, `resourceType` and `id` included.
    pub(super) fn members(&self, key: &ResourceKey) -> Map<String, Value> {
        let content = self.content(&key.kind);
        join(&key.kind, &key.id, content.iter().map(|(name, register)| (*name, register)))
    }

    pub(super) fn body(&self, key: &ResourceKey) -> Value {
        Value::Object(self.members(key))
    }

    /// All that the resource says, without its name.
    pub(super) fn said(&self, key: &ResourceKey) -> Value {
        let mut members = self.members(key);
        members.remove("resourceType");
        members.remove("id");
        Value::Object(members)
    }

    /// An object of these elements only.
    pub(super) fn part(&self, key: &ResourceKey, elements: &[String]) -> Value {
        let mut members = self.members(key);
        members.retain(|name, _| elements.iter().any(|e| e == element_of(&key.kind, name)));
        members.remove("resourceType");
        members.remove("id");
        Value::Object(members)
    }

    /// What the resource says in one element, also if it is a record.
    pub(super) fn element(&self, key: &ResourceKey, element: &str) -> Option<Register> {
        if !self.registers.contains_key(WHOLE) {
            return self.content(&key.kind).remove(element);
        }
        let mut members = self.members(key);
        members.retain(|name, _| element_of(&key.kind, name) == element);
        (!members.is_empty()).then(|| Register::of_members(element, &members))
    }

    /// The registers of the content, as if nothing were taken apart.
    fn content(&self, kind: &str) -> BTreeMap<&str, Register> {
        if let Some(whole) = self.registers.get(WHOLE) {
            return BTreeMap::from([(WHOLE, whole.clone())]);
        }
        let elements = self.registers.iter().filter(|(name, _)| element_around(name) == *name);
        let put_together = |(name, register): (&'_ String, &Register)| match register {
            Register::Frame(_) => {
                let text = |text: &str| self.text(name, text);
                let members = register.members(name);
                let members = narrative::put_together(kind, name, members, &text);
                Register::of_members(name, &members)
            }
            plain => plain.clone(),
        };
        elements.map(|entry| (entry.0.as_str(), put_together(entry))).collect()
    }

    fn text(&self, element: &str, name: &str) -> String {
        match self.registers.get(&text_register(element, name)) {
            Some(Register::Text(text)) => text.clone(),
            // A change that names a text which its author could not see was refused.
            _ => String::new(),
        }
    }

    /// Makes this what the resource says. Texts that are new are named by `name`.
    pub(super) fn say(
        &mut self,
        kind: &str,
        body: &Map<String, Value>,
        name: &mut dyn FnMut() -> String,
    ) {
        let before = self.clone();
        self.registers.retain(|register, _| is_flag(register));
        let said = split(kind, body);
        if grain(kind) != Grain::Text || said.contains_key(WHOLE) {
            self.registers.extend(said);
            return;
        }
        for (element, register) in said {
            let members = register.members(&element);
            let frame = before.frame(kind, &element);
            let text = |text: &str| before.text(&element, text);
            let apart = narrative::take_apart((kind, &element), &members, &frame, &text, name);
            match apart {
                Some((frame, texts)) if !texts.is_empty() => {
                    self.registers.insert(element.clone(), Register::frame(&frame));
                    let texts = texts.into_iter();
                    self.registers.extend(texts.map(|(name, text)| {
                        (text_register(&element, &name), Register::Text(text))
                    }));
                }
                _ => {
                    self.registers.insert(element, register);
                }
            }
        }
    }

    /// The members of an element, as a frame even if it names no text.
    fn frame(&self, kind: &str, element: &str) -> Map<String, Value> {
        match self.registers.get(element) {
            None => Map::new(),
            Some(frame @ Register::Frame(_)) => frame.members(element),
            Some(plain) => narrative::plain(kind, element, plain.members(element)),
        }
    }
}
