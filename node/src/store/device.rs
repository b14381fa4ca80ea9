//! What belongs to this device alone, in `device.db`: sessions, PINs, failed logins.
//!
//! Encrypted by SQLCipher under a key of its own. It is neither derived from the ledger nor
//! replicated, and outlives rebuilds of the index. Each write is durable by itself at once
//! (`synchronous=FULL`, no transaction): a failed login counts though the call that made it fails.
//! Whatever is wrong with the file, it is made anew, empty: people log in again and set new PINs.
//! What the entries say is not known here.

use super::database::{Database, remove};
use super::error::StoreError;
use crate::base::private::Private;
use std::path::Path;

type Result<T> = std::result::Result<T, StoreError>;

/// Another number empties the file.
const SCHEMA: u32 = 1;

const TABLES: &str = "
CREATE TABLE thing (kind INTEGER NOT NULL, key BLOB NOT NULL, state BLOB NOT NULL,
    PRIMARY KEY (kind, key)) WITHOUT ROWID;
";

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Sessions, by the hash of their token.
    Session = 1,
    /// What checks PINs, by user id.
    Pin = 2,
    /// How often somebody failed to log in.
    Failures = 3,
}

/// The device's own file.
pub struct Device {
    database: Database,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("path", &self.database.path()).finish_non_exhaustive()
    }
}

impl Device {
    /// Opens the file; if it is missing or can't be read, makes it anew, and says so in the log.
    pub fn open(path: &Path, key: &Private<[u8; 32]>) -> Result<Self> {
        match Self::open_existing(path, key) {
            Ok(device) => return Ok(device),
            Err(StoreError::NotFound { .. }) => {
                tracing::info!(
                    "there is no device.db yet: nobody is logged in here, nobody has a PIN"
                );
            }
            // These pass, or somebody mends them; the file may be sound.
            Err(
                error @ (StoreError::DiskFull { .. }
                | StoreError::Io { .. }
                | StoreError::Busy { .. }),
            ) => return Err(error),
            Err(error) => tracing::warn!(
                %error,
                "device.db is made anew: everybody logs in again and sets a new PIN, and nobody \
                 is locked any more"
            ),
        }
        remove(path)?;
        let database = Database::create(path)?;
        unlock(&database, key)?;
        database.batch(TABLES)?;
        database.batch(&format!("PRAGMA user_version = {SCHEMA}"))?;
        Ok(Self { database })
    }

    fn open_existing(path: &Path, key: &Private<[u8; 32]>) -> Result<Self> {
        let database = Database::open(path)?;
        unlock(&database, key)?;
        let schema: u32 = database.value("PRAGMA user_version")?;
        if schema != SCHEMA {
            return Err(StoreError::corrupt(path, format!("schema {schema}")));
        }
        let problems = database.integrity_check()?;
        if problems.is_empty() {
            Ok(Self { database })
        } else {
            Err(StoreError::corrupt(path, problems.join("; ")))
        }
    }

    /// What is kept under a key.
    pub fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let sql = "SELECT state FROM thing WHERE kind = ?1 AND key = ?2";
        self.database.one(sql, (kind as u8, key), |row| row.get(0))
    }

    /// Everything of a kind, with its keys.
    pub fn all(&self, kind: Kind) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let sql = "SELECT key, state FROM thing WHERE kind = ?1 ORDER BY key";
        self.database.all(sql, [kind as u8], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Keeps something, durably.
    pub fn put(&mut self, kind: Kind, key: &[u8], state: &[u8]) -> Result<()> {
        let sql = "INSERT INTO thing (kind, key, state) VALUES (?1, ?2, ?3)
                   ON CONFLICT (kind, key) DO UPDATE SET state = excluded.state";
        self.database.write(sql, (kind as u8, key, state)).map(drop)
    }

    /// Forgets something; it need not be there.
    pub fn remove(&mut self, kind: Kind, key: &[u8]) -> Result<()> {
        let sql = "DELETE FROM thing WHERE kind = ?1 AND key = ?2";
        self.database.write(sql, (kind as u8, key)).map(drop)
    }

    /// Forgets everything of a kind.
    pub fn clear(&mut self, kind: Kind) -> Result<()> {
        self.database.write("DELETE FROM thing WHERE kind = ?1", [kind as u8]).map(drop)
    }
}

fn unlock(database: &Database, key: &Private<[u8; 32]>) -> Result<()> {
    database.decrypt(key)?;
    database.batch("PRAGMA synchronous = FULL;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Private<[u8; 32]> {
        Private::new([3; 32])
    }

    #[test]
    fn what_is_written_is_there_after_a_crash_and_unreadable_without_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("device.db");
        let mut device = Device::open(&path, &key()).unwrap();
        device.put(Kind::Pin, b"awa", b"the state of Awa's PIN").unwrap();
        device.put(Kind::Session, b"awa", b"other").unwrap();
        device.put(Kind::Pin, b"ben", b"b").unwrap();
        device.put(Kind::Pin, b"ben", b"c").unwrap();
        let files = |dir: &Path| -> Vec<u8> {
            let files = std::fs::read_dir(dir).unwrap();
            files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
        };
        let bytes = files(dir.path());
        assert!(!bytes.windows(9).any(|w| w == b"Awa's PIN"), "sealed, in the -wal too");
        // As a crash leaves them: not closed, no checkpoint.
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        let mut device = Device::open(&copy.path().join("device.db"), &key()).unwrap();
        let pins = [
            (b"awa".to_vec(), b"the state of Awa's PIN".to_vec()),
            (b"ben".to_vec(), b"c".to_vec()),
        ];
        assert_eq!(device.all(Kind::Pin).unwrap(), pins);
        device.remove(Kind::Pin, b"awa").unwrap();
        assert_eq!(device.get(Kind::Pin, b"awa").unwrap(), None);
        assert_eq!(device.get(Kind::Session, b"awa").unwrap(), Some(b"other".to_vec()));
        device.clear(Kind::Session).unwrap();
        assert_eq!(device.get(Kind::Session, b"awa").unwrap(), None);
        assert_eq!(device.all(Kind::Pin).unwrap().len(), 1);
    }

    #[test]
    fn whatever_is_wrong_with_it_it_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("device.db");
        let fill = |key: &Private<[u8; 32]>| {
            let mut device = Device::open(&path, key).unwrap();
            for number in 0..200u8 {
                device.put(Kind::Failures, &[number], &[number; 200]).unwrap();
            }
        };
        let count = |key: &Private<[u8; 32]>| {
            Device::open(&path, key).unwrap().all(Kind::Failures).unwrap().len()
        };
        fill(&key());
        assert_eq!(count(&key()), 200);
        assert_eq!(count(&Private::new([4; 32])), 0, "another key");
        fill(&Private::new([4; 32]));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert_eq!(count(&Private::new([4; 32])), 0, "cut");
        fill(&key());
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(count(&key()), 0, "altered");
        std::fs::write(&path, "not a database").unwrap();
        assert_eq!(count(&key()), 0);
    }
}
