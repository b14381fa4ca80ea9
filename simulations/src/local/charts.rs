//! A node that holds many charts: how fast it takes them in, finds and shows them, starts, and
//! makes its index anew; and what they take of memory and disk.

use super::node::{self, Site};
use super::{Outcome, SAMPLE_DAY_MS};
use carnet_node::access::{Action, operator_permit};
use carnet_node::chart::ResourceKey;
use carnet_node::records::import::Source;
use carnet_node::sample::{Generator, Size};
use carnet_node::store::index::Listing;
use serde_json::{Value, json};
use std::time::Duration;

/// Resources after which the rate of the import is noted.
const STEP: u64 = 100_000;

/// Searches, and reads, that are timed.
pub const ASKED: usize = 500;

/// Charts that are imported together.
const TOGETHER: usize = 100;

/// Charts of about 60 resources, written by so many authors.
pub fn measure(charts: usize, authors: usize) -> Outcome<Value> {
    let mut site = Site::found()?;
    let mut generator = Generator::new(2, SAMPLE_DAY_MS);
    let (mut resources, mut seconds, mut steps) = (0, 0.0, Vec::new());
    let (mut noted, mut since) = (0, 0.0);
    let stint = charts.div_ceil(authors.max(1)).max(1);
    let permit = operator_permit(Action::Import);
    for begun in (0..charts).step_by(stint) {
        if begun > 0 {
            // What follows has another author: a new life of the node, with logs of its own.
            site.records.begin_incarnation()?;
        }
        let end = charts.min(begun + stint);
        for first in (begun..end).step_by(TOGETHER) {
            let bundle = |n: usize| {
                let bundle = generator.patient(Size::Large).to_string();
                Source::bytes(n.to_string(), bundle.into())
            };
            let sources: Vec<Source> = (first..end.min(first + TOGETHER)).map(bundle).collect();
            let started = node::now();
            resources += site.records.import(&permit, sources, |_, _| {})?.resources;
            seconds += started.elapsed().as_secs_f64();
            if resources - noted >= STEP {
                steps.push(((resources - noted) as f64 / (seconds - since)).round());
                (noted, since) = (resources, seconds);
            }
        }
    }
    let after_import = node::memory()?;
    let closed = site.close();
    let started = node::now();
    let mut site = closed.open()?;
    let ready_ms = node::ms(started.elapsed());
    let at_rest = node::memory()?;
    let (names, keys) = some_of(&mut site, charts)?;
    let search_ms = searches(&mut site, &names)?;
    let read_ms = reads(&mut site, &keys)?;
    let closed = site.close().without_index()?;
    let started = node::now();
    let mut site = closed.open()?;
    site.caught_up()?;
    let rebuild_seconds = started.elapsed().as_secs_f64();
    let after_rebuild = node::memory()?;
    let mut site = site.reopened()?;
    let (log, index) = (site.size("log.db"), site.size("index.db"));
    let count = charts.max(1) as u64;
    let us = |of: &str| read_ms[of].as_f64().map(|ms| (ms * 1000.0).round());
    Ok(json!({
        "charts": charts, "resources": resources, "import_seconds": seconds,
        "import_resources_per_s": (resources as f64 / seconds).round(), "at_each_100000": steps,
        "authors": authors, "logs": site.records.frontier().0.len(),
        "memory_after_import": after_import, "memory_at_rest": at_rest,
        "memory_after_rebuild": after_rebuild, "index_tables": site.index_tables()?,
        "ready_ms": ready_ms, "rebuild_seconds": rebuild_seconds,
        "patient_search_ms": search_ms, "read_us": {"p50": us("p50"), "p99": us("p99")},
        "read_before_its_commit_ms": read_ms["before_its_commit"],
        "log_bytes_per_chart": log / count, "index_bytes_per_chart": index / count,
        "disk_bytes_per_chart": (log + index) / count,
    }))
}

/// Names and resources, spread over all that is held. Page by page: all patients together would be
/// the most that the process ever held.
fn some_of(site: &mut Site, charts: usize) -> Outcome<(Vec<Name>, Vec<ResourceKey>)> {
    let permit = operator_permit(Action::Read);
    let limit = charts.div_ceil(ASKED).max(1);
    let mut patients = Listing { kind: Some("Patient".into()), limit, ..Listing::default() };
    let (mut names, mut keys) = (Vec::new(), Vec::new());
    loop {
        let page = site.records.list(&permit, &patients)?;
        let Some(patient) = page.shown.first() else { break };
        names.push(Name::of(&patient.resource));
        let patient = patient.resource["id"].as_str().map(str::to_owned);
        let of_patient = Listing { patient, limit: 30, ..Listing::default() };
        let listed = site.records.list(&permit, &of_patient)?.shown;
        let resource = &listed[names.len() % listed.len()].resource;
        let text = |name: &str| resource[name].as_str().unwrap_or_default();
        keys.push(ResourceKey::new(text("resourceType"), text("id"))?);
        patients.after = page.last;
        if patients.after.is_none() {
            break;
        }
    }
    Ok((names, keys))
}

/// By what a patient is looked for.
pub struct Name {
    given: String,
    family: String,
}

impl Name {
    /// The first name of a Patient.
    pub fn of(patient: &Value) -> Self {
        let text = |part: &Value| part.as_str().unwrap_or_default().to_owned();
        let name = &patient["name"][0];
        Self { given: text(&name["given"][0]), family: text(&name["family"]) }
    }
}

/// Family names, their beginnings, family names with a letter left out, and given and family names,
/// each on record.
pub fn searches(site: &mut Site, names: &[Name]) -> Outcome<Value> {
    let (mut times, mut found): (Vec<Duration>, Vec<Duration>) = Default::default();
    for (n, Name { given, family }) in names.iter().enumerate() {
        let query = match n % 4 {
            0 => family.clone(),
            1 => family.chars().take(3).collect(),
            2 if family.chars().count() > 4 => {
                let letters = family.chars().enumerate().filter(|(at, _)| *at != 2);
                letters.map(|(_, letter)| letter).collect()
            }
            2 => family.clone(),
            _ => format!("{given} {family}"),
        };
        let started = node::now();
        site.records.search_patients(&operator_permit(Action::Search), &query, 20)?;
        found.push(started.elapsed());
        site.records.commit()?;
        times.push(started.elapsed());
    }
    let mut told = node::percentiles(&mut times);
    told["before_its_commit"] = node::percentiles(&mut found);
    Ok(told)
}

/// Reads of one resource after another, each on record before it is answered.
fn reads(site: &mut Site, keys: &[ResourceKey]) -> Outcome<Value> {
    let (mut times, mut read): (Vec<Duration>, Vec<Duration>) = Default::default();
    for key in keys {
        let started = node::now();
        site.records.read(&operator_permit(Action::Read), key)?;
        read.push(started.elapsed());
        site.records.commit()?;
        times.push(started.elapsed());
    }
    let mut told = node::percentiles(&mut times);
    told["before_its_commit"] = node::percentiles(&mut read);
    Ok(told)
}
