//! From the errors of the layers below to what a command answers. The layers know nothing of exit
//! codes; this is the one place that decides which failure is of which kind.

use super::error::{CommandError, ErrorKind, Reason};
use crate::access::Denial;
use crate::chart::ChartError;
use crate::records::RecordsError;
use crate::records::login::LoginError;
use crate::store::StoreError;
use crate::sync::SyncError;
use crate::vault::VaultError;
use std::io;

impl From<RecordsError> for CommandError {
    fn from(error: RecordsError) -> Self {
        match error {
            RecordsError::NoNode(path) => {
                Self::new(ErrorKind::NoNode, "the directory holds no node").at(path.display())
            }
            RecordsError::InUse(path) => {
                Self::new(ErrorKind::InUse, "another Carnet process works on it").at(path.display())
            }
            RecordsError::JoinNotFinished => {
                Self::new(ErrorKind::NoNode, "this node asked to join, and was not admitted yet")
                    .advise("Finish with `carnet join --finish FILE`, or join by an invitation")
            }
            RecordsError::Locked => {
                Self::new(ErrorKind::Locked, "it receives and forwards, and shows nothing")
            }
            RecordsError::Store(error) => error.into(),
            RecordsError::Vault(error) => error.into(),
            RecordsError::Chart(error) => error.into(),
            RecordsError::Io { what, source } => Self::new(disk(&source), source).at(what),
            RecordsError::Denied(denial) => denied(&denial),
            RecordsError::CutOff => Self {
                reason: Some(Box::new(Reason { code: "cut-off".into(), ..Reason::default() })),
                ..Self::new(ErrorKind::Denied, RecordsError::CutOff)
            },
            RecordsError::Login(error) => not_let_in(&error),
            other => Self::new(records_kind(&other), other),
        }
    }
}

fn denied(denial: &Denial) -> CommandError {
    let mut reason = Reason { code: denial.code().to_owned(), ..Reason::default() };
    match denial {
        Denial::Role { actor, action } => {
            (reason.who, reason.act) = (actor.clone(), (*action).to_owned());
        }
        Denial::Class { actor, action, class } => {
            (reason.who, reason.act) = (actor.clone(), (*action).to_owned());
            reason.class = (*class).to_owned();
        }
        Denial::Purpose { actor, purpose } => {
            (reason.who, reason.act) = (actor.clone(), (*purpose).to_owned());
        }
        Denial::Standing { actor } | Denial::Site { actor } => reason.who.clone_from(actor),
        Denial::NotThis(action) => reason.act = (*action).to_owned(),
        Denial::Restricted
        | Denial::Consent
        | Denial::NotOwn
        | Denial::Scope
        | Denial::Operator
        | Denial::Expired => {}
    }
    CommandError { reason: Some(Box::new(reason)), ..CommandError::new(ErrorKind::Denied, denial) }
}

fn not_let_in(error: &LoginError) -> CommandError {
    let mut reason = Reason { code: error.code().to_owned(), ..Reason::default() };
    if let LoginError::Wait { seconds } = error {
        reason.act = format!("{} min {} s", seconds / 60, seconds % 60);
    }
    CommandError { reason: Some(Box::new(reason)), ..CommandError::new(ErrorKind::Denied, error) }
}

const fn records_kind(error: &RecordsError) -> ErrorKind {
    match error {
        RecordsError::Denied(_) | RecordsError::Refused(_) => ErrorKind::Denied,
        RecordsError::NoSuchResource { .. } | RecordsError::Deleted { .. } => ErrorKind::NotFound,
        RecordsError::BadRequest(_) | RecordsError::AlreadyANode(_) => ErrorKind::BadInput,
        RecordsError::Enrolment(_) => ErrorKind::Invitation,
        _ => ErrorKind::Failure,
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::NotFound { .. } => ErrorKind::NoNode,
            StoreError::NewerSchema { .. } => ErrorKind::NewerSchema,
            StoreError::Corrupt { .. } => ErrorKind::Damaged,
            StoreError::DiskFull { .. } => ErrorKind::DiskFull,
            StoreError::Busy { .. } => ErrorKind::InUse,
            _ => ErrorKind::Failure,
        };
        Self::new(kind, error)
    }
}

impl From<VaultError> for CommandError {
    fn from(error: VaultError) -> Self {
        let kind = match &error {
            VaultError::WrongSecret(_)
            | VaultError::NoSlot(_)
            | VaultError::RecoveryCodeTypo
            | VaultError::KeyFileDamaged(_) => ErrorKind::WrongPassphrase,
            VaultError::NoPracticeKey => ErrorKind::Denied,
            VaultError::NoKeyring(_) => ErrorKind::NoNode,
            VaultError::KeyringNewer(_)
            | VaultError::BackupNewer(_)
            | VaultError::UnknownCodec(_) => ErrorKind::NewerSchema,
            VaultError::KeyringDamaged(_) | VaultError::NotAuthentic => ErrorKind::Damaged,
            VaultError::EmptyPassphrase
            | VaultError::BackupDamaged(_)
            | VaultError::NotABackup(_)
            | VaultError::KeyringExists(_)
            | VaultError::PracticeFileDamaged
            | VaultError::OtherPractice
            | VaultError::TooLarge { .. } => ErrorKind::BadInput,
            VaultError::File { source, .. } => disk(source),
            _ => ErrorKind::Failure,
        };
        if let VaultError::BackupDamaged(_) | VaultError::NotABackup(_) = error {
            return Self::new(kind, error).advise("Nothing was changed; use another backup");
        }
        Self::new(kind, error)
    }
}

impl From<ChartError> for CommandError {
    fn from(error: ChartError) -> Self {
        let kind = match &error {
            ChartError::NotFound(_) | ChartError::Deleted(_) => ErrorKind::NotFound,
            ChartError::ConflictChanged { .. } => ErrorKind::Changed,
            ChartError::Damaged(_) => ErrorKind::Damaged,
            _ => ErrorKind::BadInput,
        };
        Self::new(kind, error)
    }
}

impl From<SyncError> for CommandError {
    fn from(error: SyncError) -> Self {
        let kind = match &error {
            SyncError::WrongKey { .. } | SyncError::Violation(_) => ErrorKind::Peer,
            SyncError::Refused(_) | SyncError::RefusedByPeer(_) => ErrorKind::Denied,
            SyncError::Resolve { .. }
            | SyncError::NoAddress
            | SyncError::Unreachable { .. }
            | SyncError::Unreached
            | SyncError::Patience(_) => ErrorKind::Unreachable,
            _ => ErrorKind::Failure,
        };
        Self::new(kind, error)
    }
}

/// A full disk is told apart: the remedy is another.
pub(super) fn disk(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Failure,
    }
}
