//! A ledger that was altered, is of a newer schema, or has no room: it is told, and nothing is
//! made worse.

use super::harness::{CARNET, Site, finish, import, patients};
use carnet_tests::copy_files;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Does something to a stopped node's ledger, behind its back.
fn tamper(site: &Site, statement: &str) {
    let ledger = Connection::open(site.dir().join("log.db")).expect("opened");
    let changed = ledger.execute(statement, []).expect("altered");
    assert!(changed > 0, "{statement} hit nothing");
}

#[test]
fn an_altered_ledger_is_found_out_and_the_entry_is_named() {
    let (a, _) = Site::found("Ziguinchor");
    import(&a, &patients(&a, 31, 2));
    a.verified();
    let whole = a.root.path().join("whole");
    copy_files(&a.dir(), &whole);
    let flip = |column: &str, of: &str| {
        format!(
            "UPDATE entries SET {column} = CAST(substr({column}, 1, 10) || \
             CASE hex(substr({column}, 11, 1)) WHEN '00' THEN x'01' ELSE x'00' END || \
             substr({column}, 12) AS BLOB) WHERE arrival = ({of})"
        )
    };
    let sealed = "SELECT max(arrival) FROM entries WHERE document IS NOT NULL";
    let signed = "SELECT max(arrival) FROM entries WHERE signature IS NOT NULL";
    let any = "SELECT arrival FROM entries ORDER BY arrival LIMIT 1 OFFSET 4";
    for (what, statement) in [
        ("a sealed payload", flip("payload", sealed)),
        ("a statement", flip("payload", any)),
        ("a nonce", flip("nonce", sealed)),
        ("a time", format!("UPDATE entries SET time = time + 1 WHERE arrival = ({sealed})")),
        ("a signature", flip("signature", signed)),
        ("an id", flip("id", sealed)),
        ("the order", format!("UPDATE entries SET sequence = 999 WHERE arrival = ({sealed})")),
        (
            "a document",
            format!(
                "UPDATE entries SET document = (SELECT min(document) FROM entries) WHERE arrival = ({sealed})"
            ),
        ),
        ("a missing entry", format!("DELETE FROM entries WHERE arrival = ({any})")),
    ] {
        fs::remove_dir_all(a.dir()).expect("removed");
        copy_files(&whole, &a.dir());
        tamper(&a, &statement);
        let done = a.run(&["verify", "--json"]);
        assert!(!done.stderr.contains("panicked"), "{what}: {done:?}");
        assert_eq!(done.code, Some(1), "{what}: {done:?}");
        let told = done.json();
        if told["error"].is_object() {
            assert_eq!(told["error"]["kind"], "damaged", "{what}: {told}");
        } else {
            assert_eq!(told["ok"], false, "{what}: {told}");
            assert!(told["problems"].to_string().contains("entry "), "{what}: {told}");
        }
    }
    fs::remove_dir_all(a.dir()).expect("removed");
    copy_files(&whole, &a.dir());
    a.verified();
}

#[test]
fn a_torn_index_heals_itself_and_a_torn_ledger_is_told() {
    let (a, _) = Site::found("Ziguinchor");
    import(&a, &patients(&a, 32, 1));
    let before = a.verified();
    let spoil = |name: &str| {
        let path = a.dir().join(name);
        let mut content = fs::read(&path).expect("read");
        content[..4096].fill(0x5a);
        fs::write(&path, content).expect("written");
    };
    spoil("index.db");
    let done = a.run(&["status"]);
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{done:?}");
    spoil("index.db");
    assert_eq!(a.verified(), before);
    fs::remove_file(a.dir().join("index.db")).expect("removed");
    assert_eq!(a.verified(), before);
    spoil("log.db");
    for command in [&["verify"][..], &["status"], &["run"]] {
        a.refused(command, 1, "log.db");
    }
    let keyring = a.dir().join("keyring");
    let mut content = fs::read(&keyring).expect("read");
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&keyring, content).expect("written");
    let done = a.run(&["verify"]);
    assert!(done.code != Some(0) && !done.stderr.contains("panicked"), "{done:?}");
}

#[test]
fn a_ledger_of_a_newer_schema_is_left_alone() {
    let (a, _) = Site::found("Ziguinchor");
    let ledger = Connection::open(a.dir().join("log.db")).expect("opened");
    let now: u32 =
        ledger.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a version");
    ledger.pragma_update(None, "user_version", now + 1).expect("set");
    drop(ledger);
    let before = a.files();
    for command in [&["status"][..], &["verify"], &["run"]] {
        let done = a.run(&[command, &["--json"]].concat());
        assert_eq!(done.code, Some(1), "{done:?}");
        assert_eq!(done.json()["error"]["kind"], "newer-schema", "{done:?}");
    }
    let content = |files: Vec<(PathBuf, u64)>| {
        files.into_iter().filter(|(path, _)| path.ends_with("log.db")).collect::<Vec<_>>()
    };
    assert_eq!(content(a.files()), content(before));
}

/// A small file system of its own, where this process may make one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(at: &Path) -> Option<Self> {
        fs::create_dir(at).expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(at);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_and_the_node_goes_on_once_there_is_room() {
    let a = Site::new();
    let Some(_disk) = SmallDisk::new(&a.root.path().join("disk")) else {
        println!("skipped: only root may mount the small disk that this story fills");
        return;
    };
    let dir = a.root.path().join("disk").join("node");
    let carnet = |arguments: &[&str]| {
        let mut command = Command::new(CARNET);
        command.arg("--dir").arg(&dir).args(arguments).arg("--json");
        command.env("HOME", a.root.path()).env("XDG_CONFIG_HOME", a.root.path().join("config"));
        finish(command)
    };
    let init = ["init", "--practice", "P", "--site", "S", "--unlock", "keyfile"];
    let done = carnet(&init);
    assert_eq!(done.code, Some(0), "{done:?}");
    let small = a.file("small.json", r#"{"resourceType": "Basic", "id": "small"}"#);
    assert_eq!(carnet(&["import", &small]).code, Some(0));
    let before = carnet(&["verify"]).json();

    let ballast = a.root.path().join("disk").join("ballast");
    let filled = Command::new("dd")
        .args(["if=/dev/zero", "bs=4096", &format!("of={}", ballast.display())])
        .stderr(std::process::Stdio::null())
        .status();
    assert!(!filled.expect("dd runs").success(), "the disk is full");
    let mut resources = Vec::new();
    for number in 0..400_u32 {
        let noise: String =
            (0..60).map(|turn| format!("{:x}", number * 7919 + turn * 104_729)).collect();
        resources.push(json!({"resource": {"resourceType": "Basic", "id": format!("n{number}"),
            "code": {"text": noise}}, "request": {"method": "PUT", "url": format!("Basic/n{number}")}}));
    }
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": resources});
    let large = a.file("large.json", bundle.to_string());
    let done = carnet(&["import", &large]);
    assert_eq!(done.code, Some(1), "{done:?}");
    let told: Value = done.json();
    assert!(told.to_string().contains("disk"), "{told}");
    assert!(!done.stderr.contains("panicked"), "{done:?}");

    fs::remove_file(&ballast).expect("removed");
    assert_eq!(carnet(&["verify"]).json(), before, "nothing of it was kept");
    let done = carnet(&["import", &large]);
    assert_eq!((done.code, &done.json()["resources"]), (Some(0), &json!(400)), "{done:?}");
    assert_eq!(carnet(&["verify"]).json()["ok"], true);
}
