//! Room on the disk: what came free inside the file goes back to the file system.

use super::{Ledger, Result, durable};
use crate::store::database::{Database, companion, remove, replace};
use crate::store::error::StoreError;
use std::fs::File;

impl Ledger {
    /// How many bytes the file takes, and how many of them are pages that nothing uses.
    pub fn room(&self) -> Result<(u64, u64)> {
        let value = |of: &str| self.database.value::<u32>(&format!("PRAGMA {of}")).map(u64::from);
        let (page, pages) = (value("page_size")?, value("page_count")?);
        Ok((page * pages, page * value("freelist_count")?))
    }

    /// Gives so many pages back at most, without needing any room; done when nothing came free.
    pub fn give_back(&mut self, pages: u32) -> Result<()> {
        let sql = format!("PRAGMA incremental_vacuum({pages})");
        self.database.all(&sql, [], |_| Ok(())).map(drop)
    }

    /// Writes the file anew, without gaps. It needs room for the new one beside the old, and no
    /// transaction and no other connection; otherwise nothing is changed. A kill between any two
    /// steps leaves the one or the other.
    pub fn rewrite(&mut self) -> Result<()> {
        assert!(!self.in_transaction(), "a transaction is open");
        let path = self.path().to_owned();
        let fresh = companion(&path, ".new");
        remove(&fresh)?;
        let written = self.copy_to(&fresh).and_then(|()| {
            let io = |error| StoreError::io(&fresh, &error);
            File::open(&fresh).and_then(|file| file.sync_all()).map_err(io)
        });
        if let Err(error) = written {
            remove(&fresh)?;
            return Err(error);
        }
        // From here on there is no way back but a restart: SQLite has let go of the file.
        let old = std::mem::replace(&mut self.database, Database::nowhere(&path)?);
        let closed = old.close();
        let replaced = closed.and_then(|()| replace(&path, &fresh));
        let database = Database::open(&path)?;
        durable(&database)?;
        self.database = database;
        if replaced.is_err() {
            remove(&fresh)?;
        }
        replaced
    }
}
