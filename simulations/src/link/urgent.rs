//! How soon what matters arrives: the critical entries of an outage ahead of everything else, and
//! an edit at a site that is connected.

use super::held::{self, Held};
use super::profile::{Profile, Shape};
use super::scenarios::{LOOK_EVERY, MEASURE_MAX, common, usage, used};
use super::stage::{CALLED, CALLER, Stage};
use crate::chance::Chance;
use crate::local::{
    Outcome,
    node::{ms, now, percentiles},
};
use carnet_node::access::{Action, operator_permit};
use carnet_node::chart::Resource;
use carnet_node::service::request::Request;
use carnet_sync_protocol::id::Channel;
use serde_json::{Value, json};
use std::time::Duration;

/// What a header takes on the wire, about.
const HEADER_BYTES: u64 = 80;
/// Base64 characters in one part of an image: what a request may bring.
const PART_CHARACTERS: usize = 3_900_000;
/// An image of 50 MB, in parts.
pub const IMAGE_PARTS: usize = 17;

/// Writes an image into a chart, at the called site, which does not run.
pub fn write_image(stage: &Stage, patient: &str, parts: usize, seed: u64) -> Outcome<()> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut chance = Chance::new(seed);
    let mut records = stage.records(CALLED)?;
    for part in 0..parts {
        let data: String = (0..PART_CHARACTERS / 8)
            .flat_map(|_| chance.next().to_le_bytes())
            .map(|byte| char::from(DIGITS[usize::from(byte % 64)]))
            .collect();
        let image = json!({"resourceType": "DocumentReference", "id": format!("image-{seed}-{part}"),
            "status": "current", "subject": {"reference": format!("Patient/{patient}")},
            "content": [{"attachment": {"contentType": "image/png", "data": data}}]});
        records.put(&operator_permit(Action::Write), &Resource::from_value(image)?)?;
        records.commit()?;
    }
    records.close();
    Ok(())
}

/// One time from the first datagram until each site holds the other's critical entries.
pub struct Arrival {
    /// That time.
    pub seconds: f64,
    /// Two round trips, and 1.2 times the bytes of these entries at the line's rate.
    pub goal_seconds: f64,
    /// Payloads of the image and other clinical entries that the caller still lacks.
    pub waiting_bytes: u64,
    /// The rest of what is told.
    pub common: Value,
}

/// The arrival in the middle, and the times of all.
pub fn median(mut arrivals: Vec<Arrival>) -> Outcome<Value> {
    arrivals.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let seconds: Vec<f64> = arrivals.iter().map(|one| one.seconds).collect();
    let left = arrivals.iter().map(|one| one.waiting_bytes).min();
    let median = arrivals.into_iter().nth(seconds.len() / 2).ok_or("nothing arrived")?;
    let mut report = median.common;
    report["critical_seconds"] = median.seconds.into();
    report["goal_seconds"] = median.goal_seconds.into();
    report["critical_seconds_of_each"] = seconds.into();
    report["left_waiting_bytes"] = left.into();
    Ok(report)
}

/// Both have worked apart, the link returns, and is left again as soon as what is critical is there.
pub fn critical(stage: &Stage, shape: Shape, before_work: &[held::Heads; 2]) -> Outcome<Arrival> {
    let running = stage.apart()?;
    let held = [Held::open(stage.home(CALLED))?, Held::open(stage.home(CALLER))?];
    let wanted = [held[0].heads()?, held[1].heads()?];
    let mut bytes = 0;
    for site in [CALLED, CALLER] {
        let (entries, payload) = held[site].beyond(&before_work[site], Channel::Critical)?;
        bytes = bytes.max(payload + entries * HEADER_BYTES);
    }
    let before = usage(&running);
    stage.connect(&running, shape)?;
    let critical = Some(Channel::Critical);
    let done = held::until("what is critical has arrived", MEASURE_MAX, LOOK_EVERY, || {
        Ok(held::covers(&held[0].heads()?, &wanted[1], critical)
            && held::covers(&held[1].heads()?, &wanted[0], critical))
    })?;
    let (traffic, used) = (stage.line.traffic(), used(&running, before));
    stage.line.set_up(false);
    let (_, waiting_bytes) = held[CALLED].beyond(&held[CALLER].heads()?, Channel::Clinical)?;
    // As if the power went: what is still waiting is of no interest.
    drop(running);
    let time = shape.time_of(bytes).mul_f64(1.2) + shape.round_trip() * 2;
    let seconds = traffic.since_first(done);
    Ok(Arrival {
        seconds: seconds.as_secs_f64(),
        goal_seconds: time.as_secs_f64(),
        waiting_bytes,
        common: common(&traffic, seconds, used),
    })
}

/// From the order to write at one site until the other shows it.
pub fn live(stage: &Stage, profile: Profile, patient: &str, count: usize) -> Outcome<Value> {
    let running = stage.apart()?;
    stage.connect(&running, Shape::OPEN)?;
    stage.settled(CALLER)?;
    stage.line.begin(profile.shape());
    let held = Held::open(stage.home(CALLER))?;
    let before = usage(&running);
    let begun = now();
    let (mut ordered, mut acknowledged, mut durable) = (Vec::new(), Vec::new(), Vec::new());
    let seed =
        Chance::new(begun.elapsed().as_nanos() as u64 ^ u64::from(std::process::id())).next();
    for n in 0..count {
        let id = format!("live-{seed:x}-{n}");
        let body = json!({"resourceType": "Observation", "id": id, "status": "final",
            "code": {"text": "Heart rate"}, "valueQuantity": {"value": 60 + n % 40},
            "subject": {"reference": format!("Patient/{patient}")}});
        let channel = Some(Channel::Clinical);
        let had = held::count(&held.heads()?, channel);
        let order = now();
        running.called.ask(Request::ChartPut { body })?;
        let answer = now();
        let arrived = held::until("it arrives", Duration::from_secs(600), LOOK_EVERY / 4, || {
            Ok(held::count(&held.heads()?, channel) > had)
        })?;
        let show =
            || running.caller.ask(Request::ChartShow { resource: format!("Observation/{id}") });
        held::until("it shows", Duration::from_secs(60), LOOK_EVERY / 4, || Ok(show().is_ok()))?;
        let shown = now();
        ordered.push(shown.saturating_duration_since(order));
        acknowledged.push(shown.saturating_duration_since(answer));
        durable.push(arrived.saturating_duration_since(order));
    }
    let (traffic, used) = (stage.line.traffic(), used(&running, before));
    let seconds = begun.elapsed();
    running.stop()?;
    let mut report = common(&traffic, seconds, used);
    let times = percentiles(&mut ordered);
    report["edits"] = count.into();
    report["live_p50_ms"] = times["p50"].clone();
    report["live_p99_ms"] = times["p99"].clone();
    report["from_answer_ms"] = percentiles(&mut acknowledged);
    report["durable_there_ms"] = percentiles(&mut durable);
    report["mean_ms"] = (ms(seconds) / count.max(1) as f64).into();
    Ok(report)
}
