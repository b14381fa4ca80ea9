//! `kill` and `unsynced`: two nodes import, edit and sync, and the power of either or both is cut at
//! random, again and again.
//!
//! `kill` ends the processes, and the operating system keeps what they wrote. `unsynced` also takes
//! away what was never synced, or any sectors of it. After each cut the node must open, `verify` and
//! SQLite's own check must find nothing, everything that it acknowledged to its callers must be
//! there, and so must all that its peer was told is in its custody; at last both come together.

use super::caller::Caller;
use super::disk::{Cut, Disk, Slot};
use super::program::{self, Program};
use super::promises::Promises;
use super::site::Site;
use super::{Outcome, copy, now_ms};
use crate::chance::Chance;
use carnet_node::service::request::Request;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often, and from which seed.
#[derive(clap::Args)]
pub struct Arguments {
    /// How many times the power is cut
    #[arg(long, default_value_t = 20)]
    count: u64,
    /// Draws what is done, and when it is cut
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    program: Program,
    /// Print JSON (it always does; for symmetry with the product)
    #[arg(long)]
    json: bool,
}

/// Cuts that one pair of nodes lives through; a ledger that grows for ever makes each check slow.
const CUTS_OF_A_STAGE: u64 = 40;

/// The longest time from one cut to the next.
const BREATH_MS: u64 = 500;

/// Callers at each node.
const CALLERS: usize = 2;

/// What was found.
#[derive(Default)]
struct Findings {
    cuts: u64,
    acknowledged: u64,
    /// Bytes that were written and not synced, and the cuts that found some.
    dropped: u64,
    dropping: u64,
    lost: u64,
    flaws: Vec<String>,
}

/// Kills.
pub fn kill(arguments: &Arguments) -> Outcome<Value> {
    campaign(arguments, false)
}

/// Kills, and drops what was not synced.
pub fn unsynced(arguments: &Arguments) -> Outcome<Value> {
    campaign(arguments, true)
}

fn campaign(arguments: &Arguments, unsynced: bool) -> Outcome<Value> {
    let begun = now_ms();
    let carnet = arguments.program.carnet()?;
    let folder = tempfile::tempdir()?;
    let layer = if unsynced { Some(program::layer(folder.path())?) } else { None };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut findings = Findings::default();
    let mut chance = Chance::new(arguments.seed);
    let control = runtime.block_on(control(&carnet, layer.as_deref(), chance.split()))?;
    while findings.cuts < arguments.count && findings.flaws.is_empty() {
        let cuts = CUTS_OF_A_STAGE.min(arguments.count - findings.cuts);
        let stage = Stage::set(&carnet, layer.as_deref(), chance.split())?;
        runtime.block_on(stage.live(cuts, &mut findings))?;
        eprintln!("{} cuts, {} flaws", findings.cuts, findings.flaws.len());
    }
    // A layer that watches nothing drops nothing, and proves nothing.
    let tried = !unsynced || findings.dropping > 0;
    Ok(json!({
        "ok": findings.flaws.is_empty() && control && tried,
        "dropped_bytes": findings.dropped,
        "nodes_that_dropped": findings.dropping,
        "cuts": findings.cuts,
        "lost": findings.lost,
        "control_failed": control,
        "acknowledged": findings.acknowledged,
        "flaws": findings.flaws,
        "seed": arguments.seed,
        "seconds": (now_ms() - begun) / 1000,
    }))
}

/// Two nodes, and who works there.
struct Stage {
    sites: [Site; 2],
    callers: [Vec<Caller>; 2],
    chance: Chance,
}

impl Stage {
    fn set(carnet: &Path, layer: Option<&Path>, mut chance: Chance) -> Outcome<Self> {
        let mut a = Site::found(carnet)?;
        a.started()?;
        let b = a.joined("Kolda")?;
        a.kill()?;
        let mut sites = [a, b];
        for site in &mut sites {
            if let Some(layer) = layer {
                let disk = Disk::new(layer, &site.dir(), &site.beside("disk"))?;
                disk.settle()?;
                site.disk = Some(disk);
            }
            site.started()?;
        }
        let mut callers = |site: &Site, name: char| {
            (0..CALLERS).map(|n| Caller::new(site, format!("{name}{n}"), chance.split())).collect()
        };
        let callers = [callers(&sites[0], 'a'), callers(&sites[1], 'b')];
        Ok(Self { sites, callers, chance })
    }

    async fn live(mut self, cuts: u64, findings: &mut Findings) -> Outcome<()> {
        for _ in 0..cuts {
            self.cut(findings).await?;
            if !findings.flaws.is_empty() {
                let kept = self.sites.each_mut().map(Site::keep);
                eprintln!("left to be looked at: {kept:?}");
                return Ok(());
            }
        }
        // The end: both come together, and neither lacks what the other promised.
        self.sites[1].synced().await?;
        let mut all = Promises::default();
        self.callers.iter().flatten().for_each(|caller| all.join(&caller.promises));
        let mut digests = Vec::new();
        for site in &self.sites {
            let told = site.ask(Request::Verify).await?;
            digests.push(told["state_digest"].clone());
            found(findings, all.broken(&site.resources().await?));
        }
        if digests[0] != digests[1] {
            findings.flaws.push("the two nodes show different things".into());
        }
        findings.acknowledged += all.acknowledged;
        Ok(())
    }

    /// Work, a cut in the midst of it, and what is there afterwards.
    async fn cut(&mut self, findings: &mut Findings) -> Outcome<()> {
        let victims: &[usize] = match self.chance.below(4) {
            0 => &[0],
            1 => &[1],
            _ => &[0, 1],
        };
        let breath = Duration::from_millis(self.chance.between(1, BREATH_MS));
        let stop = AtomicBool::new(false);
        let [here, there] = &mut self.callers;
        let work = async {
            let ([a, b], [c, d]) = (pair(here), pair(there));
            tokio::try_join!(a.work(&stop), b.work(&stop), c.work(&stop), d.work(&stop)).map(drop)
        };
        let sites = &mut self.sites;
        let cut = async {
            tokio::time::sleep(breath).await;
            stop.store(true, Ordering::Relaxed);
            victims.iter().try_for_each(|victim| sites[*victim].kill())
        };
        tokio::try_join!(work, cut)?;
        findings.cuts += 1;
        for victim in victims {
            let panic = self.sites[*victim].panicked();
            findings.flaws.extend(panic.map(|said| format!("a panic: {said}")));
            let dropped = self.lose_unsynced(*victim)?;
            findings.dropped += dropped;
            findings.dropping += u64::from(dropped > 0);
        }
        for victim in victims {
            let (site, peer) = (&self.sites[*victim], &self.sites[1 - *victim]);
            found(findings, site.custody_broken(peer)?);
        }
        for victim in victims {
            self.reopen(*victim, findings).await?;
        }
        Ok(())
    }

    /// How many bytes are gone.
    fn lose_unsynced(&mut self, victim: usize) -> Outcome<u64> {
        let cut = if self.chance.one_in(3) { Cut::All } else { Cut::Torn };
        match &self.sites[victim].disk {
            Some(disk) => disk.cut(cut, &mut self.chance),
            None => Ok(0),
        }
    }

    async fn reopen(&mut self, victim: usize, findings: &mut Findings) -> Outcome<()> {
        let site = &mut self.sites[victim];
        if let Some(disk) = &site.disk {
            disk.settle()?;
        }
        if let Err(said) = site.start()? {
            findings.flaws.push(format!("it does not start again: {said}"));
            return Ok(());
        }
        findings.flaws.extend(site.integrity()?);
        let told = site.ask(Request::Verify).await?;
        if told["ok"] != true {
            findings.flaws.push(format!("verify: {}", told["problems"]));
        }
        let held = site.resources().await?;
        for caller in &self.callers[victim] {
            found(findings, caller.promises.broken(&held));
        }
        Ok(())
    }
}

fn pair(callers: &mut [Caller]) -> [&mut Caller; 2] {
    let [a, b] = callers else { unreachable!("two callers at each node") };
    [a, b]
}

/// Notes what was lost.
fn found(findings: &mut Findings, broken: Vec<String>) {
    findings.lost += broken.len() as u64;
    findings.flaws.extend(broken);
}

/// Whether a loss would be found: with a disk that lies about syncs, or, where the disk is not
/// watched, with the ledger put back to what it was before.
async fn control(carnet: &Path, layer: Option<&Path>, mut chance: Chance) -> Outcome<bool> {
    let mut site = Site::found(carnet)?;
    let before = site.beside("before");
    copy(&site.dir(), &before)?;
    if let Some(layer) = layer {
        let disk = Disk::new(layer, &site.dir(), &site.beside("disk"))?;
        disk.settle()?;
        disk.set(Slot::Lie, 1)?;
        site.disk = Some(disk);
    }
    site.started()?;
    let mut caller = Caller::new(&site, "c".into(), chance.split());
    for _ in 0..5 {
        caller.write().await;
    }
    site.kill()?;
    match &site.disk {
        Some(disk) => {
            disk.cut(Cut::All, &mut chance)?;
            disk.settle()?;
        }
        None => {
            fs::remove_dir_all(site.dir())?;
            copy(&before, &site.dir())?;
        }
    }
    if site.start()?.is_err() {
        return Ok(true);
    }
    Ok(!caller.promises.broken(&site.resources().await?).is_empty())
}
