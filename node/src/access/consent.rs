//! What the patient has said about who may see their record: FHIR R4 Consent, as a decision.
//!
//! A Consent counts while it is active and its scope is privacy. Its root provision and the
//! exceptions nested in it are followed down to the deepest that fits (R4 Consent, "provision").
//! Of several that fit, denial wins, in one Consent and among them; so does it when sites disagree
//! on a Consent, until somebody decides. A permit counts only where it names somebody: what
//! permits everybody gives nobody more than their role does.
//!
//! A person is named by `actor.reference` (`Practitioner/ID`, `Device/ID` for a program) or by an
//! identifier of the system [`STAFF_SYSTEM`]; a role by a code or identifier of [`ROLE_SYSTEM`]; a
//! class of information by a resource type or a code of [`CLASS_SYSTEM`]; a section of the chart
//! by a code of [`SECTION_SYSTEM`].

use super::class::Class;
use super::permit::{Actor, Purpose};
use super::role::Role;
use serde_json::Value;
use std::collections::BTreeSet;

/// Identifiers of members of staff: their user ids.
pub const STAFF_SYSTEM: &str = "urn:carnet:staff";

/// Codes of roles.
pub const ROLE_SYSTEM: &str = "urn:carnet:role";

/// Codes of classes of information.
pub const CLASS_SYSTEM: &str = "urn:carnet:class";

/// Codes of a chart's sections.
pub const SECTION_SYSTEM: &str = "urn:carnet:section";

/// Exceptions within exceptions: nobody needs more, and a hostile Consent gets no more.
const DEPTH_MAX: usize = 8;

/// What the patient says of one access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: the role decides.
    #[default]
    Silent,
    /// They want this person or role to have it.
    Permitted,
    /// They do not.
    Denied,
}

impl Verdict {
    /// Both said at once: denial wins.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Denied, _) | (_, Self::Denied) => Self::Denied,
            (Self::Permitted, _) | (_, Self::Permitted) => Self::Permitted,
            _ => Self::Silent,
        }
    }
}

/// An access, as far as a Consent can speak of it.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// Their Practitioner resource's id, where it is not the user id.
    pub practitioner: Option<&'a str>,
    /// In which roles.
    pub roles: &'a BTreeSet<Role>,
    /// Why.
    pub purpose: Purpose,
    /// The day, as `YYYY-MM-DD`.
    pub today: &'a str,
    /// The type of the resource.
    pub kind: &'a str,
    /// `Type/id`.
    pub reference: &'a str,
    /// The section of the chart: `critical`, `clinical`, `restricted` or `administrative`.
    pub section: &'a str,
    /// What the resource is about: its `code`.
    pub code: &'a Value,
}

/// What one Consent says.
pub fn verdict(consent: &Value, access: &Access<'_>) -> Verdict {
    if consent["status"] != "active" || !is_about_privacy(consent) {
        return Verdict::Silent;
    }
    follow(&consent["provision"], access, false, DEPTH_MAX).unwrap_or_default()
}

fn is_about_privacy(consent: &Value) -> bool {
    let mut codings = concept_codings(&consent["scope"]).peekable();
    codings.peek().is_none() || codings.any(|coding| coding["code"] == "patient-privacy")
}

/// What a provision that fits says, or its exceptions; nothing if it does not fit.
fn follow(
    provision: &Value,
    access: &Access<'_>,
    named_above: bool,
    depth: usize,
) -> Option<Verdict> {
    if !provision.is_object() || depth == 0 || !fits(provision, access) {
        return None;
    }
    let named = named_above || provision["actor"].is_array();
    let exceptions = items(&provision["provision"])
        .filter_map(|exception| follow(exception, access, named, depth - 1));
    if let Some(exception) = exceptions.reduce(Verdict::and) {
        return Some(exception);
    }
    Some(match provision["type"].as_str() {
        Some("deny") => Verdict::Denied,
        Some("permit") if named => Verdict::Permitted,
        _ => Verdict::Silent,
    })
}

fn fits(provision: &Value, access: &Access<'_>) -> bool {
    let any = |name: &str, fits: &dyn Fn(&Value) -> bool| match &provision[name] {
        Value::Null => true,
        list => items(list).any(fits),
    };
    is_in_period(&provision["period"], access.today)
        && any("actor", &|actor| names(actor, access))
        && any("purpose", &|coding| {
            coding["code"].as_str().and_then(Purpose::of_code) == Some(access.purpose)
        })
        && any("class", &|coding| is_class(coding, access))
        && any("securityLabel", &|label| {
            matches!(label["code"].as_str(), Some("R" | "V")) && access.section == "restricted"
        })
        && any("data", &|data| data["reference"]["reference"] == access.reference)
        && any("code", &|code| {
            concept_codings(code).any(|c| concept_codings(access.code).any(|own| same_code(c, own)))
        })
        // What this program can't judge closes and never opens.
        && (provision["dataPeriod"].is_null() || provision["type"] == "deny")
}

fn same_code(a: &Value, b: &Value) -> bool {
    a["code"].is_string() && a["code"] == b["code"] && a["system"] == b["system"]
}

fn names(actor: &Value, access: &Access<'_>) -> bool {
    let reference = &actor["reference"];
    let ids = match access.actor {
        Actor::Staff(id) => vec![
            format!("Practitioner/{id}"),
            format!("Practitioner/{}", access.practitioner.unwrap_or(id)),
        ],
        Actor::Application(id) => vec![format!("Device/{id}")],
        Actor::Patient(id) => vec![format!("Patient/{id}")],
        Actor::Operator => Vec::new(),
    };
    if reference["reference"].as_str().is_some_and(|named| ids.iter().any(|id| named == id)) {
        return true;
    }
    let identifier = &reference["identifier"];
    let is_role = |code: &Value| {
        code.as_str().and_then(|code| code.parse().ok()).is_some_and(|r| access.roles.contains(&r))
    };
    if identifier["system"] == STAFF_SYSTEM {
        return matches!(access.actor, Actor::Staff(id) if identifier["value"] == id.as_str());
    }
    (identifier["system"] == ROLE_SYSTEM && is_role(&identifier["value"]))
        || concept_codings(&actor["role"])
            .any(|coding| coding["system"] == ROLE_SYSTEM && is_role(&coding["code"]))
}

fn is_class(coding: &Value, access: &Access<'_>) -> bool {
    let code = coding["code"].as_str().unwrap_or_default();
    match coding["system"].as_str() {
        Some(CLASS_SYSTEM) => Class::named(code) == Some(Class::of(access.kind)),
        Some(SECTION_SYSTEM) => code == access.section,
        _ => code == access.kind,
    }
}

/// Whether the day lies within; a partial date covers all of its month or year.
fn is_in_period(period: &Value, today: &str) -> bool {
    let day = |end: &str| period[end].as_str().map(|text| &text[..text.len().min(10)]);
    let cut = |to: &str| &today[..today.len().min(to.len())];
    day("start").is_none_or(|start| cut(start) >= start)
        && day("end").is_none_or(|end| cut(end) <= end)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn concept_codings(concept: &Value) -> impl Iterator<Item = &Value> {
    items(&concept["coding"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(provision: &Value, id: &str, role: Role, purpose: Purpose, kind: &str) -> Verdict {
        let consent = json!({
            "resourceType": "Consent", "status": "active", "provision": provision,
            "scope": {"coding": [{"code": "patient-privacy"}]},
        });
        let (actor, roles) = (Actor::Staff(id.into()), BTreeSet::from([role]));
        let reference = format!("{kind}/1");
        let access = Access {
            actor: &actor,
            practitioner: None,
            roles: &roles,
            purpose,
            today: "2026-11-25",
            kind,
            reference: &reference,
            section: "clinical",
            code: &json!({"coding": [{"system": "http://loinc.org", "code": "55277-8"}]}),
        };
        verdict(&consent, &access)
    }

    fn nurse(provision: &Value) -> Verdict {
        said(provision, "awa", Role::Nurse, Purpose::Treatment, "Observation")
    }

    #[test]
    fn a_person_a_role_a_class_or_a_purpose_is_denied() {
        let awa =
            json!({"type": "deny", "actor": [{"reference": {"reference": "Practitioner/awa"}}]});
        assert_eq!(nurse(&awa), Verdict::Denied);
        let other = said(&awa, "ben", Role::Nurse, Purpose::Treatment, "Observation");
        assert_eq!(other, Verdict::Silent);
        let by_id = json!({"type": "deny", "actor": [{"reference": {"identifier":
            {"system": STAFF_SYSTEM, "value": "awa"}}}]});
        assert_eq!(nurse(&by_id), Verdict::Denied);
        let nurses = json!({"type": "deny", "actor": [{"role": {"coding": [
            {"system": ROLE_SYSTEM, "code": "nurse"}]}}]});
        assert_eq!(nurse(&nurses), Verdict::Denied);
        let doctor = said(&nurses, "awa", Role::Physician, Purpose::Treatment, "Observation");
        assert_eq!(doctor, Verdict::Silent);
        let payment = json!({"type": "deny", "purpose": [{"code": "HPAYMT"}]});
        assert_eq!(nurse(&payment), Verdict::Silent);
        assert_eq!(said(&payment, "c", Role::Billing, Purpose::Payment, "Claim"), Verdict::Denied);
        for (system, code, denied) in [
            ("http://hl7.org/fhir/resource-types", "Observation", true),
            ("http://hl7.org/fhir/resource-types", "Composition", false),
            (CLASS_SYSTEM, "observations", true),
            (CLASS_SYSTEM, "notes", false),
            (SECTION_SYSTEM, "clinical", true),
            (SECTION_SYSTEM, "critical", false),
        ] {
            let class = json!({"type": "deny", "class": [{"system": system, "code": code}]});
            assert_eq!(nurse(&class) == Verdict::Denied, denied, "{code}");
        }
    }

    #[test]
    fn an_exception_is_followed_and_ends_with_its_day() {
        let but = |end: &str| {
            json!({"type": "deny", "provision": [{"type": "permit", "period": {"end": end},
                "actor": [{"reference": {"reference": "Practitioner/awa"}}]}]})
        };
        assert_eq!(nurse(&but("2026-12-01")), Verdict::Permitted);
        assert_eq!(nurse(&but("2026-11")), Verdict::Permitted, "all of the month");
        assert_eq!(nurse(&but("2026-11-24")), Verdict::Denied);
        assert_eq!(nurse(&but("2025")), Verdict::Denied);
        let later = json!({"type": "deny", "period": {"start": "2027-01-01"}});
        assert_eq!(nurse(&later), Verdict::Silent);
    }

    #[test]
    fn a_permit_for_everybody_gives_nobody_more() {
        assert_eq!(nurse(&json!({"type": "permit"})), Verdict::Silent);
        assert_eq!(
            nurse(&json!({"type": "permit", "class": [{"code": "Observation"}]})),
            Verdict::Silent
        );
    }

    #[test]
    fn of_two_exceptions_that_fit_denial_wins() {
        let provision = json!({"type": "permit", "provision": [
            {"type": "permit", "actor": [{"reference": {"reference": "Practitioner/awa"}}]},
            {"type": "deny", "class": [{"code": "Observation"}]},
        ]});
        assert_eq!(nurse(&provision), Verdict::Denied);
    }

    #[test]
    fn withdrawn_or_about_research_it_says_nothing() {
        let actor = Actor::Staff("awa".into());
        let roles = BTreeSet::from([Role::Nurse]);
        let access = Access {
            actor: &actor,
            practitioner: Some("p-7"),
            roles: &roles,
            purpose: Purpose::Treatment,
            today: "2026-11-25",
            kind: "Observation",
            reference: "Observation/1",
            section: "clinical",
            code: &Value::Null,
        };
        let consent = |status: &str, scope: &str| {
            json!({"status": status, "scope": {"coding": [{"code": scope}]}, "provision":
                {"type": "deny", "actor": [{"reference": {"reference": "Practitioner/p-7"}}]}})
        };
        assert_eq!(verdict(&consent("active", "patient-privacy"), &access), Verdict::Denied);
        assert_eq!(verdict(&consent("inactive", "patient-privacy"), &access), Verdict::Silent);
        assert_eq!(verdict(&consent("active", "research"), &access), Verdict::Silent);
        let one = json!({"type": "deny", "data": [{"meaning": "instance",
            "reference": {"reference": "Observation/1"}}]});
        assert_eq!(nurse(&one), Verdict::Denied);
        let by_code = |code: &str| {
            json!({"type": "deny", "code": [{"coding": [
                {"system": "http://loinc.org", "code": code}]}]})
        };
        assert_eq!(nurse(&by_code("55277-8")), Verdict::Denied);
        assert_eq!(nurse(&by_code("29463-7")), Verdict::Silent);
    }

    #[test]
    fn deep_nesting_ends() {
        let mut provision = json!({"type": "deny"});
        for _ in 0..100 {
            provision = json!({"type": "permit", "provision": [provision]});
        }
        assert_eq!(nurse(&provision), Verdict::Silent);
    }
}
