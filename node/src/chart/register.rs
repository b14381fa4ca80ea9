//! How a resource becomes registers and a resource again.
//!
//! A register is what merges as one. By statement it holds one top-level element: an element with
//! its `_sibling`, and all the members of a choice such as `value[x]`, are one register, so that a
//! value can't merge apart from its unit or from the reason why it is absent. By record it holds
//! the whole resource. A note is divided like a statement while it is a draft, its texts standing
//! apart from their frames (see [`narrative`]), and is a record when it is signed.

use super::grain::{self, Grain, grain};
use super::json::{canonical, parse_json};
use super::narrative;
use super::resource::{is_element_name, strip_version};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The register of a whole resource; also the element of a conflict that is about the whole.
pub const WHOLE: &str = "_resource";
/// The register that tells whether the resource was deleted.
pub(crate) const DELETED: &str = "_deleted";
/// The register that tells to which document the resource was moved.
pub(crate) const MOVED: &str = "_moved";

/// The element that tells whether a note is signed.
const STATUS: &str = "status";

/// The choices of R4, by type: the names of these elements end with a type.
#[rustfmt::skip]
const CHOICES: [(&str, &[&str]); 42] = [
    ("ActivityDefinition", &["subject", "timing", "product"]),
    ("AllergyIntolerance", &["onset"]),
    ("ChargeItem", &["occurrence", "product"]),
    ("ClinicalImpression", &["effective"]),
    ("CommunicationRequest", &["occurrence"]),
    ("ConceptMap", &["source", "target"]),
    ("Condition", &["onset", "abatement"]),
    ("Consent", &["source"]),
    ("Contract", &["topic", "legallyBinding"]),
    ("CoverageEligibilityRequest", &["serviced"]),
    ("CoverageEligibilityResponse", &["serviced"]),
    ("DetectedIssue", &["identified"]),
    ("DeviceDefinition", &["manufacturer"]),
    ("DeviceRequest", &["code", "occurrence"]),
    ("DeviceUseStatement", &["timing"]),
    ("DiagnosticReport", &["effective"]),
    ("EventDefinition", &["subject"]),
    ("FamilyMemberHistory", &["born", "age", "deceased"]),
    ("Goal", &["start"]),
    ("GuidanceResponse", &["module"]),
    ("Immunization", &["occurrence"]),
    ("ImmunizationEvaluation", &["doseNumber", "seriesDoses"]),
    ("Library", &["subject"]),
    ("Measure", &["subject"]),
    ("Media", &["created"]),
    ("MedicationAdministration", &["medication", "effective"]),
    ("MedicationDispense", &["statusReason", "medication"]),
    ("MedicationRequest", &["reported", "medication"]),
    ("MedicationStatement", &["medication", "effective"]),
    ("MessageDefinition", &["event"]),
    ("MessageHeader", &["event"]),
    ("Observation", &["effective", "value"]),
    ("Patient", &["deceased", "multipleBirth"]),
    ("PlanDefinition", &["subject"]),
    ("Procedure", &["performed"]),
    ("Provenance", &["occurred"]),
    ("ResearchDefinition", &["subject"]),
    ("ResearchElementDefinition", &["subject"]),
    ("RiskAssessment", &["occurrence"]),
    ("ServiceRequest", &["quantity", "occurrence", "asNeeded"]),
    ("SupplyDelivery", &["occurrence"]),
    ("SupplyRequest", &["item", "occurrence"]),
];

/// What a register holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Register {
    /// A string.
    Text(String),
    /// A whole number that is spelled in the usual way.
    Integer(i64),
    /// A boolean.
    Flag(bool),
    /// Anything else that stands under the element's own name: canonical JSON.
    Json(String),
    /// Members under other names (a sibling, a choice): canonical JSON of an object of them.
    Group(String),
    /// The members of an element of a draft, the names of texts standing in their places:
    /// canonical JSON of an object of them.
    Frame(String),
}

impl Register {
    /// The register of a plain value.
    pub(crate) fn plain(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text.clone()),
            Value::Bool(flag) => Self::Flag(*flag),
            Value::Number(number) => match number.as_i64() {
                Some(whole) if whole.to_string() == number.as_str() => Self::Integer(whole),
                _ => Self::Json(number.as_str().to_owned()),
            },
            complex => Self::Json(canonical(complex)),
        }
    }

    /// The frame of these members.
    pub(crate) fn frame(members: &Map<String, Value>) -> Self {
        Self::Frame(canonical(&Value::Object(members.clone())))
    }

    /// The value as it is shown: a group as an object of its members.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.clone()),
            Self::Integer(whole) => Value::from(*whole),
            Self::Flag(flag) => Value::Bool(*flag),
            // What is not JSON was refused when it came; null would be a statement nobody made.
            Self::Json(json) | Self::Group(json) | Self::Frame(json) => {
                parse_json(json).unwrap_or_default()
            }
        }
    }

    /// The register of an element with these members.
    pub(crate) fn of_members(element: &str, members: &Map<String, Value>) -> Self {
        match members.get(element) {
            Some(value) if members.len() == 1 => Self::plain(value),
            _ => Self::Group(canonical(&Value::Object(members.clone()))),
        }
    }

    /// The members of the element.
    pub(crate) fn members(&self, element: &str) -> Map<String, Value> {
        match (self, self.value()) {
            (Self::Group(_) | Self::Frame(_), Value::Object(members)) => members,
            (_, value) => Map::from_iter([(element.to_owned(), value)]),
        }
    }

    /// Whether these are the bytes that a node of this kind would have written for the element.
    pub(crate) fn is_well_formed(&self, kind: &str, element: &str) -> bool {
        match (self, element) {
            (Self::Flag(_), DELETED) | (Self::Text(_), MOVED) => true,
            (_, DELETED | MOVED) => false,
            (Self::Json(json), WHOLE) => parse_json(json).is_ok_and(|value| {
                canonical(&value) == *json
                    && value.as_object().is_some_and(|body| {
                        body.keys().all(|name| is_element_name(name))
                            && !["resourceType", "id"].iter().any(|name| body.contains_key(*name))
                            && !is_draft(kind, body)
                    })
            }),
            (_, WHOLE) => false,
            (_, STATUS) if grain(kind) == Grain::Text && !is_draft(kind, &self.members(STATUS)) => {
                false
            }
            (Self::Frame(json), _) => parse_json(json).is_ok_and(|value| {
                canonical(&value) == *json
                    && value.as_object().is_some_and(|members| {
                        members.keys().all(|name| element_of(kind, name) == element)
                            && narrative::is_frame(kind, element, members)
                    })
            }),
            (Self::Json(json), _) => {
                parse_json(json).is_ok_and(|value| Self::plain(&value) == *self)
                    && !is_choice(kind, element)
            }
            (Self::Group(json), _) => parse_json(json).is_ok_and(|value| {
                value.as_object().is_some_and(|members| {
                    // One member of the element's own name would stand there as it is.
                    let bare = members.len() == 1 && members.contains_key(element);
                    !members.is_empty()
                        && !bare
                        && members.keys().all(|name| element_of(kind, name) == element)
                        && canonical(&value) == *json
                })
            }),
            _ => !is_choice(kind, element),
        }
    }
}

fn choices(kind: &str) -> &'static [&'static str] {
    CHOICES.binary_search_by(|entry| entry.0.cmp(kind)).map_or(&[], |place| CHOICES[place].1)
}

/// Whether the element is a choice, so that nothing can stand under its bare name.
pub(crate) fn is_choice(kind: &str, element: &str) -> bool {
    choices(kind).contains(&element)
}

/// The element that a member belongs to: `_birthDate` to `birthDate`, `valueQuantity` to `value`.
pub(crate) fn element_of<'a>(kind: &str, name: &'a str) -> &'a str {
    let plain = name.strip_prefix('_').unwrap_or(name);
    let is_choice_of = |base: &&&str| {
        plain
            .strip_prefix(**base)
            .is_some_and(|of| of.starts_with(|c: char| c.is_ascii_uppercase()))
    };
    choices(kind).iter().find(is_choice_of).map_or(plain, |base| &plain[..base.len()])
}

/// Whether this is a note that can still be written together.
pub(crate) fn is_draft(kind: &str, body: &Map<String, Value>) -> bool {
    let status = body.get(STATUS).and_then(Value::as_str);
    grain::note(kind).zip(status).is_some_and(|(note, status)| note.is_draft(status))
}

/// The registers of a resource, by element; the texts of a draft still stand in theirs.
pub(crate) fn split(kind: &str, body: &Map<String, Value>) -> BTreeMap<String, Register> {
    let content = body.iter().filter(|(name, _)| *name != "resourceType" && *name != "id");
    if grain(kind) == Grain::Record || (grain(kind) == Grain::Text && !is_draft(kind, body)) {
        let whole: Map<String, Value> =
            content.map(|(name, value)| (name.clone(), value.clone())).collect();
        let json = canonical(&Value::Object(whole));
        return BTreeMap::from([(WHOLE.to_owned(), Register::Json(json))]);
    }
    let mut groups: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for (name, value) in content {
        let group = groups.entry(element_of(kind, name)).or_default();
        group.insert(name.clone(), value.clone());
    }
    let register = |(element, members): (&str, Map<String, Value>)| {
        (element.to_owned(), Register::of_members(element, &members))
    };
    groups.into_iter().map(register).collect()
}

/// The resource of these registers; those that are not content are passed over.
pub(crate) fn join<'a>(
    kind: &str,
    id: &str,
    registers: impl Iterator<Item = (&'a str, &'a Register)>,
) -> Map<String, Value> {
    let mut body = Map::new();
    for (element, register) in registers {
        match element {
            DELETED | MOVED => {}
            WHOLE => body.extend(match register.value() {
                Value::Object(members) => members,
                _ => Map::new(),
            }),
            _ => body.extend(register.members(element)),
        }
    }
    body.insert("resourceType".to_owned(), Value::String(kind.to_owned()));
    body.insert("id".to_owned(), Value::String(id.to_owned()));
    body
}

/// Replaces one member of a resource. A plain element takes its sibling with it, and one form of a
/// choice the other forms; `None` removes.
pub(crate) fn set_member(
    kind: &str,
    body: &mut Map<String, Value>,
    name: &str,
    value: Option<&Value>,
) {
    let element = element_of(kind, name).to_owned();
    if name.starts_with('_') {
        body.remove(name);
    } else {
        body.retain(|member, _| element_of(kind, member) != element);
    }
    if let Some(value) = value {
        body.insert(name.to_owned(), value.clone());
    }
    strip_version(body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn there_and_back(text: &str) {
        let whole = body(parse_json(text).unwrap());
        let kind = whole["resourceType"].as_str().unwrap();
        let registers = split(kind, &whole);
        for (element, register) in &registers {
            assert!(register.is_well_formed(kind, element), "{element}: {register:?}");
        }
        let back = join(kind, "n", registers.iter().map(|(e, r)| (e.as_str(), r)));
        assert_eq!(canonical(&Value::Object(back)), canonical(&Value::Object(whole)));
    }

    #[test]
    fn nothing_of_a_nasty_resource_is_lost() {
        for kind in ["Patient", "Observation", "MedicationRequest", "Composition"] {
            there_and_back(&format!(
                r#"{{"resourceType":"{kind}","id":"n","_id":{{"extension":[]}},"_birthDate":{{"id":"q"}},
                "given":["a",null],"_given":[null,{{"extension":[{{"url":"u","valueDecimal":1.500}}]}}],
                "deceasedBoolean":false,"_deceasedBoolean":{{"id":"z"}},"multipleBirthInteger":2,
                "medicationCodeableConcept":{{"text":"x"}},"reportedBoolean":true,"effectiveDateTime":"2020",
                "a":-0,"b":1e3,"c":9223372036854775808,"d":9223372036854775807,"e":"","f":null,"g":[],"h":{{}},
                "deceased":"not a choice's name","valueSet":"u","unknownThing":[[1.0,{{"_x":null}}]],
                "contained":[{{"resourceType":"Nonsense","id":"n","valueDecimal":0.10}}],
                "text":{{"status":"generated","div":"<div>\u0000é\"</div>"}}}}"#
            ));
        }
        there_and_back(r#"{"resourceType":"Basic","id":"n"}"#);
        there_and_back(r#"{"resourceType":"Patient","id":"n"}"#);
    }

    #[test]
    fn siblings_and_choices_are_one_register() {
        let patient = body(json!({"resourceType":"Patient","id":"n","deceasedDateTime":"2020",
            "_deceasedDateTime":{"id":"a"},"birthDate":"1970","_birthDate":{"id":"b"},"active":true}));
        let registers = split("Patient", &patient);
        assert_eq!(registers.keys().collect::<Vec<_>>(), ["active", "birthDate", "deceased"]);
        assert_eq!(registers["active"], Register::Flag(true));
        let group = Register::Group(r#"{"_birthDate":{"id":"b"},"birthDate":"1970"}"#.into());
        assert_eq!(registers["birthDate"], group);
    }

    #[test]
    fn setting_a_member_replaces_its_register() {
        let start =
            json!({"birthDate":"1970","_birthDate":{"id":"b"},"deceasedBoolean":true,"x":1});
        let set = |name: &str, value: Option<Value>| {
            let mut changed = body(start.clone());
            set_member("Patient", &mut changed, name, value.as_ref());
            Value::Object(changed)
        };
        assert_eq!(
            set("birthDate", Some(json!("1971"))),
            json!({"birthDate":"1971","deceasedBoolean":true,"x":1})
        );
        assert_eq!(
            set("_birthDate", None),
            json!({"birthDate":"1970","deceasedBoolean":true,"x":1})
        );
        assert_eq!(
            set("deceasedDateTime", Some(json!("2020"))),
            json!({"birthDate":"1970","_birthDate":{"id":"b"},"deceasedDateTime":"2020","x":1})
        );
        assert_eq!(set("x", None)["x"], Value::Null);
    }

    #[test]
    fn what_no_node_would_write_is_told_apart() {
        let json = |text: &str| Register::Json(text.into());
        let group = |text: &str| Register::Group(text.into());
        for (register, element) in [
            (json("\"a string\""), "name"),
            (json("{ }"), "name"),
            (json("1"), "name"),
            (json("{\"b\":1,\"a\":2}"), "name"),
            (json("nonsense"), "name"),
            (Register::Text("x".into()), "deceased"),
            (group("{\"name\":1}"), "name"),
            (group("{\"other\":1}"), "name"),
            (group("{}"), "name"),
            (Register::Text("x".into()), DELETED),
            (Register::Flag(true), MOVED),
            (json("{\"id\":\"x\"}"), WHOLE),
            (json("[]"), WHOLE),
        ] {
            assert!(!register.is_well_formed("Patient", element), "{register:?} {element}");
        }
    }
}
