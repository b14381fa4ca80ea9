//! An entry that is signed and no change at all: `status` says so, `quarantine` lists it, somebody
//! discards it or has it tried again, and the trail tells who.

use super::harness::{Site, finish, import};
use carnet_node::base::environment::Environment;
use carnet_node::records::Records;
use carnet_node::vault::UnlockSecret;
use carnet_simulations::forger::{Content, Forger};
use carnet_sync_protocol::id::{Channel, DocumentId};
use serde_json::json;

/// Puts nonsense into the node's own log, signed by its key.
fn poison(site: &Site) -> String {
    let mut records = Records::open(&site.dir(), Environment::system()).expect("opened");
    let key_file = records.keyring().key_file().expect("a key file").to_owned();
    let secret = UnlockSecret::from_key_file(&key_file).expect("a key");
    records.unlock(&secret).expect("unlocked");
    let unlocked = records.keyring().unlock(&secret).expect("unlocked");
    let mut forger = Forger::new(&records, unlocked).expect("keys");
    let nonsense = Content::Change(b"nonsense");
    let run = forger.entry(Channel::Critical, DocumentId([5; 16]), nonsense).expect("signed");
    assert_eq!(records.receive(std::slice::from_ref(&run)).expect("received").new, 1);
    // A node that runs looks at it as soon as nobody asks for anything else.
    records.catch_up().expect("looked at");
    records.commit().expect("committed");
    records.close();
    run.head().id.to_string()
}

#[test]
fn what_is_set_aside_is_listed_discarded_and_tried_again() {
    let (site, _) = Site::found("Ziguinchor");
    let body = json!({"resourceType": "Patient", "id": "p", "birthDate": "1987-03-02"});
    import(&site, &[site.file("p.json", body.to_string())]);
    assert!(site.run(&["quarantine", "list"]).stdout.contains("Nothing is set aside"));
    let entry = poison(&site);

    let status = site.run(&["status"]);
    assert_eq!(status.code, Some(1), "{status:?}");
    assert!(status.stdout.contains("carnet quarantine list"), "{status:?}");
    let listed = site.json(&["quarantine", "list"]);
    let first = &listed["entries"][0];
    assert_eq!((&listed["count"], &first["entry"]), (&json!(1), &json!(entry)));
    assert_eq!((&first["site"], &first["withheld"]), (&json!("Ziguinchor"), &json!(false)));
    let mut french = site.command(&["quarantine", "list"]);
    french.env("CARNET_LANG", "fr");
    let told = finish(french).stdout;
    assert!(told.contains("De Ziguinchor (critical), refusée"), "{told}");

    let again = site.run(&["quarantine", "release", &entry, "--json"]);
    assert_eq!((again.code, &again.json()["shown"]), (Some(3), &json!(false)), "{again:?}");
    site.json(&["quarantine", "discard", &entry, "--note", "a bad disk"]);
    assert_eq!(site.run(&["status"]).code, Some(0));
    assert_eq!(site.json(&["verify"])["ok"], true);
    let told = site.run(&["quarantine", "list"]).stdout;
    assert!(told.contains("discarded by operator") && told.contains("a bad disk"), "{told}");
    site.refused(&["quarantine", "discard", &entry], 1, "has discarded");
    site.refused(&["quarantine", "discard", "p"], 1, "quarantine list");
    site.refused(&["quarantine", "release", &"0".repeat(64)], 1, "is not set aside");

    let trail = site.run(&["audit", "list", "--json"]).stdout;
    for action in ["quarantine-release", "quarantine-discard"] {
        assert!(trail.contains(action), "the trail does not tell of {action}");
    }
    assert_eq!(site.json(&["patient", "show", "p"])["patient"]["id"], "p");
}
