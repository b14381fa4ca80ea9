//! Typing by others: what a change does within the texts of drafts.
//!
//! A node types only into texts that a frame names, after characters that its author saw, and takes
//! out only those. A change that does something else is refused before Automerge sees it. So are
//! texts that grow beyond what a narrative may have: Automerge keeps every character for ever.

use super::Document;
use super::apply::{heads_of, parts};
use super::draft::{TEXT_CHARACTERS_MAX, TYPED_MAX};
use super::journal::Past;
use super::register_key::{self, RegisterKey};
use crate::chart::change::{Content, OperationId, RawChange, Stroke};
use crate::chart::hostile::Refusal;
use crate::chart::narrative::element_around;
use crate::chart::resource::ResourceKey;
use automerge::{ROOT, ReadDoc};
use std::collections::{BTreeMap, HashSet};

/// What one change types into one text.
#[derive(Debug)]
pub(super) struct Typed {
    pub(super) resource: ResourceKey,
    /// The text's register.
    pub(super) register: String,
    /// Whether the change makes the text.
    pub(super) is_new: bool,
    /// The places of its strokes in the change, in order.
    pub(super) strokes: Vec<usize>,
}

/// A character, by the operation that typed it.
type Character = (u64, [u8; 16]);

impl Document {
    /// Whether the texts that a change makes, names and types into are what an honest node could
    /// have made, named and typed.
    pub(super) fn check_typing(
        &self,
        change: &RawChange<'_>,
        keys: &[RegisterKey<'_>],
        typed: &[Typed],
        past: &Past,
    ) -> Result<(), Refusal> {
        let made = change.operations.iter().zip(keys);
        let made = made.filter(|(operation, _)| operation.value == Some(Content::NewText));
        let made: HashSet<(&ResourceKey, &str)> =
            made.filter_map(|(_, key)| Some((&key.resource, key.element?))).collect();
        let mut named: HashSet<(&ResourceKey, &str)> = HashSet::new();
        for key in keys {
            for text in &key.texts {
                let text = (&key.resource, text.as_str());
                if !made.contains(&text) && !self.saw_text(change, text) {
                    return Err(Refusal::Foreign("a text that its author could not see"));
                }
                named.insert(text);
            }
        }
        if !made.is_subset(&named) {
            return Err(Refusal::Foreign("a text that stands nowhere"));
        }
        let mut strokes: BTreeMap<&ResourceKey, usize> = BTreeMap::new();
        for typed in typed {
            *strokes.entry(&typed.resource).or_default() += typed.strokes.len();
            let text = (&typed.resource, typed.register.as_str());
            if !named.contains(&text) && !self.was_named(change, text) {
                return Err(Refusal::Foreign("typing in a text that stands nowhere"));
            }
            self.check_strokes(change, typed)?;
        }
        for (resource, strokes) in strokes {
            let before = self.journal.stories.get(resource).map_or(0, |story| story.typed(past));
            if before + strokes > TYPED_MAX {
                return Err(Refusal::TooLarge);
            }
        }
        Ok(())
    }

    /// Whether the author of a change could see this text.
    fn saw_text(&self, change: &RawChange<'_>, (resource, register): (&ResourceKey, &str)) -> bool {
        let name = register_key::name(resource, register);
        let found = self.automerge.get_at(ROOT, name, &heads_of(change));
        found.is_ok_and(|found| found.is_some_and(|(value, _)| value.is_object()))
    }

    /// Whether the frame that the author of a change saw names this text.
    fn was_named(
        &self,
        change: &RawChange<'_>,
        (resource, register): (&ResourceKey, &str),
    ) -> bool {
        let element = element_around(register);
        let name = register_key::name(resource, element);
        let found = self.automerge.get_at(ROOT, name, &heads_of(change)).ok().flatten();
        let frame =
            found.and_then(|(value, _)| register_key::from_scalar(&value.into_scalar().ok()?));
        frame.is_some_and(|frame| {
            let texts = register_key::texts_of(&resource.kind, element, &frame);
            texts.iter().any(|text| text == register)
        })
    }

    /// Goes through what is typed into one text as its author must have seen it.
    fn check_strokes(&self, change: &RawChange<'_>, typed: &Typed) -> Result<(), Refusal> {
        let strokes = || typed.strokes.iter().map(|at| &change.typing[*at]);
        let named = |(counter, actor): OperationId| (counter, change.actors[actor]);
        let places = strokes().filter_map(|typing| match typing.stroke {
            Stroke::Insert { after, .. } => after.map(named),
            Stroke::Remove(character) => Some(named(character)),
        });
        let (mut there, before) = self.seen(change, typed, &places.collect())?;
        let (mut own, mut length) = (HashSet::new(), before);
        for typing in strokes() {
            match typing.stroke {
                Stroke::Insert { after, .. } => {
                    if !after.is_none_or(|after| there.contains(&named(after))) {
                        return Err(Refusal::Overwrites);
                    }
                    let character = (typing.counter, change.actors[0]);
                    there.insert(character);
                    own.insert(character);
                    length += 1;
                }
                Stroke::Remove(character) => {
                    let character = named(character);
                    if own.contains(&character) || !there.remove(&character) {
                        return Err(Refusal::Overwrites);
                    }
                    length -= 1;
                }
            }
        }
        if length > TEXT_CHARACTERS_MAX { Err(Refusal::TooLarge) } else { Ok(()) }
    }

    /// Which of these characters of a text the author of a change saw, and how many in all.
    fn seen(
        &self,
        change: &RawChange<'_>,
        typed: &Typed,
        sought: &HashSet<Character>,
    ) -> Result<(HashSet<Character>, usize), Refusal> {
        let (mut found, mut count) = (HashSet::new(), 0);
        if typed.is_new {
            return Ok((found, count));
        }
        let (name, heads) =
            (register_key::name(&typed.resource, &typed.register), heads_of(change));
        let text = self.automerge.get_at(ROOT, name, &heads).map_err(|_| Refusal::Engine)?;
        let (_, text) = text.ok_or(Refusal::Engine)?;
        for item in self.automerge.list_range_at(&text, .., &heads) {
            count += 1;
            let id = item.id();
            let character = parts(&id).and_then(|(n, actor)| Some((n, actor.try_into().ok()?)));
            found.extend(character.filter(|character| sought.contains(character)));
        }
        Ok((found, count))
    }
}
