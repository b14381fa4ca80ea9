//! Appending: a verified run is added where it belongs, once.

use super::branch::{Branch, Tree};
use super::held::Known;
use super::{Ledger, Result};
use crate::store::error::StoreError;
use carnet_sync_protocol::entry::{Entry, SignatureBytes};
use carnet_sync_protocol::frontier::Head;
use carnet_sync_protocol::id::{DocumentId, EpochId, LogId};
use carnet_sync_protocol::limit;
use carnet_sync_protocol::run::VerifiedRun;
use std::ops::Range;

/// The most bytes that an item of a run takes beside its payload.
pub(super) const ITEM_BYTES: usize = 82;

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The arrivals of the entries that are new; empty when all were held.
    pub new: Range<u64>,
    /// How many of its entries were held before.
    pub held: usize,
    /// Whether it opened a new branch of its log: the author was cloned.
    pub forked: bool,
}

/// Where the first new entry of a run goes.
enum Place {
    /// After the last entry of a branch.
    Tip(usize),
    /// A new branch, after an entry in the midst of another, or from entry 1.
    Fork(Option<i64>),
}

impl Ledger {
    /// Adds a run. Entries that are held already are passed over, so that it may come again.
    pub fn append(&mut self, run: &VerifiedRun) -> Result<Appended> {
        let (log, entries) = (run.log(), run.entries());
        self.check_run(log, entries)?;
        let held = self.count_held(log, entries)?;
        let next = self.last_arrival + 1;
        let Some(first) = entries.get(held) else {
            return Ok(Appended { new: next..next, held, forked: false });
        };
        let place = self.place(log, first)?;
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("passes-over-a-fork")
            && matches!(place, Place::Fork(_))
            && self.logs.contains_key(&log)
        {
            return Ok(Appended { new: next..next, held: entries.len(), forked: false });
        }
        let forked = matches!(place, Place::Fork(_)) && self.logs.contains_key(&log);
        let new = &entries[held..];
        if let ([_], Place::Tip(_)) = (new, &place) {
            // One statement is atomic by itself.
            self.add(log, &place, new, run.signature())?;
        } else {
            self.within(|ledger| ledger.add(log, &place, new, run.signature()))?;
        }
        Ok(Appended { new: next..next + new.len() as u64, held, forked })
    }

    fn check_run(&self, log: LogId, entries: &[Entry]) -> Result<()> {
        let found = entries[0].header.practice;
        if found != self.practice {
            return Err(StoreError::ForeignPractice { found });
        }
        let bytes: usize = entries.iter().map(|entry| ITEM_BYTES + entry.payload.len()).sum();
        if bytes > limit::FRAME_BYTES_MAX || entries.len() > limit::RUN_ENTRIES_MAX {
            return Err(StoreError::RunTooLarge { log });
        }
        Ok(())
    }

    /// How many of the run's first entries are held; what is held of a chain is its beginning.
    fn count_held(&self, log: LogId, entries: &[Entry]) -> Result<usize> {
        let first = &entries[0].header;
        let heads = self.heads(&log);
        // The usual case needs no look at the disk: nothing follows a head.
        let follows =
            |head: &Head| head.id == first.previous && head.sequence + 1 == first.sequence;
        if heads.is_empty() || heads.iter().any(follows) {
            return Ok(0);
        }
        let (mut low, mut high) = (0, entries.len());
        while low < high {
            let middle = low.midpoint(high);
            let entry = &entries[middle];
            if self.knows(&log, &Head { sequence: entry.header.sequence, id: entry.id })? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn place(&self, log: LogId, entry: &Entry) -> Result<Place> {
        let (sequence, id) = (entry.header.sequence - 1, entry.header.previous);
        let branches = self.logs.get(&log).map_or(&[][..], |known| &known.tree.0);
        let before = Head { sequence, id };
        if let Some(tip) = branches.iter().position(|branch| branch.last == before) {
            return Ok(Place::Tip(tip));
        }
        let parent = match sequence {
            0 => None,
            _ => {
                let gap = StoreError::Gap { log, sequence: entry.header.sequence };
                #[cfg(planted)]
                if carnet_sync_protocol::planted::is("goes-on-over-a-hole")
                    && self.find(&log, &before)?.is_none()
                    && !branches.is_empty()
                {
                    return Ok(Place::Tip(0));
                }
                Some(self.find(&log, &before)?.ok_or(gap)?)
            }
        };
        if branches.len() >= limit::HEADS_MAX {
            return Err(StoreError::TooManyBranches { log });
        }
        Ok(Place::Fork(parent))
    }

    fn add(
        &mut self,
        log: LogId,
        place: &Place,
        entries: &[Entry],
        signature: &SignatureBytes,
    ) -> Result<()> {
        let mut known = match self.logs.get(&log) {
            Some(known) => known.clone(),
            None => Known { log: self.add_log(log)?, tree: Tree::default() },
        };
        let index = match *place {
            Place::Tip(index) => index,
            Place::Fork(parent) => {
                let head = Head { sequence: entries[0].header.sequence, id: entries[0].id };
                let sql = "INSERT INTO branches (log, parent, first) VALUES (?1, ?2, ?3)";
                let row = (known.log, parent, head.sequence as i64);
                let key = self.database.insert(sql, row)?;
                known.tree.0.push(Branch { key, parent, first: head.sequence, last: head });
                known.tree.0.len() - 1
            }
        };
        let branch = &mut known.tree.0[index];
        let last = entries.len() - 1;
        for (index, entry) in entries.iter().enumerate() {
            let arrival = self.last_arrival + 1 + index as u64;
            let signature = (index == last).then(|| signature.to_bytes());
            self.add_entry(arrival, branch.key, entry, signature.as_ref())?;
            branch.last = Head { sequence: entry.header.sequence, id: entry.id };
        }
        self.know(log, known, entries.len() as u64);
        Ok(())
    }

    fn add_entry(
        &self,
        arrival: u64,
        branch: i64,
        entry: &Entry,
        signature: Option<&[u8; 64]>,
    ) -> Result<()> {
        let header = &entry.header;
        let document = match header.document {
            DocumentId::ZERO => None,
            DocumentId(id) => Some(self.number("documents", "document", &id)?),
        };
        let epoch = match header.epoch {
            EpochId::ZERO => None,
            EpochId(id) => Some(self.number("epochs", "epoch", &id)?),
        };
        let sql = "INSERT INTO entries (arrival, id, branch, sequence, document, epoch, codec,
                       time, nonce, signature, payload)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        let nonce = (header.nonce != [0; 24]).then_some(&header.nonce[..]);
        self.database.write(
            sql,
            (
                arrival as i64,
                entry.id.as_bytes(),
                branch,
                header.sequence as i64,
                document,
                epoch,
                header.codec.0,
                header.time.0 as i64,
                nonce,
                signature.map(|signature| &signature[..]),
                &entry.payload,
            ),
        )?;
        Ok(())
    }

    fn add_log(&self, log: LogId) -> Result<i64> {
        let sql = "INSERT INTO logs (channel, node, incarnation) VALUES (?1, ?2, ?3)";
        let author = log.author;
        self.database.insert(
            sql,
            (log.channel.number(), author.node.as_bytes(), author.incarnation.as_bytes()),
        )
    }

    /// The number that stands for a long id, given out at its first use.
    fn number(&self, table: &str, column: &str, id: &[u8; 16]) -> Result<i64> {
        let found = format!("SELECT {column} FROM {table} WHERE id = ?1");
        if let Some(number) = self.database.one(&found, [id], |row| row.get(0))? {
            return Ok(number);
        }
        self.database.insert(&format!("INSERT INTO {table} (id) VALUES (?1)"), [id])
    }
}
