//! Whoever owns the line between two nodes learns nothing from it, and can put nothing into it.

use super::canaries::{Canaries, collect};
use super::harness::{Site, import, patients, pause, until};
use super::proxy::Line;
use data_encoding::{BASE64_NOPAD, HEXLOWER};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;

/// Names of the practice and its sites: they stand in certificates, which lie on the disk as they
/// are, but on no line.
const PLACES: [&str; 3] = ["Casamance", "Ziguinchor-Boucotte", "Kolda-Saré-Moussa"];

/// Somebody who works there.
const STAFF: &str = "Ndèye Fatou Thiaré-Coly";

/// What a note says.
const NOTE: &str = "met with the marabout Ousseynou Baldé-Keïta before he came";

/// Of so many datagrams one is altered.
const EVERY: u64 = 5;

/// The datagrams of one direction, each by itself and all as one stream: a text may stand across
/// the border of two.
fn searched(canaries: &Canaries, heard: &[Vec<u8>]) -> Vec<String> {
    let each = heard.iter().flat_map(|datagram| canaries.found_within(datagram));
    let stream = canaries.found_in(&heard.concat());
    each.chain(stream).collect()
}

/// Charts with a note and staff at A, and what names anybody in them.
fn fill(a: &Site) -> BTreeSet<String> {
    let files = patients(a, 31, 30);
    let mut texts = BTreeSet::from([STAFF.to_owned(), NOTE.to_owned()]);
    for file in &files {
        let text = fs::read_to_string(file).expect("read");
        collect(&serde_json::from_str(&text).expect("JSON"), &mut texts);
    }
    import(a, &files);
    let note = json!({"resourceType": "Basic", "id": "note", "code": {"text": NOTE}});
    import(a, &[a.file("note.json", note.to_string())]);
    let password = a.file("password.txt", "neuf pirogues vertes sur le fleuve\n");
    let added = ["staff", "add", "fatou", "--name", STAFF, "--role", "nurse"];
    let how = ["--password-file", &password];
    a.json(&[&added[..], &how].concat());
    texts
}

#[test]
fn a_line_that_is_listened_to_tells_nothing() {
    let (a, _) = Site::found(PLACES[1]);
    let mut texts = fill(&a);
    let line = Line::recorded();
    let daemon = a.start_with(&["--sync-listen", "127.0.0.1:0"], &[("CARNET_LOG", "debug")]);
    line.lead_to(Some(&daemon.address));
    // Enrolment goes over the line too.
    let invitation = a.invite(&["--site", PLACES[2], "--address", &line.address]);
    let b = Site::joined(&invitation);
    let other = b.start_with(&[], &[("CARNET_LOG", "debug")]);
    until("B is in sync", 60_000, || b.json(&["sync"])["peers"][0]["in_sync"] == true);
    // What is written while both run is sent at once.
    let live = "Souleymane-Aliou Diédhiou-Sambou";
    let body = json!({"resourceType": "Patient", "id": "live", "name": [{"text": live}]});
    import(&b, &[b.file("live.json", body.to_string())]);
    texts.insert(live.to_owned());
    until("A shows it", 30_000, || a.run(&["chart", "show", "Patient/live"]).code == Some(0));
    assert_eq!(a.digest(), b.digest());
    assert_eq!(b.shown("Basic/note")["code"]["text"], NOTE);

    let on_disk = Canaries::new(&texts);
    let token = invitation.trim_start_matches("carnet-invite-1-")[40..].to_owned();
    texts.extend(PLACES.map(str::to_owned));
    texts.insert(token);
    let on_the_line = Canaries::new(&texts);
    assert!(on_the_line.count > 150, "only {} texts to look for", on_the_line.count);
    let heard = line.heard();
    let bytes: Vec<usize> = heard.iter().map(|way| way.iter().map(Vec::len).sum()).collect();
    println!(
        "{} texts; {} and {} datagrams of {bytes:?} bytes",
        on_the_line.count,
        heard[0].len(),
        heard[1].len()
    );
    assert!(bytes[0] > 4_000 && bytes[1] > 30_000, "too little was heard: {bytes:?}");
    for way in &heard {
        assert_eq!(searched(&on_the_line, way), Vec::<String>::new());
    }
    assert_eq!((daemon.terminate(), other.terminate()), (Some(0), Some(0)));
    on_disk.must_be_absent(&[a.dir(), b.dir()], "after a sync");
    finds_what_is_sent_openly(&on_the_line);
}

/// The same search finds a text on the same line when somebody does send it.
fn finds_what_is_sent_openly(canaries: &Canaries) {
    let line = Line::recorded();
    let (caller, called) = (socket(), socket());
    line.lead_to(Some(&called.local_addr().expect("an address").to_string()));
    let body: Value = json!({"name": STAFF, "note": NOTE, "site": PLACES[2]});
    let text = body.to_string().into_bytes();
    let zstd = zstd::bulk::compress(&text, 3).expect("compressed");
    let ways = [
        text.clone(),
        [&[0xa5; 300], zstd.as_slice()].concat(),
        HEXLOWER.encode(&text).into_bytes(),
        BASE64_NOPAD.encode(&text).into_bytes(),
    ];
    for (number, way) in ways.iter().enumerate() {
        caller.send_to(way, &line.address).expect("sent");
        until("it came", 5_000, || line.heard()[0].len() == number + 1);
        let heard = &line.heard()[0][number..];
        assert!(searched(canaries, heard).len() >= 3, "way {number} is not found");
    }
    // Across two datagrams.
    let (one, two) = text.split_at(12);
    caller.send_to(one, &line.address).expect("sent");
    caller.send_to(&two[..30], &line.address).expect("sent");
    until("both came", 5_000, || line.heard()[0].len() == ways.len() + 2);
    assert_ne!(searched(canaries, &line.heard()[0][ways.len()..]), Vec::<String>::new());
}

fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").expect("a port")
}

#[test]
fn a_line_that_alters_packets_puts_nothing_into_a_chart() {
    let (a, _) = Site::found(PLACES[1]);
    fill(&a);
    let line = Line::altering(EVERY);
    let daemon = a.listen();
    line.lead_to(Some(&daemon.address));
    let b = Site::joined(&a.invite(&["--site", PLACES[2], "--address", &line.address]));
    let other = b.start(&[]);
    until("B is in sync", 60_000, || b.json(&["sync"])["peers"][0]["in_sync"] == true);
    pause(100);
    let altered = line.passed() / EVERY;
    println!("{altered} of {} datagrams were altered", line.passed());
    assert!(altered >= 15, "only {altered} datagrams were altered");
    assert_eq!(a.digest(), b.digest());
    assert_eq!(b.shown("Basic/note")["code"]["text"], NOTE);
    for site in [&a, &b] {
        assert_eq!(site.json(&["quarantine", "list"])["count"], 0);
    }
    assert_eq!((daemon.terminate(), other.terminate()), (Some(0), Some(0)));
}
