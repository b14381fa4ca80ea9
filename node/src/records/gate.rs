//! What decides, beside the entries themselves, whether they are let into their documents: where
//! nodes were cut off, and what people decided of entries that are set aside.
//!
//! Both come as signed statements, so what is shown stays a function of the set of entries. The
//! index remembers under which of them it was made. Whatever has changed since (while entries came,
//! while the node was locked, before a power cut of which the index came back older) is found by
//! comparing, and the documents concerned are shown anew.

use super::project::is_chart;
use super::{Records, RecordsError};
use crate::access::statement::Ruling;
use carnet_sync_protocol::id::{DocumentId, EntryId, LogId};
use carnet_sync_protocol::wire;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Gate {
    /// How far each log that has been cut is accepted.
    cuts: BTreeMap<LogId, u64>,
    /// What was decided of entries, and by which statements: a decision that is made again has the
    /// entry tried again.
    rulings: BTreeMap<EntryId, (Option<Ruling>, Vec<EntryId>)>,
}

impl Records {
    /// Shows anew what was shown under other cuts and decisions than hold now.
    pub(super) fn settle(&mut self) -> Result<(), RecordsError> {
        let Some(charts) = &self.charts else { return Ok(()) };
        // An index that can't say it, a new one, was made under none.
        let before: Gate = wire::decode(&charts.index.gate()?).unwrap_or_default();
        let is_new = charts.index.applied_until()? == 0;
        let now = self.gate()?;
        if before == now {
            return Ok(());
        }
        if !is_new {
            let mut documents = self.behind_cuts(&before, &now)?;
            documents.extend(self.ruled_otherwise(&before, &now)?);
            documents.remove(&DocumentId::ZERO);
            self.reproject(&documents)?;
        }
        self.begin()?;
        Ok(self.charts_mut()?.index.set_gate(&wire::encode(&now))?)
    }

    /// Settles after the index was rolled back, before anything else is done with it.
    pub(super) fn settle_again(&mut self) -> Result<(), RecordsError> {
        if !std::mem::take(&mut self.transaction.unsettled) {
            return Ok(());
        }
        let settled = self.settle();
        self.transaction.unsettled = settled.is_err();
        settled
    }

    fn gate(&self) -> Result<Gate, RecordsError> {
        let cut = |log| self.roster.cut(&log).map(|cut| (log, cut.sequence));
        let rulings = self.staff()?.rulings().iter();
        Ok(Gate {
            cuts: self.ledger.logs().filter_map(cut).collect(),
            rulings: rulings
                .map(|(entry, ruled)| (*entry, (ruled.ruling, ruled.heads.clone())))
                .collect(),
        })
    }

    /// The documents of entries that lie behind one of the cuts and not behind the other.
    fn behind_cuts(&self, before: &Gate, now: &Gate) -> Result<BTreeSet<DocumentId>, RecordsError> {
        let (before, now) = (&before.cuts, &now.cuts);
        let changed = before.keys().chain(now.keys()).filter(|log| before.get(log) != now.get(log));
        let changed: BTreeSet<&LogId> = changed.filter(|log| is_chart(log.channel)).collect();
        let mut documents = BTreeSet::new();
        for log in changed {
            let accepted = before.get(log).into_iter().chain(now.get(log)).min().copied();
            let accepted = accepted.unwrap_or(0);
            documents.extend(self.ledger.documents_after(log, accepted)?);
        }
        Ok(documents)
    }

    /// The documents of entries of which something else is decided, or the same once more.
    fn ruled_otherwise(
        &self,
        before: &Gate,
        now: &Gate,
    ) -> Result<BTreeSet<DocumentId>, RecordsError> {
        let (before, now) = (&before.rulings, &now.rulings);
        let entries: BTreeSet<&EntryId> = before.keys().chain(now.keys()).collect();
        let mut documents = BTreeSet::new();
        for entry in entries.into_iter().filter(|entry| before.get(entry) != now.get(entry)) {
            let stamp = self.ledger.stamp(entry)?.filter(|stamp| is_chart(stamp.log.channel));
            documents.extend(stamp.map(|stamp| stamp.document));
        }
        Ok(documents)
    }
}
