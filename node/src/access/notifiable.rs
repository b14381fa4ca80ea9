//! Conditions that health authorities must be told of, by ICD-10 and SNOMED CT code.
//!
//! The union of what the International Health Regulations (2005, annex 2) and the integrated
//! disease surveillance lists of most countries name; a public-health officer sees these
//! conditions and no other. A code that is missing here is closed to them.

use serde_json::Value;

/// Beginnings of ICD-10 codes.
const ICD10: [&str; 43] = [
    "A00", "A01", "A03", "A15", "A16", "A17", "A18", "A19", "A20", "A22", "A30", "A33", "A34",
    "A35", "A36", "A37", "A39", "A80", "A82", "A90", "A91", "A92.3", "A92.5", "A95", "A96.2",
    "A97", "A98.3", "A98.4", "B03", "B04", "B05", "B06", "B15", "B16", "B20", "B24", "B50", "B51",
    "B52", "B53", "B54", "U04", "U07.1",
];

/// SNOMED CT concepts.
const SNOMED: [&str; 29] = [
    "14168008",
    "14189004",
    "16541001",
    "186431008",
    "19065005",
    "23511006",
    "27836007",
    "36653000",
    "359814004",
    "37109004",
    "38362002",
    "3928002",
    "397428000",
    "398102009",
    "398447004",
    "40468003",
    "409498004",
    "417093003",
    "4834000",
    "56717001",
    "58750007",
    "61462000",
    "63650001",
    "66071002",
    "67924001",
    "76902006",
    "81004002",
    "840539006",
    "86406008",
];

/// Whether a Condition is one of them.
pub fn is_notifiable(kind: &str, body: &Value) -> bool {
    let codings = body["code"]["coding"].as_array();
    kind == "Condition" && codings.into_iter().flatten().any(is_listed)
}

fn is_listed(coding: &Value) -> bool {
    let (Some(system), Some(code)) = (coding["system"].as_str(), coding["code"].as_str()) else {
        return false;
    };
    if system.contains("snomed") {
        SNOMED.contains(&code)
    } else if system.contains("icd-10") {
        ICD10.iter().any(|beginning| code.starts_with(beginning))
    } else {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn measles_is_notifiable_and_a_sprain_is_not() {
        let condition = |system: &str, code: &str| json!({"code": {"coding": [{"system": system, "code": code}]}});
        let icd = "http://hl7.org/fhir/sid/icd-10-cm";
        let snomed = "http://snomed.info/sct";
        for (system, code, notifiable) in [
            (snomed, "14189004", true),
            (snomed, "44465007", false),
            (icd, "B05.9", true),
            (icd, "S93.4", false),
            ("urn:own", "14189004", false),
        ] {
            assert_eq!(is_notifiable("Condition", &condition(system, code)), notifiable, "{code}");
        }
        assert!(!is_notifiable("Observation", &condition(snomed, "14189004")));
    }
}
