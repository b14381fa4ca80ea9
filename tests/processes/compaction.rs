//! A ledger is packed while power may fail, and while peers want what is in it.

use super::harness::{PASSPHRASE, Site, import, pause, until};
use carnet_node::base::environment::Environment;
use serde_json::json;
use std::process::Stdio;

/// How long a compaction takes here at most, on a busy machine.
const WITHIN_MS: u64 = 800;

/// Observations of one patient, in a file each: each becomes an entry of its own.
fn visits(site: &Site, count: usize) -> Vec<String> {
    let visit = |n: usize| {
        let visit = json!({"resourceType": "Observation", "id": format!("o{n}"), "status": "final",
            "subject": {"reference": "Patient/p"}, "code": {"text": "weight"},
            "valueQuantity": {"value": 50 + n, "unit": "kg"}});
        site.file(&format!("visit-{n}.json"), visit.to_string())
    };
    (0..count).map(visit).collect()
}

#[test]
fn a_kill_while_the_ledger_is_packed_loses_nothing() {
    let (a, _) = Site::found("Ziguinchor");
    import(&a, &visits(&a, 150));
    let digest = a.digest();
    let dry = a.json(&["compact", "--dry-run"]);
    assert!(dry["entries"].as_u64() > Some(20), "{dry}");
    assert_eq!(a.json(&["compact", "--dry-run"])["entries"], dry["entries"]);
    let (chance, _) = Environment::seeded(13, 0);
    for cut in 0..8 {
        let mut command = a.command(&["compact"]);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        pause(u64::from_le_bytes(chance.random()) % WITHIN_MS);
        child.kill().expect("killed");
        child.wait().expect("a child");
        assert_eq!(a.digest(), digest, "after cut {cut}");
    }
    let done = a.json(&["compact"]);
    assert_eq!(done["waiting"], 0, "{done}");
    assert_eq!(a.digest(), digest);
    assert!(!a.dir().join("log.db.new").exists());
    assert_eq!(a.json(&["compact"])["entries"], 0);
}

#[test]
fn a_newcomer_gets_from_a_locked_node_what_is_not_packed_and_the_rest_when_it_is_unlocked() {
    let a = Site::new();
    let right = a.file("right.txt", PASSPHRASE);
    let opener = ["--unlock", "passphrase", "--passphrase-file", &right];
    let founding = ["init", "--practice", "Casamance", "--site", "Ziguinchor"];
    a.json(&[&founding[..], &opener[..]].concat());
    let open = a.start(&["--sync-listen", "127.0.0.1:0", "--passphrase-file", &right]);
    import(&a, &visits(&a, 60));
    let packed = a.json(&["compact"])["entries"].as_u64().expect("a count");
    assert!(packed > 10, "{packed}");
    let b = Site::joined(&a.invite(&["--site", "Kolda"]));
    let address = open.address.clone();
    open.kill();

    let locked = a.start(&["--sync-listen", &address]);
    let status = a.json(&["status"]);
    let waits = |problem: &serde_json::Value| problem["code"] == "packed";
    assert!(status["problems"].as_array().into_iter().flatten().any(waits), "{status}");
    let joined = b.start(&["--sync-listen", "127.0.0.1:0"]);
    let lacks = || a.entries().saturating_sub(b.entries());
    until("what is not packed has come", 20_000, || b.entries() > 5 && lacks() >= packed);
    pause(500);
    assert!(lacks() >= packed);
    a.json(&["unlock", "--passphrase-file", &right]);
    until("the rest has come", 20_000, || lacks() == 0);
    assert_eq!(a.digest(), b.digest());
    drop((locked, joined));
}
