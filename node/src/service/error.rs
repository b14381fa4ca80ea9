//! What a command answers when it cannot do what was asked: what, where, what to do, and the
//! number with which the process ends.
//!
//! Nothing of a patient ever stands in one of these: they are printed, logged and pasted into mail.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What went wrong, for scripts and for choosing the words. Names never change once published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// Something else, told in the text.
    Failure,
    /// A part was done, a part was not; the answer says which.
    Partial,
    /// The rules do not let this actor or this node do it.
    Denied,
    /// The directory holds no node.
    NoNode,
    /// Another process has the directory.
    InUse,
    /// The passphrase, key file or recovery code is not the right one.
    WrongPassphrase,
    /// The node is locked, and this needs what is sealed.
    Locked,
    /// The user ended it.
    Interrupted,
    /// What was given cannot be read or makes no sense.
    BadInput,
    /// What was named is not there.
    NotFound,
    /// The invitation was used, has expired or was altered.
    Invitation,
    /// The other side is of another practice, or was revoked.
    Peer,
    /// No answer from the other side.
    Unreachable,
    /// The store fails its own check.
    Damaged,
    /// The store was written by a newer Carnet.
    NewerSchema,
    /// The disk is full.
    DiskFull,
    /// What was decided upon has changed since it was shown.
    Changed,
    /// Settings that cannot be read.
    Config,
}

/// The number with which the process ends; the table stands in `docs/operations.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// All done.
    Fine = 0,
    /// Not done.
    Failure = 1,
    /// Done in part.
    Partial = 3,
    /// Not allowed.
    Denied = 4,
    /// No node in this directory.
    NoNode = 10,
    /// Another process has the directory.
    InUse = 11,
    /// Wrong passphrase, key file or recovery code.
    WrongPassphrase = 12,
    /// The node is locked.
    Locked = 13,
    /// Ended by the user.
    Interrupted = 130,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 18] = [
        Self::Failure,
        Self::Partial,
        Self::Denied,
        Self::NoNode,
        Self::InUse,
        Self::WrongPassphrase,
        Self::Locked,
        Self::Interrupted,
        Self::BadInput,
        Self::NotFound,
        Self::Invitation,
        Self::Peer,
        Self::Unreachable,
        Self::Damaged,
        Self::NewerSchema,
        Self::DiskFull,
        Self::Changed,
        Self::Config,
    ];

    /// The exit code that goes with it.
    pub const fn exit(self) -> ExitCode {
        match self {
            Self::Partial => ExitCode::Partial,
            Self::Denied => ExitCode::Denied,
            Self::NoNode => ExitCode::NoNode,
            Self::InUse => ExitCode::InUse,
            Self::WrongPassphrase => ExitCode::WrongPassphrase,
            Self::Locked => ExitCode::Locked,
            Self::Interrupted => ExitCode::Interrupted,
            Self::Failure
            | Self::BadInput
            | Self::NotFound
            | Self::Invitation
            | Self::Peer
            | Self::Unreachable
            | Self::Damaged
            | Self::NewerSchema
            | Self::DiskFull
            | Self::Changed
            | Self::Config => ExitCode::Failure,
        }
    }
}

/// The rule that stands in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Its name; never changes.
    pub code: String,
    /// Who is hindered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub who: String,
    /// From doing what.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub act: String,
    /// With what kind of information.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub class: String,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct CommandError {
    /// What kind of thing went wrong; it decides the exit code.
    pub kind: ErrorKind,
    /// What went wrong, in a sentence without its full stop.
    pub what: String,
    /// Where: a file, a resource, a peer. Empty when the command itself says it.
    #[serde(rename = "where", default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// What the reader can do now. Empty when the kind says it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub what_to_do: String,
    /// Which rule stands in the way, when one does: a code, and what fills its words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Box<Reason>>,
    /// What was done all the same, when the work was done in part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<serde_json::Value>,
}

impl CommandError {
    /// An error of this kind, told in `what`.
    pub fn new(kind: ErrorKind, what: impl fmt::Display) -> Self {
        Self {
            kind,
            what: what.to_string(),
            place: String::new(),
            what_to_do: String::new(),
            reason: None,
            done: None,
        }
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = place.to_string();
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn advise(mut self, what_to_do: impl fmt::Display) -> Self {
        self.what_to_do = what_to_do.to_string();
        self
    }

    /// Carries what was done all the same.
    #[must_use]
    pub fn with_done(mut self, done: serde_json::Value) -> Self {
        self.done = Some(done);
        self
    }

    /// What was given cannot be used.
    pub fn bad_input(what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::BadInput, what)
    }

    /// What was named is not there.
    pub fn not_found(what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::NotFound, what)
    }

    /// A file could not be read or written.
    pub fn file(error: &std::io::Error, path: &std::path::Path) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                ErrorKind::DiskFull
            }
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::Failure,
        };
        Self::new(kind, error).at(path.display())
    }

    /// The exit code.
    pub const fn exit(&self) -> ExitCode {
        self.kind.exit()
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.what)?;
        if !self.what_to_do.is_empty() {
            write!(f, ". {}", self.what_to_do)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let documented = include_str!("../../../docs/operations.md");
        for kind in ErrorKind::ALL {
            let row = format!("| {} |", kind.exit() as u8);
            assert!(documented.contains(&row), "docs/operations.md has no row `{row}`");
        }
        assert_eq!(ErrorKind::Locked.exit() as u8, 13);
        assert_eq!(ErrorKind::DiskFull.exit() as u8, 1);
    }

    #[test]
    fn json_names_what_where_and_what_to_do() {
        let error = CommandError::new(ErrorKind::NoNode, "no node").at("/x").advise("Run init");
        let json = serde_json::to_value(&error).expect("it serialises");
        assert_eq!(json["kind"], "no-node");
        assert_eq!(json["where"], "/x");
        assert_eq!(json["what_to_do"], "Run init");
        assert_eq!(error.to_string(), "/x: no node. Run init");
    }
}
