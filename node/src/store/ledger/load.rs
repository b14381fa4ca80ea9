//! Loading: the runs that take a peer from one entry of a log to another.
//!
//! Only the entries that end a received run, or a commit of one's own, have a stored signature. A
//! run that is sent must end at one of them, so it is cut there, and goes on to the next one when
//! there is none where the cut was wanted.

use super::append::ITEM_BYTES;
use super::branch::Piece;
use super::packs::Restored;
use super::{Ledger, Result};
use crate::store::error::StoreError;
use carnet_sync_protocol::entry::{Codec, HybridTime, SignatureBytes};
use carnet_sync_protocol::frontier::Head;
use carnet_sync_protocol::id::{DocumentId, EntryId, EpochId, LogId};
use carnet_sync_protocol::limit;
use carnet_sync_protocol::run::{Run, RunItem};
use rusqlite::Row;
use std::ops::ControlFlow;

/// One row on the way.
struct Step {
    id: EntryId,
    branch: i64,
    sequence: u64,
    item: RunItem,
    signature: Option<SignatureBytes>,
    /// The pack in which its payload is, and its arrival.
    packed: Option<(i64, u64)>,
}

impl Step {
    const COLUMNS: &str = "SELECT e.id, e.branch, e.sequence, d.id, p.id, e.codec, e.time, e.nonce,
            e.signature, e.payload, e.pack, e.arrival
        FROM entries e LEFT JOIN documents d USING (document) LEFT JOIN epochs p USING (epoch)";

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let pack: Option<i64> = row.get(10)?;
        let item = RunItem {
            document: row.get::<_, Option<_>>(3)?.map_or(DocumentId::ZERO, DocumentId),
            epoch: row.get::<_, Option<_>>(4)?.map_or(EpochId::ZERO, EpochId),
            codec: Codec(row.get(5)?),
            time: HybridTime(row.get::<_, i64>(6)? as u64),
            nonce: row.get::<_, Option<_>>(7)?.unwrap_or_default(),
            payload: if pack.is_none() { row.get(9)? } else { Vec::new() },
        };
        Ok(Self {
            id: EntryId(row.get(0)?),
            branch: row.get(1)?,
            sequence: row.get::<_, i64>(2)? as u64,
            item,
            signature: row
                .get::<_, Option<[u8; 64]>>(8)?
                .map(|bytes| SignatureBytes::from_bytes(&bytes)),
            packed: match pack {
                Some(pack) => Some((pack, row.get::<_, i64>(11)? as u64)),
                None => None,
            },
        })
    }

    fn bytes(&self) -> usize {
        ITEM_BYTES + self.item.payload.len()
    }
}

/// Cuts the entries on the way into runs.
struct Cutter {
    log: LogId,
    previous: EntryId,
    runs: Vec<Run>,
    /// The entries of the run that is being filled.
    open: Vec<Step>,
    open_bytes: usize,
    /// How many of them stand at or before the last stored signature.
    signed: usize,
    /// The bytes of everything so far.
    all_bytes: usize,
    /// Whether the last run left the way for a sibling branch, so that another one must follow.
    astray: bool,
}

impl Cutter {
    fn new(log: LogId, previous: EntryId) -> Self {
        let (runs, open) = (Vec::new(), Vec::new());
        Self { log, previous, runs, open, open_bytes: 0, signed: 0, all_bytes: 0, astray: false }
    }

    fn push(&mut self, step: Step) {
        let bytes = step.bytes();
        self.open_bytes += bytes;
        self.all_bytes += bytes;
        let signed = step.signature.is_some();
        self.open.push(step);
        if signed {
            self.signed = self.open.len();
            self.astray = false;
        }
    }

    /// Whether another entry of so many bytes would make the open run too long to be sent.
    fn is_full(&self, bytes: usize) -> bool {
        self.open.len() == limit::RUN_ENTRIES_MAX
            || (!self.open.is_empty() && self.open_bytes + bytes > limit::FRAME_BYTES_MAX)
    }

    /// Whether the open run can end here, and is long enough with what it has.
    fn is_rounded(&self, bytes: usize) -> bool {
        !self.open.is_empty()
            && self.signed == self.open.len()
            && self.open_bytes + bytes > limit::RUN_BYTES
    }

    /// Ends the open run at its last signature; what stands after it begins the next one.
    fn cut(&mut self) {
        let rest = self.open.split_off(self.signed);
        let Some(last) = self.open.last() else {
            self.open = rest;
            return;
        };
        let (id, signature) = (last.id, last.signature);
        let signature = signature.expect("the last signed entry has a signature");
        self.emit(id, signature);
        self.open_bytes = rest.iter().map(Step::bytes).sum();
        self.open = rest;
    }

    /// The runs up to where the way could be gone; one that has left it leads nowhere.
    fn end_early(mut self) -> Vec<Run> {
        if self.astray {
            self.runs.pop();
        } else {
            self.cut();
        }
        self.runs
    }

    /// Makes a run of the open entries, which end at the signed entry `last`.
    fn emit(&mut self, last: EntryId, signature: SignatureBytes) {
        let steps = std::mem::take(&mut self.open);
        let first_sequence = steps[0].sequence;
        let items = steps.into_iter().map(|step| step.item).collect();
        let previous = std::mem::replace(&mut self.previous, last);
        self.runs.push(Run { log: self.log, first_sequence, previous, items, signature });
        (self.signed, self.open_bytes) = (0, 0);
    }
}

impl Ledger {
    /// The runs from after `after` (or from the log's beginning) up to `until` at least, about
    /// `bytes_max` long, but at least one whole run; none when `after` is `until`.
    ///
    /// They follow the branch of `until`, and end where a signature is stored: if there is none at
    /// `until` itself, at the next one. In a forked log a run may carry entries of a sibling
    /// branch, where only their signature vouches for what both share.
    ///
    /// Where an entry is packed and there is no key for its pack, they end before it: there may be
    /// none.
    pub fn load(
        &self,
        log: &LogId,
        after: Option<Head>,
        until: Head,
        bytes_max: usize,
    ) -> Result<Vec<Run>> {
        if after == Some(until) {
            return Ok(Vec::new());
        }
        let from = after.map_or(0, |head| head.sequence);
        let way = self.way(log, after, until)?;
        let mut cutter = Cutter::new(*log, after.map_or(EntryId::ZERO, |head| head.id));
        for piece in way {
            let sql = format!(
                "{} WHERE e.branch = ?1 AND e.sequence BETWEEN ?2 AND ?3 ORDER BY e.sequence",
                Step::COLUMNS
            );
            let range = (piece.branch, piece.first.max(from + 1) as i64, piece.last as i64);
            let done = self.database.until(&sql, range, Step::read, |step| {
                self.take(&mut cutter, step, until, bytes_max)
            });
            match done {
                Ok(None) => {}
                Ok(Some(())) => break,
                Err(StoreError::Closed { .. }) => return Ok(cutter.end_early()),
                Err(error) => return Err(error),
            }
        }
        cutter.cut();
        Ok(cutter.runs)
    }

    /// Makes the payload of a packed entry again.
    fn restore_step(&self, log: &LogId, step: &mut Step) -> Result<()> {
        let Some((pack, arrival)) = step.packed else { return Ok(()) };
        let header = step.item.header(self.practice, *log, step.sequence, EntryId::ZERO);
        match self.restore(pack, arrival, &header)? {
            Restored::Made(sealed) => {
                (step.item.nonce, step.item.payload) = (sealed.nonce, sealed.payload);
                Ok(())
            }
            Restored::NoKey => Err(StoreError::Closed { path: self.path().to_owned() }),
            Restored::Damaged => {
                let detail = format!("entry {arrival} does not come out of its pack");
                Err(StoreError::corrupt(self.path(), detail))
            }
        }
    }

    fn take(
        &self,
        cutter: &mut Cutter,
        mut step: Step,
        until: Head,
        bytes_max: usize,
    ) -> Result<ControlFlow<()>> {
        self.restore_step(&cutter.log, &mut step)?;
        let any = !cutter.astray && (!cutter.runs.is_empty() || cutter.signed > 0);
        if any && cutter.all_bytes + step.bytes() > bytes_max {
            return Ok(ControlFlow::Break(()));
        }
        if cutter.is_rounded(step.bytes()) {
            cutter.cut();
        }
        if cutter.is_full(step.bytes()) {
            cutter.cut();
            if cutter.is_full(step.bytes()) {
                self.lean_on_sibling(cutter)?;
            }
        }
        let end = step.signature.is_some() && step.sequence >= until.sequence;
        cutter.push(step);
        Ok(if end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// The pieces of the log on which the entries after `after` stand, the last one lengthened to
    /// its branch's head, which always has a signature.
    fn way(&self, log: &LogId, after: Option<Head>, until: Head) -> Result<Vec<Piece>> {
        let missing = |head: Head| StoreError::NotHeld { log: *log, sequence: head.sequence };
        let known = self.logs.get(log).ok_or_else(|| missing(until))?;
        let end = self.find(log, &until)?.ok_or_else(|| missing(until))?;
        let mut way = known.tree.path(end, until.sequence);
        if let Some(after) = after {
            let on_way = |piece: &&Piece| (piece.first..=piece.last).contains(&after.sequence);
            let piece = way.iter().find(on_way).ok_or_else(|| missing(after))?;
            if self.id_at(piece.branch, after.sequence)? != after.id {
                return Err(missing(after));
            }
            way.retain(|piece| piece.last > after.sequence);
        }
        if way.is_empty() {
            // `until` was the last entry of its piece and `after` stands there too, which is the
            // case of equal heads; anything else goes backwards.
            return Err(missing(until));
        }
        if let Some(last) = way.last_mut() {
            last.last = known.tree.branch(end).map_or(last.last, |branch| branch.last.sequence);
        }
        Ok(way)
    }

    /// Sends the open entries up to a fork with the rest of the sibling's run that vouches for
    /// them. Needed only when a branch leaves another in the midst of a signed run, and both
    /// pieces together are too long for one.
    fn lean_on_sibling(&self, cutter: &mut Cutter) -> Result<()> {
        let corrupt = || StoreError::corrupt(self.path(), "too many entries without a signature");
        let branch = cutter.open.first().ok_or_else(corrupt)?.branch;
        let shared = cutter.open.iter().take_while(|step| step.branch == branch).count();
        let rest = cutter.open.split_off(shared);
        let fork = cutter.open.last().ok_or_else(corrupt)?;
        let (fork_id, from) = (fork.id, fork.sequence);
        let sql = format!(
            "{} WHERE e.branch = ?1 AND e.sequence > ?2 ORDER BY e.sequence LIMIT ?3",
            Step::COLUMNS
        );
        let limit = limit::RUN_ENTRIES_MAX - shared;
        let log = cutter.log;
        let range = (branch, from as i64, limit as i64);
        let vouched = self.database.until(&sql, range, Step::read, |mut step| {
            self.restore_step(&log, &mut step)?;
            let end = step.signature.map(|signature| (step.id, signature));
            cutter.open.push(step);
            Ok(end.map_or(ControlFlow::Continue(()), ControlFlow::Break))
        })?;
        let (last, signature) = vouched.ok_or_else(corrupt)?;
        cutter.emit(last, signature);
        cutter.previous = fork_id;
        cutter.astray = true;
        cutter.open_bytes = rest.iter().map(Step::bytes).sum();
        cutter.open = rest;
        Ok(())
    }
}
