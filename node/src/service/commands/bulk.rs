//! Much at once: import and export, in steps between which others have their turn.

use super::answer;
use crate::access::Action;
use crate::records::import::{Import, ImportReport, ImportedTwice, Source};
use crate::service::caller::Who;
use crate::service::error::CommandError;
use crate::service::node::{Node, blocking};
use crate::service::reply::{ImportFailure, Imported, LikelySame};
use crate::service::report::Reporter;
use crate::store::index::Listing;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Resources read together.
const EXPORT_PAGE: usize = 200;

/// Takes in files, each bundle all or nothing.
pub async fn import(
    node: &Node,
    who: Who,
    files: Vec<PathBuf>,
    reporter: Reporter,
) -> Result<Value, CommandError> {
    let started = node.environment.monotonic_ms();
    // A name that is mistyped is told before anything is taken.
    let sources = blocking(move || {
        let named = |path: PathBuf| match std::fs::File::open(&path) {
            Ok(_) => Ok(Source::file(path)),
            Err(error) => Err(CommandError::file(&error, &path)),
        };
        files.into_iter().map(named).collect::<Result<Vec<_>, CommandError>>()
    })
    .await??;
    let import = Import::new(sources);
    let report = take(node, who, import, &reporter).await?;
    let seconds = node.environment.monotonic_ms().saturating_sub(started) as f64 / 1000.0;
    answer(imported(report, seconds))
}

/// Takes bundle after bundle; each is durable when the next turn begins.
pub(in crate::service) async fn take(
    node: &Node,
    who: Who,
    mut import: Import,
    reporter: &Reporter,
) -> Result<ImportReport, CommandError> {
    loop {
        let (more, back) = blocking(move || (import.read(), import)).await?;
        import = back;
        if !more {
            return Ok(import.into_report());
        }
        while import.is_open() {
            import = node
                .act(&who, Action::Import, move |records, permit| {
                    records.import_turn(permit, &mut import)?;
                    Ok(import)
                })
                .await?;
            let (done, total) = import.done();
            reporter.step("import", done, Some(total));
        }
    }
}

fn imported(report: ImportReport, seconds: f64) -> Imported {
    let failures = report.failures.into_iter().map(|failure| ImportFailure {
        file: failure.file,
        bundle: failure.bundle as u64,
        entry: failure.entry.map(|entry| entry as u64),
        reason: failure.reason,
    });
    Imported {
        bundles: report.bundles,
        resources: report.resources,
        existing: report.existing,
        skipped: report.skipped,
        failed: report.failed,
        seconds,
        failures: failures.collect(),
        duplicates: report.twice.into_iter().map(likely_same).collect(),
    }
}

fn likely_same(twice: ImportedTwice) -> LikelySame {
    LikelySame { patient: twice.patient, same: twice.same, score: twice.score }
}

/// Hands out every resource, a page at a time; whoever writes meanwhile is not held up.
pub async fn export(
    node: &Node,
    who: Who,
    patient: Option<String>,
    reporter: &Reporter,
) -> Result<Value, CommandError> {
    let patient = patient.map(|id| id.strip_prefix("Patient/").unwrap_or(&id).to_owned());
    let mut after = None;
    let mut count = 0_u64;
    loop {
        let (patient, after_last) = (patient.clone(), after.take());
        let asked =
            Listing { patient, after: after_last, limit: EXPORT_PAGE, ..Listing::default() };
        let page = node
            .act(&who, Action::Export, move |records, permit| records.list(permit, &asked))
            .await?;
        let Some(last) = page.last else { return Ok(json!({ "resources": count })) };
        after = Some(last);
        for shown in page.shown {
            reporter.item(shown.resource).await?;
            count += 1;
        }
    }
}
