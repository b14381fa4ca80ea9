//! Resources as the index keeps them: compressed, and without their own id and their patient's,
//! which stand beside them and can't be compressed.

use super::RecordsError;
use crate::chart::{ResourceKey, canonical};
use crate::store::index::ResourceRow;
use crate::vault;
use serde_json::Value;

/// Stands for the patient's id. JSON has no such characters but escaped.
const PATIENT: &str = "\u{1}";

/// Stands for the resource's own id.
const OWN: &str = "\u{2}";

/// A resource's size as JSON: many changes may have made it, each as large as a change may be.
const BODY_BYTES_MAX: usize = 64 << 20;

/// What the index keeps of a resource.
pub(super) fn pack(key: &ResourceKey, patient: Option<&str>, body: &Value) -> Vec<u8> {
    let mut text = canonical(body);
    for (id, sign) in [(patient, PATIENT), (Some(key.id.as_str()), OWN)] {
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            text = text.replace(id, sign);
        }
    }
    vault::pack(text.as_bytes())
}

/// The resource of a row.
pub(super) fn body_of(row: &ResourceRow) -> Result<Value, RecordsError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        RecordsError::Bug(format!("an indexed body is not JSON: {error}"))
    };
    let bytes = vault::unpack(&row.body, BODY_BYTES_MAX)?;
    let mut text = String::from_utf8(bytes).map_err(|error| unreadable(&error))?;
    for (id, sign) in [(Some(&row.id), OWN), (row.patient.as_ref(), PATIENT)] {
        if let Some(id) = id {
            text = text.replace(sign, id);
        }
    }
    serde_json::from_str(&text).map_err(|error| unreadable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::index::Version;
    use carnet_sync_protocol::id::DocumentId;
    use serde_json::json;

    fn row(key: &ResourceKey, patient: Option<&str>, body: &Value) -> ResourceRow {
        ResourceRow {
            kind: key.kind.clone(),
            id: key.id.clone(),
            document: DocumentId::ZERO,
            patient: patient.map(str::to_owned),
            body: pack(key, patient, body),
            version: Version { id: [0; 32], updated_ms: 0, arrivals: vec![1] },
            deleted: false,
            conflicted: false,
        }
    }

    #[test]
    fn a_body_comes_back_whatever_its_ids_are_and_wherever_they_stand() {
        let ids = ["a", "aa", "1", "u0001", "0f2e4d6c-8b0a-4c3d-9e1f-000000000000"];
        for id in ids {
            for patient in ids.map(Some).into_iter().chain([None]) {
                let key = ResourceKey::new("Observation", id).unwrap();
                let body = json!({"resourceType": "Observation", "id": id, "n": 1.50,
                    "subject": {"reference": format!("Patient/{}", patient.unwrap_or_default())},
                    "text": "\u{1}\u{2}\\u0001 aaa 11 \"a\" é", "more": ids});
                let row = row(&key, patient, &body);
                assert_eq!(body_of(&row).unwrap(), body, "{id} {patient:?}");
            }
        }
    }

    #[test]
    fn long_ids_cost_next_to_nothing() {
        let key = ResourceKey::new("Observation", "0f2e4d6c-8b0a-4c3d-9e1f-0123456789ab").unwrap();
        let patient = "7d1b9c3e-5a2f-4e8d-b6c4-ba9876543210";
        let body = |id: &str, patient: &str| {
            json!({"resourceType": "Observation", "id": id, "status": "final",
                "subject": {"reference": format!("Patient/{patient}")}})
        };
        let long = row(&key, Some(patient), &body(&key.id, patient)).body.len();
        let none = vault::pack(canonical(&body("", "")).as_bytes()).len();
        assert!(long <= none + 4, "{long} {none}");
    }
}
