//! The names of registers: `Type/id` for a record, `Type/id/element` for an element,
//! `Type/id/element/<name>` for a text of a draft, and `Type/id/_resolved/<seen>` for a conflict
//! that somebody decided.

use crate::chart::change::{Content, Operation};
use crate::chart::grain::{Grain, grain};
use crate::chart::hostile::Refusal;
use crate::chart::json::{canonical, values_in};
use crate::chart::narrative::{self, holds_texts, text_name, text_register};
use crate::chart::register::{DELETED, MOVED, Register, WHOLE, element_of};
use crate::chart::resource::{ResourceKey, is_element_name};
use automerge::ScalarValue;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The register under which a decision stands.
const RESOLVED: &str = "_resolved";

/// Marks the bytes of [`Register::Group`]; JSON can't start so.
const GROUP: u8 = b'+';

/// Marks the bytes of [`Register::Frame`]; JSON can't start so.
const FRAME: u8 = b'~';

/// A register's name, and what an operation on it means.
#[derive(Debug)]
pub(super) struct RegisterKey<'a> {
    pub(super) resource: ResourceKey,
    /// The element, if the register is one; with a name, a text of it.
    pub(super) element: Option<&'a str>,
    /// The registers of the texts that it names, if it is a frame.
    pub(super) texts: Vec<String>,
    /// The decision, if the register is one.
    pub(super) decided: Option<Decided>,
}

/// What somebody decided, as it is written to the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decided {
    /// The conflict's element.
    pub(super) element: String,
    /// The elements whose values were settled.
    pub(super) settled: Vec<String>,
    /// The changes that the conflict consisted of, as the decider saw it.
    pub(super) named: Vec<[u8; 32]>,
}

#[derive(Serialize, Deserialize)]
struct DecidedText {
    element: String,
    named: Vec<String>,
    settled: Vec<String>,
}

impl Decided {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let text = DecidedText {
            element: self.element.clone(),
            named: self.named.iter().map(|hash| HEXLOWER.encode(hash)).collect(),
            settled: self.settled.clone(),
        };
        let value = serde_json::to_value(text).expect("strings are JSON");
        canonical(&value).into_bytes()
    }

    fn from_bytes(bytes: &[u8], kind: &str) -> Option<Self> {
        let text: DecidedText = serde_json::from_slice(bytes).ok()?;
        let named = text.named.iter().map(|hash| {
            HEXLOWER.decode(hash.as_bytes()).ok().and_then(|hash| hash.try_into().ok())
        });
        let decided = Self {
            named: named.collect::<Option<Vec<[u8; 32]>>>()?,
            element: text.element,
            settled: text.settled,
        };
        let known = |element: &String| is_element(kind, element) || element == WHOLE;
        let sound = decided.settled.iter().chain([&decided.element]).all(known);
        (sound && decided.to_bytes() == bytes).then_some(decided)
    }
}

fn is_element(kind: &str, element: &str) -> bool {
    matches!(element, DELETED | MOVED)
        || match grain(kind) {
            Grain::Record => element == WHOLE,
            _ => is_element_name(element) && element_of(kind, element) == element,
        }
}

/// The name of an element's register.
pub(super) fn name(key: &ResourceKey, element: &str) -> String {
    if element == WHOLE { key.to_string() } else { format!("{key}/{element}") }
}

/// The name of a decision's register.
pub(super) fn decision_name(key: &ResourceKey, seen: &str) -> String {
    format!("{key}/{RESOLVED}/{seen}")
}

/// How many values the registers of one resource are made of, at most, if these are written.
pub(super) fn values<'b>(written: impl Iterator<Item = (&'b str, &'b [u8])>) -> usize {
    let mut values: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, json) in written {
        let resource = name.match_indices('/').nth(1).map_or(name, |(end, _)| &name[..end]);
        *values.entry(resource).or_default() += values_in(json);
    }
    values.into_values().max().unwrap_or(0)
}

impl<'a> RegisterKey<'a> {
    /// What an operation of this actor is about, if it is one that a node writes; that its value is
    /// one may have been `checked` already.
    pub(super) fn read(
        operation: &Operation<'a>,
        actor: &[u8; 16],
        checked: bool,
    ) -> Result<Self, Refusal> {
        let mut steps = operation.key.splitn(4, '/');
        let (kind, id) = (steps.next().unwrap_or_default(), steps.next().unwrap_or_default());
        let resource = ResourceKey::new(kind, id).map_err(|_| Refusal::Register)?;
        let (element, decided) = match (steps.next(), steps.next()) {
            (None, None) if grain(kind) != Grain::Statement => (Some(WHOLE), None),
            (Some(element), None) if element != WHOLE && is_element(kind, element) => {
                (Some(element), None)
            }
            (Some(RESOLVED), Some(seen)) if is_seen(seen) => match operation.value {
                Some(Content::Bytes(bytes)) => (None, Decided::from_bytes(bytes, kind)),
                _ => return Err(Refusal::Register),
            },
            (Some(element), Some(name)) if holds_texts(kind, element) => {
                let made = operation.value == Some(Content::NewText);
                if !made || name != text_name(actor, operation.counter) {
                    return Err(Refusal::Register);
                }
                let element = operation.key.splitn(3, '/').nth(2);
                return Ok(Self { resource, element, texts: Vec::new(), decided: None });
            }
            _ => return Err(Refusal::Register),
        };
        if element.is_none() && decided.is_none() {
            return Err(Refusal::Register);
        }
        let mut texts = Vec::new();
        if let (Some(element), Some(value)) = (element, operation.value) {
            let register = register_of(value).ok_or(Refusal::Register)?;
            if !checked && !register.is_well_formed(kind, element) {
                return Err(Refusal::Register);
            }
            texts = texts_of(kind, element, &register);
        }
        Ok(Self { resource, element, texts, decided })
    }

    /// The elements whose values its author vouches for.
    pub(super) fn touched(&self) -> impl Iterator<Item = &str> {
        let settled = self.decided.iter().flat_map(|decided| &decided.settled);
        self.element.into_iter().chain(settled.map(String::as_str))
    }
}

/// The registers of the texts that an element's register names.
pub(super) fn texts_of(kind: &str, element: &str, register: &Register) -> Vec<String> {
    let Register::Frame(_) = register else { return Vec::new() };
    let names = narrative::names(kind, element, &register.members(element));
    names.iter().map(|name| text_register(element, name)).collect()
}

fn is_seen(seen: &str) -> bool {
    seen.len() == 16 && seen.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn register_of(value: Content<'_>) -> Option<Register> {
    Some(match value {
        Content::Text(text) => Register::Text(text.to_owned()),
        Content::Integer(whole) => Register::Integer(whole),
        Content::Flag(flag) => Register::Flag(flag),
        Content::Bytes(bytes) => return of_bytes(bytes),
        Content::NewText => return None,
    })
}

fn of_bytes(bytes: &[u8]) -> Option<Register> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    match bytes {
        [GROUP, members @ ..] => text(members).map(Register::Group),
        [FRAME, members @ ..] => text(members).map(Register::Frame),
        json => text(json).map(Register::Json),
    }
}

/// The register as Automerge stores it.
pub(super) fn to_scalar(register: &Register) -> ScalarValue {
    match register {
        Register::Text(text) => ScalarValue::Str(text.as_str().into()),
        Register::Integer(whole) => ScalarValue::Int(*whole),
        Register::Flag(flag) => ScalarValue::Boolean(*flag),
        Register::Json(json) => ScalarValue::Bytes(json.clone().into_bytes()),
        Register::Group(members) => ScalarValue::Bytes([&[GROUP], members.as_bytes()].concat()),
        Register::Frame(members) => ScalarValue::Bytes([&[FRAME], members.as_bytes()].concat()),
    }
}

/// The register of what Automerge stores; nothing that passed [`RegisterKey::read`] is lost.
pub(super) fn from_scalar(value: &ScalarValue) -> Option<Register> {
    match value {
        ScalarValue::Str(text) => Some(Register::Text(text.to_string())),
        ScalarValue::Int(whole) => Some(Register::Integer(*whole)),
        ScalarValue::Boolean(flag) => Some(Register::Flag(*flag)),
        ScalarValue::Bytes(bytes) => of_bytes(bytes),
        _ => None,
    }
}
