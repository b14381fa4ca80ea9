//! The ledger: append-only logs of signed entries in `log.db`, the only truth of a node.
//!
//! A log is held without holes from its first entry. It is a straight line until its author was
//! cloned; then it is a tree, kept as *branches*: a branch is a straight piece of a log that
//! begins at entry 1 or after some entry of another branch, and its last entry is a head. What is
//! held is thus known from one small table, which also stays in memory, and undone with the
//! transaction that changed it.
//!
//! An entry's *arrival* numbers the entries of this file in the order in which they came, from 1
//! without holes; it means nothing elsewhere.

mod append;
mod branch;
mod held;
mod load;
mod packs;
mod read;
mod room;
mod schema;
#[cfg(test)]
mod tests;

pub use append::Appended;
pub use packs::{Acknowledged, Group, NewPack, OpenPack, Opener, Opening, Pack, Packed, Slot};
pub use read::{Held, Stamp};

use super::database::{Database, companion, remove};
use super::error::StoreError;
use carnet_sync_protocol::frontier::Frontier;
use carnet_sync_protocol::id::{LogId, PracticeId};
use held::{Known, Undo};
use packs::OpenPacks;
use schema::SCHEMA;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

type Result<T> = std::result::Result<T, StoreError>;

/// The key under which the practice is kept.
const PRACTICE: &str = "practice";

/// The ledger of one node.
pub struct Ledger {
    pub(super) database: Database,
    practice: PracticeId,
    logs: BTreeMap<LogId, Known>,
    frontier: Frontier,
    last_arrival: u64,
    undo: Vec<Undo>,
    opener: Option<Box<dyn Opener>>,
    open_packs: RefCell<OpenPacks>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ledger({})", self.path().display())
    }
}

impl Ledger {
    /// Makes the empty ledger of a practice.
    pub fn create(path: &Path, practice: PracticeId) -> Result<Self> {
        let mut database = Database::create(path)?;
        // So that pages that come free can be given back.
        database.batch("PRAGMA auto_vacuum = INCREMENTAL")?;
        durable(&database)?;
        SCHEMA.install(&mut database)?;
        let directory = path.parent().unwrap_or(Path::new("."));
        crate::base::file::sync_directory(directory)
            .map_err(|error| StoreError::io(directory, &error))?;
        let mut ledger = Self::empty(database, practice);
        ledger.set_meta(PRACTICE, practice.as_bytes())?;
        Ok(ledger)
    }

    /// Opens a ledger; one of an older schema is upgraded first.
    pub fn open(path: &Path) -> Result<Self> {
        // A kill left it behind.
        remove(&companion(path, ".new"))?;
        let database = SCHEMA.open(path)?;
        durable(&database)?;
        Self::read(database)
    }

    /// A second connection that only reads, for a check or a copy beside the one that writes. It
    /// knows the frontier of the moment at which it was opened.
    pub fn open_read_only(path: &Path) -> Result<Self> {
        let database = Database::open_read_only(path)?;
        if SCHEMA.version(&database)? == 1 {
            // It can't be upgraded here, and what the newer one has more is empty.
            database.batch(schema::FIRST_AS_SECOND)?;
        }
        Self::read(database)
    }

    fn read(database: Database) -> Result<Self> {
        let mut ledger = Self::empty(database, PracticeId::ZERO);
        let practice = ledger.meta(PRACTICE)?.and_then(|bytes| bytes.try_into().ok());
        ledger.practice = practice
            .map(PracticeId)
            .ok_or_else(|| StoreError::corrupt(ledger.path(), "it names no practice"))?;
        ledger.read_known()?;
        Ok(ledger)
    }

    fn empty(database: Database, practice: PracticeId) -> Self {
        Self {
            database,
            practice,
            logs: BTreeMap::new(),
            frontier: Frontier::default(),
            last_arrival: 0,
            undo: Vec::new(),
            opener: None,
            open_packs: RefCell::default(),
        }
    }

    /// Writes a copy into a new file, as the ledger stands at this moment; another connection may
    /// write on meanwhile. What is there by that name is an earlier copy, and is removed.
    pub fn copy_to(&self, path: &Path) -> Result<()> {
        remove(path)?;
        // Made beforehand, so that it is readable by its owner only.
        Database::create(path)?.close()?;
        self.database.write("VACUUM INTO ?1", [path.to_string_lossy()]).map(drop)
    }

    /// Removes such a copy, if there is one.
    pub fn remove_copy(path: &Path) -> Result<()> {
        remove(path)
    }

    /// Closes it, so that everything is in the one file.
    pub fn close(self) -> Result<()> {
        self.database.close()
    }

    /// The practice whose entries these are.
    pub fn practice(&self) -> PracticeId {
        self.practice
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.database.path()
    }

    /// Removes the files of older schemas, once the new one has been verified.
    pub fn remove_old_copies(&self) -> Result<()> {
        SCHEMA.remove_old_copies(self.path())
    }

    /// Opens a transaction; [`Self::commit`] makes all of it durable with one fsync.
    pub fn begin(&mut self) -> Result<()> {
        assert!(!self.in_transaction(), "a transaction is open already");
        self.savepoint()
    }

    /// Makes the transaction durable. On failure nothing of it is kept, nor in the frontier.
    pub fn commit(&mut self) -> Result<()> {
        assert!(self.database.depth() == 1, "a savepoint is still open");
        self.release()
    }

    /// Gives the whole transaction up, with the savepoints in it.
    pub fn rollback(&mut self) {
        self.forget_open_packs();
        while !self.undo.is_empty() {
            self.undo_known();
        }
        self.database.undo_all();
    }

    /// Gives the transaction up, and reads anew what is held: for after a panic. When that fails,
    /// what is held is what memory says.
    pub fn recover(&mut self) -> Result<()> {
        self.rollback();
        let before = (
            std::mem::take(&mut self.logs),
            std::mem::take(&mut self.frontier),
            std::mem::take(&mut self.last_arrival),
        );
        self.read_known().inspect_err(|_| (self.logs, self.frontier, self.last_arrival) = before)
    }

    /// Whether SQLite gave up the transaction under way: nothing of it will be kept.
    pub fn is_lost(&self) -> bool {
        self.database.lost()
    }

    /// Lets the next commit fail, or the file grow by so many pages at most.
    #[cfg(test)]
    pub fn let_fail(&self, commit: bool, pages: Option<u32>) {
        if commit {
            self.database.fail_commit();
        }
        self.database.limit_growth(pages).expect("a limit");
    }

    /// Lets the file grow by so many pages at most, as a disk does that is nearly full.
    pub fn limit_growth(&self, pages: Option<u32>) -> Result<()> {
        self.database.limit_growth(pages)
    }

    /// Whether a transaction is open.
    pub fn in_transaction(&self) -> bool {
        self.database.depth() > 0
    }

    /// Opens a savepoint in the transaction, or the transaction itself.
    pub fn savepoint(&mut self) -> Result<()> {
        self.database.descend()?;
        self.undo.push(Undo::at(self.last_arrival));
        Ok(())
    }

    /// Keeps what was done since the innermost savepoint.
    pub fn release(&mut self) -> Result<()> {
        match self.database.keep() {
            Ok(()) => {
                self.keep_known();
                Ok(())
            }
            Err(error) => {
                self.forget_open_packs();
                self.undo_known();
                Err(error)
            }
        }
    }

    /// Undoes what was done since the innermost savepoint, and closes it.
    pub fn rollback_to(&mut self) -> Result<()> {
        self.forget_open_packs();
        self.undo_known();
        self.database.undo()
    }

    /// Runs `f` in a savepoint, which is kept if `f` succeeds and undone if not.
    pub fn within<T, E: From<StoreError>>(
        &mut self,
        f: impl FnOnce(&mut Self) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        self.savepoint()?;
        match f(self) {
            Ok(done) => {
                self.release()?;
                Ok(done)
            }
            Err(error) => {
                if let Err(second) = self.rollback_to() {
                    // The commit will fail too; what matters to the caller is the first error.
                    tracing::warn!(%second, "a savepoint could not be undone");
                }
                Err(error)
            }
        }
    }

    /// A value that the caller keeps beside the entries.
    pub fn meta(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.database.one("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
    }

    /// Keeps a value beside the entries.
    pub fn set_meta(&mut self, key: &str, value: &[u8]) -> Result<()> {
        let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2)
                   ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        self.database.write(sql, (key, value)).map(drop)
    }

    /// Drops a value kept beside the entries.
    pub fn remove_meta(&mut self, key: &str) -> Result<()> {
        self.database.write("DELETE FROM meta WHERE key = ?1", [key]).map(drop)
    }

    /// SQLite's own check of the file, and of what the tables promise each other; nothing when the
    /// file is sound. Hashes and signatures are for the caller to check, by [`Self::by_arrival`].
    pub fn integrity_check(&self) -> Result<Vec<String>> {
        let mut problems = self.database.integrity_check()?;
        problems.extend(self.check_branches()?);
        problems.extend(self.check_packs()?);
        Ok(problems)
    }
}

/// Each commit reaches the disk before it is acknowledged.
fn durable(database: &Database) -> Result<()> {
    database.batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -16000;
         PRAGMA journal_size_limit = 67108864",
    )
}
