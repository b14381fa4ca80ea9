//! Two clinics work apart and come together: nothing is lost, and no disagreement is hidden.

use carnet_node::access::Action;
use carnet_node::chart::{Choice, ResourceKey};
use carnet_node::records::RecordsError;
use carnet_sync_protocol::certificate::{Capabilities, Role};
use carnet_tests::{Node, found, join, join_with_admit, permit, sync, terms};
use serde_json::{Value, json};

fn patient() -> Value {
    json!({"resourceType": "Patient", "id": "awa", "name": [{"family": "Diatta", "given": ["Awa"]}],
        "birthDate": "1987-03-02"})
}

fn prescription() -> Value {
    json!({"resourceType": "MedicationRequest", "id": "rx", "status": "active", "intent": "order",
        "subject": {"reference": "Patient/awa"},
        "dosageInstruction": [{"text": "500 mg twice a day",
            "doseAndRate": [{"doseQuantity": {"value": 500.0, "unit": "mg"}}]}]})
}

fn two_clinics() -> (Node, Node, ResourceKey) {
    let (mut a, _) = found("Ziguinchor");
    a.put(patient());
    let rx = a.put(prescription());
    let mut b = join(&mut a, "Sédhiou");
    sync(&mut a, &mut b);
    assert_eq!(a.show(&rx), b.show(&rx));
    (a, b, rx)
}

#[test]
fn the_same_dose_changed_apart_is_a_conflict_until_a_person_decides() {
    let (mut a, mut b, rx) = two_clinics();
    let dose = |text: &str| json!([{"text": text}]);
    a.set(&rx, "dosageInstruction", dose("1 g twice a day"));
    b.set(&rx, "dosageInstruction", dose("250 mg twice a day"));
    sync(&mut a, &mut b);
    assert_eq!(a.digest(), b.digest());

    let conflicts = b.records.conflicts(&permit(Action::Read), None).unwrap();
    assert_eq!(conflicts, a.records.conflicts(&permit(Action::Read), None).unwrap());
    let [conflict] = conflicts.as_slice() else { panic!("one conflict, not {conflicts:?}") };
    assert_eq!(
        (conflict.element.as_str(), conflict.kind.as_str()),
        ("dosageInstruction", "same-element")
    );
    let mut sites: Vec<_> =
        conflict.values.as_array().unwrap().iter().map(|v| v["site"].as_str().unwrap()).collect();
    sites.sort_unstable();
    assert_eq!(sites, ["Sédhiou", "Ziguinchor"]);

    // Neither value is shown alone.
    let shown = a.show(&rx);
    assert!(shown["meta"]["tag"].to_string().contains("conflict"));
    let marked = shown["extension"].to_string();
    assert!(marked.contains("1 g twice a day") && marked.contains("250 mg twice a day"));

    // An edit elsewhere in the resource does not make the conflict go away.
    a.set(&rx, "note", json!([{"text": "see the weight"}]));
    sync(&mut a, &mut b);
    assert_eq!(a.records.conflicts(&permit(Action::Read), None).unwrap().len(), 1);

    let low = conflict.values.as_array().unwrap().iter().find(|v| v["site"] == "Sédhiou").unwrap();
    let low = low["id"].as_str().unwrap().to_owned();
    let choice = Choice::Value(low);
    b.records
        .resolve(&permit(Action::Write), &rx, "dosageInstruction", choice, &conflict.seen)
        .unwrap();
    b.records.commit().unwrap();
    sync(&mut a, &mut b);
    assert_eq!(a.show(&rx)["dosageInstruction"], dose("250 mg twice a day"));
    assert_eq!(a.show(&rx), b.show(&rx));
    assert_eq!(a.records.conflicts(&permit(Action::Read), None).unwrap(), []);
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn a_stop_and_a_raised_dose_are_not_merged_in_silence() {
    let (mut a, mut b, rx) = two_clinics();
    a.set(&rx, "status", json!("stopped"));
    b.set(&rx, "dosageInstruction", json!([{"text": "1 g three times a day"}]));
    sync(&mut a, &mut b);
    let conflicts = a.records.conflicts(&permit(Action::Read), Some(&rx)).unwrap();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].kind, "same-resource");
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn a_choice_made_before_one_more_value_came_is_refused() {
    let (mut a, mut b, rx) = two_clinics();
    let mut c = join(&mut a, "Kolda");
    sync(&mut a, &mut c);
    for (node, text) in [(&mut a, "one"), (&mut b, "two"), (&mut c, "three")] {
        node.set(&rx, "dosageInstruction", json!([{"text": text}]));
    }
    sync(&mut a, &mut b);
    let seen = a.records.conflicts(&permit(Action::Read), None).unwrap().remove(0);
    sync(&mut a, &mut c);
    let id = seen.values[0]["id"].as_str().unwrap().to_owned();
    let refused = a.records.resolve(
        &permit(Action::Write),
        &rx,
        "dosageInstruction",
        Choice::Value(id),
        &seen.seen,
    );
    assert!(matches!(refused, Err(RecordsError::Chart(_))), "{refused:?}");
    assert_eq!(a.records.conflicts(&permit(Action::Read), None).unwrap().len(), 1);
}

#[test]
fn what_a_third_node_wrote_is_passed_on_by_the_one_in_between() {
    let (mut a, mut b, _) = two_clinics();
    // Enrolled by A, and never meets it again.
    let mut c = join(&mut a, "Kolda");
    sync(&mut a, &mut b);
    sync(&mut b, &mut c);
    let allergy = c.put(json!({"resourceType": "AllergyIntolerance", "id": "penicillin",
        "patient": {"reference": "Patient/awa"}, "code": {"text": "Penicillin"}}));
    sync(&mut b, &mut c);
    sync(&mut a, &mut b);
    assert_eq!(a.show(&allergy)["code"]["text"], "Penicillin");
    sync(&mut b, &mut c);
    assert_eq!(a.digest(), c.digest());
}

#[test]
fn a_node_that_may_admit_lets_a_site_grow_without_the_head_clinic() {
    let (mut a, code) = found("Ziguinchor");
    let mut with_admit = terms("Sédhiou", Role::Clinic);
    with_admit.capabilities = Capabilities { admit: true, restricted: true, audit: true };
    let refused = a.records.invite(&permit(Action::Administer), with_admit);
    assert!(matches!(refused, Err(RecordsError::Refused(_))), "admit takes the practice key");
    let mut b = join_with_admit(&mut a, "Sédhiou", code);
    sync(&mut a, &mut b);
    // B enrols C; A and C never meet.
    let mut c = join(&mut b, "Kolda");
    sync(&mut b, &mut c);
    let key = c.put(patient());
    sync(&mut b, &mut c);
    sync(&mut a, &mut b);
    assert_eq!(a.show(&key)["birthDate"], "1987-03-02");
    sync(&mut b, &mut c);
    assert_eq!(a.digest(), c.digest());
    // What B passed on goes no deeper.
    let refused = c.records.invite(&permit(Action::Administer), terms("Vélingara", Role::Clinic));
    assert!(matches!(refused, Err(RecordsError::Refused(_))), "{refused:?}");
}

#[test]
fn a_deleted_resource_stays_deleted_and_keeps_its_history() {
    let (mut a, mut b, rx) = two_clinics();
    a.records.delete(&permit(Action::Write), &rx).unwrap();
    a.records.commit().unwrap();
    sync(&mut a, &mut b);
    assert!(b.records.read(&permit(Action::Read), &rx).unwrap().deleted);
    let history = b.records.history(&permit(Action::Read), &rx).unwrap();
    assert_eq!(history.iter().map(|entry| entry.deleted).collect::<Vec<_>>(), [false, true]);
    assert_eq!(history[0].site, "Ziguinchor");
}

#[test]
fn a_note_becomes_restricted_and_moves_with_its_label() {
    let (mut a, mut b, _) = two_clinics();
    let note = a.put(json!({"resourceType": "Observation", "id": "o", "status": "final",
        "subject": {"reference": "Patient/awa"}, "code": {"text": "HIV"}}));
    let label = json!({"security": [{"system":
        "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]});
    a.set(&note, "meta", label.clone());
    sync(&mut a, &mut b);
    assert_eq!(b.show(&note)["meta"]["security"], label["security"]);
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn a_second_process_and_a_reopened_node_see_what_was_acknowledged() {
    let (mut a, _, rx) = two_clinics();
    a.set(&rx, "note", json!([{"text": "acknowledged"}]));
    let before = a.digest();
    let again = carnet_node::records::Records::open(
        &a.home(),
        carnet_node::base::environment::Environment::system(),
    );
    assert!(matches!(again, Err(RecordsError::InUse(_))));
    let mut a = a.reopened(|_| {});
    assert_eq!(a.show(&rx)["note"][0]["text"], "acknowledged");
    assert_eq!(a.digest(), before);
    // The index is derived: without it, everything is there again.
    let mut a = a.reopened(|home| std::fs::remove_file(home.join("index.db")).unwrap());
    assert_eq!(a.digest(), before);
}

#[test]
fn what_unpacks_to_more_than_is_read_ahead_is_shown_like_everything_else() {
    let (mut a, mut b, _) = two_clinics();
    let text = "Cough for a week. ".repeat(30_000);
    let keys: Vec<ResourceKey> = (0..17)
        .map(|n| {
            a.put(json!({"resourceType": "Observation", "id": format!("o{n}"), "status": "final",
                "subject": {"reference": format!("Patient/p{n}")}, "code": {"text": "Cough"},
                "note": [{"text": format!("{n}: {text}")}]}))
        })
        .collect();
    let before = a.digest();
    sync(&mut a, &mut b);
    let mut a = a.reopened(|home| std::fs::remove_file(home.join("index.db")).unwrap());
    for node in [&mut a, &mut b] {
        for (n, key) in keys.iter().enumerate() {
            assert_eq!(node.show(key)["note"][0]["text"], format!("{n}: {text}"));
        }
        assert_eq!(node.digest(), before);
    }
}
