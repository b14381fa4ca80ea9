//! Restoring: a new node of the practice from anybody's ciphertext, or a node from its own backup.

use super::{Place, finish_off, sound_site};
use crate::base::environment::Environment;
use crate::records::{Records, RecordsError, backup, read::instant};
use crate::service::config::Config;
use crate::service::error::{CommandError, ErrorKind};
use crate::service::node::{automatic_secret, blocking, secret_of};
use crate::service::reply::{Created, Revived};
use crate::service::report::Reporter;
use crate::service::request::{Closure, Opener, Secret};
use crate::vault::{RecoveryCode, UnlockMethod, UnlockSecret};
use std::fs;
use std::path::{Path, PathBuf};

/// From what a practice is restored.
#[derive(Debug)]
pub struct Restoring {
    /// A backup, or the directory of a node or a relay; it is only read.
    pub from: PathBuf,
    /// The new node's site.
    pub site: String,
    /// The recovery code.
    pub code: Secret,
    /// What shall open the node.
    pub closure: Closure,
}

/// Refuses before anybody is asked for a passphrase in vain.
pub fn refuse_occupied(dir: &Path) -> Result<(), CommandError> {
    super::refuse_existing(dir)?;
    Ok(backup::refuse_occupied(dir)?)
}

/// Restores a practice from ciphertext and the recovery code, as a new node.
pub async fn restore(
    dir: &Path,
    environment: &Environment,
    restoring: Restoring,
    reporter: Reporter,
) -> Result<Created, CommandError> {
    sound_site(&restoring.site)?;
    refuse_occupied(dir)?;
    let code: RecoveryCode = restoring.code.expose().parse()?;
    let place = Place::prepare(dir, restoring.closure)?;
    let (path, method, environment) =
        (place.dir.clone(), place.method.clone(), environment.clone());
    let (from, site) = (restoring.from, restoring.site);
    let made = blocking(move || -> Result<_, RecordsError> {
        if from.is_dir() {
            let records = Records::restore(&path, environment, &from, &code, &site, &method)?;
            return Ok(finish_off(records));
        }
        let secret = UnlockSecret::RecoveryCode(code.clone());
        let mut step = steps(reporter);
        let stage = backup::stage(&path, &from, &secret, &mut step);
        let done = stage.and_then(|stage| {
            let records = Records::restore(&path, environment, &stage, &code, &site, &method)?;
            backup::take_settings(&stage, &path)?;
            Ok(finish_off(records))
        });
        backup::remove_stage(&path);
        done
    })
    .await?;
    let created = place.keep_if(made)?;
    Ok(Created { key_file: place.key_file(), ..created })
}

/// Brings a node back from its own backup, in a new life. `closure` opens it from here on, beside
/// what did before.
pub async fn revive(
    dir: &Path,
    environment: &Environment,
    from: &Path,
    (with, closure): (Opener, Option<Closure>),
    config: &Config,
    reporter: Reporter,
) -> Result<Revived, CommandError> {
    refuse_occupied(dir)?;
    let secret = match with {
        Opener::Automatic => automatic_secret(config, backup::key_file_of(from)?)?,
        other => secret_of(other)?,
    };
    let secret = secret.ok_or_else(|| {
        CommandError::new(ErrorKind::Locked, "what opened the node also opens its backup")
            .advise("Name --passphrase-file, --key-file or --recovery-code-file")
    })?;
    let method = match closure {
        None => None,
        Some(Closure::Passphrase(passphrase)) => Some(UnlockMethod::Passphrase(passphrase.0)),
        Some(Closure::KeyFile(path)) => {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(|error| CommandError::file(&error, parent))?;
            }
            Some(UnlockMethod::KeyFile(path))
        }
    };
    let key_file = match &method {
        Some(UnlockMethod::KeyFile(path)) => Some(path.display().to_string()),
        _ => None,
    };
    let (dir, environment, from) = (dir.to_owned(), environment.clone(), from.to_owned());
    let restored = blocking(move || {
        let mut step = steps(reporter);
        backup::restore_node(&dir, &environment, &from, &secret, method.as_ref(), &mut step)
    })
    .await??;
    Ok(Revived {
        node: restored.node.to_string(),
        practice: restored.practice.to_string(),
        made: instant(restored.made_ms),
        entries: restored.entries,
        signatures: restored.signatures,
        key_file,
    })
}

fn steps(reporter: Reporter) -> impl FnMut(&str, u64, u64) {
    move |phase, done, total| reporter.step(phase, done, (total > 0).then_some(total))
}
