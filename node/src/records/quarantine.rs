//! Entries that are set aside: what a person sees of them, and what a person can decide.
//!
//! They are kept and passed on like all others. Those that the checks refuse can be discarded, which
//! takes them off every node's list of troubles, and tried again, which helps after an update. Those
//! that are only withheld, since their node had been cut off, can be let in. A decision is a signed
//! statement in the staff channel, so that all nodes show the same.
//!
//! A decision can take nothing away that is shown: what the checks let in, or an accepted entry
//! builds on, stays, whoever has discarded it. Somebody with a stolen node's keys could otherwise
//! hide an allergy with one statement.

use super::intake::WITHHELD;
use super::open::PAGE;
use super::read::instant;
use super::{Records, RecordsError};
use crate::access::statement::{Matter, Ruling};
use crate::access::{Action, Permit};
use crate::audit::AuditOutcome;
use crate::store::index::Quarantined;
use carnet_sync_protocol::id::EntryId;
use serde::Serialize;

/// Entries that are listed at most; the rest follows when these are decided.
const LISTED_MAX: usize = 1_000;

/// An entry that is set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetAside {
    /// The entry, the same everywhere.
    pub entry: String,
    /// Who wrote it: a node.
    pub node: String,
    /// That node's site.
    pub site: String,
    /// In which channel.
    pub channel: &'static str,
    /// Its place in its log.
    pub sequence: u64,
    /// When it was written, by that node's clock.
    pub time: String,
    /// Why it is set aside.
    pub reason: String,
    /// Whether nothing is wrong with it but that its node had been cut off.
    pub withheld: bool,
    /// What was decided of it.
    pub ruled: Option<RuledBy>,
}

/// What somebody decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuledBy {
    /// What; nothing where it was decided otherwise apart from each other.
    pub ruling: Option<Ruling>,
    /// Who.
    pub by: String,
    /// When, by the clock of the node where they did.
    pub time: String,
    /// Why, in their words.
    pub note: String,
}

/// All that is set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QuarantineList {
    /// How many entries there are, those included that are not listed.
    pub count: u64,
    /// The first of them, in order of arrival.
    pub entries: Vec<SetAside>,
}

/// What came of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RulingOutcome {
    /// The entry.
    pub entry: String,
    /// What was decided.
    pub ruling: Ruling,
    /// Whether it is in its document now.
    pub shown: bool,
    /// Why it is still set aside; one that is neither shown nor set aside waits for others.
    pub reason: Option<String>,
}

impl Records {
    /// What is set aside.
    pub fn quarantine_list(&mut self, permit: &Permit) -> Result<QuarantineList, RecordsError> {
        self.require(permit, Action::Review)?;
        self.catch_up()?;
        let index = &self.charts()?.index;
        let mut list = QuarantineList { count: index.quarantined_count()?, entries: Vec::new() };
        let mut after = 0;
        'pages: loop {
            let page = self.charts()?.index.quarantined(after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = last.arrival;
            for row in &page {
                if list.entries.len() == LISTED_MAX {
                    break 'pages;
                }
                list.entries.extend(self.set_aside(row)?);
            }
        }
        let mut event = self.event_of(permit, Action::Review.name());
        event.subject = Some("quarantine".into());
        event.count = list.entries.len() as u64;
        self.note_event(event);
        Ok(list)
    }

    fn set_aside(&self, row: &Quarantined) -> Result<Option<SetAside>, RecordsError> {
        let Some(stamp) = self.ledger.stamp_at(row.arrival)? else { return Ok(None) };
        let ruled = self.staff()?.ruled(&stamp.id).map(|ruled| RuledBy {
            ruling: ruled.ruling,
            by: ruled.by.clone(),
            time: instant(ruled.time_ms),
            note: ruled.note.clone(),
        });
        Ok(Some(SetAside {
            entry: stamp.id.to_string(),
            node: stamp.log.author.node.to_string(),
            site: self.site_of(&stamp.log.author.node),
            channel: stamp.log.channel.name(),
            sequence: stamp.sequence,
            time: instant(stamp.time.unix_ms()),
            reason: row.reason.clone(),
            withheld: row.reason == WITHHELD,
            ruled,
        }))
    }

    /// Decides what becomes of an entry that is set aside, for every node. It is named as the list
    /// names it, or as the review list does.
    pub fn rule(
        &mut self,
        permit: &Permit,
        entry: &str,
        ruling: Ruling,
        note: &str,
    ) -> Result<RulingOutcome, RecordsError> {
        self.require(permit, Action::SignOff)?;
        self.catch_up()?;
        let named = entry.strip_prefix("quarantine-").unwrap_or(entry);
        let id: EntryId = named.parse().map_err(|_| {
            RecordsError::BadRequest(format!(
                "{entry} is no entry's id: 64 digits 0-9 a-f, as `carnet quarantine list` shows it"
            ))
        })?;
        if self.quarantined(&id)?.is_none() {
            return Err(RecordsError::BadRequest(format!(
                "entry {id} is not set aside; `carnet quarantine list` shows those that are"
            )));
        }
        let before = self.staff()?.ruled(&id).cloned();
        if ruling == Ruling::Discard
            && let Some(ruled) = before.as_ref().filter(|ruled| ruled.ruling == Some(ruling))
        {
            let by = &ruled.by;
            return Err(RecordsError::BadRequest(format!("{by} has discarded {id} already")));
        }
        let replaces = before.map_or_else(Vec::new, |ruled| ruled.heads);
        let matter = Matter::SetAside { entry: id, ruling, note: note.to_owned() };
        self.atomically(|records| {
            records.write_staff(permit.actor(), replaces, Vec::new(), matter)?;
            records.settle()
        })?;
        let action = match ruling {
            Ruling::Release => "quarantine-release",
            Ruling::Discard => "quarantine-discard",
        };
        self.note_act(permit.actor(), action, &format!("entry/{id}"), AuditOutcome::Done);
        let still = self.quarantined(&id)?;
        let shown = still.is_none() && !self.waits(&id)?;
        let reason = still.map(|row| row.reason);
        Ok(RulingOutcome { entry: id.to_string(), ruling, shown, reason })
    }

    /// Whether what the entry builds on, or its key, is not here.
    fn waits(&self, id: &EntryId) -> Result<bool, RecordsError> {
        let Some(stamp) = self.ledger.stamp(id)? else { return Ok(false) };
        Ok(self.charts()?.index.is_pending(stamp.arrival)?)
    }

    /// The entry's row, if it is set aside.
    pub(super) fn quarantined(&self, id: &EntryId) -> Result<Option<Quarantined>, RecordsError> {
        let Some(stamp) = self.ledger.stamp(id)? else { return Ok(None) };
        let next = self.charts()?.index.quarantined(stamp.arrival - 1, 1)?.pop();
        Ok(next.filter(|row| row.arrival == stamp.arrival))
    }
}
