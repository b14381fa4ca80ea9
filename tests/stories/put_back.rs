//! A node whose directory was put back to an older one, which nothing on the machine shows: it is
//! told by the first peer that knows more of what it wrote, whoever that is.

use carnet_tests::{copy_files, found, join, sync};
use serde_json::json;
use std::fs;

#[test]
fn it_begins_a_new_life_when_somebody_tells_whom_it_no_longer_knows() {
    let (mut a, _) = found("Ziguinchor");
    let mut b = join(&mut a, "Sédhiou");
    sync(&mut a, &mut b);
    let backup = tempfile::tempdir().unwrap();
    let mut a = a.reopened(|home| copy_files(home, backup.path()));
    let mut c = join(&mut a, "Kolda");
    sync(&mut a, &mut c);

    let mut a = a.reopened(|home| {
        for name in ["log.db-wal", "log.db-shm", "index.db-wal", "index.db-shm"] {
            let _ = fs::remove_file(home.join(name));
        }
        copy_files(backup.path(), home);
    });
    assert!(a.records.nodes().iter().all(|row| row.site != "Kolda"));
    let before = a.records.author();
    let told = c.records.frontier().clone();
    assert!(told.0.keys().any(|log| log.author == before));
    a.records.note_peer_frontier(&c.id(), &told).unwrap();
    assert_ne!(a.records.author(), before);

    a.put(json!({"resourceType": "Patient", "id": "awa", "birthDate": "1987-03-02"}));
    sync(&mut a, &mut c);
    sync(&mut a, &mut b);
    sync(&mut a, &mut c);
    assert_eq!(a.digest(), c.digest());
    assert_eq!(a.digest(), b.digest());
    let problems = c.records.status().unwrap().problems;
    assert!(problems.iter().all(|problem| problem.code() != "fork"), "{problems:?}");
}
