//! Founding a practice, opening a node's directory, unlocking and locking it.

use super::compact::opener;
use super::documents::Documents;
use super::transaction::Transaction;
use super::{Charts, Matter, Records, RecordsError};
use crate::access::{Actor, Denial, StaffRoster};
use crate::audit::AuditOutcome;
use crate::base::environment::Environment;
use crate::base::private::Private;
use crate::identity::roster::{Fact, Roster};
use crate::identity::statement::ControlStatement;
use crate::store::index::Index;
use crate::store::ledger::{Held, Ledger};
use crate::store::{Device, StoreError};
use crate::vault::KeyBook;
use crate::vault::RecoveryCode;
use crate::vault::{Binding, Keyring, UnlockMethod, UnlockSecret, Unlocked};
use crate::vault::{Founding, found};
use carnet_sync_protocol::entry::{Codec, HybridTime};
use carnet_sync_protocol::id::{Channel, PracticeId};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How long a certificate lasts: five years. An expired one warns and refuses nothing.
pub(super) const CERTIFICATE_MS: u64 = 5 * 365 * 24 * 3600 * 1000;

/// Entries looked at together while something is folded or projected.
pub(super) const PAGE: usize = 256;

/// How a practice is founded.
#[derive(Debug)]
pub struct Init {
    /// The practice's name.
    pub practice: String,
    /// The first node's site.
    pub site: String,
    /// How the node is unlocked.
    pub unlock: UnlockMethod,
    /// A passphrase of its own for the practice key; without it the recovery code opens it.
    pub practice_passphrase: Option<Private<String>>,
}

/// A newly founded practice.
#[derive(Debug)]
pub struct Founded {
    /// Its first node, unlocked.
    pub records: Records,
    /// The code that restores everything; to be printed, kept apart, and shown only now.
    pub recovery_code: RecoveryCode,
}

impl Records {
    /// Founds a practice with its first node in `dir`.
    pub fn init(dir: &Path, environment: Environment, init: Init) -> Result<Founded, RecordsError> {
        let directory_lock = claim_directory(dir)?;
        let (mut keyring, unlocked) = create_keyring(dir, &environment, &init.unlock)?;
        let recovery_code = RecoveryCode::generate(&environment);
        let founded = found(
            &environment,
            &Founding {
                name: &init.practice,
                site: &init.site,
                keys: *keyring.keys(),
                expires_ms: environment.unix_ms() + CERTIFICATE_MS,
                code: &recovery_code,
            },
        )?;
        if let Some(passphrase) = &init.practice_passphrase {
            keyring.store_practice_key(&environment, &founded.practice_key, passphrase)?;
        }
        let practice = founded.practice_key.id();
        let ledger = Ledger::create(&ledger_path(dir), practice)?;
        let mut records = Self::assemble(dir, environment, directory_lock, ledger, keyring)?;
        records.open_charts(unlocked)?;
        records.found_with(founded.statements)?;
        // The certificate goes into the keyring last: until then the directory is no node yet, and
        // a power cut leaves something that `init` can begin anew.
        records.keyring.complete(founded.certificate)?;
        records.arrange_recovery()?;
        Ok(Founded { records, recovery_code })
    }

    fn found_with(&mut self, statements: Vec<ControlStatement>) -> Result<(), RecordsError> {
        for statement in statements {
            self.write_statement(&statement)?;
        }
        self.read_keys();
        self.commit()?;
        Ok(())
    }

    /// Opens the node in `dir`, locked.
    pub fn open(dir: &Path, environment: Environment) -> Result<Self, RecordsError> {
        if !dir.join("keyring").exists() {
            return Err(RecordsError::NoNode(dir.into()));
        }
        let directory_lock = lock_directory(dir)?;
        let mut keyring = Keyring::open(dir)?;
        if keyring.certificate().is_none() {
            return Err(RecordsError::JoinNotFinished);
        }
        // A kill left them behind.
        Ledger::remove_copy(&dir.join(super::backup::COPY))?;
        let binding = observe(&environment, dir)?;
        if keyring.was_moved(&binding) {
            // A copy of this directory may be running elsewhere: from here on this is another life.
            keyring.renew_incarnation(&environment, binding)?;
        }
        let ledger = Ledger::open(&ledger_path(dir))?;
        let mut records = Self::assemble(dir, environment, directory_lock, ledger, keyring)?;
        records.take_up_certificate();
        Ok(records)
    }

    pub(super) fn assemble(
        dir: &Path,
        environment: Environment,
        directory_lock: File,
        ledger: Ledger,
        keyring: Keyring,
    ) -> Result<Self, RecordsError> {
        let mut records = Self {
            dir: dir.into(),
            environment,
            _directory_lock: directory_lock,
            roster: Roster::new(ledger.practice()),
            ledger,
            keyring,
            refused_statements: Vec::new(),
            time: HybridTime::default(),
            transaction: Transaction::default(),
            matter: Matter::default(),
            joint: super::joint::Joint::default(),
            unwritten: Vec::new(),
            tightening: Arc::default(),
            charts: None,
        };
        records.fold_roster()?;
        records.time = records.latest_own_time()?;
        Ok(records)
    }

    /// The practice to which this node belongs.
    pub fn practice(&self) -> PracticeId {
        self.ledger.practice()
    }

    /// Unlocks the node, and catches up with what arrived while it was locked.
    pub fn unlock(&mut self, secret: &UnlockSecret) -> Result<(), RecordsError> {
        let unlocked = match self.keyring.unlock(secret) {
            Ok(unlocked) => unlocked,
            Err(error) => {
                self.note_act(&Actor::Operator, "unlock", "", AuditOutcome::Denied);
                return Err(error.into());
            }
        };
        if self.charts.is_none() {
            self.open_charts(unlocked)?;
            if let UnlockSecret::Staff { id, .. } = secret
                && !self.unlockers()?.contains_key(id)
            {
                // Suspended while the node was locked: it learns so only now.
                self.charts = None;
                self.hand_keys();
                let actor = id.clone();
                return Err(Denial::Standing { actor }.into());
            }
        }
        // A session may wait for what could not be made again before.
        self.tell_anew()?;
        self.tend_keys()
    }

    /// Replaces the passphrase; `old` may be any secret that unlocks the node, the recovery code too.
    pub fn change_passphrase(
        &mut self,
        old: &UnlockSecret,
        new: &Private<String>,
    ) -> Result<(), RecordsError> {
        let unlocked = self.keyring.unlock(old)?;
        self.keyring.set_passphrase(&self.environment, &unlocked, new)?;
        self.note_act(&Actor::Operator, "key-change", "passphrase", AuditOutcome::Done);
        Ok(())
    }

    /// Forgets every key that reads: from here on the node works for its peers only, and nobody is
    /// logged in. It is locked even if this fails, which a full disk may cause: only what was not
    /// acknowledged is lost then.
    pub fn lock(&mut self) -> Result<(), RecordsError> {
        let saved = self.save_before_locking();
        self.commit_index();
        self.charts = None;
        self.joint.forget();
        self.hand_keys();
        saved
    }

    fn save_before_locking(&mut self) -> Result<(), RecordsError> {
        if !self.is_locked() {
            self.close_sessions()?;
            self.note_event(self.event_of_node("lock"));
        }
        self.save_documents()?;
        // Whoever commits next tells the peers.
        self.commit_early()
    }

    pub(super) fn open_charts(&mut self, unlocked: Unlocked) -> Result<(), RecordsError> {
        let path = self.dir.join("index.db");
        let index = match Index::open(&path, unlocked.index_key()) {
            Ok(index) if index.applied_until()? <= self.ledger.last_arrival() => index,
            // Missing, corrupt, old, or ahead of the ledger (the ledger was restored): derived
            // data is never repaired, always made anew.
            Ok(_) | Err(StoreError::IndexUnusable { .. }) => {
                Index::rebuild(&path, unlocked.index_key())?.finish()?
            }
            Err(error) => return Err(error.into()),
        };
        let device = Device::open(&self.dir.join("device.db"), &unlocked.device_key())?;
        let keys = KeyBook::read(&self.roster, unlocked.hpke());
        self.joint.forgive();
        self.charts = Some(Charts {
            unlocked,
            index,
            device,
            keys,
            documents: Documents::default(),
            staff: StaffRoster::default(),
            staff_said: Vec::new(),
        });
        self.hand_keys();
        self.read_staff()?;
        self.take_up_waiting()
    }

    /// Folds the control channel anew; when that fails, the roster stays what it was.
    pub(super) fn fold_roster(&mut self) -> Result<(), RecordsError> {
        (self.roster, self.refused_statements) = read_roster(&self.ledger)?;
        Ok(())
    }

    /// Takes one control entry into the roster; true if it was a statement.
    pub(super) fn fold_statement(&mut self, held: &Held) -> bool {
        fold(&mut self.roster, &mut self.refused_statements, held)
    }

    /// Reads the epoch keys anew after the roster changed.
    pub(super) fn read_keys(&mut self) {
        if let Some(charts) = &mut self.charts {
            charts.keys = KeyBook::read(&self.roster, charts.unlocked.hpke());
        }
        self.hand_keys();
    }

    /// Lets the ledger open its packs, and other threads joint runs, with the keys at hand, or no
    /// more.
    fn hand_keys(&mut self) {
        let practice = self.practice();
        let keys = self.charts.as_ref().map(|charts| charts.keys.clone());
        self.joint.set_keys(keys.clone().map(|keys| (practice, keys)));
        self.ledger.set_opener(keys.map(|keys| opener(practice, keys)));
    }

    /// Lets the recovery code unlock this node too.
    pub(super) fn arrange_recovery(&mut self) -> Result<(), RecordsError> {
        if let (Some(charts), Some(practice), Some(_)) =
            (&self.charts, self.roster.practice_statement(), self.keyring.certificate())
        {
            let recovery = practice.body.recovery;
            self.keyring.ensure_recovery(&self.environment, &charts.unlocked, recovery)?;
        }
        Ok(())
    }

    fn latest_own_time(&self) -> Result<HybridTime, RecordsError> {
        let node = self.keyring.node();
        let mut latest = HybridTime::default();
        for log in self.ledger.logs().filter(|log| log.author.node == node) {
            for head in self.ledger.heads(&log) {
                if let Some(stamp) = self.ledger.stamp(&head.id)? {
                    latest = latest.max(stamp.time);
                }
            }
        }
        Ok(latest)
    }
}

/// The roster that a ledger's control channel tells, and the statements that were not accepted.
pub(super) fn read_roster(ledger: &Ledger) -> Result<(Roster, Vec<String>), RecordsError> {
    let mut roster = Roster::new(ledger.practice());
    let mut refused = Vec::new();
    let mut after = 0;
    loop {
        let page = ledger.of_channel(Channel::Control, after, PAGE)?;
        let Some(last) = page.last() else { break };
        after = last.arrival;
        for held in &page {
            fold(&mut roster, &mut refused, held);
        }
    }
    Ok((roster, refused))
}

fn fold(roster: &mut Roster, refused: &mut Vec<String>, held: &Held) -> bool {
    let header = &held.entry.header;
    if header.codec != Codec::STATEMENT {
        return false;
    }
    let folded = ControlStatement::from_payload(&held.entry.payload)
        .map_err(|error| error.to_string())
        .and_then(|statement| {
            let fact = Fact {
                id: held.entry.id,
                author: header.log.author,
                sequence: header.sequence,
                statement,
            };
            roster.insert(fact).map_err(|problem| problem.to_string())
        });
    if let Err(problem) = folded {
        refused.push(format!("control entry {}: {problem}", held.entry.id));
    }
    true
}

/// Makes a keyring for a new node; what an earlier attempt left unfinished is begun anew.
pub(super) fn create_keyring(
    dir: &Path,
    environment: &Environment,
    unlock: &UnlockMethod,
) -> Result<(Keyring, Unlocked), RecordsError> {
    if dir.join("keyring").exists() {
        if Keyring::open(dir)?.certificate().is_some() {
            return Err(RecordsError::AlreadyANode(dir.into()));
        }
        for leftover in ["keyring", "log.db", "log.db-wal", "log.db-shm", "index.db", "device.db"] {
            match fs::remove_file(dir.join(leftover)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(RecordsError::io("removing an unfinished node")(error));
                }
                _ => {}
            }
        }
    }
    Ok(Keyring::create(dir, environment, unlock, observe(environment, dir)?)?)
}

/// Makes the directory, for its owner only, and takes its lock.
pub(super) fn claim_directory(dir: &Path) -> Result<File, RecordsError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(RecordsError::io(format!("making {}", dir.display())))?;
    lock_directory(dir)
}

/// Takes the directory's lock: one process owns the store.
pub(super) fn lock_directory(dir: &Path) -> Result<File, RecordsError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(RecordsError::io(format!("opening {}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RecordsError::InUse(dir.into())),
        Err(TryLockError::Error(error)) => {
            Err(RecordsError::io(format!("locking {}", path.display()))(error))
        }
    }
}

pub(super) fn observe(environment: &Environment, dir: &Path) -> Result<Binding, RecordsError> {
    let place = environment.place(dir);
    let place = place.map_err(RecordsError::io(format!("looking at {}", dir.display())))?;
    Ok(Binding::new(&place))
}

pub(super) fn ledger_path(dir: &Path) -> PathBuf {
    dir.join("log.db")
}
