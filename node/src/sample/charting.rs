//! Writing one person's chart, from the first visit to the last.

use super::Size;
use super::bundle::{ATC, CVX, Entries, ICD10, SNOMED, concept, reference};
use super::chance::{Chance, decimal};
use super::illness::{
    ALLERGIES, Dose, Drug, ILLNESSES, IMMUNIZATIONS, Illness, REACTIONS, ROUTINE_LABS, Who,
};
use super::person::Person;
use super::visit::{Visit, quantity, restricted_meta};
use jiff::ToSpan;
use jiff::civil::Date;
use serde_json::{Value, json};

/// A chart in the making.
pub(super) struct Charting {
    /// Where chance comes from.
    pub(super) chance: Chance,
    /// Whose chart it is.
    pub(super) person: Person,
    /// The Patient.
    pub(super) patient: String,
    /// The Practitioner who sees them.
    pub(super) practitioner: String,
    /// The clinic.
    pub(super) organization: String,
    entries: Entries,
    size: Size,
    today: Date,
    allergy: Option<&'static str>,
}

impl Charting {
    /// Opens a chart: clinic, practitioner, patient.
    pub(super) fn open(mut chance: Chance, person: Person, size: Size, today: Date) -> Self {
        let mut entries = Entries::new();
        let organization = entries.create_once(&mut chance, clinic(&person));
        let clinician = clinician(&mut chance, &person);
        let practitioner = entries.create_once(&mut chance, clinician);
        let resource = person.resource(&mut chance, &organization, today);
        let patient = entries.create(&mut chance, resource);
        let allergy = None;
        Self { chance, person, patient, practitioner, organization, entries, size, today, allergy }
    }

    /// Writes the whole chart and gives it as a Bundle.
    pub(super) fn write(mut self) -> Value {
        self.allergies();
        self.immunizations();
        let days = self.visit_days();
        let chronic = self.chronic_illnesses(days[0]);
        let last = days.len() - 1;
        for (at, day) in days.into_iter().enumerate() {
            self.visit(day, &chronic, at == 0, at == last);
        }
        if self.chance.percent(60) {
            self.appointment();
        }
        self.fill();
        self.entries.into_bundle()
    }

    /// Adds a resource and gives the name to refer to it by.
    pub(super) fn add(&mut self, resource: Value) -> String {
        self.entries.create(&mut self.chance, resource)
    }

    /// Adds a resource unless the chart is as long as it was to become.
    pub(super) fn add_if_room(&mut self, resource: Value) -> Option<String> {
        (self.entries.len() < self.size.resources()).then(|| self.add(resource))
    }

    /// A moment of a day in the clinic's own time.
    pub(super) fn moment(&self, day: Date, minute: i64) -> String {
        let (hour, minute) = (minute / 60, minute % 60);
        format!("{day}T{hour:02}:{minute:02}:00{}", self.person.country.offset)
    }

    /// The days of the visits, oldest first, the last within a month and all within the life.
    fn visit_days(&mut self) -> Vec<Date> {
        let count = self.size.visits();
        let life = i64::from((self.today - self.person.born).get_days());
        let mut day = self.today.saturating_sub(self.chance.between(0, 25).min(life).days());
        let mut days = vec![day];
        for _ in 1..count {
            let left = i64::from((day - self.person.born).get_days());
            let back = self.chance.between(20, 120).min(left / i64::from(count));
            day = day.saturating_sub(back.days());
            days.push(day);
        }
        days.reverse();
        days
    }

    fn allergies(&mut self) {
        if !self.chance.percent(35) {
            return;
        }
        let (code, display, category, severe) = *self.chance.pick(&ALLERGIES);
        self.allergy = Some(code);
        let reaction = *self.chance.pick(&REACTIONS);
        let clinical = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical";
        let verified = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification";
        let allergy = json!({
            "resourceType": "AllergyIntolerance",
            "clinicalStatus": concept(clinical, ("active", "Active")),
            "verificationStatus": concept(verified, ("confirmed", "Confirmed")),
            "type": "allergy",
            "category": [category],
            "criticality": if severe { "high" } else { "low" },
            "code": concept(SNOMED, (code, display)),
            "patient": reference(&self.patient),
            "recorder": reference(&self.practitioner),
            "reaction": [{
                "manifestation": [concept(SNOMED, reaction)],
                "severity": if severe { "severe" } else { "mild" },
            }],
        });
        self.add(allergy);
    }

    /// Adds the newest immunisations that were due, a tenth of the chart at most.
    fn immunizations(&mut self) {
        let mut given: Vec<(Date, (&str, &str), usize)> = Vec::new();
        for (code, name, due) in IMMUNIZATIONS {
            for (dose, month) in due.iter().enumerate() {
                let late = self.chance.between(0, 27);
                let day =
                    self.person.born.saturating_add(month.months()).saturating_add(late.days());
                // Nobody's card reaches back further than the programme does.
                if day <= self.today && day.year() >= 1985 && self.chance.percent(90) {
                    given.push((day, (code, name), dose + 1));
                }
            }
        }
        given.sort_by_key(|(day, _, _)| std::cmp::Reverse(*day));
        given.truncate(self.size.resources() / 10);
        for (day, vaccine, dose) in given.into_iter().rev() {
            let lot = self.chance.digits("L#####");
            let immunization = json!({
                "resourceType": "Immunization",
                "status": "completed",
                "vaccineCode": concept(CVX, vaccine),
                "patient": reference(&self.patient),
                "occurrenceDateTime": day.to_string(),
                "primarySource": true,
                "lotNumber": lot,
                "performer": [{"actor": reference(&self.practitioner)}],
                "protocolApplied": [{"doseNumberPositiveInt": dose}],
            });
            self.add(immunization);
        }
    }

    fn chronic_illnesses(&mut self, first_visit: Date) -> Vec<&'static Illness> {
        let fitting = self.fitting(first_visit, true);
        let years = self.person.years_on(first_visit);
        let mut chosen: Vec<&Illness> = Vec::new();
        for percent in [20 + years, years / 2] {
            if !fitting.is_empty() && self.chance.percent(percent) {
                let illness = *self.chance.pick(&fitting);
                if chosen.iter().all(|other| other.icd != illness.icd) {
                    chosen.push(illness);
                }
            }
        }
        chosen
    }

    fn fitting(&self, day: Date, chronic: bool) -> Vec<&'static Illness> {
        let years = self.person.years_on(day);
        let country = self.person.country;
        ILLNESSES
            .iter()
            .filter(|illness| illness.chronic == chronic)
            .filter(|illness| (illness.years.0..=illness.years.1).contains(&years))
            .filter(|illness| match illness.who {
                Who::Anybody => true,
                Who::Women => self.person.female,
                Who::WhereMalaria => country.malaria,
                Who::WhereTuberculosis => country.tuberculosis,
            })
            .collect()
    }

    fn visit(&mut self, day: Date, chronic: &[&'static Illness], first: bool, last: bool) {
        let acute = match self.fitting(day, false) {
            fitting if !fitting.is_empty() && self.chance.percent(55) => {
                Some(*self.chance.pick(&fitting))
            }
            _ => None,
        };
        let reason = acute.or(chronic.first().copied());
        let visit = Visit::begin(self, day, reason);
        if first {
            for illness in chronic {
                self.diagnose(&visit, illness, last);
            }
        }
        if let Some(illness) = acute {
            self.diagnose(&visit, illness, last);
        }
        let feverish = acute.is_some_and(|illness| "ABJ".contains(&illness.icd.0[..1]));
        let hypertensive = chronic.iter().any(|illness| illness.icd.0 == "I10");
        visit.vitals(self, feverish, hypertensive);
        let mut results = Vec::new();
        for illness in chronic.iter().copied().chain(acute) {
            for lab in illness.labs {
                results.extend(visit.lab(self, lab, illness.restricted));
            }
        }
        if results.len() > 1 && chronic.iter().all(|illness| !illness.restricted) {
            visit.report(self, &results);
        }
        // A restricted illness must not be told by a note that everybody reads.
        let told = reason.filter(|illness| !illness.restricted);
        let sentence = told.map_or("Check-up, nothing new.".to_owned(), |illness| {
            format!("{}. Advice given, return if worse.", illness.icd.1)
        });
        visit.note(self, &sentence, last && self.today <= day.saturating_add(3.days()));
    }

    /// Adds the Condition and what is given for it.
    fn diagnose(&mut self, visit: &Visit, illness: &Illness, last: bool) {
        let current = illness.chronic || last;
        let clinical = "http://terminology.hl7.org/CodeSystem/condition-clinical";
        let verified = "http://terminology.hl7.org/CodeSystem/condition-ver-status";
        let status = if current { ("active", "Active") } else { ("resolved", "Resolved") };
        let mut code = concept(ICD10, illness.icd);
        code["coding"] = json!([code["coding"][0], concept(SNOMED, illness.snomed)["coding"][0]]);
        let mut condition = json!({
            "resourceType": "Condition",
            "clinicalStatus": concept(clinical, status),
            "verificationStatus": concept(verified, ("confirmed", "Confirmed")),
            "category": [concept(
                "http://terminology.hl7.org/CodeSystem/condition-category",
                ("encounter-diagnosis", "Encounter Diagnosis"),
            )],
            "code": code,
            "subject": reference(&self.patient),
            "encounter": reference(&visit.encounter),
            "onsetDateTime": visit.day.to_string(),
            "recordedDate": visit.day.to_string(),
            "recorder": reference(&self.practitioner),
        });
        if !current {
            condition["abatementDateTime"] = visit.day.saturating_add(9.days()).to_string().into();
        }
        if illness.restricted {
            condition["meta"] = restricted_meta();
        }
        let condition = self.add(condition);
        let allergy = self.allergy;
        let allowed =
            illness.drugs.iter().find(|d| d.forbidden_by.is_none() || d.forbidden_by != allergy);
        if let Some(drug) = allowed {
            self.prescribe(visit, &condition, drug, illness);
        }
    }

    fn prescribe(&mut self, visit: &Visit, condition: &str, drug: &Drug, illness: &Illness) {
        let over = drug.days.is_some_and(|days| visit.day.saturating_add(days.days()) < self.today);
        let mut request = json!({
            "resourceType": "MedicationRequest",
            "status": if over { "completed" } else { "active" },
            "intent": "order",
            "medicationCodeableConcept": concept(ATC, drug.atc),
            "subject": reference(&self.patient),
            "encounter": reference(&visit.encounter),
            "authoredOn": visit.day.to_string(),
            "requester": reference(&self.practitioner),
            "reasonReference": [reference(condition)],
            "dosageInstruction": [self.dosage(visit.day, drug)],
        });
        if let Some(days) = drug.days {
            request["dispenseRequest"] = json!({
                "expectedSupplyDuration":
                    {"value": days, "unit": "days", "system": super::bundle::UCUM, "code": "d"},
            });
        }
        if illness.restricted {
            request["meta"] = restricted_meta();
        }
        self.add(request);
    }

    fn dosage(&self, day: Date, drug: &Drug) -> Value {
        let (amount, unit) = amount(drug.dose, self.person.grams_on(day));
        let route = match drug.dose {
            Dose::Puffs(_) => ("447694001", "Respiratory tract route"),
            _ => ("26643006", "Oral route"),
        };
        let often = match drug.daily {
            1 => "once daily".to_owned(),
            2 => "twice daily".to_owned(),
            times => format!("{times} times daily"),
        };
        let mut repeat =
            json!({"frequency": drug.daily, "period": decimal(1, 0), "periodUnit": "d"});
        let mut text = format!("{amount} {} {often}", unit.trim_matches(['{', '}']));
        if let Some(days) = drug.days {
            repeat["boundsDuration"] =
                json!({"value": days, "unit": "d", "system": super::bundle::UCUM, "code": "d"});
            text.push_str(&format!(" for {days} days"));
        }
        json!({
            "text": text,
            "timing": {"repeat": repeat},
            "asNeededBoolean": matches!(drug.dose, Dose::Puffs(_)),
            "route": concept(SNOMED, route),
            "doseAndRate": [{"doseQuantity": quantity(amount.into(), unit)}],
        })
    }

    fn appointment(&mut self) {
        let day = self.today.saturating_add(self.chance.between(7, 60).days());
        let minute = self.chance.between(8 * 4, 16 * 4) * 15;
        let appointment = json!({
            "resourceType": "Appointment",
            "status": "booked",
            "description": self.person.country.note,
            "start": self.moment(day, minute),
            "end": self.moment(day, minute + 15),
            "participant": [
                {"actor": reference(&self.patient), "status": "accepted"},
                {"actor": reference(&self.practitioner), "status": "accepted"},
            ],
        });
        self.add(appointment);
    }

    /// Adds check-ups on earlier days until the chart is as long as it was to become.
    fn fill(&mut self) {
        let life = i64::from((self.today - self.person.born).get_days());
        let mut labs = ROUTINE_LABS.iter().cycle();
        while self.entries.len() < self.size.resources() {
            let day = self.today.saturating_sub(self.chance.between(0, life.min(900)).days());
            let visit = Visit::begin(self, day, None);
            visit.vitals(self, false, false);
            let results: Vec<String> =
                labs.by_ref().take(3).filter_map(|lab| visit.lab(self, lab, false)).collect();
            if results.len() > 1 {
                visit.report(self, &results);
            }
        }
    }
}

fn amount(dose: Dose, grams: i64) -> (i64, &'static str) {
    match dose {
        Dose::Fixed(amount, unit) => (amount, unit),
        Dose::Puffs(puffs) => (puffs, "{puff}"),
        Dose::ByWeight { mg_per_kg, mg_max, mg_step } => {
            let exact = (mg_per_kg * grams / 1000).min(mg_max);
            ((exact / mg_step * mg_step).max(mg_step), "mg")
        }
        Dose::TabletsByBand => {
            let tablets = match grams / 1000 {
                ..15 => 1,
                15..25 => 2,
                25..35 => 3,
                _ => 4,
            };
            (tablets, "{tablet}")
        }
    }
}

fn clinic(person: &Person) -> Value {
    let country = person.country;
    json!({
        "resourceType": "Organization",
        "identifier": [{
            "system": "https://clinics.example",
            "value": format!("{}-001", country.code),
        }],
        "active": true,
        "type": [concept(
            "http://terminology.hl7.org/CodeSystem/organization-type",
            ("prov", "Healthcare Provider"),
        )],
        "name": country.clinic,
        "address": [{"city": country.towns[0].0, "country": country.code}],
    })
}

/// One of a clinic's three clinicians: the same number is the same person in every chart.
fn clinician(chance: &mut Chance, person: &Person) -> Value {
    let country = person.country;
    let number = chance.between(0, 2) as usize;
    let families = match country.families_of_women {
        [] => country.families,
        of_women => of_women,
    };
    let family = families.get(number).unwrap_or(&country.men[number]);
    json!({
        "resourceType": "Practitioner",
        "identifier": [{
            "system": "https://clinicians.example",
            "value": format!("{}-{:03}", country.code, number + 1),
        }],
        "active": true,
        "name": [{"family": family.0, "given": [country.women[number + 1].0]}],
        "gender": "female",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doses_follow_weight_and_have_a_most() {
        let paracetamol = Dose::ByWeight { mg_per_kg: 15, mg_max: 1000, mg_step: 25 };
        assert_eq!(amount(paracetamol, 10_000), (150, "mg"));
        assert_eq!(amount(paracetamol, 90_000), (1000, "mg"));
        assert_eq!(amount(paracetamol, 1_000), (25, "mg"));
        assert_eq!(amount(Dose::TabletsByBand, 14_999), (1, "{tablet}"));
        assert_eq!(amount(Dose::TabletsByBand, 60_000), (4, "{tablet}"));
    }
}
