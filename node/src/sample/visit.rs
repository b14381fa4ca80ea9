//! One visit: the encounter, what was measured, and the note.

use super::bundle::{LOINC, SNOMED, UCUM, coding, concept, reference};
use super::chance::decimal;
use super::charting::Charting;
use super::illness::{Illness, Lab, Outcome};
use jiff::civil::Date;
use serde_json::{Value, json};

/// A visit that has begun.
pub(super) struct Visit {
    /// The day.
    pub(super) day: Date,
    /// The Encounter.
    pub(super) encounter: String,
    /// Minutes since midnight at which it began.
    minute: i64,
}

impl Visit {
    /// Adds the Encounter.
    pub(super) fn begin(charting: &mut Charting, day: Date, reason: Option<&Illness>) -> Self {
        let minute = charting.chance.between(8 * 60, 16 * 60);
        let length = charting.chance.between(10, 35);
        let mut encounter = json!({
            "resourceType": "Encounter",
            "status": "finished",
            "class": {
                "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
                "code": "AMB",
                "display": "ambulatory",
            },
            "subject": reference(&charting.patient),
            "participant": [{"individual": reference(&charting.practitioner)}],
            "period": {
                "start": charting.moment(day, minute),
                "end": charting.moment(day, minute + length),
            },
            "serviceProvider": reference(&charting.organization),
        });
        encounter["reasonCode"] = match reason {
            Some(illness) => json!([concept(SNOMED, illness.snomed)]),
            None => json!([concept(SNOMED, ("185349003", "Encounter for check up"))]),
        };
        let encounter = charting.add(encounter);
        Self { day, encounter, minute }
    }

    /// Adds what is measured of everybody, as many as there is room for.
    pub(super) fn vitals(&self, charting: &mut Charting, feverish: bool, hypertensive: bool) {
        let years = charting.person.years_on(self.day);
        let day_to_day = charting.chance.between(-15, 15);
        let grams = charting.person.grams_on(self.day) * (1000 + day_to_day) / 1000;
        let millimetres = charting.person.millimetres_on(self.day);
        let temperature = if feverish {
            charting.chance.between(378, 401)
        } else {
            charting.chance.between(361, 373)
        };
        let heart = match years {
            0 => charting.chance.between(105, 150),
            1..=5 => charting.chance.between(85, 125),
            _ => charting.chance.between(58, 96),
        } + if feverish { 12 } else { 0 };
        let breaths = match years {
            0 => charting.chance.between(30, 48),
            1..=5 => charting.chance.between(20, 34),
            _ => charting.chance.between(12, 20),
        };
        let oxygen = charting.chance.between(94, 100);
        self.vital(
            charting,
            ("8310-5", "Body temperature"),
            quantity(decimal(temperature, 1), "Cel"),
        );
        self.vital(charting, ("29463-7", "Body weight"), quantity(decimal(grams / 10, 2), "kg"));
        self.vital(charting, ("8867-4", "Heart rate"), quantity(heart.into(), "/min"));
        if years >= 12 {
            self.blood_pressure(charting, hypertensive);
        } else {
            let height = quantity(decimal(millimetres, 1), "cm");
            self.vital(charting, ("8302-2", "Body height"), height);
        }
        self.vital(charting, ("9279-1", "Respiratory rate"), quantity(breaths.into(), "/min"));
        if feverish {
            let name = ("59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry");
            self.vital(charting, name, quantity(oxygen.into(), "%"));
        }
    }

    fn vital(&self, charting: &mut Charting, loinc: (&str, &str), value: Value) {
        let mut observation = self.observation(charting, "vital-signs", loinc);
        observation["valueQuantity"] = value;
        charting.add_if_room(observation);
    }

    fn blood_pressure(&self, charting: &mut Charting, hypertensive: bool) {
        let systolic = match hypertensive {
            true => charting.chance.between(136, 178),
            false => charting.chance.between(104, 134),
        };
        let diastolic = systolic * charting.chance.between(58, 66) / 100;
        let mut panel = self.observation(
            charting,
            "vital-signs",
            ("85354-9", "Blood pressure panel with all children optional"),
        );
        panel["component"] = json!([
            {
                "code": concept(LOINC, ("8480-6", "Systolic blood pressure")),
                "valueQuantity": quantity(systolic.into(), "mm[Hg]"),
            },
            {
                "code": concept(LOINC, ("8462-4", "Diastolic blood pressure")),
                "valueQuantity": quantity(diastolic.into(), "mm[Hg]"),
            },
        ]);
        charting.add_if_room(panel);
    }

    /// Adds a laboratory result and gives its name, if there is room for it.
    pub(super) fn lab(
        &self,
        charting: &mut Charting,
        lab: &Lab,
        restricted: bool,
    ) -> Option<String> {
        let mut observation = self.observation(charting, "laboratory", lab.loinc);
        match lab.result {
            Outcome::Number { low, high, places, unit } => {
                let value = charting.chance.between(low, high);
                observation["valueQuantity"] = quantity(decimal(value, places), unit);
            }
            Outcome::Sign(percent) => {
                let sign = match charting.chance.percent(percent) {
                    true => ("10828004", "Positive"),
                    false => ("260385009", "Negative"),
                };
                observation["valueCodeableConcept"] = concept(SNOMED, sign);
            }
        }
        if restricted {
            observation["meta"] = restricted_meta();
        }
        charting.add_if_room(observation)
    }

    /// Adds a DiagnosticReport of several results.
    pub(super) fn report(&self, charting: &mut Charting, results: &[String]) {
        let report = json!({
            "resourceType": "DiagnosticReport",
            "status": "final",
            "category": [concept(
                "http://terminology.hl7.org/CodeSystem/v2-0074",
                ("LAB", "Laboratory"),
            )],
            "code": concept(LOINC, ("11502-2", "Laboratory report")),
            "subject": reference(&charting.patient),
            "encounter": reference(&self.encounter),
            "effectiveDateTime": charting.moment(self.day, self.minute + 9),
            "issued": charting.moment(self.day, self.minute + 95),
            "performer": [reference(&charting.organization)],
            "result": results.iter().map(|result| reference(result)).collect::<Vec<_>>(),
        });
        charting.add_if_room(report);
    }

    /// Adds the note; a draft can still be written on.
    pub(super) fn note(&self, charting: &mut Charting, sentence: &str, draft: bool) {
        let language = charting.person.country.language;
        let narrative = json!({
            "status": "generated",
            "div": format!(
                "<div xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"{language}\"><p>{}</p></div>",
                escape(sentence),
            ),
        });
        let note = json!({
            "resourceType": "Composition",
            "language": language,
            "text": narrative,
            "status": if draft { "preliminary" } else { "final" },
            "type": concept(LOINC, ("11506-3", "Progress note")),
            "subject": reference(&charting.patient),
            "encounter": reference(&self.encounter),
            "date": charting.moment(self.day, self.minute + 12),
            "author": [reference(&charting.practitioner)],
            "title": charting.person.country.note,
            "section": [{
                "title": charting.person.country.note,
                "text": narrative,
            }],
        });
        charting.add_if_room(note);
    }

    fn observation(&self, charting: &Charting, category: &str, loinc: (&str, &str)) -> Value {
        json!({
            "resourceType": "Observation",
            "status": "final",
            "category": [{"coding": [coding(
                "http://terminology.hl7.org/CodeSystem/observation-category",
                category,
            )]}],
            "code": concept(LOINC, loinc),
            "subject": reference(&charting.patient),
            "encounter": reference(&self.encounter),
            "effectiveDateTime": charting.moment(self.day, self.minute + 3),
            "performer": [reference(&charting.practitioner)],
        })
    }
}

/// The label of what only a few may read.
pub(super) fn restricted_meta() -> Value {
    json!({"security": [{
        "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
        "code": "R",
        "display": "restricted",
    }]})
}

/// A Quantity in UCUM.
pub(super) fn quantity(value: Value, unit: &str) -> Value {
    json!({"value": value, "unit": unit, "system": UCUM, "code": unit})
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
