//! What can go wrong with the databases, in words for the person at the machine.

use carnet_sync_protocol::id::{LogId, PracticeId};
use std::path::{Path, PathBuf};

/// A failure of `log.db` or `index.db`, or a run that the ledger refuses.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no database where one was expected.
    #[error("{} does not exist; create a node here first, or name another directory", .path.display())]
    NotFound {
        /// The missing file.
        path: PathBuf,
    },
    /// A database would be created over an existing one.
    #[error("{} exists already; name an empty directory", .path.display())]
    Exists {
        /// The file that is there.
        path: PathBuf,
    },
    /// A newer version of the program wrote the file.
    #[error(
        "{} has schema {found}, this program knows up to {known}; install the newer version",
        .path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema that this program knows.
        known: u32,
    },
    /// The file is not what was written.
    #[error(
        "{} is damaged ({detail}); keep a copy, then restore this node from a peer",
        .path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The disk is full.
    #[error("no room left to write {}; free some disk space and try again", .path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// The operating system failed to read or write.
    #[error(
        "reading or writing {} failed ({detail}); check the disk and the file's permissions",
        .path.display()
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// Somebody else holds the file.
    #[error("{} is in use by another process; end that one first", .path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// SQLite refused for a reason that this program did not foresee.
    #[error("{} cannot be used ({detail}); please report this", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        detail: String,
    },
    /// SQLite gave up the whole transaction: nothing since its beginning is kept.
    #[error(
        "a transaction on {} was given up after an earlier error; nothing of it is kept, try again",
        .path.display()
    )]
    TransactionLost {
        /// The file.
        path: PathBuf,
    },
    /// The index cannot be read; it is derived, so the answer is to rebuild it.
    #[error("{} cannot be used ({reason}) and has to be rebuilt from the ledger", .path.display())]
    IndexUnusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// What was asked for lies in a pack, which nobody can open while the node is locked.
    #[error("what was asked for lies packed in {}; unlock this node first", .path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
    /// What was put into a pack does not come out of it as it was.
    #[error(
        "entries did not come out of a pack in {} as they were; they stay as they are, please report this",
        .path.display()
    )]
    Unproved {
        /// The file.
        path: PathBuf,
    },
    /// A run belongs to another practice.
    #[error("a run of practice {found} was offered to this one's ledger; check the peer")]
    ForeignPractice {
        /// The run's practice.
        found: PracticeId,
    },
    /// A run does not follow anything that is held.
    #[error("what precedes entry {sequence} of a log of node {} is not held; ask for it first",
        .log.author.node)]
    Gap {
        /// The log.
        log: LogId,
        /// The first entry of the run.
        sequence: u64,
    },
    /// A log has forked too often.
    #[error("a log of node {} has forked too often; revoke that node", .log.author.node)]
    TooManyBranches {
        /// The log.
        log: LogId,
    },
    /// A run would not fit in a frame, so that nobody could pass it on.
    #[error("a run of node {} is too large to be sent; split it", .log.author.node)]
    RunTooLarge {
        /// The log.
        log: LogId,
    },
    /// An entry from or up to which a log was to be read is not held, or not on the same branch.
    #[error("entry {sequence} of a log of node {} is not held on that branch", .log.author.node)]
    NotHeld {
        /// The log.
        log: LogId,
        /// The entry's place.
        sequence: u64,
    },
}

impl StoreError {
    /// Whether the run is at fault rather than this machine.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::ForeignPractice { .. }
                | Self::Gap { .. }
                | Self::TooManyBranches { .. }
                | Self::RunTooLarge { .. }
        )
    }

    /// A file that is not what was written.
    pub fn corrupt(path: &Path, detail: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), detail: detail.into() }
    }

    pub(super) fn io(path: &Path, error: &std::io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            std::io::ErrorKind::StorageFull => Self::DiskFull { path },
            _ => Self::Io { path, detail: error.to_string() },
        }
    }

    pub(super) fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let (path, detail) = (path.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(Code::DiskFull) => Self::DiskFull { path },
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => Self::Corrupt { path, detail },
            Some(Code::DatabaseBusy | Code::DatabaseLocked | Code::FileLockingProtocolFailed) => {
                Self::Busy { path }
            }
            Some(
                Code::SystemIoFailure
                | Code::CannotOpen
                | Code::ReadOnly
                | Code::PermissionDenied
                | Code::NoLargeFileSupport,
            ) => Self::Io { path, detail },
            _ => Self::Database { path, detail },
        }
    }
}
