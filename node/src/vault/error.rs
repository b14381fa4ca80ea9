//! What can go wrong with keys and sealed bytes.

use carnet_sync_protocol::entry::Codec;
use std::path::PathBuf;

/// A failure of the vault. No variant carries a secret or a patient's data.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The payload was not sealed under this key for this place, or was altered.
    #[error("the sealed bytes do not fit the key and the header: they were altered or misplaced")]
    NotAuthentic,
    /// The change inside is not the one to which the header commits.
    #[error("the change does not match the commitment in its header")]
    CommitmentMismatch,
    /// Written by a newer version.
    #[error("codec {} is not known to this version of Carnet; update it to read this entry", .0.0)]
    UnknownCodec(Codec),
    /// Longer than allowed, before or after compression.
    #[error("a change is longer than the {max} bytes that are allowed")]
    TooLarge {
        /// The bound.
        max: usize,
    },
    /// Sealed rightly, but what is inside can't be read.
    #[error("the sealed bytes hold something that cannot be read")]
    Malformed,
    /// A block names a change that should be here and is not.
    #[error("a change that others build on is not here")]
    UnknownBase,
    /// A public key to which nothing can be wrapped.
    #[error("a node's public key cannot be used")]
    UnusableKey,
    /// The passphrase, key file or code is not the right one.
    #[error("wrong {0}")]
    WrongSecret(&'static str),
    /// This node can't be unlocked this way.
    #[error("this node has no {0} to unlock it")]
    NoSlot(&'static str),
    /// An empty passphrase.
    #[error("a passphrase must not be empty")]
    EmptyPassphrase,
    /// The code was mistyped.
    #[error("the recovery code has a typing error: it is 36 letters and digits in groups of four")]
    RecoveryCodeTypo,
    /// A key file that is not one.
    #[error("{path} is not a Carnet key file, or it is damaged", path = .0.display())]
    KeyFileDamaged(PathBuf),
    /// The exported practice key is not one.
    #[error("this is not an exported practice key, or it is damaged")]
    PracticeFileDamaged,
    /// The practice key is not kept on this node.
    #[error("the practice key is not on this node; import it, or use the recovery code")]
    NoPracticeKey,
    /// The practice key of another practice.
    #[error("this is the key of another practice")]
    OtherPractice,
    /// There is no keyring: this is no node's directory.
    #[error("there is no node here: {path} does not exist", path = .0.display())]
    NoKeyring(PathBuf),
    /// There is one already.
    #[error("there is a node here already: {path} exists", path = .0.display())]
    KeyringExists(PathBuf),
    /// The keyring was altered or cut short.
    #[error("{path} is damaged; restore it from a backup, or this node from the recovery code", path = .0.display())]
    KeyringDamaged(PathBuf),
    /// The keyring was written by a newer version.
    #[error("{path} was written by a newer version of Carnet; update it", path = .0.display())]
    KeyringNewer(PathBuf),
    /// A backup that was altered, cut short, or not made by the node that it names.
    #[error("{path} is damaged or cut short", path = .0.display())]
    BackupDamaged(PathBuf),
    /// A file that is no backup.
    #[error("{path} is not a backup that Carnet made", path = .0.display())]
    NotABackup(PathBuf),
    /// The backup was written by a newer version.
    #[error("{path} was written by a newer version of Carnet; update it", path = .0.display())]
    BackupNewer(PathBuf),
    /// A certificate that was not made for this node.
    #[error("this certificate does not belong to this node, or its signature is wrong")]
    ForeignCertificate,
    /// A practice's name that is none.
    #[error("a practice's name has 1 to 128 bytes and no control characters")]
    PracticeName,
    /// A site's name that is none.
    #[error("a site's name has 1 to 64 bytes and no control characters")]
    SiteName,
    /// The disk failed.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
