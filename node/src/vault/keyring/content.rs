//! The keyring's file: what is in it, and how it is read and replaced.
//!
//! A line that names the format, the canonical content, and a hash of both, so that any damage is
//! noticed as such and never taken for a wrong passphrase.

use super::binding::Binding;
use crate::base::file;
use crate::identity::statement::KeyWrap;
use crate::vault::error::VaultError;
use crate::vault::passphrase::Locked;
use carnet_sync_protocol::certificate::{Certificate, NodeKeys};
use carnet_sync_protocol::id::{Incarnation, PracticeId};
use carnet_sync_protocol::wire;
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read};
use std::path::Path;

const FORMAT: &[u8] = b"carnet keyring 1\n";
const FORMAT_ANY: &[u8] = b"carnet keyring ";
const HASH_SIZE: usize = 32;

/// A keyring is a few kilobytes.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// A secret sealed by the vault's cipher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SealedSecret {
    pub nonce: [u8; 24],
    pub sealed: Vec<u8>,
}

/// One way to the master key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Slot {
    Passphrase(Locked),
    /// The path is where the file was when the slot was made: a hint, not a secret.
    KeyFile {
        path: String,
        sealed: SealedSecret,
    },
    Recovery {
        practice: PracticeId,
        wrap: KeyWrap,
    },
    /// A member of staff's own password.
    Staff {
        id: String,
        /// The hash of what checks the password that the slot was made with.
        check: [u8; 32],
        locked: Locked,
    },
}

/// Everything in the file; not `Debug`, since the transport seed is in the clear.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Content {
    pub keys: NodeKeys,
    /// In the clear: a locked node works for its peers, also after a power cut.
    pub transport_seed: [u8; 32],
    /// Missing until the node has been admitted.
    pub certificate: Option<Certificate>,
    pub incarnation: Incarnation,
    pub binding: Binding,
    pub slots: Vec<Slot>,
    /// Under the master key: the entry, HPKE and index secrets.
    pub secrets: SealedSecret,
    /// The practice key, under a passphrase of its own.
    pub practice_key: Option<(PracticeId, Locked)>,
}

impl Content {
    pub fn read(path: &Path) -> Result<Self, VaultError> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|source| match source.kind() {
                ErrorKind::NotFound => VaultError::NoKeyring(path.to_owned()),
                _ => VaultError::File { path: path.to_owned(), source },
            })?;
        Self::from_bytes(&bytes, path)
    }

    pub fn write(&self, path: &Path) -> Result<(), VaultError> {
        file::replace(path, &self.to_bytes())
            .map_err(|source| VaultError::File { path: path.to_owned(), source })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = FORMAT.to_vec();
        bytes.extend_from_slice(&wire::encode(self));
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, VaultError> {
        let damaged = || VaultError::KeyringDamaged(path.to_owned());
        let length = bytes.len().checked_sub(HASH_SIZE).ok_or_else(damaged)?;
        let (content, hash) = bytes.split_at(length);
        if bytes.len() as u64 > FILE_BYTES_MAX || blake3::hash(content).as_bytes() != hash {
            return Err(damaged());
        }
        match content.strip_prefix(FORMAT) {
            Some(content) => wire::decode(content).map_err(|_| damaged()),
            None if content.starts_with(FORMAT_ANY) => {
                Err(VaultError::KeyringNewer(path.to_owned()))
            }
            None => Err(damaged()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_newer_version_is_told_from_a_damaged_one() {
        let path = Path::new("keyring");
        let mut newer = b"carnet keyring 2\nsomething else".to_vec();
        let damaged = Content::from_bytes(&newer, path);
        assert!(matches!(damaged, Err(VaultError::KeyringDamaged(_))));
        let hash = blake3::hash(&newer);
        newer.extend_from_slice(hash.as_bytes());
        assert!(matches!(Content::from_bytes(&newer, path), Err(VaultError::KeyringNewer(_))));
    }
}
