//! A FHIR R4 resource that may enter a chart: its type is known, its id is well formed, and what
//! the node itself says about versions (`meta.versionId`, `meta.lastUpdated`) is taken out.
//!
//! Nothing else is judged here. Unknown elements and extensions are somebody's statement, and they
//! are carried along.

use super::grain;
use super::json::{VALUES_MAX, parse_json, values_of};
use super::register::is_draft;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;

/// The greatest length that FHIR allows for an id.
const ID_BYTES_MAX: usize = 64;

/// A bound on the names of elements; the longest of R4 has 33 characters.
const NAME_BYTES_MAX: usize = 128;

/// Why something is not a resource that a chart can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// The text is not JSON, or is ambiguous.
    #[error("line {line}, column {column}: {what}; correct the file and try again")]
    InvalidJson {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// More than can be held at once.
    #[error("it holds more than {max} values; divide it")]
    TooManyValues {
        /// So many may be.
        max: usize,
    },
    /// A resource is a JSON object.
    #[error("a resource must be a JSON object with a resourceType; this is something else")]
    NotAnObject,
    /// `resourceType` is missing or is not one of the 146 of R4.
    #[error(
        "the resourceType is missing or is not one of FHIR R4; check the version of the source"
    )]
    UnknownType,
    /// The id is missing or malformed.
    #[error("the id of this {kind} is missing or not 1 to 64 letters, digits, '-' or '.'")]
    InvalidId {
        /// The type of the resource.
        kind: String,
    },
    /// An element's name can't be one of FHIR.
    #[error("an element of this {kind} has a name that FHIR can't have; correct the source")]
    InvalidName {
        /// The type of the resource.
        kind: String,
    },
    /// Text that should name a resource as `Type/id`.
    #[error("a resource is named Type/id, like Patient/123; this is not")]
    InvalidKey,
}

/// Names a resource: its type and its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceKey {
    /// The type, such as `Observation`.
    pub kind: String,
    /// The id within the type.
    pub id: String,
}

impl ResourceKey {
    /// A key of a known type and a well-formed id.
    pub fn new(kind: &str, id: &str) -> Result<Self, ResourceError> {
        if !is_resource_type(kind) {
            return Err(ResourceError::UnknownType);
        }
        if !is_resource_id(id) {
            return Err(ResourceError::InvalidId { kind: kind.to_owned() });
        }
        Ok(Self { kind: kind.to_owned(), id: id.to_owned() })
    }

    /// Reads `Type/id`.
    pub fn parse(text: &str) -> Result<Self, ResourceError> {
        let (kind, id) = text.split_once('/').ok_or(ResourceError::InvalidKey)?;
        Self::new(kind, id)
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}

impl FromStr for ResourceKey {
    type Err = ResourceError;

    fn from_str(text: &str) -> Result<Self, ResourceError> {
        Self::parse(text)
    }
}

/// Whether this is one of the 146 resource types of R4.
pub fn is_resource_type(kind: &str) -> bool {
    grain::rule(kind).is_some()
}

/// Whether this has the syntax of a FHIR id.
pub fn is_resource_id(id: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
}

/// Whether a top-level member may be named so. A name that starts with two underscores would be
/// the sibling of a register that the chart keeps for itself.
pub(crate) fn is_element_name(name: &str) -> bool {
    let plain = name.strip_prefix('_').unwrap_or(name);
    plain.len() <= NAME_BYTES_MAX
        && plain.starts_with(|first: char| first.is_ascii_alphabetic())
        && plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A resource, fit to be written to a chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    key: ResourceKey,
    body: Map<String, Value>,
}

impl Resource {
    /// Reads a resource from its JSON text.
    pub fn parse(json: &str) -> Result<Self, ResourceError> {
        Self::from_value(parse_json(json)?)
    }

    /// Takes a resource that has an id.
    pub fn from_value(body: Value) -> Result<Self, ResourceError> {
        let id = body.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        Self::with_id(body, &id)
    }

    /// Takes a resource and gives it this id, whatever id it had.
    pub fn with_id(body: Value, id: &str) -> Result<Self, ResourceError> {
        let Value::Object(mut body) = body else {
            return Err(ResourceError::NotAnObject);
        };
        let kind = body.get("resourceType").and_then(Value::as_str).unwrap_or_default();
        let key = ResourceKey::new(kind, id)?;
        if !body.keys().all(|name| is_element_name(name)) {
            return Err(ResourceError::InvalidName { kind: key.kind });
        }
        if body.values().map(values_of).sum::<usize>() > VALUES_MAX {
            return Err(ResourceError::TooManyValues { max: VALUES_MAX });
        }
        body.insert("id".to_owned(), Value::String(id.to_owned()));
        strip_version(&mut body);
        Ok(Self { key, body })
    }

    /// Its name.
    pub fn key(&self) -> ResourceKey {
        self.key.clone()
    }

    /// Its type.
    pub fn kind(&self) -> &str {
        &self.key.kind
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.key.id
    }

    /// All of it, `resourceType` and `id` included.
    pub fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    /// Whether this is a note in draft, whose narratives are written character by character.
    pub fn is_draft(&self) -> bool {
        is_draft(&self.key.kind, &self.body)
    }

    /// All of it, as a JSON value.
    pub fn into_body(self) -> Value {
        Value::Object(self.body)
    }
}

/// Takes out what the node derives anew for every version.
pub(crate) fn strip_version(body: &mut Map<String, Value>) {
    let Some(Value::Object(meta)) = body.get_mut("meta") else {
        return;
    };
    for name in ["versionId", "_versionId", "lastUpdated", "_lastUpdated"] {
        meta.remove(name);
    }
    if meta.is_empty() {
        body.remove("meta");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_resource_keeps_all_but_its_version() {
        let resource = Resource::parse(
            r#"{"resourceType":"Basic","id":"a.B-1","meta":{"versionId":"3","lastUpdated":"x","tag":[]},"foo":[null,{}]}"#,
        )
        .unwrap();
        assert_eq!(resource.key().to_string(), "Basic/a.B-1");
        assert_eq!(
            resource.into_body(),
            json!({"resourceType":"Basic","id":"a.B-1","meta":{"tag":[]},"foo":[null,{}]})
        );
        let bare = json!({"resourceType":"Basic","meta":{"versionId":"3"}});
        let given = Resource::with_id(bare, "n").unwrap().into_body();
        assert_eq!(given, json!({"resourceType":"Basic","id":"n"}));
    }

    #[test]
    fn what_is_not_a_resource_is_refused_by_name() {
        let refuse = |body: Value| Resource::from_value(body).unwrap_err();
        assert_eq!(refuse(json!([])), ResourceError::NotAnObject);
        assert_eq!(refuse(json!({"id":"a"})), ResourceError::UnknownType);
        assert_eq!(refuse(json!({"resourceType":"Pacient","id":"a"})), ResourceError::UnknownType);
        for id in
            [json!(null), json!(""), json!("a/b"), json!("a b"), json!("x".repeat(65)), json!(7)]
        {
            let error = refuse(json!({"resourceType":"Patient","id":id}));
            assert_eq!(error, ResourceError::InvalidId { kind: "Patient".into() });
        }
        for name in ["a/b", "", "__resource", "_", "é", "1a"] {
            let error = refuse(json!({"resourceType":"Patient","id":"a", name: 1}));
            assert_eq!(error, ResourceError::InvalidName { kind: "Patient".into() });
        }
    }

    #[test]
    fn keys_are_read_back_as_they_are_shown() {
        let key = ResourceKey::parse("Patient/1").unwrap();
        assert_eq!(key.to_string().parse::<ResourceKey>().unwrap(), key);
        for text in ["Patient", "Patient/", "patient/1", "Patient/1/2", ""] {
            assert!(ResourceKey::parse(text).is_err(), "{text}");
        }
    }
}
