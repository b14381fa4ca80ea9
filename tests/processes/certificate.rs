//! A certificate that expired: it warns, the node works on and syncs, and it is renewed.

use super::harness::{Site, finish, until};
use carnet_node::base::environment::Environment;
use carnet_node::vault::RecoveryCode;
use carnet_sync_protocol::certificate::Role;
use carnet_tests::{Node, found_in, join_in, sync, terms};
use serde_json::json;

/// Six years: a certificate lasts five.
const BEFORE_MS: u64 = 6 * 365 * 24 * 3600 * 1000;

/// A practice that was founded years ago, and a second node that joined it then.
fn long_ago() -> (Site, Site, RecoveryCode) {
    let then = |seed| Environment::seeded(seed, Environment::system().unix_ms() - BEFORE_MS).0;
    let (mut a, code) = found_in(then(1), "Ziguinchor");
    let mut b = join_in(then(2), &mut a, terms("Kolda", Role::Clinic));
    sync(&mut a, &mut b);
    let left = |node: Node| {
        node.records.close();
        Site { root: node.dir }
    };
    (left(a), left(b), code)
}

fn codes(site: &Site) -> Vec<String> {
    let problems = site.json(&["status"])["problems"].as_array().expect("a list").clone();
    problems.iter().map(|problem| problem["code"].as_str().expect("a code").to_owned()).collect()
}

#[test]
fn an_expired_certificate_warns_works_on_and_is_renewed() {
    let (a, b, code) = long_ago();
    let running = a.listen();
    b.json(&["peer", "add", &running.address, "--node", "Ziguinchor"]);
    for site in [&a, &b] {
        let told = site.json(&["status"]);
        assert_eq!(told["ok"], true, "an expired certificate is a warning: {told}");
        assert!(codes(site).contains(&"certificate".to_owned()), "{told}");
        assert!(site.run(&["status"]).stdout.contains("carnet node renew"));
    }
    let french = {
        let mut command = b.command(&["status"]);
        command.env("CARNET_LANG", "fr");
        finish(command)
    };
    assert!(french.stdout.contains("a expiré le"), "{french:?}");

    // Both write, and both get what the other wrote.
    for (site, id) in [(&a, "from-a"), (&b, "from-b")] {
        let note = json!({"resourceType": "Basic", "id": id, "code": {"text": id}});
        site.json(&["import", &site.file("note.json", note.to_string())]);
    }
    assert_eq!(b.json(&["sync"])["peers"][0]["in_sync"], true);
    assert_eq!(a.shown("Basic/from-b")["code"]["text"], "from-b");
    assert_eq!(b.shown("Basic/from-a")["code"]["text"], "from-a");
    // Also new ones are admitted.
    let c = Site::joined(&a.invite(&["--site", "Bignona"]));
    assert_eq!(c.json(&["sync"])["peers"][0]["in_sync"], true);

    b.refused(&["node", "renew", "Kolda"], 4, "may not");
    let renewed = a.json(&["node", "renew", "Kolda"]);
    assert_eq!(renewed["state"], "active", "{renewed}");
    assert_eq!(b.json(&["sync"])["peers"][0]["in_sync"], true);
    assert!(!codes(&b).contains(&"certificate".to_owned()));
    a.refused(&["node", "renew"], 4, "recovery code");
    let paper = a.file("code.txt", code.reveal().expose());
    let renewed = a.json(&["node", "renew", "--recovery-code-file", &paper]);
    assert_eq!(
        (renewed["state"].as_str(), renewed["site"].as_str()),
        (Some("active"), Some("Ziguinchor"))
    );
    assert!(!codes(&a).contains(&"certificate".to_owned()));
    running.kill();

    let running = a.listen();
    b.json(&["peer", "add", &running.address, "--node", "Ziguinchor"]);
    let edit = ["chart", "edit", "Basic/from-b", "--set", "language=\"fr\""];
    b.json(&edit);
    until("the edit arrives under the new certificates", 10_000, || {
        b.json(&["sync"]);
        a.shown("Basic/from-b")["language"] == "fr"
    });
    let listed = b.json(&["node", "list"]);
    let states = listed.as_array().expect("a list").iter().map(|node| node["state"].clone());
    assert_eq!(states.collect::<Vec<_>>(), ["active", "active", "active"]);
    assert_eq!(a.digest(), b.digest());
    assert_eq!(running.terminate(), Some(0));
}
