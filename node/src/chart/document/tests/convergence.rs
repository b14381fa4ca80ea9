//! Three sites edit as they like, exchange as chance has it, and must end alike.

#![cfg(test)]

use super::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::collections::BTreeSet;

const RESOURCES: [&str; 4] = ["MedicationRequest/m", "Patient/p", "Observation/o", NOTE];
const ELEMENTS: [&str; 3] = ["status", "note", "birthDate"];
const NOTE: &str = "Composition/c";
const NOTE_ELEMENTS: [&str; 4] = ["status", "title", "text", "section"];

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
    resources: &'static [&'static str],
    /// Words of notes that are shown somewhere, and those that somebody took out knowingly.
    words: usize,
    written: BTreeSet<String>,
    removed: BTreeSet<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self::of(&RESOURCES, seed)
    }

    fn of(resources: &'static [&'static str], seed: u64) -> Self {
        let mut world = Self {
            chance: Chance(ChaCha20Rng::seed_from_u64(seed)),
            sites: (0..3).map(|site| Document::new(actor(site + 1))).collect(),
            changes: Vec::new(),
            waiting: vec![Vec::new(); 3],
            time: 0,
            resources,
            words: 0,
            written: BTreeSet::new(),
            removed: BTreeSet::new(),
        };
        for resource in resources {
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
        let elements = if resource == NOTE { NOTE_ELEMENTS.as_slice() } else { &ELEMENTS };
        for element in elements {
            if self.chance.below(3) > 0 {
                body[*element] = self.value_of(resource, element, &Value::Null);
            }
        }
        body
    }

    fn value_of(&mut self, resource: &str, element: &str, before: &Value) -> Value {
        match element {
            "status" if resource == NOTE => match self.chance.below(6) {
                0 => json!("final"),
                1 => json!("amended"),
                _ => json!("preliminary"),
            },
            "text" => self.narrative(before),
            "section" => {
                let mut sections = before.as_array().cloned().unwrap_or_default();
                if sections.is_empty() || self.chance.below(4) == 0 {
                    let title = format!("t{}", self.chance.below(4));
                    let at = self.chance.below(sections.len() + 1);
                    sections.insert(at, json!({"title":title,"text":self.narrative(&Value::Null)}));
                } else {
                    let at = self.chance.below(sections.len());
                    match self.chance.below(8) {
                        0 => drop(sections.remove(at)),
                        1 => sections[at]["title"] = json!("renamed"),
                        2 => sections.reverse(),
                        _ => sections[at]["text"] = self.narrative(&sections[at]["text"].clone()),
                    }
                }
                Value::Array(sections)
            }
            _ => self.value(),
        }
    }

    fn value(&mut self) -> Value {
        match self.chance.below(3) {
            0 => json!(self.chance.below(3)),
            1 => json!(format!("v{}", self.chance.below(3))),
            _ => json!([{ "text": self.chance.below(3) }]),
        }
    }

    /// A narrative with some more words, and some fewer.
    fn narrative(&mut self, before: &Value) -> Value {
        let before = before["div"].as_str().unwrap_or_default();
        let mut words: Vec<String> = before.split_whitespace().map(str::to_owned).collect();
        if !words.is_empty() && self.chance.below(3) == 0 {
            words.remove(self.chance.below(words.len()));
        }
        for _ in 0..=self.chance.below(2) {
            self.words += 1;
            let at = self.chance.below(words.len() + 1);
            words.insert(at, format!("w{:04}q", self.words));
        }
        json!({ "div": words.join(" ") })
    }

    /// The words of the note that a site shows: all of them, and those outside of conflicts.
    fn shown(&self, site: usize) -> [BTreeSet<String>; 2] {
        // Among other resources, words would be counted at every write of these.
        let view = (self.resources.len() < 2).then(|| self.sites[site].view(&key(NOTE))).flatten();
        let Some(view) = view else { return Default::default() };
        let values = view.conflicts.iter().flat_map(|conflict| &conflict.values);
        let disputed: String = values.flat_map(|value| &value.value).map(canonical).collect();
        let body = words(&canonical(&view.body));
        [&words(&disputed) | &body, body]
    }

    fn edit(&mut self, site: usize) -> Option<Edit> {
        let resource = self.resources[self.chance.below(self.resources.len())];
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
            (_, Some(view)) => {
                let elements = if resource == NOTE { NOTE_ELEMENTS.as_slice() } else { &ELEMENTS };
                let element = elements[self.chance.below(elements.len())].to_owned();
                let before = view.body[&element].clone();
                let value =
                    (self.chance.below(8) > 0).then(|| self.value_of(resource, &element, &before));
                Edit::Set { key: key(resource), element, value }
            }
        })
    }

    fn write(&mut self, site: usize, edits: &[Edit]) {
        self.time += self.chance.below(2) as u64;
        let before = self.shown(site);
        let outcome = self.sites[site].write(self.time, edits);
        let after = self.shown(site);
        for (before, after) in before.iter().zip(&after) {
            self.removed.extend(before - after);
        }
        let [after, _] = after;
        self.written.extend(after);
        match outcome {
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

    fn first_conflict(&self) -> Option<Conflict> {
        self.sites[0].view(&key(NOTE))?.conflicts.into_iter().next()
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
        let [shown, _] = self.shown(0);
        let hidden =
            self.written.iter().find(|w| !shown.contains(*w) && !self.removed.contains(*w));
        assert_eq!(hidden, None, "seed {seed}: a word vanished that nobody took out");
        let mut reloaded = Document::load(&self.sites[1].clone_saved(), actor(9)).unwrap();
        assert_eq!(reloaded.digest(), a.digest(), "seed {seed}");
        reloaded.keep();
    }
}

fn words(text: &str) -> BTreeSet<String> {
    let starts = text.match_indices('w').map(|(at, _)| at);
    let words = starts.filter_map(|at| text.get(at..at + 6)).filter(|word| word.ends_with('q'));
    words.map(str::to_owned).collect()
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
fn no_word_of_a_note_vanishes_unseen() {
    for seed in 3000..3060 {
        let mut world = World::of(&[NOTE], seed);
        for _ in 0..20 {
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
fn three_who_only_type_have_all_their_words_in_the_draft_until_one_signs() {
    let mut met = 0;
    for seed in 4000..4080 {
        let mut world = World::of(&[], seed);
        let start = json!({"resourceType":"Composition","id":"c","status":"preliminary",
            "text":{"div":"w"},"section":[{"title":"a","text":{"div":"x"}},{"title":"b"}]});
        world.write(0, &[put(start)]);
        world.exchange_all();
        for _ in 0..25 {
            let site = world.chance.below(3);
            if world.chance.below(3) == 0 {
                world.exchange(site);
                continue;
            }
            let before = world.sites[site].view(&key(NOTE)).unwrap().body;
            let (element, typed) = match world.chance.below(2) {
                0 => ("text", world.narrative(&before["text"])),
                _ => {
                    let mut sections = before["section"].clone();
                    sections[0]["text"] = world.narrative(&sections[0]["text"]);
                    ("section", sections)
                }
            };
            world.write(site, &[set(NOTE, element, typed)]);
        }
        let signs = world.chance.below(2) == 0;
        if signs {
            world.write(1, &[set(NOTE, "status", json!("final"))]);
        }
        let signed = world.sites[1].view(&key(NOTE)).unwrap().body;
        world.exchange_all();
        world.check(seed);
        let body = world.sites[0].view(&key(NOTE)).unwrap().body;
        if signs {
            assert_eq!(body, signed, "seed {seed}");
        } else {
            let expected = &world.written - &world.removed;
            assert!(expected.is_subset(&words(&canonical(&body))), "seed {seed}");
            // Words that met are listed; who keeps them keeps what stands there.
            while let Some(conflict) = world.first_conflict() {
                assert_eq!(conflict.kind, ConflictKind::SameResource, "seed {seed}");
                let (element, seen) = (conflict.element, conflict.seen);
                let chosen = Choice::Both;
                world.write(0, &[Edit::Resolve { key: key(NOTE), element, chosen, seen }]);
                met += 1;
            }
            assert_eq!(world.sites[0].view(&key(NOTE)).unwrap().body, body, "seed {seed}");
        }
    }
    assert!(met > 10, "words met {met} times only");
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
            // What stands in a note is asked for by its words, in `check`.
            let elements: &[&str] = match (whole, resource.kind.as_str()) {
                (true, _) => &["_resource"],
                (false, "Composition") => &[],
                _ => &ELEMENTS,
            };
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
