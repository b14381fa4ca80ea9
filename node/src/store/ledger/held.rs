//! What is held: the branches and heads of every log, in memory and in step with the transaction.

use super::branch::{Branch, Tree};
use super::{Ledger, Result};
use crate::store::error::StoreError;
use carnet_sync_protocol::frontier::{Frontier, Head};
use carnet_sync_protocol::id::{Author, Channel, EntryId, Incarnation, LogId, NodeId};

/// One log with its row.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub log: i64,
    pub tree: Tree,
}

/// What a savepoint needs to be undone in memory.
#[derive(Debug)]
pub(super) struct Undo {
    last_arrival: u64,
    /// Each log as it was before its first change.
    logs: Vec<(LogId, Option<Known>)>,
}

impl Undo {
    pub(super) fn at(last_arrival: u64) -> Self {
        Self { last_arrival, logs: Vec::new() }
    }
}

impl Ledger {
    pub(super) fn read_known(&mut self) -> Result<()> {
        let sql = "SELECT l.log, l.channel, l.node, l.incarnation, b.branch, b.parent, b.first,
                       (SELECT max(sequence) FROM entries WHERE branch = b.branch),
                       (SELECT id FROM entries WHERE branch = b.branch
                        ORDER BY sequence DESC LIMIT 1)
                   FROM branches b JOIN logs l USING (log) ORDER BY b.branch";
        let rows = self.database.all(sql, [], |row| {
            let channel = Channel::from_number(row.get(1)?);
            let author =
                Author { node: NodeId(row.get(2)?), incarnation: Incarnation(row.get(3)?) };
            let last = Head { sequence: row.get::<_, i64>(7)? as u64, id: EntryId(row.get(8)?) };
            let first = row.get::<_, i64>(6)? as u64;
            let branch = Branch { key: row.get(4)?, parent: row.get(5)?, first, last };
            Ok((row.get(0)?, channel.map(|channel| LogId { channel, author }), branch))
        })?;
        for (log, id, branch) in rows {
            let id = id.ok_or_else(|| {
                StoreError::corrupt(self.path(), "a log has a channel that does not exist")
            })?;
            let fresh = || Known { log, tree: Tree::default() };
            self.logs.entry(id).or_insert_with(fresh).tree.0.push(branch);
        }
        for (id, known) in &self.logs {
            self.frontier.set(*id, known.tree.heads());
        }
        self.last_arrival = self.database.count("SELECT coalesce(max(arrival), 0) FROM entries")?;
        Ok(())
    }

    /// Replaces what is known of a log after `arrivals` more entries.
    pub(super) fn know(&mut self, log: LogId, known: Known, arrivals: u64) {
        self.last_arrival += arrivals;
        self.frontier.set(log, known.tree.heads());
        let before = self.logs.insert(log, known);
        if let Some(undo) = self.undo.last_mut()
            && undo.logs.iter().all(|(id, _)| *id != log)
        {
            undo.logs.push((log, before));
        }
    }

    pub(super) fn keep_known(&mut self) {
        let done = self.undo.pop().expect("each savepoint has its undo");
        if let Some(outer) = self.undo.last_mut() {
            for (log, before) in done.logs {
                if outer.logs.iter().all(|(id, _)| *id != log) {
                    outer.logs.push((log, before));
                }
            }
        }
    }

    pub(super) fn undo_known(&mut self) {
        let undo = self.undo.pop().expect("each savepoint has its undo");
        self.last_arrival = undo.last_arrival;
        for (log, before) in undo.logs {
            match before {
                Some(known) => {
                    self.frontier.set(log, known.tree.heads());
                    self.logs.insert(log, known);
                }
                None => {
                    self.frontier.0.remove(&log);
                    self.logs.remove(&log);
                }
            }
        }
    }

    /// What is held of every log, the open transaction included.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// The heads of one log.
    pub fn heads(&self, log: &LogId) -> &[Head] {
        self.frontier.heads(log)
    }

    /// Every log of which something is held.
    pub fn logs(&self) -> impl Iterator<Item = LogId> {
        self.logs.keys().copied()
    }

    /// The logs whose author was cloned.
    pub fn forked_logs(&self) -> Vec<LogId> {
        let forked = self.logs.iter().filter(|(_, known)| known.tree.0.len() > 1);
        forked.map(|(log, _)| *log).collect()
    }

    /// The arrival of the newest entry; 0 when there is none. It is also how many there are.
    pub fn last_arrival(&self) -> u64 {
        self.last_arrival
    }

    /// Whether this entry of a log is held.
    pub fn knows(&self, log: &LogId, head: &Head) -> Result<bool> {
        Ok(self.find(log, head)?.is_some())
    }

    /// Those of a peer's heads that are held.
    pub fn known(&self, log: &LogId, heads: &[Head]) -> Result<Vec<Head>> {
        let mut known = Vec::new();
        for head in heads {
            if self.knows(log, head)? {
                known.push(*head);
            }
        }
        Ok(known)
    }

    /// Each head, and entries 1, 2, 4, 8... steps before it down to the first: enough to find where
    /// a peer's branch leaves ours. Newest first.
    pub fn waypoints(&self, log: &LogId) -> Result<Vec<Head>> {
        let Some(known) = self.logs.get(log) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for branch in &known.tree.0 {
            let path = known.tree.path(branch.key, branch.last.sequence);
            let mut step = 1;
            let mut sequence = branch.last.sequence;
            loop {
                let piece = path.iter().find(|piece| piece.last >= sequence);
                let piece = piece.expect("a path reaches down to entry 1");
                found.push(Head { sequence, id: self.id_at(piece.branch, sequence)? });
                if sequence == 1 {
                    break;
                }
                sequence = branch.last.sequence.saturating_sub(step).max(1);
                step *= 2;
            }
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.dedup();
        Ok(found)
    }

    /// The branch on which an entry stands, if it is held.
    pub(super) fn find(&self, log: &LogId, head: &Head) -> Result<Option<i64>> {
        let Some(known) = self.logs.get(log) else { return Ok(None) };
        for branch in &known.tree.0 {
            let Head { sequence: last, id } = branch.last;
            let held = if head.sequence == last {
                head.id == id
            } else if head.sequence < branch.first || head.sequence > last {
                false
            } else {
                self.id_at(branch.key, head.sequence)? == head.id
            };
            if held {
                return Ok(Some(branch.key));
            }
        }
        Ok(None)
    }

    pub(super) fn id_at(&self, branch: i64, sequence: u64) -> Result<EntryId> {
        let sql = "SELECT id FROM entries WHERE branch = ?1 AND sequence = ?2";
        let id = self.database.one(sql, (branch, sequence as i64), |row| row.get(0))?;
        id.map(EntryId).ok_or_else(|| StoreError::corrupt(self.path(), "a log has a hole"))
    }

    /// How many entries are held here that a peer with this frontier lacks.
    pub fn count_beyond(&self, frontier: &Frontier) -> Result<u64> {
        let mut count = 0;
        for (log, Known { tree, .. }) in &self.logs {
            let heads = frontier.heads(log);
            if heads == self.heads(log) {
                continue;
            }
            let mut places = Vec::new();
            for head in heads {
                match self.find(log, head)? {
                    Some(branch) => places.push((branch, head.sequence)),
                    // Longer than ours: taken to follow our longest branch, until asked.
                    None if head.sequence > tree.height() => {
                        let longest = tree.0.iter().max_by_key(|branch| branch.last.sequence);
                        places.extend(longest.map(|branch| (branch.key, branch.last.sequence)));
                    }
                    None => {}
                }
            }
            count += tree.beyond(&places);
        }
        Ok(count)
    }

    /// How many entries a peer with this frontier holds that are not held here. Of a branch that
    /// left ours at an unknown place, one entry is counted.
    pub fn count_missing(&self, frontier: &Frontier) -> Result<u64> {
        let mut count = 0;
        for (log, heads) in &frontier.0 {
            let height = self.logs.get(log).map_or(0, |known| known.tree.height());
            for head in heads {
                if !self.knows(log, head)? {
                    count += head.sequence.saturating_sub(height).max(1);
                }
            }
        }
        Ok(count)
    }

    /// What the tables promise each other, and SQLite does not check.
    pub(super) fn check_branches(&self) -> Result<Vec<String>> {
        let holes = "SELECT count(*) FROM branches b WHERE
            (SELECT count(*) FROM entries e WHERE e.branch = b.branch) !=
            (SELECT max(sequence) FROM entries e WHERE e.branch = b.branch) - b.first + 1";
        let orphans = "SELECT count(*) FROM branches b WHERE CASE WHEN b.parent IS NULL
            THEN b.first != 1
            ELSE NOT EXISTS (SELECT 1 FROM entries e
                             WHERE e.branch = b.parent AND e.sequence = b.first - 1) END";
        let unsigned = "SELECT count(*) FROM branches b WHERE
            (SELECT signature FROM entries e WHERE e.branch = b.branch
             ORDER BY sequence DESC LIMIT 1) IS NULL";
        let arrivals = "SELECT coalesce(max(arrival), 0) - count(*) FROM entries";
        let mut problems = Vec::new();
        for (sql, problem) in [
            (holes, "branches have holes"),
            (orphans, "branches begin nowhere"),
            (unsigned, "branches end without a signature"),
            (arrivals, "entries are missing"),
        ] {
            let found = self.database.count(sql)?;
            if found > 0 {
                problems.push(format!("{found} {problem}"));
            }
        }
        Ok(problems)
    }
}
