//! One log in a transfer.

use super::Parcel;
use crate::frontier::Head;
use crate::id::EntryId;
use crate::limit;
use crate::message::RefuseReason;
use std::collections::VecDeque;

/// A run on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub parcel: Parcel,
}

/// What both sides hold of one log, as far as this side knows.
#[derive(Clone, Debug, Default)]
pub(super) struct LogState {
    /// The heads that this side holds.
    pub own: Vec<Head>,
    /// Points that both hold.
    pub known: Vec<Head>,
    /// Heads that the other side has named and this side does not hold.
    pub missing: Vec<Head>,
    /// Heads that the other side has named and of which the ledger is being asked.
    pub asked: Vec<Head>,
    /// Runs that were sent and not acknowledged, oldest first.
    pub flight: VecDeque<Flight>,
    /// The ledger had nothing to load. Kept until this side's heads change or are told again, so
    /// that one log that can't be loaded neither loops nor blocks the others.
    pub barren: bool,
    /// The other side does not take it.
    pub refused_by_peer: Option<RefuseReason>,
    /// The other side, having refused it, wants it after all.
    pub retry_asked: bool,
    /// This side does not take it.
    pub refused_by_us: Option<RefuseReason>,
    /// Waypoints have been sent.
    pub waypoints_sent: bool,
    /// Waypoints have come, and the ledger has said which of them it holds.
    pub waypoints_received: bool,
}

fn tip(heads: &[Head]) -> u64 {
    heads.iter().map(|head| head.sequence).max().unwrap_or(0)
}

impl LogState {
    /// Takes over newer heads. Every change of a log's heads adds an entry to one of them, or a
    /// branch, so the sum of their sequences tells newer from older.
    pub fn advance(&mut self, heads: &[Head]) -> bool {
        let sum = |heads: &[Head]| heads.iter().map(|head| u128::from(head.sequence)).sum::<u128>();
        if heads == self.own {
            // Told once more: the ledger may have now what it could not load.
            self.barren = false;
        }
        if sum(heads) <= sum(&self.own) {
            return false;
        }
        self.own = heads.to_vec();
        self.barren = false;
        let own = &self.own;
        let (held, missing): (Vec<Head>, Vec<Head>) =
            self.missing.iter().partition(|head| own.contains(head));
        self.missing = missing;
        self.known.extend(held);
        true
    }

    /// Moves the missing heads that this side may hold by now back to be asked for.
    pub fn recheck(&mut self) -> Vec<Head> {
        let tip = tip(&self.own);
        let (doubtful, missing): (Vec<Head>, Vec<Head>) =
            self.missing.iter().partition(|head| head.sequence <= tip);
        self.missing = missing;
        self.asked.extend_from_slice(&doubtful);
        doubtful
    }

    /// Sorts the other side's heads into held, not held, and to be asked for.
    pub fn claim(&mut self, heads: &[Head]) -> Vec<Head> {
        let tip = tip(&self.own);
        let mut doubtful = Vec::new();
        self.missing.clear();
        for head in heads {
            let sent = self.flight.iter().any(|flight| flight.parcel.last == *head);
            if sent || self.own.contains(head) || self.known.contains(head) {
                self.known.push(*head);
            } else if head.sequence > tip {
                self.missing.push(*head);
            } else if !self.asked.contains(head) {
                doubtful.push(*head);
            }
        }
        self.asked.extend_from_slice(&doubtful);
        doubtful
    }

    /// The ledger's answer for one head.
    pub fn answer(&mut self, head: Head, held: bool) {
        self.asked.retain(|asked| *asked != head);
        if held || self.own.contains(&head) {
            self.known.push(head);
        } else if self.missing.len() < limit::HEADS_MAX {
            self.missing.push(head);
        }
    }

    /// Both sides now hold a run that leads from one point to another.
    pub fn step(&mut self, previous: EntryId, last: Head) {
        self.known.retain(|point| point.id != previous);
        self.known.push(last);
    }

    /// Forgets points that say nothing beyond others.
    pub fn prune(&mut self) {
        self.known.sort_unstable();
        self.known.dedup();
        // In a log with one head, every held entry is on the way to that head.
        let keep = if self.own.len() == 1 { 1 } else { limit::KNOWN_POINTS_MAX };
        let surplus = self.known.len().saturating_sub(keep);
        self.known.drain(..surplus);
    }

    /// Whether the other side's head is no further than this side's, and yet not known here.
    pub fn has_fork(&self) -> bool {
        let tip = tip(&self.own);
        self.missing.iter().any(|head| head.sequence <= tip)
    }

    /// Whether the other side, being ahead, is taken to hold this head. If it does not, the log
    /// has forked; then the other side sees so, and sends waypoints.
    fn presumes(&self, head: &Head) -> bool {
        !self.waypoints_received
            && !self.has_fork()
            && self.missing.iter().any(|theirs| theirs.sequence > head.sequence)
    }

    /// The heads that the other side lacks and would take.
    pub fn lacked(&self) -> impl Iterator<Item = &Head> {
        let offered = self.refused_by_peer.is_none() && !self.barren;
        let lacks = move |head: &&Head| !self.known.contains(head) && !self.presumes(head);
        self.own.iter().filter(move |_| offered).filter(lacks)
    }

    /// Whether this side lacks, or may lack, something that it would take.
    pub fn lacks(&self) -> bool {
        self.refused_by_us.is_none() && !(self.missing.is_empty() && self.asked.is_empty())
    }

    /// From where to where to load next; nothing while it is not clear, or all is on its way.
    pub fn target(&self) -> Option<(Vec<Head>, Head)> {
        if !self.asked.is_empty() || (self.has_fork() && !self.waypoints_received) {
            return None;
        }
        let sent = || self.flight.iter().map(|flight| flight.parcel.last);
        let until = *self.lacked().find(|head| sent().all(|last| last != **head))?;
        let mut after: Vec<Head> = self.known.iter().copied().chain(sent()).collect();
        after.sort_unstable();
        if self.own.len() == 1 {
            after.drain(..after.len().saturating_sub(1));
        }
        Some((after, until))
    }

    /// The other side asks for it again after it refused it for lack of a certificate.
    pub fn retry(&mut self) {
        self.retry_asked = self.refused_by_peer == Some(RefuseReason::Uncertified);
        self.end_retry();
    }

    /// Begins again once it is known what became of everything that was sent.
    pub fn end_retry(&mut self) {
        if self.retry_asked && self.flight.is_empty() {
            self.retry_asked = false;
            self.refused_by_peer = None;
        }
    }

    /// Whether one side does not take it.
    pub fn is_refused(&self) -> bool {
        self.refused_by_peer.is_some() || self.refused_by_us.is_some()
    }

    /// The other side's heads, as far as this side knows.
    pub fn theirs(&self) -> Vec<Head> {
        let ahead = tip(&self.missing);
        let known = self.known.iter().filter(|point| {
            // Of a log that has not forked, a point below a named head is no head.
            self.own.len() != 1 || point.sequence > ahead || self.has_fork()
        });
        let mut heads: Vec<Head> = known.chain(&self.missing).copied().collect();
        heads.sort_unstable();
        heads.dedup();
        if heads.len() > limit::HEADS_MAX {
            heads.drain(..heads.len() - limit::HEADS_MAX);
        }
        heads
    }

    /// About how many entries the other side lacks.
    pub fn to_send(&self) -> u64 {
        tip(&self.own).saturating_sub(tip(&self.known)).max(1)
    }

    /// About how many entries this side lacks.
    pub fn to_receive(&self) -> u64 {
        tip(&self.missing).saturating_sub(tip(&self.own)).max(1)
    }
}
