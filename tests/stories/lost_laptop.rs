//! The founder's laptop is gone: any other node's ciphertext and the recovery code bring the
//! practice back, its key included; and a forgotten passphrase is replaced.

use carnet_node::access::Action;
use carnet_node::base::environment::Environment;
use carnet_node::records::membership::PracticeSecret;
use carnet_node::records::{Records, RecordsError};
use carnet_node::vault::{RecoveryCode, UnlockSecret, VaultError};
use carnet_sync_protocol::certificate::{Capabilities, RevocationKind, Role};
use carnet_tests::{Node, found, join, join_as, passphrase, permit, sync, terms, unlock_method};
use serde_json::json;

#[test]
fn a_relays_files_and_the_code_restore_the_practice() {
    let (mut a, code) = found("Ziguinchor");
    let lost = a.records.author().node;
    let mut relay = join_as(&mut a, "Dakar", Role::Relay);
    let mut c = join(&mut a, "Kolda");
    let key = a.put(json!({"resourceType": "Patient", "id": "awa", "birthDate": "1987-03-02"}));
    let hidden = a.put(json!({"resourceType": "Observation", "id": "o", "status": "final",
        "code": {"text": "HIV"}, "subject": {"reference": "Patient/awa"},
        "meta": {"security": [{"system":
            "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]}}));
    sync(&mut a, &mut relay);
    sync(&mut relay, &mut c);
    let home = relay.home();
    drop((a, relay.records));

    let dir = tempfile::tempdir().unwrap();
    let new_home = dir.path().join("node");
    let method = unlock_method(&new_home);
    let restore = |code: &RecoveryCode| {
        Records::restore(&new_home, Environment::system(), &home, code, "Bignona", &method)
    };
    let wrong = restore(&RecoveryCode::generate(&Environment::system()));
    assert!(matches!(wrong, Err(RecordsError::Vault(VaultError::WrongSecret(_)))), "{wrong:?}");
    let mut b = Node { records: restore(&code).unwrap(), dir };
    assert_eq!(b.show(&key)["birthDate"], "1987-03-02");
    assert_eq!(b.show(&hidden)["code"]["text"], "HIV");

    // The others accept the new node, and the lost one can be revoked for good.
    sync(&mut b, &mut c);
    assert_eq!(b.digest(), c.digest());
    let secret = PracticeSecret::RecoveryCode(code);
    b.records
        .set_standing(&permit(Action::Administer), &lost, RevocationKind::Revoke, Some(&secret))
        .unwrap();
    b.records.commit().unwrap();
    sync(&mut b, &mut c);
    assert_eq!((b.standing_of(&lost), c.standing_of(&lost)), ("revoked", "revoked"));
    assert_eq!(c.show(&key)["birthDate"], "1987-03-02");
    // And it can invite others with all capabilities.
    let mut all = terms("Thiès", Role::Clinic);
    all.capabilities = Capabilities { admit: true, restricted: true, audit: true };
    all.practice = Some(secret);
    b.records.invite(&permit(Action::Administer), all).unwrap();
}

#[test]
fn a_forgotten_passphrase_is_replaced_with_the_code() {
    let (a, code) = found("Ziguinchor");
    let mut a = a.reopened_locked(|_| {});
    let wrong = UnlockSecret::Passphrase(passphrase("not this"));
    assert!(a.records.unlock(&wrong).is_err());
    a.records
        .change_passphrase(
            &UnlockSecret::RecoveryCode(code),
            &passphrase("a new one of four words"),
        )
        .unwrap();
    let mut a = a.reopened_locked(|_| {});
    a.records.unlock(&UnlockSecret::Passphrase(passphrase("a new one of four words"))).unwrap();
    assert!(!a.records.is_locked());
}
