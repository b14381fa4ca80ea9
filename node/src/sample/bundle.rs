//! A transaction bundle as it grows.

use super::chance::Chance;
use serde_json::{Value, json};

/// The entries of a transaction so far.
pub(super) struct Entries(Vec<Value>);

impl Entries {
    /// A transaction without entries.
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// How many resources the transaction has.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a resource that the receiver creates, and gives the name to refer to it by.
    pub(super) fn create(&mut self, chance: &mut Chance, resource: Value) -> String {
        self.push(chance, resource, None)
    }

    /// Adds a resource that the receiver creates unless it has one with the same first identifier.
    pub(super) fn create_once(&mut self, chance: &mut Chance, resource: Value) -> String {
        let text = |of: &str| resource["identifier"][0][of].as_str().unwrap_or_default().to_owned();
        let condition = format!("identifier={}|{}", text("system"), text("value"));
        self.push(chance, resource, Some(condition))
    }

    fn push(&mut self, chance: &mut Chance, resource: Value, condition: Option<String>) -> String {
        let urn = chance.urn();
        let mut request = json!({"method": "POST", "url": resource["resourceType"]});
        if let Some(condition) = condition {
            request["ifNoneExist"] = condition.into();
        }
        self.0.push(json!({"fullUrl": urn, "resource": resource, "request": request}));
        urn
    }

    /// The Bundle.
    pub(super) fn into_bundle(self) -> Value {
        json!({"resourceType": "Bundle", "type": "transaction", "entry": self.0})
    }
}

/// A CodeableConcept of one code; its text is the display.
pub(super) fn concept(system: &str, (code, display): (&str, &str)) -> Value {
    json!({"coding": [{"system": system, "code": code, "display": display}], "text": display})
}

/// A Coding.
pub(super) fn coding(system: &str, code: &str) -> Value {
    json!({"system": system, "code": code})
}

/// A Reference.
pub(super) fn reference(to: &str) -> Value {
    json!({"reference": to})
}

/// SNOMED CT.
pub(super) const SNOMED: &str = "http://snomed.info/sct";
/// LOINC.
pub(super) const LOINC: &str = "http://loinc.org";
/// UCUM.
pub(super) const UCUM: &str = "http://unitsofmeasure.org";
/// ICD-10 of the WHO.
pub(super) const ICD10: &str = "http://hl7.org/fhir/sid/icd-10";
/// ATC of the WHO.
pub(super) const ATC: &str = "http://www.whocc.no/atc";
/// CVX of the CDC.
pub(super) const CVX: &str = "http://hl7.org/fhir/sid/cvx";
