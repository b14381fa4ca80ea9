//! What a sync costs on a bad link: two real nodes (`carnet run`), and a line between them that is
//! as slow, as far and as unreliable as asked, and counts every byte.
//!
//! Prints one JSON object for each profile and scenario. `udp_bytes` and `udp_packets` are what
//! was put on the line, both ways: UDP payload, lost datagrams included; `ip_bytes` adds the 28
//! bytes of IPv4 and UDP headers to each, which also take their time on the line. The clock starts
//! at the first datagram. Edits are made by the operator, one commit each, so that each has its
//! entry in the audit trail; those entries are part of the bytes.

mod automerge_sync;
pub mod charts;
mod daemon;
mod documents;
mod held;
mod line;
mod negentropy_sync;
mod newcomer;
mod profile;
mod quic;
mod scenarios;
mod stage;
mod urgent;

use crate::local::{Outcome, node::now};
use charts::Outage;
use daemon::Usage;
use documents::{Changes, Documents};
use held::Heads;
use negentropy_sync::Entries;
use newcomer::Practice;
use profile::{Profile, Shape};
use quic::Talk;
use serde_json::{Value, json};
use stage::{CALLED, CALLER, Stage};
use urgent::Arrival;

/// What to measure.
#[derive(clap::Args)]
pub struct Arguments {
    /// Kinds of line; several, divided by commas, are measured one after another
    #[arg(long, value_delimiter = ',', required = true)]
    profile: Vec<Profile>,
    /// What happens; several are measured one after another, on the same charts where possible
    #[arg(long, value_delimiter = ',', required = true)]
    scenario: Vec<Scenario>,
    /// Charts [default: 2000]
    #[arg(long)]
    charts: Option<usize>,
    /// Resources in each: 10, 30 or 60 [default: 30]
    #[arg(long)]
    resources: Option<usize>,
    /// Before it begins, single observations are added to the charts until both sites hold so many
    /// entries; for a newcomer, none are
    #[arg(long, default_value_t = 0)]
    entries: u64,
    /// Nodes that wrote them, at least 2
    #[arg(long, default_value_t = 2)]
    authors: usize,
    /// A short run that shows that everything works; its figures mean nothing
    #[arg(long)]
    short: bool,
    /// Print JSON (it always does; for symmetry with the product)
    #[arg(long)]
    json: bool,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Scenario {
    /// Both sites are in step, and the link returns
    Idle,
    /// Each site adds 300 observations and edits 200 elements, 20 of them the same; the link returns
    Outage,
    /// How soon the critical entries of an outage arrive, when an image of 50 MB waits too
    Critical,
    /// How soon an edit shows at a site that is connected
    Live,
    /// A new node joins: 10,000 charts of 60 resources unless said otherwise
    Bootstrap,
    /// The same, and the line is cut every 5 s
    Cut,
}

impl Scenario {
    /// Whether it is about a new node.
    const fn of_newcomer(self) -> bool {
        matches!(self, Self::Bootstrap | Self::Cut)
    }
}

/// Charts that are worked on while the link is away.
const WORKED_ON: usize = 300;

/// Observations that are made ahead of being written, and those in one commit.
const AHEAD: u64 = 250_000;
const TOGETHER: usize = 1_000;

/// Pieces in which a newcomer's charts were written, each of which changes three or four documents.
const PIECES: usize = 3;

/// Measures, and returns the reports as JSON: an object, or a list if several were asked for.
pub fn run(arguments: &Arguments) -> Outcome<Value> {
    let mut reports = Vec::new();
    let (of_newcomer, of_known): (Vec<Scenario>, Vec<Scenario>) =
        arguments.scenario.iter().partition(|scenario| scenario.of_newcomer());
    let mut finish = |scenario: Scenario, profile, mut report| {
        describe(&mut report, arguments, scenario, profile)?;
        eprintln!("{report}");
        reports.push(report);
        Outcome::Ok(())
    };
    if !of_known.is_empty() {
        let mut known = Known::prepare(arguments)?;
        for (round, (scenario, profile)) in pairs(&of_known, &arguments.profile).enumerate() {
            let report = known.measure(scenario, profile, round as u64)?;
            finish(scenario, profile, report)?;
        }
    }
    if !of_newcomer.is_empty() {
        let mut newcomers = Newcomers::prepare(arguments)?;
        for (scenario, profile) in pairs(&of_newcomer, &arguments.profile) {
            let report = newcomers.measure(scenario, profile)?;
            finish(scenario, profile, report)?;
        }
    }
    Ok(if reports.len() == 1 { reports.remove(0) } else { reports.into() })
}

fn pairs<'a>(
    scenarios: &'a [Scenario],
    profiles: &'a [Profile],
) -> impl Iterator<Item = (Scenario, Profile)> + 'a {
    scenarios.iter().flat_map(|scenario| profiles.iter().map(|profile| (*scenario, *profile)))
}

/// What was run, and where.
fn describe(
    report: &mut Value,
    arguments: &Arguments,
    scenario: Scenario,
    profile: Profile,
) -> Outcome<()> {
    report["version"] = env!("CARGO_PKG_VERSION").into();
    report["profile"] = profile.name().into();
    report["scenario"] = format!("{scenario:?}").to_lowercase().into();
    report["nodes"] = format!("{} run", daemon::program()?.display()).into();
    report["load_average"] = std::fs::read_to_string("/proc/loadavg")?.trim().into();
    report["short"] = arguments.short.into();
    Ok(())
}

/// Two sites that hold the same charts, and these charts as bare documents.
struct Known {
    stage: Stage,
    documents: Documents,
    size: Value,
    worked_on: Vec<String>,
    short: bool,
}

impl Known {
    /// Imports the charts, each author its share, and brings the sites into step.
    fn prepare(arguments: &Arguments) -> Outcome<Self> {
        let begun = now();
        let charts = arguments.charts.unwrap_or(if arguments.short { 12 } else { 2000 });
        let resources = arguments.resources.unwrap_or(if arguments.short { 10 } else { 30 });
        let authors = arguments.authors.max(2);
        let mut stage = Stage::found(1)?;
        for _ in 1..authors {
            let site = stage.join()?;
            // It gets the key under which it writes.
            stage.level(site)?;
        }
        let invented = charts::invent(charts, resources, 1)?;
        let mut imported = 0;
        for author in 0..authors {
            let share = invented.clone().skip(author).step_by(authors);
            imported += stage.import(author, share)?;
        }
        for site in (CALLER..authors).rev() {
            stage.level(site)?;
        }
        let documents = Documents::invented(invented.clone(), authors)?;
        let patients: Vec<String> = invented.map(|chart| chart.patient).collect();
        let worked_on = patients.iter().take(WORKED_ON).cloned().collect();
        let size = json!({"charts": charts, "resources": imported, "authors": authors,
            "documents": documents.changes.len()});
        let mut known = Self { stage, documents, size, worked_on, short: arguments.short };
        known.fill(&patients, arguments.entries)?;
        for site in [CALLED, CALLER] {
            known.stage.show(site)?;
        }
        eprintln!("prepared in {:.0} s: {}", begun.elapsed().as_secs_f64(), known.size);
        Ok(known)
    }

    /// Adds observations to the charts until both sites hold so many entries.
    fn fill(&mut self, patients: &[String], entries: u64) -> Outcome<()> {
        let held = |stage| Outcome::Ok(held::count(&scenarios::heads(stage)?[CALLED], None));
        let mut left = entries.saturating_sub(held(&self.stage)?);
        if left > 0 {
            let charts = scenarios::charts(&self.stage, patients)?;
            while left > 0 {
                let count = left.min(AHEAD);
                let added = charts::observations(&charts, usize::try_from(count)?, left)?;
                self.perform(&added, TOGETHER)?;
                let made = self.documents.work(&added)?;
                self.documents.merge(made);
                left -= count;
                eprintln!("{left} entries are to be written yet");
            }
            self.stage.level(CALLER)?;
        }
        self.size["entries"] = held(&self.stage)?.into();
        Ok(())
    }

    /// Both sites do what falls to them, while neither runs.
    fn perform(&self, outage: &Outage, together: usize) -> Outcome<()> {
        for site in [CALLED, CALLER] {
            let mut records = self.stage.records(site)?;
            outage.perform(site, &mut records, together)?;
            records.close();
        }
        Ok(())
    }

    fn measure(&mut self, scenario: Scenario, profile: Profile, round: u64) -> Outcome<Value> {
        let mut report = match scenario {
            Scenario::Idle => self.idle(profile)?,
            Scenario::Outage => self.outage(profile, round)?,
            Scenario::Critical => self.critical(profile, round)?,
            _ => {
                let edits = if self.short { 5 } else { 500 };
                urgent::live(&self.stage, profile, &self.worked_on[0], edits)?
            }
        };
        report["held"] = self.size.clone();
        Ok(report)
    }

    fn idle(&mut self, profile: Profile) -> Outcome<Value> {
        let mut report = scenarios::idle(&self.stage, profile)?;
        let made = [Changes::new(), Changes::new()];
        self.compare(&mut report, profile, &made, self.entries()?)?;
        Ok(report)
    }

    /// Both sites work apart; what each held before.
    fn work(&self, seed: u64) -> Outcome<(Outage, [Heads; 2])> {
        // The line may have been left before everything had come: an edit planned on what only one
        // site shows could say what the other says already. Then what reading put on record.
        self.stage.level(CALLER)?;
        let charts = scenarios::charts(&self.stage, &self.worked_on)?;
        self.stage.level(CALLER)?;
        let outage = charts::plan(&charts, seed)?;
        let before = scenarios::heads(&self.stage)?;
        self.perform(&outage, 1)?;
        Ok((outage, before))
    }

    fn outage(&mut self, profile: Profile, round: u64) -> Outcome<Value> {
        let (outage, before) = self.work(round * 1000)?;
        let entries = self.entries()?;
        let edits = outage.edits();
        let mut report = scenarios::outage(&self.stage, profile, edits, &before)?;
        let made = self.documents.work(&outage)?;
        self.compare(&mut report, profile, &made, entries)?;
        for other in ["automerge_sync", "negentropy"] {
            let other = &mut report["alternatives"][other];
            let bytes = other["udp_bytes"].as_f64().unwrap_or_default();
            other["edits"] = edits.into();
            other["udp_bytes_per_edit"] = (bytes / edits.max(1) as f64).into();
        }
        self.documents.merge(made);
        Ok(report)
    }

    /// Twenty outages over a line that loses nothing, and by turns as many over the line as it is.
    fn critical(&mut self, profile: Profile, round: u64) -> Outcome<Value> {
        let times = if self.short { 2 } else { 20 };
        let shape = profile.shape();
        let sound = Shape { lost_per_mille: 0, ..shape };
        let (mut without_loss, mut with_loss) = (Vec::new(), Vec::new());
        for time in 0..times {
            without_loss.push(self.urgent(sound, round * 1000 + time)?);
            if shape.lost_per_mille > 0 {
                with_loss.push(self.urgent(shape, round * 1000 + times + time)?);
            }
        }
        let mut report = urgent::median(without_loss)?;
        if shape.lost_per_mille > 0 {
            report["with_loss"] = urgent::median(with_loss)?;
            report["with_loss"]["lost_per_mille"] = shape.lost_per_mille.into();
        }
        Ok(report)
    }

    fn urgent(&mut self, shape: Shape, seed: u64) -> Outcome<Arrival> {
        let parts = if self.short { 1 } else { urgent::IMAGE_PARTS };
        let (outage, before) = self.work(seed)?;
        // Another each time, in another chart: before both work apart, they are in step.
        let patient = &self.worked_on[seed as usize % self.worked_on.len()];
        urgent::write_image(&self.stage, patient, parts, seed)?;
        let arrival = urgent::critical(&self.stage, shape, &before)?;
        eprintln!("critical after {:.3} s, loss {} ‰", arrival.seconds, shape.lost_per_mille);
        let made = self.documents.work(&outage)?;
        self.documents.merge(made);
        Ok(arrival)
    }

    /// What the two sites hold while neither runs.
    fn entries(&self) -> Outcome<[Entries; 2]> {
        let of = |site| {
            let records = self.stage.records(site)?;
            let entries = negentropy_sync::entries(&records);
            records.close();
            entries
        };
        Ok([of(CALLED)?, of(CALLER)?])
    }

    /// Does the same by other means, over the same line.
    fn compare(
        &self,
        report: &mut Value,
        profile: Profile,
        made: &[Changes; 2],
        entries: [Entries; 2],
    ) -> Outcome<()> {
        let (line, shape) = (&self.stage.line, profile.shape());
        let ideal = documents::compressed(made.iter())?;
        report["ideal_bytes"] = ideal.into();
        let longest =
            documents::compressed(made[..1].iter())?.max(documents::compressed(made[1..].iter())?);
        let time = shape.round_trip() + shape.time_of(longest);
        report["ideal_seconds"] = time.as_secs_f64().into();
        let automerge =
            timed(|| automerge_sync::measure(line, shape, &self.documents.changes, made, false))?;
        let negentropy = timed(|| negentropy_sync::measure(line, shape, entries))?;
        report["alternatives"] = json!({"automerge_sync": automerge, "negentropy": negentropy});
        Ok(())
    }
}

/// What another protocol took; both its ends and the line are in this process, whose memory says
/// nothing about it. What did not end in time says so, and what it had cost until then.
fn timed(measure: impl FnOnce() -> Outcome<Talk>) -> Outcome<Value> {
    let before = Usage::of("self");
    let Talk { traffic, done } = measure()?;
    let cpu_seconds = Usage::of("self").cpu_seconds - before.cpu_seconds;
    let usage = Usage { cpu_seconds, peak_rss_bytes: 0 };
    let seconds = done.map_or(quic::TALK_MAX, |done| traffic.since_first(done));
    let mut report = scenarios::common(&traffic, seconds, [usage, Usage::default()]);
    report["ended"] = done.is_some().into();
    for absent in ["cpu_seconds_of_each", "peak_rss_bytes_of_each"] {
        report.as_object_mut().map(|map| map.remove(absent));
    }
    report["peak_rss_bytes"] = Value::Null;
    report["cpu_seconds_include"] = "loading the documents, and the line".into();
    Ok(report)
}

/// A practice that new nodes join.
struct Newcomers {
    practice: Practice,
    ideal_bytes: u64,
    snapshot_bytes: u64,
    documents: Documents,
    /// What went to a newcomer whose line held, by profile.
    whole: Vec<(Profile, u64)>,
}

impl Newcomers {
    fn prepare(arguments: &Arguments) -> Outcome<Self> {
        let charts = arguments.charts.unwrap_or(if arguments.short { 12 } else { 10_000 });
        let resources = arguments.resources.unwrap_or(if arguments.short { 10 } else { 60 });
        let authors = arguments.authors.max(1);
        let practice = Practice::prepare(charts, resources, PIECES, authors)?;
        let documents = Documents::invented(charts::invent(charts, resources, 1)?, authors)?;
        let ideal_bytes = documents::compressed([&documents.changes].into_iter())?;
        let snapshot_bytes = documents.snapshots()?;
        Ok(Self { practice, ideal_bytes, snapshot_bytes, documents, whole: Vec::new() })
    }

    fn measure(&mut self, scenario: Scenario, profile: Profile) -> Outcome<Value> {
        let cut = scenario == Scenario::Cut;
        let known = self.whole.iter().find(|(of, _)| *of == profile).map(|(_, bytes)| *bytes);
        let whole = match known {
            Some(bytes) => Some(bytes),
            None if cut => Some(self.first_sync(profile, false)?.1),
            None => None,
        };
        let (mut report, to_newcomer) = self.first_sync(profile, cut)?;
        if let (true, Some(whole)) = (cut, whole) {
            let twice = to_newcomer.saturating_sub(whole);
            report["bytes_sent_twice"] = twice.into();
            report["share_sent_twice"] = (twice as f64 / whole.max(1) as f64).into();
        } else {
            self.whole.push((profile, to_newcomer));
            self.compare(&mut report, profile)?;
        }
        report["ideal_bytes"] = self.ideal_bytes.into();
        report["snapshot_bytes"] = self.snapshot_bytes.into();
        Ok(report)
    }

    /// The report, and the bytes that went to the newcomer.
    fn first_sync(&mut self, profile: Profile, cut: bool) -> Outcome<(Value, u64)> {
        let report = self.practice.bootstrap(profile, cut)?;
        let bytes = report["traffic"]["to_caller"]["bytes"].as_u64().unwrap_or_default();
        Ok((report, bytes))
    }

    fn compare(&self, report: &mut Value, profile: Profile) -> Outcome<()> {
        let (line, shape) = (&self.practice.stage.line, profile.shape());
        let made = [Changes::new(), Changes::new()];
        let records = self.practice.stage.records(CALLED)?;
        let entries = [negentropy_sync::entries(&records)?, Entries::new()];
        records.close();
        let automerge =
            timed(|| automerge_sync::measure(line, shape, &self.documents.changes, &made, true))?;
        let negentropy = timed(|| negentropy_sync::measure(line, shape, entries))?;
        report["alternatives"] = json!({"automerge_sync": automerge, "negentropy": negentropy});
        Ok(())
    }
}
