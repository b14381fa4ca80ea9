//! Who may see what: each role, through the door that everybody uses, with what the trail keeps of
//! it; and what happens while two nodes do not know the same of somebody's rights.

use carnet_node::access::statement::{Standing, Token};
use carnet_node::access::{Action, Actor, Denial, Permit, Role};
use carnet_node::audit::AuditOutcome;
use carnet_node::chart::{Resource, ResourceKey};
use carnet_node::records::RecordsError;
use carnet_node::records::staff::PersonChange;
use carnet_node::records::trail::TrailEvent;
use carnet_node::store::index::{Listing, TrailFilter};
use carnet_tests::{Node, found, join, permit, sync};
use serde_json::{Value, json};

fn hire(node: &mut Node, id: &str, role: Role) {
    let change = PersonChange { roles: Some(vec![role]), ..PersonChange::default() };
    node.records.add_staff(&permit(Action::ManageStaff), id, change).unwrap();
    node.records.commit().unwrap();
}

fn staff(id: &str) -> Actor {
    Actor::Staff(id.into())
}

fn leave(node: &mut Node, actor: &Actor, action: Action) -> Result<Permit, RecordsError> {
    let permit = node.records.authorize(actor, action, None);
    node.records.commit().unwrap();
    permit
}

fn key(text: &str) -> ResourceKey {
    ResourceKey::parse(text).unwrap()
}

fn read(node: &mut Node, actor: &Actor, resource: &str) -> Result<Value, RecordsError> {
    let permit = leave(node, actor, Action::Read)?;
    let shown = node.records.read(&permit, &key(resource));
    node.records.commit().unwrap();
    shown.map(|shown| shown.resource)
}

fn write(node: &mut Node, actor: &Actor, body: Value) -> Result<(), RecordsError> {
    let permit = leave(node, actor, Action::Write)?;
    let saved = node.records.put(&permit, &Resource::from_value(body).unwrap());
    node.records.commit().unwrap();
    saved.map(drop)
}

fn code(outcome: Result<impl Sized, RecordsError>) -> &'static str {
    match outcome {
        Ok(_) => "allowed",
        Err(RecordsError::Denied(denial)) => denial.code(),
        Err(other) => panic!("neither allowed nor denied: {other}"),
    }
}

fn trail(node: &mut Node, filter: TrailFilter) -> Vec<TrailEvent> {
    let officer = leave(node, &staff("officer"), Action::Audit).unwrap();
    let events = node.records.trail(&officer, &TrailFilter { limit: 10_000, ..filter }).unwrap();
    node.records.commit().unwrap();
    events
}

fn about(kind: &str, id: &str) -> Value {
    json!({"resourceType": kind, "id": id, "status": "final", "code": {"text": "x"},
        "subject": {"reference": "Patient/p"}, "patient": {"reference": "Patient/p"},
        "beneficiary": {"reference": "Patient/p"},
        "participant": [{"actor": {"reference": "Patient/p"}}]})
}

/// A chart with something of each kind, and one person of each role.
fn practice() -> Node {
    let (mut node, _) = found("Ziguinchor");
    fill(&mut node);
    node
}

fn fill(node: &mut Node) {
    node.put(json!({"resourceType": "Patient", "id": "p", "name": [{"family": "Diatta"}]}));
    for kind in [
        "AllergyIntolerance",
        "MedicationRequest",
        "Observation",
        "Composition",
        "NutritionOrder",
        "Procedure",
        "Claim",
        "Coverage",
        "Appointment",
        "CarePlan",
        "DiagnosticReport",
    ] {
        node.put(about(kind, "1"));
    }
    node.put(json!({"resourceType": "Organization", "id": "o", "name": "Hospital"}));
    for (id, snomed) in [("measles", "14189004"), ("sprain", "44465007")] {
        node.put(json!({"resourceType": "Condition", "id": id,
            "subject": {"reference": "Patient/p"},
            "code": {"coding": [{"system": "http://snomed.info/sct", "code": snomed}]}}));
    }
    let mut restricted = about("Observation", "restricted");
    restricted["meta"] = json!({"security": [{"code": "R",
        "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"}]});
    node.put(restricted);
    for role in Role::ALL.into_iter().filter(|role| role.is_for_staff()) {
        let id = if role == Role::PrivacyOfficer { "officer" } else { role.id() };
        // The administrator last: from then on the operator hires nobody.
        if role != Role::Administrator {
            hire(node, id, role);
        }
    }
    hire(node, "administrator", Role::Administrator);
}

#[test]
fn each_role_sees_what_it_needs_and_is_refused_the_rest_on_record() {
    let mut node = practice();
    for (who, allowed, denied) in [
        ("physician", "Composition/1", "Observation/restricted"),
        ("nurse", "MedicationRequest/1", "Claim/1"),
        ("medical-assistant", "Observation/1", "Claim/1"),
        ("laboratory", "DiagnosticReport/1", "Composition/1"),
        ("pharmacy", "MedicationRequest/1", "Composition/1"),
        ("front-desk", "Appointment/1", "Condition/sprain"),
        ("billing", "Procedure/1", "Composition/1"),
        ("dietary-aide", "NutritionOrder/1", "Condition/sprain"),
        ("social-worker", "CarePlan/1", "MedicationRequest/1"),
        ("public-health", "Condition/measles", "Condition/sprain"),
        ("officer", "Patient/p", "Condition/sprain"),
        ("administrator", "Organization/o", "Patient/p"),
    ] {
        let actor = staff(who);
        assert_eq!(code(read(&mut node, &actor, allowed)), "allowed", "{who} {allowed}");
        let refusal = code(read(&mut node, &actor, denied));
        let expected = if who == "physician" { "restricted" } else { "class" };
        assert_eq!(refusal, expected, "{who} {denied}");
        let filter = TrailFilter { actor: Some(who.into()), ..TrailFilter::default() };
        let events = trail(&mut node, filter);
        let of = |outcome| {
            events.iter().filter(move |e| e.event.action == "read" && e.event.outcome == outcome)
        };
        assert_eq!(of(AuditOutcome::Done).count(), 1, "{who}");
        let refused: Vec<_> = of(AuditOutcome::Denied).collect();
        assert_eq!(refused.len(), 1, "{who}");
        assert_eq!(refused[0].event.subject.as_deref(), Some(denied));
        assert_eq!(refused[0].event.detail, expected);
    }
    assert_eq!(code(read(&mut node, &Actor::Operator, "Patient/p")), "operator");
    // What a list withholds is counted, not shown.
    let permit = leave(&mut node, &staff("dietary-aide"), Action::Read).unwrap();
    let chart = Listing { patient: Some("p".into()), limit: 100, ..Listing::default() };
    let listed = node.records.list(&permit, &chart).unwrap();
    let mut kinds: Vec<_> = listed
        .shown
        .iter()
        .map(|shown| shown.resource["resourceType"].as_str().unwrap().to_owned())
        .collect();
    kinds.sort();
    assert_eq!(kinds, ["AllergyIntolerance", "NutritionOrder", "Patient"]);
    assert!(listed.withheld > 5);
}

#[test]
fn writing_asks_for_more_than_reading_and_acts_have_roles_of_their_own() {
    let mut node = practice();
    assert_eq!(code(write(&mut node, &staff("nurse"), about("Observation", "2"))), "allowed");
    assert_eq!(code(write(&mut node, &staff("pharmacy"), about("Observation", "3"))), "class");
    for (who, action, expected) in [
        ("billing", Action::Search, "allowed"),
        ("public-health", Action::Search, "role"),
        ("public-health", Action::Aggregate, "allowed"),
        ("front-desk", Action::Emergency, "role"),
        ("nurse", Action::Emergency, "allowed"),
        ("nurse", Action::Export, "role"),
        ("nurse", Action::Audit, "role"),
        ("physician", Action::ManageStaff, "role"),
        ("administrator", Action::ManageStaff, "allowed"),
        ("officer", Action::Review, "allowed"),
        ("officer", Action::SignOff, "allowed"),
        ("administrator", Action::Review, "allowed"),
        ("administrator", Action::SignOff, "role"),
        ("billing", Action::Operate, "allowed"),
    ] {
        assert_eq!(code(leave(&mut node, &staff(who), action)), expected, "{who} {action:?}");
    }
    // History names the person, not only the machine.
    let permit = leave(&mut node, &staff("nurse"), Action::Read).unwrap();
    let history = node.records.history(&permit, &key("Observation/2")).unwrap();
    assert_eq!(history[0].author, "nurse");
}

#[test]
fn an_emergency_opens_one_chart_to_a_clinician_and_says_so() {
    let mut node = practice();
    let laboratory = staff("laboratory");
    assert_eq!(code(read(&mut node, &laboratory, "Composition/1")), "class");
    let permit = leave(&mut node, &laboratory, Action::Emergency).unwrap();
    assert!(node.records.open_emergency(&permit, "p", "  ").is_err(), "a reason is needed");
    node.records.open_emergency(&permit, "p", "found unconscious").unwrap();
    node.records.commit().unwrap();
    assert_eq!(code(read(&mut node, &laboratory, "Composition/1")), "allowed");
    assert_eq!(code(read(&mut node, &laboratory, "Observation/restricted")), "allowed");
    assert_eq!(code(read(&mut node, &laboratory, "Claim/1")), "class");
    assert_eq!(code(write(&mut node, &laboratory, about("Composition", "2"))), "class");
    let filter = TrailFilter { actor: Some("laboratory".into()), ..TrailFilter::default() };
    let events = trail(&mut node, filter);
    let purpose = |subject: &str| {
        let found = events.iter().rfind(|e| e.event.subject.as_deref() == Some(subject));
        found.unwrap().event.purpose.clone()
    };
    assert_eq!(purpose("Composition/1"), "ETREAT");
    assert!(events.iter().any(|e| e.event.detail == "found unconscious"));
}

fn two_sites() -> (Node, Node) {
    let (mut a, _) = found("Ziguinchor");
    let mut b = join(&mut a, "Sédhiou");
    fill(&mut a);
    sync(&mut a, &mut b);
    (a, b)
}

fn manage(node: &mut Node) -> Permit {
    leave(node, &staff("administrator"), Action::ManageStaff).unwrap()
}

#[test]
fn who_is_suspended_here_works_on_there_until_the_link_returns_and_is_marked() {
    let (mut a, mut b) = two_sites();
    let nurse = staff("nurse");
    let manage_a = manage(&mut a);
    let suspend = PersonChange { standing: Some(Standing::Suspended), ..PersonChange::default() };
    a.records.change_staff(&manage_a, "nurse", suspend).unwrap();
    a.records.commit().unwrap();
    assert_eq!(code(read(&mut a, &nurse, "Observation/1")), "standing");
    assert_eq!(code(write(&mut b, &nurse, about("Observation", "between"))), "allowed");

    sync(&mut a, &mut b);
    for node in [&mut a, &mut b] {
        assert_eq!(code(read(node, &nurse, "Observation/1")), "standing");
        assert_eq!(code(write(node, &nurse, about("Observation", "after"))), "standing");
        let kept = read(node, &staff("physician"), "Observation/between").unwrap();
        assert_eq!(kept["meta"]["tag"][0]["code"], "author-suspended", "{kept}");
        let before = read(node, &staff("physician"), "Observation/1").unwrap();
        assert!(before["meta"].get("tag").is_none(), "what was written before is not marked");
    }
    let manage_b = manage(&mut b);
    let back = PersonChange { standing: Some(Standing::Active), ..PersonChange::default() };
    b.records.change_staff(&manage_b, "nurse", back).unwrap();
    b.records.commit().unwrap();
    assert_eq!(code(write(&mut b, &nurse, about("Observation", "since"))), "allowed");
    sync(&mut a, &mut b);
    let since = read(&mut a, &staff("physician"), "Observation/since").unwrap();
    assert!(since["meta"].get("tag").is_none());
    let between = read(&mut a, &staff("physician"), "Observation/between").unwrap();
    assert_eq!(between["meta"]["tag"][0]["code"], "author-suspended", "it stays marked");
}

#[test]
fn a_token_revoked_here_works_on_there_until_the_link_returns_and_is_marked() {
    use carnet_node::access::scope::Scopes;
    let (mut a, mut b) = two_sites();
    let token = |revoked| Token {
        id: "analyser".into(),
        name: "Blood analyser".into(),
        hash: [7; 32],
        scopes: Scopes::parse(["system/Observation.cruds"], None).unwrap(),
        expires_ms: u64::MAX,
        revoked,
    };
    let manage_a = manage(&mut a);
    a.records.state_token(&manage_a, token(false)).unwrap();
    a.records.commit().unwrap();
    sync(&mut a, &mut b);
    let analyser = Actor::Application("analyser".into());
    assert_eq!(code(read(&mut b, &analyser, "Composition/1")), "scope");
    a.records.state_token(&manage_a, token(true)).unwrap();
    a.records.commit().unwrap();
    assert_eq!(code(write(&mut b, &analyser, about("Observation", "between"))), "allowed");
    sync(&mut a, &mut b);
    for node in [&mut a, &mut b] {
        assert_eq!(code(write(node, &analyser, about("Observation", "after"))), "standing");
        let kept = read(node, &staff("physician"), "Observation/between").unwrap();
        assert_eq!(kept["meta"]["tag"][0]["code"], "author-suspended");
    }
}

#[test]
fn a_consent_withdrawn_here_holds_there_once_the_link_returns_and_the_trail_tells() {
    let (mut a, mut b) = two_sites();
    let consent = |status: &str| {
        json!({"resourceType": "Consent", "id": "c", "status": status,
            "scope": {"coding": [{"code": "patient-privacy"}]},
            "patient": {"reference": "Patient/p"},
            "provision": {"type": "permit", "actor": [
                {"reference": {"identifier": {"system": "urn:carnet:staff", "value": "nurse"}}}]}})
    };
    write(&mut a, &staff("physician"), consent("active")).unwrap();
    sync(&mut a, &mut b);
    let nurse = staff("nurse");
    assert_eq!(code(read(&mut b, &nurse, "Observation/restricted")), "allowed");
    write(&mut a, &staff("physician"), consent("inactive")).unwrap();
    assert_eq!(code(read(&mut a, &nurse, "Observation/restricted")), "restricted");
    let mut note = about("Observation", "restricted");
    note["meta"] = json!({"security": [{"code": "R",
        "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"}]});
    note["valueString"] = "written in between".into();
    assert_eq!(code(write(&mut b, &nurse, note)), "allowed", "she can't know yet");
    sync(&mut a, &mut b);
    for node in [&mut a, &mut b] {
        assert_eq!(code(read(node, &nurse, "Observation/restricted")), "restricted");
        let filter = TrailFilter { actor: Some("nurse".into()), ..TrailFilter::default() };
        let between: Vec<_> = trail(node, filter)
            .into_iter()
            .filter(|event| event.event.action == "write" && event.consent_changed)
            .collect();
        assert_eq!(between.len(), 1, "the write under a consent that no longer holds is marked");
    }
    // What she wrote is kept.
    let doctor = leave(&mut a, &staff("physician"), Action::Emergency).unwrap();
    a.records.open_emergency(&doctor, "p", "to look at it").unwrap();
    a.records.commit().unwrap();
    let kept = read(&mut a, &staff("physician"), "Observation/restricted").unwrap();
    assert_eq!(kept["valueString"], "written in between");
}

#[test]
fn where_sites_disagree_on_a_consent_the_stricter_holds() {
    let (mut a, mut b) = two_sites();
    let consent = |kind: &str| {
        json!({"resourceType": "Consent", "id": "c", "status": "active",
            "patient": {"reference": "Patient/p"},
            "provision": {"type": kind, "actor": [
                {"reference": {"reference": "Practitioner/nurse"}}]}})
    };
    write(&mut a, &staff("physician"), consent("permit")).unwrap();
    sync(&mut a, &mut b);
    write(&mut a, &staff("physician"), consent("deny")).unwrap();
    let mut narrower = consent("permit");
    narrower["provision"]["purpose"] = json!([{"code": "TREAT"}]);
    write(&mut b, &staff("physician"), narrower).unwrap();
    sync(&mut a, &mut b);
    for node in [&mut a, &mut b] {
        assert_eq!(code(read(node, &staff("nurse"), "Observation/1")), "consent");
    }
}

#[test]
fn the_last_administrator_stays() {
    let mut node = practice();
    let permit = manage(&mut node);
    let suspend = PersonChange { standing: Some(Standing::Suspended), ..PersonChange::default() };
    let refused = node.records.change_staff(&permit, "administrator", suspend);
    assert!(matches!(refused, Err(RecordsError::Refused(_))));
    let roles = PersonChange { roles: Some(vec![Role::Nurse]), ..PersonChange::default() };
    let refused = node.records.change_staff(&permit, "administrator", roles);
    assert!(matches!(refused, Err(RecordsError::Refused(_))));
    assert_eq!(
        node.records.authorize(&staff("nobody"), Action::Read, None).unwrap_err().to_string(),
        Denial::Standing { actor: "nobody".into() }.to_string()
    );
}
