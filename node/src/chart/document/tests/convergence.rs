//! Three sites edit as they like, exchange as chance has it, and must end alike.

#![cfg(test)]

use super::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::collections::BTreeSet;

const RESOURCES: [&str; 3] = ["MedicationRequest/m", "Patient/p", "Observation/o"];
const ELEMENTS: [&str; 3] = ["status", "note", "birthDate"];

struct Chance(ChaCha20Rng);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound as u64) as usize
    }
}

struct World {
    chance: Chance,
    sites: Vec<Document>,
    changes: Vec<(u8, Vec<u8>)>,
    /// For each site, the changes that it has not taken yet.
    waiting: Vec<Vec<usize>>,
    time: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            chance: Chance(ChaCha20Rng::seed_from_u64(seed)),
            sites: (0..3).map(|site| Document::new(actor(site + 1))).collect(),
            changes: Vec::new(),
            waiting: vec![Vec::new(); 3],
            time: 0,
        };
        for resource in RESOURCES {
            if world.chance.below(4) > 0 {
                let body = world.body(resource);
                world.write(0, &[put(body)]);
            }
        }
        world.exchange_all();
        world
    }

    fn body(&mut self, resource: &str) -> Value {
        let (kind, id) = resource.split_once('/').unwrap();
        let mut body = json!({"resourceType": kind, "id": id});
        for element in ELEMENTS {
            if self.chance.below(3) > 0 {
                body[element] = self.value();
            }
        }
        body
    }

    fn value(&mut self) -> Value {
        match self.chance.below(3) {
            0 => json!(self.chance.below(3)),
            1 => json!(format!("v{}", self.chance.below(3))),
            _ => json!([{ "text": self.chance.below(3) }]),
        }
    }

    fn edit(&mut self, site: usize) -> Option<Edit> {
        let resource = RESOURCES[self.chance.below(RESOURCES.len())];
        let view = self.sites[site].view(&key(resource));
        Some(match (self.chance.below(20), view) {
            (_, None) | (0..3, _) => put(self.body(resource)),
            (3..5, _) => Edit::Delete(key(resource)),
            (5, _) => Edit::Move { key: key(resource), to: format!("d{}", self.chance.below(2)) },
            (6..12, Some(view)) if !view.conflicts.is_empty() => {
                let conflict = &view.conflicts[self.chance.below(view.conflicts.len())];
                let mixture = conflict.kind == ConflictKind::SameResource;
                let chosen = if mixture && self.chance.below(2) == 0 {
                    Choice::Both
                } else {
                    let values = &conflict.values;
                    Choice::Value(values[self.chance.below(values.len())].change.value_id())
                };
                let (element, seen) = (conflict.element.clone(), conflict.seen.clone());
                Edit::Resolve { key: key(resource), element, chosen, seen }
            }
            (_, Some(view)) if view.deleted => return None,
            _ => {
                let element = ELEMENTS[self.chance.below(ELEMENTS.len())].to_owned();
                let value = (self.chance.below(5) > 0).then(|| self.value());
                Edit::Set { key: key(resource), element, value }
            }
        })
    }

    fn write(&mut self, site: usize, edits: &[Edit]) {
        self.time += self.chance.below(2) as u64;
        match self.sites[site].write(self.time, edits) {
            Ok(Some(written)) => {
                let number = self.changes.len();
                self.changes.push((site as u8 + 1, written.bytes));
                for (other, waiting) in self.waiting.iter_mut().enumerate() {
                    if other != site {
                        waiting.push(number);
                    }
                }
            }
            Ok(None) | Err(ChartError::Deleted(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// One site takes a change that waits for it, if it can yet.
    fn exchange(&mut self, site: usize) {
        if self.waiting[site].is_empty() {
            return;
        }
        let at = self.chance.below(self.waiting[site].len());
        let (author, bytes) = &self.changes[self.waiting[site][at]];
        let before = self.sites[site].heads();
        match self.sites[site].apply(bytes, prefix(*author)) {
            Ok(applied) => {
                assert!(!applied.known);
                self.waiting[site].remove(at);
            }
            Err(ChartError::MissingDependencies(_)) => {
                assert_eq!(self.sites[site].heads(), before);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn exchange_all(&mut self) {
        while self.waiting.iter().any(|waiting| !waiting.is_empty()) {
            let site = self.chance.below(3);
            self.exchange(site);
        }
    }

    fn check(&self, seed: u64) {
        let [a, others @ ..] = self.sites.as_slice() else { unreachable!() };
        for other in others {
            for resource in a.keys() {
                assert_eq!(a.view(&resource), other.view(&resource), "seed {seed}");
                assert_eq!(a.history(&resource), other.history(&resource), "seed {seed}");
            }
            assert_eq!(a.digest(), other.digest(), "seed {seed}");
            assert_eq!(a.open_conflicts(), other.open_conflicts(), "seed {seed}");
        }
        let mut reloaded = Document::load(&self.sites[1].clone_saved(), actor(9)).unwrap();
        assert_eq!(reloaded.digest(), a.digest(), "seed {seed}");
        reloaded.keep();
    }
}

impl Document {
    fn clone_saved(&self) -> Vec<u8> {
        let start = postcard::to_extend(&self.journal, SAVED.to_vec()).unwrap();
        [start, self.automerge.save_nocompress()].concat()
    }

    /// The values of an element that nobody overwrote knowingly and that Automerge still holds.
    fn standing(&self, resource: &ResourceKey, element: &str) -> BTreeSet<String> {
        let name = register_key::name(resource, element);
        let found = self.automerge.get_all(ROOT, name).unwrap();
        let register = |value: automerge::Value<'_>| {
            register_key::from_scalar(&value.into_scalar().unwrap()).unwrap()
        };
        found.into_iter().map(|(value, _)| canonical(&register(value).value())).collect()
    }
}

#[test]
fn three_sites_end_alike_whatever_came_first() {
    for seed in 0..200 {
        let mut world = World::new(seed);
        for _ in 0..40 {
            let site = world.chance.below(3);
            if world.chance.below(3) == 0 {
                world.exchange(site);
            } else if let Some(edit) = world.edit(site) {
                world.write(site, &[edit]);
            }
        }
        world.exchange_all();
        world.check(seed);
    }
}

#[test]
fn a_value_that_somebody_stands_by_is_shown() {
    let mut checked = 0;
    for seed in 1000..1200 {
        let mut world = World::new(seed);
        for _ in 0..25 {
            let site = world.chance.below(3);
            if let Some(edit) = world.edit(site) {
                world.write(site, &[edit]);
            }
            world.exchange(site);
        }
        world.exchange_all();
        for resource in world.sites[0].keys() {
            let view = world.sites[0].view(&resource).unwrap();
            let whole = crate::chart::grain(&resource.kind) == crate::chart::Grain::Record;
            for element in ["_deleted", "_moved"] {
                let disputed = view.conflicts.iter().any(|c| c.element == element);
                let standing = world.sites[0].standing(&resource, element);
                assert!(disputed || standing.len() < 2, "seed {seed}: {element} {standing:?}");
            }
            let elements: &[&str] = if whole { &["_resource"] } else { &ELEMENTS };
            for element in elements {
                let standing = world.sites[0].standing(&resource, element);
                if standing.len() > 1 {
                    let conflict = view.conflicts.iter().find(|c| c.element == *element);
                    let conflict = conflict.unwrap_or_else(|| panic!("seed {seed}: {standing:?}"));
                    let shown: BTreeSet<String> =
                        conflict.values.iter().flat_map(|v| &v.value).map(canonical).collect();
                    assert!(standing.is_subset(&shown), "seed {seed}: {standing:?} {shown:?}");
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 50, "only {checked} conflicts came up");
}

#[test]
fn deciding_everything_ends_every_conflict() {
    for seed in 2000..2100 {
        let mut world = World::new(seed);
        for _ in 0..30 {
            let site = world.chance.below(3);
            if let Some(edit) = world.edit(site) {
                world.write(site, &[edit]);
            }
        }
        world.exchange_all();
        for round in 0.. {
            assert!(round < 50, "seed {seed}: deciding never ends");
            let document = &world.sites[0];
            let Some(resource) = document.open_conflicts().into_iter().next() else { break };
            let conflict = document.view(&resource).unwrap().conflicts.swap_remove(0);
            let pick = world.chance.below(conflict.values.len());
            let chosen = Choice::Value(conflict.values[pick].change.value_id());
            let (element, seen) = (conflict.element.clone(), conflict.seen);
            let decision = Edit::Resolve { key: resource.clone(), element, chosen, seen };
            world.write(0, &[decision]);
            let view = world.sites[0].view(&resource).unwrap();
            if conflict.kind == ConflictKind::SameElement && conflict.element != "_moved" {
                let whole = conflict.element == "_resource";
                let body = view.body.as_object().unwrap().clone();
                let expected = conflict.values[pick].value.clone();
                let shown = if whole {
                    let mut body = body;
                    body.remove("id");
                    body.remove("resourceType");
                    Some(Value::Object(body))
                } else {
                    body.get(&conflict.element).cloned()
                };
                assert_eq!(shown, expected, "seed {seed}");
            }
            assert!(view.conflicts.iter().all(|c| c.element != conflict.element), "seed {seed}");
        }
        world.exchange_all();
        world.check(seed);
    }
}
