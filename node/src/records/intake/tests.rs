//! Entries that no honest node writes: what is shown does not depend on what came first.

#![cfg(test)]

use super::*;
use crate::access::{Action, operator_permit};
use crate::base::environment::Environment;
use crate::chart::{Resource, ResourceKey};
use crate::records::author::Content;
use crate::records::joining::Applicant;
use crate::records::membership::Invite;
use crate::records::{Founded, Init};
use crate::vault::UnlockMethod;
use carnet_sync_protocol::certificate::{Capabilities, Role};
use carnet_sync_protocol::id::Channel;
use carnet_sync_protocol::message::JoinAnswer;
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
    let inviter = &mut inviter.records;
    let invitation = inviter.invite(&operator_permit(Action::Administer), invite).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let environment = Environment::seeded(seed, 1_800_000_000_000).0;
    let unlock = UnlockMethod::KeyFile(dir.path().join("key"));
    let applicant = Applicant::begin(&dir.path().join("node"), environment, &unlock).unwrap();
    let request = applicant.request(&invitation, &[7; 32]);
    let answer = inviter.answer_join(&request, &[7; 32]).unwrap();
    inviter.commit().unwrap();
    let JoinAnswer::Admitted(admission) = answer else { panic!("refused: {answer:?}") };
    Node { records: applicant.admitted(&invitation, *admission).unwrap(), _dir: dir }
}

/// Carries one channel from a node to another.
fn carry(from: &Node, to: &mut Node, channel: Channel) {
    let frontier = from.records.frontier().clone();
    for (log, heads) in frontier.channel(channel) {
        for head in heads {
            let runs = from.records.load(log, &[], *head, usize::MAX >> 1).unwrap();
            let verified = runs.into_iter().map(|run| run.verify(from.records.practice()).unwrap());
            to.records.receive(&verified.collect::<Vec<_>>()).unwrap();
        }
    }
    to.records.commit().unwrap();
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
