//! Becoming a node without a link, and again without the machine.

use super::harness::{Site, import, patients};
use serde_json::json;

#[test]
fn a_site_without_a_link_joins_by_two_files() {
    let (a, _) = Site::found("Ziguinchor");
    import(&a, &patients(&a, 21, 2));
    let daemon = a.listen();
    let b = Site::new();
    let stick = tempfile::tempdir().expect("a stick");
    let file = |name: &str| stick.path().join(name).display().to_string();
    let (request, answer) = (file("request.txt"), file("answer.txt"));
    b.json(&["join", "--request", &request, "--site", "Kolda", "--unlock", "keyfile"]);
    b.refused(&["status"], 10, "");
    a.json(&["invite", "--approve", &request, "--output", &answer]);

    // What somebody altered on the way, or what is for another, is refused, and may be tried again.
    let text = std::fs::read_to_string(&answer).expect("an answer");
    let mut altered = text.clone().into_bytes();
    let middle = altered.len() / 2;
    altered[middle] = if altered[middle] == b'A' { b'B' } else { b'A' };
    std::fs::write(file("altered.txt"), altered).expect("written");
    b.refused(&["join", "--finish", &file("altered.txt")], 1, "");
    b.refused(&["join", "--finish", &request], 1, "");
    let other = Site::new();
    other.json(&[
        "join",
        "--request",
        &file("other.txt"),
        "--site",
        "Oussouye",
        "--unlock",
        "keyfile",
    ]);
    other.refused(&["join", "--finish", &answer], 1, "");

    b.json(&["join", "--finish", &answer]);
    // No link was needed so far; now there is one.
    assert_eq!(b.json(&["sync"])["peers"][0]["in_sync"], true);
    assert_eq!(b.digest(), a.digest());
    let nodes = a.json(&["node", "list"]);
    assert!(nodes.to_string().contains("Kolda"), "{nodes}");
    b.refused(&["join", "--finish", &answer], 1, "");
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn a_relays_directory_and_the_code_bring_the_practice_back() {
    let (a, code) = Site::found("Ziguinchor");
    import(&a, &patients(&a, 22, 2));
    let body = json!({"resourceType": "Basic", "id": "kept", "code": {"text": "kept"}});
    import(&a, &[a.file("note.json", body.to_string())]);
    let daemon = a.listen();
    let relay = Site::joined(&a.invite(&["--site", "Dakar", "--role", "relay"]));
    assert_eq!(relay.json(&["sync"])["peers"][0]["in_sync"], true);
    relay.refused(&["chart", "show", "Basic/kept"], 4, "");
    daemon.kill();
    drop(a);

    let b = Site::new();
    let from = relay.dir().display().to_string();
    // What SQLite keeps beside a database comes and goes when it is read.
    let content = |site: &Site| {
        let mut files = site.files();
        files.retain(|(path, _)| !path.ends_with("log.db-wal") && !path.ends_with("log.db-shm"));
        files
    };
    let before = content(&relay);
    let code_file = b.file("code.txt", &code);
    let wrong = b.file("wrong.txt", Site::found("elsewhere").1);
    let restore = |file: &str| {
        let command = ["restore", "--from", &from, "--site", "Bignona", "--unlock", "keyfile"];
        b.run(&[&command[..], &["--recovery-code-file", file, "--json"]].concat())
    };
    assert_eq!(restore(&wrong).code, Some(12));
    b.refused(&["status"], 10, "");
    let done = restore(&code_file);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(b.shown("Basic/kept")["code"]["text"], "kept");
    assert_eq!(content(&relay), before, "the relay's directory is only read");
    b.verified();

    // The lost node is put out for good, and the practice goes on with the new one.
    let revoke = ["node", "revoke", "Ziguinchor", "--yes", "--recovery-code-file", &code_file];
    b.json(&revoke);
    let nodes = b.json(&["node", "list"]);
    let lost = nodes.as_array().expect("nodes").iter().find(|node| node["site"] == "Ziguinchor");
    assert_eq!(lost.expect("the lost node")["state"], "revoked");
    let running = b.listen();
    let next = b.run(&["invite", "--site", "Kolda", "--recovery-code-file", &code_file, "--json"]);
    assert_eq!(next.code, Some(0), "{next:?}");
    let c = Site::joined(next.json()["invitation"].as_str().expect("an invitation"));
    assert_eq!(c.json(&["sync"])["peers"][0]["in_sync"], true);
    assert_eq!(c.digest(), b.digest());
    assert_eq!(running.terminate(), Some(0));
}
