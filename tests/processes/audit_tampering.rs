//! A trail of a thousand records, and somebody with the disk in hand: whatever they alter, delete,
//! reorder or cut off, the verification finds it.
//!
//! Each way is tried on every record. Where a record can be judged alone, all are altered at once
//! and each must be named; some are altered with the rest untouched. What reaches beyond
//! one record (a tail that is cut off) is tried with every fiftieth record as the last, and with
//! each of them by `cargo test --release -p carnet -- --ignored any_record`.

use carnet_node::access::Action;
use carnet_node::base::environment::Environment;
use carnet_node::records::Records;
use carnet_node::records::RecordsError;
use carnet_node::records::trail::TrailReport;
use carnet_node::vault::UnlockSecret;
use carnet_sync_protocol::id::{Channel, LogId};
use carnet_tests::{Node, carry, found, join, permit, sync};
use rusqlite::Connection;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Records of the run.
const RECORDS: u64 = 1_000;

/// Of how many one is altered alone.
const ALONE: usize = 250;

/// What must live as long as the trail is worked on.
type Kept = (TempDir, Node);

/// A node whose own trail is so long, and of which a peer holds all; and the arrivals of its
/// entries.
fn trail() -> (Bench, Vec<i64>, Kept) {
    let (mut a, _) = found("Ziguinchor");
    let mut b = join(&mut a, "Sédhiou");
    // What the peer has written itself comes first: behind it, a tail that is missing would show.
    sync(&mut a, &mut b);
    let key = a.put(json!({"resourceType": "Patient", "id": "p", "birthDate": "1987-03-02"}));
    let read = permit(Action::Read);
    let log = LogId { channel: Channel::Audit, author: a.records.author() };
    while a.records.frontier().heads(&log).iter().all(|head| head.sequence < RECORDS) {
        a.records.read(&read, &key).expect("read");
        a.records.commit().expect("a commit");
    }
    sync(&mut a, &mut b);
    let held = b.records.frontier().clone();
    a.records.note_peer_frontier(&b.id(), &held).expect("noted");
    a.records.commit().expect("a commit");
    let report = a.records.verify_trail(&permit(Action::Operate)).expect("a report");
    assert!(report.ok, "{report:?}");
    assert_eq!((report.witnesses, report.unwitnessed), (1, 0), "{report:?}");
    let Node { records, dir } = a;
    drop(records);
    let bench = Bench::new(dir.path().join("node"));
    let arrivals = arrivals(&ledger(&bench.home));
    assert_eq!(arrivals.len() as u64, RECORDS);
    (bench, arrivals, (dir, b))
}

fn ledger(home: &Path) -> Connection {
    let ledger = Connection::open(home.join("log.db")).expect("opened");
    ledger.pragma_update(None, "synchronous", "OFF").expect("set");
    ledger.pragma_update(None, "foreign_keys", "OFF").expect("set");
    ledger
}

/// The audit entries of the log with most of them: this node's own.
fn arrivals(ledger: &Connection) -> Vec<i64> {
    let sql = "SELECT arrival FROM entries WHERE branch = (SELECT branch FROM entries JOIN branches
            USING (branch) JOIN logs USING (log) WHERE channel = 6 GROUP BY branch
            ORDER BY count(*) DESC LIMIT 1) ORDER BY sequence";
    let mut statement = ledger.prepare(sql).expect("prepared");
    let rows = statement.query_map([], |row| row.get(0)).expect("queried");
    rows.collect::<Result<_, _>>().expect("numbers")
}

/// Opens what somebody has been at, and verifies it. An error that says that the ledger is damaged
/// is as good as a problem.
fn verified(home: &Path) -> Result<TrailReport, RecordsError> {
    let mut records = Records::open(home, Environment::system())?;
    let key = UnlockSecret::from_key_file(&home.with_extension("key")).expect("a key");
    records.unlock(&key)?;
    records.verify_trail(&permit(Action::Operate))
}

/// The state before: put back after each try.
struct Bench {
    home: PathBuf,
    whole: Vec<u8>,
}

impl Bench {
    fn new(home: PathBuf) -> Self {
        let ledger = ledger(&home);
        let checkpoint = ledger.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        checkpoint.expect("folded into the file");
        drop(ledger);
        let whole = fs::read(home.join("log.db")).expect("read");
        Self { home, whole }
    }

    /// Alters the ledger and verifies it; then everything is as before.
    fn attempt(&self, alter: impl FnOnce(&Connection)) -> Result<TrailReport, RecordsError> {
        let mut ledger = ledger(&self.home);
        let change = ledger.transaction().expect("begun");
        alter(&change);
        change.commit().expect("altered");
        drop(ledger);
        let outcome = verified(&self.home);
        for name in ["log.db-wal", "log.db-shm"] {
            let _ = fs::remove_file(self.home.join(name));
        }
        fs::write(self.home.join("log.db"), &self.whole).expect("put back");
        outcome
    }
}

#[track_caller]
fn must_be_found(what: &str, outcome: Result<TrailReport, RecordsError>) -> Vec<String> {
    match outcome {
        Ok(report) => {
            assert!(!report.ok && !report.problems.is_empty(), "not found: {what}");
            report.problems
        }
        Err(RecordsError::Store(error)) => {
            let told = error.to_string();
            assert!(told.contains("log.db"), "{what}: {told}");
            vec![told]
        }
        Err(error) => panic!("{what}: {error}"),
    }
}

/// That the entry with this sequence is named in a problem.
#[track_caller]
fn must_be_named(what: &str, sequence: usize, problems: &str) {
    assert!(problems.contains(&format!("(audit {sequence} of node")), "{what}: {sequence}");
}

fn flip(ledger: &Connection, column: &str, size: usize, arrival: i64) {
    let read = format!("SELECT {column} FROM entries WHERE arrival = ?1");
    let bytes: Option<Vec<u8>> =
        ledger.query_row(&read, [arrival], |row| row.get(0)).expect("read");
    let mut bytes = bytes.unwrap_or_else(|| vec![0; size]);
    let at = arrival as usize % bytes.len();
    bytes[at] ^= 1 << (arrival % 8);
    let write = format!("UPDATE entries SET {column} = ?1 WHERE arrival = ?2");
    assert_eq!(ledger.execute(&write, (bytes, arrival)).expect("altered"), 1);
}

fn set(ledger: &Connection, assignment: &str, arrival: i64) {
    let write = format!("UPDATE entries SET {assignment} WHERE arrival = ?1");
    assert_eq!(ledger.execute(&write, [arrival]).expect("altered"), 1);
}

/// Alters the record of this arrival.
type Alter = fn(&Connection, i64);

/// What can be done to one record, wherever it stands.
const ALTERATIONS: [(&str, Alter); 9] = [
    ("a bit of the payload", |ledger, arrival| flip(ledger, "payload", 1, arrival)),
    ("a longer payload", |ledger, arrival| {
        set(ledger, "payload = CAST(payload || x'00' AS BLOB)", arrival)
    }),
    ("a bit of the nonce", |ledger, arrival| flip(ledger, "nonce", 24, arrival)),
    ("a bit of the id", |ledger, arrival| flip(ledger, "id", 32, arrival)),
    ("a bit of the signature", |ledger, arrival| flip(ledger, "signature", 64, arrival)),
    ("the time", |ledger, arrival| set(ledger, "time = time + 1", arrival)),
    ("the codec", |ledger, arrival| set(ledger, "codec = codec + 1", arrival)),
    ("the document", |ledger, arrival| {
        set(
            ledger,
            "document = iif(document IS NULL, (SELECT min(document) FROM documents), NULL)",
            arrival,
        );
    }),
    ("the epoch", |ledger, arrival| {
        set(ledger, "epoch = iif(epoch IS NULL, (SELECT min(epoch) FROM epochs), NULL)", arrival);
    }),
];

#[test]
fn whatever_is_altered_of_any_record_is_found_and_the_record_is_named() {
    let (bench, arrivals, _kept) = trail();
    for (what, alter) in ALTERATIONS {
        let all = bench.attempt(|ledger| arrivals.iter().for_each(|at| alter(ledger, *at)));
        let problems = must_be_found(what, all).join("\n");
        for sequence in 1..=arrivals.len() {
            must_be_named(what, sequence, &problems);
        }
        for (number, arrival) in arrivals.iter().enumerate().step_by(ALONE) {
            let one = bench.attempt(|ledger| alter(ledger, *arrival));
            must_be_named(what, number + 1, &must_be_found(what, one).join("\n"));
        }
    }
    assert!(verified(&bench.home).expect("a report").ok, "and nothing is found where nothing is");
}

#[test]
fn a_record_that_is_deleted_or_changes_places_is_found() {
    let (bench, arrivals, _kept) = trail();
    let delete = |ledger: &Connection, arrival: i64| {
        assert_eq!(ledger.execute("DELETE FROM entries WHERE arrival = ?1", [arrival]), Ok(1));
    };
    let swap = |ledger: &Connection, one: i64, other: i64| {
        let place = |arrival| {
            let sql = "SELECT sequence FROM entries WHERE arrival = ?1";
            ledger.query_row(sql, [arrival], |row| row.get::<_, i64>(0)).expect("a place")
        };
        let (first, second) = (place(one), place(other));
        for (arrival, sequence) in [(one, -1), (other, first), (one, second)] {
            let sql = "UPDATE entries SET sequence = ?2 WHERE arrival = ?1";
            assert_eq!(ledger.execute(sql, [arrival, sequence]), Ok(1));
        }
    };
    // The record after each that is gone is named; the last one's place is what a peer knows of.
    for first in [0, 1] {
        let gone: Vec<i64> =
            arrivals[..arrivals.len() - 1].iter().skip(first).step_by(2).copied().collect();
        let all = bench.attempt(|ledger| gone.iter().for_each(|at| delete(ledger, *at)));
        let problems = must_be_found("deleted", all).join("\n");
        for sequence in (first + 2..=arrivals.len()).step_by(2) {
            must_be_named("the one before is deleted", sequence, &problems);
        }
        let pairs: Vec<&[i64]> = arrivals[first..].chunks_exact(2).collect();
        let all = bench.attempt(|ledger| pairs.iter().for_each(|two| swap(ledger, two[0], two[1])));
        let problems = must_be_found("swapped", all).join("\n");
        for sequence in first + 1..=first + 2 * pairs.len() {
            must_be_named("swapped", sequence, &problems);
        }
    }
    for at in (0..arrivals.len()).step_by(ALONE) {
        let one = bench.attempt(|ledger| delete(ledger, arrivals[at]));
        must_be_found("one deleted", one);
        let other = (at + arrivals.len() / 3) % arrivals.len();
        let two = bench.attempt(|ledger| swap(ledger, arrivals[at], arrivals[other]));
        let problems = must_be_found("two swapped", two).join("\n");
        must_be_named("two swapped", at + 1, &problems);
        must_be_named("two swapped", other + 1, &problems);
    }
}

/// Cuts the trail off behind one record after another, from the last but one down to none at all.
fn cut_off(step: usize) {
    let (bench, arrivals, _kept) = trail();
    let ledger = ledger(&bench.home);
    for left in (0..arrivals.len()).rev() {
        let sql = "DELETE FROM entries WHERE arrival = ?1";
        assert_eq!(ledger.execute(sql, [arrivals[left]]), Ok(1));
        if left == 0 {
            let sql = "DELETE FROM branches WHERE branch NOT IN (SELECT branch FROM entries)";
            assert_eq!(ledger.execute(sql, []), Ok(1));
        }
        if left % step == 0 || left + 1 == arrivals.len() {
            let problems = must_be_found("cut off", verified(&bench.home)).join("\n");
            let told = problems.contains(&format!("this node up to {left};"));
            assert!(told || problems.contains("log.db"), "cut off after {left}: {problems}");
        }
    }
}

#[test]
fn a_tail_that_is_cut_off_is_found() {
    cut_off(ALONE / 5);
}

#[test]
#[ignore = "it verifies a thousand trails: minutes"]
fn a_tail_that_is_cut_off_after_any_record_is_found() {
    cut_off(1);
}

#[test]
fn a_lone_node_can_not_tell_and_the_next_peer_brings_the_tail_back() {
    let (bench, arrivals, (_dir, mut b)) = trail();
    let half = arrivals.len() / 2;
    let ledger = ledger(&bench.home);
    for arrival in &arrivals[half..] {
        let sql = "DELETE FROM entries WHERE arrival = ?1";
        assert_eq!(ledger.execute(sql, [arrival]), Ok(1));
    }
    ledger.execute("DELETE FROM peer_frontiers", []).expect("forgotten");
    drop(ledger);
    let mut records = Records::open(&bench.home, Environment::system()).expect("opened");
    let key = UnlockSecret::from_key_file(&bench.home.with_extension("key")).expect("a key");
    records.unlock(&key).expect("unlocked");
    let operate = permit(Action::Operate);
    let alone = records.verify_trail(&operate).expect("a report");
    assert_eq!((alone.ok, alone.witnesses), (true, 0), "nobody else is known to hold more");
    assert_eq!(alone.unwitnessed, half as u64, "and it says so");

    let held = b.records.frontier().clone();
    records.note_peer_frontier(&b.id(), &held).expect("noted");
    let told = must_be_found("seen by a peer", records.verify_trail(&operate));
    assert!(told[0].contains("cut off"), "{told:?}");
    carry(&mut b.records, &mut records);
    let healed = records.verify_trail(&operate).expect("a report");
    assert!(healed.ok, "{healed:?}");
    assert_eq!((healed.witnesses, healed.unwitnessed), (1, 0), "{healed:?}");
}
