//! A backup that is made while the node works, a machine that is lost, and the node that comes out
//! of the backup elsewhere; and everything that must be refused.

use super::harness::{Done, PASSPHRASE, Site, finish, import, patients, pause};
use carnet_node::base::environment::Environment;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The key file of a site that one opens.
fn key_file(site: &Site) -> PathBuf {
    let folder = site.root.path().join("config").join("carnet");
    let mut files = fs::read_dir(folder).expect("a folder");
    files.next().expect("a key file").expect("an entry").path()
}

/// Takes a file to another site, as on a stick.
fn carry(from: &Path, to: &Site, name: &str) -> String {
    let path = to.root.path().join(name);
    fs::copy(from, &path).expect("copied");
    text(&path)
}

fn write(site: &Site, id: &str) {
    let note = json!({"resourceType": "Basic", "id": id, "code": {"text": id}});
    let file = site.file(&format!("{id}.json"), note.to_string());
    assert_eq!(site.json(&["import", &file])["resources"], 1);
}

fn shows(site: &Site, id: &str) -> bool {
    let done = site.run(&["chart", "show", &format!("Basic/{id}"), "--json"]);
    done.code == Some(0) && done.json()["code"]["text"] == id
}

/// Under how many lives a node wrote, as another one holds it, and whether any of its logs forked.
fn lives(holder: &Site, node: &str) -> (i64, i64) {
    let ledger = Connection::open(holder.dir().join("log.db")).expect("opened");
    let ask = |sql: &str| -> i64 {
        ledger.query_row(sql, [node.to_uppercase()], |row| row.get(0)).expect("a count")
    };
    (
        ask("SELECT count(DISTINCT incarnation) FROM logs WHERE hex(node) = ?1"),
        ask(
            "SELECT count(*) FROM branches JOIN logs USING (log) WHERE hex(node) = ?1 AND parent IS NOT NULL",
        ),
    )
}

#[test]
fn a_lost_machine_comes_back_from_its_backup_and_fetches_what_it_wrote_since() {
    let (a, _) = Site::found("Ziguinchor");
    let running = a.listen();
    let b = Site::joined(&a.invite(&["--site", "Kolda"]));
    let kolda = b.listen();
    import(&a, &patients(&a, 71, 12));

    // Backups while an import and edits go on.
    let many = patients(&a, 72, 300);
    let mut importing = a
        .command(&[&["import"], &many.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
    let mut importing =
        importing.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
    let backup = a.root.path().join("a.backup");
    let (mut made, mut beside) = (Value::Null, 0);
    for number in 0..3 {
        write(&a, &format!("during-{number}"));
        made = a.json(&["backup", &text(&backup)]);
        assert_eq!(made["verified"], true, "{made}");
        beside += usize::from(importing.try_wait().expect("a child").is_none());
    }
    assert!(beside > 0, "the import was over too early to tell");
    assert!(importing.wait().expect("a child").success());
    write(&a, "after-the-backup");
    assert_eq!(b.json(&["sync"])["peers"][0]["in_sync"], true);
    let told = b.verified();
    assert!(told["entries"].as_u64() > made["entries"].as_u64(), "{told} {made}");

    // The machine is gone, and what it had not synced with it.
    let node = a.json(&["status"])["node"].as_str().expect("an id").to_owned();
    let c = Site::new();
    let (backup, key) = (carry(&backup, &c, "a.backup"), carry(&key_file(&a), &c, "a.key"));
    running.kill();
    drop(a);
    let back = c.json(&["restore", "--from", &backup, "--key-file", &key]);
    assert_eq!((&back["node"], &back["entries"]), (&json!(node), &made["entries"]));
    let opened = c.verified();
    assert!(opened["entries"].as_u64() >= made["entries"].as_u64());
    for number in 0..3 {
        assert!(shows(&c, &format!("during-{number}")));
    }
    // It writes before it has heard of what it wrote in its former life.
    write(&c, "in-the-new-life");
    let running = c.listen();
    c.json(&["peer", "add", &kolda.address]);
    assert_eq!(c.json(&["sync"])["peers"][0]["in_sync"], true);
    assert!(shows(&c, "after-the-backup") && shows(&b, "in-the-new-life"));
    let (here, there) = (c.verified(), b.verified());
    assert_eq!(here["state_digest"], there["state_digest"]);
    for holder in [&b, &c] {
        assert_eq!(lives(holder, &node), (2, 0), "two lives, and no sequence number twice");
    }
    let trail = c.json(&["audit", "list", "--action", "restore"]);
    assert_eq!(trail.as_array().map(Vec::len), Some(1), "{trail}");
    let trail = c.json(&["audit", "list", "--action", "backup"]);
    assert_eq!(trail.as_array().map(Vec::len), Some(3), "{trail}");
    assert_eq!((running.terminate(), kolda.terminate()), (Some(0), Some(0)));
}

#[test]
fn a_locked_node_makes_a_backup_and_the_passphrase_or_the_code_opens_it() {
    let a = Site::new();
    let passphrase = a.file("pass.txt", PASSPHRASE);
    let by = ["--passphrase-file", passphrase.as_str()];
    let founding = ["init", "--practice", "Casamance", "--site", "Ziguinchor"];
    let founded = a.json(&[&founding[..], &by[..]].concat());
    let note =
        a.file("note.json", r#"{"resourceType": "Basic", "id": "kept", "code": {"text": "kept"}}"#);
    a.json(&[&["import", &note][..], &by[..]].concat());
    fs::write(a.dir().join("carnet.toml"), "[access]\ndeny = [\"nurse notes\"]\n")
        .expect("settings");
    let running = a.start(&[]);
    assert_eq!(a.json(&["status"])["locked"], true);
    let folder = a.root.path().join("stick");
    fs::create_dir(&folder).expect("a folder");
    let made = a.json(&["backup", &text(&folder)]);
    let file = PathBuf::from(made["file"].as_str().expect("a file"));
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(name.starts_with("carnet-ziguinchor-2") && name.ends_with("Z.backup"), "{name}");
    assert_eq!(running.terminate(), Some(0));

    let content = fs::read(&file).expect("read");
    for word in ["Casamance", "Ziguinchor", "kept", "deny"] {
        let holds = content.windows(word.len()).any(|window| window == word.as_bytes());
        assert!(!holds, "{word} can be read in the backup");
    }

    // By the passphrase.
    let c = Site::new();
    let backup = carry(&file, &c, "a.backup");
    c.refused(&["restore", "--from", &backup], 13, "locked");
    let wrong = c.file("wrong.txt", "deux chats gris");
    c.refused(&["restore", "--from", &backup, "--passphrase-file", &wrong], 12, "passphrase");
    assert!(!c.dir().exists(), "nothing was made");
    let back = c.json(&[&["restore", "--from", &backup][..], &by[..]].concat());
    assert_eq!(back["node"], founded["node"]);
    assert_eq!(
        c.json(&[&["chart", "show", "Basic/kept"][..], &by[..]].concat())["code"]["text"],
        "kept"
    );
    let settings = c.json(&["config", "show"]);
    assert!(settings.to_string().contains("nurse notes"), "{settings}");
    assert_eq!(c.json(&[&["verify"][..], &by[..]].concat())["ok"], true);

    // By the code: the passphrase is forgotten, and a new one is chosen.
    let d = Site::new();
    let code = d.file("code.txt", founded["recovery_code"].as_str().expect("a code"));
    let new = d.file("new.txt", "cinq chevaux rouges");
    let by_code = ["restore", "--from", &backup, "--recovery-code-file", &code];
    let back = d.json(&[&by_code[..], &["--passphrase-file", &new]].concat());
    assert_eq!(back["node"], founded["node"]);
    assert_eq!(d.json(&["verify", "--passphrase-file", &new])["ok"], true);
    d.refused(&["verify", "--passphrase-file", &passphrase], 12, "passphrase");

    // A new node, for a machine that was stolen.
    let e = Site::new();
    let as_new = ["--site", "Bignona", "--unlock", "keyfile"];
    let made = e.json(&[&by_code[..], &as_new[..]].concat());
    assert_ne!(made["node"], founded["node"]);
    assert_eq!(e.shown("Basic/kept")["code"]["text"], "kept");
    e.json(&["node", "revoke", "Ziguinchor", "--yes", "--recovery-code-file", &code]);
    e.verified();
}

#[test]
fn a_damaged_backup_or_an_occupied_directory_is_refused_and_nothing_is_changed() {
    let (a, _) = Site::found("Ziguinchor");
    import(&a, &patients(&a, 73, 2));
    let path = a.root.path().join("a.backup");
    a.json(&["backup", &text(&path)]);
    let whole = fs::read(&path).expect("read");

    let c = Site::new();
    let key = carry(&key_file(&a), &c, "a.key");
    let restore =
        |file: &str| -> Done { c.run(&["restore", "--from", file, "--key-file", &key, "--json"]) };
    let places = [0, 20, 400, whole.len() / 3, whole.len() / 2, whole.len() - 40, whole.len() - 1];
    for place in places {
        let mut altered = whole.clone();
        altered[place] ^= 1;
        for (what, bytes) in [("altered", &altered[..]), ("cut", &whole[..place])] {
            let done = restore(&c.file("bad.backup", bytes));
            assert!(
                done.code != Some(0) && !done.stderr.contains("panicked"),
                "{what} {place}: {done:?}"
            );
            assert!(done.json()["error"]["what_to_do"].is_string(), "{done:?}");
            assert!(!c.dir().exists(), "{what} {place} left something");
        }
    }
    let done = restore(&c.file("cut.backup", &whole[..whole.len() - 300_000.min(whole.len() / 2)]));
    assert!(done.stderr.contains("damaged or cut short"), "{done:?}");
    let done = restore(&c.file("other.txt", "a file that somebody named by mistake"));
    assert!(done.stderr.contains("is not a backup"), "{done:?}");
    let done = restore("/nowhere/at/all.backup");
    assert!(done.code == Some(1) && done.stderr.contains("nothing to restore from"), "{done:?}");

    let backup = c.file("a.backup", &whole);
    fs::create_dir(c.dir()).expect("a directory");
    fs::write(c.dir().join("diary.txt"), "mine").expect("written");
    let before = c.files();
    let done = restore(&backup);
    assert!(done.code == Some(1) && done.stderr.contains("is not empty"), "{done:?}");
    assert_eq!(c.files(), before);
    fs::remove_file(c.dir().join("diary.txt")).expect("removed");
    assert_eq!(restore(&backup).code, Some(0), "an empty directory will do");
    let before = c.files();
    let done = restore(&backup);
    assert!(done.code == Some(1) && done.stderr.contains("lives in this directory"), "{done:?}");
    assert_eq!(c.files(), before);
    c.verified();

    // A backup goes where it harms nothing.
    let mine = a.file("mine.txt", "not to be lost");
    a.refused(&["backup", &mine], 1, "is no backup");
    assert_eq!(fs::read_to_string(&mine).expect("read"), "not to be lost");
    a.refused(&["backup", &text(&a.dir().join("x.backup"))], 1, "own directory");
    a.refused(&["backup", "/nowhere/at/all.backup"], 1, "nowhere");
}

#[test]
fn no_backup_takes_the_place_of_a_sound_one_when_the_ledger_is_damaged() {
    let (a, _) = Site::found("Ziguinchor");
    import(&a, &patients(&a, 74, 1));
    let path = a.root.path().join("a.backup");
    a.json(&["backup", &text(&path)]);
    let sound = fs::read(&path).expect("read");
    let ledger = Connection::open(a.dir().join("log.db")).expect("opened");
    let altered = "UPDATE entries SET payload = CAST(payload || x'00' AS BLOB) WHERE arrival =
        (SELECT max(arrival) FROM entries WHERE document IS NOT NULL)";
    assert_eq!(ledger.execute(altered, []).expect("altered"), 1);
    drop(ledger);
    a.refused(&["backup", &text(&path)], 1, "log.db is damaged");
    assert!(fs::read(&path).expect("read") == sound, "the earlier backup was kept");
    assert!(!a.dir().join("backup.db").exists());
}

#[test]
fn a_kill_during_a_backup_keeps_the_old_one_and_during_a_restore_leaves_what_begins_anew() {
    let (a, _) = Site::found("Ziguinchor");
    import(&a, &patients(&a, 75, 30));
    let path = a.root.path().join("a.backup");
    let clock = Environment::system();
    let begun = clock.monotonic_ms();
    a.json(&["backup", &text(&path)]);
    // However fast the machine is, most kills come before a backup is done, and some after.
    let most = (clock.monotonic_ms() - begun) * 5 / 4 + 2;
    let (chance, _) = Environment::seeded(75, 0);
    let draw = |below: u64| u64::from_le_bytes(chance.random()) % below;
    let c = Site::new();
    let key = carry(&key_file(&a), &c, "a.key");
    let mut kept = 0;
    for _ in 0..15 {
        let before = fs::read(&path).expect("read");
        let mut backup = a.command(&["backup", &text(&path)]);
        let mut child =
            backup.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        pause(draw(most));
        child.kill().expect("killed");
        child.wait().expect("a child");
        kept += usize::from(fs::read(&path).expect("read") == before);
        let file = carry(&path, &c, "a.backup");
        let arguments = ["restore", "--from", &file, "--key-file", &key];
        let mut restore = c.command(&arguments);
        let mut child =
            restore.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        pause(draw(400));
        child.kill().expect("killed");
        child.wait().expect("a child");
        if !c.dir().join("keyring").exists() {
            assert_eq!(finish(c.command(&arguments)).code, Some(0), "it begins anew");
        }
        c.verified();
        fs::remove_dir_all(c.dir()).expect("removed");
    }
    assert!(kept > 0, "every kill came too late to tell anything");
    a.json(&["backup", &text(&path)]);
    assert!(!a.dir().join("backup.db").exists(), "what the kills left is gone");
    a.verified();
}
