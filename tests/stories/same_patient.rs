//! The same woman is registered at two sites while these can't reach each other; she is found to
//! be one person, linked, and can be separated again.

use carnet_node::access::{Action, Actor, Permit, Role};
use carnet_node::chart::{Choice, ResourceKey};
use carnet_node::records::duplicates::{Evidence, LikelyPair};
use carnet_node::records::staff::PersonChange;
use carnet_node::records::write::Saved;
use carnet_node::records::{Records, RecordsError};
use carnet_node::store::index::Listing;
use carnet_tests::{Node, found, join, permit, sync};
use serde_json::{Value, json};

fn awa_in_ziguinchor() -> Value {
    json!({"resourceType": "Patient", "id": "z-17", "birthDate": "1987-03-02", "gender": "female",
        "name": [{"family": "Diatta", "given": ["Awa"]}],
        "telecom": [{"system": "phone", "value": "+221 77 123 45 67"}]})
}

fn awa_in_sedhiou() -> Value {
    json!({"resourceType": "Patient", "id": "s-4", "birthDate": "1987-03-02", "gender": "female",
        "name": [{"family": "DIATA", "given": ["Awa"]}],
        "telecom": [{"system": "phone", "value": "771234567"}]})
}

fn allergy() -> Value {
    json!({"resourceType": "AllergyIntolerance", "id": "penicillin",
        "patient": {"reference": "Patient/z-17"}, "code": {"text": "Penicillin"}})
}

fn prescription() -> Value {
    json!({"resourceType": "MedicationRequest", "id": "rx", "status": "active", "intent": "order",
        "subject": {"reference": "Patient/s-4"},
        "medicationCodeableConcept": {"text": "Amoxicillin 500 mg"}})
}

/// Both sites have registered her; one has her allergy, the other her prescription.
fn registered_apart() -> (Node, Node) {
    let (mut a, _) = found("Ziguinchor");
    let mut b = join(&mut a, "Sédhiou");
    sync(&mut a, &mut b);
    a.put(awa_in_ziguinchor());
    a.put(allergy());
    b.put(awa_in_sedhiou());
    b.put(prescription());
    assert_eq!(open(&mut a), []);
    sync(&mut a, &mut b);
    (a, b)
}

/// The open pairs: ids of both, and score.
fn open(node: &mut Node) -> Vec<(String, String, u32)> {
    let pairs = node.records.duplicates(&permit(Action::Search), 100).unwrap();
    let line = |pair: LikelyPair| {
        let [one, other] = pair.patients;
        (one.id, other.id, pair.score)
    };
    pairs.into_iter().map(line).collect()
}

/// What is listed of a patient and the charts that are linked: `Type/id`, and in whose chart.
fn union(node: &mut Node, patient: &str) -> Vec<(String, String)> {
    listed(node, Listing { patient: Some(patient.into()), linked: true, ..Listing::default() })
}

fn listed(node: &mut Node, listing: Listing) -> Vec<(String, String)> {
    let rows = node.records.list(&permit(Action::Read), &listing).unwrap();
    let name = |body: &Value| {
        format!("{}/{}", body["resourceType"].as_str().unwrap(), body["id"].as_str().unwrap())
    };
    let rows = rows.shown.into_iter().map(|row| (name(&row.resource), row.patient.unwrap()));
    rows.filter(|(name, _)| !name.starts_with("Linkage/")).collect()
}

type Say = fn(&mut Records, &Permit, &str, &str) -> Result<Saved, RecordsError>;

/// One of `link`, `distinct` and `unlink`, of her two charts.
fn say(node: &mut Node, what: Say) -> ResourceKey {
    let saved = what(&mut node.records, &permit(Action::Write), "s-4", "z-17").unwrap();
    node.records.commit().unwrap();
    ResourceKey::parse(&saved.resource).unwrap()
}

#[test]
fn she_is_found_on_both_nodes_linked_and_her_allergy_is_seen_from_either_chart() {
    let (mut a, mut b) = registered_apart();
    let pairs = b.records.duplicates(&permit(Action::Search), 10).unwrap();
    let [pair] = pairs.as_slice() else { panic!("one pair, not {pairs:?}") };
    assert_eq!(open(&mut a), open(&mut b));
    assert_eq!(pair.id, a.records.duplicates(&permit(Action::Search), 10).unwrap()[0].id);
    assert_eq!(
        pair.patients.each_ref().map(|patient| patient.site.as_str()),
        ["Sédhiou", "Ziguinchor"]
    );
    let evidence: Vec<Evidence> = pair.reasons.iter().map(|reason| reason.evidence).collect();
    assert!(evidence.contains(&Evidence::CloseName) && evidence.contains(&Evidence::SamePhone));
    assert_eq!(union(&mut b, "s-4").len(), 2, "until somebody says so they are two charts");

    let key = say(&mut b, Records::link);
    let everything: Vec<(String, String)> = [
        ("AllergyIntolerance/penicillin", "z-17"),
        ("MedicationRequest/rx", "s-4"),
        ("Patient/s-4", "s-4"),
        ("Patient/z-17", "z-17"),
    ]
    .map(|(name, chart)| (name.to_owned(), chart.to_owned()))
    .to_vec();
    assert_eq!(union(&mut b, "s-4"), everything, "at once");
    assert_eq!(open(&mut b), []);
    sync(&mut a, &mut b);
    for node in [&mut a, &mut b] {
        assert_eq!(union(node, "s-4"), everything);
        assert_eq!(union(node, "z-17"), everything);
        let one = Listing { patient: Some("s-4".into()), ..Listing::default() };
        assert_eq!(listed(node, one).len(), 2, "the one chart alone");
        let person = node.records.person(&permit(Action::Read), "z-17").unwrap();
        let sites: Vec<&str> = person.iter().map(|chart| chart.site.as_str()).collect();
        assert_eq!(sites, ["Sédhiou", "Ziguinchor"]);
        assert_eq!(open(node), []);
        let said = node.records.history(&permit(Action::Read), &key).unwrap();
        assert_eq!((said.len(), said[0].site.as_str()), (1, "Sédhiou"));
    }
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn what_was_linked_by_mistake_is_separated_and_both_charts_are_as_before() {
    let (mut a, mut b) = registered_apart();
    let charts = |node: &mut Node| -> Vec<Vec<(String, String)>> {
        let of = |id: &str| Listing { patient: Some(id.into()), ..Listing::default() };
        vec![listed(node, of("s-4")), listed(node, of("z-17"))]
    };
    let shown = |node: &mut Node| -> Vec<Value> {
        let keys = ["Patient/s-4", "Patient/z-17", "AllergyIntolerance/penicillin"];
        keys.map(|key| node.show(&ResourceKey::parse(key).unwrap())).to_vec()
    };
    let before = (charts(&mut a), shown(&mut a), open(&mut a));
    say(&mut a, Records::link);
    sync(&mut a, &mut b);
    // While they are linked, both go on.
    b.put(json!({"resourceType": "Condition", "id": "c", "code": {"text": "Malaria"},
        "subject": {"reference": "Patient/s-4"}}));
    assert_eq!(union(&mut b, "z-17").len(), 5);
    say(&mut b, Records::unlink);
    sync(&mut a, &mut b);
    for node in [&mut a, &mut b] {
        let condition = ResourceKey::parse("Condition/c").unwrap();
        assert_eq!(node.show(&condition)["subject"]["reference"], "Patient/s-4");
        node.records.delete(&permit(Action::Write), &condition).ok();
        node.records.commit().unwrap();
        assert_eq!((charts(node), shown(node), open(node)), before, "versions included");
        assert_eq!(union(node, "z-17").len(), 2);
    }
    let again = a.records.unlink(&permit(Action::Write), "s-4", "z-17").unwrap();
    assert!(!again.changed);
}

#[test]
fn two_who_are_said_to_be_distinct_are_not_proposed_again_until_that_is_taken_back() {
    let (mut a, mut b) = registered_apart();
    say(&mut a, Records::distinct);
    sync(&mut a, &mut b);
    assert_eq!((open(&mut a), open(&mut b)), (vec![], vec![]));
    // An edit that makes them still more alike does not bring the pair back.
    b.set(&ResourceKey::parse("Patient/s-4").unwrap(), "name", awa_in_ziguinchor()["name"].clone());
    sync(&mut a, &mut b);
    assert_eq!((open(&mut a), open(&mut b)), (vec![], vec![]));
    say(&mut b, Records::unlink);
    sync(&mut a, &mut b);
    assert_eq!(open(&mut a).len(), 1);
    assert_eq!(open(&mut a), open(&mut b));
}

#[test]
fn said_otherwise_at_two_sites_is_a_conflict_and_the_allergy_stays_in_sight() {
    let (mut a, mut b) = registered_apart();
    let key = say(&mut a, Records::link);
    assert_eq!(key, say(&mut b, Records::distinct), "one place for what is said of the two");
    sync(&mut a, &mut b);
    assert_eq!(a.digest(), b.digest());
    for node in [&mut a, &mut b] {
        let conflicts = node.records.conflicts(&permit(Action::Read), None).unwrap();
        let [conflict] = conflicts.as_slice() else { panic!("one conflict, not {conflicts:?}") };
        assert_eq!(conflict.resource, key.to_string());
        assert_eq!(union(node, "s-4").len(), 4, "what may be hers is not hidden meanwhile");
        let person = node.records.person(&permit(Action::Read), "s-4").unwrap();
        assert!(person[0].links["z-17"], "and it is said to be disputed");
        let refused = node.records.link(&permit(Action::Write), "s-4", "z-17");
        assert!(matches!(refused, Err(RecordsError::BadRequest(_))), "{refused:?}");
    }
    let conflict = a.records.conflicts(&permit(Action::Read), None).unwrap().remove(0);
    let values = conflict.values.as_array().unwrap();
    let distinct = values.iter().find(|value| value["site"] == "Sédhiou").unwrap();
    let choice = Choice::Value(distinct["id"].as_str().unwrap().to_owned());
    let write = permit(Action::Write);
    a.records.resolve(&write, &key, &conflict.element, choice, &conflict.seen).unwrap();
    a.records.commit().unwrap();
    sync(&mut a, &mut b);
    for node in [&mut a, &mut b] {
        assert_eq!(union(node, "s-4").len(), 2);
        assert_eq!(open(node), []);
    }
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn linked_here_and_unlinked_there_is_a_conflict_and_linked_at_both_is_none() {
    let (mut a, mut b) = registered_apart();
    say(&mut a, Records::link);
    say(&mut b, Records::link);
    sync(&mut a, &mut b);
    assert_eq!(a.records.conflicts(&permit(Action::Read), None).unwrap(), []);
    assert_eq!(a.digest(), b.digest());
    // One takes it back; the other does too and then links them again.
    say(&mut a, Records::unlink);
    say(&mut b, Records::unlink);
    say(&mut b, Records::link);
    sync(&mut a, &mut b);
    assert_eq!(a.digest(), b.digest());
    for node in [&mut a, &mut b] {
        assert_eq!(node.records.conflicts(&permit(Action::Read), None).unwrap().len(), 1);
        assert_eq!(union(node, "s-4").len(), 4);
    }
}

#[test]
fn a_chain_is_one_person_and_what_contradicts_it_is_refused_or_listed() {
    let (mut a, mut b) = registered_apart();
    let third = json!({"resourceType": "Patient", "id": "k-9", "birthDate": "1987-03-02",
        "name": [{"family": "Diatta", "given": ["Awa"]}]});
    a.put(third);
    sync(&mut a, &mut b);
    let write = permit(Action::Write);
    a.records.link(&write, "z-17", "k-9").unwrap();
    a.records.commit().unwrap();
    b.records.distinct(&write, "k-9", "s-4").unwrap();
    b.records.commit().unwrap();
    // Nobody knows of the other's statement yet: the chain closes at one site.
    say(&mut a, Records::link);
    assert_eq!(union(&mut a, "k-9").len(), 5);
    assert!(a.records.distinct(&write, "k-9", "s-4").is_err(), "linked over z-17");
    sync(&mut a, &mut b);
    for node in [&mut a, &mut b] {
        let pairs = node.records.duplicates(&permit(Action::Search), 10).unwrap();
        let [pair] = pairs.as_slice() else { panic!("one pair, not {pairs:?}") };
        assert!(pair.contradicted);
        assert_eq!((pair.patients[0].id.as_str(), pair.patients[1].id.as_str()), ("k-9", "s-4"));
        let person = node.records.person(&permit(Action::Read), "z-17").unwrap();
        assert!(person[0].contradicted.contains("s-4"), "{person:?}");
        assert_eq!(union(node, "k-9").len(), 5);
    }
    assert_eq!(a.digest(), b.digest());
    // Taken back, the rest stands; and the link that would close the chain again is refused.
    say(&mut b, Records::unlink);
    assert_eq!(union(&mut b, "k-9").len(), 3);
    assert_eq!(open(&mut b), []);
    let refused = b.records.link(&write, "s-4", "z-17").unwrap_err().to_string();
    assert!(refused.contains("k-9") && refused.contains("s-4"), "{refused}");
}

#[test]
fn a_form_is_told_of_her_before_she_is_registered_again() {
    let (mut a, _) = found("Ziguinchor");
    a.put(awa_in_ziguinchor());
    a.put(json!({"resourceType": "Patient", "id": "twin", "birthDate": "1987-03-02",
        "gender": "female", "name": [{"family": "Diatta", "given": ["Adama"]}],
        "telecom": [{"system": "phone", "value": "+221 77 123 45 67"}]}));
    let permit = permit(Action::Search);
    let form = json!({"name": [{"text": "Diata Awa"}], "birthDate": "1987-02-03", "gender": "female",
        "telecom": [{"value": "77 123 45 67"}]});
    let likely = a.records.likely_same(&permit, &form, 5).unwrap();
    let ids: Vec<&str> = likely.iter().map(|same| same.patient.id.as_str()).collect();
    assert_eq!(ids, ["z-17"]);
    assert_eq!((likely[0].patient.site.as_str(), open(&mut a)), ("Ziguinchor", vec![]));
    assert_eq!(
        a.records.likely_same(&permit, &awa_in_ziguinchor(), 5).unwrap().len(),
        0,
        "herself"
    );
    let nobody = json!({"name": [{"text": "Lamine Sow"}]});
    assert_eq!(a.records.likely_same(&permit, &nobody, 5).unwrap().len(), 0);
}

#[test]
fn what_she_forbids_in_one_chart_is_forbidden_in_the_other_while_they_are_linked() {
    let (mut a, mut b) = registered_apart();
    a.put(json!({"resourceType": "Consent", "id": "no", "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]}, "patient": {"reference": "Patient/z-17"},
        "provision": {"type": "deny", "actor": [{"reference": {"reference": "Practitioner/nurse"}}]}}));
    let staff =
        [("nurse", Role::Nurse), ("doctor", Role::Physician), ("head", Role::Administrator)];
    for (id, role) in staff {
        let change = PersonChange { roles: Some(vec![role]), ..PersonChange::default() };
        a.records.add_staff(&permit(Action::ManageStaff), id, change).unwrap();
        a.records.commit().unwrap();
    }
    sync(&mut a, &mut b);
    let prescription = ResourceKey::parse("MedicationRequest/rx").unwrap();
    let reads = |node: &mut Node| -> bool {
        let nurse = Actor::Staff("nurse".into());
        let permit = node.records.authorize(&nurse, Action::Read, None).unwrap();
        match node.records.read(&permit, &prescription) {
            Ok(_) => true,
            Err(RecordsError::Denied(denial)) => {
                assert_eq!(denial.code(), "consent");
                false
            }
            Err(error) => panic!("{error}"),
        }
    };
    let say = |node: &mut Node, what: Say| {
        let doctor = Actor::Staff("doctor".into());
        let write = node.records.authorize(&doctor, Action::Write, None).unwrap();
        what(&mut node.records, &write, "s-4", "z-17").unwrap();
        node.records.commit().unwrap();
    };
    assert!(reads(&mut a));
    say(&mut b, Records::link);
    sync(&mut a, &mut b);
    assert!(!reads(&mut a) && !reads(&mut b));
    say(&mut b, Records::unlink);
    sync(&mut a, &mut b);
    assert!(reads(&mut a));
}
