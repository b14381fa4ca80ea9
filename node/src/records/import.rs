//! Importing: FHIR bundles, resources and NDJSON that others made.
//!
//! The rules, chosen so that an import can be repeated and never undoes anybody's work:
//!
//! - Each bundle (or NDJSON file) is taken whole or not at all, and says which entry failed.
//! - The bundles of one import are taken in order of dependency: one whose conditional references
//!   have no match yet waits until the others are in.
//! - A new resource keeps the id of its `urn:uuid`, or its own; where it has none, or the id is
//!   taken by something else, its id is derived from what it says, so that a repeat finds it.
//! - What the chart already says, or said once, is not written again: importing an old export does
//!   not turn anything back.

mod bundle;
mod reference;
mod source;

pub use bundle::BundleError;
pub use source::Source;

use super::{Records, RecordsError};
use crate::access::{Action, Permit};
use crate::store::index::PairRow;
use bundle::Counts;
use serde::Serialize;
use source::Parcel;
use std::collections::BTreeMap;

/// One bundle that was not taken.
#[derive(Clone, Debug, Serialize)]
pub struct ImportFailure {
    /// The file.
    pub file: String,
    /// Which bundle of the file, from 1.
    pub bundle: usize,
    /// Which entry of the bundle, from 1; none when the bundle as a whole is at fault.
    pub entry: Option<usize>,
    /// What is wrong and what to do. Names resource types, elements and queries, never a value
    /// of the chart other than those.
    pub reason: String,
}

/// A patient that an import registered and who is likely registered already.
#[derive(Clone, Debug, Serialize)]
pub struct ImportedTwice {
    /// The new patient's id.
    pub patient: String,
    /// The other one's id.
    pub same: String,
    /// How likely, of 100.
    pub score: u32,
}

/// Hints given at most; the list of likely duplicates has them all.
const TWICE_MAX: usize = 100;

/// What an import did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ImportReport {
    /// Bundles taken.
    pub bundles: u64,
    /// Resources written.
    pub resources: u64,
    /// Resources that were there already.
    pub existing: u64,
    /// Entries left out for another reason (a search's outcome, a GET).
    pub skipped: u64,
    /// Bundles that failed.
    pub failed: u64,
    /// How long it took.
    pub seconds: f64,
    /// What failed, and why.
    pub failures: Vec<ImportFailure>,
    /// New patients who are likely registered already; the first 100.
    pub twice: Vec<ImportedTwice>,
}

/// An import under way: bundles that are still to be taken.
#[derive(Debug, Default)]
pub struct Import {
    waiting: Vec<Parcel>,
    /// Where the resources of bundles taken so far came to stand, by `fullUrl`.
    placed: BTreeMap<String, String>,
    report: ImportReport,
    progress: bool,
    retry: Vec<(Parcel, ImportFailure)>,
    total: u64,
}

impl Import {
    /// Reads the sources; what can't be read is a failure of its file alone.
    pub fn new(sources: Vec<Source>) -> Self {
        let mut import = Self::default();
        for source in sources {
            let file = source.name.clone();
            match source.parcels() {
                Ok(parcels) => import.waiting.extend(parcels),
                Err(reason) => import.fail(ImportFailure { file, bundle: 1, entry: None, reason }),
            }
        }
        // Taken from the end.
        import.waiting.reverse();
        import.total = import.waiting.len() as u64;
        import
    }

    /// Bundles done, and bundles in all.
    pub fn done(&self) -> (u64, u64) {
        (self.total - (self.waiting.len() + self.retry.len()) as u64, self.total)
    }

    fn fail(&mut self, failure: ImportFailure) {
        self.report.failed += 1;
        self.report.failures.push(failure);
    }

    /// The report, once [`Records::import_next`] said that nothing is left.
    pub fn into_report(self) -> ImportReport {
        self.report
    }
}

impl Records {
    /// Takes the next bundle; false when none is left. Each bundle is durable after the commit
    /// that follows, so that others can use the node between two bundles.
    pub fn import_next(
        &mut self,
        permit: &Permit,
        import: &mut Import,
    ) -> Result<bool, RecordsError> {
        self.require(permit, Action::Import)?;
        let Some(parcel) = import.waiting.pop() else {
            return Ok(import.next_round());
        };
        self.catch_up()?;
        let file = parcel.file.clone();
        let number = parcel.number;
        let taken = self.atomically(|records| records.take_bundle(permit, &parcel, &import.placed));
        let failure = |entry, reason| ImportFailure { file, bundle: number, entry, reason };
        match taken {
            Ok(taken) => {
                let Counts { resources, existing, skipped } = taken.counts;
                import.report.bundles += 1;
                import.report.resources += resources;
                import.report.existing += existing;
                import.report.skipped += skipped;
                import.placed.extend(taken.placed);
                import.progress = true;
                let mut event = self.event_of(permit, "import");
                event.count = resources;
                self.note_event(event);
                import.report.twice.extend(self.registered_twice(permit, &taken.patients)?);
                import.report.twice.truncate(TWICE_MAX);
            }
            Err(RecordsError::Import(BundleError { entry, reason, waits: true })) => {
                import.retry.push((parcel, failure(entry, reason)));
            }
            Err(RecordsError::Import(BundleError { entry, reason, waits: false })) => {
                import.fail(failure(entry, reason));
            }
            // A chart that refuses the content is the bundle's fault; all else is the node's.
            Err(RecordsError::Chart(error)) => import.fail(failure(None, error.to_string())),
            Err(RecordsError::Denied(denial)) => import.fail(failure(None, denial.to_string())),
            Err(RecordsError::BadRequest(reason)) => import.fail(failure(None, reason)),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn registered_twice(
        &self,
        permit: &Permit,
        patients: &[String],
    ) -> Result<Vec<ImportedTwice>, RecordsError> {
        let judge = self.judge(permit);
        let mut twice = Vec::new();
        for patient in patients {
            for PairRow { a, b, score } in self.open_pairs(Some(patient))? {
                let same = if a == *patient { b } else { a };
                if judge.admits_patient(&same)? && twice.len() < TWICE_MAX {
                    twice.push(ImportedTwice { patient: patient.clone(), same, score });
                }
            }
        }
        Ok(twice)
    }

    /// Takes every bundle, each with its own commit.
    pub fn import(
        &mut self,
        permit: &Permit,
        sources: Vec<Source>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<ImportReport, RecordsError> {
        let started = self.environment().monotonic_ms();
        let mut import = Import::new(sources);
        while self.import_next(permit, &mut import)? {
            self.commit()?;
            let (done, total) = import.done();
            progress(done, total);
        }
        let mut report = import.into_report();
        report.seconds = (self.environment().monotonic_ms() - started) as f64 / 1000.0;
        Ok(report)
    }
}

impl Import {
    /// When every bundle had its turn: those that waited get another, as long as that helps.
    fn next_round(&mut self) -> bool {
        let retry = std::mem::take(&mut self.retry);
        if retry.is_empty() {
            return false;
        }
        if self.progress {
            self.progress = false;
            self.waiting = retry.into_iter().rev().map(|(parcel, _)| parcel).collect();
            return true;
        }
        for (_, failure) in retry {
            self.fail(failure);
        }
        false
    }
}
