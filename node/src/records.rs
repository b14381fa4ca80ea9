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
//! | [`membership`], [`joining`], [`renewal`] | invitations, certificates, revocation, epochs; joining a practice |
//! | [`restore`] | a practice from ciphertext and the recovery code |
//! | [`backup`] | this node in one sealed file, and out of it again |
//! | [`compact`] | payloads put into packs, which can be made again |
//! | [`author`] | this node's own entries: sealed, chained, signed |
//! | [`receive`], [`offer`] | what peers send, and what they may have |
//! | [`documents`], `intake`, `ahead`, `twins`, `gate`, `homes`, [`project`] | entries to documents to index |
//! | [`read`], [`search`], [`mod@write`], [`import`] | what people do with charts |
//! | [`duplicates`], [`linked`] | the same patient in two charts: likely, said to be, said not to be |
//! | [`door`], [`staff`], [`trail`] | who may, who works here, who did what |
//! | [`login`], [`sessions`], [`tokens`] | who it is: by password, by session and PIN, by API token |
//! | [`review`], [`quarantine`] | what a person must look at; what is set aside |
//! | [`verify`], [`status`] | is everything as it should be |
//! | [`handle`], `transaction` | the thread that owns it all, group commit, and what a failure leaves |

mod ahead;
pub mod author;
pub mod backup;
mod body;
pub mod compact;
pub mod documents;
pub mod door;
pub mod duplicates;
pub mod error;
mod gate;
pub mod handle;
mod homes;
pub mod import;
mod intake;
pub mod joining;
pub mod joint;
pub mod linked;
pub mod login;
pub mod membership;
pub mod offer;
pub mod open;
pub mod project;
pub mod quarantine;
pub mod read;
pub mod receive;
pub mod renewal;
pub mod restore;
pub mod review;
pub mod search;
pub mod sessions;
pub mod staff;
pub mod status;
pub mod tokens;
pub mod trail;
mod transaction;
mod twins;
pub mod verify;
pub mod write;

pub use error::RecordsError;
pub use handle::{Advance, Handle, Owner};
pub use open::{Founded, Init};

use crate::access::{StaffRoster, Tightening, roster};
use crate::audit::AuditEvent;
use crate::base::environment::Environment;
use crate::identity::roster::Roster;
use crate::store::Device;
use crate::store::index::Index;
use crate::store::ledger::Ledger;
use crate::vault::KeyBook;
use crate::vault::{Keyring, Unlocked};
use carnet_sync_protocol::entry::HybridTime;
use documents::Documents;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use transaction::Transaction;

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
    /// The time given to an entry last, so that this node's own times don't run backwards.
    time: HybridTime,
    /// What is done and not yet durable.
    transaction: Transaction,
    /// The last entry that is not of the audit channel, and the last that a noted sync included.
    matter: Matter,
    /// Events of the audit trail that the next commit writes.
    unwritten: Vec<AuditEvent>,
    /// What the practice takes away from the role table.
    tightening: Arc<Tightening>,
    joint: joint::Joint,
    /// What only an unlocked node has.
    charts: Option<Charts>,
}

/// Which syncs are events of the trail. What tells of a sync is itself carried by the next one; so
/// a sync that carried nothing else is none, or there would be no end.
#[derive(Clone, Copy, Debug, Default)]
struct Matter {
    last: u64,
    noted: Option<u64>,
}

/// The plaintext side: there while the node is unlocked.
struct Charts {
    unlocked: Unlocked,
    index: Index,
    /// What is of this device alone. It takes no part in transactions: see [`crate::store::device`].
    device: Device,
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

    /// Lets each database grow by so many pages at most, as on a disk that is nearly full, until
    /// told otherwise or closed. For simulations, which can't fill a disk.
    pub fn limit_growth(&self, pages: Option<u32>) -> Result<(), RecordsError> {
        self.ledger.limit_growth(pages)?;
        match &self.charts {
            Some(charts) => Ok(charts.index.limit_growth(pages)?),
            None => Ok(()),
        }
    }

    /// Saves what helps the next start, and closes.
    pub fn close(mut self) {
        if let Err(error) = self.save_documents().and_then(|()| self.commit().map(|_| ())) {
            tracing::warn!(%error, "the documents in memory were not saved; the next start replays them");
        }
        self.commit_index();
    }
}
