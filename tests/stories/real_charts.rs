//! Charts that others made: everything imports, syncs, and comes out again as it went in.

use carnet_node::access::Action;
use carnet_node::chart::canonical;
use carnet_tests::{Node, found, join, permit, sample_data, sync};
use flate2::read::GzDecoder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "gz"))
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

fn count(resources: impl Iterator<Item = Value>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for resource in resources {
        *counts.entry(bare(resource)).or_default() += 1;
    }
    counts
}

fn imported(bundles: &[(String, Vec<u8>)]) -> Vec<Value> {
    let mut all = Vec::new();
    let mut sources = BTreeMap::new();
    for (_, bytes) in bundles {
        let mut text = String::new();
        GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        let mut bundle: Value = serde_json::from_str(&text).unwrap();
        for entry in bundle["entry"].as_array_mut().unwrap() {
            // The same source with the same content is one resource.
            let resource = entry["resource"].take();
            let name = format!("{}\n{}", entry["fullUrl"], bare(resource.clone()));
            if sources.insert(name, ()).is_none() {
                all.push(resource);
            }
        }
    }
    all
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
    let mut exported = Vec::new();
    b.records
        .export(&permit(Action::Export), None, |resource| {
            exported.push(resource);
            true
        })
        .unwrap();
    assert_eq!(exported.len() as u64, report.resources);
    assert_eq!(count(exported.into_iter()), count(expected.into_iter()));
    b
}

/// Debug builds are slow: a few patients of each collection here, all of them in the benchmark.
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
