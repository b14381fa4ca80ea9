//! What the trail costs whoever reads: a resource read by a member of staff with the entry that
//! tells of it made durable first, against the same read of which nothing is ever written; and how
//! many readers at once are served, and how many of them share an entry.
//!
//! There is no switch in the product that reads without a trail. The read without one is the same
//! call on records that never commit: leave, index, body and the event in memory are in both; what
//! the difference holds is the sealed entry, its `fsync`, and taking it into the index.

use super::node::{Site, now, percentiles};
use super::{Outcome, SAMPLE_DAY_MS};
use carnet_node::access::{Action, Actor, Role, operator_permit};
use carnet_node::chart::ResourceKey;
use carnet_node::records::import::Source;
use carnet_node::records::staff::PersonChange;
use carnet_node::records::{Handle, Records, RecordsError};
use carnet_node::sample::{Generator, Size};
use carnet_node::store::index::Listing;
use carnet_sync_protocol::id::{Channel, LogId};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Readers at once.
const READERS: usize = 100;

/// What to measure.
#[derive(clap::Args)]
pub struct Arguments {
    /// A short run that shows that everything works; its figures mean nothing
    #[arg(long)]
    short: bool,
    /// Print JSON (it always does; for symmetry with the product)
    #[arg(long)]
    json: bool,
}

/// Measures, and returns the report as JSON.
pub fn run(arguments: &Arguments) -> Outcome<Value> {
    let (patients, reads) = if arguments.short { (2, 20) } else { (100, 5_000) };
    let (mut site, keys) = charts(patients)?;
    let mut bare = alone(&mut site.records, &keys, reads, false)?;
    site.records.commit()?;
    let mut audited = alone(&mut site.records, &keys, reads, true)?;
    let (records, _dir) = site.into_parts();
    let (handle, _owner) = Handle::start(records);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let shared =
        runtime.block_on(together(&handle, Arc::new(keys), (reads * 2 / READERS).max(1)))?;
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"), "reads": reads,
        "unaudited_ms": percentiles(&mut bare), "audited_ms": percentiles(&mut audited),
        "concurrent": shared,
    }))
}

/// A node with some charts and a physician, and the resources that are read.
fn charts(patients: usize) -> Outcome<(Site, Vec<ResourceKey>)> {
    let mut site = Site::found()?;
    let mut generator = Generator::new(3, SAMPLE_DAY_MS);
    let sources = (0..patients).map(|n| {
        Source::bytes(n.to_string(), generator.patient(Size::Standard).to_string().into())
    });
    site.records.import(&operator_permit(Action::Import), sources.collect(), |_, _| {})?;
    let doctor = PersonChange { roles: Some(vec![Role::Physician]), ..PersonChange::default() };
    site.records.add_staff(&operator_permit(Action::ManageStaff), "doctor", doctor)?;
    // Those that the physician may see: a few are restricted to the care team.
    let permit = site.records.authorize(&Actor::Staff("doctor".into()), Action::Read, None)?;
    let page = Listing { limit: usize::MAX >> 1, ..Listing::default() };
    let listed = site.records.list(&permit, &page)?;
    let key = |resource: &Value| {
        let text = |name: &str| resource[name].as_str().unwrap_or_default().to_owned();
        ResourceKey::new(&text("resourceType"), &text("id"))
    };
    let keys = listed.shown.iter().map(|shown| key(&shown.resource)).collect::<Result<_, _>>()?;
    site.records.commit()?;
    Ok((site, keys))
}

/// The read that is measured: leave for it included, as with every command.
fn read(records: &mut Records, key: &ResourceKey) -> Result<usize, RecordsError> {
    let permit = records.authorize(&Actor::Staff("doctor".into()), Action::Read, None)?;
    Ok(records.read(&permit, key)?.version.len())
}

/// The key of a read, far from that of the one before.
fn pick(keys: &[ResourceKey], number: usize) -> &ResourceKey {
    &keys[number.wrapping_mul(7_919) % keys.len()]
}

/// One reader after another.
fn alone(
    records: &mut Records,
    keys: &[ResourceKey],
    reads: usize,
    audited: bool,
) -> Outcome<Vec<Duration>> {
    let mut times = Vec::with_capacity(reads);
    for number in 0..reads {
        let start = now();
        read(records, pick(keys, number))?;
        if audited {
            records.commit()?;
        }
        times.push(start.elapsed());
    }
    Ok(times)
}

/// Many readers, each of whom reads again once they have their answer.
async fn together(handle: &Handle, keys: Arc<Vec<ResourceKey>>, each: usize) -> Outcome<Value> {
    let before = entries(handle).await?;
    let start = now();
    let mut readers = Vec::new();
    for reader in 0..READERS {
        let (handle, keys) = (handle.clone(), keys.clone());
        readers.push(tokio::spawn(async move {
            let mut times = Vec::with_capacity(each);
            for number in 0..each {
                let key = pick(&keys, reader * each + number).clone();
                let start = now();
                handle.call(move |records| read(records, &key)).await?;
                times.push(start.elapsed());
            }
            Ok::<_, RecordsError>(times)
        }));
    }
    let mut times = Vec::new();
    for reader in readers {
        times.extend(reader.await??);
    }
    let seconds = start.elapsed().as_secs_f64();
    let entries = entries(handle).await? - before;
    Ok(json!({
        "readers": READERS, "reads": times.len(), "seconds": seconds,
        "reads_per_second": (times.len() as f64 / seconds).round(),
        "entries": entries, "reads_per_entry": times.len() as f64 / entries.max(1) as f64,
        "latency_ms": percentiles(&mut times),
    }))
}

/// The entries of this node's own trail.
async fn entries(handle: &Handle) -> Outcome<u64> {
    let count = handle.call(|records| {
        let log = LogId { channel: Channel::Audit, author: records.author() };
        Ok(records.frontier().heads(&log).iter().map(|head| head.sequence).sum())
    });
    Ok(count.await?)
}
