//! What compaction saves, how long it takes, and what a packed ledger costs whoever reads it.

use super::node::{self, Site};
use super::{Outcome, observation};
use crate::link::charts::invent;
use carnet_node::access::{Action, operator_permit};
use carnet_node::records::Records;
use carnet_node::records::compact::Thrift;
use serde_json::{Value, json};
use std::time::Duration;

/// What to measure.
#[derive(clap::Args)]
pub struct Arguments {
    /// Invented charts, of 60 resources in 10 entries for each section
    #[arg(long, default_value_t = 1_000)]
    charts: usize,
    /// Observations that are added to one more chart, each by itself
    #[arg(long, default_value_t = 2_000)]
    observations: usize,
    /// A short run that shows that everything works; its figures mean nothing
    #[arg(long)]
    short: bool,
    /// Print JSON (it always does; for symmetry with the product)
    #[arg(long)]
    json: bool,
}

/// Measures, and returns the report as JSON.
pub fn run(arguments: &Arguments) -> Outcome<Value> {
    let (charts, observations) =
        if arguments.short { (5, 30) } else { (arguments.charts, arguments.observations) };
    let mut site = Site::found()?;
    let mut json_bytes = 0;
    for chart in invent(charts, 60, 10)? {
        json_bytes += chart.json_bytes();
        site.records.import(&operator_permit(Action::Import), chart.sources(), |_, _| {})?;
    }
    for n in 0..observations {
        site.records.put(&operator_permit(Action::Import), &observation(n, "long")?)?;
        site.records.commit()?;
    }
    let mut site = site.reopened()?;
    let documents = site.records.saved_document_bytes()?;
    let before = Look::at(&mut site)?;
    let operate = operator_permit(Action::Operate);
    let started = node::now();
    let dry = site.records.compact(&operate, Thrift::default(), true)?;
    let dry_seconds = started.elapsed().as_secs_f64();
    let started = node::now();
    let mut compaction = site.records.begin_compaction(&operate, Thrift::default(), false)?;
    let mut slices = Vec::new();
    loop {
        let slice = node::now();
        let more = site.records.compact_slice(&mut compaction)?;
        site.records.commit()?;
        slices.push(slice.elapsed());
        if !more {
            break;
        }
    }
    let report = compaction.into_report();
    let seconds = started.elapsed().as_secs_f64();
    let started = node::now();
    let room = site.records.give_room_back(report.bytes_before - report.bytes_after)?;
    let room_seconds = started.elapsed().as_secs_f64();
    let after = Look::at(&mut site)?;
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"), "charts": charts, "observations": observations,
        "resource_json_bytes": json_bytes, "documents_saved_and_compressed_bytes": documents,
        "ok": before.digest == after.digest,
        "before": before.told(charts), "after": after.told(charts),
        "entries_packed": report.entries, "packs": report.packs, "kept": report.kept,
        "payload_bytes": report.bytes_before, "pack_bytes": report.bytes_after,
        "dry_run_pack_bytes": dry.bytes_after, "dry_run_seconds": dry_seconds,
        "seconds": seconds, "slice_ms": node::percentiles(&mut slices),
        "log_bytes": room, "give_back_seconds": room_seconds,
    }))
}

/// A node as it is.
struct Look {
    digest: String,
    entries: u64,
    log: u64,
    verify_seconds: f64,
    send: Duration,
}

impl Look {
    fn at(site: &mut Site) -> Outcome<Self> {
        let log = site.records.ledger_bytes()?;
        let started = node::now();
        let report = site.records.verify(&operator_permit(Action::Operate), |_, _| {})?;
        let verify_seconds = started.elapsed().as_secs_f64();
        if let Some(problem) = report.problems.first() {
            return Err(problem.as_str().into());
        }
        let send = send_everything(&site.records)?;
        let (digest, entries) = (report.state_digest, report.entries);
        Ok(Self { digest, entries, log, verify_seconds, send })
    }

    fn told(&self, charts: usize) -> Value {
        json!({
            "entries": self.entries, "log_bytes": self.log,
            "log_bytes_per_entry": self.log / self.entries.max(1),
            "log_bytes_per_chart": self.log / charts.max(1) as u64,
            "verify_seconds": self.verify_seconds, "load_all_seconds": self.send.as_secs_f64(),
        })
    }
}

/// Loads all that is held, as for a newcomer.
fn send_everything(records: &Records) -> Outcome<Duration> {
    let started = node::now();
    for (log, heads) in &records.frontier().0 {
        for head in heads {
            let mut after = Vec::new();
            while after != [*head] {
                let runs = records.load(log, &after, *head, 256 << 10)?;
                let last = runs.last().ok_or("nothing to load")?;
                after = vec![last.head(records.practice()).ok_or("an empty run")?];
            }
        }
    }
    Ok(started.elapsed())
}
