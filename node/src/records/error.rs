//! What can go wrong at the door, kept apart by whose fault it is.

use super::import::BundleError;
use super::login::LoginError;
use crate::access::Denial;
use crate::chart::ChartError;
use crate::identity::enrolment::EnrolmentError;
use crate::store::StoreError;
use crate::vault::VaultError;
use std::path::PathBuf;

/// Why the records did not do what they were asked. No text of it holds a patient's data.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// No node lives in the directory.
    #[error("there is no Carnet node in {}; make one with `carnet init` or `carnet join`", .0.display())]
    NoNode(PathBuf),
    /// A node lives there already.
    #[error("{} already holds a Carnet node; choose another directory", .0.display())]
    AlreadyANode(PathBuf),
    /// Another process has the directory.
    #[error("{} is in use by another Carnet process; stop it, or talk to it", .0.display())]
    InUse(PathBuf),
    /// The node has asked to join and has no certificate yet.
    #[error(
        "this node has not finished joining a practice; finish with `carnet join --finish FILE`, or join again with an invitation"
    )]
    JoinNotFinished,
    /// The node is locked.
    #[error(
        "the node is locked: it receives and forwards, and can't read or write; unlock it with `carnet unlock`"
    )]
    Locked,
    /// The rules do not allow it.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// Who calls is not who they say, or must wait.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// Nothing of that name is known here.
    #[error("{kind}/{id} is not known on this node; check the id, or wait until it has arrived")]
    NoSuchResource {
        /// The resource type.
        kind: String,
        /// Its id, which people chose as a technical name.
        id: String,
    },
    /// The resource was deleted.
    #[error(
        "{kind}/{id} was deleted; its history is still there: `carnet chart history {kind}/{id}`"
    )]
    Deleted {
        /// The resource type.
        kind: String,
        /// Its id.
        id: String,
    },
    /// What was asked makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// A peer or an invitation was refused; the text says why and what to do.
    #[error("{0}")]
    Refused(String),
    /// No key of the practice's current epoch is here.
    #[error("this node holds no key to write with yet; sync with a node of the practice first")]
    NoEpochKey,
    /// The practice has put this node out, and has keys since that it was not given.
    #[error(
        "this node has been suspended or revoked, and nothing more can be written on it; ask an administrator, on another node of the practice, to reinstate or to invite it"
    )]
    CutOff,
    /// A bundle that can't be taken.
    #[error(transparent)]
    Import(#[from] BundleError),
    /// The commit failed: nothing since the last one was kept.
    #[error("nothing was saved: {0}")]
    NotCommitted(String),
    /// The thread that owns the records has ended.
    #[error("the node is shutting down")]
    Stopped,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key, a passphrase or a sealed payload.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// An invitation, a request, an answer.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
    /// A chart.
    #[error(transparent)]
    Chart(#[from] ChartError),
    /// The disk, outside the databases.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// An invariant of ours is broken.
    #[error("this is a defect in Carnet, nothing was lost: {0}; please report it")]
    Bug(String),
}

impl RecordsError {
    /// An input or output error with what was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// The same commit failure for each caller of a batch.
    pub(crate) fn duplicate(&self) -> Self {
        match self {
            Self::NotCommitted(text) => Self::NotCommitted(text.clone()),
            other => Self::NotCommitted(other.to_string()),
        }
    }
}
