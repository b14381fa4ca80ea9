//! Reading: a resource as it is shown, its history, its open conflicts, lists, export.
//!
//! Whatever leaves here carries its conflicts: a tag, and an extension with every value, so that
//! no value that a merge happened to pick is ever presented alone.

use super::body::body_of;
use super::door::Judge;
use super::project::{Authored, Stamps};
use super::{Records, RecordsError};
use crate::access::{Action, Permit, Purpose};
use crate::audit::AuditEvent;
use crate::chart::{ResourceKey, canonical};
use crate::store::index::{ConflictFilter, ConflictRow, Listing, ResourceRow};
use carnet_sync_protocol::id::{EntryId, NodeId};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The system of the tags that Carnet puts on what it shows.
pub const TAG_SYSTEM: &str = "urn:carnet:tag";

/// The extension that holds every value of a conflict.
pub const CONFLICT_URL: &str = "urn:carnet:conflict";

/// Rows read together while everything is listed.
const PAGE_ROWS: usize = 500;

/// A resource as it is shown.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// The FHIR resource, with `meta.versionId`, `meta.lastUpdated` and its conflicts marked.
    pub resource: Value,
    /// Its version.
    pub version: String,
    /// When it last changed, by its author's clock.
    pub updated: String,
    /// Whether it was deleted; the body is then what it last said.
    pub deleted: bool,
    /// Whether a conflict in it is open.
    pub conflicted: bool,
    /// The patient in whose chart it stands, if in any.
    pub patient: Option<String>,
}

/// A page of resources.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Those that the permit covers.
    pub shown: Vec<Shown>,
    /// How many it does not cover.
    pub withheld: u64,
    /// Type and id of the page's last: the next page begins after it. None at the end.
    pub last: Option<(String, String)>,
}

/// One version in a resource's history.
#[derive(Clone, Debug, Serialize)]
pub struct HistoryEntry {
    /// The version: the id of the entry that made it.
    pub version: String,
    /// Who wrote it: a person or program, or the node where none is named.
    pub author: String,
    /// The node that wrote it.
    pub node: String,
    /// The node's site.
    pub site: String,
    /// Whether its author had been suspended, at a node that did not know it yet.
    pub late: bool,
    /// When, by the author's clock.
    pub time: String,
    /// Whether this version deleted the resource.
    pub deleted: bool,
    /// What the resource said, as its author saw it.
    pub resource: Value,
}

/// A conflict that waits for a person.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenConflict {
    /// `Type/id`.
    pub resource: String,
    /// The element; `_resource` when the whole resource is disputed.
    pub element: String,
    /// `same-element`, `same-resource` or `deleted-and-edited`.
    pub kind: String,
    /// Names the set of values, so that a choice made before one more arrived is refused.
    pub seen: String,
    /// Every value: `id`, `value`, `author`, `site`, `time`.
    pub values: Value,
    /// The patient's id, if the resource belongs to one.
    pub patient: Option<String>,
}

impl Records {
    /// One resource.
    pub fn read(&mut self, permit: &Permit, key: &ResourceKey) -> Result<Shown, RecordsError> {
        self.require(permit, Action::Read)?;
        self.catch_up()?;
        let row = self.row(key)?;
        self.admit(permit, &row, false)?;
        self.note_use(permit, "read", &row)?;
        self.shown(&row)
    }

    /// A page of resources, by type or by patient: those that the permit covers. Of a patient whose
    /// chart is linked with others, those of the one chart alone, unless the listing asks for what
    /// is `linked`.
    pub fn list(&mut self, permit: &Permit, page: &Listing) -> Result<Listed, RecordsError> {
        self.require(permit, Action::Read)?;
        self.catch_up()?;
        let rows = self.charts()?.index.list(page)?;
        let last = rows.last().map(|row| (row.kind.clone(), row.id.clone()));
        let judge = self.judge(permit);
        let (mut shown, mut withheld) = (Vec::new(), 0);
        for row in &rows {
            match self.shown_if(&judge, row)? {
                Some(resource) => shown.push(resource),
                None => withheld += 1,
            }
        }
        let exporting = permit.action() == Action::Export;
        let mut event = self.event_of(permit, if exporting { "export" } else { "list" });
        event.subject.clone_from(&page.kind);
        // Each patient whose chart was seen can be told so; linked charts are of several.
        let mut patients: BTreeMap<Option<String>, u64> = BTreeMap::new();
        if let Some(patient) = &page.patient {
            patients.insert(Some(patient.clone()), 0);
            for resource in &shown {
                *patients.entry(resource.patient.clone()).or_default() += 1;
            }
        } else {
            patients.insert(None, shown.len() as u64);
        }
        let mut events = Vec::new();
        for (patient, count) in patients {
            let consents = judge.consents(patient.as_deref())?;
            events.push(AuditEvent { patient, count, consents, ..event.clone() });
        }
        events.into_iter().for_each(|event| self.note_event(event));
        Ok(Listed { shown, withheld, last })
    }

    fn shown_if(
        &self,
        judge: &Judge<'_>,
        row: &ResourceRow,
    ) -> Result<Option<Shown>, RecordsError> {
        let body = body_of(row)?;
        match judge.decide_row(row, &body, false)? {
            Ok(()) => self.shown(row).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Puts on record that a resource was seen or changed.
    pub(super) fn note_use(
        &mut self,
        permit: &Permit,
        action: &str,
        row: &ResourceRow,
    ) -> Result<(), RecordsError> {
        let mut event = self.event_of(permit, action);
        event.consents = self.judge(permit).consents(row.patient.as_deref())?;
        event.subject = Some(format!("{}/{}", row.kind, row.id));
        event.patient.clone_from(&row.patient);
        if let Some(patient) = &row.patient
            && self.in_emergency(permit.actor(), patient)
        {
            event.purpose = Purpose::Emergency.code().to_owned();
        }
        event.count = 1;
        self.note_event(event);
        Ok(())
    }

    /// Every resource that is not deleted and that the permit covers, by type and id; `take` ends
    /// the export by returning false. On record, and durably so, before the first is handed out.
    /// Of a patient, the one chart, without those that are linked with it.
    pub fn export(
        &mut self,
        permit: &Permit,
        patient: Option<&str>,
        mut take: impl FnMut(Value) -> bool,
    ) -> Result<u64, RecordsError> {
        self.require(permit, Action::Export)?;
        self.catch_up()?;
        let mut event = self.event_of(permit, "export");
        event.patient = patient.map(str::to_owned);
        self.note_event(event);
        self.commit_early()?;
        let judge = self.judge(permit);
        let mut count = 0;
        let mut page =
            Listing { patient: patient.map(str::to_owned), limit: PAGE_ROWS, ..Listing::default() };
        loop {
            let rows = self.charts()?.index.list(&page)?;
            let Some(last) = rows.last() else { return Ok(count) };
            page.after = Some((last.kind.clone(), last.id.clone()));
            for row in &rows {
                let Some(shown) = self.shown_if(&judge, row)? else { continue };
                count += 1;
                if !take(shown.resource) {
                    return Ok(count);
                }
            }
        }
    }

    /// Every authored version of a resource, oldest first.
    pub fn history(
        &mut self,
        permit: &Permit,
        key: &ResourceKey,
    ) -> Result<Vec<HistoryEntry>, RecordsError> {
        self.require(permit, Action::Read)?;
        self.catch_up()?;
        let row = self.row(key)?;
        self.admit(permit, &row, false)?;
        self.note_use(permit, "history", &row)?;
        let mut stamps = Stamps::default();
        let mut entries = Vec::new();
        for home in self.charts()?.index.homes(&key.kind, &key.id)? {
            let versions = self.with_document(&home, |_, r| Ok(r.document.history(key)))?;
            for version in versions {
                let authored = self.stamp_of(&version.change.0, &mut stamps)?;
                let stamp = authored.stamp;
                let node = stamp.log.author.node;
                entries.push((
                    stamp.time,
                    HistoryEntry {
                        version: stamp.id.to_string(),
                        author: authored.author(),
                        node: node.to_string(),
                        site: self.site_of(&node),
                        late: self.is_late(&authored),
                        time: instant(stamp.time.unix_ms()),
                        deleted: version.deleted,
                        resource: version.body,
                    },
                ));
            }
        }
        // Within a document the order is causal; a stable sort keeps it where times agree with it,
        // and only one home means that it is kept as it is.
        if self.charts()?.index.homes(&key.kind, &key.id)?.len() > 1 {
            entries.sort_by_key(|(time, _)| *time);
        }
        Ok(entries.into_iter().map(|(_, entry)| entry).collect())
    }

    /// The conflicts that wait for a person; of one resource, or all.
    pub fn conflicts(
        &mut self,
        permit: &Permit,
        resource: Option<&ResourceKey>,
    ) -> Result<Vec<OpenConflict>, RecordsError> {
        self.require(permit, Action::Read)?;
        self.catch_up()?;
        let mut open = Vec::new();
        self.each_conflict(resource, &self.judge(permit), |conflict| {
            open.push(conflict);
            Ok(true)
        })?;
        let mut event = self.event_of(permit, "conflicts");
        event.subject = resource.map(ToString::to_string);
        event.count = open.len() as u64;
        self.note_event(event);
        Ok(open)
    }

    /// The conflicts that a judge lets be seen; `take` ends the list by returning false.
    pub(super) fn each_conflict(
        &self,
        resource: Option<&ResourceKey>,
        judge: &Judge<'_>,
        mut take: impl FnMut(OpenConflict) -> Result<bool, RecordsError>,
    ) -> Result<(), RecordsError> {
        let index = &self.charts()?.index;
        let mut filter = ConflictFilter {
            resource: resource.map(|key| (key.kind.clone(), key.id.clone())),
            patient: None,
            after: None,
            limit: PAGE_ROWS,
        };
        loop {
            let rows = index.conflicts(&filter)?;
            let Some(last) = rows.last() else { return Ok(()) };
            filter.after = Some(last.row);
            for row in rows {
                let Some(of) = index.resource(&row.resource_kind, &row.id)? else { continue };
                let seen = judge.decide_row(&of, &body_of(&of)?, false)?.is_ok();
                if seen && !take(open_conflict(&row)?)? {
                    return Ok(());
                }
            }
        }
    }

    pub(super) fn row(&self, key: &ResourceKey) -> Result<ResourceRow, RecordsError> {
        self.charts()?.index.resource(&key.kind, &key.id)?.ok_or_else(|| {
            RecordsError::NoSuchResource { kind: key.kind.clone(), id: key.id.clone() }
        })
    }

    pub(super) fn shown(&self, row: &ResourceRow) -> Result<Shown, RecordsError> {
        let mut body = body_of(row)?;
        let updated = instant(row.version.updated_ms);
        let version = EntryId(row.version.id).to_string();
        let meta = object_at(&mut body, "meta");
        meta.insert("versionId".into(), version.clone().into());
        meta.insert("lastUpdated".into(), updated.clone().into());
        if row.conflicted {
            let rows = self.charts()?.index.conflicts(&ConflictFilter {
                resource: Some((row.kind.clone(), row.id.clone())),
                patient: None,
                after: None,
                limit: PAGE_ROWS,
            })?;
            mark_conflicts(&row.kind, &mut body, &rows)?;
        }
        let late = self.is_written_late(row)?;
        if late {
            let tag = json!({
                "system": TAG_SYSTEM, "code": "author-suspended",
                "display": "Written by somebody who had been suspended; see the review list"
            });
            append(object_at(&mut body, "meta"), "tag", tag);
        }
        Ok(Shown {
            resource: body,
            version,
            updated,
            deleted: row.deleted,
            conflicted: row.conflicted,
            patient: row.patient.clone(),
        })
    }

    /// Whether any of the changes that made this version was written by somebody suspended.
    fn is_written_late(&self, row: &ResourceRow) -> Result<bool, RecordsError> {
        for arrival in &row.version.arrivals {
            let Some(by) = self.charts()?.index.changed_by(*arrival)? else { continue };
            let stamp = self.ledger.stamp_at(*arrival)?;
            if stamp.is_some_and(|stamp| self.is_late(&Authored { stamp, by: Some(by) })) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn is_late(&self, authored: &Authored) -> bool {
        let Some(by) = &authored.by else { return false };
        let stamp = &authored.stamp;
        self.charts
            .as_ref()
            .is_some_and(|charts| charts.staff.wrote_late(by, &stamp.log, stamp.sequence))
    }

    /// The name of a node's site, as its certificate says.
    pub(super) fn site_of(&self, node: &NodeId) -> String {
        self.roster
            .shown_certificate(node)
            .map_or_else(|| node.to_string(), |certificate| certificate.body.site.clone())
    }
}

/// The FHIR instant of a time, in UTC.
pub fn instant(unix_ms: u64) -> String {
    i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| "9999-12-31T23:59:59.999Z".to_owned(), |time| format!("{time:.3}"))
}

fn open_conflict(row: &ConflictRow) -> Result<OpenConflict, RecordsError> {
    Ok(OpenConflict {
        resource: format!("{}/{}", row.resource_kind, row.id),
        element: row.element.clone(),
        kind: row.kind.clone(),
        seen: row.seen.clone(),
        values: serde_json::from_slice(&row.json)
            .map_err(|error| RecordsError::Bug(format!("a conflict is not JSON: {error}")))?,
        patient: row.patient.clone(),
    })
}

fn object_at<'a>(body: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    let place = &mut body[name];
    if !place.is_object() {
        *place = json!({});
    }
    place.as_object_mut().expect("it was just made an object")
}

fn append(map: &mut Map<String, Value>, name: &str, item: Value) {
    match map.entry(name).or_insert_with(|| json!([])) {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}

/// Puts the tag and the extension of every open conflict on a resource.
fn mark_conflicts(kind: &str, body: &mut Value, rows: &[ConflictRow]) -> Result<(), RecordsError> {
    let tag = json!({
        "system": TAG_SYSTEM, "code": "conflict",
        "display": "Nodes disagree; every value is in the conflict extension"
    });
    append(object_at(body, "meta"), "tag", tag);
    // These three have no extensions of their own (FHIR R4, 2.3 Resource and 2.4 DomainResource).
    let holder = match kind {
        "Bundle" | "Binary" | "Parameters" => object_at(body, "meta"),
        _ => body.as_object_mut().expect("a resource is an object"),
    };
    for row in rows {
        let conflict = open_conflict(row)?;
        let mut parts = vec![
            json!({"url": "element", "valueString": conflict.element}),
            json!({"url": "kind", "valueCode": conflict.kind}),
            json!({"url": "seen", "valueString": conflict.seen}),
        ];
        for value in conflict.values.as_array().into_iter().flatten() {
            parts.push(json!({"url": "value", "extension": [
                {"url": "id", "valueString": value["id"]},
                {"url": "site", "valueString": value["site"]},
                {"url": "author", "valueString": value["author"]},
                {"url": "time", "valueInstant": value["time"]},
                {"url": "json", "valueString": canonical(&value["value"])},
            ]}));
        }
        append(holder, "extension", json!({"url": CONFLICT_URL, "extension": parts}));
    }
    Ok(())
}

/// Takes off what [`mark_conflicts`] put on: a copy that somebody exported and sends back must not
/// carry our marks into the chart.
pub(super) fn strip_marks(body: &mut Value) {
    let ours = |item: &Value| item["url"] == CONFLICT_URL || item["system"] == TAG_SYSTEM;
    let clean = |map: &mut Map<String, Value>, name: &str| {
        if let Some(Value::Array(items)) = map.get_mut(name) {
            let before = items.len();
            items.retain(|item| !ours(item));
            if items.is_empty() && before > 0 {
                map.remove(name);
            }
        }
    };
    let Some(map) = body.as_object_mut() else { return };
    clean(map, "extension");
    if let Some(Value::Object(meta)) = map.get_mut("meta") {
        clean(meta, "tag");
        clean(meta, "extension");
        if meta.is_empty() {
            map.remove("meta");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_off_as_they_went_on() {
        let row = ConflictRow {
            row: 1,
            document: carnet_sync_protocol::id::DocumentId::ZERO,
            resource_kind: "Patient".into(),
            id: "a".into(),
            patient: None,
            element: "birthDate".into(),
            kind: "same-element".into(),
            seen: "00".into(),
            json: br#"[{"id":"1","value":"1990-01-01","site":"A"},{"id":"2","value":null}]"#
                .to_vec(),
        };
        let plain = json!({"resourceType": "Patient", "id": "a", "meta": {"tag": [{"code": "x"}]}});
        let mut body = plain.clone();
        mark_conflicts("Patient", &mut body, &[row]).unwrap();
        assert_eq!(body["meta"]["tag"][1]["code"], "conflict");
        assert_eq!(
            body["extension"][0]["extension"][3]["extension"][4]["valueString"],
            "\"1990-01-01\""
        );
        strip_marks(&mut body);
        assert_eq!(body, plain);
    }

    #[test]
    fn an_instant_is_in_utc_with_milliseconds() {
        assert_eq!(instant(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert!(instant(u64::MAX).starts_with("9999"));
    }
}
