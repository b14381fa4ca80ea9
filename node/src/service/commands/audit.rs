//! The audit trail: listed, exported, checked.

use super::answer;
use crate::access::Action;
use crate::audit::export::{COLUMNS, Recorded, cells, csv_line, fhir};
use crate::records::trail::TrailEvent;
use crate::service::caller::Who;
use crate::service::error::CommandError;
use crate::service::node::Node;
use crate::service::report::Reporter;
use crate::service::request::{AuditFilter, AuditRequest};
use crate::store::index::TrailFilter;
use serde_json::{Value, json};

/// Events read together.
const PAGE: usize = 1_000;

/// Does what is asked about the trail.
pub async fn execute(
    node: &Node,
    who: Who,
    request: AuditRequest,
    reporter: &Reporter,
) -> Result<Value, CommandError> {
    match request {
        AuditRequest::List(filter) => list(node, who, filter, reporter).await,
        AuditRequest::Seen { patient } => seen(node, who, patient, reporter).await,
        AuditRequest::Verify => {
            let report = node
                .act(&who, Action::Operate, |records, permit| records.verify_trail(permit))
                .await?;
            answer(report)
        }
    }
}

async fn list(
    node: &Node,
    who: Who,
    asked: AuditFilter,
    reporter: &Reporter,
) -> Result<Value, CommandError> {
    let form = match asked.form.as_str() {
        "json" => json_of,
        "fhir" => fhir_of,
        "csv" => csv_of,
        _ => {
            return Err(CommandError::bad_input("expected json, fhir or csv").at(asked.form));
        }
    };
    let mut filter = TrailFilter {
        patient: asked.patient.map(|id| id.strip_prefix("Patient/").unwrap_or(&id).to_owned()),
        actor: asked.staff,
        action: asked.action,
        since_ms: asked.since.map(|text| time(&text)).transpose()?,
        until_ms: asked.until.map(|text| time(&text)).transpose()?,
        after: None,
        limit: PAGE,
    };
    if asked.form == "csv" {
        let header: Vec<String> = COLUMNS.iter().map(ToString::to_string).collect();
        reporter.item(csv_line(&header).into()).await?;
    }
    let mut count = 0;
    loop {
        let page = filter.clone();
        let events = node
            .act(&who, Action::Audit, move |records, permit| records.trail(permit, &page))
            .await?;
        let Some(last) = events.last() else { return Ok(json!({ "events": count })) };
        filter.after = Some(last.place);
        count += events.len();
        for event in &events {
            reporter.item(form(event)).await?;
        }
    }
}

async fn seen(
    node: &Node,
    who: Who,
    patient: String,
    reporter: &Reporter,
) -> Result<Value, CommandError> {
    let patient = patient.strip_prefix("Patient/").unwrap_or(&patient).to_owned();
    let action = match &who.actor {
        crate::access::Actor::Patient(_) => Action::Read,
        _ => Action::Audit,
    };
    let (events, names) = node
        .act(&who, action, move |records, permit| {
            let events = records.disclosures(permit, &patient)?;
            let staff = records.staff()?;
            let name = |event: &TrailEvent| {
                staff.member(&event.event.actor).map(|member| member.person.name.clone())
            };
            let names: Vec<Option<String>> = events.iter().map(name).collect();
            Ok((events, names))
        })
        .await?;
    for (event, name) in events.iter().zip(names) {
        let mut line = json_of(event);
        line["name"] = name.into();
        reporter.item(line).await?;
    }
    Ok(json!({ "events": events.len() }))
}

fn recorded(event: &TrailEvent) -> Recorded<'_> {
    Recorded {
        event: &event.event,
        id: &event.id,
        node: &event.node,
        site: &event.site,
        time: &event.time,
    }
}

fn json_of(event: &TrailEvent) -> Value {
    // It is made of texts and numbers only.
    serde_json::to_value(event).unwrap_or_default()
}

fn fhir_of(event: &TrailEvent) -> Value {
    fhir(&recorded(event))
}

fn csv_of(event: &TrailEvent) -> Value {
    csv_line(&cells(&recorded(event))).into()
}

/// A day or an instant, in milliseconds since 1970.
fn time(text: &str) -> Result<u64, CommandError> {
    let instant = text.parse::<jiff::Timestamp>().or_else(|_| {
        text.parse::<jiff::civil::Date>()
            .and_then(|date| date.to_zoned(jiff::tz::TimeZone::system()))
            .map(|zoned| zoned.timestamp())
    });
    let instant = instant.map_err(|_| {
        CommandError::bad_input("neither a day nor an instant")
            .at(text)
            .advise("Write 2026-11-25 or 2026-11-25T08:00:00Z")
    })?;
    Ok(u64::try_from(instant.as_millisecond()).unwrap_or(0))
}
