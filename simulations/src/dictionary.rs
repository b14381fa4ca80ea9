//! Training the compression dictionary, and measuring what it is worth.
//!
//! The samples are changes as the chart makes them, since that is what nodes compress: of invented
//! patients and of the official FHIR examples. What is measured is measured on other patients than
//! those that were trained on. The same arguments give the same file.

use carnet_node::base::environment::Environment;
use carnet_node::chart::{Document, Edit, Resource, Section, home, parse_json};
use carnet_node::sample::{Generator, Size};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Patients are last seen in the weeks before 2026-05-28.
const TODAY_MS: u64 = 1_780_000_000_000;

/// Between one change and the next.
const STEP_MS: u64 = 61_234;

const TRAINING_SEED: u64 = 1;
const MEASURING_SEED: u64 = 2;

/// What to train on and where to put it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A folder of FHIR R4 resources, one JSON file each (the official examples, CC0).
    #[arg(long)]
    examples: Option<PathBuf>,
    /// The file to write.
    #[arg(long)]
    output: PathBuf,
    /// How many invented patients to train on.
    #[arg(long, default_value_t = 400)]
    patients: usize,
    /// The dictionary's size in bytes.
    #[arg(long, default_value_t = 64 << 10)]
    size: usize,
    /// The zstd level to measure at.
    #[arg(long, default_value_t = 6)]
    level: i32,
}

/// Why no dictionary was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DictionaryError {
    /// A file or folder can't be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// Zstd finds too little in the samples.
    #[error("zstd could not train on {samples} samples: {error}; give more patients")]
    Training { samples: usize, error: io::Error },
    /// Zstd refuses the measurement's level.
    #[error("zstd can't compress at this level: {0}")]
    Level(io::Error),
}

/// What kind of change it is, for the measurements.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Patient,
    Observation,
    Order,
    Other,
    OneElement,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::Observation => "observation",
            Self::Order => "order",
            Self::Other => "other",
            Self::OneElement => "one_element",
        }
    }
}

/// Trains, writes the file and reports.
pub(crate) fn run(arguments: &Arguments) -> Result<Value, DictionaryError> {
    let mut samples: Vec<Vec<u8>> =
        patients(TRAINING_SEED, arguments.patients).into_iter().map(|(_, change)| change).collect();
    let of_patients = samples.len();
    if let Some(folder) = &arguments.examples {
        samples.extend(examples(folder)?);
    }
    let dictionary = zstd::dict::from_samples(&samples, arguments.size)
        .map_err(|error| DictionaryError::Training { samples: samples.len(), error })?;
    fs::write(&arguments.output, &dictionary)
        .map_err(|error| DictionaryError::File(arguments.output.clone(), error))?;
    Ok(json!({
        "samples": samples.len(),
        "samples_of_patients": of_patients,
        "sample_bytes": samples.iter().map(Vec::len).sum::<usize>(),
        "dictionary_bytes": dictionary.len(),
        "level": arguments.level,
        "mean_bytes": measure(&dictionary, arguments.level).map_err(DictionaryError::Level)?,
        "changes_per_second": speed(&dictionary, arguments.level).map_err(DictionaryError::Level)?,
    }))
}

/// Mean lengths of changes of each kind: as they are, compressed, compressed with the dictionary.
fn measure(dictionary: &[u8], level: i32) -> io::Result<Value> {
    let mut plain = zstd::bulk::Compressor::new(level)?;
    let mut trained = zstd::bulk::Compressor::with_dictionary(level, dictionary)?;
    let mut sums: BTreeMap<Kind, [usize; 4]> = BTreeMap::new();
    for (kind, change) in patients(MEASURING_SEED, 50) {
        let lengths =
            [1, change.len(), plain.compress(&change)?.len(), trained.compress(&change)?.len()];
        let sum = sums.entry(kind).or_default();
        for (sum, length) in sum.iter_mut().zip(lengths) {
            *sum += length;
        }
    }
    Ok(sums
        .into_iter()
        .map(|(kind, [count, raw, zstd, with_dictionary])| {
            let means = json!({
                "changes": count,
                "raw": raw / count,
                "zstd": zstd / count,
                "zstd_with_dictionary": with_dictionary / count,
            });
            (kind.name().to_owned(), means)
        })
        .collect::<serde_json::Map<_, _>>()
        .into())
}

/// How many changes one thread compresses with the dictionary in a second.
fn speed(dictionary: &[u8], level: i32) -> io::Result<u64> {
    const ROUNDS: usize = 10;
    let changes = patients(MEASURING_SEED, 50);
    let mut trained = zstd::bulk::Compressor::with_dictionary(level, dictionary)?;
    let environment = Environment::system();
    let start = environment.monotonic_ms();
    for (_, change) in std::iter::repeat_n(&changes, ROUNDS).flatten() {
        trained.compress(change)?;
    }
    let ms = (environment.monotonic_ms() - start).max(1);
    Ok((ROUNDS * changes.len()) as u64 * 1000 / ms)
}

/// The changes of so many patients' charts.
fn patients(seed: u64, count: usize) -> Vec<(Kind, Vec<u8>)> {
    let mut generator = Generator::new(seed, TODAY_MS);
    (0..count)
        .flat_map(|number| {
            let bundle = generator.patient(Size::Standard);
            changes(&bundle, actor(seed, number))
        })
        .collect()
}

/// An actor like a node's: one half for the node (there are three), one for its start.
fn actor(seed: u64, number: usize) -> [u8; 16] {
    // Multiplying by an odd constant spreads the bits; an actor only has to look random.
    let spread = |part: u64| (part + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let number = number as u64;
    let mut actor = [0; 16];
    actor[..8].copy_from_slice(&spread(seed * 100 + number % 3));
    actor[8..].copy_from_slice(&spread(seed * 100_000 + number));
    actor
}

/// One change for each resource of a bundle, as when staff write them one by one, then an edit of
/// each element that is usually edited.
fn changes(bundle: &Value, actor: [u8; 16]) -> Vec<(Kind, Vec<u8>)> {
    let mut documents: BTreeMap<(Option<String>, Section, String), Document> = BTreeMap::new();
    let mut changes = Vec::new();
    let mut unix_ms = TODAY_MS;
    let resources = resources(bundle);
    let edits = resources
        .iter()
        .flat_map(|resource| edits(resource).into_iter().map(move |edit| (resource, edit)))
        .map(|(resource, edit)| (Kind::OneElement, resource, edit));
    let puts = resources.iter().map(|r| (kind(r), r, Edit::Put(r.clone())));
    for (kind, resource, edit) in puts.chain(edits) {
        let home = home(resource);
        let alone = match home.patient {
            Some(_) => String::new(),
            None => resource.key().to_string(),
        };
        let document = documents
            .entry((home.patient, home.section, alone))
            .or_insert_with(|| Document::new(actor));
        unix_ms += STEP_MS;
        let written =
            document.write(unix_ms, &[edit]).expect("an invented resource can be written");
        changes.extend(written.map(|written| (kind, written.bytes)));
    }
    changes
}

fn kind(resource: &Resource) -> Kind {
    match resource.kind() {
        "Patient" => Kind::Patient,
        "Observation" => Kind::Observation,
        "MedicationRequest" => Kind::Order,
        _ => Kind::Other,
    }
}

/// The resources of a transaction, with references by their new ids.
fn resources(bundle: &Value) -> Vec<Resource> {
    let entries = bundle["entry"].as_array().map_or(&[][..], Vec::as_slice);
    let mut names: BTreeMap<&str, String> = BTreeMap::new();
    for entry in entries {
        let name = entry["fullUrl"].as_str().unwrap_or_default();
        let kind = entry["resource"]["resourceType"].as_str().unwrap_or_default();
        names.insert(name, format!("{kind}/{}", name.trim_start_matches("urn:uuid:")));
    }
    entries
        .iter()
        .map(|entry| {
            let mut body = entry["resource"].clone();
            resolve(&mut body, &names);
            let name = entry["fullUrl"].as_str().unwrap_or_default();
            Resource::with_id(body, name.trim_start_matches("urn:uuid:"))
                .expect("an invented resource is a resource")
        })
        .collect()
}

fn resolve(value: &mut Value, names: &BTreeMap<&str, String>) {
    match value {
        Value::Object(members) => members.values_mut().for_each(|member| resolve(member, names)),
        Value::Array(items) => items.iter_mut().for_each(|item| resolve(item, names)),
        Value::String(text) => {
            if let Some(name) = names.get(text.as_str()) {
                text.clone_from(name);
            }
        }
        _ => {}
    }
}

/// What somebody would change of a resource later.
fn edits(resource: &Resource) -> Vec<Edit> {
    let set = |element: &str, value: Value| Edit::Set {
        key: resource.key(),
        element: element.to_owned(),
        value: Some(value),
    };
    match resource.kind() {
        "MedicationRequest" => {
            let mut dosage = resource.body()["dosageInstruction"].clone();
            dosage[0]["timing"]["repeat"]["frequency"] = 6.into();
            vec![set("status", "on-hold".into()), set("dosageInstruction", dosage)]
        }
        "Condition" => vec![set("abatementDateTime", "2026-06-02".into())],
        "AllergyIntolerance" => vec![set("criticality", "unable-to-assess".into())],
        "Patient" => {
            let phone = json!([{"system": "phone", "use": "home", "value": "+221 33 555 01 22"}]);
            vec![set("telecom", phone), set("active", false.into())]
        }
        "Appointment" => vec![set("status", "cancelled".into())],
        _ => Vec::new(),
    }
}

/// One change for each file of a folder that holds an R4 resource; the others are passed over.
fn examples(folder: &Path) -> Result<Vec<Vec<u8>>, DictionaryError> {
    let failed = |error| DictionaryError::File(folder.to_owned(), error);
    let mut paths = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
        .map_err(failed)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    // Folders have no order, and the dictionary depends on that of the samples.
    paths.sort();
    let mut changes = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let text =
            fs::read_to_string(path).map_err(|error| DictionaryError::File(path.clone(), error))?;
        let resource = parse_json(&text).and_then(Resource::from_value);
        let Ok(resource) = resource else { continue };
        let mut document = Document::new(actor(3, number));
        let unix_ms = TODAY_MS + number as u64 * STEP_MS;
        // A few examples are larger than a change may be.
        if let Ok(Some(written)) = document.write(unix_ms, &[Edit::Put(resource)]) {
            changes.push(written.bytes);
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_is_made_again_alike_and_pays_for_small_changes() {
        let folder = tempfile::tempdir().unwrap();
        let train = |name: &str| {
            let output = folder.path().join(name);
            let arguments = Arguments {
                examples: None,
                output: output.clone(),
                patients: 30,
                size: 8 << 10,
                level: 6,
            };
            (run(&arguments).unwrap(), fs::read(output).unwrap())
        };
        let (report, dictionary) = train("one");
        assert_eq!(train("two").1, dictionary);
        let observation = &report["mean_bytes"]["observation"];
        let bytes = |name: &str| observation[name].as_u64().unwrap();
        assert!(bytes("zstd_with_dictionary") * 2 < bytes("zstd"), "{report}");
        assert!(bytes("zstd") < bytes("raw"), "{report}");
    }

    #[test]
    fn references_follow_the_new_ids() {
        let bundle = Generator::new(1, TODAY_MS).patient(Size::Small);
        let resources = resources(&bundle);
        let keys: Vec<String> = resources.iter().map(|r| r.key().to_string()).collect();
        for resource in &resources {
            let body = Value::Object(resource.body().clone());
            assert!(!body.to_string().contains("urn:uuid:"));
            if let Some(subject) = body["subject"]["reference"].as_str() {
                assert!(keys.contains(&subject.to_owned()), "{subject}");
            }
        }
    }

    #[test]
    fn only_resources_of_the_folder_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        put("a.json", r#"{"resourceType":"Basic","id":"a","code":{"text":"x"}}"#);
        put("b.json", r#"{"no":"resource"}"#);
        put("c.txt", "text");
        assert_eq!(examples(folder.path()).unwrap().len(), 1);
        assert!(examples(&folder.path().join("absent")).is_err());
    }
}
