//! Is everything as it should be: chains, signatures, hashes, decryption, index against ledger.
//!
//! Also the state digest, by which people compare two nodes: it covers what the control and staff
//! channels hold and what every chart document shows, never the audit trail, and not the order in
//! which things arrived.

use super::body::body_of;
use super::intake::WITHHELD;
use super::{Records, RecordsError};
use crate::access::{Action, Permit};
use crate::chart::{Conflict, Document, ResourceKey, View, WHOLE, canonical};
use crate::identity::roster::Roster;
use crate::store::index::{ConflictFilter, ConflictRow, Index};
use crate::store::ledger::{Held, Ledger};
use crate::vault::{self, KeyBook};
use carnet_sync_protocol::entry::{ENTRY_DOMAIN, verify};
use carnet_sync_protocol::id::{Channel, DocumentId};
use serde::Serialize;

/// Problems listed at most; the rest are counted.
const PROBLEMS_MAX: usize = 1000;

/// What was checked, and what was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VerifyReport {
    /// Whether everything was checked and nothing is wrong; never while locked.
    pub ok: bool,
    /// Entries checked.
    pub entries: u64,
    /// Signatures checked.
    pub signatures: u64,
    /// Of the entries, those that lie in packs for which there is no key at hand: of these, only
    /// chains, signatures and the packs' hashes were checked.
    pub closed: u64,
    /// Documents rebuilt from the ledger; none while locked.
    pub documents: u64,
    /// Open conflicts.
    pub conflicts: u64,
    /// Entries that are kept and not shown, since their node was cut off before: no fault.
    pub withheld: u64,
    /// Entries that are set aside and that somebody has discarded: no fault any more.
    pub discarded: u64,
    /// Equal on nodes that hold, can read and show the same; empty while locked.
    pub state_digest: String,
    /// What is wrong, each in a sentence.
    pub problems: Vec<String>,
}

impl VerifyReport {
    fn add(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }
}

impl Records {
    /// Checks everything that is held. `progress` gets what is done and how much there is.
    pub fn verify(
        &mut self,
        permit: &Permit,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<VerifyReport, RecordsError> {
        self.require(permit, Action::Operate)?;
        let mut report = VerifyReport::default();
        for problem in self.ledger.integrity_check()? {
            report.add(format!("log.db: {problem}"));
        }
        self.chains().verify_all(&mut report, &mut progress)?;
        for refused in &self.refused_statements {
            report.add(refused.clone());
        }
        if self.charts.is_some() {
            self.catch_up()?;
            self.verify_documents(&mut report, &mut progress)?;
        }
        report.ok = report.problems.is_empty() && self.charts.is_some();
        Ok(report)
    }

    /// What is checked entry by entry.
    pub(super) fn chains(&self) -> Chains<'_> {
        let keys = self.charts.as_ref().map(|charts| &charts.keys);
        Chains { ledger: &self.ledger, roster: &self.roster, keys }
    }

    fn verify_documents(
        &mut self,
        report: &mut VerifyReport,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<(), RecordsError> {
        let mut documents = self.ledger.documents()?;
        documents.retain(|id| *id != DocumentId::ZERO);
        documents.sort_unstable();
        let mut digest = blake3::Hasher::new_derive_key("carnet 2026 state digest v1");
        for channel in [Channel::Control, Channel::Staff] {
            digest.update(&self.ledger.frontier().digest(channel));
        }
        let total = documents.len() as u64;
        let mut resources = 0;
        for id in documents {
            let document = self.replay_document(&id)?;
            report.documents += 1;
            if document.is_empty() {
                continue;
            }
            digest.update(id.as_bytes());
            digest.update(&document.digest());
            resources += self.verify_shown(&id, &document, report)?;
            progress(report.documents, total);
        }
        let charts = self.charts()?;
        if charts.index.resource_count()? > resources {
            report.add("the index shows resources that the ledger does not hold".into());
        }
        for problem in charts.index.integrity_check()? {
            report.add(format!("index.db: {problem}"));
        }
        let mut after = 0;
        loop {
            let page = charts.index.quarantined(after, super::open::PAGE)?;
            let Some(last) = page.last() else { break };
            after = last.arrival;
            for set_aside in page {
                if set_aside.discarded {
                    report.discarded += 1;
                } else if set_aside.reason == WITHHELD {
                    report.withheld += 1;
                } else {
                    let (arrival, reason) = (set_aside.arrival, set_aside.reason);
                    report.add(format!("entry {arrival} is set aside: {reason}"));
                }
            }
        }
        report.conflicts = charts.index.conflict_count()?;
        report.state_digest = digest.finalize().to_hex().to_string();
        Ok(())
    }

    /// Compares what the index shows of a document with the document; counts its resources.
    fn verify_shown(
        &self,
        id: &DocumentId,
        document: &Document,
        report: &mut VerifyReport,
    ) -> Result<u64, RecordsError> {
        let index = &self.charts()?.index;
        let mut shown = 0;
        for key in document.keys() {
            let Some(view) = document.view(&key) else { continue };
            if !lists_conflicts(index, id, &key, &view)? {
                report.add(format!(
                    "the index lists other conflicts of {key} than the ledger holds; delete index.db to rebuild it"
                ));
            }
            let row = index.resource(&key.kind, &key.id)?;
            let Some(row) = row else {
                report.add(format!("the index lacks {key}; delete index.db to rebuild it"));
                continue;
            };
            if row.document != *id {
                continue;
            }
            shown += 1;
            let body = body_of(&row)?;
            if canonical(&body) != canonical(&view.body) || row.deleted != view.deleted {
                report.add(format!(
                    "the index shows {key} otherwise than the ledger; delete index.db to rebuild it"
                ));
            }
        }
        Ok(shown)
    }
}

/// Whether the index lists just those conflicts that stand in a document. One of the whole resource
/// may also be between two documents.
fn lists_conflicts(
    index: &Index,
    id: &DocumentId,
    key: &ResourceKey,
    view: &View,
) -> Result<bool, RecordsError> {
    let resource = Some((key.kind.clone(), key.id.clone()));
    let filter = ConflictFilter { resource, patient: None, after: None, limit: usize::MAX >> 1 };
    let rows = index.conflicts(&filter)?;
    let is = |row: &ConflictRow, conflict: &Conflict| {
        row.document == *id
            && row.element == conflict.element
            && row.kind == conflict.kind.as_str()
            && row.seen == conflict.seen
    };
    let held = &view.conflicts;
    let stands = |row: &&ConflictRow| held.iter().any(|conflict| is(row, conflict));
    let own = |row: &&ConflictRow| row.document == *id && row.element != WHOLE;
    let all_listed = held.iter().all(|conflict| rows.iter().any(|row| is(row, conflict)));
    Ok(all_listed && rows.iter().filter(own).all(|row| stands(&row)))
}

/// The chains of a ledger, this node's or a copy of it, checked without looking at any chart.
pub(super) struct Chains<'a> {
    pub ledger: &'a Ledger,
    pub roster: &'a Roster,
    /// What opens entries; without it seals are not checked.
    pub keys: Option<&'a KeyBook>,
}

impl Chains<'_> {
    /// Every entry, and the end of every log.
    pub fn verify_all(
        &self,
        report: &mut VerifyReport,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<(), RecordsError> {
        let total = self.ledger.count()?;
        let mut after = 0;
        loop {
            let page = self.ledger.by_arrival(after, super::open::PAGE)?;
            let Some(last) = page.last() else { break };
            after = last.arrival;
            for held in &page {
                self.verify_entry(held, report)?;
            }
            progress(report.entries, total);
        }
        self.verify_heads(None, report)
    }

    /// One entry.
    pub fn verify_entry(&self, held: &Held, report: &mut VerifyReport) -> Result<(), RecordsError> {
        report.entries += 1;
        let entry = &held.entry;
        let place = format!(
            "entry {} ({} {} of node {})",
            entry.id,
            entry.header.log.channel.name(),
            entry.header.sequence,
            entry.header.log.author.node
        );
        if held.closed {
            report.closed += 1;
        } else if !held.is_sound() {
            report.add(format!("{place}: altered, its hash does not fit"));
            return Ok(());
        }
        if entry.header.sequence > 1 && !self.follows(held)? {
            report.add(format!("{place}: the entry before it is missing or came after it"));
        }
        let node = &entry.header.log.author.node;
        if let Some(signature) = &held.signature {
            report.signatures += 1;
            if verify(node.as_bytes(), ENTRY_DOMAIN, entry.id.as_bytes(), signature).is_err() {
                report.add(format!("{place}: its signature does not verify"));
            }
        }
        if !self.roster.is_known(node) {
            report.add(format!("{place}: its author has no certificate of the practice"));
        }
        if !held.closed {
            self.verify_seal(held, &place, report);
        }
        Ok(())
    }

    fn follows(&self, held: &Held) -> Result<bool, RecordsError> {
        let before = self.ledger.stamp(&held.entry.header.previous)?;
        Ok(before.is_some_and(|before| before.arrival < held.arrival))
    }

    /// That every log, or every one of a channel, ends with a signature.
    pub fn verify_heads(
        &self,
        of: Option<Channel>,
        report: &mut VerifyReport,
    ) -> Result<(), RecordsError> {
        let logs = self.ledger.frontier().0.iter();
        for (log, heads) in logs.filter(|(log, _)| of.is_none_or(|of| of == log.channel)) {
            for head in heads {
                if !self.ledger.is_signed(&head.id)? {
                    report.add(format!(
                        "the last entry of a {} log of node {} is missing or not signed",
                        log.channel.name(),
                        log.author.node
                    ));
                }
            }
        }
        Ok(())
    }

    fn verify_seal(&self, held: &Held, place: &str, report: &mut VerifyReport) {
        let header = &held.entry.header;
        let Some(keys) = self.keys else { return };
        if !vault::CODECS.contains(&header.codec) {
            return;
        }
        // A key that is not here is no fault: held, unreadable.
        let Some(key) = keys.epoch(&header.epoch) else { return };
        if let Err(error) = vault::open(key, header, &held.entry.payload) {
            report.add(format!("{place}: {error}"));
        }
    }
}
