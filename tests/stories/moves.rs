//! A resource moves to another section of the chart while somebody edits it elsewhere.

use carnet_node::access::Action;
use carnet_node::chart::Choice;
use carnet_tests::{found, join, permit, sync};
use serde_json::json;

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

    // Choosing the edit takes it along to the new home; the label stays.
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
        assert_eq!(shown["meta"]["security"], label["security"]);
        assert!(node.records.conflicts(&permit(Action::Read), None).unwrap().is_empty());
    }
    assert_eq!(a.digest(), b.digest());
}
