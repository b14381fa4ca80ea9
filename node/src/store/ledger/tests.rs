//! The ledger's promises, with runs signed by keys made here.
#![cfg(test)]

use super::*;
use crate::store::database::companion;
use crate::store::migration::Schema;
use crate::vault::Sealed;
use carnet_sync_protocol::SigningKey;
use carnet_sync_protocol::entry::{Codec, Entry, Header, HybridTime, sign_entry};
use carnet_sync_protocol::frontier::Head;
use carnet_sync_protocol::id::{
    Author, Channel, DocumentId, EntryId, EpochId, Incarnation, NodeId,
};
use carnet_sync_protocol::limit;
use carnet_sync_protocol::run::{Run, RunItem, VerifiedRun};
use std::path::PathBuf;

const PRACTICE: PracticeId = PracticeId([7; 32]);

struct Writer {
    key: SigningKey,
    log: LogId,
    sequence: u64,
    previous: EntryId,
}

impl Writer {
    fn new(seed: u8, channel: Channel) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let node = NodeId(key.verifying_key().to_bytes());
        let author = Author { node, incarnation: Incarnation([seed; 8]) };
        Self { key, log: LogId { channel, author }, sequence: 0, previous: EntryId::ZERO }
    }

    fn cloned(&self) -> Self {
        Self { key: self.key.clone(), ..*self }
    }

    fn head(&self) -> Head {
        Head { sequence: self.sequence, id: self.previous }
    }

    fn write(&mut self, payloads: &[&[u8]]) -> VerifiedRun {
        self.write_for(PRACTICE, payloads)
    }

    fn write_for(&mut self, practice: PracticeId, payloads: &[&[u8]]) -> VerifiedRun {
        let items = payloads.iter().map(|payload| RunItem {
            document: DocumentId([payload.first().copied().unwrap_or(0); 16]),
            epoch: EpochId([3; 16]),
            codec: Codec(999),
            nonce: [payload.len() as u8; 24],
            time: HybridTime(u64::MAX - 5),
            payload: payload.to_vec(),
        });
        let mut run = Run {
            log: self.log,
            first_sequence: self.sequence + 1,
            previous: self.previous,
            items: items.collect(),
            signature: sign_entry(&self.key, EntryId::ZERO),
        };
        self.previous = run.head(practice).unwrap().id;
        self.sequence += payloads.len() as u64;
        run.signature = sign_entry(&self.key, self.previous);
        run.verify(practice).unwrap()
    }
}

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> (Self, Ledger) {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        let ledger = Ledger::create(&place.path(), PRACTICE).unwrap();
        (place, ledger)
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("log.db")
    }

    fn open(&self) -> Ledger {
        Ledger::open(&self.path()).unwrap()
    }
}

fn entries(ledger: &Ledger) -> Vec<Entry> {
    ledger.by_arrival(0, 10_000).unwrap().into_iter().map(|held| held.entry).collect()
}

/// Sends everything from one ledger to an empty one, as a session would, head by head.
fn copy(from: &Ledger, bytes_max: usize) -> (Place, Ledger) {
    let (place, mut to) = Place::new();
    for (log, heads) in from.frontier().0.clone() {
        for until in heads {
            while !to.knows(&log, &until).unwrap() {
                let waypoints = from.waypoints(&log).unwrap();
                let mut known = to.known(&log, &waypoints).unwrap();
                known.retain(|head| from.load(&log, Some(*head), until, 1).is_ok());
                let held_more = to
                    .heads(&log)
                    .iter()
                    .copied()
                    .filter(|head| from.load(&log, Some(*head), until, 1).is_ok());
                let after = known.into_iter().chain(held_more).max();
                let runs = from.load(&log, after, until, bytes_max).unwrap();
                assert!(!runs.is_empty());
                for run in runs {
                    to.append(&run.verify(PRACTICE).unwrap()).unwrap();
                }
            }
        }
    }
    (place, to)
}

#[test]
fn what_a_page_of_a_channel_costs_does_not_grow_with_the_others() {
    let (_place, mut ledger) = Place::new();
    let mut control = Writer::new(1, Channel::Control);
    let mut audit = Writer::new(2, Channel::Audit);
    let mut clinical = Writer::new(3, Channel::Clinical);
    let mut costs = Vec::new();
    for entries in [10, 2000] {
        ledger.append(&control.write(&[b"statement"])).unwrap();
        for _ in 0..entries / 10 {
            ledger.append(&clinical.write(&[b"entry".as_slice(); 10])).unwrap();
        }
        ledger.append(&audit.write(&[b"event"])).unwrap();
        let statements = || ledger.of_channel(Channel::Control, 0, 10).unwrap().len();
        let (count, steps) = ledger.database.steps_of(statements);
        costs.push(steps / count as i64);
    }
    assert!((1..200).contains(&costs[1]) && costs[1] <= costs[0], "{costs:?} steps a statement");
    // Of a large part: each page goes on where the last one ended.
    for _ in 0..200 {
        ledger.append(&audit.write(&[b"event".as_slice(); 10])).unwrap();
    }
    let first = ledger.of_channel_as_stored(Channel::Audit, 2014, 100).unwrap();
    let next = || ledger.of_channel_as_stored(Channel::Audit, first[99].arrival, 100).unwrap();
    let (next, steps) = ledger.database.steps_of(next);
    assert!(next.len() == 100 && steps < 20_000, "{} events, {steps} steps", next.len());
}

#[test]
fn what_is_appended_comes_back_whole_also_of_unknown_codecs() {
    let (place, mut ledger) = Place::new();
    let mut writer = Writer::new(1, Channel::Critical);
    let run = writer.write(&[b"a", b"", b"b"]);
    let appended = ledger.append(&run).unwrap();
    assert_eq!(appended, Appended { new: 1..4, held: 0, forked: false });
    drop(ledger);
    let ledger = place.open();
    assert_eq!(entries(&ledger), run.entries());
    assert_eq!(ledger.entry(&run.last().id).unwrap().unwrap().entry, *run.last());
    let held = ledger.at(3).unwrap().unwrap();
    assert_eq!(held.signature.as_ref(), Some(run.signature()));
    assert!(held.is_sound());
    let stamp = ledger.stamp(&run.last().id).unwrap().unwrap();
    assert_eq!((stamp.arrival, stamp.sequence, stamp.log), (3, 3, writer.log));
    assert_eq!(ledger.stamp_at(3).unwrap(), Some(stamp));
    assert_eq!(ledger.heads(&writer.log), [writer.head()]);
    assert_eq!((ledger.count().unwrap(), ledger.last_arrival()), (3, 3));
    assert_eq!(ledger.signature_count().unwrap(), 1);
    // The empty payload was given no document.
    assert_eq!(ledger.document_count().unwrap(), 2);
    let of_document = ledger.of_document(&DocumentId([b'b'; 16]), 0, 10).unwrap();
    assert_eq!(of_document.len(), 1);
    assert_eq!(ledger.of_channel(Channel::Critical, 1, 10).unwrap().len(), 2);
    assert_eq!(ledger.of_channel(Channel::Control, 0, 10).unwrap(), []);
    assert_eq!(ledger.integrity_check().unwrap(), Vec::<String>::new());
}

#[test]
fn a_page_ends_before_its_payloads_are_too_many_to_hold() {
    let (_place, mut ledger) = Place::new();
    let mut writer = Writer::new(1, Channel::Critical);
    let large = vec![7; limit::PAYLOAD_BYTES_MAX];
    for _ in 0..5 {
        ledger.append(&writer.write(&[&large])).unwrap();
    }
    let (mut pages, mut after) = (Vec::new(), 0);
    while let Some(last) = ledger.by_arrival(after, 100).unwrap().last() {
        pages.push(last.arrival - after);
        after = last.arrival;
    }
    assert_eq!(pages, [2, 2, 1]);
    let document = DocumentId([7; 16]);
    assert_eq!(ledger.of_document(&document, 1, 100).unwrap().len(), 2);
    assert_eq!(ledger.of_document_until(&document, 1, 2, 100).unwrap().len(), 1);
    assert_eq!(ledger.of_channel(Channel::Critical, 3, 100).unwrap().len(), 2);
}

#[test]
fn a_run_may_come_again_whole_or_in_part() {
    let (_place, mut ledger) = Place::new();
    let mut writer = Writer::new(1, Channel::Clinical);
    let mut longer = writer.cloned();
    let short = writer.write(&[b"1", b"2"]);
    let long = longer.write(&[b"1", b"2", b"3"]);
    ledger.append(&short).unwrap();
    assert_eq!(ledger.append(&short).unwrap().new, 3..3);
    let appended = ledger.append(&long).unwrap();
    assert_eq!(appended, Appended { new: 3..4, held: 2, forked: false });
    assert_eq!(ledger.append(&short).unwrap(), Appended { new: 4..4, held: 2, forked: false });
    assert_eq!(entries(&ledger), long.entries());
}

#[test]
fn a_gap_and_a_foreign_practice_are_refused_and_change_nothing() {
    let (_place, mut ledger) = Place::new();
    let mut writer = Writer::new(1, Channel::Clinical);
    let first = writer.write(&[b"1"]);
    writer.write(&[b"2"]);
    let third = writer.write(&[b"3"]);
    let gap = StoreError::Gap { log: writer.log, sequence: 3 };
    assert_eq!(ledger.append(&third), Err(gap));
    ledger.append(&first).unwrap();
    let error = ledger.append(&third).unwrap_err();
    assert!(error.is_refusal());
    let foreign = Writer::new(2, Channel::Clinical).write_for(PracticeId([8; 32]), &[b"x"]);
    let found = PracticeId([8; 32]);
    assert_eq!(ledger.append(&foreign), Err(StoreError::ForeignPractice { found }));
    assert_eq!(ledger.count().unwrap(), 1);
}

#[test]
fn a_run_that_no_frame_holds_is_refused() {
    let (_place, mut ledger) = Place::new();
    let mut writer = Writer::new(1, Channel::Clinical);
    let half = vec![0; limit::FRAME_BYTES_MAX / 2];
    let run = writer.write(&[&half, &half]);
    assert_eq!(ledger.append(&run), Err(StoreError::RunTooLarge { log: writer.log }));
}

#[test]
fn both_branches_of_a_cloned_author_are_kept_and_passed_on() {
    let (place, mut ledger) = Place::new();
    let mut one = Writer::new(1, Channel::Critical);
    for payload in [b"1", b"2", b"3"] {
        ledger.append(&one.write(&[payload])).unwrap();
    }
    let mut two = one.cloned();
    ledger.append(&one.write(&[b"4", b"5"])).unwrap();
    let branch = two.write(&[b"x"]);
    assert!(ledger.append(&branch).unwrap().forked);
    ledger.append(&two.write(&[b"y"])).unwrap();
    assert!(!ledger.append(&branch).unwrap().forked);
    let mut heads = [one.head(), two.head()];
    heads.sort_unstable();
    assert_eq!(ledger.heads(&one.log), heads);
    assert_eq!(ledger.forked_logs(), [one.log]);

    // Only the branch's own entries go to who holds the other one.
    let fork = Head { sequence: 3, id: branch.entries()[0].header.previous };
    let runs = ledger.load(&one.log, Some(fork), two.head(), 1 << 20).unwrap();
    assert_eq!(runs.iter().map(|run| run.items.len()).sum::<usize>(), 2);
    let beside = ledger.load(&one.log, Some(one.head()), two.head(), 1 << 20);
    assert!(matches!(beside, Err(StoreError::NotHeld { .. })));

    let (_there, other) = copy(&ledger, 1);
    assert_eq!(other.frontier(), ledger.frontier());
    drop(ledger);
    let ledger = place.open();
    assert_eq!(other.frontier(), ledger.frontier());
    assert_eq!(ledger.integrity_check().unwrap(), Vec::<String>::new());
}

#[test]
fn a_fork_at_the_first_entry_and_too_many_forks() {
    let (_place, mut ledger) = Place::new();
    for clone in 0..limit::HEADS_MAX as u8 {
        let mut writer = Writer::new(1, Channel::Critical);
        let appended = ledger.append(&writer.write(&[&[clone]])).unwrap();
        assert_eq!(appended.forked, clone > 0);
    }
    let mut writer = Writer::new(1, Channel::Critical);
    let error = ledger.append(&writer.write(&[b"one more"])).unwrap_err();
    assert_eq!(error, StoreError::TooManyBranches { log: writer.log });
    assert_eq!(ledger.heads(&writer.log).len(), limit::HEADS_MAX);
    assert_eq!(ledger.count().unwrap(), limit::HEADS_MAX as u64);
}

#[test]
fn a_load_is_cut_at_stored_signatures_and_reaches_its_end() {
    let (_place, mut ledger) = Place::new();
    let mut writer = Writer::new(1, Channel::Clinical);
    for _ in 0..7 {
        ledger.append(&writer.write(&[&[b'x'; 100][..]; 100])).unwrap();
    }
    let all = ledger.load(&writer.log, None, writer.head(), usize::MAX).unwrap();
    let lengths: Vec<_> = all.iter().map(|run| run.items.len()).collect();
    // Each run ends at the last signature that still fits in 256 entries.
    assert_eq!(lengths, [200, 200, 200, 100]);
    let small = ledger.load(&writer.log, None, writer.head(), 1).unwrap();
    assert_eq!(small.iter().map(|run| run.items.len()).collect::<Vec<_>>(), [100]);

    // A start and an end in the midst of signed runs: the end moves on to the next signature.
    let header = |sequence: usize| entries(&ledger)[sequence - 1].clone();
    let head = |sequence: usize| Head { sequence: sequence as u64, id: header(sequence).id };
    let middle = ledger.load(&writer.log, Some(head(150)), head(310), 1 << 20).unwrap();
    assert_eq!((middle[0].first_sequence, middle[0].previous), (151, head(150).id));
    assert_eq!(middle.iter().map(|run| run.items.len()).sum::<usize>(), 250);
    for run in middle.into_iter().chain(all) {
        run.verify(PRACTICE).unwrap();
    }
    assert_eq!(ledger.load(&writer.log, Some(head(9)), head(9), 1).unwrap(), []);
    let backwards = ledger.load(&writer.log, Some(head(9)), head(8), 1);
    assert!(matches!(backwards, Err(StoreError::NotHeld { .. })));
    let (_there, other) = copy(&ledger, 30_000);
    assert_eq!(entries(&other), entries(&ledger));
}

#[test]
fn runs_stay_within_a_frame() {
    let (_place, mut ledger) = Place::new();
    let mut writer = Writer::new(1, Channel::Clinical);
    let large = vec![1; limit::PAYLOAD_BYTES_MAX / 3];
    for _ in 0..7 {
        ledger.append(&writer.write(&[&large])).unwrap();
    }
    let runs = ledger.load(&writer.log, None, writer.head(), usize::MAX).unwrap();
    assert!(runs.len() > 1);
    for run in runs {
        assert!(run.to_bytes().len() <= limit::FRAME_BYTES_MAX);
    }
}

#[test]
fn a_branch_that_leaves_inside_a_long_signed_run_can_still_be_sent() {
    let (_place, mut ledger) = Place::new();
    let mut one = Writer::new(1, Channel::Clinical);
    let mut two = one.cloned();
    ledger.append(&one.write(&[&b"1"[..]; 250])).unwrap();
    // The clone signed at 200, then wrote more; that signature never came here.
    two.write(&[&b"1"[..]; 200]);
    ledger.append(&two.write(&[&b"2"[..]; 100])).unwrap();
    assert_eq!(ledger.forked_logs(), [one.log]);
    // Whatever the bound: the last run is one of the way that was asked for.
    let runs = ledger.load(&one.log, None, two.head(), 1).unwrap();
    assert_eq!(runs.last().unwrap().head(PRACTICE), Some(two.head()));
    let (_there, mut other) = Place::new();
    for run in runs {
        other.append(&run.verify(PRACTICE).unwrap()).unwrap();
    }
    assert_eq!(other.frontier(), ledger.frontier());
}

#[test]
fn waypoints_step_back_ever_further_down_to_the_first_entry() {
    let (_place, mut ledger) = Place::new();
    let mut writer = Writer::new(1, Channel::Clinical);
    ledger.append(&writer.write(&[&b"x"[..]; 100])).unwrap();
    let sequences: Vec<_> =
        ledger.waypoints(&writer.log).unwrap().iter().map(|head| head.sequence).collect();
    assert_eq!(sequences, [100, 99, 98, 96, 92, 84, 68, 36, 1]);
    assert_eq!(ledger.waypoints(&Writer::new(2, Channel::Audit).log).unwrap(), []);
}

#[test]
fn what_each_side_lacks_is_counted() {
    let (_place, mut ledger) = Place::new();
    let (_there, mut other) = Place::new();
    let mut one = Writer::new(1, Channel::Clinical);
    let shared = one.write(&[b"1", b"2"]);
    ledger.append(&shared).unwrap();
    other.append(&shared).unwrap();
    let mut two = one.cloned();
    ledger.append(&one.write(&[b"3", b"4", b"5"])).unwrap();
    other.append(&Writer::new(2, Channel::Staff).write(&[&b"s"[..]; 4])).unwrap();
    assert_eq!(ledger.count_beyond(other.frontier()).unwrap(), 3);
    assert_eq!(ledger.count_missing(other.frontier()).unwrap(), 4);
    assert_eq!(other.count_beyond(ledger.frontier()).unwrap(), 4);
    assert_eq!(other.count_missing(ledger.frontier()).unwrap(), 3);
    assert_eq!(ledger.count_beyond(&Frontier::default()).unwrap(), 5);
    other.append(&two.write(&[b"x"])).unwrap();
    assert_eq!(ledger.count_missing(other.frontier()).unwrap(), 5);
}

#[test]
fn what_is_rolled_back_leaves_the_frontier_too() {
    let (place, mut ledger) = Place::new();
    let mut writer = Writer::new(1, Channel::Clinical);
    ledger.append(&writer.write(&[b"1"])).unwrap();
    let before = ledger.frontier().clone();
    ledger.begin().unwrap();
    ledger.append(&writer.write(&[b"2", b"3"])).unwrap();
    let kept = ledger.frontier().clone();
    let refused: Result<()> = ledger.within(|ledger| {
        ledger.append(&writer.cloned().write(&[b"4"]))?;
        ledger.append(&Writer::new(2, Channel::Staff).write(&[b"5"]))?;
        Err(StoreError::Busy { path: ledger.path().to_owned() })
    });
    assert!(refused.is_err());
    assert_eq!((ledger.frontier(), ledger.last_arrival()), (&kept, 3));
    ledger.commit().unwrap();
    ledger.begin().unwrap();
    ledger.savepoint().unwrap();
    ledger.append(&writer.write(&[b"4"])).unwrap();
    ledger.append(&Writer::new(2, Channel::Staff).write(&[b"5"])).unwrap();
    ledger.release().unwrap();
    ledger.rollback();
    assert_eq!((ledger.frontier(), ledger.last_arrival()), (&kept, 3));
    assert_ne!(before, kept);
    drop(ledger);
    assert_eq!(place.open().frontier(), &kept);
}

#[test]
fn a_crash_before_the_commit_leaves_what_was_committed() {
    let (place, mut ledger) = Place::new();
    let mut writer = Writer::new(1, Channel::Clinical);
    ledger.append(&writer.write(&[b"1"])).unwrap();
    let committed = ledger.frontier().clone();
    ledger.begin().unwrap();
    ledger.append(&writer.write(&[b"2", b"3"])).unwrap();
    drop(ledger);
    let ledger = place.open();
    assert_eq!(ledger.frontier(), &committed);
    assert_eq!(ledger.integrity_check().unwrap(), Vec::<String>::new());
}

#[test]
fn a_full_disk_loses_the_transaction_and_nothing_else() {
    let (place, mut ledger) = Place::new();
    let mut writer = Writer::new(1, Channel::Clinical);
    ledger.append(&writer.write(&[b"1"])).unwrap();
    let committed = ledger.frontier().clone();
    let pages: i64 = ledger.database.value("PRAGMA page_count").unwrap();
    let _: i64 = ledger.database.value(&format!("PRAGMA max_page_count = {}", pages + 3)).unwrap();
    ledger.begin().unwrap();
    let error = ledger.append(&writer.write(&[&[0; 100_000]])).unwrap_err();
    assert_eq!(error, StoreError::DiskFull { path: place.path() });
    // Whether SQLite has given the transaction up or not, it can be ended and tried again.
    ledger.rollback();
    assert_eq!(ledger.frontier(), &committed);
    let _: i64 = ledger.database.value("PRAGMA max_page_count = 100000").unwrap();
    let mut again = Writer::new(1, Channel::Clinical);
    again.write(&[b"1"]);
    ledger.append(&again.write(&[&[0; 100_000]])).unwrap();
    assert_eq!(place.open().frontier(), ledger.frontier());
}

#[test]
fn after_a_lost_transaction_nothing_is_written_by_itself() {
    let (place, mut ledger) = Place::new();
    let mut writer = Writer::new(1, Channel::Clinical);
    ledger.begin().unwrap();
    ledger.append(&writer.write(&[b"1"])).unwrap();
    // As SQLite does on a full disk.
    ledger.database.batch("ROLLBACK").unwrap();
    let lost = || StoreError::TransactionLost { path: place.path() };
    assert_eq!(ledger.append(&writer.write(&[b"2"])), Err(lost()));
    assert_eq!(ledger.savepoint(), Err(lost()));
    assert_eq!(ledger.set_meta("key", b"value"), Err(lost()));
    assert_eq!(ledger.commit(), Err(lost()));
    assert_eq!(ledger.frontier(), &Frontier::default());
    assert_eq!((ledger.count().unwrap(), ledger.in_transaction()), (0, false));
}

#[test]
fn a_lost_transaction_can_be_rolled_back_out_of_its_savepoints() {
    let (_place, mut ledger) = Place::new();
    let mut writer = Writer::new(1, Channel::Clinical);
    ledger.begin().unwrap();
    ledger.savepoint().unwrap();
    ledger.savepoint().unwrap();
    ledger.database.batch("ROLLBACK").unwrap();
    ledger.rollback_to().unwrap();
    ledger.rollback();
    assert!(!ledger.in_transaction());
    ledger.append(&writer.write(&[b"1"])).unwrap();
    assert_eq!(ledger.count().unwrap(), 1);
}

#[test]
fn an_altered_entry_is_noticed() {
    let (_place, mut ledger) = Place::new();
    let mut writer = Writer::new(1, Channel::Clinical);
    ledger.append(&writer.write(&[b"1", b"2"])).unwrap();
    ledger.database.batch("UPDATE entries SET payload = x'00' WHERE arrival = 2").unwrap();
    let sound: Vec<_> = ledger.by_arrival(0, 9).unwrap().iter().map(Held::is_sound).collect();
    assert_eq!(sound, [true, false]);
    assert!(matches!(ledger.at(2), Err(StoreError::Corrupt { .. })));
    ledger.database.batch("DELETE FROM entries WHERE arrival = 1").unwrap();
    assert!(!ledger.integrity_check().unwrap().is_empty());
}

#[test]
fn a_reader_beside_the_writer_sees_what_is_committed() {
    let (place, mut ledger) = Place::new();
    let mut writer = Writer::new(1, Channel::Clinical);
    ledger.append(&writer.write(&[b"1"])).unwrap();
    let mut reader = Ledger::open_read_only(&place.path()).unwrap();
    assert_eq!(reader.frontier(), ledger.frontier());
    ledger.append(&writer.write(&[b"2"])).unwrap();
    assert_eq!(reader.count().unwrap(), 2);
    assert!(matches!(reader.set_meta("a", b"b"), Err(StoreError::Io { .. })));
}

#[test]
fn what_is_not_a_ledger_is_told_apart() {
    let (place, ledger) = Place::new();
    let path = place.path();
    let exists = Ledger::create(&path, PRACTICE).unwrap_err();
    assert_eq!(exists, StoreError::Exists { path: path.clone() });
    ledger.database.batch("PRAGMA user_version = 40").unwrap();
    drop(ledger);
    let newer = StoreError::NewerSchema { path: path.clone(), found: 40, known: 2 };
    assert_eq!(Ledger::open(&path).unwrap_err(), newer);
    let other = place.directory.path().join("other.db");
    assert_eq!(Ledger::open(&other).unwrap_err(), StoreError::NotFound { path: other.clone() });
    std::fs::write(&other, [b'x'; 5000]).unwrap();
    assert!(matches!(Ledger::open(&other), Err(StoreError::Corrupt { .. })));
    std::fs::write(&other, b"").unwrap();
    assert!(matches!(Ledger::open(&other), Err(StoreError::Corrupt { .. })));
}

#[test]
fn an_older_schema_is_upgraded_in_a_copy_and_the_old_file_kept() {
    const OLDER: Schema =
        Schema { application: SCHEMA.application, steps: &[SCHEMA.steps[0]], counted: "entries" };
    const STEPS: &[&str] =
        &[SCHEMA.steps[0], "ALTER TABLE peers ADD COLUMN note TEXT NOT NULL DEFAULT 'none'"];
    const NEWER: Schema = Schema { steps: STEPS, ..OLDER };
    const BROKEN: Schema =
        Schema { steps: &[SCHEMA.steps[0], "DELETE FROM entries WHERE arrival = 1"], ..OLDER };
    let place = Place { directory: tempfile::tempdir().unwrap() };
    let path = place.path();
    let mut database = Database::create(&path).unwrap();
    durable(&database).unwrap();
    OLDER.install(&mut database).unwrap();
    let mut ledger = Ledger::empty(database, PRACTICE);
    ledger.set_meta(super::PRACTICE, PRACTICE.as_bytes()).unwrap();
    let mut writer = Writer::new(1, Channel::Clinical);
    let run = writer.write(&[b"1", b"2"]);
    ledger.append(&run).unwrap();
    drop(ledger);

    let backup = companion(&path, ".v1.bak");
    assert!(matches!(BROKEN.open(&path), Err(StoreError::Corrupt { .. })));
    assert!(!backup.exists());
    // What only reads does not upgrade it, and finds what is there.
    let old = Ledger::open_read_only(&path).unwrap();
    assert_eq!(old.load(&writer.log, None, writer.head(), 1 << 20).unwrap(), [run.into_run()]);
    assert_eq!(old.entry(&writer.head().id).unwrap().unwrap().arrival, 2);
    assert_eq!(old.integrity_check().unwrap(), Vec::<String>::new());
    drop(old);

    // A leftover of an interrupted attempt is no hindrance.
    NEWER.open(&path).unwrap();
    let database = Database::open(&path).unwrap();
    assert_eq!(NEWER.version(&database), Ok(2));
    assert_eq!(database.count("SELECT count(*) FROM entries").unwrap(), 2);
    assert_eq!(database.count("SELECT count(note) FROM peers").unwrap(), 0);
    assert_eq!(database.count("PRAGMA auto_vacuum").unwrap(), 2, "room can be given back");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    // The same by the way of every start.
    assert_eq!(Ledger::open(&backup).unwrap().heads(&writer.log), [writer.head()]);
    assert_eq!(SCHEMA.version(&Database::open(&backup).unwrap()), Ok(2));
    NEWER.open(&path).unwrap();
    NEWER.remove_old_copies(&path).unwrap();
    assert!(!backup.exists());
}

/// Stands for the keys: a pack is the texts of its entries, and a payload what is sealed of one.
struct Texts;

struct OpenTexts(Vec<(u64, Vec<u8>)>);

impl Opener for Texts {
    fn open(&self, pack: &Pack) -> Opening {
        match postcard::from_bytes(&pack.bytes) {
            Ok(texts) => Opening::Open(Box::new(OpenTexts(texts))),
            Err(_) => Opening::Damaged,
        }
    }
}

impl OpenPack for OpenTexts {
    fn payload(&self, arrival: u64, _: &Header) -> Option<Sealed> {
        let (_, text) = self.0.iter().find(|(other, _)| *other == arrival)?;
        Some(Sealed { nonce: [text.len() as u8; 24], payload: text.clone() })
    }
}

fn new_pack(entries: &[Held]) -> NewPack {
    let texts: Vec<(u64, &[u8])> =
        entries.iter().map(|held| (held.arrival, &held.entry.payload[..])).collect();
    NewPack { entries: entries.to_vec(), bytes: postcard::to_stdvec(&texts).unwrap() }
}

/// Two authors, one of them cloned, who write to two documents in turns.
fn written(ledger: &mut Ledger) -> [Writer; 3] {
    let mut one = Writer::new(1, Channel::Clinical);
    let mut other = Writer::new(2, Channel::Clinical);
    for n in 0..20_u8 {
        ledger.append(&one.write(&[&[b'a', n], &[b'b', n, n]])).unwrap();
        ledger.append(&other.write(&[&[b'a', n, 0, n]])).unwrap();
    }
    let mut clone = one.cloned();
    ledger.append(&clone.write(&[b"a clone"])).unwrap();
    ledger.append(&one.write(&[b"a", b"b"])).unwrap();
    [one, other, clone]
}

fn everything(ledger: &Ledger, writers: &[Writer]) -> (Vec<Held>, Vec<Vec<Run>>) {
    let load = |writer: &Writer| ledger.load(&writer.log, None, writer.head(), 1 << 20).unwrap();
    (ledger.by_arrival(0, 1000).unwrap(), writers.iter().map(load).collect())
}

#[test]
fn what_is_packed_is_read_and_sent_as_before_and_not_at_all_without_keys() {
    let (place, mut ledger) = Place::new();
    let writers = written(&mut ledger);
    let before = everything(&ledger, &writers);
    let of = |document: u8| ledger_of(&before.0, document);
    ledger.set_opener(Some(Box::new(Texts)));
    ledger.pack(&[new_pack(&of(b'a')[..30]), new_pack(&of(b'b'))]).unwrap();
    assert_eq!(ledger.packed().unwrap().packs, 2);
    assert_eq!(everything(&ledger, &writers), before);
    // A pack grows by taking the place of another; it must take all of it along.
    let some = new_pack(&of(b'a')[20..]);
    assert!(matches!(ledger.pack(&[some]), Err(StoreError::Unproved { .. })));
    assert_eq!(everything(&ledger, &writers), before);
    ledger.pack(&[new_pack(&of(b'a'))]).unwrap();
    assert_eq!(ledger.packed().unwrap().entries, before.0.len() as u64);
    assert_eq!(everything(&ledger, &writers), before);
    ledger.rewrite().unwrap();
    drop(ledger);

    let mut ledger = place.open();
    assert_eq!(ledger.integrity_check().unwrap(), Vec::<String>::new());
    let closed = ledger.by_arrival(0, 1000).unwrap();
    assert!(closed.iter().all(|held| held.closed && !held.is_sound()));
    assert!(matches!(ledger.at(3), Err(StoreError::Closed { .. })));
    assert_eq!(ledger.stamp_at(3).unwrap().unwrap().sequence, 1);
    assert!(ledger.is_signed(&writers[0].head().id).unwrap());
    for writer in &writers {
        assert_eq!(ledger.load(&writer.log, None, writer.head(), 1 << 20).unwrap(), []);
    }
    // What came later is handed out all the same, up to where there is no way on.
    let mut later = writers[0].cloned();
    let run = later.write(&[b"new"]);
    ledger.append(&run).unwrap();
    let sent = ledger.load(&later.log, Some(writers[0].head()), later.head(), 1 << 20).unwrap();
    assert_eq!(sent, [run.into_run()]);
    ledger.set_opener(Some(Box::new(Texts)));
    assert_eq!(everything(&ledger, &writers).1, before.1);
}

fn ledger_of(entries: &[Held], document: u8) -> Vec<Held> {
    let of = |held: &&Held| held.entry.header.document == DocumentId([document; 16]);
    entries.iter().filter(of).cloned().collect()
}

#[test]
fn nothing_is_dropped_that_does_not_come_out_again() {
    let (_place, mut ledger) = Place::new();
    let writers = written(&mut ledger);
    let before = everything(&ledger, &writers);
    let entries = ledger_of(&before.0, b'a');
    // Without keys there is no proof.
    let sound = new_pack(&entries);
    assert!(matches!(ledger.pack(std::slice::from_ref(&sound)), Err(StoreError::Unproved { .. })));
    ledger.set_opener(Some(Box::new(Texts)));
    let mut forgets = sound.clone();
    forgets.bytes = new_pack(&entries[1..]).bytes;
    let mut swaps = sound.clone();
    let mut texts = entries.clone();
    let (first, second) = (texts[0].arrival, texts[1].arrival);
    (texts[0].arrival, texts[1].arrival) = (second, first);
    swaps.bytes = new_pack(&texts).bytes;
    let noise = NewPack { entries: entries.clone(), bytes: vec![0xff; 40] };
    for wrong in [forgets, swaps, noise] {
        assert!(matches!(ledger.pack(&[wrong]), Err(StoreError::Unproved { .. })));
        assert_eq!(everything(&ledger, &writers), before);
        assert_eq!(ledger.packed().unwrap(), Packed::default());
    }
    // A transaction that is given up leaves no pack, open or not.
    ledger.begin().unwrap();
    ledger.pack(std::slice::from_ref(&sound)).unwrap();
    ledger.rollback();
    assert_eq!(everything(&ledger, &writers), before);
    ledger.begin().unwrap();
    ledger.pack(&[sound]).unwrap();
    ledger.let_fail(true, None);
    assert!(ledger.commit().is_err());
    assert_eq!(everything(&ledger, &writers), before);
    assert_eq!(ledger.packed().unwrap(), Packed::default());
}

#[test]
fn a_pack_that_was_damaged_is_found_out_with_and_without_keys() {
    let (place, mut ledger) = Place::new();
    let writers = written(&mut ledger);
    ledger.set_opener(Some(Box::new(Texts)));
    let entries = ledger_of(&ledger.by_arrival(0, 1000).unwrap(), b'a');
    ledger.pack(&[new_pack(&entries)]).unwrap();
    ledger.database.batch("UPDATE packs SET bytes = zeroblob(length(bytes))").unwrap();
    drop(ledger);
    let mut ledger = place.open();
    assert_eq!(ledger.integrity_check().unwrap(), ["1 packs were altered"]);
    ledger.set_opener(Some(Box::new(Texts)));
    assert!(matches!(ledger.at(entries[3].arrival), Err(StoreError::Corrupt { .. })));
    let stored = ledger.by_arrival(entries[3].arrival - 1, 1).unwrap();
    assert!(!stored[0].closed && !stored[0].is_sound());
    let load = ledger.load(&writers[1].log, None, writers[1].head(), 1 << 20);
    assert!(matches!(load, Err(StoreError::Corrupt { .. })));
    ledger.database.batch("DELETE FROM packs").unwrap();
    assert_eq!(ledger.integrity_check().unwrap().len(), 2);
}

#[test]
fn what_others_hold_is_known_branch_by_branch() {
    let (_place, mut ledger) = Place::new();
    let [one, other, clone] = written(&mut ledger);
    let covered = |frontiers: &[Frontier], document: i64| -> Vec<u64> {
        let all = ledger.acknowledged(frontiers).unwrap();
        let slots = ledger.slots(Group::Document(document)).unwrap();
        slots.iter().filter(|slot| all.covers(slot)).map(|slot| slot.arrival).collect()
    };
    let held = ledger.frontier().clone();
    let all = covered(&[], 1);
    assert_eq!(all.len(), 42);
    assert_eq!(covered(&[held.clone(), held.clone()], 1), all);
    assert_eq!(covered(&[held.clone(), Frontier::default()], 1), Vec::<u64>::new());
    // Of the cloned log this one holds one branch, and of the other one the beginning.
    let mut less = held.clone();
    less.set(one.log, vec![clone.head()]);
    let early = ledger.by_arrival(0, 3).unwrap().pop().unwrap().entry;
    less.set(other.log, vec![Head { sequence: 1, id: early.id }]);
    let of_less = covered(&[held, less.clone()], 1);
    assert_eq!(of_less.len(), 20 + 1 + 1);
    assert!(!of_less.contains(&(ledger.last_arrival() - 1)), "the other branch");
    // What is ahead of this node is not counted before it is here.
    less.set(other.log, vec![Head { sequence: 99, id: EntryId([9; 32]) }]);
    assert_eq!(covered(&[less], 1).len(), 21);
}

#[test]
fn room_that_comes_free_goes_back_to_the_disk() {
    let (_place, mut ledger) = Place::new();
    let mut writer = Writer::new(1, Channel::Clinical);
    for n in 0..100_u8 {
        ledger.append(&writer.write(&[&[n; 20_000]])).unwrap();
    }
    let (large, free) = ledger.room().unwrap();
    assert_eq!(free, 0);
    ledger.database.batch("UPDATE entries SET payload = x'00'").unwrap();
    let (same, free) = ledger.room().unwrap();
    assert!(same == large && free > large / 2);
    ledger.give_back(10).unwrap();
    let (less, rest) = ledger.room().unwrap();
    assert_eq!((large - less, free - rest), (10 * 4096, 10 * 4096));
    ledger.give_back(u32::MAX).unwrap();
    assert_eq!(ledger.room().unwrap().1, 0);
    let (before, _) = ledger.room().unwrap();
    // A reader of the old file is no hindrance that is not told of.
    let reader = Ledger::open_read_only(ledger.path()).unwrap();
    assert_eq!(reader.count().unwrap(), 100);
    let rewritten = ledger.rewrite();
    assert!(matches!(rewritten, Ok(()) | Err(StoreError::Busy { .. })), "{rewritten:?}");
    drop(reader);
    ledger.rewrite().unwrap();
    assert!(ledger.room().unwrap().0 <= before);
    assert_eq!(ledger.count().unwrap(), 100);
    ledger.append(&writer.write(&[b"goes on"])).unwrap();
}
