//! References inside a bundle: `urn:uuid`, full URLs and conditional references become `Type/id`.

use serde_json::Value;
use std::collections::BTreeSet;

/// Elements of type uri or url that may name another entry of the bundle (FHIR R4, 3.1.0.11.2).
const LINKS: [&str; 6] = ["reference", "url", "uri", "valueUri", "valueUrl", "valueUuid"];

/// Gathers the conditional references (`Type?query`) of a resource.
pub(super) fn conditional(value: &Value, found: &mut BTreeSet<String>) {
    visit(value, &mut |name, text| {
        if name == "reference" && is_conditional(text) {
            found.insert(text.to_owned());
        }
    });
}

/// Whether a reference is a search instead of an address.
pub(super) fn is_conditional(reference: &str) -> bool {
    reference
        .split_once('?')
        .is_some_and(|(kind, query)| !query.is_empty() && crate::chart::is_resource_type(kind))
}

/// Replaces every reference that `targets` knows.
pub(super) fn rewrite<'a>(value: &mut Value, targets: &impl Fn(&str) -> Option<&'a String>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite(item, targets)),
        Value::Object(map) => {
            for (name, item) in map {
                match item {
                    Value::String(text) if LINKS.contains(&name.as_str()) => {
                        if let Some(target) = targets(text) {
                            target.clone_into(text);
                        }
                    }
                    other => rewrite(other, targets),
                }
            }
        }
        _ => {}
    }
}

fn visit(value: &Value, f: &mut impl FnMut(&str, &str)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| visit(item, f)),
        Value::Object(map) => {
            for (name, item) in map {
                match item {
                    Value::String(text) => f(name, text),
                    other => visit(other, f),
                }
            }
        }
        _ => {}
    }
}

/// The parts of a conditional query that are understood: `identifier` and `_id`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Criterion {
    /// `_id=...`
    Id(String),
    /// `identifier=system|value`; no system means any.
    Identifier { system: Option<String>, value: String },
}

/// Understands a conditional query.
pub(super) fn criteria(query: &str) -> Result<Vec<Criterion>, String> {
    let mut criteria = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = percent_decoded(value);
        match name {
            "_id" => criteria.push(Criterion::Id(value)),
            "identifier" => criteria.push(match value.split_once('|') {
                Some((system, value)) => {
                    Criterion::Identifier { system: Some(system.into()), value: value.into() }
                }
                None => Criterion::Identifier { system: None, value },
            }),
            other => {
                return Err(format!(
                    "the search parameter {other:?} is not supported in a conditional query; use identifier or _id"
                ));
            }
        }
    }
    if criteria.is_empty() {
        return Err("the conditional query is empty".into());
    }
    Ok(criteria)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let decoded = (*first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match decoded {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_are_found_and_replaced_wherever_they_stand() {
        let mut value = json!({"subject": {"reference": "urn:uuid:1"}, "system": "urn:uuid:1",
            "performer": [{"actor": {"reference": "Practitioner?identifier=a|b"}}]});
        let mut found = BTreeSet::new();
        conditional(&value, &mut found);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["Practitioner?identifier=a|b"]);
        let target = "Patient/x".to_owned();
        rewrite(&mut value, &|name| (name == "urn:uuid:1").then_some(&target));
        assert_eq!(value["subject"]["reference"], "Patient/x");
        assert_eq!(value["system"], "urn:uuid:1");
    }

    #[test]
    fn criteria_are_decoded_and_unknown_ones_named() {
        assert_eq!(
            criteria("identifier=http%3A%2F%2Fa|b+c").unwrap(),
            [Criterion::Identifier { system: Some("http://a".into()), value: "b c".into() }]
        );
        assert!(criteria("name=x").unwrap_err().contains("\"name\""));
        assert!(criteria("").is_err());
    }
}
