//! The verdict at the end of a history: nothing lost, nothing hidden, nothing forged.

use super::shown::Charts;
use super::{Facts, Flaw, Shown, Written, is_chart};
use crate::workload::{Sight, Token, tokens};
use carnet_sync_protocol::frontier::Head;
use carnet_sync_protocol::id::{LogId, NodeId};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What the judge may ask of the nodes.
pub trait Witnesses {
    /// Whether a node holds an entry.
    fn holds(&self, at: usize, log: &LogId, head: &Head) -> bool;
    /// Up to where a log is accepted, if its author was cut off.
    fn cut(&self, log: &LogId) -> Option<u64>;
    /// The nodes that the practice has had.
    fn nodes(&self) -> BTreeSet<NodeId>;
}

impl Facts {
    /// The verdict on the nodes that healed, which agree.
    pub fn judge(
        &self,
        shown: &[(usize, Shown)],
        active: &BTreeSet<usize>,
        witnesses: &impl Witnesses,
    ) -> Result<(), Flaw> {
        self.nothing_lost(shown, active, witnesses)?;
        self.forks_are_named(shown)?;
        self.nothing_forged(shown, witnesses)?;
        for (at, one) in shown {
            if let Some(charts) = one.charts.as_ref().filter(|charts| charts.restricted) {
                self.no_lies(*at, &charts.resources)?;
                return self.nothing_hidden(*at, charts, witnesses);
            }
        }
        Ok(())
    }

    fn nothing_lost(
        &self,
        shown: &[(usize, Shown)],
        active: &BTreeSet<usize>,
        witnesses: &impl Witnesses,
    ) -> Result<(), Flaw> {
        let held = |written: &Written, at: usize| {
            written.write.place.iter().all(|(log, head)| witnesses.holds(at, log, head))
        };
        for written in self.writes.values().filter(|written| written.acknowledged) {
            // Of what a disk lost, the others need hold only what one of them held.
            let held_on = |nodes: &BTreeSet<usize>| !nodes.is_disjoint(active);
            let reachable =
                active.contains(&written.at) && written.holders.as_ref().is_none_or(held_on);
            if !reachable && !shown.iter().any(|(at, _)| held(written, *at)) {
                continue;
            }
            for (at, _) in shown {
                if !held(written, *at) {
                    return Err(Flaw::new(
                        "every acknowledged write is in every healed node",
                        format!("c{at} lacks write {} of c{}", written.write.token, written.at),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Where both branches of a forked log are held, all nodes name the fork.
    fn forks_are_named(&self, shown: &[(usize, Shown)]) -> Result<(), Flaw> {
        for (at, one) in shown {
            for (log, heads) in &one.frontier.0 {
                let forked = self.forked.contains(log);
                // Of a clone that nothing tells, several entries of one commit may pass the place
                // where the other wrote before anybody sees them.
                let excused = self.may_fork.iter().any(|(_, author)| *author == log.author);
                if heads.len() > 1 && !forked && !excused {
                    return Err(Flaw::new(
                        "nodes name a fork exactly where there is one",
                        format!("c{at} names a fork in a log that was written once"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Every head is one that its author committed.
    fn nothing_forged(
        &self,
        shown: &[(usize, Shown)],
        witnesses: &impl Witnesses,
    ) -> Result<(), Flaw> {
        let nodes = witnesses.nodes();
        let oracle = "nothing forged is accepted";
        for (at, one) in shown {
            for (log, heads) in &one.frontier.0 {
                if !nodes.contains(&log.author.node) {
                    return Err(Flaw::new(oracle, format!("c{at} holds a stranger's log")));
                }
                for head in heads {
                    if !self.genuine.contains(&head.id) {
                        let what = format!(
                            "c{at} holds {} {}, which its author never wrote",
                            log.channel.name(),
                            head.sequence
                        );
                        return Err(Flaw::new(oracle, what));
                    }
                }
            }
        }
        Ok(())
    }

    /// What no honest node would have written is not shown.
    fn no_lies(&self, at: usize, resources: &BTreeMap<String, Value>) -> Result<(), Flaw> {
        if self.lies.values().all(|may_be_shown| *may_be_shown) {
            return Ok(());
        }
        for (key, resource) in resources {
            let said = tokens(&resource.to_string());
            if let Some(lie) = said.iter().find(|token| self.lies.get(token) == Some(&false)) {
                let what = format!("c{at} shows in {key} what was written wrongly ({lie})");
                return Err(Flaw::new("a signed peer can't harm a document", what));
            }
        }
        Ok(())
    }

    /// Whether something written behind a cut may be shown: somebody let it in, or built on it
    /// without knowing.
    fn may_be_shown(&self, written: &Written) -> bool {
        written.write.place.iter().filter(|(log, _)| is_chart(log.channel)).any(|(log, head)| {
            self.documents.get(&head.id).is_none_or(|document| {
                self.released.contains(document)
                    || self
                        .built_on
                        .get(&(*log, *document))
                        .is_some_and(|up_to| head.sequence <= *up_to)
            })
        })
    }

    /// Each word that was written is shown, or was replaced by somebody who had been shown it.
    fn nothing_hidden(
        &self,
        at: usize,
        charts: &Charts,
        witnesses: &impl Witnesses,
    ) -> Result<(), Flaw> {
        let resources = &charts.resources;
        let held = |written: &Written| {
            written.write.place.iter().all(|(log, head)| witnesses.holds(at, log, head))
        };
        let behind = |written: &Written| {
            written.write.place.iter().any(|(log, head)| {
                is_chart(log.channel) && witnesses.cut(log).is_some_and(|cut| head.sequence > cut)
            })
        };
        // What builds on one of two changes in one place, of which the other counts.
        let outcast = |written: &Written| {
            written.write.place.iter().any(|(_, head)| charts.outcasts.contains(&head.id))
        };
        let there: Vec<&Written> = self.writes.values().filter(|written| held(written)).collect();
        let replaced: BTreeSet<Token> = there
            .iter()
            .filter(|written| !behind(written) && !outcast(written))
            .flat_map(|written| &written.write.replaced)
            .copied()
            .collect();
        let mut sights: BTreeMap<String, Sight> = BTreeMap::new();
        for written in there.iter().filter(|written| written.write.spoken) {
            let (write, key) = (&written.write, written.write.key.to_string());
            let sight = sights
                .entry(key.clone())
                .or_insert_with(|| resources.get(&key).map(sight_of).unwrap_or_default());
            let shows = sight.shows(write.token);
            if outcast(written) {
                continue;
            }
            if behind(written) {
                if shows && !self.may_be_shown(written) {
                    return Err(Flaw::new(
                        "nothing behind a cut is shown",
                        format!("{key} shows what write {} said", write.token),
                    ));
                }
            } else if !shows && !replaced.contains(&write.token) {
                let shown = resources.get(&key).map_or("nothing".into(), Value::to_string);
                return Err(Flaw::new(
                    "no value vanishes unseen",
                    format!("{key} does not show what write {} said: {shown}", write.token),
                ));
            }
        }
        Ok(())
    }
}

/// What is shown of a resource. Of one that is deleted, and not in dispute for it, nothing is: who
/// deleted it is to have seen what it said.
fn sight_of(resource: &Value) -> Sight {
    let mut sight = Sight::of(resource);
    if resource["_deleted"] == true {
        sight.plain.clear();
    }
    sight
}
