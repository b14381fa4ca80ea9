//! What runs in the emulated machine once its disk is mounted: the node, a look at all that it
//! holds, and then work, until the power is cut. What it has to say goes to standard output, which
//! is a serial line there.

use super::super::Outcome;
use super::super::caller::Caller;
use super::super::disk::{Disk, Slot};
use super::super::promises::Word;
use super::super::site::Site;
use crate::chance::Chance;
use carnet_node::service::request::Request;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Which life of the machine.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where the disk is mounted
    root: PathBuf,
    /// How often this disk was started from before
    #[arg(long)]
    boot: u64,
    /// Draws what is done
    #[arg(long)]
    seed: u64,
    /// A layer that says of a write-ahead log that it was synced, and forgets it
    #[arg(long)]
    lie: Option<PathBuf>,
}

/// What the machine says, a line each.
#[derive(Debug, Serialize, Deserialize)]
pub enum Said {
    /// Something that must not be.
    Flaw(String),
    /// A resource that the node shows, as far as promises go.
    Held(Value),
    /// Everything that is held was said, and the work begins.
    Ready,
    /// A word of a caller.
    Word(Word),
    /// The ledger was packed so many entries' worth.
    Packed(u64),
}

/// Callers at the node.
const CALLERS: usize = 2;

/// How long one waits from one compaction to the next.
const COMPACTIONS_MS: (u64, u64) = (300, 1_500);

fn say(said: &Said) {
    println!("{}", json!(said));
}

/// Lives until the power is cut.
pub fn run(arguments: &Arguments) -> Outcome<Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Err(error) = runtime.block_on(live(arguments)) {
        say(&Said::Flaw(error.to_string()));
    }
    // Whoever runs this machine ends it.
    loop {
        super::super::pause(60_000);
    }
}

async fn live(arguments: &Arguments) -> Outcome<()> {
    let mut site = Site::at(Path::new("/bin/carnet"), &arguments.root)?;
    if arguments.boot == 0 {
        site.init()?;
    }
    if let Some(layer) = &arguments.lie {
        let disk = Disk::new(layer, &site.dir(), Path::new("/tmp/disk"))?;
        disk.settle()?;
        disk.set(Slot::Lie, 1)?;
        site.disk = Some(disk);
    }
    site.started().map_err(|error| format!("it does not start: {error}"))?;
    for flaw in site.integrity()? {
        say(&Said::Flaw(flaw));
    }
    let told = site.ask(Request::Verify).await?;
    if told["ok"] != true {
        say(&Said::Flaw(format!("verify: {}", told["problems"])));
    }
    for held in site.resources().await? {
        let short = json!({"resourceType": held["resourceType"], "id": held["id"],
            "code": {"text": held["code"]["text"]}});
        say(&Said::Held(short));
    }
    say(&Said::Ready);
    let mut chance = Chance::new(arguments.seed);
    let stop = AtomicBool::new(false);
    let mut callers: Vec<Caller> = Vec::new();
    for number in 0..CALLERS {
        let name = format!("boot{}-{number}", arguments.boot);
        let mut caller = Caller::new(&site, name, chance.split());
        caller.aloud = Some(|word| say(&Said::Word(word.clone())));
        callers.push(caller);
    }
    let [one, other] = callers.as_mut_slice() else { unreachable!("two callers") };
    let packing = compact(&site, chance, &stop);
    let work = async {
        let done = tokio::try_join!(one.work(&stop), other.work(&stop)).map(drop);
        stop.store(true, Ordering::Relaxed);
        done
    };
    tokio::try_join!(work, packing)?;
    Err("the node no longer answers".into())
}

async fn compact(site: &Site, mut chance: Chance, stop: &AtomicBool) -> Outcome<()> {
    let (from, to) = COMPACTIONS_MS;
    while !stop.load(Ordering::Relaxed) {
        let wait = std::time::Duration::from_millis(chance.between(from, to));
        tokio::time::sleep(wait).await;
        let told = site.ask(Request::Compact { dry_run: false }).await?;
        say(&Said::Packed(told["entries"].as_u64().unwrap_or(0)));
    }
    Ok(())
}
