//! Entries that come before what they build on: they wait, and nothing of them is lost meanwhile.

use carnet_node::access::Action;
use carnet_node::chart::ResourceKey;
use carnet_sync_protocol::id::NodeId;
use carnet_tests::{Node, carry, carry_of, found, join, permit, sync};
use serde_json::json;

/// Two nodes that edited one patient in turn, each after the other, and a third that knows nothing
/// of it.
fn in_turn(rounds: u32) -> (Node, Node, Node, ResourceKey) {
    let (mut a, _) = found("Ziguinchor");
    let mut b = join(&mut a, "Sédhiou");
    let mut third = join(&mut a, "Kolda");
    sync(&mut a, &mut b);
    sync(&mut a, &mut third);
    let key = a.put(json!({"resourceType": "Patient", "id": "p"}));
    let write = permit(Action::Write);
    for round in 0..rounds {
        carry(&mut a.records, &mut b.records);
        let element = |value| [("multipleBirthInteger".to_owned(), Some(json!(value)))];
        b.records.set_element(&write, &key, &element(2 * round)).unwrap();
        b.records.commit().unwrap();
        carry(&mut b.records, &mut a.records);
        a.records.set_element(&write, &key, &element(2 * round + 1)).unwrap();
        a.records.commit().unwrap();
    }
    (a, b, third, key)
}

/// Hands on what one node wrote, and looks at it.
fn hand_on(author: NodeId, from: &mut Node, to: &mut Node) {
    carry_of(author, from, to);
    to.records.catch_up().unwrap();
    to.records.commit().unwrap();
}

#[test]
fn two_logs_that_build_on_each_other_come_one_after_the_other() {
    let (mut a, b, mut third, key) = in_turn(400);
    let first = a.id();
    hand_on(first, &mut a, &mut third);
    assert_eq!(third.records.status().unwrap().waiting, Some(400));
    hand_on(b.id(), &mut a, &mut third);
    assert_eq!(third.records.status().unwrap().waiting, Some(0));
    assert_eq!(third.show(&key)["multipleBirthInteger"], 799);
    assert_eq!(third.digest(), a.digest());
}

#[test]
fn what_waited_and_was_taken_in_outlasts_a_crash() {
    let (mut a, b, mut third, key) = in_turn(2);
    let first = a.id();
    hand_on(first, &mut a, &mut third);
    // The document is saved while two entries wait.
    third.records.lock().unwrap();
    third.unlock();
    hand_on(b.id(), &mut a, &mut third);
    assert_eq!(third.show(&key)["multipleBirthInteger"], 3);
    let mut third = third.reopened(|_| {});
    third.set(&key, "gender", json!("female"));
    assert_eq!(third.show(&key)["multipleBirthInteger"], 3);
    sync(&mut a, &mut third);
    assert_eq!(third.digest(), a.digest());
}
