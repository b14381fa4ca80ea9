//! The only source of time, chance, and what tells one machine from another.
//!
//! Everything that needs the hour, a random number or the marks of the machine is handed an
//! [`Environment`], so that a simulated history can be replayed from its seed. A tidy test forbids
//! the standard library's clocks and the operating system's randomness everywhere else.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01T00:00:00Z; may jump in both directions.
    fn unix_ms(&self) -> u64;

    /// Milliseconds since some moment in the past; never runs backwards.
    fn monotonic_ms(&self) -> u64;

    /// How long the machine has been running.
    fn uptime(&self) -> Uptime;
}

/// How long a machine has been running, its sleep included. Programs that run one after the other
/// on it can compare theirs, and nobody who sets the clock changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uptime {
    boot: u128,
    ms: u64,
}

impl Uptime {
    /// The time from `earlier` until now; none if the machine was started anew in between, since
    /// nothing on it tells how long it was off.
    pub fn since(&self, earlier: &Self) -> Option<u64> {
        if self.boot == earlier.boot { self.ms.checked_sub(earlier.ms) } else { None }
    }

    /// A later moment of the same run.
    #[must_use]
    pub const fn after(self, ms: u64) -> Self {
        Self { boot: self.boot, ms: self.ms.saturating_add(ms) }
    }
}

/// Gives random bytes, fit for keys.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// Where a directory lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The machine's id; empty where it has none.
    pub machine: String,
    /// The directory's inode.
    pub inode: u64,
    /// When the directory was made, in nanoseconds since 1970, where the file system tells.
    pub born_ns: Option<u64>,
}

/// Tells where a directory lies, so that a copy of it can be told from it.
pub trait Machine: Send + Sync {
    /// The place of this directory.
    fn place(&self, directory: &Path) -> io::Result<Place>;
}

/// A clock, a source of chance and a machine, handed to whatever needs them.
#[derive(Clone)]
pub struct Environment {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    machine: Arc<dyn Machine>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

impl Environment {
    /// An environment of these three.
    pub fn new(
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        machine: Arc<dyn Machine>,
    ) -> Self {
        Self { clock, entropy, machine }
    }

    /// The machine's clock, the operating system's randomness, and this machine.
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock::new()), Arc::new(SystemEntropy), Arc::new(ThisMachine))
    }

    /// A clock that stands until it is moved, and chance drawn from a seed.
    pub fn seeded(seed: u64, unix_ms: u64) -> (Self, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock { unix_ms: unix_ms.into(), ..ManualClock::default() });
        let chance = Arc::new(SeededEntropy::new(seed));
        (Self::new(clock.clone(), chance, Arc::new(ThisMachine)), clock)
    }

    /// See [`Clock::unix_ms`].
    pub fn unix_ms(&self) -> u64 {
        self.clock.unix_ms()
    }

    /// See [`Clock::monotonic_ms`].
    pub fn monotonic_ms(&self) -> u64 {
        self.clock.monotonic_ms()
    }

    /// See [`Clock::uptime`].
    pub fn uptime(&self) -> Uptime {
        self.clock.uptime()
    }

    /// See [`Machine::place`].
    pub fn place(&self, directory: &Path) -> io::Result<Place> {
        self.machine.place(directory)
    }

    /// Fresh random bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }

    /// A random (version 4) UUID in its usual lower-case form.
    pub fn uuid(&self) -> String {
        let mut b: [u8; 16] = self.random();
        b[6] = (b[6] & 0x0f) | 0x40;
        b[8] = (b[8] & 0x3f) | 0x80;
        let hex: String = b.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

struct SystemClock {
    start: std::time::Instant,
    /// Which run of the machine this is, and how long it had lasted when this clock was made.
    began: Uptime,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may read the clock")]
    fn new() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let boot = boot.and_then(|id| u128::from_str_radix(&id.trim().replace('-', ""), 16).ok());
        let began = match (boot, kernel_uptime_ms()) {
            (Some(boot), Some(ms)) => Uptime { boot, ms },
            // Where the system does not tell, each run of this program counts as one of the machine.
            _ => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                Uptime { boot: now.map_or(0, |since| since.as_nanos()), ms: 0 }
            }
        };
        Self { start: std::time::Instant::now(), began }
    }
}

/// What Linux tells of its uptime; none where it tells nothing.
fn kernel_uptime_ms() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let (seconds, hundredths) = text.split_ascii_whitespace().next()?.split_once('.')?;
    Some(seconds.parse::<u64>().ok()? * 1_000 + hundredths.parse::<u64>().ok()? * 10)
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may read the clock")]
    fn unix_ms(&self) -> u64 {
        // A clock before 1970 reads as 1970: time is for display, and nothing may fail by it.
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64)
    }

    fn monotonic_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    fn uptime(&self) -> Uptime {
        // This program's own monotonic clock stands still while the machine sleeps.
        let ms = kernel_uptime_ms().unwrap_or_else(|| self.began.ms + self.monotonic_ms());
        Uptime { boot: self.began.boot, ms }
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may draw chance")]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}

struct ThisMachine;

impl Machine for ThisMachine {
    fn place(&self, directory: &Path) -> io::Result<Place> {
        let metadata = directory.metadata()?;
        let machine = match std::fs::read_to_string("/etc/machine-id") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let born = metadata.created().ok();
        let born_ns = born
            .and_then(|born| born.duration_since(std::time::UNIX_EPOCH).ok())
            .and_then(|since| u64::try_from(since.as_nanos()).ok());
        Ok(Place { machine, inode: metadata.ino(), born_ns })
    }
}

/// A clock that a test or a simulation moves by hand.
#[derive(Debug, Default)]
pub struct ManualClock {
    unix_ms: AtomicU64,
    monotonic_ms: AtomicU64,
    boot: AtomicU64,
}

impl ManualClock {
    /// Lets both clocks run on.
    pub fn advance(&self, ms: u64) {
        self.unix_ms.fetch_add(ms, Ordering::Relaxed);
        self.monotonic_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Makes the wall clock jump; the monotonic one stays.
    pub fn jump_to(&self, unix_ms: u64) {
        self.unix_ms.store(unix_ms, Ordering::Relaxed);
    }

    /// Starts the machine anew.
    pub fn reboot(&self) {
        self.boot.fetch_add(1, Ordering::Relaxed);
        self.monotonic_ms.store(0, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn unix_ms(&self) -> u64 {
        self.unix_ms.load(Ordering::Relaxed)
    }

    fn monotonic_ms(&self) -> u64 {
        self.monotonic_ms.load(Ordering::Relaxed)
    }

    fn uptime(&self) -> Uptime {
        Uptime { boot: self.boot.load(Ordering::Relaxed).into(), ms: self.monotonic_ms() }
    }
}

/// Chance that replays: ChaCha20 from a seed.
pub struct SeededEntropy(Mutex<ChaCha20Rng>);

impl SeededEntropy {
    /// The chance of this seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha20Rng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_and_a_uuid_has_its_version() {
        let (one, _) = Environment::seeded(7, 0);
        let (two, clock) = Environment::seeded(7, 0);
        assert_eq!(one.random::<32>(), two.random::<32>());
        assert_eq!(one.uuid().as_bytes()[14], b'4');
        clock.advance(5);
        clock.jump_to(1);
        assert_eq!((two.unix_ms(), two.monotonic_ms()), (1, 5));
    }

    #[test]
    fn uptime_heeds_no_clock_and_tells_one_start_of_the_machine_from_the_next() {
        let (environment, clock) = Environment::seeded(7, 1_000);
        let before = environment.uptime();
        clock.advance(20);
        clock.jump_to(0);
        assert_eq!(environment.uptime().since(&before), Some(20));
        assert_eq!(before.since(&environment.uptime()), None, "not the other way round");
        clock.reboot();
        clock.advance(90);
        assert_eq!(environment.uptime().since(&before), None);
        let first = Environment::system().uptime();
        // Another environment stands for another program.
        let second = Environment::system().uptime();
        assert!(second.since(&first).is_some_and(|ms| ms < 60_000), "{first:?} {second:?}");
    }

    #[test]
    fn another_directory_is_another_place_and_the_same_one_is_the_same() {
        let parent = tempfile::tempdir().unwrap();
        let (one, two) = (parent.path().join("one"), parent.path().join("two"));
        std::fs::create_dir(&one).unwrap();
        std::fs::create_dir(&two).unwrap();
        let environment = Environment::system();
        let before = environment.place(&one).unwrap();
        std::fs::write(one.join("file"), "").unwrap();
        assert_eq!(environment.place(&one).unwrap(), before);
        assert_ne!(environment.place(&two).unwrap(), before);
        assert!(environment.place(&parent.path().join("absent")).is_err());
    }
}
