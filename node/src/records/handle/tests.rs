//! Batches in which something goes wrong: who got a result finds it after a restart, who got an
//! error finds nothing, no peer was told of what was undone, and the next write works.

#![cfg(test)]

use super::*;
use crate::access::{Action, operator_permit};
use crate::audit::AuditOutcome;
use crate::base::environment::Environment;
use crate::chart::{Resource, ResourceKey};
use crate::records::joining::Applicant;
use crate::records::membership::Invite;
use crate::records::{Founded, Init};
use crate::store::StoreError;
use crate::store::index::TrailFilter;
use crate::vault::{UnlockMethod, UnlockSecret};
use carnet_sync_protocol::certificate::{Capabilities, Role};
use carnet_sync_protocol::id::Channel;
use carnet_sync_protocol::message::JoinAnswer;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A node behind its thread.
struct Clinic {
    handle: Handle,
    owner: Owner,
    dir: tempfile::TempDir,
}

type Answer<T> = mpsc::Receiver<Result<T, RecordsError>>;

impl Clinic {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (environment, _) = Environment::seeded(1, 1_800_000_000_000);
        let init = Init {
            practice: "Casamance".into(),
            site: "Ziguinchor".into(),
            unlock: UnlockMethod::KeyFile(dir.path().join("key")),
            practice_passphrase: None,
        };
        let Founded { records, .. } =
            Records::init(&dir.path().join("node"), environment, init).unwrap();
        let (handle, owner) = Handle::start(records);
        Self { handle, owner, dir }
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("node")
    }

    /// Ends it and starts it again, unlocked.
    fn restarted(self) -> Self {
        let home = self.home();
        let Self { handle, owner, dir } = self;
        drop(handle);
        drop(owner);
        let mut records = Records::open(&home, Environment::system()).unwrap();
        let secret = UnlockSecret::from_key_file(&dir.path().join("key")).unwrap();
        records.unlock(&secret).unwrap();
        let (handle, owner) = Handle::start(records);
        Self { handle, owner, dir }
    }

    fn call<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Records) -> Result<T, RecordsError> + Send + 'static,
    ) -> Result<T, RecordsError> {
        self.handle.call_blocking(f)
    }

    /// Queues a call behind those that wait.
    fn queue<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Records) -> Result<T, RecordsError> + Send + 'static,
    ) -> Answer<T> {
        let (reply, answer) = mpsc::channel();
        let reply = move |result| drop(reply.send(result));
        self.handle.submit(f, reply).unwrap();
        answer
    }

    /// Holds the thread until the returned sender is dropped: what is queued meanwhile is one batch.
    fn hold(
        &self,
        first: impl FnOnce(&mut Records) + Send + 'static,
    ) -> (mpsc::Sender<()>, Answer<()>) {
        let (release, held) = mpsc::channel();
        let answer = self.queue(move |records| {
            first(records);
            let _ = held.recv();
            Ok(())
        });
        (release, answer)
    }

    fn put(&self, id: &str) -> Answer<()> {
        let id = id.to_owned();
        self.queue(move |records| put(records, &id, 10))
    }

    fn has(&self, id: &str) -> bool {
        let key = ResourceKey::new("Basic", id).unwrap();
        self.call(move |records| match records.read(&operator_permit(Action::Read), &key) {
            Ok(_) => Ok(true),
            Err(RecordsError::NoSuchResource { .. }) => Ok(false),
            Err(error) => Err(error),
        })
        .unwrap()
    }

    /// Nothing is wrong with what is held, and the index shows it.
    fn is_sound(&self) {
        let report = self
            .call(|records| records.verify(&operator_permit(Action::Administer), |_, _| {}))
            .unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
    }

    fn frontier(&self) -> Vec<(LogId, Vec<Head>)> {
        self.call(|records| Ok(records.frontier().0.clone().into_iter().collect())).unwrap()
    }
}

fn put(records: &mut Records, id: &str, size: usize) -> Result<(), RecordsError> {
    // What can't be compressed, so that it takes the room.
    let mut noise = blake3::Hasher::new().update(id.as_bytes()).finalize_xof();
    let mut bytes = vec![0; size];
    noise.fill(&mut bytes);
    let text = data_encoding::BASE64.encode(&bytes);
    let body = json!({"resourceType": "Basic", "id": id, "code": {"text": text}});
    let resource = Resource::from_value(body).unwrap();
    records.put(&operator_permit(Action::Write), &resource).map(drop)
}

fn is_not_committed<T>(answer: &Answer<T>) -> bool {
    matches!(answer.recv().unwrap(), Err(RecordsError::NotCommitted(_)))
}

#[test]
fn when_a_commit_fails_nobody_gets_a_result_and_the_next_write_works() {
    let clinic = Clinic::new();
    clinic.put("before").recv().unwrap().unwrap();
    let before = clinic.frontier();
    let mut advances = clinic.handle.advances();
    let (go, held) = clinic.hold(|records| records.ledger.let_fail(true, None));
    let answers = [clinic.put("a"), clinic.put("b")];
    let peer = clinic.queue(|records| Ok(records.frontier().clone()));
    drop(go);
    assert!(is_not_committed(&held) && answers.iter().all(is_not_committed));
    assert!(is_not_committed(&peer), "a peer is not told of what was undone");
    assert_eq!(clinic.frontier(), before);
    assert!(advances.try_recv().is_err());
    assert!(!clinic.has("a") && !clinic.has("b"));

    clinic.put("a").recv().unwrap().unwrap();
    let told: Vec<_> = std::iter::from_fn(|| advances.try_recv().ok()).flatten().collect();
    let mut charts = told.iter().filter(|(log, _)| log.channel == Channel::Clinical);
    assert_eq!(charts.next().map(|(_, heads)| heads[0].sequence), Some(3));
    assert!(charts.next().is_none(), "{told:?}");
    let clinic = clinic.restarted();
    assert!(clinic.has("before") && clinic.has("a") && !clinic.has("b"));
    clinic.is_sound();
}

#[test]
fn a_call_that_fails_leaves_nothing_and_takes_nobody_along() {
    let clinic = Clinic::new();
    let (go, _held) = clinic.hold(|_| {});
    let first = clinic.put("first");
    let failed = clinic.queue(|records| {
        put(records, "half", 10)?;
        Err::<(), _>(RecordsError::BadRequest("no".into()))
    });
    let last = clinic.put("last");
    drop(go);
    first.recv().unwrap().unwrap();
    assert!(matches!(failed.recv().unwrap(), Err(RecordsError::BadRequest(_))));
    last.recv().unwrap().unwrap();
    let clinic = clinic.restarted();
    assert!(clinic.has("first") && !clinic.has("half") && clinic.has("last"));
    clinic.is_sound();
}

#[test]
fn the_trail_tells_what_was_refused_in_a_call_and_not_what_was_undone_with_it() {
    let clinic = Clinic::new();
    let refused = clinic.call(|records| {
        put(records, "half", 10)?;
        records.trail(&operator_permit(Action::Read), &TrailFilter::default())
    });
    assert!(matches!(refused, Err(RecordsError::Denied(_))), "{refused:?}");
    clinic.put("whole").recv().unwrap().unwrap();
    let clinic = clinic.restarted();
    let filter = TrailFilter { limit: 100, ..TrailFilter::default() };
    let permit = operator_permit(Action::Audit);
    let trail = clinic.call(move |records| records.trail(&permit, &filter)).unwrap();
    let of = |outcome| trail.iter().filter(move |told| told.event.outcome == outcome);
    assert_eq!(of(AuditOutcome::Denied).count(), 1, "{trail:?}");
    let done: Vec<_> = of(AuditOutcome::Done).filter_map(|t| t.event.subject.clone()).collect();
    assert!(done.contains(&"Basic/whole".to_owned()), "{done:?}");
    assert!(!done.contains(&"Basic/half".to_owned()), "{done:?}");
}

#[test]
fn on_a_full_disk_a_result_means_that_it_is_there() {
    for index in [false, true] {
        let clinic = Clinic::new();
        clinic.put("before").recv().unwrap().unwrap();
        let limit = move |records: &mut Records, pages| match index {
            false => records.ledger.let_fail(false, pages),
            true => records.charts.as_ref().unwrap().index.let_fail(false, pages),
        };
        let (go, _held) = clinic.hold(move |records| limit(records, Some(60)));
        let large = |id: &'static str| clinic.queue(move |records| put(records, id, 400_000));
        let answers = [("a", clinic.put("a")), ("b", large("b")), ("c", clinic.put("c"))];
        drop(go);
        let results = answers.map(|(id, answer)| (id, answer.recv().unwrap()));
        let refused = results[1].1.as_ref().unwrap_err();
        let full = matches!(refused, RecordsError::Store(StoreError::DiskFull { .. }));
        assert!(full || matches!(refused, RecordsError::NotCommitted(_)), "{refused:?}");

        let lift = move |records: &mut Records| {
            limit(records, None);
            Ok(())
        };
        clinic.call(lift).unwrap();
        clinic.put("after").recv().unwrap().unwrap();
        let clinic = clinic.restarted();
        for (id, result) in results {
            assert_eq!(clinic.has(id), result.is_ok(), "{id}: {result:?}");
        }
        assert!(clinic.has("before") && clinic.has("after"));
        clinic.is_sound();
    }
}

#[test]
fn what_the_index_did_not_commit_it_catches_up_with() {
    let clinic = Clinic::new();
    let fail = |records: &mut Records| {
        records.charts.as_ref().unwrap().index.let_fail(true, None);
    };
    let (go, _held) = clinic.hold(fail);
    let answer = clinic.put("a");
    drop(go);
    answer.recv().unwrap().unwrap();
    assert!(clinic.has("a"));
    clinic.put("b").recv().unwrap().unwrap();
    clinic.is_sound();
    let clinic = clinic.restarted();
    assert!(clinic.has("a") && clinic.has("b"));
    clinic.is_sound();
}

#[test]
fn who_lets_go_of_the_owner_finds_the_store_closed() {
    let clinic = Clinic::new();
    let home = clinic.home();
    let Clinic { handle, owner, dir } = clinic;
    let slow = |_: &mut Records| {
        std::thread::sleep(std::time::Duration::from_millis(200));
        Ok(())
    };
    handle.submit(slow, |_| {}).unwrap();
    drop(owner);
    Records::open(&home, Environment::system()).unwrap();
    drop(dir);
}

/// A node that lost its index after so many writes, and what opens it; the directory is to be kept.
fn without_index(writes: usize) -> (tempfile::TempDir, impl Fn() -> Records) {
    let clinic = Clinic::new();
    let write = move |records: &mut Records| {
        (0..writes).try_for_each(|n| put(records, &format!("b{n}"), 10))
    };
    clinic.call(write).unwrap();
    let (home, key) = (clinic.home(), clinic.dir.path().join("key"));
    let Clinic { handle, owner, dir } = clinic;
    drop(handle);
    drop(owner);
    std::fs::remove_file(home.join("index.db")).unwrap();
    let unlocked = move || {
        let mut records = Records::open(&home, Environment::system()).unwrap();
        records.unlock(&UnlockSecret::from_key_file(&key).unwrap()).unwrap();
        records
    };
    (dir, unlocked)
}

fn shown(records: &Records) -> u64 {
    records.charts.as_ref().unwrap().index.applied_until().unwrap()
}

#[test]
fn a_call_that_has_much_to_show_first_keeps_what_it_has_shown_even_if_the_power_goes() {
    let (_dir, unlocked) = without_index(1300);
    let mut records = unlocked();
    records.charts.as_ref().unwrap().index.let_fail(true, None);
    let failed = guarded(&mut records, Records::catch_up);
    assert!(failed.is_err(), "what it showed could not be kept");
    assert_eq!(shown(&records), 0);
    let failed = guarded(&mut records, |records| {
        records.catch_up()?;
        put(records, "undone", 10)?;
        Err::<(), _>(RecordsError::BadRequest("all the same".into()))
    });
    assert!(failed.is_err());
    // Nothing is committed any more, as if the power went.
    drop(records);
    let mut records = unlocked();
    assert!(shown(&records) >= 1024, "{} entries are shown", shown(&records));
    let read = |records: &mut Records, id: &str| {
        let key = ResourceKey::new("Basic", id).unwrap();
        records.read(&operator_permit(Action::Read), &key).is_ok()
    };
    assert!(read(&mut records, "b1299") && !read(&mut records, "undone"));
}

#[test]
fn whoever_calls_while_little_is_left_to_show_waits_for_little() {
    let (_dir, unlocked) = without_index(300);
    let mut records = unlocked();
    guarded(&mut records, Records::project_slice).unwrap();
    assert!((1..=32).contains(&shown(&records)), "{} entries are shown", shown(&records));
    guarded(&mut records, Records::catch_up).unwrap();
    assert!(!records.has_backlog().unwrap());
}

#[test]
fn a_panic_is_undone_with_its_batch_and_the_node_stays_open() {
    let clinic = Clinic::new();
    clinic.put("before").recv().unwrap().unwrap();
    let before = clinic.frontier();
    let (go, held) = clinic.hold(|_| {});
    let first = clinic.put("first");
    let bad = clinic.queue(|records| -> Result<(), RecordsError> {
        put(records, "half", 10)?;
        panic!("a defect, for the test");
    });
    let last = clinic.put("last");
    drop(go);
    assert!(is_not_committed(&held) && is_not_committed(&first) && is_not_committed(&last));
    assert!(bad.recv().unwrap().is_err());
    assert_eq!(clinic.frontier(), before);
    clinic.put("last").recv().unwrap().unwrap();
    assert!(clinic.has("before") && !clinic.has("first") && !clinic.has("half"));
    clinic.is_sound();
    let clinic = clinic.restarted();
    assert!(clinic.has("last") && !clinic.has("first") && !clinic.has("half"));
    clinic.is_sound();
}

#[test]
fn a_new_life_that_begins_in_a_batch_outlasts_the_failure_of_the_batch() {
    let clinic = Clinic::new();
    let (go, held) = clinic.hold(|records| records.ledger.let_fail(true, None));
    let old = clinic.put("old");
    let begun = clinic.queue(Records::begin_incarnation);
    let new = clinic.put("new");
    drop(go);
    assert!([&held, &old, &begun, &new].into_iter().all(is_not_committed));
    let (go, _held) = clinic.hold(|_| {});
    let answers = [clinic.put("a"), clinic.put("b")];
    let begun = clinic.queue(Records::begin_incarnation);
    let after = clinic.put("c");
    drop(go);
    answers.iter().chain([&begun, &after]).for_each(|answer| answer.recv().unwrap().unwrap());
    let clinic = clinic.restarted();
    assert!(["a", "b", "c"].iter().all(|id| clinic.has(id)));
    assert!(!clinic.has("old") && !clinic.has("new"));
    clinic.is_sound();
}

#[test]
fn who_was_admitted_in_a_batch_that_failed_is_not_a_member_and_may_ask_again() {
    let clinic = Clinic::new();
    let terms = Invite {
        site: "Sédhiou".into(),
        role: Role::Clinic,
        capabilities: Capabilities { admit: false, restricted: true, audit: true },
        addresses: Vec::new(),
        valid_ms: 3_600_000,
        practice: None,
    };
    let administer = operator_permit(Action::Administer);
    let invitation = clinic.call(move |records| records.invite(&administer, terms)).unwrap();
    let home = clinic.dir.path().join("other");
    let method = UnlockMethod::KeyFile(clinic.dir.path().join("other.key"));
    let applicant = Applicant::begin(&home, Environment::system(), &method).unwrap();
    let request = applicant.request(&invitation, &[7; 32]);
    let ask = |clinic: &Clinic, request| {
        clinic.queue(move |records| records.answer_join(&request, &[7; 32]))
    };
    let (go, _held) = clinic.hold(|records| records.ledger.let_fail(true, None));
    let refused = ask(&clinic, request.clone());
    drop(go);
    assert!(is_not_committed(&refused));
    assert_eq!(clinic.call(|records| Ok(records.nodes().len())).unwrap(), 1);
    let failed = clinic.queue({
        let request = request.clone();
        move |records| {
            records.answer_join(&request, &[7; 32])?;
            Err::<(), _>(RecordsError::BadRequest("no".into()))
        }
    });
    assert!(failed.recv().unwrap().is_err());
    assert_eq!(clinic.call(|records| Ok(records.nodes().len())).unwrap(), 1);
    let answer = ask(&clinic, request).recv().unwrap().unwrap();
    let JoinAnswer::Admitted(admission) = answer else { panic!("refused: {answer:?}") };
    applicant.admitted(&invitation, *admission).unwrap();
    let clinic = clinic.restarted();
    assert_eq!(clinic.call(|records| Ok(records.nodes().len())).unwrap(), 2);
    clinic.is_sound();
}

#[test]
fn what_a_call_committed_midway_is_told_at_its_end_also_when_that_fails() {
    let clinic = Clinic::new();
    let mut advances = clinic.handle.advances();
    let midway = clinic.queue(|records| {
        put(records, "kept", 10)?;
        records.commit()?;
        put(records, "lost", 10)?;
        records.ledger.let_fail(true, None);
        Ok(())
    });
    assert!(is_not_committed(&midway));
    assert!(clinic.has("kept") && !clinic.has("lost"));
    clinic.put("next").recv().unwrap().unwrap();
    let sequences = |told: Advance| told[0].1[0].sequence;
    // An opening, "kept", and, after it was undone, "next" in the place of "lost".
    assert_eq!(sequences(advances.try_recv().unwrap()), 2);
    assert_eq!(sequences(advances.try_recv().unwrap()), 3);
    clinic.is_sound();
}

#[test]
fn what_is_written_where_the_own_log_forked_is_under_one_author() {
    let clinic = Clinic::new();
    let fork = |records: &mut Records| {
        put(records, "before", 10)?;
        let mut other = Vec::new();
        let undone = records.atomically(|records| {
            put(records, "elsewhere", 10)?;
            let author = records.author();
            let log = LogId { channel: Channel::Clinical, author };
            let head = records.frontier().heads(&log)[0];
            other = records.load(&log, &[], head, 1 << 20)?;
            Err::<(), _>(RecordsError::BadRequest("undone".into()))
        });
        assert!(undone.is_err());
        put(records, "here", 10)?;
        for run in other {
            // As if a copy of this directory had written it.
            records.ledger.append(&run.verify(records.practice()).unwrap())?;
        }
        put(records, "after", 10)
    };
    clinic.call(fork).unwrap();
    let clinic = clinic.restarted();
    assert!(["before", "elsewhere", "here", "after"].iter().all(|id| clinic.has(id)));
    clinic.is_sound();
}

/// Batches drawn from a seed, in which calls fail, panic, and commits and disks fail: the answers
/// alone tell what is there, also after each restart.
#[test]
fn whatever_fails_the_answers_are_true() {
    let (chance, _) = Environment::seeded(7, 0);
    let mut clinic = Clinic::new();
    let (mut there, mut undone) = (BTreeSet::new(), BTreeSet::new());
    for batch in 0..60_u32 {
        let [fault, calls, at, restart] = chance.random::<4>();
        let (go, _held) = clinic.hold(move |records| match fault % 6 {
            0 => records.ledger.let_fail(true, None),
            1 => records.charts.as_ref().unwrap().index.let_fail(true, None),
            2 => records.ledger.let_fail(false, Some(20)),
            3 => records.charts.as_ref().unwrap().index.let_fail(false, Some(20)),
            _ => {}
        });
        let calls = u32::from(calls % 5) + 1;
        let answers: Vec<_> = (0..calls)
            .map(|call| {
                let id = format!("b{batch}-{call}");
                let large = if call == u32::from(at % 5) { 60_000 } else { 10 };
                let does = chance.random::<1>()[0] % 12;
                let name = id.clone();
                let answer = clinic.queue(move |records| {
                    put(records, &name, large)?;
                    match does {
                        0 => Err(RecordsError::BadRequest("no".into())),
                        1 => panic!("a defect, for the test"),
                        2 => records.begin_incarnation(),
                        3 => records.commit().map(drop),
                        _ => Ok(()),
                    }
                });
                (id, does, answer)
            })
            .collect();
        drop(go);
        // What was durable midway stays, and all before it, whatever its callers are told.
        let midway = answers.iter().any(|(_, does, _)| *does == 3);
        for (id, _, answer) in answers {
            match answer.recv().unwrap() {
                Ok(()) => drop(there.insert(id)),
                Err(_) if !midway => drop(undone.insert(id)),
                Err(_) => {}
            }
        }
        clinic
            .call(|records| {
                records.ledger.let_fail(false, None);
                records.charts.as_ref().unwrap().index.let_fail(false, None);
                Ok(())
            })
            .unwrap();
        if restart % 4 == 0 {
            clinic = clinic.restarted();
        }
    }
    clinic = clinic.restarted();
    assert!(there.len() > 60, "most calls went well: {}", there.len());
    for id in &there {
        assert!(clinic.has(id), "{id} was acknowledged");
    }
    for id in &undone {
        assert!(!clinic.has(id), "{id} was said to have failed");
    }
    clinic.is_sound();
}
