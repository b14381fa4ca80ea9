//! `power`: a whole machine is emulated, with a kernel, a file system and a disk of its own; a node
//! works in it, and the power is cut, again and again.
//!
//! A cut is the end of the emulator's process: what the machine's kernel had in its cache is gone, as
//! with a real one, and what it had given to its disk is there. (A disk that itself forgets what it
//! confirmed is not tried.) What the node acknowledged is said on a serial line, which this program
//! listens to; that is the promise. Then the same disk is started from again: the file system
//! replays its journal, the node opens, SQLite's check and `verify` find nothing, and everything
//! that was promised is there. Some cuts fall into the start itself. The ledger is packed all the
//! while.
//!
//! The control lies about the syncs of write-ahead logs in a machine that is otherwise the same.

pub mod guest;
mod initramfs;
mod machine;

use super::program::Program;
use super::promises::Promises;
use super::{Outcome, now_ms};
use crate::chance::Chance;
use guest::Said;
use machine::{Heard, Life, MODES, Machine, Parts, When};
use serde_json::{Value, json};

/// How often, and with what.
#[derive(clap::Args)]
pub struct Arguments {
    /// How many times the power is cut
    #[arg(long, default_value_t = 20)]
    count: u64,
    /// Draws what is done, and when it is cut
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    parts: Parts,
    #[command(flatten)]
    program: Program,
    /// Print JSON (it always does; for symmetry with the product)
    #[arg(long)]
    json: bool,
}

/// Cuts that one disk lives through; a ledger that grows for ever makes each start slow.
const CUTS_OF_A_DISK: u64 = 20;

/// The most acknowledgements before the cut, and the longest time from the last of them.
const KEPT: u64 = 40;
const BREATH_MS: u64 = 500;

/// One cut in so many falls into the start.
const STARTS: u64 = 5;

/// Acknowledgements that the control forgets.
const FORGOTTEN: u64 = 10;

/// A start only to see what is there.
const LOOK: When = When::AtWork { kept: 0, ms: 0 };

#[derive(Default)]
struct Findings {
    cuts: u64,
    /// Of these: before the node was open again.
    in_start: u64,
    /// Starts that found a journal to replay.
    replayed: u64,
    acknowledged: u64,
    packed: u64,
    lost: u64,
    flaws: Vec<String>,
}

/// Cuts the power.
pub fn run(arguments: &Arguments) -> Outcome<Value> {
    let begun = now_ms();
    let parts = match arguments.parts.find() {
        Ok(parts) => parts,
        Err(reason) => return Ok(json!({"ok": false, "not_run": reason})),
    };
    let carnet = arguments.program.carnet()?;
    let folder = tempfile::tempdir()?;
    let machine = Machine::new(parts, &carnet, folder.path())?;
    let mut chance = Chance::new(arguments.seed);
    let control = control(&machine, chance.next())?;
    eprintln!("control {}", if control { "found" } else { "NOT FOUND" });
    let mut findings = Findings::default();
    let mut disks = 0;
    while findings.cuts < arguments.count && findings.flaws.is_empty() {
        let cuts = CUTS_OF_A_DISK.min(arguments.count - findings.cuts);
        let mode = MODES[disks % MODES.len()];
        disks += 1;
        let mut disk = Disk { machine: &machine, mode, promises: Promises::default(), start_ms: 0 };
        machine.format()?;
        disk.live(cuts, &mut chance, &mut findings)?;
        findings.acknowledged += disk.promises.acknowledged;
        eprintln!("{} cuts, {} flaws", findings.cuts, findings.flaws.len());
    }
    if !findings.flaws.is_empty() {
        eprintln!("left to be looked at: {}", folder.keep().display());
    }
    Ok(json!({
        // Cuts after which no journal had to be replayed cut nothing; who promises nothing keeps it.
        "ok": findings.flaws.is_empty() && control && findings.replayed > 0 && findings.acknowledged > 0,
        "cuts": findings.cuts,
        "cuts_in_a_start": findings.in_start,
        "journals_replayed": findings.replayed,
        "lost": findings.lost,
        "control_failed": control,
        "acknowledged": findings.acknowledged,
        "packed": findings.packed,
        "flaws": findings.flaws,
        "seed": arguments.seed,
        "seconds": (now_ms() - begun) / 1000,
    }))
}

/// A disk, and what was promised of it.
struct Disk<'a> {
    machine: &'a Machine,
    mode: &'a str,
    promises: Promises,
    /// How long the last start took.
    start_ms: u64,
}

impl Disk<'_> {
    /// So many cuts, and one start after the last, which looks at what is there.
    fn live(&mut self, cuts: u64, chance: &mut Chance, findings: &mut Findings) -> Outcome<()> {
        for boot in 0..=cuts {
            let life = Life { boot, seed: chance.next(), mode: self.mode, lies: false };
            // Founding is cut by other campaigns (`crash-points`).
            let when = if boot > 0 && boot < cuts && chance.one_in(STARTS) {
                When::AfterOn(chance.between(1, self.start_ms))
            } else if boot == cuts {
                LOOK
            } else {
                When::AtWork { kept: chance.between(0, KEPT), ms: chance.between(1, BREATH_MS) }
            };
            match self.machine.live(&life, when) {
                Ok(heard) => self.judge(heard, findings),
                Err(error) => findings.flaws.push(error.to_string()),
            }
            findings.cuts += u64::from(boot < cuts);
            if let Some(flaw) = findings.flaws.last() {
                eprintln!("disk with data={}, start {boot}: {flaw}", self.mode);
                return Ok(());
            }
        }
        Ok(())
    }

    fn judge(&mut self, heard: Heard, findings: &mut Findings) {
        findings.replayed += u64::from(heard.replayed);
        match heard.ready_ms {
            Some(ms) => self.start_ms = ms,
            None => findings.in_start += 1,
        }
        let mut held = Vec::new();
        for said in heard.said {
            match said {
                Said::Flaw(flaw) => findings.flaws.push(flaw),
                Said::Held(resource) => held.push(resource),
                Said::Ready => {
                    let broken = self.promises.broken(&held);
                    findings.lost += broken.len() as u64;
                    findings.flaws.extend(broken);
                }
                Said::Word(word) => self.promises.hear(word),
                Said::Packed(entries) => findings.packed += entries,
            }
        }
    }
}

/// Whether a loss would be found.
fn control(machine: &Machine, seed: u64) -> Outcome<bool> {
    machine.format()?;
    let mut disk = Disk { machine, mode: MODES[0], promises: Promises::default(), start_ms: 0 };
    let mut findings = Findings::default();
    let life = Life { boot: 0, seed, mode: MODES[0], lies: true };
    disk.judge(machine.live(&life, When::AtWork { kept: FORGOTTEN, ms: 0 })?, &mut findings);
    if let Some(flaw) = findings.flaws.pop() {
        return Err(format!("the control did not come to its cut: {flaw}").into());
    }
    let life = Life { boot: 1, lies: false, ..life };
    disk.judge(machine.live(&life, LOOK)?, &mut findings);
    Ok(findings.lost > 0 || !findings.flaws.is_empty())
}
