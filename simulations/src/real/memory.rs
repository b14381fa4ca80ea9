//! `memory`: two small machines. One imports many charts, the other syncs them and makes its index
//! anew, and neither process may take more than so much memory. At last: what it takes at rest.
//!
//! What holds them is a memory cgroup (of either version, where this account may make one: root,
//! usually), which ends a process that takes more; otherwise `prlimit`, which bounds the address
//! space, of which a process has more than it uses. Which of them it was is told.

use self::Resident::{Now, Peak};
use super::program::Program;
use super::site::Site;
use super::{Outcome, now_ms};
use carnet_node::sample::{Generator, Size};
use carnet_node::service::request::Request;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How much of it.
#[derive(clap::Args)]
pub struct Arguments {
    /// What each process may take, in bytes or with K, M or G
    #[arg(long, default_value = "512M", value_parser = bytes)]
    limit: u64,
    /// How many charts
    #[arg(long, default_value_t = 10_000)]
    charts: usize,
    #[command(flatten)]
    program: Program,
    /// Print JSON (it always does; for symmetry with the product)
    #[arg(long)]
    json: bool,
}

/// Files in one import, as somebody gives them.
const FILES: usize = 200;

/// After a start, until a node has nothing left to do.
const SETTLED: Duration = Duration::from_secs(10);

fn bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(digits) => (digits, &text[digits.len()..]),
        None => (text, ""),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{text} is no number of bytes"))?;
    let factor = match unit {
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => 1,
    };
    Ok(number * factor)
}

/// What bounds a process.
enum Bound {
    /// A memory cgroup; removed at the end.
    Group(PathBuf),
    /// The address space, by `prlimit`.
    AddressSpace,
}

impl Bound {
    /// The best that can be had here; none if nothing can.
    fn new(name: &str, limit: u64) -> Option<Self> {
        let name = format!("carnet-simulations-{}-{name}", std::process::id());
        for (root, file) in
            [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")]
        {
            let group = Path::new(root).join(&name);
            if !Path::new(root).join("cgroup.procs").exists() || fs::create_dir(&group).is_err() {
                continue;
            }
            if fs::write(group.join(file), limit.to_string()).is_ok() {
                // Swap is memory too, where it is counted.
                let _ = fs::write(group.join("memory.swap.max"), "0");
                return Some(Self::Group(group));
            }
            let _ = fs::remove_dir(&group);
        }
        let known = Command::new("prlimit").arg("--version").output();
        known.is_ok_and(|told| told.status.success()).then_some(Self::AddressSpace)
    }

    /// The most that the group was charged for: what its processes wrote to files counts too, as far
    /// as it was still in memory.
    fn charged(&self) -> Option<u64> {
        let Self::Group(group) = self else { return None };
        let read = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse().ok();
        read("memory.peak").or_else(|| read("memory.max_usage_in_bytes"))
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Group(_) => "memory cgroup",
            Self::AddressSpace => "address space (prlimit)",
        }
    }

    /// Puts a command under it.
    fn hold(&self, command: &mut Command, limit: u64) {
        let mut held = match self {
            Self::Group(group) => {
                let mut shell = Command::new("sh");
                let script = "echo $$ > \"$0\" && exec \"$@\"";
                shell.args(["-c", script]).arg(group.join("cgroup.procs"));
                shell
            }
            Self::AddressSpace => {
                let mut prlimit = Command::new("prlimit");
                prlimit.arg(format!("--as={limit}"));
                prlimit
            }
        };
        held.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => held.env(name, value),
                None => held.env_remove(name),
            };
        }
        *command = held;
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Self::Group(group) = self {
            let _ = fs::remove_dir(group);
        }
    }
}

/// Imports and syncs.
pub fn run(arguments: &Arguments) -> Outcome<Value> {
    let begun = now_ms();
    let limit = arguments.limit;
    let (Some(here), Some(there)) = (Bound::new("a", limit), Bound::new("b", limit)) else {
        let reason = "neither a memory cgroup nor prlimit can be had by this account";
        return Ok(json!({"ok": false, "not_run": reason}));
    };
    let carnet = arguments.program.carnet()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut a = Site::found(&carnet)?;
    let control = control(&mut a)?;
    a.started()?;
    let mut b = a.joined("Kolda")?;
    a.kill()?;
    a.start_as(|command| here.hold(command, limit))??;
    let mut killed = Vec::new();
    let imported = runtime.block_on(import(&a, arguments.charts));
    if let Err(error) = imported {
        killed.push(format!("the import ended early: {error}"));
    }
    let import_peak = resident(&a, Peak)?;
    b.start_as(|command| there.hold(command, limit))??;
    if let Err(error) = runtime.block_on(together(&a, &b)) {
        killed.push(format!("the sync ended early: {error}"));
    }
    let sync_peaks = [resident(&a, Peak)?, resident(&b, Peak)?];
    for (name, site) in [("importing", &mut a), ("receiving", &mut b)] {
        if site.has_ended()? {
            killed.push(format!("the {name} node ended by itself"));
        }
    }
    a.kill()?;
    b.kill()?;
    let made_anew = runtime.block_on(index_made_anew(&mut b, &there, limit));
    let (rebuild_peak, at_rest) = made_anew.unwrap_or_else(|error| {
        killed.push(format!("the index was not made anew: {error}"));
        (0, 0)
    });
    Ok(json!({
        "ok": killed.is_empty() && control,
        "control_failed": control,
        "charged_peak_bytes": [here.charged(), there.charged()],
        "charts": arguments.charts,
        "limit_bytes": limit,
        "enforced_by": here.name(),
        "import_peak_bytes": import_peak,
        "after_sync_peak_bytes": sync_peaks,
        "rebuild_peak_bytes": rebuild_peak,
        "at_rest_bytes": at_rest,
        "flaws": killed,
        "seconds": (now_ms() - begun) / 1000,
    }))
}

/// Whether the bound is one: with far too little, the node must not live.
fn control(site: &mut Site) -> Outcome<bool> {
    const TOO_LITTLE: u64 = 4 << 20;
    let Some(bound) = Bound::new("control", TOO_LITTLE) else { return Ok(false) };
    let lives = site.start_as(|command| bound.hold(command, TOO_LITTLE))?.is_ok();
    site.kill()?;
    Ok(!lives)
}

async fn import(site: &Site, charts: usize) -> Outcome<()> {
    let mut generator = Generator::new(1, 1_772_323_200_000);
    let folder = site.beside("files");
    fs::create_dir_all(&folder)?;
    let mut left = charts;
    while left > 0 {
        let now = left.min(FILES);
        let mut files = Vec::with_capacity(now);
        for number in 0..now {
            let file = folder.join(format!("{number}.json"));
            fs::write(&file, generator.patient(Size::Standard).to_string())?;
            files.push(file);
        }
        let told = site.ask(Request::Import { files }).await?;
        if told["failed"] != 0 {
            return Err(format!("an invented patient was refused: {told}").into());
        }
        left -= now;
    }
    Ok(())
}

/// Waits until both hold the same, and checks it.
async fn together(a: &Site, b: &Site) -> Outcome<()> {
    b.synced().await?;
    let (here, there) = (a.ask(Request::Verify).await?, b.ask(Request::Verify).await?);
    if here["ok"] != true || here["state_digest"] != there["state_digest"] {
        return Err(format!("the nodes differ: {here} {there}").into());
    }
    Ok(())
}

/// A node that lost its index: the most that it took until it had made and checked another, and what
/// it takes after another start, when nobody asks anything of it.
async fn index_made_anew(site: &mut Site, bound: &Bound, limit: u64) -> Outcome<(u64, u64)> {
    for file in ["index.db", "index.db-wal", "index.db-shm"] {
        match fs::remove_file(site.dir().join(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    site.start_as(|command| bound.hold(command, limit))??;
    let checked = site.ask(Request::Verify).await?;
    if checked["ok"] != true {
        return Err(format!("it is not sound: {}", checked["problems"]).into());
    }
    let peak = resident(site, Peak)?;
    site.kill()?;
    site.start_as(|command| bound.hold(command, limit))??;
    tokio::time::sleep(SETTLED).await;
    let at_rest = resident(site, Now)?;
    site.kill()?;
    Ok((peak, at_rest))
}

/// Memory of a process that is resident.
enum Resident {
    /// The most there ever was.
    Peak,
    /// What there is.
    Now,
}

fn resident(site: &Site, which: Resident) -> Outcome<u64> {
    let process = site.process().ok_or("no process")?;
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let field = match which {
        Peak => "VmHWM:",
        Now => "VmRSS:",
    };
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.ok_or_else(|| format!("no {field} of process {process}"))? << 10)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn a_limit_is_read_with_its_unit() {
        assert_eq!(bytes("512M"), Ok(512 << 20));
        assert_eq!(bytes("17"), Ok(17));
        assert!(bytes("12 MB").is_err() && bytes("").is_err());
    }
}
