//! Taking one bundle: ids, references, and what is there already.

use super::super::search::identifiers;
use super::super::write::Plan;
use super::super::{Records, RecordsError};
use super::reference::{Criterion, conditional, criteria, rewrite};
use super::source::{EntryIn, Interaction, Parcel};
use crate::access::Permit;
use crate::chart::{Edit, Resource, ResourceKey, canonical, is_resource_id};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How the id of another edition begins: a resource whose source id was taken by other content.
const VARIANT: &str = "variant-";

/// Why a bundle was not taken.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct BundleError {
    /// The entry at fault, from 1.
    pub entry: Option<usize>,
    /// What is wrong.
    pub reason: String,
    /// Whether another bundle may yet bring what is missing.
    pub waits: bool,
}

/// What became of a bundle's entries.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub resources: u64,
    pub existing: u64,
    pub skipped: u64,
}

/// A bundle that was taken.
pub(super) struct Taken {
    pub counts: Counts,
    /// `fullUrl` to `Type/id`.
    pub placed: BTreeMap<String, String>,
    /// The patients that were not there before.
    pub patients: Vec<String>,
}

/// Where an entry goes.
enum Target {
    /// There is one already; nothing is written.
    Existing,
    /// Written under this key.
    Write(ResourceKey),
    Delete(ResourceKey),
    Skip,
}

impl Records {
    pub(super) fn take_bundle(
        &mut self,
        permit: &Permit,
        parcel: Parcel,
        placed_before: &BTreeMap<String, String>,
    ) -> Result<Taken, RecordsError> {
        let mut taking = Taking::default();
        for (at, entry) in parcel.entries.iter().enumerate() {
            let target = self.aim(entry, &mut taking).map_err(|error| error.at(at))?;
            taking.targets.push(target);
        }
        let conditionals = self.resolve_conditionals(&parcel, &taking)?;
        let links = |name: &str| -> Option<&String> {
            let here = taking.placed.get(name).or_else(|| conditionals.get(name));
            here.or_else(|| placed_before.get(name))
        };
        let mut counts = Counts::default();
        let mut patients = Vec::new();
        let mut plan = Plan::new();
        for (at, (entry, target)) in parcel.entries.into_iter().zip(&taking.targets).enumerate() {
            let fault = |error: RecordsError| -> RecordsError { Fault::from(error).at(at) };
            match target {
                Target::Skip => counts.skipped += 1,
                Target::Existing => counts.existing += 1,
                Target::Delete(key) => {
                    let row = self.charts()?.index.resource(&key.kind, &key.id)?;
                    if let Some(row) = row {
                        self.admit(permit, &row, true)?;
                    }
                    if self.plan_delete(key, &mut plan)? {
                        counts.resources += 1;
                    } else {
                        counts.existing += 1;
                    }
                }
                Target::Write(key) => {
                    let resource = resource_for(entry, key, &links).map_err(|f| f.at(at))?;
                    if self.said_before(&resource)? {
                        counts.existing += 1;
                    } else {
                        self.admit_new(permit, &resource)?;
                        if key.kind == "Patient" && !self.is_known(key)? {
                            patients.push(key.id.clone());
                        }
                        self.plan_put(resource, &mut plan).map_err(fault)?;
                        counts.resources += 1;
                    }
                }
            }
        }
        refuse_doubles(&plan)?;
        self.write_plan(plan, permit.actor())?;
        Ok(Taken { counts, placed: taking.placed, patients })
    }

    fn is_known(&self, key: &ResourceKey) -> Result<bool, RecordsError> {
        Ok(self.charts()?.index.resource(&key.kind, &key.id)?.is_some())
    }

    /// Decides where an entry goes, and remembers it for references.
    fn aim(&mut self, entry: &EntryIn, taking: &mut Taking) -> Result<Target, Fault> {
        let kind = match &entry.resource {
            Some(resource) => resource["resourceType"]
                .as_str()
                .ok_or_else(|| Fault::from("the resource has no resourceType"))?
                .to_owned(),
            None => String::new(),
        };
        let target = match &entry.interaction {
            Interaction::Skip => Target::Skip,
            Interaction::Unsupported { reason } => return Err(Fault::from(reason.as_str())),
            Interaction::Delete { kind, id } => Target::Delete(key(kind, id)?),
            Interaction::ConditionalDelete { kind, query } => {
                match self.matching(kind, query, taking)?.as_slice() {
                    [] => Target::Existing,
                    [one] => Target::Delete(one.clone()),
                    many => return Err(Fault::ambiguous(kind, query, many.len())),
                }
            }
            Interaction::Update { id } => Target::Write(key(&kind, id)?),
            Interaction::ConditionalUpdate { query } => {
                match self.matching(&kind, query, taking)?.as_slice() {
                    [] => Target::Write(self.derived(&kind, "conditional", query)?),
                    [one] => Target::Write(one.clone()),
                    many => return Err(Fault::ambiguous(&kind, query, many.len())),
                }
            }
            Interaction::Create { if_none_exist: Some(query) } => {
                match self.matching(&kind, query, taking)?.as_slice() {
                    [] => Target::Write(self.derived(&kind, "conditional", query)?),
                    [one] => {
                        taking.remember(entry, one);
                        return Ok(Target::Existing);
                    }
                    many => return Err(Fault::ambiguous(&kind, query, many.len())),
                }
            }
            Interaction::Create { if_none_exist: None } => {
                Target::Write(self.key_for_new(entry, &kind, taking)?)
            }
        };
        if let Target::Write(key) = &target {
            taking.remember(entry, key);
        }
        Ok(target)
    }

    /// The id of a new resource: its source's, or one derived from what it says.
    fn key_for_new(
        &mut self,
        entry: &EntryIn,
        kind: &str,
        taking: &mut Taking,
    ) -> Result<ResourceKey, Fault> {
        let resource = entry.resource.as_ref().ok_or_else(|| Fault::from("no resource"))?;
        let source = source_id(entry, resource);
        let content = canonical(resource);
        if let Some(id) = source {
            let wanted = key(kind, &id)?;
            // The same source id may come with another content (two exports of one register):
            // both are kept, since a create replaces nothing.
            let fingerprint = format!("{id}\n{content}");
            let other = self.derived(kind, "source", &fingerprint)?;
            let other = key(kind, &format!("{VARIANT}{}", other.id))?;
            let taken = taking.keys.contains(&wanted) || self.differs(&wanted, resource, taking)?;
            return Ok(if taken { other } else { wanted });
        }
        // Two entries that say the same and have no id are two resources.
        let ordinal = taking.ordinal(kind, &content);
        self.derived(kind, "content", &format!("{ordinal}\n{content}"))
    }

    /// Whether something else is kept under this key: other content, at every time.
    fn differs(
        &mut self,
        key: &ResourceKey,
        resource: &Value,
        taking: &Taking,
    ) -> Result<bool, Fault> {
        let index = &self.charts().map_err(Fault::from)?.index;
        let row =
            index.resource(&key.kind, &key.id).map_err(|e| Fault::from(RecordsError::from(e)))?;
        let Some(row) = row else { return Ok(false) };
        // References are compared once they are known; here, everything but them.
        let bare = without_references(resource, &taking.placed);
        let now = super::super::body::body_of(&row).map_err(Fault::from)?;
        if without_references(&now, &taking.placed) == bare {
            return Ok(false);
        }
        let versions = self.versions(key).map_err(Fault::from)?;
        Ok(!versions.iter().any(|version| without_references(version, &taking.placed) == bare))
    }

    fn versions(&mut self, key: &ResourceKey) -> Result<Vec<Value>, RecordsError> {
        let mut bodies = Vec::new();
        for home in self.charts()?.index.homes(&key.kind, &key.id)? {
            let versions = self.with_document(&home, |_, r| Ok(r.document.history(key)))?;
            bodies.extend(versions.into_iter().filter(|v| !v.deleted).map(|v| v.body));
        }
        Ok(bodies)
    }

    /// Whether the chart says this, or said it once.
    fn said_before(&mut self, resource: &Resource) -> Result<bool, RecordsError> {
        let key = resource.key();
        let Some(row) = self.charts()?.index.resource(&key.kind, &key.id)? else {
            return Ok(false);
        };
        let wanted = canonical(&Value::Object(resource.body().clone()));
        if canonical(&super::super::body::body_of(&row)?) == wanted {
            return Ok(true);
        }
        Ok(self.versions(&key)?.iter().any(|version| canonical(version) == wanted))
    }

    fn derived(&self, kind: &str, purpose: &str, text: &str) -> Result<ResourceKey, Fault> {
        let charts = self.charts().map_err(Fault::from)?;
        let pseudonym =
            charts.keys.pseudonym().ok_or(RecordsError::NoEpochKey).map_err(Fault::from)?;
        key(kind, &pseudonym.resource_id(&[purpose, kind, text]))
    }

    /// The resources that a conditional query finds, on this node and in this bundle.
    fn matching(
        &self,
        kind: &str,
        query: &str,
        taking: &Taking,
    ) -> Result<Vec<ResourceKey>, Fault> {
        let criteria = criteria(query).map_err(|reason| Fault::from(reason.as_str()))?;
        let index = &self.charts().map_err(Fault::from)?.index;
        let mut found: Option<BTreeSet<ResourceKey>> = None;
        for criterion in &criteria {
            let mut hits = BTreeSet::new();
            match criterion {
                Criterion::Id(id) => {
                    let row =
                        index.resource(kind, id).map_err(|e| Fault::from(RecordsError::from(e)))?;
                    if row.is_some_and(|row| !row.deleted) {
                        hits.insert(key(kind, id)?);
                    }
                }
                Criterion::Identifier { system, value } => {
                    let ids = index
                        .by_identifier(kind, system.as_deref(), value)
                        .map_err(|e| Fault::from(RecordsError::from(e)))?;
                    for id in ids {
                        hits.insert(key(kind, &id)?);
                    }
                    hits.extend(taking.with_identifier(kind, system.as_deref(), value));
                }
            }
            found = Some(match found {
                None => hits,
                Some(before) => before.intersection(&hits).cloned().collect(),
            });
        }
        let mut found: Vec<ResourceKey> = found.unwrap_or_default().into_iter().collect();
        // A conditional query means the source's resource, not another edition of it.
        if found.iter().any(|key| !key.id.starts_with(VARIANT)) {
            found.retain(|key| !key.id.starts_with(VARIANT));
        }
        Ok(found)
    }

    fn resolve_conditionals(
        &self,
        parcel: &Parcel,
        taking: &Taking,
    ) -> Result<BTreeMap<String, String>, RecordsError> {
        let mut links = BTreeMap::new();
        for (at, entry) in parcel.entries.iter().enumerate() {
            let Some(resource) = &entry.resource else { continue };
            let mut wanted = BTreeSet::new();
            conditional(resource, &mut wanted);
            for reference in wanted {
                if links.contains_key(&reference) {
                    continue;
                }
                let Some((kind, query)) = reference.split_once('?') else { continue };
                let found = self.matching(kind, query, taking).map_err(|fault| fault.at(at))?;
                match found.as_slice() {
                    [one] => {
                        links.insert(reference.clone(), one.to_string());
                    }
                    [] => return Err(Fault::missing(&reference).at(at)),
                    many => return Err(Fault::ambiguous(kind, query, many.len()).at(at)),
                }
            }
        }
        Ok(links)
    }
}

/// What is known so far of the bundle that is being taken.
#[derive(Default)]
struct Taking {
    placed: BTreeMap<String, String>,
    targets: Vec<Target>,
    keys: BTreeSet<ResourceKey>,
    /// Who has an identifier: by type and value, with its system.
    identifiers: BTreeMap<(String, String), Vec<(String, ResourceKey)>>,
    /// How often something without an id was said, by type and content.
    said: BTreeMap<(String, String), usize>,
}

impl Taking {
    fn remember(&mut self, entry: &EntryIn, key: &ResourceKey) {
        self.keys.insert(key.clone());
        if let Some(resource) = &entry.resource {
            for (system, value) in identifiers(resource) {
                let place = (key.kind.clone(), value);
                self.identifiers.entry(place).or_default().push((system, key.clone()));
            }
            if source_id(entry, resource).is_none() {
                *self.said.entry((key.kind.clone(), canonical(resource))).or_default() += 1;
            }
        }
        if let Some(url) = &entry.full_url {
            self.placed.insert(url.clone(), key.to_string());
        }
    }

    fn ordinal(&self, kind: &str, content: &str) -> usize {
        self.said.get(&(kind.to_owned(), content.to_owned())).copied().unwrap_or(0)
    }

    fn with_identifier<'a>(
        &'a self,
        kind: &str,
        system: Option<&'a str>,
        value: &str,
    ) -> impl Iterator<Item = ResourceKey> + 'a {
        let known = self.identifiers.get(&(kind.to_owned(), value.to_owned()));
        let fits = move |(of, _): &&(String, ResourceKey)| system.is_none_or(|system| system == of);
        known.into_iter().flatten().filter(fits).map(|(_, key)| key.clone())
    }
}

/// A fault of the bundle, or an error of the node that came up while it was taken.
enum Fault {
    Bundle { reason: String, waits: bool },
    Node(Box<RecordsError>),
}

impl Fault {
    fn missing(reference: &str) -> Self {
        let reason = format!(
            "the conditional reference {reference} has no match; import what it refers to, in the same command or before"
        );
        Self::Bundle { reason, waits: true }
    }

    fn ambiguous(kind: &str, query: &str, count: usize) -> Self {
        let reason = format!("{kind}?{query} matches {count} resources; it must name one");
        Self::Bundle { reason, waits: false }
    }

    fn at(self, index: usize) -> RecordsError {
        match self {
            Self::Bundle { reason, waits } => {
                RecordsError::Import(BundleError { entry: Some(index + 1), reason, waits })
            }
            Self::Node(error) => *error,
        }
    }
}

impl From<&str> for Fault {
    fn from(reason: &str) -> Self {
        Self::Bundle { reason: reason.to_owned(), waits: false }
    }
}

impl From<RecordsError> for Fault {
    fn from(error: RecordsError) -> Self {
        match error {
            RecordsError::BadRequest(reason) => Self::Bundle { reason, waits: false },
            error => Self::Node(Box::new(error)),
        }
    }
}

fn key(kind: &str, id: &str) -> Result<ResourceKey, Fault> {
    ResourceKey::new(kind, id).map_err(|error| Fault::from(error.to_string().as_str()))
}

/// The id that the source gives a resource.
fn source_id(entry: &EntryIn, resource: &Value) -> Option<String> {
    let from_url = entry.full_url.as_deref().and_then(|url| {
        let id = url.strip_prefix("urn:uuid:").or_else(|| url.rsplit('/').next())?;
        is_resource_id(id).then(|| id.to_owned())
    });
    from_url.or_else(|| resource["id"].as_str().map(str::to_owned))
}

fn resource_for<'a>(
    entry: EntryIn,
    key: &ResourceKey,
    links: &impl Fn(&str) -> Option<&'a String>,
) -> Result<Resource, Fault> {
    let mut body = entry.resource.ok_or_else(|| Fault::from("no resource"))?;
    rewrite(&mut body, links);
    Resource::with_id(body, &key.id).map_err(|error| Fault::from(error.to_string().as_str()))
}

/// A resource without what an import changes in it: its id, its server's meta, its references.
fn without_references(resource: &Value, placed: &BTreeMap<String, String>) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(strip),
            Value::Object(map) => {
                map.remove("reference");
                map.values_mut().for_each(strip);
            }
            _ => {}
        }
    }
    let mut bare = resource.clone();
    rewrite(&mut bare, &|name| placed.get(name));
    strip(&mut bare);
    if let Some(map) = bare.as_object_mut() {
        map.remove("id");
        if let Some(Value::Object(meta)) = map.get_mut("meta") {
            meta.remove("versionId");
            meta.remove("lastUpdated");
            if meta.is_empty() {
                map.remove("meta");
            }
        }
    }
    bare
}

/// Two entries of one bundle may not write the same resource (FHIR R4, 3.1.0.11.2).
fn refuse_doubles(plan: &Plan) -> Result<(), RecordsError> {
    let mut seen = BTreeSet::new();
    for edit in plan.values().flatten() {
        if let Edit::Put(resource) = edit
            && !seen.insert(resource.key())
        {
            let reason = format!("two entries of the bundle write {}", resource.key());
            return Err(RecordsError::Import(BundleError { entry: None, reason, waits: false }));
        }
    }
    Ok(())
}
