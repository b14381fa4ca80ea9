//! What an API token may do: SMART's scopes (SMART App Launch 2.2, "Scopes for requesting FHIR
//! resources"), and the older `.read`, `.write` and `.*` of its first version.
//!
//! `system/` scopes cover every patient, `patient/` scopes the one that the token is bound to.
//! Scopes with a query (`?category=...`) are refused: they would be read as wider than they are.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The scopes of one token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scopes {
    scopes: Vec<Scope>,
    /// The patient to whom `patient/` scopes are bound.
    patient: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Scope {
    /// Of one patient only.
    of_patient: bool,
    /// The resource type; `*` for all.
    kind: String,
    /// May see.
    reads: bool,
    /// May create, change and delete.
    writes: bool,
    /// As it was given.
    text: String,
}

/// A scope that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Not of the form that SMART gives them.
    #[error("\"{0}\" is no scope; write system/Observation.rs, patient/*.rs or system/*.cruds")]
    Malformed(String),
    /// Nothing was given.
    #[error("a token needs at least one scope, such as system/Observation.rs")]
    Empty,
    /// `patient/` without a patient.
    #[error("patient/ scopes need the patient to whom the token is bound")]
    NoPatient,
}

impl Scopes {
    /// Reads scopes.
    pub fn parse<'a>(
        texts: impl IntoIterator<Item = &'a str>,
        patient: Option<String>,
    ) -> Result<Self, ScopeError> {
        let scopes = texts
            .into_iter()
            .flat_map(str::split_whitespace)
            .map(|text| parse(text).ok_or_else(|| ScopeError::Malformed(text.to_owned())))
            .collect::<Result<Vec<_>, _>>()?;
        if scopes.is_empty() {
            return Err(ScopeError::Empty);
        }
        if patient.is_none() && scopes.iter().any(|scope| scope.of_patient) {
            return Err(ScopeError::NoPatient);
        }
        Ok(Self { scopes, patient })
    }

    /// Whether they cover a resource of this type and patient, to see it or to change it.
    pub fn include(&self, kind: &str, patient: Option<&str>, changing: bool) -> bool {
        self.scopes.iter().any(|scope| {
            (scope.kind == "*" || scope.kind == kind)
                && (if changing { scope.writes } else { scope.reads })
                && (!scope.of_patient || (patient.is_some() && patient == self.patient.as_deref()))
        })
    }

    /// The patient to whom the token is bound.
    pub fn patient(&self) -> Option<&str> {
        self.patient.as_deref()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.scopes.iter().map(|scope| scope.text.as_str()).collect();
        f.write_str(&texts.join(" "))
    }
}

fn parse(text: &str) -> Option<Scope> {
    let (level, rest) = text.split_once('/')?;
    let of_patient = match level {
        "patient" => true,
        "system" | "user" => false,
        _ => return None,
    };
    let (kind, rights) = rest.split_once('.')?;
    let is_type = kind.starts_with(|c: char| c.is_ascii_uppercase())
        && kind.bytes().all(|b| b.is_ascii_alphanumeric());
    if kind != "*" && !is_type {
        return None;
    }
    let (reads, writes) = match rights {
        "read" => (true, false),
        "write" => (false, true),
        "*" => (true, true),
        // A subset of c, r, u, d, s in this order.
        letters => {
            let mut order = "cruds".chars();
            if letters.is_empty() || !letters.chars().all(|letter| order.any(|o| o == letter)) {
                return None;
            }
            (letters.contains(['r', 's']), letters.contains(['c', 'u', 'd']))
        }
    };
    Some(Scope { of_patient, kind: kind.to_owned(), reads, writes, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> Scopes {
        Scopes::parse([text], Some("p".into())).unwrap()
    }

    #[test]
    fn a_scope_covers_its_type_its_patient_and_its_rights() {
        let readings = scopes("system/Observation.rs");
        assert!(readings.include("Observation", None, false));
        assert!(!readings.include("Observation", None, true));
        assert!(!readings.include("Patient", None, false));
        let own = scopes("patient/*.rs");
        assert!(own.include("Condition", Some("p"), false));
        assert!(!own.include("Condition", Some("q"), false));
        assert!(!own.include("Organization", None, false));
        let old = scopes("user/Patient.write system/*.read");
        assert!(old.include("Patient", None, true) && old.include("Goal", None, false));
        assert!(!old.include("Goal", None, true));
        assert_eq!(old.to_string(), "user/Patient.write system/*.read");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "Observation.rs",
            "system/Observation",
            "system/Observation.",
            "system/Observation.sr",
            "system/Observation.rx",
            "system/observation.rs",
            "launch/patient",
            "system/Observation.rs?category=x",
        ] {
            assert_eq!(Scopes::parse([text], None), Err(ScopeError::Malformed(text.into())));
        }
        assert_eq!(Scopes::parse([], None), Err(ScopeError::Empty));
        assert_eq!(Scopes::parse(["patient/*.rs"], None), Err(ScopeError::NoPatient));
    }
}
