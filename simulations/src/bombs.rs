//! `bombs`: what is short and stands for much, in every place that inflates or makes lists of bytes.
//!
//! Each case runs in a process of its own, which tells how much memory it came to need for it, and
//! whether it still has and does what it had and did before. What a bomb stands for goes from 16 KiB
//! to 2 GiB; each place has its own bound, whatever the size.

mod node;
mod places;

use crate::measure::Memory;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::process::{Command, Stdio};

/// What a bomb stands for, in bytes.
const SIZES: [u64; 11] = [
    16 << 10,
    128 << 10,
    1 << 20,
    3 << 19,
    2 << 20,
    4 << 20,
    16 << 20,
    64 << 20,
    256 << 20,
    1 << 30,
    2 << 30,
];

/// Which bombs.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only in places whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Print JSON only
    #[arg(long)]
    json: bool,
    /// Set one bomb off in this process
    #[arg(long, hide = true, num_args = 2, value_names = ["PLACE", "BYTES"])]
    case: Option<Vec<String>>,
}

/// A place that inflates.
struct Place {
    /// Its name.
    name: &'static str,
    /// The memory that a bomb may take there.
    bytes_max: u64,
    /// What is set off there at most: no more fits into what carries it.
    size_max: u64,
    /// Makes a bomb of this size, and sets it off.
    set_off: fn(u64) -> Outcome,
}

/// What one bomb did.
#[derive(Serialize, Deserialize)]
struct Told {
    /// By how many bytes the memory in use rose.
    rise: u64,
    /// Why it was refused; none if it was taken.
    refused: Option<String>,
}

type Outcome = Result<Told, Box<dyn Error>>;

/// Measures an act, and keeps why it refused.
fn told<T, E: ToString>(act: impl FnOnce() -> Result<T, E>) -> Told {
    let before = Memory::begin();
    let done = act();
    let rise = before.rise();
    Told { rise, refused: done.err().map(|error| error.to_string()) }
}

fn all() -> Vec<Place> {
    let mut all = places::PLACES.to_vec();
    all.extend(node::PLACES);
    all
}

impl Clone for Place {
    fn clone(&self) -> Self {
        *self
    }
}

impl Copy for Place {}

/// Sets all of them off.
pub fn run(arguments: &Arguments) -> Result<Value, Box<dyn Error>> {
    let places = all();
    if let Some([name, bytes]) = arguments.case.as_deref() {
        let place = places.iter().find(|place| place.name == name).ok_or("no such place")?;
        return Ok(serde_json::to_value((place.set_off)(bytes.parse()?)?)?);
    }
    let wanted = |place: &&Place| {
        arguments.only.as_ref().is_none_or(|part| place.name.contains(part.as_str()))
    };
    let (mut cases, mut failures, mut peaks) = (0_u64, Vec::new(), BTreeMap::new());
    for place in places.iter().filter(wanted) {
        let (mut peak, mut refused) = (0, 0);
        for size in SIZES.into_iter().filter(|size| *size <= place.size_max) {
            cases += 1;
            let told = match in_child(place.name, size) {
                Ok(told) => told,
                Err(error) => {
                    failures.push(json!({"place": place.name, "size": size, "what": error}));
                    continue;
                }
            };
            if !arguments.json {
                let mib = told.rise as f64 / f64::from(1 << 20);
                let how = told.refused.as_deref().unwrap_or("taken");
                eprintln!("{:>10} KiB  {mib:>7.1} MiB  {}: {how}", size >> 10, place.name);
            }
            peak = peak.max(told.rise);
            refused += u64::from(told.refused.is_some());
            if told.rise > place.bytes_max {
                let what = format!("it took {} MiB", told.rise >> 20);
                failures.push(json!({"place": place.name, "size": size, "what": what}));
            }
        }
        let told = json!({"peak_bytes": peak, "bound_bytes": place.bytes_max, "refused": refused});
        peaks.insert(place.name, told);
    }
    let ok = failures.is_empty() && cases > 0;
    Ok(json!({"cases": cases, "failures": failures, "places": peaks, "ok": ok}))
}

fn in_child(place: &str, size: u64) -> Result<Told, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(program);
    child.args(["bombs", "--case", place, &size.to_string()]).stdin(Stdio::null());
    let done = child.output().map_err(|error| error.to_string())?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(format!("{}: {}", done.status, said.lines().last().unwrap_or_default()));
    }
    serde_json::from_slice(&done.stdout).map_err(|error| error.to_string())
}
