//! The ways to unlock a node, and the key file.
//!
//! A key file is a text file with 32 random bytes. Kept on a stick or on another disk it does what
//! a passphrase does; kept beside the data it protects nothing if the machine is stolen. A systemd
//! credential is a key file, or a passphrase, in the directory that systemd gives the service.

use super::cipher::Secret;
use super::error::VaultError;
use super::recovery::RecoveryCode;
use crate::base::environment::Environment;
use crate::base::file;
use crate::base::private::Private;
use crate::identity::text;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const KEY_FILE_PREFIX: &str = "carnet-key-1-";

/// A key file is 61 bytes, a passphrase a few dozen; more is something else.
const FILE_BYTES_MAX: u64 = 4096;

/// The name of the systemd credential.
pub const CREDENTIAL_NAME: &str = "carnet-unlock";

/// How a new node is to be unlocked.
#[derive(Clone, Debug)]
pub enum UnlockMethod {
    /// By a passphrase that somebody types after each start.
    Passphrase(Private<String>),
    /// By a key file, which is written if it is not there yet.
    KeyFile(PathBuf),
}

/// What unlocks a node.
#[derive(Clone, Debug)]
pub enum UnlockSecret {
    /// A passphrase.
    Passphrase(Private<String>),
    /// The secret in a key file.
    KeyFile(Private<[u8; 32]>),
    /// The practice's recovery code.
    RecoveryCode(RecoveryCode),
    /// A member of staff's own password.
    Staff {
        /// The user id.
        id: String,
        /// The password.
        password: Private<String>,
    },
}

impl UnlockSecret {
    /// The secret in a key file.
    pub fn from_key_file(path: &Path) -> Result<Self, VaultError> {
        let text = read(path)?;
        parse_key_file(&text)
            .map(Self::KeyFile)
            .ok_or_else(|| VaultError::KeyFileDamaged(path.to_owned()))
    }

    /// The secret that systemd passes in this directory, if it passes one.
    pub fn from_credentials(directory: &Path) -> Result<Option<Self>, VaultError> {
        let text = match read(&directory.join(CREDENTIAL_NAME)) {
            Err(VaultError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            read => read?,
        };
        Ok(Some(match parse_key_file(&text) {
            Some(secret) => Self::KeyFile(secret),
            None => Self::Passphrase(Private::new(text.trim_end_matches(['\r', '\n']).to_owned())),
        }))
    }
}

/// The secret of the key file at `path`; if there is no such file, one is made.
pub(super) fn key_file_at(environment: &Environment, path: &Path) -> Result<Secret, VaultError> {
    match UnlockSecret::from_key_file(path) {
        Ok(UnlockSecret::KeyFile(secret)) => return Ok(secret),
        Err(VaultError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {}
        Ok(_) => return Err(VaultError::KeyFileDamaged(path.to_owned())),
        Err(error) => return Err(error),
    }
    let secret: Secret = Private::new(environment.random());
    let mut line = Zeroizing::new(text::to_text(KEY_FILE_PREFIX, secret.expose()));
    line.push('\n');
    file::replace(path, line.as_bytes())
        .map_err(|source| VaultError::File { path: path.to_owned(), source })?;
    Ok(secret)
}

fn parse_key_file(text: &str) -> Option<Secret> {
    let bytes = Zeroizing::new(text::from_text(KEY_FILE_PREFIX, text, 32).ok()?);
    bytes.as_slice().try_into().ok().map(Private::new)
}

fn read(path: &Path) -> Result<Zeroizing<String>, VaultError> {
    let failed = |source| VaultError::File { path: path.to_owned(), source };
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(failed)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_file_is_made_once_for_its_owner_only_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("clinic.key");
        let (environment, _) = Environment::seeded(1, 0);
        let made = key_file_at(&environment, &path).unwrap();
        assert_eq!(key_file_at(&environment, &path).unwrap(), made);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        for place in 0..text.len() - 1 {
            let mut altered = text.clone().into_bytes();
            altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
            std::fs::write(&path, altered).unwrap();
            let refused = key_file_at(&environment, &path);
            assert!(matches!(refused, Err(VaultError::KeyFileDamaged(_))));
        }
    }

    #[test]
    fn a_credential_is_a_key_file_or_a_passphrase() {
        let directory = tempfile::tempdir().unwrap();
        assert!(UnlockSecret::from_credentials(directory.path()).unwrap().is_none());
        let path = directory.path().join(CREDENTIAL_NAME);
        std::fs::write(&path, "pass phrase\n").unwrap();
        let secret = UnlockSecret::from_credentials(directory.path()).unwrap();
        assert!(matches!(secret, Some(UnlockSecret::Passphrase(p)) if p.expose() == "pass phrase"));
        std::fs::remove_file(&path).unwrap();
        let made = key_file_at(&Environment::seeded(1, 0).0, &path).unwrap();
        let secret = UnlockSecret::from_credentials(directory.path()).unwrap();
        assert!(matches!(secret, Some(UnlockSecret::KeyFile(read)) if read == made));
    }

    #[test]
    fn a_missing_or_foreign_key_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("absent");
        let error = UnlockSecret::from_key_file(&path).unwrap_err();
        assert!(error.to_string().contains("absent"));
        std::fs::write(&path, [0xff; 5000]).unwrap();
        assert!(UnlockSecret::from_key_file(&path).is_err());
    }
}
