//! Phase two: everything heals, the nodes come to rest, and the oracles are asked.

use super::{Event, World};
use crate::checks::{Flaw, Shown, Witnesses, agree};
use crate::clinic::Clinic;
use carnet_node::identity::roster::{Fact, Roster, Standing};
use carnet_node::identity::statement::ControlStatement;
use carnet_node::records::{Records, RecordsError};
use carnet_sync_protocol::entry::Codec;
use carnet_sync_protocol::frontier::Head;
use carnet_sync_protocol::id::{Channel, LogId, NodeId, PracticeId};
use std::collections::BTreeSet;

/// How long healing may take, by the world's clock.
const PATIENCE_MS: u64 = 3_600_000;

impl World {
    pub(super) fn heal(&mut self) -> Result<(), Flaw> {
        self.healing = true;
        self.note(format_args!("everything heals"));
        for at in 0..self.clinics.len() {
            self.desks[at].doom = None;
            self.fill(at, None)?;
            self.open(at)?;
            let life = self.clinics[at].life;
            self.schedule(self.now + 100, Event::Unlock { clinic: at, life });
        }
        for at in std::mem::take(&mut self.meddlers).into_keys() {
            self.drop_links(at);
        }
        for line in 0..self.lines.len() {
            for from in 0..2 {
                self.lines[line].blocked_until[from] = 0;
                self.unblock(line, from)?;
            }
        }
        self.settle_membership()?;
        for at in 0..self.clinics.len() {
            if !self.active.contains(&at) {
                self.drop_links(at);
            }
        }
        Ok(())
    }

    /// While everything heals: finds out who is of the practice, at first and whenever somebody hears
    /// of it what was on its way, and lets all these call each other.
    pub(super) fn settle_membership(&mut self) -> Result<(), Flaw> {
        let active = self.active_nodes()?;
        if active == self.active {
            return Ok(());
        }
        self.note(format_args!("of the practice are {active:?}"));
        let before = std::mem::replace(&mut self.active, active);
        for a in 0..self.clinics.len() {
            for b in a + 1..self.clinics.len() {
                let twins = self.clinics[a].transport == self.clinics[b].transport;
                let are = |set: &BTreeSet<usize>| set.contains(&a) && set.contains(&b);
                if !twins && are(&self.active) && !are(&before) {
                    self.add_line([a, b]);
                }
            }
        }
        Ok(())
    }

    /// Whether a line is of no use any more: an end of it is cut off.
    pub(super) fn is_retired(&self, line: usize) -> bool {
        self.healing && !self.lines[line].ends.iter().all(|end| self.active.contains(end))
    }

    /// Who is of the practice once everybody who is has heard everything: what only those say who
    /// are not will never be heard.
    fn active_nodes(&self) -> Result<BTreeSet<usize>, Flaw> {
        let mut active: BTreeSet<usize> = (0..self.clinics.len()).collect();
        let mut before = BTreeSet::new();
        // Each round hears fewer or more; a handful settle it.
        for _ in 0..self.clinics.len() + 1 {
            let Some(practice) = self.facts.practice else { break };
            let mut roster = Roster::new(practice);
            for at in &active {
                let Some(counter) = self.clinics[*at].counter() else { continue };
                hear(&mut roster, &counter.records(), practice)
                    .map_err(|error| Flaw::harness("the control channel", &error))?;
            }
            // Whose certificate rests on a node that was revoked, and was heard of by nobody in time,
            // is let in, and given no key.
            let stands = |at: &usize| roster.standing(&self.clinics[*at].node) == Standing::Active;
            let now: BTreeSet<usize> = (0..self.clinics.len()).filter(stands).collect();
            if now == active {
                break;
            }
            if now == before {
                // Only a node itself knows that it is cut off: the others let it in, and hear it.
                return Ok(now.intersection(&active).copied().collect());
            }
            before = std::mem::replace(&mut active, now);
        }
        Ok(active)
    }

    /// Whether all nodes that should have come to rest have.
    pub(super) fn is_at_rest(&mut self) -> Result<bool, Flaw> {
        let unrest = self.unrest();
        if !unrest.is_empty() && self.now > self.plan.options.faults_ms + PATIENCE_MS {
            return Err(Flaw::new("convergence", unrest));
        }
        Ok(unrest.is_empty())
    }

    /// What still moves, in words; empty when nothing does.
    pub(super) fn unrest(&self) -> String {
        let mut unrest = Vec::new();
        for at in &self.active {
            let clinic = &self.clinics[*at];
            if !clinic.is_unlocked() {
                unrest.push(format!("{} is not unlocked", clinic.name));
            }
            if !self.desks[*at].calls.is_empty() {
                unrest.push(format!("{} has calls waiting", clinic.name));
            }
        }
        let travelling: usize = self.links.values().map(|link| link.travelling).sum();
        if travelling > 0 {
            unrest.push(format!("{travelling} frames are on their way"));
        }
        for (number, line) in self.lines.iter().enumerate() {
            let level = line.links[0].is_some()
                && line.links[0] == line.links[1]
                && line.links[0].and_then(|id| self.links.get(&id)).is_some_and(|link| {
                    link.ends
                        .iter()
                        .all(|end| end.as_ref().is_some_and(|end| end.conversation.in_sync()))
                });
            if !level && !self.is_retired(number) {
                unrest.push(format!("c{}-c{} is not in sync", line.ends[0], line.ends[1]));
            }
        }
        unrest.join(", ")
    }

    /// Asks the oracles.
    pub(super) fn judge(&mut self) -> Result<(), Flaw> {
        let mut shown: Vec<(usize, Shown)> = Vec::new();
        // Checking everything takes long: one node does it each time, all of them now and then.
        let all = self.plan.seed.is_multiple_of(16);
        for at in self.active.clone() {
            let Some(counter) = self.clinics[at].counter().cloned() else { continue };
            let asked = all || shown.is_empty();
            let seen = Shown::of(&mut counter.records(), asked, self.facts.has_rogues())?;
            drop(counter);
            self.note(format_args!("c{at} shows {}", seen.summary()));
            shown.push((at, seen));
        }
        agree(&shown)?;
        self.judge_secrets()?;
        let witnesses = Nodes { clinics: &self.clinics, active: &self.active };
        self.facts.judge(&shown, &self.active, &witnesses)
    }

    /// What a node must still hold when it starts again.
    pub(super) fn check_life(&mut self, at: usize) -> Result<(), Flaw> {
        let Self { clinics, facts, .. } = self;
        facts.survived(at, |log, head| clinics[at].holds(log, head).unwrap_or(false))
    }
}

/// Tells a roster all that a node has heard.
fn hear(roster: &mut Roster, records: &Records, practice: PracticeId) -> Result<(), RecordsError> {
    for (log, heads) in records.frontier().channel(Channel::Control) {
        for head in heads {
            for run in records.load(log, &[], *head, usize::MAX >> 1)? {
                let places = run.heads(practice);
                for (place, item) in places.zip(&run.items) {
                    if item.codec != Codec::STATEMENT {
                        continue;
                    }
                    let Ok(statement) = ControlStatement::from_payload(&item.payload) else {
                        continue;
                    };
                    let Head { sequence, id } = place;
                    let fact = Fact { id, author: log.author, sequence, statement };
                    // What does not count for the nodes does not count here.
                    let _ = roster.insert(fact);
                }
            }
        }
    }
    Ok(())
}

/// The nodes, as the judge may ask them.
struct Nodes<'a> {
    clinics: &'a [Clinic],
    active: &'a BTreeSet<usize>,
}

impl Witnesses for Nodes<'_> {
    fn holds(&self, at: usize, log: &LogId, head: &Head) -> bool {
        self.clinics[at].holds(log, head).unwrap_or(false)
    }

    fn cut(&self, log: &LogId) -> Option<u64> {
        let counter = self.active.iter().find_map(|at| self.clinics[*at].counter())?;
        counter.records().roster().cut(log).map(|cut| cut.sequence)
    }

    fn nodes(&self) -> BTreeSet<NodeId> {
        self.clinics.iter().map(|clinic| clinic.node).collect()
    }
}
