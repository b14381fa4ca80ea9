//! Power cuts in the midst of the commands that make, change, save and restore a node.

use super::Findings;
use crate::chance::Chance;
use crate::real::disk::{Cut, Disk, Slot};
use crate::real::promises::note;
use crate::real::site::Site;
use crate::real::{Outcome, copy};
use carnet_node::store::Ledger;
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A command that changes more than entries.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A practice is founded: it is there, or can be founded anew.
    Init,
    /// A passphrase is replaced: the old one or the new one opens the node.
    Passphrase,
    /// A backup is made: the earlier one or the new one is there, and whole.
    Backup,
    /// A backup is restored: the node is there, or can be restored anew.
    Restore,
    /// The ledger is packed, slice by slice, and its file written anew: the node shows the same.
    Compact,
}

impl Step {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::Init, Self::Passphrase, Self::Backup, Self::Restore, Self::Compact];
}

/// Visits of one patient, an entry each: enough for several slices of a compaction.
const VISITS: usize = 300;

const OLD: &str = "quatre chevaux bleus";
const NEW: &str = "cinq chevaux rouges";

/// A node before the step, and the files that the step needs.
struct Scene {
    site: Site,
    old: String,
    new: String,
    backup: String,
    /// The directory in which the disk fails.
    home: PathBuf,
    /// What the node shows, where the step must not change it.
    digest: Option<String>,
    /// The ledger's file before the step.
    ledger: Option<u64>,
}

impl Scene {
    /// As it was set before; what takes long is done once.
    fn again(&self, carnet: &Path) -> Outcome<Self> {
        let site = Site::new(carnet)?;
        copy(&self.site.dir(), &site.dir())?;
        let ledger = Some(fs::metadata(site.dir().join("log.db"))?.ino());
        let (old, new, backup) = (self.old.clone(), self.new.clone(), self.backup.clone());
        let (home, digest) = (site.dir(), self.digest.clone());
        Ok(Self { site, old, new, backup, home, digest, ledger })
    }

    fn set(carnet: &Path, step: Step) -> Outcome<Self> {
        let site = Site::new(carnet)?;
        let folder = site.beside("out");
        fs::create_dir(&folder)?;
        let file = |name: &str, text: &str| -> Outcome<String> {
            let path = site.beside(name);
            fs::write(&path, text)?;
            Ok(path.display().to_string())
        };
        let (old, new) = (file("old.txt", OLD)?, file("new.txt", NEW)?);
        let kept = file("kept.json", &note("kept", "kept").to_string())?;
        let backup = folder.join("a.backup").display().to_string();
        if !matches!(step, Step::Init) {
            site.run(&["init", "--practice", "P", "--site", "S", "--passphrase-file", &old])?;
            site.run(&["import", &kept, "--passphrase-file", &old])?;
            site.run(&["backup", &backup])?;
        }
        if matches!(step, Step::Restore) {
            fs::remove_dir_all(site.dir())?;
        }
        let mut digest = None;
        if matches!(step, Step::Compact) {
            let mut files = Vec::new();
            for n in 0..VISITS {
                let visit = json!({"resourceType": "Observation", "id": format!("o{n}"),
                    "status": "final", "subject": {"reference": "Patient/p"},
                    "code": {"text": "weight"}, "valueQuantity": {"value": 50 + n, "unit": "kg"}});
                files.push(file(&format!("visit-{n}.json"), &visit.to_string())?);
            }
            let names: Vec<&str> = files.iter().map(String::as_str).collect();
            site.run(&[&["import"][..], &names, &["--passphrase-file", &old]].concat())?;
            let told = site.run(&["verify", "--passphrase-file", &old])?;
            digest = told["state_digest"].as_str().map(str::to_owned);
        }
        let home = if matches!(step, Step::Backup) { folder } else { site.dir() };
        Ok(Self { site, old, new, backup, home, digest, ledger: None })
    }

    fn arguments(&self, step: Step) -> Vec<&str> {
        let old = ["--passphrase-file", self.old.as_str()];
        match step {
            Step::Init => [&["init", "--practice", "P", "--site", "S"][..], &old].concat(),
            Step::Passphrase => {
                let change = ["passphrase", "change", "--new-passphrase-file", &self.new];
                [&change[..], &old].concat()
            }
            Step::Backup => vec!["backup", &self.backup],
            Step::Restore => [&["restore", "--from", &self.backup][..], &old].concat(),
            Step::Compact => [&["compact"][..], &old].concat(),
        }
    }

    /// How far a compaction was when the power was cut.
    fn reached(&self) -> Outcome<&'static str> {
        let path = self.site.dir().join("log.db");
        if self.site.dir().join("log.db.new").exists() {
            return Ok("while the file was written anew");
        }
        if Some(fs::metadata(&path)?.ino()) != self.ledger {
            return Ok("after the new file took its name");
        }
        let packed = Ledger::open_read_only(&path)?.packed()?.entries;
        Ok(if packed == 0 { "before a slice was kept" } else { "after a slice was kept" })
    }

    /// Whether the node shows what it did before, and can still be packed.
    fn is_as_before(&self) -> Outcome<bool> {
        let told = self.site.run(&["verify", "--passphrase-file", &self.old])?;
        let done = self.site.run(&self.arguments(Step::Compact))?;
        let after = self.site.run(&["verify", "--passphrase-file", &self.old])?;
        let same = |told: &serde_json::Value| {
            told["ok"] == true && told["state_digest"].as_str() == self.digest.as_deref()
        };
        let left = self.site.dir().join("log.db.new").exists();
        Ok(same(&told) && same(&after) && done["waiting"] == 0 && !left)
    }

    /// Whether a passphrase opens the node, which then shows what it held and verifies.
    fn opens(&self, step: Step, passphrase: &str) -> bool {
        let by = ["--passphrase-file", passphrase];
        let shows = [&["chart", "show", "Basic/kept"][..], &by].concat();
        let verified = self.site.run(&[&["verify"][..], &by].concat());
        (matches!(step, Step::Init) || self.site.run(&shows).is_ok())
            && verified.is_ok_and(|told| told["ok"] == true)
    }

    /// What is wrong afterwards.
    fn flaw(&self, step: Step) -> Outcome<Option<String>> {
        let has_node = self.site.dir().join("keyring").exists();
        let old = self.opens(step, &self.old);
        Ok(match step {
            Step::Init | Step::Restore if old => None,
            Step::Init | Step::Restore => {
                let again = self.site.run(&self.arguments(step));
                let well = again.is_ok() && self.opens(step, &self.old);
                (!well).then(|| {
                    let said = again.err().map(|error| error.to_string()).unwrap_or_default();
                    format!("it can't begin anew (a keyring: {has_node}): {said}")
                })
            }
            Step::Passphrase => {
                let new = self.opens(step, &self.new);
                (old == new).then(|| format!("the old passphrase opens: {old}, the new: {new}"))
            }
            Step::Compact => match self.is_as_before() {
                Ok(true) => None,
                Ok(false) => Some("the node does not show the same".into()),
                Err(error) => Some(error.to_string()),
            },
            Step::Backup => {
                fs::remove_dir_all(self.site.dir())?;
                let restored = self.site.run(&self.arguments(Step::Restore));
                match restored {
                    Ok(_) if self.opens(step, &self.old) => None,
                    Ok(_) => Some("what came out of the backup does not open".into()),
                    Err(error) => Some(format!("there is no whole backup: {error}")),
                }
            }
        })
    }
}

/// Cuts the power at each call of the step.
pub fn crash(
    carnet: &Path,
    layer: &Path,
    step: Step,
    every: usize,
    findings: &mut Findings,
) -> Outcome<()> {
    // What takes long to set is set once, and copied.
    let template = match step {
        Step::Compact => Some(Scene::set(carnet, step)?),
        _ => None,
    };
    let scene = || match &template {
        Some(template) => template.again(carnet),
        None => Scene::set(carnet, step),
    };
    let calls = run(scene()?, layer, step, 0, findings)?.1;
    findings.reached.clear();
    for number in (1..=calls).step_by(every) {
        let (scene, _) = run(scene()?, layer, step, number, findings)?;
        findings.cases += 1;
        findings.hit += 1;
        if let Some(flaw) = scene.flaw(step)? {
            findings.unrecovered += 1;
            findings.flaws.push(format!("{step:?} cut at call {number}: {flaw}"));
        }
    }
    Ok(())
}

/// Takes the step, with the power cut at a call of it; how many calls it has.
fn run(
    scene: Scene,
    layer: &Path,
    step: Step,
    die_at: u64,
    findings: &mut Findings,
) -> Outcome<(Scene, u64)> {
    let disk = Disk::new(layer, &scene.home, &scene.site.beside("disk"))?;
    disk.settle()?;
    disk.set(Slot::DieAt, die_at)?;
    let mut command = scene.site.command(&scene.arguments(step));
    disk.under(&mut command);
    let ended = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let calls = disk.get(Slot::Calls)?;
    if die_at == 0 && !ended.success() {
        return Err(format!("{step:?} fails without any fault").into());
    }
    if matches!(step, Step::Compact) {
        *findings.reached.entry(scene.reached()?).or_default() += 1;
    }
    let cut = if die_at.is_multiple_of(2) { Cut::Torn } else { Cut::All };
    disk.cut(cut, &mut Chance::new(die_at))?;
    Ok((scene, calls))
}
