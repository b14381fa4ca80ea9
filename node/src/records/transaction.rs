//! What is done together, and what a failure leaves: transactions over the ledger and the index.
//!
//! Calls that wait together share one transaction and one `fsync` (see [`super::handle`]); each
//! stands in a savepoint of its own, opened at its first write, so that a call that fails leaves
//! nothing behind and takes no other's work along. Invariants:
//!
//! - The ledger commits before the index. The index may be behind, never ahead; it commits once
//!   for many commits of the ledger, since whatever it loses it catches up with from its cursor.
//! - What is rolled back is gone from memory too: roster, keys, staff, documents, events of the
//!   trail, logs to tell of.
//! - Where the transaction was given up under an earlier call (SQLite does so when the disk is
//!   full), it is *doomed*: nothing more is done in it, and no caller of it gets a result.

use super::{Advance, Records, RecordsError};
use crate::audit::AuditOutcome;
use crate::store::StoreError;
use carnet_sync_protocol::id::LogId;
use std::collections::BTreeSet;

/// A savepoint in both databases.
struct Scope {
    /// Whether the index has one: a node may be unlocked in the midst of a transaction.
    index: bool,
    grown: BTreeSet<LogId>,
    /// How many events of the trail were noted before.
    events: usize,
}

/// The transaction under way, as far as SQLite does not know it.
#[derive(Default)]
pub(super) struct Transaction {
    /// Logs that grew since the last commit.
    pub grown: BTreeSet<LogId>,
    /// Logs that grew in commits of which nobody was told yet.
    untold: BTreeSet<LogId>,
    /// Whether a call is under way, which gets a savepoint of its own.
    in_call: bool,
    call: Option<Scope>,
    /// Why nothing of this transaction will be kept.
    doomed: Option<String>,
    /// The roster could not be read again after something was rolled back.
    stale: bool,
    /// The index was rolled back, perhaps to before what the ledger holds of cuts and decisions.
    pub unsettled: bool,
    /// Commits of the ledger since the index committed, and up to where it showed the ledger then.
    ahead: u32,
    shown: u64,
}

/// Commits of the ledger that share one of the index, and entries that it then shows: so much is
/// shown anew after a power cut, or after a commit that failed. Ids are random: an import of few
/// charts touches most pages of a key, and a commit encrypts and writes each of them.
const LEDGER_COMMITS_MAX: u32 = 64;
const ENTRIES_SHOWN_MAX: u64 = if cfg!(test) { 1024 } else { 4096 };

impl Records {
    /// Makes everything written since the last commit durable, and tells which logs grew.
    ///
    /// When it fails, nothing of that is kept, here or on disk.
    pub fn commit(&mut self) -> Result<Advance, RecordsError> {
        let done = self.commit_early();
        if self.transaction.in_call {
            // A call that commits midway: whoever called before it is answered, and listeners are
            // told, by the commit at its end.
            return done.map(|()| Advance::new());
        }
        if self.transaction.doomed.take().is_some() {
            self.unwritten.clear();
        }
        done?;
        let told = std::mem::take(&mut self.transaction.untold);
        Ok(told.into_iter().map(|log| (log, self.ledger.heads(&log).to_vec())).collect())
    }

    /// Commits before a call has ended, since what it hands out on the way must be on record.
    /// Listeners are told with the commit that the caller waits for.
    pub(super) fn commit_early(&mut self) -> Result<(), RecordsError> {
        self.commit_ledger()?;
        if self.is_index_due() {
            self.commit_index();
        }
        Ok(())
    }

    fn commit_ledger(&mut self) -> Result<(), RecordsError> {
        self.check_doom()?;
        if let Err(error) = self.write_trail() {
            return Err(self.doom(error.to_string()));
        }
        if let Some(scope) = self.transaction.call.take() {
            self.keep_scope(scope)?;
        }
        if self.ledger.in_transaction()
            && let Err(error) = self.ledger.commit()
        {
            return Err(self.doom(error.to_string()));
        }
        let transaction = &mut self.transaction;
        transaction.ahead += 1;
        transaction.untold.append(&mut transaction.grown);
        Ok(())
    }

    fn is_index_due(&self) -> bool {
        let Some(charts) = &self.charts else { return false };
        let Transaction { ahead, shown, .. } = self.transaction;
        // What can't be read is seen when it is committed.
        let applied = charts.index.applied_until().unwrap_or(u64::MAX);
        charts.index.is_lost()
            || ahead >= LEDGER_COMMITS_MAX
            || applied.saturating_sub(shown) >= ENTRIES_SHOWN_MAX
    }

    /// Commits what the index shows of durable entries. When that fails it will catch up.
    pub(super) fn commit_index(&mut self) {
        if let Err(error) = self.try_to_commit_index() {
            tracing::warn!(%error, "the index did not commit and will catch up");
        }
    }

    fn try_to_commit_index(&mut self) -> Result<(), StoreError> {
        self.transaction.ahead = 0;
        let Some(charts) = &mut self.charts else { return Ok(()) };
        let mut done = Ok(());
        if charts.index.in_transaction() && !self.ledger.in_transaction() {
            done = charts.index.commit();
        }
        if done.is_err() {
            // The ledger has the entries; the index is derived and goes on from its cursor.
            charts.documents.forget_unsaved();
            self.transaction.unsettled = true;
        }
        self.transaction.shown = charts.index.applied_until().unwrap_or_default();
        done
    }

    /// Gives back the memory that making much of the index took.
    pub(super) fn give_memory_back(&mut self) {
        if let Some(charts) = &mut self.charts
            && let Err(error) = charts.index.expect_much(false)
        {
            tracing::warn!(%error, "the index keeps its memory");
        }
    }

    /// Has the next commit tell the heads of every log once more, if something is packed: sessions
    /// then look again for what they found nothing of.
    pub(super) fn tell_anew(&mut self) -> Result<(), RecordsError> {
        if self.ledger.packed()?.packs > 0 {
            self.transaction.untold.extend(self.ledger.logs());
        }
        Ok(())
    }

    /// Does a call whole or not at all; not durable before the next commit.
    pub(super) fn whole<T>(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<T, RecordsError>,
    ) -> Result<T, RecordsError> {
        if self.transaction.stale {
            self.read_anew()?;
        }
        self.transaction.in_call = true;
        let result = f(self);
        self.transaction.in_call = false;
        match (self.transaction.call.take(), result) {
            (Some(scope), Ok(value)) => self.keep_scope(scope).map(|()| value),
            (Some(scope), Err(error)) => {
                self.undo_scope(scope);
                Err(error)
            }
            (None, result) => result,
        }
    }

    /// After a panic in a call: gives up the transaction, and trusts nothing in memory.
    pub(super) fn recover(&mut self) -> RecordsError {
        self.transaction.in_call = false;
        if let Err(error) = self.ledger.recover() {
            tracing::error!(%error, "the ledger could not be read again");
        }
        self.doom(
            "another call failed badly; it and what was done together with it were undone".into(),
        );
        RecordsError::Bug("a call ended in a panic and was undone".into())
    }

    /// Does `f` whole or not at all; still not durable before the next commit.
    pub(super) fn atomically<T>(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<T, RecordsError>,
    ) -> Result<T, RecordsError> {
        self.begin()?;
        let scope = self.open_scope()?;
        match f(self) {
            Ok(value) => self.keep_scope(scope).map(|()| value),
            Err(error) => {
                self.undo_scope(scope);
                Err(error)
            }
        }
    }

    /// Whether a call is under way, which is done whole or not at all.
    pub(super) fn is_in_call(&self) -> bool {
        self.transaction.in_call
    }

    /// Opens the transaction, and the savepoint of the call under way, if they are not open.
    pub(super) fn begin(&mut self) -> Result<(), RecordsError> {
        self.check_doom()?;
        if !self.ledger.in_transaction() {
            self.ledger.begin()?;
        }
        if let Some(charts) = &mut self.charts
            && !charts.index.in_transaction()
        {
            charts.index.begin()?;
        }
        if self.transaction.in_call && self.transaction.call.is_none() {
            self.transaction.call = Some(self.open_scope()?);
        }
        Ok(())
    }

    /// Keeps what the call has done so far, which is only derived, even if it fails later: it need
    /// not be done again, and what it takes to undo it does not grow.
    pub(super) fn keep_derived(&mut self) -> Result<(), RecordsError> {
        if let Some(scope) = self.transaction.call.take() {
            self.keep_scope(scope)?;
        }
        if self.is_index_due() {
            self.commit_ledger()?;
            // Were this only logged, whoever shows one slice after another would never end.
            self.try_to_commit_index()?;
        }
        Ok(())
    }

    /// Whether nothing was written by the call under way, or no call is under way.
    pub(super) fn is_fresh(&self) -> bool {
        self.transaction.in_call && self.transaction.call.is_none()
    }

    fn check_doom(&self) -> Result<(), RecordsError> {
        match &self.transaction.doomed {
            Some(reason) => Err(RecordsError::NotCommitted(reason.clone())),
            None => Ok(()),
        }
    }

    fn open_scope(&mut self) -> Result<Scope, RecordsError> {
        self.ledger.savepoint()?;
        let opened = self.charts.as_mut().map(|charts| charts.index.savepoint()).transpose();
        match opened {
            Ok(index) => Ok(Scope {
                index: index.is_some(),
                grown: self.transaction.grown.clone(),
                events: self.unwritten.len(),
            }),
            Err(error) => {
                if let Err(second) = self.ledger.rollback_to() {
                    self.doom(second.to_string());
                }
                Err(error.into())
            }
        }
    }

    fn keep_scope(&mut self, scope: Scope) -> Result<(), RecordsError> {
        self.check_doom()?;
        // The index first: were the ledger's kept and the index's not, the caller would be told of
        // a failure and the entries be there.
        if let Some(charts) = &mut self.charts
            && scope.index
            && let Err(error) = charts.index.release()
        {
            self.undo_scope(Scope { index: false, ..scope });
            return Err(error.into());
        }
        self.ledger.release().map_err(|error| self.doom(error.to_string()))
    }

    fn undo_scope(&mut self, scope: Scope) {
        if self.transaction.doomed.is_some() {
            return;
        }
        self.transaction.grown = scope.grown;
        // What was undone did not happen; that it was asked for, and refused, did.
        let noted = self.unwritten.split_off(scope.events.min(self.unwritten.len()));
        self.unwritten.extend(noted.into_iter().filter(|e| e.outcome != AuditOutcome::Done));
        let mut undone = self.ledger.rollback_to();
        if let Some(charts) = &mut self.charts
            && scope.index
        {
            undone = undone.and(charts.index.rollback_to());
        }
        match undone {
            Ok(()) if !self.ledger.is_lost() => self.forget_derived(),
            Ok(()) => drop(self.doom("an earlier error ended the transaction".into())),
            Err(error) => drop(self.doom(error.to_string())),
        }
    }

    /// Gives up everything since the last commit; the error is for every caller of it.
    fn doom(&mut self, reason: String) -> RecordsError {
        self.transaction.grown.clear();
        self.transaction.call = None;
        // Nobody gets an answer, so nothing was disclosed or done.
        self.unwritten.clear();
        self.ledger.rollback();
        if let Some(charts) = &mut self.charts {
            charts.index.rollback();
        }
        self.forget_derived();
        let reason = self.transaction.doomed.get_or_insert(reason);
        RecordsError::NotCommitted(reason.clone())
    }

    /// Throws away what memory may hold of entries that were just rolled back.
    fn forget_derived(&mut self) {
        if let Some(charts) = &mut self.charts {
            charts.documents.forget_unsaved();
        }
        self.transaction.stale = true;
        self.transaction.unsettled = true;
        if let Err(error) = self.read_anew() {
            tracing::error!(%error, "the practice's roster could not be read again; it will be tried at the next call");
        }
    }

    fn read_anew(&mut self) -> Result<(), RecordsError> {
        self.fold_roster()?;
        self.read_keys();
        self.read_staff()?;
        self.transaction.stale = false;
        Ok(())
    }
}
