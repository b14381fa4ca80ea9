//! After a power cut the node restarts by itself, locked: it works for its peers, and for nobody else.

use carnet_node::access::Action;
use carnet_node::chart::Resource;
use carnet_node::records::RecordsError;
use carnet_sync_protocol::certificate::Role;
use carnet_sync_protocol::id::Channel;
use carnet_tests::{found, join, join_as, permit, sync};
use serde_json::json;

#[test]
fn a_locked_node_receives_and_forwards_and_shows_everything_once_unlocked() {
    let (mut a, _) = found("Ziguinchor");
    let mut b = join(&mut a, "Sédhiou");
    let mut c = join(&mut a, "Kolda");
    sync(&mut a, &mut b);
    sync(&mut a, &mut c);
    let mut b = b.reopened_locked(|_| {});
    let key = a.put(json!({"resourceType": "Patient", "id": "awa", "birthDate": "1987-03-02"}));

    sync(&mut a, &mut b);
    sync(&mut b, &mut c);
    assert_eq!(c.show(&key)["birthDate"], "1987-03-02");
    assert!(b.records.status().unwrap().locked);
    let refused = b.records.read(&permit(Action::Read), &key);
    assert!(matches!(refused, Err(RecordsError::Locked)), "{refused:?}");
    let refused = b.records.delete(&permit(Action::Write), &key);
    assert!(matches!(refused, Err(RecordsError::Locked)), "{refused:?}");

    b.unlock();
    assert_eq!(b.show(&key)["birthDate"], "1987-03-02");
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn a_full_disk_keeps_nobody_from_locking() {
    let (mut a, _) = found("Ziguinchor");
    let key = a.put(json!({"resourceType": "Patient", "id": "awa", "birthDate": "1987-03-02"}));
    a.records.limit_growth(Some(0)).unwrap();
    let fills = (0..10_000).any(|number| {
        let note = json!({"resourceType": "Communication", "id": format!("c{number}"),
            "status": "completed"});
        let note = Resource::from_value(note).unwrap();
        a.records.put(&permit(Action::Write), &note).and_then(|_| a.records.commit()).is_err()
    });
    assert!(fills, "the disk is full");
    assert!(a.records.lock().is_err(), "nothing can be written down of it");
    assert!(a.records.is_locked());
    let _ = a.records.commit();
    a.records.limit_growth(None).unwrap();
    a.unlock();
    assert_eq!(a.show(&key)["birthDate"], "1987-03-02");
}

#[test]
fn a_relay_forwards_what_it_cannot_read() {
    let (mut a, _) = found("Ziguinchor");
    let mut b = join(&mut a, "Sédhiou");
    let mut relay = join_as(&mut a, "Dakar", Role::Relay);
    let key = a.put(json!({"resourceType": "Patient", "id": "awa", "birthDate": "1987-03-02"}));
    sync(&mut a, &mut relay);
    sync(&mut relay, &mut b);
    assert_eq!(b.show(&key)["birthDate"], "1987-03-02");
    sync(&mut a, &mut relay);
    let status = relay.records.status().unwrap();
    assert_eq!(status.entries, a.records.status().unwrap().entries);
    assert_eq!(status.resources, Some(0));
}

#[test]
fn what_a_node_writes_as_it_is_locked_is_told_to_its_peers() {
    let (mut a, _) = found("Ziguinchor");
    a.put(json!({"resourceType": "Patient", "id": "awa"}));
    a.records.lock().unwrap();
    let news = a.records.commit().unwrap();
    let audit = news.iter().find(|(log, _)| log.channel == Channel::Audit);
    let (log, heads) = audit.expect("the trail says that it was locked");
    assert_eq!(a.records.frontier().heads(log), heads);
}
