//! Documents as people use them: alone, apart, and together again.

#![cfg(test)]

mod campaign;
mod convergence;
mod measure;
mod notes;
mod samples;

use super::*;
use crate::chart::{Resource, parse_json};
use serde_json::json;

pub(super) fn actor(number: u8) -> [u8; 16] {
    [number; 16]
}

pub(super) fn prefix(number: u8) -> [u8; 8] {
    [number; 8]
}

fn key(text: &str) -> ResourceKey {
    ResourceKey::parse(text).unwrap()
}

fn put(body: Value) -> Edit {
    Edit::Put(Resource::from_value(body).unwrap())
}

fn set(resource: &str, element: &str, value: Value) -> Edit {
    Edit::Set { key: key(resource), element: element.into(), value: Some(value) }
}

fn order() -> Value {
    json!({"resourceType":"MedicationRequest","id":"m","status":"active","intent":"order",
        "dosageInstruction":[{"text":"5 mg"}],"subject":{"reference":"Patient/p"}})
}

/// Two sites that hold the same, and the changes that each made since.
struct Sites {
    a: Document,
    b: Document,
    of_a: Vec<Vec<u8>>,
    of_b: Vec<Vec<u8>>,
}

impl Sites {
    fn with(start: &[Edit]) -> Self {
        let mut a = Document::new(actor(1));
        let mut b = Document::new(actor(2));
        let first = a.write(1, start).unwrap().unwrap();
        b.apply(&first.bytes, prefix(1)).unwrap();
        Self { a, b, of_a: Vec::new(), of_b: Vec::new() }
    }

    fn at_a(&mut self, edit: Edit) {
        self.of_a.push(self.a.write(10, &[edit]).unwrap().unwrap().bytes);
    }

    fn at_b(&mut self, edit: Edit) {
        self.of_b.push(self.b.write(20, &[edit]).unwrap().unwrap().bytes);
    }

    fn meet(&mut self) {
        for change in self.of_a.drain(..) {
            self.b.apply(&change, prefix(1)).unwrap();
        }
        for change in self.of_b.drain(..) {
            self.a.apply(&change, prefix(2)).unwrap();
        }
        assert_eq!(self.a.heads(), self.b.heads());
        assert_eq!(self.a.digest(), self.b.digest());
        for resource in self.a.keys() {
            assert_eq!(self.a.view(&resource), self.b.view(&resource));
            assert_eq!(self.a.history(&resource), self.b.history(&resource));
        }
    }

    fn conflicts(&self, resource: &str) -> Vec<(String, &'static str, Vec<Value>)> {
        let view = self.a.view(&key(resource)).unwrap();
        let plain = |conflict: Conflict| {
            let values = conflict.values.into_iter().map(|v| v.value.unwrap_or_default());
            let mut values: Vec<Value> = values.collect();
            values.sort_by_key(canonical);
            (conflict.element, conflict.kind.as_str(), values)
        };
        view.conflicts.into_iter().map(plain).collect()
    }

    fn choose(&self, resource: &str, element: &str, value: &Value) -> Edit {
        let view = self.a.view(&key(resource)).unwrap();
        let conflict = view.conflicts.iter().find(|c| c.element == element).unwrap();
        let picked = conflict.values.iter().find(|v| v.value.as_ref() == Some(value)).unwrap();
        Edit::Resolve {
            key: key(resource),
            element: element.into(),
            chosen: Choice::Value(picked.change.value_id()),
            seen: conflict.seen.clone(),
        }
    }
}

#[test]
fn a_resource_is_written_read_changed_and_removed() {
    let mut document = Document::new(actor(1));
    let written = document.write(5, &[put(order())]).unwrap().unwrap();
    assert_eq!(written.touched, [key("MedicationRequest/m")]);
    let view = document.view(&key("MedicationRequest/m")).unwrap();
    assert_eq!((view.body, view.heads), (order(), vec![written.hash]));
    assert_eq!(document.write(6, &[put(order())]).unwrap(), None);

    document.write(7, &[set("MedicationRequest/m", "status", json!("stopped"))]).unwrap();
    let removal = Edit::Set {
        key: key("MedicationRequest/m"),
        element: "dosageInstruction".into(),
        value: None,
    };
    document.write(8, &[removal]).unwrap();
    let body = document.view(&key("MedicationRequest/m")).unwrap().body;
    assert_eq!(body["status"], "stopped");
    assert!(body.get("dosageInstruction").is_none());

    document.write(9, &[Edit::Delete(key("MedicationRequest/m"))]).unwrap().unwrap();
    assert_eq!(document.write(9, &[Edit::Delete(key("MedicationRequest/m"))]), Ok(None));
    let edit = set("MedicationRequest/m", "status", json!("active"));
    assert!(matches!(document.write(9, &[edit]), Err(ChartError::Deleted(_))));
    document.write(10, &[put(order())]).unwrap().unwrap();
    let view = document.view(&key("MedicationRequest/m")).unwrap();
    assert!(!view.deleted && view.body == order());

    let history = document.history(&key("MedicationRequest/m"));
    assert_eq!(history.iter().map(|v| v.unix_ms).collect::<Vec<_>>(), [5, 7, 8, 9, 10]);
    assert_eq!(
        history.iter().map(|v| v.deleted).collect::<Vec<_>>(),
        [false, false, false, true, false]
    );
    assert_eq!(history[0].body, order());
}

#[test]
fn a_failing_edit_leaves_nothing_behind() {
    let mut document = Document::new(actor(1));
    let edits = [put(order()), set("Patient/none", "active", json!(true))];
    assert!(matches!(document.write(1, &edits), Err(ChartError::NotFound(_))));
    assert!(document.is_empty() && document.change_count() == 0);
    document.write(1, &[put(order())]).unwrap();
    for element in ["id", "medication", "a/b", "__resource", "", "resourceType"] {
        let edit = set("MedicationRequest/m", element, json!(1));
        assert!(matches!(document.write(1, &[edit]), Err(ChartError::NoSuchElement { .. })));
    }
}

#[test]
fn records_merge_whole_and_their_elements_can_be_set() {
    let mut sites = Sites::with(&[put(json!({"resourceType":"Observation","id":"o",
        "status":"final","valueQuantity":{"value":1},"_valueQuantity":{"id":"v"}}))]);
    sites.at_a(set("Observation/o", "valueString", json!("high")));
    sites.at_b(set("Observation/o", "status", json!("amended")));
    let body = sites.a.view(&key("Observation/o")).unwrap().body;
    assert_eq!(
        body,
        json!({"resourceType":"Observation","id":"o","status":"final","valueString":"high"})
    );
    sites.meet();
    let conflicts = sites.conflicts("Observation/o");
    assert_eq!(conflicts.len(), 1);
    assert_eq!((conflicts[0].0.as_str(), conflicts[0].1), ("_resource", "same-element"));
    let choice =
        sites.choose("Observation/o", "_resource", &json!({"status":"final","valueString":"high"}));
    sites.at_b(choice);
    sites.meet();
    assert!(sites.conflicts("Observation/o").is_empty());
    assert_eq!(sites.a.view(&key("Observation/o")).unwrap().body["valueString"], "high");
}

#[test]
fn the_same_dose_changed_twice_is_a_conflict_until_somebody_decides() {
    let mut sites = Sites::with(&[put(order())]);
    let dose = |text: &str| json!([{ "text": text }]);
    sites.at_a(set("MedicationRequest/m", "dosageInstruction", dose("10 mg")));
    sites.at_a(set("MedicationRequest/m", "dosageInstruction", dose("6 mg")));
    sites.at_b(set("MedicationRequest/m", "dosageInstruction", dose("7 mg")));
    sites.meet();
    let expected =
        ("dosageInstruction".to_owned(), "same-element", vec![dose("6 mg"), dose("7 mg")]);
    assert_eq!(sites.conflicts("MedicationRequest/m"), [expected]);

    // An edit is no decision, and what it says joins what is shown.
    let stale = sites.choose("MedicationRequest/m", "dosageInstruction", &dose("6 mg"));
    sites.at_a(set("MedicationRequest/m", "dosageInstruction", dose("8 mg")));
    sites.meet();
    assert_eq!(sites.conflicts("MedicationRequest/m")[0].2.len(), 3);
    let refused = sites.a.write(1, &[stale]);
    assert!(matches!(refused, Err(ChartError::ConflictChanged { .. })));

    let choice = sites.choose("MedicationRequest/m", "dosageInstruction", &dose("7 mg"));
    sites.at_b(choice);
    sites.meet();
    assert!(sites.conflicts("MedicationRequest/m").is_empty());
    let body = sites.a.view(&key("MedicationRequest/m")).unwrap().body;
    assert_eq!(body["dosageInstruction"], dose("7 mg"));
    assert!(sites.a.open_conflicts().is_empty());
}

#[test]
fn stopped_here_and_raised_there_is_a_conflict_of_the_order() {
    let mut sites = Sites::with(&[put(order())]);
    sites.at_a(set("MedicationRequest/m", "status", json!("stopped")));
    sites.at_a(set("MedicationRequest/m", "note", json!([{"text":"rash"}])));
    sites.at_b(set("MedicationRequest/m", "dosageInstruction", json!([{"text":"10 mg"}])));
    sites.meet();
    let stopped =
        json!({"status":"stopped","note":[{"text":"rash"}],"dosageInstruction":[{"text":"5 mg"}]});
    let raised = json!({"status":"active","dosageInstruction":[{"text":"10 mg"}]});
    let mut values = vec![stopped.clone(), raised];
    values.sort_by_key(canonical);
    let expected = ("_resource".to_owned(), "same-resource", values);
    assert_eq!(sites.conflicts("MedicationRequest/m"), [expected]);

    let choice = sites.choose("MedicationRequest/m", "_resource", &stopped);
    sites.at_a(choice);
    sites.meet();
    assert!(sites.conflicts("MedicationRequest/m").is_empty());
    let body = sites.b.view(&key("MedicationRequest/m")).unwrap().body;
    assert_eq!(
        (&body["status"], &body["dosageInstruction"][0]["text"]),
        (&json!("stopped"), &json!("5 mg"))
    );
}

#[test]
fn keeping_both_keeps_what_merged() {
    let mut sites = Sites::with(&[put(order())]);
    sites.at_a(set("MedicationRequest/m", "priority", json!("urgent")));
    sites.at_b(set("MedicationRequest/m", "dosageInstruction", json!([{"text":"10 mg"}])));
    sites.meet();
    let view = sites.a.view(&key("MedicationRequest/m")).unwrap();
    let both = Edit::Resolve {
        key: key("MedicationRequest/m"),
        element: "_resource".into(),
        chosen: Choice::Both,
        seen: view.conflicts[0].seen.clone(),
    };
    sites.at_a(both);
    sites.meet();
    let after = sites.b.view(&key("MedicationRequest/m")).unwrap();
    assert_eq!((after.body, after.conflicts), (view.body, Vec::new()));
}

#[test]
fn a_patients_address_and_name_merge_and_equal_edits_agree() {
    let mut sites =
        Sites::with(&[put(json!({"resourceType":"Patient","id":"p","gender":"female"}))]);
    sites.at_a(set("Patient/p", "address", json!([{"city":"Sédhiou"}])));
    sites.at_b(set("Patient/p", "name", json!([{"family":"Diallo"}])));
    sites.at_a(set("Patient/p", "birthDate", json!("1970-01-01")));
    sites.at_b(set("Patient/p", "birthDate", json!("1970-01-01")));
    sites.meet();
    assert!(sites.conflicts("Patient/p").is_empty());
    assert!(sites.a.open_conflicts().is_empty());
    let body = sites.a.view(&key("Patient/p")).unwrap().body;
    assert_eq!(
        (&body["address"][0]["city"], &body["name"][0]["family"]),
        (&json!("Sédhiou"), &json!("Diallo"))
    );
}

#[test]
fn the_same_resource_made_twice_keeps_every_field() {
    let mut sites = Sites::with(&[put(json!({"resourceType":"Patient","id":"other"}))]);
    sites.at_a(put(json!({"resourceType":"Patient","id":"p","gender":"female","active":true})));
    sites.at_b(put(json!({"resourceType":"Patient","id":"p","gender":"male","birthDate":"1970"})));
    sites.meet();
    let expected = ("gender".to_owned(), "same-element", vec![json!("female"), json!("male")]);
    assert_eq!(sites.conflicts("Patient/p"), [expected]);
    let body = sites.a.view(&key("Patient/p")).unwrap().body;
    assert_eq!((&body["active"], &body["birthDate"]), (&json!(true), &json!("1970")));
}

#[test]
fn deleted_here_and_edited_there_stays_visible_until_somebody_decides() {
    let mut sites =
        Sites::with(&[put(json!({"resourceType":"Observation","id":"o","status":"final"}))]);
    sites.at_a(Edit::Delete(key("Observation/o")));
    sites.at_b(set("Observation/o", "status", json!("amended")));
    sites.meet();
    let view = sites.a.view(&key("Observation/o")).unwrap();
    assert!(!view.deleted);
    assert_eq!(view.conflicts.len(), 1);
    let conflict = &view.conflicts[0];
    assert_eq!(
        (conflict.element.as_str(), conflict.kind),
        ("_deleted", ConflictKind::DeletedAndEdited)
    );
    let decide = |chosen: Choice| Edit::Resolve {
        key: key("Observation/o"),
        element: "_deleted".into(),
        chosen,
        seen: conflict.seen.clone(),
    };
    assert!(matches!(sites.a.write(1, &[decide(Choice::Both)]), Err(ChartError::OnlyOne { .. })));
    let gone = conflict.values.iter().find(|value| value.deleted).unwrap();
    let kept = conflict.values.iter().find(|value| !value.deleted).unwrap();
    // Two people decide apart, differently: that is disputed anew.
    sites.at_a(decide(Choice::Value(gone.change.value_id())));
    sites.at_b(decide(Choice::Value(kept.change.value_id())));
    sites.meet();
    let view = sites.a.view(&key("Observation/o")).unwrap();
    assert!(!view.deleted && view.conflicts.len() == 1);
    let conflict = &view.conflicts[0];
    let gone = conflict.values.iter().find(|value| value.deleted).unwrap();
    let chosen = Choice::Value(gone.change.value_id());
    let (element, seen) = ("_deleted".to_owned(), conflict.seen.clone());
    sites.at_b(Edit::Resolve { key: key("Observation/o"), element, chosen, seen });
    sites.meet();
    let view = sites.a.view(&key("Observation/o")).unwrap();
    assert!(view.deleted && view.conflicts.is_empty());
}

#[test]
fn an_edit_apart_from_a_move_is_a_conflict() {
    let mut sites =
        Sites::with(&[put(json!({"resourceType":"Observation","id":"o","status":"final"}))]);
    sites.at_a(Edit::Move { key: key("Observation/o"), to: "elsewhere".into() });
    sites.at_b(set("Observation/o", "status", json!("amended")));
    sites.meet();
    let view = sites.b.view(&key("Observation/o")).unwrap();
    assert_eq!(view.moved.as_deref(), Some("elsewhere"));
    assert_eq!(view.conflicts[0].element, "_moved");
    assert_eq!(view.conflicts[0].kind, ConflictKind::SameResource);
}

#[test]
fn people_who_decide_apart_agree_or_dispute_anew() {
    for agree in [true, false] {
        let mut sites = Sites::with(&[put(order())]);
        sites.at_a(set("MedicationRequest/m", "status", json!("stopped")));
        sites.at_b(set("MedicationRequest/m", "status", json!("on-hold")));
        sites.meet();
        let here = sites.choose("MedicationRequest/m", "status", &json!("stopped"));
        let there = if agree { "stopped" } else { "on-hold" };
        let there = sites.choose("MedicationRequest/m", "status", &json!(there));
        sites.at_a(here);
        sites.at_b(there);
        sites.meet();
        let open = sites.conflicts("MedicationRequest/m");
        let body = sites.a.view(&key("MedicationRequest/m")).unwrap().body;
        if agree {
            assert!(open.is_empty() && body["status"] == "stopped");
        } else {
            let both = vec![json!("on-hold"), json!("stopped")];
            assert_eq!(open, [("status".to_owned(), "same-element", both)]);
        }
    }
}

#[test]
fn a_value_that_only_one_side_had_seen_overwritten_is_not_lost() {
    // a and b disagree; a third party merges both with an edit that decides nothing, while b goes
    // on alone: what a said is still undecided.
    let mut sites = Sites::with(&[put(order())]);
    sites.at_a(set("MedicationRequest/m", "status", json!("stopped")));
    sites.at_b(set("MedicationRequest/m", "status", json!("on-hold")));
    let (of_a, of_b) = (sites.of_a.clone(), sites.of_b.clone());
    let mut third = Document::new(actor(3));
    let base = sites.a.automerge.get_changes(&[])[0].raw_bytes().to_vec();
    third.apply(&base, prefix(1)).unwrap();
    third.apply(&of_b[0], prefix(2)).unwrap();
    third.apply(&of_a[0], prefix(1)).unwrap();
    let merged = third.write(30, &[set("MedicationRequest/m", "status", json!("completed"))]);
    let merged = merged.unwrap().unwrap().bytes;
    sites.at_b(set("MedicationRequest/m", "status", json!("draft")));
    sites.meet();
    sites.a.apply(&merged, prefix(3)).unwrap();
    sites.b.apply(&merged, prefix(3)).unwrap();
    assert_eq!(sites.a.digest(), sites.b.digest());
    let values = &sites.conflicts("MedicationRequest/m")[0].2;
    assert_eq!(values, &[json!("completed"), json!("draft"), json!("stopped")]);
}

#[test]
fn what_was_saved_is_loaded_the_same() {
    let mut sites = Sites::with(&[put(order()), put(json!({"resourceType":"Basic","id":"b"}))]);
    sites.at_a(set("MedicationRequest/m", "status", json!("stopped")));
    sites.at_b(set("MedicationRequest/m", "status", json!("on-hold")));
    sites.meet();
    let saved = sites.a.save();
    let mut loaded = Document::load(&saved, actor(3)).unwrap();
    assert_eq!(loaded.digest(), sites.a.digest());
    assert_eq!(loaded.heads(), sites.a.heads());
    assert_eq!(loaded.save(), saved);
    let choice = sites.choose("MedicationRequest/m", "status", &json!("stopped"));
    let change = loaded.write(1, &[choice]).unwrap().unwrap();
    sites.a.apply(&change.bytes, prefix(3)).unwrap();
    assert_eq!(loaded.digest(), sites.a.digest());
    for length in [0, 3, 5, 50, saved.len() / 2, saved.len() - 1] {
        assert!(matches!(Document::load(&saved[..length], actor(3)), Err(ChartError::Damaged(_))));
    }
}

#[test]
fn a_resource_without_content_is_there() {
    let mut document = Document::new(actor(1));
    let bare = json!({"resourceType":"Patient","id":"p"});
    document.write(1, &[put(bare.clone())]).unwrap().unwrap();
    assert_eq!(document.view(&key("Patient/p")).unwrap().body, bare);
    assert_eq!(document.write(1, &[put(bare)]), Ok(None));
}

#[test]
fn nothing_of_a_nasty_resource_is_lost_in_a_document() {
    let text = r#"{"resourceType":"Patient","id":"n","_id":{"extension":[]},"birthDate":"1970",
        "_birthDate":{"extension":[{"url":"u","valueDecimal":1.500}]},"deceasedBoolean":false,
        "name":[{"given":["a",null],"_given":[null,{"id":"x"}]}],"multipleBirthInteger":2,
        "contained":[{"resourceType":"Nonsense","a":[null,1e3,-0.0]}],"x":null,"y":[],"z":{}}"#;
    let body = parse_json(text).unwrap();
    let mut document = Document::new(actor(1));
    document.write(1, &[put(body.clone())]).unwrap();
    let loaded = Document::load(&document.save(), actor(1)).unwrap();
    let back = loaded.view(&key("Patient/n")).unwrap().body;
    assert_eq!(canonical(&back), canonical(&body));
}
