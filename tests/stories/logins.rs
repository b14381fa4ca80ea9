//! Who tries to log in: the right people, scripts, and people whose rights were taken. What a
//! check takes (Argon2) is left out where it is tried ten thousand times: the records count and
//! decide the same without it.

use carnet_node::access::statement::Standing;
use carnet_node::access::throttle::{DEVICE_FAILURES, LOCKING_FAILURES};
use carnet_node::access::{Action, Actor, Permit, Role};
use carnet_node::audit::AuditOutcome;
use carnet_node::base::environment::{Environment, ManualClock};
use carnet_node::records::login::LoginError;
use carnet_node::records::staff::PersonChange;
use carnet_node::records::{Records, RecordsError};
use carnet_node::store::index::TrailFilter;
use carnet_node::vault::{RecoveryCode, password};
use carnet_tests::{Node, found_in, join, passphrase, permit, sync};
use std::sync::Arc;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const TEN_YEARS: u64 = 3_652 * DAY;
const TRIES: u64 = 10_000;

/// A practice with an administrator, `head`, and three nurses.
fn practice() -> (Node, Arc<ManualClock>, RecoveryCode) {
    let (environment, clock) = Environment::seeded(11, Environment::system().unix_ms());
    let (mut node, code) = found_in(environment, "Ziguinchor");
    add_staff(&mut node.records);
    (node, clock, code)
}

/// The same with a second node, which knows of it.
fn practice_of_two() -> (Node, Node, Arc<ManualClock>, RecoveryCode) {
    let (environment, clock) = Environment::seeded(12, Environment::system().unix_ms());
    let (mut a, code) = found_in(environment, "Ziguinchor");
    let mut b = join(&mut a, "Sédhiou");
    add_staff(&mut a.records);
    sync(&mut a, &mut b);
    (a, b, clock, code)
}

fn add_staff(records: &mut Records) {
    // Until there is an administrator, the operator is one.
    let mut manage = permit(Action::ManageStaff);
    for (id, role) in [
        ("head", Role::Administrator),
        ("awa", Role::Nurse),
        ("ben", Role::Nurse),
        ("coumba", Role::Nurse),
    ] {
        let (roles, password) = (Some(vec![role]), Some(check_of(id)));
        let change = PersonChange { roles, password, ..PersonChange::default() };
        records.add_staff(&manage, id, change).expect("added");
        manage = leave(records, Action::ManageStaff);
    }
    records.commit().expect("a commit");
}

fn check_of(id: &str) -> Vec<u8> {
    format!("what checks the password of {id}").into_bytes()
}

fn leave(records: &mut Records, action: Action) -> Permit {
    records.authorize(&Actor::Staff("head".into()), action, None).expect("an administrator may")
}

fn staff(id: &str) -> Actor {
    Actor::Staff(id.into())
}

/// One attempt with a password, as a caller makes it.
fn log_in(records: &mut Records, id: &str, right: bool) -> Result<Actor, LoginError> {
    let done = records.login_begin(id).and_then(|_| records.login_end(id, right));
    records.commit().expect("a commit");
    done.map_err(why)
}

fn switch(records: &mut Records, token: &str, id: &str, right: bool) -> Result<String, LoginError> {
    let done = records.pin_begin(token, id).and_then(|_| records.pin_end(token, id, right));
    records.commit().expect("a commit");
    done.map(|token| token.expose().clone()).map_err(why)
}

fn session_of(records: &mut Records, token: &str) -> Result<Actor, LoginError> {
    let done = records.session_actor(token);
    records.commit().expect("a commit");
    done.map_err(why)
}

fn why(error: RecordsError) -> LoginError {
    match error {
        RecordsError::Login(error) => error,
        other => panic!("{other}"),
    }
}

fn new_session(records: &mut Records, id: &str) -> String {
    let actor = log_in(records, id, true).expect("right");
    let token = records.open_session(&actor).expect("a session").expose().clone();
    records.commit().expect("a commit");
    token
}

/// Denied logins in the trail: by whom, and why.
fn denied(records: &mut Records) -> Vec<(String, String)> {
    let audit = leave(records, Action::Audit);
    let filter = TrailFilter { limit: 100_000, ..TrailFilter::default() };
    let events = records.trail(&audit, &filter).expect("the trail");
    events
        .into_iter()
        .map(|listed| listed.event)
        .filter(|event| event.action == "login" && event.outcome == AuditOutcome::Denied)
        .map(|event| (event.actor, event.detail))
        .collect()
}

fn set_standing(records: &mut Records, id: &str, standing: Standing) {
    let manage = leave(records, Action::ManageStaff);
    let change = PersonChange { standing: Some(standing), ..PersonChange::default() };
    records.change_staff(&manage, id, change).expect("changed");
    records.commit().expect("a commit");
}

#[test]
fn ten_thousand_wrong_passwords_lock_the_user_here_and_nowhere_else() {
    let (mut a, mut b, clock, code) = practice_of_two();
    assert_eq!(log_in(&mut a.records, "awa", true), Ok(staff("awa")));
    let began = a.records.environment().uptime();
    let (mut wrong, mut early, mut locked) = (0, 0, 0);
    for _ in 0..TRIES {
        match log_in(&mut a.records, "awa", false) {
            Err(LoginError::Wrong) => wrong += 1,
            Err(LoginError::Wait { seconds }) => {
                assert!((1..=15 * 60).contains(&seconds));
                early += 1;
            }
            Err(LoginError::Locked) => locked += 1,
            other => panic!("{other:?}"),
        }
        clock.advance(SECOND);
    }
    assert_eq!((wrong, early + locked), (u64::from(LOCKING_FAILURES), TRIES - 20));
    // Fifteen waits: 1 + 2 + 4 ... + 512 seconds, and five times a quarter of an hour; the last
    // attempt of each is taken.
    assert_eq!(early, 1_023 + 5 * 900 - 15);
    // Each failure is on record, and once for each wait, and for the lock, that somebody ran
    // against it: the first wait is over when the script tries again.
    let told = denied(&mut a.records);
    assert!(told.iter().all(|(actor, _)| actor == "awa"));
    let count = |detail: &str| told.iter().filter(|(_, why)| why == detail).count();
    assert_eq!((count("password"), count("throttled"), count("locked")), (19, 14, 2));

    // Locked for the right password too, for as long as it takes, whatever is restarted.
    clock.advance(300 * DAY);
    assert_eq!(log_in(&mut a.records, "awa", true), Err(LoginError::Locked));
    let mut a = a.reopened(|home| std::fs::remove_file(home.join("index.db")).unwrap());
    clock.reboot();
    assert_eq!(log_in(&mut a.records, "awa", true), Err(LoginError::Locked));
    assert_eq!(a.records.environment().uptime().since(&began), None, "it was restarted");

    // The others here are not held up, and at the other node nobody knows of it.
    assert_eq!(log_in(&mut a.records, "ben", true), Ok(staff("ben")));
    sync(&mut a, &mut b);
    assert_eq!(log_in(&mut b.records, "awa", true), Ok(staff("awa")));

    // Three ways back.
    let manage = leave(&mut a.records, Action::ManageStaff);
    assert_eq!(a.records.locked_out().expect("a list"), ["awa"]);
    a.records.unlock_login(&manage, "awa").expect("unlocked");
    assert_eq!(a.records.locked_out().expect("a list"), [""; 0]);
    assert_eq!(log_in(&mut a.records, "awa", true), Ok(staff("awa")));
    let lock = |a: &mut Node| {
        while log_in(&mut a.records, "awa", false) != Err(LoginError::Locked) {
            clock.advance(15 * MINUTE);
        }
    };
    lock(&mut a);
    let manage = leave(&mut a.records, Action::ManageStaff);
    let change = PersonChange { password: Some(check_of("awa 2")), ..PersonChange::default() };
    a.records.change_staff(&manage, "awa", change).expect("a new password");
    assert_eq!(log_in(&mut a.records, "awa", true), Ok(staff("awa")));
    lock(&mut a);
    a.records.reset_staff(&code, "awa", check_of("awa 3")).expect("reset");
    assert_eq!(log_in(&mut a.records, "awa", true), Ok(staff("awa")));
    let nurse = a.records.authorize(&staff("awa"), Action::Read, None).expect("a nurse reads");
    let refused = a.records.unlock_login(&nurse, "ben");
    assert!(matches!(refused, Err(RecordsError::Denied(_))), "{refused:?}");
}

#[test]
fn a_script_that_tries_everybody_slows_the_device_and_keeps_nobody_out() {
    let (mut a, clock, _) = practice();
    assert_eq!(log_in(&mut a.records, "ben", true), Ok(staff("ben")));
    let (mut taken, mut waits) = (0_u32, 0);
    for number in 0..TRIES {
        match log_in(&mut a.records, &format!("guess-{number}"), false) {
            Err(LoginError::Wrong) => taken += 1,
            Err(LoginError::Wait { seconds }) => {
                assert!((1..=10).contains(&seconds));
                waits += 1;
            }
            other => panic!("{other:?}"),
        }
        if number % 1_000 == 0 {
            // He has logged in here before: the script does not hold him up.
            assert_eq!(log_in(&mut a.records, "ben", true), Ok(staff("ben")));
        }
        clock.advance(100);
    }
    assert_eq!(u64::from(taken) + waits, TRIES);
    // A thousand seconds: thirty at once, one every ten seconds, and what Ben gave back.
    assert!((DEVICE_FAILURES + 99..=DEVICE_FAILURES + 110).contains(&taken), "{taken}");
    let told = denied(&mut a.records);
    assert!(told.iter().all(|(actor, _)| actor == "unknown"), "what was typed is not on record");
    assert_eq!(
        told.iter().filter(|(_, why)| why == "throttled").count(),
        1,
        "a siege is told once"
    );
    // Who was never here waits for a moment, not for good.
    clock.advance(10 * SECOND);
    assert_eq!(log_in(&mut a.records, "coumba", true), Ok(staff("coumba")));
}

#[test]
fn more_invented_user_ids_than_are_remembered_free_nobody_who_is_locked() {
    let (mut a, clock, _) = practice();
    while log_in(&mut a.records, "awa", false) != Err(LoginError::Locked) {
        clock.advance(15 * MINUTE);
    }
    for number in 0..1_100 {
        let tried = log_in(&mut a.records, &format!("guess-{number}"), false);
        assert_eq!(tried, Err(LoginError::Wrong));
        clock.advance(10 * SECOND);
    }
    assert_eq!(log_in(&mut a.records, "awa", true), Err(LoginError::Locked));
}

#[test]
fn attempts_that_run_side_by_side_or_are_given_up_are_none_for_free() {
    let (mut a, _, _) = practice();
    let begun = (0..100).filter(|_| a.records.login_begin("awa").is_ok()).count();
    assert_eq!(begun, 5);
    // Durable, though nobody committed: the machine loses power.
    let mut a = a.reopened(|_| {});
    assert_eq!(log_in(&mut a.records, "awa", true), Err(LoginError::Wait { seconds: 1 }));
}

#[test]
fn the_right_password_passes_and_a_user_nobody_knows_is_checked_like_any_other() {
    let (mut a, _, _) = practice();
    let typed = passphrase("baobab en fleur");
    let check = password::make_check(a.records.environment(), "awa", &typed).expect("a check");
    let manage = leave(&mut a.records, Action::ManageStaff);
    let change = PersonChange { password: Some(check), ..PersonChange::default() };
    a.records.change_staff(&manage, "awa", change).expect("changed");
    let real = a.records.login_begin("awa").expect("a check");
    assert!(password::check(&real, "awa", &typed));
    assert_eq!(a.records.login_end("awa", true).expect("right"), staff("awa"));
    let decoy = a.records.login_begin("nobody").expect("a check");
    assert_eq!(decoy.len(), real.len());
    let refused = a.records.login_end("nobody", false).map_err(why);
    assert_eq!(refused, Err(LoginError::Wrong));
    // Somebody who typed a password into the wrong field is not exposed by the trail.
    a.records.login_begin("hunter2").expect("a check");
    a.records.login_end("hunter2", false).expect_err("nobody");
    a.records.commit().expect("a commit");
    let audit = leave(&mut a.records, Action::Audit);
    let filter = TrailFilter { limit: 1_000, ..TrailFilter::default() };
    let trail = a.records.trail(&audit, &filter).expect("the trail");
    let text = serde_json::to_string(&trail).expect("json");
    assert!(!text.contains("hunter2") && !text.contains("nobody"), "{text}");
}

#[test]
fn ten_thousand_wrong_pins_lock_the_pin_until_the_password_and_end_the_session() {
    let (mut a, clock, _) = practice();
    for id in ["awa", "ben", "coumba"] {
        a.records.set_pin(&staff(id), format!("the PIN of {id}").into_bytes()).expect("a PIN");
    }
    let desk = new_session(&mut a.records, "awa");
    let (mut wrong, mut locked) = (0, 0);
    for _ in 0..TRIES {
        match switch(&mut a.records, &desk, "ben", false) {
            Err(LoginError::WrongPin) => wrong += 1,
            Err(LoginError::PinLocked) => locked += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((wrong, locked), (5, TRIES - 5));
    let ben: Vec<_> = denied(&mut a.records).into_iter().filter(|(by, _)| by == "ben").collect();
    assert_eq!(
        ben.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>(),
        ["pin", "pin", "pin", "pin", "pin-locked"]
    );
    assert_eq!(switch(&mut a.records, &desk, "ben", true), Err(LoginError::PinLocked));
    assert_eq!(session_of(&mut a.records, &desk), Ok(staff("awa")), "she works on");
    // No time and no restart helps, the password does.
    clock.advance(MINUTE);
    let mut a = a.reopened(|_| {});
    assert_eq!(switch(&mut a.records, &desk, "ben", true), Err(LoginError::PinLocked));
    assert_eq!(log_in(&mut a.records, "ben", true), Ok(staff("ben")));
    let his = switch(&mut a.records, &desk, "ben", true).expect("his PIN");
    assert_eq!(session_of(&mut a.records, &his), Ok(staff("ben")));
    assert_eq!(session_of(&mut a.records, &desk), Err(LoginError::NoSession), "she gave it up");
    // The wrong PINs of before count on: after five more, of whomever, the session is over.
    for _ in 0..4 {
        assert_eq!(switch(&mut a.records, &his, "coumba", false), Err(LoginError::WrongPin));
    }
    let hers = switch(&mut a.records, &his, "awa", true).expect("her PIN");
    assert_eq!(switch(&mut a.records, &hers, "coumba", false), Err(LoginError::WrongPin));
    assert_eq!(session_of(&mut a.records, &hers), Err(LoginError::NoSession));
    assert_eq!(switch(&mut a.records, &hers, "awa", true), Err(LoginError::NoSession));
}

#[test]
fn a_pin_is_of_one_device_and_of_one_password() {
    let (mut a, mut b, _, _) = practice_of_two();
    a.records.set_pin(&staff("ben"), b"the PIN of ben".to_vec()).expect("a PIN");
    a.records.commit().expect("a commit");
    sync(&mut a, &mut b);
    let there = new_session(&mut b.records, "awa");
    assert_eq!(switch(&mut b.records, &there, "ben", true), Err(LoginError::NoPin));
    let here = new_session(&mut a.records, "awa");
    assert_eq!(session_of(&mut b.records, &here), Err(LoginError::NoSession));
    assert_eq!(switch(&mut a.records, &here, "coumba", true), Err(LoginError::NoPin));
    // Somebody resets Ben's password at the other node: whoever knows his PIN is out, here too.
    let manage = leave(&mut b.records, Action::ManageStaff);
    let change = PersonChange { password: Some(check_of("ben 2")), ..PersonChange::default() };
    b.records.change_staff(&manage, "ben", change).expect("changed");
    b.records.commit().expect("a commit");
    let his = switch(&mut a.records, &here, "ben", true).expect("not heard of yet");
    sync(&mut a, &mut b);
    assert_eq!(session_of(&mut a.records, &his), Err(LoginError::NoSession));
    let here = new_session(&mut a.records, "awa");
    assert_eq!(switch(&mut a.records, &here, "ben", true), Err(LoginError::NoPin));
}

#[test]
fn a_session_ends_idle_in_twelve_hours_at_logout_and_with_the_machine() {
    let (mut a, clock, _) = practice();
    let first = new_session(&mut a.records, "awa");
    let second = new_session(&mut a.records, "awa");
    assert_ne!(first, second, "new at each login");
    clock.advance(15 * MINUTE);
    assert_eq!(session_of(&mut a.records, &first), Ok(staff("awa")));
    clock.advance(1);
    assert_eq!(session_of(&mut a.records, &second), Err(LoginError::NoSession), "idle");
    // The process starts anew, the machine does not.
    clock.advance(10 * MINUTE);
    let mut a = a.reopened(|home| std::fs::remove_file(home.join("index.db")).unwrap());
    for _ in 0..11 * 6 + 3 {
        assert_eq!(session_of(&mut a.records, &first), Ok(staff("awa")));
        clock.advance(10 * MINUTE);
    }
    a.records.set_pin(&staff("ben"), b"his".to_vec()).expect("a PIN");
    let ben = switch(&mut a.records, &first, "ben", true).expect("in time");
    clock.advance(5 * MINUTE - 1);
    assert_eq!(session_of(&mut a.records, &ben), Ok(staff("ben")), "to the last moment");
    clock.advance(1);
    assert_eq!(session_of(&mut a.records, &ben), Err(LoginError::NoSession), "twelve hours");

    let gone = new_session(&mut a.records, "awa");
    a.records.close_session(&gone).expect("closed");
    assert_eq!(session_of(&mut a.records, &gone), Err(LoginError::NoSession));
    let gone = new_session(&mut a.records, "awa");
    a.records.lock().expect("locked");
    a.unlock();
    assert_eq!(session_of(&mut a.records, &gone), Err(LoginError::NoSession), "locked meanwhile");
    let gone = new_session(&mut a.records, "awa");
    clock.reboot();
    assert_eq!(session_of(&mut a.records, &gone), Err(LoginError::NoSession));
    assert_eq!(session_of(&mut a.records, "carnet-session-1-"), Err(LoginError::NoSession));
}

#[test]
fn a_session_ends_for_whom_is_suspended_as_soon_as_the_node_hears_of_it() {
    let (mut a, mut b, _, _) = practice_of_two();
    let there = new_session(&mut b.records, "awa");
    set_standing(&mut a.records, "awa", Standing::Suspended);
    assert_eq!(session_of(&mut b.records, &there), Ok(staff("awa")), "the link is cut");
    sync(&mut a, &mut b);
    let refused = b.records.session_actor(&there);
    assert!(matches!(refused, Err(RecordsError::Denied(_))), "{refused:?}");
    let refused = b.records.login_begin("awa").and_then(|_| b.records.login_end("awa", true));
    assert!(matches!(refused, Err(RecordsError::Denied(_))), "{refused:?}");
    set_standing(&mut a.records, "awa", Standing::Active);
    sync(&mut a, &mut b);
    assert_eq!(session_of(&mut b.records, &there), Err(LoginError::NoSession), "it stays ended");
    assert_eq!(log_in(&mut b.records, "awa", true), Ok(staff("awa")));
}

#[test]
fn a_clock_that_jumps_ten_years_unlocks_nobody_and_locks_nobody_out() {
    for forth in [true, false] {
        let (mut a, clock, _) = practice();
        let now = a.records.environment().unix_ms();
        let token = new_session(&mut a.records, "ben");
        (0..10).for_each(|_| {
            clock.advance(MINUTE);
            log_in(&mut a.records, "awa", false).expect_err("wrong");
        });
        clock.jump_to(if forth { now + TEN_YEARS } else { now - TEN_YEARS });
        let wait = log_in(&mut a.records, "awa", true);
        assert_eq!(wait, Err(LoginError::Wait { seconds: 32 }));
        let mut a = a.reopened(|_| {});
        assert_eq!(log_in(&mut a.records, "awa", true), wait, "nor with a restart");
        assert_eq!(session_of(&mut a.records, &token), Ok(staff("ben")));
        clock.advance(32 * SECOND);
        assert_eq!(log_in(&mut a.records, "awa", true), Ok(staff("awa")));
        clock.advance(15 * MINUTE + 1);
        clock.jump_to(now);
        assert_eq!(session_of(&mut a.records, &token), Err(LoginError::NoSession));
        // The machine starts anew with a wrong clock: a wait begins again, and ends.
        (0..10).for_each(|_| {
            clock.advance(MINUTE);
            log_in(&mut a.records, "awa", false).expect_err("wrong");
        });
        clock.jump_to(if forth { now + TEN_YEARS } else { 0 });
        clock.reboot();
        assert_eq!(log_in(&mut a.records, "awa", true), wait);
        clock.advance(16 * SECOND);
        let later = log_in(&mut a.records, "awa", true);
        assert_eq!(later, Err(LoginError::Wait { seconds: 16 }));
        clock.advance(16 * SECOND);
        assert_eq!(log_in(&mut a.records, "awa", true), Ok(staff("awa")));
    }
}

#[test]
fn a_token_is_good_everywhere_until_it_is_revoked_or_expires() {
    let (mut a, mut b, clock, _) = practice_of_two();
    let manage = leave(&mut a.records, Action::ManageStaff);
    let scopes = ["system/Observation.rs".to_owned()];
    let mut add =
        |id: &str, days| a.records.add_token(&manage, id, "Laboratory", &scopes, None, days);
    let lab = add("lab", 30).expect("a token").expose().clone();
    let short = add("short", 1).expect("a token").expose().clone();
    assert!(matches!(add("lab", 30), Err(RecordsError::BadRequest(_))), "its secret would change");
    assert!(matches!(add("never", 0), Err(RecordsError::BadRequest(_))));
    assert!(lab.starts_with("carnet-token-1-") && lab.len() == 15 + 52, "{lab}");
    a.records.commit().expect("a commit");
    sync(&mut a, &mut b);
    let actor = Actor::Application("lab".into());
    for node in [&mut a, &mut b] {
        assert_eq!(node.records.token_actor(&lab).expect("good"), actor);
        assert!(node.records.authorize(&actor, Action::Read, None).is_ok());
        assert!(node.records.token_actor(&short).is_ok());
    }
    clock.advance(DAY + 1);
    assert_eq!(a.records.token_actor(&short).map_err(why), Err(LoginError::WrongToken), "expired");
    let manage = leave(&mut a.records, Action::ManageStaff);
    a.records.revoke_token(&manage, "lab").expect("revoked");
    a.records.commit().expect("a commit");
    assert_eq!(a.records.token_actor(&lab).map_err(why), Err(LoginError::WrongToken), "revoked");
    assert!(b.records.token_actor(&lab).is_ok(), "the link is cut");
    sync(&mut a, &mut b);
    assert_eq!(b.records.token_actor(&lab).map_err(why), Err(LoginError::WrongToken));
    a.records.commit().expect("a commit");
    let told = denied(&mut a.records);
    assert_eq!(told, [("app:short".into(), "token".into()), ("app:lab".into(), "token".into())]);
    let nurse = a.records.authorize(&staff("awa"), Action::Read, None).expect("a nurse reads");
    let refused = a.records.add_token(&nurse, "own", "Own", &scopes, None, 1);
    assert!(matches!(refused, Err(RecordsError::Denied(_))), "{refused:?}");
}

#[test]
fn ten_thousand_wrong_tokens_are_not_ten_thousand_entries_and_a_right_one_passes() {
    let (mut a, clock, _) = practice();
    let manage = leave(&mut a.records, Action::ManageStaff);
    let scopes = ["system/*.rs".to_owned()];
    let lab = a.records.add_token(&manage, "lab", "Lab", &scopes, None, 30).expect("a token");
    let (mut wrong, mut early) = (0, 0);
    for number in 0..TRIES {
        let guess = format!("{}{number}", lab.expose());
        match a.records.token_actor(&guess).map_err(why) {
            Err(LoginError::WrongToken) => wrong += 1,
            Err(LoginError::Wait { .. }) => early += 1,
            other => panic!("{other:?}"),
        }
        assert!(a.records.token_actor(lab.expose()).is_ok());
        clock.advance(100);
    }
    assert_eq!((wrong, early), (129, TRIES - 129));
    a.records.commit().expect("a commit");
    assert_eq!(denied(&mut a.records).len(), 130);
}

#[test]
fn a_damaged_device_file_costs_sessions_and_pins_and_nothing_else() {
    let (mut a, _, _) = practice();
    a.records.set_pin(&staff("ben"), b"his".to_vec()).expect("a PIN");
    let token = new_session(&mut a.records, "awa");
    let before = a.records.staff().expect("staff").members().count();
    let secrets = [token.as_bytes(), b"carnet-session-1-"];
    let mut a = a.reopened(|home| {
        for file in std::fs::read_dir(home).expect("files") {
            let bytes = std::fs::read(file.expect("a file").path()).unwrap_or_default();
            for secret in secrets {
                assert!(!bytes.windows(secret.len()).any(|part| part == secret), "kept in clear");
            }
        }
        std::fs::write(home.join("device.db"), "damaged").expect("written");
    });
    assert_eq!(session_of(&mut a.records, &token), Err(LoginError::NoSession));
    let token = new_session(&mut a.records, "awa");
    assert_eq!(switch(&mut a.records, &token, "ben", true), Err(LoginError::NoPin));
    assert_eq!(a.records.staff().expect("staff").members().count(), before);
    let mut a = a.reopened(|home| {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(home.join(format!("device.db{suffix}")));
        }
    });
    assert_eq!(session_of(&mut a.records, &token), Err(LoginError::NoSession));
    assert_eq!(log_in(&mut a.records, "awa", true), Ok(staff("awa")));
}
