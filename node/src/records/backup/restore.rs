//! Out of a backup: the same node in another life, or the ledger for a new node of the practice.
//!
//! Everything is unpacked into a folder of its own and checked there, the signature over the whole
//! backup and every chain. Only then is it moved to its place, the keyring last: until it stands
//! there the directory is no node, and a kill leaves what the next attempt begins anew.

use super::{BLOCK, SETTINGS_FILE, Step, check};
use crate::base::environment::Environment;
use crate::base::file::{replace, sync_directory};
use crate::records::RecordsError;
use crate::records::open::{claim_directory, ledger_path, observe};
use crate::records::trail::note_restored;
use crate::store::ledger::Ledger;
use crate::vault::{
    BackupReader, Keyring, RestoredKeyring, UnlockMethod, UnlockSecret, Unlocked, VaultError,
    keyring,
};
use carnet_sync_protocol::id::{NodeId, PracticeId};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where a backup is unpacked, within the directory that is to become a node.
const STAGE: &str = "restoring";

/// What an attempt that did not end may have left in that directory.
const LEFT: [&str; 10] = [
    STAGE,
    "lock",
    "log.db",
    "log.db-wal",
    "log.db-shm",
    "index.db",
    "device.db",
    "keyring.new",
    "carnet.new",
    SETTINGS_FILE,
];

/// A node that came out of a backup.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The node, the same as before.
    pub node: NodeId,
    /// Its practice.
    pub practice: PracticeId,
    /// When the backup was made.
    pub made_ms: u64,
    /// Entries that came out of it, each checked.
    pub entries: u64,
    /// Signatures that were checked.
    pub signatures: u64,
}

/// Whether a file begins as a backup does.
pub fn is_backup(path: &Path) -> Result<bool, RecordsError> {
    Ok(keyring::backup::is_backup(path)?)
}

/// Where the key file lay that opened the node when the backup was made.
pub fn key_file_of(backup: &Path) -> Result<Option<PathBuf>, RecordsError> {
    Ok(keyring::backup::key_file_of(backup)?)
}

/// Refuses a directory that holds anything that is not the rest of an earlier attempt.
pub fn refuse_occupied(dir: &Path) -> Result<(), RecordsError> {
    let at = || RecordsError::io(dir.display().to_string());
    let mut names = Vec::new();
    match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at()(error)),
        Ok(found) => {
            for entry in found {
                names.push(entry.map_err(at())?.file_name());
            }
        }
    }
    let pending = Keyring::open(dir).is_ok_and(|keyring| keyring.certificate().is_none());
    let begun = pending || names.iter().any(|name| name == STAGE);
    let ours = |name: &std::ffi::OsString| {
        (pending && name == "keyring")
            || if begun { LEFT.iter().any(|left| name == left) } else { name == "lock" }
    };
    match names.iter().find(|name| !ours(name)) {
        None => Ok(()),
        Some(name) => Err(RecordsError::BadRequest(format!(
            "{} is not empty: it holds {}; name another directory with --dir",
            dir.display(),
            name.display()
        ))),
    }
}

/// Makes `dir` the node that made the backup, in a new life. `method` opens it from here on, beside
/// what did before.
pub fn restore_node(
    dir: &Path,
    environment: &Environment,
    from: &Path,
    secret: &UnlockSecret,
    method: Option<&UnlockMethod>,
    step: Step<'_>,
) -> Result<Restored, RecordsError> {
    // A wrong secret, or no backup at all, is told before anything is touched.
    let opened = BackupReader::open(from, secret)?;
    refuse_occupied(dir)?;
    let is_new = !dir.exists();
    let lock = claim_directory(dir)?;
    let done = install(dir, environment, from, opened, method, step);
    if done.is_err() && !dir.join(keyring::KEYRING_FILE).exists() {
        for left in LEFT {
            let left = dir.join(left);
            let _ = if left.is_dir() { fs::remove_dir_all(left) } else { fs::remove_file(left) };
        }
        if is_new {
            let _ = fs::remove_dir(dir);
        }
    }
    drop(lock);
    done
}

fn install(
    dir: &Path,
    environment: &Environment,
    from: &Path,
    (reader, unlocked): (BackupReader, Unlocked),
    method: Option<&UnlockMethod>,
    step: Step<'_>,
) -> Result<Restored, RecordsError> {
    let folder = dir.join(STAGE);
    let node = reader.node();
    let made_ms = reader.contents().made_ms;
    let (mut keyring, unpacked) = unpack(reader, from, &folder, step)?;
    let mut ledger = Ledger::open(&ledger_path(&folder))?;
    let practice = ledger.practice();
    if keyring.practice() != Some(practice) {
        return Err(VaultError::BackupDamaged(from.to_owned()).into());
    }
    note_restored(&mut ledger, environment, made_ms)?;
    ledger.close()?;
    if let Some(method) = method {
        keyring.close_with(environment, &unlocked, method)?;
    }
    let at = || RecordsError::io(format!("moving the restored ledger into {}", dir.display()));
    fs::rename(ledger_path(&folder), ledger_path(dir)).map_err(at())?;
    take_settings(&folder, dir)?;
    sync_directory(dir).map_err(at())?;
    keyring.install(dir, environment, observe(environment, dir)?)?;
    // From here on it is a node; an empty folder that stayed would harm nothing.
    let _ = fs::remove_dir_all(&folder);
    Ok(Restored {
        node,
        practice,
        made_ms,
        entries: unpacked.entries,
        signatures: unpacked.signatures,
    })
}

/// Unpacks the ledger and the settings of a backup into a folder in `dir`, checked as for
/// [`restore_node`]; the folder, from which a new node of the practice can be made.
pub fn stage(
    dir: &Path,
    from: &Path,
    secret: &UnlockSecret,
    step: Step<'_>,
) -> Result<PathBuf, RecordsError> {
    let (reader, _) = BackupReader::open(from, secret)?;
    refuse_occupied(dir)?;
    let folder = dir.join(STAGE);
    unpack(reader, from, &folder, step)?;
    Ok(folder)
}

/// Brings the settings of a backup to the node that was made from it.
pub fn take_settings(folder: &Path, dir: &Path) -> Result<(), RecordsError> {
    match fs::rename(folder.join(SETTINGS_FILE), dir.join(SETTINGS_FILE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(RecordsError::io(format!("moving the settings into {}", dir.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Removes what [`stage`] unpacked, if anything is there.
pub fn remove_stage(dir: &Path) {
    let _ = fs::remove_dir_all(dir.join(STAGE));
}

/// What was unpacked.
struct Unpacked {
    entries: u64,
    signatures: u64,
}

fn unpack(
    mut reader: BackupReader,
    from: &Path,
    folder: &Path,
    step: Step<'_>,
) -> Result<(RestoredKeyring, Unpacked), RecordsError> {
    let at = |path: &Path| RecordsError::io(path.display().to_string());
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(at(folder)(error)),
        _ => {}
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
    let path = ledger_path(folder);
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(at(&path))?;
    let total = reader.contents().ledger_bytes;
    let mut block = vec![0; BLOCK];
    let mut done = 0;
    loop {
        let count = reader.read(&mut block)?;
        if count == 0 {
            break;
        }
        file.write_all(&block[..count]).map_err(at(&path))?;
        done += count as u64;
        step("restore", done, total);
    }
    file.sync_all().map_err(at(&path))?;
    if let Some(settings) = &reader.contents().settings {
        let path = folder.join(SETTINGS_FILE);
        replace(&path, settings).map_err(at(&path))?;
    }
    let keyring = reader.finish()?;
    let report = check(&Ledger::open_read_only(&path)?, step)?;
    if let Some(problem) = report.problems.first() {
        tracing::error!(%problem, "the ledger in the backup is damaged");
        return Err(VaultError::BackupDamaged(from.to_owned()).into());
    }
    Ok((keyring, Unpacked { entries: report.entries, signatures: report.signatures }))
}
