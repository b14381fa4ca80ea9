//! The audit trail: written before what it tells of is handed out, read by who may, verified.
//!
//! Events are noted while calls run and become one entry of the audit channel in the commit that
//! their callers wait for: a group commit costs one entry, however many read. A commit that fails
//! answers nobody, so its events are dropped with it. A locked node can seal nothing: its events,
//! which hold no patient's data, wait in `log.db` until it is unlocked.

use super::author::{Content, Placed};
use super::project::SLICE;
use super::read::instant;
use super::status::CLOCK_FLOOR_MS;
use super::{Records, RecordsError};
use crate::access::{Action, Actor, Permit, Purpose};
use crate::audit::{AuditBatch, AuditEvent, AuditOutcome};
use crate::base::environment::Environment;
use crate::store::index::{Cause, Index, Pending, TrailFilter, TrailRow};
use crate::store::ledger::{Held, Ledger};
use crate::vault;
use carnet_sync_protocol::frontier::Head;
use carnet_sync_protocol::id::{Channel, DocumentId, LogId, TransportKey};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Where a locked node's events wait.
const WAITING: &str = "audit-waiting";

/// The hash of the settings as they were last.
const SETTINGS: &str = "settings";

/// Events that wait while the node is locked; those of one kind beyond it are counted.
const WAITING_MAX: usize = 1_000;

/// How far a clock may stand behind what the node has written itself.
const CLOCK_BEHIND_MS: u64 = 5 * 60_000;

/// Events read together.
const PAGE_EVENTS: usize = 1_000;

/// An event as it is listed.
#[derive(Clone, Debug, Serialize)]
pub struct TrailEvent {
    /// The entry and the event's place in it.
    pub id: String,
    /// When, by the recording node's clock.
    pub time: String,
    /// The node that recorded it.
    pub node: String,
    /// Its site.
    pub site: String,
    /// Where the next page of the list begins.
    #[serde(skip)]
    pub place: (u64, u32),
    /// Whether a Consent that was consulted has another version now.
    pub consent_changed: bool,
    /// What happened.
    #[serde(flatten)]
    pub event: AuditEvent,
}

fn waiting_in(ledger: &Ledger) -> Result<Vec<AuditEvent>, RecordsError> {
    let stored = ledger.meta(WAITING)?;
    // What an older version left and this one can't read is nothing that can be shown.
    Ok(stored
        .and_then(|bytes| AuditBatch::from_payload(&bytes).ok())
        .map_or_else(Vec::new, |batch| batch.events))
}

/// Puts into a ledger that comes out of a backup that it does; the node's next life writes it.
pub(super) fn note_restored(
    ledger: &mut Ledger,
    environment: &Environment,
    made_ms: u64,
) -> Result<(), RecordsError> {
    let mut events = waiting_in(ledger)?;
    let time_ms = environment.unix_ms();
    events.push(AuditEvent {
        time_ms,
        clock_trusted: time_ms >= CLOCK_FLOOR_MS,
        actor: Actor::Operator.to_string(),
        roles: Vec::new(),
        action: "restore".into(),
        purpose: Purpose::Operations.code().to_owned(),
        patient: None,
        subject: None,
        outcome: AuditOutcome::Done,
        detail: format!("the backup of {}", instant(made_ms)),
        count: 0,
        consents: Vec::new(),
    });
    Ok(ledger.set_meta(WAITING, &AuditBatch { events }.to_payload())?)
}

/// What `audit verify` found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TrailReport {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// Events that were read.
    pub events: u64,
    /// Entries of the audit channel.
    pub entries: u64,
    /// The nodes that are known to hold the trail's heads: the tail is proved as far as they do.
    pub witnesses: u64,
    /// Entries of this node that no other node is known to hold: of these, only the machine tells.
    pub unwitnessed: u64,
    /// What is wrong, each in a sentence.
    pub problems: Vec<String>,
}

impl Records {
    /// An event by somebody, as things stand.
    pub(super) fn event_by(&self, actor: &Actor, action: &str) -> AuditEvent {
        let now = self.environment.unix_ms();
        let behind = self.time.unix_ms().saturating_sub(now);
        AuditEvent {
            time_ms: now,
            clock_trusted: now >= CLOCK_FLOOR_MS && behind <= CLOCK_BEHIND_MS,
            actor: actor.to_string(),
            roles: Vec::new(),
            action: action.to_owned(),
            purpose: Purpose::Operations.code().to_owned(),
            patient: None,
            subject: None,
            outcome: AuditOutcome::Done,
            detail: String::new(),
            count: 0,
            consents: Vec::new(),
        }
    }

    /// An event under a permit.
    pub(super) fn event_of(&self, permit: &Permit, action: &str) -> AuditEvent {
        AuditEvent {
            roles: permit.roles().iter().map(|role| role.id().to_owned()).collect(),
            purpose: permit.purpose().code().to_owned(),
            ..self.event_by(permit.actor(), action)
        }
    }

    /// An event of the node itself: nobody asked for it.
    pub(super) fn event_of_node(&self, action: &str) -> AuditEvent {
        AuditEvent { actor: "node".into(), ..self.event_by(&Actor::Operator, action) }
    }

    /// Notes an event for the next commit.
    pub(super) fn note_event(&mut self, event: AuditEvent) {
        self.unwritten.push(event);
    }

    /// Notes an act of the operator, of a member of staff or of a program that touches no chart.
    pub fn note_act(&mut self, actor: &Actor, action: &str, subject: &str, outcome: AuditOutcome) {
        let mut event = self.event_by(actor, action);
        event.subject = (!subject.is_empty()).then(|| subject.to_owned());
        event.outcome = outcome;
        self.note_event(event);
    }

    /// Puts on record that peers were sent away: the site, if the key is one of the practice's, why,
    /// and how many.
    pub fn note_refused(&mut self, peer: &TransportKey, reason: &str, count: u64) {
        let mut event = self.event_of_node("peer-refused");
        let known = self.roster.by_transport(peer);
        event.subject = known.map(|known| format!("node/{}", known.body.site));
        event.outcome = AuditOutcome::Denied;
        event.detail = reason.to_owned();
        event.count = count;
        self.note_event(event);
    }

    /// Puts on record that the settings are others than they were.
    pub fn note_settings(&mut self, settings: &[u8]) -> Result<(), RecordsError> {
        let digest = blake3::hash(settings);
        let known = self.ledger.meta(SETTINGS)?;
        if known.as_deref() != Some(digest.as_bytes().as_slice()) {
            self.begin()?;
            self.ledger.set_meta(SETTINGS, digest.as_bytes())?;
            self.note_event(self.event_of_node("configuration"));
        }
        Ok(())
    }

    /// Writes what was noted since the last commit, as part of the one under way.
    pub(super) fn write_trail(&mut self) -> Result<(), RecordsError> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        if self.charts.is_none() || self.keyring.certificate().is_none() {
            return self.keep_waiting();
        }
        self.leave_forked_life()?;
        let events = std::mem::take(&mut self.unwritten);
        let batches = AuditBatch::divide(&events);
        let payloads: Vec<Vec<u8>> = batches.iter().map(AuditBatch::to_payload).collect();
        let contents: Vec<Content<'_>> = payloads
            .iter()
            .map(|bytes| Content::Change { document: DocumentId::ZERO, bytes })
            .collect();
        let placed = match self.append_own(Channel::Audit, &contents) {
            // A node that was just admitted, or was put out, has no key to show anything under either.
            Err(RecordsError::NoEpochKey | RecordsError::CutOff) => {
                self.unwritten = events;
                return self.keep_waiting();
            }
            written => written?,
        };
        self.show_written_trail(batches, &placed)
    }

    /// Takes what was just written into the index, if it shows everything before: what is at hand
    /// need not be opened again.
    fn show_written_trail(
        &mut self,
        batches: Vec<AuditBatch>,
        placed: &[Placed],
    ) -> Result<(), RecordsError> {
        let last = self.ledger.last_arrival();
        let index = &mut self.charts_mut()?.index;
        if index.applied_until()? + placed.len() as u64 != last {
            return Ok(());
        }
        for (batch, placed) in batches.into_iter().zip(placed) {
            index_events(index, placed.arrival, batch.events)?;
        }
        Ok(index.set_applied_until(last)?)
    }

    /// Puts events aside that can't be sealed yet.
    fn keep_waiting(&mut self) -> Result<(), RecordsError> {
        let mut events = self.waiting_events()?;
        for mut event in std::mem::take(&mut self.unwritten) {
            // Nothing that is written in clear text may tell of a patient.
            (event.patient, event.subject) = (None, None);
            event.consents.clear();
            if events.len() < WAITING_MAX {
                events.push(event);
            } else if let Some(kept) = events.iter_mut().rev().find(|kept| is_same(kept, &event)) {
                kept.count += 1;
            }
        }
        self.begin()?;
        Ok(self.ledger.set_meta(WAITING, &AuditBatch { events }.to_payload())?)
    }

    fn waiting_events(&self) -> Result<Vec<AuditEvent>, RecordsError> {
        waiting_in(&self.ledger)
    }

    /// After unlocking: what happened meanwhile goes into the trail.
    pub(super) fn take_up_waiting(&mut self) -> Result<(), RecordsError> {
        let events = self.waiting_events()?;
        if !events.is_empty() {
            self.begin()?;
            self.ledger.remove_meta(WAITING)?;
            self.unwritten.extend(events);
        }
        Ok(())
    }

    /// Takes an entry of the audit channel into the index.
    pub(super) fn project_trail(&mut self, held: &Held) -> Result<(), RecordsError> {
        let Some(batch) = self.open_trail(held) else { return self.wait_for_key(held) };
        let index = &mut self.charts_mut()?.index;
        index.remove_pending(held.arrival)?;
        index_events(index, held.arrival, batch.events)
    }

    /// An entry of the trail that can't be read yet is listed as such, and told once it can be.
    fn wait_for_key(&mut self, held: &Held) -> Result<(), RecordsError> {
        let (arrival, header) = (held.arrival, &held.entry.header);
        let charts = self.charts_mut()?;
        if vault::CODECS.contains(&header.codec) && charts.keys.epoch(&header.epoch).is_none() {
            let cause = Cause::Key(header.epoch);
            charts.index.put_pending(&Pending { arrival, document: header.document, cause })?;
        }
        Ok(())
    }

    /// The events of an entry; none if it is not readable here.
    fn open_trail(&self, held: &Held) -> Option<AuditBatch> {
        let header = &held.entry.header;
        if !vault::CODECS.contains(&header.codec) {
            return None;
        }
        let key = self.charts.as_ref()?.keys.epoch(&header.epoch)?;
        let payload = vault::open(key, header, &held.entry.payload).ok()?;
        AuditBatch::from_payload(&payload).ok()
    }

    /// The trail, in the order in which this node came to know it. Reading it is on record too.
    pub fn trail(
        &mut self,
        permit: &Permit,
        filter: &TrailFilter,
    ) -> Result<Vec<TrailEvent>, RecordsError> {
        self.require(permit, Action::Audit)?;
        self.catch_up()?;
        // One event for a list, however many pages it has.
        if filter.after.is_none() {
            let mut event = self.event_of(permit, "audit");
            event.patient.clone_from(&filter.patient);
            self.note_event(event);
        }
        self.read_trail(filter)
    }

    /// Who has seen this patient's record, for the patient or whoever shows it to them.
    pub fn disclosures(
        &mut self,
        permit: &Permit,
        patient: &str,
    ) -> Result<Vec<TrailEvent>, RecordsError> {
        let own = matches!(permit.actor(), Actor::Patient(id) if id == patient);
        if own {
            self.require(permit, Action::Read)?;
        } else {
            self.require(permit, Action::Audit)?;
        }
        self.catch_up()?;
        let mut event = self.event_of(permit, "audit");
        event.patient = Some(patient.to_owned());
        self.note_event(event);
        let filter = TrailFilter { patient: Some(patient.to_owned()), ..TrailFilter::default() };
        self.read_trail(&TrailFilter { limit: usize::MAX >> 1, ..filter })
    }

    fn read_trail(&self, filter: &TrailFilter) -> Result<Vec<TrailEvent>, RecordsError> {
        let charts = self.charts()?;
        let mut events = Vec::new();
        let mut page = filter.clone();
        while events.len() < filter.limit {
            page.limit = PAGE_EVENTS.min(filter.limit - events.len());
            let rows = charts.index.trail(&page)?;
            let Some(last) = rows.last() else { break };
            page.after = Some((last.arrival, last.number));
            for row in &rows {
                events.push(self.trail_event(row)?);
            }
        }
        Ok(events)
    }

    fn trail_event(&self, row: &TrailRow) -> Result<TrailEvent, RecordsError> {
        let stamp = self
            .ledger
            .stamp_at(row.arrival)?
            .ok_or_else(|| RecordsError::Bug("an event without its entry".into()))?;
        let event = AuditBatch::from_payload(&row.event)
            .ok()
            .and_then(|mut batch| batch.events.pop())
            .ok_or_else(|| RecordsError::Bug("an indexed event cannot be read".into()))?;
        Ok(TrailEvent {
            id: format!("{}-{}", &stamp.id.to_string()[..32], row.number),
            time: instant(event.time_ms),
            node: stamp.log.author.node.to_string(),
            site: self.site_of(&stamp.log.author.node),
            place: (row.arrival, row.number),
            consent_changed: self.consent_changed(&event)?,
            event,
        })
    }

    /// Whether a Consent that decided is no longer in force as it was.
    fn consent_changed(&self, event: &AuditEvent) -> Result<bool, RecordsError> {
        let (Some(patient), false) = (&event.patient, event.consents.is_empty()) else {
            return Ok(false);
        };
        let current = self.consent_versions(patient)?;
        Ok(event.consents.iter().any(|version| !current.contains(version)))
    }

    /// Checks the trail: that every entry is sound, signed, in its place and readable, and that it
    /// reaches as far as other nodes are known to hold it.
    pub fn verify_trail(&mut self, permit: &Permit) -> Result<TrailReport, RecordsError> {
        self.require(permit, Action::Operate)?;
        self.catch_up()?;
        let mut report = TrailReport::default();
        let mut problems = crate::records::verify::VerifyReport::default();
        let mut after = 0;
        loop {
            let page = self.ledger.of_channel_as_stored(Channel::Audit, after, SLICE)?;
            let Some(last) = page.last() else { break };
            after = last.arrival;
            for held in &page {
                report.entries += 1;
                self.chains().verify_entry(held, &mut problems)?;
                report.events += self.verify_events(held, &mut report.problems)?;
            }
        }
        self.chains().verify_heads(Some(Channel::Audit), &mut problems)?;
        report.problems.extend(problems.problems);
        if self.charts()?.index.trail_count()? != report.events {
            report.problems.push(
                "the index lists other events than the trail holds; delete index.db to rebuild it"
                    .into(),
            );
        }
        self.verify_tails(&mut report)?;
        report.ok = report.problems.is_empty();
        Ok(report)
    }

    fn verify_events(&self, held: &Held, problems: &mut Vec<String>) -> Result<u64, RecordsError> {
        let header = &held.entry.header;
        if !vault::CODECS.contains(&header.codec) {
            return Ok(0);
        }
        let place = format!("audit entry {} of node {}", header.sequence, header.log.author.node);
        let Some(key) = self.charts()?.keys.epoch(&header.epoch) else {
            return Ok(0);
        };
        let read = vault::open(key, header, &held.entry.payload)
            .map_err(|error| error.to_string())
            .and_then(|payload| AuditBatch::from_payload(&payload).map_err(|e| e.to_string()));
        match read {
            Ok(batch) => Ok(batch.events.len() as u64),
            Err(error) => {
                problems.push(format!("{place}: {error}"));
                Ok(0)
            }
        }
    }

    fn cut_off(&self, log: &LogId, head: &Head, peer: &str) -> String {
        let held = self.ledger.heads(log).iter().map(|held| held.sequence).max().unwrap_or(0);
        let site = self.site_of(&log.author.node);
        format!(
            "the trail of {site} is cut off or another: {peer} holds it up to {}, this node up to {held}; sync to get it back",
            head.sequence
        )
    }

    /// Compares the logs with what peers, and the receipts they signed, say of them.
    fn verify_tails(&self, report: &mut TrailReport) -> Result<(), RecordsError> {
        let own = self.keyring.node();
        let mut witnessed: BTreeMap<_, u64> = BTreeMap::new();
        for peer in self.ledger.peers()? {
            let theirs = self.ledger.peer_frontier(&peer.transport)?.unwrap_or_default();
            // What a receipt names, both ends held; what a peer holds besides of other nodes' logs
            // may still be on its way.
            let both = self.last_receipt(&peer.transport)?.map(|receipt| receipt.frontier);
            let both = both.unwrap_or_default();
            let own_logs = theirs.0.iter().filter(|(log, _)| log.author.node == own);
            let mut known: BTreeMap<LogId, BTreeSet<Head>> = BTreeMap::new();
            for (log, heads) in own_logs.chain(&both.0) {
                if log.channel == Channel::Audit {
                    known.entry(*log).or_default().extend(heads);
                }
            }
            let mut witness = false;
            for (log, heads) in &known {
                for head in heads {
                    if self.ledger.knows(log, head)? {
                        witness |= log.author.node == own;
                        let most = witnessed.entry(*log).or_default();
                        *most = (*most).max(head.sequence);
                    } else {
                        report.problems.push(self.cut_off(log, head, &peer.site));
                    }
                }
            }
            report.witnesses += u64::from(witness);
        }
        for log in self.ledger.logs().filter(|log| log.channel == Channel::Audit) {
            if log.author.node == own {
                let held = self.ledger.heads(&log).iter().map(|h| h.sequence).max().unwrap_or(0);
                let seen = witnessed.get(&log).copied().unwrap_or(0);
                report.unwitnessed += held.saturating_sub(seen);
            }
        }
        Ok(())
    }
}

/// Lists the events of an entry.
fn index_events(
    index: &mut Index,
    arrival: u64,
    events: Vec<AuditEvent>,
) -> Result<(), RecordsError> {
    for (number, event) in (0..).zip(events) {
        index.put_trail(&TrailRow {
            arrival,
            number,
            time_ms: event.time_ms,
            actor: event.actor.clone(),
            action: event.action.clone(),
            patient: event.patient.clone(),
            event: AuditBatch { events: vec![event] }.to_payload(),
        })?;
    }
    Ok(())
}

/// Whether two events differ by their time only: then a count tells as much.
fn is_same(a: &AuditEvent, b: &AuditEvent) -> bool {
    a.actor == b.actor && a.action == b.action && a.outcome == b.outcome && a.detail == b.detail
}
