//! The one door to the charts.
//!
//! Permission, chart, cipher and disk meet here and nowhere else. Invariants:
//!
//! - No plaintext leaves without a [`Permit`](crate::access::Permit).
//! - A write is acknowledged after [`Records::commit`], whose `fsync` makes it durable; the
//!   [`Handle`] does so for everybody who talks to the records through it.
//! - The ledger is the truth. The index, and every document in memory, is derived from it and can
//!   be thrown away at any moment.
//! - While locked, entries are received, kept and offered, and nothing is read or written.
//!
//! | file | what it does |
//! |---|---|
//! | [`open`] | founding a practice, opening, unlocking, locking |
//! | [`membership`], [`joining`] | invitations, certificates, revocation, epochs; joining a practice |
//! | [`restore`] | a practice from ciphertext and the recovery code |
//! | [`author`] | this node's own entries: sealed, chained, signed |
//! | [`receive`], [`offer`] | what peers send, and what they may have |
//! | [`documents`], `intake`, `homes`, [`project`] | entries to documents to index |
//! | [`read`], [`search`], [`mod@write`], [`import`] | what people do with charts |
//! | [`duplicates`], [`linked`] | the same patient in two charts: likely, said to be, said not to be |
//! | [`door`], [`staff`], [`trail`] | who may, who works here, who did what |
//! | [`review`] | what a person must look at |
//! | [`verify`], [`status`] | is everything as it should be |
//! | [`handle`] | the thread that owns it all, and group commit |

pub mod author;
pub mod documents;
pub mod door;
pub mod duplicates;
pub mod error;
pub mod handle;
mod homes;
pub mod import;
mod intake;
pub mod joining;
pub mod linked;
pub mod membership;
pub mod offer;
pub mod open;
pub mod project;
pub mod read;
pub mod receive;
pub mod restore;
pub mod review;
pub mod search;
pub mod staff;
pub mod status;
pub mod trail;
pub mod verify;
pub mod write;

pub use error::RecordsError;
pub use handle::{Advance, Handle, Owner};
pub use open::{Founded, Init};

use crate::access::{StaffRoster, Tightening, roster};
use crate::audit::AuditEvent;
use crate::base::environment::Environment;
use crate::identity::roster::Roster;
use crate::store::index::Index;
use crate::store::ledger::Ledger;
use crate::vault::KeyBook;
use crate::vault::{Keyring, Unlocked};
use carnet_sync_protocol::entry::HybridTime;
use carnet_sync_protocol::id::LogId;
use documents::Documents;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that one node holds; owned by one thread, usually through a [`Handle`].
pub struct Records {
    dir: PathBuf,
    environment: Environment,
    /// Held, never read: the operating system frees the directory's lock when it is dropped.
    _directory_lock: File,
    ledger: Ledger,
    keyring: Keyring,
    roster: Roster,
    /// Control statements that were not accepted, in words; listed by `verify`.
    refused_statements: Vec<String>,
    /// The latest time given to an entry, so that this node's own times never run backwards.
    time: HybridTime,
    /// Logs that grew since the last commit.
    grown: BTreeSet<LogId>,
    /// Events of the audit trail that the next commit writes.
    unwritten: Vec<AuditEvent>,
    /// What the practice takes away from the role table.
    tightening: Arc<Tightening>,
    /// What only an unlocked node has.
    charts: Option<Charts>,
}

/// The plaintext side: there while the node is unlocked.
struct Charts {
    unlocked: Unlocked,
    index: Index,
    keys: KeyBook,
    documents: Documents,
    staff: StaffRoster,
    /// The statements that the roster is folded from.
    staff_said: Vec<roster::Said>,
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Records {
    /// The directory that holds this node.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where time and chance come from.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The keys at hand without unlocking: transport key, certificate, how the node is protected.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Who belongs to the practice, as the control channel tells.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Whether nothing can be read or written until somebody unlocks the node.
    pub fn is_locked(&self) -> bool {
        self.charts.is_none()
    }

    fn charts(&self) -> Result<&Charts, RecordsError> {
        self.charts.as_ref().ok_or(RecordsError::Locked)
    }

    fn charts_mut(&mut self) -> Result<&mut Charts, RecordsError> {
        self.charts.as_mut().ok_or(RecordsError::Locked)
    }

    /// Makes everything written since the last commit durable, and tells which logs grew.
    ///
    /// When it fails, nothing of that is kept, here or on disk.
    pub fn commit(&mut self) -> Result<Advance, RecordsError> {
        if let Err(error) = self.write_trail() {
            self.abandon()?;
            return Err(RecordsError::NotCommitted(error.to_string()));
        }
        if self.ledger.in_transaction()
            && let Err(error) = self.ledger.commit()
        {
            self.abandon()?;
            return Err(RecordsError::NotCommitted(error.to_string()));
        }
        if let Some(charts) = &mut self.charts
            && charts.index.in_transaction()
            && let Err(error) = charts.index.commit()
        {
            // The ledger has the entries; the index is derived and catches up from its cursor.
            tracing::warn!(%error, "the index did not commit and will catch up");
            charts.documents.forget_unsaved();
        }
        let grown = std::mem::take(&mut self.grown);
        Ok(grown.into_iter().map(|log| (log, self.ledger.heads(&log).to_vec())).collect())
    }

    /// Commits before a call has ended, since what it hands out on the way must be on record.
    fn commit_early(&mut self) -> Result<(), RecordsError> {
        let advance = self.commit()?;
        // Told to whoever listens with the commit that the caller waits for.
        self.grown.extend(advance.into_iter().map(|(log, _)| log));
        Ok(())
    }

    /// Does `f` whole or not at all; still not durable before the next commit.
    fn atomically<T>(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<T, RecordsError>,
    ) -> Result<T, RecordsError> {
        self.begin()?;
        self.ledger.savepoint()?;
        if let Some(charts) = &mut self.charts {
            charts.index.savepoint()?;
        }
        match f(self) {
            Ok(value) => {
                self.ledger.release()?;
                if let Some(charts) = &mut self.charts {
                    charts.index.release()?;
                }
                Ok(value)
            }
            Err(error) => {
                if self.roll_back().is_err() {
                    self.abandon()?;
                }
                Err(error)
            }
        }
    }

    fn begin(&mut self) -> Result<(), RecordsError> {
        if !self.ledger.in_transaction() {
            self.ledger.begin()?;
        }
        if let Some(charts) = &mut self.charts
            && !charts.index.in_transaction()
        {
            charts.index.begin()?;
        }
        Ok(())
    }

    fn roll_back(&mut self) -> Result<(), RecordsError> {
        self.ledger.rollback_to()?;
        if let Some(charts) = &mut self.charts {
            charts.index.rollback_to()?;
        }
        self.forget_derived()
    }

    /// Gives up everything since the last commit.
    fn abandon(&mut self) -> Result<(), RecordsError> {
        self.grown.clear();
        // Nobody gets an answer, so nothing was disclosed or done.
        self.unwritten.clear();
        if self.ledger.in_transaction() {
            self.ledger.rollback()?;
        }
        if let Some(charts) = &mut self.charts
            && charts.index.in_transaction()
        {
            charts.index.rollback()?;
        }
        self.forget_derived()
    }

    /// Throws away what memory may hold of entries that were just rolled back.
    fn forget_derived(&mut self) -> Result<(), RecordsError> {
        if let Some(charts) = &mut self.charts {
            charts.documents.forget_unsaved();
        }
        self.fold_roster()?;
        self.read_keys();
        self.read_staff()
    }

    /// Saves what helps the next start, and closes.
    pub fn close(mut self) {
        if let Err(error) = self.save_documents().and_then(|()| self.commit().map(|_| ())) {
            tracing::warn!(%error, "the documents in memory were not saved; the next start replays them");
        }
    }
}
