//! The floor: what SQLite alone needs to make as many bytes durable.

use super::Outcome;
use super::node::now;
use rusqlite::Connection;
use std::time::Duration;

/// Commits `count` rows of `bytes` each with `synchronous=FULL`, one commit a row.
pub fn commits(count: usize, bytes: usize) -> Outcome<Vec<Duration>> {
    let dir = tempfile::tempdir()?;
    let database = Connection::open(dir.path().join("bare.db"))?;
    database.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE entry (arrival INTEGER PRIMARY KEY, bytes BLOB NOT NULL);",
    )?;
    let row = vec![7u8; bytes];
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = now();
        database.prepare_cached("INSERT INTO entry (bytes) VALUES (?1)")?.execute([&row])?;
        times.push(start.elapsed());
    }
    Ok(times)
}
