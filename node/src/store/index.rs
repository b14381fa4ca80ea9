//! The index in `index.db`: what people look for, derived from the ledger and encrypted.
//!
//! Encrypted by SQLCipher under a raw key from the vault. It may be deleted at any time: whatever
//! is wrong with it (missing, corrupt, another key, another schema) is one error,
//! [`StoreError::IndexUnusable`], and the answer is always to make it anew. So it commits with
//! `synchronous=NORMAL`: after a power cut it may lag behind the ledger, and its cursor says where
//! to go on.

mod claims;
mod compact;
mod journal;
mod pairs;
mod patients;
mod resources;
mod trail;
mod words;

pub use claims::{Claim, Claims, Outcast};
pub use journal::{Brought, Cause, ConflictFilter, ConflictRow, DocumentRow, Pending, Quarantined};
pub use pairs::{BLOCK_MAX, LikenessRow, LinkageRow, PairRow, Said};
pub use patients::{Found, PatientTerms};
pub use resources::{Listing, ResourceRow, Version};
pub use trail::{TrailFilter, TrailRow};
pub use words::{digits, words};

use super::database::{Database, remove};
use super::error::StoreError;
use crate::base::private::Private;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, StoreError>;

/// Another number makes every node rebuild its index. To be raised also when the numbers of types
/// change ([`crate::base::fhir`]), or the dictionary with which the caller packs.
const SCHEMA: u32 = 7;

/// Tables are without rowid where a row is found by its key and small. Types and ids of resources
/// are kept as `compact.rs` says, in columns without a type. Charts and documents, which many rows
/// name, have a number.
const TABLES: &str = "
CREATE TABLE cursor (one INTEGER PRIMARY KEY CHECK (one = 1), applied INTEGER NOT NULL,
    gate BLOB NOT NULL);
INSERT INTO cursor VALUES (1, 0, x'');
CREATE TABLE chart (chart INTEGER PRIMARY KEY, id NOT NULL UNIQUE);
CREATE TABLE place (place INTEGER PRIMARY KEY, document BLOB NOT NULL UNIQUE);
CREATE TABLE resource (
    row INTEGER PRIMARY KEY, kind NOT NULL, id NOT NULL, place INTEGER NOT NULL, chart INTEGER,
    body BLOB NOT NULL, deleted INTEGER NOT NULL, conflicted INTEGER NOT NULL,
    arrival INTEGER NOT NULL, merged BLOB);
CREATE UNIQUE INDEX resource_by_id ON resource (kind, id);
CREATE INDEX resource_of_chart ON resource (chart, kind, id) WHERE chart IS NOT NULL;
CREATE TABLE home (kind NOT NULL, id NOT NULL, document BLOB NOT NULL,
    PRIMARY KEY (kind, id, document)) WITHOUT ROWID;
CREATE TABLE document (id BLOB PRIMARY KEY, bytes BLOB NOT NULL, applied INTEGER NOT NULL);
CREATE TABLE change (arrival INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE,
    entry BLOB NOT NULL, time_ms INTEGER NOT NULL, by TEXT);
CREATE INDEX change_by ON change (by, arrival) WHERE by IS NOT NULL;
CREATE TABLE pending (arrival INTEGER PRIMARY KEY, document BLOB NOT NULL, epoch BLOB,
    change BLOB);
CREATE INDEX pending_of_document ON pending (document);
CREATE INDEX pending_for_key ON pending (epoch) WHERE epoch IS NOT NULL;
CREATE INDEX pending_for_change ON pending (change) WHERE change IS NOT NULL;
CREATE TABLE quarantine (arrival INTEGER PRIMARY KEY, document BLOB, change BLOB,
    reason TEXT NOT NULL, discarded INTEGER NOT NULL);
CREATE INDEX quarantine_of_document ON quarantine (document);
CREATE INDEX quarantine_by_change ON quarantine (change) WHERE change IS NOT NULL;
CREATE TABLE claim (document BLOB NOT NULL, actor BLOB NOT NULL, sequence INTEGER NOT NULL,
    change BLOB NOT NULL, PRIMARY KEY (document, actor, sequence, change)) WITHOUT ROWID;
CREATE TABLE outcast (document BLOB NOT NULL, change BLOB NOT NULL, built INTEGER NOT NULL,
    PRIMARY KEY (document, change)) WITHOUT ROWID;
CREATE TABLE conflict (
    row INTEGER PRIMARY KEY, document BLOB NOT NULL, kind NOT NULL, id NOT NULL,
    patient, element TEXT NOT NULL, conflict TEXT NOT NULL, seen TEXT NOT NULL,
    json BLOB NOT NULL);
CREATE INDEX conflict_of_resource ON conflict (kind, id);
CREATE TABLE identifier (kind NOT NULL, value TEXT NOT NULL, system TEXT NOT NULL,
    id NOT NULL, PRIMARY KEY (kind, value, system, id)) WITHOUT ROWID;
CREATE INDEX identifier_of_resource ON identifier (kind, id);
CREATE TABLE patient (id NOT NULL PRIMARY KEY, birth_date TEXT) WITHOUT ROWID;
CREATE INDEX patient_by_birth_date ON patient (birth_date);
CREATE TABLE word (word TEXT NOT NULL, patient NOT NULL,
    PRIMARY KEY (word, patient)) WITHOUT ROWID;
CREATE INDEX word_of_patient ON word (patient);
CREATE TABLE trigram (trigram TEXT NOT NULL, word TEXT NOT NULL,
    PRIMARY KEY (trigram, word)) WITHOUT ROWID;
CREATE TABLE phone (digits TEXT NOT NULL, patient NOT NULL,
    PRIMARY KEY (digits, patient)) WITHOUT ROWID;
CREATE INDEX phone_of_patient ON phone (patient);
CREATE TABLE likeness (chart INTEGER PRIMARY KEY, node BLOB NOT NULL, profile BLOB NOT NULL);
CREATE TABLE block (key INTEGER NOT NULL, chart INTEGER NOT NULL,
    PRIMARY KEY (key, chart)) WITHOUT ROWID;
CREATE INDEX block_of_chart ON block (chart);
CREATE TABLE pair (a NOT NULL, b NOT NULL, score INTEGER NOT NULL,
    PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE INDEX pair_of_second ON pair (b);
CREATE TABLE linkage (id NOT NULL, a NOT NULL, b NOT NULL, said INTEGER NOT NULL,
    disputed INTEGER NOT NULL, PRIMARY KEY (id, a, b)) WITHOUT ROWID;
CREATE INDEX linkage_of_first ON linkage (a);
CREATE INDEX linkage_of_second ON linkage (b);
CREATE TABLE trail (arrival INTEGER NOT NULL, number INTEGER NOT NULL, time_ms INTEGER NOT NULL,
    actor TEXT NOT NULL, action TEXT NOT NULL, patient, event BLOB NOT NULL,
    PRIMARY KEY (arrival, number)) WITHOUT ROWID;
CREATE INDEX trail_of_patient ON trail (patient, arrival) WHERE patient IS NOT NULL;
CREATE INDEX trail_of_actor ON trail (actor, arrival);
";

/// The encrypted index of one node.
pub struct Index {
    database: Database,
    expects_much: bool,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("path", &self.database.path()).finish_non_exhaustive()
    }
}

impl Index {
    /// Makes an empty index; refused when there is a file already.
    pub fn create(path: &Path, key: &Private<[u8; 32]>) -> Result<Self> {
        let mut database = Database::create(path)?;
        unlock(&database, key)?;
        // Each table on its own would be a commit.
        database.descend()?;
        database.batch(TABLES)?;
        database.batch(&format!("PRAGMA user_version = {SCHEMA}"))?;
        database.keep()?;
        Ok(Self { database, expects_much: false })
    }

    /// Opens the index; whatever is wrong with it is [`StoreError::IndexUnusable`].
    pub fn open(path: &Path, key: &Private<[u8; 32]>) -> Result<Self> {
        let unusable = |reason: String| StoreError::IndexUnusable { path: path.into(), reason };
        let database = Database::open(path).map_err(|error| unusable(error.to_string()))?;
        let schema = unlock(&database, key)
            .and_then(|()| database.value::<u32>("PRAGMA user_version"))
            .map_err(|error| unusable(error.to_string()))?;
        if schema != SCHEMA {
            return Err(unusable(format!("schema {schema}, this program uses {SCHEMA}")));
        }
        // Reads a page of the content: a wrong key or a cut file shows here and not later.
        database
            .value::<i64>("SELECT applied FROM cursor")
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Self { database, expects_much: false })
    }

    /// Begins a new index beside the old one, which stays until [`Rebuild::finish`].
    pub fn rebuild(path: &Path, key: &Private<[u8; 32]>) -> Result<Rebuild> {
        let temporary = path.with_extension("db.new");
        remove(&temporary)?;
        let index = Self::create(&temporary, key)?;
        Ok(Rebuild { index, path: path.into(), key: key.clone() })
    }

    /// Opens a transaction.
    pub fn begin(&mut self) -> Result<()> {
        self.database.descend()
    }

    /// Keeps the transaction.
    pub fn commit(&mut self) -> Result<()> {
        self.database.keep()
    }

    /// Undoes the transaction, with every savepoint in it.
    pub fn rollback(&mut self) {
        self.database.undo_all();
    }

    /// Whether a transaction is open.
    pub fn in_transaction(&self) -> bool {
        self.database.depth() > 0
    }

    /// Whether SQLite gave up the transaction under way: nothing of it will be kept.
    pub fn is_lost(&self) -> bool {
        self.database.lost()
    }

    /// Opens a savepoint within the transaction.
    pub fn savepoint(&mut self) -> Result<()> {
        self.database.descend()
    }

    /// Keeps what was done since the innermost savepoint, as part of the transaction.
    pub fn release(&mut self) -> Result<()> {
        self.database.keep()
    }

    /// Undoes what was done since the innermost savepoint, and closes it.
    pub fn rollback_to(&mut self) -> Result<()> {
        self.database.undo()
    }

    /// Keeps more of the index in memory while much of it is made, and gives that back afterwards.
    /// What was dropped from memory has to be read, opened and authenticated again.
    pub fn expect_much(&mut self, much: bool) -> Result<()> {
        if much != self.expects_much {
            self.database.batch(if much { CACHE_FOR_MUCH } else { CACHE })?;
            self.expects_much = much;
        }
        Ok(())
    }

    /// The arrival up to which the index shows the ledger.
    pub fn applied_until(&self) -> Result<u64> {
        self.database.count("SELECT applied FROM cursor")
    }

    /// Moves the cursor.
    pub fn set_applied_until(&mut self, arrival: u64) -> Result<()> {
        self.database.write("UPDATE cursor SET applied = ?1", [arrival as i64])?;
        Ok(())
    }

    /// What decided, beside the ledger, which entries the index shows; as the caller keeps it.
    pub fn gate(&self) -> Result<Vec<u8>> {
        let gate = self.database.one("SELECT gate FROM cursor", [], |row| row.get(0))?;
        Ok(gate.unwrap_or_default())
    }

    /// Replaces that.
    pub fn set_gate(&mut self, gate: &[u8]) -> Result<()> {
        self.database.write("UPDATE cursor SET gate = ?1", [gate])?;
        Ok(())
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

    /// The bytes of each table and of each of its keys, the largest first.
    pub fn sizes(&self) -> Result<Vec<(String, u64)>> {
        let sql = "SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC, 1";
        self.database.all(sql, [], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))
    }

    /// SQLite's own check of the file; empty when it is sound.
    pub fn integrity_check(&self) -> Result<Vec<String>> {
        self.database.integrity_check()
    }
}

/// A new index on a temporary file; dropped, it changes nothing.
#[derive(Debug)]
pub struct Rebuild {
    index: Index,
    path: PathBuf,
    key: Private<[u8; 32]>,
}

impl Rebuild {
    /// Puts the new index in the old one's place.
    pub fn finish(self) -> Result<Index> {
        let temporary = self.index.database.path().to_owned();
        self.index.database.close()?;
        remove(&self.path)?;
        std::fs::rename(&temporary, &self.path)
            .map_err(|error| StoreError::io(&self.path, &error))?;
        Index::open(&self.path, &self.key)
    }
}

/// What SQLite keeps of the index in memory; negative numbers are KiB.
const CACHE: &str = "PRAGMA cache_size = -16384";

/// The same while much of it is made.
const CACHE_FOR_MUCH: &str = "PRAGMA cache_size = -65536";

fn unlock(database: &Database, key: &Private<[u8; 32]>) -> Result<()> {
    database.decrypt(key)?;
    database.batch("PRAGMA synchronous = NORMAL")?;
    database.batch(CACHE)
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub(in crate::store::index) fn key() -> Private<[u8; 32]> {
        Private::new([9; 32])
    }

    pub(in crate::store::index) fn index() -> (tempfile::TempDir, Index) {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::create(&dir.path().join("index.db"), &key()).unwrap();
        (dir, index)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{index, key};
    use super::*;

    #[test]
    fn whatever_is_wrong_with_it_is_one_error_and_a_rebuild_mends_it() {
        let (dir, mut index) = index();
        let path = dir.path().join("index.db");
        index.set_applied_until(7).unwrap();
        drop(index);
        assert_eq!(Index::open(&path, &key()).unwrap().applied_until().unwrap(), 7);
        let unusable = |path: &Path, key: &Private<[u8; 32]>| {
            matches!(Index::open(path, key), Err(StoreError::IndexUnusable { .. }))
        };
        assert!(unusable(&path, &Private::new([1; 32])), "another key");
        assert!(unusable(&dir.path().join("none"), &key()), "missing");
        let other = Index::open(&path, &key()).unwrap();
        other.database.batch("PRAGMA user_version = 99").unwrap();
        drop(other);
        assert!(unusable(&path, &key()), "another schema");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 3]).unwrap();
        assert!(unusable(&path, &key()), "cut");
        let mended = Index::rebuild(&path, &key()).unwrap().finish().unwrap();
        assert_eq!(mended.applied_until().unwrap(), 0);
    }

    #[test]
    fn a_savepoint_is_undone_alone_and_a_transaction_whole() {
        let (_dir, mut index) = index();
        let put = |index: &mut Index, arrival: u64| {
            let brought = Brought { arrival, entry: [0; 32], time_ms: 0, by: None };
            index.put_change(&[arrival as u8; 32], &brought).unwrap();
        };
        index.begin().unwrap();
        put(&mut index, 1);
        index.savepoint().unwrap();
        put(&mut index, 2);
        index.rollback_to().unwrap();
        index.commit().unwrap();
        assert_eq!(index.change(&[1; 32]).unwrap().map(|brought| brought.arrival), Some(1));
        assert_eq!(index.change(&[2; 32]).unwrap(), None);
        index.begin().unwrap();
        index.savepoint().unwrap();
        put(&mut index, 3);
        index.rollback();
        assert!(!index.in_transaction());
        assert_eq!(index.change(&[3; 32]).unwrap(), None);
    }
}
