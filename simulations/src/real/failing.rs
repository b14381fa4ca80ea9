//! `io-error`, `disk-full` and `crash-points`: a fixed piece of work, on a disk of which one call
//! fails, or is the last.
//!
//! `io-error` lets the n-th write or sync fail, for every n that the work has; once, and then from
//! the n-th on. What a failed sync should have kept is gone, as the kernel has it. `disk-full` gives
//! the files room to grow by so many bytes. In each case the power is cut at the end, and what was
//! not synced is lost too. A call that fails must be told as an error; what was acknowledged must be
//! there; the node must go on without a restart once the disk is well, and after one.

mod steps;

use super::disk::{Cut, Disk, Slot};
use super::program::{self, Program};
use super::promises::{Promises, note};
use super::site::Site;
use super::{Outcome, copy, now_ms, pause};
use crate::chance::Chance;
use carnet_node::sample::{Generator, Size};
use carnet_node::service::error::{CommandError, ErrorKind};
use carnet_node::service::request::{Opener, Request};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use steps::Step;

/// How much of it.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only every so-manieth case
    #[arg(long, default_value_t = 1)]
    every: u64,
    #[command(flatten)]
    program: Program,
    /// Print JSON (it always does; for symmetry with the product)
    #[arg(long)]
    json: bool,
}

/// Bytes from one case of a full disk to the next; odd, so that they fall within pages too.
const ROOM_STEP: u64 = 3_001;

/// How long a node may take to be well again once its disk is.
const RECOVERY_MS: u64 = 5_000;

/// What the disk does in a case.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Says that a write-ahead log was synced, and forgets it: the control.
    Lie,
    /// The call of this number fails.
    Once(u64),
    /// Every call from this number on fails.
    From(u64),
    /// There is so much room left.
    Room(u64),
    /// The power is cut at the call of this number, before it is made.
    Die(u64),
}

/// What was found.
#[derive(Default)]
struct Findings {
    cases: u64,
    /// Cases in which a call did fail.
    hit: u64,
    false_acknowledgements: u64,
    unrecovered: u64,
    /// Cases in which the node stayed locked when it started on a failing disk.
    opened_by_hand: u64,
    reads_answered: u64,
    reads_refused: u64,
    /// How far compactions were when the power was cut, and how often.
    reached: BTreeMap<&'static str, u64>,
    flaws: Vec<String>,
}

impl Findings {
    fn report(&self, control: bool, begun: u64) -> Value {
        json!({
            "ok": self.flaws.is_empty() && control && self.hit > 0,
            "cases": self.cases,
            "hit": self.hit,
            "false_acknowledgements": self.false_acknowledgements,
            "unrecovered": self.unrecovered,
            "control_failed": control,
            "opened_by_hand": self.opened_by_hand,
            "reads_answered": self.reads_answered,
            "reads_refused": self.reads_refused,
            "compactions_cut": self.reached,
            "flaws": self.flaws,
            "seconds": (now_ms() - begun) / 1000,
        })
    }
}

/// The n-th call fails, for every n.
pub fn io_error(arguments: &Arguments) -> Outcome<Value> {
    let begun = now_ms();
    let bench = Bench::new(&arguments.program)?;
    let (calls, _) = bench.measure()?;
    let control = bench.control()?;
    let mut findings = Findings::default();
    for number in (1..=calls).step_by(arguments.every.max(1) as usize) {
        for fault in [Fault::Once(number), Fault::From(number)] {
            bench.case(fault, &mut findings)?;
        }
        told(&findings);
    }
    Ok(findings.report(control, begun))
}

/// There is room for so many bytes, and no more.
pub fn disk_full(arguments: &Arguments) -> Outcome<Value> {
    let begun = now_ms();
    let bench = Bench::new(&arguments.program)?;
    let (_, bytes) = bench.measure()?;
    let control = bench.control()?;
    let mut findings = Findings::default();
    let step = ROOM_STEP * arguments.every.max(1);
    for room in (0..bytes).step_by(step as usize) {
        bench.case(Fault::Room(room), &mut findings)?;
        told(&findings);
    }
    Ok(findings.report(control, begun))
}

/// The power is cut at the n-th call, for every n: of the work, and of the commands that make,
/// change, save and restore a node.
pub fn crash_points(arguments: &Arguments) -> Outcome<Value> {
    let begun = now_ms();
    let bench = Bench::new(&arguments.program)?;
    let (calls, _) = bench.measure()?;
    let control = bench.control()?;
    let mut findings = Findings::default();
    let every = arguments.every.max(1) as usize;
    for number in (1..=calls).step_by(every) {
        bench.case(Fault::Die(number), &mut findings)?;
        told(&findings);
    }
    for step in Step::ALL {
        steps::crash(&bench.carnet, &bench.layer, step, every, &mut findings)?;
        eprintln!("{step:?}: {} cases, {} flaws", findings.cases, findings.flaws.len());
    }
    Ok(findings.report(control, begun))
}

fn told(findings: &Findings) {
    if findings.cases.is_multiple_of(20) {
        eprintln!("{} cases, {} flaws", findings.cases, findings.flaws.len());
    }
}

/// A node to begin each case with, and what is done in each.
struct Bench {
    carnet: PathBuf,
    layer: PathBuf,
    /// Holds the layer.
    _folder: tempfile::TempDir,
    template: Site,
    /// What the template holds.
    promises: Promises,
    bundle: Value,
    runtime: tokio::runtime::Runtime,
}

/// A case under way.
struct Case<'a> {
    site: Site,
    promises: Promises,
    findings: &'a mut Findings,
    /// In which the flaws are told.
    name: String,
    /// Whether the power is cut in the midst of the work.
    is_off: bool,
}

impl Bench {
    fn new(program: &Program) -> Outcome<Self> {
        let carnet = program.carnet()?;
        let folder = tempfile::tempdir()?;
        let layer = program::layer(folder.path())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let mut template = Site::found(&carnet)?;
        let mut promises = Promises::default();
        template.started()?;
        for id in ["old-1", "old-2"] {
            runtime.block_on(template.ask(Request::ChartPut { body: note(id, "old") }))?;
            promises.sent(id, "old");
            promises.kept(id, "old");
        }
        template.kill()?;
        let bundle = Generator::new(1, 1_772_323_200_000).patient(Size::Standard);
        Ok(Self { carnet, layer, _folder: folder, template, promises, bundle, runtime })
    }

    /// The calls that the work has when nothing fails, and how many bytes it needs.
    fn measure(&self) -> Outcome<(u64, u64)> {
        let mut findings = Findings::default();
        let plenty = 1 << 40;
        let mut case = self.begin(Fault::Room(plenty), &mut findings)?;
        case.site.started()?;
        self.runtime.block_on(case.work(&self.bundle))?;
        let disk = case.disk()?;
        let (calls, bytes) = (disk.get(Slot::Calls)?, plenty - disk.get(Slot::Room)?);
        if !findings.flaws.is_empty() {
            return Err(format!("a flaw without any fault: {:?}", findings.flaws).into());
        }
        Ok((calls, bytes))
    }

    /// Whether a disk that lies about syncs is found out.
    fn control(&self) -> Outcome<bool> {
        let mut findings = Findings::default();
        self.case(Fault::Lie, &mut findings)?;
        Ok(findings.false_acknowledgements > 0)
    }

    fn begin<'a>(&self, fault: Fault, findings: &'a mut Findings) -> Outcome<Case<'a>> {
        let mut site = Site::new(&self.carnet)?;
        copy(&self.template.dir(), &site.dir())?;
        let disk = Disk::new(&self.layer, &site.dir(), &site.beside("disk"))?;
        disk.settle()?;
        match fault {
            Fault::Lie => disk.set(Slot::Lie, 1)?,
            Fault::Once(number) => disk.set(Slot::FailAt, number)?,
            Fault::From(number) => {
                disk.set(Slot::FailAt, number)?;
                disk.set(Slot::Sticky, 1)?;
            }
            Fault::Room(room) => disk.set(Slot::Room, room)?,
            Fault::Die(number) => disk.set(Slot::DieAt, number)?,
        }
        site.disk = Some(disk);
        findings.cases += 1;
        let is_off = matches!(fault, Fault::Die(_));
        let (promises, name) = (self.promises.clone(), format!("{fault:?}"));
        Ok(Case { site, promises, findings, name, is_off })
    }

    fn case(&self, fault: Fault, findings: &mut Findings) -> Outcome<()> {
        let mut case = self.begin(fault, findings)?;
        match case.site.start()? {
            Ok(()) => self.runtime.block_on(async {
                case.work(&self.bundle).await?;
                case.recover(fault).await
            })?,
            Err(said) if said.contains("panicked") => case.flaw(format!("a panic: {said}")),
            // It said so and did not start: nothing was acknowledged.
            Err(_) => {}
        }
        // In every other case of a crash, any sectors of what was not synced are there.
        let cut = match fault {
            Fault::Die(number) if number.is_multiple_of(2) => Cut::Torn,
            _ => Cut::All,
        };
        self.runtime.block_on(case.after_a_power_cut(cut))
    }
}

impl Case<'_> {
    fn disk(&self) -> Outcome<&Disk> {
        Ok(self.site.disk.as_ref().ok_or("no disk")?)
    }

    fn flaw(&mut self, what: impl std::fmt::Display) {
        self.findings.flaws.push(format!("{}: {what}", self.name));
    }

    /// Notes, an edit, a patient's whole chart; reading in between. What is refused is refused.
    async fn work(&mut self, bundle: &Value) -> Outcome<()> {
        for id in ["new-1", "new-2"] {
            self.put(id, "new").await;
            self.read("old-1").await;
        }
        self.promises.sent("old-1", "edited");
        let set = vec![("code".to_owned(), json!({"text": "edited"}))];
        let edit = Request::ChartEdit { resource: "Basic/old-1".into(), set, delete: false };
        if self.site.ask(edit).await.is_ok() {
            self.promises.kept("old-1", "edited");
        }
        let file = self.site.beside("patient.json");
        fs::write(&file, bundle.to_string())?;
        let told = self.site.ask(Request::Import { files: vec![file] }).await;
        if told.is_ok_and(|told| told["failed"] == 0 && told["skipped"] == 0) {
            self.promises.kept_bundle(bundle);
        }
        self.put("new-3", "new").await;
        self.read("old-2").await;
        Ok(())
    }

    async fn put(&mut self, id: &str, text: &str) -> bool {
        self.promises.sent(id, text);
        let done = self.site.ask(Request::ChartPut { body: note(id, text) }).await;
        if done.is_ok() {
            self.promises.kept(id, text);
        }
        done.is_ok()
    }

    /// A read is answered with what was written, or refused with a reason that helps.
    async fn read(&mut self, id: &str) {
        let shown = self.site.ask(Request::ChartShow { resource: format!("Basic/{id}") }).await;
        match shown {
            Ok(shown) => {
                self.findings.reads_answered += 1;
                if let Some(broken) = self.promises.broken_one(id, &shown) {
                    self.findings.false_acknowledgements += 1;
                    self.flaw(broken);
                }
            }
            // After a power cut nobody answers.
            Err(error) if self.is_off && error.kind == ErrorKind::Unreachable => {}
            Err(error) => {
                self.findings.reads_refused += 1;
                if is_unhelpful(&error) {
                    self.flaw(format!("a read was refused with: {error}"));
                }
            }
        }
    }

    /// Without a restart: the state is told whatever the disk does, and once the disk is well,
    /// writing works again.
    async fn recover(&mut self, fault: Fault) -> Outcome<()> {
        if let Some(said) = self.site.panicked() {
            self.flaw(format!("a panic: {said}"));
        }
        if matches!(fault, Fault::Die(_)) {
            self.findings.hit += u64::from(self.site.has_ended()?);
            return Ok(());
        }
        if self.site.has_ended()? {
            self.findings.unrecovered += 1;
            self.flaw("the node ended by itself");
            return Ok(());
        }
        if let Err(error) = self.site.ask(Request::Status).await {
            self.flaw(format!("it does not tell its state: {error}"));
        }
        let failed = self.disk()?.get(Slot::Failed)?;
        self.findings.hit += u64::from(failed > 0);
        if matches!(fault, Fault::Lie) {
            return Ok(());
        }
        self.disk()?.heal()?;
        if self.site.ask(Request::Status).await?["locked"] == true {
            // It could not open by itself when it started; somebody opens it now.
            self.findings.opened_by_hand += 1;
            let with = Opener::Automatic;
            if let Err(error) = self.site.ask(Request::Unlock { with, new: None }).await {
                self.flaw(format!("the disk is well again, and it does not open: {error}"));
            }
        }
        let begun = now_ms();
        while !self.put("well", "again").await {
            if now_ms() - begun > RECOVERY_MS {
                self.findings.unrecovered += 1;
                self.flaw("the disk is well again, and nothing can be written");
                return Ok(());
            }
            pause(100);
        }
        self.read("old-1").await;
        Ok(())
    }

    /// The power is cut, and the machine comes back with a sound disk.
    async fn after_a_power_cut(&mut self, cut: Cut) -> Outcome<()> {
        self.site.kill()?;
        let disk = self.disk()?;
        disk.cut(cut, &mut Chance::new(self.findings.cases))?;
        disk.heal()?;
        disk.settle()?;
        if let Err(said) = self.site.start()? {
            self.findings.unrecovered += 1;
            self.flaw(format!("it does not start again: {said}"));
            return Ok(());
        }
        let told = self.site.ask(Request::Verify).await?;
        if told["ok"] != true {
            self.findings.unrecovered += 1;
            self.flaw(format!("verify: {}", told["problems"]));
        }
        let held = self.site.resources().await?;
        for broken in self.promises.broken(&held) {
            self.findings.false_acknowledgements += 1;
            self.flaw(broken);
        }
        if !self.put("after", "the cut").await {
            self.findings.unrecovered += 1;
            self.flaw("after the restart nothing can be written");
        }
        Ok(())
    }
}

/// Whether an error does not say that it is the disk.
fn is_unhelpful(error: &CommandError) -> bool {
    !matches!(
        error.kind,
        ErrorKind::DiskFull | ErrorKind::Failure | ErrorKind::Damaged | ErrorKind::Locked
    ) || error.to_string().is_empty()
}
