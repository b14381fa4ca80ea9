//! How fast one of very many patients is found: charts that hold nothing but the Patient.

use super::charts::{self, Name};
use super::node::{self, Site};
use super::{Outcome, SAMPLE_DAY_MS};
use carnet_node::access::{Action, operator_permit};
use carnet_node::records::import::Source;
use carnet_node::sample::{Generator, Size};
use serde_json::{Value, json};

/// Patients in one file.
const FILE: usize = 2_000;

/// Registers so many patients, and looks for some after a restart.
pub fn measure(patients: usize) -> Outcome<Value> {
    let mut site = Site::found()?;
    let mut generator = Generator::new(3, SAMPLE_DAY_MS);
    let (mut names, mut seconds) = (Vec::new(), 0.0);
    for first in (0..patients).step_by(FILE) {
        let mut lines = Vec::new();
        for n in first..patients.min(first + FILE) {
            let bundle = generator.patient(Size::Small);
            let entries = bundle["entry"].as_array().into_iter().flatten();
            let mut resources = entries.map(|entry| &entry["resource"]);
            let patient = resources.find(|resource| resource["resourceType"] == "Patient");
            let patient = patient.ok_or("a bundle without a patient")?;
            if n.is_multiple_of(patients.div_ceil(charts::ASKED).max(1)) {
                names.push(Name::of(patient));
            }
            lines.push(patient.to_string());
        }
        let started = node::now();
        let source = Source::bytes("patients.ndjson".into(), lines.join("\n").into());
        site.records.import(&operator_permit(Action::Import), vec![source], |_, _| {})?;
        seconds += started.elapsed().as_secs_f64();
    }
    let closed = site.close();
    let started = node::now();
    let mut site = closed.open()?;
    let ready_ms = node::ms(started.elapsed());
    let search_ms = charts::searches(&mut site, &names)?;
    Ok(json!({
        "patients": patients, "import_seconds": seconds, "ready_ms": ready_ms,
        "patient_search_ms": search_ms, "memory": node::memory()?,
        "index_bytes": site.size("index.db"), "log_bytes": site.size("log.db"),
    }))
}
