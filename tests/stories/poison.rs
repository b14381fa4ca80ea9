//! Changes that are meant to harm, from a node with a valid certificate: whatever stands in them,
//! they are set aside, everywhere alike, and nobody else is the worse for it.

use carnet_node::access::Action;
use carnet_node::access::statement::Ruling;
use carnet_node::chart::{Edit, ResourceKey};
use carnet_simulations::chunk::Chunk;
use carnet_simulations::forger::{Content, Forger};
use carnet_simulations::poison::poisons;
use carnet_sync_protocol::id::EntryId;
use carnet_tests::{Node, found, join, permit, sync};
use serde_json::{Value, json};

/// How long one of these may keep a node busy; unoptimised, beside other tests.
const BUSY_MAX_MS: u64 = 20_000;

fn patient(id: &str) -> Value {
    json!({"resourceType": "Patient", "id": id, "birthDate": "1987-03-02"})
}

/// A sound change of the rogue's own, to be altered.
fn sound(rogue: &Node, forger: &Forger, key: &ResourceKey, suffix: u8) -> Chunk {
    let mut aim = forger.find(&rogue.records, key, [suffix; 8]).unwrap().unwrap();
    let value = Some(format!("l{suffix}").into());
    let edit = Edit::Set { key: key.clone(), element: "language".into(), value };
    let written = aim.document.write(1_800_000_000_000, &[edit]).unwrap().unwrap();
    Chunk::read(&written.bytes).unwrap()
}

fn reason_of(node: &mut Node, entry: &EntryId) -> Option<String> {
    let list = node.records.quarantine_list(&permit(Action::Review)).unwrap();
    let found = list.entries.into_iter().find(|set_aside| set_aside.entry == entry.to_string());
    found.map(|set_aside| set_aside.reason)
}

#[test]
fn every_poison_of_a_signed_peer_is_set_aside_and_nothing_else_changes() {
    let (mut a, _) = found("Ziguinchor");
    let mut rogue = join(&mut a, "Sédhiou");
    let mut c = join(&mut a, "Kolda");
    let (p, q) = (a.put(patient("p")), a.put(patient("q")));
    sync(&mut a, &mut rogue);
    rogue.put(patient("mine"));
    sync(&mut a, &mut rogue);
    sync(&mut a, &mut c);
    let mut forger = Forger::new(&rogue.records, rogue.unlocked()).unwrap();
    let id = forger.find(&rogue.records, &p, [1; 8]).unwrap().unwrap();
    let (channel, document) = (id.channel, id.id);
    let other = forger.changes(&rogue.records, &document).unwrap().remove(0).1;
    let other = Chunk::read(&other).unwrap();

    let mut entries = Vec::new();
    let chunk = sound(&rogue, &forger, &p, 2);
    for (name, poison) in poisons(&chunk, &other) {
        let begun = a.records.environment().monotonic_ms();
        let content = Content::Change(&poison);
        let run = forger.entry(channel, document, content).expect(name);
        let entry = run.head().id;
        assert_eq!(a.records.receive(&[run]).expect(name).new, 1, "{name} is kept");
        a.records.commit().expect(name);
        let reason = reason_of(&mut a, &entry);
        assert!(reason.is_some(), "{name} was not set aside");
        let took_ms = a.records.environment().monotonic_ms() - begun;
        assert!(took_ms < BUSY_MAX_MS, "{name} took {took_ms} ms");
        assert_eq!(a.show(&p)["birthDate"], "1987-03-02", "{name}");
        assert_eq!(a.show(&p).get("language"), None, "{name}");
        entries.push((name, entry));
    }
    sync(&mut a, &mut c);
    c.records.catch_up().unwrap();
    assert_eq!(c.records.status().unwrap().quarantined, Some(entries.len() as u64));
    // By the end: of several that claim one place, one is refused for what it is, and the others
    // for that.
    for (name, entry) in &entries {
        let reason = reason_of(&mut c, entry);
        assert!(reason.is_some(), "{name} is set aside");
        assert_eq!(reason, reason_of(&mut a, entry), "{name}: the same everywhere");
    }
    // The document, its neighbour and every peer go on; so does what the same node wrote soundly,
    // in a place that none of these claims.
    a.set(&p, "gender", json!("female"));
    c.set(&q, "gender", json!("male"));
    let later = sound(&rogue, &forger, &p, 3).to_bytes();
    let run = forger.entry(channel, document, Content::Change(&later)).unwrap();
    c.records.receive(&[run]).unwrap();
    c.records.commit().unwrap();
    sync(&mut a, &mut c);
    for node in [&mut a, &mut c] {
        let shown = node.show(&p);
        assert_eq!((&shown["language"], &shown["gender"]), (&json!("l3"), &json!("female")));
        assert_eq!(node.show(&q)["gender"], "male");
    }
    for (_, entry) in &entries {
        a.records.rule(&permit(Action::SignOff), &entry.to_string(), Ruling::Discard, "").unwrap();
    }
    a.records.commit().unwrap();
    sync(&mut a, &mut c);
    assert_eq!(a.digest(), c.digest());
    c = c.reopened(|home| std::fs::remove_file(home.join("index.db")).unwrap());
    assert_eq!(a.digest(), c.digest());
    assert!(c.records.status().unwrap().problems.iter().all(|problem| !problem.is_serious()));
}

#[test]
fn a_change_on_what_does_not_exist_waits_and_is_in_nobodys_way() {
    let (mut a, _) = found("Ziguinchor");
    let mut rogue = join(&mut a, "Sédhiou");
    let p = a.put(patient("p"));
    sync(&mut a, &mut rogue);
    rogue.put(patient("mine"));
    sync(&mut a, &mut rogue);
    let mut forger = Forger::new(&rogue.records, rogue.unlocked()).unwrap();
    let aim = forger.find(&rogue.records, &p, [1; 8]).unwrap().unwrap();
    let chunk = sound(&rogue, &forger, &p, 2);
    // A thousand that wait for a thousand others; two that would wait for each other can't be made,
    // since each would have to hold the other's hash.
    for number in 0..1_000_u32 {
        let mut poison = chunk.clone();
        let mut hash = [0xee; 32];
        hash[..4].copy_from_slice(&number.to_le_bytes());
        poison.dependencies.push(hash);
        poison.dependencies.sort_unstable();
        poison.actor[8..12].copy_from_slice(&number.to_le_bytes());
        let poison = poison.to_bytes();
        let content = Content::Change(&poison);
        let run = forger.entry(aim.channel, aim.id, content).unwrap();
        a.records.receive(&[run]).unwrap();
    }
    a.records.commit().unwrap();
    a.set(&p, "gender", json!("female"));
    let status = a.records.status().unwrap();
    assert_eq!((status.waiting, status.quarantined), (Some(1_000), Some(0)));
    assert_eq!(a.show(&p)["gender"], "female");
}
