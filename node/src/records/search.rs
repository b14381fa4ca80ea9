//! Finding patients, and resources by identifier.

use super::body::body_of;
use super::{Records, RecordsError};
use crate::access::{Action, Permit};
use crate::chart::ResourceKey;
use crate::store::index::{Index, PatientTerms, ResourceRow};
use serde::Serialize;
use serde_json::Value;

/// Hits given at most, whatever is asked.
const HITS_MAX: usize = 200;

/// A patient found.
#[derive(Clone, Debug, Serialize)]
pub struct PatientHit {
    /// The Patient resource's id.
    pub id: String,
    /// The name as it is written.
    pub name: String,
    /// The birth date, if one is known.
    pub birth_date: Option<String>,
    /// The administrative gender, if one is known.
    pub gender: Option<String>,
    /// The identifiers' values.
    pub identifiers: Vec<String>,
    /// The site that registered the patient.
    pub site: String,
    /// Whether a conflict in the demographics is open.
    pub conflicted: bool,
    /// How well it fits; the higher the better.
    pub score: u32,
}

impl Records {
    /// Patients by name (beginnings of words, accents and typing errors forgiven), identifier,
    /// birth date or telephone number; the best first.
    pub fn search_patients(
        &mut self,
        permit: &Permit,
        query: &str,
        limit: usize,
    ) -> Result<Vec<PatientHit>, RecordsError> {
        self.require(permit, Action::Search)?;
        self.catch_up_on_critical()?;
        let index = &self.charts()?.index;
        let judge = self.judge(permit);
        let mut hits = Vec::new();
        for found in index.search_patients(query, limit.min(HITS_MAX))? {
            let Some(row) = index.resource("Patient", &found.patient)? else { continue };
            let body = body_of(&row)?;
            if judge.decide("Patient", &row.id, Some(&row.id), &body, false)?.is_err() {
                continue;
            }
            let site = self.registered_at(&row.id)?;
            hits.push(patient_hit(&row, &body, site, found.score));
        }
        self.note_search(permit, hits.len());
        Ok(hits)
    }

    /// Puts on record that patients were looked for, and how many were found.
    pub(super) fn note_search(&mut self, permit: &Permit, count: usize) {
        let mut event = self.event_of(permit, "search");
        event.subject = Some("Patient".into());
        event.count = count as u64;
        self.note_event(event);
    }
}

/// A patient as lists show one.
pub(super) fn patient_hit(row: &ResourceRow, body: &Value, site: String, score: u32) -> PatientHit {
    let numbers = items(&body["identifier"]).filter_map(|identifier| text(&identifier["value"]));
    PatientHit {
        id: row.id.clone(),
        name: display_name(body),
        birth_date: text(&body["birthDate"]),
        gender: text(&body["gender"]),
        identifiers: numbers.collect(),
        site,
        conflicted: row.conflicted,
        score,
    }
}

/// Keeps the search terms of one resource; none, if it is to be found no more. Of what is new to the
/// index nothing is there to be replaced.
pub(super) fn index_terms(
    index: &mut Index,
    key: &ResourceKey,
    body: Option<&Value>,
    is_new: bool,
) -> Result<(), RecordsError> {
    let identifiers = body.map(identifiers).unwrap_or_default();
    if key.kind != "Patient" {
        if !(is_new && identifiers.is_empty()) {
            index.put_identifiers(&key.kind, &key.id, &identifiers)?;
        }
        return Ok(());
    }
    let Some(body) = body else {
        index.remove_patient(&key.id)?;
        return Ok(());
    };
    let names = items(&body["name"]).flat_map(name_words).collect();
    let phones = items(&body["telecom"])
        .filter(|telecom| telecom["system"] != "email")
        .filter_map(|telecom| text(&telecom["value"]))
        .collect();
    let terms = PatientTerms { names, identifiers, birth_date: text(&body["birthDate"]), phones };
    Ok(index.put_patient(&key.id, &terms)?)
}

/// The identifiers of any resource: system (empty if none) and value.
pub(super) fn identifiers(body: &Value) -> Vec<(String, String)> {
    // `identifier` is a list in most types and a single element in some (Composition, Bundle).
    let single = body["identifier"].is_object().then_some(&body["identifier"]);
    items(&body["identifier"])
        .chain(single)
        .filter_map(|identifier| {
            let value = text(&identifier["value"])?;
            Some((text(&identifier["system"]).unwrap_or_default(), value))
        })
        .collect()
}

fn name_words(name: &Value) -> Vec<String> {
    let mut words: Vec<String> =
        ["text", "family"].iter().filter_map(|part| text(&name[*part])).collect();
    words.extend(items(&name["given"]).filter_map(text));
    words
}

pub(super) fn display_name(body: &Value) -> String {
    let names: Vec<&Value> = items(&body["name"]).collect();
    let Some(name) = names.iter().find(|name| name["use"] == "official").or_else(|| names.first())
    else {
        return String::new();
    };
    if let Some(whole) = text(&name["text"]) {
        return whole;
    }
    let mut parts: Vec<String> = items(&name["given"]).filter_map(text).collect();
    parts.extend(text(&name["family"]));
    parts.join(" ")
}

pub(super) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(super) fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
