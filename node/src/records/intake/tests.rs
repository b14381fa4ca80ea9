//! Entries that no honest node writes: what is shown does not depend on what came first.

#![cfg(test)]

use super::*;
use crate::access::{Action, operator_permit};
use crate::base::environment::Environment;
use crate::chart::{Edit, Resource, ResourceKey};
use crate::records::author::Content;
use crate::records::joining::Applicant;
use crate::records::membership::Invite;
use crate::records::{Founded, Init};
use crate::vault::UnlockMethod;
use carnet_sync_protocol::certificate::{Capabilities, RevocationKind, Role};
use carnet_sync_protocol::id::Channel;
use carnet_sync_protocol::message::JoinAnswer;
use carnet_sync_protocol::run::VerifiedRun;
use serde_json::json;

struct Node {
    records: Records,
    _dir: tempfile::TempDir,
}

fn found() -> Node {
    let dir = tempfile::tempdir().unwrap();
    let init = Init {
        practice: "Casamance".into(),
        site: "Ziguinchor".into(),
        unlock: UnlockMethod::KeyFile(dir.path().join("key")),
        practice_passphrase: None,
    };
    let environment = Environment::seeded(1, 1_800_000_000_000).0;
    let Founded { records, .. } =
        Records::init(&dir.path().join("node"), environment, init).unwrap();
    Node { records, _dir: dir }
}

fn join(inviter: &mut Node, seed: u64) -> Node {
    let invite = Invite {
        site: format!("Site {seed}"),
        role: Role::Clinic,
        capabilities: Capabilities::default(),
        addresses: Vec::new(),
        valid_ms: 1_000_000,
        practice: None,
    };
    let records = &mut inviter.records;
    let invitation = records.invite(&operator_permit(Action::Administer), invite).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let environment = Environment::seeded(seed, 1_800_000_000_000).0;
    let unlock = UnlockMethod::KeyFile(dir.path().join("key"));
    let applicant = Applicant::begin(&dir.path().join("node"), environment, &unlock).unwrap();
    let request = applicant.request(&invitation, &[7; 32]);
    let answer = records.answer_join(&request, &[7; 32]).unwrap();
    records.commit().unwrap();
    let JoinAnswer::Admitted(admission) = answer else { panic!("refused: {answer:?}") };
    let node = Node { records: applicant.admitted(&invitation, *admission).unwrap(), _dir: dir };
    carry(&node, inviter, Channel::Control);
    node
}

/// What a node holds of one channel: for each head of a log, the runs that lead to it.
fn runs(from: &Node, channel: Channel) -> Vec<Vec<VerifiedRun>> {
    let records = &from.records;
    let logs = records.frontier().channel(channel);
    let heads = logs.flat_map(|(log, heads)| heads.iter().map(move |head| (log, head)));
    let loaded = heads.map(|(log, head)| {
        let runs = records.load(log, &[], *head, usize::MAX >> 1).unwrap();
        runs.into_iter().map(|run| run.verify(records.practice()).unwrap()).collect()
    });
    loaded.collect()
}

/// Carries one channel from a node to another.
fn carry(from: &Node, to: &mut Node, channel: Channel) {
    for runs in runs(from, channel) {
        to.records.receive(&runs).unwrap();
    }
    to.records.commit().unwrap();
}

#[test]
fn what_a_peer_only_repeats_of_ones_own_begins_no_new_life() {
    let mut a = found();
    let mut b = join(&mut a, 2);
    carry(&a, &mut b, Channel::Control);
    let write = operator_permit(Action::Write);
    let patient = |id: &str| {
        Resource::from_value(json!({"resourceType": "Patient", "id": id, "gender": "female"}))
    };
    b.records.put(&write, &patient("p").unwrap()).unwrap();
    b.records.commit().unwrap();
    carry(&b, &mut a, Channel::Critical);
    a.records.put(&write, &patient("q").unwrap()).unwrap();
    a.records.commit().unwrap();
    let life = b.records.author();
    // In one call with what is new, as whoever stands between them may do.
    let runs: Vec<_> = runs(&a, Channel::Critical).into_iter().flatten().collect();
    assert!(runs.iter().any(|run| run.log().author == life), "its own come back");
    let received = b.records.receive(&runs).unwrap();
    assert!(received.new > 0 && received.held > 0);
    assert_eq!(b.records.author(), life);
}

#[test]
fn one_change_in_two_entries_gives_one_version_whatever_came_first() {
    let mut a = found();
    let [mut b, mut c, mut d] = [2, 3, 4].map(|seed| join(&mut a, seed));
    for node in [&mut b, &mut c, &mut d] {
        carry(&a, node, Channel::Control);
    }
    let write = operator_permit(Action::Write);
    let patient = json!({"resourceType": "Patient", "id": "p", "gender": "female"});
    b.records.put(&write, &Resource::from_value(patient).unwrap()).unwrap();
    let note =
        json!({"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/p"}});
    let clinical =
        json!({"resourceType": "Goal", "id": "g", "subject": {"reference": "Patient/p"}});
    for body in [note, clinical] {
        b.records.put(&write, &Resource::from_value(body).unwrap()).unwrap();
    }
    b.records.commit().unwrap();

    // The same change once more, in the log of another channel.
    let last = b.records.ledger.of_channel(Channel::Critical, 0, 100).unwrap().pop().unwrap();
    let header = &last.entry.header;
    let key = b.records.charts().unwrap().keys.epoch(&header.epoch).unwrap();
    let bytes = vault::open(key, header, &last.entry.payload).unwrap();
    let content = Content::Change { document: header.document, bytes: &bytes };
    b.records.append_own(Channel::Clinical, &[content]).unwrap();
    b.records.commit().unwrap();

    for (node, order) in [
        (&mut c, [Channel::Critical, Channel::Clinical]),
        (&mut d, [Channel::Clinical, Channel::Critical]),
    ] {
        for channel in order {
            carry(&b, node, channel);
            node.records.catch_up().unwrap();
        }
    }
    let version = |node: &mut Node| {
        let key = ResourceKey::new("Condition", "c").unwrap();
        node.records.read(&operator_permit(Action::Read), &key).unwrap().version
    };
    assert_eq!(version(&mut c), version(&mut d));
    b.records.catch_up().unwrap();
    assert_eq!(version(&mut b), version(&mut c));
}

/// Two changes of a patient by one actor with one number, which say one language each; the one of
/// the smaller hash first.
fn twins(node: &Node, document: &DocumentId) -> [Vec<u8>; 2] {
    let author = node.records.author();
    let mut actor = [9; 16];
    actor[..8].copy_from_slice(&actor_prefix(&author));
    let mut twins = ["fr", "wo"].map(|language| {
        let mut written = Document::new(actor);
        for held in node.records.ledger.of_document(document, 0, 1_000).unwrap() {
            let change = node.records.readable_change(&held).unwrap().unwrap();
            written.apply(&change, actor_prefix(&held.entry.header.log.author)).unwrap();
        }
        let key = ResourceKey::new("Patient", "p").unwrap();
        let edit = Edit::Set { key, element: "language".into(), value: Some(language.into()) };
        written.write(7, &[edit]).unwrap().unwrap().bytes
    });
    twins.sort_by_key(|change| inspect(change).unwrap().hash);
    twins
}

const LOGS: [Channel; 2] = [Channel::Critical, Channel::Clinical];

/// Four nodes, of which the second writes a patient and then two changes in one place, each into
/// another log; they are held by itself alone.
fn with_twins() -> ([Node; 4], [String; 2]) {
    let mut a = found();
    let [mut b, mut c, mut d] = [2, 3, 4].map(|seed| join(&mut a, seed));
    for node in [&mut b, &mut c, &mut d] {
        carry(&a, node, Channel::Control);
    }
    let write = operator_permit(Action::Write);
    for body in [
        json!({"resourceType": "Patient", "id": "p"}),
        json!({"resourceType": "Goal", "id": "g", "subject": {"reference": "Patient/p"}}),
    ] {
        b.records.put(&write, &Resource::from_value(body).unwrap()).unwrap();
    }
    b.records.commit().unwrap();
    for node in [&mut a, &mut c, &mut d] {
        for channel in [Channel::Control, Channel::Critical, Channel::Clinical] {
            carry(&b, node, channel);
        }
        node.records.catch_up().unwrap();
    }
    let first = b.records.ledger.of_channel(Channel::Critical, 0, 100).unwrap().pop().unwrap();
    let document = first.entry.header.document;
    let mut said = Vec::new();
    for (channel, change) in LOGS.into_iter().zip(twins(&b, &document)) {
        let content = Content::Change { document, bytes: &change };
        b.records.append_own(channel, &[content]).unwrap();
        said.push(if change.windows(2).any(|at| at == b"fr") { "fr" } else { "wo" });
    }
    b.records.commit().unwrap();
    ([a, b, c, d], [said[0].to_owned(), said[1].to_owned()])
}

fn set(node: &mut Node, element: &str, value: serde_json::Value) {
    let (write, key) = (operator_permit(Action::Write), ResourceKey::new("Patient", "p").unwrap());
    node.records.set_element(&write, &key, &[(element.into(), Some(value))]).unwrap();
    node.records.commit().unwrap();
}

fn patient(node: &mut Node) -> serde_json::Value {
    let key = ResourceKey::new("Patient", "p").unwrap();
    let shown = node.records.read(&operator_permit(Action::Read), &key).unwrap();
    json!([shown.resource, shown.version])
}

/// What a node shows and what it has set aside, which its ledger alone tells it too.
fn told(node: &mut Node) -> (serde_json::Value, Vec<(String, String)>, String) {
    let shown = patient(node);
    let list = node.records.quarantine_list(&operator_permit(Action::Review)).unwrap();
    let mut aside: Vec<(String, String)> =
        list.entries.into_iter().map(|one| (one.entry, one.reason)).collect();
    aside.sort();
    let report = node.records.verify(&operator_permit(Action::Operate), |_, _| {}).unwrap();
    let other = report.problems.iter().find(|problem| !problem.contains("in one place"));
    assert_eq!(other, None);
    assert_eq!(node.records.status().unwrap().waiting, Some(0));
    (shown, aside, report.state_digest)
}

#[test]
fn of_two_changes_in_one_place_the_same_counts_whatever_came_first() {
    let ([mut a, mut b, mut c, mut d], [first, _]) = with_twins();
    for (node, order) in [(&mut c, LOGS), (&mut d, [LOGS[1], LOGS[0]])] {
        for channel in order {
            carry(&b, node, channel);
            node.records.catch_up().unwrap();
        }
    }
    for channel in LOGS {
        carry(&b, &mut a, channel);
    }
    let model = told(&mut c);
    assert_eq!(model.0[0]["language"], json!(first));
    assert_eq!(model.1.len(), 1);
    for node in [&mut a, &mut b, &mut d] {
        assert_eq!(told(node), model);
    }
    // Work goes on, also where it was written.
    set(&mut b, "gender", json!("female"));
    set(&mut d, "birthDate", json!("1987-03-02"));
    for from in [&b, &d] {
        carry(from, &mut c, Channel::Critical);
    }
    let shown = patient(&mut c);
    assert_eq!(shown[0]["gender"], "female");
    assert_eq!(shown[0]["birthDate"], "1987-03-02");
}

#[test]
fn of_two_changes_in_one_place_that_counts_with_which_more_others_have_worked() {
    let ([mut a, b, mut c, mut d], [first, second]) = with_twins();
    carry(&b, &mut c, LOGS[1]);
    set(&mut c, "gender", json!("female"));
    carry(&b, &mut d, LOGS[0]);
    assert_eq!(patient(&mut d)[0]["language"], json!(first));
    for node in [&mut a, &mut d] {
        for from in [&c, &b] {
            for channel in LOGS {
                carry(from, node, channel);
                node.records.catch_up().unwrap();
            }
        }
    }
    carry(&b, &mut c, LOGS[0]);
    let model = told(&mut d);
    assert_eq!(model.0[0]["language"], json!(second));
    assert_eq!(model.0[0]["gender"], "female");
    for node in [&mut a, &mut c] {
        assert_eq!(told(node), model);
    }
}

#[test]
fn what_builds_on_the_change_that_does_not_count_is_set_aside_everywhere() {
    let ([mut a, b, mut c, mut d], [first, second]) = with_twins();
    carry(&b, &mut c, LOGS[0]);
    set(&mut c, "gender", json!("female"));
    carry(&b, &mut d, LOGS[1]);
    set(&mut d, "birthDate", json!("1987-03-02"));
    set(&mut d, "maritalStatus", json!({"text": "said twice"}));
    assert_eq!(patient(&mut d)[0]["language"], json!(second));
    for channel in LOGS {
        for from in [&c, &d, &b] {
            carry(from, &mut a, channel);
            a.records.catch_up().unwrap();
        }
        for (from, to) in [(&b, &mut c), (&b, &mut d)] {
            carry(from, to, channel);
        }
        carry(&d, &mut c, channel);
        carry(&c, &mut d, channel);
    }
    let model = told(&mut a);
    assert_eq!(model.0[0]["language"], json!(first));
    assert_eq!(model.0[0]["gender"], "female");
    assert_eq!(model.0[0].get("birthDate"), None);
    assert_eq!(model.1.len(), 3, "the change, and two that build on it");
    for node in [&mut c, &mut d] {
        assert_eq!(told(node), model);
    }
    // Who lost work goes on with what all show.
    set(&mut d, "birthDate", json!("1987-03-02"));
    carry(&d, &mut a, Channel::Critical);
    assert_eq!(patient(&mut a)[0]["birthDate"], "1987-03-02");
}

#[test]
fn of_two_changes_in_one_place_a_withheld_one_does_not_count() {
    let ([mut a, b, mut c, mut d], [_, second]) = with_twins();
    carry(&b, &mut a, LOGS[1]);
    let node = b.records.keyring.node();
    let administer = operator_permit(Action::Administer);
    a.records.set_standing(&administer, &node, RevocationKind::Suspend, None).unwrap();
    a.records.commit().unwrap();
    carry(&a, &mut c, Channel::Control);
    for (node, order) in [(&mut c, LOGS), (&mut d, [LOGS[1], LOGS[0]])] {
        for channel in order {
            carry(&b, node, channel);
            node.records.catch_up().unwrap();
        }
    }
    carry(&a, &mut d, Channel::Control);
    carry(&b, &mut a, LOGS[0]);
    let model = told(&mut a);
    assert_eq!(model.0[0]["language"], json!(second));
    assert_eq!(model.1.len(), 1);
    for node in [&mut c, &mut d] {
        assert_eq!(told(node), model);
    }
}

#[test]
fn a_conflict_that_the_index_does_not_list_is_found_by_verify() {
    let mut a = found();
    let mut b = join(&mut a, 2);
    let write = operator_permit(Action::Write);
    let patient = json!({"resourceType": "Patient", "id": "p", "gender": "female"});
    a.records.put(&write, &Resource::from_value(patient).unwrap()).unwrap();
    a.records.commit().unwrap();
    for channel in [Channel::Control, Channel::Critical, Channel::Clinical] {
        carry(&a, &mut b, channel);
    }
    b.records.catch_up().unwrap();
    set(&mut a, "birthDate", json!("1987-03-21"));
    set(&mut b, "birthDate", json!("1987-03-12"));
    carry(&b, &mut a, Channel::Critical);
    let problems = |node: &mut Node| {
        let operate = operator_permit(Action::Operate);
        let report = node.records.verify(&operate, |_, _| {}).unwrap();
        (report.conflicts, report.problems.len())
    };
    assert_eq!(problems(&mut a), (1, 0));
    let index = &mut a.records.charts_mut().unwrap().index;
    index.replace_conflicts("Patient", "p", &[]).unwrap();
    assert_eq!(problems(&mut a), (0, 1));
}

#[test]
fn who_looks_for_a_patient_does_not_wait_for_what_is_less_urgent() {
    let mut a = found();
    let mut b = join(&mut a, 2);
    let write = operator_permit(Action::Write);
    let mut put = |body: serde_json::Value| {
        a.records.put(&write, &Resource::from_value(body).unwrap()).unwrap();
    };
    put(json!({"resourceType": "Patient", "id": "p", "name": [{"family": "Diatta"}]}));
    for number in 0..600 {
        put(json!({"resourceType": "Observation", "id": format!("o{number}"),
            "status": "final", "subject": {"reference": "Patient/p"}, "code": {"text": "weight"}}));
    }
    a.records.commit().unwrap();
    for channel in [Channel::Control, Channel::Critical, Channel::Restricted, Channel::Clinical] {
        carry(&a, &mut b, channel);
    }
    let search = operator_permit(Action::Search);
    let found = b.records.search_patients(&search, "diatta", 5).unwrap();
    assert_eq!(found.len(), 1);
    assert!(b.records.has_backlog().unwrap());
    // What is read is whole.
    let key = ResourceKey::new("Observation", "o599").unwrap();
    b.records.read(&operator_permit(Action::Read), &key).unwrap();
    assert!(!b.records.has_backlog().unwrap());
}
