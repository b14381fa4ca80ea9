//! A stolen laptop: what it wrote before is kept, what it writes afterwards is not shown, and what
//! is shown does not depend on who heard of it first.

use carnet_node::access::Action;
use carnet_node::records::RecordsError;
use carnet_sync_protocol::certificate::RevocationKind;
use carnet_tests::{found, join, permit, sync};
use serde_json::json;

fn patient(id: &str) -> serde_json::Value {
    json!({"resourceType": "Patient", "id": id, "birthDate": "1987-03-02"})
}

#[test]
fn what_came_after_the_cut_is_withheld_everywhere_whoever_heard_first() {
    let (mut a, _) = found("Ziguinchor");
    let mut stolen = join(&mut a, "Sédhiou");
    let mut c = join(&mut a, "Kolda");
    sync(&mut a, &mut stolen);
    sync(&mut a, &mut c);
    let before = stolen.put(patient("before"));
    sync(&mut stolen, &mut a);
    let node = stolen.records.author().node;
    a.records
        .set_standing(&permit(Action::Administer), &node, RevocationKind::Suspend, None)
        .unwrap();
    a.records.commit().unwrap();

    // C has not heard of it, and takes what the thief writes.
    let after = stolen.put(patient("after"));
    sync(&mut stolen, &mut c);
    assert_eq!(c.show(&after)["birthDate"], "1987-03-02");

    sync(&mut a, &mut c);
    for node in [&mut a, &mut c] {
        assert_eq!(node.show(&before)["birthDate"], "1987-03-02");
        let refused = node.records.read(&permit(Action::Read), &after);
        assert!(matches!(refused, Err(RecordsError::NoSuchResource { .. })), "{refused:?}");
    }
    assert_eq!(a.digest(), c.digest());
    let report = c.records.verify(&permit(Action::Administer), |_, _| {}).unwrap();
    assert_eq!(report.withheld, 1, "kept, not shown, and no fault");
    assert_eq!(a.records.status().unwrap().quarantined, Some(1));
    assert_eq!(c.records.status().unwrap().quarantined, Some(1));
    // The thief's node does not get the new keys.
    let secret = a.put(patient("secret"));
    sync(&mut a, &mut stolen);
    let refused = stolen.records.read(&permit(Action::Read), &secret);
    assert!(matches!(refused, Err(RecordsError::NoSuchResource { .. })), "{refused:?}");

    a.records
        .set_standing(&permit(Action::Administer), &node, RevocationKind::Reinstate, None)
        .unwrap();
    a.records.commit().unwrap();
    sync(&mut a, &mut c);
    assert_eq!(c.show(&after)["birthDate"], "1987-03-02");
    assert_eq!(a.show(&after)["birthDate"], "1987-03-02");
    assert_eq!(a.digest(), c.digest());
}
