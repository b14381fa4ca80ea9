//! JSON as FHIR needs it: nothing is guessed, and no digit is lost.
//!
//! Numbers keep every digit they were written with (`1.50` stays `1.50`; of an exponent only the
//! spelling is settled: `1E3` becomes `1e+3`), and an object that names
//! a member twice is refused: which of the two was meant is not for a parser to decide.

use super::resource::ResourceError;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// The member name by which `serde_json` passes the literal of a number.
const NUMBER_TOKEN: &str = "$serde_json::private::Number";

/// Values that one resource may hold, those that hold others included. An object of one member takes
/// some 640 bytes in memory, so this is 32 MB at the very worst. Of the official examples and
/// definitions the largest, a ValueSet, has 19,245.
pub const VALUES_MAX: usize = 50_000;

/// How many values a JSON text holds: told from its commas and brackets, before anything is made of
/// it. An empty list or object counts as two. Of what is not JSON, it tells no less than a parser
/// would come upon.
pub fn values_in(text: &[u8]) -> usize {
    let (mut values, mut in_string, mut escaped) = (1, false, false);
    for byte in text {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b',' | b'[' | b'{') => values += 1,
            _ => {}
        }
    }
    values
}

/// The same of a value.
pub(crate) fn values_of(value: &Value) -> usize {
    let within: usize = match value {
        Value::Array(items) => items.iter().map(values_of).sum(),
        Value::Object(members) => members.values().map(values_of).sum(),
        _ => return 1,
    };
    1 + within.max(1)
}

/// Reads the JSON of a resource, or of a part of one, strictly: duplicate member names, trailing
/// text, nesting deeper than 127 and more than [`VALUES_MAX`] values are refused. The error names a
/// place, never the content.
pub fn parse_json(text: &str) -> Result<Value, ResourceError> {
    parse_json_within(text, VALUES_MAX)
}

/// The same with another bound.
pub fn parse_json_within(text: &str, values_max: usize) -> Result<Value, ResourceError> {
    if values_in(text.as_bytes()) > values_max {
        return Err(ResourceError::TooManyValues { max: values_max });
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| ResourceError::InvalidJson {
        line: error.line(),
        column: error.column(),
        what: if error.is_data() { "a member is named twice" } else { "this is not JSON" },
    })
}

/// The one spelling of a value: members sorted by name, no white space, numbers as given.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (place, (name, member)) in members.into_iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write_string(name, text);
                text.push(':');
                write(member, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        Value::String(string) => write_string(string, text),
        Value::Number(number) => text.push_str(number.as_str()),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Null => text.push_str("null"),
    }
}

fn write_string(string: &str, text: &mut String) {
    text.push('"');
    let mut plain = 0;
    for (place, byte) in string.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        text.push_str(&string[plain..place]);
        plain = place + 1;
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            control => text.push_str(&format!("\\u{control:04x}")),
        }
    }
    text.push_str(&string[plain..]);
    text.push('"');
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(Strict)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if name == NUMBER_TOKEN {
                let literal: String = members.next_value()?;
                let number: Number =
                    serde_json::from_str(&literal).map_err(|_| A::Error::custom("number"))?;
                return Ok(Value::Number(number));
            }
            let value = members.next_value_seed(Strict)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is named twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_of_a_number_survives() {
        for literal in ["1.50", "0.0100", "1.0e-10", "1.20e+3", "-0", "-0.0", "100", "7.0"] {
            let text = format!("[{literal}]");
            assert_eq!(canonical(&parse_json(&text).unwrap()), text);
        }
        let long = format!("[0.{}]", "123456789".repeat(20));
        assert_eq!(canonical(&parse_json(&long).unwrap()), long);
    }

    #[test]
    fn the_spelling_of_a_number_is_settled_once() {
        for literal in ["1e3", "1E3", "1E+3", "2.50E-7", "-1e0"] {
            let once = canonical(&parse_json(literal).unwrap());
            assert_eq!(canonical(&parse_json(&once).unwrap()), once);
            assert!(
                once.contains('e')
                    && once
                        .trim_start_matches('-')
                        .starts_with(&literal.trim_start_matches('-')[..1])
            );
        }
        assert_eq!(canonical(&parse_json("2.50E-7").unwrap()), "2.50e-7");
    }

    #[test]
    fn members_are_sorted_and_strings_keep_their_characters() {
        let text = r#"{"b":[null,{"z":1,"a":"é\u0001\n\"\\/ ‎🩺"}],"a":{}}"#;
        let value = parse_json(text).unwrap();
        let spelled = canonical(&value);
        assert!(spelled.starts_with(r#"{"a":{},"b":[null,{"a":"#));
        assert_eq!(parse_json(&spelled).unwrap(), value);
    }

    #[test]
    fn what_is_ambiguous_or_broken_is_refused() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":1} x"#,
            "{",
            "",
            "[01]",
            "[NaN]",
            r#"["\ud800"]"#,
            &"[".repeat(10_000),
        ] {
            assert!(
                matches!(parse_json(text), Err(ResourceError::InvalidJson { .. })),
                "{text:.20}"
            );
        }
    }

    #[test]
    fn values_are_counted_without_being_made() {
        for (text, count) in [
            ("7", 1),
            ("[]", 2),
            ("{}", 2),
            ("[1,2]", 3),
            (r#"{"a":1}"#, 2),
            (r#"{"a":[{},{"b":null}],"c":"[{,\\\",[["}"#, 7),
            (r#"[ [ [ [ 1 ] , "," ] ] ]"#, 6),
        ] {
            let value = parse_json(text).unwrap();
            assert_eq!((values_in(text.as_bytes()), values_of(&value)), (count, count), "{text}");
            assert_eq!(values_in(canonical(&value).as_bytes()), count);
        }
        let list = |values: usize| format!("[{}]", vec!["0"; values - 1].join(","));
        assert!(parse_json(&list(VALUES_MAX)).is_ok());
        let refused = parse_json(&list(VALUES_MAX + 1));
        assert_eq!(refused, Err(ResourceError::TooManyValues { max: VALUES_MAX }));
    }

    #[test]
    fn the_error_tells_the_place_and_not_the_content() {
        let error = parse_json("{\n \"Amadou\": 1, \"Amadou\": 2}").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("line 2") && !text.contains("Amadou"), "{text}");
    }
}
