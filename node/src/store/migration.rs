//! Brings a database to the newest schema, in a copy, so that a failure leaves the old file.

use super::database::{Database, companion, remove, replace};
use super::error::StoreError;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, StoreError>;

/// The steps that lead from an empty file to the newest schema: the step at `n` makes schema
/// `n + 1`. A step that has been released is never changed.
pub(super) struct Schema {
    /// What tells a file of this kind from any other SQLite file.
    pub application: i32,
    pub steps: &'static [&'static str],
    /// The table whose rows must be as many after an upgrade as before.
    pub counted: &'static str,
}

impl Schema {
    fn newest(&self) -> u32 {
        self.steps.len() as u32
    }

    /// Makes the tables of the newest schema in an empty file.
    pub(super) fn install(&self, database: &mut Database) -> Result<()> {
        database.descend()?;
        let done = self.steps(database, 0);
        if done.is_err() {
            database.undo()?
        } else {
            database.keep()?
        }
        done
    }

    fn steps(&self, database: &Database, from: u32) -> Result<()> {
        for step in &self.steps[from as usize..] {
            database.batch(step)?;
        }
        database.batch(&format!(
            "PRAGMA application_id = {}; PRAGMA user_version = {}",
            self.application,
            self.newest()
        ))
    }

    /// The schema of a file, if it is one that this program can bring to the newest.
    pub(super) fn version(&self, database: &Database) -> Result<u32> {
        let application: i32 = database.value("PRAGMA application_id")?;
        let found: u32 = database.value("PRAGMA user_version")?;
        if application != self.application || found == 0 {
            return Err(StoreError::corrupt(database.path(), "it is not a file of this kind"));
        }
        let known = self.newest();
        if found > known {
            return Err(StoreError::NewerSchema { path: database.path().to_owned(), found, known });
        }
        Ok(found)
    }

    /// Opens a file. One of an older schema is upgraded: the new file is written beside it and
    /// checked, then takes its name; the old one stays as `NAME.vN.bak`.
    pub(super) fn open(&self, path: &Path) -> Result<Database> {
        let old = Database::open(path)?;
        let version = self.version(&old)?;
        if version == self.newest() {
            return Ok(old);
        }
        let fresh = companion(path, ".new");
        remove(&fresh)?;
        // Made beforehand, so that it is readable by its owner only.
        Database::create(&fresh)?.close()?;
        // The copy takes it over: pages that come free can be given back.
        old.batch("PRAGMA auto_vacuum = INCREMENTAL")?;
        old.write("VACUUM INTO ?1", [fresh.to_string_lossy()])?;
        // The old file must be whole by itself before it is set aside without its companions.
        old.batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
        self.upgrade_copy(&old, &fresh, version)?;
        old.close()?;
        let io = |error| StoreError::io(path, &error);
        File::open(&fresh).and_then(|file| file.sync_all()).map_err(io)?;
        let backup = old_copy(path, version);
        remove(&backup)?;
        fs::hard_link(path, &backup).or_else(|_| fs::copy(path, &backup).map(drop)).map_err(io)?;
        replace(path, &fresh)?;
        tracing::info!(from = version, to = self.newest(), "upgraded the schema of log.db");
        Database::open(path)
    }

    fn upgrade_copy(&self, old: &Database, fresh: &Path, version: u32) -> Result<()> {
        let counted = format!("SELECT count(*) FROM {}", self.counted);
        let mut new = Database::open(fresh)?;
        new.descend()?;
        let done = self.steps(&new, version);
        if done.is_err() {
            new.undo()?
        } else {
            new.keep()?
        }
        done?;
        let problems = new.integrity_check()?;
        let (before, after) = (old.count(&counted)?, new.count(&counted)?);
        if !problems.is_empty() || before != after {
            let detail =
                format!("upgraded, it has {after} of {before} rows, and: {}", problems.join("; "));
            return Err(StoreError::corrupt(old.path(), detail));
        }
        new.close()
    }

    /// Removes what upgrades left behind.
    pub(super) fn remove_old_copies(&self, path: &Path) -> Result<()> {
        (1..self.newest()).try_for_each(|version| remove(&old_copy(path, version)))
    }
}

/// Where the file of an older schema is kept.
fn old_copy(path: &Path, version: u32) -> PathBuf {
    companion(path, &format!(".v{version}.bak"))
}
