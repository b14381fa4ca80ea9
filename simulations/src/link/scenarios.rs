//! What is measured between two sites that know each other.

use super::charts::{self, Chart};
use super::daemon::Usage;
use super::held::{self, Heads, Held};
use super::line::Traffic;
use super::profile::{Profile, Shape};
use super::stage::{CALLED, CALLER, Running, Stage};
use crate::local::{Outcome, node::now};
use carnet_node::base::environment::Environment;
use carnet_node::service::request::Request;
use carnet_sync_protocol::id::Channel;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The longest that a measurement may take.
pub const MEASURE_MAX: Duration = Duration::from_secs(4 * 3600);
/// What a session says when it has moved something comes after a rest of five seconds.
const QUIET: Duration = Duration::from_secs(7);
/// How often it is looked whether what is waited for has come.
pub const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What every measurement tells.
pub fn common(traffic: &Traffic, seconds: Duration, usage: [Usage; 2]) -> Value {
    let headers = traffic.packets() * super::profile::HEADER_BYTES;
    json!({
        "udp_bytes": traffic.bytes(), "udp_packets": traffic.packets(),
        "ip_bytes": traffic.bytes() + headers, "traffic": traffic.json(),
        "seconds": seconds.as_secs_f64(),
        "cpu_seconds": usage.iter().map(|one| one.cpu_seconds).sum::<f64>(),
        "cpu_seconds_of_each": usage.map(|one| one.cpu_seconds),
        "peak_rss_bytes": usage.iter().map(|one| one.peak_rss_bytes).max(),
        "peak_rss_bytes_of_each": usage.map(|one| one.peak_rss_bytes),
    })
}

/// What both nodes have used since an earlier look.
pub fn used(running: &Running, before: [Usage; 2]) -> [Usage; 2] {
    let after = usage(running);
    [0, 1].map(|n| Usage {
        cpu_seconds: after[n].cpu_seconds - before[n].cpu_seconds,
        peak_rss_bytes: after[n].peak_rss_bytes,
    })
}

/// What both nodes have used so far.
pub fn usage(running: &Running) -> [Usage; 2] {
    [running.called.usage(), running.caller.usage()]
}

/// The silence after which nothing more is to be expected on such a line.
pub fn rest(shape: Shape) -> Duration {
    QUIET + shape.round_trip() * 4
}

/// Both are in step, and the link returns.
pub fn idle(stage: &Stage, profile: Profile) -> Outcome<Value> {
    let shape = profile.shape();
    let running = stage.apart()?;
    let (held, before) = (Held::open(stage.home(CALLED))?.heads()?, usage(&running));
    stage.connect(&running, shape)?;
    let environment = Environment::system();
    let begun_ms = environment.unix_ms();
    let mut in_step = None;
    let every = Duration::from_millis(20);
    held::until("both are in step", MEASURE_MAX, every, || {
        let levels = [
            level(&running.called.ask(Request::PeerList)?, begun_ms)?,
            level(&running.caller.ask(Request::PeerList)?, begun_ms)?,
        ];
        in_step = levels.into_iter().min().flatten().and(levels.into_iter().max().flatten());
        Ok(in_step.is_some())
    })?;
    let since = environment.unix_ms().saturating_sub(in_step.unwrap_or_default());
    let moment = now().checked_sub(Duration::from_millis(since)).unwrap_or_else(now);
    stage.quiet(rest(shape))?;
    let (traffic, used) = (stage.line.traffic(), used(&running, before));
    running.stop()?;
    let mut report = common(&traffic, traffic.since_first(moment), used);
    report["round_trips"] = traffic.round_trips(moment).into();
    report["entries_held"] = held::count(&held, None).into();
    Ok(report)
}

/// When a node saw that it holds the same as its peer, if that was since the link returned.
fn level(peers: &Value, since_ms: u64) -> Outcome<Option<u64>> {
    let connected = peers.as_array().into_iter().flatten().find(|peer| peer["connected"] == true);
    let Some(text) = connected.and_then(|peer| peer["last_sync"].as_str()) else { return Ok(None) };
    let level = u64::try_from(text.parse::<Timestamp>()?.as_millisecond())?;
    Ok((level >= since_ms).then_some(level))
}

/// What both sites hold, the called one first.
pub fn heads(stage: &Stage) -> Outcome<[Heads; 2]> {
    Ok([Held::open(stage.home(CALLED))?.heads()?, Held::open(stage.home(CALLER))?.heads()?])
}

/// Both have worked apart, and the link returns.
pub fn outage(
    stage: &Stage,
    profile: Profile,
    edits: usize,
    before_work: &[Heads; 2],
) -> Outcome<Value> {
    let shape = profile.shape();
    let running = stage.apart()?;
    let held = [Held::open(stage.home(CALLED))?, Held::open(stage.home(CALLER))?];
    let wanted = [held[0].heads()?, held[1].heads()?];
    let before = usage(&running);
    stage.connect(&running, shape)?;
    let mut critical = None;
    let done = held::until("both hold everything", MEASURE_MAX, LOOK_EVERY, || {
        let now_held = [held[0].heads()?, held[1].heads()?];
        let covered = |channel| {
            held::covers(&now_held[0], &wanted[1], channel)
                && held::covers(&now_held[1], &wanted[0], channel)
        };
        if critical.is_none() && covered(Some(Channel::Critical)) {
            critical = Some(now());
        }
        Ok(covered(None))
    })?;
    stage.quiet(rest(shape))?;
    let (traffic, used) = (stage.line.traffic(), used(&running, before));
    let level = held[0].heads()? == held[1].heads()?;
    running.stop()?;
    if !level {
        return Err("in the end the two nodes hold different entries".into());
    }
    let mut report = common(&traffic, traffic.since_first(done), used);
    report["edits"] = edits.into();
    report["udp_bytes_per_edit"] = (traffic.bytes() as f64 / edits.max(1) as f64).into();
    report["critical_seconds"] = seconds(&traffic, critical);
    report["entries"] = entries(before_work, &wanted);
    Ok(report)
}

fn seconds(traffic: &Traffic, moment: Option<Instant>) -> Value {
    moment.map(|moment| traffic.since_first(moment).as_secs_f64()).into()
}

/// How many entries each channel has more than before, of both sites.
fn entries(before: &[Heads; 2], after: &[Heads; 2]) -> Value {
    let more = |channel| {
        let both = before.iter().zip(after);
        let count = |heads| held::count(heads, Some(channel));
        both.map(|(before, after)| count(after) - count(before)).sum::<u64>()
    };
    Channel::ALL
        .iter()
        .map(|channel| (channel.name().to_owned(), more(*channel).into()))
        .collect::<serde_json::Map<_, Value>>()
        .into()
}

/// Reads the charts that are worked on, at a site that does not run.
pub fn charts(stage: &Stage, patients: &[String]) -> Outcome<Vec<Chart>> {
    let mut records = stage.records(CALLED)?;
    let charts = charts::read(&mut records, patients.iter().cloned())?;
    records.close();
    Ok(charts)
}
