//! Files that others made, in any order, more than once, and in two editions.

use carnet_node::access::Action;
use carnet_node::chart::ResourceKey;
use carnet_node::records::import::{ImportReport, Source};
use carnet_tests::{Node, found, permit};
use serde_json::{Value, json};

fn transaction(entries: Value) -> Value {
    json!({"resourceType": "Bundle", "type": "transaction", "entry": entries})
}

/// A practitioner as an export of a register has it, under one id and one identifier.
fn practitioner(family: &str) -> Value {
    json!({"fullUrl": "urn:uuid:11111111-1111-4111-8111-111111111111",
        "request": {"method": "POST", "url": "Practitioner"},
        "resource": {"resourceType": "Practitioner", "name": [{"family": family}],
            "identifier": [{"system": "urn:register", "value": "77"}]}})
}

fn encounter(id: &str) -> Value {
    json!({"fullUrl": format!("urn:uuid:{id}"), "request": {"method": "POST", "url": "Encounter"},
        "resource": {"resourceType": "Encounter", "status": "finished", "participant":
            [{"individual": {"reference": "Practitioner?identifier=urn:register|77"}}]}})
}

const VISITS: [&str; 2] =
    ["22222222-2222-4222-8222-222222222222", "33333333-3333-4333-8333-333333333333"];

fn take(node: &mut Node, sources: Vec<Source>) -> ImportReport {
    node.records.import(&permit(Action::Import), sources, |_, _| {}).unwrap()
}

fn in_memory(name: &str, bundle: &Value) -> Source {
    Source::bytes(name.into(), bundle.to_string().into_bytes())
}

fn all(node: &mut Node) -> Vec<Value> {
    let mut all = Vec::new();
    let keep = |resource| {
        all.push(resource);
        true
    };
    node.records.export(&permit(Action::Export), None, keep).unwrap();
    all
}

#[test]
fn two_editions_under_one_id_are_both_kept_and_a_query_means_the_first() {
    let (mut a, _) = found("Ziguinchor");
    let first = transaction(json!([practitioner("Diatta")]));
    let second = transaction(json!([practitioner("Diatta-Sané"), encounter(VISITS[0])]));
    let third = transaction(json!([encounter(VISITS[1])]));
    let files = || vec![in_memory("1", &first), in_memory("2", &second), in_memory("3", &third)];
    let report = take(&mut a, files());
    assert_eq!((report.resources, report.failed, report.skipped), (4, 0, 0), "{report:?}");

    let mut practitioners: Vec<Value> =
        all(&mut a).into_iter().filter(|r| r["resourceType"] == "Practitioner").collect();
    practitioners.sort_by_key(|r| r["id"].as_str().unwrap().starts_with("variant-"));
    let ids: Vec<&str> = practitioners.iter().map(|r| r["id"].as_str().unwrap()).collect();
    assert_eq!(ids[0], "11111111-1111-4111-8111-111111111111");
    assert!(ids[1].starts_with("variant-"), "{ids:?}");
    let names: Vec<&Value> = practitioners.iter().map(|r| &r["name"][0]["family"]).collect();
    assert_eq!(names, ["Diatta", "Diatta-Sané"]);
    for id in VISITS {
        let visit = a.show(&ResourceKey::new("Encounter", id).unwrap());
        let who = &visit["participant"][0]["individual"]["reference"];
        assert_eq!(*who, format!("Practitioner/{}", ids[0]));
    }
    // A repeat, and one that begins with the other edition, find what they made.
    let again = take(&mut a, files());
    assert_eq!((again.resources, again.existing, again.failed), (0, 4, 0), "{again:?}");
    let mut turned = files();
    turned.reverse();
    let again = take(&mut a, turned);
    assert_eq!((again.resources, again.existing, again.failed), (0, 4, 0), "{again:?}");
}

#[test]
fn a_file_that_waits_is_read_again_when_what_it_refers_to_is_in() {
    let (mut a, _) = found("Ziguinchor");
    let file = |name: &str, text: String| {
        let path = a.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    // Of the lines of the first file, one can be taken at once and two wait, each for another file.
    let needs = |id: &str, value: &str| {
        let mut entry = encounter(id);
        let query = format!("Practitioner?identifier=urn:register|{value}");
        entry["resource"]["participant"][0]["individual"]["reference"] = query.into();
        transaction(json!([entry])).to_string()
    };
    let free = transaction(json!([{"request": {"method": "PUT", "url": "Basic/free"},
        "resource": {"resourceType": "Basic", "id": "free"}}]));
    let lines = [needs(VISITS[0], "77"), free.to_string(), needs(VISITS[1], "78")].join("\n");
    let mut other = practitioner("Badji");
    other["fullUrl"] = "urn:uuid:44444444-4444-4444-8444-444444444444".into();
    other["resource"]["identifier"][0]["value"] = "78".into();
    let files = [
        file("1.ndjson", lines),
        file("2.json", transaction(json!([practitioner("Diatta")])).to_string()),
        file("3.json", "{\"resourceType\":".into()),
        file("4.json", transaction(json!([other])).to_string()),
    ];
    let sources = || files.iter().cloned().map(Source::file).collect::<Vec<_>>();
    let mut steps = Vec::new();
    let import = permit(Action::Import);
    let report = a.records.import(&import, sources(), |done, all| steps.push((done, all))).unwrap();
    assert_eq!((report.bundles, report.resources, report.failed), (5, 5, 1), "{report:?}");
    assert_eq!(report.failures[0].file, files[2].display().to_string());
    assert!(steps.is_sorted() && steps.last() == Some(&(4, 4)), "{steps:?}");

    // What never comes is named once for each bundle, by its place in the file.
    let (mut b, _) = found("Kolda");
    let mut sources = sources();
    sources.truncate(2);
    let report = take(&mut b, sources);
    assert_eq!((report.bundles, report.resources, report.failed), (3, 3, 1), "{report:?}");
    let failure = &report.failures[0];
    assert_eq!((failure.bundle, failure.entry), (3, Some(1)));
    assert!(failure.reason.contains("urn:register|78"), "{failure:?}");
}
