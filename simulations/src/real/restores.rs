//! `restores`: a node makes backups while it works, is lost, comes back from one of them, old or
//! new, and rejoins; again and again.
//!
//! What was acknowledged and synced before the loss must be on both nodes after the next sync, and
//! no sequence number may have been given out twice: no log may fork, on either node.

use super::caller::Caller;
use super::program::Program;
use super::promises::Promises;
use super::site::Site;
use super::{Outcome, now_ms};
use crate::chance::Chance;
use carnet_node::service::request::Request;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// How often, and from which seed.
#[derive(clap::Args)]
pub struct Arguments {
    /// How many times the node is lost and restored
    #[arg(long, default_value_t = 5)]
    count: u64,
    /// Draws what is done, and which backup is taken
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    program: Program,
    /// Print JSON (it always does; for symmetry with the product)
    #[arg(long)]
    json: bool,
}

/// Losses that one pair of nodes lives through.
const LOSSES_OF_A_STAGE: u64 = 20;

#[derive(Default)]
struct Findings {
    restores: u64,
    backups: u64,
    acknowledged: u64,
    lost: u64,
    reused: u64,
    flaws: Vec<String>,
}

/// Loses and restores.
pub fn run(arguments: &Arguments) -> Outcome<Value> {
    let begun = now_ms();
    let carnet = arguments.program.carnet()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut findings = Findings::default();
    let mut chance = Chance::new(arguments.seed);
    let control = runtime.block_on(control(&carnet, &mut chance))?;
    while findings.restores < arguments.count && findings.flaws.is_empty() {
        let losses = LOSSES_OF_A_STAGE.min(arguments.count - findings.restores);
        let mut stage = Stage::set(&carnet, chance.split())?;
        for _ in 0..losses {
            runtime.block_on(stage.lose_and_restore(&mut findings, true))?;
        }
        findings.acknowledged += stage.caller.promises.acknowledged;
        eprintln!("{} restores, {} flaws", findings.restores, findings.flaws.len());
    }
    Ok(json!({
        "ok": findings.flaws.is_empty() && control,
        "restores": findings.restores,
        "backups": findings.backups,
        "acknowledged": findings.acknowledged,
        "lost": findings.lost,
        "sequences_reused": findings.reused,
        "control_failed": control,
        "flaws": findings.flaws,
        "seed": arguments.seed,
        "seconds": (now_ms() - begun) / 1000,
    }))
}

/// The node that is lost, its peer, and who works at it.
struct Stage {
    a: Site,
    b: Site,
    caller: Caller,
    backups: Vec<PathBuf>,
    chance: Chance,
}

impl Stage {
    fn set(carnet: &Path, mut chance: Chance) -> Outcome<Self> {
        let mut a = Site::found(carnet)?;
        a.started()?;
        let mut b = a.joined("Kolda")?;
        b.started()?;
        let caller = Caller::new(&a, "a".into(), chance.split());
        Ok(Self { a, b, caller, backups: Vec::new(), chance })
    }

    async fn lose_and_restore(&mut self, findings: &mut Findings, sync: bool) -> Outcome<()> {
        // Work, with a backup or two in the midst of it.
        let total = self.chance.between(4, 14);
        for _ in 0..total {
            if !self.caller.write().await {
                return Err("a write was refused".into());
            }
            if self.backups.is_empty() || self.chance.one_in(6) {
                self.back_up(findings).await?;
            }
        }
        if sync {
            self.b.synced().await?;
        }
        let safe = self.caller.promises.clone();
        for _ in 0..self.chance.below(4) {
            self.caller.write().await;
        }
        self.a.kill()?;
        let safe = safe.or_later(&self.caller.promises);
        if !sync {
            // The control: what the peer has not heard of can't come back.
            self.b.kill()?;
        }
        let any = self.chance.index(self.backups.len());
        let backup = self.backups.get(if sync { any } else { 0 }).ok_or("no backup")?.clone();
        fs::remove_dir_all(self.a.dir())?;
        self.a.run(&["restore", "--from", &backup.display().to_string()])?;
        self.a.started()?;
        findings.restores += 1;
        if sync {
            self.check(findings, safe).await?;
        } else {
            findings.lost += safe.broken(&self.a.resources().await?).len() as u64;
        }
        Ok(())
    }

    async fn back_up(&mut self, findings: &mut Findings) -> Outcome<()> {
        let file = self.a.beside(&format!("{}.backup", self.backups.len()));
        let told = self.a.ask(Request::Backup { to: file.clone() }).await?;
        if told["verified"] != true {
            findings.flaws.push(format!("a backup was not verified: {told}"));
        }
        findings.backups += 1;
        self.backups.push(file);
        Ok(())
    }

    /// After the node has rejoined: what was safe is on both, and nothing forked.
    async fn check(&mut self, findings: &mut Findings, safe: Promises) -> Outcome<()> {
        self.caller.promises = safe;
        // In half of the cases it writes before it hears of its former life.
        if self.chance.one_in(2) && !self.caller.write_new().await {
            findings.flaws.push("nothing can be written after a restore".into());
        }
        self.b.synced().await?;
        let mut digests = Vec::new();
        for site in [&self.a, &self.b] {
            let broken = self.caller.promises.broken(&site.resources().await?);
            findings.lost += broken.len() as u64;
            findings.flaws.extend(broken);
            let told = site.ask(Request::Verify).await?;
            if told["ok"] != true {
                findings.flaws.push(format!("verify: {}", told["problems"]));
            }
            digests.push(told["state_digest"].clone());
            let forked = site.forked()?;
            findings.reused += forked;
            if forked > 0 {
                findings.flaws.push(format!("{forked} logs forked: a number was used again"));
            }
        }
        if digests[0] != digests[1] {
            findings.flaws.push("the two nodes show different things".into());
        }
        Ok(())
    }
}

/// Whether a loss would be found: a node that is restored and has nobody to ask.
async fn control(carnet: &Path, chance: &mut Chance) -> Outcome<bool> {
    let mut findings = Findings::default();
    let mut stage = Stage::set(carnet, chance.split())?;
    stage.b.kill()?;
    stage.back_up(&mut findings).await?;
    stage.lose_and_restore(&mut findings, false).await?;
    Ok(findings.lost > 0)
}
