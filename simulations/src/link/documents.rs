//! The same charts and the same work as bare Automerge documents, one for each section of a chart,
//! for what is measured beside the nodes. There is no audit trail, no seal and no signature in it.

use super::charts::{Act, Invented, Outage};
use crate::local::{Outcome, SAMPLE_DAY_MS};
use carnet_node::chart::{Document, Edit, Resource, ResourceKey, home};
use std::collections::{BTreeMap, BTreeSet};

/// Names a document, as a node's pseudonyms do: sixteen bytes.
pub type DocumentName = [u8; 16];

/// Changes by document, uncompressed, each in the order in which it can be applied.
pub type Changes = BTreeMap<DocumentName, Vec<Vec<u8>>>;

/// Every document of the practice.
#[derive(Default)]
pub struct Documents {
    /// The changes that both sites hold.
    pub changes: Changes,
    places: BTreeMap<ResourceKey, DocumentName>,
    starts: u64,
}

fn name(resource: &Resource) -> DocumentName {
    let home = home(resource);
    let owner = home.patient.unwrap_or_else(|| resource.key().to_string());
    let hash = blake3::hash(format!("{owner} {}", home.section.as_str()).as_bytes());
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

fn prefix(author: usize) -> [u8; 8] {
    (author as u64 + 1).to_be_bytes()
}

impl Documents {
    /// Charts as they are imported: one change for each document, and clinics and clinicians once.
    pub fn invented(charts: impl Iterator<Item = Invented>, authors: usize) -> Outcome<Self> {
        let mut documents = Self::default();
        let mut shared = BTreeSet::new();
        for (number, chart) in charts.enumerate() {
            let mut edits: BTreeMap<DocumentName, Vec<Edit>> = BTreeMap::new();
            for resource in chart.resources()? {
                let identifier = resource.body().get("identifier").map(ToString::to_string);
                let of_patient = home(&resource).patient.is_some();
                if !of_patient && !shared.insert((resource.kind().to_owned(), identifier)) {
                    continue;
                }
                let name = name(&resource);
                documents.places.insert(resource.key(), name);
                edits.entry(name).or_default().push(Edit::Put(resource));
            }
            let author = number % authors.max(1);
            let actor = documents.actor(author);
            for (name, edits) in edits {
                let written = Document::new(actor).write(SAMPLE_DAY_MS, &edits)?;
                let bytes = written.ok_or("a chart without content")?.bytes;
                documents.changes.entry(name).or_default().push(bytes);
            }
        }
        Ok(documents)
    }

    /// An actor of its own for each start, as a node has.
    fn actor(&mut self, author: usize) -> [u8; 16] {
        self.starts += 1;
        let mut actor = [0; 16];
        actor[..8].copy_from_slice(&prefix(author));
        actor[8..].copy_from_slice(&self.starts.to_be_bytes());
        actor
    }

    /// What each site writes when it does its part of the work apart from the other.
    pub fn work(&mut self, outage: &Outage) -> Outcome<[Changes; 2]> {
        let mut made = [Changes::new(), Changes::new()];
        for (site, made) in made.iter_mut().enumerate() {
            let actor = self.actor(site);
            let mut open: BTreeMap<DocumentName, Document> = BTreeMap::new();
            for act in &outage.acts[site] {
                let (name, edit) = match act {
                    Act::Put(resource) => (name(resource), Edit::Put(resource.clone())),
                    Act::Set(key, element, value) => {
                        let name = self.places.get(key).ok_or("an edit of nothing")?;
                        let (key, element) = (key.clone(), element.clone());
                        (*name, Edit::Set { key, element, value: Some(value.clone()) })
                    }
                };
                if let std::collections::btree_map::Entry::Vacant(place) = open.entry(name) {
                    place.insert(self.open(&name, actor)?);
                }
                let document = open.get_mut(&name).ok_or("a document that is not open")?;
                // Of what both sites said in an earlier outage, each way of keeping it shows one;
                // they need not show the same, and may show what is said now.
                if let Some(written) = document.write(SAMPLE_DAY_MS, &[edit])? {
                    made.entry(name).or_default().push(written.bytes);
                }
            }
        }
        Ok(made)
    }

    /// Both sites now hold this too.
    pub fn merge(&mut self, made: [Changes; 2]) {
        for (name, changes) in made.into_iter().flatten() {
            self.changes.entry(name).or_default().extend(changes);
        }
    }

    /// What the documents take as snapshots: each saved and compressed by itself, neither sealed nor
    /// signed.
    pub fn snapshots(&self) -> Outcome<u64> {
        let mut total = 0;
        for name in self.changes.keys() {
            total += carnet_node::vault::pack(&self.open(name, [0; 16])?.save()).len() as u64;
        }
        Ok(total)
    }

    fn open(&self, name: &DocumentName, actor: [u8; 16]) -> Outcome<Document> {
        let mut document = Document::new(actor);
        for change in self.changes.get(name).into_iter().flatten() {
            let author = carnet_node::chart::inspect(change)?;
            document.apply(change, author.actor[..8].try_into()?)?;
        }
        Ok(document)
    }
}

/// What these changes take, compressed together.
pub fn compressed<'a>(changes: impl Iterator<Item = &'a Changes>) -> Outcome<u64> {
    let mut total = 0;
    for site in changes {
        let all: Vec<u8> = site.values().flatten().flatten().copied().collect();
        if !all.is_empty() {
            total += zstd::bulk::compress(&all, 19)?.len() as u64;
        }
    }
    Ok(total)
}
