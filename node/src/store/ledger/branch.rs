//! One log as a tree of branches, and questions that need only its shape.

use carnet_sync_protocol::frontier::Head;
use std::collections::BTreeMap;

/// A straight piece of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Branch {
    /// Its row.
    pub key: i64,
    /// The branch after whose entry `first - 1` this one begins; none when it begins at entry 1.
    pub parent: Option<i64>,
    /// The sequence of its first entry.
    pub first: u64,
    /// Its last entry; nothing follows it, or it would be longer.
    pub last: Head,
}

/// Consecutive entries of one branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub branch: i64,
    pub first: u64,
    pub last: u64,
}

/// The branches of a log, each after its parent.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree(pub Vec<Branch>);

impl Tree {
    pub(super) fn branch(&self, key: i64) -> Option<&Branch> {
        self.0.iter().find(|branch| branch.key == key)
    }

    /// The way from entry 1 to entry `sequence` of a branch.
    pub(super) fn path(&self, branch: i64, sequence: u64) -> Vec<Piece> {
        let mut path = Vec::new();
        let (mut next, mut last) = (self.branch(branch), sequence);
        while let Some(branch) = next {
            path.push(Piece { branch: branch.key, first: branch.first, last });
            last = branch.first - 1;
            next = branch.parent.and_then(|parent| self.branch(parent));
        }
        path.reverse();
        path
    }

    pub(super) fn heads(&self) -> Vec<Head> {
        let mut heads: Vec<_> = self.0.iter().map(|branch| branch.last).collect();
        heads.sort_unstable();
        heads
    }

    /// How many entries stand on none of the ways to these places (branch, sequence).
    pub(super) fn beyond(&self, places: &[(i64, u64)]) -> u64 {
        let mut covered: BTreeMap<i64, u64> = BTreeMap::new();
        for piece in places.iter().flat_map(|&(branch, sequence)| self.path(branch, sequence)) {
            let last = covered.entry(piece.branch).or_default();
            *last = piece.last.max(*last);
        }
        let left = |branch: &Branch| {
            let from = covered.get(&branch.key).map_or(branch.first - 1, |&last| last);
            branch.last.sequence.saturating_sub(from)
        };
        self.0.iter().map(left).sum()
    }

    /// The longest branch's last sequence; 0 for an empty tree.
    pub(super) fn height(&self) -> u64 {
        self.0.iter().map(|branch| branch.last.sequence).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carnet_sync_protocol::id::EntryId;

    fn branch(key: i64, parent: Option<i64>, first: u64, last: u64) -> Branch {
        Branch { key, parent, first, last: Head { sequence: last, id: EntryId([key as u8; 32]) } }
    }

    fn tree() -> Tree {
        Tree(vec![branch(1, None, 1, 10), branch(2, Some(1), 5, 7), branch(3, Some(2), 7, 9)])
    }

    #[test]
    fn a_path_goes_through_the_parents_up_to_each_fork() {
        let piece = |branch, first, last| Piece { branch, first, last };
        assert_eq!(tree().path(3, 8), [piece(1, 1, 4), piece(2, 5, 6), piece(3, 7, 8)]);
        assert_eq!(tree().path(1, 3), [piece(1, 1, 3)]);
    }

    #[test]
    fn what_is_beyond_counts_each_entry_once() {
        // 10 on the trunk, 3 and 3 on the branches.
        assert_eq!(tree().beyond(&[]), 16);
        assert_eq!(tree().beyond(&[(1, 10)]), 6);
        assert_eq!(tree().beyond(&[(3, 9)]), 6 + 1);
        assert_eq!(tree().beyond(&[(1, 10), (2, 7), (3, 9)]), 0);
        assert_eq!(tree().height(), 10);
    }
}
