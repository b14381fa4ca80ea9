//! What is a conflict about a note.
//!
//! A draft is written together: what two people type into its texts merges, and so does a new
//! section beside typing in another. It is a conflict if their words meet in a phrase that neither
//! wrote, if both change the sections, if one takes away or renames a section in which the other
//! types, and if one types while the other changes something that is no text. A signed note is what its signer saw and nothing else: whatever was
//! written meanwhile stands against it.

use super::{ConflictKind, Dispute, Question, Search};
use crate::chart::narrative::{self, element_around};
use crate::chart::phrase;
use crate::chart::register::{Register, WHOLE};
use std::collections::BTreeSet;

type Disagreement = Option<(ConflictKind, BTreeSet<u32>)>;

impl Search<'_> {
    /// Disagreements over one element of a draft: like any other's, or about its sections.
    pub(super) fn over_element_of_note(&self, element: u32) -> Option<Dispute> {
        let name = (self.name)(element);
        if element_around(name) != name {
            return None;
        }
        let parts: BTreeSet<u32> = self.story.elements.iter().copied().collect();
        let parts = parts.into_iter().filter(|part| element_around((self.name)(*part)) == name);
        let parts: BTreeSet<u32> = parts.collect();
        self.answer(&Question {
            element: name,
            takes_part: &|touch| {
                let touched = &self.story.touches[touch as usize].elements;
                touched.iter().any(|part| parts.contains(part))
            },
            disagree: &|a, b| {
                let kind = self.in_draft(element, &parts, a, b)?;
                Some((kind, parts.clone()))
            },
        })
    }

    /// Disagreements over the note itself: signed here and written there, or an unseen mixture.
    pub(super) fn over_note(&self, a: u32, b: u32) -> Disagreement {
        if !self.is_signed(a) && !self.is_signed(b) {
            return self.unseen_mixture(a, b);
        }
        let (of_a, of_b) = (self.content(a, b), self.content(b, a));
        let apart = !of_a.is_empty() && !of_b.is_empty();
        apart.then(|| (ConflictKind::SameElement, &of_a | &of_b))
    }

    /// Whether a register is a text of a draft, or the frame of texts.
    pub(super) fn is_writing(&self, register: u32) -> bool {
        narrative::holds_texts(self.kind, element_around((self.name)(register)))
    }

    fn in_draft(
        &self,
        element: u32,
        parts: &BTreeSet<u32>,
        a: u32,
        b: u32,
    ) -> Option<ConflictKind> {
        if self.is_signed(a) || self.is_signed(b) {
            return None;
        }
        let (of_a, of_b) = (&self.own_changes(a, b) & parts, &self.own_changes(b, a) & parts);
        let lost = match (of_a.contains(&element), of_b.contains(&element)) {
            (true, true) => self.reads(element, a) != self.reads(element, b),
            (true, false) => self.loses_place(element, &of_b, (b, a)),
            (false, true) => self.loses_place(element, &of_a, (a, b)),
            (false, false) => false,
        };
        if lost {
            return Some(ConflictKind::SameElement);
        }
        // What both typed stands there twice, so it is looked at although they agree.
        let typed = &self.own_touched(a, b) & &self.own_touched(b, a);
        let mut texts = typed.intersection(parts).filter(|part| **part != element);
        texts.any(|text| self.meet(*text, a, b)).then_some(ConflictKind::SameResource)
    }

    /// Whether what two people typed into a text makes a phrase that neither wrote.
    fn meet(&self, text: u32, a: u32, b: u32) -> bool {
        if self.crowded {
            return true;
        }
        let place = (text, a.min(b), a.max(b));
        if let Some(known) = self.phrases.borrow().get(&place) {
            return *known;
        }
        let merged = (self.read)(&[a, b], text);
        let met = match (merged, self.value(a, text), self.value(b, text)) {
            (Some(Register::Text(merged)), Some(Register::Text(a)), Some(Register::Text(b))) => {
                phrase::is_new(&merged, &a, &b)
            }
            _ => false,
        };
        self.phrases.borrow_mut().insert(place, met);
        met
    }

    /// Whether one of these texts stands elsewhere, or nowhere, once the other has changed the
    /// frame around it.
    fn loses_place(
        &self,
        element: u32,
        texts: &BTreeSet<u32>,
        (typist, other): (u32, u32),
    ) -> bool {
        let name = (self.name)(element);
        let context = |touch: u32, text: u32| {
            let frame = self.value(touch, element)?;
            let (_, text) = (self.name)(text).split_once('/')?;
            narrative::context(self.kind, name, &frame.members(name), text)
        };
        texts.iter().any(|text| context(typist, *text) != context(other, *text))
    }

    /// What an element of a draft says, whatever its texts are named.
    fn reads(&self, element: u32, touch: u32) -> Option<Register> {
        let name = (self.name)(element);
        let register = self.value(touch, element)?;
        let Register::Frame(_) = register else { return Some(register) };
        let text = |text: &str| {
            let register = self.number(&narrative::text_register(name, text));
            match register.and_then(|register| self.value(touch, register)) {
                Some(Register::Text(text)) => text,
                _ => String::new(),
            }
        };
        let members = narrative::put_together(self.kind, name, register.members(name), &text);
        Some(Register::of_members(name, &members))
    }

    fn is_signed(&self, touch: u32) -> bool {
        self.number(WHOLE).is_some_and(|whole| self.value(touch, whole).is_some())
    }
}
