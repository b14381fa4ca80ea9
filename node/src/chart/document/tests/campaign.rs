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

fn note(text: &str) -> Value {
    json!({"resourceType":"Composition","id":"c","status":"preliminary",
        "text":{"div":text},"section":[{"title":"s","text":{"div":text}}]})
}

fn refusal(document: &mut Document, change: &[u8], author: u8) -> Option<Refusal> {
    match document.apply(change, prefix(author)) {
        Err(ChartError::Refused(refusal)) => Some(refusal),
        _ => None,
    }
}

#[test]
fn altered_changes_neither_panic_nor_leave_a_trace() {
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
    altered((first, second), 6000);
}

#[test]
fn altered_typing_neither_panics_nor_leaves_a_trace() {
    let mut author = Document::new(actor(1));
    let first = author.write(1, &[put(note("Cough for a week."))]).unwrap().unwrap().bytes;
    let second = author.write(2, &[put(note("Dry cough for two weeks."))]).unwrap().unwrap().bytes;
    altered((first, second), 4000);
}

/// Tries two changes, the second of which follows the first, with bytes of theirs exchanged.
fn altered((first, second): (Vec<u8>, Vec<u8>), rounds: u32) {
    let mut chance = ChaCha20Rng::seed_from_u64(7);
    let mut base = Document::new(actor(2));
    base.apply(&first, prefix(1)).unwrap();
    let saved = base.save();
    let before = base.digest();
    let (mut refused, mut taken) = (0, 0);
    for round in 0..rounds {
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
        let as_before = || match round % 2 {
            0 => Document::new(actor(2)),
            _ => Document::load(&saved, actor(2)).unwrap(),
        };
        let (mut document, mut early) = (as_before(), as_before());
        let start = document.digest();
        let mut read = Incoming::new(altered.clone());
        read.read();
        let outcome_of_read = early.apply_incoming(&mut read, prefix(1), false);
        let outcome = document.apply(&altered, prefix(1));
        assert_eq!(format!("{outcome_of_read:?}"), format!("{outcome:?}"));
        assert_eq!(early.digest(), document.digest(), "read before its turn, it does the same");
        match outcome {
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
    assert!(refused > rounds / 2);
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

/// What a peer with a program of its own makes of an honest document.
fn peers_change(
    honest: &Document,
    start: u8,
    fill: impl FnOnce(&mut automerge::transaction::Transaction<'_>),
) -> Vec<u8> {
    let mut own = actor(3);
    own[15] = start;
    let mut peer = honest.automerge.fork().with_actor(ActorId::from(own));
    let mut transaction = peer.transaction();
    fill(&mut transaction);
    let (hash, _) = transaction.commit();
    peer.get_change_by_hash(&hash.unwrap()).unwrap().raw_bytes().to_vec()
}

fn frame(names: &[&str]) -> ScalarValue {
    let sections: Vec<Value> = names.iter().map(|name| json!({"text":{"div":name}})).collect();
    let members = json!({ "section": sections });
    ScalarValue::Bytes([b"~", canonical(&members).as_bytes()].concat())
}

type Fill<'a> = &'a dyn Fn(&mut automerge::transaction::Transaction<'_>);

/// An honest note, its first change, the register of a text of it.
fn honest_note() -> (Document, Vec<u8>, String) {
    let mut honest = Document::new(actor(1));
    let first = honest.write(1, &[put(note("Cough."))]).unwrap().unwrap().bytes;
    let story = &honest.journal.stories[&key("Composition/c")];
    let mut names = story.elements.iter().map(|element| honest.journal.name(*element));
    let text = format!("Composition/c/{}", names.find(|name| name.starts_with("text/")).unwrap());
    (honest, first, text)
}

fn refused(cases: &[(Fill<'_>, Refusal)]) {
    let (honest, first, _) = honest_note();
    for (at, (fill, expected)) in cases.iter().enumerate() {
        let change = peers_change(&honest, 3, fill);
        let mut document = Document::new(actor(2));
        document.apply(&first, prefix(1)).unwrap();
        assert_eq!(refusal(&mut document, &change, 3), Some(*expected), "case {at}");
        assert_eq!(document.digest(), honest.digest());
    }
}

const SECTION: &str = "Composition/c/section";

#[test]
fn texts_where_none_belong_and_what_is_no_text_are_refused() {
    use automerge::ObjType::{List, Text};
    use automerge::transaction::Transactable;
    let (honest, _, text) = honest_note();
    let own = crate::chart::narrative::text_name(&actor(3), honest.journal.end() + 1);
    let (mine, other) = (format!("{SECTION}/{own}"), format!("{SECTION}/{:016}", 0));
    let named = format!("~{own}");
    let foreign = Refusal::Foreign;
    refused(&[
        (&|t| drop(t.put_object(ROOT, "Patient/p/name", Text)), Refusal::Register),
        (&|t| drop(t.put_object(ROOT, "Patient/p/text/x", Text)), Refusal::Register),
        (&|t| drop(t.put_object(ROOT, SECTION, Text)), Refusal::Register),
        (&|t| drop(t.put_object(ROOT, &*other, Text)), Refusal::Register),
        (
            &|t| drop(t.put_object(ROOT, &*mine, List)),
            foreign("an operation that charts don't have"),
        ),
        (&|t| drop(t.put_object(ROOT, &*mine, Text)), foreign("a text that stands nowhere")),
        (&|t| t.put(ROOT, &*text, "a string").unwrap(), Refusal::Register),
        (&|t| t.delete(ROOT, &*text).unwrap(), Refusal::Register),
        (
            &|t| t.put(ROOT, SECTION, frame(&[&named])).unwrap(),
            foreign("a text that its author could not see"),
        ),
        (&|t| t.put(ROOT, SECTION, frame(&[&named, &named])).unwrap(), Refusal::Register),
        (&|t| t.put(ROOT, SECTION, frame(&["unmarked", &named])).unwrap(), Refusal::Register),
        (&|t| t.put(ROOT, SECTION, frame(&["=no text"])).unwrap(), Refusal::Register),
        (&|t| t.put(ROOT, "Composition/c/status", "final").unwrap(), Refusal::Register),
        (
            &|t| {
                let draft = ScalarValue::Bytes(br#"{"status":"preliminary"}"#.to_vec());
                t.put(ROOT, "Composition/c", draft).unwrap();
            },
            Refusal::Register,
        ),
    ]);
}

#[test]
fn what_is_not_typed_character_by_character_into_a_text_of_the_draft_is_refused() {
    use automerge::marks::{ExpandMark, Mark};
    use automerge::transaction::{Transactable, Transaction};
    let (mut honest, _, text) = honest_note();
    let typed_at = |t: &Transaction<'_>| t.get(ROOT, &*text).unwrap().unwrap().1;
    let foreign = Refusal::Foreign;
    refused(&[
        (
            &|t| t.insert(typed_at(t), 0, "two letters").unwrap(),
            foreign("a text that is not typed by characters"),
        ),
        (&|t| t.put(typed_at(t), 0, "x").unwrap(), foreign("an operation that texts don't have")),
        (
            &|t| {
                let mark = Mark::new("bold".into(), true, 0, 3);
                t.mark(typed_at(t), mark, ExpandMark::Both).unwrap();
            },
            foreign("a mark in a text"),
        ),
    ]);
    // The same hands, held by an honest head: what passes is what a node would write.
    let change = peers_change(&honest, 3, |t| t.splice_text(typed_at(t), 0, 1, "A c").unwrap());
    honest.apply(&change, prefix(3)).unwrap();
    let view = honest.view(&key("Composition/c")).unwrap();
    assert_eq!(view.body["text"]["div"], "A cough.");
    // Nobody types into a note that was signed, or into a text that its frame has given up.
    let signed = json!({"resourceType":"Composition","id":"c","status":"final"});
    let mut gone = note("Cough.");
    gone.as_object_mut().unwrap().remove("text");
    for (body, frame_stays) in [(signed, false), (gone, false), (note("Cold."), true)] {
        let mut document = Document::load(&honest.save(), actor(2)).unwrap();
        document.write(5, &[put(body)]).unwrap().unwrap();
        let change = peers_change(&document, 3, |t| t.splice_text(typed_at(t), 0, 0, "x").unwrap());
        let expected = foreign("typing in a text that stands nowhere");
        assert_eq!(refusal(&mut document, &change, 3), (!frame_stays).then_some(expected));
    }
}

#[test]
fn typing_that_never_ends_is_refused() {
    use automerge::transaction::Transactable;
    let (mut honest, _, text) = honest_note();
    let typed = |honest: &Document, start: u8, remove: isize, insert: &str| {
        peers_change(honest, start, |t| {
            let found = t.get(ROOT, &*text).unwrap().unwrap().1;
            t.splice_text(found, 0, remove, insert).unwrap();
        })
    };
    let change = typed(&honest, 0, 0, &"x".repeat(65_536));
    assert_eq!(refusal(&mut honest, &change, 3), Some(Refusal::TooLarge));
    // A million strokes later: what was typed and taken out again is kept all the same.
    let story = honest.journal.stories.get_mut(&key("Composition/c")).unwrap();
    story.touches[0].typed = (1 << 20) - 100;
    let change = typed(&honest, 0, 6, &"x".repeat(94));
    honest.apply(&change, prefix(3)).unwrap();
    let change = typed(&honest, 1, 1, "");
    assert_eq!(refusal(&mut honest, &change, 3), Some(Refusal::TooLarge));
    // The author can go on: the narrative is one value from now on.
    honest.write(7, &[put(note("Cold."))]).unwrap().unwrap();
    assert_eq!(honest.view(&key("Composition/c")).unwrap().body, note("Cold."));
}

#[test]
fn typing_after_what_was_not_seen_is_refused() {
    let mut author = Document::new(actor(1));
    let first = author.write(1, &[put(note("Cough."))]).unwrap().unwrap().bytes;
    let second = author.write(2, &[put(note("Cough and fever."))]).unwrap().unwrap().bytes;
    let third = author.write(3, &[put(note("Cough and fever, at night."))]).unwrap().unwrap().bytes;
    // The third change as if it had not seen the second: its letters follow unseen ones.
    let mut expanded = Change::from_bytes(third).unwrap().decode();
    expanded.deps = Change::from_bytes(second.clone()).unwrap().deps().to_vec();
    expanded.actor_id = ActorId::from(actor(3));
    expanded.seq = 1;
    let start = RawChange::read(&second).unwrap().start;
    expanded.start_op = start.try_into().unwrap();
    let forged = Change::from(expanded).raw_bytes().to_vec();
    let mut document = Document::new(actor(2));
    document.apply(&first, prefix(1)).unwrap();
    document.apply(&second, prefix(1)).unwrap();
    assert_eq!(refusal(&mut document, &forged, 3), Some(Refusal::Overwrites));
    assert_eq!(document.view(&key("Composition/c")).unwrap().body, note("Cough and fever."));
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
