//! Frontiers: what each side holds, in as few bytes as can tell it.
//!
//! Equal digests say that a channel is level. Of the others each side names its heads, or, when
//! both have kept the same receipt, only those that differ from it; these are in the HELLO, if they
//! are few. Where the other side's digest is still that of the receipt, its heads are known without
//! being named, and what is newer here goes at once. Where it is not, the other side may hold
//! acknowledged entries that came after the receipt; its heads are awaited, so that none of those is
//! sent twice.

use super::greeting::Announced;
use super::{Event, LogHeads, Output, Question, Session, Stage};
use crate::error::Violation;
use crate::frontier::{Frontier, Head};
use crate::id::{Channel, LogId, ReceiptId};
use crate::limit;
use crate::message::{ChannelDigest, HelloBody, Message};
use crate::receipt::StoredReceipt;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of the other side's frontier.
pub(super) struct Exchange {
    /// The channels that both carry.
    pub channels: Vec<Channel>,
    /// Those of them that differed when the HELLOs were made.
    differing: Vec<Channel>,
    /// The receipt that both have kept.
    base: Option<StoredReceipt>,
    /// The parts of the other side's frontier that have come; nothing once it is complete.
    claimed: Option<BTreeMap<LogId, Vec<Head>>>,
}

impl Exchange {
    /// Whether the other side's whole frontier is known.
    pub fn is_complete(&self) -> bool {
        self.claimed.is_none()
    }

    /// Whether both have kept the same receipt.
    pub fn has_base(&self) -> bool {
        self.base.is_some()
    }
}

impl Session {
    pub(super) fn begin_exchange(&mut self, announced: Announced, theirs: &HelloBody) -> Exchange {
        let compared = Exchange::compare(&announced.digests, &theirs.digests);
        #[cfg(planted)]
        let former = announced.receipt.clone();
        let base = announced.receipt.filter(|receipt| Some(receipt.id()) == theirs.receipt);
        for (channel, equal) in &compared {
            let held = if *equal {
                Some(&announced.frontier)
            } else {
                base.as_ref().map(|receipt| &receipt.frontier)
            };
            #[cfg(planted)]
            let held = match crate::planted::is("trusts-the-receipt-of-a-former-life") {
                true => held.or(former.as_ref().map(|receipt| &receipt.frontier)),
                false => held,
            };
            for (log, heads) in held.into_iter().flat_map(|held| held.channel(*channel)) {
                self.transfer.presume(*log, heads);
            }
        }
        let sure = sure_channels(&compared, base.as_ref(), theirs);
        self.transfer.carry(&sure);
        let channels: Vec<Channel> = compared.iter().map(|(channel, _)| *channel).collect();
        let differing: Vec<Channel> =
            compared.into_iter().filter(|(_, equal)| !equal).map(|(channel, _)| channel).collect();
        let claimed = (!differing.is_empty()).then(BTreeMap::new);
        if differing.is_empty() {
            self.transfer.carry(&channels);
        } else if !announced.beyond || base.is_none() {
            self.name_heads(&differing, base.as_ref());
        }
        Exchange { channels, differing, base, claimed }
    }

    /// Sends this side's frontier of the channels that differ.
    fn name_heads(&mut self, differing: &[Channel], base: Option<&StoredReceipt>) {
        let mut logs = self.transfer.own_of(differing);
        if let Some(base) = base {
            logs = beyond(logs, base);
        }
        let id = base.map(StoredReceipt::id);
        let mut parts: Vec<LogHeads> = vec![Vec::new()];
        let mut in_part = 0;
        for (log, heads) in logs {
            let full = parts.last().is_some_and(|part| part.len() >= limit::FRONTIER_PART_LOGS_MAX)
                || in_part + heads.len() > limit::FRONTIER_PART_HEADS_MAX;
            if full {
                parts.push(Vec::new());
                in_part = 0;
            }
            in_part += heads.len();
            if let Some(part) = parts.last_mut() {
                part.push((log, heads));
            }
        }
        let count = parts.len();
        for (index, logs) in parts.into_iter().enumerate() {
            self.say(&Message::Frontier { base: id, logs, last: index + 1 == count });
        }
    }

    /// What the other side's HELLO names beyond its receipt; worth nothing where that is another.
    pub(super) fn told_beyond(&mut self, mut logs: LogHeads) -> Result<(), Violation> {
        let Stage::Open(open) = &self.stage else { return Ok(()) };
        let exchange = &open.exchange;
        let base = exchange.base.as_ref().map(StoredReceipt::id);
        if base.is_none() || exchange.is_complete() {
            return Ok(());
        }
        logs.retain(|(log, _)| exchange.differing.contains(&log.channel));
        self.their_frontier(base, logs, true)
    }

    pub(super) fn their_frontier(
        &mut self,
        base: Option<ReceiptId>,
        logs: LogHeads,
        last: bool,
    ) -> Result<(), Violation> {
        let Stage::Open(open) = &mut self.stage else { return Ok(()) };
        let exchange = &mut open.exchange;
        if base != exchange.base.as_ref().map(StoredReceipt::id) {
            return Err(Violation::Receipt);
        }
        let claimed = exchange.claimed.as_mut().ok_or(Violation::Order)?;
        for (log, heads) in logs {
            check_heads(&exchange.differing, &log, &heads)?;
            if claimed.len() >= limit::LOGS_MAX || claimed.insert(log, heads).is_some() {
                return Err(Violation::FrontierLength);
            }
        }
        if !last {
            return Ok(());
        }
        let mut whole = Frontier::default();
        if let Some(base) = &exchange.base {
            for channel in &exchange.differing {
                let logs = base.frontier.channel(*channel);
                whole.0.extend(logs.map(|(log, heads)| (*log, heads.clone())));
            }
        }
        whole.0.extend(exchange.claimed.take().unwrap_or_default());
        let mut doubtful = Vec::new();
        for (log, heads) in &whole.0 {
            self.transfer.admit(log)?;
            doubtful.extend(self.transfer.claim(*log, heads).into_iter().map(|head| (*log, head)));
        }
        self.transfer.carry(&exchange.channels);
        self.tell(Event::PeerFrontier(self.transfer.theirs()));
        self.find_known(doubtful)
    }

    /// The other side has come to hold more by another way.
    pub(super) fn holding(&mut self, logs: LogHeads) -> Result<(), Violation> {
        let Stage::Open(open) = &self.stage else { return Ok(()) };
        for (log, heads) in &logs {
            check_heads(&open.exchange.channels, log, heads)?;
            self.transfer.admit(log)?;
        }
        if logs.len() > limit::FRONTIER_PART_LOGS_MAX {
            return Err(Violation::FrontierLength);
        }
        let mut doubtful = Vec::new();
        for (log, heads) in logs {
            doubtful.extend(self.transfer.claim(log, &heads).into_iter().map(|head| (log, head)));
        }
        self.find_known(doubtful)
    }

    fn find_known(&mut self, heads: Vec<(LogId, Head)>) -> Result<(), Violation> {
        for part in heads.chunks(limit::QUESTION_HEADS_MAX) {
            self.may_ask()?;
            let request = self.ask(Question::Claims(part.to_vec()));
            self.outputs.push_back(Output::FindKnown { request, heads: part.to_vec() });
        }
        Ok(())
    }

    pub(super) fn known(&mut self, request: u64, known: &[Head]) {
        match self.questions.remove(&request) {
            Some(Question::Claims(heads)) => {
                let known: BTreeSet<&Head> = known.iter().collect();
                for (log, head) in heads {
                    self.transfer.answer(log, head, known.contains(&head));
                    self.mark_fork(log, false);
                }
            }
            Some(Question::Points(log, points)) => {
                let met: Vec<Head> =
                    points.into_iter().filter(|point| known.contains(point)).collect();
                self.transfer.meet(log, &met);
            }
            Some(other) => {
                self.questions.insert(request, other);
            }
            None => {}
        }
    }

    /// Sends waypoints of a log, once, if it has forked or the other side says so.
    fn mark_fork(&mut self, log: LogId, asked: bool) {
        if self.transfer.needs_waypoints(log, asked) {
            let request = self.ask(Question::Waypoints(log));
            self.outputs.push_back(Output::FindWaypoints { request, log });
        }
    }

    pub(super) fn own_waypoints(&mut self, request: u64, mut points: Vec<Head>) {
        match self.questions.remove(&request) {
            Some(Question::Waypoints(log)) => {
                points.truncate(limit::WAYPOINTS_MAX);
                self.say(&Message::Waypoints { log, points });
            }
            Some(other) => {
                self.questions.insert(request, other);
            }
            None => {}
        }
    }

    pub(super) fn their_waypoints(
        &mut self,
        log: LogId,
        points: Vec<Head>,
    ) -> Result<(), Violation> {
        let Stage::Open(open) = &self.stage else { return Ok(()) };
        if points.len() > limit::WAYPOINTS_MAX || !open.exchange.channels.contains(&log.channel) {
            return Err(Violation::FrontierLength);
        }
        self.transfer.admit(&log)?;
        self.may_ask()?;
        let heads = points.iter().map(|point| (log, *point)).collect();
        let request = self.ask(Question::Points(log, points));
        self.outputs.push_back(Output::FindKnown { request, heads });
        self.mark_fork(log, true);
        Ok(())
    }

    /// This side's ledger has grown, by this session or another way.
    pub(super) fn advanced(&mut self, logs: &LogHeads) {
        let mut news: LogHeads = Vec::new();
        for (log, heads) in logs {
            let coming = self.questions.values().any(
                |question| matches!(question, Question::Store(parcel, _) if parcel.log == *log),
            );
            let awaited = self.transfer.is_lacking(log);
            if self.grow(*log, heads) && awaited && !coming {
                news.push((*log, heads.clone()));
            }
        }
        // The other side has said that it holds more of these logs: it need not send what has
        // come from elsewhere in the meantime.
        if matches!(self.stage, Stage::Open(_)) {
            news.retain(|(log, _)| self.carries(log.channel));
            for part in news.chunks(limit::FRONTIER_PART_LOGS_MAX) {
                self.say(&Message::Holding(part.to_vec()));
            }
        }
    }

    /// Takes over newer heads of this side, and looks again at what was missing.
    pub(super) fn grow(&mut self, log: LogId, heads: &[Head]) -> bool {
        let grown = self.transfer.advance(log, heads);
        if grown && log.channel == Channel::Control && self.carries(log.channel) {
            self.control_growth += 1;
            self.reconsider();
        }
        let doubtful = if grown { self.transfer.recheck(log) } else { Vec::new() };
        if !doubtful.is_empty() {
            // Not counted against the other side: this side's own growth is the cause.
            let heads: Vec<(LogId, Head)> = doubtful.into_iter().map(|head| (log, head)).collect();
            let request = self.ask(Question::Claims(heads.clone()));
            self.outputs.push_back(Output::FindKnown { request, heads });
        }
        grown
    }

    /// Asks for what was refused for lack of a certificate, which may have come by now.
    pub(super) fn reconsider(&mut self) {
        #[cfg(planted)]
        if crate::planted::is("never-asks-again-for-what-was-uncertified") {
            return;
        }
        let logs = self.transfer.reconsider();
        if !logs.is_empty() {
            self.say(&Message::Reconsider(logs));
        }
    }

    pub(super) fn carries(&self, channel: Channel) -> bool {
        matches!(&self.stage, Stage::Open(open) if open.exchange.channels.contains(&channel))
    }
}

/// The logs of which other heads are held than a receipt says: what need be told to who has kept it too.
pub(super) fn beyond(mut logs: LogHeads, receipt: &StoredReceipt) -> LogHeads {
    logs.retain(|(log, heads)| receipt.frontier.heads(log) != heads.as_slice());
    logs
}

/// The channels of which the other side's heads are known from the HELLOs and the receipt alone.
/// None, if control is not among them, since nothing may overtake it.
fn sure_channels(
    compared: &[(Channel, bool)],
    base: Option<&StoredReceipt>,
    theirs: &HelloBody,
) -> Vec<Channel> {
    let unchanged = |channel: Channel| {
        let Some(base) = base else { return false };
        theirs.digests.contains(&ChannelDigest::of(&base.frontier, channel))
    };
    let sure = compared.iter().filter(|(channel, equal)| *equal || unchanged(*channel));
    let sure: Vec<Channel> = sure.map(|(channel, _)| *channel).collect();
    if sure.contains(&Channel::Control) { sure } else { Vec::new() }
}

fn check_heads(channels: &[Channel], log: &LogId, heads: &[Head]) -> Result<(), Violation> {
    if !channels.contains(&log.channel) {
        return Err(Violation::Channel);
    }
    let ascending = heads.windows(2).all(|pair| pair[0] < pair[1]);
    let placed = heads.iter().all(|head| head.sequence > 0);
    if heads.is_empty() || heads.len() > limit::HEADS_MAX || !ascending || !placed {
        return Err(Violation::FrontierLength);
    }
    Ok(())
}
