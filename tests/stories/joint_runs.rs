//! Between nodes that read the same charts, changes travel compressed together.

use carnet_node::access::Action;
use carnet_node::base::environment::Environment;
use carnet_node::records::Records;
use carnet_node::sample::{Generator, Size};
use carnet_sync_protocol::certificate::{RevocationKind, Role};
use carnet_sync_protocol::entry::Run;
use carnet_sync_protocol::id::{Channel, NodeId, TransportKey};
use carnet_sync_protocol::joint::{JOINT, JointRun};
use carnet_tests::{Node, found, join, join_as, permit, sync};
use serde_json::json;

/// Everything that a node holds, as it would be sent.
fn runs(records: &Records) -> Vec<Run> {
    let mut runs = Vec::new();
    for (log, heads) in &records.frontier().0 {
        for head in heads {
            runs.extend(records.load(log, &[], *head, 1 << 20).unwrap());
        }
    }
    runs
}

/// A practice of two with some invented charts.
fn two_nodes() -> (Node, Node) {
    let (mut a, _) = found("Ziguinchor");
    let mut generator = Generator::new(9, 1_700_000_000_000);
    let patients =
        (0..6).map(|n| (n.to_string(), generator.patient(Size::Standard).to_string().into()));
    assert_eq!(a.import(patients.collect()).failed, 0);
    a.put(json!({"resourceType": "Observation", "id": "hidden", "status": "final",
        "meta": {"security": [{"code": "R",
            "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"}]},
        "subject": {"reference": "Patient/p"}, "code": {"text": "HIV"}}));
    for n in 0..150 {
        a.put(json!({"resourceType": "Observation", "id": format!("o{n}"), "status": "final",
            "subject": {"reference": format!("Patient/{}", n % 30)},
            "effectiveDateTime": format!("2026-03-{:02}T09:{:02}:00Z", n % 28 + 1, n % 60),
            "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
            "valueQuantity": {"value": 50 + n, "unit": "kg"}}));
    }
    a.records.commit().unwrap();
    let mut b = join(&mut a, "Sédhiou");
    sync(&mut a, &mut b);
    (a, b)
}

const PEER: TransportKey = TransportKey([7; 32]);

#[test]
fn a_joint_run_becomes_the_run_that_was_signed_bit_for_bit_and_is_much_shorter() {
    let (a, mut b) = two_nodes();
    let (mut entries, mut sealed, mut joint) = (0, 0, 0);
    let mut apart = Vec::new();
    for run in runs(&a.records) {
        let Some(short) = a.records.joint(&run, &b.id()) else {
            apart.push(run.log.channel);
            continue;
        };
        let bytes = short.to_bytes();
        entries += run.items.len();
        sealed += run.to_bytes().len();
        joint += bytes.len();
        let short = JointRun::from_bytes(&bytes).unwrap();
        assert_eq!(b.records.open_joint(&PEER, &short).unwrap(), Some(run));
    }
    apart.dedup();
    assert_eq!(apart, [Channel::Control, Channel::Restricted]);
    assert!(entries > 300 && joint * 2 < sealed, "{entries} entries: {joint} of {sealed} bytes");
    println!("{entries} entries: {joint} of {sealed} bytes");
}

#[test]
fn beside_the_records_the_same_runs_are_opened_until_the_node_is_locked() {
    let (a, mut b) = two_nodes();
    let opener = b.records.opener();
    let (mut opened, mut last) = (0, None);
    for run in runs(&a.records) {
        let Some(short) = a.records.joint(&run, &b.id()) else { continue };
        match opener.open(&short) {
            Some(made) => {
                assert_eq!(made, run);
                opened += 1;
                last = Some(short);
            }
            // It builds on what only the index knows.
            None => assert_eq!(b.records.open_joint(&PEER, &short).unwrap(), Some(run)),
        }
    }
    assert!(opened > 1, "{opened}");
    let last = last.unwrap();
    assert!(opener.open(&last).is_some());
    b.records.lock().unwrap();
    assert_eq!(opener.open(&last), None);
}

#[test]
fn a_joint_run_that_leads_elsewhere_is_refused_and_no_other_is_taken_of_that_peer() {
    let (a, mut b) = two_nodes();
    let run = runs(&a.records).into_iter().find(|run| run.log.channel == Channel::Clinical);
    let run = run.unwrap();
    let sound = a.records.joint(&run, &b.id()).unwrap();
    let other = TransportKey([8; 32]);
    assert!(b.records.codecs(&PEER).contains(&JOINT));
    type Change = fn(&mut JointRun);
    let changes: [Change; 6] = [
        |joint| joint.block.truncate(joint.block.len() / 2),
        |joint| joint.block.clear(),
        |joint| joint.first_sequence = u64::MAX,
        |joint| joint.signature.0[0] ^= 1,
        |joint| joint.previous.0[0] ^= 1,
        |joint| joint.log.author.incarnation.0[0] ^= 1,
    ];
    for change in changes {
        let mut altered = sound.clone();
        change(&mut altered);
        assert_eq!(b.records.opener().open(&altered), None);
        assert_eq!(b.records.open_joint(&PEER, &altered).unwrap(), None);
    }
    assert!(!b.records.codecs(&PEER).contains(&JOINT));
    assert!(b.records.codecs(&other).contains(&JOINT));
}

#[test]
fn a_relay_or_a_node_that_was_cut_off_gets_none_whatever_it_says_of_itself() {
    let (mut a, b) = two_nodes();
    let relay = join_as(&mut a, "Harbour", Role::Relay);
    let run = runs(&a.records).into_iter().find(|run| run.log.channel == Channel::Critical);
    let run = run.unwrap();
    assert!(a.records.joint(&run, &b.id()).is_some());
    assert_eq!(a.records.joint(&run, &relay.id()), None);
    assert_eq!(a.records.joint(&run, &NodeId([9; 32])), None, "whom nobody knows");
    let administer = permit(Action::Administer);
    a.records.set_standing(&administer, &b.id(), RevocationKind::Suspend, None).unwrap();
    assert_eq!(a.records.joint(&run, &b.id()), None);
}

#[test]
fn a_locked_node_neither_makes_joint_runs_nor_takes_them() {
    let (mut a, mut b) = two_nodes();
    let run = runs(&a.records).into_iter().find(|run| run.log.channel == Channel::Critical);
    let run = run.unwrap();
    let joint = a.records.joint(&run, &b.id()).unwrap();
    a.records.lock().unwrap();
    b.records.lock().unwrap();
    assert_eq!(a.records.joint(&run, &b.id()), None);
    assert!(!b.records.codecs(&PEER).contains(&JOINT));
    assert_eq!(b.records.open_joint(&PEER, &joint).unwrap(), None);
    b.unlock();
    assert!(b.records.codecs(&PEER).contains(&JOINT));
    assert_eq!(b.records.open_joint(&PEER, &joint).unwrap(), Some(run));
}

#[test]
fn what_a_peer_holds_is_not_named_to_it_again() {
    let (mut a, mut b) = two_nodes();
    // One that has joined since, and has nothing yet.
    let mut newcomer = join(&mut a, "Bignona");
    sync(&mut a, &mut b);
    let told = a.records.frontier().clone();
    for n in 0..30 {
        a.put(json!({"resourceType": "Observation", "id": format!("o{n}"), "status": "amended",
            "subject": {"reference": format!("Patient/{n}")}, "code": {"text": "Weight"},
            "valueQuantity": {"value": 40 + n, "unit": "kg"}}));
    }
    a.records.commit().unwrap();
    let (log, heads) = a
        .records
        .frontier()
        .0
        .iter()
        .find(|(log, _)| log.channel == Channel::Clinical && log.author.node == a.id())
        .map(|(log, heads)| (*log, heads.clone()))
        .unwrap();
    let runs = a.records.load(&log, told.heads(&log), heads[0], 1 << 20).unwrap();
    assert_eq!(runs.iter().map(|run| run.items.len()).sum::<usize>(), 30);
    let joint = |a: &Node, reader: &Node| -> Vec<JointRun> {
        runs.iter().map(|run| a.records.joint(run, &reader.id()).unwrap()).collect()
    };
    let bytes = |runs: &[JointRun]| runs.iter().map(|run| run.to_bytes().len()).sum::<usize>();
    // What stands before them in their log goes there before them; the rest must be known to be
    // there.
    a.records.note_peer_frontier(&b.id(), &told).unwrap();
    let (to_b, to_newcomer) = (joint(&a, &b), joint(&a, &newcomer));
    assert!(bytes(&to_b) < 30 * 120, "{} bytes", bytes(&to_b));
    for (run, joint) in runs.iter().zip(&to_b) {
        assert_eq!(b.records.open_joint(&PEER, joint).unwrap().as_ref(), Some(run));
    }
    // Who lacks what it is believed to hold refuses, tries once more in the next session, and then
    // asks for runs as they are.
    for tries in [true, false] {
        assert!(newcomer.records.codecs(&PEER).contains(&JOINT));
        assert_eq!(newcomer.records.open_joint(&PEER, &to_newcomer[0]).unwrap(), None);
        assert_eq!(newcomer.records.codecs(&PEER).contains(&JOINT), tries);
    }
    sync(&mut a, &mut newcomer);
    for (run, joint) in runs.iter().zip(&to_newcomer) {
        assert_eq!(newcomer.records.open_joint(&PEER, joint).unwrap().as_ref(), Some(run));
    }
}

#[test]
fn a_large_change_travels_as_it_was_sealed() {
    let (mut a, b) = two_nodes();
    let before = a.records.frontier().clone();
    let (chance, _) = Environment::seeded(3, 0);
    let image: String = (0..2000).map(|_| chance.uuid()).collect();
    a.put(json!({"resourceType": "Media", "id": "image", "status": "completed",
        "subject": {"reference": "Patient/1"}, "content": {"data": image}}));
    a.put(json!({"resourceType": "Observation", "id": "after", "status": "final",
        "subject": {"reference": "Patient/1"}, "code": {"text": "Seen"}}));
    a.records.commit().unwrap();
    let mut travel = Vec::new();
    for (log, heads) in &a.records.frontier().0 {
        let held = before.heads(log);
        for run in a.records.load(log, held, heads[0], 1 << 20).unwrap() {
            let size = run.items.iter().map(|item| item.payload.len()).max().unwrap();
            travel.push((size > 32 << 10, a.records.joint(&run, &b.id()).is_some()));
        }
    }
    assert!(travel.contains(&(true, false)), "{travel:?}");
    assert!(travel.contains(&(false, true)) && !travel.contains(&(true, true)), "{travel:?}");
}
