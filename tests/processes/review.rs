//! What must be looked at is listed in words and as JSON, signed off by a script or in a talk, and
//! what has to be decided can't be signed away.

use super::harness::{Done, Site, finish, import, read_files};
use serde_json::{Value, json};
use std::fs::{self, File};

fn patient(site: &Site, id: &str) {
    let body = json!({"resourceType": "Patient", "id": id, "birthDate": "1987-03-02",
        "name": [{"family": "Diatta", "given": ["Awa"]}]});
    import(site, &[site.file(&format!("{id}.json"), body.to_string())]);
}

fn note(site: &Site, id: &str) {
    let body = json!({"resourceType": "Basic", "id": id, "code": {"text": id}});
    import(site, &[site.file(&format!("{id}.json"), body.to_string())]);
}

/// The review with somebody at the keyboard who says this.
fn talk(site: &Site, said: &str) -> Done {
    let mut command = site.command(&["review"]);
    command.stdin(File::open(site.file("said", said)).expect("opened"));
    finish(command)
}

#[test]
fn a_copied_node_is_signed_off_and_two_charts_are_not() {
    let (a, _) = Site::found("Ziguinchor");
    let hub = a.listen();
    let b = Site::joined(&a.invite(&["--site", "Sédhiou"]));
    b.json(&["sync"]);
    assert!(a.run(&["review", "--list"]).stdout.contains("Nothing is left"));
    patient(&a, "z-17");
    patient(&a, "z-18");
    // A backup is put back over what was written since; both histories reach the other node.
    let mut backup = Vec::new();
    read_files(&b.dir(), &mut backup);
    note(&b, "before");
    b.json(&["sync"]);
    for (path, content) in backup {
        fs::write(path, content).expect("restored");
    }
    note(&b, "after");
    b.json(&["sync"]);

    let listed = a.json(&["review", "--list"]);
    let items = listed.as_array().expect("a list");
    let codes: Vec<&str> = items.iter().filter_map(|item| item["code"].as_str()).collect();
    assert_eq!(codes, ["duplicate", "fork"], "{listed}");
    let (pair, fork) = (&items[0], &items[1]);
    assert_eq!((&pair["to_sign"], &fork["to_sign"]), (&json!(false), &json!(true)));
    let told = a.run(&["review", "--list"]).stdout;
    for words in
        ["Awa Diatta (z-17)", "likely the same person", "Two copies of the node in Sédhiou"]
    {
        assert!(told.contains(words), "{told} does not say {words:?}");
    }
    let mut french = a.command(&["review", "--list"]);
    french.env("CARNET_LANG", "fr");
    assert!(finish(french).stdout.contains("sont sans doute la même personne"));

    let sign = |id: &Value| {
        let id = id.as_str().expect("an id").to_owned();
        a.run(&["review", "sign-off", &id, "--note", "seen", "--json"])
    };
    let refused = sign(&pair["id"]);
    assert_eq!((refused.code, &refused.json()["error"]["kind"]), (Some(1), &json!("bad-input")));
    assert!(refused.stderr.contains("decided"), "{refused:?}");
    a.refused(&["review", "sign-off", "fork-0", "--note", "x"], 1, "has no item fork-0");
    a.refused(&["review", "--json"], 1, "--list");

    let skipped = talk(&a, "skip\n");
    assert_eq!(skipped.code, Some(3), "{skipped:?}");
    assert!(skipped.stdout.contains("Signed off: 0. Still on the list: 2."), "{skipped:?}");
    let signed = talk(&a, "the old disk, thrown away\n");
    assert!(signed.stdout.contains("Signed off: 1. Still on the list: 1."), "{signed:?}");
    let left = a.json(&["review", "--list"]);
    assert_eq!(left.as_array().expect("a list").len(), 1, "{left}");
    let all = a.json(&["review", "--list", "--signed"]);
    assert_eq!(all[1]["signed_off"]["note"], "the old disk, thrown away", "{all}");
    assert_eq!(sign(&fork["id"]).code, Some(1), "signed already");
    assert_eq!(hub.terminate(), Some(0));
}
