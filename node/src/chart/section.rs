//! Which document keeps a resource: the patient it is about, and the section of that chart.

use super::grain;
use super::resource::Resource;
use serde_json::{Map, Value};

/// Resources in one volume of a section; the next one starts a new volume. A document of this
/// size loads in milliseconds on a small machine, and one edit of it stays cheap.
pub const VOLUME_RESOURCES_MAX: usize = 2000;

/// Bytes of changes in one volume, after which a new resource starts the next. A document takes a
/// multiple of it in memory while it is worked on: an image in parts would take all of a small
/// machine's.
pub const VOLUME_BYTES_MAX: usize = 8 << 20;

/// The code system of the labels that make a resource restricted.
pub const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

/// A part of a chart, by urgency and by who may read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// What an emergency needs: who it is, allergies, problems, medicines, vaccines.
    Critical,
    /// The rest of care.
    Clinical,
    /// Labelled restricted or very restricted: under a key of its own.
    Restricted,
    /// Cover, claims, accounts, appointments.
    Administrative,
    /// Of no patient (an organisation, a practitioner): a document of its own.
    Standalone,
}

impl Section {
    /// The section's name, as it enters the pseudonyms of documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Clinical => "clinical",
            Self::Restricted => "restricted",
            Self::Administrative => "administrative",
            Self::Standalone => "standalone",
        }
    }
}

/// Where a resource belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The id of the patient whose chart it is part of, if any.
    pub patient: Option<String>,
    /// The section.
    pub section: Section,
}

/// Where this resource belongs by its content: its labels first, then its patient, then its type.
pub fn home(resource: &Resource) -> Home {
    let patient = patient_of(resource);
    let restricted = resource.body().get("meta").is_some_and(has_restricted_label);
    let section = section_of(resource.kind(), patient.is_some(), restricted);
    Home { patient, section }
}

/// The section in which a resource of this type, with or without a patient, belongs.
pub fn section_of(kind: &str, has_patient: bool, restricted: bool) -> Section {
    match grain::rule(kind) {
        _ if restricted => Section::Restricted,
        Some(rule) if has_patient => rule.section,
        _ => Section::Standalone,
    }
}

/// Whether a resource is labelled restricted or very restricted.
pub fn is_restricted(body: &Value) -> bool {
    has_restricted_label(&body["meta"])
}

fn has_restricted_label(meta: &Value) -> bool {
    let labels = meta["security"].as_array();
    labels.is_some_and(|labels| {
        labels.iter().any(|label| {
            label["system"] == CONFIDENTIALITY && matches!(label["code"].as_str(), Some("R" | "V"))
        })
    })
}

fn patient_of(resource: &Resource) -> Option<String> {
    if resource.kind() == "Patient" {
        return Some(resource.id().to_owned());
    }
    patient_in(resource.kind(), resource.body())
}

/// The patient to whom what a resource of this type says refers; a Patient refers to nobody.
pub fn patient_in(kind: &str, body: &Map<String, Value>) -> Option<String> {
    let paths = grain::rule(kind)?.patient;
    paths.iter().find_map(|path| {
        let mut steps = path.split('.');
        let first = body.get(steps.next()?)?;
        patient_at(first, &steps.collect::<Vec<_>>())
    })
}

/// The first patient that is referred to at the end of the path; arrays are looked through.
fn patient_at(value: &Value, path: &[&str]) -> Option<String> {
    match (value, path) {
        (Value::Array(items), _) => items.iter().find_map(|item| patient_at(item, path)),
        (_, [step, rest @ ..]) => patient_at(value.get(step)?, rest),
        (_, []) => patient_id(value.get("reference")?.as_str()?),
    }
}

/// The id in `Patient/id`, also with a version or behind a server's address.
pub fn patient_id(reference: &str) -> Option<String> {
    let mut steps = reference.split('/');
    let id = steps.by_ref().skip_while(|step| *step != "Patient").nth(1)?;
    let version_or_nothing = matches!(steps.next(), None | Some("_history"));
    (version_or_nothing && super::resource::is_resource_id(id)).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn home_of(body: Value) -> (Option<String>, Section) {
        let home = home(&Resource::with_id(body, "x").unwrap());
        (home.patient, home.section)
    }

    #[test]
    fn a_resource_lies_with_its_patient() {
        let at = |reference: &str| json!({ "reference": reference });
        let a = Some("a".to_owned());
        for (body, home) in [
            (json!({"resourceType":"Patient"}), (Some("x".into()), Section::Critical)),
            (
                json!({"resourceType":"MedicationRequest","subject":at("Patient/a")}),
                (a.clone(), Section::Critical),
            ),
            (
                json!({"resourceType":"Observation","subject":at("https://h.org/r4/Patient/a/_history/2")}),
                (a.clone(), Section::Clinical),
            ),
            (
                json!({"resourceType":"Appointment","participant":[{"actor":at("Location/l")},{"actor":at("Patient/a")}]}),
                (a.clone(), Section::Administrative),
            ),
            (
                json!({"resourceType":"Provenance","target":[at("Observation/o"),at("Patient/a")]}),
                (a.clone(), Section::Clinical),
            ),
            (
                json!({"resourceType":"Observation","subject":at("Group/a")}),
                (None, Section::Standalone),
            ),
            (
                json!({"resourceType":"Observation","subject":at("urn:uuid:a")}),
                (None, Section::Standalone),
            ),
            (json!({"resourceType":"Organization"}), (None, Section::Standalone)),
            (json!({"resourceType":"Observation"}), (None, Section::Standalone)),
        ] {
            assert_eq!(home_of(body.clone()), home, "{body}");
        }
    }

    #[test]
    fn a_label_outranks_the_type() {
        let labelled = |system: &str, code: &str| {
            json!({"resourceType":"Condition","subject":{"reference":"Patient/a"},
                   "meta":{"security":[{"system":system,"code":code}]}})
        };
        assert_eq!(home_of(labelled(CONFIDENTIALITY, "R")).1, Section::Restricted);
        assert_eq!(home_of(labelled(CONFIDENTIALITY, "V")).1, Section::Restricted);
        assert_eq!(home_of(labelled(CONFIDENTIALITY, "N")).1, Section::Critical);
        assert_eq!(home_of(labelled("http://elsewhere", "R")).1, Section::Critical);
    }
}
