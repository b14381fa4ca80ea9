//! What people say of two charts: that they are of one person, or that they are not.
//!
//! It is said by a FHIR Linkage of the two Patients, in the chart of the one with the lesser id, so
//! that it is signed, replicated, disputed and decided upon like anything else. Its id follows from
//! the two, so that nodes which say something of them apart say it in one place. `active` says that
//! they are linked; an inactive one with the extension [`DISTINCT_URL`] says that they are not the
//! same; an inactive one without it says nothing any more.
//!
//! Nothing is ever copied between the charts: linked charts are *read* together, and what was said
//! can be taken back.

use super::body::body_of;
use super::homes::Homes;
use super::search::items;
use super::write::Saved;
use super::{Records, RecordsError};
use crate::access::{Action, Permit};
use crate::chart::{CONFIDENTIALITY, Conflict, Resource, ResourceKey, Section, home, patient_id};
use crate::store::index::{Index, LinkageRow, Said};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The extension of an inactive Linkage by which somebody says: not the same person.
pub const DISTINCT_URL: &str = "urn:carnet:distinct";

/// One of the charts of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PersonChart {
    /// The Patient's id.
    pub patient: String,
    /// The site that registered it; empty while the Patient is still on its way.
    pub site: String,
    /// The links with other charts of the person, by the other's id; true for those in conflict:
    /// somebody has said otherwise without knowing of it.
    pub links: BTreeMap<String, bool>,
    /// Charts of the same person of which somebody has said that they are not: the links that
    /// lead there and this contradict each other.
    pub contradicted: BTreeSet<String>,
}

impl Records {
    /// The charts of the person to whom a patient's chart belongs: its own, and all that are linked
    /// with it, also over others, as far as the permit covers them. Ordered by id.
    pub fn person(
        &mut self,
        permit: &Permit,
        patient: &str,
    ) -> Result<Vec<PersonChart>, RecordsError> {
        self.require(permit, Action::Read)?;
        self.catch_up()?;
        let row = self.row(&patient_key(patient)?)?;
        self.admit(permit, &row, false)?;
        let mut charts = Vec::new();
        for id in self.charts()?.index.person(patient)? {
            // Of a chart that the permit does not cover it says nothing either.
            let arrived = self.charts()?.index.resource("Patient", &id)?.is_some();
            if arrived && !self.judge(permit).admits_patient(&id)? {
                continue;
            }
            let mut chart = PersonChart {
                site: self.registered_at(&id)?,
                patient: id,
                links: BTreeMap::new(),
                contradicted: BTreeSet::new(),
            };
            for row in self.charts()?.index.linkages(Some(&chart.patient))? {
                let other = if row.a == chart.patient { row.b } else { row.a };
                match row.said {
                    Said::Linked => *chart.links.entry(other).or_default() |= row.disputed,
                    Said::Distinct => {
                        chart.contradicted.insert(other);
                    }
                    Said::Nothing => {}
                }
            }
            charts.push(chart);
        }
        let ids: BTreeSet<String> = charts.iter().map(|chart| chart.patient.clone()).collect();
        for chart in &mut charts {
            chart.contradicted.retain(|other| ids.contains(other));
            chart.links.retain(|other, _| ids.contains(other));
        }
        Ok(charts)
    }

    /// Says that two charts are of one person: from here on they are read together.
    pub fn link(&mut self, permit: &Permit, a: &str, b: &str) -> Result<Saved, RecordsError> {
        self.say(permit, a, b, Said::Linked)
    }

    /// Says that two charts are not of one person: they are not proposed again.
    pub fn distinct(&mut self, permit: &Permit, a: &str, b: &str) -> Result<Saved, RecordsError> {
        self.say(permit, a, b, Said::Distinct)
    }

    /// Takes back what was said of two charts, be it that they are of one person or not.
    pub fn unlink(&mut self, permit: &Permit, a: &str, b: &str) -> Result<Saved, RecordsError> {
        self.say(permit, a, b, Said::Nothing)
    }

    fn say(
        &mut self,
        permit: &Permit,
        a: &str,
        b: &str,
        said: Said,
    ) -> Result<Saved, RecordsError> {
        self.require(permit, Action::Write)?;
        self.catch_up()?;
        let (a, b) = (a.min(b), a.max(b));
        for id in [a, b] {
            let row = self.charts()?.index.resource("Patient", id)?;
            if let Some(row) = row {
                self.admit(permit, &row, true)?;
            }
        }
        let mut rows = self.charts()?.index.linkages(Some(a))?;
        rows.retain(|row| row.a == a && row.b == b);
        self.refuse_senseless(a, b, said, &rows)?;
        let own = linkage_key(&self.pair_id(a, b)?)?;
        let is_own = |row: &LinkageRow| row.id == own.id;
        let taken_back = match rows.first() {
            Some(row) if said == Said::Nothing && !rows.iter().any(is_own) => Some(&row.id),
            _ => None,
        };
        let key = taken_back.map_or_else(|| Ok(own.clone()), |id| linkage_key(id))?;
        self.write_planned(permit, "write", &key, |records, plan| {
            for row in rows.iter().filter(|row| !is_own(row) && row.said != said) {
                // What another system has said is taken back in its own words.
                let body = body_of(&records.row(&linkage_key(&row.id)?)?)?;
                records.plan_put(resource(statement(body, Said::Nothing), &row.id)?, plan)?;
            }
            if taken_back.is_some() {
                return Ok(());
            }
            let pair = pair(a, b, records.is_restricted(a)? || records.is_restricted(b)?);
            records.plan_put(resource(statement(pair, said), &own.id)?, plan)
        })
    }

    /// Whether a Patient is labelled so that not everybody may know of it.
    fn is_restricted(&self, id: &str) -> Result<bool, RecordsError> {
        let row = self.charts()?.index.resource("Patient", id)?;
        let Some(row) = row else { return Ok(false) };
        Ok(home(&resource(body_of(&row)?, id)?).section == Section::Restricted)
    }

    fn refuse_senseless(
        &self,
        a: &str,
        b: &str,
        said: Said,
        rows: &[LinkageRow],
    ) -> Result<(), RecordsError> {
        if a == b {
            return Err(RecordsError::BadRequest(format!("{a} is one chart; name two")));
        }
        if let Some(row) = rows.iter().find(|row| row.disputed) {
            return Err(RecordsError::BadRequest(format!(
                "what is said of {a} and {b} is in conflict; decide about Linkage/{} with `carnet review`",
                row.id
            )));
        }
        if said == Said::Nothing && rows.is_empty() {
            let what = format!("nothing is said of {a} and {b} that could be taken back");
            return Err(RecordsError::BadRequest(what));
        }
        for id in [a, b] {
            let key = patient_key(id)?;
            if said != Said::Nothing && self.row(&key)?.deleted {
                return Err(RecordsError::Deleted { kind: key.kind, id: key.id });
            }
        }
        self.refuse_contradiction(a, b, said)
    }

    /// Refuses what contradicts what was said of other charts of the two persons.
    fn refuse_contradiction(&self, a: &str, b: &str, said: Said) -> Result<(), RecordsError> {
        let rows = self.charts()?.index.linkages(None)?;
        let others = rows.into_iter().filter(|row| (row.a.as_str(), row.b.as_str()) != (a, b));
        let people = People::of(&others.collect::<Vec<_>>());
        match said {
            Said::Linked => match people.distinct(a, b) {
                Some((one, other)) => Err(RecordsError::BadRequest(format!(
                    "somebody has said that {one} and {other} are not the same person, and this link would make them one; take one of the two back with `carnet patient unlink`"
                ))),
                None => Ok(()),
            },
            Said::Distinct if people.are_one(a, b) => Err(RecordsError::BadRequest(format!(
                "{a} and {b} are linked over other charts; take those links back first: `carnet patient show {a}` lists them"
            ))),
            Said::Distinct | Said::Nothing => Ok(()),
        }
    }

    /// Names a pair of charts, in either order: the id of the Linkage that speaks of them.
    pub(super) fn pair_id(&self, a: &str, b: &str) -> Result<String, RecordsError> {
        let pseudonym = self.charts()?.keys.pseudonym().ok_or(RecordsError::NoEpochKey)?;
        Ok(pseudonym.resource_id(&["pair", a.min(b), a.max(b)]))
    }
}

/// Who is one person, and who is not, by all that was said.
#[derive(Debug, Default)]
pub(super) struct People {
    /// From each linked chart to the least id among those of its person.
    person: BTreeMap<String, String>,
    distinct: Vec<(String, String)>,
}

impl People {
    pub(super) fn of(rows: &[LinkageRow]) -> Self {
        let mut linked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.said == Said::Linked) {
            linked.entry(&row.a).or_default().push(&row.b);
            linked.entry(&row.b).or_default().push(&row.a);
        }
        let mut person: BTreeMap<String, String> = BTreeMap::new();
        for least in linked.keys() {
            let mut next = vec![*least];
            while let Some(one) = next.pop() {
                if person.contains_key(one) {
                    continue;
                }
                person.insert(one.to_owned(), (*least).to_owned());
                next.extend(&linked[one]);
            }
        }
        let distinct = rows.iter().filter(|row| row.said == Said::Distinct);
        let distinct = distinct.map(|row| (row.a.clone(), row.b.clone())).collect();
        Self { person, distinct }
    }

    /// Charts that are linked, if only over others, and of which somebody has said that they are
    /// not of one person.
    pub(super) fn contradictions(&self) -> impl Iterator<Item = (&str, &str)> {
        let distinct = self.distinct.iter().map(|(a, b)| (a.as_str(), b.as_str()));
        distinct.filter(|(a, b)| self.are_one(a, b))
    }

    fn person<'a>(&'a self, chart: &'a str) -> &'a str {
        self.person.get(chart).map_or(chart, String::as_str)
    }

    pub(super) fn are_one(&self, a: &str, b: &str) -> bool {
        self.person(a) == self.person(b)
    }

    /// Two charts, one of each person, of which somebody has said that they are not the same.
    pub(super) fn distinct(&self, a: &str, b: &str) -> Option<(&str, &str)> {
        let two = [self.person(a), self.person(b)];
        let apart = self.distinct.iter().find(|(one, other)| {
            let people = [self.person(one), self.person(other)];
            people == two || people == [two[1], two[0]]
        });
        apart.map(|(one, other)| (one.as_str(), other.as_str()))
    }

    /// Whether it is said of two charts that they are the same, or not.
    pub(super) fn are_judged(&self, a: &str, b: &str) -> bool {
        self.are_one(a, b) || self.distinct(a, b).is_some()
    }
}

/// Keeps what a Linkage says; while it is disputed, each of the values says something.
pub(super) fn index_linkage<'a>(
    index: &mut Index,
    key: &ResourceKey,
    homes: &Homes,
    disputes: impl Iterator<Item = &'a Conflict>,
) -> Result<(), RecordsError> {
    let mut said: BTreeMap<(String, String), Said> = BTreeMap::new();
    let mut hear = |body: &Value| {
        if let Some((pair, what)) = heard(body) {
            let known = said.entry(pair).or_insert(what);
            *known = what.max(*known);
        }
    };
    for (_, view) in homes.speaking.iter().filter(|(_, view)| !view.deleted) {
        hear(&view.body);
    }
    let values: Vec<_> = disputes.flat_map(|conflict| &conflict.values).collect();
    for value in values.iter().filter(|value| !value.deleted) {
        value.value.iter().for_each(&mut hear);
    }
    let disputed = !values.is_empty() || homes.rivalry().is_some();
    let rows: Vec<LinkageRow> = said
        .into_iter()
        .map(|((a, b), said)| LinkageRow { id: key.id.clone(), a, b, said, disputed })
        .collect();
    Ok(index.put_linkage(&key.id, &rows)?)
}

/// Of which two patients a Linkage speaks, and what it says of them. One that other systems made
/// counts too; one with a modifier says we don't know what.
fn heard(body: &Value) -> Option<((String, String), Said)> {
    if body.get("modifierExtension").is_some() {
        return None;
    }
    let ids: Option<Vec<String>> = items(&body["item"])
        .map(|item| patient_id(item["resource"]["reference"].as_str().unwrap_or_default()))
        .collect();
    let [a, b] = ids?.try_into().ok()?;
    if a == b {
        return None;
    }
    let is_distinct =
        |extension: &Value| extension["url"] == DISTINCT_URL && extension["valueBoolean"] == true;
    let said = match body["active"].as_bool() {
        Some(true) | None => Said::Linked,
        Some(false) if items(&body["extension"]).any(is_distinct) => Said::Distinct,
        Some(false) => Said::Nothing,
    };
    Some((if a < b { (a, b) } else { (b, a) }, said))
}

/// A Linkage of two patients, neither of which is the better record.
fn pair(a: &str, b: &str, restricted: bool) -> Value {
    let item =
        |id: &str| json!({"type": "alternate", "resource": {"reference": format!("Patient/{id}")}});
    let mut linkage = json!({"resourceType": "Linkage", "item": [item(a), item(b)]});
    if restricted {
        linkage["meta"] = json!({"security": [{"system": CONFIDENTIALITY, "code": "R"}]});
    }
    linkage
}

/// A Linkage that says this, and is otherwise as it was.
fn statement(mut linkage: Value, said: Said) -> Value {
    linkage["active"] = (said == Said::Linked).into();
    if let Some(map) = linkage.as_object_mut() {
        let kept: Vec<Value> = items(map.get("extension").unwrap_or(&Value::Null))
            .filter(|extension| extension["url"] != DISTINCT_URL)
            .cloned()
            .chain(
                (said == Said::Distinct)
                    .then(|| json!({"url": DISTINCT_URL, "valueBoolean": true})),
            )
            .collect();
        if kept.is_empty() {
            map.remove("extension");
        } else {
            map.insert("extension".into(), kept.into());
        }
    }
    linkage
}

fn resource(body: Value, id: &str) -> Result<Resource, RecordsError> {
    Resource::with_id(body, id).map_err(|error| RecordsError::Bug(error.to_string()))
}

fn linkage_key(id: &str) -> Result<ResourceKey, RecordsError> {
    ResourceKey::new("Linkage", id).map_err(|error| RecordsError::Bug(error.to_string()))
}

fn patient_key(id: &str) -> Result<ResourceKey, RecordsError> {
    ResourceKey::new("Patient", id).map_err(|error| RecordsError::BadRequest(error.to_string()))
}
