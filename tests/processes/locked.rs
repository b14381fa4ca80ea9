//! A node with a passphrase after a power cut: it serves its peers, and shows nothing until
//! somebody comes.

use super::harness::{PASSPHRASE, Site, finish, import, patients, until};
use serde_json::json;

#[test]
fn a_locked_node_receives_and_forwards_and_shows_everything_once_it_is_unlocked() {
    let a = Site::new();
    let right = a.file("right.txt", format!("{PASSPHRASE}\n"));
    let wrong = a.file("wrong.txt", "quatre chevaux verts\n");
    let opener = ["--unlock", "passphrase", "--passphrase-file", &right];
    let founding = ["init", "--practice", "Casamance", "--site", "Ziguinchor"];
    a.json(&[&founding[..], &opener[..]].concat());
    let open = a.start(&["--sync-listen", "127.0.0.1:0", "--passphrase-file", &right]);
    let b = Site::joined(&a.invite(&["--site", "Kolda"]));
    let c = Site::joined(&a.invite(&["--site", "Bignona"]));

    // B and C hear of each other, and of the keys, while A is open.
    assert_eq!(b.json(&["sync"])["peers"][0]["in_sync"], true);
    assert_eq!(c.json(&["sync"])["peers"][0]["in_sync"], true);
    let address = open.address.clone();
    open.kill();
    let locked = a.start(&["--sync-listen", &address]);
    assert_eq!(a.json(&["status"])["locked"], true);

    import(&b, &patients(&b, 3, 3));
    let note = json!({"resourceType": "Basic", "id": "seen", "code": {"text": "from Kolda"}});
    import(&b, &[b.file("note.json", note.to_string())]);
    let told = b.json(&["sync"]);
    assert!(told["peers"][0]["entries_sent"].as_u64() > Some(3), "{told}");
    assert!(told["peers"][0]["receipt"].is_string(), "{told}");
    let told = c.json(&["sync"]);
    assert!(told["peers"][0]["entries_received"].as_u64() > Some(3), "{told}");
    assert_eq!(c.shown("Basic/seen")["code"]["text"], "from Kolda");
    assert_eq!(b.json(&["sync"])["peers"][0]["in_sync"], true);

    let edit = ["chart", "edit", "Basic/seen", "--set", "language=\"fr\""];
    for command in [
        &["chart", "show", "Basic/seen"][..],
        &["patient", "search", "a"],
        &["export", "--all"],
        &["verify"],
        &["chart", "conflicts"],
        &edit,
    ] {
        let done = a.refused(command, 13, "locked");
        assert!(!done.stdout.contains("from Kolda"), "{done:?}");
    }
    a.refused(&["unlock", "--passphrase-file", &wrong], 12, "passphrase");
    assert_eq!(a.json(&["status"])["locked"], true);
    assert_eq!(a.json(&["unlock", "--passphrase-file", &right])["locked"], false);
    assert_eq!(a.shown("Basic/seen")["code"]["text"], "from Kolda");
    assert_eq!(a.digest(), b.digest());
    a.json(&edit);
    assert_eq!(a.json(&["lock"])["locked"], true);
    a.refused(&["chart", "show", "Basic/seen"], 13, "locked");
    until("the edit reaches C", 5_000, || {
        c.json(&["sync"]);
        c.shown("Basic/seen")["language"] == "fr"
    });
    assert_eq!(locked.terminate(), Some(0));
}

#[test]
fn a_systemd_credential_opens_the_node_at_each_start() {
    let a = Site::new();
    let passphrase = a.file("passphrase.txt", PASSPHRASE);
    let opener = ["--unlock", "passphrase", "--passphrase-file", &passphrase];
    let founding = ["init", "--practice", "Casamance", "--site", "Ziguinchor"];
    a.json(&[&founding[..], &opener[..]].concat());
    std::fs::remove_file(&passphrase).expect("removed");
    let credentials = a.root.path().join("credentials");
    std::fs::create_dir(&credentials).expect("a directory");
    let directory = credentials.display().to_string();
    let service = [("CREDENTIALS_DIRECTORY", directory.as_str())];
    let given = |text: &str| {
        std::fs::write(credentials.join("carnet-unlock"), text).expect("a credential");
    };
    let locked = || a.json(&["status"])["locked"].clone();

    // What `systemd-ask-password -n` or an editor leaves there.
    for line in [PASSPHRASE.to_owned(), format!("{PASSPHRASE}\n")] {
        given(&line);
        let running = a.start_with(&["--sync-listen", "127.0.0.1:0"], &service);
        assert_eq!(locked(), false);
        let note = json!({"resourceType": "Basic", "id": "kept", "code": {"text": "kept"}});
        import(&a, &[a.file("note.json", note.to_string())]);
        running.kill();
    }
    let running = a.start_with(&[], &service);
    assert_eq!(a.shown("Basic/kept")["code"]["text"], "kept");
    assert_eq!(running.terminate(), Some(0));

    // A single command of the service's user opens it too; without the service nothing does.
    let mut command = a.command(&["chart", "show", "Basic/kept", "--json"]);
    command.env("CREDENTIALS_DIRECTORY", &credentials);
    assert_eq!(finish(command).json()["code"]["text"], "kept");
    a.refused(&["chart", "show", "Basic/kept"], 13, "locked");
    // One that is wrong, or is not there, leaves the node locked, and serving.
    for broken in [Some("quatre chevaux verts"), Some(""), None] {
        match broken {
            Some(text) => given(text),
            None => std::fs::remove_file(credentials.join("carnet-unlock")).expect("removed"),
        }
        let running = a.start_with(&[], &service);
        assert_eq!(locked(), true, "{broken:?}");
        assert_eq!(running.terminate(), Some(0));
    }
}

#[test]
fn a_key_file_may_be_handed_over_as_a_credential() {
    let (a, _) = Site::found("Ziguinchor");
    let key = a.root.path().join("config/carnet");
    let key = std::fs::read_dir(&key).expect("a key file").next().expect("one").expect("one");
    let credentials = a.root.path().join("credentials");
    std::fs::create_dir(&credentials).expect("a directory");
    std::fs::rename(key.path(), credentials.join("carnet-unlock")).expect("moved");
    let locked = a.start(&[]);
    assert_eq!(a.json(&["status"])["locked"], true);
    locked.kill();
    let directory = credentials.display().to_string();
    let open = a.start_with(&[], &[("CREDENTIALS_DIRECTORY", &directory)]);
    assert_eq!(a.json(&["status"])["locked"], false);
    assert_eq!(open.terminate(), Some(0));
}

#[test]
fn a_forgotten_passphrase_is_replaced_with_the_recovery_code() {
    let a = Site::new();
    let old = a.file("old.txt", PASSPHRASE);
    let new = a.file("new.txt", "cinq chevaux rouges");
    let founding = ["init", "--practice", "Casamance", "--site", "Ziguinchor"];
    let opener = ["--unlock", "passphrase", "--passphrase-file", &old];
    let founded = a.json(&[&founding[..], &opener[..]].concat());
    let code = founded["recovery_code"].as_str().expect("a code").to_lowercase();
    let body = json!({"resourceType": "Basic", "id": "kept", "code": {"text": "kept"}});
    let note = a.file("note.json", body.to_string());
    a.json(&["import", &note, "--passphrase-file", &old]);

    let running = a.start(&[]);
    let typo: String = code.chars().rev().collect();
    a.refused(&["unlock", "--recovery-code", &typo], 12, "code");
    let stranger = Site::found("elsewhere").1;
    a.refused(&["unlock", "--recovery-code", &stranger], 12, "code");
    assert_eq!(a.json(&["status"])["locked"], true);
    let told = a.json(&["unlock", "--recovery-code", &code, "--new-passphrase-file", &new]);
    assert_eq!(told["locked"], false);
    assert_eq!(a.shown("Basic/kept")["code"]["text"], "kept");
    running.kill();

    let running = a.start(&[]);
    a.refused(&["unlock", "--passphrase-file", &old], 12, "passphrase");
    a.json(&["unlock", "--passphrase-file", &new]);
    assert_eq!(a.shown("Basic/kept")["code"]["text"], "kept");
    assert_eq!(running.terminate(), Some(0));
}
