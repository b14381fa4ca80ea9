//! `mutants`: can the histories fail? Plants one bug after another and looks for each.
//!
//! The bugs stand in the product's own sources, each a few lines behind `#[cfg(planted)]`, which no
//! feature can switch on. Here the program builds itself with that cfg, in a target directory of
//! its own, and runs histories with one bug at a time until one of them holds a flaw.

use crate::chance::Chance;
use serde_json::{Map, Value, json};
use std::error::Error;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Which bugs, and how long to look.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only these, by name; all of them if it is left out
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Only so many, drawn from the day's seed
    #[arg(long, value_name = "N")]
    some: Option<usize>,
    /// Draws which, with `--some`
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many histories each may need
    #[arg(long, default_value_t = 3_000)]
    histories: u64,
    /// How many threads; all cores if it is left out
    #[arg(long)]
    threads: Option<usize>,
    /// Print the names of the bugs that this program holds, and nothing else
    #[arg(long)]
    list: bool,
    /// Print JSON only
    #[arg(long)]
    json: bool,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The bugs that this program was built with: none, unless it was built for that.
fn names() -> Vec<&'static str> {
    #[cfg(planted)]
    return carnet_sync_protocol::planted::ALL.to_vec();
    #[cfg(not(planted))]
    Vec::new()
}

/// Plants each, and looks for it.
pub fn run(arguments: &Arguments) -> Outcome<Value> {
    if arguments.list {
        return Ok(names().into());
    }
    let program = build()?;
    let bugs = chosen(arguments, &program)?;
    // A flaw that is there without the bug shows nothing about it.
    let control = |seeds: Range<u64>| -> Outcome<()> {
        let looked = look(&program, "", seeds, arguments.threads)?;
        match looked.found {
            Value::Null => Ok(()),
            flaw => {
                let (seed, without) = (looked.seed, "without any bug planted there is a flaw");
                Err(format!("{without} in seed {seed}: {flaw}").into())
            }
        }
    };
    control(0..20)?;
    let mut missed = Vec::new();
    let mut found = Map::new();
    for bug in &bugs {
        let looked = look(&program, bug, 0..arguments.histories, arguments.threads)?;
        match looked.found {
            Value::Null => {
                eprintln!("{bug}: missed in {} histories", looked.histories);
                missed.push(bug.clone());
            }
            flaw => {
                eprintln!("{bug}: found after {} histories: {flaw}", looked.histories);
                let seed = looked.seed.as_u64().unwrap_or(0);
                control(seed..seed + 1)?;
                let replay = format!(
                    "CARNET_PLANTED={bug} {} histories --seeds {seed}..{} --aloud --shrink",
                    program.display(),
                    seed + 1
                );
                let entry = json!({"histories": looked.histories, "seed": looked.seed,
                    "seconds": looked.seconds, "flaw": flaw, "replay": replay});
                found.insert(bug.clone(), entry);
            }
        }
    }
    Ok(json!({"planted": bugs.len(), "found": found.len(), "missed": missed, "bugs": found,
        "ok": missed.is_empty()}))
}

fn chosen(arguments: &Arguments, program: &Path) -> Outcome<Vec<String>> {
    let listed = Command::new(program).args(["mutants", "--list"]).output()?;
    let all: Vec<String> = serde_json::from_slice(&listed.stdout)?;
    let mut bugs = all.clone();
    if !arguments.only.is_empty() {
        bugs.clone_from(&arguments.only);
    }
    if let Some(unknown) = bugs.iter().find(|bug| !all.contains(bug)) {
        return Err(format!("no bug is named {unknown}; there are: {}", all.join(", ")).into());
    }
    let mut chance = Chance::new(arguments.seed);
    while arguments.some.is_some_and(|some| bugs.len() > some) {
        bugs.remove(chance.index(bugs.len()));
    }
    Ok(bugs)
}

/// What came of looking for one bug.
struct Looked {
    histories: u64,
    seed: Value,
    seconds: Value,
    /// The flaw, in words; null if there was none.
    found: Value,
}

fn look(program: &Path, bug: &str, seeds: Range<u64>, threads: Option<usize>) -> Outcome<Looked> {
    let mut command = Command::new(program);
    let seeds = format!("{}..{}", seeds.start, seeds.end);
    command.args(["histories", "--first", "--json", "--seeds", &seeds]);
    if let Some(threads) = threads {
        command.args(["--threads", &threads.to_string()]);
    }
    command.env("CARNET_PLANTED", bug).stderr(Stdio::null());
    let output = command.output()?;
    let text = String::from_utf8(output.stdout)?;
    let last = text.lines().last().ok_or("the histories told nothing")?;
    let report: Value = serde_json::from_str(last)?;
    Ok(Looked {
        histories: report["histories"].as_u64().unwrap_or(0),
        seed: report["failures"][0].clone(),
        seconds: report["seconds"].clone(),
        found: report["flaws"][0].clone(),
    })
}

/// Builds this program with all bugs in it, each asleep until it is named.
fn build() -> Outcome<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.parent().ok_or("the package lies in a workspace")?;
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let usual = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let planted = usual.join("planted");
    lend(&usual.join(profile), &planted.join(profile));
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--locked", "-p", "carnet-simulations"]);
    if profile == "release" {
        command.arg("--release");
    }
    command.current_dir(root).arg("--target-dir").arg(&planted);
    command.env("RUSTC_WORKSPACE_WRAPPER", here.join("plant"));
    if !command.status()?.success() {
        return Err("the bugs could not be planted: the build failed".into());
    }
    Ok(planted.join(profile).join("carnet-simulations"))
}

/// Copies what others' packages were built to, which the bugs do not touch. What can't be copied
/// is built.
fn lend(from: &Path, to: &Path) {
    if to.exists() || std::fs::create_dir_all(to).is_err() {
        return;
    }
    for part in ["deps", "build", ".fingerprint"] {
        let copied = Command::new("cp").arg("-a").arg(from.join(part)).arg(to).status();
        if !copied.is_ok_and(|status| status.success()) {
            eprintln!("{part} could not be copied, and is built anew");
        }
    }
}
