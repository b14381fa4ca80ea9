//! The charts of the link benchmark, and what is done to them while the link is away.

use crate::chance::Chance;
use crate::local::{Outcome, SAMPLE_DAY_MS};
use carnet_node::access::{Action, operator_permit};
use carnet_node::chart::{Resource, ResourceKey};
use carnet_node::records::Records;
use carnet_node::records::import::Source;
use carnet_node::sample::{Generator, Size};
use carnet_node::store::index::Listing;
use serde_json::{Value, json};

/// A chart that nobody has, as bundles.
pub struct Invented {
    /// The patient's id.
    pub patient: String,
    bundle: Value,
    pieces: usize,
}

impl Invented {
    /// As files to import: one, or several that build upon each other, as visits do.
    pub fn sources(&self) -> Vec<Source> {
        let entries = self.bundle["entry"].as_array().map_or(&[][..], Vec::as_slice);
        let piece = entries.len().div_ceil(self.pieces).max(1);
        let bundle = |(number, entries): (usize, &[Value])| {
            let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
            Source::bytes(format!("{}-{number}", self.patient), bundle.to_string().into())
        };
        entries.chunks(piece).enumerate().map(bundle).collect()
    }

    /// The bytes of its resources as JSON.
    pub fn json_bytes(&self) -> u64 {
        let entries = self.bundle["entry"].as_array().into_iter().flatten();
        entries.map(|entry| entry["resource"].to_string().len() as u64).sum()
    }

    /// A number under which the patient is found.
    pub fn identifier(&self) -> Option<String> {
        let entries = self.bundle["entry"].as_array()?;
        let patient = entries.iter().find(|e| e["resource"]["resourceType"] == "Patient")?;
        patient["resource"]["identifier"][0]["value"].as_str().map(str::to_owned)
    }

    /// How many of its resources belong to the patient's chart.
    pub fn of_patient(&self) -> Outcome<usize> {
        let resources = self.resources()?;
        Ok(resources.iter().filter(|one| carnet_node::chart::home(one).patient.is_some()).count())
    }

    /// Its resources, with references by the ids that an import gives them.
    pub fn resources(&self) -> Outcome<Vec<Resource>> {
        let entries = self.bundle["entry"].as_array().into_iter().flatten();
        let types: Vec<(&str, &str)> = entries
            .clone()
            .filter_map(|e| Some((e["fullUrl"].as_str()?, e["resource"]["resourceType"].as_str()?)))
            .collect();
        let mut resources = Vec::new();
        for entry in entries {
            let mut text = entry["resource"].to_string();
            for (urn, kind) in &types {
                let id = urn.trim_start_matches("urn:uuid:");
                text = text.replace(urn, &format!("{kind}/{id}"));
            }
            let id = entry["fullUrl"].as_str().unwrap_or_default();
            let body = serde_json::from_str(&text)?;
            resources.push(Resource::with_id(body, id.trim_start_matches("urn:uuid:"))?);
        }
        Ok(resources)
    }
}

/// Invents so many charts of so many resources (10, 30 or 60), each imported in so many pieces.
pub fn invent(
    charts: usize,
    resources: usize,
    pieces: usize,
) -> Outcome<impl Iterator<Item = Invented> + Clone> {
    let sizes = [Size::Small, Size::Standard, Size::Large];
    let size = sizes.into_iter().find(|size| size.resources() == resources);
    let size = size.ok_or("charts are invented with 10, 30 or 60 resources")?;
    let generator = Generator::new(5, SAMPLE_DAY_MS);
    let state = std::iter::repeat_n((), charts).scan(generator, move |generator, ()| {
        let bundle = generator.patient(size);
        let patient = bundle["entry"].as_array().into_iter().flatten().find_map(|entry| {
            let urn = entry["fullUrl"].as_str()?;
            let patient = entry["resource"]["resourceType"] == "Patient";
            patient.then(|| urn.trim_start_matches("urn:uuid:").to_owned())
        });
        Some(Invented { patient: patient.unwrap_or_default(), bundle, pieces })
    });
    Ok(state)
}

/// What somebody does at one site.
#[derive(Clone, Debug)]
pub enum Act {
    /// Writes a new resource.
    Put(Resource),
    /// Sets one element.
    Set(ResourceKey, String, Value),
}

/// What both sites do while the link is away.
pub struct Outage {
    /// The acts of each site, in order.
    pub acts: [Vec<Act>; 2],
}

impl Outage {
    /// How many edits that is, of both sites together.
    pub fn edits(&self) -> usize {
        self.acts.iter().map(Vec::len).sum()
    }

    /// Does at one site what falls to it, so many acts in each commit, which is on record as one.
    pub fn perform(&self, site: usize, records: &mut Records, together: usize) -> Outcome<()> {
        let permit = operator_permit(Action::Write);
        for acts in self.acts[site].chunks(together) {
            for act in acts {
                let saved = match act {
                    Act::Put(resource) => records.put(&permit, resource)?,
                    Act::Set(key, element, value) => {
                        let set = [(element.clone(), Some(value.clone()))];
                        records.set_element(&permit, key, &set)?
                    }
                };
                if !saved.changed {
                    return Err(format!("an edit of {} changes nothing", saved.resource).into());
                }
            }
            records.commit()?;
        }
        Ok(())
    }
}

/// One chart as its site shows it, to be worked on.
pub struct Chart {
    /// An observation, as a pattern for those that follow.
    pattern: Value,
    /// Elements that change, and what each site says of them, which nobody has said before.
    fields: Vec<(ResourceKey, &'static str, [Value; 2])>,
}

/// Reads charts that are to be worked on.
pub fn read(records: &mut Records, patients: impl Iterator<Item = String>) -> Outcome<Vec<Chart>> {
    let permit = operator_permit(Action::Read);
    let mut charts = Vec::new();
    for patient in patients {
        let page = Listing {
            patient: Some(patient.clone()),
            limit: usize::MAX >> 1,
            ..Listing::default()
        };
        let shown = records.list(&permit, &page)?.shown;
        let bodies: Vec<&Value> = shown.iter().map(|shown| &shown.resource).collect();
        charts.push(chart(&patient, &bodies)?);
    }
    records.commit()?;
    Ok(charts)
}

fn chart(patient: &str, bodies: &[&Value]) -> Outcome<Chart> {
    let codes = "http://terminology.hl7.org/CodeSystem/condition-clinical";
    let clinical = |code: &str| json!({"coding": [{"system": codes, "code": code}]});
    let mut fields = Vec::new();
    for body in bodies {
        let kind = body["resourceType"].as_str().unwrap_or_default();
        let (element, values) = match kind {
            "Patient" => (
                "maritalStatus",
                ["married", "widowed", "divorced"].map(|text| json!({"text": text})),
            ),
            "MedicationRequest" => ("status", ["on-hold", "stopped", "active"].map(Value::from)),
            "Condition" => ("clinicalStatus", ["remission", "resolved", "relapse"].map(clinical)),
            "AllergyIntolerance" => {
                ("criticality", ["low", "high", "unable-to-assess"].map(Value::from))
            }
            _ => continue,
        };
        let [a, b, c] = values;
        let said = if body[element] == a {
            [b, c]
        } else if body[element] == b {
            [a, c]
        } else {
            [a, b]
        };
        let key = ResourceKey::new(kind, body["id"].as_str().unwrap_or_default())?;
        fields.push((key, element, said));
    }
    if fields.is_empty() {
        return Err(format!("the chart of {patient} holds no patient").into());
    }
    let measured = |body: &&&Value| {
        body["resourceType"] == "Observation" && body["valueQuantity"]["value"].is_number()
    };
    let restricted = |body: &&&Value| body["meta"]["security"].is_null();
    let pattern = bodies.iter().filter(restricted).find(measured);
    let mut pattern = pattern.map_or_else(|| simple(patient), |body| (**body).clone());
    if let Some(map) = pattern.as_object_mut() {
        map.remove("meta");
    }
    Ok(Chart { pattern, fields })
}

/// For a chart in which nothing was measured.
fn simple(patient: &str) -> Value {
    json!({"resourceType": "Observation", "status": "final", "code": {"text": "Heart rate"},
        "subject": {"reference": format!("Patient/{patient}")}, "valueQuantity": {"value": 70}})
}

/// Plans what both sites do with these charts: each adds an observation to every chart, and edits
/// an element in two of three charts; of those elements, a tenth are the same ones, of which the
/// sites say different things. With 300 charts that is 300 and 200, and 20 the same.
pub fn plan(charts: &[Chart], seed: u64) -> Outcome<Outage> {
    let mut chance = Chance::new(seed);
    let mut acts = [Vec::new(), Vec::new()];
    let edited = charts.len() * 2 / 3;
    let same = edited / 10;
    for (site, acts) in acts.iter_mut().enumerate() {
        for chart in charts {
            acts.push(Act::Put(observation(chart, &mut chance)?));
        }
        for n in 0..edited {
            // The first are those that both edit; then the sites work from the two ends.
            let place = if n < same || site == 0 { n } else { charts.len() - 1 - (n - same) };
            let fields = &charts[place].fields;
            let turn = if n < same { place } else { place + site };
            let (key, element, values) = &fields[turn % fields.len()];
            acts.push(Act::Set(key.clone(), (*element).to_owned(), values[site].clone()));
        }
    }
    Ok(Outage { acts })
}

/// So many observations more, as many in each of these charts and half of them at each site; chart
/// by chart, so that none is loaded anew for each.
pub fn observations(charts: &[Chart], count: usize, seed: u64) -> Outcome<Outage> {
    let mut chance = Chance::new(seed);
    let mut acts = [Vec::new(), Vec::new()];
    for n in 0..count {
        let chart = &charts[n * charts.len() / count];
        acts[n % 2].push(Act::Put(observation(chart, &mut chance)?));
    }
    Ok(Outage { acts })
}

/// Another measurement of what the pattern measures, a while later.
fn observation(chart: &Chart, chance: &mut Chance) -> Outcome<Resource> {
    let mut body = chart.pattern.clone();
    body["effectiveDateTime"] = format!(
        "2026-03-{:02}T{:02}:{:02}:00Z",
        chance.between(2, 30),
        chance.between(7, 17),
        chance.below(60)
    )
    .into();
    let old = body["valueQuantity"]["value"].as_f64().unwrap_or(70.0);
    body["valueQuantity"]["value"] = (old.trunc() + chance.below(9) as f64).into();
    let [a, b] = [chance.next(), chance.next()];
    let (a, b) = (a & !0xf000 | 0x4000, b & !(3 << 62) | 2 << 62);
    let id = format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xffff,
        b >> 48,
        b & 0xffff_ffff_ffff
    );
    Ok(Resource::with_id(body, &id)?)
}
