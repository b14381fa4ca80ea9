//! A resource moves to another section of the chart while somebody edits it elsewhere, or comes to
//! stand in two sections at once.

use carnet_node::access::Action;
use carnet_node::chart::{Choice, ResourceKey, VOLUME_RESOURCES_MAX};
use carnet_node::records::read::OpenConflict;
use carnet_sync_protocol::id::Channel;
use carnet_tests::{Node, carry_logs, found, join, permit, sync};
use serde_json::{Value, json};

fn label() -> Value {
    json!({"security": [{"system":
        "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]})
}

fn condition(note: &str) -> Value {
    json!({"resourceType": "Condition", "id": "c", "code": {"text": "HIV"},
        "subject": {"reference": "Patient/awa"}, "note": [{"text": note}]})
}

fn labelled(note: &str) -> Value {
    let mut body = condition(note);
    body["meta"] = label();
    body
}

fn two_clinics() -> (Node, Node) {
    let (mut a, _) = found("Ziguinchor");
    a.put(json!({"resourceType": "Patient", "id": "awa", "birthDate": "1987-03-02"}));
    let mut b = join(&mut a, "Sédhiou");
    sync(&mut a, &mut b);
    (a, b)
}

fn conflicts(node: &mut Node) -> Vec<OpenConflict> {
    node.records.conflicts(&permit(Action::Read), None).unwrap()
}

/// The one conflict that both nodes list alike.
fn the_conflict(a: &mut Node, b: &mut Node) -> OpenConflict {
    assert_eq!(a.digest(), b.digest());
    let mut open = conflicts(a);
    assert_eq!(open, conflicts(b));
    assert_eq!(open.len(), 1, "{open:?}");
    open.remove(0)
}

fn choose(
    node: &mut Node,
    key: &ResourceKey,
    conflict: &OpenConflict,
    pick: impl Fn(&Value) -> bool,
) {
    let value = conflict.values.as_array().unwrap().iter().find(|value| pick(value)).unwrap();
    let choice = Choice::Value(value["id"].as_str().unwrap().to_owned());
    let write = permit(Action::Write);
    node.records.resolve(&write, key, &conflict.element, choice, &conflict.seen).unwrap();
    node.records.commit().unwrap();
}

fn says(note: &str) -> impl Fn(&Value) -> bool {
    move |value| value["value"]["note"][0]["text"] == note
}

/// After a decision: the same on both nodes, and nothing is open.
fn settled(a: &mut Node, b: &mut Node, key: &ResourceKey) -> Value {
    sync(a, b);
    assert_eq!(a.digest(), b.digest());
    assert_eq!((conflicts(a), conflicts(b)), (Vec::new(), Vec::new()));
    assert_eq!(a.show(key), b.show(key));
    a.show(key)
}

#[test]
fn an_edit_beside_a_move_is_a_conflict_that_both_nodes_list() {
    let (mut a, _) = found("Ziguinchor");
    a.put(json!({"resourceType": "Patient", "id": "awa", "birthDate": "1987-03-02"}));
    let condition = a.put(json!({"resourceType": "Condition", "id": "c", "code": {"text": "HIV"},
        "subject": {"reference": "Patient/awa"}}));
    let mut b = join(&mut a, "Sédhiou");
    sync(&mut a, &mut b);
    let label = json!({"security": [{"system":
        "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]});
    a.set(&condition, "meta", label.clone());
    b.set(&condition, "note", json!([{"text": "on treatment since May"}]));
    sync(&mut a, &mut b);
    assert_eq!(a.digest(), b.digest());
    for node in [&mut a, &mut b] {
        let conflicts = node.records.conflicts(&permit(Action::Read), Some(&condition)).unwrap();
        assert_eq!(conflicts.len(), 1, "{conflicts:?}");
        let values = conflicts[0].values.to_string();
        assert!(values.contains("on treatment since May"), "{values}");
        let shown = node.show(&condition);
        assert_eq!(shown["meta"]["security"], label["security"]);
        assert!(shown["extension"].to_string().contains("on treatment since May"));
    }

    // Choosing the edit takes it along to the new home; the label stays, and what was said there
    // since.
    a.set(&condition, "recordedDate", json!("2026-01-01"));
    sync(&mut a, &mut b);
    let conflict = b.records.conflicts(&permit(Action::Read), Some(&condition)).unwrap().remove(0);
    let values = conflict.values.as_array().unwrap();
    let edit = values.iter().find(|value| value["moved"].is_null()).unwrap();
    let choice = Choice::Value(edit["id"].as_str().unwrap().to_owned());
    let write = permit(Action::Write);
    b.records.resolve(&write, &condition, &conflict.element, choice, &conflict.seen).unwrap();
    b.records.commit().unwrap();
    sync(&mut a, &mut b);
    for node in [&mut a, &mut b] {
        let shown = node.show(&condition);
        assert_eq!(shown["note"][0]["text"], "on treatment since May");
        assert_eq!(shown["recordedDate"], "2026-01-01");
        assert_eq!(shown["meta"]["security"], label["security"]);
        assert!(node.records.conflicts(&permit(Action::Read), None).unwrap().is_empty());
    }
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn the_same_id_put_apart_into_two_sections_is_a_conflict_with_both_values() {
    let (mut a, mut b) = two_clinics();
    let key = a.put(condition("seen in Ziguinchor"));
    b.put(labelled("seen in Sédhiou"));
    sync(&mut a, &mut b);
    let conflict = the_conflict(&mut a, &mut b);
    assert_eq!((conflict.element.as_str(), conflict.kind.as_str()), ("_resource", "same-resource"));
    let sites: Vec<_> =
        conflict.values.as_array().unwrap().iter().map(|value| value["site"].clone()).collect();
    assert_eq!(sites, ["Sédhiou", "Ziguinchor"], "restricted if anybody labelled it so");
    for node in [&mut a, &mut b] {
        let shown = node.show(&key);
        assert_eq!(shown["meta"]["security"], label()["security"]);
        let marked = shown["extension"].to_string();
        assert!(marked.contains("seen in Ziguinchor") && marked.contains("seen in Sédhiou"));
    }
    let export = |node: &mut Node| {
        let mut count = 0;
        node.records
            .export(&permit(Action::Export), None, |_| {
                count += 1;
                true
            })
            .unwrap();
        count
    };
    assert_eq!((export(&mut a), export(&mut b)), (2, 2));

    // An edit meanwhile closes nothing, and what was seen before it can no longer be decided.
    a.set(&key, "recordedDate", json!("2026-01-01"));
    let choice = Choice::Value(conflict.values[0]["id"].as_str().unwrap().to_owned());
    let stale =
        a.records.resolve(&permit(Action::Write), &key, "_resource", choice, &conflict.seen);
    assert!(stale.is_err());
    sync(&mut a, &mut b);
    let conflict = the_conflict(&mut a, &mut b);
    let both =
        a.records.resolve(&permit(Action::Write), &key, "_resource", Choice::Both, &conflict.seen);
    assert!(both.is_err(), "one resource can't stand in two places");
    choose(&mut a, &key, &conflict, says("seen in Ziguinchor"));
    let shown = settled(&mut a, &mut b, &key);
    assert_eq!(shown["note"][0]["text"], "seen in Ziguinchor");
    assert_eq!(shown["meta"]["security"], Value::Null);
    assert_eq!(shown["recordedDate"], Value::Null, "the edit was made in the other");
    let history = b.records.history(&permit(Action::Read), &key).unwrap();
    let told: Vec<String> = history.iter().map(|version| version.resource.to_string()).collect();
    assert!(told.iter().any(|body| body.contains("2026-01-01")), "nothing is lost");
}

#[test]
fn two_people_who_choose_differently_are_asked_again() {
    let (mut a, mut b) = two_clinics();
    let key = a.put(condition("plain"));
    b.put(labelled("labelled"));
    sync(&mut a, &mut b);
    let conflict = the_conflict(&mut a, &mut b);
    choose(&mut a, &key, &conflict, says("plain"));
    choose(&mut b, &key, &conflict, says("labelled"));
    assert_eq!(a.show(&key)["note"][0]["text"], "plain");
    assert_eq!(b.show(&key)["note"][0]["text"], "labelled");
    sync(&mut a, &mut b);
    let conflict = the_conflict(&mut a, &mut b);
    choose(&mut b, &key, &conflict, says("plain"));
    assert_eq!(settled(&mut a, &mut b, &key)["note"][0]["text"], "plain");
}

#[test]
fn deleted_in_one_place_and_written_in_another_is_a_conflict() {
    let (mut a, mut b) = two_clinics();
    let key = a.put(condition("entered in error"));
    a.records.delete(&permit(Action::Write), &key).unwrap();
    a.records.commit().unwrap();
    b.put(labelled("under treatment"));
    sync(&mut a, &mut b);
    let conflict = the_conflict(&mut a, &mut b);
    assert_eq!(conflict.kind, "deleted-and-edited");
    assert_eq!(
        a.show(&key)["note"][0]["text"],
        "under treatment",
        "what is disputed stays visible"
    );
    choose(&mut a, &key, &conflict, |value| value["deleted"] == true);
    sync(&mut a, &mut b);
    assert_eq!(a.digest(), b.digest());
    assert!(b.records.read(&permit(Action::Read), &key).unwrap().deleted);
    assert_eq!((conflicts(&mut a), conflicts(&mut b)), (Vec::new(), Vec::new()));
}

#[test]
fn a_resource_that_moved_and_came_back_says_what_was_said_last() {
    let (mut a, mut b) = two_clinics();
    let key = a.put(condition("one"));
    a.put(labelled("two"));
    a.put(condition("three"));
    assert_eq!(settled(&mut a, &mut b, &key)["note"][0]["text"], "three");
    b.set(&key, "meta", label());
    b.set(&key, "note", json!([{"text": "four"}]));
    assert_eq!(settled(&mut a, &mut b, &key)["note"][0]["text"], "four");
}

#[test]
fn an_edit_where_the_new_home_has_not_arrived_is_not_hidden_by_it() {
    let (mut a, mut b) = two_clinics();
    let key = a.put(condition("known to both"));
    sync(&mut a, &mut b);
    a.set(&key, "meta", label());
    // The line drops after the most urgent channel: B knows that it moved, and not where it is.
    carry_logs(&mut a.records, &mut b.records, |log| log.channel == Channel::Critical);
    b.set(&key, "note", json!([{"text": "allergic to the new drug"}]));
    sync(&mut a, &mut b);
    let conflict = the_conflict(&mut a, &mut b);
    assert!(a.show(&key)["extension"].to_string().contains("allergic to the new drug"));
    choose(&mut a, &key, &conflict, says("allergic to the new drug"));
    let shown = settled(&mut a, &mut b, &key);
    assert_eq!(shown["note"][0]["text"], "allergic to the new drug");
}

#[test]
fn a_conflict_that_was_open_at_a_move_is_decided_where_the_resource_lives_now() {
    let (mut a, mut b) = two_clinics();
    let key = a.put(condition("first"));
    sync(&mut a, &mut b);
    a.set(&key, "note", json!([{"text": "of A"}]));
    b.set(&key, "note", json!([{"text": "of B"}]));
    sync(&mut a, &mut b);
    let conflict = the_conflict(&mut a, &mut b);
    b.set(&key, "meta", label());
    a.records.catch_up().unwrap();
    sync(&mut a, &mut b);
    assert_eq!(the_conflict(&mut a, &mut b), conflict, "moving decides nothing");
    a.set(&key, "recordedDate", json!("2026-01-01"));
    let shown = a.show(&key)["note"][0]["text"].clone();
    let other = if shown == "of A" { "of B" } else { "of A" };
    choose(&mut a, &key, &conflict, |value| value["value"][0]["text"] == other);
    let shown = settled(&mut a, &mut b, &key);
    assert_eq!(shown["note"][0]["text"], other);
    assert_eq!(shown["recordedDate"], "2026-01-01");
    assert_eq!(shown["meta"]["security"], label()["security"]);
}

#[test]
fn the_same_record_in_two_volumes_is_one_resource_and_is_edited_as_one() {
    let (mut a, mut b) = two_clinics();
    let observation = |id: usize, value: u64| {
        json!({"resourceType": "Observation", "id": format!("o{id}"), "status": "final",
            "subject": {"reference": "Patient/awa"}, "valueInteger": value})
    };
    // A's first volume is full of others when the record comes; B's is empty.
    let others = (1..=VOLUME_RESOURCES_MAX).map(|id| json!({"resource": observation(id, 0)}));
    let bundle = json!({"resourceType": "Bundle", "type": "collection",
        "entry": others.collect::<Vec<_>>()});
    let report = a.import(vec![("others.json".into(), bundle.to_string().into_bytes())]);
    assert_eq!((report.resources, report.failed), (VOLUME_RESOURCES_MAX as u64, 0));
    let key = a.put(observation(0, 7));
    b.put(observation(0, 7));
    sync(&mut a, &mut b);
    assert_eq!((conflicts(&mut a), conflicts(&mut b)), (Vec::new(), Vec::new()));
    assert_eq!(a.show(&key)["valueInteger"], 7);
    a.put(observation(0, 8));
    assert_eq!(settled(&mut a, &mut b, &key)["valueInteger"], 8);
    b.put(observation(0, 9));
    assert_eq!(settled(&mut a, &mut b, &key)["valueInteger"], 9);
}
