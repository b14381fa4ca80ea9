//! The practice key as a file of its own, to be taken off the node and kept in a safe.

use super::error::VaultError;
use super::keyring::practice_context;
use super::passphrase::{Cost, Locked};
use crate::base::environment::Environment;
use crate::base::private::Private;
use crate::identity::{PracticeKey, text};
use carnet_sync_protocol::id::PracticeId;
use carnet_sync_protocol::wire;

const PREFIX: &str = "carnet-practice-key-1-";
const BYTES_MAX: usize = 512;

/// The practice key as a text, sealed under a passphrase.
pub fn export_practice_key(
    environment: &Environment,
    key: &PracticeKey,
    passphrase: &Private<String>,
) -> Result<String, VaultError> {
    export_at_cost(environment, key, passphrase, Cost::PRODUCT)
}

fn export_at_cost(
    environment: &Environment,
    key: &PracticeKey,
    passphrase: &Private<String>,
    cost: Cost,
) -> Result<String, VaultError> {
    let practice = key.id();
    let context = practice_context(practice);
    let locked = Locked::lock(environment, cost, passphrase, &context, key.seed())?;
    Ok(text::to_text(PREFIX, &wire::encode(&(practice, locked))))
}

/// The practice key of such a text.
pub fn import_practice_key(
    exported: &str,
    passphrase: &Private<String>,
) -> Result<PracticeKey, VaultError> {
    let bytes = text::from_text(PREFIX, exported, BYTES_MAX)
        .map_err(|_| VaultError::PracticeFileDamaged)?;
    let (practice, locked): (PracticeId, Locked) =
        wire::decode(&bytes).map_err(|_| VaultError::PracticeFileDamaged)?;
    let key = PracticeKey::from_seed(locked.unlock(passphrase, &practice_context(practice))?);
    if key.id() == practice { Ok(key) } else { Err(VaultError::PracticeFileDamaged) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_comes_back_with_its_passphrase_only() {
        let (environment, _) = Environment::seeded(1, 0);
        let key = PracticeKey::generate(&environment);
        let passphrase = Private::new("long and secret".to_owned());
        let text = export_at_cost(&environment, &key, &passphrase, Cost::CHEAP).unwrap();
        assert_eq!(import_practice_key(&text, &passphrase).unwrap().id(), key.id());
        let wrong = import_practice_key(&text, &Private::new("other".to_owned()));
        assert!(matches!(wrong, Err(VaultError::WrongSecret("passphrase"))));
        let cut = import_practice_key(&text[..text.len() - 3], &passphrase);
        assert!(matches!(cut, Err(VaultError::PracticeFileDamaged)));
    }
}
