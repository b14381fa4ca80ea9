//! Patients and single resources: shown, changed, decided upon.

use super::answer;
use crate::access::Action;
use crate::chart::{Choice, Resource, ResourceKey};
use crate::records::linked::PersonChart;
use crate::records::read::{HistoryEntry, OpenConflict, Shown};
use crate::records::write::Saved;
use crate::service::caller::Who;
use crate::service::error::{CommandError, ErrorKind};
use crate::service::node::Node;
use crate::service::reply::{Conflict, Edited, LikelySame};
use crate::service::request::Choose;
use crate::store::index::Listing;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Resources of one person that are listed at once.
const CHART_PAGE: usize = 500;

/// Patients by name, identifier, birth date or phone; the best first.
pub async fn search(
    node: &Node,
    who: Who,
    query: String,
    limit: u32,
) -> Result<Value, CommandError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let hits = node
        .act(&who, Action::Search, move |records, permit| {
            records.search_patients(permit, &query, limit)
        })
        .await?;
    let line = |hit: crate::records::search::PatientHit| {
        json!({
            "id": hit.id, "name": hit.name, "birthDate": hit.birth_date, "gender": hit.gender,
            "identifiers": hit.identifiers, "site": hit.site, "conflicted": hit.conflicted,
            "score": hit.score,
        })
    };
    Ok(Value::Array(hits.into_iter().map(line).collect()))
}

/// A patient, the charts of the person, and a line for each resource in any of them.
pub async fn patient(node: &Node, who: Who, patient: String) -> Result<Value, CommandError> {
    let key = key(&format!("Patient/{}", patient_id(&patient)))?;
    let id = key.id.clone();
    let (head, person, emergencies) = node
        .act(&who, Action::Read, move |records, permit| {
            let emergencies = records.emergencies_of(permit, &key.id)?;
            Ok((records.read(permit, &key)?, records.person(permit, &key.id)?, emergencies))
        })
        .await?;
    let mut resources = Vec::new();
    let mut withheld = 0;
    let mut names: BTreeMap<String, Value> = BTreeMap::new();
    let mut after = None;
    loop {
        let (patient, after_last) = (Some(id.clone()), after.take());
        let limit = CHART_PAGE;
        let asked =
            Listing { patient, linked: true, after: after_last, limit, ..Listing::default() };
        let page = node
            .act(&who, Action::Read, move |records, permit| records.list(permit, &asked))
            .await?;
        let Some(last) = page.last else { break };
        after = Some(last);
        withheld += page.withheld;
        for row in &page.shown {
            if row.resource["resourceType"] == "Patient" {
                names.insert(text(&row.resource, "id"), patient_line(row));
            }
            resources.push(line(row));
        }
    }
    let site =
        |chart: &Value| person.iter().find(|one| *chart == *one.patient).map(|one| &one.site);
    for line in &mut resources {
        line["site"] = json!(site(&line["chart"]));
    }
    resources.sort_by_key(|line| std::cmp::Reverse(text(line, "date")));
    let charts: Vec<Value> = person.iter().map(|chart| chart_line(chart, &names)).collect();
    Ok(json!({
        "patient": patient_line(&head), "resource": head.resource, "charts": charts,
        "resources": resources, "withheld": withheld, "emergencies": emergencies,
    }))
}

/// One of the charts of a person: whose name it bears, where it was registered, and what links it.
fn chart_line(chart: &PersonChart, names: &BTreeMap<String, Value>) -> Value {
    // A Patient that was deleted, or is still on its way, has a chart all the same.
    let mut line = names.get(&chart.patient).cloned().unwrap_or_else(|| json!({}));
    let links: Vec<Value> = chart
        .links
        .iter()
        .map(|(with, disputed)| json!({ "with": with, "disputed": disputed }))
        .collect();
    line["id"] = json!(chart.patient);
    line["site"] = json!(chart.site);
    line["links"] = links.into();
    line["contradicted"] = json!(chart.contradicted);
    line
}

fn patient_line(shown: &Shown) -> Value {
    let body = &shown.resource;
    let name = &body["name"][0];
    let given = name["given"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let parts: Vec<&str> = given.chain(name["family"].as_str()).collect();
    let written = name["text"].as_str().map_or_else(|| parts.join(" "), str::to_owned);
    json!({
        "id": body["id"], "name": written, "birthDate": body["birthDate"],
        "gender": body["gender"], "conflicted": shown.conflicted,
    })
}

/// What a list shows of a resource: its type, its day, its title.
fn line(shown: &Shown) -> Value {
    let body = &shown.resource;
    let kind = text(body, "resourceType");
    let dates = [
        "effectiveDateTime",
        "occurrenceDateTime",
        "authoredOn",
        "recordedDate",
        "onsetDateTime",
        "performedDateTime",
        "date",
        "issued",
        "created",
    ];
    let day = dates.iter().find_map(|name| body[*name].as_str());
    let day = day.or_else(|| body["period"]["start"].as_str()).unwrap_or_default();
    let titles = ["code", "medicationCodeableConcept", "vaccineCode", "type", "category"];
    let title = titles.iter().find_map(|name| title(&body[*name])).unwrap_or_default();
    json!({
        "resourceType": kind, "reference": format!("{kind}/{}", text(body, "id")),
        "date": day.get(..10).unwrap_or(day), "title": title, "conflicted": shown.conflicted,
        "chart": shown.patient,
    })
}

/// The text of a codeable concept, or of the first of several.
pub(in crate::service) fn title(concept: &Value) -> Option<String> {
    let concept = if concept.is_array() { &concept[0] } else { concept };
    let text = concept["text"].as_str().or_else(|| concept["coding"][0]["display"].as_str());
    text.map(str::to_owned)
}

/// One resource, with its conflicts marked.
pub async fn show(node: &Node, who: Who, resource: String) -> Result<Value, CommandError> {
    let key = key(&resource)?;
    let shown =
        node.act(&who, Action::Read, move |records, permit| records.read(permit, &key)).await?;
    if shown.deleted {
        return Err(CommandError::not_found("it was deleted")
            .at(resource)
            .advise("`carnet chart history` still shows what it said"));
    }
    Ok(shown.resource)
}

/// Every authored version, the newest first.
pub async fn history(node: &Node, who: Who, resource: String) -> Result<Value, CommandError> {
    let key = key(&resource)?;
    let versions =
        node.act(&who, Action::Read, move |records, permit| records.history(permit, &key)).await?;
    let line = |version: HistoryEntry| {
        json!({
            "version": version.version, "author": version.author, "node": version.node,
            "site": version.site, "late": version.late,
            "time": version.time, "deleted": version.deleted, "body": version.resource,
        })
    };
    Ok(Value::Array(versions.into_iter().rev().map(line).collect()))
}

/// Sets elements, or deletes the resource.
pub async fn edit(
    node: &Node,
    who: Who,
    resource: String,
    set: Vec<(String, Value)>,
    delete: bool,
) -> Result<Value, CommandError> {
    let key = key(&resource)?;
    let elements: Vec<(String, Option<Value>)> = set
        .into_iter()
        .map(|(element, value)| (element, (!value.is_null()).then_some(value)))
        .collect();
    let saved = node
        .act(&who, Action::Write, move |records, permit| {
            if delete {
                records.delete(permit, &key)
            } else {
                records.set_element(permit, &key, &elements)
            }
        })
        .await?;
    answer(edited(saved))
}

/// Writes a whole resource.
pub async fn put(node: &Node, who: Who, mut body: Value) -> Result<Value, CommandError> {
    if let Some(map) = body.as_object_mut()
        && !map.contains_key("id")
    {
        map.insert("id".into(), node.environment.uuid().into());
    }
    let resource = Resource::from_value(body).map_err(CommandError::bad_input)?;
    let (saved, likely) = node
        .act(&who, Action::Write, move |records, permit| {
            let saved = records.put(permit, &resource)?;
            let likely = match resource.kind() {
                "Patient" if saved.changed => records.duplicates_of(permit, resource.id())?,
                _ => Vec::new(),
            };
            Ok((saved, likely))
        })
        .await?;
    let patient = saved.resource.rsplit('/').next().unwrap_or_default().to_owned();
    let likely = likely.into_iter().map(|likely| LikelySame {
        patient: patient.clone(),
        same: likely.patient.id,
        score: likely.patient.score,
    });
    answer(Edited { duplicates: likely.collect(), ..edited(saved) })
}

/// The conflicts that await a person.
pub async fn conflicts(
    node: &Node,
    who: Who,
    resource: Option<String>,
) -> Result<Value, CommandError> {
    answer(open_conflicts(node, who, resource).await?)
}

/// The same, typed.
pub async fn open_conflicts(
    node: &Node,
    who: Who,
    resource: Option<String>,
) -> Result<Vec<Conflict>, CommandError> {
    let key = resource.map(|resource| key(&resource)).transpose()?;
    let open = node
        .act(&who, Action::Read, move |records, permit| records.conflicts(permit, key.as_ref()))
        .await?;
    open.into_iter().map(conflict).collect()
}

fn conflict(open: OpenConflict) -> Result<Conflict, CommandError> {
    Ok(Conflict {
        resource: open.resource,
        element: open.element,
        kind: open.kind,
        seen: open.seen,
        values: serde_json::from_value(open.values).map_err(|_| {
            CommandError::new(ErrorKind::Failure, "a conflict in the index cannot be read")
                .advise("Remove index.db; it is made anew at the next unlock")
        })?,
    })
}

/// Decides a conflict.
pub async fn resolve(
    node: &Node,
    who: Who,
    resource: String,
    element: String,
    choose: Choose,
    seen: String,
) -> Result<Value, CommandError> {
    let key = key(&resource)?;
    let chosen = match choose {
        Choose::Value(id) => Choice::Value(id),
        Choose::Both => Choice::Both,
    };
    let saved = node
        .act(&who, Action::Write, move |records, permit| {
            records.resolve(permit, &key, &element, chosen, &seen)
        })
        .await?;
    answer(edited(saved))
}

pub(super) fn edited(saved: Saved) -> Edited {
    let Saved { resource, version, changed } = saved;
    Edited { resource, version, changed, duplicates: Vec::new() }
}

/// A patient's id, named as `ID` or as `Patient/ID`.
pub(super) fn patient_id(named: &str) -> &str {
    named.strip_prefix("Patient/").unwrap_or(named)
}

/// `Type/id` as the user wrote it.
fn key(resource: &str) -> Result<ResourceKey, CommandError> {
    ResourceKey::parse(resource).map_err(|error| {
        CommandError::bad_input(error).at(resource).advise("Name it as TYPE/ID: Patient/p1")
    })
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_day_and_the_title_of_a_resource() {
        let shown = Shown {
            resource: json!({
                "resourceType": "Observation", "id": "o1", "effectiveDateTime": "2026-03-01T10:00:00Z",
                "code": {"coding": [{"display": "Body weight"}]},
            }),
            version: String::new(),
            updated: String::new(),
            deleted: false,
            conflicted: true,
            patient: Some("p1".into()),
        };
        let line = line(&shown);
        assert_eq!(line["date"], "2026-03-01");
        assert_eq!(line["title"], "Body weight");
        assert_eq!(line["reference"], "Observation/o1");
    }

    #[test]
    fn a_name_that_is_no_resource_is_bad_input() {
        assert_eq!(key("Patient").expect_err("refused").kind, ErrorKind::BadInput);
    }
}
