//! Charts that become large: what may be, and what is refused before it does harm.

use carnet_node::access::Action;
use carnet_node::chart::{Resource, VALUES_MAX};
use carnet_tests::{found, join, permit, sync};
use serde_json::{Value, json};

/// Random enough that it can't be compressed to nothing.
fn long(seed: u64, bytes: usize) -> Value {
    let mut number = seed;
    let mut text = String::with_capacity(bytes);
    while text.len() < bytes {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push_str(&format!("{:x}", number >> 32));
    }
    Value::String(text)
}

#[test]
fn a_resource_that_grew_larger_than_one_change_is_shown_everywhere() {
    let (mut a, _) = found("Ziguinchor");
    let mut b = join(&mut a, "Kolda");
    let key = a.put(json!({"resourceType": "Patient", "id": "p", "gender": "male"}));
    sync(&mut a, &mut b);
    // Each fits into a change; both together don't.
    let (photo, note) = (long(1, 3 << 20), long(2, 3 << 20));
    a.set(&key, "photo", json!([{"data": photo}]));
    b.set(&key, "text", json!({"status": "generated", "div": note}));
    sync(&mut a, &mut b);
    for node in [&mut a, &mut b] {
        let shown = node.show(&key);
        assert_eq!((&shown["photo"][0]["data"], &shown["text"]["div"]), (&photo, &note));
        let permit = permit(Action::Search);
        assert!(node.records.search_patients(&permit, "nobody", 5).unwrap().is_empty());
    }
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn an_image_in_many_parts_is_kept_in_documents_that_a_small_machine_can_hold() {
    let (mut a, _) = found("Ziguinchor");
    let mut b = join(&mut a, "Kolda");
    a.put(json!({"resourceType": "Patient", "id": "p"}));
    sync(&mut a, &mut b);
    let part = |n: u64| {
        json!({"resourceType": "DocumentReference", "id": format!("d{n}"), "status": "current",
            "subject": {"reference": "Patient/p"},
            "content": [{"attachment": {"data": long(n, 3 << 20)}}]})
    };
    let (first, second) = (0..5, 5..8);
    let mut keys: Vec<_> = first.map(|n| a.put(part(n))).collect();
    sync(&mut a, &mut b);
    keys.extend(second.map(|n| b.put(part(n))));
    sync(&mut a, &mut b);
    // The patient's own, and three parts to a volume.
    let verified = a.records.verify(&permit(Action::Operate), |_, _| {}).unwrap();
    assert_eq!(verified.documents, 1 + 3);
    for (n, key) in keys.iter().enumerate() {
        for node in [&mut a, &mut b] {
            let data = &node.show(key)["content"][0]["attachment"]["data"];
            assert!(*data == long(n as u64, 3 << 20), "part {n}");
        }
    }
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn more_values_than_can_be_held_are_refused_before_they_are_written() {
    let (mut a, _) = found("Ziguinchor");
    let key = a.put(json!({"resourceType": "Basic", "id": "b", "code": {"text": "kept"}}));
    let list = |values: usize| Value::Array(vec![json!(0); values]);
    let entries = a.records.frontier().clone();
    let set = |element: &str, values| [(element.to_owned(), Some(list(values)))];
    let write = permit(Action::Write);
    assert!(a.records.set_element(&write, &key, &set("extension", VALUES_MAX)).is_err());
    let whole = json!({"resourceType": "Basic", "id": "c", "a": list(VALUES_MAX / 2), "b": list(VALUES_MAX / 2)});
    assert!(Resource::from_value(whole).is_err());
    let both = [set("a", VALUES_MAX / 2), set("b", VALUES_MAX / 2)].concat();
    assert!(a.records.set_element(&write, &key, &both).is_err());
    assert_eq!(
        (a.show(&key)["code"]["text"].clone(), a.show(&key)["a"].clone()),
        (json!("kept"), Value::Null)
    );
    assert_eq!(*a.records.frontier(), entries);
    // As many as may be.
    a.set(&key, "extension", list(VALUES_MAX - 10));
    assert_eq!(a.show(&key)["extension"].as_array().unwrap().len(), VALUES_MAX - 10);
    a.digest();
}
