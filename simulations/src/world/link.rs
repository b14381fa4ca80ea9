//! Links: dialing, carrying frames, breaking.

use super::turn::Call;
use super::{Event, World};
use crate::checks::Flaw;
use crate::network::{Line, Link, LinkEnd};
use carnet_node::base::environment::Clock;
use carnet_node::sync::{Conversation, Ends, Opening, Step};
use carnet_sync_protocol::id::Channel;
use carnet_sync_protocol::session::{self, CloseReason, Input, Lane};
use std::collections::BTreeMap;

impl World {
    /// Adds a line, on which somebody will dial.
    pub(super) fn add_line(&mut self, ends: [usize; 2]) {
        if self.lines.iter().any(|line| line.ends == ends) {
            return;
        }
        self.lines.push(Line::new(ends));
        let at = self.now + self.network.between(10, 2_000);
        self.schedule(at, Event::Dial { line: self.lines.len() - 1 });
    }

    /// Which end of a line a node is.
    fn clinic_at(&self, link: u64, end: usize) -> Option<usize> {
        let link = self.links.get(&link)?;
        Some(self.lines[link.line].ends[end])
    }

    /// Blocks a line in a direction for a while.
    pub(super) fn block(&mut self, line: usize, from: usize, for_ms: u64) {
        let until = self.now + for_ms;
        let blocked = &mut self.lines[line].blocked_until[from];
        *blocked = until.max(*blocked);
        self.schedule(until, Event::Unblock { line, from });
        for end in 0..2 {
            if let Some(link) = self.lines[line].links[end] {
                let at = self.now + self.network.between(3_000, 180_000);
                self.schedule(at, Event::GiveUp { link, end });
            }
        }
    }

    /// A line goes again: what was held back comes now, in order.
    pub(super) fn unblock(&mut self, line: usize, from: usize) -> Result<(), Flaw> {
        if self.lines[line].blocked_until[from] > self.now {
            return Ok(());
        }
        let on_line: Vec<u64> =
            self.links.iter().filter(|(_, link)| link.line == line).map(|(id, _)| *id).collect();
        for id in on_line {
            let held = self.links.get_mut(&id).map(|link| std::mem::take(&mut link.held[from]));
            for (lane, frame) in held.into_iter().flatten() {
                self.arrive(id, 1 - from, lane, frame)?;
            }
        }
        Ok(())
    }

    pub(super) fn dial(&mut self, line: usize) {
        let Line { ends, links, .. } = self.lines[line];
        let both_up = ends.iter().all(|end| self.clinics[*end].counter().is_some());
        let linked = links[0].is_some() && links[0] == links[1];
        if linked || self.is_retired(line) {
            return;
        }
        let rest = self.lines[line].rest_until;
        if rest > self.now && !self.healing {
            self.schedule(rest, Event::Dial { line });
            return;
        }
        if !both_up || !self.lines[line].is_open(self.now) {
            self.redial(line);
            return;
        }
        // Who believes to have a link does not dial.
        let free: Vec<usize> = (0..2).filter(|end| links[*end].is_none()).collect();
        let Some(dialer) = self.network.pick(&free).copied() else {
            self.redial(line);
            return;
        };
        let (fast, slow) = self.plan.options.delay_ms;
        let at = self.now + 2 * self.network.between(fast, slow);
        self.schedule(at, Event::Connect { line, dialer });
    }

    pub(super) fn redial(&mut self, line: usize) {
        let wait = if self.healing { 1_000 } else { self.network.between(500, 15_000) };
        self.schedule(self.now + wait, Event::Dial { line });
    }

    pub(super) fn connect(&mut self, line: usize, dialer: usize) -> Result<(), Flaw> {
        let Line { ends, links, .. } = self.lines[line];
        let up = ends.iter().all(|end| self.clinics[*end].counter().is_some());
        if !up || !self.lines[line].is_open(self.now) || links[dialer].is_some() {
            self.redial(line);
            return Ok(());
        }
        // An end that has not noticed yet that its last link is gone gives it up for this one.
        if let Some(zombie) = links[1 - dialer] {
            self.over(zombie, 1 - dialer, false);
        }
        let id = self.next_link;
        self.next_link += 1;
        let exporter = self.network.bytes();
        let mut link = Link::new(line);
        for end in 0..2 {
            let clinic = ends[end];
            let peer = self.clinics[ends[1 - end]].transport;
            let ends = Ends { peer, dialed: end == dialer, exporter };
            match self.begin(clinic, &ends)? {
                Some(begun) => link.ends[end] = Some(begun),
                None => {
                    self.redial(line);
                    return Ok(());
                }
            }
        }
        self.note(format_args!("link {id}: c{} dials c{}", ends[dialer], ends[1 - dialer]));
        self.links.insert(id, link);
        self.lines[line].links = [Some(id); 2];
        self.pump(id, 1 - dialer)?;
        self.pump(id, dialer)
    }

    fn begin(&mut self, clinic: usize, ends: &Ends) -> Result<Option<LinkEnd>, Flaw> {
        let Some(counter) = self.clinics[clinic].counter() else { return Ok(None) };
        let Ok(opening) = Opening::read(counter, ends) else { return Ok(None) };
        let Some(key) = self.clinics[clinic].transport_key() else { return Ok(None) };
        let began_unix_ms = self.clinics[clinic].hands.unix_ms();
        Ok(Some(LinkEnd {
            clinic,
            conversation: Conversation::begin(opening, ends, key, began_unix_ms),
            deadline: None,
            began_unix_ms,
            began_ms: self.now,
            refused: BTreeMap::new(),
        }))
    }

    fn end(&mut self, link: u64, end: usize) -> Option<(&mut LinkEnd, u64)> {
        let end = self.links.get_mut(&link)?.ends[end].as_mut()?;
        let now = end.now_ms(self.now);
        Some((end, now))
    }

    /// Feeds a session, and does what it wants.
    fn feed(&mut self, link: u64, end: usize, input: Input) -> Result<(), Flaw> {
        let Some((at, now)) = self.end(link, end) else { return Ok(()) };
        at.conversation.input(now, input);
        self.pump(link, end)
    }

    /// Brings the answer to a session's question.
    pub(super) fn answer(&mut self, link: u64, end: usize, answer: Input) -> Result<(), Flaw> {
        let Some((at, now)) = self.end(link, end) else { return Ok(()) };
        at.conversation.answered(now, answer);
        self.pump(link, end)
    }

    /// Tells every session of a node that it holds more.
    pub(super) fn tell(
        &mut self,
        clinic: usize,
        news: &carnet_node::records::Advance,
    ) -> Result<(), Flaw> {
        if self.healing && news.iter().any(|(log, _)| log.channel == Channel::Control) {
            self.settle_membership()?;
        }
        let ends: Vec<(u64, usize)> = self
            .links
            .iter()
            .flat_map(|(id, link)| {
                (0..2).filter_map(|end| {
                    let at = link.ends[end].as_ref()?;
                    (at.clinic == clinic).then_some((*id, end))
                })
            })
            .collect();
        for (link, end) in ends {
            if let Some((at, now)) = self.end(link, end) {
                at.conversation.grown(now, news.clone());
                self.pump(link, end)?;
            }
        }
        Ok(())
    }

    /// Does what a session wants until it waits.
    fn pump(&mut self, link: u64, end: usize) -> Result<(), Flaw> {
        let now = self.now;
        loop {
            let Some((there, _)) = self.end(link, end) else { return Ok(()) };
            match there.conversation.step() {
                Step::Wait(deadline) => {
                    // A deadline that stands already has its tick.
                    let new = deadline.filter(|at| there.deadline != Some(*at));
                    there.deadline = deadline;
                    if let Some(at) = new {
                        let due = there.due(at, now);
                        self.schedule(due, Event::Tick { link, end, at });
                    }
                    return Ok(());
                }
                Step::Send { lane, frame } => {
                    if lane == Lane::Control {
                        there.says(&frame);
                    }
                    self.leave(link, end, lane, frame)?;
                }
                Step::Ask(task) => {
                    if let Some(clinic) = self.clinic_at(link, end) {
                        self.call(clinic, Call::Task { link, end, task });
                    }
                }
                Step::Event(session::Event::Refused { log, reason, by_us: true }) => {
                    there.refuses(log, reason);
                    self.note(format_args!(
                        "link {link}: a {} log is refused: {reason:?}",
                        log.channel.name()
                    ));
                }
                Step::Event(_) => {}
                Step::Close(reason) => return self.closed(link, end, reason),
            }
        }
    }

    /// A frame leaves an end.
    fn leave(&mut self, link: u64, end: usize, lane: Lane, frame: Vec<u8>) -> Result<(), Flaw> {
        let (Some(from), Some(to)) = (self.clinic_at(link, end), self.clinic_at(link, 1 - end))
        else {
            return Ok(());
        };
        let run = self.joint.remove(&frame);
        self.facts.sent(from, to, lane, run.as_ref().unwrap_or(&frame))?;
        for frame in self.meddled(link, from, to, lane, frame) {
            self.send(link, end, lane, frame);
        }
        Ok(())
    }

    /// What leaves in place of a frame, if its sender meddles.
    fn meddled(
        &mut self,
        link: u64,
        from: usize,
        to: usize,
        lane: Lane,
        frame: Vec<u8>,
    ) -> Vec<Vec<u8>> {
        let (Lane::Data(channel), Some(practice)) = (lane, self.facts.practice) else {
            return vec![frame];
        };
        if self.meddlers.is_empty() {
            return vec![frame];
        }
        self.meddler.overhear(channel, &frame);
        if self.meddlers.get(&from).is_none_or(|until| *until <= self.now) {
            return vec![frame];
        }
        let (what, frames) = self.meddler.alter(channel, &frame, practice, &mut self.network);
        if frames.as_slice() != [frame] {
            self.meddled.insert(link);
            self.note(format_args!("c{from} {what} a run on its way to c{to}"));
        }
        frames
    }

    /// Puts a frame on its way.
    fn send(&mut self, link: u64, from: usize, lane: Lane, frame: Vec<u8>) {
        let Some(there) = self.links.get_mut(&link) else { return };
        let (now, options) = (self.now, &self.plan.options);
        let due = there.arrival(from, lane, now, options, &mut self.network);
        there.travelling += 1;
        self.schedule(due, Event::Arrive { link, end: 1 - from, lane, frame });
    }

    pub(super) fn arrive(
        &mut self,
        link: u64,
        end: usize,
        lane: Lane,
        frame: Vec<u8>,
    ) -> Result<(), Flaw> {
        let now = self.now;
        let Some(there) = self.links.get_mut(&link) else { return Ok(()) };
        let from = 1 - end;
        // What is held back already is not overtaken.
        if self.lines[there.line].blocked_until[from] > now || !there.held[from].is_empty() {
            there.held[from].push((lane, frame));
            return Ok(());
        }
        there.travelling -= 1;
        if let (Some(clinic), Some(peer)) = (self.clinic_at(link, end), self.clinic_at(link, from))
        {
            self.facts.arrived(clinic, peer, lane, &frame);
        }
        self.feed(link, end, Input::Received { lane, frame })?;
        self.check_link(link)
    }

    pub(super) fn tick(&mut self, link: u64, end: usize, at: u64) -> Result<(), Flaw> {
        let Some((there, _)) = self.end(link, end) else { return Ok(()) };
        match there.conversation.step() {
            Step::Wait(Some(deadline)) if deadline == at => self.feed(link, end, Input::Tick),
            // Another deadline has its own tick.
            _ => Ok(()),
        }
    }

    pub(super) fn lost(&mut self, link: u64, end: usize) -> Result<(), Flaw> {
        self.feed(link, end, Input::Lost)
    }

    pub(super) fn give_up(&mut self, link: u64, end: usize) -> Result<(), Flaw> {
        let Some(there) = self.links.get(&link) else { return Ok(()) };
        if self.lines[there.line].is_open(self.now) {
            return Ok(());
        }
        self.lost(link, end)
    }

    /// A session is over at one end.
    fn closed(&mut self, link: u64, end: usize, reason: CloseReason) -> Result<(), Flaw> {
        let clinic = self.clinic_at(link, end);
        let peer = self.clinic_at(link, 1 - end);
        if let (Some(clinic), Some(peer)) = (clinic, peer) {
            self.note(format_args!("link {link}: over at c{clinic}: {reason}"));
            if !self.meddled.contains(&link) {
                self.facts.ended(clinic, peer, &reason)?;
            }
        }
        if let CloseReason::Refused(_) = reason
            && let Some(there) = self.links.get(&link)
        {
            // Who is not let in comes again, but not at once.
            let line = there.line;
            self.lines[line].rest_until = self.now + self.network.between(60_000, 300_000);
        }
        self.over(link, end, reason != CloseReason::Lost);
        Ok(())
    }

    /// The replica of an end has failed: the link is closed, as the product does.
    pub(super) fn failed(&mut self, link: u64, end: usize, error: &str) {
        if self.end(link, end).is_some() {
            self.note(format_args!("link {link}: its node failed: {error}"));
            self.over(link, end, true);
        }
    }

    /// Takes an end away; the other one is told, or notices by itself.
    fn over(&mut self, link: u64, end: usize, told: bool) {
        let Some(there) = self.links.get_mut(&link) else { return };
        there.ends[end] = None;
        let line = there.line;
        let (other, now) = (1 - end, self.now);
        let last = there.last_arrival(end, now);
        let left = there.ends[other].is_some();
        if self.lines[line].links[end] == Some(link) {
            self.lines[line].links[end] = None;
        }
        if left {
            let blocked = self.lines[line].blocked_until[end] > now;
            let at = if told && !blocked {
                last + 1
            } else {
                now + self.network.between(1_000, if self.healing { 3_000 } else { 60_000 })
            };
            self.schedule(at, Event::Lost { link, end: other });
        } else {
            self.links.remove(&link);
        }
        self.redial(line);
    }

    /// A node's process is gone, and its ends of links with it.
    pub(super) fn drop_links(&mut self, clinic: usize) {
        let ends: Vec<(u64, usize)> = self
            .links
            .iter()
            .flat_map(|(id, link)| {
                let of = |end: &usize| {
                    link.ends[*end].as_ref().is_some_and(|there| there.clinic == clinic)
                };
                (0..2).filter(of).map(|end| (*id, end)).collect::<Vec<_>>()
            })
            .collect();
        for (link, end) in ends {
            self.over(link, end, false);
        }
    }
}
