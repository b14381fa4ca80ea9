//! A node's clock is ten years wrong, either way, and is set right again.

use carnet_node::access::statement::Standing as StaffStanding;
use carnet_node::access::{Action, Actor, Permit, Role as StaffRole};
use carnet_node::base::environment::{Environment, ManualClock};
use carnet_node::identity::roster::Standing;
use carnet_node::records::login::LoginError;
use carnet_node::records::staff::PersonChange;
use carnet_node::records::{Records, RecordsError};
use carnet_sync_protocol::certificate::{RevocationKind, Role};
use carnet_tests::{Node, found_in, join_by, permit, sync, terms};
use serde_json::{Value, json};
use std::sync::Arc;

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;
const TEN_YEARS: i64 = 3_652 * DAY as i64;

/// 2026-05-28: the hour at which all clocks are right.
const NOW: u64 = 1_780_000_000_000;

/// Three nodes: who founded the practice, and two that joined.
struct Practice {
    nodes: Vec<Node>,
    clocks: Vec<Arc<ManualClock>>,
    session: String,
    token: String,
}

impl Practice {
    /// With a session and an API token of the time at which all clocks were right; the session is
    /// at `wrong`, whose clock is set wrong now.
    fn new(wrong: usize, by: i64) -> Self {
        let (environment, clock) = Environment::seeded(51, NOW);
        let (mut a, _) = found_in(environment, "Ziguinchor");
        add_staff(&mut a.records);
        let mut clocks = vec![clock];
        let mut nodes = Vec::new();
        for (seed, site) in [(52, "Kolda"), (53, "Bignona")] {
            let (environment, clock) = Environment::seeded(seed, NOW);
            nodes.push(join(environment, &mut a, site));
            clocks.push(clock);
        }
        nodes.insert(0, a);
        let scopes = ["system/Patient.rs".to_owned()];
        let manage = head(&mut nodes[0].records, Action::ManageStaff);
        let made = nodes[0].records.add_token(&manage, "lab", "Lab", &scopes, None, 30);
        let token = made.expect("a token").expose().clone();
        nodes[0].records.commit().expect("a commit");
        let mut practice = Self { nodes, clocks, session: String::new(), token };
        practice.sync_all();
        practice.nodes[0].put(json!({"resourceType": "Patient", "id": "p", "gender": "male"}));
        practice.sync_all();
        let records = &mut practice.nodes[wrong].records;
        let awa = log_in(records, "awa", true).expect("awa may");
        practice.session = records.open_session(&awa).expect("a session").expose().clone();
        records.commit().expect("a commit");
        practice.clocks[wrong].jump_to(NOW.saturating_add_signed(by));
        practice
    }

    /// Everybody meets everybody, twice; an hour passes.
    fn sync_all(&mut self) {
        for _ in 0..2 {
            for other in 1..self.nodes.len() {
                let (before, after) = self.nodes.split_at_mut(other);
                for one in before {
                    sync(one, &mut after[0]);
                }
            }
        }
        self.clocks.iter().for_each(|clock| clock.advance(HOUR));
        let digests: Vec<String> = self.nodes.iter_mut().map(Node::digest).collect();
        assert!(digests.iter().all(|digest| *digest == digests[0]));
    }
}

/// A new node, invited by the administrator.
fn join(environment: Environment, inviter: &mut Node, site: &str) -> Node {
    let administer = head(&mut inviter.records, Action::Administer);
    join_by(&administer, environment, inviter, terms(site, Role::Clinic))
}

fn add_staff(records: &mut Records) {
    let mut manage = permit(Action::ManageStaff);
    for (id, role) in
        [("head", StaffRole::Administrator), ("awa", StaffRole::Nurse), ("ben", StaffRole::Nurse)]
    {
        let password = Some(format!("what checks {id}").into_bytes());
        let change = PersonChange { roles: Some(vec![role]), password, ..PersonChange::default() };
        records.add_staff(&manage, id, change).expect("added");
        manage = head(records, Action::ManageStaff);
    }
    records.allow_operator_charts(&manage, true).expect("allowed");
    records.commit().expect("a commit");
}

fn of(records: &mut Records, id: &str, action: Action) -> Permit {
    records.authorize(&Actor::Staff(id.into()), action, None).expect("they may")
}

fn head(records: &mut Records, action: Action) -> Permit {
    of(records, "head", action)
}

fn log_in(records: &mut Records, id: &str, right: bool) -> Result<Actor, LoginError> {
    let done = records.login_begin(id).and_then(|_| records.login_end(id, right));
    records.commit().expect("a commit");
    done.map_err(|error| match error {
        RecordsError::Login(error) => error,
        other => panic!("{other}"),
    })
}

/// The year in which a resource was changed last, as it is shown.
fn year(node: &mut Node, id: &str) -> String {
    let shown =
        node.records.read(&permit(Action::Read), &format!("Patient/{id}").parse().expect("a key"));
    shown.expect("shown").resource["meta"]["lastUpdated"].as_str().expect("a time")[..4].to_owned()
}

fn patient(id: &str) -> Value {
    json!({"resourceType": "Patient", "id": id, "name": [{"family": "Diatta", "given": [id]}]})
}

/// What people do at a node all day: nothing of it asks what time it is.
fn work(practice: &mut Practice, at: usize, id: &str) {
    let clock = practice.clocks[at].clone();
    let node = &mut practice.nodes[at];
    let key = node.put(patient(id));
    node.set(&key, "gender", json!("female"));
    let records = &mut node.records;
    let awa = of(records, "awa", Action::Read);
    assert_eq!(records.read(&awa, &key).expect("a nurse reads").resource["gender"], "female");
    let search = of(records, "awa", Action::Search);
    assert!(!records.search_patients(&search, "Diatta", 10).expect("found").is_empty());
    // Somebody mistypes, waits, and is let in: waits go by how long the machine runs.
    for _ in 0..5 {
        let _ = log_in(records, "ben", false);
    }
    let waits = log_in(records, "ben", true);
    assert!(matches!(waits, Err(LoginError::Wait { .. })), "{waits:?}");
    clock.advance(HOUR);
    assert_eq!(log_in(records, "ben", true), Ok(Actor::Staff("ben".into())));
    let emergency = of(records, "awa", Action::Emergency);
    records.open_emergency(&emergency, id, "she fainted").expect("opened");
    records.commit().expect("a commit");
}

#[test]
fn care_goes_on_at_a_node_whose_clock_is_ten_years_wrong_and_all_is_well_once_it_is_right() {
    for (wrong, by) in [(0, TEN_YEARS), (0, -TEN_YEARS), (1, TEN_YEARS), (1, -TEN_YEARS)] {
        println!("node {wrong} by {by} ms");
        let mut practice = Practice::new(wrong, by);
        // The session that was open stays open, and the next one can be opened.
        let session = practice.session.clone();
        let records = &mut practice.nodes[wrong].records;
        assert_eq!(records.session_actor(&session).expect("open"), Actor::Staff("awa".into()));
        log_in(records, "head", true).expect("the administrator may");
        // A clock that runs ahead shuts a program out, and no person.
        let token = practice.token.clone();
        assert_eq!(records.token_actor(&token).is_ok(), by < 0);
        work(&mut practice, wrong, "wrong");

        // Nodes join, also where the one that admits them has the wrong clock.
        practice.sync_all();
        let (environment, clock) = Environment::seeded(54, NOW);
        let newcomer = join(environment, &mut practice.nodes[0], "Sédhiou");
        practice.nodes.push(newcomer);
        practice.clocks.push(clock);
        practice.sync_all();

        // No other clock is dragged along: what others write carries their own time.
        for (at, id) in [(2, "third"), (3, "newcomer")] {
            let key = practice.nodes[at].put(patient(id));
            assert_eq!(year(&mut practice.nodes[at], id), "2026");
            practice.nodes[at].set(&key, "active", json!(true));
            assert_eq!(year(&mut practice.nodes[at], id), "2026");
        }
        // What was said later, knowing of it, counts, whatever either clock shows.
        practice.nodes[wrong].set(&"Patient/p".parse().expect("a key"), "gender", json!("other"));
        practice.sync_all();
        practice.nodes[2].set(&"Patient/p".parse().expect("a key"), "gender", json!("female"));
        practice.sync_all();
        for node in &mut practice.nodes {
            assert_eq!(node.show(&"Patient/p".parse().expect("a key"))["gender"], "female");
        }

        // Set right: the same people and programs, and right times from here on.
        practice.clocks[wrong].jump_to(NOW + DAY);
        let records = &mut practice.nodes[wrong].records;
        assert_eq!(
            records.token_actor(&token).expect("good again"),
            Actor::Application("lab".into())
        );
        work(&mut practice, wrong, "right");
        assert_eq!(year(&mut practice.nodes[wrong], "right"), "2026");
        let environment = practice.nodes[2].records.environment().clone();
        let newcomer = join(environment, &mut practice.nodes[0], "Oussouye");
        drop(newcomer);
        practice.sync_all();
        for node in &mut practice.nodes {
            assert_eq!(node.show(&"Patient/right".parse().expect("a key"))["gender"], "female");
            assert!(node.records.frontier().0.values().all(|heads| heads.len() == 1), "a fork");
        }
    }
}

#[test]
fn nobody_stays_shut_out_because_the_clock_was_wrong_that_day() {
    for by in [TEN_YEARS, -TEN_YEARS] {
        let mut practice = Practice::new(0, by);
        let kolda = practice.nodes[1].id();
        let standing =
            |practice: &Practice, at: usize| practice.nodes[at].records.roster().standing(&kolda);
        let set = |practice: &mut Practice, at: usize, kind| {
            let records = &mut practice.nodes[at].records;
            let administer = head(records, Action::Administer);
            records.set_standing(&administer, &kolda, kind, None).expect("set");
            let change = PersonChange {
                standing: Some(match kind {
                    RevocationKind::Suspend => StaffStanding::Suspended,
                    _ => StaffStanding::Active,
                }),
                ..PersonChange::default()
            };
            let manage = head(records, Action::ManageStaff);
            records.change_staff(&manage, "ben", change).expect("changed");
            records.commit().expect("a commit");
        };
        set(&mut practice, 0, RevocationKind::Suspend);
        assert_eq!(standing(&practice, 0), Standing::Suspended);
        let records = &mut practice.nodes[0].records;
        let shut_out = records.login_begin("ben").and_then(|_| records.login_end("ben", true));
        assert!(shut_out.is_err());
        practice.clocks[0].jump_to(NOW + DAY);
        set(&mut practice, 0, RevocationKind::Reinstate);
        practice.sync_all();
        for at in 0..3 {
            assert_eq!(standing(&practice, at), Standing::Active);
            log_in(&mut practice.nodes[at].records, "ben", true).expect("ben may again");
        }
        // And the other way round: who was let in by a wrong clock can be shut out by a right one.
        practice.clocks[0].jump_to(NOW.saturating_add_signed(by));
        set(&mut practice, 0, RevocationKind::Suspend);
        set(&mut practice, 0, RevocationKind::Reinstate);
        practice.clocks[0].jump_to(NOW + 2 * DAY);
        set(&mut practice, 0, RevocationKind::Suspend);
        assert_eq!(standing(&practice, 0), Standing::Suspended);
    }
}
