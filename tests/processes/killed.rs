//! A power cut while a node is being opened, or while its passphrase is being replaced: it is
//! locked and whole afterwards, and one passphrase opens it.

use super::harness::{PASSPHRASE, Site, pause};
use carnet_node::base::environment::Environment;
use serde_json::json;
use std::io::ErrorKind;
use std::process::Stdio;

/// How long either takes at most, on a busy machine.
const WITHIN_MS: u64 = 900;

const NEW_PASSPHRASE: &str = "cinq chevaux rouges";

/// A node that a passphrase opens, with something to lose.
fn site() -> (Site, [String; 2]) {
    let a = Site::new();
    let files = [a.file("old.txt", PASSPHRASE), a.file("new.txt", NEW_PASSPHRASE)];
    let opener = ["--unlock", "passphrase", "--passphrase-file", &files[0]];
    let founding = ["init", "--practice", "Casamance", "--site", "Ziguinchor"];
    a.json(&[&founding[..], &opener[..]].concat());
    let note = json!({"resourceType": "Basic", "id": "kept", "code": {"text": "kept"}});
    let note = a.file("note.json", note.to_string());
    a.json(&["import", &note, "--passphrase-file", &files[0]]);
    (a, files)
}

/// Those of the passphrases that open the node.
fn opening<'a>(a: &Site, files: &'a [String; 2]) -> Vec<&'a String> {
    let shows = ["chart", "show", "Basic/kept", "--json", "--passphrase-file"];
    let opens = |file: &&String| {
        let done = a.run(&[&shows[..], &[file.as_str()]].concat());
        match done.code {
            Some(0) => assert_eq!(done.json()["code"]["text"], "kept"),
            code => assert_eq!(code, Some(12), "{done:?}"),
        }
        done.code == Some(0)
    };
    files.iter().filter(opens).collect()
}

#[test]
fn a_kill_while_the_passphrase_is_replaced_leaves_one_that_opens() {
    let (a, files) = site();
    let (chance, _) = Environment::seeded(11, 0);
    let mut now = 0;
    for cut in 0..12 {
        let (old, new) = (&files[now], &files[1 - now]);
        let change =
            ["passphrase", "change", "--passphrase-file", old, "--new-passphrase-file", new];
        let mut command = a.command(&change);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        pause(u64::from_le_bytes(chance.random()) % WITHIN_MS);
        child.kill().expect("killed");
        child.wait().expect("a child");

        a.refused(&["chart", "show", "Basic/kept"], 13, "locked");
        let open = opening(&a, &files);
        assert_eq!(open.len(), 1, "after cut {cut}");
        now = usize::from(open[0] == &files[1]);
    }
    let verified = a.json(&["verify", "--passphrase-file", &files[now]]);
    assert_eq!(verified["ok"], true, "{verified}");
}

#[test]
fn a_kill_while_the_node_is_opened_leaves_it_locked_and_whole() {
    let (a, [passphrase, _]) = site();
    let keyring = || std::fs::read(a.dir().join("keyring")).expect("a keyring");
    let before = keyring();
    let (chance, _) = Environment::seeded(12, 0);
    for cut in 0..12 {
        if cut % 3 == 0 {
            // The index is made anew while the node is opened.
            if let Err(error) = std::fs::remove_file(a.dir().join("index.db")) {
                assert_eq!(error.kind(), ErrorKind::NotFound);
            }
        }
        let running = a.start(&[]);
        assert_eq!(a.json(&["status"])["locked"], true, "after cut {cut}");
        let mut command = a.command(&["unlock", "--passphrase-file", &passphrase]);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        pause(u64::from_le_bytes(chance.random()) % WITHIN_MS);
        running.kill();
        child.wait().expect("a child");
        assert!(keyring() == before, "opening changes no key");
    }
    let running = a.start(&[]);
    a.refused(&["chart", "show", "Basic/kept"], 13, "locked");
    assert_eq!(a.json(&["unlock", "--passphrase-file", &passphrase])["locked"], false);
    assert_eq!(a.shown("Basic/kept")["code"]["text"], "kept");
    a.verified();
    assert_eq!(running.terminate(), Some(0));
}
