//! What a running node holds durably, seen from outside, without costing it anything.
//!
//! Reads the committed rows of its ledger; this is the one place of the link benchmark that knows
//! how they lie there. A node that is asked instead answers on the thread that is measured.

use crate::local::{Outcome, node::now};
use carnet_sync_protocol::id::Channel;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// For each log (channel, node, incarnation) the last sequence held.
pub type Heads = BTreeMap<(u8, Vec<u8>, Vec<u8>), u64>;

const QUERY: &str = "SELECT channel, node, incarnation,
    (SELECT max(sequence) FROM entries WHERE entries.branch = branches.branch)
    FROM branches JOIN logs USING (log)";

const BEYOND: &str = "SELECT count(*), coalesce(sum(length(payload)), 0)
    FROM entries JOIN branches USING (branch) JOIN logs USING (log)
    WHERE channel = ?1 AND node = ?2 AND incarnation = ?3 AND sequence > ?4";

/// A look into the ledger of the node in one directory.
pub struct Held(Connection);

impl Held {
    /// Opens it; the node may run.
    pub fn open(home: &Path) -> Outcome<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(home.join("node").join("log.db"), flags)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        Ok(Self(connection))
    }

    /// What it holds now.
    pub fn heads(&self) -> Outcome<Heads> {
        let mut query = self.0.prepare_cached(QUERY)?;
        let mut rows = query.query(())?;
        let mut heads = Heads::new();
        while let Some(row) = rows.next()? {
            let last: Option<i64> = row.get(3)?;
            let last = u64::try_from(last.unwrap_or(0))?;
            let head = heads.entry((row.get(0)?, row.get(1)?, row.get(2)?)).or_default();
            *head = last.max(*head);
        }
        Ok(heads)
    }

    /// How many entries of a channel it holds that were not there before, and the bytes of their
    /// payloads.
    pub fn beyond(&self, before: &Heads, channel: Channel) -> Outcome<(u64, u64)> {
        let (mut entries, mut bytes) = (0, 0);
        for (code, node, incarnation) in self.heads()?.into_keys() {
            if code == channel.number() {
                let log = (code, node, incarnation);
                let last = before.get(&log).copied().unwrap_or(0);
                let row = self.0.query_row(BEYOND, (log.0, log.1, log.2, last as i64), |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
                })?;
                entries += u64::try_from(row.0)?;
                bytes += u64::try_from(row.1)?;
            }
        }
        Ok((entries, bytes))
    }
}

/// How many entries there are, of one channel or of all.
pub fn count(heads: &Heads, channel: Option<Channel>) -> u64 {
    let code = channel.map(Channel::number);
    heads.iter().filter(|((of, ..), _)| code.is_none_or(|code| code == *of)).map(|(_, n)| n).sum()
}

/// Whether everything (of one channel, or of all) that `wanted` has is in `held`.
pub fn covers(held: &Heads, wanted: &Heads, channel: Option<Channel>) -> bool {
    let code = channel.map(Channel::number);
    wanted
        .iter()
        .filter(|((of, ..), _)| code.is_none_or(|code| code == *of))
        .all(|(log, last)| held.get(log).is_some_and(|have| have >= last))
}

/// Looks every few milliseconds until the answer is yes; when that was.
pub fn until(
    what: &str,
    patience: Duration,
    every: Duration,
    mut yes: impl FnMut() -> Outcome<bool>,
) -> Outcome<Instant> {
    let begun = now();
    loop {
        let moment = now();
        if yes()? {
            return Ok(moment);
        }
        if begun.elapsed() > patience {
            return Err(format!("not within {} s: {what}", patience.as_secs()).into());
        }
        std::thread::sleep(every);
    }
}
