//! `histories`: lives the histories of many seeds on all cores, and says which hold a flaw.
//!
//! Each history is a function of its seed and of the code, so the hash over all of them is too,
//! whatever the number of threads.

use crate::checks::Flaw;
use crate::faults::{Plan, What};
use crate::shrink::shrink;
use crate::world::World;
use serde_json::{Value, json};
use std::error::Error;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How much memory the program may have needed at most, and each thread beyond that: a history of
/// seven nodes takes some 10 MB, and none keeps anything of those before it.
const PEAK_BYTES_MAX: u64 = 96 << 20;
const PEAK_BYTES_OF_THREAD_MAX: u64 = 64 << 20;

/// Which histories.
#[derive(clap::Args)]
pub struct Arguments {
    /// The seeds: all from the first up to, and without, the second
    #[arg(long, value_name = "A..B")]
    seeds: Seeds,
    /// Leave kinds of faults out, by name
    #[arg(long, value_name = "KIND,...", value_delimiter = ',', value_parser = kind)]
    without: Vec<What>,
    /// Keep only the planned items with these numbers
    #[arg(long, value_name = "N,...")]
    keep: Option<Places>,
    /// Print what happens in each history
    #[arg(long)]
    aloud: bool,
    /// Make the first failing history as small as may be
    #[arg(long)]
    shrink: bool,
    /// Stop at the first flaw
    #[arg(long)]
    first: bool,
    /// How many threads; all cores if it is left out
    #[arg(long)]
    threads: Option<usize>,
    /// Print JSON only
    #[arg(long)]
    json: bool,
}

/// A range of seeds.
#[derive(Clone, Debug)]
struct Seeds(Range<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is no range of seeds; write it like 0..1000");
        let (first, end) = text.split_once("..").ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
        Ok(Self(number(first)?..number(end)?))
    }
}

/// Numbers of planned items, perhaps none.
#[derive(Clone, Debug)]
struct Places(Vec<usize>);

impl FromStr for Places {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').filter(|part| !part.is_empty());
        let places = parts.map(|part| part.parse().map_err(|_| format!("{part} is no number")));
        places.collect::<Result<_, _>>().map(Self)
    }
}

fn kind(name: &str) -> Result<What, String> {
    let all = What::FAULTS.into_iter().chain([What::Act]);
    let names: Vec<&str> = all.clone().map(What::name).collect();
    all.into_iter()
        .find(|what| what.name() == name)
        .ok_or_else(|| format!("no fault is named {name}; there are: {}", names.join(", ")))
}

impl Arguments {
    fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        if self.aloud { 1 } else { self.threads.unwrap_or_else(cores) }
    }

    fn plan(&self, seed: u64) -> Plan {
        let plan = Plan::draw(seed).without(&self.without);
        match &self.keep {
            Some(Places(places)) => plan.keeping(places),
            None => plan,
        }
    }
}

/// What came of a seed.
struct Lived {
    seed: u64,
    hash: blake3::Hash,
    flaw: Option<Flaw>,
}

/// Lives them all.
pub fn run(arguments: &Arguments) -> Result<Value, Box<dyn Error>> {
    let started = crate::local::node::now();
    let mut lived = all(arguments);
    lived.sort_unstable_by_key(|one: &Lived| one.seed);
    let mut hasher = blake3::Hasher::new();
    for one in &lived {
        hasher.update(one.hash.as_bytes());
    }
    let flawed: Vec<&Lived> = lived.iter().filter(|one| one.flaw.is_some()).collect();
    if let Some(one) = flawed.first().filter(|_| arguments.shrink) {
        smaller(arguments, one);
    }
    let peak_bytes = crate::local::node::memory()?["peak_bytes"].as_u64().unwrap_or(0);
    let bound = PEAK_BYTES_MAX + arguments.threads() as u64 * PEAK_BYTES_OF_THREAD_MAX;
    if peak_bytes > bound {
        eprintln!("[memory stays within its bound] {peak_bytes} bytes, of {bound} at most");
    }
    let failures: Vec<u64> = flawed.iter().map(|one| one.seed).collect();
    let flaws: Vec<String> =
        flawed.iter().filter_map(|one| Some(one.flaw.as_ref()?.to_string())).collect();
    Ok(json!({
        "histories": lived.len(),
        "failures": failures,
        "hash": hasher.finalize().to_hex().as_str(),
        "seconds": started.elapsed().as_secs_f64(),
        "peak_bytes": peak_bytes,
        "flaws": flaws,
        "ok": flawed.is_empty() && peak_bytes <= bound,
    }))
}

fn all(arguments: &Arguments) -> Vec<Lived> {
    let seeds = arguments.seeds.0.clone();
    let threads = arguments.threads();
    let next = AtomicU64::new(seeds.start);
    let lived = Mutex::new(Vec::new());
    let add = |one| lived.lock().unwrap_or_else(PoisonError::into_inner).push(one);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let one = live(arguments, seed);
                    if let Some(flaw) = &one.flaw {
                        report(seed, flaw);
                        if arguments.first {
                            next.fetch_max(seeds.end, Ordering::Relaxed);
                        }
                    }
                    add(one);
                }
            });
        }
    });
    lived.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Looks for the smallest history that still shows the flaw, and tells how to see it.
fn smaller(arguments: &Arguments, one: &Lived) {
    let Some(flaw) = one.flaw.clone() else { return };
    let plan = arguments.plan(one.seed);
    let (kept, flaw) = shrink(&plan, flaw, |plan| guarded(plan, false).1);
    let kept: Vec<String> = kept.iter().map(usize::to_string).collect();
    eprintln!("seed {}, with {} of {} items: {flaw}", one.seed, kept.len(), plan.items.len());
    eprintln!("  {} --keep={}", command(one.seed), kept.join(","));
}

fn live(arguments: &Arguments, seed: u64) -> Lived {
    let (hash, flaw) = guarded(arguments.plan(seed), arguments.aloud);
    Lived { seed, hash, flaw }
}

/// Lives a plan. A panic in it is a flaw of the history, and of nothing else.
fn guarded(plan: Plan, aloud: bool) -> (blake3::Hash, Option<Flaw>) {
    match catch_unwind(AssertUnwindSafe(|| World::live(plan, aloud))) {
        Ok(told) => (told.hash, told.flaw),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("a panic");
            (blake3::hash(text.as_bytes()), Some(Flaw::new("nothing panics", text.to_owned())))
        }
    }
}

fn report(seed: u64, flaw: &Flaw) {
    eprintln!("seed {seed}: {flaw}\n  {}", command(seed));
}

/// The command that lives one history again, and tells what happens.
fn command(seed: u64) -> String {
    let next = seed + 1;
    #[cfg(planted)]
    let program = format!(
        "CARNET_PLANTED={} {}",
        std::env::var("CARNET_PLANTED").unwrap_or_default(),
        std::env::args().next().unwrap_or_default()
    );
    #[cfg(not(planted))]
    let program = "cargo run --release -p carnet-simulations --";
    format!("{program} histories --seeds {seed}..{next} --aloud")
}
