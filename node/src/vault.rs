//! Who may read: sealing and opening entries, sharing their keys, and keeping a node's own keys.
//!
//! Three verbs: *seal* and *open* an entry's change under an epoch key, *share* a key with the
//! nodes that may have it. There is no choice of algorithm. This module is the only owner of
//! ciphers, and no secret of it prints.

pub mod block;
mod cipher;
pub mod compress;
pub mod epochs;
pub mod error;
pub mod founding;
pub mod keyring;
pub mod packs;
pub mod passphrase;
pub mod password;
pub mod practice_file;
pub mod pseudonym;
pub mod recovery;
pub mod sealed;
pub mod share;
pub mod unlock;

pub use compress::{CHANGE_BYTES_MAX, CODEC, CODECS, pack, unpack};
pub use epochs::KeyBook;
pub use error::VaultError;
pub use founding::{Founded, Founding, found};
pub use keyring::backup::{BackupKey, BackupReader, BackupWriter, RestoredKeyring};
pub use keyring::binding::Binding;
pub use keyring::{Keyring, Protection, Unlocked};
pub use packs::{PACK_BYTES_MAX, PackPlace, open_pack, seal_pack, seal_pack_frame};
pub use practice_file::{export_practice_key, import_practice_key};
pub use pseudonym::PseudonymKey;
pub use recovery::RecoveryCode;
pub use sealed::{EpochKey, Sealed, open, seal};
pub use share::HpkeSecret;
pub use unlock::{UnlockMethod, UnlockSecret};
