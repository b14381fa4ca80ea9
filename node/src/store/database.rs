//! One SQLite connection with its nested savepoints, its statement cache and its errors.
//!
//! SQLite may give up a whole transaction on its own (a full disk, an IO error). From then on each
//! statement would commit by itself, so every write first asks whether the transaction is still
//! there; if not it fails, and so does the commit.

use super::error::StoreError;
use crate::base::file::sync_directory;
use crate::base::private::Private;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Params, Row};
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

type Result<T> = std::result::Result<T, StoreError>;

/// The statements that a connection keeps prepared.
const STATEMENTS_MAX: usize = 128;

/// How long to wait for a reader of another process (a backup, a checkpoint).
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Database {
    connection: Connection,
    path: PathBuf,
    depth: usize,
    /// Whether the next commit fails, as with a full disk.
    #[cfg(test)]
    fails: std::cell::Cell<bool>,
    /// What its lists have cost, in steps of SQLite's machine.
    #[cfg(test)]
    steps: std::cell::Cell<i64>,
}

impl Database {
    /// Makes an empty file that only its owner may read, and opens it.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        made.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => StoreError::Exists { path: path.to_owned() },
            _ => StoreError::io(path, &error),
        })?;
        Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    pub(super) fn open(path: &Path) -> Result<Self> {
        Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    pub(super) fn open_read_only(path: &Path) -> Result<Self> {
        Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    /// Stands for the database at `path` while nothing may have it open.
    pub(super) fn nowhere(path: &Path) -> Result<Self> {
        make_ready();
        let connection = Connection::open_in_memory();
        let connection = connection.map_err(|error| StoreError::sqlite(path, &error))?;
        Ok(Self::of(connection, path))
    }

    fn of(connection: Connection, path: &Path) -> Self {
        Self {
            connection,
            path: path.to_owned(),
            depth: 0,
            #[cfg(test)]
            fails: std::cell::Cell::default(),
            #[cfg(test)]
            steps: std::cell::Cell::default(),
        }
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self> {
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(StoreError::NotFound { path: path.to_owned() }),
            Err(error) => return Err(StoreError::io(path, &error)),
        }
        make_ready();
        let at = |error| StoreError::sqlite(path, &error);
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(at)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        connection.busy_timeout(BUSY_TIMEOUT).map_err(at)?;
        // The plan of a statement does not depend on what is bound to it: else SQLite, built with
        // statistics that are never gathered here, parses it anew whenever that changes.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(at)?;
        Ok(Self::of(connection, path))
    }

    /// Lets the next commit fail.
    #[cfg(test)]
    pub(super) fn fail_commit(&self) {
        self.fails.set(true);
    }

    /// Lets the file grow by so many pages at most, as a disk does that is nearly full.
    pub(super) fn limit_growth(&self, pages: Option<u32>) -> Result<()> {
        let now: u32 = self.value("PRAGMA page_count")?;
        let limit = pages.map_or(u32::MAX - 1, |pages| now.saturating_add(pages));
        self.value::<i64>(&format!("PRAGMA max_page_count = {limit}")).map(drop)
    }

    /// Gives SQLCipher the key; the first thing to be done with an encrypted file.
    pub(super) fn decrypt(&self, key: &Private<[u8; 32]>) -> Result<()> {
        let hex: Private<String> = Private::new(data_encoding::HEXLOWER.encode(key.expose()));
        let pragma: Private<String> =
            Private::new(format!("PRAGMA key = \"x'{}'\";", hex.expose()));
        self.batch(pragma.expose())?;
        // Temporary tables and sorts stay in memory: nothing reaches a file in clear text.
        self.batch(
            "PRAGMA temp_store = MEMORY; PRAGMA journal_mode = WAL;
             PRAGMA cipher_memory_security = OFF;",
        )
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn error(&self, error: rusqlite::Error) -> StoreError {
        StoreError::sqlite(&self.path, &error)
    }

    /// Runs statements that return nothing: schema and pragmas.
    pub(super) fn batch(&self, sql: &str) -> Result<()> {
        self.connection.execute_batch(sql).map_err(|error| self.error(error))
    }

    /// Runs a statement that returns nothing and is run often.
    fn run(&self, sql: &str) -> Result<()> {
        let done = self.connection.prepare_cached(sql).and_then(|mut run| run.execute([]));
        done.map(drop).map_err(|error| self.error(error))
    }

    /// Reads a pragma or another single value.
    pub(super) fn value<T: rusqlite::types::FromSql>(&self, sql: &str) -> Result<T> {
        self.connection.query_row(sql, [], |row| row.get(0)).map_err(|error| self.error(error))
    }

    /// Writes; the number of rows touched.
    pub(super) fn write(&self, sql: &str, params: impl Params) -> Result<usize> {
        self.check()?;
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map_err(|error| self.error(error))
    }

    /// Writes one row and gives its rowid.
    pub(super) fn insert(&self, sql: &str, params: impl Params) -> Result<i64> {
        self.write(sql, params)?;
        Ok(self.connection.last_insert_rowid())
    }

    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let found = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query(params)?;
            rows.next()?.map(read).transpose()
        };
        found().map_err(|error| self.error(error))
    }

    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let found = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let found = statement.query_map(params, read)?.collect::<rusqlite::Result<Vec<_>>>();
            #[cfg(test)]
            self.count_steps(&statement);
            found
        };
        found().map_err(|error| self.error(error))
    }

    #[cfg(test)]
    fn count_steps(&self, statement: &rusqlite::Statement<'_>) {
        let steps = statement.reset_status(rusqlite::StatementStatus::VmStep);
        self.steps.set(self.steps.get() + i64::from(steps));
    }

    /// What the lists have cost that something asked for.
    #[cfg(test)]
    pub(super) fn steps_of<T>(&self, of: impl FnOnce() -> T) -> (T, i64) {
        let before = self.steps.get();
        let value = of();
        (value, self.steps.get() - before)
    }

    /// Hands rows to `take` until it breaks; what it broke with.
    pub(super) fn until<T, B>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
        mut take: impl FnMut(T) -> Result<ControlFlow<B>>,
    ) -> Result<Option<B>> {
        let at = |error| self.error(error);
        let mut statement = self.connection.prepare_cached(sql).map_err(at)?;
        let mut rows = statement.query(params).map_err(at)?;
        let mut end = None;
        while let Some(row) = rows.next().map_err(at)? {
            if let ControlFlow::Break(broke) = take(read(row).map_err(at)?)? {
                end = Some(broke);
                break;
            }
        }
        drop(rows);
        #[cfg(test)]
        self.count_steps(&statement);
        Ok(end)
    }

    pub(super) fn count(&self, sql: &str) -> Result<u64> {
        Ok(self.one(sql, [], |row| row.get::<_, i64>(0))?.unwrap_or(0) as u64)
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Whether SQLite gave up the transaction.
    pub(super) fn lost(&self) -> bool {
        self.depth > 0 && self.connection.is_autocommit()
    }

    fn check(&self) -> Result<()> {
        if self.lost() {
            return Err(StoreError::TransactionLost { path: self.path.clone() });
        }
        Ok(())
    }

    /// Opens the transaction, or a savepoint within it.
    pub(super) fn descend(&mut self) -> Result<()> {
        self.check()?;
        match self.depth {
            0 => {
                // One that could not be rolled back when it should have been.
                self.abandon();
                self.run("BEGIN IMMEDIATE")?;
            }
            depth => self.run(&format!("SAVEPOINT level{depth}"))?,
        }
        self.depth += 1;
        Ok(())
    }

    /// Keeps what was done since the innermost [`Self::descend`]; durable once the outermost ends.
    /// When that fails, nothing since then is kept; of the outermost, nothing of the transaction.
    pub(super) fn keep(&mut self) -> Result<()> {
        assert!(self.depth > 0, "a transaction ends only after it began");
        let done = self.check().and_then(|()| match self.depth {
            1 => self.commit(),
            depth => self.run(&format!("RELEASE level{}", depth - 1)),
        });
        if done.is_err() {
            // The error that matters is the first; if this fails too, the transaction is lost.
            let _ = self.undo();
            return done;
        }
        self.depth -= 1;
        Ok(())
    }

    fn commit(&self) -> Result<()> {
        #[cfg(test)]
        if self.fails.take() {
            return Err(StoreError::DiskFull { path: self.path.clone() });
        }
        self.run("COMMIT")
    }

    /// Undoes what was done since the innermost [`Self::descend`]. When that fails, the whole
    /// transaction is lost.
    pub(super) fn undo(&mut self) -> Result<()> {
        assert!(self.depth > 0, "a transaction ends only after it began");
        // A transaction that SQLite gave up took its savepoints along.
        let lost = self.lost();
        self.depth -= 1;
        if self.depth == 0 {
            self.abandon();
            return Ok(());
        }
        if lost {
            return Ok(());
        }
        let undone = self.batch(&format!("ROLLBACK TO level{0}; RELEASE level{0}", self.depth));
        if undone.is_err() {
            self.abandon();
        }
        undone
    }

    /// Undoes the transaction with every savepoint in it, if one is open.
    pub(super) fn undo_all(&mut self) {
        self.depth = 0;
        self.abandon();
    }

    /// Ends a transaction, if SQLite still has one, without keeping it.
    fn abandon(&self) {
        if !self.connection.is_autocommit() && self.batch("ROLLBACK").is_err() {
            // A rollback fails only with the disk; SQLite then repeats it at the next opening.
            tracing::error!(path = %self.path.display(), "a transaction could not be rolled back");
        }
    }

    /// SQLite's own check; nothing when the file is sound.
    pub(super) fn integrity_check(&self) -> Result<Vec<String>> {
        let mut found = self.all("PRAGMA integrity_check(20)", [], |row| row.get(0))?;
        found.retain(|line: &String| line != "ok");
        let foreign = self.all("PRAGMA foreign_key_check", [], |row| row.get::<_, String>(0))?;
        found.extend(foreign.into_iter().map(|table| format!("a row of {table} points nowhere")));
        Ok(found)
    }

    /// Closes the connection; the write-ahead log is folded into the file.
    pub(super) fn close(self) -> Result<()> {
        let path = self.path;
        self.connection.flush_prepared_statement_cache();
        self.connection.close().map_err(|(_, error)| StoreError::sqlite(&path, &error))
    }
}

/// The first connection of a process makes SQLCipher ready, and SQLite lets others open theirs before
/// that is done: they would work without its locks, and be refused their key. So the first is alone.
fn make_ready() {
    static READY: Once = Once::new();
    READY.call_once(|| {
        // What is wrong with a file is said once, by whoever opens it, and not by SQLCipher to
        // standard error too. Should this fail, so will whoever opens a file, and say why.
        let first = Connection::open_in_memory();
        let _ = first.and_then(|first| first.execute_batch("PRAGMA cipher_log_level = NONE"));
    });
}

/// The file of SQLite that goes with a database: `-wal`, `-shm`.
pub(super) fn companion(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Puts a database that is written and synced in the place of one that nobody has open any more.
pub(super) fn replace(path: &Path, fresh: &Path) -> Result<()> {
    // A write-ahead log left here would be taken for the new file's.
    if ["-wal", "-shm"].iter().any(|suffix| companion(path, suffix).exists()) {
        return Err(StoreError::Busy { path: path.to_owned() });
    }
    let renamed = std::fs::rename(fresh, path);
    renamed
        .and_then(|()| sync_directory(path.parent().unwrap_or(Path::new("."))))
        .map_err(|error| StoreError::io(path, &error))
}

/// Removes a database with its companions, if they are there.
pub(super) fn remove(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let file = companion(path, suffix);
        match std::fs::remove_file(&file) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io(&file, &error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::sync::Barrier;

    const ALONE: &str = "CARNET_TEST_FIRST_CONNECTIONS";
    const THREADS: u8 = 8;

    /// Only the first connections of a process can show it, so each try has a process of its own.
    #[test]
    fn any_thread_may_open_an_encrypted_file_first() {
        if std::env::var_os(ALONE).is_some() {
            return open_at_once();
        }
        let program = std::env::current_exe().unwrap();
        let name = std::thread::current().name().unwrap().to_owned();
        for _ in 0..8 {
            let mut again = Command::new(&program);
            let done = again.args(["--exact", &name]).env(ALONE, "1").output().unwrap();
            let told = String::from_utf8_lossy(&done.stdout);
            assert!(done.status.success() && told.contains("1 passed"), "{told}");
        }
    }

    fn open_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let start = Barrier::new(THREADS.into());
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (dir, start) = (dir.path(), &start);
                scope.spawn(move || {
                    let path = dir.join(thread.to_string());
                    start.wait();
                    let database = Database::create(&path).unwrap();
                    database.decrypt(&Private::new([thread; 32])).unwrap();
                    database.batch("CREATE TABLE one (two)").unwrap();
                });
            }
        });
    }
}
