//! While nodes run, what is written at one shows at the others without anybody asking for it.

use super::harness::{Site, import, until};
use serde_json::{Value, json};

/// How soon an edit shows at a connected node.
const LIVE_MS: u64 = 5_000;

fn note(site: &Site, id: &str) {
    let body = json!({"resourceType": "Basic", "id": id, "code": {"text": id}});
    import(site, &[site.file(&format!("{id}.json"), body.to_string())]);
}

fn shown(site: &Site, id: &str) -> Option<Value> {
    let done = site.run(&["chart", "show", &format!("Basic/{id}"), "--json"]);
    (done.code == Some(0)).then(|| done.json())
}

#[track_caller]
fn must_show(site: &Site, id: &str, within_ms: u64) {
    until(id, within_ms, || shown(site, id).is_some());
}

#[test]
fn an_edit_shows_at_the_other_end_of_a_chain_whose_ends_never_meet() {
    let (middle, _) = Site::found("Ziguinchor");
    let hub = middle.listen();
    let a = Site::joined(&middle.invite(&["--site", "Kolda"]));
    let c = Site::joined(&middle.invite(&["--site", "Bignona"]));
    let (running_a, running_c) = (a.start(&[]), c.start(&[]));
    for (writer, readers, id) in
        [(&a, [&middle, &c], "of-a"), (&middle, [&a, &c], "of-b"), (&c, [&a, &middle], "of-c")]
    {
        note(writer, id);
        readers.iter().for_each(|reader| must_show(reader, id, LIVE_MS));
        let edit = ["chart", "edit", &format!("Basic/{id}"), "--set", "language=\"wo\""];
        writer.json(&edit);
        for reader in readers {
            until("the edit", LIVE_MS, || shown(reader, id).expect("there")["language"] == "wo");
        }
    }
    assert_eq!(a.digest(), c.digest());
    assert_eq!(a.digest(), middle.digest());
    let status = a.json(&["status"]);
    let sites: Vec<&Value> = status["peers"]
        .as_array()
        .expect("peers")
        .iter()
        .filter(|p| p["connected"] == true)
        .collect();
    assert_eq!(sites.len(), 1, "A has met nobody but the middle: {status}");

    // The middle's power is cut; the ends work on, and come together when it is back.
    let address = hub.address.clone();
    hub.kill();
    note(&a, "without-b");
    note(&c, "without-b-either");
    let hub = middle.start(&["--sync-listen", &address]);
    must_show(&c, "without-b", 30_000);
    must_show(&a, "without-b-either", 30_000);
    // In good order this time: its peers are told.
    assert_eq!(hub.terminate(), Some(0));
    let status = a.json(&["status"]);
    assert_eq!((&status["ok"], &status["peers"][0]["connected"]), (&json!(true), &json!(false)));
    note(&a, "again");
    let hub = middle.start(&["--sync-listen", &address]);
    must_show(&c, "again", 30_000);
    assert_eq!(a.digest(), c.digest());
    for daemon in [hub, running_a, running_c] {
        assert_eq!(daemon.terminate(), Some(0));
    }
}
