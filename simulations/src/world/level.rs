//! Whether each session by itself does what it should.
//!
//! At the end of a history every node holds the same, but perhaps by another way: with several
//! neighbours, what one session passes over comes from the next. So each session is also held to
//! its own word: while it says that it is in sync and nothing moves on its link, both nodes hold
//! the same; and what it refused for lack of a certificate it asks for once it has that.

use super::World;
use super::turn::Call;
use crate::checks::Flaw;
use crate::network::LinkEnd;
use carnet_node::identity::roster::Standing;
use carnet_node::records::Records;
use carnet_node::records::status::Problem;
use carnet_sync_protocol::id::LogId;
use carnet_sync_protocol::message::RefuseReason;

impl World {
    /// Looks at every link of a node.
    pub(super) fn check_links_of(&self, clinic: usize) -> Result<(), Flaw> {
        for (id, link) in &self.links {
            for end in link.ends.iter().flatten().filter(|end| end.clinic == clinic) {
                self.asks_again(*id, end)?;
            }
            if self.lines[link.line].ends.contains(&clinic) {
                self.check_link(*id)?;
            }
        }
        Ok(())
    }

    /// What was refused for lack of a certificate has been asked for, if the certificate is there.
    fn asks_again(&self, id: u64, end: &LinkEnd) -> Result<(), Flaw> {
        if end.refused.is_empty() || self.is_busy(id, end) {
            return Ok(());
        }
        let Some(counter) = self.clinics[end.clinic].counter() else { return Ok(()) };
        let records = counter.records();
        for (log, _) in end.refused.iter().filter(|(_, why)| **why == RefuseReason::Uncertified) {
            if !lacks_a_certificate(end, &records, log) {
                let what = format!(
                    "c{} has the certificate for a {} log, and has not asked for the log again",
                    end.clinic,
                    log.channel.name()
                );
                let oracle = "what lacked a certificate is asked for once that has come";
                return Err(Flaw::new(oracle, what));
            }
        }
        Ok(())
    }

    /// Looks at a link, if it is quiet.
    pub(super) fn check_link(&self, id: u64) -> Result<(), Flaw> {
        let Some(link) = self.links.get(&id).filter(|link| link.travelling == 0) else {
            return Ok(());
        };
        let [Some(a), Some(b)] = &link.ends else { return Ok(()) };
        let level = a.conversation.in_sync() && b.conversation.in_sync();
        if !level || self.meddled.contains(&id) || self.is_busy(id, a) || self.is_busy(id, b) {
            return Ok(());
        }
        let records = |end: &LinkEnd| self.clinics[end.clinic].counter();
        let (Some(of_a), Some(of_b)) = (records(a), records(b)) else { return Ok(()) };
        let (of_a, of_b) = (of_a.records(), of_b.records());
        if of_a.frontier() == of_b.frontier() {
            return Ok(());
        }
        lacks_nothing((a, &of_a), (b, &of_b))?;
        lacks_nothing((b, &of_b), (a, &of_a))
    }

    /// Whether a node has yet to do something for a link, or can't for lack of room.
    fn is_busy(&self, id: u64, end: &LinkEnd) -> bool {
        let desk = &self.desks[end.clinic];
        desk.full
            || desk.calls.iter().any(|call| matches!(call, Call::Task { link, .. } if *link == id))
    }
}

/// The receiver holds all that the sender does, but for what it refuses for a reason that stands.
fn lacks_nothing(
    (from, sender): (&LinkEnd, &Records),
    (to, receiver): (&LinkEnd, &Records),
) -> Result<(), Flaw> {
    let harness = |error| Flaw::harness("looking at a quiet link", &error);
    for (log, heads) in &sender.frontier().0 {
        if receiver.frontier().heads(log) == heads.as_slice() || refuses(to, receiver, log) {
            continue;
        }
        let heads: Vec<_> = heads.iter().map(|head| (*log, *head)).collect();
        if receiver.known(&heads).map_err(harness)?.len() == heads.len() {
            continue;
        }
        // Only with the keys can it be made again.
        let problems = sender.status().map_err(harness)?.problems;
        if problems.iter().any(|problem| matches!(problem, Problem::Packed(_))) {
            continue;
        }
        let what = format!(
            "c{} and c{} say so, and c{1} lacks what c{0} holds of {} of {:.8}",
            from.clinic,
            to.clinic,
            log.channel.name(),
            log.author.node.to_string()
        );
        return Err(Flaw::new("who is in sync holds the same", what));
    }
    Ok(())
}

fn refuses(end: &LinkEnd, records: &Records, log: &LogId) -> bool {
    match end.refused.get(log) {
        Some(RefuseReason::Uncertified) => lacks_a_certificate(end, records, log),
        Some(RefuseReason::Gap) | None => false,
        Some(RefuseReason::Forks | RefuseReason::Revoked | RefuseReason::Storage) => true,
    }
}

/// Whether a log can't be taken from a peer: nobody certified its author, or it is cut and the peer
/// does not belong to the practice.
fn lacks_a_certificate(end: &LinkEnd, records: &Records, log: &LogId) -> bool {
    let roster = records.roster();
    let peer = end.conversation.peer();
    let belongs = peer.is_some_and(|peer| roster.standing(&peer.node()) == Standing::Active);
    !roster.is_known(&log.author.node) || (!belongs && roster.cut(log).is_some())
}
