//! Changes that nobody honest wrote.

#![cfg(test)]

use super::*;
use crate::chart::change::RawChange;
use automerge::ScalarValue;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// A chunk whose checksum fits its altered data.
fn resealed(mut chunk: Vec<u8>) -> Vec<u8> {
    let hash: [u8; 32] = Sha256::digest(&chunk[8..]).into();
    chunk[4..8].copy_from_slice(&hash[..4]);
    chunk
}

fn refusal(document: &mut Document, change: &[u8], author: u8) -> Option<Refusal> {
    match document.apply(change, prefix(author)) {
        Err(ChartError::Refused(refusal)) => Some(refusal),
        _ => None,
    }
}

#[test]
fn altered_changes_neither_panic_nor_leave_a_trace() {
    let mut chance = ChaCha20Rng::seed_from_u64(7);
    let mut author = Document::new(actor(1));
    let first = author.write(
        1,
        &[
            put(order()),
            put(json!({"resourceType":"Patient","id":"p","active":true,"name":[{"family":"x"}]})),
        ],
    );
    let first = first.unwrap().unwrap().bytes;
    let second = author.write(
        2,
        &[
            set("MedicationRequest/m", "status", json!("stopped")),
            set("Patient/p", "active", json!(false)),
        ],
    );
    let second = second.unwrap().unwrap().bytes;
    let mut base = Document::new(actor(2));
    base.apply(&first, prefix(1)).unwrap();
    let saved = base.save();
    let before = base.digest();
    let (mut refused, mut taken) = (0, 0);
    for round in 0..6000 {
        let original = if round % 2 == 0 { &first } else { &second };
        let mut altered = original.clone();
        for _ in 0..=chance.next_u32() % 3 {
            let at = 9 + chance.next_u32() as usize % (altered.len() - 9);
            match chance.next_u32() % 4 {
                0 => altered[at] ^= 1 << (chance.next_u32() % 8),
                1 => altered[at] = chance.next_u32() as u8,
                2 => drop(altered.remove(at)),
                _ => altered.insert(at, chance.next_u32() as u8),
            }
        }
        let altered = resealed(altered);
        let mut document = if round % 2 == 0 {
            Document::new(actor(2))
        } else {
            Document::load(&saved, actor(2)).unwrap()
        };
        let start = document.digest();
        match document.apply(&altered, prefix(1)) {
            // What passes is a change that an author could have written so: another value, time.
            Ok(_) => {
                taken += 1;
                for resource in document.keys() {
                    assert!(document.view(&resource).is_some());
                    document.history(&resource);
                }
                let again = document.save();
                assert_eq!(Document::load(&again, actor(2)).unwrap().digest(), document.digest());
            }
            Err(_) => {
                refused += 1;
                assert_eq!(document.digest(), start);
                document.write(3, &[put(json!({"resourceType":"Basic","id":"after"}))]).unwrap();
            }
        }
    }
    println!("{refused} refused, {taken} taken as other statements");
    assert!(refused > 3000);
    assert_eq!(base.digest(), before);
}

#[test]
fn another_authors_actor_is_refused() {
    let mut author = Document::new(actor(1));
    let change = author.write(1, &[put(order())]).unwrap().unwrap().bytes;
    let mut document = Document::new(actor(2));
    assert_eq!(refusal(&mut document, &change, 3), Some(Refusal::Actor));
    assert!(document.is_empty());
    assert!(document.apply(&change, prefix(1)).is_ok());
    assert!(document.apply(&change, prefix(1)).unwrap().known);
}

#[test]
fn a_sequence_used_twice_and_a_skipped_one_are_refused() {
    let mut author = Document::new(actor(1));
    let first = author.write(1, &[put(order())]).unwrap().unwrap().bytes;
    let mut clone = Document::load(&author.save(), actor(1)).unwrap();
    let next =
        author.write(2, &[set("MedicationRequest/m", "status", json!("a"))]).unwrap().unwrap();
    let twin =
        clone.write(2, &[set("MedicationRequest/m", "status", json!("b"))]).unwrap().unwrap();
    let mut document = Document::new(actor(2));
    let missing = document.apply(&next.bytes, prefix(1));
    assert!(matches!(missing, Err(ChartError::MissingDependencies(hashes)) if hashes.len() == 1));
    document.apply(&first, prefix(1)).unwrap();
    document.apply(&next.bytes, prefix(1)).unwrap();
    assert_eq!(refusal(&mut document, &twin.bytes, 1), Some(Refusal::Sequence));
}

/// The same change with one byte of its head exchanged: sequence or first operation.
#[test]
fn a_jumped_sequence_or_start_is_refused() {
    let mut author = Document::new(actor(1));
    let change =
        author.write(1, &[put(json!({"resourceType":"Basic","id":"b"}))]).unwrap().unwrap().bytes;
    let raw = RawChange::read(&change).unwrap();
    assert_eq!((raw.sequence, raw.start), (1, 1));
    let actor_at = change.windows(16).position(|window| window == actor(1)).unwrap();
    let (sequence_at, start_at) = (actor_at + 16, actor_at + 17);
    for (at, expected) in [(sequence_at, Refusal::Sequence), (start_at, Refusal::Numbering)] {
        let mut altered = change.clone();
        altered[at] = 9;
        assert_eq!(refusal(&mut Document::new(actor(2)), &resealed(altered), 1), Some(expected));
    }
}

#[test]
fn overwriting_what_was_not_seen_is_refused() {
    use automerge::transaction::Transactable;
    let mut honest = Document::new(actor(1));
    let first = honest.write(1, &[put(json!({"resourceType":"Patient","id":"p","active":true}))]);
    let first = first.unwrap().unwrap().bytes;
    // Numbered as if it had seen nothing, and so blind to the value that it claims to follow.
    let mut blind = Automerge::new().with_actor(ActorId::from(actor(3)));
    let mut transaction = blind.transaction();
    transaction.put(ROOT, "Patient/p/active", false).unwrap();
    let (hash, _) = transaction.commit();
    let change = blind.get_change_by_hash(&hash.unwrap()).unwrap();
    let mut expanded = change.decode();
    expanded.deps = vec![automerge::ChangeHash(honest.heads()[0].0)];
    expanded.start_op = 2.try_into().unwrap();
    let forged = Change::from(expanded).raw_bytes().to_vec();
    let mut document = Document::new(actor(2));
    document.apply(&first, prefix(1)).unwrap();
    assert_eq!(refusal(&mut document, &forged, 3), Some(Refusal::Overwrites));
    assert_eq!(document.digest(), honest.digest());
}

#[test]
fn registers_that_no_node_writes_are_refused() {
    use automerge::transaction::Transactable;
    for (name, value) in [
        ("Patient/p/name/given", ScalarValue::from("x")),
        ("Patient/p", ScalarValue::from("x")),
        ("Nonsense/p/name", ScalarValue::from("x")),
        ("Patient/p/_birthDate", ScalarValue::from("x")),
        ("Patient/p/deceased", ScalarValue::from(true)),
        ("Patient/p/name", ScalarValue::Bytes(b"{\"a\": 1}".to_vec())),
        ("Patient/p/name", ScalarValue::Bytes(vec![0xff])),
        ("Patient/p/_deleted", ScalarValue::from("yes")),
        ("Patient/p/_resolved/0123456789abcdef", ScalarValue::Bytes(b"{}".to_vec())),
        ("Patient/p/_resolved/x", ScalarValue::Bytes(b"{}".to_vec())),
        ("Observation/o/status", ScalarValue::from("final")),
        ("", ScalarValue::from("x")),
    ] {
        let mut peer = Automerge::new().with_actor(ActorId::from(actor(3)));
        let mut transaction = peer.transaction();
        transaction.put(ROOT, name, value).unwrap();
        let (hash, _) = transaction.commit();
        let change = peer.get_change_by_hash(&hash.unwrap()).unwrap();
        let refused = refusal(&mut Document::new(actor(2)), change.raw_bytes(), 3);
        assert_eq!(refused, Some(Refusal::Register), "{name}");
    }
}

#[test]
fn a_bomb_costs_its_own_size_only() {
    let mut author = Document::new(actor(1));
    let change =
        author.write(1, &[put(json!({"resourceType":"Basic","id":"b"}))]).unwrap().unwrap().bytes;
    // The first count after magic, checksum, kind and length is that of the dependencies.
    for claim in [0xff_ffff_u32, 0x0fff_ffff] {
        let mut data = Vec::new();
        let mut rest = claim;
        while rest > 0x7f {
            data.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        data.push(rest as u8);
        let mut bomb = change[..9].to_vec();
        bomb.push(data.len() as u8);
        bomb.extend(data);
        let refused = refusal(&mut Document::new(actor(2)), &resealed(bomb), 1);
        assert_eq!(refused, Some(Refusal::Malformed));
    }
    let huge = vec![0_u8; (4 << 20) + 1];
    assert_eq!(refusal(&mut Document::new(actor(2)), &huge, 1), Some(Refusal::TooLarge));
}
