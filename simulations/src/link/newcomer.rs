//! The first sync of a node that has just joined, on a good line and on one that is cut.

use super::charts::{self, Invented};
use super::daemon::Daemon;
use super::held::{self, Held};
use super::profile::{Outages, Profile, Shape};
use super::scenarios::{LOOK_EVERY, MEASURE_MAX, common, rest, usage};
use super::stage::{CALLED, Running, Stage};
use crate::local::{Outcome, node::now, node::percentiles};
use carnet_node::service::request::Request;
use carnet_sync_protocol::id::Channel;
use serde_json::{Value, json};
use std::path::Path;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

/// Charts that are looked at to see whether all can be read.
const SAMPLE: usize = 20;
/// How often the newcomer is asked what it shows.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// In `cut`, the line is cut so often, and away for so long.
const CUTS: Outages = Outages { every: Duration::from_secs(5), down: Duration::from_secs(1) };

/// A chart to look for.
struct Sought {
    patient: String,
    identifier: String,
    resources: usize,
}

/// A practice's charts at one site, which others may join.
pub struct Practice {
    /// Its sites and the line.
    pub stage: Stage,
    /// What there is.
    pub size: Value,
    /// Charts to look for, the last ones included.
    sample: Vec<Sought>,
}

impl Practice {
    /// Imports the charts, each author its share, and brings all to the first site.
    pub fn prepare(
        charts: usize,
        resources: usize,
        pieces: usize,
        authors: usize,
    ) -> Outcome<Self> {
        let begun = now();
        let mut stage = Stage::found(2)?;
        for _ in 1..authors.max(1) {
            let site = stage.join()?;
            stage.level(site)?;
        }
        let invented = charts::invent(charts, resources, pieces)?;
        let mut imported = 0;
        for author in 0..authors.max(1) {
            let share = invented.clone().skip(author).step_by(authors.max(1));
            imported += stage.import(author, share)?;
        }
        for site in 1..authors.max(1) {
            stage.level(site)?;
        }
        let step = charts.div_ceil(SAMPLE).max(1);
        let chosen = |(n, _): &(usize, Invented)| n % step == 0 || n + 5 >= charts;
        let sample = invented.clone().enumerate().filter(chosen);
        let sample = sample.map(|(_, chart)| {
            let identifier = chart.identifier().ok_or("a patient without an identifier")?;
            Ok(Sought {
                patient: chart.patient.clone(),
                identifier,
                resources: chart.of_patient()?,
            })
        });
        let sample = sample.collect::<Outcome<_>>()?;
        let entries = held::count(&Held::open(stage.home(CALLED))?.heads()?, None);
        let json_bytes: u64 = invented.map(|chart| chart.json_bytes()).sum();
        let size = json!({"charts": charts, "resources": imported, "authors": authors,
            "entries": entries, "json_bytes": json_bytes});
        eprintln!("prepared in {:.0} s: {size}", begun.elapsed().as_secs_f64());
        Ok(Self { stage, size, sample })
    }

    /// A new node joins and fetches everything.
    pub fn bootstrap(&mut self, profile: Profile, cut: bool) -> Outcome<Value> {
        let site = self.stage.join()?;
        let shape = profile.shape();
        let shape = if cut { Shape { outages: Some(CUTS), ..shape } } else { shape };
        let called = self.stage.start_called()?;
        // It may still be showing what the other authors brought, which is not the newcomer's time.
        let shown = || self.all_shown(&called);
        held::until("the called site shows its charts", MEASURE_MAX, ASK_EVERY, shown)?;
        let wanted = Held::open(self.stage.home(CALLED))?.heads()?;
        let cpu_before = called.usage().cpu_seconds;
        self.stage.line.begin(shape);
        let running = Running { called, caller: Daemon::start(self.stage.home(site))? };
        let home = self.stage.home(site);
        let mut waits = Vec::new();
        let [critical, durable, searchable, complete] = std::thread::scope(|scope| {
            // An answer may take long, and what is durable meanwhile is seen beside it.
            let arrival = |channel| {
                let wanted = &wanted;
                move || has_arrived(home, wanted, channel).map_err(|error| error.to_string())
            };
            let critical = scope.spawn(arrival(Some(Channel::Critical)));
            let durable = scope.spawn(arrival(None));
            let critical = ended(critical)?;
            let found = || self.all_found(&running.caller, &mut waits);
            held::until("patients are found", MEASURE_MAX, ASK_EVERY, found)?;
            let searchable = now();
            let durable = ended(durable)?;
            let shown = || self.all_shown(&running.caller);
            held::until("all charts are shown", MEASURE_MAX, ASK_EVERY, shown)?;
            Outcome::Ok([critical, durable, searchable, now()])
        })?;
        self.stage.quiet(rest(shape))?;
        let (traffic, mut used) = (self.stage.line.traffic(), usage(&running));
        used[0].cpu_seconds -= cpu_before;
        running.stop()?;
        let since = |moment: Instant| Value::from(traffic.since_first(moment).as_secs_f64());
        let mut report = common(&traffic, traffic.since_first(complete), used);
        report["critical_seconds"] = since(critical);
        report["durable_seconds"] = since(durable);
        report["searchable_seconds"] = since(searchable);
        report["complete_seconds"] = since(complete);
        report["search_ms"] = percentiles(&mut waits);
        report["held"] = self.size.clone();
        Ok(report)
    }

    /// Whether the newcomer finds these patients, and how long each answer took.
    fn all_found(&self, node: &Daemon, waits: &mut Vec<Duration>) -> Outcome<bool> {
        for sought in self.sample.iter().rev() {
            let (query, asked) = (sought.identifier.clone(), now());
            let found = node.ask(Request::PatientSearch { query, limit: 50 })?;
            waits.push(asked.elapsed());
            let mut found = found.as_array().into_iter().flatten();
            if !found.any(|patient| patient["id"] == sought.patient.as_str()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether it shows all of their charts.
    fn all_shown(&self, node: &Daemon) -> Outcome<bool> {
        for sought in self.sample.iter().rev() {
            let shown = node.ask(Request::PatientShow { patient: sought.patient.clone() })?;
            if shown["resources"].as_array().map_or(0, Vec::len) < sought.resources {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Waits until a node durably holds these heads, of one channel or of all.
fn has_arrived(home: &Path, wanted: &held::Heads, channel: Option<Channel>) -> Outcome<Instant> {
    let held = Held::open(home)?;
    held::until("everything has arrived", MEASURE_MAX, LOOK_EVERY * 10, || {
        Ok(held::covers(&held.heads()?, wanted, channel))
    })?;
    Ok(now())
}

fn ended(watch: ScopedJoinHandle<'_, Result<Instant, String>>) -> Outcome<Instant> {
    Ok(watch.join().map_err(|_| "who watches has panicked")??)
}
