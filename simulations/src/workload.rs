//! Staff at work: they register, note, order, correct, sign, retract, relabel, delete and decide.
//!
//! Everything that somebody writes carries a *token*, a word that is nowhere else. What somebody
//! saw just before is noted with it. So whether a value vanished unseen can be told from the
//! outside, by looking for words in what a node shows, without knowing how charts merge.

mod sight;

use crate::chance::Chance;
use carnet_node::access::statement::Ruling;
use carnet_node::access::{Action, Permit, operator_permit};
use carnet_node::chart::{Choice, Resource, ResourceKey};
use carnet_node::records::import::{Import, Source};
use carnet_node::records::{Records, RecordsError};
use carnet_node::sample::{Generator, Size};
use carnet_node::store::index::Listing;
use carnet_sync_protocol::frontier::{Frontier, Head};
use carnet_sync_protocol::id::{EntryId, LogId};
use serde_json::{Value, json};
pub use sight::{Sight, WORD, tokens, word};
use std::collections::{BTreeMap, BTreeSet};

/// A word that is written once.
pub type Token = u32;

/// Leave to do something; staff accounts are not what is simulated.
pub fn permit(action: Action) -> Permit {
    operator_permit(action)
}

/// What an act did to a resource.
#[derive(Clone, Debug)]
pub struct Write {
    /// The word that it wrote; an act that writes none (a choice, a deletion) has one all the same.
    pub token: Token,
    /// The resource.
    pub key: ResourceKey,
    /// What it was, for the log of the history.
    pub what: &'static str,
    /// Whether the word is in the resource from here on.
    pub spoken: bool,
    /// The tokens that it replaced, all of which whoever wrote had been shown.
    pub replaced: BTreeSet<Token>,
    /// Where the entries of the act end, in those of the author's logs that they are in.
    pub place: Vec<(LogId, Head)>,
    /// The entry that it let in, if it let one in that was set aside.
    pub released: Option<EntryId>,
}

/// The patients and resources of a practice, as everybody knows them by name.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// Ids of patients.
    pub patients: Vec<String>,
    /// Everything that was ever written.
    pub resources: Vec<ResourceKey>,
}

impl Catalogue {
    /// Notes a resource.
    pub fn add(&mut self, key: &ResourceKey) {
        if !self.resources.contains(key) {
            self.resources.push(key.clone());
            if key.kind == "Patient" {
                self.patients.push(key.id.clone());
            }
        }
    }
}

/// What came of an act.
#[derive(Debug)]
pub struct Done {
    /// What was written, if anything.
    pub write: Option<Write>,
    /// Resources that nobody knew before.
    pub new: Vec<ResourceKey>,
}

/// Somebody at a node.
pub struct Staff<'a> {
    records: &'a mut Records,
    catalogue: &'a Catalogue,
    chance: Chance,
    token: Token,
    /// The resource that everybody works on, if there is one.
    focus: Option<ResourceKey>,
    /// What the node held before the act.
    before: Frontier,
}

type Outcome = Result<Done, RecordsError>;

/// What can be written for a patient: type, an element that takes free text, and how it is nested.
const KINDS: [(&str, &[&str]); 7] = [
    ("AllergyIntolerance", &["note", "reaction"]),
    ("MedicationRequest", &["dosageInstruction", "note"]),
    ("Condition", &["note", "code"]),
    ("Observation", &["valueString"]),
    ("Appointment", &["description", "comment"]),
    ("Coverage", &["subscriberId", "dependent"]),
    ("Composition", &["title", "section"]),
];

/// The label of a restricted record.
const RESTRICTED: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

impl<'a> Staff<'a> {
    /// Somebody at a node, who knows what there is; `chance` draws what is done, with this word.
    pub fn new(
        records: &'a mut Records,
        catalogue: &'a Catalogue,
        chance: Chance,
        token: Token,
    ) -> Self {
        let before = records.frontier().clone();
        Self { records, catalogue, chance, token, focus: None, before }
    }

    /// Somebody who works on this resource, if there is one.
    #[must_use]
    pub fn at(self, focus: Option<ResourceKey>) -> Self {
        Self { focus, ..self }
    }

    /// Does something.
    pub fn act(mut self) -> Outcome {
        if self.focus.is_some() && !self.chance.one_in(4) {
            return self.edit();
        }
        match self.chance.below(100) {
            0..8 => self.register(),
            8..28 => self.create(),
            28..58 => self.edit(),
            58..64 => self.rewrite(),
            64..69 => self.close(),
            69..75 => self.delete(),
            75..86 => self.decide(),
            86..90 => self.relabel(),
            90..94 => self.rehome(),
            94..97 => self.open_in_an_emergency(),
            _ => self.rule(),
        }
    }

    /// A patient of the sample, with some or all of a first visit.
    pub fn register(mut self) -> Outcome {
        let mut generator = Generator::new(self.chance.below(50), crate::clinic::BEGIN_MS);
        let mut bundle = generator.patient(Size::Small);
        if !self.chance.one_in(6) {
            keep_patient(&mut bundle);
        }
        let source = Source::bytes("visit".into(), bundle.to_string().into());
        let mut import = Import::new(vec![source]);
        while import.read() {
            self.records.import_next(&permit(Action::Import), &mut import)?;
        }
        let report = import.into_report();
        if let Some(failure) = report.failures.first() {
            return Err(RecordsError::Bug(format!("the sample is not taken: {}", failure.reason)));
        }
        let page = Listing { kind: Some("Patient".into()), limit: 500, ..Listing::default() };
        let shown = self.records.list(&permit(Action::Read), &page)?.shown;
        let known: BTreeSet<&String> = self.catalogue.patients.iter().collect();
        let mut new = Vec::new();
        for patient in shown.iter().filter_map(|shown| shown.resource["id"].as_str()) {
            if !known.contains(&patient.to_owned()) {
                let page =
                    Listing { patient: Some(patient.to_owned()), limit: 500, ..Listing::default() };
                for shown in self.records.list(&permit(Action::Read), &page)?.shown {
                    new.push(key_of(&shown.resource)?);
                }
            }
        }
        let Some(key) = new.first().cloned() else { return nothing() };
        let write = self.write("registers", key, false, BTreeSet::new());
        Ok(Done { write: Some(write), new })
    }

    /// Something new for a patient; sometimes under an id that others may choose at the same time.
    fn create(mut self) -> Outcome {
        let Some(patient) = self.chance.pick(&self.catalogue.patients).cloned() else {
            return self.register();
        };
        let (kind, elements) = *self.chance.pick(&KINDS).unwrap_or(&KINDS[0]);
        let id = if self.chance.one_in(4) {
            format!("shared{}", self.chance.below(3))
        } else {
            format!("r{}", self.token)
        };
        let key = ResourceKey::new(kind, &id).map_err(bad)?;
        let seen = self.see(&key)?;
        let mut body = json!({"resourceType": kind, "id": id, "status": "active"});
        let person = json!({"reference": format!("Patient/{patient}")});
        match kind {
            "AllergyIntolerance" => body["patient"] = person,
            "Appointment" => {
                body["participant"] = json!([{"actor": person, "status": "accepted"}]);
            }
            "Coverage" => body["beneficiary"] = person,
            _ => body["subject"] = person,
        }
        body[elements[0]] = text_in(elements[0], self.token);
        let replaced = seen.map(|sight| all_plain(&sight)).unwrap_or_default();
        self.put(body)?;
        let write = self.write("creates", key.clone(), true, replaced);
        Ok(Done { write: Some(write), new: vec![key] })
    }

    /// One element of something.
    fn edit(mut self) -> Outcome {
        let Some((key, body, sight)) = self.find(|_| true)? else { return nothing() };
        let elements = elements_of(&key.kind);
        let Some(element) = self.chance.pick(elements).copied() else { return nothing() };
        let value = text_in(element, self.token);
        if body["status"] == "entered-in-error" && self.chance.one_in(2) {
            return nothing();
        }
        let change = [(element.to_owned(), Some(value))];
        let saved = self.records.set_element(&permit(Action::Write), &key, &change)?;
        if !saved.changed {
            return Err(RecordsError::Bug("a new word changed nothing".into()));
        }
        let replaced = self.taken_over(&key, element, &sight)?;
        wrote(self.write("edits", key, true, replaced))
    }

    /// The whole of something as it is shown, with one element changed.
    fn rewrite(mut self) -> Outcome {
        let Some((key, mut body, sight)) = self.find(|_| true)? else { return nothing() };
        let elements = elements_of(&key.kind);
        let Some(element) = self.chance.pick(elements).copied() else { return nothing() };
        body[element] = text_in(element, self.token);
        self.put(body)?;
        let replaced = self.taken_over(&key, element, &sight)?;
        wrote(self.write("rewrites", key, true, replaced))
    }

    /// Signs a note, stops an order, retracts.
    fn close(mut self) -> Outcome {
        let Some((key, body, sight)) = self.find(|key| !is_record(&key.kind))? else {
            return nothing();
        };
        let status = match key.kind.as_str() {
            "Composition" if body["status"] != "final" => "final",
            "MedicationRequest" if body["status"] == "active" => "stopped",
            "Patient" => return nothing(),
            _ => "entered-in-error",
        };
        let change = [("status".to_owned(), Some(json!(status)))];
        self.records.set_element(&permit(Action::Write), &key, &change)?;
        let replaced = sight.plain.get("status").cloned().unwrap_or_default();
        wrote(self.write("closes", key, false, replaced))
    }

    fn delete(mut self) -> Outcome {
        let Some((key, _, sight)) = self.find(|key| key.kind != "Patient")? else {
            return nothing();
        };
        self.records.delete(&permit(Action::Write), &key)?;
        wrote(self.write("deletes", key, false, sight.all()))
    }

    /// Opens a chart in an emergency, which every node is to know.
    fn open_in_an_emergency(mut self) -> Outcome {
        let Some(patient) = self.chance.pick(&self.catalogue.patients).cloned() else {
            return nothing();
        };
        let why = word(self.token);
        self.records.open_emergency(&permit(Action::Emergency), &patient, &why)?;
        let key = ResourceKey::new("Patient", &patient).map_err(bad)?;
        wrote(self.write("opens in an emergency", key, false, BTreeSet::new()))
    }

    /// Decides what becomes of an entry that is set aside.
    fn rule(mut self) -> Outcome {
        let listed = self.records.quarantine_list(&permit(Action::Review))?.entries;
        let Some(entry) = self.chance.pick(&listed).map(|one| one.entry.clone()) else {
            return nothing();
        };
        let ruling = if self.chance.one_in(2) { Ruling::Release } else { Ruling::Discard };
        let note = word(self.token);
        self.records.rule(&permit(Action::SignOff), &entry, ruling, &note)?;
        let key = ResourceKey::new("Basic", "set-aside").map_err(bad)?;
        let mut write = self.write("rules on", key, false, BTreeSet::new());
        if ruling == Ruling::Release {
            write.released = entry.parse().ok();
        }
        wrote(write)
    }

    /// Settles a conflict.
    fn decide(mut self) -> Outcome {
        let open = self.records.conflicts(&permit(Action::Read), None)?;
        let Some(conflict) = self.chance.pick(&open).cloned() else { return nothing() };
        let key = ResourceKey::parse(&conflict.resource).map_err(bad)?;
        let ids: Vec<String> = conflict
            .values
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|value| value["id"].as_str().map(str::to_owned))
            .collect();
        let both = conflict.kind == "same-resource"
            && !conflict.element.starts_with("_moved")
            && self.chance.one_in(2);
        let choice = match self.chance.pick(&ids) {
            Some(id) if !both => Choice::Value(id.clone()),
            _ => Choice::Both,
        };
        let sight = self.see(&key)?.unwrap_or_default();
        self.records.resolve(
            &permit(Action::Write),
            &key,
            &conflict.element,
            choice,
            &conflict.seen,
        )?;
        let mut replaced = sight.disputed.get(&conflict.element).cloned().unwrap_or_default();
        let after = self.records.read(&permit(Action::Read), &key)?;
        if after.deleted {
            replaced.extend(sight.all());
        }
        // An edit that is taken along to a new home takes the place of what is shown there.
        let after = Sight::of(&after.resource);
        for (element, before) in &sight.plain {
            let now = after.current.get(element).cloned().unwrap_or_default();
            if !replaced.is_disjoint(&now) {
                replaced.extend(before);
            }
        }
        wrote(self.write("decides", key, false, replaced))
    }

    /// Makes something restricted, or no longer so.
    fn relabel(mut self) -> Outcome {
        let Some((key, body, _)) = self.find(|key| key.kind != "Patient")? else {
            return nothing();
        };
        let label = json!({"security": [{"system": RESTRICTED, "code": "R"}]});
        let meta = if body["meta"]["security"].is_array() { None } else { Some(label) };
        let change = [("meta".to_owned(), meta)];
        self.records.set_element(&permit(Action::Write), &key, &change)?;
        wrote(self.write("relabels", key, false, BTreeSet::new()))
    }

    /// Gives something to another patient, since it was written down with the wrong one.
    fn rehome(mut self) -> Outcome {
        let Some((key, body, _)) = self.find(|key| key.kind != "Patient")? else {
            return nothing();
        };
        let Some(patient) = self.chance.pick(&self.catalogue.patients).cloned() else {
            return nothing();
        };
        let of = ["subject", "patient", "beneficiary"];
        let Some(element) = of.into_iter().find(|element| body.get(element).is_some()) else {
            return nothing();
        };
        let change =
            [(element.to_owned(), Some(json!({"reference": format!("Patient/{patient}")})))];
        self.records.set_element(&permit(Action::Write), &key, &change)?;
        wrote(self.write("rehomes", key, false, BTreeSet::new()))
    }

    fn put(&mut self, body: Value) -> Result<(), RecordsError> {
        let resource = Resource::from_value(body).map_err(bad)?;
        self.records.put(&permit(Action::Write), &resource).map(drop)
    }

    /// What an edit took the place of: what was shown of the element, of a record of all of it, and
    /// was not in dispute. Of a dispute it is what its values have in common, and what was shown as
    /// the value itself, if it is not shown any more. The other values stay until somebody decides.
    fn taken_over(
        &mut self,
        key: &ResourceKey,
        element: &str,
        before: &Sight,
    ) -> Result<BTreeSet<Token>, RecordsError> {
        let of = |shown: &BTreeMap<String, BTreeSet<Token>>| -> BTreeSet<Token> {
            let fits = |name: &String| name == element || is_record(&key.kind);
            shown.iter().filter(|(name, _)| fits(name)).flat_map(|(_, of)| of).copied().collect()
        };
        let (mut replaced, current) = (of(&before.plain), of(&before.current));
        if current.len() > replaced.len() {
            let after = self.see(key)?.unwrap_or_default();
            let gone = |token: &&Token| before.agreed.contains(token) || !after.shows(**token);
            replaced.extend(current.iter().filter(gone));
        }
        Ok(replaced)
    }

    /// What is shown of a resource; nothing if it is not known here.
    fn see(&mut self, key: &ResourceKey) -> Result<Option<Sight>, RecordsError> {
        match self.records.read(&permit(Action::Read), key) {
            Ok(shown) => Ok(Some(Sight::of(&shown.resource))),
            Err(RecordsError::NoSuchResource { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Something that is known here, fits, and is not deleted.
    fn find(
        &mut self,
        fits: impl Fn(&ResourceKey) -> bool,
    ) -> Result<Option<(ResourceKey, Value, Sight)>, RecordsError> {
        for _ in 0..4 {
            // What was written lately is what several people work on.
            let all = &self.catalogue.resources;
            let lately = &all[all.len().saturating_sub(8)..];
            let from = if self.chance.one_in(3) { all } else { lately };
            let drawn = self.chance.pick(from).cloned();
            let Some(key) = self.focus.clone().or(drawn) else { return Ok(None) };
            if !fits(&key) || elements_of(&key.kind).is_empty() {
                continue;
            }
            match self.records.read(&permit(Action::Read), &key) {
                Ok(shown) if !shown.deleted => {
                    let sight = Sight::of(&shown.resource);
                    return Ok(Some((key, shown.resource, sight)));
                }
                Ok(_) | Err(RecordsError::NoSuchResource { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn write(
        &self,
        what: &'static str,
        key: ResourceKey,
        spoken: bool,
        replaced: BTreeSet<Token>,
    ) -> Write {
        let author = self.records.author();
        let own = self.records.frontier().0.iter().filter(|(log, heads)| {
            log.author == author && self.before.heads(log) != heads.as_slice()
        });
        let place = own.filter_map(|(log, heads)| Some((*log, *heads.last()?))).collect();
        Write { token: self.token, key, what, spoken, replaced, place, released: None }
    }
}

/// Leaves only the patient and what of the first visit refers to nothing else.
fn keep_patient(bundle: &mut Value) {
    let Some(entries) = bundle["entry"].as_array_mut() else { return };
    let patient = entries
        .iter()
        .find(|entry| entry["resource"]["resourceType"] == "Patient")
        .and_then(|entry| entry["fullUrl"].as_str().map(str::to_owned));
    entries.retain(|entry| {
        let text = entry["resource"].to_string();
        let references = text.matches("urn:uuid:").count();
        entry["fullUrl"].as_str() == patient.as_deref()
            || references == patient.iter().filter(|of| text.contains(of.as_str())).count()
    });
}

fn nothing() -> Outcome {
    Ok(Done { write: None, new: Vec::new() })
}

fn wrote(write: Write) -> Outcome {
    Ok(Done { write: Some(write), new: Vec::new() })
}

fn bad(error: impl std::fmt::Display) -> RecordsError {
    RecordsError::Bug(format!("the workload is wrong: {error}"))
}

fn key_of(resource: &Value) -> Result<ResourceKey, RecordsError> {
    let part = |name: &str| resource[name].as_str().unwrap_or_default();
    ResourceKey::new(part("resourceType"), part("id")).map_err(bad)
}

fn all_plain(sight: &Sight) -> BTreeSet<Token> {
    sight.plain.values().flatten().copied().collect()
}

/// Types that merge as a whole.
fn is_record(kind: &str) -> bool {
    matches!(kind, "Observation" | "Encounter" | "DiagnosticReport" | "Immunization")
}

fn elements_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "Patient" => &["maritalStatus", "address", "telecom"],
        "Encounter" => &["reasonCode"],
        other => KINDS.iter().find(|(name, _)| *name == other).map_or(&[], |(_, of)| of),
    }
}

/// A value of this element that holds the word.
fn text_in(element: &str, token: Token) -> Value {
    let text = word(token);
    match element {
        "maritalStatus" | "code" => json!({"text": text}),
        "address" | "note" | "dosageInstruction" | "reasonCode" => json!([{"text": text}]),
        "telecom" => json!([{"system": "other", "value": text}]),
        "reaction" => json!([{"description": text}]),
        "section" => json!([{"title": text}]),
        _ => text.into(),
    }
}
