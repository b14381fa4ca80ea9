//! What people get wrong: each case says what is wrong, ends with its code, and changes nothing.

use super::harness::{Site, import, notes, signal};
use serde_json::{Value, json};
use std::io::Write;
use std::process::Stdio;

/// A file that must not be taken, and what the answer must name.
struct Case {
    name: &'static str,
    content: Vec<u8>,
    says: &'static str,
}

fn case(name: &'static str, content: impl Into<Vec<u8>>, says: &'static str) -> Case {
    Case { name, content: content.into(), says }
}

fn bundle(entries: &[Value]) -> String {
    json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}).to_string()
}

fn created(resource: &Value) -> Value {
    let kind = &resource["resourceType"];
    json!({"fullUrl": "urn:uuid:9fd5a5f5-2aa2-4cbc-b5ce-000000000001", "resource": resource,
        "request": {"method": "POST", "url": kind}})
}

fn cases() -> Vec<Case> {
    let patient =
        json!({"resourceType": "Patient", "id": "p", "name": [{"family": "Sonko-Badji"}]});
    let whole = bundle(&[created(&patient)]);
    let of = |subject: &str| {
        json!({"resourceType": "Observation", "id": "o", "status": "final",
            "code": {"text": "weight"}, "subject": {"reference": subject}})
    };
    let mut gzip = vec![0x1f, 0x8b, 8, 0];
    gzip.extend([0xff; 40]);
    vec![
        case("truncated.json", &whole.as_bytes()[..whole.len() / 2], "JSON"),
        case("foreign.json", r#"{"hello": ["world"]}"#, "resourceType"),
        case("empty.json", "", ""),
        case("number.json", "42", ""),
        case("text.json", "MSH|^~\\&|LAB|", "JSON"),
        case("binary.json", vec![0xff, 0xfe, 0, 1], "UTF-8"),
        case("damaged.json.gz", gzip, "gzip"),
        case("type.json", r#"{"resourceType": "Pacient", "id": "x"}"#, "resourceType"),
        case("id.json", r#"{"resourceType": "Patient", "id": "not an id!"}"#, "id"),
        case("twice.json", r#"{"resourceType": "Patient", "id": "x", "id": "y"}"#, "twice"),
        case("deep.json", format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)), ""),
        case(
            "line.ndjson",
            "{\"resourceType\":\"Basic\",\"id\":\"n1\"}\n{\"resourceType\":\"Basic\",\n",
            "line 2",
        ),
        case(
            "unmatched.json",
            bundle(&[created(&patient), created(&of("Patient?identifier=urn:x|404"))]),
            "Patient?identifier=urn:x|404",
        ),
    ]
}

#[test]
fn files_that_cannot_be_taken_are_named_and_nothing_of_them_is_kept() {
    let (a, _) = Site::found("Ziguinchor");
    let note = json!({"resourceType": "Basic", "id": "kept", "code": {"text": "kept"}});
    import(&a, &[a.file("kept.json", note.to_string())]);
    let before = a.verified();
    let running = a.listen();
    for Case { name, content, says } in cases() {
        let file = a.file(name, content);
        let done = a.run(&["import", &file, "--json"]);
        assert_eq!(done.code, Some(1), "{name}: {done:?}");
        let told = done.json();
        assert_eq!((&told["failed"], &told["resources"]), (&json!(1), &json!(0)), "{name}: {told}");
        let failure = &told["failures"][0];
        assert!(failure["file"].as_str().expect("a file").ends_with(name), "{told}");
        let reason = failure["reason"].as_str().expect("a reason");
        assert!(reason.contains(says), "{name} does not say {says:?}: {reason}");
        assert!(!told.to_string().contains("Sonko"), "{name} tells of a patient: {told}");
        assert_eq!(a.verified(), before, "{name} has changed something");
    }
    // One bad file does not keep the others out, and says so.
    let good = a.file("good.json", r#"{"resourceType": "Basic", "id": "good"}"#);
    let bad = a.file("bad.json", "{");
    let done = a.run(&["import", &bad, &good, "--json"]);
    assert_eq!((done.code, &done.json()["resources"]), (Some(3), &json!(1)), "{done:?}");
    a.refused(&["import", "/nowhere/at/all.json"], 1, "/nowhere/at/all.json");
    assert_eq!(a.json(&["status"])["ok"], true);
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn commands_that_make_no_sense_say_why() {
    let (a, _) = Site::found("Ziguinchor");
    let note = json!({"resourceType": "Basic", "id": "kept", "code": {"text": "kept"}});
    import(&a, &[a.file("kept.json", note.to_string())]);
    let before = a.verified();
    let edit = |what: &str| a.run(&["chart", "edit", "Basic/kept", "--set", what]);
    for (what, says) in [
        ("code={\"text\":", "JSON"),
        ("code", "="),
        ("id=\"other\"", "id"),
        ("resourceType=\"Patient\"", "resourceType"),
    ] {
        let done = edit(what);
        assert_eq!(done.code, Some(1), "{what}: {done:?}");
        assert!(done.stderr.contains(says), "{what}: {done:?}");
    }
    a.refused(&["chart", "show", "Basic/none"], 1, "Basic/none");
    a.refused(&["chart", "show", "nonsense"], 1, "nonsense");
    a.refused(&["chart", "resolve", "Basic/kept", "code", "--choose", "x", "--seen", "y"], 1, "");
    a.refused(&["peer", "add", "no-port"], 1, "HOST:PORT");
    a.refused(&["peer", "remove", "nobody"], 1, "nobody");
    a.refused(&["node", "revoke", "nowhere", "--yes"], 1, "nowhere");
    a.refused(&["nonsense"], 1, "nonsense");
    a.refused(&["init", "--practice", "P", "--site", "S", "--unlock", "keyfile"], 1, "already");
    a.refused(&["run", "--sync-listen", "not-an-address"], 1, "not-an-address");
    std::fs::write(a.dir().join("carnet.toml"), "[sync]\nlissten = 1\n").expect("written");
    a.refused(&["status"], 1, "lissten");
    std::fs::remove_file(a.dir().join("carnet.toml")).expect("removed");
    assert_eq!(a.verified(), before);

    let nobody = Site::new();
    for command in [&["status"][..], &["run"], &["verify"], &["sync"], &["unlock"]] {
        nobody.refused(command, 10, "");
    }
    assert!(!nobody.dir().exists(), "asking makes no directory");
}

#[test]
fn invitations_work_once_for_their_practice_and_in_time() {
    let (a, _) = Site::found("Ziguinchor");
    let running = a.listen();
    let used = a.invite(&["--site", "Kolda"]);
    let b = Site::joined(&used);
    let again = Site::new();
    let join = |invitation: &str, code: i32, says: &str| {
        again.refused(&["join", invitation, "--unlock", "keyfile"], code, says);
        again.refused(&["status"], 10, "");
    };
    join(&used, 1, "used");
    let fresh = a.invite(&["--site", "Bignona"]);
    join(&fresh[..fresh.len() - 4], 1, "");
    let mut altered = fresh.clone().into_bytes();
    let middle = altered.len() / 2;
    altered[middle] = if altered[middle] == b'A' { b'B' } else { b'A' };
    join(&String::from_utf8(altered).expect("text"), 1, "");
    join("carnet-invite-1-", 1, "");
    join("hello", 1, "");
    b.refused(&["join", &fresh, "--unlock", "keyfile"], 1, "already");

    // Another practice's node at the address of the inviter is not the inviter.
    let (stranger, _) = Site::found("elsewhere");
    let address = running.address.clone();
    assert_eq!(running.terminate(), Some(0));
    let other = stranger.start(&["--sync-listen", &address]);
    join(&fresh, 1, "");
    let done = b.run(&["sync", "--json"]);
    assert_eq!(done.code, Some(4), "{done:?}");
    let told = done.json();
    assert_eq!(told["peers"], json!([]), "{told}");
    assert_eq!(told["unreached"][0]["site"], "Ziguinchor", "{told}");
    assert!(told["unreached"][0]["reason"].to_string().contains("key"), "{told}");
    assert_eq!(b.json(&["status"])["ok"], true);
    assert_eq!(stranger.entries(), stranger.verified()["entries"].as_u64().expect("a count"));
    assert_eq!(other.terminate(), Some(0));
    let running = a.start(&["--sync-listen", &address]);
    Site::joined(&fresh);
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn a_revoked_node_is_refused_at_the_link() {
    let (a, code) = Site::found("Ziguinchor");
    let running = a.listen();
    let stolen = Site::joined(&a.invite(&["--site", "Kolda"]));
    assert_eq!(stolen.json(&["sync"])["peers"][0]["in_sync"], true);
    // Out of reach meanwhile: one that hears of it writes nothing any more.
    let code_file = a.file("code.txt", code);
    a.json(&["node", "revoke", "Kolda", "--yes", "--recovery-code-file", &code_file]);
    let entries = a.entries();
    let note = json!({"resourceType": "Basic", "id": "late", "code": {"text": "late"}});
    import(&stolen, &[stolen.file("late.json", note.to_string())]);
    let thief = stolen.start(&[]);
    let told = stolen.run(&["sync", "--json"]);
    assert_eq!((told.code, &told.json()["peers"]), (Some(4), &json!([])), "{told:?}");
    assert_eq!(told.json()["unreached"][0]["kind"], "denied", "{told:?}");
    // Nothing of it was taken; that it was sent away is on record.
    assert!(a.entries() <= entries + 1);
    a.refused(&["chart", "show", "Basic/late"], 1, "");
    assert_eq!(a.json(&["status"])["ok"], true);
    assert_eq!((running.terminate(), thief.terminate()), (Some(0), Some(0)));
}

#[test]
fn one_process_has_a_directory_and_signals_and_closed_pipes_end_things_quietly() {
    let (a, _) = Site::found("Ziguinchor");
    let file = notes(&a, 3_000);
    let running = a.listen();
    a.refused(&["run"], 11, "");

    // Interrupted in the midst of its work.
    let mut child = a.command(&["import", &file]).stderr(Stdio::null()).spawn().expect("started");
    super::harness::pause(150);
    signal(&child, "INT");
    assert_eq!(child.wait().expect("a child").code(), Some(130));
    assert_eq!(a.json(&["status"])["ok"], true);
    import(&a, &[file]);

    let mut child = a
        .command(&["export", "--all", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.as_mut().expect("started");
    let mut output = std::io::BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut output, &mut line).expect("a line");
    serde_json::from_str::<Value>(&line).expect("JSON");
    drop(output);
    let code = child.wait().expect("a child").code();
    let mut complaint = String::new();
    let mut errors = child.stderr.take().expect("piped");
    std::io::Read::read_to_string(&mut errors, &mut complaint).expect("text");
    assert_eq!((code, complaint.as_str()), (Some(0), ""), "a closed pipe ends it quietly");

    // A caller that is not the product does no harm.
    let socket = a.dir().join("control.sock");
    let mut caller = std::os::unix::net::UnixStream::connect(&socket).expect("connected");
    caller.write_all(&[0xff; 4096]).expect("written");
    drop(caller);
    assert_eq!(a.json(&["status"])["running"], true);
    running.signal("INT");
    assert_eq!(running.ended(), Some(0));
    let running = a.listen();
    assert_eq!(running.terminate(), Some(0));
    a.verified();
}
