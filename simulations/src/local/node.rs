//! A node in a temporary directory, and how this process is doing.

use super::Outcome;
use carnet_node::base::environment::Environment;
use carnet_node::records::handle::guarded;
use carnet_node::records::joining::Applicant;
use carnet_node::records::membership::Invite;
use carnet_node::records::{Init, Records};
use carnet_node::store::index::Index;
use carnet_node::vault::{Keyring, UnlockMethod, UnlockSecret};
use carnet_sync_protocol::certificate::{Capabilities, Role};
use carnet_sync_protocol::message::JoinAnswer;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Bytes that one node takes from another at a time.
const RUNS_BYTES: usize = 1 << 20;

/// A node on real files.
pub struct Site {
    /// The node.
    pub records: Records,
    dir: TempDir,
}

/// A node that is not running.
pub struct Closed(TempDir);

impl Site {
    /// Founds a practice.
    pub fn found() -> Outcome<Self> {
        let dir = tempfile::tempdir()?;
        let init = Init {
            practice: "Measured".into(),
            site: "Here".into(),
            unlock: UnlockMethod::KeyFile(dir.path().join("key")),
            practice_passphrase: None,
        };
        let founded = Records::init(&dir.path().join("node"), Environment::system(), init)?;
        Ok(Self { records: founded.records, dir })
    }

    /// A second node of the same practice.
    pub fn join(&mut self, addresses: Vec<String>) -> Outcome<Self> {
        let permit = carnet_node::access::operator_permit(carnet_node::access::Action::Administer);
        let invite = Invite {
            site: "There".into(),
            role: Role::Clinic,
            capabilities: Capabilities { admit: false, restricted: true, audit: true },
            addresses,
            valid_ms: 60_000,
            practice: None,
        };
        let invitation = self.records.invite(&permit, invite)?;
        let dir = tempfile::tempdir()?;
        let unlock = UnlockMethod::KeyFile(dir.path().join("key"));
        let home = dir.path().join("node");
        let applicant = Applicant::begin(&home, Environment::system(), &unlock)?;
        let request = applicant.request(&invitation, &[0; 32]);
        let answer = self.records.answer_join(&request, &[0; 32])?;
        self.records.commit()?;
        let JoinAnswer::Admitted(admission) = answer else { return Err("not admitted".into()) };
        Ok(Self { records: applicant.admitted(&invitation, *admission)?, dir })
    }

    /// Takes over what another node holds of each log, and shows it.
    pub fn take_all(&mut self, from: &Self) -> Outcome<()> {
        for (log, heads) in &from.records.frontier().0 {
            for head in heads {
                let mut after = self.records.frontier().heads(log).to_vec();
                while !after.contains(head) {
                    let runs = from.records.load(log, &after, *head, RUNS_BYTES)?;
                    let practice = from.records.practice();
                    let runs = runs.into_iter().map(|run| run.verify(practice));
                    let runs = runs.collect::<Result<Vec<_>, _>>()?;
                    after = vec![runs.last().ok_or("no run")?.head()];
                    self.records.receive(&runs)?;
                    self.records.commit()?;
                }
            }
        }
        self.records.catch_up()?;
        self.records.commit()?;
        Ok(())
    }

    /// The same node after a restart, with nothing in memory.
    pub fn reopened(self) -> Outcome<Self> {
        self.close().open()
    }

    /// Stops the node.
    pub fn close(self) -> Closed {
        self.records.close();
        Closed(self.dir)
    }

    /// Shows whatever the index does not show yet, as a node does for somebody who asks.
    pub fn caught_up(&mut self) -> Outcome<()> {
        guarded(&mut self.records, Records::catch_up)?;
        self.records.commit()?;
        Ok(())
    }

    /// The records, for a handle; and the directory, to be kept until they are done.
    pub fn into_parts(self) -> (Records, TempDir) {
        (self.records, self.dir)
    }

    /// A database's size with its write-ahead log, in bytes.
    pub fn size(&self, name: &str) -> u64 {
        let file = |suffix: &str| -> u64 {
            let path: PathBuf = self.dir.path().join("node").join(format!("{name}{suffix}"));
            std::fs::metadata(path).map_or(0, |metadata| metadata.len())
        };
        file("") + file("-wal")
    }

    /// The bytes of each table of the index and of each of its keys.
    pub fn index_tables(&mut self) -> Outcome<Value> {
        let secret = UnlockSecret::from_key_file(&self.dir.path().join("key"))?;
        let home = self.dir.path().join("node");
        let unlocked = Keyring::open(&home)?.unlock(&secret)?;
        let index = Index::open(&home.join("index.db"), unlocked.index_key())?;
        Ok(index.sizes()?.into_iter().collect())
    }

    /// The sealed size of the newest entry, with its header.
    pub fn bytes_of_newest_entry(&self) -> Outcome<usize> {
        let author = self.records.author();
        let newest = self.records.frontier().0.iter().filter(|(log, _)| log.author == author);
        let (log, heads) = newest.max_by_key(|(_, heads)| heads[0].sequence).ok_or("no log")?;
        let head = heads[0];
        let runs = self.records.load(log, &[], head, usize::MAX >> 1)?;
        let item = runs.last().and_then(|run| run.items.last()).ok_or("no entry")?;
        Ok(item.payload.len() + carnet_sync_protocol::entry::HEADER_SIZE)
    }
}

impl Closed {
    /// Starts the node, with nothing in memory, and unlocks it.
    pub fn open(self) -> Outcome<Site> {
        let dir = self.0;
        let mut records = Records::open(&dir.path().join("node"), Environment::system())?;
        records.unlock(&UnlockSecret::from_key_file(&dir.path().join("key"))?)?;
        records.commit()?;
        Ok(Site { records, dir })
    }

    /// The same node after its index was lost.
    pub fn without_index(self) -> Outcome<Self> {
        for suffix in ["", "-wal", "-shm"] {
            let path = self.0.path().join("node").join(format!("index.db{suffix}"));
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        Ok(self)
    }
}

/// Milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// p50, p99 and the greatest of some durations, in milliseconds.
pub fn percentiles(times: &mut [Duration]) -> Value {
    times.sort_unstable();
    let at = |share: f64| {
        times.get((times.len().saturating_sub(1) as f64 * share) as usize).map_or(0.0, |t| ms(*t))
    };
    json!({"p50": at(0.5), "p99": at(0.99), "max": at(1.0)})
}

/// The memory of this process, resident now and at its peak, in bytes.
pub fn memory() -> Outcome<Value> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    };
    Ok(json!({"resident_bytes": kib("VmRSS:") * 1024, "peak_bytes": kib("VmHWM:") * 1024}))
}

/// Now, by a clock that only runs forward.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures the real machine")]
pub fn now() -> Instant {
    Instant::now()
}
