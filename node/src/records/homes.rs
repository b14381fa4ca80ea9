//! Resources that stand in more than one document.
//!
//! A resource moves by a full copy in its new home and a mark in the old one. It may also come to
//! have two homes without a move: two nodes that put the same id apart, one with a security label
//! or with its volume full. Of all documents that hold it those *speak* for it that it has not left
//! for another that is here. Where several speak and do not say the same, that is a conflict like
//! any other: a function of what is held, the same on every node, open until a person chooses, who
//! thereby moves the others into the chosen home. So nothing is written into a home that does not
//! speak, and whatever is written into one makes it speak.

use super::write::Plan;
use super::{Records, RecordsError};
use crate::chart::{
    ChartError, Choice, ConflictKind, Edit, Resource, ResourceKey, Section, View, WHOLE, canonical,
    home,
};
use carnet_sync_protocol::id::DocumentId;
use data_encoding::HEXLOWER;
use std::collections::BTreeSet;

/// A resource as one document shows it.
pub(super) type Standing = (DocumentId, View);

/// The homes of a resource that speak for it, the one that is shown first.
pub(super) struct Homes {
    pub speaking: Vec<Standing>,
}

/// One side of a dispute between homes.
pub(super) struct Side<'a> {
    /// By what a person chooses it.
    pub value_id: String,
    pub standing: &'a Standing,
}

/// Homes that do not say the same.
pub(super) struct Rivalry<'a> {
    pub kind: ConflictKind,
    /// Names what they say.
    pub seen: String,
    /// Each different thing that is said, once.
    pub sides: Vec<Side<'a>>,
}

impl Homes {
    /// Of every document that holds the resource, in order of id, those that speak for it.
    pub fn of(views: Vec<Standing>) -> Self {
        let mut left_for = BTreeSet::new();
        let speaks: Vec<bool> = views
            .iter()
            .map(|(id, view)| match &view.moved {
                None => true,
                // The new home is still on its way. Where several left for it, one tells.
                Some(to) if place(&views, to).is_none() => left_for.insert(to.clone()),
                Some(_) => is_led_back(&views, id),
            })
            .collect();
        let pairs = views.into_iter().zip(speaks);
        let mut speaking: Vec<Standing> =
            pairs.filter_map(|(standing, speaks)| speaks.then_some(standing)).collect();
        // What is disputed stays visible, and restricted if anybody labelled it so.
        speaking.sort_by_key(|(id, view)| (view.deleted, !is_restricted(view), *id));
        Self { speaking }
    }

    /// The home that is shown.
    pub fn shown(&self) -> Option<&Standing> {
        self.speaking.first()
    }

    /// Whether this home speaks.
    pub fn speaks(&self, document: &DocumentId) -> bool {
        self.speaking.iter().any(|(id, _)| id == document)
    }

    /// What the homes disagree about, if they do.
    pub fn rivalry(&self) -> Option<Rivalry<'_>> {
        if self.speaking.len() < 2 {
            return None;
        }
        let mut said = BTreeSet::new();
        let mut sides = Vec::new();
        for standing in &self.speaking {
            if said.insert((canonical(&standing.1.body), standing.1.deleted)) {
                sides.push(Side { value_id: value_id(standing), standing });
            }
        }
        let deleted = sides.iter().filter(|side| side.standing.1.deleted).count();
        if sides.len() < 2 || deleted == sides.len() {
            return None;
        }
        let kind = match deleted {
            0 => ConflictKind::SameResource,
            _ => ConflictKind::DeletedAndEdited,
        };
        let mut digest = blake3::Hasher::new_derive_key("carnet 2026 rival homes v1");
        for (id, view) in &self.speaking {
            digest.update(id.as_bytes());
            digest.update(&(view.heads.len() as u64).to_le_bytes());
            view.heads.iter().for_each(|head| {
                digest.update(&head.0);
            });
        }
        let seen = HEXLOWER.encode(&digest.finalize().as_bytes()[..8]);
        Some(Rivalry { kind, seen, sides })
    }
}

/// Where in `views` the document is that a move names.
fn place(views: &[Standing], to: &str) -> Option<usize> {
    views.iter().position(|(id, _)| id.to_string() == to)
}

/// Whether the moves lead from a home back to it: two people chose differently, apart.
fn is_led_back(views: &[Standing], start: &DocumentId) -> bool {
    let mut at = views.iter().position(|(id, _)| id == start);
    for _ in 0..views.len() {
        let moved = at.and_then(|at| views[at].1.moved.as_deref());
        at = moved.and_then(|to| place(views, to));
        match at {
            Some(at) if views[at].0 == *start => return true,
            Some(_) => {}
            None => return false,
        }
    }
    false
}

fn is_restricted(view: &View) -> bool {
    let resource = Resource::from_value(view.body.clone());
    resource.is_ok_and(|resource| home(&resource).section == Section::Restricted)
}

/// Short like other values' ids: of the change that says it, or of all that do.
fn value_id((_, view): &Standing) -> String {
    match view.heads.as_slice() {
        [one] => one.value_id(),
        many => {
            let mut digest = blake3::Hasher::new_derive_key("carnet 2026 merged value v1");
            many.iter().for_each(|head| {
                digest.update(&head.0);
            });
            HEXLOWER.encode(&digest.finalize().as_bytes()[..8])
        }
    }
}

impl Records {
    /// The homes that speak for a resource; none if it is not known.
    pub(super) fn homes_of(&mut self, key: &ResourceKey) -> Result<Homes, RecordsError> {
        let mut views = Vec::new();
        for home in self.charts()?.index.homes(&key.kind, &key.id)? {
            let view = self.with_document(&home, |_, r| Ok(r.document.view(key)))?;
            views.extend(view.map(|view| (home, view)));
        }
        Ok(Homes::of(views))
    }

    /// Plans to leave for `to` every home that speaks, unless they dispute something.
    pub(super) fn plan_gather(
        &self,
        key: &ResourceKey,
        homes: &Homes,
        to: &DocumentId,
        plan: &mut Plan,
    ) -> Result<(), RecordsError> {
        let from = match homes.rivalry() {
            None => homes.speaking.as_slice(),
            Some(_) => &[],
        };
        self.plan_moves(key, from, to, plan)
    }

    /// Plans to leave these homes for `to`.
    pub(super) fn plan_moves(
        &self,
        key: &ResourceKey,
        from: &[Standing],
        to: &DocumentId,
        plan: &mut Plan,
    ) -> Result<(), RecordsError> {
        for (home, _) in from.iter().filter(|(home, _)| home != to) {
            let channel = self.channel_of_document(home)?;
            let edit = Edit::Move { key: key.clone(), to: to.to_string() };
            plan.entry((channel, *home)).or_default().push(edit);
        }
        Ok(())
    }

    /// Plans a person's choice between homes: the others are left for it.
    pub(super) fn plan_settlement(
        &self,
        key: &ResourceKey,
        homes: &Homes,
        chosen: &Choice,
        plan: &mut Plan,
    ) -> Result<(), RecordsError> {
        let element = || WHOLE.to_owned();
        let Some(rivalry) = homes.rivalry() else {
            return Err(ChartError::NoSuchConflict { key: key.clone(), element: element() }.into());
        };
        let Choice::Value(chosen) = chosen else {
            return Err(ChartError::OnlyOne { key: key.clone(), element: element() }.into());
        };
        let side = rivalry.sides.iter().find(|side| side.value_id == *chosen);
        let (document, view) = side
            .ok_or_else(|| ChartError::NoSuchValue { key: key.clone(), element: element() })?
            .standing;
        let left_for_another = view
            .moved
            .as_ref()
            .is_some_and(|to| homes.speaking.iter().any(|(id, _)| id.to_string() == *to));
        if left_for_another {
            let channel = self.channel_of_document(document)?;
            plan.entry((channel, *document)).or_default().push(Edit::Stay(key.clone()));
        }
        self.plan_moves(key, &homes.speaking, document, plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::ChangeHash;
    use serde_json::json;

    fn id(number: u8) -> DocumentId {
        DocumentId([number; 16])
    }

    /// A home that says something, and has moved to another or not.
    fn standing(number: u8, says: &str, moved: Option<u8>) -> Standing {
        let body = json!({"resourceType": "Basic", "id": "x", "says": says});
        let (first, heads) = (ChangeHash([number; 32]), vec![ChangeHash([number; 32])]);
        let moved = moved.map(|to| id(to).to_string());
        (id(number), View { body, deleted: false, moved, first, heads, conflicts: Vec::new() })
    }

    fn speaking(views: &[Standing]) -> Vec<u8> {
        Homes::of(views.to_vec()).speaking.iter().map(|(id, _)| id.0[0]).collect()
    }

    #[test]
    fn a_home_speaks_until_it_is_left_for_one_that_is_here() {
        let of = |number, moved| standing(number, "it", moved);
        assert_eq!(speaking(&[of(1, None)]), [1]);
        assert_eq!(speaking(&[of(1, Some(2)), of(2, None)]), [2]);
        assert_eq!(speaking(&[of(1, Some(2))]), [1], "the new one is on its way");
        assert_eq!(speaking(&[of(1, Some(9)), of(2, Some(9))]), [1], "one tells for both");
        assert_eq!(speaking(&[of(1, Some(9)), of(2, None)]), [1, 2], "nothing is hidden");
        assert_eq!(speaking(&[of(1, Some(2)), of(2, Some(1)), of(3, Some(1))]), [1, 2]);
        assert_eq!(speaking(&[of(1, Some(1))]), [1], "no node writes that; it hides nothing");
        assert_eq!(speaking(&[of(1, Some(2)), of(2, Some(3)), of(3, None)]), [3]);
        assert_eq!(speaking(&[]), [0; 0]);
    }

    #[test]
    fn a_rivalry_lists_each_different_thing_once_and_is_named_by_all() {
        let one = standing(1, "a", None);
        assert!(Homes::of(vec![one.clone(), standing(2, "a", None)]).rivalry().is_none());
        let homes = Homes::of(vec![one.clone(), standing(2, "a", None), standing(3, "b", None)]);
        let rivalry = homes.rivalry().unwrap();
        let sides: Vec<_> = rivalry.sides.iter().map(|side| side.standing.0.0[0]).collect();
        assert_eq!(sides, [1, 3]);
        let fewer = Homes::of(vec![one, standing(3, "b", None)]);
        assert_ne!(fewer.rivalry().unwrap().seen, rivalry.seen);
    }

    #[test]
    fn what_is_deleted_everywhere_is_no_rivalry_and_what_is_not_stays_visible() {
        let mut gone = standing(1, "a", None);
        gone.1.deleted = true;
        let mut too = standing(2, "b", None);
        let homes = Homes::of(vec![gone.clone(), too.clone()]);
        assert_eq!(homes.rivalry().unwrap().kind, ConflictKind::DeletedAndEdited);
        assert_eq!(homes.shown().unwrap().0, id(2));
        too.1.deleted = true;
        assert!(Homes::of(vec![gone, too]).rivalry().is_none());
    }
}
