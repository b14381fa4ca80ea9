//! What the other side lacks, log by log, and what to send next.
//!
//! For each log it is known what this side holds (`own`, its heads), at which points the other side
//! is known to be (`known`, points that both hold) and which heads the other side has named that
//! this side does not hold (`missing`). From that follows what to load and send. What has been
//! sent and not yet acknowledged is `flight`; it is not sent twice, because a stream delivers all
//! or breaks, and after a break a new session begins with what is really held.
//!
//! A log is a tree: if it was forked, a head of one branch says nothing about the other. A head
//! that this side does not know, although it is no further than its own, proves a fork. Then both
//! sides name waypoints, and each sends from the last one in common.

mod log;

use crate::error::Violation;
use crate::frontier::{Frontier, Head};
use crate::id::{Channel, EntryId, LogId};
use crate::limit;
use crate::message::{Acknowledgement, LogHeads, RefuseReason};
use log::{Flight, LogState};
use std::collections::{BTreeMap, BTreeSet};

/// What to load next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub log: LogId,
    pub after: Vec<Head>,
    pub until: Head,
}

/// One run that goes, or comes, as far as counting it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub log: LogId,
    pub previous: EntryId,
    pub last: Head,
    pub entries: u64,
    pub bytes: usize,
}

/// What is on its way in one channel.
#[derive(Clone, Copy, Debug, Default)]
struct LaneState {
    loading: bool,
    in_flight: usize,
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transfer {
    logs: BTreeMap<LogId, LogState>,
    lanes: [LaneState; Channel::ALL.len()],
    /// The channels of which enough is known; of the others nothing is sent or awaited.
    channels: Vec<Channel>,
    /// The logs of which the other side lacks something that it would take.
    behind: BTreeSet<LogId>,
    /// The logs of which the other side has named something that this side lacks.
    lacking: BTreeSet<LogId>,
}

impl Transfer {
    /// Begins with what this side holds, and nothing known of the other.
    pub fn new(frontier: &Frontier) -> Self {
        let mut transfer = Self::default();
        for (log, heads) in &frontier.0 {
            transfer.change(*log, |state| state.own.clone_from(heads));
        }
        transfer
    }

    /// Changes a log's state and brings the two sets in line with it.
    fn change<T>(&mut self, log: LogId, change: impl FnOnce(&mut LogState) -> T) -> T {
        let state = self.logs.entry(log).or_default();
        let result = change(state);
        state.prune();
        let carried = self.channels.contains(&log.channel);
        if carried && state.lacked().next().is_some() {
            self.behind.insert(log);
        } else {
            self.behind.remove(&log);
        }
        if state.lacks() {
            self.lacking.insert(log);
        } else {
            self.lacking.remove(&log);
        }
        result
    }

    /// Fails when a peer would make this side remember more logs than it may.
    pub fn admit(&self, log: &LogId) -> Result<(), Violation> {
        if self.logs.len() >= limit::LOGS_MAX && !self.logs.contains_key(log) {
            return Err(Violation::FrontierLength);
        }
        Ok(())
    }

    /// Sends and awaits logs of these channels only; at first of none.
    pub fn carry(&mut self, channels: &[Channel]) {
        self.channels = channels.to_vec();
        let logs: Vec<LogId> = self.logs.keys().copied().collect();
        for log in logs {
            self.change(log, |_| ());
        }
    }

    /// The other side holds exactly these heads, which this side holds too.
    pub fn presume(&mut self, log: LogId, heads: &[Head]) {
        self.change(log, |state| state.known = heads.to_vec());
    }

    /// This side holds more, or the same: older news is ignored. Says whether it was news.
    pub fn advance(&mut self, log: LogId, heads: &[Head]) -> bool {
        self.change(log, |state| state.advance(heads))
    }

    /// The missing heads of a log that may have come by another way since, to be asked for.
    pub fn recheck(&mut self, log: LogId) -> Vec<Head> {
        self.change(log, LogState::recheck)
    }

    /// Whether the other side has named something of this log that this side lacks.
    pub fn is_lacking(&self, log: &LogId) -> bool {
        self.lacking.contains(log)
    }

    /// The other side says that these are its heads of a log. Returns those of which the ledger
    /// must be asked whether it holds them.
    pub fn claim(&mut self, log: LogId, heads: &[Head]) -> Vec<Head> {
        self.change(log, |state| state.claim(heads))
    }

    /// The ledger's answer for one head that [`Self::claim`] or [`Self::recheck`] gave out.
    pub fn answer(&mut self, log: LogId, head: Head, held: bool) {
        self.change(log, |state| state.answer(head, held));
    }

    /// The other side holds these points, and so does this side.
    pub fn meet(&mut self, log: LogId, points: &[Head]) {
        self.change(log, |state| {
            state.waypoints_received = true;
            state.known.extend_from_slice(points);
        });
    }

    /// Whether this log has forked and waypoints should be sent, now; says yes once.
    pub fn needs_waypoints(&mut self, log: LogId, asked: bool) -> bool {
        self.change(log, |state| {
            let needed = !state.waypoints_sent && (asked || state.has_fork());
            state.waypoints_sent |= needed;
            needed
        })
    }

    /// What to load next, if a channel has room: the most urgent first, and nothing but control
    /// entries while the other side lacks any of those.
    ///
    /// Loading and taking in cost both sides time, on a fast line more than sending does; so nothing
    /// is loaded beside what is more urgent, but only when that fills its window or is at its end.
    pub fn next_load(&mut self) -> Option<Wanted> {
        let control_done = !self.behind.iter().any(|log| log.channel == Channel::Control);
        for channel in Channel::ALL {
            let open = channel == Channel::Control || control_done;
            let lane = self.lanes[usize::from(channel.number())];
            if lane.loading {
                return None;
            }
            if !open || lane.in_flight >= limit::WINDOW_BYTES {
                continue;
            }
            let wanted = self
                .behind
                .iter()
                .filter(|log| log.channel == channel)
                .find_map(|log| Some((*log, self.logs.get(log)?.target()?)));
            if let Some((log, (after, until))) = wanted {
                self.lanes[usize::from(channel.number())].loading = true;
                return Some(Wanted { log, after, until });
            }
        }
        None
    }

    /// The answer to [`Self::next_load`] for this log has come; nothing if there was nothing.
    pub fn loaded(&mut self, log: LogId, parcels: &[Parcel]) {
        let lane = &mut self.lanes[usize::from(log.channel.number())];
        lane.loading = false;
        lane.in_flight += parcels.iter().map(|parcel| parcel.bytes).sum::<usize>();
        self.change(log, |state| {
            state.barren = parcels.is_empty();
            state.flight.extend(parcels.iter().map(|parcel| Flight { parcel: *parcel }));
        });
    }

    /// The other side has stored or refused a run. Returns the run, if it was stored.
    pub fn acknowledge(&mut self, ack: &Acknowledgement) -> Result<Option<Parcel>, Violation> {
        // Usually the oldest; a ledger may answer in another order.
        let flight = self.logs.get(&ack.log).and_then(|state| {
            let place = state.flight.iter().position(|sent| sent.parcel.last == ack.last)?;
            Some((place, state.flight[place].parcel))
        });
        let (place, parcel) = flight.ok_or(Violation::Acknowledgement)?;
        self.lanes[usize::from(ack.log.channel.number())].in_flight -= parcel.bytes;
        self.change(ack.log, |state| {
            state.flight.remove(place);
            match ack.refused {
                #[cfg(planted)]
                None if crate::planted::is("counts-nothing-as-acknowledged") => {}
                None => state.step(parcel.previous, parcel.last),
                Some(reason) => state.refused_by_peer = worse(state.refused_by_peer, reason),
            }
            state.end_retry();
        });
        Ok(ack.refused.is_none().then_some(parcel))
    }

    /// The logs that this side refused for lack of a certificate; it takes them from now on.
    pub fn reconsider(&mut self) -> Vec<LogId> {
        let waits = |state: &LogState| state.refused_by_us == Some(RefuseReason::Uncertified);
        let logs = self.logs.iter().filter(|(_, state)| waits(state)).map(|(log, _)| *log);
        let logs: Vec<LogId> = logs.take(limit::FRONTIER_PART_LOGS_MAX).collect();
        for log in &logs {
            self.change(*log, |state| state.refused_by_us = None);
        }
        logs
    }

    /// The other side has asked for a log that it refused for lack of a certificate.
    pub fn retry(&mut self, log: LogId) {
        if self.logs.contains_key(&log) {
            self.change(log, LogState::retry);
        }
    }

    /// The other side's run has been stored here.
    pub fn received(&mut self, parcel: &Parcel) {
        self.change(parcel.log, |state| {
            state.refused_by_us = None;
            state.missing.retain(|head| *head != parcel.last);
            state.step(parcel.previous, parcel.last);
        });
    }

    /// This side does not take the log's entries.
    pub fn refuse(&mut self, log: LogId, reason: RefuseReason) {
        self.change(log, |state| state.refused_by_us = worse(state.refused_by_us, reason));
    }

    /// Whether, and why, this side has refused the log.
    pub fn refused_by_us(&self, log: &LogId) -> Option<RefuseReason> {
        self.logs.get(log)?.refused_by_us
    }

    /// Whether each side holds, as far as this side knows, all that the other holds and it takes.
    pub fn is_level(&self) -> bool {
        let under_way = self.lanes.iter().any(|lane| lane.in_flight > 0);
        self.behind.is_empty() && self.lacking.is_empty() && !under_way
    }

    /// What this side holds, without the logs that one side refuses.
    pub fn common(&self, channels: &[Channel]) -> Frontier {
        let logs = self.logs.iter().filter(|(log, state)| {
            channels.contains(&log.channel) && !state.is_refused() && !state.own.is_empty()
        });
        Frontier(logs.map(|(log, state)| (*log, state.own.clone())).collect())
    }

    /// What this side holds of some channels.
    pub fn own_of(&self, channels: &[Channel]) -> LogHeads {
        let logs = self.logs.iter();
        logs.filter(|(log, state)| channels.contains(&log.channel) && !state.own.is_empty())
            .map(|(log, state)| (*log, state.own.clone()))
            .collect()
    }

    /// What the other side is known or says to hold.
    pub fn theirs(&self) -> Frontier {
        let logs = self.logs.iter().map(|(log, state)| (*log, state.theirs()));
        Frontier(logs.filter(|(_, heads)| !heads.is_empty()).collect())
    }

    /// About how many entries the other side lacks, and this side.
    pub fn outstanding(&self) -> (u64, u64) {
        let state = |log: &LogId| self.logs.get(log);
        let send = self.behind.iter().filter_map(state).map(LogState::to_send).sum();
        let receive = self.lacking.iter().filter_map(state).map(LogState::to_receive).sum();
        (send, receive)
    }
}

/// A gap is but what follows when an earlier run was refused; the first reason stands.
fn worse(before: Option<RefuseReason>, reason: RefuseReason) -> Option<RefuseReason> {
    before.filter(|_| reason == RefuseReason::Gap).or(Some(reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Author, Incarnation, NodeId};

    #[test]
    fn what_is_less_urgent_is_loaded_once_what_is_urgent_needs_no_more() {
        let author = Author { node: NodeId::ZERO, incarnation: Incarnation::ZERO };
        let log = |channel| LogId { channel, author };
        let head = |sequence: u8| Head { sequence: sequence.into(), id: EntryId([sequence; 32]) };
        let parcel = |channel, first: u8, last: u8, bytes| Parcel {
            log: log(channel),
            previous: EntryId([first; 32]),
            last: head(last),
            entries: u64::from(last - first),
            bytes,
        };
        let (urgent, other) = (Channel::Critical, Channel::Audit);
        let mut frontier = Frontier::default();
        for channel in [urgent, other] {
            frontier.set(log(channel), vec![head(9)]);
        }
        let mut transfer = Transfer::new(&frontier);
        transfer.carry(&Channel::ALL);
        let next = |transfer: &mut Transfer| transfer.next_load().map(|next| next.log.channel);
        assert_eq!(next(&mut transfer), Some(urgent));
        assert_eq!(next(&mut transfer), None, "beside what is being loaded");
        transfer.loaded(log(urgent), &[parcel(urgent, 0, 4, 100)]);
        assert_eq!(next(&mut transfer), Some(urgent), "there is room for more of it");
        transfer.loaded(log(urgent), &[parcel(urgent, 4, 8, limit::WINDOW_BYTES)]);
        assert_eq!(next(&mut transfer), Some(other), "its window is full");
        let stored = Acknowledgement { log: log(urgent), last: head(8), refused: None };
        transfer.acknowledge(&stored).unwrap();
        assert_eq!(next(&mut transfer), Some(urgent), "whatever else is being loaded");
        transfer.loaded(log(urgent), &[parcel(urgent, 8, 9, 100)]);
        transfer.loaded(log(other), &[parcel(other, 0, 4, 100)]);
        assert_eq!(next(&mut transfer), Some(other), "nothing is left of what is urgent");
    }
}
