//! Importing: FHIR bundles, resources and NDJSON that others made.
//!
//! The rules, chosen so that an import can be repeated and never undoes anybody's work:
//!
//! - Each bundle (or NDJSON file) is taken whole or not at all, and says which entry failed.
//! - The bundles of one import are taken in order of dependency: one whose conditional references
//!   have no match yet waits until the others are in.
//! - One file is in memory at a time, no larger than [`FILE_BYTES_MAX`] and of no more values than
//!   [`FILE_VALUES_MAX`], or a few small ones; of those before, only where their resources came to
//!   stand.
//! - A new resource keeps the id of its `urn:uuid`, or its own; where it has none, or the id is
//!   taken by something else, its id is derived from what it says, so that a repeat finds it.
//! - What the chart already says, or said once, is not written again: importing an old export does
//!   not turn anything back.

mod bundle;
mod reference;
mod source;

pub use bundle::BundleError;
pub use source::{FILE_BYTES_MAX, FILE_VALUES_MAX, Source};

use super::{Records, RecordsError};
use crate::access::{Action, Permit};
use crate::store::index::PairRow;
use bundle::Counts;
use serde::Serialize;
use source::Parcel;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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

/// How long an import may keep the records before others have their turn.
const TURN_MS: u64 = 200;

/// Small files are read together, up to so many bytes: what is taken in one turn shares a commit.
const AHEAD_BYTES_MAX: usize = 1 << 20;

/// Resources of one import, from which on more of the index is kept in memory: ids are random, and each
/// resource goes to another place in its keys.
const MUCH: u64 = 2000;

/// Resources of one import whose addresses are remembered for references between its files.
const PLACED_MAX: usize = 2_000_000;

/// An import under way. A bundle that waits for others is read again when its turn comes.
#[derive(Debug, Default)]
pub struct Import {
    sources: Vec<Source>,
    /// The files that are still to be read: each by its place among the sources, with those of its
    /// bundles that waited, or none in the first round, when all are to be taken.
    queue: VecDeque<(usize, BTreeMap<usize, ImportFailure>)>,
    /// The bundles that were read and are still to be taken.
    parcels: VecDeque<Parcel>,
    /// Bundles that wait for what others bring, by file and number, with what is missing.
    waiting: BTreeMap<usize, BTreeMap<usize, ImportFailure>>,
    /// Where the resources of bundles taken so far came to stand, by `fullUrl`.
    placed: BTreeMap<String, String>,
    report: ImportReport,
    progress: bool,
}

impl Import {
    /// An import of these sources.
    pub fn new(sources: Vec<Source>) -> Self {
        let queue = (0..sources.len()).map(|place| (place, BTreeMap::new())).collect();
        Self { sources, queue, ..Self::default() }
    }

    /// Reads the next files, unless bundles of those before are still to be taken; false when
    /// nothing is left. It takes time and needs no node: not for the thread that owns the records.
    pub fn read(&mut self) -> bool {
        let mut bytes = 0;
        while bytes < AHEAD_BYTES_MAX && (bytes > 0 || self.parcels.is_empty()) {
            let Some((place, wanted)) = self.queue.pop_front() else {
                if self.parcels.is_empty() && self.next_round() {
                    continue;
                }
                break;
            };
            match self.sources[place].parcels(place) {
                Ok((read, mut parcels)) => {
                    bytes += read;
                    if !wanted.is_empty() {
                        parcels.retain(|parcel| wanted.contains_key(&parcel.number));
                    }
                    self.parcels.extend(parcels);
                }
                Err(reason) => {
                    let file = self.sources[place].name().to_owned();
                    let bundles = wanted.len().max(1) as u64;
                    self.report.failed += bundles - 1;
                    self.fail(ImportFailure { file, bundle: 1, entry: None, reason });
                }
            }
        }
        self.is_open()
    }

    /// Whether bundles of the files that were read last are still to be taken.
    pub fn is_open(&self) -> bool {
        !self.parcels.is_empty()
    }

    /// Files done, and files in all.
    pub fn done(&self) -> (u64, u64) {
        let open: BTreeSet<usize> = self.parcels.iter().map(|parcel| parcel.place).collect();
        let left = self.queue.len() + self.waiting.len() + open.len();
        let total = self.sources.len();
        (total.saturating_sub(left) as u64, total as u64)
    }

    /// When every bundle had its turn: those that waited get another, as long as that helps.
    fn next_round(&mut self) -> bool {
        let waiting = std::mem::take(&mut self.waiting);
        if self.progress && !waiting.is_empty() {
            self.progress = false;
            self.queue = waiting.into_iter().collect();
            return true;
        }
        for failure in waiting.into_values().flat_map(BTreeMap::into_values) {
            self.fail(failure);
        }
        false
    }

    fn fail(&mut self, failure: ImportFailure) {
        self.report.failed += 1;
        self.report.failures.push(failure);
    }

    /// The report, once nothing is left to be read.
    pub fn into_report(self) -> ImportReport {
        self.report
    }
}

impl Records {
    /// Takes the next bundle of the files that were read. Each bundle is durable after the commit
    /// that follows, so that others can use the node between two bundles.
    pub fn import_next(
        &mut self,
        permit: &Permit,
        import: &mut Import,
    ) -> Result<(), RecordsError> {
        self.require(permit, Action::Import)?;
        let Some(parcel) = import.parcels.pop_front() else { return Ok(()) };
        self.catch_up()?;
        if import.report.resources > MUCH {
            self.charts_mut()?.index.expect_much(true)?;
        }
        let (place, number) = (parcel.place, parcel.number);
        if import.placed.len() > PLACED_MAX {
            let reason = format!(
                "more than {PLACED_MAX} resources in one import; import the other files by themselves"
            );
            import.fail(ImportFailure { file: parcel.file, bundle: number, entry: None, reason });
            return Ok(());
        }
        let file = parcel.file.clone();
        let taken = self.atomically(|records| records.take_bundle(permit, parcel, &import.placed));
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
                import.waiting.entry(place).or_default().insert(number, failure(entry, reason));
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
        Ok(())
    }

    /// Takes bundles for about as long as others may be kept waiting; what it took shares one
    /// `fsync`.
    pub fn import_turn(
        &mut self,
        permit: &Permit,
        import: &mut Import,
    ) -> Result<(), RecordsError> {
        let begun = self.environment.monotonic_ms();
        while import.is_open() && self.environment.monotonic_ms() < begun + TURN_MS {
            self.import_next(permit, import)?;
        }
        Ok(())
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

    /// Takes every bundle, with a commit for each turn.
    pub fn import(
        &mut self,
        permit: &Permit,
        sources: Vec<Source>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<ImportReport, RecordsError> {
        self.require(permit, Action::Import)?;
        let started = self.environment().monotonic_ms();
        let mut import = Import::new(sources);
        while import.read() {
            self.import_turn(permit, &mut import)?;
            self.commit()?;
            let (done, total) = import.done();
            progress(done, total);
        }
        let mut report = import.into_report();
        report.seconds = (self.environment().monotonic_ms() - started) as f64 / 1000.0;
        Ok(report)
    }
}
