//! One node of a simulated practice: the real records in a real directory, and what can befall it.
//!
//! A crash takes the files as they are at that moment, with SQLite's write-ahead logs, and throws
//! away the process: nothing is rolled back or folded in by a closing connection, as nothing would
//! be by SIGKILL. A power cut also takes the end of the index's write-ahead log, which is written
//! without waiting for the disk. What is not simulated is a disk that loses what was synced.

use carnet_node::base::environment::{Clock, Environment, Machine, Place, SeededEntropy, Uptime};
use carnet_node::records::handle::guarded;
use carnet_node::records::joining::Applicant;
use carnet_node::records::joint::Opener;
use carnet_node::records::{Records, RecordsError};
use carnet_node::sync::Keeper;
use carnet_node::vault::{Keyring, UnlockMethod, UnlockSecret, Unlocked};
use carnet_sync_protocol::SigningKey;
use carnet_sync_protocol::certificate::Role;
use carnet_sync_protocol::frontier::Head;
use carnet_sync_protocol::id::{Author, LogId, NodeId, TransportKey};
use carnet_sync_protocol::message::LogHeads;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// 2026-03-01T00:00:00Z, when every history begins.
pub const BEGIN_MS: u64 = 1_772_323_200_000;

/// What a process needs after a kill; SQLite makes its shared memory anew.
const FILES: [&str; 7] =
    ["keyring", "log.db", "log.db-wal", "index.db", "index.db-wal", "device.db", "device.db-wal"];

/// The clock on the wall of a clinic: the world's time, and by how much it is wrong.
pub struct Hands {
    world: Arc<AtomicU64>,
    ahead_ms: AtomicI64,
    latest_ms: AtomicU64,
}

impl Hands {
    /// Sets the clock wrong by so much.
    pub fn set_ahead(&self, ms: i64) {
        self.ahead_ms.store(ms, Ordering::Relaxed);
    }

    /// The latest time that the clock ever showed.
    pub fn latest_ms(&self) -> u64 {
        self.latest_ms.load(Ordering::Relaxed)
    }
}

impl Clock for Hands {
    fn unix_ms(&self) -> u64 {
        let ahead_ms = self.ahead_ms.load(Ordering::Relaxed);
        let shown = (BEGIN_MS + self.monotonic_ms()).saturating_add_signed(ahead_ms);
        self.latest_ms.fetch_max(shown, Ordering::Relaxed);
        shown
    }

    fn monotonic_ms(&self) -> u64 {
        self.world.load(Ordering::Relaxed)
    }

    fn uptime(&self) -> Uptime {
        Uptime::default().after(self.monotonic_ms())
    }
}

/// The machine on which a clinic's directory lies.
struct Spot(Mutex<(u64, u64)>);

impl Machine for Spot {
    fn place(&self, _directory: &Path) -> io::Result<Place> {
        let (machine, inode) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Place { machine: format!("machine {machine}"), inode, born_ns: None })
    }
}

/// The records, for whoever answers a session. What was written is not durable yet when an answer
/// comes: the world holds it back until the commit.
#[derive(Clone)]
pub struct Counter(Arc<Mutex<Records>>);

impl Counter {
    /// The records themselves.
    pub fn records(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper for Counter {
    fn call_blocking<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Records) -> Result<T, RecordsError> + Send + 'static,
    ) -> Result<T, RecordsError> {
        guarded(&mut self.records(), f)
    }

    fn advances(&self) -> broadcast::Receiver<LogHeads> {
        // The world itself tells the news to its conversations.
        broadcast::channel(1).1
    }

    fn opener(&self) -> Opener {
        self.records().opener()
    }
}

/// How a process ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is killed: all that was written to files is in them.
    Kill,
    /// The power is cut: of the index's write-ahead log so many thousandths are on the disk.
    PowerCut(u64),
}

/// A node's files, put away.
pub struct Copy(PathBuf);

/// One node.
pub struct Clinic {
    /// Its name in the log of the history.
    pub name: String,
    /// Clinic or relay.
    pub role: Role,
    /// The node's id; a clone has its original's.
    pub node: NodeId,
    /// The key that peers pin.
    pub transport: TransportKey,
    /// Its clock.
    pub hands: Arc<Hands>,
    /// How many times a process was started here.
    pub life: u32,
    home: PathBuf,
    secret: UnlockSecret,
    spot: Arc<Spot>,
    environment: Environment,
    counter: Option<Counter>,
}

/// What a node that does not exist yet has.
pub struct Site {
    name: String,
    home: PathBuf,
    key: PathBuf,
    hands: Arc<Hands>,
    spot: Arc<Spot>,
    environment: Environment,
}

impl Site {
    /// A directory within `base` and a machine of its own.
    pub fn new(base: &Path, number: usize, world: Arc<AtomicU64>, seed: u64) -> Self {
        let name = format!("c{number}");
        let hands =
            Arc::new(Hands { world, ahead_ms: AtomicI64::new(0), latest_ms: AtomicU64::new(0) });
        let spot = Arc::new(Spot(Mutex::new((number as u64, 1))));
        let environment =
            Environment::new(hands.clone(), Arc::new(SeededEntropy::new(seed)), spot.clone());
        let place = base.join(&name);
        Self { home: place.join("node"), key: place.join("key"), name, hands, spot, environment }
    }

    /// Its name in the log of the history.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the node will live.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Its time and chance.
    pub fn environment(&self) -> Environment {
        self.environment.clone()
    }

    /// A key file: a passphrase takes a sixth of a second at each start, by design.
    pub fn unlock(&self) -> UnlockMethod {
        UnlockMethod::KeyFile(self.key.clone())
    }

    /// Makes the node's keys.
    pub fn applicant(&self) -> Result<Applicant, RecordsError> {
        self.make()?;
        Applicant::begin(&self.home, self.environment(), &self.unlock())
    }

    /// Takes up an application that was cut off.
    pub fn resume(&self) -> Result<Applicant, RecordsError> {
        let secret = UnlockSecret::from_key_file(&self.key)?;
        Applicant::resume(&self.home, self.environment(), &secret)
    }

    /// Makes the directory in which the node's directory and its key file lie.
    pub fn make(&self) -> Result<(), RecordsError> {
        let parent = self.home.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent)
            .map_err(|source| RecordsError::Io { what: "making a site".into(), source })
    }

    /// The node that has come to be here.
    pub fn settle(self, records: Records, role: Role) -> Result<Clinic, RecordsError> {
        let secret = UnlockSecret::from_key_file(&self.key)?;
        // From here on the key is in memory only: what a killed simulation leaves stays sealed.
        fs::remove_file(&self.key)
            .map_err(|source| RecordsError::Io { what: "removing a key file".into(), source })?;
        let Self { name, home, hands, spot, environment, .. } = self;
        Ok(Clinic {
            name,
            role,
            node: records.keyring().node(),
            transport: records.transport_key(),
            hands,
            life: 1,
            home,
            secret,
            spot,
            environment,
            counter: Some(Counter(Arc::new(Mutex::new(records)))),
        })
    }
}

impl Clinic {
    /// The records, while a process runs.
    pub fn counter(&self) -> Option<&Counter> {
        self.counter.as_ref()
    }

    /// Whether a process runs and somebody has unlocked it.
    pub fn is_unlocked(&self) -> bool {
        self.counter.as_ref().is_some_and(|counter| !counter.records().is_locked())
    }

    /// Its directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Signs HELLOs and receipts.
    pub fn transport_key(&self) -> Option<SigningKey> {
        let counter = self.counter.as_ref()?;
        Some(counter.records().keyring().transport().key().clone())
    }

    /// The node's keys, as somebody has them who has its files and its key file.
    pub fn secrets(&self) -> Result<Unlocked, RecordsError> {
        Ok(Keyring::open(&self.home)?.unlock(&self.secret)?)
    }

    /// Starts a process, locked.
    pub fn open(&mut self) -> Result<(), RecordsError> {
        let records = Records::open(&self.home, self.environment.clone())?;
        self.life += 1;
        self.counter = Some(Counter(Arc::new(Mutex::new(records))));
        Ok(())
    }

    /// Somebody unlocks it.
    pub fn unlock(&self) -> Result<(), RecordsError> {
        match &self.counter {
            Some(counter) => counter.records().unlock(&self.secret),
            None => Ok(()),
        }
    }

    /// Ends the process in good order.
    pub fn close(&mut self) {
        if let Some(records) = self.take() {
            records.close();
        }
    }

    /// Ends the process before its time.
    pub fn end(&mut self, how: End) -> io::Result<()> {
        let after = self.home.with_extension("after");
        copy(&self.home, &after)?;
        drop(self.take());
        if let End::PowerCut(thousandths) = how {
            cut(&after.join("index.db-wal"), thousandths)?;
        }
        fs::remove_dir_all(&self.home)?;
        fs::rename(&after, &self.home)
    }

    fn take(&mut self) -> Option<Records> {
        let Counter(shared) = self.counter.take()?;
        let records = Arc::into_inner(shared).expect("only the clinic keeps its records");
        Some(records.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a copy of the directory away. Between two commits it is whole.
    pub fn copy(&self, number: usize) -> io::Result<Copy> {
        let to = self.home.with_extension(format!("copy{number}"));
        copy(&self.home, &to)?;
        Ok(Copy(to))
    }

    /// Puts a copy back in place of the directory, of which no process runs. With `same_place` the
    /// whole machine went back, which nothing on it shows; else the directory is a new one.
    pub fn restore(&mut self, old: &Copy, same_place: bool) -> io::Result<()> {
        fs::remove_dir_all(&self.home)?;
        copy(&old.0, &self.home)?;
        if !same_place {
            self.spot.0.lock().unwrap_or_else(PoisonError::into_inner).1 += 1;
        }
        Ok(())
    }

    /// Another machine with a copy of the directory; with `same_place` its every mark is copied
    /// too, as with a cloned virtual machine.
    pub fn cloned(&self, copy: &Copy, site: Site, same_place: bool) -> io::Result<Self> {
        let Site { name, home, hands, spot, environment, .. } = site;
        fs::create_dir_all(home.parent().unwrap_or(Path::new(".")))?;
        self::copy(&copy.0, &home)?;
        if same_place {
            let place = *self.spot.0.lock().unwrap_or_else(PoisonError::into_inner);
            *spot.0.lock().unwrap_or_else(PoisonError::into_inner) = place;
        }
        Ok(Self {
            name,
            role: self.role,
            node: self.node,
            transport: self.transport,
            hands,
            life: 0,
            home,
            secret: self.secret.clone(),
            spot,
            environment,
            counter: None,
        })
    }

    /// Makes the index unusable or takes it away; no process runs.
    pub fn lose_index(&self) -> io::Result<()> {
        for name in ["index.db", "index.db-wal"] {
            match fs::remove_file(self.home.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// As whom it writes, or wrote last.
    pub fn author(&self) -> Result<Author, RecordsError> {
        match &self.counter {
            Some(counter) => Ok(counter.records().author()),
            None => {
                let keyring = Keyring::open(&self.home)?;
                Ok(Author { node: keyring.node(), incarnation: keyring.incarnation() })
            }
        }
    }

    /// Whether it durably holds an entry; asks the files if no process runs.
    pub fn holds(&self, log: &LogId, head: &Head) -> Result<bool, RecordsError> {
        match &self.counter {
            Some(counter) => Ok(!counter.records().known(&[(*log, *head)])?.is_empty()),
            None => {
                let path = self.home.join("log.db");
                let ledger = carnet_node::store::ledger::Ledger::open_read_only(&path)?;
                Ok(ledger.knows(log, head)?)
            }
        }
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for name in FILES {
        match fs::copy(from.join(name), to.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Leaves only the first thousandths of a file.
fn cut(path: &Path, thousandths: u64) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).open(path) {
        Ok(file) => {
            let length = file.metadata()?.len();
            file.set_len(length * thousandths.min(1000) / 1000)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
