//! How a directory becomes a node: a new practice, an invitation, an answer on a stick, or a
//! restored practice. What fails leaves nothing behind.

mod restore;

pub use restore::{Restoring, refuse_occupied, restore, revive};

use super::config::Config;
use super::error::{CommandError, ErrorKind};
use super::node::{automatic_secret, blocking, secret_of};
use super::reply::{Created, Requested};
use super::request::{Closure, Opener, Secret};
use crate::base::environment::Environment;
use crate::identity::Invitation;
use crate::records::joining::Applicant;
use crate::records::{Init, Records, RecordsError};
use crate::sync::{SyncError, enrol};
use crate::vault::{Keyring, UnlockMethod};
use carnet_sync_protocol::certificate::check_site;
use carnet_sync_protocol::message::{Admission, JoinAnswer, JoinRefusal};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// How a practice is founded.
#[derive(Debug)]
pub struct Founding {
    /// Its name.
    pub practice: String,
    /// The first site.
    pub site: String,
    /// What shall open the node.
    pub closure: Closure,
    /// What seals the practice key; without it the recovery code does.
    pub practice_passphrase: Option<Secret>,
}

/// Refuses before anybody is asked for a passphrase in vain.
pub fn refuse_existing(dir: &Path) -> Result<(), CommandError> {
    match Keyring::open(dir) {
        Ok(keyring) if !is_pending(&keyring) => {
            Err(CommandError::bad_input("a node lives in this directory already")
                .at(dir.display())
                .advise("Name another directory with --dir"))
        }
        _ => Ok(()),
    }
}

/// Refuses a site's name that no certificate can carry.
pub fn sound_site(site: &str) -> Result<(), CommandError> {
    check_site(site).map_err(|_| {
        CommandError::bad_input("a site's name has 1 to 64 bytes and no control characters")
            .at(site.escape_debug())
    })
}

/// Founds a practice with its first node.
pub async fn init(
    dir: &Path,
    environment: &Environment,
    founding: Founding,
) -> Result<Created, CommandError> {
    sound_site(&founding.site)?;
    let place = Place::prepare(dir, founding.closure)?;
    let init = Init {
        practice: founding.practice,
        site: founding.site,
        unlock: place.method.clone(),
        practice_passphrase: founding.practice_passphrase.map(|secret| secret.0),
    };
    let (path, environment) = (dir.to_owned(), environment.clone());
    let made = blocking(move || -> Result<_, RecordsError> {
        let founded = Records::init(&path, environment, init)?;
        let code = founded.recovery_code.reveal().expose().clone();
        Ok((finish_off(founded.records), code))
    })
    .await?;
    let (created, code) = place.keep_if(made)?;
    Ok(Created { recovery_code: Some(code), key_file: place.key_file(), ..created })
}

/// Joins a practice by an invitation; the inviting node must be running.
pub async fn join(
    dir: &Path,
    environment: &Environment,
    invitation: &str,
    closure: Closure,
) -> Result<Created, CommandError> {
    let invitation: Invitation = invitation
        .trim()
        .parse()
        .map_err(|error| CommandError::new(ErrorKind::Invitation, error))?;
    let place = Place::prepare(dir, closure)?;
    let joined = join_at(&place, environment, invitation).await;
    let created = place.keep_if(joined)?;
    Ok(Created { key_file: place.key_file(), ..created })
}

async fn join_at(
    place: &Place,
    environment: &Environment,
    invitation: Invitation,
) -> Result<Created, CommandError> {
    let (dir, method) = (place.dir.clone(), place.method.clone());
    let own = environment.clone();
    let applicant = blocking(move || Applicant::begin(&dir, own, &method)).await??;
    let admission = ask_in(&applicant, environment, &invitation).await?;
    let peer = invitation.addresses.first().cloned();
    blocking(move || -> Result<_, CommandError> {
        let records = applicant.admitted(&invitation, admission)?;
        Ok(Created { peer, ..finish_off(records) })
    })
    .await?
}

async fn ask_in(
    applicant: &Applicant,
    environment: &Environment,
    invitation: &Invitation,
) -> Result<Admission, CommandError> {
    let asked = enrol::join(
        environment,
        &applicant.transport_seed(),
        invitation.inviter,
        &invitation.addresses,
        |exporter| applicant.request(invitation, &exporter),
    )
    .await;
    match asked {
        Ok(JoinAnswer::Admitted(admission)) => Ok(*admission),
        Ok(JoinAnswer::Refused(JoinRefusal::Locked)) => {
            Err(CommandError::new(ErrorKind::Locked, JoinRefusal::Locked)
                .advise("Have somebody unlock the inviting node, then join again"))
        }
        Ok(JoinAnswer::Refused(refusal)) => Err(CommandError::new(ErrorKind::Invitation, refusal)),
        Err(error @ SyncError::Unreachable { .. }) => Err(CommandError::from(error)
            .advise("Start `carnet run` on the inviting node, and check the address and the link")),
        Err(error) => Err(error.into()),
    }
}

/// Makes a node's keys, and the request that goes to the practice on a stick.
pub async fn request(
    dir: &Path,
    environment: &Environment,
    site: &str,
    closure: Closure,
) -> Result<Requested, CommandError> {
    sound_site(site)?;
    let place = Place::prepare(dir, closure)?;
    let (path, method) = (place.dir.clone(), place.method.clone());
    let (environment, site) = (environment.clone(), site.to_owned());
    let made = blocking(move || -> Result<_, RecordsError> {
        let request = Applicant::begin(&path, environment, &method)?.request_file(&site);
        Ok(Requested { request: request.to_text(), fingerprint: request.fingerprint().to_string() })
    })
    .await?;
    place.keep_if(made)
}

/// Becomes a node with the answer to the request that was made in this directory.
pub async fn finish(
    dir: &Path,
    environment: &Environment,
    answer: &str,
    with: Opener,
    config: &Config,
) -> Result<Created, CommandError> {
    let answer = answer.trim().to_owned();
    let remembered = Keyring::open(dir)?.key_file().map(Path::to_owned);
    let secret = match with {
        Opener::Automatic => automatic_secret(config, remembered)?,
        other => secret_of(other)?,
    };
    let Some(secret) = secret else {
        return Err(CommandError::new(
            ErrorKind::Locked,
            "neither key file nor passphrase is at hand",
        ));
    };
    let (path, environment) = (dir.to_owned(), environment.clone());
    blocking(move || -> Result<_, CommandError> {
        let records = Applicant::resume(&path, environment, &secret)?.answered(&answer)?;
        Ok(finish_off(records))
    })
    .await?
}

fn is_pending(keyring: &Keyring) -> bool {
    keyring.certificate().is_none()
}

fn finish_off(records: Records) -> Created {
    let created = Created {
        node: records.keyring().node().to_string(),
        practice: records.practice().to_string(),
        recovery_code: None,
        key_file: None,
        peer: None,
    };
    records.close();
    created
}

/// The directory under construction, and what was there before.
struct Place {
    dir: PathBuf,
    method: UnlockMethod,
    dir_is_new: bool,
    new_key_file: Option<PathBuf>,
}

impl Place {
    fn prepare(dir: &Path, closure: Closure) -> Result<Self, CommandError> {
        refuse_existing(dir)?;
        let mut place = Self {
            dir: dir.to_owned(),
            method: UnlockMethod::KeyFile(PathBuf::new()),
            dir_is_new: !dir.exists(),
            new_key_file: None,
        };
        place.method = match closure {
            Closure::Passphrase(passphrase) => UnlockMethod::Passphrase(passphrase.0),
            Closure::KeyFile(path) => {
                if let Some(parent) = path.parent() {
                    fs::DirBuilder::new()
                        .recursive(true)
                        .mode(0o700)
                        .create(parent)
                        .map_err(|error| CommandError::file(&error, parent))?;
                }
                place.new_key_file = (!path.exists()).then(|| path.clone());
                UnlockMethod::KeyFile(path)
            }
        };
        Ok(place)
    }

    fn key_file(&self) -> Option<String> {
        match &self.method {
            UnlockMethod::KeyFile(path) => Some(path.display().to_string()),
            UnlockMethod::Passphrase(_) => None,
        }
    }

    /// Takes away what a failure left half made, so that the next attempt begins afresh.
    fn keep_if<T, E: Into<CommandError>>(&self, made: Result<T, E>) -> Result<T, CommandError> {
        let made = made.map_err(Into::into);
        let holds_a_node = Keyring::open(&self.dir).is_ok_and(|keyring| !is_pending(&keyring));
        if made.is_err() && !holds_a_node {
            let files =
                ["keyring", "log.db", "log.db-wal", "log.db-shm", "index.db", "device.db", "lock"];
            for file in files.iter().filter(|_| self.dir_is_new) {
                let _ = fs::remove_file(self.dir.join(file));
            }
            if self.dir_is_new {
                // Fails, as it should, when somebody else put something there.
                let _ = fs::remove_dir(&self.dir);
            }
            if let Some(path) = &self.new_key_file {
                let _ = fs::remove_file(path);
            }
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_leaves_no_key_file_and_no_directory() {
        let parent = tempfile::tempdir().expect("a directory");
        let dir = parent.path().join("node");
        let key_file = parent.path().join("keys/node.key");
        let place = Place::prepare(&dir, Closure::KeyFile(key_file.clone())).expect("prepared");
        fs::create_dir(&dir).expect("made");
        fs::write(dir.join("lock"), "").expect("written");
        fs::write(&key_file, "").expect("written");
        let failed: Result<(), _> = Err(RecordsError::NoEpochKey);
        assert!(place.keep_if(failed).is_err());
        assert!(!dir.exists() && !key_file.exists());
    }
}
