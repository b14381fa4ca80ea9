//! How fast and how large one node is on this machine, and what a sync costs on loopback.
//!
//! Prints one JSON object. Figures are measured in this run, on real files in a temporary
//! directory; the bare SQLite commit beside the acknowledged write is the floor that any durable
//! write on this disk has.

pub mod audit;
mod baseline;
mod busy;
mod charts;
pub mod compact;
mod long_chart;
pub mod node;
mod patients;
mod starts;
mod wire;

use carnet_node::access::{Action, operator_permit};
use carnet_node::chart::Resource;
use carnet_node::records::import::Source;
use carnet_node::sample::{Generator, Size};
use node::Site;
use serde_json::{Value, json};
use std::error::Error;
use std::path::PathBuf;

/// What to measure.
#[derive(clap::Args)]
pub struct Arguments {
    /// Third-party bundles to import, as well as invented ones
    #[arg(long, value_name = "DIR")]
    samples: Vec<PathBuf>,
    /// Invented charts for the measure of memory and disk
    #[arg(long, default_value_t = 10_000)]
    charts: usize,
    /// How many authors wrote these charts
    #[arg(long, default_value_t = 1)]
    authors: usize,
    /// How many starts of the process wrote to one document
    #[arg(long, default_value_t = 300)]
    starts: usize,
    /// Measure only these, each in a run of its own or together; without it, all
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// A short run that shows that everything works; its figures mean nothing
    #[arg(long)]
    short: bool,
    /// Print JSON (it always does; for symmetry with the product)
    #[arg(long)]
    json: bool,
}

/// What can be measured by itself.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Imports of invented charts and of samples
    Import,
    /// Acknowledged writes beside bare commits of SQLite
    Write,
    /// Reads and writes while something is imported
    Busy,
    /// A chart with many encounters
    Chart,
    /// A sync on loopback
    Wire,
    /// Many charts
    Charts,
    /// A search among many patients without charts
    Patients,
    /// The likely same patient
    Likely,
    /// One document, written to by many starts of the process
    Starts,
}

/// The day on which the invented patients were last seen: 2026-03-01.
pub const SAMPLE_DAY_MS: u64 = 1_772_323_200_000;

/// What a measurement gives, or why it can't be made.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// Measures, and returns the report as JSON.
pub fn run(arguments: &Arguments) -> Outcome<Value> {
    let short = arguments.short;
    let charts = if short { 20 } else { arguments.charts };
    let mut report = json!({"version": env!("CARGO_PKG_VERSION"), "binary_bytes": binary_bytes()});
    let mut measure = |part: Part, name: &str, of: &mut dyn FnMut() -> Outcome<Value>| {
        if arguments.only.is_empty() || arguments.only.contains(&part) {
            report[name] = of()?;
        }
        Outcome::Ok(())
    };
    let of = |large: usize| if short { 20 } else { large };
    measure(Part::Import, "import", &mut || imports(arguments))?;
    measure(Part::Write, "write", &mut || acknowledged_writes(of(500)))?;
    measure(Part::Charts, "charts", &mut || charts::measure(charts, arguments.authors))?;
    measure(Part::Busy, "busy", &mut || busy::measure(of(60), &arguments.samples))?;
    measure(Part::Chart, "chart", &mut || long_chart::measure(of(1000)))?;
    measure(Part::Wire, "wire", &mut || wire::measure(of(300)))?;
    measure(Part::Patients, "patients", &mut || patients::measure(charts))?;
    measure(Part::Likely, "likely_same", &mut || likely_same(charts))?;
    measure(Part::Starts, "starts", &mut || {
        starts::measure(if short { 5 } else { arguments.starts })
    })?;
    let us = |ms: &Value| ms.as_f64().map(|ms| (ms * 1000.0).round());
    let (write, held) = (&report["write"], &report["charts"]);
    let figures = json!({
        "import_resources_per_s": held["import_resources_per_s"],
        "write_p50_us": us(&write["acknowledged_ms"]["p50"]),
        "bare_sqlite_p50_us": us(&write["bare_sqlite_ms"]["p50"]),
        "read_p50_us": held["read_us"]["p50"],
        "patient_search_p99_ms": report["patients"]["patient_search_ms"]["p99"],
        "ready_ms": held["ready_ms"], "rebuild_seconds": held["rebuild_seconds"],
        "rss_bytes": held["memory_at_rest"]["resident_bytes"],
        "rss_peak_bytes": held["memory_after_rebuild"]["peak_bytes"],
        "log_bytes_per_chart": held["log_bytes_per_chart"],
        "index_bytes_per_chart": held["index_bytes_per_chart"],
        "disk_bytes_per_chart": held["disk_bytes_per_chart"],
    });
    for (name, figure) in figures.as_object().into_iter().flatten() {
        report[name] = figure.clone();
    }
    Ok(report)
}

/// The size of the product's program beside this one, if it was built.
fn binary_bytes() -> Option<u64> {
    let own = std::env::current_exe().ok()?;
    Some(std::fs::metadata(own.with_file_name("carnet")).ok()?.len())
}

fn imports(arguments: &Arguments) -> Outcome<Value> {
    let patients = if arguments.short { 5 } else { 500 };
    let mut generator = Generator::new(1, SAMPLE_DAY_MS);
    let invented = (0..patients)
        .map(|n| Source::bytes(format!("{n}"), generator.patient(Size::Large).to_string().into()))
        .collect();
    let mut measured = vec![import("invented", invented)?];
    for folder in &arguments.samples {
        let mut sources = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            sources.push(Source::file(path));
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        measured.push(import(&name, sources)?);
    }
    Ok(measured.into())
}

fn import(name: &str, sources: Vec<Source>) -> Outcome<Value> {
    let mut site = Site::found()?;
    let report = site.records.import(&operator_permit(Action::Import), sources, |_, _| {})?;
    let verified = node::now();
    let verify = site.records.verify(&operator_permit(Action::Administer), |_, _| {})?;
    Ok(json!({
        "source": name, "bundles": report.bundles, "resources": report.resources,
        "existing": report.existing, "failed": report.failed, "skipped": report.skipped,
        "seconds": report.seconds,
        "resources_per_second": (report.resources as f64 / report.seconds).round(),
        "entries": verify.entries, "verify_ok": verify.ok,
        "verify_seconds": verified.elapsed().as_secs_f64(),
        "log_bytes": site.size("log.db"), "index_bytes": site.size("index.db"),
    }))
}

fn observation(n: usize, patient: &str) -> Outcome<Resource> {
    Ok(Resource::from_value(json!({
        "resourceType": "Observation", "id": format!("o{n}"), "status": "final",
        "category": [{"coding": [{"system":
            "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4",
            "display": "Heart rate"}], "text": "Heart rate"},
        "subject": {"reference": format!("Patient/{patient}")},
        "effectiveDateTime": "2026-03-02T09:30:00Z",
        "valueQuantity": {"value": 60 + n % 40, "unit": "beats/minute",
            "system": "http://unitsofmeasure.org", "code": "/min"}
    }))?)
}

fn acknowledged_writes(count: usize) -> Outcome<Value> {
    let mut site = Site::found()?;
    let permit = operator_permit(Action::Import);
    site.records
        .put(&permit, &Resource::from_value(json!({"resourceType": "Patient", "id": "p"}))?)?;
    site.records.commit()?;
    let (mut times, mut put) = (Vec::new(), Vec::new());
    for n in 0..count {
        let resource = observation(n, "p")?;
        let start = node::now();
        site.records.put(&permit, &resource)?;
        put.push(start.elapsed());
        site.records.commit()?;
        times.push(start.elapsed());
    }
    let bytes = site.bytes_of_newest_entry()?;
    let mut bare = baseline::commits(count, bytes)?;
    let ours = node::percentiles(&mut times);
    let floor = node::percentiles(&mut bare);
    Ok(json!({
        "count": count, "entry_bytes": bytes, "acknowledged_ms": ours, "bare_sqlite_ms": floor,
        "before_its_commit_ms": node::percentiles(&mut put),
        "p50_ratio": ours["p50"].as_f64().unwrap_or(0.0) / floor["p50"].as_f64().unwrap_or(1.0),
    }))
}

/// Looks among many registered patients for those who are likely the same as one who comes again
/// with another telephone, without papers, and with a letter of the name left out.
fn likely_same(patients: usize) -> Outcome<Value> {
    let mut site = Site::found()?;
    let mut generator = Generator::new(3, SAMPLE_DAY_MS);
    let mut registered = Vec::with_capacity(patients);
    for n in 0..patients {
        let bundle = generator.patient(Size::Small);
        let entries = bundle["entry"].as_array().into_iter().flatten();
        let mut resources = entries.map(|entry| &entry["resource"]);
        let patient = resources.find(|resource| resource["resourceType"] == "Patient");
        let mut patient = patient.cloned().ok_or("a bundle without a patient")?;
        patient["id"] = format!("p{n}").into();
        registered.push(patient);
    }
    let lines: Vec<String> = registered.iter().map(Value::to_string).collect();
    let source = Source::bytes("patients.ndjson".into(), lines.join("\n").into());
    let started = node::now();
    site.records.import(&operator_permit(Action::Import), vec![source], |_, _| {})?;
    let seconds = started.elapsed().as_secs_f64();
    let permit = operator_permit(Action::Search);
    let listed = node::now();
    let proposed = site.records.duplicates(&permit, usize::MAX)?.len();
    let list_ms = node::ms(listed.elapsed());
    let (mut times, mut found, mut candidates) = (Vec::new(), 0, 0);
    for patient in registered.iter().step_by(registered.len().div_ceil(500).max(1)) {
        let mut form = patient.clone();
        form["id"] = "new".into();
        form["identifier"] = json!([]);
        form["telecom"] = json!([]);
        for name in form["name"].as_array_mut().into_iter().flatten() {
            let mut family = name["family"].as_str().unwrap_or_default().to_owned();
            family.pop();
            name["family"] = family.into();
            name["text"] = json!(null);
        }
        let start = node::now();
        let likely = site.records.likely_same(&permit, &form, 20)?;
        times.push(start.elapsed());
        candidates += likely.len();
        found += usize::from(likely.iter().any(|one| patient["id"] == one.patient.id.as_str()));
    }
    Ok(json!({
        "patients": patients, "import_seconds": seconds, "asked": times.len(), "found": found,
        "candidates": candidates, "likely_same_ms": node::percentiles(&mut times),
        "pairs_proposed": proposed, "list_ms": list_ms,
    }))
}
