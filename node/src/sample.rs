//! A seeded generator of realistic FHIR R4 patients, for the demonstration, benchmarks,
//! simulations and the training of the compression dictionary.
//!
//! People of eight countries and five scripts, with what a small clinic writes down: visits,
//! vitals, diagnoses, orders, allergies, laboratory results, immunisations, notes. Everything is
//! drawn from a seed and a reference day; no clock is read. The `n`th patient of a seed is the same
//! whatever was asked for before. Nobody here exists.

mod bundle;
mod chance;
mod charting;
mod country;
mod illness;
mod person;
mod visit;

use chance::Chance;
use charting::Charting;
use country::COUNTRIES;
use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use person::Person;
use serde_json::Value;

/// How long a chart is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// About 10 resources: one visit.
    Small,
    /// About 30 resources: three visits.
    Standard,
    /// About 60 resources: seven visits.
    Large,
}

impl Size {
    /// How many resources a chart is filled up to; a chart has a few more where the last visit
    /// ends with a diagnosis.
    pub const fn resources(self) -> usize {
        match self {
            Self::Small => 10,
            Self::Standard => 30,
            Self::Large => 60,
        }
    }

    const fn visits(self) -> i32 {
        match self {
            Self::Small => 1,
            Self::Standard => 3,
            Self::Large => 7,
        }
    }
}

/// Makes patients, one after another.
///
/// ```
/// use carnet_node::sample::{Generator, Size};
///
/// let mut generator = Generator::new(7, 1_780_000_000_000);
/// let bundle = generator.patient(Size::Small);
/// assert_eq!(bundle["type"], "transaction");
/// assert_eq!(Generator::new(7, 1_780_000_000_000).patient(Size::Small), bundle);
/// ```
#[derive(Debug, Clone)]
pub struct Generator {
    seed: u64,
    today: Date,
    next: u64,
}

impl Generator {
    /// A generator whose patients were last seen in the weeks before a moment, given in
    /// milliseconds since 1970.
    pub fn new(seed: u64, unix_ms: u64) -> Self {
        let today = i64::try_from(unix_ms)
            .ok()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
            .map_or(date(9000, 1, 1), |moment| moment.to_zoned(TimeZone::UTC).date());
        Self { seed, today, next: 0 }
    }

    /// The next patient, as a transaction Bundle whose references are by `urn:uuid`.
    ///
    /// The clinic and the clinician are in every bundle, to be created once (`ifNoneExist`).
    pub fn patient(&mut self, size: Size) -> Value {
        let number = self.next;
        self.next += 1;
        let mut chance = Chance::new(self.seed, number);
        let country = chance.pick(&COUNTRIES);
        let person = Person::draw(&mut chance, country, self.today);
        Charting::open(chance, person, size, self.today).write()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    const TODAY_MS: u64 = 1_780_000_000_000;

    fn patients(seed: u64, size: Size, count: usize) -> Vec<Value> {
        let mut generator = Generator::new(seed, TODAY_MS);
        (0..count).map(|_| generator.patient(size)).collect()
    }

    fn resources(bundle: &Value) -> impl Iterator<Item = &Value> {
        bundle["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"])
    }

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    match member.as_str() {
                        Some(to) if name == "reference" => found.push(to),
                        _ => references(member, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn a_seed_gives_the_same_patients_whatever_was_asked_for_before() {
        assert_eq!(patients(3, Size::Standard, 5), patients(3, Size::Standard, 5));
        assert_ne!(patients(3, Size::Standard, 1), patients(4, Size::Standard, 1));
        let mut generator = Generator::new(3, TODAY_MS);
        generator.patient(Size::Large);
        assert_eq!(generator.patient(Size::Standard), patients(3, Size::Standard, 2)[1]);
    }

    #[test]
    fn every_reference_resolves_and_every_name_is_unique() {
        for bundle in patients(11, Size::Standard, 200) {
            let entries = bundle["entry"].as_array().unwrap();
            let names: BTreeSet<&str> =
                entries.iter().map(|entry| entry["fullUrl"].as_str().unwrap()).collect();
            assert_eq!(names.len(), entries.len());
            let mut found = Vec::new();
            references(&bundle, &mut found);
            assert!(found.len() > entries.len());
            for to in found {
                assert!(names.contains(to), "{to} is in no entry");
            }
        }
    }

    #[test]
    fn charts_are_as_long_as_asked() {
        for size in [Size::Small, Size::Standard, Size::Large] {
            let mut most = 0;
            for bundle in patients(5, size, 300) {
                let count = bundle["entry"].as_array().unwrap().len();
                assert!(count >= size.resources(), "{size:?}: {count}");
                most = most.max(count);
            }
            assert!(most <= size.resources() + 12, "{size:?}: {most}");
        }
    }

    #[test]
    fn there_are_many_scripts_countries_types_and_restricted_records() {
        let all = patients(1, Size::Standard, 400);
        let mut countries = BTreeSet::new();
        let mut types: BTreeMap<&str, usize> = BTreeMap::new();
        let mut letters = BTreeSet::new();
        let mut restricted = 0;
        for resource in all.iter().flat_map(resources) {
            *types.entry(resource["resourceType"].as_str().unwrap()).or_default() += 1;
            restricted += usize::from(resource["meta"]["security"][0]["code"] == "R");
            if resource["resourceType"] == "Patient" {
                countries.insert(resource["address"][0]["country"].as_str().unwrap());
                letters.extend(resource["name"][0]["text"].as_str().unwrap().chars());
            }
        }
        assert_eq!(countries.len(), 8);
        for letter in ['é', 'ω', 'ा', 'በ', 'م', 'ễ'] {
            assert!(letters.contains(&letter), "nobody's name has {letter}");
        }
        for kind in [
            "AllergyIntolerance",
            "Appointment",
            "Composition",
            "Condition",
            "DiagnosticReport",
            "Encounter",
            "Immunization",
            "MedicationRequest",
            "Observation",
            "Organization",
            "Practitioner",
        ] {
            assert!(types.get(kind).is_some_and(|count| *count > 50), "{kind}: {types:?}");
        }
        assert!(restricted > 10);
    }

    #[test]
    fn nothing_happens_before_birth_and_nobody_gets_what_they_are_allergic_to() {
        for bundle in patients(2, Size::Large, 300) {
            let patient = resources(&bundle).find(|r| r["resourceType"] == "Patient").unwrap();
            let born = patient["birthDate"].as_str().unwrap();
            let allergies: Vec<&str> = resources(&bundle)
                .filter(|r| r["resourceType"] == "AllergyIntolerance")
                .filter_map(|r| r["code"]["coding"][0]["code"].as_str())
                .collect();
            for resource in resources(&bundle) {
                for member in ["effectiveDateTime", "onsetDateTime", "occurrenceDateTime"] {
                    if let Some(when) = resource[member].as_str() {
                        assert!(&when[..10] >= born, "{when} is before {born}");
                    }
                }
                let drug = resource["medicationCodeableConcept"]["coding"][0]["code"].as_str();
                if drug == Some("J01CA04") {
                    assert!(!allergies.contains(&"91936005"), "amoxicillin despite an allergy");
                }
            }
        }
    }

    #[test]
    fn temperatures_keep_their_last_zero() {
        let literals: BTreeSet<String> = patients(6, Size::Standard, 60)
            .iter()
            .flat_map(|bundle| resources(bundle).cloned().collect::<Vec<_>>())
            .filter(|r| r["code"]["coding"][0]["code"] == "8310-5")
            .map(|r| r["valueQuantity"]["value"].to_string())
            .collect();
        assert!(literals.iter().all(|literal| literal.len() == 4), "{literals:?}");
        assert!(literals.contains("37.0") || literals.contains("38.0"), "{literals:?}");
    }
}
