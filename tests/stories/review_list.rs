//! What has happened at one site and must be looked at stands on every node's review list, until
//! somebody signs it off or decides it, on any of them.

use carnet_node::access::statement::Standing;
use carnet_node::access::{Action, Actor, Permit, Role};
use carnet_node::records::RecordsError;
use carnet_node::records::review::{ReviewItem, ReviewKind};
use carnet_node::records::staff::PersonChange;
use carnet_node::store::index::TrailFilter;
use carnet_sync_protocol::certificate::RevocationKind;
use carnet_tests::{Node, copy_files, found, join, permit, sync};
use serde_json::json;
use std::fs;

fn two_sites() -> (Node, Node) {
    let (mut a, _) = found("Ziguinchor");
    let mut b = join(&mut a, "Sédhiou");
    sync(&mut a, &mut b);
    (a, b)
}

fn hire(node: &mut Node, id: &str, role: Role) {
    let change = PersonChange { roles: Some(vec![role]), ..PersonChange::default() };
    node.records.add_staff(&permit(Action::ManageStaff), id, change).unwrap();
    node.records.commit().unwrap();
}

fn change(node: &mut Node, id: &str, change: PersonChange) {
    node.records.change_staff(&permit(Action::ManageStaff), id, change).unwrap();
    node.records.commit().unwrap();
}

fn as_staff(node: &mut Node, id: &str, action: Action) -> Permit {
    node.records.authorize(&Actor::Staff(id.into()), action, None).unwrap()
}

fn list(node: &mut Node, permit: &Permit) -> Vec<ReviewItem> {
    node.records.review_list(permit, false).unwrap()
}

fn patient(id: &str) -> serde_json::Value {
    json!({"resourceType": "Patient", "id": id, "birthDate": "1987-03-02",
        "name": [{"family": "Diatta", "given": ["Awa"]}]})
}

#[test]
fn an_emergency_stands_on_every_list_until_it_is_signed_off_on_any_node() {
    let (mut a, mut b) = two_sites();
    a.put(patient("p"));
    hire(&mut a, "nurse", Role::Nurse);
    hire(&mut a, "doctor", Role::Physician);
    hire(&mut a, "officer", Role::PrivacyOfficer);
    hire(&mut a, "head", Role::Administrator);
    sync(&mut a, &mut b);

    let emergency = as_staff(&mut b, "doctor", Action::Emergency);
    b.records.open_emergency(&emergency, "p", "unconscious, alone").unwrap();
    b.records.commit().unwrap();
    sync(&mut a, &mut b);

    let officer = as_staff(&mut a, "officer", Action::Review);
    let open = list(&mut a, &officer);
    let [item] = open.as_slice() else { panic!("one item, not {open:?}") };
    assert_eq!((item.kind, item.who.as_slice()), (ReviewKind::Emergency, &["doctor".into()][..]));
    assert_eq!(item.patient.as_deref(), Some("p"));
    assert_eq!(item.name.as_deref(), Some("Awa Diatta"));
    assert_eq!(item.figures["reason"], "unconscious, alone");
    let at_b = as_staff(&mut b, "officer", Action::Review);
    assert_eq!(list(&mut b, &at_b), open, "the same on both");

    // The chart says so to whoever opens it, and to nobody else.
    let read = as_staff(&mut a, "nurse", Action::Read);
    let views = a.records.emergencies_of(&read, "p").unwrap();
    assert_eq!((views[0].item.as_str(), views[0].who.as_str()), (item.id.as_str(), "doctor"));
    let denied = a.records.authorize(&Actor::Staff("nurse".into()), Action::Review, None);
    assert!(matches!(denied, Err(RecordsError::Denied(_))), "{denied:?}");
    let administrator = as_staff(&mut a, "head", Action::Read);
    assert!(a.records.emergencies_of(&administrator, "p").is_err());
    // Administrators see what stands on the list, of nobody whom it names, and sign nothing off.
    let administrator = as_staff(&mut a, "head", Action::Review);
    let seen = list(&mut a, &administrator);
    assert_eq!((&seen[0].id, &seen[0].patient, &seen[0].name), (&item.id, &None, &None));
    let denied = a.records.authorize(&Actor::Staff("head".into()), Action::SignOff, None);
    assert!(matches!(denied, Err(RecordsError::Denied(_))), "{denied:?}");

    let own = as_staff(&mut a, "doctor", Action::SignOff);
    let signing = as_staff(&mut a, "officer", Action::SignOff);
    let signing_at_b = as_staff(&mut b, "officer", Action::SignOff);
    let refused = a.records.sign_off(&own, &item.id, "it was right");
    assert!(matches!(refused, Err(RecordsError::Refused(_))), "{refused:?}");
    let unknown = a.records.sign_off(&signing, "emergency-00", "");
    assert!(matches!(unknown, Err(RecordsError::BadRequest(_))), "{unknown:?}");

    a.records.sign_off(&signing, &item.id, "asked her; it was right").unwrap();
    a.records.commit().unwrap();
    assert_eq!(list(&mut b, &at_b), open, "until the link is back");
    sync(&mut a, &mut b);
    for (node, permit, signing) in [(&mut a, &officer, &signing), (&mut b, &at_b, &signing_at_b)] {
        assert_eq!(list(node, permit), []);
        let all = node.records.review_list(permit, true).unwrap();
        let signed = all[0].signed_off.as_ref().unwrap();
        assert_eq!(
            (signed.by.as_str(), signed.note.as_str()),
            ("officer", "asked her; it was right")
        );
        let again = node.records.sign_off(signing, &item.id, "once more");
        assert!(matches!(again, Err(RecordsError::BadRequest(_))), "{again:?}");
    }
    assert_eq!(a.records.emergencies_of(&read, "p").unwrap(), []);
    // Who looked at the list and who signed is on record.
    a.records.commit().unwrap();
    let audit = as_staff(&mut a, "head", Action::Audit);
    let filter = TrailFilter { actor: Some("officer".into()), limit: 100, ..Default::default() };
    let events = a.records.trail(&audit, &filter).unwrap();
    let here = events.iter().filter(|event| event.site == "Ziguinchor");
    let acts: Vec<&str> = here.map(|event| event.event.action.as_str()).collect();
    assert_eq!(acts, ["review", "sign-off", "review", "review"]);
}

#[test]
fn a_patient_who_denies_it_is_not_named_and_the_item_stays() {
    let (mut a, _) = found("Ziguinchor");
    a.put(patient("p"));
    a.put(json!({"resourceType": "Consent", "id": "c", "status": "active",
        "patient": {"reference": "Patient/p"},
        "scope": {"coding": [{"code": "patient-privacy"}]}, "category": [],
        "provision": {"type": "deny",
            "actor": [{"reference": {"reference": "Practitioner/officer"}}]}}));
    hire(&mut a, "doctor", Role::Physician);
    hire(&mut a, "officer", Role::PrivacyOfficer);
    let emergency = as_staff(&mut a, "doctor", Action::Emergency);
    a.records.open_emergency(&emergency, "p", "unconscious").unwrap();
    let officer = as_staff(&mut a, "officer", Action::Review);
    let open = list(&mut a, &officer);
    assert_eq!((open.len(), &open[0].patient, &open[0].name), (1, &None, &None));
    let everything = list(&mut a, &permit(Action::Review));
    assert_eq!(everything[0].patient.as_deref(), Some("p"));
}

#[test]
fn every_kind_of_item_has_one_name_on_all_nodes_and_is_signed_off_or_decided() {
    let (mut a, mut b) = two_sites();
    let mut c = join(&mut a, "Kolda");
    let mut d = join(&mut a, "Bignona");
    hire(&mut a, "awa", Role::Nurse);
    hire(&mut a, "ben", Role::Nurse);
    let key = a.put(json!({"resourceType": "Patient", "id": "p"}));
    sync(&mut a, &mut b);
    sync(&mut a, &mut c);
    sync(&mut a, &mut d);

    // A conflict, a pair of charts, two statements about Ben, all made apart.
    a.set(&key, "gender", json!("female"));
    b.set(&key, "gender", json!("male"));
    a.put(patient("z-17"));
    b.put(patient("s-4"));
    for (node, role) in [(&mut a, Role::Pharmacy), (&mut b, Role::Laboratory)] {
        change(node, "ben", PersonChange { roles: Some(vec![role]), ..PersonChange::default() });
    }
    // Awa is suspended at one and writes on at the other.
    let suspended = || PersonChange { standing: Some(Standing::Suspended), ..Default::default() };
    change(&mut a, "awa", suspended());
    let write = as_staff(&mut b, "awa", Action::Write);
    let elements = [("maritalStatus".to_owned(), Some(json!({"text": "married"})))];
    b.records.set_element(&write, &key, &elements).unwrap();
    b.records.commit().unwrap();
    // A node is put out and writes on; and what B wrote last is written over by its own backup.
    let node = c.id();
    let administer = permit(Action::Administer);
    a.records.set_standing(&administer, &node, RevocationKind::Suspend, None).unwrap();
    a.records.commit().unwrap();
    c.put(json!({"resourceType": "Patient", "id": "late"}));
    let kept = tempfile::tempdir().unwrap();
    let mut b = b.reopened(|home| copy_files(home, kept.path()));
    b.put(json!({"resourceType": "Patient", "id": "before", "gender": "other"}));
    sync(&mut a, &mut b);
    let mut b = b.reopened(|home| {
        fs::remove_file(home.join("index.db")).unwrap();
        copy_files(kept.path(), home);
    });
    b.put(json!({"resourceType": "Patient", "id": "after", "gender": "other"}));
    sync(&mut a, &mut c);
    sync(&mut a, &mut b);

    let review = permit(Action::Review);
    let open = list(&mut a, &review);
    assert_eq!(open, list(&mut b, &review), "the same on both");
    let codes: Vec<&str> = open.iter().map(|item| item.code).collect();
    for code in ["suspended", "conflict", "duplicate", "staff", "withheld", "fork"] {
        assert!(codes.contains(&code), "no {code} in {codes:?}");
    }
    let sign_off = permit(Action::SignOff);
    for item in &open {
        let signed = a.records.sign_off(&sign_off, &item.id, "seen");
        assert_eq!(signed.is_ok(), item.to_sign, "{item:?}: {signed:?}");
        let told = signed.map_err(|error| error.to_string()).err().unwrap_or_default();
        assert!(item.to_sign || told.contains("decided"), "{told}");
    }
    a.records.commit().unwrap();
    sync(&mut a, &mut b);
    let left = list(&mut b, &review);
    assert_eq!(left, list(&mut a, &review));
    assert!(left.iter().all(|item| !item.to_sign), "{left:?}");

    // Decided, they leave by themselves; and one more late write is another item.
    change(&mut a, "ben", PersonChange { roles: Some(vec![Role::Nurse]), ..Default::default() });
    a.records.distinct(&permit(Action::Write), "z-17", "s-4").unwrap();
    a.records.commit().unwrap();
    let write = as_staff(&mut d, "awa", Action::Write);
    d.records.set_element(&write, &key, &elements).unwrap();
    d.records.commit().unwrap();
    sync(&mut a, &mut d);
    sync(&mut a, &mut b);
    let codes: Vec<&str> = list(&mut b, &review).iter().map(|item| item.code).collect();
    assert_eq!(codes, ["suspended", "conflict"]);
}
