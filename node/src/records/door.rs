//! The check at the door: whether a permit holds, covers the act, and covers the very resource;
//! and what a decision needs to know of the patient: consents, care team, emergencies.

use super::body::body_of;
use super::{Records, RecordsError};
use crate::access::consent::{Access, Verdict, verdict};
use crate::access::notifiable::is_notifiable;
use crate::access::{Action, Actor, Denial, Permit, Purpose, Subject, Tightening, operator_permit};
use crate::audit::AuditOutcome;
use crate::chart::{Section, is_restricted, section_of};
use crate::store::index::{ConflictFilter, Listing, ResourceRow};
use carnet_sync_protocol::id::EntryId;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// How long an emergency view lasts, by the node's clock: a shift.
pub const EMERGENCY_MS: u64 = 8 * 3_600_000;

/// Consents of one patient that are looked at; more are a mistake, and then nobody passes.
const CONSENTS_MAX: usize = 500;

/// Care teams of one patient that are looked at.
const TEAMS_MAX: usize = 100;

/// Patients of whom a judge remembers what it read.
const REMEMBERED_MAX: usize = 256;

impl Records {
    /// The permit of an actor for an act, or why there is none; a denial is on record.
    pub fn authorize(
        &mut self,
        actor: &Actor,
        action: Action,
        purpose: Option<Purpose>,
    ) -> Result<Permit, RecordsError> {
        let (site, now) = (self.own_site(), self.environment.unix_ms());
        let tightening = self.tightening.clone();
        let Some(charts) = &self.charts else {
            // Nobody else is known before the node is unlocked.
            return if *actor == Actor::Operator {
                Ok(operator_permit(action))
            } else {
                Err(RecordsError::Locked)
            };
        };
        let decided = charts.staff.permit(actor, &site, action, purpose, &tightening, now);
        decided.map_err(|denial| self.deny(actor, action, denial))
    }

    /// Takes the practice's own rules from the settings.
    pub fn tighten(&mut self, tightening: Tightening) {
        self.tightening = Arc::new(tightening);
    }

    pub(super) fn own_site(&self) -> String {
        self.site_of(&self.keyring.node())
    }

    /// Whether the permit holds here and now and covers the act. A locked node knows no staff: what
    /// it does at all shows nothing of a chart.
    pub(super) fn require(&mut self, permit: &Permit, action: Action) -> Result<(), RecordsError> {
        let now = self.environment.unix_ms();
        let held = match &self.charts {
            Some(charts) => charts.staff.still_holds(permit, &self.own_site(), now),
            None => Ok(()),
        };
        let covered = if permit.allows(action) {
            held
        } else {
            held.and(Err(Denial::NotThis(action.name())))
        };
        covered.map_err(|denial| self.deny(&permit.actor().clone(), action, denial))
    }

    fn deny(&mut self, actor: &Actor, action: Action, denial: Denial) -> RecordsError {
        let mut event = self.event_by(actor, action.name());
        event.outcome = AuditOutcome::Denied;
        event.detail = denial.code().to_owned();
        self.note_event(event);
        RecordsError::Denied(denial)
    }

    /// Looks at resources on behalf of a permit.
    pub(super) fn judge<'a>(&'a self, permit: &'a Permit) -> Judge<'a> {
        Judge { records: self, permit, patients: RefCell::default(), today: self.today() }
    }

    /// The day, as `YYYY-MM-DD`, in UTC.
    fn today(&self) -> String {
        let mut instant = super::read::instant(self.environment.unix_ms());
        instant.truncate(10);
        instant
    }

    /// Refuses a resource that the permit does not cover, on record.
    pub(super) fn admit(
        &mut self,
        permit: &Permit,
        row: &ResourceRow,
        changing: bool,
    ) -> Result<(), RecordsError> {
        let judge = self.judge(permit);
        let decided = judge.decide_row(row, &body_of(row)?, changing)?;
        let consents = judge.consents(row.patient.as_deref())?;
        let place = (row.kind.as_str(), row.id.as_str(), row.patient.as_deref());
        self.on_record(permit, place, changing, decided, consents)
    }

    /// The same of a body that is not yet in the chart.
    pub(super) fn admit_body(
        &mut self,
        permit: &Permit,
        place: (&str, &str, Option<&str>),
        body: &Value,
    ) -> Result<(), RecordsError> {
        let judge = self.judge(permit);
        let (kind, id, patient) = place;
        let decided = judge.decide(kind, id, patient, body, true)?;
        let consents = judge.consents(patient)?;
        self.on_record(permit, place, true, decided, consents)
    }

    fn on_record(
        &mut self,
        permit: &Permit,
        (kind, id, patient): (&str, &str, Option<&str>),
        changing: bool,
        decided: Result<(), Denial>,
        consents: Vec<String>,
    ) -> Result<(), RecordsError> {
        decided.map_err(|denial| {
            let action = if changing { Action::Write } else { Action::Read };
            let mut event = self.event_of(permit, action.name());
            event.outcome = AuditOutcome::Denied;
            event.detail = denial.code().to_owned();
            event.subject = Some(format!("{kind}/{id}"));
            event.patient = patient.map(str::to_owned);
            event.consents = consents;
            self.note_event(event);
            RecordsError::Denied(denial)
        })
    }

    fn of_patient(
        &self,
        kind: &str,
        patient: &str,
        limit: usize,
    ) -> Result<Vec<ResourceRow>, RecordsError> {
        Ok(self.charts()?.index.list(&Listing {
            kind: Some(kind.to_owned()),
            patient: Some(patient.to_owned()),
            limit,
            ..Listing::default()
        })?)
    }

    /// The versions of the person's Consents as they stand, in whichever of their charts.
    pub(super) fn consent_versions(&self, patient: &str) -> Result<Vec<String>, RecordsError> {
        let mut versions = Vec::new();
        for chart in self.charts()?.index.person(patient)? {
            let rows = self.of_patient("Consent", &chart, CONSENTS_MAX)?;
            versions.extend(rows.into_iter().map(|row| EntryId(row.version.id).to_string()));
        }
        Ok(versions)
    }

    /// Whether the actor has opened this patient's chart in an emergency, and not long ago.
    pub(super) fn in_emergency(&self, actor: &Actor, patient: &str) -> bool {
        let now = self.environment.unix_ms();
        let name = actor.to_string();
        self.charts.as_ref().is_some_and(|charts| {
            charts.staff.emergencies().iter().any(|emergency| {
                emergency.patient == patient
                    && emergency.actor == name
                    && now.abs_diff(emergency.time_ms) <= EMERGENCY_MS
            })
        })
    }
}

/// What is known of a patient that decides on their resources.
struct PatientRules {
    /// The Consents' versions, and each of them with every value on which sites disagree.
    consents: Vec<(String, Vec<Value>)>,
    /// Those in the charts that are linked with the patient's.
    elsewhere: Vec<(String, Vec<Value>)>,
    on_care_team: bool,
    in_emergency: bool,
}

/// Decides on resources, remembering what it has read of their patients.
pub(super) struct Judge<'a> {
    records: &'a Records,
    permit: &'a Permit,
    patients: RefCell<BTreeMap<String, Rc<PatientRules>>>,
    today: String,
}

impl Judge<'_> {
    /// Whether the permit covers a resource of the chart, with whatever is disputed in it.
    pub(super) fn decide_row(
        &self,
        row: &ResourceRow,
        body: &Value,
        changing: bool,
    ) -> Result<Result<(), Denial>, RecordsError> {
        let decide =
            |body: &Value| self.decide(&row.kind, &row.id, row.patient.as_deref(), body, changing);
        let decided = decide(body)?;
        if decided.is_err() || !row.conflicted || self.permit.is_unlimited() {
            return Ok(decided);
        }
        // What one site labelled restricted is not shown through another site's version of it.
        for variant in self.variants(row)? {
            let decided = decide(&variant)?;
            if decided.is_err() {
                return Ok(decided);
            }
        }
        Ok(Ok(()))
    }

    /// Whether the permit covers a resource that says this.
    pub(super) fn decide(
        &self,
        kind: &str,
        id: &str,
        patient: Option<&str>,
        body: &Value,
        changing: bool,
    ) -> Result<Result<(), Denial>, RecordsError> {
        if self.permit.is_unlimited() {
            return Ok(Ok(()));
        }
        let rules = patient.map(|patient| self.rules(patient)).transpose()?;
        let restricted = is_restricted(body);
        let section = section_of(kind, patient.is_some(), restricted);
        let consent = rules.as_ref().map_or(Verdict::Silent, |rules| {
            self.consent(rules, kind, &format!("{kind}/{id}"), section, body)
        });
        let subject = Subject {
            kind,
            patient,
            restricted,
            notifiable: is_notifiable(kind, body),
            on_care_team: rules.as_ref().is_some_and(|rules| rules.on_care_team),
            in_emergency: rules.as_ref().is_some_and(|rules| rules.in_emergency),
            consent,
        };
        Ok(self.permit.admits(&subject, changing))
    }

    /// Whether the permit covers who the patient is.
    pub(super) fn admits_patient(&self, id: &str) -> Result<bool, RecordsError> {
        let Some(row) = self.records.charts()?.index.resource("Patient", id)? else {
            return Ok(false);
        };
        Ok(self.decide("Patient", id, Some(id), &body_of(&row)?, false)?.is_ok())
    }

    /// The versions of the patient's Consents, for the record.
    pub(super) fn consents(&self, patient: Option<&str>) -> Result<Vec<String>, RecordsError> {
        let Some(patient) = patient else { return Ok(Vec::new()) };
        if self.permit.is_unlimited() {
            return Ok(Vec::new());
        }
        let rules = self.rules(patient)?;
        let all = rules.consents.iter().chain(&rules.elsewhere);
        Ok(all.map(|(version, _)| version.clone()).collect())
    }

    fn consent(
        &self,
        rules: &PatientRules,
        kind: &str,
        reference: &str,
        section: Section,
        body: &Value,
    ) -> Verdict {
        let access = Access {
            actor: self.permit.actor(),
            practitioner: self.practitioner(),
            roles: self.permit.roles(),
            purpose: self.permit.purpose(),
            today: &self.today,
            kind,
            reference,
            section: section.as_str(),
            code: &body["code"],
        };
        let one = |variants: &Vec<Value>| {
            let verdicts: Vec<Verdict> = variants.iter().map(|v| verdict(v, &access)).collect();
            // Where sites disagree, a permit counts only if all of them give it.
            match verdicts.iter().copied().reduce(Verdict::and).unwrap_or_default() {
                Verdict::Permitted if verdicts.contains(&Verdict::Silent) => Verdict::Silent,
                said => said,
            }
        };
        // One person's no holds in all of their charts. A yes does not: whoever links two charts
        // must not open one with what was said in the other.
        let no = |variants: &Vec<Value>| one(variants) == Verdict::Denied;
        if rules.elsewhere.iter().any(|(_, variants)| no(variants)) {
            return Verdict::Denied;
        }
        rules.consents.iter().map(|(_, variants)| one(variants)).fold(Verdict::Silent, Verdict::and)
    }

    fn practitioner(&self) -> Option<&str> {
        let Actor::Staff(id) = self.permit.actor() else { return None };
        let charts = self.records.charts.as_ref()?;
        charts.staff.member(id)?.person.practitioner.as_deref()
    }

    fn rules(&self, patient: &str) -> Result<Rc<PatientRules>, RecordsError> {
        if let Some(rules) = self.patients.borrow().get(patient) {
            return Ok(rules.clone());
        }
        let mut elsewhere = Vec::new();
        let person = self.records.charts()?.index.person(patient)?;
        for chart in person.iter().filter(|chart| *chart != patient) {
            elsewhere.extend(self.read_consents(chart)?);
        }
        let rules = Rc::new(PatientRules {
            consents: self.read_consents(patient)?,
            elsewhere,
            on_care_team: self.is_on_care_team(patient)?,
            in_emergency: self.records.in_emergency(self.permit.actor(), patient),
        });
        let mut patients = self.patients.borrow_mut();
        if patients.len() >= REMEMBERED_MAX {
            patients.clear();
        }
        patients.insert(patient.to_owned(), rules.clone());
        Ok(rules)
    }

    fn read_consents(&self, patient: &str) -> Result<Vec<(String, Vec<Value>)>, RecordsError> {
        let rows = self.records.of_patient("Consent", patient, CONSENTS_MAX + 1)?;
        if rows.len() > CONSENTS_MAX {
            return Err(RecordsError::BadRequest(
                "the patient has more Consents than can be honoured; end those that no longer hold"
                    .into(),
            ));
        }
        let version = |row: &ResourceRow| EntryId(row.version.id).to_string();
        rows.iter().map(|row| Ok((version(row), self.variants(row)?))).collect()
    }

    /// A resource with each value that some site gave a disputed element.
    fn variants(&self, row: &ResourceRow) -> Result<Vec<Value>, RecordsError> {
        let body = body_of(row)?;
        let mut variants = vec![body.clone()];
        if !row.conflicted {
            return Ok(variants);
        }
        let conflicts = self.records.charts()?.index.conflicts(&ConflictFilter {
            resource: Some((row.kind.clone(), row.id.clone())),
            patient: None,
            after: None,
            limit: CONSENTS_MAX,
        })?;
        for conflict in conflicts {
            let values: Vec<Value> = serde_json::from_slice(&conflict.json)
                .map_err(|error| RecordsError::Bug(format!("a conflict is not JSON: {error}")))?;
            for value in values {
                if value["value"]["resourceType"].is_string() {
                    variants.push(value["value"].clone());
                } else {
                    let mut variant = body.clone();
                    variant[conflict.element.as_str()] = value["value"].clone();
                    variants.push(variant);
                }
            }
        }
        Ok(variants)
    }

    /// Whether an active CareTeam of the patient, or the Patient's general practitioner, names them.
    fn is_on_care_team(&self, patient: &str) -> Result<bool, RecordsError> {
        let Actor::Staff(id) = self.permit.actor() else { return Ok(false) };
        let named = format!("Practitioner/{}", self.practitioner().unwrap_or(id));
        let is_them = |reference: &Value| reference["reference"] == named.as_str();
        for row in self.records.of_patient("CareTeam", patient, TEAMS_MAX)? {
            let team = body_of(&row)?;
            let counts = team["status"].is_null() || team["status"] == "active";
            let members = team["participant"].as_array().into_iter().flatten();
            if counts && members.into_iter().any(|member| is_them(&member["member"])) {
                return Ok(true);
            }
        }
        let Some(row) = self.records.charts()?.index.resource("Patient", patient)? else {
            return Ok(false);
        };
        let body = body_of(&row)?;
        Ok(body["generalPractitioner"].as_array().into_iter().flatten().any(is_them))
    }
}
