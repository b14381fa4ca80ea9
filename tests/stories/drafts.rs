//! Two clinics write one note together while they can't reach each other, and one of them signs.

use carnet_node::access::Action;
use carnet_node::chart::{Choice, ResourceKey};
use carnet_node::records::read::OpenConflict;
use carnet_tests::{Node, found, join, permit, sync};
use serde_json::{Value, json};

fn narrative(text: &str) -> Value {
    json!({"status": "additional",
        "div": format!("<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>{text}</p></div>")})
}

fn sections(history: &str, plan: &str) -> Value {
    json!([{"title": "History", "text": narrative(history)},
        {"title": "Plan", "text": narrative(plan)}])
}

fn draft() -> Value {
    json!({"resourceType": "Composition", "id": "visit", "status": "preliminary",
        "title": "Visite", "date": "2026-11-25", "subject": {"reference": "Patient/awa"},
        "section": sections("Fever since Monday.", "Malaria test.")})
}

fn two_clinics() -> (Node, Node, ResourceKey) {
    let (mut a, _) = found("Ziguinchor");
    a.put(json!({"resourceType": "Patient", "id": "awa", "birthDate": "1987-03-02"}));
    let note = a.put(draft());
    let mut b = join(&mut a, "Sédhiou");
    sync(&mut a, &mut b);
    (a, b, note)
}

fn conflicts(node: &mut Node) -> Vec<OpenConflict> {
    node.records.conflicts(&permit(Action::Read), None).unwrap()
}

fn choose(node: &mut Node, note: &ResourceKey, conflict: &OpenConflict, site: &str) {
    let values = conflict.values.as_array().unwrap();
    let value = values.iter().find(|value| value["site"] == site).unwrap();
    let choice = Choice::Value(value["id"].as_str().unwrap().to_owned());
    let write = permit(Action::Write);
    node.records.resolve(&write, note, &conflict.element, choice, &conflict.seen).unwrap();
    node.records.commit().unwrap();
}

fn is_equal(a: &mut Node, b: &mut Node, note: &ResourceKey) {
    assert_eq!(a.digest(), b.digest());
    assert_eq!(a.show(note), b.show(note));
    assert_eq!(conflicts(a), conflicts(b));
}

#[test]
fn what_both_write_into_a_draft_is_in_the_draft() {
    let (mut a, mut b, note) = two_clinics();
    let of_a = sections("Fever since Monday. Vomits.", "Malaria test.");
    let of_b = sections("High fever since Monday.", "Malaria test. Paracetamol 15 mg/kg.");
    a.set(&note, "section", of_a.clone());
    b.set(&note, "section", of_b.clone());
    sync(&mut a, &mut b);
    is_equal(&mut a, &mut b, &note);
    let merged =
        sections("High fever since Monday. Vomits.", "Malaria test. Paracetamol 15 mg/kg.");
    assert_eq!(a.show(&note)["section"], merged);
    assert_eq!(conflicts(&mut a), []);

    // The history has what each of the two saw, and nothing that nobody wrote.
    let history = a.records.history(&permit(Action::Read), &note).unwrap();
    let written: Vec<_> =
        history.iter().map(|entry| (entry.site.as_str(), &entry.resource["section"])).collect();
    let first = ("Ziguinchor", &draft()["section"]);
    assert_eq!(written, [first, ("Ziguinchor", &of_a), ("Sédhiou", &of_b)]);

    // Exported, it is FHIR like any other.
    let mut exported = Vec::new();
    let take = |resource| {
        exported.push(resource);
        true
    };
    b.records.export(&permit(Action::Export), None, take).unwrap();
    let mut exported = exported.into_iter().find(|r| r["id"] == "visit").unwrap();
    exported.as_object_mut().unwrap().remove("meta");
    let mut expected = draft();
    expected["section"] = merged;
    assert_eq!(exported, expected);

    // What is derived is derived alike: without the index, all is there again.
    let before = a.digest();
    let mut a = a.reopened(|home| std::fs::remove_file(home.join("index.db")).unwrap());
    assert_eq!(a.digest(), before);
    is_equal(&mut a, &mut b, &note);
}

#[test]
fn a_note_signed_while_another_writes_keeps_its_words_and_shows_the_others() {
    let (mut a, mut b, note) = two_clinics();
    a.set(&note, "status", json!("final"));
    let signed = a.show(&note);
    b.set(&note, "section", sections("Fever since Monday. Allergic to quinine.", "Malaria test."));
    sync(&mut a, &mut b);
    is_equal(&mut a, &mut b, &note);
    let shown = b.show(&note);
    assert_eq!((&shown["status"], &shown["section"]), (&json!("final"), &signed["section"]));
    assert!(shown["meta"]["tag"].to_string().contains("conflict"));
    assert!(shown["extension"].to_string().contains("Allergic to quinine"));
    let open = conflicts(&mut a);
    assert_eq!(
        (open.len(), open[0].element.as_str(), open[0].kind.as_str()),
        (1, "_resource", "same-element")
    );

    // What was signed stands; what came too late becomes an amendment, and that is a new record.
    choose(&mut b, &note, &open[0], "Ziguinchor");
    let mut amended = b.show(&note);
    amended["status"] = json!("amended");
    amended["section"] = sections("Fever since Monday. Allergic to quinine.", "Malaria test.");
    b.put(amended.clone());
    sync(&mut a, &mut b);
    is_equal(&mut a, &mut b, &note);
    assert_eq!(conflicts(&mut a), []);
    assert_eq!(a.show(&note)["section"], amended["section"]);
    let history = a.records.history(&permit(Action::Read), &note).unwrap();
    let statuses: Vec<_> = history.iter().map(|entry| &entry.resource["status"]).collect();
    assert_eq!(statuses, ["preliminary", "final", "preliminary", "final", "amended"]);

    // Signed, it is written together no more.
    a.set(&note, "section", sections("Fever since Sunday.", "Malaria test."));
    b.set(&note, "section", sections("Fever since Monday. Better.", "Malaria test."));
    sync(&mut a, &mut b);
    is_equal(&mut a, &mut b, &note);
    assert_eq!(conflicts(&mut a)[0].element, "_resource");
}

#[test]
fn sections_changed_by_both_are_shown_both_until_a_person_chooses() {
    let (mut a, mut b, note) = two_clinics();
    let with = |title: &str, text: &str| {
        let mut sections = draft()["section"].clone();
        let new = json!({"title": title, "text": narrative(text)});
        sections.as_array_mut().unwrap().push(new);
        sections
    };
    a.set(&note, "section", with("Allergies", "Quinine."));
    b.set(&note, "section", with("Vaccines", "Up to date."));
    sync(&mut a, &mut b);
    // Who goes on typing in either of the two is heard.
    let mut typed = b.show(&note)["section"].clone();
    typed[2]["text"] = narrative("To be checked.");
    b.set(&note, "section", typed);
    sync(&mut a, &mut b);
    is_equal(&mut a, &mut b, &note);
    let open = conflicts(&mut a).remove(0);
    assert_eq!((open.element.as_str(), open.kind.as_str()), ("section", "same-element"));
    let values = open.values.to_string();
    for text in ["Quinine.", "Up to date.", "To be checked."] {
        assert!(values.contains(text), "{text} is not among {values}");
    }
    choose(&mut b, &note, &open, "Ziguinchor");
    sync(&mut a, &mut b);
    is_equal(&mut a, &mut b, &note);
    assert_eq!(a.show(&note)["section"], with("Allergies", "Quinine."));
}

#[test]
fn a_draft_that_moves_takes_along_what_a_person_chooses() {
    let (mut a, mut b, note) = two_clinics();
    let label = json!({"security": [{"system":
        "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]});
    a.set(&note, "meta", label.clone());
    b.set(&note, "section", sections("Fever since Monday. HIV test positive.", "Malaria test."));
    sync(&mut a, &mut b);
    is_equal(&mut a, &mut b, &note);
    let open = conflicts(&mut b).remove(0);
    assert!(open.values.to_string().contains("HIV test positive"));
    choose(&mut b, &note, &open, "Sédhiou");
    sync(&mut a, &mut b);
    is_equal(&mut a, &mut b, &note);
    assert_eq!(conflicts(&mut a), []);
    // In its new home it is written together as before.
    a.set(
        &note,
        "section",
        sections("Fever since Monday. HIV test positive. Told.", "Malaria test."),
    );
    b.set(
        &note,
        "section",
        sections("Fever since Monday. HIV test positive.", "Malaria test. Counselling."),
    );
    sync(&mut a, &mut b);
    is_equal(&mut a, &mut b, &note);
    let shown = a.show(&note);
    let merged =
        sections("Fever since Monday. HIV test positive. Told.", "Malaria test. Counselling.");
    assert_eq!((&shown["section"], &shown["meta"]["security"]), (&merged, &label["security"]));
    assert_eq!(conflicts(&mut a), []);
}

#[test]
fn drafts_imported_together_are_all_open_to_typing() {
    let (mut a, mut b, _) = two_clinics();
    let long = "word ".repeat(3000);
    let entries: Vec<Value> = (0..8)
        .map(|number| {
            let mut body = draft();
            body["id"] = json!(format!("note-{number}"));
            body["section"] = sections(&long, "Rest.");
            json!({"resource": body})
        })
        .collect();
    let bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": entries});
    let report = a.import(vec![("notes.json".into(), bundle.to_string().into_bytes())]);
    assert_eq!((report.resources, report.failed), (8, 0));
    sync(&mut a, &mut b);
    for number in 0..8 {
        let note = ResourceKey::new("Composition", &format!("note-{number}")).unwrap();
        a.set(&note, "section", sections(&format!("{long}last."), "Rest."));
        b.set(&note, "section", sections(&format!("First {long}"), "Rest."));
    }
    sync(&mut a, &mut b);
    assert_eq!(conflicts(&mut a), []);
    for number in 0..8 {
        let note = ResourceKey::new("Composition", &format!("note-{number}")).unwrap();
        assert_eq!(a.show(&note)["section"], sections(&format!("First {long}last."), "Rest."));
    }
    assert_eq!(a.digest(), b.digest());
}
