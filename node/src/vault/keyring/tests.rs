//! Tests of the module above.

use super::*;
use crate::identity::PracticeKey;
use crate::vault::RecoveryCode;
use carnet_sync_protocol::certificate::{Capabilities, CertificateBody, Role};
use tempfile::TempDir;

fn environment() -> Environment {
    Environment::seeded(11, 0).0
}

fn text(passphrase: &str) -> Private<String> {
    Private::new(passphrase.to_owned())
}

fn typed(passphrase: &str) -> UnlockSecret {
    UnlockSecret::Passphrase(text(passphrase))
}

fn place(inode: u64) -> Binding {
    let machine = "machine".to_owned();
    Binding::new(&crate::base::environment::Place { machine, inode, born_ns: None })
}

fn node(environment: &Environment) -> (TempDir, Keyring, Unlocked) {
    let directory = tempfile::tempdir().unwrap();
    let method = UnlockMethod::Passphrase(text("first"));
    let (keyring, unlocked) =
        Keyring::create_at_cost(directory.path(), environment, &method, place(1), Cost::CHEAP)
            .unwrap();
    (directory, keyring, unlocked)
}

fn certificate(keys: &NodeKeys, key: &PracticeKey) -> Certificate {
    let body = CertificateBody {
        practice: key.id(),
        keys: *keys,
        role: Role::Clinic,
        capabilities: Capabilities::default(),
        site: "Sédhiou".to_owned(),
        serial: [1; 8],
        issued_ms: 1,
        expires_ms: 2,
    };
    Certificate::issue(body, key.key()).unwrap().into_certificate()
}

#[test]
fn only_the_passphrase_unlocks_and_the_same_keys_come_back() {
    let environment = environment();
    let (directory, keyring, made) = node(&environment);
    let reopened = Keyring::open(directory.path()).unwrap();
    assert_eq!(reopened.keys(), keyring.keys());
    assert_eq!(reopened.transport().public(), keyring.keys().transport.0);
    let unlocked = reopened.unlock(&typed("first")).unwrap();
    assert_eq!(unlocked.entry().to_bytes(), made.entry().to_bytes());
    assert_eq!(unlocked.hpke().public(), made.hpke().public());
    assert_eq!(unlocked.index_key(), made.index_key());
    assert_eq!(unlocked.device_key(), made.device_key());
    assert_ne!(&unlocked.device_key(), unlocked.index_key());
    let wrong = reopened.unlock(&typed("second"));
    assert!(matches!(wrong, Err(VaultError::WrongSecret("passphrase"))));
    let absent = reopened.unlock(&UnlockSecret::KeyFile(Private::new([0; 32])));
    assert!(matches!(absent, Err(VaultError::NoSlot("key file"))));
}

#[test]
fn a_second_node_in_the_directory_is_refused() {
    let environment = environment();
    let (directory, ..) = node(&environment);
    let method = UnlockMethod::Passphrase(text("x"));
    let refused =
        Keyring::create_at_cost(directory.path(), &environment, &method, place(1), Cost::CHEAP);
    assert!(matches!(refused, Err(VaultError::KeyringExists(_))));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Keyring::open(empty.path()), Err(VaultError::NoKeyring(_))));
}

#[test]
fn every_altered_byte_and_every_truncation_is_noticed() {
    let environment = environment();
    let (directory, mut keyring, _) = node(&environment);
    let practice = PracticeKey::generate(&environment);
    keyring.complete(certificate(keyring.keys(), &practice)).unwrap();
    let path = directory.path().join(KEYRING_FILE);
    let whole = std::fs::read(&path).unwrap();
    let damaged = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(Keyring::open(directory.path()), Err(VaultError::KeyringDamaged(_))));
    };
    for place in 0..whole.len() {
        let mut altered = whole.clone();
        altered[place] ^= 0x20;
        damaged(&altered);
    }
    for length in (0..whole.len()).step_by(7) {
        damaged(&whole[..length]);
    }
    damaged(&vec![0; 300 << 10]);
    std::fs::write(&path, &whole).unwrap();
    assert!(Keyring::open(directory.path()).is_ok());
}

#[test]
fn who_alters_the_file_knowingly_gets_an_error_or_the_same_keys() {
    let environment = environment();
    let (directory, keyring, made) = node(&environment);
    let path = directory.path().join(KEYRING_FILE);
    let whole = std::fs::read(&path).unwrap();
    let content = &whole[..whole.len() - 32];
    for place in 0..content.len() {
        let mut altered = content.to_vec();
        altered[place] ^= 1;
        let hash = blake3::hash(&altered);
        altered.extend_from_slice(hash.as_bytes());
        std::fs::write(&path, altered).unwrap();
        let Ok(opened) = Keyring::open(directory.path()) else { continue };
        assert_eq!(opened.keys().transport, keyring.keys().transport);
        if let Ok(unlocked) = opened.unlock(&typed("first")) {
            assert_eq!(unlocked.entry().to_bytes(), made.entry().to_bytes());
            assert_eq!(unlocked.hpke().public(), made.hpke().public());
        }
    }
}

#[test]
fn a_kill_while_the_file_is_replaced_leaves_the_old_one() {
    let environment = environment();
    let (directory, mut keyring, unlocked) = node(&environment);
    // What a kill before the rename leaves: a new file, cut short, beside the old one.
    std::fs::write(directory.path().join("keyring.new"), b"carnet keyr").unwrap();
    assert!(Keyring::open(directory.path()).unwrap().unlock(&typed("first")).is_ok());
    keyring.set_passphrase(&environment, &unlocked, &text("second")).unwrap();
    let reopened = Keyring::open(directory.path()).unwrap();
    assert!(reopened.unlock(&typed("second")).is_ok());
    assert!(reopened.unlock(&typed("first")).is_err());
}

#[test]
fn a_failing_disk_changes_nothing_in_memory_either() {
    let environment = environment();
    let (directory, mut keyring, unlocked) = node(&environment);
    std::fs::create_dir(directory.path().join("keyring.new")).unwrap();
    let failed = keyring.set_passphrase(&environment, &unlocked, &text("second"));
    assert!(matches!(failed, Err(VaultError::File { .. })));
    assert!(keyring.unlock(&typed("first")).is_ok());
    assert!(Keyring::open(directory.path()).unwrap().unlock(&typed("first")).is_ok());
}

#[test]
fn a_forgotten_passphrase_is_replaced_with_the_recovery_code() {
    let environment = environment();
    let (directory, mut keyring, unlocked) = node(&environment);
    let code = RecoveryCode::generate(&environment);
    let secret = UnlockSecret::RecoveryCode(code.clone());
    assert!(matches!(keyring.unlock(&secret), Err(VaultError::NoSlot("recovery code"))));
    let practice = PracticeKey::generate(&environment);
    keyring.complete(certificate(keyring.keys(), &practice)).unwrap();
    let recovery = code.public();
    assert!(keyring.ensure_recovery(&environment, &unlocked, recovery).unwrap());
    assert!(!keyring.ensure_recovery(&environment, &unlocked, recovery).unwrap());
    drop(unlocked);

    let mut reopened = Keyring::open(directory.path()).unwrap();
    let other = UnlockSecret::RecoveryCode(RecoveryCode::generate(&environment));
    assert!(matches!(reopened.unlock(&other), Err(VaultError::WrongSecret("recovery code"))));
    let unlocked = reopened.unlock(&secret).unwrap();
    reopened.cost = Cost::CHEAP;
    reopened.set_passphrase(&environment, &unlocked, &text("new")).unwrap();
    let reopened = Keyring::open(directory.path()).unwrap();
    assert!(reopened.unlock(&typed("first")).is_err());
    assert!(reopened.unlock(&typed("new")).is_ok());
    assert!(reopened.unlock(&secret).is_ok());
}

#[test]
fn a_key_file_beside_the_data_is_told() {
    let environment = environment();
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let beside = directory.path().join("clinic.key");
    let method = UnlockMethod::KeyFile(beside.clone());
    let (mut keyring, unlocked) =
        Keyring::create(directory.path(), &environment, &method, place(1)).unwrap();
    assert_eq!(keyring.protection(), Protection::KeyBesideData);
    assert!(keyring.unlock(&UnlockSecret::from_key_file(&beside).unwrap()).is_ok());
    assert!(matches!(keyring.remove_key_file(), Err(VaultError::NoSlot("passphrase"))));

    let away = elsewhere.path().join("clinic.key");
    keyring.set_key_file(&environment, &unlocked, &away).unwrap();
    assert_eq!(keyring.protection(), Protection::KeyFileElsewhere);
    let reopened = Keyring::open(directory.path()).unwrap();
    assert_eq!(reopened.key_file(), Some(away.as_path()));
    assert!(reopened.unlock(&UnlockSecret::from_key_file(&away).unwrap()).is_ok());
    let old = reopened.unlock(&UnlockSecret::from_key_file(&beside).unwrap());
    assert!(matches!(old, Err(VaultError::WrongSecret("key file"))));

    // A link elsewhere that leads back beside the data protects nothing.
    let link = elsewhere.path().join("link.key");
    std::os::unix::fs::symlink(&beside, &link).unwrap();
    keyring.set_key_file(&environment, &unlocked, &link).unwrap();
    assert_eq!(keyring.protection(), Protection::KeyBesideData);

    keyring.cost = Cost::CHEAP;
    keyring.set_passphrase(&environment, &unlocked, &text("typed")).unwrap();
    keyring.remove_key_file().unwrap();
    assert_eq!(keyring.protection(), Protection::Passphrase);
}

#[test]
fn only_the_nodes_own_certificate_completes_it() {
    let environment = environment();
    let (directory, mut keyring, _) = node(&environment);
    let practice = PracticeKey::generate(&environment);
    assert_eq!(keyring.practice(), None);
    let mut keys = *keyring.keys();
    keys.hpke = HpkeKey([9; 32]);
    let foreign = keyring.complete(certificate(&keys, &practice));
    assert!(matches!(foreign, Err(VaultError::ForeignCertificate)));
    let mut forged = certificate(keyring.keys(), &practice);
    forged.body.capabilities.admit = true;
    assert!(matches!(keyring.complete(forged), Err(VaultError::ForeignCertificate)));
    keyring.complete(certificate(keyring.keys(), &practice)).unwrap();
    let other = PracticeKey::generate(&environment);
    let elsewhere = keyring.complete(certificate(keyring.keys(), &other));
    assert!(matches!(elsewhere, Err(VaultError::OtherPractice)));
    let reopened = Keyring::open(directory.path()).unwrap();
    assert_eq!(reopened.practice(), Some(practice.id()));
    assert_eq!(reopened.certificate(), keyring.certificate());
}

#[test]
fn the_practice_key_is_kept_under_its_own_passphrase_and_taken_off() {
    let environment = environment();
    let (directory, mut keyring, _) = node(&environment);
    let key = PracticeKey::generate(&environment);
    assert!(matches!(keyring.practice_key(&text("p")), Err(VaultError::NoPracticeKey)));
    keyring.store_practice_key(&environment, &key, &text("p")).unwrap();
    let mut reopened = Keyring::open(directory.path()).unwrap();
    assert!(reopened.has_practice_key());
    assert_eq!(reopened.practice_key(&text("p")).unwrap().id(), key.id());
    let wrong = reopened.practice_key(&text("first"));
    assert!(matches!(wrong, Err(VaultError::WrongSecret("passphrase"))));
    reopened.remove_practice_key().unwrap();
    assert!(!Keyring::open(directory.path()).unwrap().has_practice_key());
    reopened.complete(certificate(reopened.keys(), &key)).unwrap();
    let other = PracticeKey::generate(&environment);
    let refused = reopened.store_practice_key(&environment, &other, &text("p"));
    assert!(matches!(refused, Err(VaultError::OtherPractice)));
}

#[test]
fn a_directory_elsewhere_begins_a_new_life() {
    let environment = environment();
    let (directory, mut keyring, _) = node(&environment);
    assert!(!keyring.was_moved(&place(1)));
    assert!(keyring.was_moved(&place(2)));
    let before = keyring.incarnation();
    let after = keyring.renew_incarnation(&environment, place(2)).unwrap();
    assert_ne!(before, after);
    let reopened = Keyring::open(directory.path()).unwrap();
    assert_eq!(reopened.incarnation(), after);
    assert!(!reopened.was_moved(&place(2)));
}
