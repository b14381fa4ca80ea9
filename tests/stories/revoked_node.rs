//! A stolen laptop: what it wrote before is kept, what it writes afterwards is not shown, and what
//! is shown does not depend on who heard of it first.

use carnet_node::access::Action;
use carnet_node::base::environment::Environment;
use carnet_node::chart::Resource;
use carnet_node::records::handle::guarded;
use carnet_node::records::joining::Applicant;
use carnet_node::records::membership::PracticeSecret;
use carnet_node::records::{Records, RecordsError};
use carnet_node::service::error::{CommandError, ExitCode};
use carnet_node::store::index::TrailFilter;
use carnet_sync_protocol::certificate::{RevocationKind, Role};
use carnet_sync_protocol::entry::VerifiedRun;
use carnet_sync_protocol::frontier::Frontier;
use carnet_sync_protocol::id::{Channel, NodeId};
use carnet_sync_protocol::message::{JoinAnswer, JoinRefusal, RefuseReason};
use carnet_tests::{
    Node, carry, carry_of, found, join, join_with_admit, permit, sync, terms, unlock_method,
};
use serde_json::json;
use std::collections::BTreeSet;

fn patient(id: &str) -> serde_json::Value {
    json!({"resourceType": "Patient", "id": id, "birthDate": "1987-03-02"})
}

#[test]
fn a_cut_that_arrives_after_a_crash_takes_away_what_was_shown() {
    let (mut a, _) = found("Ziguinchor");
    let mut stolen = join(&mut a, "Sédhiou");
    let mut c = join(&mut a, "Kolda");
    sync(&mut a, &mut stolen);
    sync(&mut a, &mut c);
    let node = stolen.id();
    let administer = permit(Action::Administer);
    a.records.set_standing(&administer, &node, RevocationKind::Suspend, None).unwrap();
    a.records.commit().unwrap();
    let after = stolen.put(patient("after"));
    sync(&mut stolen, &mut c);
    assert_eq!(c.show(&after)["birthDate"], "1987-03-02");

    c.records.commit().unwrap();
    c = c.reopened_locked(|_| {});
    sync(&mut a, &mut c);
    c.unlock();
    let refused = c.records.read(&permit(Action::Read), &after);
    assert!(matches!(refused, Err(RecordsError::NoSuchResource { .. })), "{refused:?}");
    let report = c.records.verify(&administer, |_, _| {}).unwrap();
    assert_eq!((report.withheld, report.problems), (1, vec![]));
}

#[test]
fn a_cut_holds_though_what_the_index_knew_of_it_was_undone() {
    let (mut a, mut stolen, mut c) = with_a_stolen_node();
    let after = stolen.put(patient("after"));
    sync(&mut stolen, &mut c);
    assert_eq!(c.show(&after)["birthDate"], "1987-03-02");
    // One commit of the index for many of the ledger.
    let commit_index = |node: &mut Node| (0..64).for_each(|_| drop(node.records.commit().unwrap()));
    commit_index(&mut c);
    sync(&mut a, &mut c);
    // The ledger keeps that, and the index forgets it again.
    let panics = guarded(&mut c.records, |_| -> Result<(), _> { panic!("on purpose") });
    assert!(matches!(panics, Err(RecordsError::Bug(_))), "{panics:?}");
    assert!(c.records.commit().is_err(), "nothing of that transaction is kept");
    let refused = c.records.read(&permit(Action::Read), &after);
    assert!(matches!(refused, Err(RecordsError::NoSuchResource { .. })), "{refused:?}");
    commit_index(&mut c);

    reinstate(&mut a, &stolen);
    sync(&mut a, &mut c);
    assert_eq!(c.show(&after)["birthDate"], "1987-03-02");
    assert_eq!(a.digest(), c.digest());
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
    // By now it knows, and says why nothing more can be written there.
    let late = Resource::from_value(patient("late")).unwrap();
    let refused = stolen.records.put(&permit(Action::Write), &late).map(|_| ());
    let told = CommandError::from(refused.unwrap_err());
    assert_eq!(told.exit(), ExitCode::Denied, "{told:?}");
    assert_eq!(told.reason.map(|reason| reason.code).as_deref(), Some("cut-off"));

    a.records
        .set_standing(&permit(Action::Administer), &node, RevocationKind::Reinstate, None)
        .unwrap();
    a.records.commit().unwrap();
    sync(&mut a, &mut c);
    assert_eq!(c.show(&after)["birthDate"], "1987-03-02");
    assert_eq!(a.show(&after)["birthDate"], "1987-03-02");
    assert_eq!(a.digest(), c.digest());
    sync(&mut a, &mut stolen);
    let again = stolen.put(patient("again"));
    sync(&mut a, &mut stolen);
    assert_eq!(a.show(&again)["birthDate"], "1987-03-02");
}

/// A practice of three in which `a` has cut off `stolen`, and `c` has not heard of it.
fn with_a_stolen_node() -> (Node, Node, Node) {
    let (mut a, _) = found("Ziguinchor");
    let mut stolen = join(&mut a, "Sédhiou");
    let mut c = join(&mut a, "Kolda");
    sync(&mut a, &mut stolen);
    sync(&mut a, &mut c);
    suspend(&mut a, &stolen);
    (a, stolen, c)
}

fn suspend(a: &mut Node, stolen: &Node) {
    say(a, stolen, RevocationKind::Suspend);
}

fn reinstate(a: &mut Node, stolen: &Node) {
    say(a, stolen, RevocationKind::Reinstate);
}

fn say(a: &mut Node, stolen: &Node, kind: RevocationKind) {
    let administer = permit(Action::Administer);
    a.records.set_standing(&administer, &stolen.id(), kind, None).unwrap();
    a.records.commit().unwrap();
}

#[test]
fn a_long_chain_behind_a_cut_is_let_in_whole_where_somebody_builds_on_it() {
    let (mut a, mut stolen, mut c) = with_a_stolen_node();
    let key = stolen.put(patient("p"));
    for day in 0..2000 {
        let elements = [("multipleBirthInteger".to_owned(), Some(json!(day)))];
        stolen.records.set_element(&permit(Action::Write), &key, &elements).unwrap();
    }
    stolen.records.commit().unwrap();
    sync(&mut stolen, &mut c);
    c.set(&key, "birthDate", json!("1988-03-02"));

    carry(&mut stolen.records, &mut a.records);
    assert_eq!(a.records.verify(&permit(Action::Administer), |_, _| {}).unwrap().withheld, 2001);
    carry(&mut c.records, &mut a.records);
    carry(&mut a.records, &mut c.records);
    for node in [&mut a, &mut c] {
        assert_eq!(node.show(&key)["multipleBirthInteger"], 1999);
        assert_eq!(node.show(&key)["birthDate"], "1988-03-02");
        assert_eq!(node.records.status().unwrap().quarantined, Some(0));
        assert_eq!(node.records.status().unwrap().waiting, Some(0));
    }
    assert_eq!(a.digest(), c.digest());
}

#[test]
fn what_is_let_in_does_not_depend_on_what_came_first() {
    let (mut a, mut stolen, mut c) = with_a_stolen_node();
    let mut d = join(&mut a, "Bignona");
    sync(&mut a, &mut d);
    let key = stolen.put(patient("p"));
    stolen.set(&key, "gender", json!("female"));
    let unused = stolen.put(patient("q"));
    sync(&mut stolen, &mut c);
    c.set(&key, "birthDate", json!("1988-03-02"));
    // One gets what was cut off first, the other what builds on it.
    let (theirs, ours) = (stolen.id(), c.id());
    assert!(carry_of(theirs, &mut stolen, &mut a) > 0);
    assert!(carry_of(ours, &mut c, &mut a) > 0);
    assert!(carry_of(ours, &mut c, &mut d) > 0);
    assert_eq!(d.records.status().unwrap().waiting, Some(0), "nothing was asked for yet");
    d.records.catch_up().unwrap();
    assert_eq!(d.records.status().unwrap().waiting, Some(1));
    d = d.reopened(|_| {});
    assert!(carry_of(theirs, &mut stolen, &mut d) > 0);
    sync(&mut a, &mut d);
    sync(&mut a, &mut c);
    sync(&mut a, &mut d);
    for node in [&mut a, &mut c, &mut d] {
        assert_eq!(node.show(&key)["gender"], "female");
        assert_eq!(node.show(&key)["birthDate"], "1988-03-02");
        assert!(node.records.read(&permit(Action::Read), &unused).is_err());
        assert_eq!(node.records.status().unwrap().quarantined, Some(1));
        assert_eq!(node.records.status().unwrap().waiting, Some(0));
    }
    assert_eq!(a.digest(), c.digest());
    assert_eq!(a.digest(), d.digest());
}

#[test]
fn a_reinstated_node_reads_what_was_written_meanwhile_and_lists_nothing_as_unreadable() {
    let (mut a, mut c, _) = with_a_stolen_node();
    let key = a.put(patient("p"));
    a.set(&key, "birthDate", json!("1988-03-02"));
    sync(&mut a, &mut c);
    c.records.catch_up().unwrap();
    assert!(c.records.status().unwrap().unreadable.unwrap() > 0, "it has no key for these");
    let node = c.id();
    let administer = permit(Action::Administer);
    a.records.set_standing(&administer, &node, RevocationKind::Reinstate, None).unwrap();
    a.records.commit().unwrap();
    sync(&mut a, &mut c);
    assert_eq!(c.show(&key)["birthDate"], "1988-03-02");
    let status = c.records.status().unwrap();
    assert_eq!((status.unreadable, status.quarantined), (Some(0), Some(0)));

    // The trail of that time is there too.
    let events = |node: &mut Node| {
        let action = Some("write".into());
        let filter = TrailFilter { action, limit: 1_000, ..TrailFilter::default() };
        let events = node.records.trail(&permit(Action::Audit), &filter).unwrap();
        events.into_iter().map(|event| event.id).collect::<BTreeSet<_>>()
    };
    assert!(!events(&mut a).is_empty());
    assert_eq!(events(&mut a), events(&mut c));
}

#[test]
fn what_a_suspended_node_wrote_first_in_a_channel_is_shown_once_it_is_reinstated() {
    let (mut a, mut c, _) = with_a_stolen_node();
    let (node, administer) = (c.id(), permit(Action::Administer));
    // Its first entry of this channel, whose log nobody had heard of when it was cut off.
    let coverage = c.put(json!({"resourceType": "Coverage", "id": "k", "status": "active",
        "beneficiary": {"reference": "Patient/p"}, "payor": [{"display": "Mutuelle"}]}));
    carry_of(node, &mut c, &mut a);
    a.records.catch_up().unwrap();
    assert_eq!(a.records.status().unwrap().quarantined, Some(1));
    a.records.set_standing(&administer, &node, RevocationKind::Reinstate, None).unwrap();
    a.records.commit().unwrap();
    sync(&mut a, &mut c);
    assert_eq!(a.records.status().unwrap().quarantined, Some(0));
    assert_eq!(a.show(&coverage)["status"], "active");
    assert_eq!(a.digest(), c.digest());
}

#[test]
fn what_was_overwritten_behind_a_cut_stays_in_dispute_where_somebody_built_on_it() {
    let (mut a, mut stolen, mut c) = with_a_stolen_node();
    let key = c.put(patient("p"));
    c.set(&key, "gender", json!("female"));
    sync(&mut c, &mut stolen);
    stolen.set(&key, "gender", json!("male"));
    sync(&mut c, &mut stolen);
    // C has not heard that it was stolen, saw what was written there, and goes on.
    c.set(&key, "birthDate", json!("1988-03-02"));
    sync(&mut a, &mut c);
    for node in [&mut a, &mut c] {
        let conflicts = node.records.conflicts(&permit(Action::Read), Some(&key)).unwrap();
        let [conflict] = conflicts.as_slice() else { panic!("one conflict, not {conflicts:?}") };
        assert_eq!(conflict.element, "gender");
        let said = conflict.values.to_string();
        assert!(said.contains("\"female\"") && said.contains("\"male\""), "{said}");
        assert_eq!(node.show(&key)["birthDate"], "1988-03-02");
    }
    assert_eq!(a.digest(), c.digest());
}

#[test]
fn what_a_locked_node_heard_holds_as_soon_as_it_is_unlocked() {
    let (mut a, mut stolen, mut c) = with_a_stolen_node();
    let after = stolen.put(patient("after"));
    sync(&mut stolen, &mut c);
    assert_eq!(c.show(&after)["birthDate"], "1987-03-02");
    c.records.lock().unwrap();
    sync(&mut a, &mut c);
    c.unlock();
    let refused = c.records.read(&permit(Action::Read), &after);
    assert!(matches!(refused, Err(RecordsError::NoSuchResource { .. })), "{refused:?}");
    assert_eq!(c.records.status().unwrap().quarantined, Some(1));
    assert_eq!(a.digest(), c.digest());
}

/// A practice of three in which `a` has revoked `stolen`, and neither that nor `c` has heard of it;
/// and a node that `stolen` admitted after that.
fn with_a_newcomer_of_the_stolen_node() -> (Node, Node, Node, Node) {
    let (mut a, code) = found("Ziguinchor");
    let mut stolen = join_with_admit(&mut a, "Sédhiou", code.clone());
    let mut c = join(&mut a, "Kolda");
    sync(&mut a, &mut stolen);
    sync(&mut a, &mut c);
    let administer = permit(Action::Administer);
    let secret = PracticeSecret::RecoveryCode(code);
    a.records
        .set_standing(&administer, &stolen.id(), RevocationKind::Revoke, Some(&secret))
        .unwrap();
    a.records.commit().unwrap();
    let mut newcomer = join(&mut stolen, "Thiès");
    sync(&mut stolen, &mut newcomer);
    (a, stolen, c, newcomer)
}

#[test]
fn whom_a_revoked_node_admitted_is_kept_by_all_and_shown_by_none_until_admitted_again() {
    let (mut a, _stolen, mut c, mut newcomer) = with_a_newcomer_of_the_stolen_node();
    let late = newcomer.put(patient("late"));
    sync(&mut newcomer, &mut c);
    assert_eq!(c.show(&late)["birthDate"], "1987-03-02", "C has not heard of the revocation");

    sync(&mut a, &mut c);
    assert_eq!(a.records.frontier(), c.records.frontier(), "both keep what came");
    let missing = |node: &mut Node| {
        let refused = node.records.read(&permit(Action::Read), &late);
        assert!(matches!(refused, Err(RecordsError::NoSuchResource { .. })), "{refused:?}");
    };
    missing(&mut a);
    missing(&mut c);
    assert_eq!(a.digest(), c.digest());
    let administer = permit(Action::Administer);
    for node in [&mut a, &mut c] {
        assert_eq!(node.standing_of(&newcomer.id()), "unattested");
        let report = node.records.verify(&administer, |_, _| {}).unwrap();
        assert_eq!((report.withheld, report.problems), (1, vec![]));
    }
    // It is told, once it hears of it, and is given no key.
    let secret = a.put(patient("secret"));
    sync(&mut c, &mut newcomer);
    let problems = newcomer.records.status().unwrap().problems;
    assert!(problems.iter().any(|problem| problem.code() == "unattested"), "{problems:?}");
    let invited = newcomer.records.invite(&administer, terms("Dakar", Role::Clinic));
    assert!(matches!(invited, Err(RecordsError::Refused(_))), "{invited:?}");

    a.records.renew(&administer, &newcomer.id(), None).unwrap();
    a.records.commit().unwrap();
    sync(&mut a, &mut c);
    sync(&mut a, &mut newcomer);
    for node in [&mut a, &mut c] {
        assert_eq!(node.show(&late)["birthDate"], "1987-03-02");
        assert_eq!(node.standing_of(&newcomer.id()), "active");
    }
    assert_eq!(newcomer.show(&secret)["birthDate"], "1987-03-02");
    assert_eq!(a.digest(), c.digest());
    assert_eq!(a.digest(), newcomer.digest());
}

/// What an author wrote, a node holds and another does not.
fn runs_beyond(held: &Frontier, author: NodeId, records: &Records) -> Vec<VerifiedRun> {
    let logs = records.frontier().0.iter().filter(|(log, _)| log.author.node == author);
    logs.filter(|(log, heads)| held.heads(log) != heads.as_slice())
        .flat_map(|(log, heads)| {
            records.load(log, held.heads(log), heads[0], 1 << 20).expect("runs")
        })
        .map(|run| run.verify(records.practice()).expect("a sound run"))
        .collect()
}

#[test]
fn nobody_fills_a_ledger_with_what_stands_behind_a_cut_but_who_belongs() {
    let (mut a, mut stolen, c, mut newcomer) = with_a_newcomer_of_the_stolen_node();
    let key = newcomer.put(patient("late"));
    let transport = newcomer.records.transport_key();
    carry_of(stolen.id(), &mut stolen, &mut a);
    assert_eq!(a.standing_of(&newcomer.id()), "unattested");
    let held = a.records.frontier().clone();
    newcomer.set(&key, "birthDate", json!("1988-01-01"));
    let more = runs_beyond(&held, newcomer.id(), &newcomer.records);
    assert!(more.iter().any(|run| run.log().channel == Channel::Control), "from the beginning");
    let refused = a.records.receive_of_peer(&transport, &more).unwrap().refused;
    assert!(!more.is_empty() && refused.len() == more.len(), "{refused:?}");
    assert!(refused.iter().all(|(_, why)| *why == RefuseReason::Uncertified), "{refused:?}");
    assert_eq!(a.records.frontier(), &held);

    // From a node that belongs it takes them, since that one keeps them.
    let taken = a.records.receive_of_peer(&c.records.transport_key(), &more).unwrap();
    assert_eq!((taken.refused, taken.new > 0), (vec![], true));
}

#[test]
fn who_knows_that_it_is_cut_off_admits_nobody_and_says_why() {
    let (mut a, code) = found("Ziguinchor");
    let mut stolen = join_with_admit(&mut a, "Sédhiou", code);
    sync(&mut a, &mut stolen);
    let administer = permit(Action::Administer);
    let invitation = stolen.records.invite(&administer, terms("Thiès", Role::Clinic)).unwrap();
    suspend(&mut a, &stolen);
    sync(&mut a, &mut stolen);
    let refused = stolen.records.invite(&administer, terms("Dakar", Role::Clinic));
    assert!(matches!(refused, Err(RecordsError::Refused(_))), "{refused:?}");
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("node");
    let applicant = Applicant::begin(&home, Environment::system(), &unlock_method(&home)).unwrap();
    let request = applicant.request(&invitation, &[7; 32]);
    let answer = stolen.records.answer_join(&request, &[7; 32]).unwrap();
    assert_eq!(answer, JoinAnswer::Refused(JoinRefusal::CutOff));
    // The invitation is not used up.
    reinstate(&mut a, &stolen);
    sync(&mut a, &mut stolen);
    let answer = stolen.records.answer_join(&request, &[7; 32]).unwrap();
    assert!(matches!(answer, JoinAnswer::Admitted(_)), "{answer:?}");
}
