//! What two sites said about the same thing, apart from each other.
//!
//! A conflict is a function of the set of changes and of nothing else, so that nodes agree on it
//! whatever arrived first. Two touches that happened apart and disagree are a conflict until a
//! decision names both. It does not matter what is edited meanwhile: who edits is not asked, and
//! may not have noticed. A touch gives way to a later one of its own side only, that is, to one
//! that had seen it and nothing that it was in conflict with. What is special about notes, which
//! people write together, is in `note`.

mod note;

use super::document::journal::{Decision, Story, Touch};
use super::grain::{self, Grain, grain};
use super::register::{DELETED, MOVED, Register, WHOLE};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

/// What kind of disagreement it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConflictKind {
    /// Different values of one element.
    SameElement,
    /// Edits of different elements, of which nobody saw the outcome.
    SameResource,
    /// Deleted here, edited there.
    DeletedAndEdited,
}

impl ConflictKind {
    /// The name under which scripts know it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SameElement => "same-element",
            Self::SameResource => "same-resource",
            Self::DeletedAndEdited => "deleted-and-edited",
        }
    }
}

/// A disagreement, in the journal's numbers.
#[derive(Debug)]
pub(crate) struct Dispute {
    /// The element, or the register that stands for the resource.
    pub(crate) element: String,
    pub(crate) kind: ConflictKind,
    /// The touches that disagree, and those that came after them undecided; ascending.
    pub(crate) touches: Vec<u32>,
    /// The elements over which they disagree.
    pub(crate) elements: BTreeSet<u32>,
}

/// Reads the value that a register had for the author of a touch; of several touches, what it
/// would be for who had seen these and nothing else.
pub(crate) type ReadValue<'a> = dyn Fn(&[u32], u32) -> Option<Register> + 'a;

/// One resource's story, being searched for disagreements.
pub(crate) struct Search<'a> {
    story: &'a Story,
    kind: &'a str,
    name: &'a dyn Fn(u32) -> &'a str,
    read: &'a ReadValue<'a>,
    /// For each touch, those apart from it, ascending.
    apart: Vec<Vec<u32>>,
    /// All decisions, each with the touch that made it, ascending.
    decisions: Vec<(u32, &'a Decision)>,
    /// Whether too many wrote apart for their texts to be compared two by two.
    crowded: bool,
    values: RefCell<HashMap<(u32, u32), Option<Register>>>,
    /// Whether two touches, in a text, make a phrase together that neither wrote.
    phrases: RefCell<HashMap<(u32, u32, u32), bool>>,
}

/// A kind of disagreement between two touches, looked for over a whole story.
struct Question<'a> {
    /// The element under which it is decided.
    element: &'a str,
    /// The touches that can take part.
    takes_part: &'a dyn Fn(u32) -> bool,
    /// The elements over which two of them disagree.
    disagree: &'a dyn Fn(u32, u32) -> Option<(ConflictKind, BTreeSet<u32>)>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        story: &'a Story,
        kind: &'a str,
        name: &'a dyn Fn(u32) -> &'a str,
        read: &'a ReadValue<'a>,
        crowded: bool,
    ) -> Self {
        let mut apart = vec![Vec::new(); story.touches.len()];
        for (late, touch) in (0..).zip(&story.touches) {
            for early in &touch.beside {
                apart[*early as usize].push(late);
            }
        }
        // A touch's earlier neighbours go before its later ones.
        for (touch, later) in story.touches.iter().zip(&mut apart) {
            let earlier = std::mem::take(later);
            later.extend(touch.beside.iter().copied().chain(earlier));
        }
        let decided = |(at, touch): (u32, &'a Touch)| touch.decisions.iter().map(move |d| (at, d));
        let decisions = (0..).zip(&story.touches).flat_map(decided).collect();
        let (values, phrases) = (RefCell::default(), RefCell::default());
        Self { story, kind, name, read, apart, decisions, crowded, values, phrases }
    }

    /// All open disagreements, ordered by element.
    pub(crate) fn disputes(&self) -> Vec<Dispute> {
        let mut found = Vec::new();
        let is_note = grain(self.kind) == Grain::Text;
        for element in &self.story.elements {
            let name = (self.name)(*element);
            match name {
                DELETED | MOVED => {}
                WHOLE if is_note => {}
                _ if is_note => found.extend(self.over_element_of_note(*element)),
                _ => found.extend(self.over_element(*element)),
            }
        }
        if grain::guarded(self.kind) {
            found.extend(self.answer(&Question {
                element: WHOLE,
                takes_part: &|_| true,
                disagree: &|a, b| match is_note {
                    true => self.over_note(a, b),
                    false => self.unseen_mixture(a, b),
                },
            }));
        }
        if let Some(deleted) = self.number(DELETED) {
            found.extend(self.answer(&Question {
                element: DELETED,
                takes_part: &|_| true,
                disagree: &|a, b| self.deleted_and_edited(deleted, a, b),
            }));
        }
        if let Some(moved) = self.number(MOVED) {
            found.extend(self.answer(&Question {
                element: MOVED,
                takes_part: &|_| true,
                disagree: &|a, b| self.moved_and_edited(moved, a, b),
            }));
        }
        found.sort_by(|a, b| a.element.cmp(&b.element));
        found
    }

    fn over_element(&self, element: u32) -> Option<Dispute> {
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("drops-the-loser-of-a-conflict") {
            return None;
        }
        let touches = |touch: u32| self.story.touches[touch as usize].elements.contains(&element);
        self.answer(&Question {
            element: (self.name)(element),
            takes_part: &touches,
            disagree: &|a, b| {
                let differ = self.value(a, element) != self.value(b, element);
                differ.then(|| (ConflictKind::SameElement, BTreeSet::from([element])))
            },
        })
    }

    fn answer(&self, question: &Question<'_>) -> Option<Dispute> {
        let mut clean = HashMap::new();
        let mut kind = None;
        let mut touches = BTreeSet::new();
        let mut elements = BTreeSet::new();
        let everyone = 0..self.story.touches.len() as u32;
        for late in everyone.filter(|touch| (question.takes_part)(*touch)) {
            for early in self.partners(question, late).filter(|early| *early < late) {
                if self.is_decided(question, early, late, None)
                    || self.gave_way(question, early, late, &mut clean)
                    || self.gave_way(question, late, early, &mut clean)
                {
                    continue;
                }
                if let Some((this_kind, over)) = (question.disagree)(early, late) {
                    touches.extend([early, late]);
                    elements.extend(over);
                    // The strictest: what can't both hold for two of them can't for all.
                    kind = Some(kind.map_or(this_kind, |kind: ConflictKind| kind.min(this_kind)));
                }
            }
        }
        let (kind, element) = (kind?, question.element.to_owned());
        let touches = self.with_later(question, touches, &elements);
        Some(Dispute { element, kind, touches, elements })
    }

    fn partners<'b>(
        &'b self,
        question: &'b Question<'_>,
        touch: u32,
    ) -> impl Iterator<Item = u32> + 'b {
        let apart = self.apart[touch as usize].iter().copied();
        apart.filter(|other| (question.takes_part)(*other))
    }

    /// Whether a decision (by `until`, if given) names both.
    fn is_decided(&self, question: &Question<'_>, a: u32, b: u32, until: Option<u32>) -> bool {
        self.decisions.iter().any(|(at, decision)| {
            *at > a.max(b)
                && until.is_none_or(|until| *at == until || self.story.before(*at, until))
                && decision.named.binary_search(&a).is_ok()
                && decision.named.binary_search(&b).is_ok()
                && (self.name)(decision.element) == question.element
        })
    }

    /// Whether `touch` gave way, toward `other`, to a later touch of its own side.
    fn gave_way(
        &self,
        question: &Question<'_>,
        touch: u32,
        other: u32,
        clean: &mut HashMap<(u32, u32), bool>,
    ) -> bool {
        // The first one that came after it is the likeliest, in a long story by far.
        let apart = &self.apart[other as usize];
        let later = &apart[apart.partition_point(|third| *third <= touch)..];
        later.iter().copied().filter(|later| (question.takes_part)(*later)).any(|later| {
            self.story.before(touch, later)
                && *clean
                    .entry((touch, later))
                    .or_insert_with(|| self.is_clean(question, touch, later))
        })
    }

    /// Whether the author of `later` had seen nothing that `touch` was in conflict with.
    fn is_clean(&self, question: &Question<'_>, touch: u32, later: u32) -> bool {
        self.partners(question, touch).filter(|third| self.story.before(*third, later)).all(
            |third| {
                self.is_decided(question, touch, third, Some(later))
                    || (question.disagree)(touch, third).is_none()
            },
        )
    }

    /// Adds what was said after the disagreement without deciding it.
    fn with_later(
        &self,
        question: &Question<'_>,
        mut touches: BTreeSet<u32>,
        elements: &BTreeSet<u32>,
    ) -> Vec<u32> {
        let concerns = |touch: &u32| {
            let touched = &self.story.touches[*touch as usize].elements;
            let whole = matches!(question.element, DELETED | MOVED);
            whole || touched.iter().any(|element| elements.contains(element))
        };
        let mut last: Vec<u32> = Vec::new();
        for touch in (0..self.story.touches.len() as u32).rev().filter(concerns) {
            if !last.iter().any(|later| self.story.before(touch, *later)) {
                last.push(touch);
            }
        }
        last.retain(|touch| !touches.iter().any(|member| self.story.before(*touch, *member)));
        touches.extend(last);
        touches.into_iter().collect()
    }

    /// The elements that the author of `touch` and those before had changed, unseen by the author
    /// of `other`, and that differ between the two.
    fn own_changes(&self, touch: u32, other: u32) -> BTreeSet<u32> {
        let mut changed = self.own_touched(touch, other);
        changed.retain(|element| self.value(touch, *element) != self.value(other, *element));
        changed
    }

    /// The same, also where both say the same now.
    fn own_touched(&self, touch: u32, other: u32) -> BTreeSet<u32> {
        let own = self.apart[other as usize]
            .iter()
            .filter(|t| **t == touch || self.story.before(**t, touch));
        own.flat_map(|t| &self.story.touches[*t as usize].elements).copied().collect()
    }

    fn content(&self, touch: u32, other: u32) -> BTreeSet<u32> {
        let mut elements = self.own_changes(touch, other);
        elements.retain(|element| !matches!((self.name)(*element), DELETED | MOVED));
        elements
    }

    fn unseen_mixture(&self, a: u32, b: u32) -> Option<(ConflictKind, BTreeSet<u32>)> {
        let (of_a, of_b) = (self.content(a, b), self.content(b, a));
        // What is typed merges with what is typed, and counts beside anything else.
        let stated = |changes: &BTreeSet<u32>| -> BTreeSet<u32> {
            changes.iter().copied().filter(|change| !self.is_writing(*change)).collect()
        };
        let (stated_by_a, stated_by_b) = (stated(&of_a), stated(&of_b));
        let mixed = (!stated_by_a.is_subset(&stated_by_b) && !of_b.is_empty())
            || (!stated_by_b.is_subset(&stated_by_a) && !of_a.is_empty());
        mixed.then(|| (ConflictKind::SameResource, &of_a | &of_b))
    }

    fn deleted_and_edited(
        &self,
        deleted: u32,
        a: u32,
        b: u32,
    ) -> Option<(ConflictKind, BTreeSet<u32>)> {
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("lets-a-deletion-hide-an-edit") {
            return None;
        }
        let is_deleted = |touch| self.value(touch, deleted) == Some(Register::Flag(true));
        let edited = match (is_deleted(a), is_deleted(b)) {
            (true, false) => self.own_changes(b, a),
            (false, true) => self.own_changes(a, b),
            _ => return None,
        };
        let disputed = !edited.is_empty();
        disputed.then(|| (ConflictKind::DeletedAndEdited, BTreeSet::from([deleted])))
    }

    fn moved_and_edited(
        &self,
        moved: u32,
        a: u32,
        b: u32,
    ) -> Option<(ConflictKind, BTreeSet<u32>)> {
        let over = BTreeSet::from([moved]);
        let edited = match (self.value(a, moved), self.value(b, moved)) {
            (Some(here), Some(there)) if here != there => {
                return Some((ConflictKind::SameElement, over));
            }
            (Some(_), None) => self.own_changes(b, a),
            (None, Some(_)) => self.own_changes(a, b),
            _ => return None,
        };
        (!edited.is_empty()).then_some((ConflictKind::SameResource, over))
    }

    fn value(&self, touch: u32, element: u32) -> Option<Register> {
        let known = self.values.borrow().get(&(touch, element)).cloned();
        known.unwrap_or_else(|| {
            let value = (self.read)(&[touch], element);
            self.values.borrow_mut().insert((touch, element), value.clone());
            value
        })
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.story.elements.iter().copied().find(|element| (self.name)(*element) == name)
    }
}
