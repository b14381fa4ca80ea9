//! The only source of time, chance, and what tells one machine from another.
//!
//! Everything that needs the hour, a random number or the marks of the machine is handed an
//! [`Environment`], so that a simulated history can be replayed from its seed. A tidy test forbids
//! the standard library's clocks and the operating system's randomness everywhere else.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
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
        let clock = Arc::new(ManualClock { unix_ms: unix_ms.into(), monotonic_ms: 0.into() });
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
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may read the clock")]
    fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }
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
}

impl Clock for ManualClock {
    fn unix_ms(&self) -> u64 {
        self.unix_ms.load(Ordering::Relaxed)
    }

    fn monotonic_ms(&self) -> u64 {
        self.monotonic_ms.load(Ordering::Relaxed)
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
