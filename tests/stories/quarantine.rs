//! What becomes of entries that are set aside: a person lists, releases or discards them, for every
//! node, and can take nothing away that is shown.

use carnet_node::access::Action;
use carnet_node::access::statement::{Matter, Ruling, StaffStatement};
use carnet_node::chart::Edit;
use carnet_node::records::quarantine::{RulingOutcome, SetAside};
use carnet_node::records::status::Problem;
use carnet_simulations::forger::{Content, Forger};
use carnet_sync_protocol::certificate::RevocationKind;
use carnet_sync_protocol::id::{Channel, DocumentId};
use carnet_tests::{Node, carry, found, join, permit, sync};
use serde_json::json;

fn patient(id: &str) -> serde_json::Value {
    json!({"resourceType": "Patient", "id": id, "birthDate": "1987-03-02"})
}

fn rule(node: &mut Node, entry: &str, ruling: Ruling) -> RulingOutcome {
    let outcome = node.records.rule(&permit(Action::SignOff), entry, ruling, "looked at").unwrap();
    node.records.commit().unwrap();
    outcome
}

fn listed(node: &mut Node) -> Vec<SetAside> {
    let list = node.records.quarantine_list(&permit(Action::Review)).unwrap();
    assert_eq!(list.count, list.entries.len() as u64);
    list.entries
}

fn problems(node: &Node) -> Vec<Problem> {
    let mut problems = node.records.status().unwrap().problems;
    problems.retain(|problem| matches!(problem, Problem::Quarantine(_) | Problem::Withheld(_)));
    problems
}

/// Something signed that is no change, from `rogue`, held by all three.
fn with_nonsense() -> (Node, Node, Node, String) {
    let (mut a, _) = found("Ziguinchor");
    let mut rogue = join(&mut a, "Sédhiou");
    let mut c = join(&mut a, "Kolda");
    sync(&mut a, &mut rogue);
    rogue.put(patient("p"));
    let mut forger = Forger::new(&rogue.records, rogue.unlocked()).unwrap();
    let nonsense = Content::Change(b"nonsense");
    let critical = Channel::Critical;
    let document = DocumentId([5; 16]);
    let run = forger.entry(critical, document, nonsense).unwrap();
    let entry = run.head().id.to_string();
    sync(&mut rogue, &mut a);
    a.records.receive(&[run]).unwrap();
    a.records.commit().unwrap();
    sync(&mut a, &mut c);
    (a, rogue, c, entry)
}

#[test]
fn a_discarded_entry_troubles_nobody_any_more_and_is_still_held_and_passed_on() {
    let (mut a, _, mut c, entry) = with_nonsense();
    for node in [&mut a, &mut c] {
        let [set_aside] = &listed(node)[..] else { panic!("one entry is set aside") };
        assert_eq!((&set_aside.entry, set_aside.site.as_str()), (&entry, "Sédhiou"));
        assert!(!set_aside.withheld && set_aside.ruled.is_none());
        assert_eq!(problems(node), [Problem::Quarantine(1)]);
    }
    let outcome = rule(&mut a, &entry, Ruling::Discard);
    assert!(!outcome.shown);
    sync(&mut a, &mut c);
    for node in [&mut a, &mut c] {
        assert_eq!(problems(node), []);
        let [set_aside] = &listed(node)[..] else { panic!("it is still listed") };
        let ruled = set_aside.ruled.as_ref().unwrap();
        assert_eq!((ruled.ruling, ruled.note.as_str()), (Some(Ruling::Discard), "looked at"));
        assert_eq!(node.records.review_list(&permit(Action::Review), true).unwrap(), []);
        let report = node.records.verify(&permit(Action::Operate), |_, _| {}).unwrap();
        assert_eq!((report.problems, report.discarded), (vec![], 1));
    }
    assert_eq!(a.digest(), c.digest());
    let refused = c.records.rule(&permit(Action::SignOff), &entry, Ruling::Discard, "");
    assert!(refused.is_err(), "it was discarded already");
    let mut late = join(&mut a, "Bignona");
    sync(&mut a, &mut late);
    assert_eq!((listed(&mut late).len(), problems(&late)), (1, vec![]));

    // Tried again, it is what it was.
    let outcome = rule(&mut c, &format!("quarantine-{entry}"), Ruling::Release);
    assert!(!outcome.shown && outcome.reason.is_some());
    sync(&mut a, &mut c);
    for node in [&mut a, &mut c] {
        assert_eq!(problems(node), [Problem::Quarantine(1)]);
    }
}

#[test]
fn of_two_changes_in_one_place_on_two_branches_of_a_log_all_show_the_same() {
    let (mut a, _) = found("Ziguinchor");
    let mut rogue = join(&mut a, "Sédhiou");
    let mut c = join(&mut a, "Kolda");
    sync(&mut a, &mut rogue);
    let key = rogue.put(patient("p"));
    sync(&mut rogue, &mut a);
    sync(&mut a, &mut c);
    let mut forger = Forger::new(&rogue.records, rogue.unlocked()).unwrap();
    let head = forger.head(Channel::Critical).unwrap();
    for (node, language) in [(&mut a, "fr"), (&mut c, "wo")] {
        let mut aim = forger.find(&rogue.records, &key, [9; 8]).unwrap().unwrap();
        let value = Some(language.into());
        let edit = Edit::Set { key: key.clone(), element: "language".into(), value };
        let written = aim.document.write(7, &[edit]).unwrap().unwrap();
        forger.stand_at(aim.channel, head);
        let run = forger.entry(aim.channel, aim.id, Content::Change(&written.bytes)).unwrap();
        node.records.receive(&[run]).unwrap();
        node.records.commit().unwrap();
        assert_eq!(node.show(&key)["language"], language);
    }
    sync(&mut a, &mut c);
    assert_eq!(a.show(&key), c.show(&key));
    let aside = listed(&mut a);
    assert_eq!((aside.len(), &aside), (1, &listed(&mut c)));
    let [a, c] = [a, c].map(|mut node| {
        node.records.verify(&permit(Action::Operate), |_, _| {}).unwrap().state_digest
    });
    assert_eq!(a, c);
}

#[test]
fn what_two_decided_otherwise_apart_waits_for_a_third_decision() {
    let (mut a, _, mut c, entry) = with_nonsense();
    rule(&mut a, &entry, Ruling::Discard);
    rule(&mut c, &entry, Ruling::Release);
    sync(&mut a, &mut c);
    for node in [&mut a, &mut c] {
        assert_eq!(problems(node), [Problem::Quarantine(1)]);
        assert_eq!(listed(node)[0].ruled.as_ref().unwrap().ruling, None);
    }
    rule(&mut c, &entry, Ruling::Discard);
    sync(&mut a, &mut c);
    assert_eq!((problems(&a), problems(&c)), (vec![], vec![]));
}

#[test]
fn honest_work_behind_a_cut_is_shown_everywhere_once_it_is_released() {
    let (mut a, _) = found("Ziguinchor");
    let mut cut_off = join(&mut a, "Sédhiou");
    let mut c = join(&mut a, "Kolda");
    sync(&mut a, &mut cut_off);
    sync(&mut a, &mut c);
    let node = cut_off.id();
    let administer = permit(Action::Administer);
    a.records.set_standing(&administer, &node, RevocationKind::Suspend, None).unwrap();
    a.records.commit().unwrap();
    let key = cut_off.put(patient("p"));
    cut_off.set(&key, "gender", json!("female"));
    let other = cut_off.put(patient("q"));
    sync(&mut a, &mut c);
    carry(&mut cut_off.records, &mut a.records);
    carry(&mut a.records, &mut c.records);
    let withheld = listed(&mut a);
    assert_eq!(problems(&a), [Problem::Withheld(3)]);
    assert!(withheld.iter().all(|entry| entry.withheld && entry.site == "Sédhiou"));
    assert_eq!(withheld, listed(&mut c), "the same everywhere");

    // The second of the chart's two entries; it brings the one on which it builds.
    let outcome = rule(&mut a, &withheld[1].entry, Ruling::Release);
    assert!(outcome.shown, "{outcome:?}");
    let outcome = rule(&mut a, &withheld[2].entry, Ruling::Discard);
    assert!(!outcome.shown);
    c = c.reopened_locked(|_| {});
    sync(&mut a, &mut c);
    c.unlock();
    for node in [&mut a, &mut c] {
        assert_eq!(node.show(&key)["gender"], "female");
        assert_eq!(node.show(&key)["birthDate"], "1987-03-02");
        assert!(node.records.read(&permit(Action::Read), &other).is_err());
        assert_eq!(problems(node), []);
    }
    assert_eq!(a.digest(), c.digest());
    // A node that replays all of it shows the same.
    c = c.reopened(|home| std::fs::remove_file(home.join("index.db")).unwrap());
    assert_eq!(c.show(&key)["gender"], "female");
    assert_eq!(a.digest(), c.digest());
}

#[test]
fn what_is_shown_can_not_be_discarded() {
    let (mut a, mut rogue, mut c, _) = with_nonsense();
    let key = a.put(json!({
        "resourceType": "AllergyIntolerance", "id": "penicillin",
        "patient": {"reference": "Patient/p"}, "criticality": "high",
    }));
    sync(&mut a, &mut rogue);
    let mut forger = Forger::new(&rogue.records, rogue.unlocked()).unwrap();
    let aim = forger.find(&rogue.records, &key, [1; 8]).unwrap().unwrap();
    let entry = forger.last_entry(&aim.id).unwrap();
    let review = permit(Action::SignOff);
    let refused = a.records.rule(&review, &entry.to_string(), Ruling::Discard, "").unwrap_err();
    assert!(refused.to_string().contains("is not set aside"), "{refused}");

    // Nor by a statement that a node's keys have signed and no honest node would.
    let statement = StaffStatement {
        by: "operator".into(),
        time_ms: 1,
        replaces: Vec::new(),
        reach: Vec::new(),
        matter: Matter::SetAside { entry, ruling: Ruling::Discard, note: String::new() },
    };
    let statement = statement.to_payload();
    let content = Content::Change(&statement);
    let staff = Channel::Staff;
    let run = forger.entry(staff, DocumentId::ZERO, content).unwrap();
    c.records.receive(&[run]).unwrap();
    c.records.commit().unwrap();
    sync(&mut a, &mut c);
    for node in [&mut a, &mut c] {
        assert!(node.records.staff().unwrap().ruled(&entry).is_some(), "it was heard");
        assert_eq!(node.show(&key)["criticality"], "high");
    }
    c = c.reopened(|home| std::fs::remove_file(home.join("index.db")).unwrap());
    assert_eq!(c.show(&key)["criticality"], "high");
}
