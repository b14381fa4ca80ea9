//! From files to bundles: FHIR JSON or NDJSON, each also gzipped.

use crate::chart::{ResourceError, parse_json_within, values_in};
use flate2::bufread::MultiGzDecoder;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

/// A file's size after it is inflated; one file is read at a time.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// Values in a file: in memory a value takes some 250 bytes, 640 at the very worst, so this is
/// about 100 MB and never more than 256. A patient of Synthea has 67,000 at most.
pub const FILE_VALUES_MAX: usize = 400_000;

/// A file to import.
#[derive(Debug)]
pub struct Source {
    name: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Bytes(Vec<u8>),
    File(PathBuf),
}

/// A bundle of a file, ready to be taken.
#[derive(Debug)]
pub(super) struct Parcel {
    pub file: String,
    /// The file's place among those to be imported.
    pub place: usize,
    /// Which bundle of the file, from 1.
    pub number: usize,
    pub entries: Vec<EntryIn>,
}

/// How an entry wants to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Interaction {
    /// Create it (unless the query has a match).
    Create { if_none_exist: Option<String> },
    /// Create or replace it under its id.
    Update { id: String },
    /// Replace the one that the query finds, or create it.
    ConditionalUpdate { query: String },
    /// Delete it.
    Delete { kind: String, id: String },
    /// Delete the one that the query finds, if it finds one.
    ConditionalDelete { kind: String, query: String },
    /// Nothing to write.
    Skip,
    /// Something that can't be done.
    Unsupported { reason: String },
}

/// An entry of a bundle.
#[derive(Debug)]
pub(super) struct EntryIn {
    pub full_url: Option<String>,
    pub interaction: Interaction,
    pub resource: Option<Value>,
}

impl Source {
    /// What is in memory already, gzipped or not; the name is for messages.
    pub const fn bytes(name: String, bytes: Vec<u8>) -> Self {
        Self { name, content: Content::Bytes(bytes) }
    }

    /// A file, gzipped or not, which is read when its turn comes.
    pub fn file(path: PathBuf) -> Self {
        Self { name: path.display().to_string(), content: Content::File(path) }
    }

    /// Its name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bytes of the file, inflated, and its bundles; `place` is its own among others.
    pub(super) fn parcels(&self, place: usize) -> Result<(usize, Vec<Parcel>), String> {
        let text = match &self.content {
            Content::Bytes(bytes) => inflate(bytes.as_slice())?,
            Content::File(path) => {
                let file = File::open(path).map_err(|error| format!("can't be read: {error}"))?;
                inflate(BufReader::new(file))?
            }
        };
        let parcels = match parse_json_within(&text, FILE_VALUES_MAX) {
            Ok(value) => vec![parcel(self.origin(place), 1, value)?],
            Err(ResourceError::TooManyValues { .. }) => return Err(too_many_values()),
            Err(whole) => ndjson(self.origin(place), &text).unwrap_or_else(|| {
                Err(format!("not valid JSON: {whole}; is the file whole, and FHIR JSON?"))
            })?,
        };
        Ok((text.len(), parcels))
    }

    fn origin(&self, place: usize) -> Origin<'_> {
        Origin { file: &self.name, place }
    }
}

/// Where bundles come from.
#[derive(Clone, Copy)]
struct Origin<'a> {
    file: &'a str,
    place: usize,
}

impl Origin<'_> {
    fn parcel(self, number: usize, entries: Vec<EntryIn>) -> Parcel {
        Parcel { file: self.file.to_owned(), place: self.place, number, entries }
    }
}

fn inflate(mut source: impl BufRead) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("can't be read: {error}");
    let gzipped = source.fill_buf().map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
    let mut bytes = Vec::new();
    if gzipped {
        MultiGzDecoder::new(source)
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|_| "the gzip file is damaged or cut short; copy it again".to_owned())?;
    } else {
        source.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!(
            "the file holds more than {} MiB; split it into several files",
            FILE_BYTES_MAX >> 20
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        format!("not UTF-8 text (at byte {}); is it FHIR JSON?", error.utf8_error().valid_up_to())
    })
}

/// The lines of an NDJSON file, if it looks like one: resources are taken together, bundles by
/// themselves.
fn ndjson(origin: Origin<'_>, text: &str) -> Option<Result<Vec<Parcel>, String>> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let mut lines = lines.filter(|(_, line)| !line.is_empty());
    let ((_, first), _) = (lines.clone().next()?, lines.clone().nth(1)?);
    parse_json_within(first, FILE_VALUES_MAX).ok()?;
    let mut values = 0;
    if lines.clone().any(|(_, line)| {
        values += values_in(line.as_bytes());
        values > FILE_VALUES_MAX
    }) {
        return Some(Err(too_many_values()));
    }
    Some(ndjson_parcels(origin, &mut lines))
}

fn too_many_values() -> String {
    format!("the file holds more than {FILE_VALUES_MAX} values; split it into several files")
}

fn ndjson_parcels(
    origin: Origin<'_>,
    lines: &mut dyn Iterator<Item = (usize, &str)>,
) -> Result<Vec<Parcel>, String> {
    let mut parcels = Vec::new();
    let mut loose = Vec::new();
    for (at, line) in lines {
        let value = parse_json_within(line, FILE_VALUES_MAX)
            .map_err(|error| format!("line {at}: {error}"))?;
        if value["resourceType"] == "Bundle" {
            let number = parcels.len() + 1;
            parcels.push(parcel(origin, number, value)?);
        } else {
            loose.push(resource_entry(value));
        }
    }
    if !loose.is_empty() {
        let number = parcels.len() + 1;
        parcels.push(origin.parcel(number, loose));
    }
    Ok(parcels)
}

fn parcel(origin: Origin<'_>, number: usize, value: Value) -> Result<Parcel, String> {
    if value["resourceType"] != "Bundle" {
        return Ok(origin.parcel(number, vec![resource_entry(value)]));
    }
    let kind = value["type"].as_str().unwrap_or_default().to_owned();
    if kind.is_empty() {
        return Err(format!("bundle {number} has no type; a FHIR Bundle needs one"));
    }
    let Value::Object(mut bundle) = value else { return Err("not an object".into()) };
    let entries = match bundle.remove("entry") {
        None => Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(format!("bundle {number}: entry is not a list")),
    };
    let requests = kind == "transaction" || kind == "batch";
    let entries = entries.into_iter().map(|entry| bundle_entry(entry, requests)).collect();
    Ok(origin.parcel(number, entries))
}

fn resource_entry(resource: Value) -> EntryIn {
    let interaction = match resource["id"].as_str() {
        Some(id) => Interaction::Update { id: id.to_owned() },
        None => Interaction::Create { if_none_exist: None },
    };
    EntryIn { full_url: None, interaction, resource: Some(resource) }
}

fn bundle_entry(mut entry: Value, requests: bool) -> EntryIn {
    let full_url = entry["fullUrl"].as_str().map(str::to_owned);
    let resource = entry.get_mut("resource").map(Value::take);
    if !requests {
        let Some(resource) = resource else {
            return EntryIn { full_url, interaction: Interaction::Skip, resource: None };
        };
        if entry["search"]["mode"] == "outcome" {
            return EntryIn { full_url, interaction: Interaction::Skip, resource: None };
        }
        return EntryIn { full_url, ..resource_entry(resource) };
    }
    let interaction = interaction(&entry["request"], resource.is_some());
    EntryIn { full_url, interaction, resource }
}

fn interaction(request: &Value, has_resource: bool) -> Interaction {
    let method = request["method"].as_str().unwrap_or_default();
    let url = request["url"].as_str().unwrap_or_default().trim_start_matches('/');
    let unsupported = |reason: String| Interaction::Unsupported { reason };
    match method {
        "GET" | "HEAD" => Interaction::Skip,
        "POST" | "PUT" if !has_resource => unsupported(format!("{method} without a resource")),
        "POST" => Interaction::Create {
            if_none_exist: request["ifNoneExist"]
                .as_str()
                .map(|query| query.rsplit('?').next().unwrap_or(query).to_owned()),
        },
        "PUT" => match (url.split_once('?'), url.split_once('/')) {
            (Some((_, query)), _) => Interaction::ConditionalUpdate { query: query.to_owned() },
            (None, Some((_, id))) => Interaction::Update { id: id.to_owned() },
            (None, None) => unsupported("PUT needs the url Type/id or Type?query".into()),
        },
        "DELETE" => match (url.split_once('?'), url.split_once('/')) {
            (Some((kind, query)), _) => {
                Interaction::ConditionalDelete { kind: kind.to_owned(), query: query.to_owned() }
            }
            (None, Some((kind, id))) => {
                Interaction::Delete { kind: kind.to_owned(), id: id.to_owned() }
            }
            (None, None) => unsupported("DELETE needs the url Type/id or Type?query".into()),
        },
        "" => unsupported("the entry has no request.method".into()),
        other => unsupported(format!("{other} is not supported in an import")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::bytes("f".into(), text.into())
    }

    #[test]
    fn a_cut_file_is_refused_with_what_to_do() {
        let error = source(r#"{"resourceType":"Bundle","type":"#).parcels(0).unwrap_err();
        assert!(error.contains("is the file whole"), "{error}");
        let error = Source::bytes("f".into(), vec![0x1f, 0x8b, 8, 0, 1]).parcels(0);
        assert!(error.unwrap_err().contains("gzip"));
        let error = Source::file("/nonexistent/f".into()).parcels(0);
        assert!(error.unwrap_err().contains("can't be read"));
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_before_it_is_held_also_when_it_is_small_on_disk() {
        let spaces = vec![b' '; 1 << 20];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for _ in 0..=FILE_BYTES_MAX >> 20 {
            std::io::Write::write_all(&mut gzip, &spaces).unwrap();
        }
        let bomb = gzip.finish().unwrap();
        assert!(bomb.len() < 1 << 20);
        let error = Source::bytes("f".into(), bomb).parcels(0).unwrap_err();
        assert!(error.contains("64 MiB"), "{error}");
    }

    #[test]
    fn a_file_with_more_values_than_can_be_held_is_refused_before_it_is_read() {
        let small = "{\"\":0},".repeat(FILE_VALUES_MAX / 2);
        for text in [
            format!("[{}0]", small),
            format!("{{\"resourceType\":\"Patient\"}}\n{}", "0\n".repeat(FILE_VALUES_MAX)),
            format!("{{\"resourceType\":\"Patient\"}}\n[{}0]", small),
        ] {
            let error = source(&text).parcels(0).unwrap_err();
            assert!(error.contains("400000 values"), "{error}");
        }
        let half = "{\"\":0},".repeat(FILE_VALUES_MAX / 4);
        let lines = format!(
            "{{\"resourceType\":\"Basic\",\"a\":[{half}0]}}\n{{\"resourceType\":\"Basic\"}}"
        );
        assert_eq!(source(&lines).parcels(0).unwrap().1[0].entries.len(), 2);
    }

    #[test]
    fn lines_are_one_parcel_and_name_the_bad_one() {
        let good = source(
            "{\"resourceType\":\"Patient\",\"id\":\"a\"}\n\n{\"resourceType\":\"Patient\"}\n",
        );
        let parcels = good.parcels(0).unwrap().1;
        assert_eq!(parcels.len(), 1);
        assert_eq!(parcels[0].entries[0].interaction, Interaction::Update { id: "a".into() });
        assert_eq!(parcels[0].entries[1].interaction, Interaction::Create { if_none_exist: None });
        let bad = source("{\"resourceType\":\"Patient\"}\n{\"resourceType\":");
        assert!(bad.parcels(0).unwrap_err().starts_with("line 2"));
    }

    #[test]
    fn requests_decide_in_transactions_only() {
        let text = r#"{"resourceType":"Bundle","type":"transaction","entry":[
            {"resource":{"resourceType":"Patient"},"request":{"method":"PUT","url":"Patient/p"}},
            {"request":{"method":"DELETE","url":"Patient/q"}},
            {"request":{"method":"DELETE","url":"Patient?identifier=7"}},
            {"request":{"method":"GET","url":"Patient"}},
            {"resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient",
             "ifNoneExist":"Patient?identifier=a|b"}}]}"#;
        let parcels = source(text).parcels(0).unwrap().1;
        let interactions: Vec<_> =
            parcels[0].entries.iter().map(|entry| entry.interaction.clone()).collect();
        assert_eq!(
            interactions,
            [
                Interaction::Update { id: "p".into() },
                Interaction::Delete { kind: "Patient".into(), id: "q".into() },
                Interaction::ConditionalDelete {
                    kind: "Patient".into(),
                    query: "identifier=7".into()
                },
                Interaction::Skip,
                Interaction::Create { if_none_exist: Some("identifier=a|b".into()) },
            ]
        );
    }
}
