//! The review list: what has happened that a person must look at.
//!
//! Every item is a function of what the ledger holds, and its id says what it is about, never
//! when or where it was found: nodes that have converged list the same items under the same ids,
//! and whoever signs one off, on any node, has signed it off on all. What grows after it was
//! signed off (one more write by somebody suspended) is another item. Conflicts, likely
//! duplicates and disputed statements about staff are not signed off but decided: they leave the
//! list by themselves. Nothing is stored here except the signatures, in the staff channel.

use super::body::body_of;
use super::door::Judge;
use super::intake::WITHHELD;
use super::open::PAGE;
use super::read::{OpenConflict, instant};
use super::search::display_name;
use super::{Records, RecordsError};
use crate::access::roster::Emergency;
use crate::access::statement::Matter;
use crate::access::{Action, Actor, Permit};
use crate::audit::AuditOutcome;
use crate::chart::ResourceKey;
use crate::store::index::Quarantined;
use carnet_sync_protocol::entry::HybridTime;
use carnet_sync_protocol::id::{Author, EntryId, LogId};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Open items of one kind that are listed; the rest follows when these are dealt with.
const ITEMS_MAX: usize = 1_000;

/// What an item is about; the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReviewKind {
    /// Somebody opened a chart in an emergency.
    Emergency,
    /// Somebody wrote after their rights had been taken, at a node that did not know it.
    Suspended,
    /// Values that stand against each other.
    Conflict,
    /// Two charts that are likely of one patient.
    Duplicate,
    /// Statements about staff that were made apart; the more restrictive holds meanwhile.
    Staff,
    /// Entries that were set aside and are not shown.
    Quarantine,
    /// A machine was cloned, and both copies wrote.
    Fork,
}

impl ReviewKind {
    const fn is_signed_off(self) -> bool {
        matches!(self, Self::Emergency | Self::Suspended | Self::Quarantine | Self::Fork)
    }
}

/// Who looked at an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignedBy {
    /// Who.
    pub by: String,
    /// When, by the clock of the node where they did.
    pub time: String,
    /// What they found.
    pub note: String,
}

/// Something that a person must look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReviewItem {
    /// Names it, the same on every node.
    pub id: String,
    /// What it is about.
    pub kind: ReviewKind,
    /// Whether it is signed off; otherwise it is decided, and is gone then.
    pub to_sign: bool,
    /// Which sentence of the catalogue tells it.
    pub code: &'static str,
    /// Whose chart, if it is about one and the reader may know whose.
    pub patient: Option<String>,
    /// That patient's name, as it is written.
    pub name: Option<String>,
    /// When it happened, by its author's clock; two charts are alike at no time.
    pub time: Option<String>,
    /// Who did it: people, or nodes where nobody is named.
    pub who: Vec<String>,
    /// What else the sentence tells.
    pub figures: BTreeMap<&'static str, String>,
    /// Who signed it off.
    pub signed_off: Option<SignedBy>,
}

/// An emergency view that nobody has signed off yet, for whoever reads the chart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EmergencyView {
    /// The item of the review list.
    pub item: String,
    /// Who opened the chart.
    pub who: String,
    /// When, by that node's clock.
    pub time: String,
    /// Why, in their words.
    pub reason: String,
}

impl Records {
    /// What must be looked at, the most urgent kind first, and of each kind the oldest; with what
    /// was signed off already, if it is asked for. What the permit does not cover is left out, or
    /// told without the patient where the item is about somebody's act.
    pub fn review_list(
        &mut self,
        permit: &Permit,
        include_signed: bool,
    ) -> Result<Vec<ReviewItem>, RecordsError> {
        self.require(permit, Action::Review)?;
        self.catch_up()?;
        let judge = self.judge(permit);
        let mut list = List { records: self, judge: &judge, signed: include_signed, items: vec![] };
        list.emergencies()?;
        list.suspended()?;
        list.conflicts()?;
        list.duplicates(permit)?;
        list.staff()?;
        list.quarantined()?;
        list.withheld()?;
        list.forks()?;
        let mut items = list.items;
        items.sort_by(|a, b| (a.kind, &a.time, &a.id).cmp(&(b.kind, &b.time, &b.id)));
        let mut event = self.event_of(permit, Action::Review.name());
        event.count = items.len() as u64;
        self.note_event(event);
        Ok(items)
    }

    /// Signs off an item of the review list, for every node.
    pub fn sign_off(
        &mut self,
        permit: &Permit,
        item: &str,
        note: &str,
    ) -> Result<(), RecordsError> {
        self.require(permit, Action::SignOff)?;
        self.catch_up()?;
        let judge = self.judge(permit);
        let mut list = List { records: self, judge: &judge, signed: true, items: vec![] };
        list.find(item)?;
        let found = list.items.into_iter().find(|found| found.id == item);
        let found = found.ok_or_else(|| {
            RecordsError::BadRequest(format!(
                "the review list has no item {item}; `carnet review --list` shows those it has"
            ))
        })?;
        if let Some(signed) = &found.signed_off {
            let by = &signed.by;
            return Err(RecordsError::BadRequest(format!("{by} has signed {item} off already")));
        }
        if let Actor::Staff(own) = permit.actor()
            && found.who.contains(own)
        {
            return Err(RecordsError::Refused(
                "nobody signs off what they did themselves; ask the privacy officer".into(),
            ));
        }
        let matter = Matter::SignOff { item: item.to_owned(), note: note.to_owned() };
        self.write_staff(permit.actor(), Vec::new(), Vec::new(), matter)?;
        self.note_act(permit.actor(), "sign-off", &format!("review/{item}"), AuditOutcome::Done);
        Ok(())
    }

    /// The emergency views of a patient that nobody has signed off: the chart says so.
    pub fn emergencies_of(
        &mut self,
        permit: &Permit,
        patient: &str,
    ) -> Result<Vec<EmergencyView>, RecordsError> {
        self.require(permit, Action::Read)?;
        self.catch_up()?;
        let key = ResourceKey::new("Patient", patient)
            .map_err(|error| RecordsError::BadRequest(error.to_string()))?;
        let row = self.row(&key)?;
        self.admit(permit, &row, false)?;
        let staff = self.staff()?;
        let open = staff.emergencies().iter().filter(|emergency| emergency.patient == patient);
        let views: Vec<EmergencyView> = open
            .filter(|emergency| staff.signed_off(&emergency_id(emergency)).is_none())
            .map(|emergency| EmergencyView {
                item: emergency_id(emergency),
                who: emergency.actor.clone(),
                time: instant(emergency.time_ms),
                reason: emergency.reason.clone(),
            })
            .collect();
        if views.is_empty() {
            // That there is none is seen with the chart, which is on record itself.
            return Ok(views);
        }
        let mut event = self.event_of(permit, "read");
        event.patient = Some(patient.to_owned());
        event.subject = Some("review/emergencies".into());
        event.count = views.len() as u64;
        self.note_event(event);
        Ok(views)
    }
}

fn emergency_id(emergency: &Emergency) -> String {
    format!("emergency-{}", emergency.id)
}

/// A name for what these parts together say, the same everywhere.
fn name_of(kind: &str, parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("carnet 2026 review item v1");
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    format!("{kind}-{}", &hasher.finalize().to_hex()[..32])
}

/// Entries of one log that belong into one item; those that were discarded don't count.
#[derive(Default)]
struct Tally {
    count: u64,
    highest: u64,
    newest: HybridTime,
}

/// The list while it is made.
struct List<'a> {
    records: &'a Records,
    judge: &'a Judge<'a>,
    /// Whether what was signed off is listed too.
    signed: bool,
    items: Vec<ReviewItem>,
}

impl List<'_> {
    /// Lists what an item of this name may be; refuses what is not signed off but decided.
    fn find(&mut self, item: &str) -> Result<(), RecordsError> {
        let decided = |how: &str| Err(RecordsError::BadRequest(format!("{item} is {how}")));
        match item.split('-').next().unwrap_or_default() {
            "emergency" => self.emergencies(),
            "suspended" => self.suspended(),
            "withheld" => self.withheld(),
            "fork" => self.forks(),
            "quarantine" => self.quarantined_entry(item),
            "conflict" => decided("decided, not signed off: use `carnet review`"),
            "duplicate" => decided("decided, not signed off: use `carnet patient link`"),
            "staff" | "token" | "operator" => {
                decided("decided by an administrator: use `carnet staff set-role`")
            }
            _ => Ok(()),
        }
    }

    fn item(&self, id: String, kind: ReviewKind, code: &'static str) -> ReviewItem {
        let (patient, name, time, signed_off) = (None, None, None, None);
        let (who, figures) = (Vec::new(), BTreeMap::new());
        let to_sign = kind.is_signed_off();
        ReviewItem { id, kind, to_sign, code, patient, name, time, who, figures, signed_off }
    }

    /// Adds an item, unless it was signed off and only the others are wanted.
    fn add(&mut self, mut item: ReviewItem) -> Result<(), RecordsError> {
        if item.to_sign {
            let signed = self.records.staff()?.signed_off(&item.id);
            if signed.is_some() && !self.signed {
                return Ok(());
            }
            item.signed_off = signed.map(|signed| SignedBy {
                by: signed.by.clone(),
                time: instant(signed.time_ms),
                note: signed.note.clone(),
            });
        }
        self.items.push(item);
        Ok(())
    }

    /// Whether as many of this kind are listed as people can take in.
    fn is_full(&self, kind: ReviewKind) -> bool {
        let open = |item: &&ReviewItem| item.kind == kind && item.signed_off.is_none();
        self.items.iter().filter(open).count() >= ITEMS_MAX
    }

    /// Names the patient, if the reader may know who it is.
    fn name(&self, item: &mut ReviewItem, patient: &str) -> Result<(), RecordsError> {
        if self.judge.admits_patient(patient)? {
            let row = self.records.charts()?.index.resource("Patient", patient)?;
            item.name = row.map(|row| body_of(&row)).transpose()?.map(|body| display_name(&body));
            item.patient = Some(patient.to_owned());
        }
        Ok(())
    }

    fn emergencies(&mut self) -> Result<(), RecordsError> {
        let staff = self.records.staff()?;
        for emergency in staff.emergencies() {
            let id = emergency_id(emergency);
            if staff.signed_off(&id).is_some() && !self.signed {
                continue;
            }
            if self.is_full(ReviewKind::Emergency) {
                break;
            }
            let mut item = self.item(id, ReviewKind::Emergency, "emergency");
            self.name(&mut item, &emergency.patient)?;
            item.time = Some(instant(emergency.time_ms));
            item.who = vec![emergency.actor.clone()];
            item.figures.insert("reason", emergency.reason.clone());
            self.add(item)?;
        }
        Ok(())
    }

    /// People and programs of whom entries are held that they wrote when they were not to.
    fn suspended(&mut self) -> Result<(), RecordsError> {
        let staff = self.records.staff()?;
        for who in staff.ever_barred() {
            let (mut late, mut newest) = (BTreeSet::new(), HybridTime::default());
            for arrival in self.records.charts()?.index.changes_by(&who)? {
                let Some(stamp) = self.records.ledger.stamp_at(arrival)? else { continue };
                if staff.wrote_late(&who, &stamp.log, stamp.sequence) {
                    late.insert(stamp.id.to_string());
                    newest = newest.max(stamp.time);
                }
            }
            if late.is_empty() {
                continue;
            }
            let ids: Vec<&str> = late.iter().map(String::as_str).collect();
            let name = name_of(&format!("suspended-{who}"), &ids);
            let mut item = self.item(name, ReviewKind::Suspended, "suspended");
            item.time = Some(instant(newest.unix_ms()));
            item.figures.insert("count", ids.len().to_string());
            item.who = vec![who];
            self.add(item)?;
        }
        Ok(())
    }

    fn conflicts(&mut self) -> Result<(), RecordsError> {
        let records = self.records;
        records.each_conflict(None, self.judge, |conflict| {
            let item = self.conflict(conflict)?;
            self.add(item)?;
            Ok(!self.is_full(ReviewKind::Conflict))
        })
    }

    fn conflict(&self, conflict: OpenConflict) -> Result<ReviewItem, RecordsError> {
        let parts = [conflict.resource.as_str(), &conflict.element, &conflict.seen];
        let id = name_of("conflict", &parts);
        let mut item = self.item(id, ReviewKind::Conflict, "conflict");
        let values = conflict.values.as_array().map_or(&[][..], Vec::as_slice);
        let texts = |name: &str| -> BTreeSet<String> {
            let texts = values.iter().filter_map(|value| value[name].as_str());
            texts.map(str::to_owned).collect()
        };
        item.time = texts("time").pop_last();
        item.who = texts("author").into_iter().collect();
        let sites: Vec<String> = texts("site").into_iter().collect();
        item.figures = BTreeMap::from([
            ("values", values.len().to_string()),
            ("sites", sites.join(", ")),
            ("resource", conflict.resource),
            ("element", conflict.element),
            ("conflict", conflict.kind),
            ("seen", conflict.seen),
        ]);
        if let Some(patient) = &conflict.patient {
            self.name(&mut item, patient)?;
        }
        Ok(item)
    }

    fn duplicates(&mut self, permit: &Permit) -> Result<(), RecordsError> {
        for pair in self.records.open_duplicates(permit, ITEMS_MAX)? {
            let [one, other] = pair.patients;
            let code = if pair.contradicted { "contradiction" } else { "duplicate" };
            let id = format!("duplicate-{}", pair.id);
            let mut item = self.item(id, ReviewKind::Duplicate, code);
            (item.patient, item.name) = (Some(one.id), Some(one.name));
            item.figures = BTreeMap::from([
                ("score", pair.score.to_string()),
                ("other", other.id),
                ("other-name", other.name),
                ("sites", format!("{}, {}", one.site, other.site)),
            ]);
            self.add(item)?;
        }
        Ok(())
    }

    /// Statements that await an administrator's: neither knew of the other.
    fn staff(&mut self) -> Result<(), RecordsError> {
        let charts = self.records.charts()?;
        let staff = &charts.staff;
        let members = staff.members().map(|member| {
            (format!("staff-{}", member.person.id), "staff", &member.person.id, &member.heads)
        });
        let programs = staff.programs().map(|program| {
            (format!("token-{}", program.token.id), "token", &program.token.id, &program.heads)
        });
        for (id, code, subject, heads) in members.chain(programs).filter(|(.., h)| h.len() > 1) {
            let mut item = self.item(id, ReviewKind::Staff, code);
            let said = charts.staff_said.iter().filter(|(id, _)| heads.contains(id));
            let said: Vec<_> = said.map(|(_, statement)| statement).collect();
            item.time = said.iter().map(|statement| statement.time_ms).max().map(instant);
            let who: BTreeSet<&str> = said.iter().map(|statement| statement.by.as_str()).collect();
            item.who = who.into_iter().map(str::to_owned).collect();
            item.figures =
                BTreeMap::from([("subject", subject.clone()), ("count", heads.len().to_string())]);
            self.add(item)?;
        }
        Ok(())
    }

    /// Entries that can't be what they say.
    fn quarantined(&mut self) -> Result<(), RecordsError> {
        let mut after = 0;
        loop {
            let page = self.records.charts()?.index.quarantined(after, PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.arrival;
            for set_aside in page.iter().filter(|set_aside| set_aside.reason != WITHHELD) {
                self.quarantined_at(set_aside)?;
                if self.is_full(ReviewKind::Quarantine) {
                    return Ok(());
                }
            }
        }
    }

    fn quarantined_at(&mut self, set_aside: &Quarantined) -> Result<(), RecordsError> {
        // What somebody has discarded needs nobody's eyes; `quarantine list` still tells of it.
        let stamp = self.records.ledger.stamp_at(set_aside.arrival)?;
        let Some(stamp) = stamp.filter(|_| !set_aside.discarded) else { return Ok(()) };
        let id = format!("quarantine-{}", stamp.id);
        let mut item = self.item(id, ReviewKind::Quarantine, "quarantine");
        item.time = Some(instant(stamp.time.unix_ms()));
        item.who = vec![stamp.log.author.node.to_string()];
        item.figures = BTreeMap::from([
            ("site", self.records.site_of(&stamp.log.author.node)),
            ("reason", set_aside.reason.clone()),
        ]);
        self.add(item)
    }

    /// The one entry that an item of this name is about, if it is set aside.
    fn quarantined_entry(&mut self, item: &str) -> Result<(), RecordsError> {
        let named = item.strip_prefix("quarantine-").and_then(|id| id.parse::<EntryId>().ok());
        let Some(id) = named else { return Ok(()) };
        let found = self.records.quarantined(&id)?;
        match found.filter(|set_aside| set_aside.reason != WITHHELD) {
            Some(set_aside) => self.quarantined_at(&set_aside),
            None => Ok(()),
        }
    }

    /// What nodes wrote after they were cut off, an item for each log: honest work among it has to
    /// be written again.
    fn withheld(&mut self) -> Result<(), RecordsError> {
        let mut logs: BTreeMap<LogId, Tally> = BTreeMap::new();
        let mut after = 0;
        loop {
            let page = self.records.charts()?.index.quarantined(after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = last.arrival;
            for set_aside in page.iter().filter(|set_aside| set_aside.reason == WITHHELD) {
                let Some(stamp) = self.records.ledger.stamp_at(set_aside.arrival)? else {
                    continue;
                };
                let tally = logs.entry(stamp.log).or_default();
                tally.count += u64::from(!set_aside.discarded);
                tally.highest = tally.highest.max(stamp.sequence);
                tally.newest = tally.newest.max(stamp.time);
            }
        }
        for (log, tally) in logs.into_iter().filter(|(_, tally)| tally.count > 0) {
            let LogId { channel, author: Author { node, incarnation } } = log;
            let (node_id, highest) = (node.to_string(), tally.highest.to_string());
            let parts = [&node_id, &incarnation.to_string(), channel.name(), highest.as_str()];
            let id = name_of("withheld", &parts);
            let mut item = self.item(id, ReviewKind::Quarantine, "withheld");
            item.time = Some(instant(tally.newest.unix_ms()));
            item.figures = BTreeMap::from([
                ("site", self.records.site_of(&node)),
                ("count", tally.count.to_string()),
                ("channel", channel.name().to_owned()),
            ]);
            item.who = vec![node_id];
            self.add(item)?;
        }
        Ok(())
    }

    /// Authors of whom there are two, an item for each; a further branch makes another.
    fn forks(&mut self) -> Result<(), RecordsError> {
        let ledger = &self.records.ledger;
        let mut authors: BTreeMap<Author, BTreeMap<LogId, usize>> = BTreeMap::new();
        for log in ledger.forked_logs() {
            let heads = ledger.heads(&log).len();
            authors.entry(log.author).or_default().insert(log, heads);
        }
        for (author, logs) in authors {
            let (node, branches) = (author.node.to_string(), logs.values().sum::<usize>());
            let incarnation = author.incarnation.to_string();
            let id = name_of("fork", &[&node, &incarnation, &branches.to_string()]);
            let mut item = self.item(id, ReviewKind::Fork, "fork");
            let mut newest = HybridTime::default();
            for head in logs.keys().flat_map(|log| ledger.heads(log)) {
                let stamp = ledger.stamp(&head.id)?;
                newest = newest.max(stamp.map_or(newest, |stamp| stamp.time));
            }
            item.time = Some(instant(newest.unix_ms()));
            item.figures = BTreeMap::from([
                ("site", self.records.site_of(&author.node)),
                ("logs", logs.len().to_string()),
                ("branches", branches.to_string()),
            ]);
            item.who = vec![node];
            self.add(item)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::author::Content;
    use super::super::{Founded, Init};
    use super::*;
    use crate::access::operator_permit;
    use crate::base::environment::Environment;
    use crate::vault::UnlockMethod;
    use carnet_sync_protocol::id::{Channel, DocumentId};

    #[test]
    fn what_a_node_wrote_that_is_no_change_is_listed_until_it_is_signed_off() {
        let dir = tempfile::tempdir().unwrap();
        let init = Init {
            practice: "P".into(),
            site: "Kolda".into(),
            unlock: UnlockMethod::KeyFile(dir.path().join("key")),
            practice_passphrase: None,
        };
        let Founded { mut records, .. } =
            Records::init(&dir.path().join("node"), Environment::system(), init).unwrap();
        let nonsense = Content::Change { document: DocumentId([5; 16]), bytes: b"nonsense" };
        let placed = records.append_own(Channel::Clinical, &[nonsense]).unwrap();
        records.commit().unwrap();
        let permit = operator_permit(Action::Review);
        let signing = operator_permit(Action::SignOff);
        let list = records.review_list(&permit, false).unwrap();
        let [item] = list.as_slice() else { panic!("one item, not {list:?}") };
        assert_eq!(item.id, format!("quarantine-{}", placed[0].id));
        assert_eq!((item.code, item.figures["site"].as_str()), ("quarantine", "Kolda"));
        let other = format!("quarantine-{}", EntryId([1; 32]));
        assert!(records.sign_off(&signing, &other, "").is_err());
        records.sign_off(&signing, &item.id, "a bad disk").unwrap();
        assert!(records.sign_off(&signing, &item.id, "twice").is_err());
        assert_eq!(records.review_list(&permit, false).unwrap(), []);
        let all = records.review_list(&permit, true).unwrap();
        assert_eq!(all[0].signed_off.as_ref().unwrap().note, "a bad disk");
    }

    #[test]
    fn names_do_not_run_together() {
        assert_ne!(name_of("a", &["x", "yz"]), name_of("a", &["xy", "z"]));
        assert_eq!(name_of("a", &["x"]).len(), 2 + 32);
    }
}
