//! Charts that others made: everything imports, syncs, and comes out again as it went in.

use carnet_node::access::Action;
use carnet_node::chart::{ResourceKey, canonical, parse_json_within};
use carnet_node::store::index::Listing;
use carnet_tests::{Node, found, join, permit, sample_data, sync};
use flate2::read::GzDecoder;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "gz" || end == "json"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// A resource without its id, its meta and what its references say.
fn bare(mut resource: Value) -> String {
    fn strip(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(strip),
            Value::Object(map) => {
                map.remove("reference");
                // Of the urls only those that name an entry of the bundle are references.
                map.retain(|name, value| name != "url" || !is_local(value));
                map.values_mut().for_each(strip);
            }
            _ => {}
        }
    }
    strip(&mut resource);
    if let Some(map) = resource.as_object_mut() {
        map.remove("id");
        map.remove("meta");
    }
    canonical(&resource)
}

/// Whether it is of the form `Type/id`.
fn is_local(url: &Value) -> bool {
    url.as_str().is_some_and(|url| ResourceKey::parse(url).is_ok())
}

/// Writes the urls that name an entry of the same file as an import does: as references.
fn localize(value: &mut Value, urls: &BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| localize(item, urls)),
        Value::Object(map) => {
            for (name, item) in map {
                match item {
                    Value::String(url) if name == "url" && urls.contains(url.as_str()) => {
                        "Basic/an-entry-of-this-bundle".clone_into(url);
                    }
                    item => localize(item, urls),
                }
            }
        }
        _ => {}
    }
}

fn count(resources: impl Iterator<Item = Value>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for resource in resources {
        *counts.entry(bare(resource)).or_default() += 1;
    }
    counts
}

/// One resource of a file.
struct Entry {
    url: String,
    /// It is wanted only if this finds nothing: `identifier=system|value`.
    unless: Option<String>,
    resource: Value,
}

/// What a file holds: a bundle's resources, or one.
fn entries(bytes: &[u8]) -> Vec<Entry> {
    let mut text = String::new();
    match bytes {
        [0x1f, 0x8b, ..] => GzDecoder::new(bytes).read_to_string(&mut text).unwrap(),
        mut plain => plain.read_to_string(&mut text).unwrap(),
    };
    let mut value = parse_json_within(&text, usize::MAX).unwrap();
    if value["resourceType"] != "Bundle" {
        return vec![Entry { url: value["id"].to_string(), unless: None, resource: value }];
    }
    let entries = value["entry"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let url = |entry: &Value| entry["fullUrl"].as_str().unwrap_or_default().to_owned();
    let urls: BTreeSet<String> = entries.iter().map(url).collect();
    let entries = entries.into_iter().filter(|entry| entry["resource"].is_object());
    let read = |mut entry: Value| {
        localize(&mut entry["resource"], &urls);
        let unless = entry["request"]["ifNoneExist"].as_str().map(str::to_owned);
        Entry { url: url(&entry), unless, resource: entry["resource"].take() }
    };
    entries.map(read).collect()
}

/// By what queries a resource is found, with its type.
fn found_by(resource: &Value) -> Vec<String> {
    let identifiers = resource["identifier"].as_array().into_iter().flatten();
    let query = |identifier: &Value| {
        let text = |name: &str| identifier[name].as_str().unwrap_or_default().to_owned();
        format!("{}?identifier={}|{}", resource["resourceType"], text("system"), text("value"))
    };
    identifiers.map(query).collect()
}

/// The resources of the files that an import makes.
fn imported(files: &[(String, Vec<u8>)]) -> Vec<Value> {
    let all: Vec<Entry> = files.iter().flat_map(|(_, bytes)| entries(bytes)).collect();
    let firm = all.iter().filter(|entry| entry.unless.is_none());
    let mut there: BTreeSet<String> = firm.flat_map(|entry| found_by(&entry.resource)).collect();
    let mut sources = BTreeSet::new();
    let mut made = Vec::new();
    for Entry { url, unless, resource } in all {
        let wanted = unless
            .is_none_or(|query| there.insert(format!("{}?{query}", resource["resourceType"])));
        // The same source with the same content is one resource.
        if wanted && sources.insert((url, bare(resource.clone()))) {
            made.push(resource);
        }
    }
    made
}

fn exported(node: &mut Node) -> Vec<Value> {
    let mut exported = Vec::new();
    let keep = |resource| {
        exported.push(resource);
        true
    };
    node.records.export(&permit(Action::Export), None, keep).unwrap();
    exported
}

fn round_trip(bundles: Vec<(String, Vec<u8>)>) -> Node {
    let expected = imported(&bundles);
    let (mut a, _) = found("Ziguinchor");
    let report = a.import(bundles.clone());
    assert_eq!(
        report.failures.iter().map(|f| &f.reason).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
    assert_eq!((report.failed, report.skipped), (0, 0));
    assert_eq!(report.bundles, bundles.len() as u64);

    let again = a.import(bundles);
    assert_eq!((again.resources, again.failed, again.skipped), (0, 0, 0));
    assert_eq!(again.existing, report.resources + report.existing);

    let mut b = join(&mut a, "Sédhiou");
    sync(&mut a, &mut b);
    assert_eq!(a.digest(), b.digest());
    let exported = exported(&mut b);
    assert_eq!(exported.len() as u64, report.resources);
    let (was, is) = (count(expected.into_iter()), count(exported.into_iter()));
    let differs =
        was.keys().chain(is.keys()).filter(|resource| was.get(*resource) != is.get(*resource));
    let told = |resource: &String| {
        let start: String = resource.chars().take(400).collect();
        format!("{:?} in, {:?} out: {start}", was.get(resource), is.get(resource))
    };
    let differs: BTreeSet<String> = differs.map(told).collect();
    let some: Vec<_> = differs.iter().take(6).collect();
    assert!(some.is_empty(), "{} differ: {some:#?}", differs.len());
    b
}

/// Debug builds are slow: a few patients of each collection here, all of them below.
fn some(
    mut files: Vec<(String, Vec<u8>)>,
    size_max: usize,
    count: usize,
) -> Vec<(String, Vec<u8>)> {
    files.retain(|(name, bytes)| bytes.len() <= size_max || name.contains("nformation"));
    let shared: Vec<_> =
        files.iter().filter(|(name, _)| name.contains("nformation")).cloned().collect();
    files.retain(|(name, _)| !name.contains("nformation"));
    files.truncate(count);
    // The bundles that hold the targets of conditional references come last by name.
    files.extend(shared);
    files
}

#[test]
fn charts_of_one_collection_come_out_as_they_went_in() {
    let Some(data) = sample_data() else {
        println!("not run: no third-party charts here; set CARNET_SAMPLES");
        return;
    };
    round_trip(some(files(&data.join("synthea")), 60_000, 8));
}

#[test]
fn charts_with_conditional_references_find_their_targets_in_any_order() {
    let Some(data) = sample_data() else {
        println!("not run: no third-party charts here; set CARNET_SAMPLES");
        return;
    };
    round_trip(some(files(&data.join("synthea-hiv")), 70_000, 2));
}

#[test]
fn the_standards_examples_come_out_as_they_went_in() {
    let Some(data) = sample_data() else {
        println!("not run: no third-party charts here; set CARNET_SAMPLES");
        return;
    };
    let (mut a, _) = found("Ziguinchor");
    let files = files(&data.join("r4-examples"));
    let report = a.import(files.clone());
    assert_eq!(report.failures.iter().map(|f| &f.reason).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(report.bundles, files.len() as u64);
    // Examples share ids, and one deletes another: what was replaced or deleted is in the history.
    let all = Listing { deleted: true, limit: 10_000, ..Listing::default() };
    let mut said = BTreeSet::new();
    for shown in a.records.list(&permit(Action::Read), &all).unwrap().shown {
        let name = |key: &str| shown.resource[key].as_str().unwrap().to_owned();
        let key = ResourceKey::new(&name("resourceType"), &name("id")).unwrap();
        let history = a.records.history(&permit(Action::Read), &key).unwrap();
        said.extend(history.into_iter().map(|version| bare(version.resource)));
    }
    for (file, bytes) in files {
        for Entry { resource, .. } in entries(&bytes) {
            let kind = resource["resourceType"].clone();
            assert!(said.contains(&bare(resource)), "{kind} of {file}");
        }
    }
}

/// A debug build takes half an hour over everything; a release build some minutes.
fn takes_long() -> bool {
    cfg!(debug_assertions) && std::env::var_os("CARNET_LONG").is_none()
}

#[test]
fn both_whole_collections_are_taken_in_one_import_and_come_out_as_they_went_in() {
    let Some(data) = sample_data().filter(|_| !takes_long()) else {
        println!("not run: no third-party charts here, or unoptimised; see .ci/run");
        return;
    };
    let mut both = files(&data.join("synthea"));
    both.extend(files(&data.join("synthea-hiv")));
    round_trip(both);
}
