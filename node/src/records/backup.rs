//! A node in one file: written while it runs, sealed, verified, and there whole or not at all.
//!
//! The ledger is copied at one moment through a connection of its own, so that nobody waits. Chains,
//! hashes and signatures of the copy are checked, it is sealed with the keyring and the settings
//! ([`crate::vault::BackupWriter`]), what was written is read back, and only then does the file take
//! its name. What is derived (the index) or of this device alone (sessions, PINs) is not in it.

mod restore;

pub use restore::{
    Restored, is_backup, key_file_of, refuse_occupied, remove_stage, restore_node, stage,
    take_settings,
};

use super::compact::opener;
use super::open::{ledger_path, read_roster};
use super::read::instant;
use super::verify::{Chains, VerifyReport};
use super::{Records, RecordsError};
use crate::access::{Action, Permit};
use crate::base::environment::Environment;
use crate::base::file::sync_directory;
use crate::store::StoreError;
use crate::store::ledger::Ledger;
use crate::vault::{BackupReader, KeyBook, Keyring};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The copy of the ledger that a backup is made of; lies beside the ledger, and is as well sealed.
pub(super) const COPY: &str = "backup.db";

/// The settings' file in a node's directory.
pub(super) const SETTINGS_FILE: &str = "carnet.toml";

/// Settings are a few lines.
const SETTINGS_BYTES_MAX: u64 = 256 << 10;

/// Bytes read together.
pub(super) const BLOCK: usize = 256 << 10;

/// How far the work is: a phase (`copy`, `verify`, `backup`), what is done, and of how much.
pub type Step<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// A backup that may be made now.
#[derive(Debug)]
pub struct Backup {
    dir: PathBuf,
    environment: Environment,
    /// What opens packs, unless the node is locked.
    keys: Option<KeyBook>,
}

/// A backup that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The file.
    pub path: PathBuf,
    /// How long it is.
    pub bytes: u64,
    /// Entries in it, each checked.
    pub entries: u64,
    /// Signatures in it, each checked.
    pub signatures: u64,
    /// When it was made, by the node's clock.
    pub made_ms: u64,
}

impl Records {
    /// Puts on record that a backup is made, and lets it begin; also while locked. The work itself
    /// needs none of the records, and is done elsewhere: [`Backup::write`].
    pub fn begin_backup(&mut self, permit: &Permit) -> Result<Backup, RecordsError> {
        self.require(permit, Action::Operate)?;
        self.note_event(self.event_of(permit, "backup"));
        let keys = self.charts.as_ref().map(|charts| charts.keys.clone());
        Ok(Backup { dir: self.dir.clone(), environment: self.environment.clone(), keys })
    }
}

impl Backup {
    /// Writes the backup to the file `to`, or to a new file in the directory `to`. An earlier backup
    /// of that name stays until the new one is whole. One call at a time.
    pub fn write(&self, to: &Path, step: Step<'_>) -> Result<Made, RecordsError> {
        let keyring = Keyring::open(&self.dir)?;
        let to = self.file(to, &keyring)?;
        let copy = self.dir.join(COPY);
        let fresh = beside(&to);
        let made = self.write_at(&keyring, &to, &copy, &fresh, step);
        let removed = Ledger::remove_copy(&copy);
        if made.is_err() {
            // It is whole or it is not there.
            let _ = fs::remove_file(&fresh);
        }
        let made = made?;
        removed?;
        Ok(made)
    }

    fn write_at(
        &self,
        keyring: &Keyring,
        to: &Path,
        copy: &Path,
        fresh: &Path,
        step: Step<'_>,
    ) -> Result<Made, RecordsError> {
        step("copy", 0, 0);
        Ledger::open_read_only(&ledger_path(&self.dir))?.copy_to(copy)?;
        let mut ledger = Ledger::open_read_only(copy)?;
        let practice = ledger.practice();
        ledger.set_opener(self.keys.clone().map(|keys| opener(practice, keys)));
        let report = check(&ledger, step)?;
        drop(ledger);
        if let Some(problem) = report.problems.first() {
            // Rather no new backup than one that takes the place of a sound one.
            return Err(StoreError::corrupt(&ledger_path(&self.dir), problem.as_str()).into());
        }
        let made_ms = self.seal(keyring, copy, fresh, step)?;
        fs::rename(fresh, to).map_err(RecordsError::io(format!("naming {}", to.display())))?;
        let parent = to.parent().unwrap_or(Path::new("."));
        sync_directory(parent)
            .map_err(RecordsError::io(format!("syncing {}", parent.display())))?;
        let bytes = fs::metadata(to).map_err(RecordsError::io(to.display().to_string()))?.len();
        let VerifyReport { entries, signatures, .. } = report;
        Ok(Made { path: to.to_owned(), bytes, entries, signatures, made_ms })
    }

    /// Seals the copy into `fresh`, and reads that back.
    fn seal(
        &self,
        keyring: &Keyring,
        copy: &Path,
        fresh: &Path,
        step: Step<'_>,
    ) -> Result<u64, RecordsError> {
        let at = |path: &Path| RecordsError::io(path.display().to_string());
        let mut ledger = File::open(copy).map_err(at(copy))?;
        let bytes = ledger.metadata().map_err(at(copy))?.len();
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(fresh)
            .map_err(at(fresh))?;
        let settings = read_settings(&self.dir)?;
        let mut writer = keyring.begin_backup(&self.environment, settings, bytes, (file, fresh))?;
        let mut block = vec![0; BLOCK];
        let mut done = 0;
        loop {
            let count = ledger.read(&mut block).map_err(at(copy))?;
            if count == 0 {
                break;
            }
            writer.write(&block[..count])?;
            done += count as u64;
            step("backup", done, 2 * bytes);
        }
        let key = writer.finish()?;
        let mut reader = BackupReader::open_made(fresh, &key)?;
        loop {
            let count = reader.read(&mut block)?;
            if count == 0 {
                break;
            }
            done += count as u64;
            step("backup", done, 2 * bytes);
        }
        let made_ms = reader.contents().made_ms;
        reader.finish()?;
        Ok(made_ms)
    }

    /// The file that is meant, if it may be written.
    fn file(&self, to: &Path, keyring: &Keyring) -> Result<PathBuf, RecordsError> {
        let file = if to.is_dir() { to.join(self.name(keyring)) } else { to.to_owned() };
        let parent = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let real =
            |path: &Path| path.canonicalize().map_err(RecordsError::io(path.display().to_string()));
        if real(&parent)?.starts_with(real(&self.dir)?) {
            return Err(RecordsError::BadRequest(format!(
                "{} lies in the node's own directory and would be lost with it; name a file on another disk",
                file.display()
            )));
        }
        match fs::metadata(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(file),
            Err(error) => Err(RecordsError::io(file.display().to_string())(error)),
            Ok(found) if found.is_file() && (found.len() == 0 || is_backup(&file)?) => Ok(file),
            Ok(_) => Err(RecordsError::BadRequest(format!(
                "{} is there and is no backup; name another file",
                file.display()
            ))),
        }
    }

    /// `carnet-SITE-TIME.backup`.
    fn name(&self, keyring: &Keyring) -> String {
        let site = keyring.certificate().map_or("node", |own| own.body.site.as_str());
        let site: String = site
            .chars()
            .map(|c| if c.is_alphanumeric() { c } else { '-' })
            .collect::<String>()
            .to_lowercase();
        let time = instant(self.environment.unix_ms());
        let time: String = time.chars().filter(char::is_ascii_alphanumeric).take(15).collect();
        format!("carnet-{site}-{time}Z.backup")
    }
}

/// Checks every chain, hash and signature of a ledger at rest, and the file.
fn check(ledger: &Ledger, step: Step<'_>) -> Result<VerifyReport, RecordsError> {
    let mut report = VerifyReport::default();
    report.problems.extend(ledger.integrity_check()?);
    // What the roster does not accept is kept and told by `verify`; it is no damage.
    let (roster, _) = read_roster(ledger)?;
    let chains = Chains { ledger, roster: &roster, keys: None };
    chains.verify_all(&mut report, &mut |done, total| step("verify", done, total))?;
    Ok(report)
}

/// The name under which a file is written before it takes its own.
fn beside(to: &Path) -> PathBuf {
    let mut name = OsString::from(to);
    name.push(".new");
    name.into()
}

fn read_settings(dir: &Path) -> Result<Option<Vec<u8>>, RecordsError> {
    let path = dir.join(SETTINGS_FILE);
    let mut bytes = Vec::new();
    let read = File::open(&path)
        .and_then(|file| file.take(SETTINGS_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RecordsError::io(path.display().to_string())(error)),
        Ok(count) if count as u64 > SETTINGS_BYTES_MAX => {
            Err(RecordsError::BadRequest(format!("{} is too long to be settings", path.display())))
        }
        Ok(_) => Ok(Some(bytes)),
    }
}
