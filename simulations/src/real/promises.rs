//! What a node has acknowledged, and whether it keeps it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A note whose text is written again and again.
#[derive(Clone, Debug, Default)]
struct Note {
    /// The text that was acknowledged last.
    kept: Option<String>,
    /// The texts that were sent since then and may or may not be there.
    sent: BTreeSet<String>,
}

/// What was acknowledged; one writer at a time.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    notes: BTreeMap<String, Note>,
    /// Resources of bundles, whole, as `Type/id`.
    bundles: BTreeSet<String>,
    /// How many writes were acknowledged.
    pub acknowledged: u64,
}

/// What is said of a promise to whoever keeps count of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// A note's text is about to be sent.
    Sent { id: String, text: String },
    /// It was acknowledged.
    Kept { id: String, text: String },
    /// A bundle was acknowledged: its resources, as `Type/id`.
    Bundle(Vec<String>),
}

/// A note as FHIR.
pub fn note(id: &str, text: &str) -> Value {
    json!({"resourceType": "Basic", "id": id, "code": {"text": text}})
}

impl Word {
    /// That this bundle was acknowledged.
    pub fn bundle(bundle: &Value) -> Self {
        let mut resources = Vec::new();
        for entry in bundle["entry"].as_array().into_iter().flatten() {
            // One that the receiver had already keeps the id that it had.
            if entry["request"]["ifNoneExist"].is_string() {
                continue;
            }
            let urn = entry["fullUrl"].as_str().unwrap_or_default();
            if let (Some(kind), Some(id)) =
                (entry["resource"]["resourceType"].as_str(), urn.strip_prefix("urn:uuid:"))
            {
                resources.push(format!("{kind}/{id}"));
            }
        }
        Self::Bundle(resources)
    }
}

impl Promises {
    /// Takes note of a word.
    pub fn hear(&mut self, word: Word) {
        match word {
            Word::Sent { id, text } => {
                self.notes.entry(id).or_default().sent.insert(text);
            }
            Word::Kept { id, text } => {
                self.acknowledged += 1;
                let note = self.notes.entry(id).or_default();
                note.kept = Some(text);
                note.sent.clear();
            }
            Word::Bundle(resources) => {
                self.acknowledged += 1;
                self.bundles.extend(resources);
            }
        }
    }

    /// A text is about to be sent.
    pub fn sent(&mut self, id: &str, text: &str) {
        self.hear(Word::Sent { id: id.to_owned(), text: text.to_owned() });
    }

    /// It was acknowledged.
    pub fn kept(&mut self, id: &str, text: &str) {
        self.hear(Word::Kept { id: id.to_owned(), text: text.to_owned() });
    }

    /// A bundle was acknowledged.
    pub fn kept_bundle(&mut self, bundle: &Value) {
        self.hear(Word::bundle(bundle));
    }

    /// What this one promises, and what the other has sent since as that which may be there too: for
    /// a node that may forget what it had not passed on.
    pub fn or_later(&self, later: &Self) -> Self {
        let mut both = self.clone();
        for (id, note) in &later.notes {
            let known = both.notes.entry(id.clone()).or_default();
            known.sent.extend(note.sent.iter().cloned());
            known.sent.extend(note.kept.iter().cloned());
        }
        both
    }

    /// The notes that can be edited.
    pub fn ids(&self) -> Vec<String> {
        let kept = self.notes.iter().filter(|(_, note)| note.kept.is_some());
        kept.map(|(id, _)| id.clone()).collect()
    }

    /// Adds another site's.
    pub fn join(&mut self, other: &Self) {
        self.notes.extend(other.notes.clone());
        self.bundles.extend(other.bundles.iter().cloned());
        self.acknowledged += other.acknowledged;
    }

    /// What is wrong with one note as it is shown.
    pub fn broken_one(&self, id: &str, shown: &Value) -> Option<String> {
        let one = self.notes.get(id).map(|note| (id.to_owned(), note.clone()));
        let one = Self { notes: one.into_iter().collect(), ..Self::default() };
        one.broken(std::slice::from_ref(shown)).pop()
    }

    /// What was acknowledged and does not stand among these resources, each in a sentence.
    pub fn broken(&self, held: &[Value]) -> Vec<String> {
        let mut texts: BTreeMap<&str, &str> = BTreeMap::new();
        let mut names = BTreeSet::new();
        for resource in held {
            let id = resource["id"].as_str().unwrap_or_default();
            let kind = resource["resourceType"].as_str().unwrap_or_default();
            if kind == "Basic" {
                texts.insert(id, resource["code"]["text"].as_str().unwrap_or_default());
            }
            names.insert(format!("{kind}/{id}"));
        }
        let mut broken: Vec<String> = self
            .notes
            .iter()
            .filter_map(|(id, note)| {
                let kept = note.kept.as_deref()?;
                match texts.get(id.as_str()) {
                    None => Some(format!("Basic/{id} is gone")),
                    Some(text) if *text == kept || note.sent.contains(*text) => None,
                    Some(text) => Some(format!("Basic/{id} says {text} in place of {kept}")),
                }
            })
            .collect();
        let gone = self.bundles.difference(&names);
        broken.extend(gone.map(|name| format!("{name} is gone")));
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_was_sent_later_will_do_and_an_earlier_one_will_not() {
        let mut promises = Promises::default();
        for text in ["one", "two"] {
            promises.sent("n", text);
            promises.kept("n", text);
        }
        promises.sent("n", "three");
        promises.sent("never", "acknowledged");
        assert!(promises.broken(&[note("n", "two")]).is_empty());
        assert!(promises.broken(&[note("n", "three")]).is_empty());
        assert_eq!(promises.broken(&[note("n", "one")]).len(), 1);
        assert_eq!(promises.broken(&[]).len(), 1);
    }
}
