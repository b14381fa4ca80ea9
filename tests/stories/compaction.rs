//! A ledger that is packed holds, shows and hands out what it did before, and what it can't while
//! it is locked, it hands out later.

use carnet_node::access::Action;
use carnet_node::base::environment::Environment;
use carnet_node::records::compact::Thrift;
use carnet_node::records::{Records, RecordsError};
use carnet_node::sample::{Generator, Size};
use carnet_sync_protocol::certificate::Role;
use carnet_tests::{
    Node, carry, found, join, join_as, join_with_admit, permit, sync, unlock_method,
};
use serde_json::json;

/// Invented charts, and one that is written to again and again.
fn work(node: &mut Node) {
    let mut generator = Generator::new(9, 1_700_000_000_000);
    let patients =
        (0..3).map(|n| (n.to_string(), generator.patient(Size::Standard).to_string().into()));
    assert_eq!(node.import(patients.collect()).failed, 0);
    visits(node, 0..120);
    for n in 0..4 {
        node.put(json!({"resourceType": "Observation", "id": format!("h{n}"), "status": "final",
            "meta": {"security": [{"code": "R",
                "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"}]},
            "subject": {"reference": "Patient/p"}, "code": {"text": "HIV"}}));
    }
}

fn visits(node: &mut Node, which: std::ops::Range<usize>) {
    for n in which {
        node.put(json!({"resourceType": "Observation", "id": format!("o{n}"), "status": "final",
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": format!("2026-03-{:02}T09:{:02}:00Z", n % 28 + 1, n % 60),
            "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
            "valueQuantity": {"value": 50 + n, "unit": "kg"}}));
    }
}

#[test]
fn what_is_packed_is_the_same_for_everybody() {
    let (mut a, _) = found("Ziguinchor");
    work(&mut a);
    let (digest, runs) = (a.digest(), a.runs());
    let before = a.records.status().unwrap().entries;
    let dry = a.records.compact(&permit(Action::Operate), Thrift::default(), true).unwrap();
    assert!(dry.entries > 100 && dry.bytes_after * 2 < dry.bytes_before, "{dry:?}");
    let same = a.records.compact(&permit(Action::Operate), Thrift::default(), true).unwrap();
    assert_eq!(dry.bytes_after, same.bytes_after, "a dry run changes nothing");

    let packed = a.compact();
    assert!(packed.entries >= dry.entries && packed.bytes_after * 2 < packed.bytes_before);
    assert_eq!((packed.kept, packed.waiting), (0, 0));
    assert!(packed.waiting_for.is_empty());
    // The trail tells of it; but for that, nobody else can tell.
    assert_eq!(a.digest(), digest);
    assert_eq!(a.runs()[..runs.len() - 1], runs[..runs.len() - 1], "bit for bit");
    let (large, small) =
        a.records.give_room_back(packed.bytes_before - packed.bytes_after).unwrap();
    assert!(small * 10 < large * 9, "{large} bytes, and {small}");
    let mut a = a.reopened(|_| {});
    assert_eq!(a.digest(), digest);
    assert!(a.records.status().unwrap().entries > before);

    // Packs grow with their document.
    visits(&mut a, 120..180);
    let again = a.compact();
    assert!((60..200).contains(&again.entries), "{again:?}");
    assert_eq!(a.compact().entries, 0, "what is packed is left alone");
    let digest = a.digest();
    // The index is made anew from packs alone.
    let mut a = a.reopened(|home| std::fs::remove_file(home.join("index.db")).unwrap());
    assert_eq!(a.digest(), digest);

    let mut b = join(&mut a, "Sédhiou");
    sync(&mut a, &mut b);
    assert_eq!(a.digest(), b.digest());
    assert_eq!(sync(&mut a, &mut b), (0, 0));
}

#[test]
fn only_what_all_others_hold_is_packed_and_a_locked_node_hands_out_the_rest() {
    let (mut a, code) = found("Ziguinchor");
    let mut b = join_with_admit(&mut a, "Sédhiou", code);
    let mut relay = join_as(&mut a, "Dakar", Role::Relay);
    work(&mut a);
    sync(&mut a, &mut b);
    a.hears_of(&b);
    a.hears_of(&relay);
    let waits = a.compact();
    assert_eq!((waits.entries, &waits.waiting_for[..]), (0, &["Dakar".to_owned()][..]));
    assert!(waits.waiting > 100);
    sync(&mut a, &mut relay);
    a.hears_of(&relay);
    sync(&mut a, &mut b);
    a.hears_of(&b);
    let packed = a.compact();
    assert!(packed.entries > 100, "{packed:?}");
    visits(&mut a, 200..202);

    a.records.lock().unwrap();
    let refused = a.records.compact(&permit(Action::Operate), Thrift::default(), false);
    assert!(matches!(refused, Err(RecordsError::Locked)));
    let problems = a.records.status().unwrap().problems;
    let waits = problems.iter().find(|problem| problem.code() == "packed").unwrap();
    assert!(waits.count().unwrap() >= packed.entries && !waits.is_serious());
    let checked = a.records.verify(&permit(Action::Operate), |_, _| {}).unwrap();
    assert_eq!((checked.problems, checked.ok), (vec![], false));
    assert_eq!(checked.closed, waits.count().unwrap());

    // Who holds what was packed goes on as if nothing had been.
    visits(&mut b, 300..303);
    assert!(carry(&mut b.records, &mut a.records) >= 3);
    assert!(carry(&mut a.records, &mut b.records) >= 2);
    assert_eq!(carry(&mut a.records, &mut b.records), 0);

    // Who is new gets what is not packed, without an error, and the rest later, or from another.
    let mut c = join(&mut b, "Kolda");
    carry(&mut b.records, &mut a.records);
    // Certificates may come after what they certify, and then it takes more than one round.
    while carry(&mut a.records, &mut c.records) > 0 {}
    let lacking = a.records.status().unwrap().entries - c.records.status().unwrap().entries;
    assert!(lacking >= packed.entries, "{lacking}");
    a.unlock();
    assert!(a.records.status().unwrap().problems.iter().all(|problem| problem.code() != "packed"));
    sync(&mut a, &mut c);
    sync(&mut a, &mut b);
    assert_eq!(a.digest(), c.digest());
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn a_packed_ledger_is_backed_up_and_restored_with_nothing_but_the_code() {
    let (mut a, code) = found("Ziguinchor");
    work(&mut a);
    assert!(a.compact().entries > 100);
    let backups = tempfile::tempdir().unwrap();
    let (to, mut steps) = (backups.path().join("a.backup"), |_: &str, _, _| {});
    let backup = a.records.begin_backup(&permit(Action::Operate)).unwrap();
    let made = backup.write(&to, &mut steps).unwrap();
    a.records.lock().unwrap();
    let locked = a.records.begin_backup(&permit(Action::Operate)).unwrap();
    let of_locked = locked.write(&to, &mut steps).unwrap();
    assert!(of_locked.entries >= made.entries && made.entries > 100);
    let (home, patient) = (a.home(), "Observation/o7".parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let new_home = dir.path().join("node");
    let (system, method) = (Environment::system(), unlock_method(&new_home));
    let records = Records::restore(&new_home, system, &home, &code, "Bignona", &method).unwrap();
    let mut b = Node { records, dir };
    a.unlock();
    assert_eq!(b.show(&patient), a.show(&patient));
    sync(&mut a, &mut b);
    assert_eq!(a.digest(), b.digest());
}
