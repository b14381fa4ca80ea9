//! Third-party resources, if they are at hand.

#![cfg(test)]

use super::*;
use std::path::PathBuf;

/// The folder of samples, or a note that there is none.
pub(super) fn folder(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("CARNET_SAMPLES").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"))
    });
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no samples in {}; name their folder in CARNET_SAMPLES", folder.display());
    None
}

#[test]
fn every_official_example_comes_back_as_it_went_in() {
    let Some(folder) = folder("r4-examples") else {
        return;
    };
    let mut document = Document::new(actor(1));
    let mut other = Document::new(actor(2));
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let body = parse_json(&text).unwrap();
        let resource = Resource::with_id(body.clone(), &format!("x{count}")).unwrap();
        let written = document.write(1, &[Edit::Put(resource.clone())]).unwrap().unwrap();
        other.apply(&written.bytes, prefix(1)).unwrap();
        let back = other.view(&resource.key()).unwrap().body;
        assert_eq!(canonical(&back), canonical(&resource.into_body()));
        count += 1;
    }
    assert!(count > 400, "only {count} examples");
    assert_eq!(document.digest(), other.digest());
}
