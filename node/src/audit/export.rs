//! The trail in the forms that others read: FHIR R4 AuditEvent after IHE's Basic Audit Log
//! Patterns (BALP 1.1.3), and CSV.

use super::event::{AuditEvent, AuditOutcome};
use serde_json::{Value, json};

const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const AUDIT_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";
const BALP: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition";

/// An event with the place where it happened, as it is exported.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// What happened.
    pub event: &'a AuditEvent,
    /// The entry and the event's place in it: the AuditEvent's id.
    pub id: &'a str,
    /// The node that recorded it.
    pub node: &'a str,
    /// Its site.
    pub site: &'a str,
    /// The time as a FHIR instant.
    pub time: &'a str,
}

/// The columns of the CSV.
pub const COLUMNS: [&str; 15] = [
    "id",
    "time",
    "clock_trusted",
    "site",
    "node",
    "actor",
    "roles",
    "action",
    "purpose",
    "patient",
    "subject",
    "outcome",
    "detail",
    "count",
    "consents",
];

/// The cells of an event, in the order of [`COLUMNS`].
pub fn cells(recorded: &Recorded<'_>) -> [String; 15] {
    let event = recorded.event;
    [
        recorded.id.to_owned(),
        recorded.time.to_owned(),
        event.clock_trusted.to_string(),
        recorded.site.to_owned(),
        recorded.node.to_owned(),
        event.actor.clone(),
        event.roles.join(" "),
        event.action.clone(),
        event.purpose.clone(),
        event.patient.clone().unwrap_or_default(),
        event.subject.clone().unwrap_or_default(),
        event.outcome.name().to_owned(),
        event.detail.clone(),
        event.count.to_string(),
        event.consents.join(" "),
    ]
}

/// A line of CSV (RFC 4180), without its end. A cell that a spreadsheet would take for a formula
/// gets an apostrophe before it.
pub fn csv_line(cells: &[String]) -> String {
    let quoted = |cell: &String| {
        let formula = cell.starts_with(['=', '+', '-', '@', '\t']);
        let guarded = if formula { format!("'{cell}") } else { cell.clone() };
        if guarded.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", guarded.replace('"', "\"\""))
        } else {
            guarded
        }
    };
    cells.iter().map(quoted).collect::<Vec<_>>().join(",")
}

/// What kind of event it is: the profile's name, type, FHIR interaction and action code.
struct Shape {
    profile: &'static str,
    kind: (&'static str, &'static str, &'static str),
    interaction: Option<&'static str>,
    action: &'static str,
}

fn shape(event: &AuditEvent) -> Shape {
    let rest = (AUDIT_TYPE, "rest", "RESTful Operation");
    let of = |profile, interaction, action| Shape {
        profile,
        kind: rest,
        interaction: Some(interaction),
        action,
    };
    let of_patient = event.patient.is_some();
    match event.action.as_str() {
        "read" | "break-glass" if of_patient => of("IHE.BasicAudit.PatientRead", "read", "R"),
        "read" => of("IHE.BasicAudit.Read", "read", "R"),
        "history" => of("IHE.BasicAudit.PatientRead", "history-instance", "R"),
        "search" | "list" if of_patient => of("IHE.BasicAudit.PatientQuery", "search-type", "E"),
        "search" | "list" => of("IHE.BasicAudit.Query", "search-type", "E"),
        "create" if of_patient => of("IHE.BasicAudit.PatientCreate", "create", "C"),
        "write" | "resolve" | "create" if of_patient => {
            of("IHE.BasicAudit.PatientUpdate", "update", "U")
        }
        "write" | "resolve" | "create" => of("IHE.BasicAudit.Update", "update", "U"),
        "delete" if of_patient => of("IHE.BasicAudit.PatientDelete", "delete", "D"),
        "delete" => of("IHE.BasicAudit.Delete", "delete", "D"),
        "login" | "logout" | "unlock" | "lock" => Shape {
            profile: "",
            kind: (DCM, "110114", "User Authentication"),
            interaction: None,
            action: "E",
        },
        "export" => {
            Shape { profile: "", kind: (DCM, "110106", "Export"), interaction: None, action: "R" }
        }
        "import" => {
            Shape { profile: "", kind: (DCM, "110107", "Import"), interaction: None, action: "C" }
        }
        "audit" => Shape {
            profile: "",
            kind: (DCM, "110101", "Audit Log Used"),
            interaction: None,
            action: "R",
        },
        _ => Shape {
            profile: "",
            kind: (DCM, "110100", "Application Activity"),
            interaction: None,
            action: "E",
        },
    }
}

/// The event as a FHIR AuditEvent.
pub fn fhir(recorded: &Recorded<'_>) -> Value {
    let event = recorded.event;
    let shape = shape(event);
    let (system, code, display) = shape.kind;
    let mut resource = json!({
        "resourceType": "AuditEvent",
        "id": recorded.id,
        "type": {"system": system, "code": code, "display": display},
        "action": shape.action,
        "recorded": recorded.time,
        "outcome": match event.outcome {
            AuditOutcome::Done => "0",
            AuditOutcome::Denied => "4",
            AuditOutcome::Failed => "8",
        },
        "purposeOfEvent": [{"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": event.purpose}]}],
        "agent": [{
            "type": {"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType",
                "code": "IRCP", "display": "information recipient"}]},
            "who": {"identifier": {"system": "urn:carnet:staff", "value": event.actor},
                "display": event.actor},
            "requestor": true,
        }],
        "source": {
            "site": recorded.site,
            "observer": {"identifier": {"system": "urn:carnet:node", "value": recorded.node}},
            "type": [{"system": "http://terminology.hl7.org/CodeSystem/security-source-type",
                "code": "4", "display": "Application Server"}],
        },
    });
    if !shape.profile.is_empty() {
        resource["meta"] = json!({"profile": [format!("{BALP}/{}", shape.profile)]});
    }
    if let Some(interaction) = shape.interaction {
        resource["subtype"] = json!([{"system": INTERACTION, "code": interaction}]);
    }
    if !event.roles.is_empty() {
        let roles = event.roles.iter();
        let codings: Vec<_> = roles
            .map(|role| json!({"coding": [{"system": "urn:carnet:role", "code": role}]}))
            .collect();
        resource["agent"][0]["role"] = codings.into();
    }
    if !event.detail.is_empty() {
        resource["outcomeDesc"] = event.detail.clone().into();
    }
    let entities = entities(event);
    if !entities.is_empty() {
        resource["entity"] = entities.into();
    }
    resource
}

fn entities(event: &AuditEvent) -> Vec<Value> {
    let mut entities = Vec::new();
    if let Some(subject) = &event.subject {
        entities.push(json!({
            "what": {"reference": subject},
            "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type",
                "code": "2", "display": "System Object"},
            "role": {"system": "http://terminology.hl7.org/CodeSystem/object-role",
                "code": "4", "display": "Domain Resource"},
            "detail": [{"type": "clock", "valueString":
                if event.clock_trusted { "trusted" } else { "not trusted" }}],
        }));
    }
    if let Some(patient) = &event.patient {
        entities.push(json!({
            "what": {"reference": format!("Patient/{patient}")},
            "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type",
                "code": "1", "display": "Person"},
            "role": {"system": "http://terminology.hl7.org/CodeSystem/object-role",
                "code": "1", "display": "Patient"},
        }));
    }
    entities
}

#[cfg(test)]
mod tests {
    use super::super::event::testing::event;
    use super::*;

    fn recorded(event: &AuditEvent) -> Recorded<'_> {
        Recorded { event, id: "e-0", node: "n", site: "Sédhiou", time: "2026-11-25T10:00:00.000Z" }
    }

    #[test]
    fn a_read_of_a_patients_resource_is_a_patient_read() {
        let event = event();
        let resource = fhir(&recorded(&event));
        assert_eq!(
            resource["meta"]["profile"][0],
            "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PatientRead"
        );
        assert_eq!(resource["subtype"][0]["code"], "read");
        assert_eq!(resource["agent"][0]["who"]["identifier"]["value"], "awa");
        assert_eq!(resource["entity"][1]["what"]["reference"], "Patient/p1");
        assert_eq!(resource["outcome"], "0");
    }

    #[test]
    fn a_denied_login_says_so() {
        let event = AuditEvent {
            action: "login".into(),
            outcome: AuditOutcome::Denied,
            patient: None,
            subject: None,
            detail: "password".into(),
            ..event()
        };
        let resource = fhir(&recorded(&event));
        assert_eq!(resource["type"]["code"], "110114");
        assert_eq!(resource["outcome"], "4");
        assert!(resource.get("entity").is_none() && resource.get("meta").is_none());
    }

    #[test]
    fn csv_quotes_what_needs_it_and_holds_no_formula() {
        let event = AuditEvent { detail: "=1+1, \"so\"".into(), ..event() };
        let line = csv_line(&cells(&recorded(&event)));
        assert!(line.contains("\"'=1+1, \"\"so\"\"\""), "{line}");
        assert_eq!(cells(&recorded(&event)).len(), COLUMNS.len());
    }
}
