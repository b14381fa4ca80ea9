//! Tests of the module above.

use super::*;
use carnet_sync_protocol::id::{Author, Channel, Incarnation, NodeId};

fn id(number: u8) -> EntryId {
    EntryId([number; 32])
}

fn awa(roles: &[Role], standing: Standing) -> Person {
    Person {
        id: "awa".into(),
        name: "Awa Diatta".into(),
        roles: roles.to_vec(),
        sites: Vec::new(),
        password: None,
        standing,
        may_unlock: false,
        practitioner: None,
    }
}

fn said(number: u8, replaces: &[u8], matter: Matter) -> Said {
    let statement = StaffStatement {
        by: "head".into(),
        time_ms: u64::from(number),
        replaces: replaces.iter().map(|n| id(*n)).collect(),
        reach: Vec::new(),
        matter,
    };
    (id(number), statement)
}

fn permit(roster: &StaffRoster, actor: &Actor, action: Action) -> Result<Permit, Denial> {
    roster.permit(actor, "Sédhiou", action, None, &Arc::default(), 1_000)
}

#[test]
fn of_statements_made_apart_the_more_restrictive_holds_until_somebody_decides() {
    let first = said(1, &[], Matter::Person(awa(&[Role::Nurse, Role::Pharmacy], Standing::Active)));
    let here =
        said(2, &[1], Matter::Person(awa(&[Role::Nurse, Role::Physician], Standing::Active)));
    let there =
        said(3, &[1], Matter::Person(awa(&[Role::Nurse, Role::Pharmacy], Standing::Suspended)));
    let mut statements = vec![first, here, there];
    let member = StaffRoster::fold(&statements).member("awa").cloned().unwrap();
    assert_eq!(member.person.roles, [Role::Nurse]);
    assert_eq!(member.person.standing, Standing::Suspended);
    assert_eq!(member.heads, [id(2), id(3)]);
    statements.reverse();
    assert_eq!(StaffRoster::fold(&statements).member("awa"), Some(&member), "in any order");
    statements.push(said(4, &[2, 3], Matter::Person(awa(&[Role::Physician], Standing::Active))));
    let decided = StaffRoster::fold(&statements).member("awa").cloned().unwrap();
    assert_eq!(decided.person.roles, [Role::Physician]);
    assert_eq!(decided.heads, [id(4)]);
}

#[test]
fn sites_that_have_nothing_in_common_leave_nowhere() {
    let at = |number, site: &str| {
        let person = Person { sites: vec![site.into()], ..awa(&[Role::Nurse], Standing::Active) };
        said(number, &[], Matter::Person(person))
    };
    let roster = StaffRoster::fold(&[at(1, "Sédhiou"), at(2, "Kolda")]);
    let denied = permit(&roster, &Actor::Staff("awa".into()), Action::Read).unwrap_err();
    assert_eq!(denied.code(), "site");
    let roster = StaffRoster::fold(&[at(1, "Sédhiou")]);
    assert!(permit(&roster, &Actor::Staff("awa".into()), Action::Read).is_ok());
}

#[test]
fn the_operator_is_an_administrator_until_there_is_one() {
    let nurse = said(1, &[], Matter::Person(awa(&[Role::Nurse], Standing::Active)));
    let roster = StaffRoster::fold(std::slice::from_ref(&nurse));
    assert!(permit(&roster, &Actor::Operator, Action::Read).is_ok());
    let head = Person { id: "head".into(), ..awa(&[Role::Administrator], Standing::Active) };
    let head = said(2, &[], Matter::Person(head));
    let roster = StaffRoster::fold(&[nurse.clone(), head.clone()]);
    assert_eq!(permit(&roster, &Actor::Operator, Action::Read), Err(Denial::Operator));
    assert!(permit(&roster, &Actor::Operator, Action::Operate).is_ok());
    assert_eq!(permit(&roster, &Actor::Operator, Action::ManageStaff), Err(Denial::Operator));
    // A permit of before does not outlive the change.
    let old = super::super::permit::operator_permit(Action::Read);
    assert_eq!(roster.still_holds(&old, "Sédhiou", 1_000), Err(Denial::Operator));
    let allowed = said(3, &[], Matter::OperatorCharts(true));
    let roster = StaffRoster::fold(&[nurse.clone(), head.clone(), allowed.clone()]);
    assert!(permit(&roster, &Actor::Operator, Action::Read).is_ok());
    assert_eq!(permit(&roster, &Actor::Operator, Action::ManageStaff), Err(Denial::Operator));
    let apart = said(4, &[], Matter::OperatorCharts(false));
    let roster = StaffRoster::fold(&[nurse, head, allowed, apart]);
    assert_eq!(permit(&roster, &Actor::Operator, Action::Read), Err(Denial::Operator));
}

#[test]
fn a_suspended_person_and_a_revoked_token_have_no_permit() {
    let actor = Actor::Staff("awa".into());
    let active = said(1, &[], Matter::Person(awa(&[Role::Nurse], Standing::Active)));
    let roster = StaffRoster::fold(std::slice::from_ref(&active));
    let held = permit(&roster, &actor, Action::Read).unwrap();
    let suspended = said(2, &[1], Matter::Person(awa(&[Role::Nurse], Standing::Suspended)));
    let roster = StaffRoster::fold(&[active, suspended]);
    assert_eq!(permit(&roster, &actor, Action::Read).unwrap_err().code(), "standing");
    assert_eq!(roster.still_holds(&held, "Sédhiou", 1_000).unwrap_err().code(), "standing");
    let token = |revoked| Token {
        id: "lab".into(),
        name: "Laboratory".into(),
        hash: [1; 32],
        scopes: super::super::scope::Scopes::parse(["system/*.rs"], None).unwrap(),
        expires_ms: 5_000,
        revoked,
    };
    let lab = Actor::Application("lab".into());
    let made = said(1, &[], Matter::Token(token(false)));
    let roster = StaffRoster::fold(std::slice::from_ref(&made));
    assert!(permit(&roster, &lab, Action::Read).is_ok());
    let late = roster.permit(&lab, "", Action::Read, None, &Arc::default(), 5_001);
    assert_eq!(late.unwrap_err().code(), "standing");
    let roster = StaffRoster::fold(&[made, said(2, &[], Matter::Token(token(true)))]);
    assert_eq!(permit(&roster, &lab, Action::Read).unwrap_err().code(), "standing");
}

#[test]
fn what_was_written_beyond_the_reach_of_a_suspension_is_marked() {
    let log = LogId {
        channel: Channel::Clinical,
        author: Author { node: NodeId([1; 32]), incarnation: Incarnation([0; 8]) },
    };
    let mut suspended = said(2, &[1], Matter::Person(awa(&[Role::Nurse], Standing::Suspended)));
    suspended.1.reach = vec![Reach { log, sequence: 5 }];
    let active = said(1, &[], Matter::Person(awa(&[Role::Nurse], Standing::Active)));
    let mut statements = vec![active, suspended];
    let roster = StaffRoster::fold(&statements);
    assert!(!roster.wrote_late("awa", &log, 5));
    assert!(roster.wrote_late("awa", &log, 6));
    let unknown = LogId { channel: Channel::Critical, ..log };
    assert!(roster.wrote_late("awa", &unknown, 1), "a log nobody had seen");
    assert!(!roster.wrote_late("ben", &log, 6));
    let mut back = said(3, &[2], Matter::Person(awa(&[Role::Nurse], Standing::Active)));
    back.1.reach = vec![Reach { log, sequence: 8 }];
    statements.push(back);
    let roster = StaffRoster::fold(&statements);
    assert!(roster.wrote_late("awa", &log, 8), "it stays marked");
    assert!(!roster.wrote_late("awa", &log, 9), "what is written since is not");
    assert!(!roster.wrote_late("awa", &unknown, 1));
}

#[test]
fn who_signed_first_is_named() {
    let sign = |number: u8, note: &str| {
        let matter = Matter::SignOff { item: "i".into(), note: note.into() };
        said(number, &[], matter)
    };
    let roster = StaffRoster::fold(&[sign(9, "late"), sign(3, "checked")]);
    assert_eq!(roster.signed_off("i").unwrap().note, "checked");
    assert!(roster.signed_off("other").is_none());
}

#[test]
fn an_entry_of_which_two_decided_otherwise_waits_for_a_third() {
    let entry = id(200);
    let rule = |ruling: Ruling, replaces: &[u8]| StaffStatement {
        by: "head".into(),
        time_ms: 7,
        replaces: replaces.iter().map(|number| id(*number)).collect(),
        reach: Vec::new(),
        matter: Matter::SetAside { entry, ruling, note: "seen".into() },
    };
    let mut said = vec![(id(1), rule(Ruling::Discard, &[])), (id(2), rule(Ruling::Discard, &[]))];
    let ruling = |said: &[Said]| {
        let mut turned = said.to_vec();
        turned.reverse();
        let folded = StaffRoster::fold(said).ruled(&entry).cloned();
        assert_eq!(StaffRoster::fold(&turned).ruled(&entry).cloned(), folded);
        folded.unwrap().ruling
    };
    assert_eq!(ruling(&said), Some(Ruling::Discard));
    said.push((id(3), rule(Ruling::Release, &[1])));
    assert_eq!(ruling(&said), None);
    said.push((id(4), rule(Ruling::Discard, &[2])));
    assert_eq!(ruling(&said), None);
    said.push((id(5), rule(Ruling::Release, &[3, 4])));
    assert_eq!(ruling(&said), Some(Ruling::Release));
    assert_eq!(StaffRoster::fold(&said).ruled(&id(1)), None);
}
