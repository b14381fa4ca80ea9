//! What may be packed: the entries of one document, or of one branch of a log that has none, and
//! how far all others hold them.

use super::super::{Ledger, Result};
use carnet_sync_protocol::entry::Codec;
use carnet_sync_protocol::frontier::Frontier;
use carnet_sync_protocol::id::{Channel, EpochId};
use std::collections::BTreeMap;

/// Entries of a branch that are looked at together.
const BRANCH_SLOTS_MAX: i64 = 4096;

/// Entries that may share packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Those of the document with this number.
    Document(i64),
    /// Those of no document on this branch of an audit log.
    Branch(i64),
}

/// What a row tells of whether its entry may be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its number in this file.
    pub arrival: u64,
    /// Where it stands.
    branch: i64,
    sequence: u64,
    /// The epoch under which it is sealed; none for clear text.
    pub epoch: Option<EpochId>,
    /// How its payload is encoded.
    pub codec: Codec,
    /// Its payload's length, packed or not.
    pub bytes: u64,
    /// The pack in which it is.
    pub pack: Option<i64>,
}

/// How far some peers all hold each branch, as far as is known.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged(Option<BTreeMap<i64, u64>>);

impl Acknowledged {
    /// Whether they all hold an entry.
    pub fn covers(&self, slot: &Slot) -> bool {
        let up_to = |branches: &BTreeMap<i64, u64>| branches.get(&slot.branch).copied();
        self.0.as_ref().is_none_or(|branches| up_to(branches).unwrap_or(0) >= slot.sequence)
    }
}

impl Ledger {
    /// How far every one of these frontiers reaches; without any, everywhere.
    pub fn acknowledged<'a>(
        &self,
        frontiers: impl IntoIterator<Item = &'a Frontier>,
    ) -> Result<Acknowledged> {
        let mut all: Option<BTreeMap<i64, u64>> = None;
        for frontier in frontiers {
            let mut held: BTreeMap<i64, u64> = BTreeMap::new();
            for (log, known) in &self.logs {
                for head in frontier.heads(log) {
                    // What is ahead of this node, or beside it, is not counted before it is here.
                    let Some(branch) = self.find(log, head)? else { continue };
                    for piece in known.tree.path(branch, head.sequence) {
                        let last = held.entry(piece.branch).or_default();
                        *last = piece.last.max(*last);
                    }
                }
            }
            all = Some(match all {
                None => held,
                Some(before) => before
                    .into_iter()
                    .filter_map(|(branch, last)| Some((branch, last.min(*held.get(&branch)?))))
                    .collect(),
            });
        }
        Ok(Acknowledged(all))
    }

    /// The group after another one; documents come first.
    pub fn next_group(&self, after: Option<Group>) -> Result<Option<Group>> {
        let last = match after {
            None => 0,
            Some(Group::Document(last)) => last,
            Some(Group::Branch(last)) => return Ok(self.audit_branch(last)),
        };
        let sql = "SELECT min(document) FROM documents WHERE document > ?1";
        let next: Option<Option<i64>> = self.database.one(sql, [last], |row| row.get(0))?;
        Ok(next.flatten().map(Group::Document).or_else(|| self.audit_branch(0)))
    }

    fn audit_branch(&self, after: i64) -> Option<Group> {
        let logs = self.logs.iter().filter(|(log, _)| log.channel == Channel::Audit);
        let branches = logs.flat_map(|(_, known)| known.tree.0.iter().map(|branch| branch.key));
        branches.filter(|key| *key > after).min().map(Group::Branch)
    }

    /// How many groups there are.
    pub fn group_count(&self) -> Result<u64> {
        let audit = self.logs.iter().filter(|(log, _)| log.channel == Channel::Audit);
        let branches: usize = audit.map(|(_, known)| known.tree.0.len()).sum();
        Ok(self.document_count()? + branches as u64)
    }

    /// The entries of a group, in the order of arrival; of a branch, the next after the last that
    /// is packed.
    pub fn slots(&self, group: Group) -> Result<Vec<Slot>> {
        let sql = "SELECT e.arrival, e.branch, e.sequence, p.id, e.codec,
                CASE WHEN e.pack IS NULL THEN length(e.payload) ELSE e.payload END, e.pack
            FROM entries e LEFT JOIN epochs p USING (epoch)";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Slot {
                arrival: row.get::<_, i64>(0)? as u64,
                branch: row.get(1)?,
                sequence: row.get::<_, i64>(2)? as u64,
                epoch: row.get::<_, Option<_>>(3)?.map(EpochId),
                codec: Codec(row.get(4)?),
                bytes: row.get::<_, i64>(5)? as u64,
                pack: row.get(6)?,
            })
        };
        match group {
            Group::Document(document) => {
                let sql = format!("{sql} WHERE e.document = ?1 ORDER BY e.arrival");
                self.database.all(&sql, [document], read)
            }
            Group::Branch(branch) => {
                let from = self.meta(&packed_until(branch))?.and_then(|at| at.try_into().ok());
                let from = from.map_or(0, i64::from_be_bytes);
                let sql = format!(
                    "{sql} WHERE e.branch = ?1 AND e.sequence > ?2 AND e.document IS NULL
                     ORDER BY e.sequence LIMIT ?3"
                );
                self.database.all(&sql, (branch, from, BRANCH_SLOTS_MAX), read)
            }
        }
    }

    /// Notes that a branch has been packed up to an entry.
    pub fn note_packed(&mut self, slot: &Slot) -> Result<()> {
        self.set_meta(&packed_until(slot.branch), &(slot.sequence as i64).to_be_bytes())
    }
}

fn packed_until(branch: i64) -> String {
    format!("packed/{branch}")
}
